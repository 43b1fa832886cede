"""Data of more than two modes: a series of spectrum images behind the products of one matrix.

A tensor of shape ``(d_1, …, d_p, m)`` is kept as the matrix ``X`` (n, m) of its spectra, so that
dense, sparse, lazy, weighted and compressed data serve as they are. With the Khatri-Rao product
``P`` (n, k) of the leading factors and the spectra ``S`` (m, k), the model of ``X`` is ``P Sᵀ``.

The factors of a Tucker model are ``[core, F¹, …, Fᵖ, S]``; the core is a factor of one row, the core array in C
order. Its Gram matrix is the Kronecker product of those of all others.
"""

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
from scipy import sparse

from endmember.factor.columns import or_one, placed, unit_columns
from endmember.factor.data import Arrangement, Data, DenseEntries, Entries, SparseEntries, canonical
from endmember.factor.scale.carriers import Carriers


def khatri_rao(factors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the column-wise Kronecker product of factors (d, k), the last index running fastest.

    Examples
    --------
    >>> khatri_rao([np.array([[1.0], [2.0]]), np.array([[3.0], [5.0]])]).ravel()
    array([ 3.,  5.,  6., 10.])
    """
    product = factors[0]
    for F in factors[1:]:
        product = (product[:, None, :] * F[None, :, :]).reshape(-1, F.shape[1])
    return product


def multiplied(
    array: np.ndarray, matrices: Sequence[np.ndarray], but: int | None = None
) -> np.ndarray:
    """Return an array with every leading mode but one contracted with the rows of a matrix (d, r); (r, …, r, …).

    Examples
    --------
    >>> multiplied(np.arange(6.0).reshape(2, 3), [np.ones((2, 1)), np.ones((3, 1))])
    array([[15.]])
    """
    for mode, matrix in enumerate(matrices):
        if mode != but:
            array = np.moveaxis(np.tensordot(array, matrix, axes=(mode, 0)), -1, mode)
    return array


class Tensor(Arrangement):
    r"""A tensor :math:`x_{i_1 \dots i_p j} \approx \sum_k f^1_{i_1 k} \cdots f^p_{i_p k} s_{jk}`.

    The data are contracted with the spectra once for all the leading modes, so that a sweep over
    any number of modes takes two products with them.

    Parameters
    ----------
    matrix : Data, (n, m)
        The spectra of all pixels that take part.
    domain : tuple of int
        The leading modes.
    rows : ndarray of int, optional
        Where in the domain, flat in C order, the rows of the matrix lie; everywhere unless given.
        All other pixels are missing.

    Examples
    --------
    >>> from endmember.factor.data.in_memory import Dense
    >>> X = Tensor(Dense(np.ones((6, 4))), (2, 3))
    >>> X.contract([np.ones((2, 1)), np.ones((3, 1)), np.ones((4, 1))], 1).ravel()
    array([8., 8., 8.])
    """

    def __init__(self, matrix: Data, domain: Sequence[int], rows: np.ndarray | None = None) -> None:
        self.matrix, self.domain = matrix, tuple(domain)
        #: The number of pixels, and of the mode of the channels.
        self._n, self.last = math.prod(self.domain), len(self.domain)
        self._places = None if rows is None or len(rows) == self._n else rows
        self.shape = (*self.domain, matrix.shape[1])
        self._unfolded: dict[tuple[int, bool], Entries] = {}
        self._contracted: tuple[np.ndarray, np.ndarray] | None = None

    def like(self, matrix: Data) -> "Tensor":
        """Return the same tensor with other data, such as compressed ones, for its matrix."""
        return Tensor(matrix, self.domain, self._places)

    def folded(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self.leading(factors), factors[self.last]]

    def unfolded(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return for every component the product of profiles that is nearest to its map."""
        C, S = factors
        grid = self._on_grid(C)
        profiles = [np.empty((size, C.shape[1])) for size in self.domain]
        for k in range(C.shape[1]):
            size = np.linalg.norm(grid[..., k])
            for mode in range(self.last):
                flat = unfold(grid[..., k], mode)
                profiles[mode][:, k] = _strongest(flat) * (size if mode == 0 else 1.0)
        return [*profiles, S]

    def place(self, row: int) -> tuple[int, ...]:
        place = row if self._places is None else self._places[row]
        return tuple(int(index) for index in np.unravel_index(place, self.domain))

    def leading(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Return the maps that the leading factors stand for, at the pixels that take part, (n, k)."""
        product = khatri_rao(factors[: self.last])
        return product if self._places is None else product[self._places]

    def contract(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        P, S = self.leading(factors), factors[self.last]
        if mode == self.last:
            return self.matrix.contract([P, S], 1)
        weights = self.matrix.row_weights(0)
        scores = self._scores(P, S) if weights is None else weights[:, None] * self._scores(P, S)
        return self._reduce(self._on_grid(scores), factors, mode)

    def gram(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        weights = self.matrix.row_weights(0)
        if self._places is None and weights is None and not self.weighted:
            return super().gram(factors, mode)
        P, S = self.leading(factors), factors[self.last]
        G = self.matrix.gram([P, S], 0 if mode < self.last else 1)
        if mode == self.last:
            return G
        n, k = P.shape
        own = np.broadcast_to(G.reshape(-1, k * k), (n, k * k))
        own = own if weights is None else weights[:, None] * own
        pairs = [(F[:, :, None] * F[:, None, :]).reshape(-1, k * k) for F in factors]
        return self._reduce(self._on_grid(own), pairs, mode).reshape(-1, k, k)

    def row_weights(self, mode: int) -> np.ndarray | None:
        return self.matrix.row_weights(1) if mode == self.last else None

    def entries_for(
        self, factors: Sequence[np.ndarray], mode: int, dense: bool = False
    ) -> tuple[Entries, np.ndarray]:
        entries = self.matrix.entries(dense)
        if mode == self.last:
            return entries.transposed, self.leading(factors)
        if (mode, dense) not in self._unfolded:
            self._unfolded[mode, dense] = self._unfold(entries, mode)
        return self._unfolded[mode, dense], khatri_rao([*factors[:mode], *factors[mode + 1 :]])

    def _unfold(self, entries: Entries, mode: int) -> Entries:
        """Return the entries with one leading mode as the rows, all others and the channels as the columns."""
        n, m, size = self._n, self.shape[-1], self.domain[mode]
        if isinstance(entries, SparseEntries) and self._places is None and entries.weights is None:
            found = sparse.coo_array(entries.X)
            index = np.unravel_index(found.row, self.domain)
            order = [mode, *(other for other in range(self.last) if other != mode)]
            places = np.ravel_multi_index(
                [index[axis] for axis in order], [self.domain[axis] for axis in order]
            )
            columns = places % (n // size) * m + found.col
            unfolded = sparse.csr_array((found.data, (index[mode], columns)), (size, n // size * m))
            return SparseEntries(canonical(unfolded))
        x, weights = self._spread(entries)
        parts = [
            np.moveaxis(part.reshape(*self.domain, m), mode, 0).reshape(size, -1)
            for part in (x, weights)
            if part is not None
        ]
        return DenseEntries(*parts)

    def _spread(self, entries: Entries) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the entries as arrays (n, m), those of missing pixels with a harmless value and no weight."""
        x = entries.X.toarray() if isinstance(entries, SparseEntries) else entries.x
        known = np.broadcast_to(1.0 if entries.weights is None else entries.weights, x.shape)
        if self._places is None:
            return x, None if entries.weights is None else known
        everywhere = placed(x, self._places, self._n, float(np.mean(x)))
        return everywhere, placed(known, self._places, self._n)

    def core(self, matrices: Sequence[np.ndarray]) -> np.ndarray:
        """Return the data multiplied in every mode with the transpose of a matrix (d, r); (r, …, r)."""
        return multiplied(self._on_grid(self.matrix.dot(matrices[-1])), matrices[:-1])

    def _scores(self, P: np.ndarray, S: np.ndarray) -> np.ndarray:
        """Return the data contracted with the spectra, (n, k), computed once for all leading modes."""
        if self._contracted is None or not np.array_equal(self._contracted[0], S):
            self._contracted = S.copy(), self.matrix.contract([P, S], 0)
        return self._contracted[1]

    def _on_grid(self, values: np.ndarray) -> np.ndarray:
        """Return values (n, q) of the pixels in their places, zero at missing ones; (*domain, q)."""
        if self._places is not None:
            values = placed(values, self._places, self._n)
        return values.reshape(*self.domain, -1)

    def _reduce(self, grid: np.ndarray, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        """Sum a grid (*domain, q) over all leading modes but one, weighted by their columns; (d, q)."""
        for other in reversed(range(self.last)):
            if other != mode:
                grid = np.einsum("...iq,iq->...q", np.moveaxis(grid, other, -2), factors[other])
        return grid


class CoreScales(Carriers):
    """All profiles have unit length; the core carries the scale."""

    def __init__(self, ranks: tuple[int, ...]) -> None:
        self.ranks = ranks

    def balance(self, factors: list[np.ndarray], mode: int) -> None:
        """Give the profiles of one mode unit length and their scale to the core, in place."""
        if mode == 0:
            return
        size = or_one(np.linalg.norm(factors[mode], axis=0))
        factors[mode] = factors[mode] / size
        core = np.moveaxis(factors[0].reshape(self.ranks), mode - 1, -1) * size
        factors[0] = np.moveaxis(core, -1, mode - 1).reshape(1, -1)

    def costs_elsewhere(self, spent: dict[int, np.ndarray], mode: int) -> np.ndarray:
        """Return what the core costs more with each profile."""
        return (
            np.zeros(self.ranks[mode - 1] if mode else int(np.prod(self.ranks)))
            if mode == 0 or 0 not in spent
            else unfold(spent[0].reshape(self.ranks), mode - 1).sum(axis=1)
        )


class WithCore(Arrangement):
    r"""A tensor seen from the factors of its Tucker model.

    .. math:: x_{i \dots j} \approx \sum_{a \dots z} g_{a \dots z}\, f^1_{ia} \cdots s_{jz}

    Parameters
    ----------
    tensor : Tensor
        Without missing pixels or weights of entries.
    ranks : sequence of int
        The number of profiles along every mode.

    Examples
    --------
    >>> from endmember.factor.data.in_memory import Dense
    >>> X = WithCore(Tensor(Dense(np.ones((6, 4))), (2, 3)), (1, 1, 1))
    >>> ones = [np.ones((1, 1)), np.ones((2, 1)), np.ones((3, 1)), np.ones((4, 1))]
    >>> X.contract(ones, 0), X.gram(ones, 0)
    (array([[24.]]), array([[24.]]))
    """

    componentwise = False

    def __init__(self, tensor: Tensor, ranks: Sequence[int]) -> None:
        self.tensor, self.matrix, self.ranks = tensor, tensor.matrix, tuple(ranks)
        self.shape, self.own_scales = (1, *tensor.shape), CoreScales(self.ranks)

    def contract(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        core, profiles = factors[0].reshape(self.ranks), factors[1:]
        return (
            self.tensor.core(profiles).reshape(1, -1)
            if mode == 0
            else unfold(self._contracted(profiles, mode - 1), mode - 1) @ unfold(core, mode - 1).T
        )

    def gram(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        core, grams = factors[0].reshape(self.ranks), [F.T @ F for F in factors[1:]]
        return (
            reduce(np.kron, grams)
            if mode == 0
            else unfold(multiplied(core, grams, mode - 1), mode - 1) @ unfold(core, mode - 1).T
        )

    def shares(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Return the length of the core that goes with each profile, as a fraction of the whole core's."""
        core = factors[0].reshape(self.ranks)
        slices = [np.linalg.norm(unfold(core, mode), axis=1) for mode in range(len(self.ranks))]
        return np.concatenate(slices) / (np.linalg.norm(core) or 1.0)

    def folded(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        # The maps that go with the spectra: the core with all leading profiles.
        maps = multiplied(factors[0].reshape(self.ranks), [F.T for F in factors[1:-1]])
        return [maps.reshape(-1, self.ranks[-1]), factors[-1]]

    def _contracted(self, profiles: Sequence[np.ndarray], keep: int) -> np.ndarray:
        """Return the data contracted with the profiles of every mode but one."""
        if keep == len(profiles) - 1:
            leading = reduce(np.kron, profiles[:-1])
            return self.matrix.transposed_dot(leading).T.reshape(*self.ranks[:-1], -1)
        grid = self.matrix.dot(profiles[-1]).reshape(*self.tensor.domain, -1)
        return multiplied(grid, profiles[:-1], keep)


def _strongest(matrix: np.ndarray) -> np.ndarray:
    """Return the entries of the leading left singular vector without their signs, (rows,)."""
    tall = len(matrix) > matrix.shape[1]
    vector = np.linalg.eigh(matrix.T @ matrix if tall else matrix @ matrix.T)[1][:, -1:]
    return np.abs(unit_columns(matrix @ vector if tall else vector)[:, 0])


def unfold(array: np.ndarray, mode: int) -> np.ndarray:
    """Return an array as a matrix of one of its modes, (size, all others)."""
    return np.moveaxis(array, mode, 0).reshape(array.shape[mode], -1)
