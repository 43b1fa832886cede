"""The products that data answer, and blocks of rows to work them out from.

What is computed of a block is returned, never written in place, and taken in the order of the blocks: sums
have the same bits whatever thread or worker was first.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endmember.errors import EndmemberError
from endmember.factor.columns import lengths
from endmember.factor.data.kernels import DenseEntries, Entries, nonzeros_of

#: Entries that a block holds: 4 MiB of float64 stay in the processor's cache.
BLOCK_ENTRIES = 2**19
#: Bytes worked on at a time: they stay in the cache of a core.
PIECE_BYTES = 2**20
#: Chosen columns are copied run by run up to this many runs, one by one beyond.
MOST_RUNS = 64

#: Numbers of rows, or a slice.
Rows = Any
#: What is said of every row of a block, and what adds up over blocks.
ByRowAndSums = tuple[list[np.ndarray], list[Any]]
Floats = NDArray[np.floating]
Indices = NDArray[np.integer]


class Arrangement(ABC):
    """Data and the factors of their model: who multiplies whom, as loop and losses see it.

    Two factors of the matrix, maps and spectra, unless a subclass says otherwise.

    Attributes
    ----------
    shape : tuple of int
        The number of rows of every factor.
    """

    #: The matrix of all spectra.
    matrix: "Data"
    shape: tuple[int, ...]
    #: Whether column j of every factor belongs to component j.
    componentwise = True
    #: Who carries the scale, where the data know; None where the penalties decide.
    own_scales: Any = None

    @property
    def weighted(self) -> bool:
        """Whether every entry has its own weight, so that every row has its own Gram matrix."""
        return self.matrix.W is not None

    @property
    def squared_norm(self) -> float:
        """``‖X‖²``, in the metric of the weights."""
        return self.matrix.squared_norm

    def contract(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        """Return ``X`` contracted with every factor but the one of ``mode``: ``X Z`` or ``Xᵀ F``."""
        X = self.matrix
        return X.dot(factors[1]) if mode == 0 else X.transposed_dot(factors[0])

    def gram(self, factors: Sequence[np.ndarray], mode: int) -> np.ndarray:
        """Return the Gram matrix that goes with :meth:`contract`: the product of the others' Grams."""
        return reduce(np.multiply, (F.T @ F for other, F in enumerate(factors) if other != mode))

    def row_weights(self, mode: int) -> np.ndarray | None:
        """Return the weight of every row of factor number ``mode``, or None where all are 1."""
        return None

    def n_others(self, mode: int) -> int:
        """Return how many entries each row of factor number ``mode`` is made from."""
        return math.prod(self.shape) // max(self.shape[mode], 1)

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    @property
    def work(self) -> int:
        """What a product with a vector takes, in multiplications of dense data."""
        return self.size

    def shares(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Return the length of every component as a fraction of that of the longest, (k,)."""
        each = [lengths(F, self.row_weights(mode)) for mode, F in enumerate(factors)]
        size = np.prod(each, axis=0)
        return np.asarray(size / (np.max(size) or 1.0))

    def folded(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the two factors of that matrix, maps and spectra, that the factors of all modes stand for."""
        return list(factors)

    def unfolded(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return factors of all modes near two factors of that matrix."""
        return list(factors)

    def place(self, row: int) -> tuple[int, ...]:
        """Return where a row of that matrix lies in each of the leading factors."""
        return (row,)

    def halves(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return ``L`` (n, r) and ``R`` (m, r) with ``L Rᵀ`` the scaled data, if compressed; None for all others."""
        return None

    def entries_for(
        self, factors: Sequence[np.ndarray], mode: int, dense: bool = False
    ) -> tuple[Entries, np.ndarray]:
        """Return the entries as factor number ``mode`` sees them, a row of them each, and the rest ``Z`` (m, k)."""
        entries = self.matrix.entries(dense)
        return entries if mode == 0 else entries.transposed, factors[1 - mode]

    def misfit(self, factors: Sequence[np.ndarray]) -> float:
        """Return ``½‖X − F Zᵀ‖²`` from the residual itself: slower than the products, and exact near zero."""
        return self.matrix.misfit(self.folded(factors))


class Data(Arrangement):
    """A matrix ``X`` (n, m): it answers products, rows and entries.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy dtype
        The type in which answers are given back: float32 for float32 data, else float64.
    """

    dtype: np.dtype
    #: The weight of every entry, (n, m); None where only pixels and channels have weights, if any.
    W: np.ndarray | None = None
    #: Where pixels and channels have weights: the data times their roots, and without weights.
    _scaled: "Data | None" = None
    _plain: "Data | None" = None
    #: Where rows have been exposed unequally: the data as recorded, and the exposure of every row, (n,).
    _counts: "Data | None" = None
    exposure: np.ndarray | None = None
    #: Whether models of them creep along valleys in which the objective hardly falls.
    creeps = False
    #: The pixels, channels and image that compressed data were made from; None for all others.
    origin: Any = None
    #: The number of every column among the channels that are not masked; None where all are filled.
    channels: np.ndarray | None = None

    @property
    def matrix(self) -> "Data":  # type: ignore[override]
        return self

    @cached_property
    def scales(self) -> tuple[np.ndarray, np.ndarray]:
        """The roots of the weights of pixels (n, 1) and of channels (m, 1)."""
        return np.ones((self.shape[0], 1)), np.ones((self.shape[1], 1))

    @property
    def scaled(self) -> "Data":
        """The data times these roots: what squared error compares with the model."""
        return self._scaled or self

    @property
    def plain(self) -> "Data":
        """The data without weights of pixels and channels."""
        return self._plain or self

    @property
    def counts(self) -> "Data":
        """The data as recorded; all others are for one unit of exposure."""
        return self._counts or self

    def with_scaled(self, scaled: "Data", rows: Rows = slice(None)) -> "Data":
        """Return scaled data, such as compressed ones, of some rows of these with the weights that they have here."""
        return scaled

    @abstractmethod
    def dot(self, Z: np.ndarray) -> np.ndarray:
        """Return ``X Z``, (n, k)."""

    @abstractmethod
    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        """Return ``Xᵀ F``, (m, k)."""

    @abstractmethod
    def rows(self, index: Rows) -> np.ndarray:
        """Return the rows ``index`` as a dense float64 array."""

    def blocks(self) -> Iterator[tuple[Rows, np.ndarray]]:
        """Yield ``(rows, X[rows])`` as float64, in order; not to be changed."""
        for rows in row_blocks(*self.shape):
            yield rows, self.rows(rows)

    def residual_blocks(self, F: np.ndarray, Z: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield ``(rows, X − F Zᵀ)`` block by block."""
        for rows, block in self.blocks():
            yield rows, block - F[rows] @ Z.T

    def squares_left(self, F: np.ndarray, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the squares of ``X − F Zᵀ`` summed over every row, (n,), and over every column, (m,)."""
        by_row, by_column = np.empty(self.shape[0]), np.zeros(self.shape[1])
        for rows, block in self.residual_blocks(F, Z):
            by_row[rows] = np.einsum("ij,ij->i", block, block)
            by_column += np.einsum("ij,ij->j", block, block)
        return by_row, by_column

    def a_pass(
        self, name: str, kernel: Callable[..., Any], arguments: Callable[[Rows], tuple[Any, ...]]
    ) -> Iterator[tuple[Rows, Any]]:
        """Yield ``(rows, kernel(block, *arguments(rows)))`` of every :class:`Block`, in order.

        Parameters
        ----------
        name : str
            For the log.
        kernel : callable
            At the top level of a module, so that it travels to the workers of a cluster.
        arguments : callable
            Returns what the kernel needs for the pixels ``rows`` besides their data.
        """
        for rows, block in self.blocks():
            yield rows, kernel(Block(block, Selection()), *arguments(rows))

    def gather(
        self,
        name: str,
        kernel: Callable[..., Any],
        arguments: Callable[[Rows], tuple[Any, ...]] = lambda rows: (),
    ) -> list[Any]:
        """Return what a kernel says of all rows, in their places, and then the sums of what it says of blocks.

        Parameters
        ----------
        name, kernel, arguments
            As in :meth:`a_pass`; the kernel returns two lists, of arrays with a row for each of the block, and of
            what adds up.
        """
        by_row: list[np.ndarray] = []
        sums: list[Any] = []
        for rows, (parts, totals) in self.a_pass(name, kernel, arguments):
            by_row = by_row or [np.empty((self.shape[0], *part.shape[1:])) for part in parts]
            sums = [old + new for old, new in zip(sums, totals, strict=True)] if sums else totals
            for whole, part in zip(by_row, parts, strict=True):
                whole[rows] = part
        return [*by_row, *sums]

    def channel_gram(self) -> np.ndarray:
        """Return ``XᵀX``, (m, m)."""
        return self.gather("Gram matrix", _gram)[0]

    @cached_property
    def squared_row_norms(self) -> np.ndarray:
        """``Σ_j x_ij²``, (n,)."""
        return self.gather("norms", _squares)[0]

    @cached_property
    def squared_norm(self) -> float:
        return float(self.squared_row_norms.sum())

    def rescaled(self, r: np.ndarray, c: np.ndarray) -> "Data":
        """Return ``diag(r) X diag(c)``."""
        return Rescaled(self, r, c)

    def with_channels(self, weights: np.ndarray) -> "Data":
        """Return the same data with other weights of the channels, (m,), where channels have weights."""
        return self

    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sum of every row, (n,), and of every column, (m,)."""
        n, m = self.shape
        return self.dot(np.ones((m, 1)))[:, 0], self.transposed_dot(np.ones((n, 1)))[:, 0]

    def entries(self, dense: bool = False) -> Entries:
        """Return the data entry by entry, for losses that are no sum of squares.

        Raises
        ------
        ValueError
            If the data answer only products.
        """
        raise EndmemberError(
            "these data are compressed or scaled: they answer only products, which is enough for "
            "squared error; give the data themselves for losses of single entries such as em.Poisson()"
        )

    def misfit(self, factors: Sequence[np.ndarray]) -> float:
        return 0.5 * sum(float(np.vdot(R, R)) for _, R in self.residual_blocks(*factors[:2]))


def answer_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of an answer about data of ``dtype``: float32 stays float32, all else is float64."""
    return np.dtype(np.float32 if dtype == np.float32 else np.float64)


def row_blocks(n: int, m: int, entries: int = BLOCK_ENTRIES) -> Iterator[slice]:
    """Yield slices that cut ``n`` rows of ``m`` entries into blocks of about so many entries, 4 MiB unless given."""
    step = max(1, entries // max(m, 1))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


class BlockData(Data):
    """Data read in blocks of rows; all products follow from :meth:`Data.a_pass`."""

    #: What a first pass has found: totals of pixels and of channels, directions of the signal.
    found: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    #: Whether the directions are those of pixels weighted by their counts.
    by_counts = False

    def dot(self, Z: np.ndarray) -> np.ndarray:
        return self.gather("X Z", _dot, lambda rows: (Z,))[0]

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        return self.gather("transposed X F", _transposed_dot, lambda rows: (F[rows],))[0]

    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        return self.found[:2] if self.found else super().totals()

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

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.r[index] * self.X.rows(index) * self.c.T

    def blocks(self) -> Iterator[tuple[Rows, np.ndarray]]:
        for rows, block in self.X.blocks():
            yield rows, self.r[rows] * block * self.c.T


class Selection:
    """The rows and columns of a larger matrix that take part in a fit; ``None`` means all of them."""

    def __init__(self, rows: np.ndarray | None = None, columns: np.ndarray | None = None) -> None:
        self.rows, self.columns = rows, columns

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the shape of what is selected from a matrix of ``shape``."""
        n, m = shape
        return (
            n if self.rows is None else len(self.rows),
            m if self.columns is None else len(self.columns),
        )

    def take(self, X: Any, rows: slice | np.ndarray) -> Any:
        """Return the selected columns of the selected rows number ``rows``."""
        block = self.take_rows(X, rows)
        return block if self.columns is None else block[:, self.columns]

    def take_rows(self, X: Any, rows: slice | np.ndarray) -> Any:
        """Return all columns of the selected rows number ``rows``."""
        return X[rows] if self.rows is None else X[self.rows[rows]]

    @cached_property
    def _runs(self) -> list[tuple[int, int]]:
        """The first of every run of neighbouring columns, and the one after its last."""
        assert self.columns is not None
        ends = np.flatnonzero(np.diff(self.columns) != 1) + 1
        return [(int(run[0]), int(run[-1]) + 1) for run in np.split(self.columns, ends)]

    def view(self, block: np.ndarray) -> np.ndarray | None:
        """Return the selected columns of ``block``, which holds all, without a copy; None where they have gaps."""
        if self.columns is None or len(self._runs) != 1:
            return block if self.columns is None else None
        first, last = self._runs[0]
        return block[:, first:last]

    def copy(self, block: np.ndarray, out: np.ndarray) -> None:
        """Copy the selected columns of ``block``, which holds all of them, to ``out``."""
        if self.columns is None:
            np.copyto(out, block)
        elif len(self._runs) > MOST_RUNS:
            np.copyto(out, block[:, self.columns])
        else:
            end = 0
            for first, last in self._runs:
                begin, end = end, end + last - first
                np.copyto(out[:, begin:end], block[:, first:last])


class Block:
    """The chosen rows and columns of one block; iterating gives a piece of it at a time, as float64."""

    def __init__(self, raw: np.ndarray, selection: Selection) -> None:
        self.raw, self.selection, self.shape = raw, selection, selection.shape(raw.shape)
        #: The type in which products may be taken where seven digits will do: float32 for float32 data.
        self.quick = answer_dtype(raw.dtype)

    def __iter__(self) -> Iterator[tuple[slice, np.ndarray]]:
        return self.pieces(np.dtype(np.float64))

    def pieces(self, dtype: np.dtype) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield ``(rows, X[rows])`` in a floating type, 1 MiB at a time, in one buffer; not to be changed."""
        n, m = self.shape
        buffer: np.ndarray | None = None
        for piece in row_blocks(n, m * dtype.itemsize, PIECE_BYTES):
            values = self.selection.take_rows(self.raw, piece)
            view = self.selection.view(values)
            if view is None or view.dtype != dtype:
                # No piece is longer than the first.
                buffer = np.empty((len(values), m), dtype) if buffer is None else buffer
                view = buffer[: len(values)]
                self.selection.copy(values, view)
            yield piece, view


def _dot(block: Block, Z: np.ndarray) -> ByRowAndSums:
    product = np.empty((block.shape[0], Z.shape[1]))
    for piece, X in block:
        np.matmul(X, Z, out=product[piece])
    return [product], []


def _transposed_dot(block: Block, F: np.ndarray) -> ByRowAndSums:
    product = np.zeros((block.shape[1], F.shape[1]))
    for piece, X in block:
        product += X.T @ F[piece]
    return [], [product]


def _gram(block: Block) -> ByRowAndSums:
    product = np.zeros((block.shape[1], block.shape[1]))
    for _, X in block:
        product += X.T @ X
    return [], [product]


def _squares(block: Block) -> ByRowAndSums:
    return [np.concatenate([np.einsum("ij,ij->i", X, X) for _, X in block])], []
