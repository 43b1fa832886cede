r"""The continuum before an edge or below lines: one power law a pixel, or a sum of known shapes; and none at all.

``Y`` (n, w) holds the w channels of the window, ``L = ln(E / E_ref)`` their logarithmic energies with
``E_ref`` the geometric mean of the window, so that level and exponent hardly disturb each other. Of sums
with non-negative amounts, ``B`` (w, k) holds the shapes there: power laws under a spectrum of electrons,
bremsstrahlung under one of X-rays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter

from endmember.errors import refuse_if
from endmember.factor.data import Data, Dense, Floats, Weighted, weighted_gram
from endmember.factor.penalties.lines import bremsstrahlung_shapes as bremsstrahlung_shapes
from endmember.factor.regression import Limits, least_squares, poisson

LEAST, MOST = 0.5, 10.0  # exponents that a background of electrons can have
_GRID = 512  # exponents at which the table of starts is made
_STEPS = 30
_SETTLED = 1e-12  # size of a Newton step in the exponent that ends it
_LEAST_MODEL = 1e-4  # of its mean, below which a model is not taken where it divides


@dataclass(frozen=True)
class PowerLawBackground:
    r"""A power law a pixel: :math:`b(E) = b(E_c) (E / E_c)^{-r}`, and how well it is known.

    Attributes
    ----------
    exponent : ndarray, (*domain,)
        ``r``, dimensionless; NaN where the window holds no counts.
    level : ndarray, (*domain,)
        ``ln b(E_c)``, b in the unit of the data; -inf where the window holds no counts.
    centre : ndarray, (*domain,)
        ``E_c``, in the unit of the axis: for maximum likelihood the energy at which level and exponent
        do not disturb each other.
    limited : ndarray of bool, (*domain,)
        True where the exponent was stopped at 0.5 or 10.
    covariance : ndarray, (*domain, 2, 2)
        Of level and exponent.
    """

    exponent: Floats
    level: Floats
    centre: Floats
    limited: NDArray[np.bool_]
    covariance: Any = None

    def background(self, energy: ArrayLike) -> Floats:
        """Return the background at these energies, (*domain, len(energy)), in the unit of the data."""
        r = np.nan_to_num(self.exponent)
        law = np.multiply.outer(-r, np.log(np.asarray(energy, dtype=float)))
        law += (self.level + r * np.log(self.centre))[..., None]
        return np.exp(law, out=law)

    def variance(self, energy: ArrayLike) -> Floats:
        r"""Return the squared standard error of the background, (*domain, len(energy)).

        To first order :math:`b^2 (\sigma_0^2 - 2 \ell \sigma_{01} + \ell^2 \sigma_1^2)` with
        :math:`\ell = \ln (E / E_c)`: it grows with the distance from the window.
        """
        away = np.log(np.asarray(energy, dtype=float)) - np.log(self.centre)[..., None]
        J = np.stack([np.ones_like(away), -away], axis=-1)
        relative = np.sum((J @ np.nan_to_num(self.covariance)) * J, axis=-1)
        return self.background(energy) ** 2 * np.maximum(relative, 0)


def fit_ml(Y: Floats, energy: Floats, steer: Floats | None = None) -> PowerLawBackground:
    r"""Fit by Poisson maximum likelihood.

    The likelihood of counts sees a spectrum through :math:`N = \sum_j y_j` and
    :math:`M = \sum_j y_j L_j` alone. Its maximum has the area N and the mean logarithmic energy M / N:
    one falling function of r, inverted by Newton steps for all pixels together.
    A gain changes nothing: it scales the level.

    Parameters
    ----------
    Y : ndarray, (*domain, w)
        The window; NaN = missing.
    energy : ndarray, (w,)
        Positive.
    steer : ndarray, (*domain, w), optional
        Data that decide the exponents in place of ``Y`` (local averages); ``Y`` keeps the level.
    """
    L, reference = _logarithmic(energy)
    known = np.isfinite(Y)
    total, _ = _statistics(Y, L, known)
    mean = np.divide(*_statistics(Y if steer is None else steer, L, known)[::-1])
    r, limited = _exponent_of_mean(mean, L, known)
    empty = ~(total > 0)
    weights = np.exp(np.multiply.outer(-np.nan_to_num(r), L)) * known
    area = weights @ np.ones(len(L))
    centre = (weights @ L) / area
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(empty, -np.inf, np.log(total / area) - r * centre)
    return PowerLawBackground(
        np.where(empty, np.nan, r), level, reference * np.exp(centre), limited & ~empty
    )


def fit_logarithms(Y: Floats, energy: Floats, weighted: bool = False) -> PowerLawBackground:
    r"""Fit a straight line to :math:`\ln y` against :math:`\ln E`, all alike or weighted by ``y``.

    Channels without counts have no logarithm and are left out, which bends the result at low counts.
    """
    L, reference = _logarithmic(energy)
    good = Y > 0
    weights = np.where(good, Y if weighted else 1.0, 0.0)
    logarithm = np.log(np.where(good, Y, 1.0))
    sums = weights @ np.column_stack([np.ones_like(L), L, L**2])
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = sums[..., 1] / sums[..., 0]
        spread = sums[..., 2] - centre * sums[..., 1]
        level = (weights * logarithm).sum(axis=-1) / sums[..., 0]
        slope = (weights * logarithm) @ L - centre * (weights * logarithm).sum(axis=-1)
        r = np.where(good.sum(axis=-1) >= 2, -slope / spread, np.nan)
    return _settled(r, level, reference * np.exp(centre), good.sum(axis=-1) < 2)


def fit_two_areas(Y: Floats, energy: Floats) -> PowerLawBackground:
    r"""Fit by the areas of the two halves of the window (Egerton).

    :math:`r = 2 \ln (I_1 / I_2) / \ln (E_2 / E_1)` and the level from the whole area. Quick and nearly
    as good as least squares, but approximate even without noise.
    """
    L, reference = _logarithmic(energy)
    half = len(L) // 2
    edges = _edges(energy)
    filled = np.where(np.isfinite(Y), Y, 0.0)
    one, two = filled[..., :half].sum(axis=-1), filled[..., half:].sum(axis=-1)
    width = np.log(edges[half] / edges[0]), np.log(edges[-1] / edges[half])
    empty = ~((one > 0) & (two > 0))
    one, two = np.where(empty, 1.0, one), np.where(empty, 1.0, two)
    ratio = one / (edges[half] - edges[0]) / (two / (edges[-1] - edges[half]))
    r = 2 * np.log(ratio) / (width[0] + width[1])
    area = np.exp(np.multiply.outer(-np.clip(r, LEAST, MOST), L)).sum(axis=-1)
    return _settled(r, np.log((one + two) / area), np.full(r.shape, reference), empty)


def influence(fit: PowerLawBackground, energy: Floats, method: str) -> Floats:
    r"""Return how level and exponent follow every entry of the window, (*domain, 2, w).

    :math:`(J^\top U J)^{-1} J^\top U / b` with ``J = (1, -ln E/E_c)`` and ``U`` the weights of the method: the model b
    for maximum likelihood and weighted logarithms, 1 for plain logarithms. Of two areas :math:`I_1, I_2`
    the exponent follows :math:`\ln I_1 - \ln I_2`.
    """
    model = fit.background(energy)
    present = model > 0
    safe = np.where(present, model, 1.0)
    away = np.nan_to_num(np.log(energy) - np.log(fit.centre)[..., None])  # NaN without data
    if method == "two_area":
        return _influence_of_areas(safe, away, energy)
    U = np.where(present, 1.0 if method == "log" else safe, 0.0)
    J = np.stack([np.ones_like(away), -away], axis=-2)
    weighted = J * U[..., None, :]
    return np.linalg.pinv(weighted @ np.swapaxes(J, -1, -2)) @ weighted / safe[..., None, :]


def _influence_of_areas(model: Floats, away: Floats, energy: Floats) -> Floats:
    edges, first = _edges(energy), np.arange(len(energy)) < len(energy) // 2
    one, two = ((model * half).sum(axis=-1, keepdims=True) for half in (first, ~first))
    exponent = 2 / np.log(edges[-1] / edges[0]) * (first / one - ~first / two)
    middle = (model * away).sum(axis=-1, keepdims=True) / (one + two)
    return np.stack([1 / (one + two) + middle * exponent, exponent], axis=-2)


def dispersion(Y: Floats, model: Floats, parameters: int) -> float:
    """Return the variance of the data about a model, in units of the model."""
    good = np.isfinite(Y) & (model > 0)
    freedom = good.sum() - parameters * np.any(good, axis=-1).sum()
    squares = np.where(good, Y - model, 0.0) ** 2 / np.where(good, model, 1.0)
    return float(squares.sum() / freedom) if freedom > 0 else 0.0


def _logarithmic(energy: Floats) -> tuple[Floats, float]:
    """Return ``ln(E / E_ref)`` and ``E_ref``, the geometric mean."""
    logarithm = np.log(energy)
    return logarithm - logarithm.mean(), float(np.exp(logarithm.mean()))


def _statistics(Y: Floats, L: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return ``Σ y`` and ``Σ y L``: all that the likelihood of counts asks of a spectrum."""
    sums = np.where(known, Y, 0.0).astype(float, copy=False) @ np.column_stack([np.ones_like(L), L])
    total = sums[..., 0]
    return np.where(total > 0, total, np.nan), sums[..., 1]


def _exponent_of_mean(
    mean: Floats, L: Floats, known: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Invert the mean of L under ``e^{−rL}``; its derivative in r is minus the variance of L."""
    powers = np.column_stack([np.ones_like(L), L, L**2])
    grid = np.linspace(LEAST, MOST, _GRID)
    table = np.exp(-np.outer(grid, L)) @ powers
    start = np.interp(mean, (table[:, 1] / table[:, 0])[::-1], grid[::-1])
    r = np.where(np.isnan(mean), 1.0, start).ravel()
    wanted, left = np.nan_to_num(mean).ravel(), np.flatnonzero(~np.isnan(mean).ravel())
    known = known.reshape(-1, len(L))
    for _ in range(_STEPS):
        area, first, second = ((np.exp(np.multiply.outer(-r[left], L)) * known[left]) @ powers).T
        centre = first / area
        new = np.clip(r[left] + (centre - wanted[left]) / (second / area - centre**2), LEAST, MOST)
        step = np.abs(new - r[left])
        r[left] = new
        left = left[step > _SETTLED * new]
        if not left.size:
            break
    limited = ((r == LEAST) | (r == MOST)) & ~np.isnan(mean).ravel()
    return r.reshape(mean.shape), limited.reshape(mean.shape)


def _edges(energy: Floats) -> Floats:
    """Return the borders of the channels, (w + 1,)."""
    middle = (energy[1:] + energy[:-1]) / 2
    first, last = 2 * energy[0] - middle[0], 2 * energy[-1] - middle[-1]
    return np.concatenate([[max(first, energy[0] / 2)], middle, [last]])


def _settled(
    r: Floats, level: Floats, centre: Floats, empty: NDArray[np.bool_]
) -> PowerLawBackground:
    """Keep exponents between their bounds and mark the pixels that have none."""
    kept = np.where(empty, np.nan, np.clip(r, LEAST, MOST))
    limited = ~empty & (kept != r)
    middle = np.where(empty, np.nanmean(centre) if np.isfinite(centre).any() else 1.0, centre)
    return PowerLawBackground(kept, np.where(empty, -np.inf, level), middle, limited)


@dataclass(frozen=True)
class ShapeBackground:
    r"""A sum of shapes a pixel, :math:`b(E) = \sum_i a_i B_i(E)`, and how well it is known.

    Attributes
    ----------
    amounts : ndarray, (*domain, k)
        ``a ≥ 0``, in the unit of the data.
    shapes : callable
        Takes energies (channels,) and returns the shapes there, (channels, k).
    covariance : ndarray, (*domain, k, k)
        Of the amounts; zero for those at their bound.
    """

    amounts: Floats
    shapes: Callable[[Floats], Floats]
    covariance: Any = None

    def background(self, energy: ArrayLike) -> Floats:
        """Return the background at these energies, (*domain, len(energy)), in the unit of the data."""
        return self.amounts @ self.shapes(np.asarray(energy, dtype=float)).T

    def variance(self, energy: ArrayLike) -> Floats:
        r"""Return the squared standard error of the background, :math:`B \Sigma B^\top`, (*domain, len(energy))."""
        B = self.shapes(np.asarray(energy, dtype=float))
        return np.maximum(np.einsum("cj,...jk,ck->...c", B, self.covariance, B, optimize=True), 0)


def power_law_shapes(exponents: ArrayLike, reference: float) -> Callable[[Floats], Floats]:
    """Return the shapes ``(E / reference)^{−r}``, one for each exponent.

    Raises
    ------
    ValueError
        If the exponents are no finite numbers.
    """
    try:
        r = np.atleast_1d(np.asarray(exponents, dtype=float))
    except (TypeError, ValueError):
        r = np.empty(0)
    refuse_if(
        r.ndim != 1 or not r.size or not np.isfinite(r).all(),
        f"exponents={exponents!r} are no numbers; give a list such as [2, 4]",
    )
    return lambda energy: (energy[:, None] / reference) ** -r


def fit_shapes(Y: Floats, energy: Floats, shapes: Callable[[Floats], Floats]) -> ShapeBackground:
    r"""Fit amounts :math:`a \ge 0` of given shapes by Poisson maximum likelihood, for all pixels at once.

    Parameters
    ----------
    Y : ndarray, (*domain, w)
        The window; NaN = missing.
    energy : ndarray, (w,)
    shapes : callable
    """
    known = np.isfinite(Y).reshape(-1, len(energy))
    data: Data = Dense(np.where(known, Y.reshape(known.shape), 0.0).astype(float))
    data = data if known.all() else Weighted(data, known.astype(float))
    B = shapes(energy)
    start = least_squares(data, B, np.ones(len(energy)), Limits())
    return ShapeBackground(poisson(data, B, start, Limits()).reshape(*Y.shape[:-1], -1), shapes)


def influence_of_shapes(fit: ShapeBackground, energy: Floats, known: NDArray[np.bool_]) -> Floats:
    r"""Return how the amounts follow every entry of the window, (n, k, w), with those at zero held there.

    :math:`(B^\top W B)^{-1} B^\top W` with the weights of the fit.
    """
    model = fit.background(energy)
    least = _LEAST_MODEL * np.mean(model, axis=-1, keepdims=True)
    weights = known / np.where(least > 0, np.maximum(model, least), 1.0)
    B = fit.shapes(energy)
    size = np.linalg.norm(B, axis=0)
    B, free = B / np.where(size > 0, size, 1.0), fit.amounts > 0
    inverse = np.linalg.pinv(
        weighted_gram(B, weights) * (free[..., :, None] & free[..., None, :]), hermitian=True
    )
    return inverse @ (B.T * weights[..., None, :]) / np.where(size > 0, size, 1.0)[:, None]


def snip(Y: Floats, width: int) -> Floats:
    r"""Return the background below peaks, by clipping that knows no model (SNIP), of the shape of ``Y``.

    On :math:`v = \ln(\ln(\sqrt{y + 1} + 1) + 1)`, for p = ``width``, … 2, 1:
    :math:`v_j \leftarrow \min(v_j, (v_{j-p} + v_{j+p}) / 2)`. Spectra are scaled to a mean of 1000
    first, so that their unit plays no part. Clipping follows the lower edge of the noise σ, and lies about
    :math:`(0.5 + 0.52 \ln p)\,\sigma` too low for p steps. That is put back, with σ from second differences, but never
    more than the median of what is left: few counts cannot be far below. Between lines less than a fifth of σ remains.

    References
    ----------
    Ryan, Clayton, Griffin, Sie & Cousens, Nucl. Instrum. Methods B 34 (1988) 396. Morháč, Kliman,
    Matoušek, Veselský & Turzo, Nucl. Instrum. Methods A 401 (1997) 113.
    """
    filled = np.maximum(np.nan_to_num(Y.astype(float)), 0)
    scale = filled.mean(axis=-1, keepdims=True) / 1000
    scale[scale == 0] = 1.0
    v = np.log(np.log(np.sqrt(filled / scale + 1) + 1) + 1)
    for p in range(min(width, (v.shape[-1] - 1) // 2), 0, -1):
        v[..., p:-p] = np.minimum(v[..., p:-p], (v[..., : -2 * p] + v[..., 2 * p :]) / 2)
    lower, places = ((np.exp(np.exp(v) - 1) - 1) ** 2 - 1) * scale, np.arange(v.shape[-1])
    bend = np.abs(filled[..., 1:-1] - (filled[..., 2:] + filled[..., :-2]) / 2) / 1.5**0.5
    bend = np.pad(bend, [(0, 0)] * (Y.ndim - 1) + [(1, 1)], mode="edge")
    noise, room = (
        np.apply_along_axis(median_filter, -1, one, size=4 * width + 1, mode="nearest")
        for one in (1.4826 * bend, filled - lower)
    )
    steps = np.log(np.clip(np.minimum(places, places[::-1]), 1, width))
    return lower + np.minimum((0.5 + 0.52 * steps) * noise, room)
