r"""Mixed pixels and like spectra are the same data: how far spectra can be moved apart.

Where the amounts M of every pixel sum to one, with :math:`\bar m` their mean over the image,

.. math:: \big((1-s) M + s 1 \bar m^\top\big) S = M \big((1-s) I + s 1 \bar m^\top\big) S

so that a share s of the mean in every pixel, and a share s of the mean spectrum in every spectrum, are one and the
same. At one end phases are as separate as the data allow, at the other spectra are as different: the largest s at
which no spectrum is further below zero than noise takes it. The fit is the same all along the way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from endmember.factor.loop.problem import Problem
from endmember.factor.subproblems.base import Quadratic

#: Shares of the mean that are tried.
SHARES = np.linspace(0.0, 1.0, 400, endpoint=False)
#: What is below zero may scatter by this mean square: that of the negative half of noise.
NOISE = 1.0
#: Channels count in which the mean stands so many standard errors above zero.
SEEN = 5.0


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
    plain = problem.plain(factors, 1)
    assert isinstance(plain, Quadratic)
    weights = np.ones(len(S)) if plain.row_weights is None else plain.row_weights
    spread = problem.noise_left(factors) * np.diag(np.linalg.pinv(plain.G, hermitian=True))
    errors = np.sqrt(spread / np.maximum(weights, np.finfo(float).tiny)[:, None])
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
