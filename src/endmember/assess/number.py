"""How many components: a panel of criteria, a suggestion with a range, and the reason."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from endmember.assess import criteria
from endmember.assess.criteria import Scree
from endmember.assess.detection import judged, shifted, spiked_strengths
from endmember.assess.surrogates import (
    STABLE_ANGLE,
    WhiteData,
    decompose,
    map_structure,
    stable_number,
    thinning,
    whitened,
)
from endmember.errors import Argument, refuse_if
from endmember.factor.data import Floats, of_zero_peak
from endmember.factor.loop import Callback, Progress
from endmember.factor.noise.model import NoiseModel
from endmember.show.shown import Shown

_DEVIATIONS = 2.5  # above the mean noise edge: exceeded by noise alone about once in 100 times
_JOINT_DEVIATIONS = 3.0  # of size and map structure together, where both can be judged
_STRUCTURED = 4.0  # standard errors of the neighbour correlation of a map
_COLOUR_ERROR = 0.03  # of the edge of correlated noise, whose correlation is itself measured
_CLEAR = 1.05  # times the noise line: a component that nobody would call noise tomorrow
_LOWEST = 4.0  # below the mean edge: where a component starts to sink into the bulk of the noise
_BARELY = 0.5  # channels: edges that chemistry moves by one in half of the pixels; less is a shift of the axis
_MOVED = (
    "A shift of the energy axis for each pixel explains most of the weaker components: an energy drift, or edges moved "
    "by chemistry (em.preprocess.align takes drift out).",
)
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


@dataclass(frozen=True, repr=False)
class RankReport(Shown):
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
    clear : int
        How many of those suggested stand clear of the noise line, by 5 % or by the structure of their maps, at least
        one; `em.unmix` takes these.
    noise : NoiseModel
        Noise that the data were judged by.
    visibility : ndarray
        Squared singular values of the whitened data in units of what noise alone reaches, which is
        less where neighbouring pixels of the map are alike; above 1 is a component.
    strengths, overlaps : ndarray of shape (suggested,)
        Strength of each component (variance / noise variance) and how much of its principal
        component is right (cos²), by the spiked model.
    """

    suggested: int
    range: tuple[int, int]
    table: tuple[Vote, ...]
    sentence: str
    warnings: tuple[str, ...]
    clear: int
    noise: NoiseModel
    visibility: Floats
    strengths: Floats
    overlaps: Floats

    def __str__(self) -> str:
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
        from endmember.show.rank import draw_rank

        return draw_rank(self, axes)


def rank(
    X: Any,
    max_rank: int = 20,
    *,
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    exposure: Any = None,
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
    weights : array_like, shape of X, optional
        0 = missing: whole pixels and channels alone, as singular values need all the rest.
    exposure : array_like or HyperSpy signal, shape of the image, optional
        As in the estimators: ``X`` holds the counts as recorded, whose number of components it does not change;
        pixels of none are left out.
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
    refuse_if(
        not isinstance(max_rank, int | np.integer) or max_rank < 1,
        f"max_rank={max_rank!r} allows no component; give a whole number from 1.",
    )
    white = whitened(
        X, mask=mask, channel_mask=channel_mask, weights=weights, exposure=exposure, domain=domain, noise=noise
    )  # fmt: skip
    if white.noise.unknown or (white.noise.gain == 0 and white.noise.read_variance == 0):
        return _numerical_rank(white, int(max_rank))
    white, lone = judged(white, int(max_rank))
    most = min(int(max_rank), min(white.Y.shape) - 1, white.decomposition[2].shape[1])
    refuse_if(
        most < 1,
        f"{white.Y.shape[0]} pixels of {white.Y.shape[1]} channels say nothing of the number of components; "
        "at least 2 of each are needed",
    )
    rng = np.random.default_rng(random_state)
    edge, structure = _drawn_edge(white, rng), map_structure(white, most)
    count = _leading(_above(white.scree, edge, np.full(most, _DEVIATIONS)))
    votes = [
        Vote("parallel analysis", count, "above noise of the same variance"),
        *_scree_votes(white.scree, most, count),
        Vote(
            "map structure",
            None if structure is None else _leading(structure / _STRUCTURED),
            "neighbouring pixels are alike in the component's map; needs an image with independent pixels",
        ),
        *_resampling_votes(white, most, count, rng, stability, callback),
    ]
    needed = np.full(most, _DEVIATIONS)
    if structure is not None:
        needed = np.clip(math.sqrt(2) * _JOINT_DEVIATIONS - structure, -_LOWEST, None)
    visibility = _above(white.scree, edge, needed)
    return _conclude(
        white,
        tuple(votes),
        visibility,
        (*lone, *([] if channel_mask is not None else of_zero_peak(X))),
        *shifted(white, _leading(visibility)),
    )


def _leading(visibility: Floats) -> int:
    """Count the values above 1 before the first that is not."""
    return int(np.argmin(np.append(visibility > 1, False)))


# --- parallel analysis ----------------------------------------------------------------------------


def _drawn_edge(white: WhiteData, rng: np.random.Generator) -> tuple[float, float]:
    """Mean and deviation of the largest squared singular value of noise of mean variance one."""
    n, m = white.Y.shape
    screes = [decompose(white.noise_like(rng), 1)[1] for _ in range(10 if n * m <= _SMALL else 4)]
    found = [scree.values[0] * n * m / scree.total for scree in screes]
    mean = float(np.mean(found))
    ideal = criteria.noise_edge(n, m, 0.0)
    deviation = (criteria.noise_edge(n, m, 1.0) - ideal) * mean / ideal
    deviation = max(float(np.std(found, ddof=1)), deviation)
    if white.spread is not None:
        deviation = math.hypot(deviation, _COLOUR_ERROR * mean)
    return mean, deviation


def _above(scree: Scree, edge: tuple[float, float], needed: Floats) -> Floats:
    """Values over what noise reaches (above 1: signal), ``needed`` deviations above its mean.

    The noise variance of what is left after each component is used, so that only the shape of the
    noise matters and not its scale; the edge shrinks with the components taken out.
    """
    n, m = scree.shape
    k = np.arange(needed.size)
    side = (np.sqrt(n - k) + np.sqrt(m - k)) ** 2 / (math.sqrt(n) + math.sqrt(m)) ** 2
    line = scree.level()[: k.size] * side * (edge[0] + needed * edge[1])
    return scree.values[: k.size] / np.maximum(line, 1e-300)


# --- the other criteria ---------------------------------------------------------------------------


def _scree_votes(scree: Scree, most: int, count: int) -> list[Vote]:
    return [
        Vote("scree elbow", criteria.elbow(scree.values), "bend of the logarithmic scree plot"),
        Vote("indicator", criteria.indicator(scree, most), "minimum of Malinowski's IND"),
        Vote(
            "noise edge",
            criteria.marchenko_pastur(scree, most),
            "Marchenko–Pastur with Tracy–Widom, for independent Gaussian noise",
        ),
        Vote(
            "optimal threshold",
            criteria.gavish_donoho(scree, most, math.sqrt(scree.level()[count])),
            "Gavish–Donoho: components that improve a denoised image",
        ),
        Vote(
            "description length",
            criteria.description_length(scree, most),
            "Wax–Kailath, for independent Gaussian noise",
        )
        if scree.values.size == min(scree.shape)
        else Vote("description length", None, "too large"),
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
            "thinning",
            lambda: thinning(white, min(most, count + 5), rng),
            f"one half predicts the other: {split}",
        ),
    ]
    if stability:
        note = f"NMF of two halves agrees within {STABLE_ANGLE:.0f}°: {split}"
        tasks.append(("NMF stability", lambda: stable_number(white, count, most, rng), note))
    votes = []
    for number, (name, task, note) in enumerate(tasks, start=1):
        if callback is not None and callback(Progress(name, number, math.nan)):
            break
        votes.append(Vote(name, task(), note))
    return votes


# --- the conclusion -------------------------------------------------------------------------------


def _conclude(
    white: WhiteData,
    votes: tuple[Vote, ...],
    visibility: Floats,
    lone: tuple[str, ...],
    unshifted: int,
    shift: float,
) -> RankReport:
    """Suggest what is visible; let the other votes bound the range.

    Down: to what the most generous of the cautious criteria still counts (optimal threshold,
    thinning, elbow). Up: to what parallel analysis or the structure of the maps alone would count,
    by one component at most. If every component looked at is visible, those after the elbow as well,
    the noise model does not hold and the elbow is suggested.
    """
    visible = _leading(visibility)
    # Chemistry may move an edge of every phase, which adds as many components; noise may add one more.
    drift = shift > 0 and (shift < _BARELY or visible > 2 * unshifted + 1)
    visible = unshifted if drift else visible
    count = {vote.criterion: vote.count for vote in votes}
    cautious = [count.get(name) for name in ("optimal threshold", "thinning", "scree elbow")]
    generous = [count.get(name) or 0 for name in ("parallel analysis", "map structure")]
    bend = count["scree elbow"] or 1
    saturated = visible >= visibility.size > 2 and bend < visible
    suggested = bend if saturated else visible
    low = min(suggested, max((c for c in cautious if c is not None), default=suggested))
    high = visible if saturated else min(max(visible, *generous), visible + 1)
    strengths, overlaps = spiked_strengths(white, suggested)
    return RankReport(
        suggested=suggested,
        range=(low, high),
        table=votes,
        sentence=_sentence(suggested, low, high, visibility, saturated, shift * drift)
        + _dissent(votes, suggested),
        warnings=(*lone, *_warnings(white, overlaps), *(_MOVED if shift and not drift else ())),
        clear=min(max(_leading(visibility / _CLEAR), count["map structure"] or 0, 1), suggested),
        noise=white.noise.times(white.unit),
        visibility=visibility,
        strengths=strengths,
        overlaps=overlaps,
    )


def _sentence(
    suggested: int, low: int, high: int, visibility: Floats, saturated: bool, shift: float
) -> str:
    if shift:
        number, what = (
            ("One component", "it") if suggested == 1 else (f"{suggested} components", "them")
        )
        return (
            f"{number}: what else stands above the noise is {what} shifted along the energy axis by {shift:.2g} "
            "channels (standard deviation), a drift that em.preprocess.align takes out and em.Drifting fits."
        )
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
    if suggested == 1 < visibility.size:
        return (
            "One component: a single spectrum explains every pixel, and what it leaves cannot be "
            "told from noise, so there is nothing to unmix."
        )
    weakest, *following = visibility[suggested - 1 :]
    text = (
        f"{suggested} component{'s' * (suggested > 1)} can be told from noise: the weakest reaches "
        f"{weakest:.2f} of what noise alone may reach, "
    )
    text += f"the next {following[0]:.2f}" if following else "and no more were looked at"
    if low < high:
        text += (
            f"; {low} to {high} can be defended"
            + ", the weakest being hard to see" * (low < suggested)
            + ", one more being on the edge" * (high > suggested)
        )
    return text + "."


def _dissent(votes: tuple[Vote, ...], suggested: int) -> str:
    """Say how many criteria count otherwise, where most do."""
    counts = [vote.count for vote in votes if vote.count is not None]
    for word, number in (
        ("fewer", sum(count < suggested for count in counts)),
        ("more", sum(count > suggested for count in counts)),
    ):
        if 2 * number > len(counts):
            return f" {number} of {len(counts)} criteria count {word}."
    return ""


def _warnings(white: WhiteData, overlaps: Floats) -> tuple[str, ...]:
    found = white.noise.warnings()
    if white.spread is not None:
        found.append(
            "The noise differs from its model between channels or neighbours; that was taken out before counting."
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
    """Count for data without noise, or whose noise is unknown: singular values above rounding."""
    noise, dtype = white.noise, np.dtype(white.dtype)
    dense = white.Y.toarray() if sp.issparse(white.Y) else white.Y
    s = np.linalg.svd(dense, compute_uv=False)
    limit = 10 * max(dense.shape) * np.finfo(dtype if dtype.kind == "f" else float).eps * s[0]
    count = int(np.count_nonzero(s > limit))
    refuse_if(
        noise.unknown and count == s.size,
        f"{noise.sentence()} Without it components cannot be counted: say how many there are",
        Argument("", says=", or give noise="),
    )
    why = noise.sentence() if noise.unknown else "The data hold no noise above rounding."
    return RankReport(
        suggested=count,
        range=(count, count),
        table=(Vote("numerical rank", count, "singular values above rounding"),),
        sentence=f"{why} They are exactly of rank {count}: {count} component{'s' * (count != 1)}.",
        warnings=(),
        clear=count,
        noise=noise,
        visibility=(s[:most] / limit) ** 2,
        strengths=np.full(count, np.inf),
        overlaps=np.ones(count),
    )
