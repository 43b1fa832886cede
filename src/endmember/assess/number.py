"""How many components: a panel of criteria, a suggestion with a range, and the reason."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from endmember.assess import criteria
from endmember.assess.criteria import Scree
from endmember.assess.surrogates import (
    Colour,
    WhiteData,
    decompose,
    largest_value,
    measure_colour,
    whitened,
)
from endmember.factor.alternate import Callback, Progress
from endmember.factor.matching import match_components, spectral_angle
from endmember.factor.noise import NoiseModel
from endmember.factor.photon_transfer import safe_rank
from endmember.factor.spiked import spiked_overlap, spiked_strength

logger = logging.getLogger("endmember")

Floats = NDArray[np.floating]

_DEVIATIONS = 2.5  # above the mean noise edge: exceeded by noise alone about once in 100 times
_STABLE_ANGLE = 20.0  # degrees between the spectra of two halves of the data
_STRUCTURED = 4.0  # standard errors of the neighbour correlation of a map
_STABILITY_STEPS = 4  # numbers tried
_SMALL = 3_000_000  # entries up to which noise is drawn 10 times


@dataclass(frozen=True)
class Vote:
    """What one criterion counts.

    Attributes
    ----------
    criterion : str
        Its name.
    count : int or None
        Number of components; None where the criterion does not apply.
    note : str
        What it looks at, or why it does not apply.
    """

    criterion: str
    count: int | None
    note: str


@dataclass(frozen=True)
class RankReport:
    """How many components the data hold.

    Attributes
    ----------
    suggested : int
        The suggested number; 0 where nothing stands above the noise.
    range : tuple of int
        Smallest and largest number that can be defended.
    table : tuple of Vote
        Every criterion's count.
    sentence : str
        The suggestion and its reason.
    warnings : tuple of str
        What to know before trusting it.
    noise : NoiseModel
        Noise that the data were judged by.
    visibility : ndarray
        Squared singular values of the whitened data in units of what noise alone reaches; above 1
        is a component.
    strengths, overlaps : ndarray of shape (suggested,)
        Strength of each component (variance / noise variance) and how much of its principal
        component is right (cos²), by the spiked model.
    """

    suggested: int
    range: tuple[int, int]
    table: tuple[Vote, ...]
    sentence: str
    warnings: tuple[str, ...]
    noise: NoiseModel
    visibility: Floats = field(repr=False)
    strengths: Floats = field(repr=False)
    overlaps: Floats = field(repr=False)

    def __str__(self) -> str:
        """Suggestion, votes and warnings as text."""
        width = max(len(vote.criterion) for vote in self.table)
        lines = [self.sentence, self.noise.sentence(), ""]
        for vote in self.table:
            count = "–" if vote.count is None else vote.count
            lines.append(f"{vote.criterion:<{width}}  {count:>3}  {vote.note}")
        return "\n".join([*lines, *("", *self.warnings)[: 1 + len(self.warnings)]])

    def plot(self, axes: Any = None) -> Any:
        """Draw the scree plot above the noise edge, and the votes beside it.

        Parameters
        ----------
        axes : pair of matplotlib axes, optional
            Where to draw; a new figure if not given.

        Returns
        -------
        matplotlib.figure.Figure
        """
        if axes is None:
            from matplotlib.figure import Figure

            figure = Figure(figsize=(7.0, 3.0), layout="constrained")
            axes = figure.subplots(1, 2, width_ratios=[3, 2])
        _draw_scree(axes[0], self)
        _draw_votes(axes[1], self)
        return axes[0].figure


def rank(
    X: Any,
    max_rank: int = 20,
    *,
    mask: Any = None,
    channel_mask: Any = None,
    domain: tuple[int, ...] | None = None,
    noise: NoiseModel | None = None,
    stability: bool = True,
    random_state: int | None = 0,
    callback: Callback | None = None,
) -> RankReport:
    """Say how many components stand above the noise, with a range and the votes of a panel.

    The data are whitened by their noise. A singular value counts if it exceeds what noise with the
    same variances and the same correlation between neighbours reaches (parallel analysis: the
    noise is drawn by splitting counts with a coin, or from the noise model). That number is
    suggested; the other criteria bound the range.

    Parameters
    ----------
    X : array_like, Dask array, sparse matrix or HyperSpy signal of shape (*domain, channels)
        The spectrum image, as recorded: background subtraction and smoothing correlate the noise.
    max_rank : int
        Largest number considered.
    mask, channel_mask : array_like of bool or HyperSpy signal, optional
        True = pixel or channel left out.
    domain : tuple of int, optional
        Shape of the image when ``X`` is a matrix.
    noise : NoiseModel, optional
        Known noise; estimated from the data if not given.
    stability : bool
        Whether NMF of two halves of the data is compared, which takes longest.
    random_state : int or None
        Seed of the drawn noise.
    callback : callable, optional
        Gets the progress; returning True leaves out the criteria still to come.

    Returns
    -------
    RankReport

    Raises
    ------
    ValueError
        If ``max_rank`` is below 1, or the data are empty or hold NaN outside the masks.

    References
    ----------
    J. L. Horn, *Psychometrika* **30** (1965) 179; E. Dobriban and A. B. Owen, *J. R. Stat. Soc. B*
    **81** (2019) 163.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> clean = rng.random((200, 3)) @ rng.random((3, 50)) * 30
    >>> rank(rng.poisson(clean), max_rank=8, stability=False).suggested
    3
    """
    if not isinstance(max_rank, int | np.integer) or max_rank < 1:
        raise ValueError(f"max_rank={max_rank!r} allows no component; give a whole number from 1.")
    white = whitened(X, mask=mask, channel_mask=channel_mask, domain=domain, noise=noise)
    most = min(int(max_rank), min(white.Y.shape) - 1, white.decomposition[2].shape[1])
    if white.noise.gain == 0 and white.noise.read_variance == 0:
        return _numerical_rank(white, most)
    rng = np.random.default_rng(random_state)
    visibility, colour = _visibility(white, most, rng)
    count = _leading(visibility)
    votes = [
        Vote("parallel analysis", count, "above noise of the same variance and correlation"),
        *_scree_votes(white, most, count),
        *_resampling_votes(white, most, count, rng, stability, callback),
    ]
    return _conclude(white, tuple(votes), visibility, colour, most)


def _leading(visibility: Floats) -> int:
    """Count the values above 1 before the first that is not."""
    below = np.flatnonzero(visibility <= 1)
    return int(below[0]) if below.size else int(visibility.size)


# --- parallel analysis ----------------------------------------------------------------------------


def _visibility(
    white: WhiteData, most: int, rng: np.random.Generator
) -> tuple[Floats, Colour | None]:
    """Squared singular values in units of the noise edge, for 0 … most components.

    The noise variance of what is left after each component is used, so that only the shape of the
    noise matters and not its scale. Correlation is measured on what the components leave, starting
    from the few that are beyond doubt.
    """
    plain = _relative(white.scree, _noise_edge(white, rng, None), most)
    if white.counting:
        return plain, None
    scree = white.scree
    count = safe_rank(scree.values, min(scree.shape), max(scree.shape), scree.total)
    for _ in range(4):
        colour = measure_colour(white, min(count, most))
        if colour.white:
            return plain, None
        visibility = _relative(scree, _noise_edge(white, rng, colour), most)
        if _leading(visibility) == count:
            break
        count = _leading(visibility)
    return visibility, colour


def _noise_edge(white: WhiteData, rng: np.random.Generator, colour: Colour | None) -> float:
    """Largest squared singular value that drawn noise of mean variance one hardly ever exceeds."""
    n, m = white.Y.shape
    found = []
    for _ in range(10 if n * m <= _SMALL else 4):
        drawn = white.noise_like(rng, colour)
        power = drawn.multiply(drawn).sum() if sp.issparse(drawn) else np.vdot(drawn, drawn)
        found.append(largest_value(drawn) * n * m / float(power))
    mean = float(np.mean(found))
    ideal = criteria.noise_edge(n, m, 0.0)
    deviation = (criteria.noise_edge(n, m, 1.0) - ideal) * mean / ideal
    return mean + _DEVIATIONS * max(float(np.std(found, ddof=1)), deviation)


def _relative(scree: Scree, edge: float, most: int) -> Floats:
    """Values over the edge, which shrinks with the components taken out."""
    n, m = scree.shape
    k = np.arange(most)
    side = (np.sqrt(n - k) + np.sqrt(m - k)) ** 2 / (math.sqrt(n) + math.sqrt(m)) ** 2
    return scree.values[:most] / np.maximum(scree.level()[:most] * edge * side, 1e-300)


# --- the other criteria ---------------------------------------------------------------------------


def _scree_votes(white: WhiteData, most: int, count: int) -> list[Vote]:
    scree = white.scree
    sigma = math.sqrt(scree.level()[count])
    length = None
    if scree.complete:
        length = criteria.description_length(scree, most)
    return [
        Vote("scree elbow", criteria.elbow(scree.values), "bend of the logarithmic scree plot"),
        Vote("indicator", criteria.indicator(scree, most), "minimum of Malinowski's IND"),
        Vote("F-test", criteria.f_test(scree, most), "Malinowski, 5 %; cautious"),
        Vote(
            "noise edge",
            criteria.marchenko_pastur(scree, most),
            "Marchenko–Pastur with Tracy–Widom, for independent Gaussian noise",
        ),
        Vote(
            "optimal threshold",
            criteria.gavish_donoho(scree, most, sigma),
            "Gavish–Donoho: components that improve a denoised image",
        ),
        Vote(
            "description length",
            length,
            "Wax–Kailath, for independent Gaussian noise" if length is not None else "too large",
        ),
    ]


def _resampling_votes(
    white: WhiteData,
    most: int,
    count: int,
    rng: np.random.Generator,
    stability: bool,
    callback: Callback | None,
) -> list[Vote]:
    split = "coin-split counts" if white.counting else "data ± drawn noise"
    tasks: list[tuple[str, Callable[[], int | None], str]] = [
        (
            "bi-cross-validation",
            lambda: int(np.argmin(criteria.bi_cross_validation(white.Y, most, rng))),
            "predicts held-out blocks of pixels and channels",
        ),
        ("thinning", lambda: _thinning(white, most, rng), f"one half predicts the other: {split}"),
        ("map structure", lambda: _structured(white, most), "neighbouring pixels alike"),
    ]
    if stability:
        note = f"NMF of two halves agrees within {_STABLE_ANGLE:.0f}°: {split}"
        tasks.append(("NMF stability", lambda: _stable(white, count, most, rng), note))
    votes = []
    for number, (name, task, note) in enumerate(tasks, start=1):
        if callback is not None and callback(Progress(name, number, math.nan)):
            break
        votes.append(Vote(name, task(), note))
    return votes


def _thinning(white: WhiteData, most: int, rng: np.random.Generator) -> int:
    """Count the components of one half that predict the other best.

    ``‖B − Σ_{j≤k} σ_j u_j v_jᵀ‖²`` for the truncated SVD of half A changes by
    ``σ_k² − 2 σ_k u_kᵀ B v_k`` with the k-th component.
    """
    gain = np.zeros(most)
    for _ in range(2):
        one, other = white.halves(rng)
        U, scree, V = decompose(one)
        s = np.sqrt(scree.values[:most])
        gain += 2 * s * np.einsum("ik,ik->k", U[:, :most], other @ V[:, :most]) - s**2
    return int(np.argmax(np.concatenate([[0.0], np.cumsum(gain)])))


def _structured(white: WhiteData, most: int) -> int | None:
    """Count the leading components whose maps are alike in neighbouring pixels.

    Components of noise give the value that maps without structure have (it is not 0 if the noise
    of neighbours is slightly correlated): the median of the later half of those looked at.
    """
    if len(white.domain) < 2 or not white.noise.white or min(white.domain) < 3:
        return None
    maps = white.grid(white.decomposition[0])
    number = maps.shape[-1]
    products, pairs = np.zeros(number), 0
    for axis in range(len(white.domain)):
        moved = np.moveaxis(maps, axis, 0)
        product = moved[1:] * moved[:-1]
        products += np.nansum(product.reshape(-1, number), axis=0)
        pairs += int(np.count_nonzero(np.isfinite(product[..., 0])))
    alike = products / max(pairs, 1) / np.nanmean(maps.reshape(-1, number) ** 2, axis=0)
    usual = float(np.median(alike[number // 2 :])) if number > 3 else 0.0
    scores = (alike - max(usual, 0.0)) * math.sqrt(max(pairs, 1))
    return _leading(scores[:most] / _STRUCTURED)


def _stable(white: WhiteData, count: int, most: int, rng: np.random.Generator) -> int | None:
    """Largest number, around the count, for which NMF finds the same spectra in both halves."""
    if count >= most > 2:
        return None
    one, other = white.halves(rng)
    first = min(count + 1, most)
    for k in range(first, max(first - _STABILITY_STEPS, 0), -1):
        if k == 1 or _disagreement(one, other, k) <= _STABLE_ANGLE:
            return k
    return None


def _disagreement(one: Any, other: Any, k: int) -> float:
    """Largest angle between the NMF spectra of two halves, in degrees."""
    from endmember.methods.nmf import NMF

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [
            NMF(k, n_starts=2, max_iter=100, tol=1e-4, random_state=0).fit(half).components_
            for half in (one, other)
        ]
    order = match_components(found[1], found[0])
    return float(np.max(spectral_angle(found[0], found[1][order])))


# --- the conclusion -------------------------------------------------------------------------------


def _conclude(
    white: WhiteData,
    votes: tuple[Vote, ...],
    visibility: Floats,
    colour: Colour | None,
    most: int,
) -> RankReport:
    """Suggest what stands above the noise; let the other votes bound the range.

    Down: to what the most generous of the cautious criteria still counts (optimal threshold,
    thinning, elbow). Up: by one component at most, if its map is structured although its singular
    value is not above the noise. If every component looked at stands above the noise, the noise
    model does not hold and the elbow is suggested.
    """
    count = {vote.criterion: vote.count for vote in votes}
    visible = count["parallel analysis"] or 0
    mapped = min(count.get("map structure") or 0, visible + 1)
    cautious = [count.get(name) for name in ("optimal threshold", "thinning", "scree elbow")]
    low = min(visible, max((c for c in cautious if c is not None), default=visible))
    high = visible
    if (count.get("map structure") or 0) > visible:
        high = visible + 1
    saturated = visible >= most and most > 2
    suggested = min(count["scree elbow"] or 1, visible) if saturated else visible
    gamma = white.Y.shape[1] / white.Y.shape[0]
    level = white.scree.level()[min(visible, most)]
    strengths = spiked_strength(white.scree.values[:suggested] / (level * white.Y.shape[0]), gamma)
    overlaps = spiked_overlap(strengths, gamma)
    low = min(low, suggested)
    return RankReport(
        suggested=suggested,
        range=(low, high),
        table=votes,
        sentence=_sentence(suggested, low, high, visibility, saturated),
        warnings=_warnings(white.noise, colour, overlaps),
        noise=white.noise,
        visibility=visibility,
        strengths=strengths,
        overlaps=overlaps,
    )


def _sentence(suggested: int, low: int, high: int, visibility: Floats, saturated: bool) -> str:
    if saturated:
        return (
            f"All {visibility.size} components looked at stand above the noise, so something other "
            f"than phases and noise is in the data (drift, saturation, a wrong noise model); the "
            f"scree plot bends at {suggested}."
        )
    if suggested == 0:
        return (
            "No component: the data cannot be told from noise without signal (the largest singular "
            f"value reaches {visibility[0]:.2f} of what noise alone reaches)."
        )
    if suggested == 1:
        return (
            "One component: a single spectrum explains every pixel, and what it leaves cannot be "
            "told from noise, so there is nothing to unmix."
        )
    text = (
        f"{suggested} components stand above the noise, the weakest by a factor of "
        f"{visibility[suggested - 1]:.2f}"
    )
    if visibility.size > suggested:
        text += f", while the next reaches {visibility[suggested]:.2f} of the noise"
    if low < high:
        text += f"; {low} to {high} can be defended"
        text += ", the weakest being hard to see" if low < suggested else ""
        text += ", as one more has a structured map" if high > suggested else ""
    return text + "."


def _warnings(noise: NoiseModel, colour: Colour | None, overlaps: Floats) -> tuple[str, ...]:
    found = noise.warnings()
    if colour is not None:
        found.append(
            "The noise that components are compared with was drawn with the measured correlation; "
            "criteria for independent noise (noise edge, optimal threshold, description length, "
            "bi-cross-validation, thinning) count too many here."
        )
    weak = [k + 1 for k, overlap in enumerate(overlaps) if overlap < 0.8]
    if weak:
        shares = ", ".join(f"{k}: {overlaps[k - 1]:.0%}" for k in weak)
        found.append(
            f"A principal component of little strength is partly noise (right share of {shares}): "
            "denoising by PCA would bias it, or remove it."
        )
    return tuple(found)


def _numerical_rank(white: WhiteData, most: int) -> RankReport:
    """Count for data without noise: singular values above rounding."""
    scree = white.scree
    kind = white.raw.dtype if white.raw.dtype.kind == "f" else np.dtype(float)
    dense = white.Y.toarray() if sp.issparse(white.Y) else white.Y
    s = np.linalg.svd(dense, compute_uv=False)
    limit = 10 * max(scree.shape) * np.finfo(kind).eps * s[0]
    count = int(np.count_nonzero(s > limit))
    return RankReport(
        suggested=count,
        range=(count, count),
        table=(Vote("numerical rank", count, "singular values above rounding"),),
        sentence=(
            f"The data hold no noise above rounding, and are exactly of rank {count}: {count} "
            "components."
        ),
        warnings=(),
        noise=white.noise,
        visibility=(s[:most] / limit) ** 2,
        strengths=np.full(count, np.inf),
        overlaps=np.ones(count),
    )


# --- pictures -------------------------------------------------------------------------------------


def _draw_scree(axes: Any, report: RankReport) -> None:
    numbers = np.arange(1, report.visibility.size + 1)
    signal = numbers <= report.suggested
    axes.semilogy(numbers, report.visibility, "-", color="0.7", lw=1, zorder=1)
    axes.semilogy(numbers[signal], report.visibility[signal], "o", color="C0", label="components")
    axes.semilogy(numbers[~signal], report.visibility[~signal], "o", mfc="w", color="0.5")
    axes.axhline(1.0, color="C3", lw=1, ls="--", label="noise")
    axes.axvspan(report.range[0] - 0.3, report.range[1] + 0.3, color="C0", alpha=0.12, lw=0)
    axes.set_xlabel("component")
    axes.set_ylabel("squared singular value / noise")
    axes.legend(frameon=False)


def _draw_votes(axes: Any, report: RankReport) -> None:
    votes = [vote for vote in report.table if vote.count is not None][::-1]
    places = np.arange(len(votes))
    axes.barh(places, [vote.count or 0 for vote in votes], color="0.75", height=0.7)
    axes.axvline(report.suggested, color="C0", lw=1.5)
    axes.set_yticks(places, [vote.criterion for vote in votes])
    axes.set_xlabel("components counted")
