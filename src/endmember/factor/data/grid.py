"""Where the rows of a factor lie: in an image or along an axis."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import sparse

from endmember.factor.data.axis import Axis


class Grid:
    """The places of a factor's rows, for penalties that speak of neighbours.

    Parameters
    ----------
    shape : tuple of int
        The whole image ``(ny, nx)``, or ``(channels,)``.
    index : ndarray of int, optional
        The flat places that are rows of the factor, in C order; all of them unless given.
    axis : Axis, optional
        The energies of the channels.
    known : bool
        Whether the shape is that of an image or axis; False for a mere list of pixels.

    Examples
    --------
    >>> Grid((2, 2)).first_differences.toarray()
    array([[-1.,  0.,  1.,  0.],
           [ 0., -1.,  0.,  1.],
           [-1.,  1.,  0.,  0.],
           [ 0.,  0., -1.,  1.]])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        index: np.ndarray | None = None,
        known: bool = True,
        axis: Axis | None = None,
    ) -> None:
        self.shape, self.known, self.axis = shape, known, axis
        self.index = np.arange(int(np.prod(shape))) if index is None else index

    def take(self, rows: np.ndarray) -> Grid:
        """Return the places of some of the rows."""
        return Grid(self.shape, self.index[rows], self.known)

    @property
    def n_axes(self) -> int:
        """The number of axes of the image."""
        return len(self.shape)

    @cached_property
    def first_differences(self) -> sparse.csr_array:
        """Differences between neighbours that both take part, (edges, n)."""
        return self._stencils([-1.0, 1.0])

    @cached_property
    def second_differences(self) -> sparse.csr_array:
        """Second differences of three in a row that all take part, (triples, n)."""
        return self._stencils([1.0, -2.0, 1.0])

    def _stencils(self, weights: list[float]) -> sparse.csr_array:
        row_of = np.full(int(np.prod(self.shape)), -1)
        row_of[self.index] = np.arange(len(self.index))
        places = row_of.reshape(self.shape)
        found: list[np.ndarray] = []
        for axis, size in enumerate(self.shape):
            reach = size - len(weights) + 1
            if reach > 0:
                taps = [places.take(range(i, i + reach), axis).ravel() for i in range(len(weights))]
                found.append(np.stack(taps, axis=1))
        stencils = np.concatenate([np.empty((0, len(weights)), dtype=int), *found])
        stencils = stencils[(stencils >= 0).all(axis=1)]
        rows = np.repeat(np.arange(len(stencils)), len(weights))
        values = np.tile(weights, len(stencils))
        shape = len(stencils), len(self.index)
        return sparse.csr_array((values, (rows, stencils.ravel())), shape=shape)

    def spread(self, F: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Return rows (n, k) in their places, ``(*shape, k)``, with ``fill`` elsewhere."""
        full = np.full((int(np.prod(self.shape)), F.shape[1]), fill)
        full[self.index] = F
        return full.reshape(*self.shape, F.shape[1])
