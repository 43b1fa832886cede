"""The commands themselves, each as short as the way from a file to an answer allows."""

import importlib.util
import re
from pathlib import Path
from typing import Annotated, Any

import typer

import endmember as em
from endmember import signals
from endmember.catalogue import penalties
from endmember.errors import EndmemberError, refuse_if
from endmember.signals.result.folders import existing, refuse_foreign

from .console import Watch, note
from .groups import Doubts, Fitting, Penalties, Varied
from .options import (
    LOAD_SECONDS,
    AxisOption,
    ComponentsOption,
    CropOption,
    FileArgument,
    FilesArgument,
    LazyOption,
    NumberOption,
    OutputOption,
    OverwriteOption,
    PictureOption,
    ReaderOption,
    Reading,
    SeedOption,
    SignalOption,
    Source,
    WeightsOption,
    dashed,
    only_with,
    reading_of,
)
from .preprocess import Cleaning, screened
from .preprocess import preprocess as preprocess_command
from .program import app
from .targets import (
    check_folder,
    check_room,
    draw,
    folder_for,
    keep_result,
    picture_for,
    refuse_earlier,
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
def info(file: FileArgument, reader: ReaderOption = None, energy_axis: AxisOption = None) -> None:
    """Say what a file holds and which command unmixes it.

    For every signal: shape, axes with units, kind of data, zeros, negative
    values, noise, and the memory that a fit will need.
    """
    from .info import describe_file

    free = signals.free_memory()
    with signals.guard(seconds=LOAD_SECONDS, memory=free):
        told = reading_of(reader, energy_axis)
        for line in describe_file(file, signals.read_cheaply(file, told), free, told):
            typer.echo(line)


@app.command()
def unmix(
    context: typer.Context,
    files: FilesArgument,
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

    Ctrl-C ends the fit and keeps the best so far; twice, nothing.
    """
    from endmember.factor.data import ZERO_PEAK

    parameters = fitting.parameters(context)
    folder = folder_for(files[0], "unmixed", output, overwrite)
    with reading.session():
        if reading.together or len(files) > 1:
            _check_several(files, reading, components, weights, vars(source) | vars(doubts))
            images = [
                screened(source.open(one, lazy=reading.lazy)[0], cleaning, crop=source.crop, missing=source.missing)
                for one in files
            ]  # fmt: skip
            parameters |= known.parameters(images[0], closure="closure" not in parameters)
            model = fitting.model(images[0], components, parameters, {})[0]
            _unmix_images(images, model, folder, overwrite)
            return
        entries = fitting.takes_single_values() and not known.relevance
        whole, masks = source.open(
            files[0], lazy=reading.lazy, weights=weights, exposure=reading.exposure
        )
        image = screened(whole, cleaning, crop=source.crop, missing=source.missing, entries=entries)
        check_room(folder, image, components or _MOST_SUGGESTED)
        planned = _planned(image, components, reading)
        parameters |= known.parameters(image, closure="closure" not in parameters)
        model, reasons, panel = fitting.model(image, components, parameters, masks)
        if ZERO_PEAK in reasons:
            note(ZERO_PEAK)
        if panel is not None:
            typer.echo(panel.sentence)
        passes = folder.with_name(f"{folder.name}.passes") if planned else None
        with Watch() as watch:
            result = signals.unmix_one(
                image, model, callback=watch, reasons=reasons, **masks,
                left_open=fitting.left_open(parameters),
                checkpoint=passes, resume=reading.resume and planned is not None,
            )  # fmt: skip
            watch.conclude(result.model)
            refuse_if(
                not result.maps.data.any(),
                "nothing is left of any component, so nothing is kept; lower the weights, such as that of --sparse",
            )
            if result.sentence:
                typer.echo(result.sentence)
            doubts.add_to(result, image, context.command)
            keep_result(result, folder, overwrite)


def _planned(image: Any, components: int | None, reading: Reading) -> str | None:
    """Say what a fit to lazy data takes; None for data in memory."""
    planned: str | None = signals.plan_in_words(image, components)
    if planned is not None:
        typer.echo(planned)
    elif reading.resume:
        note("Note: --resume has no effect: these data fit into the memory, so no passes are kept.")
    return planned


def _check_several(
    files: list[Path], reading: Reading, components: int | None, weights: Any, given: dict[str, Any]
) -> None:
    """Refuse several files that are not said to be images, and what goes with one image alone."""
    refuse_if(
        not reading.together or len(files) < 2,
        "several files are several images with --together, into one set of spectra; several detectors of one area "
        "go to 'endmember fuse'",
    )
    needless = [
        dashed(name)
        for name, value in {**given, "weights": weights, "exposure": reading.exposure}.items()
        if value and name not in ("crop", "missing", "signal")
    ]
    refuse_if(
        components is None or needless,
        f"--together needs -k, and takes no {' and no '.join(needless) or '--mask'}",
    )


def _unmix_images(images: list[Any], model: Any, folder: Path, overwrite: bool) -> None:
    """Unmix several images into one set of spectra, and keep the answer."""
    with Watch() as watch:
        result = signals.unmix_images(images, model, callback=watch)
        watch.conclude(result.model, f" of {len(images)} images")
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
    refuse_if(
        len(chosen) != 1, f"say which weight to vary: one of {', '.join(map(dashed, vars(varied)))}"
    )
    picture = picture_for(file, "path", output)

    image, masks = source.read(file)
    (penalty,) = penalties(False, (), **{chosen[0]: True})["maps"]
    model, _, _ = signals.choose_model(image, components, random_state=seed, maps=penalty, **masks)
    along = em.assess.path(model, image, "maps__weight", _WEIGHTS, **masks)
    typer.echo(along.sentence)
    typer.echo("weight    misfit  overlap  movement")
    for row in zip(along.values, along.misfit, along.overlap, along.angles, strict=True):
        typer.echo("{:<8g} {:7.2f} {:8.2f} {:8.1f}°".format(*row))
    draw(along, picture)


app.command()(preprocess_command)


WorkspaceOption = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER",
        help="Where every run is kept as it ends; those that are there are offered on the page.",
    ),
]
PublicOption = Annotated[
    str,
    typer.Option(
        "--public-url",
        metavar="URL",
        help="The address at which a proxy shows the page, such as https://lab.example/workbench.",
    ),
]


@app.command()
def workbench(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="What to start with; others are chosen on the page."),
    ] = None,
    signal: SignalOption = None,
    crop: CropOption = None,
    address: Annotated[
        str,
        typer.Option(
            help="The address of this machine to listen on. Any but 127.0.0.1 lets other machines in: "
            "whoever has the whole address with its token reads and writes the files of this folder.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 0,
    upload_limit: Annotated[
        int,
        typer.Option(
            "--upload-limit", min=1, metavar="MB", help="Largest file that may be dropped."
        ),
    ] = 512,
    workspace: WorkspaceOption = Path("endmember-runs"),
    public_url: PublicOption = "",
    show: Annotated[bool, typer.Option("--show", help="Open the page in the web browser.")] = False,
) -> None:
    """Open the workbench in a web browser: look at the data, try models, compare, export.

    Prints the address to open. Files are read from and results written to the
    current folder alone. Ctrl-C ends it.
    """
    only_with("a FILE", file, signal=signal is not None, crop=crop)
    _may_start(crop, workspace, public_url)
    from endmember.app.server.server import make_server, make_store, share_memory

    share_memory()
    store = make_store()
    first = None if file is None else _first(file, signal, crop, store)
    try:
        server = make_server(
            Path.cwd(), store, first, address=address, port=port, limit=upload_limit * 2**20, public=public_url,
            workspace=workspace.resolve(),
        )  # fmt: skip
    except OSError as problem:
        raise EndmemberError(
            f"--address {address} --port {port} cannot be listened on ({problem.strerror or problem}); give an "
            "address of this machine, such as 127.0.0.1, and a free port, such as 0"
        ) from problem
    if address not in ("127.0.0.1", "::1"):
        note(
            f"Listening on {address}: other machines can reach this one, unencrypted; whoever has the "
            "address below reads and writes the files of this folder."
        )
    typer.echo(f"Workbench: {server.url}")
    if show:
        # By way of a file: everybody on this machine sees the words that a browser is called with.
        page = store.room / "open.html"
        page.write_text(f'<meta http-equiv="refresh" content="0; url={server.url}">')
        typer.launch(str(page))
    server.serve()


def _may_start(crop: Any, workspace: Path, public_url: str) -> None:
    """Refuse what a workbench cannot start with."""
    refuse_if(
        crop and len(crop) > 1,
        "the workbench starts with one window; give --crop once, or crop on the page",
    )
    refuse_if(
        any(importlib.util.find_spec(name) is None for name in ("panel", "bokeh")),
        "the workbench needs Panel and Bokeh; install them with: pip install panel bokeh",
    )
    check_folder(Path.cwd(), "go to a folder of your own")
    check_folder(workspace, "name another with --workspace")
    refuse_if(
        public_url and not re.match(r"https?://[^/]", public_url),
        f"--public-url {public_url} is no address; give a whole one, such as https://lab.example/workbench",
    )


def _first(file: Path, number: int | None, windows: Any, store: Any) -> Any:
    """Read a file now, so that what is wrong with it is said here, and return what opens it in a session."""
    from endmember.app.core.steps import Step
    from endmember.app.work.scheduler import Ticket

    with signals.guard(seconds=LOAD_SECONDS):
        image = store.open(file, number)
    steps = tuple(
        Step("crop_energy", {"start": start, "stop": stop}) for start, stop in windows or ()
    )
    cropped = store.prepare(Ticket(), image, steps) if steps else image

    def first(session: Any) -> None:
        session.use(image)
        session.settle(steps, cropped)

    return first


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A result, as 'endmember unmix' leaves it.")
    ],
) -> None:
    """Write report.html and components.png of a saved result anew."""
    place = existing(folder)
    folder = folder if place == folder.resolve() else place
    check_folder(folder, "copy the result to a folder of your own")
    result = em.open(folder)
    result.report(folder / "report.html")
    show_where(result, folder)


@app.command()
def export(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A result, as 'endmember unmix' leaves it.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="NAME.csv or NAME.msa (spectra), NAME.tif (maps), NAME.json (all), NAME.pdf, NAME.svg or NAME.png.",
        ),
    ],
    overwrite: OverwriteOption = False,
) -> None:
    """Write spectra, maps or the picture of a saved result as a file that other programs open."""
    refuse_earlier(output, overwrite, "file")
    result = em.open(folder)
    if not isinstance(result, em.Unmixing):
        raise EndmemberError(
            f"{folder} is about several detectors or images, which are not exported together; take maps and spectra "
            "from the folder",
        )
    for file in result.export(output):
        typer.echo(f"Written: {file}")
