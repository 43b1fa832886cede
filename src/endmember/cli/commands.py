"""The commands themselves, each as short as the way from a file to an answer allows."""

from pathlib import Path
from typing import Annotated, Any

import typer

import endmember as em
from endmember.catalogue import penalties
from endmember.errors import EndmemberError

from .browser import workbench as workbench_command
from .console import Watch
from .groups import Doubts, Fitting, Penalties, Varied
from .options import (
    ComponentsOption,
    FileArgument,
    LazyOption,
    NumberOption,
    OutputOption,
    OverwriteOption,
    PictureOption,
    SeedOption,
    WeightsOption,
    dashed,
)
from .preprocess import Cleaning, screened
from .preprocess import preprocess as preprocess_command
from .program import app
from .source import LOAD_SECONDS, Reading, Source
from .targets import (
    check_folder,
    check_room,
    draw,
    folder_for,
    keep_result,
    picture_for,
    show_where,
)

#: Where `endmember demo` leaves its result.
DEMO_FOLDER = Path("endmember-demo")

#: The weights that ``endmember path`` goes along.
_WEIGHTS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
#: Components that the result is reckoned for while their number is not yet known.
_MOST_SUGGESTED = 20


@app.command()
def demo() -> None:
    """Unmix a small embedded phantom whose answer is known: the quickest look at what comes out.

    Leaves the result in ./endmember-demo, in place of that of an earlier run.
    """
    from endmember.signals.result.folders import refuse_foreign

    refuse_foreign(DEMO_FOLDER)
    check_folder(Path.cwd(), "go to a folder of your own")
    phantom = em.synthetic.mixed_phases()
    ny, nx, k = phantom.maps.shape
    channels = phantom.energy.size
    typer.echo(f"Phantom: {k} phases, {ny} x {nx} pixels, {channels} channels of EELS counts")
    with Watch() as watch:
        result: Any = em.unmix(phantom.signal, em.NMF(k, random_state=0), callback=watch)
        watch.conclude(result.model)
        spectra = result.spectra.data
        order = em.match_components(spectra, phantom.spectra)
        angles: Any = em.spectral_angle(spectra[order], phantom.spectra)
        typer.echo(f"Mean spectral angle to the true spectra: {angles.mean():.2f} degrees")
        keep_result(result, DEMO_FOLDER, overwrite=True)


@app.command()
def info(file: FileArgument) -> None:
    """Say what a file holds and which command unmixes it.

    For every signal: shape, axes with units, kind of data, zeros, negative
    values, noise, and the memory that a fit will need.
    """
    from endmember.signals.files.limits import free_memory, guard
    from endmember.signals.files.reading import read_cheaply

    from .info import describe_file

    free = free_memory()
    with guard(seconds=LOAD_SECONDS, memory=free):
        for line in describe_file(file, read_cheaply(file), free):
            typer.echo(line)


@app.command()
def unmix(
    context: typer.Context,
    file: FileArgument,
    *,
    components: ComponentsOption = None,
    fitting: Fitting,
    known: Penalties,
    source: Source,
    weights: WeightsOption = None,
    cleaning: Cleaning,
    reading: Reading,
    doubts: Doubts,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Separate a spectrum image into K pure spectra and their maps, by NMF or another method.

    Ctrl-C ends the fit after the sweep and keeps the best result so far; before the fit, or pressed
    twice, it keeps nothing: exit code 130.
    """
    parameters = fitting.parameters(context)
    folder = folder_for(file, "unmixed", output, overwrite)
    with reading.session():
        from endmember.signals.plan import plan

        entries = fitting.takes_single_values() and not known.relevance
        whole, masks = source.open(file, lazy=reading.lazy, weights=weights)
        image = screened(whole, cleaning, crop=source.crop, missing=source.missing, entries=entries)
        check_room(folder, image, components or _MOST_SUGGESTED)
        planned = plan(image, components)
        if planned is not None:
            typer.echo(str(planned))
        parameters |= known.parameters(image, closure="closure" not in parameters)
        model, reasons, panel = fitting.model(image, components, parameters, masks)
        if panel is not None:
            typer.echo(panel.sentence)
        passes = folder.with_name(f"{folder.name}.passes") if planned else None
        with Watch() as watch:
            result = em.unmix(
                image, model, callback=watch, reasons=reasons, **masks,
                checkpoint=passes, resume=reading.resume and planned is not None,
            )  # fmt: skip
            watch.conclude(result.model)
            if not result.maps.data.any():
                raise EndmemberError(
                    "nothing is left of any component, so nothing is kept; lower the weights, such as that of --sparse"
                )
            doubts.add_to(result, image, context.command)
            keep_result(result, folder, overwrite)


@app.command()
def rank(
    file: FileArgument,
    source: Source,
    lazy: LazyOption = False,
    output: PictureOption = None,
    max_rank: Annotated[
        int, typer.Option(min=1, metavar="K", help="Largest number considered.")
    ] = 20,
) -> None:
    """Say how many components a spectrum image holds, with a range and the reasons."""
    picture = picture_for(file, "rank", output)
    image, masks = source.read(file, lazy=lazy)
    panel = em.assess.rank(image, max_rank, **masks)
    typer.echo(str(panel))
    draw(panel, picture)


@app.command()
def path(
    file: FileArgument,
    source: Source,
    components: NumberOption,
    varied: Varied,
    output: PictureOption = None,
    seed: SeedOption = 0,
) -> None:
    """Say how strong a penalty on the maps the data bear: misfit, overlap and movement along its weight."""
    chosen = [name for name, on in vars(varied).items() if on]
    if len(chosen) != 1:
        raise EndmemberError(
            f"say which weight to vary: one of {', '.join(map(dashed, vars(varied)))}"
        )
    picture = picture_for(file, "path", output)
    from endmember.signals.choosing import choose_model

    image, masks = source.read(file)
    (penalty,) = penalties(False, (), **{chosen[0]: True})["maps"]
    model, _, _ = choose_model(image, components, random_state=seed, maps=penalty, **masks)
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

    place = existing(folder)
    folder = folder if place == folder.resolve() else place
    check_folder(folder, "copy the result to a folder of your own")
    result = em.open(folder)
    result.report(folder / "report.html")
    show_where(result, folder)
