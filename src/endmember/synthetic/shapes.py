"""Spectra as continuous functions of energy: edges, backgrounds, characteristic lines.

Every shape is callable with an array of energies of any shape, so that a spectrum on a drifted
energy axis is evaluated where its channels are, and nothing is interpolated.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit

#: Anything that gives an intensity for each energy, in the axis's unit, of an array of any shape.
Shape = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Peak:
    """A Gaussian peak: energy and full width at half maximum in the axis's unit, and height."""

    energy: float
    height: float
    width: float

    def __call__(self, energy: np.ndarray) -> np.ndarray:
        """Evaluate at energies in the axis's unit."""
        return self.height * np.exp(-4 * np.log(2) * ((energy - self.energy) / self.width) ** 2)


@dataclass(frozen=True)
class Edge:
    r"""An EELS edge: a continuum that decays as a power law, and near-edge peaks, above an onset.

    .. math:: \frac{h\,(E_0 / E)^{d} + \sum_i \text{peak}_i(E)}{1 + e^{-(E - E_0) / w}}

    Parameters
    ----------
    onset : float
        :math:`E_0` in eV.
    height : float
        :math:`h`, the intensity of the continuum at the onset.
    width : float
        :math:`w` in eV; the step rises from 12 to 88 % within 4 w.
    decay : float
        :math:`d`, without unit.
    peaks : tuple of Peak
        The near-edge fine structure.
    """

    onset: float
    height: float
    width: float
    decay: float
    peaks: tuple[Peak, ...] = ()

    def __call__(self, energy: np.ndarray) -> np.ndarray:
        """Evaluate at energies in eV."""
        step = expit((energy - self.onset) / self.width)
        continuum = self.height * (self.onset / energy) ** self.decay
        return step * (continuum + evaluate(self.peaks, energy))


@dataclass(frozen=True)
class PowerLaw:
    r"""The background before an edge, :math:`A (E / E_\text{ref})^{-r}`, energies in eV."""

    amplitude: float
    exponent: float
    reference: float

    def __call__(self, energy: np.ndarray) -> np.ndarray:
        """Evaluate at energies in eV."""
        return self.amplitude * (energy / self.reference) ** -self.exponent


@dataclass(frozen=True)
class Bremsstrahlung:
    r"""Kramers' continuum behind an absorbing layer, energies in keV.

    .. math:: A\,\frac{E_\text{beam} - E}{E}\,e^{-(E_\text{abs} / E)^3}

    Photo-absorption falls off as the third power of the energy, far from edges.
    """

    amplitude: float
    absorption: float
    beam: float = 200.0

    def __call__(self, energy: np.ndarray) -> np.ndarray:
        """Evaluate at energies in keV."""
        kramers = (self.beam - energy) / (self.beam * energy)
        return self.amplitude * kramers * np.exp(-((self.absorption / energy) ** 3))


def evaluate(parts: Sequence[Shape], energy: np.ndarray) -> np.ndarray:
    """Sum the parts of one spectrum at `energy`, of any shape."""
    return sum((part(energy) for part in parts), np.zeros_like(energy))


def evaluate_all(spectra: Iterable[Sequence[Shape]], energy: np.ndarray) -> np.ndarray:
    """Return what each of the spectra, given by its parts, is at `energy` (channels,); (k, channels)."""
    return np.stack([evaluate(parts, energy) for parts in spectra])


def vary(edge: Edge, rng: np.random.Generator, shift: float, strength: float) -> Edge:
    """Move an edge's onset and peaks by about `shift` eV and scale them by about `strength`."""
    return replace(
        edge,
        onset=edge.onset + rng.normal(0, shift),
        height=edge.height * np.exp(rng.normal(0, strength)),
        peaks=tuple(
            Peak(
                peak.energy + rng.normal(0, shift),
                peak.height * np.exp(rng.normal(0, strength)),
                peak.width * np.exp(rng.normal(0, strength / 2)),
            )
            for peak in edge.peaks
        ),
    )


def line_width(energy: Any, manganese: float = 0.130) -> Any:
    r"""Return the full width at half maximum of an X-ray line; all energies in keV.

    .. math:: \text{FWHM}^2 = \text{FWHM}_{\text{Mn K}\alpha}^2 + 2.5\,(E - 5895)

    with every quantity in eV (Fiori and Newbury's law for silicon detectors).
    """
    return np.sqrt((1e3 * manganese) ** 2 + 2.5 * (1e3 * np.asarray(energy) - 5895)) / 1e3
