"""EDXS phantoms: minerals in characteristic lines, alone or with EELS of the same area or crystal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import fields
from .eels import manganese_edges, mixed_phases
from .phantom import (
    Phantom,
    begin,
    check_amounts,
    check_whole,
    count,
    counted,
    energy_axis,
    streams,
)
from .shapes import Bremsstrahlung, Peak, Shape, evaluate_all, line_width

# Energy in keV and intensity relative to the element's K-alpha line, thin specimen.
_LINES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "C": ((0.2774, 1.0),),
    "N": ((0.3924, 1.0),),
    "O": ((0.5249, 1.0),),
    "Mg": ((1.2536, 1.0),),
    "Al": ((1.4865, 1.0), (1.5576, 0.013)),
    "Si": ((1.7397, 1.0), (1.8389, 0.028)),
    "Ca": ((3.6917, 1.0), (4.0127, 0.112)),
    "Ti": ((4.5109, 1.0), (4.9318, 0.117), (0.4555, 0.25)),
    "V": ((4.9522, 1.0), (5.4273, 0.130), (0.5113, 0.30)),
    "Cr": ((5.4147, 1.0), (5.9467, 0.134), (0.5722, 0.35)),
    "Mn": ((5.8987, 1.0), (6.4904, 0.135), (0.6316, 0.40)),
    "Fe": ((6.4039, 1.0), (7.0580, 0.127), (0.7045, 0.45)),
    "Cu": ((8.0478, 1.0), (8.9053, 0.130), (0.9295, 0.60)),
}

# Intensity of each element's K-alpha line. Copper of the grid and carbon are in every phase.
_MINERALS: Mapping[str, Mapping[str, float]] = {
    "bridgmanite": {"O": 1.0, "Mg": 0.55, "Al": 0.08, "Si": 0.75, "Ca": 0.02, "Fe": 0.14},
    "ferropericlase": {"O": 0.75, "Mg": 1.0, "Fe": 0.55},
    "davemaoite": {"O": 1.0, "Si": 0.70, "Ca": 0.85, "Ti": 0.06},
    "iron": {"O": 0.06, "Si": 0.05, "Fe": 1.3},
    "rutile": {"O": 0.9, "Ti": 1.1, "Fe": 0.05},
    "corundum": {"O": 1.0, "Al": 1.1, "Cr": 0.06},
    "carbon": {"C": 1.1, "O": 0.08},
    "chromite": {"O": 0.9, "Mg": 0.12, "Al": 0.14, "Cr": 0.9, "Fe": 0.45},
}
_OXIDES: Mapping[str, Mapping[str, float]] = {
    "TiO2": {"Ti": 1.0, "O": 1.0},
    "Cr2O3": {"Cr": 1.1, "O": 0.9},
    "MnO": {"Mn": 1.3, "O": 0.7},
    "Mn2O3": {"Mn": 1.1, "O": 0.95},
    "V2O3": {"V": 1.1, "O": 0.9},
    "Ti2O3": {"Ti": 1.15, "O": 0.85},
    "CrO2": {"Cr": 0.95, "O": 1.1},
    "V2O5": {"V": 0.8, "O": 1.2},
}
_EVERYWHERE = {"C": 0.05, "Cu": 0.08}
_FILMS: Mapping[str, Mapping[str, float]] = {
    "Al": {"Al": 1.0, "O": 0.15},
    "Fe": {"Fe": 1.2, "O": 0.25},
    "Si3N4": {"Si": 1.0, "N": 0.5, "O": 0.05},
}
_SHARED_FILMS: Mapping[str, Mapping[str, float]] = {
    "Al": {"Al": 1.0, "O": 0.5},
    "Fe": {"Fe": 1.2, "O": 0.6},
    "AlFeSi": {"Al": 0.5, "Fe": 0.6, "Si": 0.6},
}
# Nickel shares the octahedral site; energies in keV and intensity relative to its K-alpha line.
_NICKEL = ((7.4781, 1.0), (8.2647, 0.132), (0.8515, 0.65))
# Li0.2 Ni0.7 Mn1.6 O4: manganese and nickel of both sites, oxygen shared by all planes.
_MANGANESE, _NICKEL_AMOUNT, _OXYGEN = 1.6, 0.7, 1.2
#: Start and width of the window of energies in keV.
_WINDOW = (0.1, 10.24)
_DETECTOR: Mapping[str, Any] = {"detector": "EDS_TEM", "pixel_size": 2.0}


@dataclass(frozen=True, eq=False)
class Concurrent:
    """EELS, EDXS, cathodoluminescence and dark field of one scan, with the same `maps`.

    Attributes
    ----------
    eels, edxs : Phantom
        One phantom for each detector.
    maps : ndarray (ny, nx, k)
        The maps that all share.
    adf : ndarray (ny, nx)
        The annular dark-field image, with normal noise of 1 % of its brightest pixel.
    brightness : ndarray (k,)
        What a unit of each phase adds to the image.
    cl : ndarray (ny, nx, 128)
        Counts of photons.
    cl_spectra : ndarray (k, 128)
        Bands of light of each phase, in counts per unit of its map.
    cl_energy : ndarray (128,)
        In eV.
    """

    eels: Phantom
    edxs: Phantom
    maps: np.ndarray
    adf: np.ndarray
    brightness: np.ndarray
    cl: np.ndarray
    cl_spectra: np.ndarray
    cl_energy: np.ndarray


def edxs_phases(
    shape: Sequence[int] = (64, 64),
    channels: int = 1024,
    k: int = 3,
    dose: float = 5.0,
    sparse: bool = False,
    seed: int = 0,
) -> Phantom:
    """Make k minerals that mix smoothly, counted by an EDXS detector: lines on bremsstrahlung.

    The minerals share elements (O, Mg, Si, Fe), a little carbon and the copper of the grid. The
    shares of the phases in a pixel sum to one, and every phase is alone in some pixels; `maps` are
    these shares times a smooth relative thickness between 0.8 and 1.2. Lines are as wide as a
    detector with 130 eV at Mn K-alpha makes them.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx), with at least k pixels.
    channels : int
        How many channels divide the window from 0.1 to 10.34 keV (0.01 keV each by default), at
        least 2 and k.
    k : int
        Number of phases, at least 1.
    dose : float
        Expected counts in the brightest voxel, ``max(clean)``. The default gives about 0.1 counts
        a voxel on average, as real sets have.
    sparse : bool
        Return `Phantom.data` as CSR (ny * nx, channels), equal to the dense counts;
        `Phantom.signal` is dense all the same.
    seed : int
        Decides the maps, the details of the spectra and the counts.

    Returns
    -------
    Phantom
        Poisson counts (ny, nx, channels), unsigned integers; `Phantom.background` is the
        bremsstrahlung of each phase, which `Phantom.spectra` include.

    Raises
    ------
    ValueError
        If an argument is outside what is said above.

    Examples
    --------
    >>> from endmember import synthetic
    >>> phantom = synthetic.edxs_phases(shape=(32, 32), sparse=True)
    >>> phantom.data.format, str(phantom.data.dtype), bool(phantom.data.toarray().mean() < 0.2)
    ('csr', 'uint8', True)
    """
    shape, (layout, chemistry, hiss) = begin(shape, channels, seed)
    check_whole("k", k, 1, min(shape[0] * shape[1], channels))
    maps = fields.phase_maps(shape, k, layout, pure=True, contrast=2.5, spread=0.2)
    minerals = (_mineral(i, chemistry) for i in range(k))
    spectra = {name: _parts(composition, chemistry) for name, composition in minerals}
    return counted(
        "Minerals", maps, spectra, (*_WINDOW, channels), dose, hiss, thin=sparse, **_DETECTOR
    )


def concurrent(
    shape: Sequence[int] = (48, 48),
    k: int = 3,
    eels_dose: float = 300,
    edxs_dose: float = 5.0,
    seed: int = 0,
) -> Concurrent:
    """Make EELS, EDXS, light and a dark-field image of the same area in one scan: the same maps, four detectors.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx), with at least k pixels.
    k : int
        Number of phases, from 1 to 8.
    eels_dose, edxs_dose : float
        Expected counts in the brightest voxel of each detector.
    seed : int
        Decides the maps, the details of the spectra and the counts.

    Returns
    -------
    Concurrent
        `Concurrent.eels` as from `mixed_phases` (512 channels) and `Concurrent.edxs` as from
        `edxs_phases` (1024 channels), with the maps of the former. The oxides of the EDXS
        phantom are those of the EELS phantom. `Concurrent.cl` has 20 counts in its brightest voxel.

    Raises
    ------
    ValueError
        If an argument is outside what is said above.

    Examples
    --------
    >>> from endmember import synthetic
    >>> both = synthetic.concurrent(shape=(16, 16))
    >>> both.eels.maps is both.edxs.maps, both.eels.names == both.edxs.names
    (True, True)
    """
    check_whole("k", k, 1, len(_OXIDES))
    check_amounts(zero=False, eels_dose=eels_dose, edxs_dose=edxs_dose)
    eels = mixed_phases(shape, k=k, dose=eels_dose, seed=seed)
    # The first four streams are those of the EELS phantom.
    chemistry, hiss, glow, grey = streams(seed, 8)[4:]
    spectra = {name: _parts(_OXIDES[name], chemistry) for name in eels.names}
    edxs = counted(
        "Mixed oxides", eels.maps, spectra, (*_WINDOW, 1024), edxs_dose, hiss, **_DETECTOR
    )
    light_energy = energy_axis(1.5, 2.5, 128)
    # A main and a defect band of every phase: broad, and never the same.
    main = glow.permutation(np.linspace(2.0, 3.6, k)) + glow.uniform(-0.1, 0.1, k)
    bands = [(Peak(E, 1.0, 0.35), Peak(E - 0.45, glow.uniform(0.1, 0.4), 0.5)) for E in main]
    light = evaluate_all(bands, light_energy)
    light *= 20.0 / (eels.maps @ light).max()
    brightness = grey.permutation(np.linspace(0.4, 1.0, k))
    image = eels.maps @ brightness
    return Concurrent(
        eels=eels,
        edxs=edxs,
        maps=eels.maps,
        adf=image + 0.01 * image.max() * grey.standard_normal(image.shape),
        brightness=brightness,
        cl=count(eels.maps @ light, glow),
        cl_spectra=light,
        cl_energy=light_energy,
    )


def plan_view(
    shape: Sequence[int] = (48, 48),
    channels: int = 1024,
    dose: float = 200.0,
    exclusive: bool = True,
    seed: int = 0,
) -> Phantom:
    """Make films of Al, Fe and Si3N4 on top of each other, seen from above by an EDXS detector.

    No pixel holds one film alone, but each film has lines that no other has (oxygen, carbon and
    copper are in all): the situation of Spiegelberg et al., Ultramicroscopy 182 (2017) 205. The
    thicknesses vary smoothly and no film makes up more than 80 % of a pixel. There is no
    bremsstrahlung, which would be in every channel of every film.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx), with at least 3 pixels.
    channels : int
        How many channels divide the window from 0.1 to 10.34 keV, at least 3.
    dose : float
        Expected counts in the brightest voxel, ``max(clean)``.
    exclusive : bool
        With False, the third film is an alloy of Al, Fe and Si: no line belongs to Al or to Fe alone.
    seed : int
        Decides the maps, the details of the spectra and the counts.

    Returns
    -------
    Phantom
        Poisson counts (ny, nx, channels), unsigned integers.

    Raises
    ------
    ValueError
        If an argument is outside what is said above.

    Examples
    --------
    >>> from endmember import synthetic
    >>> phantom = synthetic.plan_view(shape=(16, 16))
    >>> phantom.names, bool(phantom.maps.max() < 0.9)
    (('Al', 'Fe', 'Si3N4'), True)
    """
    shape, (layout, chemistry, hiss) = begin(shape, channels, seed, least=3, pixels=3)
    films = _FILMS if exclusive else _SHARED_FILMS
    maps = fields.phase_maps(shape, len(films), layout, pure=False, spread=0.1)
    spectra = {name: _parts(content, chemistry)[1:] for name, content in films.items()}
    return counted(
        "Films in plan view", maps, spectra, (*_WINDOW, channels), dose, hiss, **_DETECTOR
    )


def _mineral(i: int, rng: np.random.Generator) -> tuple[str, Mapping[str, float]]:
    """Name the i-th mineral with its composition; after the table's last it is drawn."""
    if i < len(_MINERALS):
        return list(_MINERALS.items())[i]
    elements = rng.choice(list(_LINES), size=3, replace=False)
    return f"phase {i + 1}", dict(zip(elements, rng.uniform(0.2, 1.0, 3), strict=True))


def _parts(composition: Mapping[str, float], rng: np.random.Generator) -> tuple[Shape, ...]:
    """Return the bremsstrahlung and the lines of a phase, contents varied by about 10 %."""
    contents = {
        element: composition.get(element, 0.0) + _EVERYWHERE.get(element, 0.0)
        for element in [*composition, *_EVERYWHERE]
    }
    parts: list[Shape] = [Bremsstrahlung(rng.uniform(0.3, 0.5), rng.uniform(0.35, 0.45))]
    for element, amount in contents.items():
        area = amount * np.exp(rng.normal(0, 0.1))
        # The area under a Gaussian is 1.0645 times its height times its full width.
        parts += [
            Peak(line, area * relative / (1.0645 * line_width(line)), line_width(line))
            for line, relative in _LINES[element]
        ]
    return tuple(parts)


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
    losses = evaluate_all([manganese_edges(oxide, chemistry) for oxide in ("MnO", "Mn2O3")], ev)
    losses *= np.array([[occupancy], [1.0 - occupancy]])
    losses[1, ev < onset] = 0.0
    rays = evaluate_all(_rays(occupancy), kev)
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
    waves = np.cos(np.outer(tilt, np.arange(1, 5))[:, :, None] + rng.uniform(0, 2 * np.pi, (4, 2)))
    curves = (waves * rng.uniform(0.5, 1.0, (4, 2))).sum(axis=1)
    curves -= curves.mean(axis=0)
    return curves / np.sqrt(np.mean(curves**2, axis=0))


def _rays(occupancy: float) -> list[tuple[Shape, ...]]:
    """Return the X-ray lines of the tetrahedral and the octahedral site."""
    sites = [
        {"Mn": _MANGANESE * occupancy, "O": 0.35 * _OXYGEN},
        {"Mn": _MANGANESE * (1 - occupancy), "O": 0.65 * _OXYGEN, "Ni": _NICKEL_AMOUNT},
    ]
    lines = {**_LINES, "Ni": _NICKEL}
    return [
        tuple(
            Peak(energy, amount * strength * 0.13 / line_width(energy), line_width(energy))
            for element, amount in site.items()
            for energy, strength in lines[element]
        )
        for site in sites
    ]


def _around(energy: np.ndarray, lines: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Return which channels lie within a line's width of one of the lines."""
    return np.any([np.abs(energy - line) < line_width(line) for line, _ in lines], axis=0)
