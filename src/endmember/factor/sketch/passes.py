r"""Least squares on data that are read, not held: every pass gives all that it can.

1. :func:`first_pass`: what the data hold, their totals, and :math:`Y = X^\top (X \Omega)` with random
   :math:`\Omega`: the directions of the signal, refined by one power step.
2. :func:`sketched`: :math:`Z = X V` and :math:`X^\top Z` with :math:`V` an orthonormal basis of Y, hence the
   projection :math:`Q Q^\top X` on the range of Z. Starts and sweeps run on it in memory.
3. :func:`examined`, once a round: :math:`X S`, :math:`X^\top C` and the residual itself. They certify the
   factors on the full data, and make the sketch exact for them
   (:class:`~endmember.factor.sketch.low_rank.Refined`); sweeps go on from there.

A round is a Newton-like step: where the sketch is exact for ``(C, S)``, its error for factors nearby is of second
order, so that one or two rounds do what dozens of sweeps over the full data would.

Halko, Martinsson & Tropp, SIAM Rev. 53 (2011) 217, sections 4.5 and 5.5.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from endmember.factor.columns import placed
from endmember.factor.data.in_memory import Dense
from endmember.factor.data.lazy import Blocks, Lazy
from endmember.factor.data.matrix import (
    BLOCK_ENTRIES,
    Block,
    BlockData,
    ByRowAndSums,
    Data,
    row_blocks,
)
from endmember.factor.data.resources import current

#: Directions of the signal that are followed besides those that are kept.
OVERSAMPLING = 10
#: Directions with less than this fraction of the largest squared singular value are rounding.
ROUNDING = 1e-13
#: Below this fraction of the data's squares the residual is taken entry by entry.
EXPLICIT_BELOW = 1e-8
#: Seed of the random directions; what they find does not depend on them.
SEED = 20260
#: A pixel counts for at least this fraction of the mean of its block when pixels are weighted by counts.
FAINT = 1e-3


@dataclass(frozen=True)
class Wanted:
    """What a first pass shall find besides what the data hold.

    Attributes
    ----------
    directions : int
        How many directions of the signal.
    by_counts : bool
        Whether pixels are weighted by their counts.
    entries : bool
        Whether the model looks at single entries, so that the data must be in memory.
    """

    directions: int = 0
    by_counts: bool = False
    entries: bool = False


def working_memory(blocks: Blocks, k: int) -> float:
    """Return the bytes that a fit of ``k`` components takes: blocks, the sketch, maps and what solves for them."""
    rank = max(2 * k, k + 10)
    a_block = blocks.bytes_of_block + 4 * 8 * BLOCK_ENTRIES
    arrays = blocks.n * (2 * rank + OVERSAMPLING + 10 * k) + blocks.X.shape[-1] * 8 * rank
    return blocks.threads * a_block + 8 * arrays


@dataclass
class Survey:
    """What the data hold, among the entries that are not masked.

    Attributes
    ----------
    filled_rows, filled_columns : ndarray of bool, (n,), (m,)
        Of all pixels and channels, those left out included.
    counts : ndarray of int, (3,)
        Non-finite, negative and zero entries.
    first_nonfinite : ndarray of int, (0,) or (2,)
        Pixel and channel of the first value that is no number.
    integer : bool
        Whether they are kept as whole numbers.
    size : float
        The largest finite absolute value of floating data; 0 for whole numbers.
    """

    filled_rows: np.ndarray
    filled_columns: np.ndarray
    counts: np.ndarray
    first_nonfinite: np.ndarray
    integer: Any
    size: Any

    @property
    def n_negative(self) -> int:
        """How many entries are negative."""
        return int(self.counts[1])


@dataclass
class FirstPass(Survey):
    """What the first pass finds; ``n`` pixels and ``m`` channels, those left out included.

    Attributes
    ----------
    pixels : ndarray, (n,)
        Sum of every pixel.
    channels : ndarray, (m,)
        Sum of every channel.
    directions : ndarray, (m, s)
        ``Xᵀ W X Ω`` with W the weights of the pixels.
    """

    pixels: np.ndarray
    channels: np.ndarray
    directions: np.ndarray


def first_pass(
    data: Lazy | Dense,
    columns: np.ndarray,
    rows: np.ndarray,
    shape: tuple[int, int],
    wanted: Wanted,
) -> FirstPass:
    """Return what one pass over everything finds.

    Parameters
    ----------
    data : Lazy or Dense
        The pixels and channels that are not masked.
    columns, rows : ndarray of int
        Their numbers among all.
    shape : tuple of int
        All pixels and channels.
    wanted : Wanted
    """

    def compute() -> dict[str, np.ndarray]:
        (n, m), size = shape, min(wanted.directions, *data.shape)
        arguments = _random_directions(data, size), wanted.by_counts
        filled, wrong, pixels, sizes, filled_columns, counts, channels, directions = data.gather(
            "first look", _first_of_block, lambda _: arguments
        )
        first = np.flatnonzero(wrong >= 0)[:1]
        found = FirstPass(
            placed(filled, rows, n, False, bool), placed(filled_columns, columns, m, False, bool),
            counts, np.concatenate([rows[first], columns[wrong[first].astype(int)]]),
            data.X.dtype.kind in "iub", sizes.max(), placed(pixels, rows, n),
            placed(channels, columns, m), placed(directions, columns, m),
        )  # fmt: skip
        return vars(found)

    inputs = [shape, rows, columns, wanted.directions, wanted.by_counts]
    return FirstPass(**_kept(data, "look", inputs, compute))


def _first_of_block(block: Block, omega: np.ndarray, by_counts: bool) -> ByRowAndSums:
    n, m = block.shape
    filled, filled_columns = np.zeros(n, bool), np.zeros(m, bool)
    counts, wrong, pixels, sizes = np.zeros(3, int), np.full(n, -1), np.empty(n), np.zeros(n)
    signed, may_be_wrong = block.raw.dtype.kind in "fi", block.raw.dtype.kind == "f"
    with_sum = np.column_stack([omega, np.ones(m)]).astype(block.quick)
    found, empty = np.zeros(with_sum.T.shape), np.arange(m)
    for piece, X in block.pieces(block.quick):
        something = X != 0
        filled[piece] = something.any(axis=1)
        if len(empty):
            filled_columns[empty] = (X[:, empty] != 0).any(axis=0)
            empty = empty[~filled_columns[empty]]
        counts[2] += X.size - np.count_nonzero(something)
        if signed and not X.min() >= 0:
            counts[1] += np.count_nonzero(X < 0)
        sizes[piece] = largest_size(X) if may_be_wrong else 0.0
        with np.errstate(invalid="ignore", over="ignore"):
            scores = X @ with_sum
            totals = pixels[piece] = scores[:, -1]
            if may_be_wrong and not np.isfinite(totals).all():
                bad = ~np.isfinite(X)
                counts[0] += np.count_nonzero(bad)
                wrong[piece] = np.where(bad.any(axis=1), bad.argmax(axis=1), -1)
            if by_counts:
                scores /= np.maximum(totals, FAINT * np.mean(np.abs(totals)) or 1.0)[:, None]
            scores[:, -1] = 1.0
            found += scores.T @ X
    return [filled, wrong, pixels, sizes], [filled_columns, counts, found[-1], found[:-1].T]


def largest_size(X: np.ndarray) -> float:
    """Return the largest absolute value that is finite; 0 where there is none."""
    size = max(float(X.max(initial=0.0)), -float(X.min(initial=0.0)))
    return size if np.isfinite(size) else float(np.max(np.abs(X[np.isfinite(X)]), initial=0.0))


def unscaled(data: Data) -> tuple[Data, np.ndarray | None, np.ndarray | None]:
    """Return the data without weights of pixels and channels, and the roots of these; None where all are 1."""
    if data.row_weights(0) is None:
        return data, None, None
    r, c = data.scales
    return data.plain, r[:, 0], c[:, 0]


def sketched(data: Data, rank: int) -> tuple[np.ndarray, np.ndarray, float]:
    r"""Return the scores, the basis and ``‖X‖²`` of a sketch: one pass more than the first, or two.

    With ``V`` an orthonormal basis of :math:`X^\top X \Omega` and :math:`X V = Q R`, the sketch is
    :math:`Q Q^\top X = Q R^{-\top} (X^\top X V)^\top`, cut to its ``rank`` largest directions.

    Parameters
    ----------
    data : Data, (n, m)
        Scaled or not.
    rank : int

    Returns
    -------
    Z : ndarray, (n, rank)
        Orthogonal columns, by falling length.
    V : ndarray, (m, rank)
        Orthonormal.
    squared_norm : float
    """
    X, r, c = unscaled(data)
    start = _start(X, min(rank + OVERSAMPLING, *X.shape), r)
    start = start if c is None else c[:, None] * start
    basis = np.linalg.svd(start, full_matrices=False)[0]
    inputs = [X.shape, basis, r, c]
    if isinstance(X, BlockData):
        seen = _kept(X, "sketch", inputs, lambda: _project(X, basis, r, c))
    else:
        Z, norm = data.scaled.dot(basis), np.array(data.squared_norm)
        seen = {"Z": Z, "crossed": data.scaled.transposed_dot(Z), "squared_norm": norm}
    Z, crossed = seen["Z"], seen["crossed"]
    sizes = np.linalg.norm(Z, axis=0)
    sizes = np.where(sizes > np.sqrt(ROUNDING) * sizes.max(), sizes, np.inf)
    # Columns of unit length: products in float32 then err by their last digit of the largest direction only.
    values, turn = np.linalg.eigh((Z.T @ Z) / sizes / sizes[:, None])
    keep = values > ROUNDING * values[-1]
    turn = turn[:, keep] / np.sqrt(values[keep]) / sizes[:, None]
    left, strengths, V = np.linalg.svd((crossed @ turn).T, full_matrices=False)
    mix = turn @ (left * strengths)[:, :rank]
    for rows in row_blocks(*Z.shape):
        Z[rows, : mix.shape[1]] = Z[rows] @ mix
    return Z[:, : mix.shape[1]], V[:rank].T.copy(), float(seen["squared_norm"])


def _start(X: Data, size: int, r: np.ndarray | None) -> np.ndarray:
    """Return ``Xᵀ diag(r²) X Ω``, (m, size), as the first pass has found it where it has."""
    if isinstance(X, BlockData):
        return (
            X.found[2]
            if X.found and X.found[2].shape[1] >= size and X.by_counts == (r is not None)
            else _kept(X, "directions", [X.shape, size, r], lambda: _find(X, size, r))["found"]
        )
    scores = X.dot(_random_directions(X, size))
    return X.transposed_dot(scores if r is None else r[:, None] ** 2 * scores)


def _random_directions(X: Data, size: int) -> np.ndarray:
    """Return standard normal numbers, (m, size): those of a channel hang on its number alone."""
    numbers = np.arange(X.shape[1]) if X.channels is None else X.channels
    rng = np.random.Generator(np.random.Philox(SEED))
    return rng.standard_normal((int(numbers.max()) + 1, size))[numbers]


def _find(X: BlockData, size: int, r: np.ndarray | None) -> dict[str, np.ndarray]:
    omega = _random_directions(X, size)
    found = X.gather(
        "directions", _directions, lambda rows: (omega, None if r is None else r[rows] ** 2)
    )
    return {"found": found[0]}


def _directions(block: Block, omega: np.ndarray, weights: np.ndarray | None) -> ByRowAndSums:
    omega, found = omega.astype(block.quick), np.zeros(omega.T.shape)
    for piece, X in block.pieces(block.quick):
        scores = X @ omega
        if weights is not None:
            scores *= weights[piece, None].astype(block.quick)
        found += scores.T @ X
    return [], [found.T]


def _kept(
    X: Data, name: str, inputs: list[Any], compute: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return what a pass gives; for data on disk from the checkpoint where it holds that."""
    checkpoint = current().checkpoint if isinstance(X, Lazy) else None
    return compute() if checkpoint is None else checkpoint.kept(name, inputs, compute)


def _project(
    data: BlockData, basis: np.ndarray, r: np.ndarray | None, c: np.ndarray | None
) -> dict[str, np.ndarray]:
    right = basis if c is None else c[:, None] * basis
    squares = None if c is None else c**2
    Z, crossed, norm = data.gather(
        "sketch", _scores, lambda rows: (right, None if r is None else r[rows], squares)
    )
    crossed = crossed if c is None else c[:, None] * crossed
    return {"Z": Z, "crossed": crossed, "squared_norm": np.array(norm)}


def _scores(
    block: Block, right: np.ndarray, r: np.ndarray | None, squares: np.ndarray | None
) -> ByRowAndSums:
    Z, crossed = np.empty((block.shape[0], right.shape[1])), np.zeros(right.T.shape)
    norm, right, weights = 0.0, right.astype(block.quick), () if squares is None else (squares,)
    for piece, X in block.pieces(block.quick):
        Z[piece] = scores = X @ right
        size = np.einsum("ij,ij->i" if squares is None else "ij,ij,j->i", X, X, *weights)
        if r is not None:
            Z[piece] *= r[piece, None]
            size *= r[piece] ** 2
            scores *= (r[piece, None] ** 2).astype(block.quick)
        norm += float(size.sum())
        crossed += scores.T @ X
    return [Z], [crossed.T, norm]


@dataclass
class Seen:
    """What one pass says of factors ``C`` (n, k), ``S`` (m, k).

    Attributes
    ----------
    right : ndarray, (n, k)
        ``X S`` of the scaled data and factors.
    left : ndarray, (m, k)
        ``Xᵀ C`` of the scaled data and factors.
    plain : ndarray, (n, k)
        ``X S``, unscaled.
    squares : ndarray, (n,)
        Squared residual of every pixel, unscaled.
    residual : ndarray, (m,)
        Sum of the residual of every channel, unscaled.
    misfit : float or ndarray, ()
        ``½ ‖X − C Sᵀ‖²``, scaled, from the residual itself.
    """

    right: np.ndarray
    left: np.ndarray
    plain: np.ndarray
    squares: np.ndarray
    residual: np.ndarray
    misfit: Any

    def moved(self, before: np.ndarray, C: np.ndarray, S: np.ndarray) -> "Seen":
        """Return the same with the residual of other maps ``C`` (n, k): exact, and read from no data."""
        step, G = C - before, S.T @ S
        change = np.einsum("ik,ik->i", step, (C + before) @ G - 2 * self.plain)
        squares = np.maximum(self.squares + change, 0.0)
        return replace(self, squares=squares, residual=self.residual - S @ step.sum(axis=0))


def examined(data: Data, C: np.ndarray, S: np.ndarray) -> Seen:
    """Compare factors with the full data, in one pass.

    Parameters
    ----------
    data : Data, (n, m)
        Scaled or not.
    C, S : ndarray, (n, k), (m, k)
        In the unit of the unscaled data.
    """
    X, r, c = unscaled(data)
    return Seen(**_kept(X, "full-data", [X.shape, C, S, r, c], lambda: _examine(X, C, S, r, c)))


def _examine(
    data: Data, C: np.ndarray, S: np.ndarray, r: np.ndarray | None, c: np.ndarray | None
) -> dict[str, np.ndarray]:
    squares = None if c is None else c**2
    right, plain, sizes, left, residual, misfit = data.gather(
        "full data", _compare, lambda rows: (C[rows], S, None if r is None else r[rows], squares)
    )
    left = left if c is None else c[:, None] * left
    return vars(Seen(right, left, plain, sizes, residual, np.array(misfit)))


def _compare(
    block: Block, C: np.ndarray, S: np.ndarray, r: np.ndarray | None, squares: np.ndarray | None
) -> ByRowAndSums:
    """Return the products of a block and its residual, from products where that leaves digits enough."""
    n, k = C.shape
    both = S if squares is None else np.column_stack([S, squares[:, None] * S])
    products, left = np.empty((n, both.shape[1])), np.zeros((len(S), k + 1))
    sizes, misfit, G = np.empty(n), 0.0, S.T @ S
    for piece, X in block:
        maps = C[piece]
        np.matmul(X, both, out=products[piece])
        norms = np.einsum("ij,ij->i", X, X)
        rest = norms - np.einsum("ik,ik->i", maps, 2 * products[piece, :k] - maps @ G)
        exact = rest.sum() < EXPLICIT_BELOW * norms.sum()
        if exact or r is not None:
            difference = X - maps @ S.T
            rest = np.einsum("ij,ij->i", difference, difference) if exact else rest
        sizes[piece] = np.maximum(rest, 0.0)
        if r is None or squares is None:
            misfit += 0.5 * float(rest.sum())
        else:
            difference *= difference
            misfit += 0.5 * float(r[piece] ** 2 @ (difference @ squares))
        weights = 1.0 if r is None else r[piece, None] ** 2
        left += X.T @ np.column_stack([weights * maps, np.ones(len(maps))])
    residual = left[:, k] - S @ C.sum(axis=0)
    plain = products[:, :k]
    right = plain if r is None else r[:, None] * products[:, k:]
    return [right, plain, sizes], [left[:, :k], residual, misfit]
