"""EELS phantoms: a diode, mixed oxides, diffuse layers, a lattice, oxygen in a cathode."""

from collections.abc import Mapping, Sequence

import numpy as np

from . import fields
from .phantom import (
    Phantom,
    Spectra,
    begin,
    check_amounts,
    check_whole,
    counted,
    energy_axis,
    multiply,
    truth_of,
)
from .shapes import Edge, Peak, PowerLaw, Shape, vary

# Si-L2,3 of three states of silicon, the pedestal first. Onsets and peaks are where the literature
# puts them: elemental silicon 99.3 eV (L3) and 99.9 eV (L2), nitride about 103.5 eV, oxide 105.5 eV
# with peaks at 106.4, 108.4 and 115.2 eV.
_SILICON: Spectra = {
    "Si": (
        PowerLaw(0.34, 2.6, 99),
        Edge(99.3, 0.38, 0.18, 3.0, (Peak(101.0, 0.20, 2.2),)),
        Edge(99.9, 0.19, 0.18, 3.0, (Peak(104.0, 0.10, 3.4), Peak(114.0, 0.22, 22.0))),
    ),
    "SiO2": (
        PowerLaw(0.30, 2.7, 99),
        Edge(105.4, 0.28, 0.30, 2.0, (Peak(106.4, 0.22, 1.3), Peak(108.4, 0.66, 2.2))),
        Edge(112.5, 0.08, 0.80, 1.0, (Peak(115.2, 0.44, 4.8), Peak(125.0, 0.16, 14.0))),
    ),
    "Si3N4": (
        PowerLaw(0.32, 2.7, 99),
        Edge(103.4, 0.34, 0.50, 2.0, (Peak(105.8, 0.16, 3.0), Peak(109.4, 0.34, 5.0))),
        Edge(111.0, 0.04, 0.80, 1.0, (Peak(116.5, 0.26, 11.0),)),
    ),
}

# Transition-metal oxides: energies of L3 and L2 in eV, height of L3, L3 : L2, and the O-K peaks.
Oxide = tuple[float, float, float, float, tuple[Peak, ...]]
_OXIDES: Mapping[str, Oxide] = {
    "TiO2": (458.5, 464.0, 1.6, 1.15, (Peak(531.5, 0.8, 1.9), Peak(534.2, 0.7, 2.4))),
    "Cr2O3": (577.2, 585.8, 1.7, 1.6, (Peak(532.3, 0.6, 2.2), Peak(539.5, 0.9, 4.0))),
    "MnO": (640.2, 651.2, 2.6, 3.4, (Peak(535.8, 0.55, 2.8), Peak(541.0, 0.9, 5.0))),
    "Mn2O3": (642.3, 653.0, 2.1, 2.3, (Peak(530.3, 0.75, 2.0), Peak(541.9, 0.7, 5.5))),
    "V2O3": (515.6, 522.4, 1.7, 1.3, (Peak(532.0, 0.65, 2.6), Peak(540.0, 0.7, 5.0))),
    "Ti2O3": (456.9, 462.2, 1.5, 1.2, (Peak(532.6, 0.6, 3.6), Peak(541.5, 0.7, 5.2))),
    "CrO2": (578.9, 587.2, 1.8, 1.5, (Peak(529.4, 0.8, 1.7), Peak(542.5, 0.6, 4.5))),
    "V2O5": (518.6, 525.4, 1.8, 1.2, (Peak(529.8, 0.9, 1.8), Peak(532.1, 0.6, 2.2))),
}

_IRON = (709.5, 722.6, 2.6, 2.6, (Peak(530.6, 0.6, 2.4), Peak(541.2, 0.8, 5.0)))  # Fe2O3

# Height of the power law and the O-K edge of the phases of a battery cathode.
_CATHODE: Mapping[str, tuple[float, Edge]] = {
    "layered oxide": (
        1.1,
        Edge(528.8 - 1.6, 0.42, 0.5, 2.0, (Peak(528.8, 0.50, 2.2), Peak(541.0, 0.50, 8.5))),
    ),
    "spinel": (
        1.1,
        Edge(530.2 - 1.6, 0.42, 0.5, 2.0, (Peak(530.2, 0.42, 2.2), Peak(541.0, 0.50, 8.5))),
    ),
    "resin": (1.4, Edge(534.0, 0.07, 0.9, 2.0, (Peak(539.5, 0.07, 12.0),))),
}


def diode(
    shape: Sequence[int] = (48, 48), channels: int = 160, noise: float = 0.03, seed: int = 0
) -> Phantom:
    """Make a silicon diode in cross-section: Si-L2,3 EELS of disjoint layers of Si, SiO2, Si3N4.

    Each pixel belongs to exactly one layer (its map is 1 there, the others 0), so the maps are
    orthogonal. The spectra, which do not depend on the seed, overlap strongly and are non-zero in
    every channel: plain NMF is free to subtract some of one spectrum from another, and its spectra
    may be wrong by tens of degrees while the fit is as good as that of the truth.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx), at least (3, 1).
    channels : int
        How many channels divide the window from 92 to 132 eV, at least 3.
    noise : float
        Standard deviation of the Gaussian white noise, relative to ``max(clean)``. Nothing is
        clipped: with much noise some values are negative.
    seed : int
        Decides the roughness of the interfaces and the noise.

    Returns
    -------
    Phantom
        Float data (ny, nx, channels); `Phantom.background` is the pedestal under the edges.

    Raises
    ------
    ValueError
        If an argument is outside what is said above.

    References
    ----------
    The specimen follows Fig. 3 of S. Muto and M. Shiga, Microscopy 69 (2020) 110.

    Examples
    --------
    >>> from endmember import synthetic
    >>> phantom = synthetic.diode()
    >>> phantom.names, bool((phantom.maps.sum(axis=-1) == 1).all())
    (('Si', 'SiO2', 'Si3N4'), True)
    """
    shape, (layout, hiss) = begin(shape, channels, seed, 2, least=3, rows=3)
    maps = fields.layer_maps(shape, np.array([0.34, 0.56]), layout, 0.02)
    return _with_white_noise("Silicon diode", maps, _SILICON, channels, noise, hiss)


def multilayer(
    shape: Sequence[int] = (64, 48),
    channels: int = 160,
    layers: int = 7,
    diffuseness: float = 2.0,
    noise: float = 0.03,
    seed: int = 0,
) -> Phantom:
    """Make a stack of alternating Si, SiO2 and Si3N4 layers with diffuse interfaces, Si-L2,3 EELS.

    Unlike in `diode`, pixels at the interfaces are mixed: the share of a layer falls as
    ``(1 - tanh(distance / diffuseness)) / 2``, and the shares of each pixel sum to one.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx), ny at least `layers`.
    channels : int
        How many channels divide the window from 92 to 132 eV, at least 3.
    layers : int
        Number of layers, at least 3.
    diffuseness : float
        Half-width of an interface in pixels; 0 makes the layers disjoint.
    noise : float
        Standard deviation of the Gaussian white noise, relative to ``max(clean)``.
    seed : int
        Decides the roughness of the interfaces and the noise.

    Returns
    -------
    Phantom
        Float data (ny, nx, channels).

    Raises
    ------
    ValueError
        If an argument is outside what is said above.

    Examples
    --------
    >>> from endmember import synthetic
    >>> phantom = synthetic.multilayer(layers=5)
    >>> bool(abs(phantom.maps.sum(axis=-1) - 1).max() < 1e-12)
    True
    """
    check_whole("layers", layers, 3)
    shape, (layout, hiss) = begin(shape, channels, seed, 2, least=3, rows=layers)
    check_amounts(diffuseness=diffuseness)
    depths = np.arange(1, layers) / layers
    stack = fields.layer_maps(shape, depths, layout, 0.1 / layers, diffuseness)
    maps = np.stack([stack[..., first::3].sum(-1) for first in range(3)], -1)
    return _with_white_noise("Silicon multilayer", maps, _SILICON, channels, noise, hiss)


def mixed_phases(
    shape: Sequence[int] = (64, 64),
    channels: int = 512,
    k: int = 4,
    dose: float = 300,
    background: bool = False,
    drift: float = 0.0,
    pure: bool = True,
    seed: int = 0,
    stretch: float = 0.0,
) -> Phantom:
    """Make k transition-metal oxides that mix smoothly, counted: O-K and metal L2,3 EELS.

    The phases share the O-K edge at about 530 eV with different near-edge peaks; the metals' L2,3
    edges overlap it or follow it. The shares of the phases in a pixel sum to one; `maps` are these
    shares times a smooth relative thickness between 0.9 and 1.1.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx), with at least k pixels.
    channels : int
        How many channels divide the window from 440 to 696 eV (0.5 eV each by default), at
        least 2 and k.
    k : int
        Number of phases, at least 1.
    dose : float
        Expected counts in the brightest voxel, ``max(clean)``.
    background : bool
        Add a power law :math:`A E^{-r}` to each spectrum, each phase with its own A and r. It is
        part of `Phantom.spectra`, and alone in `Phantom.background`.
    drift : float
        Peak-to-peak drift of the energy axis over the scan, in channels, smooth in scan order and
        of zero mean: `Phantom.drift`. Each pixel's spectrum is computed at shifted energies, never
        interpolated; `maps` and `spectra` remain the truth without drift.
    pure : bool
        With True, every phase is alone in some pixels; with False (k at least 2), no phase makes
        up more than 80 % of any.
    seed : int
        Decides the maps, the details of the spectra, the drift and the counts.
    stretch : float
        Peak-to-peak change of the axis' length over the scan, relative, smooth in scan order and of zero
        mean: `Phantom.stretch`. Channel ``j`` of the axis without drift lies at
        ``j + drift + stretch * (j - (channels - 1) / 2)``.

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
    >>> phantom = synthetic.mixed_phases(shape=(16, 16), k=3, dose=100)
    >>> phantom.names, round(float(phantom.clean.max()), 6)
    (('TiO2', 'Cr2O3', 'MnO'), 100.0)
    """
    shape, (layout, chemistry, course, hiss) = begin(shape, channels, seed, 4)
    check_whole("k", k, 1 if pure else 2, min(shape[0] * shape[1], channels))
    check_amounts(drift=drift, stretch=stretch)
    return counted(
        "Mixed oxides",
        fields.phase_maps(shape, k, layout, pure=pure, spread=0.1),
        dict(_oxide(i, chemistry, background) for i in range(k)),
        (440.0, 256.0, channels),
        dose,
        hiss,
        drift=fields.drift_course(shape, drift, course),
        stretch=fields.drift_course(shape, stretch, course) if stretch else None,
    )


def oxide_interface(
    shape: Sequence[int] = (64, 64),
    channels: int = 200,
    dose: float = 200,
    drift: float = 0.0,
    seed: int = 0,
) -> Phantom:
    """Make two oxide grains with a diffuse boundary and a round precipitate on it, counted: EELS of few counts.

    A titanium and a manganese oxide meet at a boundary about 4 pixels wide; an iron oxide of radius 0.17 of the
    shorter side lies on it. Amounts sum to one and are hardly ever exactly zero. Each spectrum is a
    power-law background, the metal's L2,3 white lines and an O-K edge with a fine structure of its own.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx).
    channels : int
        How many channels divide the window from 380 to 780 eV (2 eV each by default), at least 3.
    dose : float
        Expected counts of a whole spectrum, on the average over the image.
    drift : float
        Peak-to-peak drift of the energy axis over the scan, in channels, smooth in scan order and of zero mean.
    seed : int
        Decides the course of the boundary, the place of the precipitate, the details of the spectra, the drift
        and the counts.

    Returns
    -------
    Phantom
        Poisson counts (ny, nx, channels), unsigned integers.

    Raises
    ------
    ValueError
        If an argument is outside what is said above.

    Notes
    -----
    Built after the description of the simulator eels-spectrum-unmixing (A. Malik, 2026), which was published with
    the angles of several methods.

    Examples
    --------
    >>> from endmember import synthetic
    >>> phantom = synthetic.oxide_interface(shape=(32, 32), dose=200)
    >>> phantom.names, round(float(phantom.clean.sum(-1).mean()))
    (('TiO2', 'MnO', 'Fe2O3'), 200)
    """
    shape, (layout, chemistry, course, hiss) = begin(shape, channels, seed, 4, least=3)
    check_amounts(drift=drift)
    oxides = {"TiO2": _OXIDES["TiO2"], "MnO": _OXIDES["MnO"], "Fe2O3": _IRON}
    return counted(
        "Oxide interface",
        fields.interface_maps(shape, layout),
        {name: _on_background(oxide, chemistry) for name, oxide in oxides.items()},
        (380.0, 400.0, channels),
        dose,
        hiss,
        whole=True,
        drift=fields.drift_course(shape, drift, course),
    )


def atomic_columns(
    shape: Sequence[int] = (48, 48),
    channels: int = 160,
    period: float = 12.0,
    dose: float = 300,
    seed: int = 0,
) -> Phantom:
    """Make an atomically resolved lattice of Mn2+ and Mn3+ columns, counted: Mn-L2,3 EELS.

    The two kinds of column lie on interleaved square lattices. The probe's tails and dechannelling
    reach everywhere, so every pixel is mixed: no pixel is pure and no map is ever zero.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx), with at least 2 pixels.
    channels : int
        How many channels divide the window from 630 to 670 eV, at least 2.
    period : float
        Distance between columns of one kind in pixels.
    dose : float
        Expected counts in the brightest voxel, ``max(clean)``.
    seed : int
        Decides the lattice's orientation, the details of the spectra and the counts.

    Returns
    -------
    Phantom
        Poisson counts (ny, nx, channels), unsigned integers; pixels of 0.4 nm / `period`.

    Raises
    ------
    ValueError
        If an argument is outside what is said above.

    Examples
    --------
    >>> from endmember import synthetic
    >>> phantom = synthetic.atomic_columns()
    >>> fractions = phantom.maps / phantom.maps.sum(axis=-1, keepdims=True)
    >>> bool(fractions.max() < 0.95)
    True
    """
    shape, (layout, chemistry, hiss) = begin(shape, channels, seed, pixels=2)
    check_amounts(zero=False, period=period)
    maps = fields.lattice_maps(shape, period, layout.uniform(0.05, 0.3))
    spectra: Spectra = {
        name: (PowerLaw(0.35, 3.0, 640), *manganese_edges(oxide, chemistry))
        for name, oxide in (("Mn2+", "MnO"), ("Mn3+", "Mn2O3"))
    }
    return counted(
        "Manganese columns",
        maps,
        spectra,
        (630.0, 40.0, channels),
        dose,
        hiss,
        pixel_size=0.4 / period,
    )


def oxygen_edge(
    shape: Sequence[int] = (64, 64), channels: int = 256, dose: float = 500, seed: int = 0
) -> Phantom:
    """Make two oxides that share most of their O-K edge and a resin with little oxygen, counted.

    A particle of a battery cathode, pristine and degraded, embedded in resin. The oxides differ in their
    first peaks alone; all lie on a power-law background that is brighter than the edge, each phase with
    its own A and r. The resin is nearly all background.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx), with at least 3 pixels.
    channels : int
        How many channels divide the window from 490 to 570 eV, at least 3.
    dose : float
        Expected counts in the brightest voxel, ``max(clean)``.
    seed : int
        Decides the maps, the details of the spectra and the counts.

    Returns
    -------
    Phantom
        Poisson counts (ny, nx, channels), unsigned integers; `Phantom.background` is the power law
        of each phase, which `Phantom.spectra` include.

    Raises
    ------
    ValueError
        If an argument is outside what is said above.

    Examples
    --------
    >>> from endmember import synthetic
    >>> phantom = synthetic.oxygen_edge(shape=(16, 16))
    >>> net = phantom.spectra - phantom.background
    >>> bool(phantom.background.sum() > net.sum())
    True
    """
    shape, (layout, chemistry, hiss) = begin(shape, channels, seed, least=3, pixels=3)
    maps = fields.phase_maps(shape, 3, layout, pure=True, spread=0.1)
    spectra = {
        name: (_power_law(chemistry, amplitude, 490.0), vary(edge, chemistry, 0.15, 0.06))
        for name, (amplitude, edge) in _CATHODE.items()
    }
    return counted(
        "Oxygen edge of a cathode in resin", maps, spectra, (490.0, 80.0, channels), dose, hiss
    )


def _with_white_noise(
    title: str,
    maps: np.ndarray,
    spectra: Spectra,
    channels: int,
    noise: float,
    rng: np.random.Generator,
) -> Phantom:
    """Make a silicon phantom, 92 to 132 eV, with Gaussian noise of `noise` times its maximum."""
    check_amounts(noise=noise)
    energy = energy_axis(92.0, 40.0, channels)
    truth, background = truth_of(spectra, energy)
    clean = multiply(maps, truth)
    return Phantom(
        title=title,
        data=clean + noise * clean.max() * rng.standard_normal(clean.shape),
        maps=np.ascontiguousarray(maps),
        spectra=truth,
        energy=energy,
        names=tuple(spectra),
        background=background,
        drift=np.zeros(maps.shape[:2]),
    )


def _oxide(i: int, rng: np.random.Generator, background: bool) -> tuple[str, tuple[Shape, ...]]:
    """Name the i-th oxide with the parts of its spectrum, their details drawn from `rng`.

    After the last of the table the names start again with a number.
    """
    oxide = list(_OXIDES)[i % len(_OXIDES)]
    name = oxide if i < len(_OXIDES) else f"{oxide} ({i // len(_OXIDES) + 1})"
    power_law, *edges = _on_background(_OXIDES[oxide], rng)
    return name, (power_law, *edges) if background else tuple(edges)


def _on_background(oxide: Oxide, rng: np.random.Generator) -> tuple[Shape, ...]:
    """Return the power law, the O-K edge and the metal's edges of an oxide, their details drawn from `rng`."""
    peaks = oxide[-1]
    oxygen = Edge(peaks[0].energy - 1.5, 0.5, 0.5, 2.5, (*peaks, Peak(562.0, 0.12, 20.0)))
    edges = tuple(vary(edge, rng, 0.3, 0.12) for edge in (oxygen, *_metal_edges(oxide)))
    return _power_law(rng, 1.6, 440.0), *edges


def _metal_edges(oxide: Oxide) -> tuple[Edge, Edge]:
    """Return the L3 and L2 edges of an oxide's metal: white lines on a continuum."""
    third, second, height, ratio, _ = oxide
    return (
        Edge(third - 1.6, 0.30, 0.5, 2.5, (Peak(third, height, 2.8),)),
        Edge(second - 1.6, 0.15, 0.6, 2.5, (Peak(second, height / ratio, 3.4),)),
    )


def manganese_edges(oxide: str, rng: np.random.Generator) -> tuple[Edge, ...]:
    """Return the L3 and L2 edges of manganese in an oxide, their details drawn from `rng`."""
    return tuple(vary(edge, rng, 0.1, 0.05) for edge in _metal_edges(_OXIDES[oxide]))


def _power_law(rng: np.random.Generator, amplitude: float, reference: float) -> PowerLaw:
    """Draw a background of about `amplitude` at `reference` eV with an exponent from 2.5 to 3.8."""
    return PowerLaw(amplitude * rng.uniform(0.75, 1.25), rng.uniform(2.5, 3.8), reference)
