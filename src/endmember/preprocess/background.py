"""The background before an edge or below lines: fitted in a window, known with its error, subtracted.

Whether to subtract at all is a choice: a background can also be a component with its own map
(`em.PowerLaws`, `bremsstrahlung_shapes`), and then the data keep the noise they came with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from endmember.errors import Argument, EndmemberError, refuse_if
from endmember.factor.data import Floats, given, row_blocks, weighted_gram
from endmember.factor.noise import NoiseModel, denoised_before, known_noise, spiked_strength
from endmember.preprocess.continuum import (
    PowerLawBackground,
    ShapeBackground,
    bremsstrahlung_shapes,
    dispersion,
    fit_logarithms,
    fit_ml,
    fit_shapes,
    fit_two_areas,
    influence,
    influence_of_shapes,
    power_law_shapes,
    snip,
)
from endmember.preprocess.denoising import noise_weighted_basis
from endmember.preprocess.lifting import lifted, map_pixels

Window = tuple[float, float] | Sequence[tuple[float, float]]

METHODS = {
    "ml": "power law by Poisson maximum likelihood",
    "log": "straight line through the logarithms",
    "weighted": "straight line through the logarithms, weighted by the counts",
    "two_area": "power law through the areas of the two halves of the window",
    "local": "power law whose exponent is that of the averaged neighbourhood",
    "two_laws": "non-negative sum of two power laws, of exponents that span the image",
    "convex": "non-negative sum of power laws with exponents 1 to 5",
    "compressed": "power law fitted to the low-rank reconstruction",
    "bremsstrahlung": "physical shapes of bremsstrahlung",
    "snip": "clipping without a model",
}
_CONVEX_EXPONENTS = (1.0, 2.0, 3.0, 4.0, 5.0)
_SPAN = (5, 95)  # percentiles of the exponents that two laws span
_FWHM = 2.354820045  # full width at half maximum of a Gaussian, in standard deviations
_CACHED = 2**17  # entries that are fitted and subtracted at a time
_CUT = 4.0  # standard deviations at which the Gaussian of neighbours ends


@dataclass(frozen=True)
class _Plan:
    """How to fit a block of pixels: which channels, what is made of them, which model."""

    method: str
    energy: Floats
    inside: NDArray[np.bool_]
    neighbours: float
    basis: tuple[Floats, Floats] | None = None
    shapes: Callable[[Floats], Floats] | None = None

    @property
    def margin(self) -> int:
        return int(np.ceil(_CUT * self.neighbours / _FWHM)) if self.method == "local" else 0

    def window(self, X: Any) -> Any:
        """Return the window of a block (*domain, channels), of its reconstruction if compressed."""
        if self.basis is None:
            return X[..., self.inside]
        into, back = self.basis
        return (X @ into) @ back[:, self.inside]

    def fit(self, Y: Floats) -> PowerLawBackground | ShapeBackground:
        """Fit the window (*domain, w) of a block."""
        E = self.energy[self.inside]
        if self.shapes is not None:
            return fit_shapes(Y, E, self.shapes)
        if self.method in ("log", "weighted"):
            return fit_logarithms(Y, E, self.method == "weighted")
        return (
            fit_two_areas(Y, E)
            if self.method == "two_area"
            else fit_ml(Y, E, _averaged(Y, self.neighbours) if self.method == "local" else None)
        )

    def covariance(self, fit: Any, X: Any, Y: Floats, noise: NoiseModel) -> Floats:
        r"""Return the covariance of the parameters of a fit, :math:`A\,{\rm diag}(\sigma^2) A^\top`, (*domain, p, p).

        ``A`` is how they follow the data. A reconstruction follows the few scores of its pixel, and all
        pixels as far as this one decides on the components.
        """
        E, known = self.energy[self.inside], np.isfinite(Y)
        of_shapes = self.shapes is not None
        A = influence_of_shapes(fit, E, known) if of_shapes else influence(fit, E, self.method)
        spread = known * noise.variance(fit.background(E))
        alone = (A * spread[..., None, :]) @ np.swapaxes(A, -1, -2)
        if self.basis is None:
            return alone
        into, back = self.basis
        scores = np.asarray(X @ into)
        variance = noise.variance(np.maximum(scores @ back, 0.0))
        held = A @ back[:, self.inside].T
        noisy, decides = _noise_of_scores(scores, weighted_gram(into, variance), X.shape[-1])
        own = held @ noisy @ np.swapaxes(held, -1, -2)
        return own + decides[..., None, None] * np.maximum(alone - own, 0)


@lifted(missing=True)
def subtract_background(
    X: Any,
    window: Window | None = None,
    method: str = "ml",
    energy: ArrayLike | None = None,
    *,
    neighbours: float = 3.0,
    rank: int | None = None,
    exponents: Sequence[float] | None = None,
    beam_energy: float | None = None,
    efficiency: ArrayLike | None = None,
    width: int | None = None,
) -> Any:
    r"""Fit the background of every pixel in a window and subtract it from all that follows.

    Nothing is clipped: below the edge the residual scatters about zero, negative values included.
    Channels below the window, where a power law says nothing, become 0, and a fit leaves out what is
    0 everywhere; bremsstrahlung and SNIP are subtracted from all channels.

    Parameters
    ----------
    X : array_like, Dask array or HyperSpy signal, (*domain, channels)
        Counts, or data proportional to them; NaN = missing.
    window : (start, stop), or several such pairs
        Energies ``start ≤ E < stop`` without edges and lines, in the unit of the axis. Not for "snip".
    method : str
        "ml" (default) power law by Poisson maximum likelihood · "log" line through the logarithms ·
        "weighted" the same, weighted by counts · "two_area" Egerton's two areas, approximate ·
        "local" the exponent of a Gaussian neighbourhood, the level of the pixel itself ·
        "two_laws" :math:`a_1 E^{-r_1} + a_2 E^{-r_2}` with the 5th and 95th percentile of the image's exponents ·
        "convex" :math:`\sum_r a_r E^{-r}`, r = 1 … 5, a ≥ 0, which is positive, falling and convex ·
        "compressed" fitted to the reconstruction from ``rank`` noise-weighted principal components,
        subtracted from the data themselves · "bremsstrahlung" `bremsstrahlung_shapes` · "snip".
    energy : array_like, (channels,), optional
        For arrays; a signal has its own.
    neighbours : float
        Full width at half maximum of the neighbourhood of "local", in pixels.
    rank : int, optional
        Components of "compressed"; what `em.assess.rank` says.
    exponents : sequence of float, optional
        Of "two_laws" and "convex", in place of those above.
    beam_energy : float, optional
        For "bremsstrahlung", in the unit of the axis.
    efficiency : array_like, (channels,), optional
        For "bremsstrahlung": what detector and specimen let through.
    width : int, optional
        For "snip": half the width of the widest line, in channels; a fortieth of the axis by default.

    Returns
    -------
    ndarray, Dask array or HyperSpy signal, (*domain, channels)
        In the unit of the data; integers become float64.

    Raises
    ------
    ValueError
        Before work starts: an unknown method, a window without enough channels or at energies ≤ 0, a
        missing rank or energy axis.

    Notes
    -----
    eXSpy's ``remove_background(fast=True)`` takes two areas, and an exact fit one pixel at a time, by
    least squares that takes all channels of the window for equally sure; neither gives the error of the
    extrapolation. HyperSpy's ``remove_baseline`` hands SNIP to another package, pixel by pixel. "two_area"
    is theirs in other words. For "compressed" the reading of the title and of the review: the method's
    publication leaves the choice of components open.

    References
    ----------
    Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed. (2011), 4.4. Cueva,
    Hovden, Mundy, Xin & Muller, Microsc. Microanal. 18 (2012) 667, for "local" and "two_laws". Van den
    Broek, Jannis & Verbeeck, Ultramicroscopy 254 (2023) 113830, for "convex". Spiegelberg, Rusz,
    Leifer & Thersleff, Ultramicroscopy 181 (2017) 117, for "compressed".

    Examples
    --------
    >>> energy = np.linspace(400.0, 600.0, 201)
    >>> edge = np.where(energy > 530, 2.0, 0.0)
    >>> net = subtract_background(50 * (energy / 400) ** -3 + edge, (400, 520), energy=energy)
    >>> bool(np.allclose(net, edge, atol=1e-9))
    True
    """
    if method == "snip":
        channels = X.shape[-1]
        widest = max(channels // 40, 2) if width is None else width
        refuse_if(
            widest < 1 or 2 * widest >= channels,
            f"width={width} channels do not fit {channels}; give fewer than half of them",
        )
        return map_pixels(lambda block: block - snip(block, widest), X)
    plan = _plan(X, window, method, energy, neighbours, rank, exponents, beam_energy, efficiency)
    return map_pixels(partial(_subtracted, plan=plan), X, margin=plan.margin)


def fit_background(
    X: Any,
    window: Window,
    method: str = "ml",
    energy: ArrayLike | None = None,
    *,
    neighbours: float = 3.0,
    rank: int | None = None,
    exponents: Sequence[float] | None = None,
    beam_energy: float | None = None,
    efficiency: ArrayLike | None = None,
    noise: NoiseModel | None = None,
) -> PowerLawBackground | ShapeBackground:
    """Fit the background of every pixel and keep it: parameters, values and errors at any energy.

    Parameters
    ----------
    X, window, method, energy, neighbours, rank, exponents, beam_energy, efficiency
        As in `subtract_background`, except "snip", which has no parameters and no error.
    noise : NoiseModel, optional
        For the errors. Measured from the data by default; of too few pixels or channels for that, whole numbers
        are counts, and for other data the variance is the model times the scatter about it in the window.

    Returns
    -------
    PowerLawBackground or ShapeBackground
        ``.background(energy)`` and ``.variance(energy)`` (*domain, channels), ``.exponent`` and ``.level``
        or ``.amounts``; in memory, also for lazy data. The error is that of the fit, if the model
        holds: add the noise of the data themselves for that of a net signal. The noise is always that of the
        data as given, never of a reconstruction.

    Raises
    ------
    ValueError
        As in `subtract_background`; without ``noise``, for a signal that was denoised before.

    Examples
    --------
    >>> energy = np.linspace(400.0, 500.0, 101)
    >>> fit = fit_background(1000 * (energy / 400) ** -3, (400, 500), energy=energy)
    >>> round(float(fit.exponent), 6), fit.background([800.0]).round(6)
    (3.0, array([125.]))
    """
    refuse_if(
        method == "snip",
        "SNIP has no parameters to keep; use subtract_background, or another method",
    )
    if noise is None and (denoised := denoised_before(given(X, least=1))):
        raise EndmemberError(f"errors follow from the noise, and {denoised}, and give it as noise=")
    return _fitted(
        X, window, method, energy, neighbours, rank, exponents, beam_energy, efficiency, noise
    )


@lifted(records=False, missing=True)
def _fitted(
    X: Any,
    window: Window,
    method: str,
    energy: Any,
    neighbours: float,
    rank: int | None,
    exponents: Sequence[float] | None,
    beam_energy: float | None,
    efficiency: ArrayLike | None,
    noise: NoiseModel | None,
) -> PowerLawBackground | ShapeBackground:
    plan = _plan(X, window, method, energy, neighbours, rank, exponents, beam_energy, efficiency)
    Y, E = np.asarray(plan.window(X), dtype=float), plan.energy[plan.inside]
    fit = plan.fit(Y)
    noise = noise or known_noise(X.reshape(-1, X.shape[-1]))
    if noise is None:
        parameters = fit.amounts.shape[-1] if isinstance(fit, ShapeBackground) else 2
        spread = dispersion(np.asarray(X[..., plan.inside]), fit.background(E), parameters)
        noise = NoiseModel(gain=spread)
    covariance = plan.covariance(fit, X, Y, noise)
    if method == "local":
        # The share of a pixel's variance that averaging its neighbours leaves.
        middle = np.eye(2 * plan.margin + 1)[plan.margin]
        kernel = gaussian_filter1d(middle, neighbours / _FWHM, truncate=_CUT)
        left = float((kernel @ kernel) ** (Y.ndim - 1))
        covariance = covariance * np.array([[1.0, left], [left, left]])
    return replace(fit, covariance=covariance)


def _noise_of_scores(scores: Floats, noisy: Floats, channels: int) -> tuple[Floats, Floats]:
    r"""Return the covariance of scores among components that all pixels decide on, and how much each pixel does.

    Noise turns a component of strength :math:`\ell` (:mod:`endmember.factor.noise.photon_transfer`). Scores on the
    turned one hold :math:`1 + \gamma/\ell - \gamma/\ell^2` times the variance ``noisy`` of scores on a given one, all
    of their square where the component is nothing but noise; a share :math:`y^2 / n\ell` of the rest of its noise
    gets in besides.
    """
    n, k = scores.size // scores.shape[-1], scores.shape[-1]
    if not noisy.any():
        return noisy, np.zeros(scores.shape[:-1])
    root = np.linalg.cholesky(noisy.reshape(n, k, k).mean(axis=0))
    white = np.linalg.solve(root, scores.reshape(n, k).T).T
    values, vectors = np.linalg.eigh(white.T @ white / n)
    gamma, strength = channels / n, spiked_strength(values, channels / n)
    seen, safe = strength > 0, np.where(strength > 0, strength, np.inf)
    grown = np.sqrt(np.where(seen, 1 + gamma / safe - gamma / safe**2, values))
    stretch = root @ (vectors * grown) @ vectors.T @ np.linalg.inv(root)
    decides = np.minimum(np.sum((white @ vectors) ** 2 / (n * safe), axis=1), 1.0)
    return stretch @ noisy @ stretch.T, decides.reshape(scores.shape[:-1])


def _subtracted(block: Floats, plan: _Plan) -> Floats:
    """Subtract from a block its own background, as many pixels at a time as the processor's cache holds."""
    first = 0 if plan.method == "bremsstrahlung" else int(np.argmax(plan.inside))
    pixels = block if plan.margin else block.reshape(-1, block.shape[-1])
    net = np.zeros(pixels.shape, dtype=block.dtype)
    for rows in (
        [slice(None)] if plan.margin else row_blocks(len(pixels), pixels.shape[-1], _CACHED)
    ):
        fit = plan.fit(np.asarray(plan.window(pixels[rows]), dtype=float))
        background = fit.background(plan.energy[first:])
        out = net[rows, ..., first:]
        np.subtract(pixels[rows, ..., first:], background, out=out, casting="same_kind")
    return net.reshape(block.shape)


def _plan(
    X: Any,
    window: Window | None,
    method: str,
    energy: Any,
    neighbours: float,
    rank: int | None,
    exponents: Sequence[float] | None,
    beam_energy: float | None,
    efficiency: ArrayLike | None,
) -> _Plan:
    """Check what was asked for and find what all pixels decide together."""
    refuse_if(
        method not in METHODS,
        Argument.of("method", method),
        f" is not known; allowed: {', '.join(METHODS)}",
    )
    refuse_if(energy is None, "an array has no energies; give energy=, one value for each channel")
    refuse_if(
        method == "compressed" and rank is None,
        "compression needs rank=, the number of components; em.assess.rank suggests",
    )
    refuse_if(
        not neighbours > 0,
        f"neighbours={neighbours} is not positive; give a width in pixels, such as 3",
    )
    refuse_if(
        not np.all(np.diff(energy) > 0),
        "energies must rise from channel to channel; reverse the data and the axis",
    )
    plan = _Plan(method, energy, channels_inside(window, energy), neighbours)
    return (
        replace(plan, basis=noise_weighted_basis(X, rank))
        if method == "compressed"
        else replace(plan, shapes=_shapes(X, plan, exponents, beam_energy, efficiency))
    )


def channels_inside(window: Window | None, energy: Floats) -> NDArray[np.bool_]:
    """Return which channels lie in a window or in one of several, (channels,).

    Raises
    ------
    ValueError
        If a window is no pair, if fewer than three channels lie inside, or energies at or below zero.
    """
    span = f"the axis runs from {energy.min():g} to {energy.max():g}"
    try:
        pairs = np.atleast_2d(np.asarray(window, dtype=float))
        ordered = (
            pairs.ndim == 2 and pairs.shape[1] == 2 and bool(np.all(pairs[:, 0] < pairs[:, 1]))
        )
    except (TypeError, ValueError):
        ordered = False
    refuse_if(
        not ordered,
        Argument.of("window", window),
        f" is no (start, stop) with start below stop; {span}",
    )
    inside = np.any([(energy >= start) & (energy < stop) for start, stop in pairs], axis=0)
    refuse_if(
        inside.sum() < 3,
        f"{inside.sum()} channels lie in ",
        Argument("window", window, f"the window {window}"),
        f", at least 3 are needed; {span}",
    )
    refuse_if(
        energy[inside].min() <= 0,
        Argument("window", window, f"the window {window}"),
        " reaches zero energy, where no background is; start above it",
    )
    return inside


def _shapes(
    X: Any,
    plan: _Plan,
    exponents: Sequence[float] | None,
    beam_energy: float | None,
    efficiency: ArrayLike | None,
) -> Callable[[Floats], Floats] | None:
    """Return the shapes whose sum is fitted, or None for a single power law."""
    E = plan.energy[plan.inside]
    reference = float(np.exp(np.log(E).mean()))
    if plan.method == "convex":
        return power_law_shapes(_CONVEX_EXPONENTS if exponents is None else exponents, reference)
    if plan.method == "two_laws":
        if exponents is None:
            exponents = _spanned(fit_ml(np.asarray(plan.window(X), dtype=float), E).exponent)
        return power_law_shapes(exponents, reference)
    if plan.method == "bremsstrahlung":
        through = (
            np.ones(plan.energy.shape) if efficiency is None else np.asarray(efficiency, float)
        )
        bremsstrahlung_shapes(plan.energy, beam_energy, through)
        return lambda energy: bremsstrahlung_shapes(
            energy, beam_energy, np.interp(energy, plan.energy, through)
        )
    return None


def _spanned(found: Floats) -> list[float]:
    """Return the exponents that two laws span; one where all pixels agree."""
    found = found[np.isfinite(found)]
    if not found.size:
        return [3.0]
    low, high = np.percentile(found, _SPAN)
    return [float(low), float(high)] if high - low > 1e-3 else [float(np.median(found))]


def _averaged(Y: Floats, width: float) -> Floats:
    """Average every channel over the neighbouring pixels; missing entries do not count."""
    sigma, known = (*[width / _FWHM] * (Y.ndim - 1), 0.0), np.isfinite(Y)
    total = gaussian_filter(np.where(known, Y, 0.0), sigma, truncate=_CUT)
    return np.where(known, total / np.maximum(gaussian_filter(known.astype(float), sigma), 1e-9), Y)
