"""The data, behind the few products that the mathematics needs.

``X`` (n, m) is never copied whole: integers and float32 are read in blocks as float64, sparse
counts stay sparse, Dask arrays are read chunk by chunk. ``F`` (n, k) and ``Z`` (m, k) are factors
in float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from endmember.factor.entries import DenseEntries, Entries, SparseEntries, canonical, nonzeros_of

#: Entries that a block holds: 4 MiB of float64 stay in the processor's cache.
BLOCK_ENTRIES = 2**19


class Data(ABC):
    """A matrix ``X`` (n, m) that answers products; what every loss is written against.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy dtype
        The type in which answers are given back: float32 for float32 data, else float64.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    #: Whether every entry has its own weight, so that every row has its own Gram matrix.
    weighted = False
    #: Whether column j of every factor belongs to component j.
    componentwise = True
    #: The pixels, channels and image that compressed data were made from; None for all others.
    origin: Any = None
    #: The number of every column among the channels that are not masked; None where all are filled.
    channels: np.ndarray | None = None
    #: The energy of every channel of ``origin``, where known.
    energy: Any = None

    @abstractmethod
    def dot(self, Z: np.ndarray) -> np.ndarray:
        """Return ``X Z``, (n, k)."""

    @abstractmethod
    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        """Return ``Xᵀ F``, (m, k)."""

    @abstractmethod
    def channel_gram(self) -> np.ndarray:
        """Return ``XᵀX``, (m, m)."""

    @abstractmethod
    def rows(self, index: np.ndarray) -> np.ndarray:
        """Return the rows ``index`` as a dense float64 array."""

    @abstractmethod
    def residual_blocks(self, F: np.ndarray, Z: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield ``(rows, X − F Zᵀ)`` block by block."""

    @property
    @abstractmethod
    def squared_row_norms(self) -> np.ndarray:
        """``Σ_j x_ij²``, (n,)."""

    @cached_property
    def squared_norm(self) -> float:
        """``‖X‖²``."""
        return float(self.squared_row_norms.sum())

    def contract(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        """Return ``X`` contracted with every factor but the one of ``mode``: ``X Z`` or ``Xᵀ F``."""
        return self.dot(factors[1]) if mode == 0 else self.transposed_dot(factors[0])

    def gram(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        """Return the Gram matrix that goes with :meth:`contract`: the product of the others' Grams."""
        others = [F.T @ F for other, F in enumerate(factors) if other != mode]
        return np.prod(others, axis=0)

    def row_weights(self, mode: int) -> np.ndarray | None:
        """Return the weight of every row of factor number ``mode``, or None where all are 1."""
        return None

    def n_others(self, mode: int) -> int:
        """Return how many entries each row of factor number ``mode`` is made from."""
        return int(np.prod(self.shape, dtype=np.int64)) // max(self.shape[mode], 1)

    def own_scales(self) -> Any:
        """Return who carries the scale, where the data know; None where the penalties decide."""
        return None

    @property
    def matrix(self) -> Data:
        """The matrix of all spectra."""
        return self

    def folded(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the two factors of that matrix, maps and spectra, that the factors of all modes stand for."""
        return list(factors)

    def unfolded(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return factors of all modes near two factors of that matrix."""
        return list(factors)

    def place(self, row: int) -> tuple[int, ...]:
        """Return where a row of that matrix lies in each of the leading factors."""
        return (row,)

    def rescaled(self, r: np.ndarray, c: np.ndarray) -> Data:
        """Return ``diag(r) X diag(c)``."""
        return Rescaled(self, r, c)

    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sum of every row, (n,), and of every column, (m,)."""
        n, m = self.shape
        rows = self.dot(np.ones((m, 1)))[:, 0]
        return rows, self.transposed_dot(np.ones((n, 1)))[:, 0]

    def entries(self, dense: bool = False) -> Entries:
        """Return the data entry by entry, for losses that are no sum of squares.

        Raises
        ------
        ValueError
            If the data answer only products.
        """
        raise ValueError(
            "these data are compressed or scaled: they answer only products, which is enough for "
            "squared error; give the data themselves for em.Poisson() and other divergences"
        )

    def faced(
        self, factors: Sequence[np.ndarray], mode: int, dense: bool = False
    ) -> tuple[Entries, np.ndarray]:
        """Return the entries as factor number ``mode`` sees them, a row of them each, and the rest ``Z`` (m, k)."""
        entries = self.entries(dense)
        return entries if mode == 0 else entries.transposed(), factors[1 - mode]

    def misfit(self, factors: Sequence[np.ndarray]) -> float:
        """Return ``½‖X − F Zᵀ‖²`` from the residual itself: slower than the products, and exact near zero."""
        return 0.5 * sum(float(np.vdot(R, R)) for _, R in self.residual_blocks(*factors[:2]))


def answer_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of an answer about data of ``dtype``: float32 stays float32, all else is float64."""
    return np.dtype(np.float32 if dtype == np.float32 else np.float64)


def row_blocks(n: int, m: int) -> Iterator[slice]:
    """Yield slices that cut ``n`` rows of ``m`` entries into blocks of about 4 MiB."""
    step = max(1, BLOCK_ENTRIES // max(m, 1))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


class BlockData(Data):
    """Data read in blocks of rows; all products follow from :meth:`blocks`."""

    @abstractmethod
    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield ``(rows, X[rows])`` as float64, in order."""

    def dot(self, Z: np.ndarray) -> np.ndarray:
        product = np.empty((self.shape[0], Z.shape[1]))
        for rows, block in self.blocks():
            np.matmul(block, Z, out=product[rows])
        return product

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        product = np.zeros((self.shape[1], F.shape[1]))
        for rows, block in self.blocks():
            product += block.T @ F[rows]
        return product

    def channel_gram(self) -> np.ndarray:
        product = np.zeros((self.shape[1], self.shape[1]))
        for _, block in self.blocks():
            product += block.T @ block
        return product

    def residual_blocks(self, F: np.ndarray, Z: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        for rows, block in self.blocks():
            yield rows, block - F[rows] @ Z.T

    @cached_property
    def squared_row_norms(self) -> np.ndarray:
        norms = np.empty(self.shape[0])
        for rows, block in self.blocks():
            norms[rows] = np.einsum("ij,ij->i", block, block)
        return norms

    def entries(self, dense: bool = False) -> Entries:
        return (None if dense else self._nonzeros) or self._all_entries

    @cached_property
    def _nonzeros(self) -> Entries | None:
        return nonzeros_of((block for _, block in self.blocks()), self.shape)

    @cached_property
    def _all_entries(self) -> Entries:
        whole = np.empty(self.shape)
        for rows, block in self.blocks():
            whole[rows] = block
        return DenseEntries(whole)


class Selection:
    """The rows and columns of a larger matrix that take part in a fit; ``None`` means all of them."""

    def __init__(self, rows: np.ndarray | None = None, columns: np.ndarray | None = None) -> None:
        self.rows, self.columns = rows, columns

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the shape of what is selected from a matrix of ``shape``."""
        n = shape[0] if self.rows is None else len(self.rows)
        m = shape[1] if self.columns is None else len(self.columns)
        return n, m

    def take(self, X: Any, rows: slice | np.ndarray) -> Any:
        """Return the selected columns of the selected rows number ``rows``."""
        block = X[rows] if self.rows is None else X[self.rows[rows]]
        return block if self.columns is None else block[:, self.columns]


class Dense(BlockData):
    """An ndarray of any real or integer type."""

    def __init__(self, X: np.ndarray, selection: Selection | None = None) -> None:
        self.X, self.selection = X, selection or Selection()
        self.shape = self.selection.shape(X.shape)
        self.dtype = answer_dtype(X.dtype)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        for rows in row_blocks(*self.shape):
            yield rows, self.selection.take(self.X, rows).astype(np.float64, copy=False)

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.selection.take(self.X, np.asarray(index)).astype(np.float64)


class Sparse(Data):
    """Counts in compressed sparse rows; work is proportional to the non-zeros."""

    def __init__(self, X: sparse.csr_array, selection: Selection | None = None) -> None:
        self.dtype, X = answer_dtype(X.dtype), sparse.csr_array(X)
        if selection is not None:
            X = selection.take(X, slice(None))
        self.X = canonical(X).astype(np.float64, copy=False)
        self.shape = self.X.shape

    def dot(self, Z: np.ndarray) -> np.ndarray:
        return self.X @ np.ascontiguousarray(Z)

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        return self.X.T @ np.ascontiguousarray(F)

    def channel_gram(self) -> np.ndarray:
        return (self.X.T @ self.X).toarray()

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.X[np.asarray(index)].toarray()

    def rescaled(self, r: np.ndarray, c: np.ndarray) -> Data:
        x = self.X.data * np.repeat(r, np.diff(self.X.indptr)) * c[self.X.indices]
        return Sparse(sparse.csr_array((x, self.X.indices, self.X.indptr), shape=self.shape))

    def residual_blocks(self, F: np.ndarray, Z: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        for rows in row_blocks(*self.shape):
            yield rows, self.X[rows].toarray() - F[rows] @ Z.T

    @cached_property
    def squared_row_norms(self) -> np.ndarray:
        return np.asarray(self.X.multiply(self.X).sum(axis=1)).ravel()

    def entries(self, dense: bool = False) -> Entries:
        return DenseEntries(self.X.toarray()) if dense else self._nonzeros

    @cached_property
    def _nonzeros(self) -> Entries:
        return SparseEntries(self.X)


class Weighted(Data):
    r"""Dense data whose entries have weights: every product is with ``W ∘ X``, every row has its own Gram.

    The misfit is :math:`\tfrac12\sum_{ij} w_{ij}(x_{ij} - \hat x_{ij})^2`. Missing entries have
    weight 0.
    """

    weighted = True

    def __init__(self, X: Data, W: np.ndarray) -> None:
        values = X.rows(np.arange(X.shape[0]))
        self.W = np.where(np.isnan(values), 0.0, W)
        self.X = np.where(self.W > 0, values, 0.0)
        self.shape, self.dtype = X.shape, X.dtype
        self._weighted = self.W * self.X

    def dot(self, Z: np.ndarray) -> np.ndarray:
        return self._weighted @ Z

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        return self._weighted.T @ F

    def gram(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        Z, W = factors[1 - mode], self.W if mode == 0 else self.W.T
        m, k = Z.shape
        products = (Z[:, :, None] * Z[:, None, :]).reshape(m, k * k)
        return (W @ products).reshape(-1, k, k)

    def channel_gram(self) -> np.ndarray:
        return self.X.T @ self._weighted

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.X[index]

    def residual_blocks(self, F: np.ndarray, Z: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        for rows in row_blocks(*self.shape):
            yield rows, np.sqrt(self.W[rows]) * (self.X[rows] - F[rows] @ Z.T)

    @cached_property
    def squared_row_norms(self) -> np.ndarray:
        return np.einsum("ij,ij->i", self._weighted, self.X)

    def entries(self, dense: bool = False) -> Entries:
        # What is missing gets a harmless value: no divergence may stumble over its zero.
        harmless = np.mean(self.X[self.W > 0])
        return DenseEntries(np.where(self.W > 0, self.X, harmless), self.W)


class Rescaled(Data):
    """``diag(r) X diag(c)`` for any other data: what whitening makes of them.

    Parameters
    ----------
    X : Data, (n, m)
    r : ndarray, (n,)
    c : ndarray, (m,)
    """

    def __init__(self, X: Data, r: np.ndarray, c: np.ndarray) -> None:
        self.X, self.r, self.c = X, r[:, None], c[:, None]
        self.shape, self.dtype = X.shape, X.dtype

    def dot(self, Z: np.ndarray) -> np.ndarray:
        return self.r * self.X.dot(self.c * Z)

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        return self.c * self.X.transposed_dot(self.r * F)

    def channel_gram(self) -> np.ndarray:
        product = np.zeros((self.shape[1], self.shape[1]))
        for _, block in self.residual_blocks(
            np.zeros((self.shape[0], 1)), np.zeros((self.shape[1], 1))
        ):
            product += block.T @ block
        return product

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.r[index] * self.X.rows(index) * self.c.T

    def residual_blocks(self, F: np.ndarray, Z: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        for rows, block in self.X.residual_blocks(F / self.r, Z / self.c):
            yield rows, self.r[rows] * block * self.c.T

    @cached_property
    def squared_row_norms(self) -> np.ndarray:
        norms = np.empty(self.shape[0])
        nothing = np.zeros((self.shape[0], 1)), np.zeros((self.shape[1], 1))
        for rows, block in self.residual_blocks(*nothing):
            norms[rows] = np.einsum("ij,ij->i", block, block)
        return norms


class Centred(Data):
    """``X − 1 μᵀ`` for any other data, without touching them.

    Parameters
    ----------
    X : Data, (n, m)
    mean : ndarray, (m,)
        What is taken from every row.
    """

    def __init__(self, X: Data, mean: np.ndarray) -> None:
        self.X, self.mean = X, mean
        self.shape, self.dtype = X.shape, X.dtype

    def dot(self, Z: np.ndarray) -> np.ndarray:
        return self.X.dot(Z) - self.mean @ Z

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        return self.X.transposed_dot(F) - np.outer(self.mean, F.sum(axis=0))

    def channel_gram(self) -> np.ndarray:
        total = self.X.transposed_dot(np.ones((self.shape[0], 1)))[:, 0]
        crossed = np.outer(total, self.mean)
        n = self.shape[0]
        return self.X.channel_gram() - crossed - crossed.T + n * np.outer(self.mean, self.mean)

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.X.rows(index) - self.mean

    def residual_blocks(self, F: np.ndarray, Z: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        for rows, block in self.X.residual_blocks(F, Z):
            yield rows, block - self.mean

    @cached_property
    def squared_row_norms(self) -> np.ndarray:
        across = self.X.dot(self.mean[:, None])[:, 0]
        return self.X.squared_row_norms - 2 * across + self.mean @ self.mean


class Reweighted(Data):
    r"""Data whose pixels and channels have weights, :math:`r_i^2 c_j^2` for entry ij.

    The misfit is that of the scaled data :math:`\tilde x_{ij} = r_i x_{ij} c_j`; factors stay in the
    unit of the unscaled data. Pixels do not interact, so their weights only matter to penalties.

    Parameters
    ----------
    scaled : Data, (n, m)
        The scaled data, whole or compressed.
    r : ndarray, (n,)
    c : ndarray, (m,)
    """

    def __init__(self, scaled: Data, r: np.ndarray, c: np.ndarray) -> None:
        self.scaled, self.scales = scaled, (r[:, None], c[:, None])
        self.shape, self.dtype = scaled.shape, scaled.dtype

    def dot(self, Z: np.ndarray) -> np.ndarray:
        r, c = self.scales
        return self.scaled.dot(Z / c) / r

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        r, c = self.scales
        return self.scaled.transposed_dot(F / r) / c

    def contract(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        (r, c), scaled = self.scales, self.scaled
        if mode == 0:
            return scaled.dot(c * factors[1]) / r
        return scaled.transposed_dot(r * factors[0]) / c

    def gram(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        Z = self.scales[1 - mode] * factors[1 - mode]
        return Z.T @ Z

    def row_weights(self, mode: int) -> np.ndarray:
        return self.scales[mode][:, 0] ** 2

    def channel_gram(self) -> np.ndarray:
        return self.scaled.channel_gram()

    def rows(self, index: np.ndarray) -> np.ndarray:
        r, c = self.scales
        return self.scaled.rows(index) / r[index] / c.T

    def residual_blocks(self, F: np.ndarray, Z: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        r, c = self.scales
        return self.scaled.residual_blocks(r * F, c * Z)

    def misfit(self, factors: Sequence[np.ndarray]) -> float:
        r, c = self.scales
        return self.scaled.misfit([r * factors[0], c * factors[1]])

    @cached_property
    def squared_norm(self) -> float:
        return self.scaled.squared_norm

    @property
    def squared_row_norms(self) -> np.ndarray:
        return self.scaled.squared_row_norms


def count_scaled(data: Data) -> Reweighted:
    r"""Weight pixels and channels by their totals, :math:`n / (a_i b_j)`, so that counts have white noise.

    Read noise can take a total to zero or below: such a row weighs as the faintest honest one. The largest
    singular value of the scaled data is :math:`\sqrt n` with :math:`n` the sum of all data.

    Raises
    ------
    ValueError
        If no pixel or no channel has a positive total.

    References
    ----------
    Keenan & Kotula, Surf. Interface Anal. 36 (2004) 203.
    """
    pixels, channels = (_positive(sums) for sums in data.totals())
    size = np.sqrt(pixels.sum())
    r, c = np.sqrt(size / pixels), np.sqrt(size / channels)
    weighted = Reweighted(data.rescaled(r, c), r, c)
    weighted.channels = data.channels
    return weighted


def _positive(totals: np.ndarray) -> np.ndarray:
    good = totals > 1e-3 * np.mean(np.abs(totals))
    if not good.any():
        raise ValueError(
            "weights by counts need pixels and channels with positive totals; use em.SquaredError() "
            "for data around zero"
        )
    return np.where(good, totals, totals[good].min())
