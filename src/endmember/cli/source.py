"""Which data a command works on, what of them, and how they are read: the options that say so, and the reading."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

import endmember as em
from endmember.errors import EndmemberError

from .options import CropOption, LazyOption, MissingOption, SignalOption, only_with

#: A damaged file can ask for any amount of time: reading one ends here, in seconds.
LOAD_SECONDS = 600.0
#: A scheduler that does not answer within this time is taken for absent, in seconds.
ANSWER_SECONDS = 10


@dataclass
class Source:
    """Data."""

    signal: SignalOption = None
    crop: CropOption = None
    missing: MissingOption = None
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Leave out the pixels where the array or picture of FILE (npy, tif …) is not zero.",
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
        self, file: Path, *, lazy: bool = False, weights: Path | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Return the whole image, and the masks and weights given with it as the library takes them after cropping."""
        from endmember.factor.data.inspection import unwrap
        from endmember.signals.cropping import channels_within

        image = open_image(file, lazy, self.signal)
        inside = [channel for one in self.crop or () for channel in channels_within(image, one)]
        kept = slice(min(inside), max(inside) + 1) if inside else slice(None)
        shape, masks = unwrap(image).shape, {}
        if self.mask is not None:
            masks["mask"] = _mask("--mask", self.mask, shape[:-1], "pixels")
        if self.channel_mask is not None:
            mask = _mask("--channel-mask", self.channel_mask, shape[-1:], "channels")
            masks["channel_mask"] = mask[kept]
        if weights is not None:
            masks["weights"] = _array("--weights", weights, shape, "values")[..., kept]
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
        return self.signal is not None or any(
            (self.crop, self.missing, self.mask, self.channel_mask)
        )


@dataclass
class Reading:
    """Data larger than memory."""

    lazy: LazyOption = False
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


def open_image(file: Path, lazy: bool, number: int | None) -> Any:
    """Read one signal within the limits of time and memory."""
    from endmember.signals.files.reading import free_memory, guard

    with guard(seconds=LOAD_SECONDS, memory=free_memory()):
        return em.load(file, lazy=lazy, signal=number)


def narrowed(
    image: Any,
    windows: Sequence[tuple[float | None, float | None]] | None,
    missing: str | None,
    entries: bool,
) -> Any:
    """Return an image with what lies in one of the windows, without what is missing in it."""
    from endmember.signals.cropping import crop_energy, crop_windows, leave_out_missing

    if windows:
        image = (
            crop_energy(image, *windows[0]) if len(windows) == 1 else crop_windows(image, windows)
        )
    return leave_out_missing(image, entries=entries) if missing else image


def _mask(option: str, path: Path, shape: tuple[int, ...], what: str) -> Any:
    """Return the mask of a file: True where its array is not zero, which may hold one other value."""
    array = _array(option, path, shape, what)
    if ((array != 0) & (array != array.max())).any():
        raise EndmemberError(
            f"{option} {path} holds more than two values; give 0 for {what} that take part and one other "
            "value, such as 1 or 255, for those left out"
        )
    return array != 0


def _array(option: str, path: Path, shape: tuple[int, ...], what: str) -> Any:
    """Return the array of a file, one number for each of the pixels, channels or values of an image."""
    import numpy as np

    from endmember.signals.files.reading import read

    found = read(path)
    if len(found) != 1:
        raise EndmemberError(
            f"{option} {path} holds {len(found)} signals; give a file with just one"
        )
    array = np.asarray(found[0].data)
    if array.dtype.kind not in "biuf":
        raise EndmemberError(
            f"{option} {path} holds no numbers but {array.dtype.name or 'colours'}; save it in grey, or as an "
            "array of numbers"
        )
    if np.squeeze(array).shape != tuple(size for size in shape if size != 1):
        own, wanted = (" x ".join(map(str, sizes)) for sizes in (array.shape, shape))
        raise EndmemberError(
            f"{option} {path} is {own} and the image has {wanted} {what}; "
            "give one number for each, in the order of the data"
        )
    return array.reshape(shape)
