"""What pictures are drawn from: plain arrays with their names and units, checked once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from endmember.errors import EndmemberError, refuse_if


@dataclass(frozen=True, eq=False)
class Components:
    """Maps and spectra with the names and units that belong to them.

    Parameters
    ----------
    maps : array (*domain, k)
        NaN where a pixel was left out.
    spectra : array (k, channels), or patterns (k, py, px)
        NaN where a channel was left out.
    energy : array (channels,), optional
        Energy of each channel, in `energy_units`; channel numbers if not given.
    energy_label : str
        Name of the energy axis.
    energy_units : str, optional
        For instance eV (EELS) or keV (EDXS).
    pixel_size : sequence of float or None, optional
        Step along each axis of the domain, in the domain's order; None where not calibrated.
    pixel_units : str or sequence of str, optional
        Units of `pixel_size`, one for all axes or one for each.
    names : sequence of str, optional
        One for each component; "Component 1" and so on if not given.
    map_label, map_units : str, optional
        What the maps measure, written along the colour bars.
    spectrum_label : str
        What the spectra measure.
    title : str, optional
        Over the whole picture.

    Raises
    ------
    ValueError
        If the lengths of the arrays contradict each other.

    Examples
    --------
    >>> Components(maps=np.ones((4, 5, 2)), spectra=np.ones((2, 9))).names
    ('Component 1', 'Component 2')
    """

    maps: np.ndarray
    spectra: np.ndarray
    energy: np.ndarray | None = None
    energy_label: str = "Energy"
    energy_units: str | None = None
    pixel_size: Sequence[float | None] | None = None
    pixel_units: str | Sequence[str | None] | None = None
    names: Sequence[str] | None = None
    map_label: str = ""
    map_units: str | None = None
    spectrum_label: str = "Intensity"
    title: str | None = None

    def __post_init__(self) -> None:
        maps, spectra = _floats(self.maps), _floats(self.spectra)
        refuse_if(
            spectra.ndim not in (2, 3) or maps.ndim < 1 or len(spectra) != maps.shape[-1],
            f"maps of shape {maps.shape} and spectra of shape {spectra.shape} do not belong "
            "together: give maps (*domain, k) and spectra (k, channels) with the same k",
        )
        n_components, n_channels = len(spectra), math.prod(spectra.shape[1:])
        names = tuple(self.names or (f"Component {j + 1}" for j in range(n_components)))
        refuse_if(
            len(names) != n_components,
            f"{len(names)} names for {n_components} components: give one for each, or none",
        )
        _settle(self, maps.ndim - 1, n_channels, maps=maps, spectra=spectra, names=names)


@dataclass(frozen=True, eq=False)
class Misfit:
    """Where, in space and in energy, a model departs from the data.

    Parameters
    ----------
    map : array (*domain,)
        Root-mean-square residual of each pixel over its channels; NaN where left out.
    spectrum : array (channels,)
        Mean over pixels of data minus model; NaN where left out.
    data_spectrum, model_spectrum : array (channels,), or patterns (py, px) like `spectrum`
        Means over pixels of the data and of the model.
    energy, energy_label, energy_units, pixel_size, pixel_units, title
        As in `Components`.
    noise : float or array (channels,), optional
        Standard deviation that noise alone gives one value of the data, in the data's units.

    Raises
    ------
    ValueError
        If the lengths of the arrays contradict each other.

    Examples
    --------
    >>> flat = np.ones(9)
    >>> misfit = Misfit(map=np.zeros((4, 5)), spectrum=0 * flat, data_spectrum=flat,
    ...                 model_spectrum=flat, noise=0.1)
    >>> misfit.noise.shape
    (9,)
    """

    map: np.ndarray
    spectrum: np.ndarray
    data_spectrum: np.ndarray
    model_spectrum: np.ndarray
    energy: np.ndarray | None = None
    energy_label: str = "Energy"
    energy_units: str | None = None
    pixel_size: Sequence[float | None] | None = None
    pixel_units: str | Sequence[str | None] | None = None
    noise: np.ndarray | float | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        names = ("spectrum", "data_spectrum", "model_spectrum")
        spectra: dict[str, Any] = {name: _floats(getattr(self, name)) for name in names}
        shape = spectra["spectrum"].shape
        refuse_if(
            len(shape) not in (1, 2)
            or any(spectrum.shape != shape for spectrum in spectra.values()),
            "the residual, data and model spectra of a misfit differ in shape: "
            "give three arrays (channels,)",
        )
        noise = None if self.noise is None else np.broadcast_to(_floats(self.noise), shape)
        _settle(
            self, np.ndim(self.map), math.prod(shape), map=_floats(self.map), noise=noise, **spectra
        )


def _floats(values: Any) -> np.ndarray:
    """Copy to floating point, with NaN for masked values."""
    return np.ma.filled(np.ma.asarray(values).astype(float), np.nan)


def _settle(answer: Any, n_axes: int, n_channels: int, **fields: Any) -> None:
    """Set the fields of a frozen answer, and its energies as floats; refuse what does not fit its axes."""
    if answer.energy is not None:
        fields["energy"] = _floats(answer.energy)
        refuse_if(
            fields["energy"].shape != (n_channels,),
            f"energy has shape {fields['energy'].shape}, the spectra have {n_channels} channels: "
            f"give {n_channels} values, or none to draw against channel numbers",
        )
    if answer.pixel_size is not None and len(answer.pixel_size) != n_axes:
        raise EndmemberError(
            f"pixel_size has {len(answer.pixel_size)} values for a domain of {n_axes} axes: "
            "give one step for each axis, None where it is not calibrated"
        )
    for name, value in fields.items():
        object.__setattr__(answer, name, value)
