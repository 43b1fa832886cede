r"""Tucker models: profiles along every mode, and a core that says how they combine.

The factors are ``[core, F¹, …, Fᵖ, S]``; the core is a factor of one row, the core array in C order. Its Gram
matrix is the Kronecker product of those of all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from endmember.factor.blocks import Data
from endmember.factor.scales import Carriers
from endmember.factor.tensor import Tensor


class WithCore(Data):
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
    >>> from endmember.factor.data import Dense
    >>> X = WithCore(Tensor(Dense(np.ones((6, 4))), (2, 3)), (1, 1, 1))
    >>> ones = [np.ones((1, 1)), np.ones((2, 1)), np.ones((3, 1)), np.ones((4, 1))]
    >>> X.contract(ones, 0), X.gram(ones, 0)
    (array([[24.]]), array([[24.]]))
    """

    componentwise = False

    def __init__(self, tensor: Tensor, ranks: Sequence[int]) -> None:
        self.tensor, self.ranks = tensor, tuple(ranks)
        self.shape = (1, *tensor.shape)
        self.dtype = tensor.dtype

    def contract(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        core, profiles = factors[0].reshape(self.ranks), factors[1:]
        if mode == 0:
            return self.tensor.core(profiles).reshape(1, -1)
        return _unfold(self._contracted(profiles, mode - 1), mode - 1) @ _unfold(core, mode - 1).T

    def gram(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        core, grams = factors[0].reshape(self.ranks), [F.T @ F for F in factors[1:]]
        if mode == 0:
            product = grams[0]
            for gram in grams[1:]:
                product = np.kron(product, gram)
            return product
        spread = core
        for other, gram in enumerate(grams):
            if other != mode - 1:
                spread = np.moveaxis(np.tensordot(spread, gram, axes=(other, 0)), -1, other)
        return _unfold(spread, mode - 1) @ _unfold(core, mode - 1).T

    def own_scales(self) -> CoreScales:
        return CoreScales(self.ranks)

    def shares(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Return the length of the core that goes with each profile, as a fraction of the whole core's."""
        core = factors[0].reshape(self.ranks)
        slices = [np.linalg.norm(_unfold(core, mode), axis=1) for mode in range(len(self.ranks))]
        return np.concatenate(slices) / (np.linalg.norm(core) or 1.0)

    def misfit(self, factors: Sequence[np.ndarray]) -> float:
        maps, S = self.maps(factors), factors[-1]
        return self.tensor.matrix.misfit([maps, S])

    def maps(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Return the maps (n, r) that go with the spectra: the core with all leading profiles."""
        maps = factors[0].reshape(self.ranks)
        for mode, F in enumerate(factors[1:-1]):
            maps = np.moveaxis(np.tensordot(maps, F, axes=(mode, 1)), -1, mode)
        return maps.reshape(-1, self.ranks[-1])

    def _contracted(self, profiles: Sequence[np.ndarray], keep: int) -> np.ndarray:
        """Return the data contracted with the profiles of every mode but one."""
        last = len(profiles) - 1
        domain, matrix = self.tensor.domain, self.tensor.matrix
        if keep == last:
            leading = profiles[0]
            for F in profiles[1:-1]:
                leading = np.kron(leading, F)
            return matrix.transposed_dot(leading).T.reshape(*self.ranks[:-1], -1)
        grid = matrix.dot(profiles[last]).reshape(*domain, -1)
        for mode, F in enumerate(profiles[:-1]):
            if mode != keep:
                grid = np.moveaxis(np.tensordot(grid, F, axes=(mode, 0)), -1, mode)
        return grid

    @property
    def squared_norm(self) -> float:  # type: ignore[override]
        return self.tensor.squared_norm

    @property
    def squared_row_norms(self) -> np.ndarray:
        return self.tensor.squared_row_norms

    def dot(self, Z: np.ndarray) -> np.ndarray:
        return self.tensor.dot(Z)

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        return self.tensor.transposed_dot(F)

    def channel_gram(self) -> np.ndarray:
        return self.tensor.channel_gram()

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.tensor.rows(index)

    def residual_blocks(self, F: np.ndarray, Z: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        return self.tensor.residual_blocks(F, Z)


class CoreScales(Carriers):
    """All profiles have unit length; the core carries the scale."""

    def __init__(self, ranks: tuple[int, ...]) -> None:
        self.ranks = ranks

    def balance(self, factors: list[np.ndarray], mode: int) -> None:
        """Give the profiles of one mode unit length and their scale to the core, in place."""
        if mode == 0:
            return
        size = np.linalg.norm(factors[mode], axis=0)
        size = np.where(size > 0, size, 1.0)
        factors[mode] = factors[mode] / size
        along = [1] * len(self.ranks)
        along[mode - 1] = -1
        core = factors[0].reshape(self.ranks) * size.reshape(along)
        factors[0] = core.reshape(1, -1)

    def burden(self, spent: dict[int, np.ndarray], mode: int) -> np.ndarray:
        """Return what the core costs more with each profile."""
        if mode == 0 or 0 not in spent:
            return np.zeros(self.ranks[mode - 1] if mode else int(np.prod(self.ranks)))
        return _unfold(spent[0].reshape(self.ranks), mode - 1).sum(axis=1)


def _unfold(array: np.ndarray, mode: int) -> np.ndarray:
    """Return an array as a matrix of one of its modes, (size, all others)."""
    return np.moveaxis(array, mode, 0).reshape(array.shape[mode], -1)
