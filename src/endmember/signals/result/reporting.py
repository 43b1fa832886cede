"""What a report says about an answer, in sentences and tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import config_context

from endmember import show
from endmember.factor.data import is_signal, unwrap
from endmember.methods.drift import Drifting
from endmember.show.html import Report, Section
from endmember.signals.result.doubts import doubts_in_words

#: Starts whose cost is within this fraction of the best count as equally good,
EQUAL_COST = 0.01
#: and spectra more than this many degrees apart as different.
DIFFERENT = 5.0


def compose(result: Any) -> Report:
    """Return the report of an answer."""
    model, data = result.model, result.record["data"]
    treated = _named(result.record["steps"])
    return Report(
        title=data["title"] or "Unmixed spectrum image",
        subtitle=f"{model.n_components_} components by {type(model).__name__} from {_file_of(data)}",
        sentences=_findings(result),
        warnings=doubts(model),
        sections=[
            Section("Components", figure=result.plot(),
                    caption="Every component: its map or profiles, and its spectrum."),
            *doubts_in_words(result),
            *_composition(result),
            Section("Residual", figure=show.residual(result),
                    caption="What the components leave unexplained, in space and in energy."),
            *_drift(result),
            *([Section("Relevance", figure=show.relevance(model),
                       caption="How much every component contributes; those in grey were merged or dropped.")]
              if "relevance_" in model.learned() else []),
            *convergence(model),
            *_standard_errors(model),
            Section("Data", table=about_data(data)),
            *([Section("Preprocessing steps", table=[
                (f"{n}. {name}", details) for n, (name, details) in enumerate(treated, 1)])]
              if treated else []),
            Section("Parameters", table=_parameters(result)),
        ],
        methods=methods_paragraph(result),
        references=references(model),
        footer=footer(result.record),
    )  # fmt: skip


def methods_paragraph(result: Any) -> str:
    """Return how the answer was made, in sentences to paste into a paper."""
    model, data = result.model, result.record["data"]
    *domain, channels = data["shape"]
    energy, version = data["energy"], result.record["versions"]["endmember"]
    units = f" {energy['units']}" if energy["units"] else ""
    return (
        f"The spectrum image of {' × '.join(map(str, domain))} pixels and {channels} channels "
        f"({energy['first']:.6g} to {energy['last']:.6g}{units}) was unmixed with Endmember "
        f"{version}.{_steps_in_words(result.record['steps'])} "
        f"{model_in_words(model)}{outcome(model)}"
    )


def references(model: Any) -> list[str]:
    """Return the works that the model, its loss, solver and penalties come from, each once."""
    parts = [model, *(part for _, part in model.parts())]
    return list(
        dict.fromkeys(work for part in parts for work in getattr(type(part), "references", ()))
    )


def model_in_words(model: Any) -> str:
    """Return one sentence on the model and one on everything it is put together from."""
    works = references(model)
    opening = f"{phrase(model)}{_cited(model, works)}."
    parts = [(role, phrase(part), part) for role, part in model.parts()]
    said = "; ".join(
        f"{role}: {words}{_cited(part, works)}" for role, words, part in parts if words
    )
    return f"{opening} {said[0].upper()}{said[1:]}." if said else opening


def _cited(part: Any, works: list[str]) -> str:
    """Return the numbers of the works that a part of the model comes from, as `` [1, 3]``."""
    numbers = sorted(works.index(work) + 1 for work in getattr(type(part), "references", ()))
    return f" [{', '.join(map(str, numbers))}]" if numbers else ""


def phrase(part: Any) -> str:
    """Return a part of a model in words, with the values of its parameters."""
    return getattr(part, "in_words", type(part).__name__).format(**part.get_params(deep=False))


def outcome(model: Any) -> str:
    """Return how a fit ended, in words."""
    if "n_iter_" not in model.learned():
        return ""
    end = "converged" if model.converged_ else "was stopped"
    asked = model.get_params(deep=False).get("n_components", model.n_components_)
    kept = f" {model.n_components_} of them were kept." if asked != model.n_components_ else ""
    return f"{kept} The fit {end} after {model.n_iter_} sweeps with a relative KKT residual of {model.optimality_:.1e}."


def _steps_in_words(steps: list[dict[str, Any]]) -> str:
    """Return a sentence on what was done to the data before, in order, or nothing."""
    said = [f"{name} ({details})" if details else name for name, details in _named(steps)]
    return f" Before that, it was treated as follows: {'; '.join(said)}." if said else ""


def _findings(result: Any) -> list[str]:
    model, misfit = result.model, result.misfit()
    found = [
        f"The data were separated into {model.n_components_} component{'s' * (model.n_components_ > 1)}."
    ]
    found += result.record["reasons"]
    found += [f"Of the elements: {note}." for note in model.learned().get("notes_", [])]
    size = np.sqrt(np.nanmean(misfit.map**2))
    mean = np.nanmean(np.abs(misfit.data_spectrum))
    counts = result.record.get("whole_numbers", True) and any(
        role == "loss" and getattr(part, "counts", False) for role, part in model.parts()
    )
    usual, name = (np.sqrt(mean), "the noise of counts") if counts else (mean, "the mean intensity")
    if mean > 0:
        found.append(
            f"The residual is {size:.3g} (root mean square), {size / usual:.2g} times {name}."
        )
    unmeasured = np.mean(np.isnan(misfit.map))
    if unmeasured > 0:
        found.append(
            f"{unmeasured:.0%} of the pixels took no part: they have no errors, and their maps are "
            f"{'left empty' if np.isnan(result.maps.data).any() else 'filled in from around them'}."
        )
    learned = model.learned()
    if "pixels_" in learned:
        said = ", ".join(
            f"({', '.join(map(str, place))})"
            for place in zip(*np.unravel_index(model.pixels_, model.maps_.shape[:-1]), strict=True)
        )
        found.append(f"The spectra are those of the pixels {said}, counted from 0 in data order.")
    if "n_iter_" in learned:
        found.append(
            f"The fit {'converged' if model.converged_ else 'did not converge'} in {model.n_iter_} sweeps, "
            f"{result.record['fit_seconds']:.3g} s; its optimality (KKT residual on the full data, 0 at a stationary "
            f"point) is {model.optimality_:.1e}."
        )
    return found


def doubts(model: Any) -> list[str]:
    """Return why the answer of a fitted model may be another than it seems."""
    said, learned = [], model.learned()
    if not learned.get("converged_", True):
        said.append("The fit had not converged when it was stopped: the components may still move.")
    if not learned.get("unique_", True):
        said.append(
            "Not every component has a channel (or pixel) to itself: the condition under which signal "
            "subspace sampling has one answer is not met, and others fit as well."
        )
    starts = learned.get("starts_")
    if starts:
        best = min(start.objective for start in starts)
        equal = [start for start in starts if start.objective <= best * (1 + EQUAL_COST)]
        apart = max(start.angle for start in equal)
        if apart > DIFFERENT:
            said.append(
                f"Not unique: {len(equal)} of {len(starts)} starts came within {EQUAL_COST:.0%} of the "
                "lowest cost, with spectra up to "
                f"{apart:.0f}° apart on average: the data alone do not fix the answer. Use what "
                "you know (known spectra, disjoint phases, "
                "smoothness), or compare methods."
            )
    return said


def _drift(result: Any) -> list[Section]:
    """Return the shift of every pixel, where the model has let the energy axis drift."""
    if not isinstance(result.model, Drifting):
        return []
    size, model = result.misfit(), result.model
    stretches = model.learned().get("stretches_")
    figure = show.shifts(
        model.shifts_, stretches=stretches, pixel_size=size.pixel_size, pixel_units=size.pixel_units
    )  # fmt: skip
    lengths = " and ".join(
        " × ".join(f"{length:.3g}" for length in own) for own in np.atleast_2d(model.smooth_)
    )
    drawn = "" if stretches is None else (
        ", and by how much its axis was found to be drawn out about its middle"
    )  # fmt: skip
    caption = (
        f"By how many channels every spectrum was found to be moved to higher energy{drawn}; averaged over "
        f"{lengths} pixels. Spectra and residual are on the axis without drift."
    )
    return [Section("Energy drift", figure=figure, caption=caption)]


def convergence(model: Any) -> list[Section]:
    """Return the section on how the objective fell."""
    learned = model.learned()
    if len(learned.get("objective_", [])) == 0:
        return []
    starts = learned.get("starts_", [])
    ends = [start.objective for start in starts] or None
    table = [
        (
            f"Start {number}, {start.init.replace('_', ' ')}",
            f"objective {start.objective:.6g}, {start.angle:.1f}° from the chosen one"
            f"{' (chosen)' if start.chosen else ''}",
        )
        for number, start in enumerate(starts, 1)
    ]
    return [
        Section("Convergence", table=table or None,
                figure=show.convergence(model.objective_, starts=ends, converged=model.converged_),
                caption="Objective after every sweep above its last value; ticks: where short runs from the other "
                "starts ended."),
    ]  # fmt: skip


def _composition(result: Any) -> list[Section]:
    """Say what the components hold of each element."""
    if getattr(result, "percentages", None) is None:
        return []
    table: list[tuple[object, object]] = [
        (f"component {q}, {line}", f"{at} ± {a} at.%, {wt} ± {w} wt.%, limit {limit} at.%")
        for q, line, at, a, wt, w, limit in result.percentages.rows()[1:]
    ]
    return [
        Section("Composition", table=table, text=result.percentages.sentence.partition("\n")[0])
    ]


def _standard_errors(model: Any) -> list[Section]:
    """Say how sure the amounts of known spectra are."""
    if "maps_error_" not in model.learned():
        return []
    return [Section("Fit of the references", table=about_references(model))]


def about_references(model: Any) -> list[tuple[object, object]]:
    """Return the table of a fit of known spectra: amounts with errors, changes, and how well and surely they fit."""
    k, none = model.n_components_, [0.0] * model.n_components_
    table: list[tuple[object, object]] = []
    for name, amounts, errors, shift, width in zip(
        model.names_, *(F.reshape(-1, k).T for F in (model.maps_, model.maps_error_)),
        [*model.shifts_, *none], [*model.widths_, *none], strict=False,
    ):  # fmt: skip
        said = (
            f"mean {_finite(np.mean, amounts):.4g} ± {_finite(_of_mean, errors):.2g}, "
            f"median standard error of a pixel {_finite(np.median, errors):.3g}"
            + (f", moved by {shift:+.3g}" if shift else "")
            + (f", wider by {width:.3g}" if width else "")
        )
        table.append((name, said))
    middle = _finite(np.median, model.chi2_)
    table.append(
        ("Reduced chi-square", "not known" if np.isnan(middle) else f"median {middle:.3g}")
    )
    if model.gain_:
        table.append(("All references stretched by", f"{model.gain_:+.3%}"))
    if len(model.shifts_) > 1:
        off = np.abs(model.correlation_ - np.eye(len(model.shifts_)))
        first, second = np.unravel_index(np.argmax(off), off.shape)
        alike = (
            f"{model.names_[first]} and {model.names_[second]} (cosine {off[first, second]:.3f})"
        )
        table.append(
            ("Condition number of the references", f"{model.condition_:.3g}; most alike {alike}")
        )
    return table


def _of_mean(errors: np.ndarray) -> float:
    """Return the standard error of a mean over pixels, whose errors are independent."""
    return float(np.sqrt(np.sum(errors**2))) / len(errors)


def _finite(middle: Callable[[np.ndarray], Any], values: np.ndarray) -> float:
    """Return the mean or median of what is known of values; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(middle(known)) if known.size else np.nan


def _file_of(data: dict[str, Any]) -> str:
    """Return the name of the file that data came from; the whole path is in what is saved."""
    return Path(data["source"]["path"]).name if data["source"] else "data in memory"


def about_data(data: dict[str, Any]) -> list[tuple[object, object]]:
    """Return the table of what is kept of the data."""
    energy = data["energy"]
    return [
        ("File", _file_of(data)),
        ("Shape", " × ".join(map(str, data["shape"]))),
        ("Type", data["dtype"]),
        (
            "Spectral axis",
            f"{energy['name'] or 'channel'}, {energy['first']:.6g} to {energy['last']:.6g} {energy['units']}".strip(),
        ),
        ("Fingerprint", data["hash"]),
    ]


def _parameters(result: Any) -> list[tuple[object, object]]:
    rows: list[tuple[object, object]] = [("Model", type(result.model).__name__)]
    taken: dict[str, list[str]] = {}
    for role, part in result.model.parts():
        taken.setdefault(role, []).append(_said(part))
    rows += [
        (
            name,
            f"None: {', '.join(taken[name])}" if value is None and name in taken else _said(value),
        )
        for name, value in result.model.get_params(deep=False).items()
    ]
    rows += [(name, f"array of shape {np.shape(value)}") for name, value in result.options.items()]
    return rows


def _named(steps: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the name of every step and its parameters in words; large arrays as their shape."""
    return [
        (
            step["step"].replace("_", " "),
            ", ".join(
                f"{name} = array of shape {tuple(value['shape'])}"
                if isinstance(value, dict) and "shape" in value
                else f"{name} = {value}"
                for name, value in step.items()
                if name != "step"
            ),
        )
        for step in steps
    ]


def _said(value: Any) -> str:
    """Return a parameter as a report shows it: arrays and signals by their shape."""
    if isinstance(value, list | tuple) and value:
        return ", ".join(_said(item) for item in value)
    if is_signal(value):
        value = unwrap(value)
    if isinstance(value, np.ndarray):
        return f"array of shape {value.shape}"
    with config_context(print_changed_only=False):  # parameters that were left as they are, too
        return " ".join(repr(value).split())


def footer(record: dict[str, Any]) -> str:
    """Return when and with what an answer was made."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"Fitted {record['written']}. {versions}."
