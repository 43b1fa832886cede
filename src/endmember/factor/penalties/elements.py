"""Spectra of the elements: X-ray lines on a continuum, from the tables of eXSpy."""

import warnings
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares, nnls
from scipy.special import ndtr, xlogy

from endmember.errors import EndmemberError, refuse_if
from endmember.factor.columns import lengths, unit_columns
from endmember.factor.data import Axis, unwrap
from endmember.factor.penalties.basis import Basis

#: Energies in keV: below the first there is the peak of the electronics, and no line; below the second lines that
#: leave the outermost electron out are taken for themselves; and charge of soft X-rays is lost, so that their lines
#: lie lower, less so from one such energy as the third to the next.
LOWEST, UNSURE, SOFT = 0.2, 1.2, 0.5
#: Bounds of what an axis may be off: of itself, in keV, the width of lines of itself, soft lines in keV.
BOUNDS = np.array([0.01, 0.02, 0.3, 0.05])
#: The continuum falls towards low energies as behind layers that absorb below these energies, in keV.
ABSORBED = (0.0, 0.4, 1.2)
#: An element is in the data whose lines bring so much, in twice the logarithm of the likelihood, and so many times
#: the scatter that the lines known leave, cut at so many standard deviations; no family counts that others make up
#: but for this share.
CLEAR, ABOVE, FAR, APART = 25.0, 600.0, 5.0, 0.6
#: Elements that are found at most, times that their list is completed, and that amounts are weighted by their model.
MOST, ROUNDS, REWEIGHTED = 20, 3, 4
#: Elements that are in no specimen by chance: gases without compounds, and those that decay.
UNLIKELY = set("H He Li Ne Ar Kr Xe Tc Pm Po At Rn Fr Ra Ac Pa Np Pu Am Cm Bk Cf Es".split())  # noqa: SIM905
#: Shells whose ionisation gives the lines of a family, in the table of edges.
SHELLS = {"K": "K", "L": "L3", "M": "M5"}


class Family(NamedTuple):
    """The lines of one shell of an element: energies (keV), intensities beside the main one, and the edge."""

    element: str
    name: str
    energies: np.ndarray
    weights: np.ndarray
    edge: float


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
                    found.append(
                        Family(element, f"{element}_{kind}", energies, sizes / sizes.max(), edge)
                    )
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
    refuse_if(
        beam_energy is not None and not beam_energy > 0,
        f"beam_energy={beam_energy} is not positive; give it in the axis' own unit",
    )
    through = np.ones(E.shape) if efficiency is None else np.asarray(efficiency, dtype=float)
    refuse_if(
        through.shape != E.shape,
        f"efficiency has the shape {through.shape} and the axis {E.shape}; give one value a channel",
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
    ['Fe_K', 'Fe_L', 'Fe_Ll']
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
        self.elements, self.energy = elements, energy
        self.beam_energy, self.resolution = beam_energy, resolution

    def columns_on(self, axis: Axis) -> tuple[np.ndarray, list[str]]:
        spectrum = _Spectrum(*self._setting(axis), np.ones(len(axis.energy)))
        return spectrum.columns(self._listed(axis, spectrum), np.zeros(4))

    def learned_from(self, total: np.ndarray, axis: Axis) -> dict[str, Any]:
        spectrum = _Spectrum(*self._setting(axis), total)
        elements = self._listed(axis, spectrum)
        off, unlisted = np.zeros(4), []
        for _ in range(ROUNDS):
            unlisted = spectrum.missing(elements, off)
            off = spectrum.off([*elements, *unlisted], off)
        added = unlisted if np.array_equal(self.elements, "auto") else []
        if unlisted:
            said = f"in the data, not in your list: {', '.join(unlisted)}{'; added' * bool(added)}"
            warnings.warn(said, UserWarning, stacklevel=6)
        columns, names = spectrum.columns([*elements, *added], off)
        width = spectrum.resolution
        return {
            "columns_": columns, "column_names_": names, "elements_": [*elements, *added],
            "unlisted_": unlisted, "made_of_": "ratios", "deviance_": spectrum.deviance(columns.T),
            "axis_fit_": off * BOUNDS * [1.0, 1e3, width, 1e3] + [0.0, 0.0, width, 0.0],
        }  # fmt: skip

    def _listed(self, axis: Axis, spectrum: "_Spectrum") -> list[str]:
        """Return the elements that were given, or those of the metadata that have lines there."""
        from exspy.material import elements as table

        auto = np.array_equal(self.elements, "auto")
        given = np.atleast_1d(axis.told("Sample.elements") if auto else self.elements)
        listed = dict.fromkeys(str(one) for one in given if one is not None)
        known = spectrum.families([one for one in listed if one in table])
        wrong = [one for one in listed if one not in {family.element for family in known}]
        if wrong and not auto:
            raise EndmemberError(
                f'{wrong[0]!r} is no element with a line on this axis; give symbols such as ["Fe", "O"], or "auto"'
            )
        return [one for one in listed if one not in wrong]

    def _setting(self, axis: Axis) -> tuple[np.ndarray, float | None, float]:
        """Return energies and beam energy in keV, and the width at Mn K-alpha in eV."""
        losses = axis.told("Signal.signal_type") == "EELS"
        refuse_if(
            losses or (self.energy is None and axis.units not in ("keV", "eV")),
            "these are no X-ray spectra of which it is known where the channels lie; give em.XRayLines(elements, "
            "energy=…) energies in keV, or em.CoreLossEdges(edges) for energy losses",
        )
        energy = axis.energy * (1e-3 if axis.units == "eV" else 1.0)
        energy = energy if self.energy is None else np.asarray(self.energy, dtype=float)
        refuse_if(
            energy.shape != axis.energy.shape,
            f"energy has the shape {energy.shape} for {len(axis.energy)} channels; give one for each",
        )
        places = [f"Acquisition_instrument.{kind}." for kind in ("TEM", "SEM")]
        beam = self.beam_energy or axis.told(*(f"{place}beam_energy" for place in places))
        told = axis.told(*(f"{place}Detector.EDS.energy_resolution_MnKa" for place in places))
        return energy, beam and float(beam), float(self.resolution or told or 130.0)


class CoreLossEdges(Basis):
    r"""Energy-loss spectra made of the ionisation edges of elements on sums of power laws.

    From ``fine`` eV above its onset on an edge is its hydrogenic cross-section, from eXSpy; up to there it is free, in
    triangles 3 eV apart, since no such curve knows fine structure. The background is a sum of the power laws
    :math:`E^{-1}, \ldots, E^{-6}`.

    Parameters
    ----------
    edges : list of str
        Such as ``["O_K", "Mn_L"]``, of K and L shells; ``"Mn_L3"`` stands for the whole shell, which counts once.
    fine : float
        In eV.
    energy : array_like, (channels,), optional
        In eV; taken from a HyperSpy signal unless given.
    beam_energy, convergence, collection : float, optional
        In keV and mrad (semi-angles); from the metadata unless given.
    low_loss : array_like (channels,) or HyperSpy signal, optional
        The low losses of the specimen with the zero-loss peak, on channels as wide as those of the data: edges are
        convolved with them, as plural scattering does. Of an image the sum.

    Raises
    ------
    ValueError
        If an edge or the microscope is not known, or it is not known where the channels lie.

    References
    ----------
    Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed., Springer (2011), section 4.2.

    Examples
    --------
    >>> energy = np.arange(400.0, 700.0)
    >>> known = {"energy": energy, "beam_energy": 200, "convergence": 10, "collection": 20}
    >>> CoreLossEdges(["O_K", "Mn_L3", "Mn_L2"], **known).columns_on(Axis(energy, "eV"))[1][:2]
    ['Mn_L', 'O_K']
    """

    in_words = "ionisation edges on sums of power laws"
    references: tuple[str, ...] = (
        "R. F. Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed., "
        "Springer (2011), section 4.2.",
    )

    def __init__(
        self, edges: Any, *, fine: float = 30.0, energy: Any = None, beam_energy: float | None = None,
        convergence: float | None = None, collection: float | None = None, low_loss: Any = None,
    ) -> None:  # fmt: skip
        self.edges, self.fine, self.energy, self.low_loss = edges, fine, energy, low_loss
        self.beam_energy, self.convergence, self.collection = beam_energy, convergence, collection

    def learned_from(self, total: np.ndarray, axis: Axis) -> dict[str, Any]:
        elements = list(dict.fromkeys(one.split("_")[0] for one in self.edges))
        return {**super().learned_from(total, axis), "elements_": elements, "made_of_": "edges"}

    def columns_on(self, axis: Axis) -> tuple[np.ndarray, list[str]]:
        from exspy.components import EELSCLEdge

        place = "Acquisition_instrument.TEM."
        told = (
            axis.told(place + one)
            for one in ("beam_energy", "convergence_angle", "Detector.EELS.collection_angle")
        )
        given = (self.beam_energy, self.convergence, self.collection)
        microscope = [one or other for one, other in zip(given, told, strict=True)]
        refuse_if(
            None in microscope or (self.energy is None and axis.units != "eV"),
            "cross-sections ask for the energies of the channels in eV, the beam energy and both angles; give "
            "em.CoreLossEdges(edges, energy=…, beam_energy=…, convergence=…, collection=…)",
        )
        E = axis.energy if self.energy is None else np.asarray(self.energy, dtype=float)
        names = [f"power law {r}" for r in range(1, 7)]
        columns = [(E / E.max()) ** -r for r in np.arange(1.0, 7.0)]
        for one in dict.fromkeys(edge[: edge.find("_") + 2] for edge in self.edges):
            try:
                edge = EELSCLEdge(one if one[-1] == "K" else f"{one}3", GOS="hydrogenic")
            except (ValueError, KeyError, AttributeError) as error:
                raise EndmemberError(
                    f"{one} is no K or L edge of an element; leave it out, or crop the axis below it"
                ) from error
            edge.set_microscope_parameters(*map(float, microscope), axis.step)
            places = edge.onset_energy.value + np.arange(-3.0, self.fine, 3.0)
            columns = [
                edge.function(E) * (places[-1] + 3 <= E),
                *columns,
                *np.maximum(1 - np.abs(E - places[:, None]) / 3, 0),
            ]
            names = [one, *names, *(f"{one} fine {number}" for number in range(len(places)))]
        if self.low_loss is not None:
            scattered = plural_scattering(self.low_loss, axis)
            columns = [
                column if name.startswith("power law") else scattered(column)
                for name, column in zip(names, columns, strict=True)
            ]
        return np.array(columns), names


def plural_scattering(low_loss: Any, axis: Axis) -> Callable[[np.ndarray], np.ndarray]:
    """Return what spreads the edges of a thin specimen as the low losses of a thicker one do."""
    own, values = Axis.of(low_loss), np.asarray(unwrap(low_loss), dtype=float)
    spectrum = np.maximum(values.reshape(-1, values.shape[-1]).sum(axis=0), 0.0)
    alike = np.isclose(own.step, axis.step, rtol=0.01) or not own.calibrated
    refuse_if(
        not (spectrum.sum() > 0 and alike),
        f"the low losses are empty or have channels of {own.step:.4g} where those of the data are "
        f"{axis.step:.4g} wide; give low_loss on channels of that width",
    )
    zero, kernel = int(np.argmax(spectrum)), spectrum / spectrum.sum()
    return lambda column: np.convolve(column, kernel)[zero:][: len(column)]


class _Spectrum:
    """The sum of all pixels, and what lines of elements make of it."""

    def __init__(
        self, energy: np.ndarray, beam: float | None, resolution: float, total: np.ndarray
    ) -> None:
        self.energy, self.beam, self.resolution, self.total = energy, beam, resolution, total
        self.step, self.low = float(np.median(np.diff(energy))), energy < LOWEST

    def families(self, elements: Collection[str]) -> list[Family]:
        """Return the families of some elements on the axis that the beam can excite."""
        return families(
            elements, max(LOWEST, self.energy[0]), min(self.energy[-1], self.beam or np.inf)
        )

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
        below = [
            ndtr((edges[:, None] - one.energies) / self.deviations(one.energies, off)) @ one.weights
            for one in found
        ]
        return np.diff(np.reshape(below, (len(found), len(edges))).T, axis=0)

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
        steps = behind[1].sum(axis=1)[:, None] * (1 - lost)
        below = np.where(self.low, self.total, 0.0)[:, None]
        rest = np.hstack([self.lines(found, off), *behind, steps])
        rest[self.low] = 0.0
        lines = [one.name for one in found]
        smooth = [f"continuum {number + 1}" for number in range(3 * len(ABSORBED))]
        names = np.array([*lines, *smooth, *(f"edge {line}" for line in lines), "zero peak"])
        columns = np.hstack([rest, below])
        kept = np.any(columns > 0, axis=0)
        return columns.T[kept], names[kept].tolist()

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
            model, root, _ = self.fitted(self.columns(elements, off)[0].T)
            return np.append((model - self.total) * root, 2 * off)  # half the bounds are likely

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

        found: list[str] = []
        others = self.families(sorted({*table.keys()} - {*elements} - UNLIKELY))
        tried = self.lines(others, off) * ~self.low[:, None]
        of = np.array([one.element for one in others])
        for _ in range(MOST):
            columns = self.columns([*elements, *found], off)[0].T
            model, root, used = self.fitted(columns)
            basis = np.linalg.qr(unit_columns(columns[:, used]) * root[:, None])[0]
            left, new = (self.total - model) * root, tried * root[:, None]
            rest = new - basis @ (basis.T @ new)
            alone = np.maximum(lengths(rest), 1e-300)
            gain = np.maximum(left @ rest / alone, 0.0) ** 2 * (alone > APART * lengths(new))
            totals = {
                one: gain[of == one].sum() for one in dict.fromkeys(of.tolist()) if one not in found
            }
            best = max(totals, key=lambda one: totals[one])
            scatter = np.mean(np.clip(left, -FAR, FAR) ** 2) - 1  # that of a line is no model's
            if totals[best] < max(CLEAR, ABOVE * scatter):
                break
            found.append(best)
        return found
