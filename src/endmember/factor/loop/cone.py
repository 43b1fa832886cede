r"""The cone of the spectra: whether noise has widened it, and how far it can be widened as the data stay.

Clipped amounts say the former. As to the latter, mixed pixels and like spectra are the same data. Where the amounts M
of every pixel sum to one, with :math:`\bar m` their mean over the image,

.. math:: \big((1-s) M + s 1 \bar m^\top\big) S = M \big((1-s) I + s 1 \bar m^\top\big) S

so that a share s of the mean in every pixel, and a share s of the mean spectrum in every spectrum, are one and the
same. At one end phases are as separate as the data allow, at the other spectra are as different: the largest s at
which no spectrum is further below zero than noise takes it. The fit is the same all along the way.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import nnls

from endmember.factor.loop.absence import BORNE, RIDGE, excess_of
from endmember.factor.loop.problem import Problem
from endmember.factor.loop.starts import with_maps

#: A cone is wider than the noise allows where components leave less than this of it on average.
WIDE = 0.6
#: Shares of the mean that are tried.
SHARES = np.linspace(0.0, 1.0, 400, endpoint=False)
#: What is below zero may scatter by this mean square: that of the negative half of noise.
NOISE = 1.0
#: Channels count in which the mean stands so many standard errors above zero.
SEEN = 5.0


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
    excess = excess_of(problem, factors, {0: clipped}, variance)
    return np.where(clipped.any(axis=0), excess, np.nan)


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
        n = np.maximum(np.count_nonzero(below, axis=0), 1)
        if (np.sum(below**2, axis=0) / n).max() > NOISE:
            break
        share = float(s)
    left = 1.0 - share * float(mean @ even)
    C = C @ (left * np.eye(len(even)) + share * np.outer(even, mean))
    return [C, np.maximum(S - share * away, 0.0) / left], share


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
