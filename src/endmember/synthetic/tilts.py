"""Channelling phantom: EELS and EDXS of one crystal under many tilts, two sites of manganese."""

from dataclasses import dataclass

import numpy as np

from .edxs import _LINES
from .eels import _metal_edges
from .phantom import check_amounts, check_whole, count, energy_axis, streams
from .shapes import Peak, Shape, evaluate, line_width, vary

# Nickel shares the octahedral site; energies in keV and intensity relative to its K-alpha line.
_NICKEL = ((7.4781, 1.0), (8.2647, 0.132), (0.8515, 0.65))
# Li0.2 Ni0.7 Mn1.6 O4: manganese and nickel of both sites, oxygen shared by all planes.
_MANGANESE, _NICKEL_AMOUNT, _OXYGEN = 1.6, 0.7, 1.2


@dataclass(frozen=True, eq=False)
class Channelling:
    """EELS and EDXS of one crystal under many tilts, with the truth.

    Attributes
    ----------
    eels, edxs : ndarray (tilts, channels)
        Counts of the two detectors, backgrounds already gone.
    eels_weights, edxs_weights : ndarray (tilts, 2)
        True weights of the tetrahedral and the octahedral site under each detector.
    eels_spectra, edxs_spectra : ndarray (2, channels)
        True spectra: Mn2+ on the tetrahedral and Mn3+ on the octahedral site.
    eels_energy, edxs_energy : ndarray (channels,)
        In eV and in keV.
    tilt : ndarray (tilts,)
        In units of the Bragg angle.
    before_onset : ndarray of bool (eels channels,)
        Where Mn3+ has not begun yet.
    nickel : ndarray of bool (edxs channels,)
        The lines of nickel, of which the tetrahedral site has none.
    manganese : ndarray of bool (edxs channels,)
        The K lines of manganese.
    occupancy : float
        The tilt-averaged share of the Mn-K counts that the tetrahedral site carries.
    """

    eels: np.ndarray
    edxs: np.ndarray
    eels_weights: np.ndarray
    edxs_weights: np.ndarray
    eels_spectra: np.ndarray
    edxs_spectra: np.ndarray
    eels_energy: np.ndarray
    edxs_energy: np.ndarray
    tilt: np.ndarray
    before_onset: np.ndarray
    nickel: np.ndarray
    manganese: np.ndarray
    occupancy: float


def channelling(
    tilts: int = 60,
    occupancy: float = 0.35,
    difference: float = 0.03,
    eels_dose: float = 10000,
    edxs_dose: float = 3000,
    seed: int = 0,
) -> Channelling:
    """Make a series of EELS and EDXS spectra of a spinel under tilts: channelling favours one site or the other.

    The Bloch waves excite the two sites in proportions that change with the tilt, and never leave one
    of them out. The detectors' weights differ a little, because inelastic scattering to the
    spectrometer channels again on its way out.

    Parameters
    ----------
    tilts : int
        At least 3, from -3 to 3 Bragg angles.
    occupancy : float
        The share of manganese on the tetrahedral site, between 0 and 1.
    difference : float
        The root-mean-square difference between the detectors' weights.
    eels_dose, edxs_dose : float
        Expected counts in the brightest channel of each detector.
    seed : int
        Decides the details of weights and spectra, and the counts.

    Returns
    -------
    Channelling

    Raises
    ------
    ValueError
        If an argument is outside what is said above.

    References
    ----------
    The geometry follows Muto & Shiga, Microscopy 69 (2020) 110, Fig. 8.

    Examples
    --------
    >>> from endmember import synthetic
    >>> series = synthetic.channelling()
    >>> series.eels.shape, series.edxs.shape, round(series.occupancy, 2)
    ((60, 160), (60, 512), 0.35)
    """
    check_whole("tilts", tilts, 3)
    check_amounts(zero=False, occupancy=occupancy, eels_dose=eels_dose, edxs_dose=edxs_dose)
    check_amounts(difference=difference)
    layout, chemistry, hiss = streams(seed, 3)
    tilt = np.linspace(-3.0, 3.0, tilts)
    weights = _weights(tilt, layout)
    other = weights * (1.0 + difference * _wavy(tilt, layout))
    ev, kev = energy_axis(630.0, 40.0, 160), energy_axis(0.1, 10.24, 512)
    onset = 638.9
    losses = np.stack([evaluate(parts, ev) for parts in _losses(chemistry)])
    losses *= np.array([[occupancy], [1.0 - occupancy]])
    losses[1, ev < onset] = 0.0
    rays = np.stack([evaluate(parts, kev) for parts in _rays(occupancy)])
    losses *= eels_dose / (other @ losses).max()
    rays *= edxs_dose / (weights @ rays).max()
    nickel, manganese = _around(kev, _NICKEL), _around(kev, _LINES["Mn"][:2])
    rays[0, nickel] = 0.0
    share = weights * rays[:, manganese].sum(axis=1)
    return Channelling(
        eels=count(other @ losses, hiss),
        edxs=count(weights @ rays, hiss),
        eels_weights=other,
        edxs_weights=weights,
        eels_spectra=losses,
        edxs_spectra=rays,
        eels_energy=ev,
        edxs_energy=kev,
        tilt=tilt,
        before_onset=ev < onset,
        nickel=nickel,
        manganese=manganese,
        occupancy=float(np.mean(share[:, 0] / share.sum(axis=1))),
    )


def _weights(tilt: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how strongly both sites are excited at every tilt, (tilts, 2): around one, never near zero."""
    phase = rng.uniform(-0.3, 0.3)
    first = 1.0 + 0.35 * np.tanh(2.0 * tilt + phase) * np.exp(-((tilt / 2.5) ** 2))
    second = 1.0 + 0.30 * np.cos(np.pi * tilt / 1.5 + phase) * np.exp(-((tilt / 2.0) ** 2))
    return np.stack([first, second], axis=1)


def _wavy(tilt: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return smooth curves (tilts, 2) of zero mean and unit root mean square."""
    harmonics = np.arange(1, 5)
    waves = np.cos(np.outer(tilt, harmonics)[:, :, None] + rng.uniform(0, 2 * np.pi, (4, 2)))
    curves = (waves * rng.uniform(0.5, 1.0, (4, 2))).sum(axis=1)
    curves -= curves.mean(axis=0)
    return curves / np.sqrt(np.mean(curves**2, axis=0))


def _losses(rng: np.random.Generator) -> list[tuple[Shape, ...]]:
    """Return the L2,3 edges of Mn2+ and Mn3+."""
    return [
        tuple(vary(edge, rng, 0.1, 0.05) for edge in _metal_edges(oxide))
        for oxide in ("MnO", "Mn2O3")
    ]


def _rays(occupancy: float) -> list[tuple[Shape, ...]]:
    """Return the X-ray lines of the tetrahedral and the octahedral site."""
    sites = [
        {"Mn": _MANGANESE * occupancy, "O": 0.35 * _OXYGEN},
        {"Mn": _MANGANESE * (1 - occupancy), "O": 0.65 * _OXYGEN, "Ni": _NICKEL_AMOUNT},
    ]
    lines = {**_LINES, "Ni": _NICKEL}
    return [
        tuple(
            _line(energy, amount * strength)
            for element, amount in site.items()
            for energy, strength in lines[element]
        )
        for site in sites
    ]


def _line(energy: float, area: float) -> Peak:
    width = float(line_width(energy))
    return Peak(energy, area * 0.13 / width, width)


def _around(energy: np.ndarray, lines: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Return which channels lie within a line's width of one of the lines."""
    return np.any([np.abs(energy - line) < line_width(line) for line, _ in lines], axis=0)
