"""How far a model is from the data, pixel by pixel and channel by channel."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from endmember.factor.data import Explained, Observed, Sparse, in_patterns, left_in, observe
from endmember.signals.files.reading import read

#: The parts of a misfit and their titles in ``misfit.hspy``.
MISFIT_TITLES = {
    "map": "residual map",
    "spectrum": "residual spectrum",
    "data_spectrum": "mean spectrum of the data",
    "model_spectrum": "mean spectrum of the model",
}
#: Pixels on which the answer is compared with the factors that the last pass has seen.
_COMPARED = 20
#: What divides in place of zero.
TINY = 1e-300


def misfit_of(
    signal: Any, model: Any, options: dict[str, Any], observed: Observed | None = None
) -> dict[str, np.ndarray]:
    """Return the root-mean-square residual of every pixel and the mean spectra of residual, data and model.

    Where the last pass of the fit has seen them in the data as ``observed``, they are not read again.
    """
    if observed is not None and observed.seen is not None and observed.exposure is None:
        seen, C, S = observed.seen
        explained = model.explained(observed)
        if explained.observed is observed and _are_those(explained, C, S):
            pixels = left_in(observed.mask, int(np.prod(observed.domain))).size
            channels = left_in(observed.channel_mask, observed.n_channels).size
            by_pixel = np.sqrt(seen.squares / channels)
            return _misfit(explained, by_pixel, seen.residual / pixels, pixels)
    explained = model.explained(observe(signal, **options, keep_empty=True))
    return _measured(explained.as_recorded())


def _are_those(explained: Explained, C: np.ndarray, S: np.ndarray) -> bool:
    """Tell whether factors (n, k) and (m, k) stand for what a model says of the data, as far as some pixels show."""
    F, Z = explained.factors
    if len(F) != len(C) or len(Z) != len(S):
        return False
    some = np.linspace(0, len(C) - 1, _COMPARED).astype(int)
    said = F[some] @ Z.T
    return np.allclose(said, C[some] @ S.T, rtol=1e-4, atol=1e-4 * np.abs(said).max())


def _measured(explained: Explained) -> dict[str, np.ndarray]:
    data, (F, Z) = explained.observed.data, explained.factors
    n, m = data.shape
    squares, total = np.zeros(n), np.zeros(m)
    if isinstance(
        data, Sparse
    ):  # by products, which take no zeros: of counts the cancellation is no matter
        squares = data.X.power(2.0).sum(axis=1) + np.sum(
            F * (F @ (Z.T @ Z) - 2 * data.dot(Z)), axis=1
        )
        total = data.transposed_dot(np.ones((n, 1)))[:, 0] - Z @ F.sum(axis=0)
    for rows, residual in () if isinstance(data, Sparse) else explained.residual_blocks():
        squares[rows] = np.einsum("ij,ij->i", residual, residual)
        total += residual.sum(axis=0)
    # Residuals come times the root of their weight: with weights 0 and 1 these are means over
    # what is not missing.
    by_pixel, by_channel = np.full(n, float(m)), np.full(m, float(n))
    if explained.weights is not None:
        by_pixel, by_channel = explained.weights.sum(axis=1), np.sqrt(explained.weights).sum(axis=0)
    return _misfit(
        explained, np.sqrt(np.maximum(squares, 0) / np.maximum(by_pixel, TINY)), total / np.maximum(by_channel, TINY), n
    )  # fmt: skip


def _misfit(
    explained: Explained, per_pixel: np.ndarray, per_channel: np.ndarray, n_pixels: int
) -> dict[str, np.ndarray]:
    """Return the residual of every pixel (n,) and mean residual of every channel (m,) with means of data and model."""
    observed, (F, Z) = explained.observed, explained.factors
    per_pixel, per_channel = per_pixel * observed.unit, per_channel * observed.unit
    model = Z @ F.sum(axis=0) * (observed.unit / n_pixels)
    spectra = {
        "spectrum": per_channel,
        "data_spectrum": model + per_channel,
        "model_spectrum": model,
    }
    return {
        "map": observed.maps(per_pixel[:, None])[..., 0],
        **{
            name: in_patterns(observed.spectra(one[:, None])[0], observed.pattern)
            for name, one in spectra.items()
        },
    }


def save_together(
    file: Path, titles: Mapping[str, str], values: Mapping[str, Any], maps: Any, spectra: Any
) -> None:
    """Write arrays into one ``.hspy`` file, each under its title as a signal like the maps or like the spectra."""
    import h5py

    for name, title in titles.items():
        part = (maps if name.startswith("map") else spectra).deepcopy()
        axes = reversed(part.axes_manager.signal_axes)
        own, array = tuple(axis.size for axis in axes), values[name]
        as_is = name.startswith("map") or array.shape[-len(own) :] == own
        part.data = array if as_is else array.reshape(*array.shape[:-1], *own)
        part.metadata.General.title = title
        single = file.with_name(f"{file.stem}-part.hspy")
        part.save(single if file.exists() else file)
        if single.exists():
            with h5py.File(single) as one, h5py.File(file, "a") as whole:
                one.copy(f"Experiments/{title}", whole["Experiments"])
            single.unlink()


def open_together(file: Path, titles: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Read back what :func:`save_together` wrote."""
    parts = {part.metadata.General.title: part.data for part in read(file)}
    return {name: parts[title] for name, title in titles.items()}
