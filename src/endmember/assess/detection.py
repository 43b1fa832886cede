"""What can be seen at this dose, size and noise: limits of detection, and a map of the local rank."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from endmember.assess import criteria
from endmember.assess.surrogates import WhiteData, decorrelated, whitened
from endmember.errors import refuse_if
from endmember.factor.data import Floats, Indices, row_blocks
from endmember.factor.noise import (
    NoiseModel,
    detection_limit,
    spiked_overlap,
    spiked_strength,
    whitening_weights,
)

_BIASED = 0.8  # right share of a principal component below which denoising by it is warned of
_FALSE_ALARMS = 0.01  # share of windows without signal that may exceed the noise edge


@dataclass(frozen=True)
class Detectability:
    """How visible every component is.

    Attributes
    ----------
    strengths : ndarray of shape (k,)
        Variance of what only this component explains, along its spectrum, over the noise variance.
    limit : float
        Strength that a component needs to leave a trace.
    overlaps : ndarray of shape (k,)
        How much of its principal component is right (cos²); 0 where nothing is seen.
    warnings : tuple of str
        One sentence for every component that denoising by PCA would remove or bias.
    """

    strengths: Floats
    limit: float
    overlaps: Floats
    warnings: tuple[str, ...]

    @property
    def detectable(self) -> NDArray[np.bool_]:
        """Whether each component is above the limit."""
        return self.strengths > self.limit

    @property
    def dose_factor(self) -> Floats:
        """How much more dose each component needs to reach the limit, for counting noise."""
        return self.limit / np.maximum(self.strengths, 1e-300)


def detectability(
    maps: ArrayLike, spectra: ArrayLike, noise: NoiseModel | None = None
) -> Detectability:
    """Say which components can be seen, from their maps and spectra and the noise.

    In whitened units component j adds ``c_j s_jᵀ``. What the others cannot explain of it is
    ``(I − P_C) c_j s_jᵀ (I − P_S)``, with the projections on the other maps and spectra; its
    square over the number of pixels is the strength ℓ. The component is seen in the eigenvalues
    if ``ℓ > √γ``, γ = channels / pixels, and its principal component is right to
    ``cos² = (1 − γ/ℓ²) / (1 + γ/ℓ)``.

    Parameters
    ----------
    maps : array_like of shape (*domain, k)
        True, fitted or planned maps.
    spectra : array_like of shape (k, channels)
        Their spectra; ``maps @ spectra`` in data units (counts, for Poisson noise).
    noise : NoiseModel, optional
        Poisson counting if not given.

    Returns
    -------
    Detectability

    Raises
    ------
    ValueError
        If maps and spectra differ in the number of components.

    References
    ----------
    S. Lichtert and J. Verbeeck, *Ultramicroscopy* **125** (2013) 35; J. Spiegelberg and J. Rusz,
    *Ultramicroscopy* **172** (2017) 40; B. Nadler, *Ann. Statist.* **36** (2008) 2791.

    Examples
    --------
    >>> maps = np.eye(2).repeat(50, axis=0)
    >>> spectra = np.array([[10.0, 10.0, 10.0, 10.0], [10.0, 10.0, 10.0, 30.0]])
    >>> detectability(maps, spectra).detectable
    array([ True,  True])
    """
    S, C = np.asarray(spectra, dtype=float), np.asarray(maps, dtype=float)
    refuse_if(
        S.ndim != 2 or C.ndim < 2 or C.shape[-1] != S.shape[0],
        f"maps {C.shape} and spectra {S.shape} do not belong together; give maps of shape "
        "(*domain, k) and spectra of shape (k, channels).",
    )
    C = C.reshape(-1, C.shape[-1])
    rows, columns = whitening_weights(C @ S, noise or NoiseModel(poisson=True))
    C, S = C * rows[:, None], S * columns
    n, gamma = len(C), S.shape[1] / len(C)
    strengths = np.array([_own_power(C, j) * _own_power(S.T, j) / n for j in range(len(S))])
    limit, overlaps = detection_limit(gamma), spiked_overlap(strengths, gamma)
    return Detectability(strengths, limit, overlaps, _pca_warnings(strengths, limit, overlaps))


def _own_power(F: Floats, j: int) -> float:
    """Square of column j of F that the other columns do not explain."""
    others = np.delete(F, j, axis=1)
    return float(
        np.sum((F[:, j] - (others @ np.linalg.lstsq(others, F[:, j], rcond=1e-10)[0])) ** 2)
    )


def _pca_warnings(strengths: Floats, limit: float, overlaps: Floats) -> tuple[str, ...]:
    found = []
    for number, (strength, overlap) in enumerate(zip(strengths, overlaps, strict=True), start=1):
        if strength <= limit:
            found.append(
                f"Component {number} has {strength / limit:.2f} of the strength that can be seen: "
                "denoising by PCA would remove it without trace."
            )
        elif overlap < _BIASED:
            found.append(
                f"Component {number} is seen, but its principal component is only {overlap:.0%} "
                "right: denoising by PCA would bias it."
            )
    return tuple(found)


def local_rank(
    X: Any,
    window: int = 3,
    *,
    mask: Any = None,
    channel_mask: Any = None,
    domain: tuple[int, ...] | None = None,
    noise: NoiseModel | None = None,
    random_state: int | None = 0,
) -> NDArray[np.int_]:
    """Map the number of components in a small window around every pixel.

    The squared singular values of the whitened spectra in the window are compared with those of
    noise drawn for the same pixels. A pixel of rank 1 lies inside a phase; the map can serve as a
    mask or as a hint where components must be absent, and is never applied by itself.

    Parameters
    ----------
    X : array_like, Dask array, sparse matrix or HyperSpy signal of shape (ny, nx, channels)
        The spectrum image.
    window : int
        Side of the window in pixels, odd.
    mask, channel_mask, domain
        As in the estimators.
    noise : NoiseModel, optional
        Known noise; estimated if not given.
    random_state : int or None
        Seed of the drawn noise.

    Returns
    -------
    ndarray of int of shape (ny, nx)
        Number of components; −1 where a pixel is masked or empty.

    Raises
    ------
    ValueError
        If the window is not odd, or the image does not have two axes.

    References
    ----------
    A. de Juan, M. Maeder, T. Hancewicz and R. Tauler, *Chemom. Intell. Lab. Syst.* **77** (2005)
    64 (fixed-size image window evolving factor analysis).

    Examples
    --------
    >>> maps = np.eye(2).repeat(8, axis=0).reshape(16, 1, 2).repeat(16, axis=1)
    >>> spectra = np.array([[90.0] * 30 + [10.0] * 30, [10.0] * 30 + [90.0] * 30])
    >>> ranks = local_rank(np.random.default_rng(0).poisson(maps @ spectra))
    >>> int(ranks[3, 8]), int(ranks[8, 8])
    (1, 2)
    """
    white = whitened(
        X, mask=mask, channel_mask=channel_mask, domain=domain, noise=noise,
        asked="em.assess.local_rank",
    )  # fmt: skip
    refuse_if(
        window < 1 or window % 2 == 0 or len(white.domain) != 2,
        f"window={window} on an image of {len(white.domain)} axes; an odd window and a "
        "two-dimensional image (domain=(ny, nx) for a matrix) are needed.",
    )
    drawn = _window_values(white, white.noise_like(np.random.default_rng(random_state)), window)
    edge = float(np.quantile(drawn[:, 0], 1 - _FALSE_ALARMS))
    values = _window_values(white, white.Y, window)
    side, m = window**2, white.Y.shape[1]
    k = np.arange(side)
    shrink = (np.sqrt(side - k) + math.sqrt(m)) ** 2 / (math.sqrt(side) + math.sqrt(m)) ** 2
    visible = np.cumprod(values > edge * shrink, axis=1)
    ranks = np.full(math.prod(white.domain), -1)
    ranks[white.rows] = visible.sum(axis=1)
    return ranks.reshape(white.domain)


def _window_values(white: WhiteData, Y: Any, window: int) -> Floats:
    """Squared singular values (n, window²) of the spectra around every pixel; mirrored at edges."""
    ny, nx = white.domain
    half, row_of = window // 2, np.full(ny * nx, -1)
    row_of[white.rows] = np.arange(white.rows.size)
    places = np.pad(row_of.reshape(ny, nx), half, mode="symmetric")
    around = np.lib.stride_tricks.sliding_window_view(places, (window, window))
    around = around.reshape(ny * nx, window**2)[white.rows]
    values = np.empty((around.shape[0], window**2))
    for pixels in row_blocks(len(around), window**2 * Y.shape[1], 2**22):
        index = around[pixels]
        spectra = Y[np.maximum(index, 0).ravel()]
        spectra = spectra.toarray() if sp.issparse(spectra) else spectra
        spectra = np.where(index.ravel()[:, None] >= 0, spectra, 0).reshape(*index.shape, -1)
        values[pixels] = np.linalg.eigvalsh(spectra @ spectra.transpose(0, 2, 1))[:, ::-1]
    return values


_ALONE = 0.5  # share of a component's power above which one pixel or channel carries it
_CROWD = 30  # pixels or channels below which any of them may carry a component
_ROUNDS = 10  # of looking for such pixels and channels
_NAMED = 6  # of them are named
_USUAL = 5  # times the share of a pixel on average
_LARGE = 20_000_000  # entries up to which spikes are looked for
_FAR = (
    6.0  # standard deviations of noise, and as many counts besides, from which on a value is none
)
_MUCH = 0.1  # of the power of a component in one pixel
_NARROW = 2  # channels of a spike, which is no particle
_RARE = 0.1  # share of the pixels up to which they are spiked, and not badly explained


def judged(whole: WhiteData, most: int) -> tuple[WhiteData, tuple[str, ...]]:
    """Return data whose noise is white, without the pixels and channels that carry a component each by themselves.

    With the sentences that name these.
    """
    left = whole
    for _ in range(_ROUNDS):
        white = decorrelated(left, most)
        pixels, channels = _single_carriers(white, most)
        pixels = np.union1d(pixels, _spiked(left, most))
        if not (pixels.size or channels.size):
            break
        left = left.without(pixels, channels)
    gone = np.setdiff1d(whole.rows, white.rows), np.setdiff1d(whole.columns, white.columns)
    places = [tuple(map(int, np.unravel_index(row, white.domain))) for row in gone[0]]
    return white, (
        *_named(places, "pixel", "spikes, or particles of one pixel"),
        *_named(gone[1].tolist(), "channel", "channels that are defect"),
    )


def _single_carriers(white: WhiteData, most: int) -> tuple[Indices, Indices]:
    """Return the pixels and channels that hold most of a component above the noise.

    A pixel that carries a component alone may have its share of several, so that the sum over all counts.
    Few pixels or channels hold much of anything, and so do those of a coarse axis, on which a line is one channel.
    """
    U, scree, V = white.decomposition
    count = criteria.marchenko_pastur(scree, min(most, V.shape[1]))
    share = np.sum(U[:, :count] ** 2, axis=1) * (len(U) >= _CROWD)
    pixels = np.flatnonzero(share > max(_ALONE, _USUAL * count / len(U)))
    power = V[:, :count] ** 2 * (len(V) >= _CROWD)
    narrow = np.unique(power.argmax(axis=0)[power.max(axis=0, initial=0.0) > _ALONE])
    return pixels, np.array(
        [j for j in narrow if not pixels.size and _stands_alone(V, j)], dtype=int
    )


def _spiked(white: WhiteData, most: int) -> Indices:
    """Return the pixels with a value that noise cannot explain, unless they are many or the data large.

    Components of which the pixel has much do not say what to expect of it: they may be the spike.
    """
    n, m = white.Y.shape
    if n * m > _LARGE:
        return np.empty(0, dtype=int)
    U, scree, V = white.decomposition
    count = criteria.marchenko_pastur(scree, min(most, V.shape[1]))
    shared = np.where(U[:, :count] ** 2 < _MUCH, U[:, :count], 0.0)
    rows, columns = (np.maximum(weights, 1e-300) for weights in white.weights)
    scale = rows[:, None] * columns
    fit = (shared * np.sqrt(scree.values[:count])) @ V[:, :count].T / scale
    own = np.sum(shared**2, axis=1)[:, None] + np.sum(V[:, :count] ** 2, axis=1)
    variance = white.noise.variance(fit) + own / scale**2  # of the value, and of the fit
    limit = _FAR * (np.sqrt(variance) + white.noise.gain)
    beyond = np.count_nonzero(np.abs(white.raw - fit) > limit, axis=1)
    pixels = np.flatnonzero((beyond > 0) & (beyond <= _NARROW))
    return pixels if pixels.size <= _RARE * n else pixels[:0]


def _stands_alone(V: Floats, channel: int) -> bool:
    """Tell whether the spectra are resolved finely, so that a lone channel is no line of theirs."""
    mean = np.delete(V[:, 0], channel)
    return float(np.sum(np.diff(mean, 2) ** 2)) < float(np.sum((mean - mean.mean()) ** 2))


def _named(places: list[Any], what: str, why: str) -> tuple[str, ...]:
    """Say which pixels or channels carry components alone, in one sentence or none."""
    if not places:
        return ()
    named = ", ".join(map(str, places[:_NAMED])) + (", …" if len(places) > _NAMED else "")
    number = f"{len(places)} {what}s carry" if len(places) > 1 else f"One {what} carries"
    way_out = (
        "em.preprocess.remove_spikes repairs spikes, mask= and channel_mask= leave out the rest"
    )
    return (f"{number} components alone ({named}): {why}. They are not counted; {way_out}.",)


# --- shifts of the energy axis ----------------------------------------------------------------------

_EXPLAINED = 0.5  # share of the power of components that shifts have to explain
_MORE_EXPLAINED = 1.2  # times that share, if one component more is none of them


def spiked_strengths(white: WhiteData, count: int) -> tuple[Floats, Floats]:
    """Strength and overlap of the leading components, by the spiked model."""
    n, m = white.Y.shape
    strengths = spiked_strength(
        white.scree.values[:count] / (white.scree.level()[count] * n), m / n
    )
    return strengths, spiked_overlap(strengths, m / n)


def shifted(white: WhiteData, count: int) -> tuple[int, float]:
    """Return how many components there are if the rest is their spectra shifted, and by how many channels they are.

    The rest is that if one shift for each pixel explains most of it, and not much more of what one component more
    would leave.
    """
    if sp.issparse(white.Y) or white.Y.shape[1] < 3:
        return count, 0.0
    noise = white.Y - white.fit(count)
    n, m = white.Y.shape
    strengths = np.maximum(spiked_strengths(white, count)[0], detection_limit(m / n))
    powers = (
        white.scree.level()[count] * strengths
    )  # what only its map shows has less than the limit
    found = [_gone_by_shift(white, k, count, noise) for k in range(1, count)]
    shares = [gone / powers[k:].sum() for k, (gone, _) in enumerate(found, 1)]
    for k, (share, following) in enumerate(pairwise([*shares, 0.0]), 1):
        if share > _EXPLAINED and following < _MORE_EXPLAINED * share:
            return k, found[k - 1][1]
    return count, 0.0


def _gone_by_shift(white: WhiteData, k: int, count: int, noise: Floats) -> tuple[float, float]:
    """Return the power of what k components leave that one shift for each pixel explains, and how large shifts are.

    A shift δ adds ``−δ s'``, of which the rest holds what the components do not; noise is there by chance.
    """
    fit, V = white.fit(k), white.decomposition[2]
    weights = np.maximum(white.weights[1], 1e-300)
    slope = np.gradient(fit / weights, white.columns, axis=1) * weights
    slope -= slope @ V[:, :k] @ V[:, :k].T
    steep = np.maximum(np.linalg.norm(slope, axis=1), 1e-300)
    slope /= steep[:, None]
    explained, by_chance = (
        np.mean(np.sum(left * slope, axis=1) ** 2) for left in (white.Y - fit, noise)
    )
    outside = 1 - np.mean(np.sum((slope @ V[:, :count]) ** 2, axis=1))
    gone = max(float(explained - by_chance / max(outside, 1e-6)), 0.0)
    return gone, math.sqrt(gone / float(np.mean(steep**2)))
