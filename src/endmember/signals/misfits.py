"""How far a model is from the data, pixel by pixel and channel by channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from endmember.factor.data import Weighted
from endmember.factor.inputs import Observed, observe
from endmember.factor.passes import Seen
from endmember.factor.session import current

#: The parts of a misfit and their titles in ``misfit.hspy``.
MISFIT_TITLES = {
    "map": "residual map",
    "spectrum": "residual spectrum",
    "data_spectrum": "mean spectrum of the data",
    "model_spectrum": "mean spectrum of the model",
}
#: Pixels on which the answer is compared with the factors that the last pass has seen.
_COMPARED = 20


def misfit_of(signal: Any, model: Any, options: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the root-mean-square residual of every pixel and the mean spectra of residual, data and model."""
    noted = current().notes
    if "seen" in noted and "observed" in noted:
        observed = noted["observed"]
        seen, C, S = noted["seen"]
        some = np.linspace(0, len(C) - 1, _COMPARED).astype(int)
        maps = np.asarray(model.maps_, dtype=float).reshape(-1, len(model.components_))
        if len(maps) != np.prod(observed.domain):
            return _measured(signal, model, options)
        answer = maps[observed.rows[some]] @ model.components_[:, observed.columns]
        if np.allclose(answer, C[some] @ S.T, rtol=1e-4, atol=1e-4 * np.abs(answer).max()):
            return _noted(observed, seen, C, S)
    return _measured(signal, model, options)


def _measured(signal: Any, model: Any, options: dict[str, Any]) -> dict[str, np.ndarray]:
    observed = observe(signal, **options, keep_empty=True)
    observed = model.aligned(observed) if hasattr(model, "aligned") else observed
    data, k = observed.data, model.components_.shape[0]
    C = np.asarray(model.maps_, dtype=float).reshape(-1, k)[observed.rows]
    S = np.asarray(model.components_, dtype=float).T[observed.columns]
    n, m = data.shape
    squares, total = np.empty((n, 1)), np.zeros((m, 1))
    for rows, residual in data.residual_blocks(C, S):
        squares[rows, 0] = np.einsum("ij,ij->i", residual, residual)
        total[:, 0] += residual.sum(axis=0)
    # Residuals come times the root of their weight: with weights 0 and 1 these are means over
    # what is not missing.
    weights = data.W if isinstance(data, Weighted) else np.broadcast_to(1.0, (n, m))
    per_pixel, per_channel = weights.sum(axis=1), np.sqrt(weights).sum(axis=0)
    spectrum = total / np.maximum(per_channel, 1e-300)[:, None]
    model_spectrum = (S @ C.mean(axis=0))[:, None]
    return {
        "map": observed.maps(np.sqrt(squares / np.maximum(per_pixel, 1e-300)[:, None]))[..., 0],
        "spectrum": observed.spectra(spectrum)[0],
        "data_spectrum": observed.spectra(model_spectrum + spectrum)[0],
        "model_spectrum": observed.spectra(model_spectrum)[0],
    }


def _noted(observed: Observed, seen: Seen, C: np.ndarray, S: np.ndarray) -> dict[str, np.ndarray]:
    """Return the same from what the last pass of the fit has seen; what is empty has no residual."""
    everything = _n_left(observed.mask, int(np.prod(observed.domain)))
    channels = _n_left(observed.channel_mask, observed.n_channels)
    spectrum = (seen.residual / everything)[:, None]
    model_spectrum = (S @ C.sum(axis=0) / everything)[:, None]
    return {
        "map": observed.maps(np.sqrt(seen.squares / channels)[:, None])[..., 0],
        "spectrum": observed.spectra(spectrum)[0],
        "data_spectrum": observed.spectra(model_spectrum + spectrum)[0],
        "model_spectrum": observed.spectra(model_spectrum)[0],
    }


def _n_left(mask: np.ndarray | None, size: int) -> int:
    return size if mask is None else int(size - mask.sum())


def save_misfit(file: Path, misfit: dict[str, np.ndarray], maps: Any, spectra: Any) -> None:
    """Write the residual map and the mean spectra of residual, data and model into one file."""
    import h5py

    for name, title in MISFIT_TITLES.items():
        part = (maps if name == "map" else spectra).inav[0].deepcopy()
        part.data = misfit[name]
        part.metadata.General.title = title
        single = file.with_name(f"{name}.hspy")
        part.save(single if file.exists() else file)
        if single.exists():
            with h5py.File(single) as one, h5py.File(file, "a") as whole:
                one.copy(f"Experiments/{title}", whole["Experiments"])
            single.unlink()


def open_misfit(file: Path) -> dict[str, np.ndarray]:
    """Read back what :func:`save_misfit` wrote."""
    import hyperspy.api as hs

    parts = {part.metadata.General.title: part.data for part in hs.load(file)}
    return {name: parts[title] for name, title in MISFIT_TITLES.items()}
