"""Starts that the user brings: factors of their own, or another model's."""

from typing import Any

import numpy as np
from sklearn.base import clone

from endmember.factor.alternate import Problem
from endmember.factor.inputs import Observed
from endmember.factor.penalties import bounds_of


def fitted_start(model: Any, problem: Problem, observed: Observed, k: int) -> list[np.ndarray]:
    """Return what another model finds in the data, without negative values and between the bounds."""
    model = clone(model)
    if model.n_components is None:
        model.set_params(n_components=k)
    if model.n_components != k:
        raise ValueError(
            f"init={model!r} finds {model.n_components} components and the model has {k}; ask both for "
            "as many"
        )
    model._check_parameters()
    model._fit(observed, np.arange(observed.n_channels, dtype=float), None)
    factors = given_start((model.maps_, model.components_), observed, k)
    return [
        np.clip(np.maximum(F, 0.0), *bounds_of(penalties, F.shape, grid))
        for F, penalties, grid in zip(factors, problem.penalties, problem.grids, strict=True)
    ]


def given_start(init: Any, observed: Observed, k: int) -> list[np.ndarray]:
    """Return the user's ``(maps, spectra)`` for the pixels and channels that take part."""
    n_pixels = int(np.prod(observed.domain))
    try:
        maps, spectra = (np.array(F, dtype=np.float64) for F in init)
        maps = maps.reshape(-1, maps.shape[-1])
        fits = maps.shape == (n_pixels, k) and spectra.shape == (k, observed.n_channels)
    except (TypeError, ValueError, IndexError):
        fits = False
    if not fits:
        raise ValueError(
            "init must be the name of a start or (maps, spectra) of shapes "
            f"{(*observed.domain, k)} and "
            f"{(k, observed.n_channels)}"
        )
    C, S = maps[observed.rows], spectra.T[observed.columns]
    if not (np.isfinite(C).all() and np.isfinite(S).all()):
        raise ValueError(
            "init holds NaN or infinite values at pixels or channels that take part in the fit"
        )
    return [C, S]
