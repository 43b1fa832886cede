"""The options that several commands take: what each is called, what it says of itself."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from endmember.catalogue import LOSSES, in_brackets
from endmember.errors import EndmemberError


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
        start = stop = None
    if start is None and stop is None:
        raise EndmemberError(
            f"{option} {text!r} is no window; give two numbers in the unit of the axis with a "
            f"colon between them, for example {option} 450:700"
        )
    return start, stop


def dashed(name: str) -> str:
    """Return the option of a parameter: ``--max-iter`` for ``max_iter``."""
    return f"--{name.replace('_', '-')}"


def only_with(other: str, present: Any, **options: Any) -> None:
    """Refuse options that have no effect without another one.

    Examples
    --------
    >>> only_with("--lazy", False, memory=None, resume=True)
    Traceback (most recent call last):
    endmember.errors.EndmemberError: --resume: no effect without another option; add --lazy
    """
    given = [dashed(name) for name, value in options.items() if value]
    if given and not present:
        raise EndmemberError(f"{', '.join(given)}: no effect without another option; add {other}")


FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A dm3/dm4, hspy, zspy, bcf, emd, rpl … file.")
]
SignalOption = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Which signal of FILE (see 'endmember info')."),
]
CropOption = Annotated[
    list[Any] | None,
    typer.Option(
        parser=str,
        callback=lambda texts: [parse_window(text) for text in texts or []],
        help="Use this window of the spectral axis, in its unit; an end may be left out, and "
        "several add up.",
        metavar="START:STOP",
    ),
]
MissingOption = Annotated[
    Literal["leave-out"] | None,
    typer.Option(
        metavar="leave-out",
        help="Leave out values that are NaN or infinite: these alone where the fit can, else their "
        "spectra; says which.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        help="Weights of all values before --crop, 0 to leave one out; for --loss squared or poisson.",
        metavar="FILE",
    ),
]
LazyOption = Annotated[
    bool, typer.Option("--lazy", help="Read the data piece by piece from the disk.")
]
NumberOption = Annotated[
    int,
    typer.Option("-k", "--components", min=1, metavar="K", help="How many components to look for."),
]
ComponentsOption = Annotated[
    int | None,
    typer.Option(
        "-k",
        "--components",
        min=1,
        metavar="K",
        help="How many pure spectra; the suggestion of 'endmember rank' unless given.",
    ),
]
LossOption = Annotated[
    str,
    typer.Option(
        callback=lambda name: name.lower(),
        metavar="NAME",
        help=f"Noise: {in_brackets(LOSSES)}, auto (scaled for counts, poisson for few, else squared).",
    ),
]
ClosureOption = Annotated[bool, typer.Option("--closure", help="Maps sum to one in every pixel.")]
DispersionOption = Annotated[
    bool,
    typer.Option("--dispersion", help="With --drift, --align: let channels change width too."),
]
SeedOption = Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the random starts.")]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Where to save, instead of beside FILE.",
    ),
]
PictureOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PICTURE",
        help="Where to draw (png, pdf, svg), instead of beside FILE.",
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier result of that name.")
]
