"""Data entry by entry, for divergences: dense arrays, or the non-zeros of sparse counts.

A *layout* is how values that belong to the entries are kept: an (n, m) array for dense data, a vector of the
non-zeros for sparse data. Both answer the same few calls, so that a loss is written once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import Self

import numpy as np
from scipy import sparse
from scipy.special import xlogy

from endmember.factor.kernels import Counts, run, worthwhile

#: Entries whose model is gathered at a time.
CHUNK = 2**18


class Entries(ABC):
    """The entries ``x`` of the data in their layout, seen from the rows; ``.T`` sees them from the columns."""

    x: np.ndarray
    shape: tuple[int, int]
    #: The weight of every entry, or None where all are 1.
    weights: np.ndarray | None = None

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
    def everywhere(self, Z: np.ndarray) -> np.ndarray:
        """Return ``Σ_j w_ij z_jk`` over all entries, zeros included; broadcastable to (n, k)."""

    @abstractmethod
    def largest(self, values: np.ndarray) -> np.ndarray:
        """Return the largest of the values in the layout in every row, over entries that hold counts; at least 0."""

    @abstractmethod
    def some_rows(self, rows: slice) -> Self:
        """Return the entries of some of the rows."""

    def quotients(self, F: np.ndarray, Z: np.ndarray, floor: float) -> np.ndarray:
        """Return ``Σ_j x_ij z_jk / v_ij`` with ``v = F Zᵀ``, at least ``floor``; (n, k)."""
        return self.dot(self.x / np.maximum(self.model(F, Z), floor), Z)

    def deviance(self, F: np.ndarray, Z: np.ndarray, floor: float) -> float:
        """Return ``Σ_ij w_ij (x_ij ln(x_ij / v_ij) − x_ij)`` with ``v = F Zᵀ``, at least ``floor``."""
        terms = xlogy(self.x, self.x / np.maximum(self.model(F, Z), floor)) - self.x
        return float(np.sum(terms if self.weights is None else terms * self.weights))

    def total(self, F: np.ndarray, Z: np.ndarray) -> float:
        """Return ``Σ_ij w_ij v_ij`` with ``v = F Zᵀ``, zeros included."""
        if self.weights is None:
            return float(F.sum(axis=0) @ Z.sum(axis=0))
        return float(np.sum(F * self.everywhere(Z)))

    def counts(self, floor: float) -> Counts | None:
        """Return what compiled loops work on, or None where NumPy does as well."""
        return None

    @abstractmethod
    def over_model(
        self, F: np.ndarray, Z: np.ndarray, floor: float, values: np.ndarray
    ) -> np.ndarray:
        """Return ``Σ_j w_ij values_j / v_ij`` over all entries, zeros included, for ``V = F Zᵀ ≥ floor``, (n,)."""


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

    def everywhere(self, Z: np.ndarray) -> np.ndarray:
        return Z.sum(axis=0)[None, :] if self.weights is None else self.weights @ Z

    def largest(self, values: np.ndarray) -> np.ndarray:
        matter = self.x > 0 if self.weights is None else self.x * self.weights > 0
        return np.max(values, axis=1, initial=0.0, where=matter)

    def some_rows(self, rows: slice) -> DenseEntries:
        return DenseEntries(self.x[rows], None if self.weights is None else self.weights[rows])

    def over_model(
        self, F: np.ndarray, Z: np.ndarray, floor: float, values: np.ndarray
    ) -> np.ndarray:
        return self.dot(1.0 / np.maximum(self.model(F, Z), floor), values)


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

    def largest(self, values: np.ndarray) -> np.ndarray:
        filled = np.diff(self.X.indptr) > 0
        largest = np.zeros(self.shape[0])
        largest[filled] = np.maximum.reduceat(values, self.X.indptr[:-1][filled])
        return np.maximum(largest, 0.0)

    def some_rows(self, rows: slice) -> SparseEntries:
        return SparseEntries(self.X[rows])

    def counts(self, floor: float) -> Counts | None:
        if not worthwhile(len(self.x)):
            return None
        return Counts(self.X.indptr, self.X.indices, self.x, floor)

    def quotients(self, F: np.ndarray, Z: np.ndarray, floor: float) -> np.ndarray:
        counts = self.counts(floor)
        if counts is None:
            return super().quotients(F, Z, floor)
        sums = np.empty(F.shape)
        run("numerators", counts, np.ascontiguousarray(Z), np.ascontiguousarray(F), sums)
        return sums

    def deviance(self, F: np.ndarray, Z: np.ndarray, floor: float) -> float:
        counts = self.counts(floor)
        if counts is None:
            return super().deviance(F, Z, floor)
        sums = np.empty(len(F))
        run("deviances", counts, np.ascontiguousarray(Z), np.ascontiguousarray(F), sums)
        return float(sums.sum())


def nonzeros_of(blocks: Iterable[np.ndarray], shape: tuple[int, ...]) -> SparseEntries | None:
    """Return the non-zeros alone where at least half of the entries are zero: smaller, and quicker to go through."""
    parts, left = [], shape[0] * shape[1] // 2
    for block in blocks:
        left -= int(np.count_nonzero(block))
        if left < 0:
            return None
        parts.append(sparse.csr_array(block))
    return SparseEntries(sparse.csr_array(sparse.vstack(parts)))


def canonical(X: sparse.csr_array) -> sparse.csr_array:
    """Return ``X`` with every non-zero stored once and no zero stored, without changing the one given."""
    if X.has_canonical_format and np.all(X.data):
        return X
    X = X.copy()
    X.sum_duplicates()
    X.eliminate_zeros()
    return X
