"""Where a fit starts: single starts, and the best of many.

A start is the pair ``[C, S]``: maps (n, k) and spectra (m, k), scaled so that ``C Sᵀ`` is of the
size of the data.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from endmember.factor.columns import lengths, or_one, unit_columns
from endmember.factor.data.matrix import Arrangement, Data
from endmember.factor.loop.alternate import alternate
from endmember.factor.loop.fit import Callback, Fit
from endmember.factor.loop.problem import Problem
from endmember.factor.matching import mean_angle
from endmember.factor.sketch.low_rank import LowRank, sketch, sketch_of
from endmember.factor.solvers import ALS, ANLS, Solver
from endmember.factor.subproblems import Quadratic, times_gram

Start = list[np.ndarray]
#: Sweeps of the first sweeps, at least; so many starts run to the end, at least.
FIRST, FINALISTS = 5, 3
#: Fraction of the mean spectrum that a start made of pixels gets, so that no channel is locked at
#: zero.
MEAN_FRACTION = 0.01


def random(data: Arrangement, k: int, rng: np.random.Generator) -> Start:
    r"""Uniform factors of every mode, times the one scalar that fits best.

    :math:`\alpha = \langle H, F\rangle / \langle F G, F\rangle` for the first factor: a start of the
    wrong size costs more than one of the wrong shape.
    """
    factors = [rng.random((size, k)) for size in data.shape]
    if data.matrix is data:
        factors = [F[_places(data, mode)] for mode, F in enumerate(factors)]
    F = factors[0]
    scale = np.vdot(data.contract(factors, 0), F) / np.vdot(times_gram(F, data.gram(factors, 0)), F)
    return [F * abs(scale), *factors[1:]]


def random_pixels(data: Data, k: int, rng: np.random.Generator) -> Start:
    """Spectra averaged over small groups of distinct random pixels, maps by least squares.

    A group holds a twentieth of a component's share of the pixels: no empty pixel of a sparse map
    becomes a spectrum.
    """
    n = data.shape[0]
    size = max(1, -(-n // (20 * k)))
    pixels = rng.permutation(n)[: size * k]
    groups = np.zeros((n, k))
    groups[pixels, np.arange(len(pixels)) % k] = 1.0 / size
    groups = groups[_places(data, 0)]
    mean = data.transposed_dot(np.full((n, 1), 1.0 / n))
    S = np.maximum(data.transposed_dot(groups), 0.0) + MEAN_FRACTION * np.maximum(mean, 0.0)
    return with_maps(data, S)


def _places(data: Arrangement, mode: int) -> np.ndarray:
    """Return the place of every pixel (mode 0) or channel (1) in an order that follows from its values alone.

    What is drawn by place is the same for the same pixel wherever it lies in the image.
    """
    factors = [np.ones((size, 1)) for size in data.shape]
    factors[1 - mode] = data.contract(factors, 1 - mode)
    return np.argsort(np.argsort(data.contract(factors, mode)[:, 0], kind="stable"))


def nndsvd(data: Data, k: int, rng: np.random.Generator, zeros: str = "keep") -> Start:
    r"""Non-negative double singular value decomposition (Boutsidis & Gallopoulos, Pattern Recogn. 41 (2008) 1350).

    Each singular pair gives the stronger of its positive and negative parts. Zeros are kept (best
    for least squares), filled with :math:`\varphi = \sqrt{\bar x / k}` (``"mean"``), or with
    random values up to φ/100 (``"random"``). A series may have more components than singular pairs: random ones join.
    """
    scales, data = data.scales, data.scaled
    low = data if isinstance(data, LowRank) and data.rank >= k else sketch(data, k, rng)
    norms = low.singular_values[:k]
    C, S = _stronger_parts(low.Z[:, :k] / or_one(norms), low.V[:, :k], norms)
    if zeros != "keep":
        m = data.shape[1]
        fill = np.sqrt(abs(float(data.dot(np.ones((m, 1))).mean())) / m / k)
        for F in (C, S):
            empty = F == 0
            F[empty] = fill if zeros == "mean" else fill * rng.random(int(empty.sum())) / 100
    missing = k - len(norms)
    further = random(data, missing, rng) if missing else [F[:, :0] for F in (C, S)]
    return [
        np.column_stack([F, more]) / scale
        for F, more, scale in zip((C, S), further, scales, strict=True)
    ]


def _stronger_parts(U: np.ndarray, V: np.ndarray, norms: np.ndarray) -> Start:
    """Return for each singular pair the like-signed parts that carry more of it."""
    parts = [(np.maximum(sign * U, 0), np.maximum(sign * V, 0)) for sign in (1.0, -1.0)]
    sizes = [lengths(C) * lengths(S) for C, S in parts]
    positive = sizes[0] >= sizes[1]
    stronger = np.sqrt(norms * np.maximum(*sizes))
    return [stronger * unit_columns(np.where(positive, *both)) for both in zip(*parts, strict=True)]


def pure_pixels(data: Data, k: int, rng: np.random.Generator) -> Start:
    """Spectra of the k most extreme pixels by successive projection, maps by least squares.

    The pixel with the largest remainder is taken and projected out, k times (Araújo et al.,
    Chemom. Intell. Lab. Syst. 57 (2001) 65; Gillis & Vavasis, IEEE TPAMI 36 (2014) 698). Exact
    for noise-free data with a pure pixel of every component.
    """
    return with_maps(data, np.maximum(data.rows(successive_projection(data.scaled, k)), 0.0).T)


def successive_projection(data: Data, k: int) -> np.ndarray:
    """Return the indices of k rows, scaled to unit sum, that span the largest volume greedily; (k,) int."""
    totals = data.dot(np.ones((data.shape[1], 1)))[:, 0]
    usable = totals > 1e-3 * np.median(np.abs(totals))
    scale = np.where(usable, 1.0 / np.where(usable, totals, 1.0), 0.0)
    left = data.squared_row_norms * scale**2
    chosen: list[int] = []
    basis = np.zeros((data.shape[1], 0))
    for _ in range(k):
        left[chosen] = -1.0
        pixel = int(np.argmax(left))
        row = data.rows(np.array([pixel]))[0] * scale[pixel]
        direction = unit_columns((row - basis @ (basis.T @ row))[:, None])
        basis = np.column_stack([basis, direction])
        left = left - (data.dot(direction)[:, 0] * scale) ** 2
        chosen.append(pixel)
    return np.array(chosen)


def start_maps(problem: Problem, S: np.ndarray) -> Start:
    """Return a start of the maps that go with given spectra, by least squares, and the spectra."""
    factors = with_maps(problem.data, S)
    if not problem.loss.makes.squares:
        factors[0] = np.maximum(factors[0], MEAN_FRACTION * np.mean(factors[0]))
    return [problem.clip(factors[0], 0), S]


def with_maps(data: Arrangement, S: np.ndarray) -> Start:
    """Return the non-negative least-squares maps that go with the spectra, and the spectra."""
    return [least_squares(data, [np.zeros((data.shape[0], S.shape[1])), S], 0), S]


def least_squares(
    data: Arrangement, factors: Sequence[np.ndarray], mode: int, solver: Solver | None = None
) -> np.ndarray:
    """Return the non-negative factor number ``mode`` of two that is best by least squares for the other."""
    subproblem = Quadratic(data.gram(factors, mode), data.contract(factors, mode))
    return (solver or ANLS()).improve(subproblem, factors[mode], data.shape[1 - mode])


def als(data: Data, k: int, rng: np.random.Generator) -> Start:
    """Twenty sweeps of alternating least squares from random factors."""
    factors = random(data, k, rng)
    for mode in (1, 0) * 20:
        factors[mode] = least_squares(data, factors, mode, ALS())
    return factors


STARTS: dict[str, Callable[[Data, int, np.random.Generator], Start]] = {
    "random": random,
    "random_pixels": random_pixels,
    "nndsvd": nndsvd,
    "nndsvda": lambda data, k, rng: nndsvd(data, k, rng, "mean"),
    "nndsvdar": lambda data, k, rng: nndsvd(data, k, rng, "random"),
    "pure_pixels": pure_pixels,
    "als": als,
}


@dataclass(frozen=True)
class StartReport:
    """How one start of several ended.

    Attributes
    ----------
    init : str
        How it began.
    objective : float
        Where its short run ended: the first sweeps, or the whole of it; in proportion to that of the chosen one where
        starts of a Poisson model are compared on compressed data.
    angle : float
        Mean angle in degrees between its spectra and those of the chosen start, matched. Low cost
        and a large angle together are a first sign that the data do not fix the answer.
    chosen : bool
    """

    init: str
    objective: float
    angle: float
    chosen: bool


def start(
    problem: Problem, name: str, k: int, rng: np.random.Generator, solvers: Sequence[Solver]
) -> Start:
    """Return the start called ``name``, between the bounds of the problem.

    Losses that are no sum of squares, and solvers that multiply, lock what is zero: they start from filled factors.
    """
    locks = not problem.loss.makes.squares or any(solver.keeps_signs for solver in solvers)
    name = "nndsvda" if locks and name == "nndsvd" else name
    data = problem.data
    drawn = name == "random"  # for every mode of its own
    factors = random(data, k, rng) if drawn else data.unfolded(STARTS[name](data.matrix, k, rng))
    for mode, F in enumerate(factors):
        factors[mode] = problem.clip(
            np.maximum(F, MEAN_FRACTION * np.mean(F)) if locks else F, mode
        )
    for mode, own in enumerate(problem.penalties):
        oversize = float(np.prod([penalty.oversize(factors[mode]) for penalty in own]))
        factors[mode] = factors[mode] / oversize
        factors[mode - 1] = problem.clip(factors[mode - 1] * oversize, mode - 1)
    return factors


def various(
    problem: Problem, k: int, solvers: Sequence[Solver], seeds: Sequence[np.random.Generator]
) -> Iterator[tuple[str, Start]]:
    """Yield the name and the factors of as many starts as there are generators, after that from :func:`nndsvd`.

    One from :func:`pure_pixels`; the others are random, two of three from pixels. Each has its own generator, so
    that the answer depends neither on their order nor on where they run.
    """
    names = ["pure_pixels"] + ["random_pixels", "random_pixels", "random"] * len(seeds)
    for name, rng in zip(names, seeds, strict=False):
        yield name, start(problem, name, k, rng, solvers)


def multistart(
    problem: Problem,
    starts: Iterable[tuple[str, Start]],
    solvers: Sequence[Solver],
    *,
    n_starts: int,
    tol: float,
    max_iter: int,
    short: int | None = None,
    callback: Callback | None = None,
) -> tuple[Fit, list[StartReport]]:
    """Run short fits from named starts and return the one of lowest objective, to be continued.

    All run ``short`` sweeps; where that is left to the solvers, all run first sweeps, and the better half of them runs
    to the end.
    """
    staged = short is None and n_starts > FINALISTS
    short = min(short or max(solver.short_sweeps for solver in solvers), max_iter)
    names: list[str] = []
    fits: list[Fit] = []

    def run(number: int, fit: Fit, sweeps: int) -> Fit:
        return alternate(
            problem, fit, solvers, tol=tol, max_iter=sweeps, callback=callback,
            stage=f"start {number + 1} of {n_starts}", first_sweep=sum(len(f.objective) for f in fits),
        )  # fmt: skip

    first = min(short, max(FIRST, short // 4)) if staged else short
    for number, (name, factors) in enumerate(starts):
        names.append(name)
        fits.append(run(number, Fit(factors), first))
        if fits[-1].stopped:
            break
    order = np.argsort([fit.objective[-1] for fit in fits], kind="stable")
    for number in order[: max(FINALISTS, n_starts // 2)]:
        if first < short and not fits[number].converged and not any(fit.stopped for fit in fits):
            fits[number] = run(number, fits[number], short - first)
    best = min(fits, key=lambda fit: fit.objective[-1])
    best.stopped = any(fit.stopped for fit in fits)
    return best, [
        StartReport(
            name, fit.objective[-1], mean_angle(fit.factors[-1], best.factors[-1]), fit is best
        )
        for name, fit in zip(names, fits, strict=True)
    ]


def as_least_squares(problem: Problem, rank: int) -> Problem | None:
    """Return the least-squares problem on which starts are compared, where a loss has one; None for other problems.

    Counts weighted by the totals of pixels and channels have nearly white noise (Keenan & Kotula, Surf. Interface
    Anal. 36 (2004) 203), and a sketch of them answers in milliseconds what costs a pass through all counts otherwise.
    Penalties on neighbours are left to the problem itself.
    """
    data, loss = problem.data, problem.loss.as_squares()
    if loss is None or loss is problem.loss or problem.chooses or data.weighted:
        return None
    penalties = [[p for p in own if not p.spatial] for own in problem.penalties]
    return Problem(sketch_of(loss.prepare(data.matrix), rank), loss, penalties, problem.grids)


def fill(problem: Problem, factors: Sequence[np.ndarray]) -> Start:
    """Return a start from the factors of a problem of least squares: nothing is locked at zero, and bounds hold."""
    return [
        problem.clip(np.maximum(F, MEAN_FRACTION * F.mean(axis=0)), mode)
        for mode, F in enumerate(factors)
    ]


def on_the_scale_of(
    problem: Problem, factors: Sequence[np.ndarray], starts: Sequence[StartReport]
) -> list[StartReport]:
    """Return the reports with all objectives in proportion, so that the chosen one's is that of ``factors``."""
    objective = problem.loss.misfit(problem.data, factors) + problem.penalty(factors)
    chosen = next(start.objective for start in starts if start.chosen)
    scale = objective / chosen if chosen > 0 else 1.0
    return [replace(start, objective=scale * start.objective) for start in starts]
