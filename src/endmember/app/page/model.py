"""The model: how many components, its controls, the live answer of the sketch, and runs on the full data."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np
import panel as pn
from bokeh.events import Tap
from bokeh.models.annotations.geometry import BoxAnnotation, Span
from panel import widgets as w

import endmember as em
from endmember.app.core.choices import METHODS, MOST_COMPONENTS, Choices
from endmember.app.core.live import Picture
from endmember.app.core.regions import KINDS, Region
from endmember.app.core.session import Run, paired
from endmember.app.page.figures import (
    PLAIN,
    LinePlot,
    OverlayPlot,
    SpectrumPlot,
    Tick,
    map_plot,
    wide,
    wrapped,
)
from endmember.app.page.panel import Panel
from endmember.app.server.files import listing
from endmember.catalogue import LOSSES_IN_WORDS, PENALTIES
from endmember.factor.columns import unit_columns
from endmember.factor.data.axis import text_of
from endmember.show.page import palette
from endmember.signals.result.reporting import doubts


class NumberPanel(Panel):
    """The rank panel."""

    title = "Number"

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._ask = w.Button(
            label="How many components?",
            color="primary",
            width=220,
            on_click=lambda _: page.background(
                "Asking every criterion ...", page.session.rank, self._show
            ),
        )
        self._take = w.Button(
            label="Use the suggestion",
            width=180,
            disabled=True,
            on_click=lambda _: page.deliver(self._use),
        )
        self._verdict = pn.pane.Str("", sizing_mode="stretch_width", stylesheets=[PLAIN])
        self._table = pn.pane.DataFrame(
            None,
            width=530,
            index=False,
            justify="left",
            stylesheets=["table td, table th { text-align: left !important; }"],
        )
        self._curve = SpectrumPlot(
            "Above noise (green: what can be defended)", 420, 380, log=True, dots=True
        )
        noise = Span(location=1.0, dimension="width", line_dash="dashed", line_color="#D55E00")
        self._range = BoxAnnotation(fill_color="#009E73", fill_alpha=0.15)
        for part in (noise, self._range):
            self._curve.figure.add_layout(part)
        self._found = wrapped(self._table, wide(self._curve), visible=False)
        self._suggested = 0
        self.layout = pn.Column(
            pn.Row(self._ask, self._take), self._verdict, self._found, sizing_mode="stretch_width"
        )

    def data_changed(self) -> None:
        """Forget what was said of other data."""
        self._take.disabled, self._verdict.object = True, ""
        self._found.visible = False

    def _show(self, report: Any) -> None:
        import pandas as pd

        self._suggested = report.suggested
        low, high = report.range
        self._verdict.object = "\n".join(
            [
                f"{report.suggested} components; "
                + ("no other number" if low == high else f"{low} to {high}")
                + " can be defended.",
                report.sentence,
                *report.warnings,
            ]
        )
        counts = ["" if vote.count is None else str(vote.count) for vote in report.table]
        self._table.object = pd.DataFrame(
            {
                "criterion": [vote.criterion for vote in report.table],
                "components": counts,
                "looks at": [vote.note for vote in report.table],
            }
        )
        shown = report.visibility[:20]
        self._range.update(left=low - 0.4, right=high + 0.4)
        self._curve.show(
            np.arange(1, len(shown) + 1), [shown], ["visibility"], "Component",
            "Times what noise alone may reach (dashed line)",
        )  # fmt: skip
        self._found.visible = True
        self._take.disabled = report.suggested < 1
        self._page.say(report.sentence)

    def _use(self) -> None:
        self._page.panel("Unmix").set_number(self._suggested)
        self._page.say(f"The Unmix panel now asks for {self._suggested} components.")


#: A spectrum that is further than this from the last, in degrees, is another component: a name does not go on to it.
ANOTHER = 30.0
#: Cards of components that are made beyond those that are needed, since the page takes long to take any.
AHEAD = 3
#: How pictures are drawn that belong to what the controls say, and those that do not, once 0.1 s have passed.
CURRENT, STALE = {"opacity": "1"}, {"opacity": "0.3", "transition": "opacity 0.1s linear 0.1s"}


class ModelPanel(Panel):
    """Controls on the left, what comes of them on the right."""

    title = "Unmix"

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._cards: list[Any] = []
        self._known_list = w.CheckBoxGroup(inline=True, margin=(0, 10))
        self._method = w.Select(label="Method", options=list(METHODS), width=280)
        self._method.param.watch(lambda event: self._preset(event.new), "value")
        self._settings = {
            "k": w.IntSlider(label="Components k", start=1, end=MOST_COMPONENTS, value=3, width=280),
            "loss": w.Select(label="Noise", options=list(LOSSES_IN_WORDS), width=280),
            "closure": Tick("Maps sum to one"),
            "way": w.DiscreteSlider(
                label="From maps as pure to spectra as distinct as the data allow", value=None, width=420,
                options={"off": None, **{f"{share} %": share / 100 for share in range(0, 101, 2)}},
                margin=(8, 10, 5, 20),
            ),
        }  # fmt: skip
        self._penalties: dict[str, Any] = {
            name: w.DiscreteSlider(label=row.words, options=list(row.weights), value=0.0, width=280)
            if row.weights
            else Tick(row.words)
            for name, row in PENALTIES.items()
        }
        self._of_a_run = {
            "starts": w.IntInput(label="Starts of a run", value=10, start=1, end=100, width=130),
            "seed": w.IntInput(label="Seed", value=0, start=0, width=130),
        }
        for control in [*self._settings.values(), *self._penalties.values(), self._known_list]:
            control.param.watch(lambda _: self.refresh(), "value")
        self._state = pn.pane.Str("", sizing_mode="stretch_width", stylesheets=[PLAIN])
        self._grid: Any = wrapped()
        self._spectra = SpectrumPlot("Spectra", 300, 370)
        self._map = (
            LinePlot(300, drag=self.point) if page.session.data.is_line else OverlayPlot(self.point)
        )
        self._means, self._misfit, self._along = (
            SpectrumPlot(title, 420, 280)
            for title in ("Mean of data and model", "Mean residual", "Profiles of the maps")
        )
        self._profile, self._after = wide(self._along), wrapped(visible=False)
        self._known: list[tuple[int, np.ndarray]] = []
        self._drawn: Any = None
        self._picture: Picture | None = None
        run = w.Button(
            label="Run on the full data", color="primary", width=280, on_click=lambda _: self._run()
        )
        sliders = [self._penalties[name] for name, row in PENALTIES.items() if row.weights]
        switches = [self._penalties[name] for name, row in PENALTIES.items() if not row.weights]
        left = pn.Column(
            self._method, self._settings["k"], self._settings["loss"], *sliders, self._settings["closure"], *switches,
            pn.Row(*self._of_a_run.values()), run, width=310,
        )  # fmt: skip
        self._pictures = pn.Column(
            wrapped(self.shapes(), self._settings["way"]), wrapped(self._map.pane, wide(self._spectra)),
            self._make_known(), wrapped(wide(self._means), wide(self._misfit), self._profile),
            self._grid, self._after, sizing_mode="stretch_width",
        )  # fmt: skip
        self.layout = pn.Row(
            left, pn.Column(self._state, self._pictures, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )  # fmt: skip

    # What is known --------------------------------------------------------------------------
    def _make_known(self) -> Any:
        """Return the controls that say what is known, and the list of it."""
        self._asked: dict[str, Any] = {
            "component": w.Select(label="Component", width=130),
            "region": w.Select(label="Region", width=130),
            "file": w.Select(
                label="Reference", options=listing(self._page.session.root)[1], width=180
            ),
            "energy": w.FloatInput(label="Onset", value=0.0, width=110),
        }
        deliver, room = self._page.deliver, (26, 5, 5, 5)
        tell = [
            w.Button(
                label=row[0],
                margin=room,
                on_click=lambda _, kind=kind: deliver(lambda: self._add(kind)),
            )
            for kind, row in KINDS.items()
        ]
        component, region, file, energy = self._asked.values()
        self._spectra.figure.on_event(
            Tap, lambda event: deliver(lambda: energy.param.update(value=event.x))
        )
        return pn.Column(
            wrapped(component, region, *tell[:3]), wrapped(file, tell[3], energy, tell[4]), self._known_list,
            sizing_mode="stretch_width",
        )  # fmt: skip

    def _add(self, kind: str) -> None:
        given = {name: control.value for name, control in self._asked.items()}
        if given["region"] is self._region is not None:
            given["region"] = self.keep()
        one, known = self._page.session.constraint(kind, **given), self._known_list
        known.param.update(options={**known.options, one.words: one}, value=[*known.value, one])

    # What is looked at ----------------------------------------------------------------------
    def regions_changed(self) -> None:
        """Take note of other regions."""
        self.pointed(self._region)

    def pointed(self, region: Region | None) -> None:
        """Look at a region that was drawn, and at those that are kept: data, model and what is left there."""
        data, self._region = self._page.session.data, region
        places = [*self._page.session.regions, *([region] if region else [])]
        self._asked["region"].param.update(
            options={one.name: one for one in places}, value=[None, *places][-1]
        )
        self._map.mark(places, data)
        maps, spectra, *_ = self._drawn or (np.zeros(0), None)
        if maps.shape[:-1] != data.whole.shape or "noise" not in vars(data):
            return  # there is no answer for all pixels yet, or nobody has measured the noise
        places = places or [data.whole]
        parts = [maps[one.mask] for one in places]
        model = [part.mean(axis=0) @ spectra for part in parts]
        left = [
            (one.mean - mean) / np.sqrt(np.maximum(data.noise.variance(mean), 1e-300) / len(part))
            for one, mean, part in zip(places, model, parts, strict=True)
        ]
        lines = [one for one in places if one.width]
        self._profile.visible = bool(lines)
        if lines:  # the one that is drawn, or the last that is kept
            seen, names, colours, amounts = self._seen
            position, profiles, label = data.along(lines[-1], seen)
            self._along.show(position, profiles, names, label, amounts, colours=colours)
            self._along.figure.title.text = f"Profiles along {lines[-1].name}"
        names, colours = ([getattr(one, what) for one in places] for what in ("name", "colour"))
        self._means.show(
            data.energy, [*(one.mean for one in places), *model], [*names, *(f"model of {name}" for name in names)],
            data.axis.label, data.quantity, colours=[*colours, *["#222222"] * len(places)],
        )  # fmt: skip
        self._misfit.show(
            data.energy,
            left,
            names,
            data.axis.label,
            "Times the noise of the mean",
            colours=colours,
        )

    def choices(self) -> Choices:
        """Return what the controls say."""
        settings, penalties = (
            {name: getattr(control, "on", control.value) for name, control in controls.items()}
            for controls in (self._settings | self._of_a_run, self._penalties)
        )
        return Choices(penalties=penalties, constraints=tuple(self._known_list.value), **settings)

    def set_number(self, k: int) -> None:
        """Move the slider of k."""
        self._settings["k"].value = min(k, MOST_COMPONENTS)

    def data_changed(self) -> None:
        """Take the noise that suits the data and show a first answer."""
        self._settings["loss"].value = (
            "counts, weighted" if self._page.session.data.is_counts else "constant noise"
        )
        self._after.visible, self._known, self._drawn, self._region = False, [], None, None
        self._known_list.param.update(options={}, value=[])
        self.refresh()

    def _preset(self, method: str) -> None:
        for name, value in METHODS[method].items():
            control = self._penalties[name]
            control.value = [True] * bool(value) if isinstance(control, Tick) else value
        self.refresh()

    def refresh(self) -> None:
        """Ask the sketch for the answer to the choices; the newest wins."""
        live = self._page.session.live
        if live is None:
            return
        choices, data = self.choices(), self._page.session.data
        shown = len(self._drawn[1]) if self._drawn else 0
        last = np.array([spectrum for _, spectrum in self._known[:shown]])
        self._state.object = f"{choices.label}: working ..."
        self._pictures.styles = STALE

        def show(picture: Picture) -> None:
            self._show_picture(picture, choices)

        # The noise is measured off the event loop as well.
        self._page.live.submit(
            lambda ticket: (live.unmix(choices, ticket.show, ticket.check, last), data.noise)[0],
            show, lambda problem: self._state.param.update(object=" ".join(str(problem).split())), show,
        )  # fmt: skip

    def _show_picture(self, picture: Picture, choices: Choices) -> None:
        settled = (
            f"settled, the best of {choices.starts} starts, as in a run"
            if picture.settled
            else "not settled, a run may end elsewhere"
        )
        said = "; ".join(
            filter(None, (settled, picture.left_out, f"after {picture.seconds:.2f} s"))
        )
        self._state.object = (
            f"Live, from a sketch ({picture.stage}): {choices.label}; {said}. {picture.doubts}"
        )
        self._picture, self._after.visible = picture, False
        names = [f"Component {j + 1}" for j in range(choices.k)]
        self.draw(
            picture.maps, picture.spectra, names, "Intensity (unit length)", ahead=picture.stage == "all pixels"
        )  # fmt: skip

    def draw(
        self, maps: np.ndarray, spectra: np.ndarray, names: Sequence[str] | None, quantity: str, ahead: int = 0,
    ) -> None:  # fmt: skip
        """Draw maps (*domain, k) and spectra (k, channels), each where and as its likeness was drawn last.

        Without names they keep the numbers of their order. Pictures of so many more maps ``ahead`` are made, which
        takes longer than all else, and not seen yet.
        """
        self._drawn = maps, spectra, names, quantity
        data, k, (order, looks) = self._page.session.data, len(spectra), self._placed(spectra)
        self._known = [
            *zip(looks, spectra[order], strict=True),
            *((n, one) for n, one in self._known if n not in looks and self._cards[n][0][1].value),
        ]  # what has a name is known again where it comes back
        names = names or [f"Component {j + 1}" for j in order]
        made, needed = len(self._cards), max(*looks, k - 1 + ahead) + 1
        fresh = [
            self._new_card(n)
            for n in range(made, min(needed + AHEAD, MOST_COMPONENTS) * (needed > made))
        ]
        self._cards += fresh
        rows = [self._cards[look][0] for look in looks]
        colours, on = [row[0].value for row in rows], [row[2].on for row in rows]
        names = [row[1].value or name for row, name in zip(rows, names, strict=True)]
        for run in self._page.session.runs:
            if run.result.spectra.data is spectra:  # its files have the names too
                run.result.record["names"] = [names[order.index(j)] for j in range(k)]
        self._asked["component"].options = {
            name if names.count(name) == 1 else f"{name} ({j + 1})": j
            for j, name in enumerate(names)
        }
        images, curves = (maps if maps.ndim == 3 else maps[None])[..., order], spectra[order]
        if self._known_list.value:  # a spectrum that is known has a length of its own
            curves = unit_columns(curves.T).T
        amounts = data.quantity.replace("Intensity", "Amount")
        chosen = [*compress(names, on)], [*compress(colours, on)]
        self._seen = images[..., on], *chosen, amounts
        self._spectra.show(
            data.energy, list(curves[on]), chosen[0], data.axis.label, quantity, colours=chosen[1]
        )  # fmt: skip
        self._map.show(images * on, data, names, amounts, colours)
        shown = {look: j for j, look in enumerate(looks)}
        for n, (_, plot, card) in enumerate(self._cards):
            j = shown.get(n, k - 1)
            if not data.is_line and (n in shown or n >= made):
                plot.show(images[..., j], data, names[j], amounts, [colours[j]])
            # On a line the maps are curves in one picture.
            plot.pane.visible = not data.is_line and on[j]
            card.param.update(visible=n in shown, styles={"order": str(j)})
        if fresh:
            self._grid.extend([card for *_, card in fresh])
        self._pictures.styles = CURRENT
        self.pointed(self._region)

    def _new_card(self, n: int) -> Any:
        """Return the controls of how one component looks (colour, name, whether it is shown), its map, and both."""
        parts = (
            w.ColorPicker(label="Colour", value=palette(MOST_COMPONENTS)[n], width=50),
            w.TextInput(label="Name", width=120),
            Tick("shown", value=[True], margin=(26, 15, 5, 0)),
        )
        for one in parts:
            one.param.watch(lambda _: self._page.deliver(lambda: self.draw(*self._drawn)), "value")
        plot = map_plot(self._page.session.data)
        return parts, plot, pn.Column(pn.Row(*parts), plot.pane)

    def _placed(self, spectra: np.ndarray) -> tuple[list[int], list[int]]:
        """Return in which order spectra are drawn, and with which looks: those of what they resemble most.

        Components that something is known of stay where they are.
        """
        k, known = len(spectra), self._known
        named = [n for n, card in enumerate(self._cards) if card[0][1].value]
        held = {one.component for one in self._known_list.value if one.kind != "onset"} & set(
            range(k)
        )
        own, theirs = ([j for j in range(n) if j not in held] for n in (k, len(known)))
        looks = {j: known[j][0] for j in held if j < len(known)}
        if own and theirs:
            pairs = zip(
                *paired(spectra[own], np.array([known[p][1] for p in theirs]))[::-1], strict=True
            )
            looks |= {
                own[j]: known[theirs[p]][0]
                for p, j in sorted(pairs)
                if known[theirs[p]][0] not in named
                or em.spectral_angle(spectra[own[j]], known[theirs[p]][1]) < ANOTHER
            }
        order = [*(j for j in looks if j not in held), *(j for j in own if j not in looks)]
        for j in sorted(held):
            order.insert(j, j)
        free = iter(sorted(
            (n for n in range(MOST_COMPONENTS) if n not in looks.values()), key=named.__contains__
        ))  # fmt: skip
        return order, [looks[j] if j in looks else next(free) for j in order]

    def _run(self) -> None:
        page, choices = self._page, replace(self.choices(), way=None)
        page.background(
            f"Running {choices.label} ...",
            lambda ticket, state=page.session.state: page.session.fit(choices, ticket, state),
            lambda run: self._keep(run, choices),
        )

    def _keep(self, run: Run, choices: Choices) -> None:
        kept = self._page.session.keep(run)
        self._page.tell("runs_changed")
        self._page.say(
            f"{kept.name} could not be kept on disk ({kept.fitted.unsaved}): take it home in Export."
            if kept.fitted.unsaved
            else f"Kept {kept.name}: see Runs to compare, Export to take it home."
        )
        if choices != self.choices():
            return  # the pictures are those of what the controls say by now
        model = kept.result.model
        end = "converged" if model.converged_ else "not converged"
        self._page.live.cancel()
        self._state.object = (
            f"{kept.name}: {kept.label}; full data, {end} after {model.n_iter_} sweeps, "
            f"{kept.result.record['fit_seconds']:.2f} s, "
            f"optimality {model.optimality_:.1e}{self._from_live(model.components_)}. {' '.join(doubts(model))}"
        )
        self.show_run(kept)

    def _from_live(self, spectra: np.ndarray) -> str:
        """Say how far the spectra of a run lie from those that were shown before."""
        live = self._picture
        if live is None or live.spectra.shape != spectra.shape:
            return ""
        own, theirs = paired(spectra, live.spectra)
        angles = em.spectral_angle(spectra[own], live.spectra[theirs])
        return f", spectra up to {np.max(angles):.1f}° from the live ones"

    def show_run(self, run: Run) -> None:
        """Draw a run with what it leaves unexplained."""
        result, data = run.result, self._page.session.data
        quantity = text_of(result.spectra.metadata.get_item("Signal.quantity", default=""))
        maps, spectra = np.moveaxis(result.maps.data, 0, -1), result.spectra.data
        self.draw(maps, spectra, None, quantity or "Intensity")
        misfit = result.misfit()
        if not len(self._after):
            self._residual = map_plot(data, colours="Cividis256")
            self._course = SpectrumPlot("Convergence", 260, 280, log=True, dots=True)
            self._after[:] = [self._residual.pane, wide(self._course)]
        # The variance is that of the mean over the channels: it is a straight line in the mean.
        level = maps @ np.nanmean(spectra, axis=1)
        by_pixel = np.sqrt(np.maximum(data.noise.variance(level), 1e-300))
        self._residual.show(
            (misfit.map / by_pixel).reshape(data.shape[:2]), data, "Residual, root mean square",
            "Times the noise",
        )  # fmt: skip
        course = np.asarray(result.model.objective_)
        change = np.abs(np.diff(course)) / np.maximum(np.abs(course[1:]), 1e-300)
        self._course.show(
            2 + np.flatnonzero(change > 0), [change[change > 0]], ["change"], "Sweep",
            "Relative change of the objective",
        )  # fmt: skip
        self._after.visible = True
