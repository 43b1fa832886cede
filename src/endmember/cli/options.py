"""The options that several commands take, and which data a command works on, what of them, and how they are read."""

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import endmember as em
from endmember import signals
from endmember.catalogue import LOSSES, in_brackets
from endmember.errors import EndmemberError, refuse_if

#: A damaged file can ask for any amount of time: reading one ends here, in seconds.
LOAD_SECONDS = 600.0
#: A scheduler that does not answer within this time is taken for absent, in seconds.
ANSWER_SECONDS = 10


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
    refuse_if(
        start is None and stop is None,
        f"{option} {text!r} is no window; give two numbers in the unit of the axis with a "
        f"colon between them, for example {option} 450:700",
    )
    return start, stop


def parse_setting(text: str) -> tuple[str, Any]:
    """Read ``start=450``.

    Examples
    --------
    >>> parse_setting("start=450"), parse_setting("index=all")
    (('start', 450), ('index', 'all'))
    """
    name, is_there, value = text.partition("=")
    refuse_if(
        not is_there, f"--reader {text!r} is no NAME=VALUE; give one such as --reader units=eV"
    )
    with suppress(ValueError, SyntaxError):
        value = ast.literal_eval(value)
    return name, value


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
    refuse_if(
        given and not present, f"{', '.join(given)}: no effect without another option; add {other}"
    )


FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A dm3/dm4, hspy, zspy, bcf, emd, rpl … file.")
]
FilesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="FILE…", help="A dm3/dm4, hspy, zspy, bcf, emd, rpl … file."),
]
TogetherOption = Annotated[
    bool, typer.Option("--together", help="Unmix several FILEs into one set of spectra.")
]
SignalOption = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Which signal of FILE (see 'info')."),
]
ReaderOption = Annotated[
    list[Any] | None,
    typer.Option(
        parser=str,
        help="Option of the reader; or start, step, units.",
        metavar="NAME=VALUE",
    ),
]
AxisOption = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Axis of an array that holds energies."),
]
CropOption = Annotated[
    list[Any] | None,
    typer.Option(
        parser=str,
        callback=lambda texts: [parse_window(text) for text in texts or []],
        help="Window of the axis; several add up.",
        metavar="START:STOP",
    ),
]
MissingOption = Annotated[
    Literal["leave-out", "empty"] | None,
    typer.Option(
        metavar="WHICH",
        help="leave-out (NaN, infinity) or empty (zero pixels too).",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        help="Weights of all values, before --crop; 0 leaves one out.",
        metavar="FILE",
    ),
]
ExposureOption = Annotated[
    Path | None,
    typer.Option(
        help="Live time or dose of every pixel.",
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
        help="How many; else as 'endmember rank' suggests.",
    ),
]
LossOption = Annotated[
    str,
    typer.Option(
        callback=lambda name: name.lower(),
        metavar="NAME",
        help=f"Noise: {in_brackets(LOSSES)}, auto (by the noise).",
    ),
]
ClosureOption = Annotated[bool, typer.Option("--closure", help="Maps sum to one in every pixel.")]
DispersionOption = Annotated[
    bool,
    typer.Option("--dispersion", help="With --drift, --align: channels change width too."),
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
        help="Where to draw (png, pdf, svg) or write numbers (json), instead of beside FILE.",
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier result of that name.")
]


@dataclass
class Source:
    """Data."""

    signal: SignalOption = None
    reader: ReaderOption = None
    energy_axis: AxisOption = None
    crop: CropOption = None
    missing: MissingOption = None
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Leave out pixels where FILE is not zero.",
            metavar="FILE",
        ),
    ] = None
    channel_mask: Annotated[
        Path | None,
        typer.Option(
            help="Likewise the channels, of all before any --crop.",
            metavar="FILE",
        ),
    ] = None

    def open(
        self,
        file: Path,
        *,
        lazy: bool = False,
        weights: Path | None = None,
        exposure: Path | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Return the whole image, and masks, weights and exposure as the library takes them after cropping."""
        from endmember.factor.data.inspection import pattern_of, unwrap

        image = open_image(file, lazy, self.signal, reading_of(self.reader, self.energy_axis))
        inside = [
            channel for one in self.crop or () for channel in signals.channels_within(image, one)
        ]
        kept = slice(min(inside), max(inside) + 1) if inside else slice(None)
        shape, masks = unwrap(image).shape, {}
        if self.mask is not None:
            masks["mask"] = _mask("--mask", self.mask, shape[:-1], "pixels")
        if self.channel_mask is not None:
            own = pattern_of(image) or shape[-1:]
            masks["channel_mask"] = _mask("--channel-mask", self.channel_mask, own, "channels")[
                kept
            ]
        if weights is not None:
            masks["weights"] = _array("--weights", weights, shape, "values")[..., kept]
        if exposure is not None:
            masks["exposure"] = _array("--exposure", exposure, shape[:-1], "pixels")
        return image, masks

    def read(
        self, file: Path, *, lazy: bool = False, entries: bool = False, weights: Path | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Return the image without what is left out, and masks and weights.

        Parameters
        ----------
        file : Path
        lazy : bool
        entries : bool
            Whether single missing values can be left out, without the spectra that hold them.
        weights : Path, optional
            Of a file with a weight for every value.
        """
        image, masks = self.open(file, lazy=lazy, weights=weights)
        return narrowed(image, self.crop, self.missing, entries), masks

    def given(self) -> bool:
        """Tell whether any of them is given."""
        return any(one is not None for one in (self.signal, self.energy_axis)) or any(
            (self.reader, self.crop, self.missing, self.mask, self.channel_mask)
        )


@dataclass
class Reading:
    """Data larger than memory, in several files, or exposed unequally."""

    lazy: LazyOption = False
    together: TogetherOption = False
    exposure: ExposureOption = None
    memory: Annotated[
        str | None,
        typer.Option(
            help="What lazy data may take besides the program.",
            metavar="1GB",
        ),
    ] = None
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Read and multiply on the Dask cluster there.", metavar="tcp://HOST:PORT"
        ),
    ] = None
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with an interrupted lazy fit."),
    ] = False

    @contextmanager
    def session(self) -> Iterator[None]:
        """Open a session with a limit of memory, on a cluster where one is named; both are of lazy data alone."""
        from endmember.factor.data.resources import session

        only_with(
            "--lazy", self.lazy, memory=self.memory, scheduler=self.scheduler, resume=self.resume
        )
        client = nullcontext() if self.scheduler is None else _client(self.scheduler)
        with client, session(self.memory):
            yield


def _client(scheduler: str) -> Any:
    """Return a client of the cluster at that address."""
    try:
        from distributed import Client

        return Client(scheduler, timeout=ANSWER_SECONDS)
    except ImportError:
        raise EndmemberError(
            "--scheduler needs dask.distributed: pip install distributed"
        ) from None
    except (OSError, ValueError) as error:
        raise EndmemberError(
            f"no Dask scheduler answers at --scheduler {scheduler} ({error}); start one with 'dask scheduler' "
            "and give the address that it prints"
        ) from error


def reading_of(reader: Any, energy_axis: int | None) -> dict[str, Any]:
    """Return all that a reader is told, each option once."""
    told = [*map(parse_setting, reader or ())]
    told += [] if energy_axis is None else [("energy_axis", energy_axis)]
    for name, _ in told:
        refuse_if(
            [other for other, _ in told].count(name) > 1,
            f"{name} of the reader is given twice; give it once",
        )
    return dict(told)


def open_image(
    file: Path, lazy: bool, number: int | None, reader: dict[str, Any] | None = None
) -> Any:
    """Read one signal within the limits of time and memory."""
    with signals.guard(seconds=LOAD_SECONDS, memory=signals.free_memory()):
        return em.load(file, lazy=lazy, signal=number, reader=reader)


def narrowed(
    image: Any,
    windows: Sequence[tuple[float | None, float | None]] | None,
    missing: str | None,
    entries: bool,
) -> Any:
    """Return an image with what lies in one of the windows, without what is missing in it."""
    if windows and len(windows) > 1:
        image = signals.crop_windows(image, windows)
    elif windows:
        image = signals.crop_energy(image, *windows[0])
    return signals.leave_out_missing(image, entries, missing == "empty") if missing else image


def _mask(option: str, path: Path, shape: tuple[int, ...], what: str) -> Any:
    """Return the mask of a file: True where its array is not zero, which may hold one other value."""
    array = _array(option, path, shape, what)
    refuse_if(
        ((array != 0) & (array != array.max())).any(),
        f"{option} {path} holds more than two values; give 0 for {what} that take part and one other "
        "value, such as 1 or 255, for those left out",
    )
    return array != 0


def _array(option: str, path: Path, shape: tuple[int, ...], what: str) -> Any:
    """Return the array of a file, one number for each of the pixels, channels or values of an image."""
    import numpy as np

    found = signals.read(path)
    refuse_if(
        len(found) != 1, f"{option} {path} holds {len(found)} signals; give a file with just one"
    )
    array = np.asarray(found[0].data)
    refuse_if(
        array.dtype.kind not in "biuf",
        f"{option} {path} holds no numbers but {array.dtype.name or 'colours'}; save it in grey, or as an "
        "array of numbers",
    )
    own, wanted = (" x ".join(map(str, sizes)) for sizes in (array.shape, shape))
    refuse_if(
        np.squeeze(array).shape != tuple(size for size in shape if size != 1),
        f"{option} {path} is {own} and the image has {wanted} {what}; give one number for each, in the order of "
        "the data",
    )
    return array.reshape(shape)
