"""The options of the commands: what each is called, what it says of itself."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from endmember.catalogue import METHODS, PARAMETERS, named
from endmember.errors import EndmemberError


class Factor(StrEnum):
    """What a model is made of."""

    MAPS = "maps"
    SPECTRA = "spectra"


def parse_window(
    text: str | None, option: str = "--crop"
) -> tuple[float | None, float | None] | None:
    """Read ``450:700``; an end that is left out is None.

    Examples
    --------
    >>> parse_window("450:700"), parse_window("-20:"), parse_window(None)
    ((450.0, 700.0), (-20.0, None), None)
    """
    if text is None:
        return None
    try:
        start, stop = (float(end) if end.strip() else None for end in text.split(":"))
    except ValueError:
        raise EndmemberError(
            f"{option} {text!r} is no window; give two numbers in the unit of the axis with a "
            f"colon between them, for example {option} 450:700"
        ) from None
    return start, stop


def cropped(image: Any, windows: Sequence[tuple[float | None, float | None]] | None) -> Any:
    """Return an image with what lies in one of the windows, all of it where there is none."""
    from endmember.signals.cropping import crop_energy, crop_windows

    if windows and len(windows) > 1:
        return crop_windows(image, windows)
    return crop_energy(image, *windows[0]) if windows else image


def only_with(other: str, present: Any, **options: Any) -> None:
    """Refuse options that have no effect without another one.

    Examples
    --------
    >>> only_with("--lazy", False, memory=None, resume=True)
    Traceback (most recent call last):
    endmember.errors.EndmemberError: --resume: no effect without another option; add --lazy
    """
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if given and not present:
        raise EndmemberError(f"{', '.join(given)}: no effect without another option; add {other}")


def of_method(context: typer.Context, method: str) -> dict[str, Any]:
    """Return what was given for a method, by the names of its parameters, and its seed in any case.

    Parameters
    ----------
    context : typer.Context
        Of the command.
    method : one of ``catalogue.METHODS``

    Raises
    ------
    ValueError
        If an option was given that is no parameter of the method.
    """
    takes = named(METHODS, method, "method")().get_params(deep=False)
    parameters = {o: o if o in takes else name for o, name in PARAMETERS.items()}
    given = [one for one in parameters if is_given(context, one)]
    needless = [f"--{one.replace('_', '-')}" for one in given if parameters[one] not in takes]
    if needless:
        raise EndmemberError(
            f"--method {method} takes no {' and no '.join(needless)}; leave it out"
        )
    found = {parameters[one]: context.params[one] for one in [*given, "seed"]}
    return {name: value for name, value in found.items() if name in takes}


def is_given(context: typer.Context, option: str) -> bool:
    """Tell whether an option stands on the command line, if only at its default."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A dm3/dm4, hspy, zspy, bcf, emd, rpl … file.")
]
SignalOption = Annotated[
    int | None,
    typer.Option("--signal", min=0, help="Which signal of the file, as 'endmember info' counts."),
]
CropOption = Annotated[
    list[Any] | None,
    typer.Option(
        parser=str,
        callback=lambda texts: [parse_window(text) for text in texts or []],
        help="Use this window of the spectral axis alone, in the unit of the axis; either end may "
        "be left out. Several windows, one option each, are used together.",
        metavar="START:STOP",
    ),
]
MissingOption = Annotated[
    Literal["leave-out"] | None,
    typer.Option(
        "--missing",
        help="Leave out values that are NaN or infinite: these alone where the fit can do without them, else "
        "the spectra that hold them; what is left out is said.",
    ),
]
MaskOption = Annotated[
    Path | None,
    typer.Option(
        help="Leave out the pixels where the array or picture of FILE (npy, hspy, tif, png …) is not zero.",
        metavar="FILE",
    ),
]
ChannelMaskOption = Annotated[
    Path | None,
    typer.Option(
        "--channel-mask",
        help="Leave out the channels where FILE, one number a channel before any --crop, is not zero.",
        metavar="FILE",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        help="Weigh every value by that of FILE, which has the shape of the data before any --crop; 0 leaves "
        "it out. With --loss squared or poisson.",
        metavar="FILE",
    ),
]
FreeOption = Annotated[
    list[Factor] | None,
    typer.Option(help="Let maps or spectra be negative; may be given for both."),
]
LazyOption = Annotated[
    bool, typer.Option("--lazy", help="Leave the data on disk and read them piece by piece.")
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        help="What lazy data may take in memory while they are read, besides the program itself.",
        metavar="1GB",
    ),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        help="Read and multiply on the Dask cluster that listens there.", metavar="tcp://HOST:PORT"
    ),
]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume", help="Go on from the last pass of a lazy fit that was interrupted."),
]
ComponentsOption = Annotated[
    int | None,
    typer.Option(
        "-k",
        "--components",
        min=1,
        help="How many pure spectra to look for; the suggestion of 'endmember rank' unless given.",
    ),
]
MethodOption = Annotated[
    str,
    typer.Option(
        help="How to unmix: nmf (non-negative matrix factorisation), vca, spa, nfindr (pure pixels), sss "
        "(pure spectra without pure pixels), pca, ica (principal, independent components), cp (a series of "
        "spectrum images, such as tilts). Solver and wishes are of nmf alone.",
    ),
]
SegmentsOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="With vca: search in about N tiles of the image, for rare phases.", metavar="N"
    ),
]
OnOption = Annotated[
    str | None,
    typer.Option(
        help="With sss: sample spectra (each has a peak of its own) or maps (each is alone somewhere).",
        metavar="spectra|maps",
    ),
]
LossOption = Annotated[
    str,
    typer.Option(
        help="What noise to allow for: squared (constant), scaled (counts, by weights), poisson "
        "(counts, exactly), or auto (scaled for counts, poisson for few of them, else squared).",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Where to save; by default FILE-unmixed beside the file, or in the current "
        "folder where that of the file cannot be written.",
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the random starts.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier result in FOLDER.")
]
SparseOption = Annotated[
    float | None,
    typer.Option(help="Weight of sparse maps (0.01 is little, 1 empties them).", metavar="W"),
]
SmoothOption = Annotated[
    float | None, typer.Option(help="Weight of smooth maps (0.1 is little).", metavar="W")
]
SoftOrthogonalOption = Annotated[
    float | None,
    typer.Option(
        help="Weight of maps that overlap little (0.01 suits phases in separate places; "
        "'endmember path' says what the data bear).",
        metavar="W",
    ),
]
RelevanceOption = Annotated[
    bool,
    typer.Option(
        "--relevance", help="Keep only as many of the K components as the data bear (ARD)."
    ),
]
ClosureOption = Annotated[bool, typer.Option("--closure", help="Maps sum to one in every pixel.")]
KnownOption = Annotated[
    list[str] | None,
    typer.Option(
        help="The spectrum of component N is that of FILE; may be given several times.",
        metavar="N=FILE",
    ),
]
MinimumVolumeOption = Annotated[
    float | None,
    typer.Option(
        help="Weight of spectra as alike as the data allow, for data without pure pixels. The maps are scaled "
        "to sum to one, unless --sparse, --smooth or --relevance decides on their scale.",
        metavar="W",
    ),
]
DriftOption = Annotated[
    float | None,
    typer.Option(
        help="Let the energy axis drift from pixel to pixel by up to CHANNELS, and find the shifts "
        "along with the spectra.",
        metavar="CHANNELS",
    ),
]
DispersionOption = Annotated[
    bool,
    typer.Option(
        "--dispersion",
        help="With --drift or --align: let the energy per channel change from pixel to pixel as well.",
    ),
]
SolverOption = Annotated[
    str | None, typer.Option(help="anls, hals, als, mals, newton, multiplicativeupdate, admm.")
]
StartsOption = Annotated[int, typer.Option(min=1, help="How many random starts to try.")]
MaxIterOption = Annotated[int, typer.Option(min=1, help="Most sweeps of one start.")]
TolOption = Annotated[
    float, typer.Option(min=0, help="Stop when a sweep improves the fit by less (relative).")
]
PathComponentsOption = Annotated[
    int, typer.Option("-k", "--components", min=1, help="How many pure spectra to look for.")
]
ErrorsOption = Annotated[
    bool,
    typer.Option("--errors", help="Standard errors of maps and spectra, in report and folder."),
]
AmbiguityOption = Annotated[
    bool,
    typer.Option(
        "--ambiguity", help="Bands of all spectra and maps that fit as well, in report and folder."
    ),
]
CrosscheckOption = Annotated[
    bool,
    typer.Option("--crosscheck", help="Fit other methods too and say where they agree."),
]
