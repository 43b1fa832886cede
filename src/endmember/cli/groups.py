"""Groups of options: which model is fitted and how, what is known of the answer, and how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import endmember as em
from endmember import signals
from endmember.catalogue import (
    METHODS,
    PARAMETERS,
    PENALTIES,
    SOLVERS,
    in_brackets,
    named,
    penalties,
)
from endmember.errors import refuse_if

from .console import Watch, in_options, note
from .options import ClosureOption, DispersionOption, LossOption, SeedOption, dashed, only_with


@dataclass
class Sweeps:
    """Fit."""

    starts: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many random starts to try.")
    ] = 10
    max_iter: Annotated[int, typer.Option(min=1, metavar="N", help="Most sweeps of one start.")] = (
        2000
    )
    tol: Annotated[
        float, typer.Option(min=0, metavar="X", help="Least relative gain of a sweep.")
    ] = 1e-6
    seed: SeedOption = 0


@dataclass
class Fitting(Sweeps):
    """Model and fit."""

    method: Annotated[
        str,
        typer.Option(
            callback=lambda name: name.lower(),
            metavar="NAME",
            help=f"{in_brackets(METHODS)}. Solver and penalties are of nmf alone.",
        ),
    ] = "nmf"
    loss: LossOption = "auto"
    solver: Annotated[str | None, typer.Option(metavar="NAME", help=in_brackets(SOLVERS))] = None
    segments: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="With vca: search N tiles, for rare phases."),
    ] = None
    on: Annotated[
        str | None,
        typer.Option(
            help="With sss: what has a part of its own.",
            metavar="spectra|maps",
        ),
    ] = None
    drift: Annotated[
        float | None,
        typer.Option(
            help="Find the drift of the energy axis, up to CHANNELS.",
            metavar="CHANNELS",
        ),
    ] = None
    dispersion: DispersionOption = False
    assume: Annotated[
        str,
        typer.Option(
            callback=lambda name: name.lower().replace("-", "_"),
            help="pure-maps or distinct-spectra: which end, where both fit.",
            metavar="END",
            show_default=False,
        ),
    ] = "pure_maps"

    def parameters(self, context: typer.Context) -> dict[str, Any]:
        """Return what was given for the method, by the names of its parameters, and its seed in any case.

        Raises
        ------
        ValueError
            If there is no such method, or an option was given that has no effect on it.
        """
        only_with("--drift 3", self.drift is not None, dispersion=self.dispersion)
        takes = named(METHODS, self.method, "method")().get_params(deep=False)
        names = {option: option if option in takes else name for option, name in PARAMETERS.items()}
        sources = {one: context.get_parameter_source(one) for one in names}
        given = [one for one, source in sources.items() if source and source.name == "COMMANDLINE"]
        needless = [dashed(one) for one in given if names[one] not in takes]
        refuse_if(
            needless, f"--method {self.method} takes no {' and no '.join(needless)}; leave it out"
        )
        found = {names[one]: context.params[one] for one in [*given, "seed"]}
        return {name: value for name, value in found.items() if name in takes}

    def takes_single_values(self) -> bool:
        """Tell whether single values can be missing, without the spectra that hold them."""
        return self.loss != "scaled" and named(METHODS, self.method, "method").takes_weights

    def left_open(self, parameters: dict[str, Any]) -> bool:
        """Tell whether it is for the data to say which model is fitted, but for the number of components."""
        chosen = (self.solver, self.drift, parameters["maps"], parameters["spectra"])
        return self.method == "nmf" and self.loss == "auto" and not any(chosen)

    def model(
        self, image: Any, components: int | None, parameters: dict[str, Any], masks: dict[str, Any]
    ) -> tuple[Any, list[str], Any]:
        """Return the model with these parameters, the reasons for it, and the rank panel where that was asked."""
        solver = self.solver and named(SOLVERS, self.solver.lower(), "solver")
        own = {"loss": self.loss, "solver": solver and solver()}
        model, reasons, panel = signals.choose_model(
            image, components, method=self.method, assume=self.assume, **masks, **(parameters | own)
        )
        if self.drift is not None:
            model = em.Drifting(model, max_shift=self.drift, dispersion=self.dispersion)
        return model, reasons, panel


class Part(StrEnum):
    """What a model is made of."""

    MAPS = "maps"
    SPECTRA = "spectra"


def weight_of(text: str) -> float | str:
    """Return the weight that a text says: a number, or "auto", which lets the data choose."""
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is neither a number nor auto") from None


def _option(name: str, help: str, weight: bool) -> tuple[str, Any, Any]:
    """Return an option of a penalty, as a field: a weight, or whether something is on."""
    if weight:
        option = typer.Option(help=help, metavar="W|auto", parser=weight_of)
        return name, Annotated[Any | None, option], None
    return name, Annotated[bool, typer.Option(dashed(name), help=help)], False


_Weights: Any = make_dataclass(
    "_Weights", [_option(name, row.help, bool(row.weights)) for name, row in PENALTIES.items()]
)
_OfMaps: Any = make_dataclass(
    "_OfMaps",
    [
        _option(name, f"Vary the {row.help[0].lower()}{row.help[1:]}", False)
        for name, row in PENALTIES.items()
        if row.weights and row.factor == "maps"
    ],
)


@dataclass
class Varied(_OfMaps):
    """Weight to vary."""


@dataclass
class Penalties(_Weights):
    """Maps and spectra."""

    closure: ClosureOption = False
    known: Annotated[
        list[str] | None,
        typer.Option(
            help="Component N has the spectrum of FILE; repeatable.",
            metavar="N=FILE",
        ),
    ] = None
    free: Annotated[
        list[Part] | None,
        typer.Option(metavar="maps|spectra", help="Let them be negative; may be given for both."),
    ] = None

    elements: Annotated[
        str | None,
        typer.Option(
            help="X-ray lines of these elements and a continuum make up the spectra, or edges (O_K,Mn_L); auto "
            "adds what is found. Without a penalty zeros are tested.",
            metavar="Fe,Pt,O|auto",
        ),
    ] = None

    def parameters(self, image: Any, *, closure: bool = True) -> dict[str, list[Any] | None]:
        """Return them as the parameters ``maps`` and ``spectra`` of a model, None for none.

        Parameters
        ----------
        image : HyperSpy signal
            Whose energies known spectra are brought to.
        closure : bool
            Whether a closure is a penalty; some methods have a parameter for it.

        Raises
        ------
        ValueError
            If a known spectrum is none, or two penalties contradict each other.
        """
        refuse_if(
            self.known and self.minimum_volume is not None,
            "--known fixes the scale of its spectra, and --minimum-volume chooses that of all; leave one of "
            "them out, or take --closure instead of --minimum-volume",
        )
        weights = {name: getattr(self, name) for name in PENALTIES}
        asked = penalties(self.closure and closure, self.free or (), **weights)
        asked["spectra"] = known_spectra(self.known or [], image) + asked["spectra"]
        if self.elements is not None:
            losses = image.metadata.get_item("Signal.signal_type", default="") == "EELS"
            refuse_if(
                losses and self.elements == "auto",
                "--elements auto is about X-rays; name the K and L edges of these energy losses, such as --elements "
                "O_K,Mn_L, and --crop the axis below all other edges",
            )
            elements = "auto" if self.elements == "auto" else self.elements.split(",")
            asked["spectra"].append((em.CoreLossEdges if losses else em.XRayLines)(elements))
            asked["maps"] = asked["maps"] or [em.Absent("auto")]
        return {part: chosen or None for part, chosen in asked.items()}


def known_spectra(texts: Sequence[str], image: Any) -> list[Any]:
    """Return the penalty for what ``N=FILE`` says, with N counted from 1, at the energies of an image; none for none.

    Raises
    ------
    ValueError
        If a text is not of that form, or its file holds no single spectrum that covers the image.
    """
    from endmember.factor.data.axis import Axis
    from endmember.methods.standards import standards

    axis, known = Axis.of(image), {}
    for text in texts:
        number, _, path = text.partition("=")
        refuse_if(
            not number.strip().isdigit() or int(number) < 1 or not path,
            f"--known {text!r} is not N=FILE, such as --known 1=oxide.msa with 1 the first component",
        )
        refuse_if(
            int(number) - 1 in known,
            f"--known names component {int(number)} twice; give it one spectrum",
        )
        (standard,) = standards([read_spectrum(Path(path))], axis)
        known[int(number) - 1] = standard.at(axis.energy, axis.step)
    return [em.Known(known)] if known else []


def read_spectrum(path: Path, *, image: bool = False) -> Any:
    """Return the only single spectrum of a file, titled with the name of the file, or the only signal of spectra.

    Raises
    ------
    ValueError
        If the file holds none, or more.
    """
    found = [
        one
        for one in signals.read(path)
        if one.axes_manager.signal_dimension == 1
        and (image or one.axes_manager.navigation_size <= 1)
    ]
    what = "signals of spectra and a low loss" if image else "single spectra and a reference"
    refuse_if(
        len(found) != 1, f"{path} holds {len(found)} {what} is one; give a file with just that"
    )
    if not image:
        found[0].metadata.set_item("General.title", path.stem)
    return found[0]


@dataclass
class Doubts:
    """How sure it is."""

    errors: Annotated[
        bool, typer.Option("--errors", help="Standard errors of maps and spectra, in the report.")
    ] = False
    ambiguity: Annotated[
        bool,
        typer.Option(
            "--ambiguity", help="Bands of all spectra and maps that fit as well, in the report."
        ),
    ] = False
    recurrence: Annotated[
        bool,
        typer.Option(
            "--recurrence", help="How often each comes back where pixels are drawn anew (slow)."
        ),
    ] = False
    anomalies: Annotated[
        bool,
        typer.Option("--anomalies", help="Pixels that are no mixture of the components, as a map."),
    ] = False
    quantify: Annotated[
        bool,
        typer.Option("--quantify", help="With --elements: per cent of each, in composition.csv."),
    ] = False
    crosscheck: Annotated[
        bool, typer.Option("--crosscheck", help="Fit other methods too and say where they agree.")
    ] = False

    def add_to(self, result: Any, image: Any, command: Any) -> None:
        """Add errors, bands and the agreement with other methods to a result, and say what they come to.

        What cannot be worked out is noted, in the options of the command, and left out: the answer itself is there
        and is kept.
        """
        asked: dict[str, Any] = {
            "errors": self.errors and em.assess.uncertainty,
            "bands": self.ambiguity and em.assess.ambiguity,
            "recurrence": self.recurrence and _recurring,
            "anomalies": self.anomalies and em.assess.anomalies,
            "percentages": self.quantify and em.assess.composition,
            "comparison": self.crosscheck and _compared,
        }
        for name, judge in asked.items():
            if judge:
                _judge(result, image, name, judge, command)


def _judge(result: Any, image: Any, name: str, judge: Any, command: Any) -> None:
    """Add what a judge finds to a result and say it, or note why it finds nothing."""
    try:
        found = judge(result, image)
    except ValueError as refusal:
        note(f"Note: {in_options(refusal, command)}")
    else:
        typer.echo(in_options(found.sentence, command))
        setattr(result, name, found)


def _recurring(result: Any, image: Any) -> Any:
    """Draw pixels anew, and show how far that is."""
    with Watch() as watch:
        return em.assess.recurrence(result, image, callback=watch)


def _compared(result: Any, image: Any) -> Any:
    """Fit other methods to the same pixels and channels."""
    own, options = result.model, result.options
    seed = getattr(own, "random_state", 0)
    plain, _, _ = signals.choose_model(image, own.n_components_, random_state=seed, **options)
    others = signals.choose_models(image, plain).items()
    models = {f"{type(own).__name__} (this)": own}
    models |= {name: model for name, model in others if repr(model) != repr(own)}
    return em.compare(image, models, bands=False, **options)
