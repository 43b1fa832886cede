"""The commands themselves, each as short as the way from a file to an answer allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partialmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from endmember.catalogue import SOLVERS, named, penalties
from endmember.errors import EndmemberError

from .browser import workbench as workbench_command
from .console import Watch, note
from .listing import describe_file
from .options import (
    AmbiguityOption,
    ClosureOption,
    ComponentsOption,
    CropOption,
    CrosscheckOption,
    DispersionOption,
    DriftOption,
    ErrorsOption,
    FileArgument,
    KnownOption,
    LazyOption,
    LossOption,
    MaxIterOption,
    MemoryOption,
    MethodOption,
    MinimumVolumeOption,
    MissingOption,
    OnOption,
    OutputOption,
    OverwriteOption,
    PathComponentsOption,
    RelevanceOption,
    ResumeOption,
    SchedulerOption,
    SeedOption,
    SegmentsOption,
    SignalOption,
    SmoothOption,
    SoftOrthogonalOption,
    SolverOption,
    SparseOption,
    StartsOption,
    TolOption,
    cropped,
    of_method,
    only_with,
)
from .preprocess import BackgroundOption, SpikesOption, screened
from .preprocess import preprocess as preprocess_command
from .targets import beside, check_room, draw, folder_for, keep_result, picture_for, show_where
from .wishes import known_spectra

if TYPE_CHECKING:
    from endmember.signals.result.unmixing import Unmixing

#: A damaged file can ask for any amount of time: reading one ends here, in seconds.
LOAD_SECONDS = 600.0
#: A scheduler that does not answer within this time is taken for absent, in seconds.
_ANSWER_SECONDS = 10
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

    command = partialmethod(typer.Typer.command, cls=_Command)  # type: ignore[assignment]


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
    components: ComponentsOption = None,
    method: MethodOption = "nmf",
    loss: LossOption = "auto",
    crop: CropOption = None,
    missing: MissingOption = None,
    spikes: SpikesOption = False,
    background: BackgroundOption = None,
    signal: SignalOption = None,
    lazy: LazyOption = False,
    memory: MemoryOption = None,
    scheduler: SchedulerOption = None,
    resume: ResumeOption = False,
    output: OutputOption = None,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    sparse: SparseOption = None,
    smooth: SmoothOption = None,
    soft_orthogonal: SoftOrthogonalOption = None,
    relevance: RelevanceOption = False,
    segments: SegmentsOption = None,
    on: OnOption = None,
    drift: DriftOption = None,
    dispersion: DispersionOption = False,
    closure: ClosureOption = False,
    known: KnownOption = None,
    minimum_volume: MinimumVolumeOption = None,
    solver: SolverOption = None,
    starts: StartsOption = 10,
    max_iter: MaxIterOption = 2000,
    tol: TolOption = 1e-6,
    errors: ErrorsOption = False,
    ambiguity: AmbiguityOption = False,
    crosscheck: CrosscheckOption = False,
) -> None:
    """Separate a spectrum image into K pure spectra and their maps, by NMF or another method.

    Ctrl-C ends the fit after the sweep: the best result so far is saved,
    the command says so, and its exit code is 0. Ctrl-C before the fit, or
    pressed twice, keeps nothing: exit code 130.
    """
    taken = of_method(context, method)
    only_with("--lazy", lazy, memory=memory, scheduler=scheduler, resume=resume)
    only_with("--drift 3", drift is not None, dispersion=dispersion)
    folder = folder_for(file, "unmixed", output, overwrite)
    passes = folder.with_name(f"{folder.name}.passes")
    with _session(memory, scheduler):
        import endmember as em
        from endmember.signals.choosing import choose_model
        from endmember.signals.plan import plan
        from endmember.signals.result.unmixing import unmix as run

        image = load_image(file, lazy, signal, missing=missing)
        image = screened(image, crop=crop, spikes=spikes, window=background)
        check_room(folder, image, components or _MOST_SUGGESTED)
        planned = plan(image, components)
        if planned is not None:
            typer.echo(str(planned))
        wishes = penalties(
            closure and "closure" not in taken, sparse=sparse, smooth=smooth, soft_orthogonal=soft_orthogonal,
            relevance=relevance, minimum_volume=minimum_volume,
        )  # fmt: skip
        wishes["spectra"] = known_spectra(known or [], image) + wishes["spectra"]
        own_solver = solver and named(SOLVERS, solver.lower(), f"--solver {solver} is not known")()
        objects = {name: asked or None for name, asked in wishes.items()}
        model, reasons, panel = choose_model(
            image, components, method=method, **{**taken, **objects, "loss": loss, "solver": own_solver}
        )  # fmt: skip
        if drift is not None:
            model = em.Drifting(model, max_shift=drift, dispersion=dispersion)
        if panel is not None:
            typer.echo(panel.sentence)
        with Watch() as watch:
            result = run(
                image, model, callback=watch, reasons=reasons,
                checkpoint=None if planned is None else passes, resume=resume,
            )  # fmt: skip
            watch.finish()
            typer.echo(_summary(result, watch))
            if not result.maps.data.any():
                raise EndmemberError(
                    "nothing is left of any component, so nothing is kept; lower the weights, such as that of --sparse"
                )
            _doubt(result, image, errors=errors, bands=ambiguity, crosscheck=crosscheck)
            keep_result(result, folder, overwrite)


@app.command()
def rank(
    file: FileArgument,
    crop: CropOption = None,
    missing: MissingOption = None,
    signal: SignalOption = None,
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

    panel = judge(load_image(file, lazy, signal, crop, missing), max_rank)
    typer.echo(str(panel))
    draw(panel, picture)


@app.command()
def path(
    file: FileArgument,
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
    crop: CropOption = None,
    missing: MissingOption = None,
    signal: SignalOption = None,
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

    image = load_image(file, False, signal, crop, missing)
    (wish,) = penalties(**{chosen[0]: True})["maps"]
    model, _, _ = choose_model(image, components, random_state=seed, maps=wish)
    along = em.assess.path(model, image, "maps__weight", _WEIGHTS)
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
    result = open_folder(folder)
    result.report(folder / "report.html")
    show_where(result, folder)


def _doubt(result: Any, image: Any, *, errors: bool, bands: bool, crosscheck: bool) -> None:
    """Add errors, bands and the agreement with other methods to a result, and say what they come to.

    What cannot be worked out is noted and left out: the answer itself is there and is kept.
    """
    from endmember.assess.bands import ambiguity
    from endmember.assess.standard_errors import uncertainty

    if errors:
        result.errors = _said(uncertainty, result, image)
    if bands:
        result.bands = _said(ambiguity, result, image)
    if crosscheck:
        _crosscheck(result, image)


def _said(judge: Any, result: Any, image: Any) -> Any:
    try:
        found = judge(result, image)
    except ValueError as refusal:
        note(f"Note: {refusal}")
        return None
    typer.echo(found.sentence)
    return found


def _crosscheck(result: Any, image: Any) -> None:
    from endmember.assess.comparison import compare
    from endmember.signals.choosing import choose_model, choose_models
    from endmember.signals.result.doubts import agreement_of

    k = result.model.n_components_
    plain, _, _ = choose_model(image, k, random_state=getattr(result.model, "random_state", 0))
    others = choose_models(image, plain)
    own = f"{type(result.model).__name__} (this)"
    models = {
        own: result.model,
        **{n: m for n, m in others.items() if repr(m) != repr(result.model)},
    }
    found = compare(image, models, bands=False)
    result.record["agreement"] = agreement_of(found)
    typer.echo(found.sentence)


@contextmanager
def _session(memory: str | None, scheduler: str | None) -> Iterator[None]:
    """Open a session with a limit of memory, on a cluster where one is named."""
    from endmember.factor.data.resources import session

    with ExitStack() as stack:
        if scheduler is not None:
            stack.enter_context(_client(scheduler))
        stack.enter_context(session(memory))
        yield


def _client(scheduler: str) -> Any:
    """Return a client of the cluster at that address."""
    try:
        from distributed import Client
    except ImportError:
        raise EndmemberError(
            "--scheduler needs dask.distributed: pip install distributed"
        ) from None
    try:
        return Client(scheduler, timeout=_ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise EndmemberError(
            f"no Dask scheduler answers at {scheduler} ({error}); start one with 'dask scheduler' "
            "and give the address that it prints"
        ) from error


def load_image(
    file: Path,
    lazy: bool,
    number: int | None,
    windows: Sequence[tuple[float | None, float | None]] | None = None,
    missing: str | None = None,
) -> Any:
    """Read one signal within the limits of time and memory, leave out what is missing, and crop it."""
    from endmember.signals.bridge import load
    from endmember.signals.cropping import leave_out_missing
    from endmember.signals.files.limits import free_memory, guard

    with guard(seconds=LOAD_SECONDS, memory=free_memory()):
        image = load(file, lazy=lazy, signal=number)
    if missing:
        image = leave_out_missing(image)
    return cropped(image, windows)


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
