"""Spectra of the elements: X-ray lines on a continuum, from the tables of eXSpy."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import least_squares, nnls
from scipy.special import ndtr, xlogy

from endmember.errors import EndmemberError
from endmember.factor.columns import unit_columns
from endmember.factor.data.axis import Axis
from endmember.factor.penalties.basis import Basis

#: Below this energy in keV there is the peak of the electronics, and no line.
LOWEST = 0.2
#: Bounds of what an axis may be off: of itself, in keV, and the width of lines of itself; and how far is likely.
BOUNDS, LIKELY = np.array([0.01, 0.02, 0.3, 0.05]), 0.5
#: Charge of soft X-rays is lost, so that their lines lie lower; less so from one such energy in keV to the next.
SOFT = 0.5
#: The continuum falls towards low energies as behind layers that absorb below these energies, in keV.
ABSORBED = (0.0, 0.4, 1.2)
#: An element is in the data whose lines bring so much, in twice the logarithm of the likelihood,
CLEAR = 25.0
#: and so many times the scatter that the lines known leave; and so many at most are found.
ABOVE, MOST, APART = 20.0, 12, 0.6
#: Elements that are in no specimen by chance: gases without compounds, and those that decay.
UNLIKELY = [
    "H", "He", "Li", "Ne", "Ar", "Kr", "Xe", "Tc", "Pm", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Pa", "Np", "Pu", "Am",
    "Cm", "Bk", "Cf", "Es",
]  # fmt: skip
#: Below this energy in keV the lines that leave the outermost electron out are taken for themselves.
UNSURE = 1.2
#: Shells whose ionisation gives the lines of a family, in the table of edges.
SHELLS = {"K": "K", "L": "L3", "M": "M5"}
#: Times that the list is completed and the axis fitted.
ROUNDS = 3
#: Times that amounts are weighted anew by the model that they make.
REWEIGHTED = 4


@cache
def known_of(element: str, table: str, unit: str) -> dict[str, float]:
    """Return the energies of an element's lines, their weights, or the onsets of its major edges."""
    from exspy.material import elements

    known = elements[element]["Atomic_properties"].get_item(table, {})
    return {
        name: float(known[name][unit])
        for name in known.keys()  # noqa: SIM118 (no dictionary)
        if table == "Xray_lines" or known[name].get_item("relevance", "Major") == "Major"
    }


@dataclass(frozen=True)
class Family:
    """The lines of one shell of an element: energies (keV), intensities beside the main one, and the edge."""

    name: str
    energies: np.ndarray
    weights: np.ndarray
    edge: float


def families(elements: Collection[str], low: float, high: float) -> list[Family]:
    """Return the families of some elements whose main line lies between two energies in keV."""
    found = []
    for element in elements:
        lines = known_of(element, "Xray_lines", "energy (keV)")
        weights = known_of(element, "Xray_lines", "weight")
        edges = known_of(element, "Binding_energies", "onset_energy (eV)")
        for shell, name in SHELLS.items():
            main = f"{shell}a"
            weights = {**weights, main: weights.get(main) or 1.0}  # where the table lacks it
            own = [line for line in lines if line[0] == shell and weights[line] > 0]
            soft = [line for line in own if line in ("Ll", "Ln") and lines[line] < UNSURE]
            for kind, chosen in ((shell, [one for one in own if one not in soft]), ("Ll", soft)):
                energies, sizes = (
                    np.array([table[one] for one in chosen]) for table in (lines, weights)
                )
                if len(chosen) and low < energies[np.argmax(sizes)] < high:
                    edge = 1e-3 * edges.get(name, 1e3 * max(lines[one] for one in own))
                    found.append(Family(f"{element}_{kind}", energies, sizes / sizes.max(), edge))
    return found


def bremsstrahlung_shapes(
    energy: Any,
    beam_energy: float | None = None,
    efficiency: Any | None = None,
) -> np.ndarray:
    r"""Return the two shapes of the bremsstrahlung of a thin specimen.

    With :math:`u = 1 - E / E_0` they are :math:`\varepsilon(E)\, u` and
    :math:`\varepsilon(E)\, u^2 / E`, the terms of Lifshin's formula. Far below the beam energy they
    are a constant and :math:`1 / E`, the first terms of Chapman's.

    Parameters
    ----------
    energy : array_like, (channels,)
        Positive where the shapes are wanted; they are 0 at and below zero and above the beam energy.
    beam_energy : float, optional
        ``E_0`` in the unit of ``energy``; far above the axis unless given.
    efficiency : array_like, (channels,), optional
        What detector and specimen let through; 1 unless given.

    Returns
    -------
    ndarray, (channels, 2)
        Fixed columns of a model as they are, ``em.Known({k - 1: shapes[:, 0]})``.

    Raises
    ------
    ValueError
        If the beam energy is not positive, or the efficiency not one a channel.

    References
    ----------
    Chapman, Gray, Robertson & Nicholson, X-Ray Spectrom. 12 (1983) 153. Teurtrie, Perraudin, Holvoet,
    Chen, Alexander, Obozinski & Hébert, Ultramicroscopy 249 (2023) 113719, for Lifshin's formula.

    Examples
    --------
    >>> bremsstrahlung_shapes([1.0, 2.0], beam_energy=4.0)
    array([[0.75  , 0.5625],
           [0.5   , 0.125 ]])
    """
    E = np.asarray(energy, dtype=float)
    if beam_energy is not None and not beam_energy > 0:
        raise EndmemberError(
            f"beam_energy={beam_energy} is not positive; give it in the axis' own unit"
        )
    through = np.ones(E.shape) if efficiency is None else np.asarray(efficiency, dtype=float)
    if through.shape != E.shape:
        raise EndmemberError(
            f"efficiency has the shape {through.shape} and the axis {E.shape}; give one value a channel"
        )
    u = np.ones(E.shape) if beam_energy is None else np.maximum(1 - E / beam_energy, 0)
    positive = E > 0
    return np.stack([u, u**2 / np.where(positive, E, 1.0)], axis=-1) * (through * positive)[:, None]


class XRayLines(Basis):
    r"""Spectra made of the X-ray lines of elements on a continuum.

    A column for every family of lines (K, L, M) of every element, with eXSpy's intensities inside of it, in counts of
    its main line; shapes of bremsstrahlung, behind layers that absorb and with the absorption steps of the elements;
    and one shape below 0.2 keV, where the peak of the electronics is. Lines are Gaussians of
    :math:`w^2 = w_{\rm Mn}^2 + 2.5\,(E - 5895)`, the full width at half maximum in eV. The axis (its gain within 1 %,
    its offset within 20 eV, the shift of soft lines within 50 eV) and the width (within 30 %) are fitted to the sum of
    all pixels first.

    Parameters
    ----------
    elements : list of str, or "auto"
        Such as ``["Fe", "Pt", "O"]``. "auto" takes those of the signal's metadata, and what a likelihood ratio
        finds besides them in the sum of all pixels.
    energy : array_like, (channels,), optional
        In keV; taken from a HyperSpy signal unless given.
    beam_energy, resolution : float, optional
        In keV, and the width at Mn K-alpha in eV: from the metadata, else far above the axis, and 130 eV.

    Raises
    ------
    ValueError
        If an element is not known, has no line on the axis, or it is not known where the channels lie.

    References
    ----------
    Fiori & Newbury, Scanning Electron Microsc. 1 (1978) 401, for the width. Teurtrie, Perraudin, Holvoet, Chen,
    Alexander, Obozinski & Hébert, Ultramicroscopy 249 (2023) 113719.

    Examples
    --------
    >>> from endmember.factor.data.axis import Grid
    >>> energy = np.arange(0.2, 8.0, 0.01)
    >>> XRayLines(["Fe", "O"], energy=energy).columns_on(Axis(energy, "keV"))[1][:3]
    ['Fe_K', 'Fe_L', 'O_K']
    """

    in_words = "lines of the elements on a continuum"

    def __init__(
        self,
        elements: Any = "auto",
        *,
        energy: Any = None,
        beam_energy: float | None = None,
        resolution: float | None = None,
    ) -> None:
        self.elements = elements
        self.energy = energy
        self.beam_energy = beam_energy
        self.resolution = resolution

    def columns_on(self, axis: Axis) -> tuple[np.ndarray, list[str]]:
        spectrum = _Spectrum(*self._setting(axis), np.ones(len(axis.energy)))
        return spectrum.columns(self._listed(axis), np.zeros(4))

    def learned_from(self, total: np.ndarray, axis: Axis) -> dict[str, Any]:
        spectrum, elements = _Spectrum(*self._setting(axis), total), self._listed(axis)
        off, unlisted = np.zeros(4), []
        for _ in range(ROUNDS):
            unlisted = spectrum.missing(elements, off)
            off = spectrum.off([*elements, *unlisted], off)
        auto = isinstance(self.elements, str) and self.elements == "auto"
        if unlisted:
            said = f"in the data, not in your list: {', '.join(unlisted)}{'; added' * auto}"
            warnings.warn(said, UserWarning, stacklevel=6)
        elements = [*elements, *unlisted] if auto else elements
        columns, names_ = spectrum.columns(elements, off)
        return {
            "columns_": columns, "column_names_": names_, "elements_": elements, "unlisted_": unlisted,
            "axis_fit_": off * BOUNDS * [1.0, 1e3, spectrum.resolution, 1e3] + [0.0, 0.0, spectrum.resolution, 0.0],
            "deviance_": spectrum.deviance(columns.T),
        }  # fmt: skip

    def _listed(self, axis: Axis) -> list[str]:
        """Return the elements that were given, or those of the metadata."""
        from exspy.material import elements as table

        auto = isinstance(self.elements, str) and self.elements == "auto"
        listed = axis.told("Sample.elements") if auto else self.elements
        listed = [] if listed is None else [str(one) for one in np.atleast_1d(listed)]
        for one in listed:
            if one not in table:
                raise EndmemberError(
                    f'{one!r} is no element; give symbols such as ["Fe", "O"], or "auto"'
                )
        return list(dict.fromkeys(listed))

    def _setting(self, axis: Axis) -> tuple[np.ndarray, float | None, float]:
        """Return energies and beam energy in keV, and the width at Mn K-alpha in eV."""
        energy = axis.energy * (1e-3 if axis.units == "eV" else 1.0)
        if self.energy is not None:
            energy = np.asarray(self.energy, dtype=float)
        elif axis.units not in ("keV", "eV"):
            raise EndmemberError(
                "it is not known where the channels lie; give em.XRayLines(…, energy=energies in keV)"
            )
        if energy.shape != axis.energy.shape:
            raise EndmemberError(
                f"energy has the shape {energy.shape} for {len(axis.energy)} channels; give one for each"
            )
        places = [f"Acquisition_instrument.{kind}." for kind in ("TEM", "SEM")]
        beam = self.beam_energy or axis.told(*(f"{place}beam_energy" for place in places))
        told = axis.told(*(f"{place}Detector.EDS.energy_resolution_MnKa" for place in places))
        return energy, beam and float(beam), float(self.resolution or told or 130.0)


class _Spectrum:
    """The sum of all pixels, and what lines of elements make of it."""

    def __init__(
        self, energy: np.ndarray, beam: float | None, resolution: float, total: np.ndarray
    ) -> None:
        self.energy, self.beam, self.resolution, self.total = energy, beam, resolution, total
        self.step = float(np.median(np.diff(energy)))
        self.low = energy < LOWEST

    def families(self, elements: Collection[str]) -> list[Family]:
        most = min(self.energy[-1], self.beam or np.inf)
        return families(elements, max(LOWEST, self.energy[0]), most)

    def deviations(self, energies: Any, off: np.ndarray) -> np.ndarray:
        """Return the standard deviation of lines, in keV."""
        width = self.resolution * (1 + BOUNDS[2] * off[2])
        return (
            1e-3
            * np.sqrt(np.maximum(width**2 + 2.5 * (1e3 * np.asarray(energies) - 5895), 400.0))
            / 2.3548
        )

    def lines(self, found: Sequence[Family], off: np.ndarray) -> np.ndarray:
        """Return the lines of some families, (channels, families), counts of the main line."""
        edges = np.append(self.energy - self.step / 2, self.energy[-1] + self.step / 2)
        soft = BOUNDS[3] * off[3] * np.exp(-np.maximum(edges, 0.0) / SOFT)
        edges = edges * (1 + BOUNDS[0] * off[0]) + BOUNDS[1] * off[1] + soft
        made = []
        for one in found:
            below = ndtr((edges[:, None] - one.energies) / self.deviations(one.energies, off))
            made.append(np.diff(below, axis=0) @ one.weights)
        return np.stack(made, axis=1) if made else np.zeros((len(self.energy), 0))

    def columns(self, elements: Collection[str], off: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Return all columns (p, channels) and their names."""
        E, found = self.energy, self.families(elements)
        shapes = bremsstrahlung_shapes(E, self.beam)
        positive = np.maximum(E, LOWEST)[:, None]
        shapes = np.column_stack([shapes, shapes[:, 1:] / positive])
        behind = [shapes * np.exp(-((one / positive) ** 3)) for one in ABSORBED]
        edge = np.array([one.edge for one in found])
        lost = (
            ndtr((E[:, None] - edge) / self.deviations(edge, off))
            * np.minimum(edge / positive, 1.0) ** 3
        )
        steps = (behind[1].sum(axis=1)[:, None] * (1 - lost)) if found else np.zeros((len(E), 0))
        below = np.where(self.low, self.total, 0.0)[:, None]
        rest = np.hstack([self.lines(found, off), *behind, steps])
        rest[self.low] = 0.0
        names = [one.name for one in found]
        names_ = [
            *names,
            *(f"continuum {i + 1}" for i in range(3 * len(ABSORBED))),
            *(f"edge {name}" for name in names),
            "zero peak",
        ]
        columns = np.hstack([rest, below])
        kept = np.any(columns > 0, axis=0)
        return columns.T[kept], [name for name, keep in zip(names_, kept, strict=True) if keep]

    def fitted(self, columns: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the model of the sum by columns (channels, p), the weight of every residual, the columns used."""
        size, model = np.linalg.norm(columns, axis=0), self.total
        least = max(1e-3 * float(np.mean(self.total)), 1e-300)
        for _ in range(REWEIGHTED):
            root = 1 / np.sqrt(np.maximum(model, least))
            amounts = nnls(columns / size * root[:, None], self.total * root)[0]
            model = columns / size @ amounts
        return model, 1 / np.sqrt(np.maximum(model, least)), amounts > 0

    def deviance(self, columns: np.ndarray) -> float:
        """Return the deviance of the sum from the best model, for each degree of freedom."""
        model, y = self.fitted(columns)[0], self.total
        model = np.maximum(model, 1e-9 * y.max())
        return float(
            2 * np.sum(xlogy(y, y / model) - y + model) / max(len(y) - columns.shape[1], 1)
        )

    def off(self, elements: Collection[str], start: np.ndarray) -> np.ndarray:
        """Return how far the axis is off and lines are wider, in units of their bounds."""

        def residual(off: np.ndarray) -> np.ndarray:
            columns = self.columns(elements, off)[0].T
            model, root, _ = self.fitted(columns)
            return np.append((model - self.total) * root, off / LIKELY)

        start = np.clip(start, -0.9, 0.9) + 0.01
        return least_squares(
            residual,
            start,
            bounds=(-1.0, 1.0),
            loss="soft_l1",
            f_scale=5.0,
            diff_step=1e-2,
            xtol=1e-3,
            ftol=1e-4,
        ).x

    def missing(self, elements: Collection[str], off: np.ndarray) -> list[str]:
        """Return the elements whose lines the sum holds besides those listed, the clearest first."""
        from exspy.material import elements as table

        others = self.families(sorted({*table.keys()} - {*elements, *UNLIKELY}))
        tried = self.lines(others, off)
        found: list[str] = []
        tried[self.low] = 0.0
        of = np.array([one.name.split("_")[0] for one in others])
        for _ in range(MOST):
            columns = self.columns([*elements, *found], off)[0].T
            model, root, used = self.fitted(columns)
            basis = np.linalg.qr(unit_columns(columns[:, used]) * root[:, None])[0]
            left, new = (self.total - model) * root, tried * root[:, None]
            size = np.linalg.norm(new, axis=0)
            new = new - basis @ (basis.T @ new)
            alone = np.linalg.norm(new, axis=0)
            along = np.where(alone > APART * size, left @ new / np.maximum(alone, 1e-300), 0.0)
            gain = np.maximum(along, 0.0) ** 2
            totals = {
                one: gain[of == one].sum() for one in dict.fromkeys(of.tolist()) if one not in found
            }
            best = max(totals, key=lambda one: totals[one])
            scatter = np.mean(left**2) - 1 - totals[best] / len(left)
            if totals[best] < max(CLEAR, ABOVE**2 * scatter):
                break
            found.append(best)
        return found
