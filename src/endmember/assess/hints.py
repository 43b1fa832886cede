"""Which elements a spectrum may speak of: candidate edges and lines from eXSpy's data bases."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from endmember.errors import EndmemberError
from endmember.factor.data import Axis, is_signal, unwrap
from endmember.factor.penalties.lines import known_of

#: Windows before and after an onset, in eV.
WINDOW = 12.0
#: Onsets (eV) and peaks (keV) are looked up within this distance.
NEAR = {"EELS": 8.0, "EDS": 0.06}
#: A rise or peak counts that has this share of the highest of its spectrum,
SHARE = {"EELS": 0.15, "EDS": 0.03}
#: and this many standard deviations of its noise.
CLEAR = 6.0
#: An edge climbs by this share of its rise; behind a peak a spectrum only stops to fall.
CLIMB = 0.3
#: Edges that are not seen without the one before them, and which that is.
_AFTER = {"L2": "L3", "M2": "M3", "M4": "M5", "N4": "N5"}
#: Candidates that are named for one energy, and energies for one component.
MOST, MOST_ENERGIES = 3, 6
#: Where eXSpy keeps the energies of edges and of lines.
_TABLES = {
    "EELS": ("Binding_energies", "onset_energy (eV)"),
    "EDS": ("Xray_lines", "energy (keV)"),
}
#: Lines that stand for their family.
_MAIN = ("Ka", "La", "Ma")


@dataclass(frozen=True)
class Hint:
    """Where a spectrum rises or peaks, and what that may be.

    Attributes
    ----------
    energy : float
        eV for energy-loss spectra, keV for X-ray spectra.
    strength : float
        Height over the highest of the spectrum.
    candidates : tuple of str
        Such as ``"Fe L3"`` or ``"Fe Ka"``, the likeliest first; empty where the data bases know none.
    """

    energy: float
    strength: float
    candidates: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' or '.join(self.candidates) or 'unknown'} ({self.energy:.4g})"


def element_hints(
    spectra: Any, energy: Any = None, kind: str | None = None, elements: Collection[str] = ()
) -> list[list[Hint]]:
    """Name candidate edges (EELS) or lines (EDS) for every component; the user decides.

    In energy-loss spectra an onset is where the mean of 12 eV lies above the straight line through the 12 eV
    before; in X-ray spectra a line is a peak. A candidate whose stronger lines or other major edges lie in the
    range and are missing in every component comes after those where they are found.

    Parameters
    ----------
    spectra : HyperSpy signal, Unmixing or array_like, (k, n_channels)
        NaN where channels are masked.
    energy : array_like, (n_channels,), optional
        Of an array: eV for EELS, keV for EDS, rising.
    kind : "EELS" or "EDS", optional
        Of an array; a signal knows. One that names its elements and no signal type is taken for EELS in eV and
        for EDS in keV.
    elements : collection of str
        Known to be there, such as ``["Fe", "O"]``: they come first. A signal's own are added.

    Returns
    -------
    list of list of Hint
        For every component, the strongest first.

    Raises
    ------
    ValueError
        If it is not known what kind of spectra these are.

    Examples
    --------
    >>> energy = np.arange(500.0, 600.0, 0.5)
    >>> edge = np.where(energy < 532, 0.0, np.exp(-(energy - 532) / 60))
    >>> str(element_hints([edge], energy, "EELS", ["O"])[0][0])
    'O K or Sb M5 (531.5)'
    """
    spectra = getattr(spectra, "spectra", spectra)
    if is_signal(spectra):
        energy, kind, known = _of_signal(spectra)
        elements = [*elements, *known]
        spectra = unwrap(spectra)
    if kind not in NEAR or energy is None:
        raise EndmemberError(
            f"these spectra are neither EELS nor EDS as far as can be seen (kind={kind!r}); give an array "
            'with energy=… and kind="EELS" (eV) or "EDS" (keV), or signal.set_signal_type("EELS")',
        )
    energy = np.asarray(energy, dtype=float)
    S = np.nan_to_num(np.atleast_2d(np.asarray(spectra, dtype=float)))
    found = [(_onsets if kind == "EELS" else _peaks)(energy, s) for s in S]
    # What another component shows as well: an element seldom shows all it has in each.
    seen, ends = [place for own in found for place, _ in own], (energy[0], energy[-1])
    return [
        [
            Hint(place, strength, _near(kind, place, seen, ends, elements))
            for place, strength in sorted(own, key=lambda place: -place[1])[:MOST_ENERGIES]
        ]
        for own in found
    ]


def _of_signal(signal: Any) -> tuple[Any, str | None, Sequence[str]]:
    """Return the energies of a signal in the unit of its kind, the kind, and the elements it names."""
    axis = Axis.of(signal)
    energy, units = axis.energy, axis.units
    said = str(signal.metadata.get_item("Signal.signal_type", default=""))
    kind = "EELS" if said == "EELS" else "EDS" if said.startswith("EDS") else None
    if units not in ("eV", "keV"):
        return energy, None, ()
    elements = re.findall(
        "[A-Z][a-z]?",
        " ".join(map(str, np.ravel(signal.metadata.get_item("Sample.elements", default=())))),
    )
    if elements and not said:
        kind = {"eV": "EELS", "keV": "EDS"}[units]
    factor = {("EELS", "keV"): 1e3, ("EDS", "eV"): 1e-3}.get((str(kind), units), 1.0)
    return factor * energy, kind, elements


def _noise(s: np.ndarray) -> float:
    """Return the standard deviation of a spectrum's noise, from its second differences."""
    return float(1.4826 * np.median(np.abs(np.diff(s, 2))) / np.sqrt(6)) if len(s) > 2 else 0.0


def _onsets(energy: np.ndarray, s: np.ndarray) -> list[tuple[float, float]]:
    """Return ``(energy, strength)`` of the edges of an energy-loss spectrum."""
    w = max(4, round(WINDOW / float(np.median(np.diff(energy)))))
    if len(s) < 2 * w + 2 or not np.ptp(s) > 0:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(s, w)
    t = np.arange(w) - (w - 1) / 2
    slope, mean = windows @ t / (t @ t), windows.mean(axis=1)
    rise = mean[w:] - (mean[:-w] + w * slope[:-w])  # at channel w, w + 1, ...
    high = max(SHARE["EELS"] * rise.max(), CLEAR * (_noise(s) * np.sqrt(2 / w + w**2 / (t @ t))))
    found, _ = find_peaks(np.pad(rise, 1), height=max(high, 1e-300), distance=w)
    smooth = gaussian_filter1d(s, 1.0)
    slopes = np.gradient(smooth)
    places = []
    for first in found - 1 + w:
        climb = smooth[first : first + w].max() - s[first - max(2, w // 4) : first].mean()
        if climb < CLIMB * rise[first - w]:  # the foot of a peak, not an edge
            continue
        near = slice(max(first - w // 2, 0), first + w // 2)
        steepest = near.start + int(np.argmax(slopes[near]))
        places.append((float(energy[steepest]), float(rise[first - w] / rise.max())))
    return places


def _peaks(energy: np.ndarray, s: np.ndarray) -> list[tuple[float, float]]:
    """Return ``(energy, strength)`` of the lines of an X-ray spectrum."""
    step = float(np.median(np.diff(energy)))
    width = max(0.02 / step, 0.5)
    smooth = gaussian_filter1d(s, width)
    if not smooth.max() > 0:
        return []
    # A prominence reaches from the lowest to the highest of the noise, hence the factor.
    noise = 1.5 * _noise(s) / np.sqrt(2 * np.sqrt(np.pi) * width)
    floor = max(SHARE["EDS"] * smooth.max(), CLEAR * noise)
    found, sizes = find_peaks(smooth, prominence=floor, distance=max(1, round(0.06 / step)))
    heights = sizes["prominences"]
    # Near zero energy there is a peak of the electronics, not of an element.
    return [
        (float(energy[i]), float(h / heights.max()))
        for i, h in zip(found, heights, strict=True)
        if energy[i] > 0.1
    ]


def _near(
    kind: str, energy: float, seen: Sequence[float], ends: tuple[float, float],
    elements: Collection[str],
) -> tuple[str, ...]:  # fmt: skip
    """Return what begins or peaks near an energy, one for each element; those that are seen elsewhere come first.

    Of a family that begins or peaks elsewhere on the axis and is not seen there, nothing is named.
    """
    from exspy.utils.eds import get_xray_lines_near_energy
    from exspy.utils.eels import get_edges_near_energy

    near, losses, ranked = NEAR[kind], kind == "EELS", []
    names = (
        get_edges_near_energy(energy, width=2 * near, only_major=True)
        if losses
        else get_xray_lines_near_energy(energy, width=2 * near)
    )
    for name in names:
        element, part = name.split("_")
        places = known_of(element, *_TABLES[kind])
        place = places[part.replace(",", "")]  # the table keeps "L2,3" as "L23"
        first = (
            places.get(_AFTER.get(part, ""), 0.0) if losses else places.get(f"{part[0]}a", np.inf)
        )
        if first > ends[0] * losses and not _is_seen(first, seen, near):
            continue
        others = [places[one] for one in places if one[0] != part[0] and (losses or one in _MAIN)]
        inside = [one for one in (place, *others) if ends[0] + near < one < ends[1] - near]
        share = np.mean([_is_seen(one, seen, near) for one in inside] or [False])
        rank = element not in elements, -share, part not in _MAIN, abs(place - energy)
        ranked.append((*rank, element, part))
    best: dict[str, str] = {}
    for *_, element, part in sorted(ranked):
        best.setdefault(element, f"{element} {part}")
    return tuple(best.values())[:MOST]


def _is_seen(energy: float, seen: Sequence[float], near: float) -> bool:
    return any(abs(energy - one) <= near for one in seen)
