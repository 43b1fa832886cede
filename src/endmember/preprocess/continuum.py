r"""Backgrounds that are sums of known shapes with non-negative amounts, and the one without a model.

``Y`` (n, w) holds the w channels of the window, ``B`` (w, k) the shapes there: power laws under a
spectrum of electrons, bremsstrahlung under one of X-rays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from endmember.factor.blocks import Data
from endmember.factor.data import Dense, Weighted, weighted_gram
from endmember.factor.regression import Limits, least_squares, poisson

Floats = NDArray[np.floating]

_ROUNDS = 50
_LEAST = 1e-4  # of its mean, below which a model is not taken where it divides
_SETTLED = 1e-9  # change of the model, relative to its mean, that ends the reweighting


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
    if r.ndim != 1 or not r.size or not np.isfinite(r).all():
        raise ValueError(f"exponents={exponents!r} are no numbers; give a list such as [2, 4]")
    return lambda energy: (energy[:, None] / reference) ** -r


def bremsstrahlung_shapes(
    energy: ArrayLike,
    beam_energy: float | None = None,
    efficiency: ArrayLike | None = None,
) -> Floats:
    r"""Return the two shapes of the bremsstrahlung of a thin specimen.

    With :math:`u = 1 - E / E_0` they are :math:`\varepsilon(E)\, u` and
    :math:`\varepsilon(E)\, u^2 / E`, the terms of Lifshin's formula. Far below the beam energy they
    are a constant and :math:`1 / E`, the first terms of Chapman's.

    Parameters
    ----------
    energy : array_like, (channels,)
        Positive where the shapes are wanted; they are 0 at and below zero and above the beam energy.
    beam_energy : float, optional
        ``E_0`` in the unit of ``energy``; far above the axis unless given.
    efficiency : array_like, (channels,), optional
        What detector and specimen let through; 1 unless given.

    Returns
    -------
    ndarray, (channels, 2)
        Fixed columns of a model as they are, ``em.Known({k - 1: shapes[:, 0]})``.

    Raises
    ------
    ValueError
        If the beam energy is not positive, or the efficiency not one a channel.

    References
    ----------
    Chapman, Gray, Robertson & Nicholson, X-Ray Spectrom. 12 (1983) 153. Teurtrie, Perraudin, Holvoet,
    Chen, Alexander, Obozinski & Hébert, Ultramicroscopy 249 (2023) 113719, for Lifshin's formula.

    Examples
    --------
    >>> bremsstrahlung_shapes([1.0, 2.0], beam_energy=4.0)
    array([[0.75  , 0.5625],
           [0.5   , 0.125 ]])
    """
    E = np.asarray(energy, dtype=float)
    if beam_energy is not None and not beam_energy > 0:
        raise ValueError(
            f"beam_energy={beam_energy} is not positive; give it in the axis' own unit"
        )
    through = np.ones(E.shape) if efficiency is None else np.asarray(efficiency, dtype=float)
    if through.shape != E.shape:
        raise ValueError(
            f"efficiency has the shape {through.shape} and the axis {E.shape}; give one value a channel"
        )
    u = np.ones(E.shape) if beam_energy is None else np.maximum(1 - E / beam_energy, 0)
    positive = E > 0
    columns = np.stack([u, u**2 / np.where(positive, E, 1.0)], axis=-1)
    return columns * (through * positive)[:, None]


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
    amounts = poisson(data, B, start, Limits())
    return ShapeBackground(amounts.reshape(*Y.shape[:-1], -1), shapes)


def influence_of_shapes(fit: ShapeBackground, energy: Floats, known: NDArray[np.bool_]) -> Floats:
    r"""Return how the amounts follow every entry of the window, (n, k, w), with those at zero held there.

    :math:`(B^\top W B)^{-1} B^\top W` with the weights of the fit.
    """
    model = fit.background(energy)
    least = _LEAST * np.mean(model, axis=-1, keepdims=True)
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
    first, so that their unit plays no part. It follows the lower edge of the noise, so it lies too
    low on few counts.

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
        middle = (v[..., : -2 * p] + v[..., 2 * p :]) / 2
        v[..., p:-p] = np.minimum(v[..., p:-p], middle)
    return ((np.exp(np.exp(v) - 1) - 1) ** 2 - 1) * scale
