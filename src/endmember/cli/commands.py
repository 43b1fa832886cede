"""The commands themselves, each as short as the way from a file to an answer allows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from endmember.catalogue import penalties
from endmember.errors import EndmemberError

from .browser import workbench as workbench_command
from .console import Watch
from .doubts import Doubts
from .fitting import Fitting
from .groups import spelled_out
from .lazily import Reading
from .listing import describe_file
from .options import (
    ComponentsOption,
    FileArgument,
    LazyOption,
    OutputOption,
    OverwriteOption,
    PathComponentsOption,
    SeedOption,
    WeightsOption,
)
from .preprocess import Cleaning, screened
from .preprocess import preprocess as preprocess_command
from .source import LOAD_SECONDS, Source
from .targets import (
    beside,
    check_folder,
    check_room,
    draw,
    folder_for,
    keep_result,
    picture_for,
    show_where,
)
from .wishes import Wishes

if TYPE_CHECKING:
    from endmember.signals.result.unmixing import Unmixing

#: Where `endmember demo` leaves its result.
DEMO_FOLDER = Path("endmember-demo")

#: Wishes whose weight ``endmember path`` varies, and the weights.
_PATHS = ("soft_orthogonal", "sparse", "smooth")
_WEIGHTS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
#: Components that the result is reckoned for while their number is not yet known.
_MOST_SUGGESTED = 20


class _Command(TyperCommand):
    """A command that refuses an option given twice where it takes one value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for one in order:
            once = isinstance(one, TyperOption) and not (one.multiple or one.is_flag)
            if once and order.count(one) > 1:
                raise EndmemberError(
                    f"{one.opts[-1]} is given {order.count(one)} times; give it once"
                )
        return super().parse_args(ctx, args)


class _Commands(typer.Typer):
    """Commands of that kind."""

    def command(self, *words: Any, **named: Any) -> Any:
        register = super().command(*words, cls=_Command, **named)
        return lambda command: register(spelled_out(command))


app = _Commands(
    help="Unmix spectrum images: pure spectra and their maps.",
    epilog="Exit code: 0 success, 2 wrong call or wrong input, 1 fault of the program, "
    "130 interrupted with nothing kept. --debug, anywhere in the line, shows the traceback.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        from endmember import __version__

        typer.echo(f"endmember {__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say which version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error and all logging.")
    ] = False,
) -> None:
    """Take the options that stand before a command; ``--debug`` is read before all others."""


@app.command()
def demo() -> None:
    """Unmix a small embedded phantom whose answer is known: the quickest look at what comes out.

    Leaves the result in ./endmember-demo, in place of that of an earlier run.
    """
    import numpy as np

    from endmember import synthetic
    from endmember.factor.matching import match_components, spectral_angle
    from endmember.methods.nmf import NMF
    from endmember.signals.result.folders import refuse_strange

    refuse_strange(DEMO_FOLDER)
    check_folder(Path.cwd(), "go to a folder of your own")
    phantom = synthetic.mixed_phases()
    ny, nx, k = phantom.maps.shape
    channels = phantom.energy.size
    typer.echo(f"Phantom: {k} phases, {ny} x {nx} pixels, {channels} channels of EELS counts")
    from endmember.signals.result.unmixing import unmix

    with Watch() as watch:
        result = unmix(phantom.signal, NMF(k, random_state=0), callback=watch)
        watch.finish()
        spectra = np.asarray(result.spectra.data)
        order = match_components(spectra, phantom.spectra)
        angles = spectral_angle(spectra[order], phantom.spectra)
        typer.echo(_summary(result, watch))
        typer.echo(f"Mean spectral angle to the true spectra: {np.mean(angles):.2f} degrees")
        keep_result(result, DEMO_FOLDER, overwrite=True)


@app.command()
def info(file: FileArgument) -> None:
    """Say what a file holds and which command unmixes it.

    For every signal: shape, axes with units, kind of data, zeros, negative
    values, noise, and the memory that a fit will need.
    """
    from endmember.signals.files.limits import free_memory, guard
    from endmember.signals.files.reading import read_cheaply

    free = free_memory()
    with guard(seconds=LOAD_SECONDS, memory=free):
        signals = read_cheaply(file)
        for line in describe_file(file, signals, free):
            typer.echo(line)


@app.command()
def unmix(
    context: typer.Context,
    file: FileArgument,
    *,
    components: ComponentsOption = None,
    fitting: Fitting,
    wishes: Wishes,
    source: Source,
    weights: WeightsOption = None,
    cleaning: Cleaning,
    reading: Reading,
    doubts: Doubts,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Separate a spectrum image into K pure spectra and their maps, by NMF or another method.

    Ctrl-C ends the fit after the sweep: the best result so far is saved,
    the command says so, and its exit code is 0. Ctrl-C before the fit, or
    pressed twice, keeps nothing: exit code 130.
    """
    taken = fitting.check(context)
    reading.check()
    folder = folder_for(file, "unmixed", output, overwrite)
    passes = folder.with_name(f"{folder.name}.passes")
    with reading.session():
        from endmember.signals.plan import plan
        from endmember.signals.result.unmixing import unmix as run

        entries = fitting.takes_single_values() and not wishes.relevance
        whole, masks = source.open(file, lazy=reading.lazy, weights=weights)
        image = screened(
            whole, crop=source.crop, missing=source.missing, entries=entries, spikes=cleaning.spikes,
            window=cleaning.background,
        )  # fmt: skip
        check_room(folder, image, components or _MOST_SUGGESTED)
        planned = plan(image, components)
        if planned is not None:
            typer.echo(str(planned))
        asked = wishes.penalties(image, closure="closure" not in taken)
        model, reasons, panel = fitting.model(image, components, taken | asked, masks)
        if panel is not None:
            typer.echo(panel.sentence)
        with Watch() as watch:
            result = run(
                image, model, callback=watch, reasons=reasons, **masks,
                checkpoint=None if planned is None else passes,
                resume=reading.resume and planned is not None,
            )  # fmt: skip
            watch.finish()
            typer.echo(_summary(result, watch))
            if not result.maps.data.any():
                raise EndmemberError(
                    "nothing is left of any component, so nothing is kept; lower the weights, such as that of --sparse"
                )
            doubts.add_to(result, image)
            keep_result(result, folder, overwrite)


@app.command()
def rank(
    file: FileArgument,
    source: Source,
    lazy: LazyOption = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PICTURE",
            help="Where to draw the panel (png, pdf, svg); by default FILE-rank.png beside the "
            "file, or in the current folder where that of the file cannot be written.",
        ),
    ] = None,
    max_rank: Annotated[int, typer.Option(min=1, help="Largest number considered.")] = 20,
) -> None:
    """Say how many components a spectrum image holds, with a range and the reasons."""
    picture = picture_for(output or beside(file, f"{file.stem}-rank.png"))
    from endmember.assess.number import rank as judge

    image, masks = source.read(file, lazy=lazy)
    panel = judge(image, max_rank, **masks)
    typer.echo(str(panel))
    draw(panel, picture)


@app.command()
def path(
    file: FileArgument,
    source: Source,
    components: PathComponentsOption,
    soft_orthogonal: Annotated[
        bool, typer.Option("--soft-orthogonal", help="Vary the weight of maps that overlap little.")
    ] = False,
    sparse: Annotated[
        bool, typer.Option("--sparse", help="Vary the weight of sparse maps.")
    ] = False,
    smooth: Annotated[
        bool, typer.Option("--smooth", help="Vary the weight of smooth maps.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PICTURE",
            help="Where to draw it (png, pdf, svg); by default FILE-path.png beside the file.",
        ),
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Say how strong a wish about the maps the data bear: misfit, overlap and movement along its weight."""
    chosen = [
        name for name, on in zip(_PATHS, (soft_orthogonal, sparse, smooth), strict=True) if on
    ]
    if len(chosen) != 1:
        raise EndmemberError(
            "say which weight to vary: one of --soft-orthogonal, --sparse, --smooth"
        )
    picture = picture_for(output or beside(file, f"{file.stem}-path.png"))
    import endmember as em
    from endmember.signals.choosing import choose_model

    image, masks = source.read(file)
    (wish,) = penalties(False, (), **{chosen[0]: True})["maps"]
    model, _, _ = choose_model(image, components, random_state=seed, maps=wish, **masks)
    along = em.assess.path(model, image, "maps__weight", _WEIGHTS, **masks)
    typer.echo(along.sentence)
    typer.echo("weight    misfit  overlap  movement")
    for row in zip(along.values, along.misfit, along.overlap, along.angles, strict=True):
        typer.echo("{:<8g} {:7.2f} {:8.2f} {:8.1f}°".format(*row))
    draw(along, picture)


app.command()(preprocess_command)
app.command()(workbench_command)


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A result, as 'endmember unmix' leaves it.")
    ],
) -> None:
    """Write report.html and components.png of a saved result anew."""
    from endmember.signals.result.folders import existing
    from endmember.signals.result.unmixing import open_folder

    place = existing(folder)
    folder = folder if place == folder.resolve() else place
    check_folder(folder, "copy the result to a folder of your own")
    result = open_folder(folder)
    result.report(folder / "report.html")
    show_where(result, folder)


def _summary(result: Unmixing, watch: Watch) -> str:
    """Say in one line what the fit came to."""
    model = result.model
    components = _number_of(model.n_components_)
    if watch.stopped:
        return (
            f"{components}, stopped by you after {watch.sweeps} sweeps: "
            "the best result so far is kept"
        )
    if "n_iter_" not in model.learned():
        signed = "; they have signs and are no pure spectra" if model.signed else ""
        return f"{components} by {type(model).__name__}{signed}"
    end = "converged" if model.converged_ else "not converged"
    return f"{components} after {model.n_iter_} sweeps, {end}, optimality {model.optimality_:.1e}"


def _number_of(components: int) -> str:
    return f"{components} component{'s' if components > 1 else ''}"
