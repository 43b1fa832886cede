"""Whether the cone of the spectra is as wide as the data say: how far clipped amounts would lie below zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from endmember.factor.loop.absence import BORNE
from endmember.factor.loop.problem import Problem
from endmember.factor.loop.starts import with_maps
from endmember.factor.subproblems.base import Quadratic

#: Directions of the spectra are kept apart by this fraction of their squared length.
RIDGE = 1e-12
#: A cone is wider than the noise allows where components leave less than this of it on average.
WIDE = 0.6


def excess_of_clipped(problem: Problem, S: np.ndarray) -> np.ndarray:
    r"""Return the mean square of the amounts that clipping takes to zero, in standard errors, (k,); NaN for none.

    Of non-negative maps, with :math:`A` the components present in a pixel and :math:`g = h - G c`, the amount of
    an absent component j beside them would be :math:`g_j / r_j` with
    :math:`r_j = G_{jj} - G_{jA} G_{AA}^{-1} G_{Aj}`, and its standard error :math:`\sigma / \sqrt{r_j}`. Where phases
    are absent this scatters as the negative half of noise does, with a mean square of 1; a cone that has widened to
    explain clipped noise leaves less.

    Parameters
    ----------
    problem : Problem
        Least squares of data whose noise is white.
    S : ndarray, (m, k)
    """
    factors = with_maps(problem.data, S)
    C, plain = factors[0], problem.plain(factors, 0)
    assert isinstance(plain, Quadratic)
    G, diagonal = plain.G, np.diag(plain.G)
    patterns, of_row = np.unique(C > 0, axis=0, return_inverse=True)
    present = patterns[:, None, :] * G
    inner = np.where(patterns[:, :, None], present, 0.0) + (RIDGE * diagonal + ~patterns)[
        :, :, None
    ] * np.eye(len(G))
    explained = np.einsum("pja,pab,pjb->pj", present, np.linalg.inv(inner), present)
    rest = np.maximum(diagonal - explained, RIDGE * diagonal)[of_row.ravel()]
    weights = 1.0 if plain.row_weights is None else plain.row_weights[:, None]
    variance = problem.noise_left(factors)
    if variance * problem.data.size <= 2 * RIDGE * problem.loss.reference(problem.data):
        return np.full(len(G), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = (plain.H - C @ G) ** 2 * weights / (variance * rest)
        return np.sum(squares, where=C <= 0, axis=0) / np.count_nonzero(C <= 0, axis=0)


def cone_in_words(learned: Mapping[str, Any]) -> str:
    """Return what clipped or tested amounts say of the cone of the spectra, in one sentence; "" where not known."""
    excess = learned.get("excess_", np.full(1, np.nan))
    if np.isnan(excess).all():
        return ""
    most, mean = np.nanmax(excess), np.nanmean(excess)
    q = f"Q = {most if most > BORNE else mean:.2g}, where noise alone gives 1"
    masks = [mask for name, mask in learned.items() if name.startswith("absent_")]
    if learned.get("mixed_"):
        return (
            f"Zeros were decided by a test ({q}), then spectra moved apart until the mean of the image made up "
            f"{learned['mixed_']:.0%} of every pixel: further, a spectrum would be negative beyond its noise."
        )
    if any(mask.any() for mask in masks):
        share = np.mean([mask.mean() for mask in masks])
        return f"A test found {share:.0%} of the amounts absent; they scatter around zero as they should ({q})."
    if masks:
        return (
            f"Small amounts are not zero here: what a test would call zero scatters more than noise ({q}), so no zeros "
            "were decided, and spectra keep the bias of clipped noise."
        )
    if mean < WIDE:
        return (
            f"The cone of the spectra is wider than the noise allows ({q}): it explains noise that was clipped at "
            "zero, a bias of the spectra that more pixels do not lessen. Zeros that a test decides avoid it, as "
            'without a model or with em.Absent("auto").'
        )
    if most > BORNE:
        return (
            f"Amounts lie further below zero than noise takes them ({q}): the cone of the spectra is too narrow, or "
            "number, noise or drift are not what the model says."
        )
    return f"Clipped amounts scatter around zero as noise does ({q})."
