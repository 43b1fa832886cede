r"""Zeros that are decided by a test, never by clipping.

Where a component is absent, noise makes half of its least-squares amounts negative. Clipped at zero they keep a
positive mean, the cone of the other factor widens to explain it, and spectra move by a multiple of the noise that
more pixels do not lessen. Here amounts are solved without a bound, each with its standard error; a component stays
where the amounts of its *neighbours* are significant together, or its own is beyond doubt. What noise does in a pixel
itself then has no say in whether the pixel counts, so that neither absent nor present amounts are biased.

Called selectivity or local rank where it is given by hand: Tauler, Smilde and Kowalski, J. Chemom. 9 (1995) 31.

The same amounts tell whether noise has widened the cone of the spectra, and how far it can be widened as the data stay.
Clipped amounts say the former. As to the latter, mixed pixels and like spectra are the same data. Where the amounts M
of every pixel sum to one, with :math:`\bar m` their mean over the image,

.. math:: \big((1-s) M + s 1 \bar m^\top\big) S = M \big((1-s) I + s 1 \bar m^\top\big) S

so that a share s of the mean in every pixel, and a share s of the mean spectrum in every spectrum, are one and the
same. At one end phases are as separate as the data allow, at the other spectra are as different: the largest s at
which no spectrum is further below zero than noise takes it. The fit is the same all along the way.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from scipy.optimize import nnls

from endmember.factor.columns import or_one
from endmember.factor.data import Grid, row_blocks
from endmember.factor.loop.compatibility import default_solvers
from endmember.factor.loop.problem import Problem
from endmember.factor.loop.starts import with_maps
from endmember.factor.penalties import Absent
from endmember.factor.solvers import patterns_of
from endmember.factor.subproblems import Quadratic, Subproblem, times_gram

#: Directions of the other factor are kept apart by this fraction of their squared length.
RIDGE = 1e-12
#: Sweeps at most, and the movement of the factors of unit length at which the zeros stand still.
SWEEPS, STILL = 30, 1e-4
#: Neighbours that are asked on either side, by the number of axes: about as many whatever the domain.
REACH = {1: 4, 2: 1}
#: An amount is present by itself when it exceeds the threshold of its neighbours by so many standard errors.
BY_ITSELF = 1.5
#: The zeros are kept up to this mean square of the negative tested amounts; 1 is expected of zeros.
BORNE = 1.8
#: and up to this cost of a zero in the loss of counts, which squares of few counts do not see.
DEAR = 5.0
#: A cone is wider than the noise allows where components leave less than this of it on average.
WIDE = 0.6
#: Shares of the mean that are tried.
SHARES = np.linspace(0.0, 1.0, 400, endpoint=False)
#: What is below zero may scatter by this mean square: that of the negative half of noise.
NOISE = 1.0
#: Channels count in which the mean stands so many standard errors above zero.
SEEN = 5.0


@dataclass
class Decided:
    """Factors with zeros that a test has decided.

    Attributes
    ----------
    factors : list of ndarray
    absent : dict of int to ndarray, (n, k) bool
        For every factor that was tested, where its components are absent.
    misfit, variance : float
        Of the fit, and of the noise in an entry that was measured beforehand.
    present : float
        The square of the threshold for every entry that is present.
    excess : ndarray, (k,)
        The mean square of the negative tested amounts of each component, in standard errors: about 1 where zeros are
        zeros, less where the cone is wider than the noise allows, more where small amounts were called zero.
    """

    factors: list[np.ndarray]
    absent: dict[int, np.ndarray]
    misfit: float
    variance: float
    present: float
    excess: np.ndarray

    def cost(self, rise: float) -> float:
        """Return what a zero costs in units of the noise, where the objective of counts rises by ``rise`` in all."""
        zeros = sum(np.count_nonzero(mask) for mask in self.absent.values())
        return 2 * rise / self.variance / max(zeros, 1)

    @property
    def borne(self) -> bool:
        """Whether the data bear the zeros."""
        return bool(self.excess.max() <= BORNE)


def tests_of(problem: Problem) -> dict[int, float]:
    """Return the threshold of every factor whose zeros are decided by a test."""
    return {
        mode: float(penalty.threshold)
        for mode, own in enumerate(problem.penalties)
        for penalty in own
        if isinstance(penalty, Absent) and penalty.tested
    }


def with_zeros(problem: Problem, absent: Mapping[int, np.ndarray]) -> Problem:
    """Return the problem with the zeros that were decided held, in place of the test."""
    penalties = [list(own) for own in problem.penalties]
    for mode, held in absent.items():
        mask = problem.grids[mode].spread(held.astype(float)) > 0
        penalties[mode] = [
            Absent(mask) if isinstance(p, Absent) and p.tested else p for p in penalties[mode]
        ]
    return replace(problem, penalties=penalties)


def least_price(
    problem: Problem, starts: Iterable[Sequence[np.ndarray]], tests: Mapping[int, float]
) -> Decided:
    """Return what is found from several starts at the least price: squares in units of noise, and entries present."""
    found = [decided(problem, factors, tests) for factors in starts]
    common = min(one.variance for one in found)
    return min(found, key=lambda one: 2 * one.misfit / common + one.present)


@dataclass(frozen=True)
class _Tested(Problem):
    """A problem whose sweeps hold at zero what a test finds absent, and bound nothing else of the factors tested."""

    thresholds: Mapping[int, float] = field(default_factory=dict)
    variance: float = 1.0
    absent: dict[int, np.ndarray] = field(default_factory=dict)

    def penalised(self, plain: Subproblem, mode: int, factors: Sequence[np.ndarray]) -> Subproblem:
        subproblem = super().penalised(plain, mode, factors)
        if mode in self.thresholds:
            assert isinstance(plain, Quadratic)
            zeros = _absent(plain, self.variance, self.thresholds[mode], self.grids[mode])
            subproblem.lower = np.where(zeros, 0.0, -np.inf)
            subproblem.upper = np.where(zeros, 0.0, np.inf)
            self.absent[mode] = zeros
        return subproblem


def decided(problem: Problem, factors: Sequence[np.ndarray], tests: Mapping[int, float]) -> Decided:
    """Return factors near those given, with zeros where the thresholds ``tests`` of each factor ask for them."""
    factors = problem.balanced(factors)
    variance = problem.noise_left(factors)
    own = {f.name: getattr(problem, f.name) for f in fields(problem) if f.init}
    tested = _Tested(**own, thresholds=tests, variance=variance)
    solvers = default_solvers(problem.loss, problem.penalties, factors[-1].shape[1])
    for _ in range(SWEEPS):
        before = factors[-1]
        _, misfit = tested.sweep(factors, solvers, [{"mode": mode} for mode in range(len(factors))])
        if np.abs(factors[-1] - before).max() <= STILL * np.abs(before).max():
            break
    absent = tested.absent
    present = sum(t**2 * np.count_nonzero(~absent[mode]) for mode, t in tests.items())
    return Decided(
        factors, absent, misfit, variance, present, excess_of(problem, factors, absent, variance)
    )


def absent(
    problem: Problem, factors: Sequence[np.ndarray], mode: int, threshold: float
) -> np.ndarray:
    """Return where a test finds the components of one factor absent, the others as they are, (n, k)."""
    plain, variance = problem.touching(factors, mode), problem.noise_left(factors)
    return _absent(plain, variance, threshold, problem.grids[mode])


def _absent(plain: Quadratic, variance: float, threshold: float, grid: Grid) -> np.ndarray:
    """Return where a test finds components absent, (n, k); nowhere for one that would be absent everywhere."""
    z = _in_standard_errors(plain, np.ones(plain.shape, dtype=bool), variance)
    present = z >= threshold
    if grid.known:
        present = (_of_neighbours(z, grid) >= threshold) | (z >= threshold + BY_ITSELF)
    return ~(present | ~present.any(axis=0))


def _of_neighbours(z: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the sum of what the neighbours of every row have, in standard errors of that sum."""
    from scipy.ndimage import convolve

    kernel = np.ones([2 * REACH.get(grid.n_axes, 1) + 1] * grid.n_axes + [1])
    kernel[tuple(size // 2 for size in kernel.shape)] = 0.0
    total = convolve(grid.spread(z), kernel, mode="constant")
    count = convolve(grid.spread(np.ones((len(z), 1))), kernel, mode="constant")
    return (total / np.sqrt(np.maximum(count, 1.0))).reshape(-1, z.shape[1])[grid.index]


def _in_standard_errors(plain: Quadratic, present: np.ndarray, variance: float) -> np.ndarray:
    r"""Return the amounts of least squares without bounds, each beside those present in its row, in standard errors.

    With :math:`A` the components present in a row, :math:`c` their amounts and :math:`g = h - G c`, the amount of
    another component j beside them would be :math:`g_j / r_j` with
    :math:`r_j = G_{jj} - G_{jA} G_{AA}^{-1} G_{Aj}`, and its standard error :math:`\sigma / \sqrt{r_j}`.

    Parameters
    ----------
    plain : Quadratic
        What data whose noise is white ask of the factor.
    present : ndarray of bool, (n, k)
    variance : float
        That of the noise.
    """
    first, of_row = patterns_of(present) if plain.G.ndim == 2 else [np.arange(len(present))] * 2
    patterns, diagonal = present[first], plain.diagonal()
    both = patterns[:, :, None] & patterns[:, None, :]
    inverse = np.linalg.pinv(np.where(both, plain.G, 0.0), hermitian=True)
    explained = np.einsum("...ja,...ab,...jb->...j", plain.G, inverse, plain.G, optimize=True)
    rest = np.maximum(diagonal - explained, RIDGE * diagonal)
    size = np.where(patterns, np.diagonal(inverse, axis1=1, axis2=2), rest)[of_row]
    amounts = np.empty(present.shape)
    for rows in row_blocks(len(present), inverse[0].size):
        amounts[rows] = np.einsum("nij,nj->ni", inverse[of_row[rows]], plain.H[rows])
    found = np.where(present, amounts, plain.H - times_gram(amounts, plain.G))
    return found / np.sqrt(np.where(size > 0, variance * size / plain.weights, np.inf))


def excess_of(
    problem: Problem,
    factors: Sequence[np.ndarray],
    absent: Mapping[int, np.ndarray],
    variance: float,
) -> np.ndarray:
    """Return for every component the mean square of its negative tested amounts, (k,): the largest of all factors.

    Every amount is tested beside those that are present in its row. Amounts that are truly zero scatter by one
    standard error, and their negative half with a mean square of 1, whatever the present ones look like.
    """
    worst = np.zeros(factors[0].shape[1])
    for mode, held in absent.items():
        z = np.minimum(_in_standard_errors(problem.touching(factors, mode), ~held, variance), 0.0)
        worst = np.maximum(worst, np.sum(z**2, axis=0) / or_one(np.count_nonzero(z, axis=0)))
    return worst


def excess_of_clipped(problem: Problem, S: np.ndarray) -> np.ndarray:
    r"""Return the mean square of the amounts that clipping takes to zero, in standard errors, (k,); NaN for none.

    Each would be the amount beside those present in its pixel. Where phases are absent it scatters as the negative
    half of noise does, with a mean square of 1; a cone that has widened to explain clipped noise leaves less.

    Parameters
    ----------
    problem : Problem
        Least squares of data whose noise is white.
    S : ndarray, (m, k)
    """
    factors = with_maps(problem.data, S)
    variance, clipped = problem.noise_left(factors), factors[0] <= 0
    if variance * problem.data.size <= 2 * RIDGE * problem.loss.reference(problem.data):
        return np.full(clipped.shape[1], np.nan)
    return np.where(
        clipped.any(axis=0), excess_of(problem, factors, {0: clipped}, variance), np.nan
    )


def moved_apart(problem: Problem, factors: Sequence[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """Return maps (n, k) and spectra (m, k) at the end where spectra differ most, and the share of the mean.

    Parameters
    ----------
    problem : Problem
        Least squares of data whose noise is white.
    factors : sequence of ndarray
        Maps and spectra at the other end, where zeros were decided.
    """
    C, S = factors
    plain = problem.touching(factors, 1)
    spread = problem.noise_left(factors) * np.abs(np.diag(np.linalg.pinv(plain.G, hermitian=True)))
    errors = np.sqrt(spread / np.maximum(plain.weights, np.finfo(float).tiny))
    even = nnls(C, np.ones(len(C)))[0]  # the scale on which amounts sum to one
    mean = C.mean(axis=0)
    away = np.outer(S @ mean, even)
    seen = away > SEEN * errors
    with np.errstate(divide="ignore", invalid="ignore"):
        heights, slopes = (np.where(seen, F / errors, 0.0) for F in (S, away))
    share = 0.0
    for s in SHARES:
        below = np.minimum(heights - s * slopes, 0.0)
        if (
            np.sum(below**2, axis=0) / np.maximum(np.count_nonzero(below, axis=0), 1)
        ).max() > NOISE:
            break
        share = float(s)
    return mixed(C, S, even, mean, share), share


def mixed(C: np.ndarray, S: np.ndarray, even: Any, mean: Any, share: float) -> list[np.ndarray]:
    """Return maps (..., k) and spectra (m, k) with a share of the mean in every pixel, and less of it in the spectra.

    Parameters
    ----------
    C, S : ndarray
        Maps and spectra at the end where phases are separate.
    even, mean : ndarray, (k,)
        The scale on which amounts sum to one, and the mean of the maps.
    share : float
    """
    left = 1.0 - share * float(mean @ even)
    C = C @ (left * np.eye(len(even)) + share * np.outer(even, mean))
    return [C, np.maximum(S - share * np.outer(S @ mean, even), 0.0) / left]


def cone_in_words(learned: Mapping[str, Any]) -> str:
    """Return what clipped or tested amounts say of the cone of the spectra, in one sentence; "" where not known."""
    excess = learned.get("excess_", np.full(1, np.nan))
    if np.isnan(excess).all():
        return ""
    most, mean = np.nanmax(excess), np.nanmean(excess)
    q = f"Q = {float(f'{most if most > BORNE else mean:.2g}'):g}, where noise alone gives 1"
    masks = [mask for name, mask in learned.items() if name.startswith("absent_")]
    mixed = learned.get("mixed_") or 0.0
    absent = np.mean([mask.mean() for mask in masks] or [0.0])
    cases = (
        (
            mixed,
            f"Zeros were decided by a test ({q}), then spectra moved apart until the mean of the image made up "
            f"{mixed:.0%} of every pixel: further, a spectrum would be negative beyond its noise.",
        ),
        (
            absent > 0,
            f"A test found {absent:.0%} of the amounts absent; they scatter around zero as they should ({q}).",
        ),
        (
            masks and most <= BORNE,
            f"A test found no amount absent ({q}), so spectra keep what bias the clipping of noise gives them.",
        ),
        (
            masks,
            f"Small amounts are not zero here: what a test would call zero scatters more than noise ({q}), so no zeros "
            "were decided, and spectra keep the bias of clipped noise.",
        ),
        (
            mean < WIDE,
            f"The cone of the spectra is wider than the noise allows ({q}): it explains noise that was clipped at "
            "zero, a bias of the spectra that more pixels do not lessen. Zeros that a test decides avoid it, as "
            'without a model or with em.Absent("auto").',
        ),
        (
            most > BORNE,
            f"Amounts lie further below zero than noise takes them ({q}): the cone of the spectra is too narrow, or "
            "number, noise or drift are not what the model says.",
        ),
        (True, f"Clipped amounts scatter around zero as noise does ({q})."),
    )
    return next(said for holds, said in cases if holds)
