"""How far an answer can be trusted: errors, bands and agreement, kept with it and said in plain words."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from endmember.assess import (
    Anomalies,
    Bands,
    Errors,
    Interval,
    Recurrence,
    detectability,
    element_hints,
)
from endmember.assess.comparison import Comparison
from endmember.assess.remedies import other_answers_in_words
from endmember.factor.data import Axis
from endmember.factor.loop.absence import cone_in_words
from endmember.factor.noise.model import NoiseModel
from endmember.methods.estimator import loss_of
from endmember.show.html import Section
from endmember.signals.bridge import with_values
from endmember.signals.files.reading import read
from endmember.signals.result.misfits import open_together, save_together

#: What is kept of how sure an answer is: its class, and the titles of its arrays in a file of its name, if any.
_KEPT: dict[str, tuple[type, dict[str, str]]] = {
    "errors": (
        Errors,
        {
            "spectra": "standard errors of the spectra",
            "maps": "standard errors of the maps",
            "spectra_at_zero": "where the error of a spectrum is a limit at zero",
            "maps_at_zero": "where the error of a map is a limit at zero",
        },
    ),
    "bands": (
        Bands,
        {
            "spectra_low": "lowest spectra",
            "spectra_high": "highest spectra",
            "maps_low": "lowest maps",
            "maps_high": "highest maps",
            "spectra": "spectra of unit sum",
        },
    ),
    "recurrence": (Recurrence, {}),
}
#: The title of what is kept of pixels that are no mixture.
_ODD = "pixels that are no mixture, and how far they are from one"
#: A component is doubted that is less than this many times as strong as one fitted to noise.
HARDLY = 1.5
#: Whether a component can be seen is not worked out for more entries than this.
_MOST_ENTRIES = 3e7


def save_doubts(folder: Path, result: Any) -> dict[str, Any]:
    """Write what was worked out into files of its own; return what the record keeps of it."""
    record: dict[str, Any] = {}
    for name, (_, titles) in _KEPT.items():
        doubts = getattr(result, name)
        if doubts is not None:
            values = {part: _components_first(part, getattr(doubts, part)) for part in titles}
            save_together(folder / f"{name}.hspy", titles, values, result.maps, result.spectra)
            rest = {part: value for part, value in vars(doubts).items() if part not in titles}
            record[name] = _plain(rest)
    if (odd := result.anomalies) is not None:
        kept = with_values(result.maps, np.stack([odd.found, odd.score], axis=-1), _ODD)
        kept.save(folder / "anomalies.hspy")
        record["anomalies"] = {"level": odd.level}
    record["intervals"] = {name: _plain(vars(one)) for name, one in result.intervals.items()}
    learned = result.model.learned()
    if result.errors is None and "maps_error_" in learned:
        errors = with_values(result.maps, learned["maps_error_"], "standard errors")
        errors.save(folder / "errors.hspy")
    return record


def open_doubts(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Read back what :func:`save_doubts` wrote, by name; ``record`` is what it returned."""
    intervals = record.get("intervals", {}).items()
    found: dict[str, Any] = {
        "intervals": {name: Interval(**_arrays(kept)) for name, kept in intervals}
    }
    if "anomalies" in record:
        flags, score = read(folder / "anomalies.hspy")[0].data
        found["anomalies"] = Anomalies(flags == 1, score, **record["anomalies"])
    for name in _KEPT.keys() & record.keys():
        kept, (kind, titles) = record[name], _KEPT[name]
        values: dict[str, Any] = open_together(folder / f"{name}.hspy", titles) if titles else {}
        for part, value in values.items():
            value = np.moveaxis(value, 0, -1) if part.startswith("maps") else value
            values[part] = value.astype(bool) if part.endswith("_at_zero") else value
        found[name] = kind(**{**values, **_arrays(kept)})
    return found


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return values as JSON takes them, numbers that are not finite by their names."""
    return {name: _named(np.asarray(value).tolist()) for name, value in values.items()}


def _named(value: Any) -> Any:
    return (
        [_named(one) for one in value]
        if isinstance(value, list)
        else str(value)
        if isinstance(value, float) and not math.isfinite(value)
        else value
    )


def _arrays(kept: dict[str, Any]) -> dict[str, Any]:
    """Undo :func:`_plain`."""
    return {
        name: np.array([*map(_number, one)]) if isinstance(one, list) else _number(one)
        for name, one in kept.items()
    }


def _number(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value


def _components_first(name: str, values: np.ndarray) -> np.ndarray:
    """Return maps (*domain, k) or spectra (k, channels) as files hold them; flags as numbers."""
    values = np.moveaxis(values, -1, 0) if name.startswith("maps") else values
    return np.ascontiguousarray(values.astype(np.uint8) if values.dtype == bool else values)


def assumed_in_words(result: Any) -> str:
    """Say how wide the cone of the spectra is, what an answer assumes, and how far the widest other lies."""
    learned, comparison = result.model.learned(), result.comparison
    said = [cone_in_words(learned)]
    if comparison is not None:
        said += [f"This answer assumes {_assumed(learned)}.", other_answers_in_words(comparison)]
        for name in {"distinct spectra", "pure maps"} & {*comparison.names}:
            angle = np.nanmax(comparison.angles[0, comparison.names.index(name)])
            said.append(
                f"Mixed pixels and like spectra are the same data; the other end, {name}, lies {angle:.1f}° away."
            )
    return "\n".join(filter(None, said))


def _assumed(learned: dict[str, Any]) -> str:
    if learned.get("mixed_"):
        return (
            "that pixels may mix all components and that spectra differ as much as the data allow"
        )
    if np.any(learned.get("absent_", False)):
        return "that every component is absent somewhere (pure maps): phases as separate as the data allow"
    return "no more than that amounts are not negative"


def doubts_in_words(result: Any) -> list[Section]:
    """Return the sections of the report that say how far every component can be trusted."""
    rows = [(name, " ".join(said)) for name, said in verdicts(result).items() if said]
    judged = (part for part in (result.bands, result.errors) if part is not None)
    words = [*(part.sentence for part in judged), assumed_in_words(result)]
    sections = []
    if rows:
        sections.append(Section("How sure", table=rows, text="\n\n".join(words)))
    if result.intervals:
        said = [(name, interval.sentence) for name, interval in result.intervals.items()]
        sections.append(Section("Intervals", table=said))
    if result.anomalies is not None:
        odd = result.anomalies
        sections.append(Section("Odd pixels", figure=odd.plot(), text=odd.sentence))
    if result.bands is not None:
        axis = Axis.of(result.spectra)
        sections.append(
            Section("Bands", figure=result.bands.plot(axis.energy, axis.label),
                    caption="Spectra of unit sum, and between which spectra the data cannot tell.")
        )  # fmt: skip
    return sections


def verdicts(result: Any) -> dict[str, list[str]]:
    """Return for every component, by name, one sentence on each thing that is known of its certainty."""
    names = result.picture().names or ()
    errors, bands, comparison = result.errors, result.bands, result.comparison
    parts = [
        _strengths(result),
        [] if errors is None else _precisions(result, errors),
        [] if bands is None else _freedoms(bands),
        [] if result.recurrence is None else result.recurrence.verdicts,
        [] if comparison is None else _agreements(comparison),
        _elements(result),
    ]
    return {name: [part[j] for part in parts if part] for j, name in enumerate(names)}


def _strengths(result: Any) -> list[str]:
    """Say how far every component stands above the limit of detection."""
    C, S = np.asarray(result.model.maps_, dtype=float), np.asarray(result.spectra.data, dtype=float)
    if C.shape[-1] != len(S) or C[..., 0].size * S.shape[1] > _MOST_ENTRIES:
        return []
    C = C.reshape(-1, len(S))
    C, S = C[np.isfinite(C).all(axis=1)], S[:, np.isfinite(S).all(axis=0)]
    variance = float(np.nanmean(result.misfit().map ** 2))
    if (C < 0).any() or (S < 0).any() or not variance > 0:
        return []
    gain = variance / (float((C @ S).mean()) or 1.0) if loss_of(result.model).counts else 0.0
    found = detectability(C, S, NoiseModel(gain, read_variance=0.0 if gain else variance))
    # A component fitted to noise alone has the strength of its largest eigenvalue, (1 + √γ)².
    return [
        f"{t:.{0 if t >= 10 else 1}f} times as strong as noise alone would make it."
        + ("" if t > HARDLY else " It may be noise.")
        for t in (found.strengths / (1 + found.limit) ** 2)
    ]


def _precisions(result: Any, errors: Errors) -> list[str]:
    """Say what noise alone leaves uncertain."""
    return [
        f"Noise leaves its spectrum uncertain by {_relative(spectrum, errors.spectra[j]):.2g} %, "
        f"its map by {_relative(amounts, errors.maps[..., j]):.2g} %."
        for j, (spectrum, amounts) in enumerate(
            zip(result.spectra.data, result.maps.data, strict=True)
        )
    ]


def _relative(values: np.ndarray, errors: np.ndarray) -> float:
    size = np.sqrt(np.nansum(np.square(values, dtype=float)))
    return float(100 * np.sqrt(np.nansum(np.square(errors))) / size) if size > 0 else np.inf


def _freedoms(bands: Bands) -> list[str]:
    """Say what else fits as well."""
    at_least = "" if bands.exact else "at least "
    return [
        "Fixed by the data."
        if fixed
        else f"Other spectra, {at_least}up to {angle:.1f}° away, fit as well."
        for fixed, angle in zip(bands.fixed, bands.angle, strict=True)
    ]


def _agreements(comparison: Comparison) -> list[str]:
    """Say what other methods find."""
    found = [
        [
            f"{name} nothing like it" if np.isnan(angle) else f"{name} {angle:.1f}° away"
            for angle in angles
        ]
        for name, angles in zip(comparison.names[1:], comparison.angles[0, 1:], strict=True)
    ]
    return [f"Others find it: {', '.join(said)}." for said in zip(*found, strict=True)]


def _elements(result: Any) -> list[str]:
    """Name candidate edges or lines."""
    try:
        hints = element_hints(result)
    except ValueError:  # neither EELS nor EDS
        return []
    said = ["; ".join(str(hint) for hint in found if hint.candidates) for found in hints]
    return [f"Candidates: {words}." if words else "" for words in said]
