"""The commands that take several files or results: ``endmember compare``, ``fuse``, ``correlate`` and ``mlls``."""

from pathlib import Path
from typing import Annotated, Any

import typer

import endmember as em
from endmember import signals
from endmember.errors import Argument, EndmemberError, refuse_if
from endmember.signals.result.folders import replacing

from .console import Watch
from .groups import Sweeps, read_spectrum
from .options import (
    ClosureOption,
    ComponentsOption,
    FileArgument,
    LazyOption,
    LossOption,
    MissingOption,
    NumberOption,
    OutputOption,
    OverwriteOption,
    PictureOption,
    SeedOption,
    Source,
    WeightsOption,
    narrowed,
    open_image,
)
from .program import app
from .targets import beside, check_room, draw, folder_for, keep_result, picture_for

#: What may relate two signals, by what the command line calls it.
_METHODS = {"pls": "PLS", "cca": "CCA"}


@app.command()
def compare(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE | A/ B/",
            help="A file with a spectrum image, or two results of 'endmember unmix'.",
        ),
    ],
    *,
    components: ComponentsOption = None,
    source: Source,
    output: PictureOption = None,
    seed: SeedOption = 0,
    bands: Annotated[
        bool, typer.Option(help="Ask what else fits as well as the plain factorisation.")
    ] = True,
) -> None:
    """Say where several methods agree on a spectrum image, or what differs between two results.

    A file is unmixed by NMF, NMF with soft orthogonality, vertex component analysis and subspace
    sampling, counts by Poisson NMF too: methods that assume different things.
    """
    refuse_if(
        len(places) > 2 or (len(places) == 2 and any(place.is_file() for place in places)),
        "give one file, or the folders of two results",
    )
    first, *others = places
    refuse_if(
        not others and first.is_dir(),
        f"{first} is a folder; give the folder of a second result beside it, or a file",
    )
    refuse_if(
        others and (components is not None or source.given() or seed or not bands),
        "-k, --crop, --missing, --mask, --channel-mask, --signal, --seed and --no-bands go with a file, "
        "not with two results",
    )
    if others:
        _compare_results(first, others[0], output)
        return

    picture = picture_for(first, "compare", output)
    image, masks = source.read(first)
    model, _, panel = signals.choose_model(image, components, random_state=seed, **masks)
    if panel is not None:
        typer.echo(panel.sentence)
    found = em.compare(image, signals.choose_models(image, model), bands=bands, **masks)
    typer.echo(str(found))
    draw(found, picture)


def _compare_results(first: Path, second: Path, output: Path | None) -> None:

    names: Any = (first.name or str(first), second.name or str(second))
    if names[0] == names[1]:
        names = (str(first), str(second))
    name = f"{first.resolve().name}-{second.resolve().name}-compare.png"
    picture = picture_for(first, "compare", output or beside(first, name))
    found = signals.differences(em.open(first), em.open(second), names)
    typer.echo(str(found))
    draw(found, picture)


@app.command()
def fuse(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE FILE…", help="One file a detector, of the same pixels."),
    ],
    components: NumberOption,
    weak: Annotated[
        bool,
        typer.Option(
            "--weak",
            help="Let the maps of a detector differ from the shared ones as far as its data demand.",
        ),
    ] = False,
    loss: LossOption = "auto",
    missing: MissingOption = None,
    signal: Annotated[
        list[int] | None,
        typer.Option(
            min=0, metavar="N", help="Which signal of each file, once a file in their order."
        ),
    ] = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    *,
    sweeps: Sweeps,
) -> None:
    """Separate several detectors' data of one area into shared maps and spectra of each detector.

    Every detector counts by the inverse of the variance of its noise, which is
    measured from the data. Ctrl-C ends the fit after the sweep and keeps the
    best result so far.
    """
    refuse_if(
        len(files) < 2,
        "fuse takes at least two files, one a detector; one file goes to 'endmember unmix'",
    )
    refuse_if(
        signal and len(signal) != len(files),
        f"--signal is given {len(signal or ())} times for {len(files)} files; give it once a file",
    )
    numbers: list[Any] = list(signal) if signal else [None] * len(files)
    _refuse_twice(files, numbers, "--signal")

    chosen = None if loss == "auto" else signals.named_loss(loss)
    folder = folder_for(files[0], "fused", output, overwrite)
    images = [_detector(file, number, missing) for file, number in zip(files, numbers, strict=True)]
    model = em.Coupled(
        components, "weak" if weak else "shared", loss=chosen, n_starts=sweeps.starts,
        max_iter=sweeps.max_iter, tol=sweeps.tol, random_state=sweeps.seed,
    )  # fmt: skip
    with Watch() as watch:
        result = signals.unmix_together(images, model, callback=watch)
        weights = ", ".join(f"{weight:.3g}" for weight in result.model.weights_)
        watch.conclude(result.model, f" of {len(result.spectra)} detectors (weights {weights})")
        keep_result(result, folder, overwrite)


def _detector(file: Path, number: int | None, missing: str | None) -> Any:
    """Return the spectra of a detector, or the image beside them that is asked for by its number."""
    found = [] if number is None else signals.read(file)[number:][:1]
    if found and found[0].axes_manager.navigation_dimension == 0 and found[0].data.ndim == 2:
        return found[0]
    return narrowed(open_image(file, False, number), None, missing, entries=True)


@app.command()
def correlate(
    file: FileArgument,
    second: Annotated[
        Path, typer.Argument(metavar="SECOND", help="The other signal of the same pixels.")
    ],
    source: Source,
    components: NumberOption,
    method: Annotated[
        str,
        typer.Option(
            metavar="pls|cca", help="What of FILE predicts SECOND, or what both see alike."
        ),
    ] = "cca",
    second_signal: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Which signal of SECOND.")
    ] = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Find what two signals of the same pixels share, such as EELS and EDXS of one scan.

    Leaves maps.hspy, spectra.hspy (of FILE) and spectra_2.hspy (of SECOND) in a folder, with a
    picture. Components have signs and are no pure spectra.
    """
    refuse_if(
        method not in _METHODS, f"--method {method} is not known; allowed: {', '.join(_METHODS)}"
    )
    _refuse_twice([file, second], [source.signal, second_signal], "--second-signal")
    folder = folder_for(file, method, output, overwrite)
    first, masks = source.read(file)
    try:
        whole = open_image(second, False, second_signal)
    except EndmemberError as refusal:
        for word in refusal.args:
            if isinstance(word, Argument) and word.name == "signal":
                word.name = "second_signal"
        raise
    other = narrowed(whole, None, source.missing, entries=False)
    model = getattr(em, _METHODS[method])(components).fit(first, other, **masks)
    for j, value in enumerate(model.correlations_):
        chance = f", by chance with p = {model.p_values_[j]:.1g}" if method == "cca" else ""
        typer.echo(f"Component {j + 1}: correlation {value:.4f}{chance}")
    _save(model, first, other, folder, overwrite)
    typer.echo(f"Picture: {folder / 'components.png'}")


def _save(model: Any, first: Any, other: Any, folder: Path, overwrite: bool) -> None:
    """Write maps and both kinds of spectra, and a picture of the first."""
    from endmember.factor.data.axis import Axis

    with replacing(folder, overwrite) as new:
        spectra = signals.wrap_spectra(model.components_, first, unit=model.unit_of_spectra)
        axis = Axis.of(spectra)
        signals.wrap_maps(model.maps_, first).save(new / "maps.hspy")
        spectra.save(new / "spectra.hspy")
        second = signals.wrap_spectra(model.components_y_, other, unit=model.unit_of_spectra)
        second.save(new / "spectra_2.hspy")
        figure = em.show.components(model, energy=axis.energy, energy_units=axis.units)
        figure.savefig(new / "components.png", dpi=150)


def _change(text: str) -> Any:
    """Return an option for how far references may change."""
    return typer.Option(min=0, metavar="X", help=text)


@app.command()
def mlls(
    file: FileArgument,
    source: Source,
    reference: Annotated[
        list[Path], typer.Option(metavar="FILE", help="A known spectrum; give one for each.")
    ],
    shift: Annotated[float, _change("How far references may move, in the unit of the axis.")] = 0.0,
    broaden: Annotated[
        float, _change("By how much references may be broadened (full width at half maximum).")
    ] = 0.0,
    gain: Annotated[
        float, _change("By which fraction all references may be stretched, such as 0.01.")
    ] = 0.0,
    background: Annotated[
        str | None,
        typer.Option(help="Background to fit too: constant, linear, power-law.", metavar="KIND"),
    ] = None,
    low_loss: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Low loss to convolve references with (plural scattering)."
        ),
    ] = None,
    loss: LossOption = "auto",
    extra: Annotated[
        bool,
        typer.Option(
            "--extra", help="Add one free component if the residual holds more than noise."
        ),
    ] = False,
    closure: ClosureOption = False,
    weights: WeightsOption = None,
    lazy: LazyOption = False,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Fit known spectra to every pixel: maps with standard errors, by multiple linear least squares.

    Says for every reference its mean, error and shift, how alike the references are, and by the
    reduced chi-square how well they explain the data: near 1 is up to the noise.
    """
    folder = folder_for(file, "mlls", output, overwrite)
    image, masks = source.read(file, lazy=lazy, entries=loss != "scaled", weights=weights)
    check_room(folder, image, len(reference) + 5)
    chosen, why = signals.chosen_loss(image, loss, **masks)
    model = em.MLLS(
        [read_spectrum(path) for path in reference],
        loss=chosen, background=background and background.lower(),
        shift=shift, broaden=broaden, gain=gain,
        low_loss=None if low_loss is None else read_spectrum(low_loss, image=True), extra=int(extra),
        maps=em.SumToOne() if closure else None,
    )  # fmt: skip
    result = em.unmix(image, model, reasons=why, **masks)
    for name, said in signals.about_references(result.model):
        typer.echo(f"{name}: {said}")
    keep_result(result, folder, overwrite)


def _refuse_twice(files: list[Path], numbers: list[Any], option: str) -> None:
    """Refuse a signal that is given more than once."""
    given = {(file.resolve(), number) for file, number in zip(files, numbers, strict=True)}
    refuse_if(
        len(given) < len(files),
        f"the same data are given twice; give one file a detector, or with {option} another signal of the file",
    )
