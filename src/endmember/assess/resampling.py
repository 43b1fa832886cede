"""Criteria for the number of components that repeat the measurement, or look at the image.

They take whitened data (`endmember.assess.surrogates.WhiteData`) and count components.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endmember.assess.surrogates import WhiteData, decompose
from endmember.factor.matching import match_components, spectral_angle

Floats = NDArray[np.floating]

STABLE_ANGLE = 20.0  # degrees between the spectra of two halves of the data
_STEPS = 4  # numbers tried for stability


def thinning(white: WhiteData, most: int, rng: np.random.Generator) -> int:
    """Count the components of one half that predict the other best.

    ``‖B − Σ_{j≤k} σ_j u_j v_jᵀ‖²`` for the truncated SVD of half A changes by
    ``σ_k² − 2 σ_k u_kᵀ B v_k`` with the k-th component.
    """
    gain = np.zeros(most)
    for _ in range(2):
        one, other = white.halves(rng)
        U, scree, V = decompose(one, most)
        s = np.sqrt(scree.values[:most])
        gain += 2 * s * np.einsum("ik,ik->k", U[:, :most], other @ V[:, :most]) - s**2
    return int(np.argmax(np.concatenate([[0.0], np.cumsum(gain)])))


def map_structure(white: WhiteData, most: int) -> Floats | None:
    """How alike neighbouring pixels are in the map of each component, in standard errors.

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
    return scores[:most]


def stable_number(white: WhiteData, count: int, most: int, rng: np.random.Generator) -> int | None:
    """Largest number, around the count, for which NMF finds the same spectra in both halves."""
    if count >= most > 2:
        return None
    one, other = white.halves(rng)
    first = min(count + 1, most)
    for k in range(first, max(first - _STEPS, 0), -1):
        if k == 1 or _disagreement(one, other, k) <= STABLE_ANGLE:
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
