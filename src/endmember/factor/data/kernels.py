"""Data entry by entry, for divergences, and loops over the non-zeros of counts, compiled by numba when first used.

A *layout* is how values that belong to the entries are kept: an (n, m) array for dense data, a vector of the
non-zeros for sparse data. Both answer the same few calls, so that a loss is written once.

``F`` (n, k) is the factor of the rows, ``Z`` (m, k) the other one, and ``V = F Zᵀ`` the model. Rows do not interact:
they are shared among threads, and the bits of an answer do not depend on how many there are. What the loops compute
for sums is written with NumPy in :class:`Entries`, for dense data and to test the loops against.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import xlogy

from endmember.factor.compiled import compiled
from endmember.factor.data.resources import in_threads

#: Passes over the entries of a step at most, and the share of the largest gain that ends them.
PASSES, SETTLED = 20, 1e-8
#: An entry with a smaller share of a step's curvature does not move.
NEGLIGIBLE = 1e-12
#: A step that is too long is made shorter by this factor, so often at most.
SHORTER, TIMES = 0.7, 60
#: The share of the promised descent that a step must keep.
ENOUGH = 0.25
#: Rows are shared among threads in so many parts.
PARTS = 16


class Counts(NamedTuple):
    """Counts in compressed sparse rows.

    Row ``i`` holds ``x[e]`` in column ``columns[e]`` for ``e`` from ``pointers[i]`` to ``pointers[i + 1]``; ``floor``
    is the least that a model is taken for. Where every row holds ``width`` entries, all have the same columns.
    """

    pointers: np.ndarray
    columns: np.ndarray
    x: np.ndarray
    floor: float
    width: int = 0


class Rest(NamedTuple):
    """What a Newton step needs to know besides the counts.

    ``slopes`` (n, k) is the part of the gradient that depends neither on counts nor on ``F``, ``quadratic`` (k, k) the
    curvature from penalties, ``lower`` and ``upper`` (n, k) are the bounds.
    """

    slopes: np.ndarray
    quadratic: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def run(name: str, counts: Counts, *arguments: Any) -> None:
    """Call the compiled function ``name(counts, *arguments, first, last)`` for all rows, in several threads."""
    function, pointers = loops()[name], counts.pointers
    shares = np.linspace(0, pointers[-1], PARTS + 1)[1:-1]
    edges = np.concatenate([[0], np.searchsorted(pointers, shares), [len(pointers) - 1]])
    parts = [(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True) if a < b]
    in_threads(lambda part: function(counts, *arguments, *part), parts)


@cache
def loops() -> dict[str, Any]:
    """Return the compiled functions of this module by name, kept on disk where a folder can be written."""
    functions = (
        numerators, deviances, derivatives, best_step, steepest_fall, length_of_step, newton_steps
    )  # fmt: skip
    return compiled(globals(), dict.fromkeys(functions))


def numerators(
    counts: Counts, Z: np.ndarray, F: np.ndarray, sums: np.ndarray, first: int, last: int
) -> None:
    """Fill ``sums`` (n, k) with ``Σ_j x_ij z_j / v_ij``."""
    k = F.shape[1]
    for i in range(first, last):
        sums[i] = 0.0
        for e in range(counts.pointers[i], counts.pointers[i + 1]):
            j, model = counts.columns[e], 0.0
            for c in range(k):
                model += F[i, c] * Z[j, c]
            quotient = counts.x[e] / max(model, counts.floor)
            for c in range(k):
                sums[i, c] += quotient * Z[j, c]


def deviances(
    counts: Counts, Z: np.ndarray, F: np.ndarray, sums: np.ndarray, first: int, last: int
) -> None:
    """Fill ``sums`` (n,) with ``Σ_j x_ij ln(x_ij / v_ij) − x_ij``."""
    k = F.shape[1]
    for i in range(first, last):
        total = 0.0
        for e in range(counts.pointers[i], counts.pointers[i + 1]):
            j, model = counts.columns[e], 0.0
            for c in range(k):
                model += F[i, c] * Z[j, c]
            x = counts.x[e]
            total += x * np.log(x / max(model, counts.floor)) - x
        sums[i] = total


def newton_steps(
    counts: Counts, Z: np.ndarray, F: np.ndarray, rest: Rest,
    relaxation: float, inner: int, first: int, last: int,
) -> None:  # fmt: skip
    """Improve every row of ``F`` (n, k) by ``inner`` Newton steps, in place, for the other factor ``Z`` (k, m)."""
    k, longest = F.shape[1], max(np.diff(counts.pointers[first : last + 1]).max(), 1)
    z, v = np.empty((k, longest)), np.empty(longest)
    work, inverse = np.empty(longest), np.empty(longest)
    H, g, step = np.empty((k, k)), np.empty(k), np.empty(k)
    low, high, slope, narrow = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    for i in range(first, last):
        start, stop = counts.pointers[i], counts.pointers[i + 1]
        n, x, f = stop - start, counts.x[start:stop], F[i]
        columns = counts.columns[start - i * counts.width : stop - i * counts.width]
        v[:n] = 0.0
        for c in range(k):
            zc, Zc, fc = z[c], Z[c], f[c]
            for e in range(n):
                zc[e] = Zc[columns[e]]
                v[e] += fc * zc[e]
        for _ in range(inner):
            for e in range(n):
                v[e] = max(v[e], counts.floor)
                inverse[e] = 1.0 / v[e]
            derivatives(x, inverse[:n], z, work, g, H)
            for c in range(k):
                g[c] += rest.slopes[i, c]
                low[c], high[c] = rest.lower[i, c] - f[c], rest.upper[i, c] - f[c]
                for b in range(k):
                    g[c] += f[b] * rest.quadratic[b, c]
                    H[c, b] += rest.quadratic[c, b]
            best_step(g, H, low, high, step, slope, narrow)
            fall = steepest_fall(x, inverse[:n], z, step, work)
            t = length_of_step(g, H, rest.quadratic, low, high, step, fall, relaxation)
            for c in range(k):
                f[c] = min(max(f[c] + t * step[c], rest.lower[i, c]), rest.upper[i, c])
            for e in range(n):
                v[e] += t * work[e]


def derivatives(
    x: np.ndarray, inverse: np.ndarray, z: np.ndarray, work: np.ndarray, g: np.ndarray,
    H: np.ndarray,
) -> None:  # fmt: skip
    """Fill ``g`` (k,) with ``−Σ x z / v`` and ``H`` (k, k) with ``Σ x z zᵀ / v²``, over the counts ``x`` of a row."""
    n = len(x)
    for c in range(len(g)):
        zc, total = z[c], 0.0
        for e in range(n):
            work[e] = x[e] * inverse[e] * zc[e]
            total += work[e]
            work[e] *= inverse[e]
        g[c] = -total
        for b in range(c + 1):
            zb, total = z[b], 0.0
            for e in range(n):
                total += work[e] * zb[e]
            H[c, b] = H[b, c] = total


def best_step(
    g: np.ndarray, H: np.ndarray, low: np.ndarray, high: np.ndarray,
    step: np.ndarray, slope: np.ndarray, narrow: np.ndarray,
) -> None:  # fmt: skip
    """Fill ``step`` (k,) with the minimiser ``d`` of ``g·d + ½ d·H d`` between ``low`` and ``high``.

    ``slope`` (k,) and ``narrow`` (k,) are room for ``g + H d`` and the inverse of the diagonal of ``H``.
    """
    step[:] = 0.0
    slope[:] = g
    for c in range(len(step)):
        narrow[c] = 1.0 / H[c, c] if H[c, c] > 0 else 0.0
    largest = 0.0
    for _ in range(PASSES):
        gain = 0.0
        for c in range(len(step)):
            now = step[c]
            if narrow[c] > 0:
                now -= slope[c] * narrow[c]
            elif slope[c] > 0:
                now = low[c]
            now = min(max(now, low[c]), high[c])
            moved, step[c] = now - step[c], now
            gain += H[c, c] * moved**2
            for b in range(len(step)):
                slope[b] += moved * H[c, b]
        largest = max(largest, gain)
        if gain <= SETTLED * largest:
            break


def steepest_fall(
    x: np.ndarray, inverse: np.ndarray, z: np.ndarray, step: np.ndarray, work: np.ndarray
) -> float:
    """Fill ``work`` with the change of the model of a row, and return the largest relative fall where counts are."""
    n = len(x)
    work[:n] = 0.0
    for c in range(len(step)):
        zc, size = z[c], step[c]
        for e in range(n):
            work[e] += size * zc[e]
    fall = 0.0
    for e in range(n):
        fall = max(fall, -work[e] * inverse[e] if x[e] > 0 else 0.0)
    return fall


def length_of_step(
    g: np.ndarray, H: np.ndarray, quadratic: np.ndarray, low: np.ndarray, high: np.ndarray,
    step: np.ndarray, fall: float, relaxation: float,
) -> float:  # fmt: skip
    """Return how far to go along ``step``: ``relaxation`` times, or less where that might lead uphill.

    No entry of the model falls faster than ``fall``, which bounds what the logarithms can lose.
    """
    slope = curvature = bent = 0.0
    for c in range(len(step)):
        slope += g[c] * step[c]
        for b in range(len(step)):
            curvature += step[c] * H[c, b] * step[b]
            bent += step[c] * quadratic[c, b] * step[b]
    t = relaxation
    for c in range(len(step)):
        if step[c] ** 2 * H[c, c] > NEGLIGIBLE * abs(curvature):
            t = min(t, max(1.0, (high[c] if step[c] > 0 else low[c]) / step[c]))
    if slope >= 0:
        return 0.0
    for _ in range(TIMES):
        u = t * fall
        if u < 1:
            loss = t * t / 2 if u < 1e-4 else (-u - np.log1p(-u)) / fall**2
            rise = t * slope + bent * t * t / 2 + (curvature - bent) * loss
            if rise <= ENOUGH * (2 - relaxation) * t * slope:
                return t
        t *= SHORTER
    return 0.0


#: Entries whose model is gathered at a time.
CHUNK = 2**18


class Entries(ABC):
    """The entries ``x`` of the data in their layout, seen from the rows."""

    x: np.ndarray
    shape: tuple[int, int]
    #: The same entries seen from the other side.
    transposed: "Entries"
    #: The weight of every entry, or of every row (n, 1) or column (1, m); None where all are 1.
    weights: np.ndarray | None = None

    @abstractmethod
    def model(self, F: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Return ``F Zᵀ`` in the layout."""

    @abstractmethod
    def exposed(self, exposure: np.ndarray) -> "Entries":
        """Return the entries of every row for one unit of its exposure (n,), with that as their weight."""

    @abstractmethod
    def dot(self, values: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Return ``Σ_j w_ij values_ij z_jk``, (n, k)."""

    def everywhere(self, Z: np.ndarray) -> np.ndarray:
        """Return ``Σ_j w_ij z_jk`` over all entries, zeros included; broadcastable to (n, k)."""
        return (
            (1.0 if self.weights is None else self.weights) * Z.sum(axis=0)[None, :]
            if self.weights is None or self.weights.shape[1] == 1
            else self.weights @ Z
        )

    def quotients(self, F: np.ndarray, Z: np.ndarray, floor: float) -> np.ndarray:
        """Return ``Σ_j x_ij z_jk / v_ij`` with ``v = F Zᵀ``, at least ``floor``; (n, k)."""
        return self.dot(self.x / np.maximum(self.model(F, Z), floor), Z)

    def deviance(self, F: np.ndarray, Z: np.ndarray, floor: float) -> float:
        """Return ``Σ_ij w_ij (x_ij ln(x_ij / v_ij) − x_ij)`` with ``v = F Zᵀ``, at least ``floor``."""
        terms = xlogy(self.x, self.x / np.maximum(self.model(F, Z), floor)) - self.x
        return float(np.sum(terms if self.weights is None else terms * self.weights))

    def total(self, F: np.ndarray, Z: np.ndarray) -> float:
        """Return ``Σ_ij w_ij v_ij`` with ``v = F Zᵀ``, zeros included."""
        plain = self.weights is None
        return float(F.sum(axis=0) @ Z.sum(axis=0) if plain else np.sum(F * self.everywhere(Z)))

    @abstractmethod
    def counts(self, floor: float) -> Counts:
        """Return what compiled loops work on."""

    def over_model(
        self, F: np.ndarray, Z: np.ndarray, floor: float, values: np.ndarray
    ) -> np.ndarray:
        """Return ``Σ_j w_ij values_j / v_ij`` over all entries, zeros included, for ``V = F Zᵀ ≥ floor``, (n,)."""
        return self.dot(1.0 / np.maximum(self.model(F, Z), floor), values)


class DenseEntries(Entries):
    """A dense array, with a weight for every entry if wanted."""

    def __init__(self, x: np.ndarray, weights: np.ndarray | None = None) -> None:
        self.x, self.weights, self.shape = x, weights, x.shape

    @cached_property
    def transposed(self) -> "DenseEntries":  # type: ignore[override]
        return DenseEntries(self.x.T, None if self.weights is None else self.weights.T)

    @cached_property
    def _weighted(self) -> np.ndarray:
        x = self.x if self.weights is None else self.x * self.weights
        return np.ascontiguousarray(x, dtype=np.float64).ravel()

    def counts(self, floor: float) -> Counts:
        n, m = self.shape
        pointers, columns = m * np.arange(n + 1), np.arange(m, dtype=np.int32)
        return Counts(pointers, columns, self._weighted, floor, m)

    def model(self, F: np.ndarray, Z: np.ndarray) -> np.ndarray:
        return F @ Z.T

    def exposed(self, exposure: np.ndarray) -> "DenseEntries":
        return DenseEntries(self.x / exposure[:, None], exposure[:, None])

    def dot(self, values: np.ndarray, Z: np.ndarray) -> np.ndarray:
        return (values if self.weights is None else values * self.weights) @ Z


class SparseEntries(Entries):
    """The non-zeros of counts; zeros only matter through the sums of the factors."""

    def __init__(self, X: sparse.csr_array, weights: np.ndarray | None = None) -> None:
        self.X, self.x, self.shape, self.weights = X, X.data, X.shape, weights

    @cached_property
    def transposed(self) -> "SparseEntries":  # type: ignore[override]
        return SparseEntries(
            sparse.csr_array(self.X.T), None if self.weights is None else self.weights.T
        )

    def exposed(self, exposure: np.ndarray) -> "SparseEntries":
        e, X = exposure[:, None], self.X
        x = SparseEntries(X, 1.0 / e)._weighted(X.data)
        return SparseEntries(sparse.csr_array((x, X.indices, X.indptr), shape=self.shape), e)

    def _weighted(self, values: np.ndarray) -> np.ndarray:
        """Return values in the layout times the weights of their rows or columns."""
        return (
            values
            if self.weights is None
            else values * self.weights[0, self.X.indices]
            if self.weights.shape[0] == 1
            else values * np.repeat(self.weights[:, 0], np.diff(self.X.indptr))
        )

    def model(self, F: np.ndarray, Z: np.ndarray) -> np.ndarray:
        values, counts = np.zeros(len(self.x)), np.diff(self.X.indptr)
        for f, z in zip(F.T, Z.T, strict=True):
            values += np.repeat(f, counts) * z[self.X.indices]
        return values

    def dot(self, values: np.ndarray, Z: np.ndarray) -> np.ndarray:
        values = self._weighted(values)
        matrix = sparse.csr_array((values, self.X.indices, self.X.indptr), shape=self.shape)
        return matrix @ np.ascontiguousarray(Z)

    def over_model(
        self, F: np.ndarray, Z: np.ndarray, floor: float, values: np.ndarray
    ) -> np.ndarray:
        sums, rows = np.empty(len(F)), max(CHUNK // len(Z), 1)
        weights = np.broadcast_to(1.0 if self.weights is None else self.weights, self.shape)
        for start in range(0, len(F), rows):
            part = slice(start, start + rows)
            sums[part] = (weights[part] / np.maximum(F[part] @ Z.T, floor)) @ values
        return sums

    def counts(self, floor: float) -> Counts:
        return Counts(
            self.X.indptr.astype(np.int64),
            self.X.indices.astype(np.int32, copy=False),
            self._weighted(self.x),
            floor,
        )

    def quotients(self, F: np.ndarray, Z: np.ndarray, floor: float) -> np.ndarray:
        sums = np.empty(F.shape)
        run(
            "numerators", self.counts(floor), np.ascontiguousarray(Z), np.ascontiguousarray(F), sums
        )
        return sums

    def deviance(self, F: np.ndarray, Z: np.ndarray, floor: float) -> float:
        sums = np.empty(len(F))
        counts = self.counts(floor)._replace(x=self.x)
        run("deviances", counts, np.ascontiguousarray(Z), np.ascontiguousarray(F), sums)
        return float(sums.sum() if self.weights is None else sums @ self.weights[:, 0])


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
