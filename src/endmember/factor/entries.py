"""Data entry by entry, for divergences: dense arrays, or the non-zeros of sparse counts.

A *layout* is how values that belong to the entries are kept: an (n, m) array for dense data, a vector of the
non-zeros for sparse data. Both answer the same few calls, so that a loss is written once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Self

import numpy as np
from scipy import sparse

#: Entries whose model is gathered at a time.
CHUNK = 2**18


class Entries(ABC):
    """The entries ``x`` of the data in their layout, seen from the rows; ``.T`` sees them from the columns."""

    x: np.ndarray
    shape: tuple[int, int]

    @abstractmethod
    def transposed(self) -> Self:
        """Return the same entries seen from the other side."""

    @abstractmethod
    def model(self, F: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Return ``F Zᵀ`` in the layout."""

    @abstractmethod
    def dot(self, values: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Return ``Σ_j values_ij z_jk``, (n, k)."""

    @abstractmethod
    def add_outer(self, values: np.ndarray, f: np.ndarray, z: np.ndarray) -> None:
        """Add ``f_i z_j`` to values in the layout, in place."""

    @abstractmethod
    def everywhere(self, Z: np.ndarray) -> np.ndarray:
        """Return ``Σ_j w_ij z_jk`` over all entries, zeros included; broadcastable to (n, k)."""

    @abstractmethod
    def over_model(
        self, F: np.ndarray, Z: np.ndarray, floor: float, values: np.ndarray
    ) -> np.ndarray:
        """Return ``Σ_j w_ij values_j / v_ij`` over all entries, zeros included, for ``V = F Zᵀ ≥ floor``, (n,)."""

    @abstractmethod
    def smallest_positive(self) -> np.ndarray:
        """Return the smallest positive ``w x`` of every row, (n,); infinity where there is none."""


class DenseEntries(Entries):
    """A dense array, with a weight for every entry if wanted."""

    def __init__(self, x: np.ndarray, weights: np.ndarray | None = None) -> None:
        self.x, self.weights, self.shape = x, weights, x.shape

    def transposed(self) -> DenseEntries:
        return DenseEntries(self.x.T, None if self.weights is None else self.weights.T)

    def model(self, F: np.ndarray, Z: np.ndarray) -> np.ndarray:
        return F @ Z.T

    def dot(self, values: np.ndarray, Z: np.ndarray) -> np.ndarray:
        return (values if self.weights is None else values * self.weights) @ Z

    def add_outer(self, values: np.ndarray, f: np.ndarray, z: np.ndarray) -> None:
        values += np.multiply.outer(f, z)

    def everywhere(self, Z: np.ndarray) -> np.ndarray:
        return Z.sum(axis=0)[None, :] if self.weights is None else self.weights @ Z

    def over_model(
        self, F: np.ndarray, Z: np.ndarray, floor: float, values: np.ndarray
    ) -> np.ndarray:
        return self.dot(1.0 / np.maximum(self.model(F, Z), floor), values)

    def smallest_positive(self) -> np.ndarray:
        x = self.x if self.weights is None else self.x * self.weights
        return np.min(np.where(x > 0, x, np.inf), axis=1, initial=np.inf)


class SparseEntries(Entries):
    """The non-zeros of counts; zeros only matter through the sums of the factors."""

    def __init__(self, X: sparse.csr_array) -> None:
        self.X, self.x, self.shape = X, X.data, X.shape

    @cached_property
    def _row(self) -> np.ndarray:
        return np.repeat(np.arange(self.shape[0]), np.diff(self.X.indptr))

    @cached_property
    def _other(self) -> SparseEntries:
        return SparseEntries(sparse.csr_array(self.X.T))

    def transposed(self) -> SparseEntries:
        return self._other

    def model(self, F: np.ndarray, Z: np.ndarray) -> np.ndarray:
        values = np.empty(len(self.x))
        for start in range(0, len(values), CHUNK):
            part = slice(start, start + CHUNK)
            np.einsum("ek,ek->e", F[self._row[part]], Z[self.X.indices[part]], out=values[part])
        return values

    def dot(self, values: np.ndarray, Z: np.ndarray) -> np.ndarray:
        matrix = sparse.csr_array((values, self.X.indices, self.X.indptr), shape=self.shape)
        return matrix @ np.ascontiguousarray(Z)

    def add_outer(self, values: np.ndarray, f: np.ndarray, z: np.ndarray) -> None:
        values += f[self._row] * z[self.X.indices]

    def everywhere(self, Z: np.ndarray) -> np.ndarray:
        return Z.sum(axis=0)[None, :]

    def over_model(
        self, F: np.ndarray, Z: np.ndarray, floor: float, values: np.ndarray
    ) -> np.ndarray:
        sums, rows = np.empty(len(F)), max(CHUNK // len(Z), 1)
        for start in range(0, len(F), rows):
            part = slice(start, start + rows)
            sums[part] = (1.0 / np.maximum(F[part] @ Z.T, floor)) @ values
        return sums

    def smallest_positive(self) -> np.ndarray:
        filled = np.diff(self.X.indptr) > 0
        smallest = np.full(self.shape[0], np.inf)
        smallest[filled] = np.minimum.reduceat(self.x, self.X.indptr[:-1][filled])
        return smallest
