"""Spectra of the elements: X-ray lines on a continuum, and ionisation edges."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from endmember.errors import EndmemberError, refuse_if
from endmember.factor.data import Axis, unwrap
from endmember.factor.penalties.basis import Basis
from endmember.factor.penalties.lines import BOUNDS, SumOfLines

#: Times that the list of elements is completed, and the axis fitted.
ROUNDS = 3


class XRayLines(Basis):
    r"""Spectra made of the X-ray lines of elements on a continuum.

    A column for every family of lines (K, L, M) of every element, with eXSpy's intensities inside of it, in counts of
    its main line; shapes of bremsstrahlung, behind layers that absorb and with the absorption steps of the elements;
    and one shape below 0.2 keV, where the peak of the electronics is. Lines are Gaussians of
    :math:`w^2 = w_{\rm Mn}^2 + 2.5\,(E - 5895)`, the full width at half maximum in eV. The axis (its gain within 1 %,
    its offset within 20 eV, the shift of soft lines within 50 eV), the width (within 30 %, and by 30 % how it grows)
    and the tail of soft lines, whose charge is collected in part, are fitted to the sum of all pixels first.

    Parameters
    ----------
    elements : list of str, or "auto"
        Such as ``["Fe", "Pt", "O"]``. "auto" takes those of the signal's metadata, and what a likelihood ratio
        finds besides them in the sum of all pixels.
    energy : array_like, (channels,), optional
        In keV; taken from a HyperSpy signal unless given.
    beam_energy, resolution : float, optional
        In keV, and the width at Mn K-alpha in eV: from the metadata, else far above the axis, and 130 eV.

    Notes
    -----
    A line is measured on the residual of the sum, with the columns of the list taken out and with what the model
    itself may be wrong by among the errors: ratios of lines by 20 %, the axis of each family by a twentieth of its
    bounds, the continuum by 10 %. Most elements are in no specimen, so the scatter of their lines says what else is
    wrong. An element is in the data whose lines together are five such errors high; each must be seen whose edge the
    beam excites twice over.

    Raises
    ------
    ValueError
        If an element is not known, has no line on the axis, or it is not known where the channels lie.

    References
    ----------
    Efron, J. Am. Stat. Assoc. 99 (2004) 96, for the scatter. Fiori & Newbury, Scanning Electron Microsc. 1 (1978) 401,
    for the width. Teurtrie, Perraudin, Holvoet, Chen, Alexander, Obozinski & Hébert, Ultramicroscopy 249 (2023) 113719.

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
        spectrum = SumOfLines(*self._setting(axis), np.ones(len(axis.energy)))
        return spectrum.columns(self._listed(axis, spectrum), np.zeros(6))

    def learned_from(self, total: np.ndarray, axis: Axis) -> dict[str, Any]:
        spectrum = SumOfLines(*self._setting(axis), total)
        elements = self._listed(axis, spectrum)
        off = np.zeros(6)
        for _ in range(ROUNDS):
            unlisted, scatter = spectrum.missing(elements, off)
            off = spectrum.off([*elements, *unlisted], off)
        added = unlisted if np.array_equal(self.elements, "auto") else []
        unfound = spectrum.unfound(elements, [*elements, *unlisted], off, scatter)
        notes = {
            f"in the data, not in your list: {', '.join(unlisted)}{'; added' * bool(added)}": unlisted,
            f"in your list, not in the data: {', '.join(unfound)}": unfound,
        }
        for note in (told := [note for note, about in notes.items() if about]):
            warnings.warn(note, UserWarning, stacklevel=6)
        columns, names = spectrum.columns([*elements, *added], off)
        width = spectrum.resolution
        return {
            "columns_": columns, "column_names_": names, "elements_": [*elements, *added],
            "unlisted_": unlisted, "unfound_": unfound, "notes_": told, "made_of_": "ratios",
            "deviance_": spectrum.deviance(columns.T), "tail_": max(float(off[4] * BOUNDS[4]), 0.0),
            "axis_fit_": off[:4] * BOUNDS[:4] * [1.0, 1e3, width, 1e3] + [0.0, 0.0, width, 0.0],
        }  # fmt: skip

    def _listed(self, axis: Axis, spectrum: "SumOfLines") -> list[str]:
        """Return the elements that were given, or those of the metadata that have lines there."""
        auto = np.array_equal(self.elements, "auto")
        given = np.atleast_1d(axis.told("Sample.elements") if auto else self.elements)
        listed = dict.fromkeys(str(one) for one in given if one is not None)
        known = spectrum.families(listed)
        wrong = [one for one in listed if one not in {family.element for family in known}]
        refuse_if(
            wrong and not auto,
            f"{', '.join(map(repr, wrong))} is no element with a line on this axis; give symbols such as "
            '["Fe", "O"], or "auto"',
        )
        return [one for one in listed if one not in wrong]

    def _setting(self, axis: Axis) -> tuple[np.ndarray, float | None, float]:
        """Return energies and beam energy in keV, and the width at Mn K-alpha in eV."""
        refuse_if(
            axis.told("Signal.signal_type") == "EELS"
            or (self.energy is None and axis.units not in ("keV", "eV")),
            "these are no X-ray spectra of which it is known where the channels lie; give em.XRayLines(elements, "
            "energy=…) energies in keV, or em.CoreLossEdges(edges) for energy losses",
        )
        inside = axis.energy * (1e-3 if axis.units == "eV" else 1.0)
        energy = np.asarray(inside if self.energy is None else self.energy, dtype=float)
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
        microscope = (
            self.beam_energy or axis.told(f"{place}beam_energy"),
            self.convergence or axis.told(f"{place}convergence_angle"),
            self.collection or axis.told(f"{place}Detector.EELS.collection_angle"),
        )
        refuse_if(
            None in microscope or (self.energy is None and axis.units != "eV"),
            "cross-sections ask for the energies of the channels in eV, the beam energy and both angles; give "
            "em.CoreLossEdges(edges, energy=…, beam_energy=…, convergence=…, collection=…)",
        )
        E = axis.energy if self.energy is None else np.asarray(self.energy, dtype=float)
        names = [f"power law {r}" for r in range(1, 7)]
        columns = [(E / E.max()) ** -r for r in np.arange(1.0, 7.0)]
        shells = (edge.partition("_") for edge in self.edges)
        for one in dict.fromkeys(f"{element}_{shell[:1]}" for element, _, shell in shells):
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
