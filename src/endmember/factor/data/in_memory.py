"""The data, behind the few products that the mathematics needs.

``X`` (n, m) is never copied whole: integers and float32 are read in blocks as float64, sparse
counts stay sparse, Dask arrays are read chunk by chunk. ``F`` (n, k) and ``Z`` (m, k) are factors
in float64.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from endmember.errors import Argument, refuse_if
from endmember.factor.data.kernels import DenseEntries, Entries, SparseEntries, canonical
from endmember.factor.data.matrix import (
    Block,
    BlockData,
    Data,
    Rescaled,
    Rows,
    Selection,
    answer_dtype,
    row_blocks,
)
from endmember.factor.data.resources import one_blas_thread, ordered

#: What a multiplication of sparse data takes, in those of dense data.
SPARSE_WORK = 4
#: Entries that one thread works on at a time.
PASS_ENTRIES = 2**22


class Dense(BlockData):
    """An ndarray of any real or integer type; products take all the threads that a fit may use."""

    def __init__(self, X: np.ndarray, selection: Selection | None = None) -> None:
        self.X, self.selection = X, selection or Selection()
        self.shape = self.selection.shape(X.shape)
        self.dtype = answer_dtype(X.dtype)

    def a_pass(
        self, name: str, kernel: Callable[..., Any], arguments: Callable[[Rows], tuple[Any, ...]]
    ) -> Iterator[tuple[Rows, Any]]:
        def work(rows: slice) -> Any:
            chosen = self.selection.rows
            raw = self.X[rows] if chosen is None else self.X
            inside = Selection(None if chosen is None else chosen[rows], self.selection.columns)
            return rows, kernel(Block(raw, inside), *arguments(rows))

        with one_blas_thread():
            n, m = self.shape
            yield from ordered(work, row_blocks(n, m, PASS_ENTRIES))

    def rows(self, index: Rows) -> np.ndarray:
        return self.selection.take(self.X, index).astype(np.float64, copy=False)


class Sparse(Data):
    """Counts in compressed sparse rows; work is proportional to the non-zeros."""

    def __init__(self, X: sparse.csr_array, selection: Selection | None = None) -> None:
        self.dtype, X = answer_dtype(X.dtype), sparse.csr_array(X)
        if selection is not None:
            X = selection.take(X, slice(None))
        self.X = canonical(X).astype(np.float64, copy=False)
        self.shape, self._nonzeros = self.X.shape, SparseEntries(self.X)

    @property
    def work(self) -> int:
        return SPARSE_WORK * self.X.nnz

    def dot(self, Z: np.ndarray) -> np.ndarray:
        return self.X @ np.ascontiguousarray(Z)

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        return self.X.T @ np.ascontiguousarray(F)

    def channel_gram(self) -> np.ndarray:
        return (self.X.T @ self.X).toarray()

    def rows(self, index: Rows) -> np.ndarray:
        return self.X[index].toarray()

    def rescaled(self, r: np.ndarray, c: np.ndarray) -> Data:
        x = self.X.data * np.repeat(r, np.diff(self.X.indptr)) * c[self.X.indices]
        return Sparse(sparse.csr_array((x, self.X.indices, self.X.indptr), shape=self.shape))

    @cached_property
    def squared_row_norms(self) -> np.ndarray:
        return np.asarray(self.X.multiply(self.X).sum(axis=1)).ravel()

    def entries(self, dense: bool = False) -> Entries:
        return DenseEntries(self.X.toarray()) if dense else self._nonzeros


class Weighted(Data):
    r"""Dense data whose entries have weights: every product is with ``W ∘ X``, every row has its own Gram.

    The misfit is :math:`\tfrac12\sum_{ij} w_{ij}(x_{ij} - \hat x_{ij})^2`. Missing entries have
    weight 0.
    """

    W: np.ndarray

    def __init__(self, X: Data, W: np.ndarray) -> None:
        values = X.rows(np.arange(X.shape[0]))
        self.W = np.where(np.isnan(values), 0.0, W)
        self.X = np.where(self.W > 0, values, 0.0)
        self.shape, self.dtype = X.shape, X.dtype
        self._weighted = self.W * self.X

    @property
    def size(self) -> int:
        return int(np.count_nonzero(self.W))

    def dot(self, Z: np.ndarray) -> np.ndarray:
        return self._weighted @ Z

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        return self._weighted.T @ F

    def gram(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        return weighted_gram(factors[1 - mode], self.W if mode == 0 else self.W.T)

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
        return DenseEntries(np.where(self.W > 0, self.X, np.mean(self.X[self.W > 0])), self.W)


def weighted_gram(Z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return ``Zᵀ diag(w) Z`` for every row of weights (…, m), (…, k, k)."""
    m, k = Z.shape
    products = (Z[:, :, None] * Z[:, None, :]).reshape(m, k * k)
    return (weights @ products).reshape(*weights.shape[:-1], k, k)


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
        n = self.shape[0]
        crossed = np.outer(self.X.transposed_dot(np.ones((n, 1)))[:, 0], self.mean)
        return self.X.channel_gram() - crossed - crossed.T + n * np.outer(self.mean, self.mean)

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.X.rows(index) - self.mean

    def blocks(self) -> Iterator[tuple[Rows, np.ndarray]]:
        for rows, block in self.X.blocks():
            yield rows, block - self.mean


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
    plain : Data, (n, m), optional
        The unscaled data; what the scaled ones say of them unless given.
    """

    def __init__(
        self, scaled: Data, r: np.ndarray, c: np.ndarray, plain: Data | None = None
    ) -> None:
        self._scaled, self.scales = scaled, (r[:, None], c[:, None])
        self._plain = plain or Rescaled(scaled, 1 / r, 1 / c)
        self.shape, self.dtype = scaled.shape, scaled.dtype

    @property
    def work(self) -> int:
        return self.plain.work

    def with_scaled(self, scaled: Data, rows: Rows = slice(None)) -> Data:
        r, c = self.scales
        return Reweighted(scaled, r[rows, 0], c[:, 0])

    def with_channels(self, weights: np.ndarray) -> "Reweighted":
        (r, c), other = self.scales, np.sqrt(weights)
        return Reweighted(
            self.scaled.rescaled(np.ones(len(r)), other / c[:, 0]), r[:, 0], other, self.plain
        )

    def dot(self, Z: np.ndarray) -> np.ndarray:
        return self.plain.dot(Z)

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        return self.plain.transposed_dot(F)

    def contract(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        (r, c), X = self.scales, self.scaled
        return X.dot(c * factors[1]) / r if mode == 0 else X.transposed_dot(r * factors[0]) / c

    def gram(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        Z = self.scales[1 - mode] * factors[1 - mode]
        return Z.T @ Z

    def halves(self) -> tuple[np.ndarray, np.ndarray] | None:
        return self.scaled.halves()

    def row_weights(self, mode: int) -> np.ndarray:
        return self.scales[mode][:, 0] ** 2

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.plain.rows(index)

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


class Exposed(Reweighted):
    r"""Data for one unit of exposure, :math:`x_{ij} / e_i`, each row with the weight :math:`e_i`.

    An exposure of e is e of one unit added up, with e times the variance: no loss says more of the counts than this
    of the rates. Maps come out for one unit, and penalties see them so.

    .. math:: d_{\rm KL}(x, e v) = e\, d_{\rm KL}(x / e, v),\qquad (x - e v)^2 / e = e (x / e - v)^2

    Parameters
    ----------
    X : Data, (n, m)
        As recorded.
    exposure : ndarray, (n,)
        Positive.
    """

    def __init__(self, X: Data, exposure: np.ndarray) -> None:
        root, one = np.sqrt(exposure), np.ones(X.shape[1])
        super().__init__(X.rescaled(1 / root, one), root, one, X.rescaled(1 / exposure, one))
        self._counts, self.exposure = X, exposure

    def with_channels(self, weights: np.ndarray) -> Reweighted:
        return self

    def entries(self, dense: bool = False) -> Entries:
        return self.counts.entries(dense).exposed(self.scales[0][:, 0] ** 2)


def exposed(X: Data, exposure: np.ndarray | None) -> Data:
    """Return data for one unit of the exposure of every row (n,), in whose noise they keep their say."""
    if exposure is None:
        return X
    if X.W is None:
        return Exposed(X, exposure)
    found = Weighted(X.rescaled(1 / exposure, np.ones(X.shape[1])), X.W * exposure[:, None])
    found._counts, found.exposure = X, exposure
    return found


def count_scaled(data: Data, dark: float = 0.0) -> Data:
    r"""Weight pixels and channels by their totals, :math:`n / (a_i b_j)`, so that counts have white noise.

    So have other data whose variance grows with their mean, from ``dark`` below zero on, which is added to every value
    of these totals.
    Data whose pixels and channels have weights keep them. Read noise can take a total to zero or below: such a
    row weighs as the faintest honest one. The largest singular value of the scaled data is :math:`\sqrt n` with
    :math:`n` the sum of all data.

    Raises
    ------
    ValueError
        If no pixel or no channel has a positive total.

    References
    ----------
    Keenan & Kotula, Surf. Interface Anal. 36 (2004) 203.
    """
    X, exposure = data._counts or data, data.exposure
    if X.row_weights(0) is not None:
        return data
    pixels, channels = (
        _positive(sums + dark * X.shape[1 - axis]) for axis, sums in enumerate(X.totals())
    )
    size = np.sqrt(pixels.sum())
    r, c = np.sqrt(size / pixels), np.sqrt(size / channels)
    return Reweighted(X.rescaled(r, c), r if exposure is None else r * exposure, c, data.plain)


def _positive(totals: np.ndarray) -> np.ndarray:
    good = totals > 1e-3 * np.mean(np.abs(totals))
    refuse_if(
        not good.any(),
        "weights by counts need pixels and channels with positive totals; use ",
        Argument("loss", "SquaredError", "em.SquaredError()"),
        " for data around zero",
    )
    return np.where(good, totals, totals[good].min())
