"""What noise hides: the spiked model of principal components in white noise.

A component of *strength* ℓ (its variance along its own spectrum, divided by the noise variance) in
n pixels by m channels, ``gamma = m / n``, both large.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]


def detection_limit(gamma: float) -> float:
    """Weakest strength that leaves a trace in the principal components, ``√γ``.

    Parameters
    ----------
    gamma : float
        Channels per pixel, m / n.

    Returns
    -------
    float
        Strength (variance of the component along its spectrum / noise variance) below which, for
        large n and m, no test on the eigenvalues can see the component.

    References
    ----------
    I. M. Johnstone, *Ann. Statist.* **29** (2001) 295; B. Nadler, *Ann. Statist.* **36** (2008)
    2791.

    Examples
    --------
    >>> detection_limit(0.25)
    0.5
    """
    return math.sqrt(gamma)


def spiked_strength(eigenvalue: ArrayLike, gamma: float) -> Floats:
    """Strength of the component behind an eigenvalue.

    A strength ℓ above the limit √γ shows as the eigenvalue ``λ = (1 + ℓ)(1 + γ/ℓ)``, a lower one as the noise edge
    ``(1 + √γ)²``; this is the inverse.

    Parameters
    ----------
    eigenvalue : array_like
        Eigenvalues of ``XᵀX / n``, divided by the noise variance.
    gamma : float
        Channels per pixel, m / n.

    Returns
    -------
    ndarray
        The strength ℓ; 0 for eigenvalues that do not leave the noise.

    Examples
    --------
    >>> spiked_strength([2.0, 3.375], 0.25)
    array([0., 2.])
    """
    seen = np.asarray(eigenvalue, dtype=float)
    excess = seen - 1 - gamma
    root = np.sqrt(np.maximum(excess**2 - 4 * gamma, 0))
    return np.where(seen > (1 + math.sqrt(gamma)) ** 2, (excess + root) / 2, 0.0)


def spiked_overlap(strength: ArrayLike, gamma: float) -> Floats:
    """How much of the true spectrum its principal component holds: cos² of the angle between.

    ``cos² = (1 − γ/ℓ²) / (1 + γ/ℓ)`` above the limit, 0 below it.

    Parameters
    ----------
    strength : array_like
        Strength ℓ of the component.
    gamma : float
        Channels per pixel, m / n.

    Returns
    -------
    ndarray
        Between 0 (nothing is seen) and 1 (exact).

    Examples
    --------
    >>> spiked_overlap([0.5, 100.0], 0.25).round(2)
    array([0., 1.])
    """
    given = np.asarray(strength, dtype=float)
    seen = given > detection_limit(gamma)
    safe = np.where(seen, given, 1.0)
    return np.where(seen, (1 - gamma / safe**2) / (1 + gamma / safe), 0.0)
