"""``endmember preprocess``: what is done to a spectrum image before it is unmixed, kept as a file."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import endmember as em
from endmember import signals
from endmember.errors import refuse_if

from .console import counted
from .options import (
    AxisOption,
    CropOption,
    DispersionOption,
    FileArgument,
    LazyOption,
    MissingOption,
    OverwriteOption,
    ReaderOption,
    SignalOption,
    narrowed,
    only_with,
    open_image,
    parse_window,
    reading_of,
)
from .targets import check_place, make_folder, refuse_earlier

#: What the folder of a .zspy store holds.
_STORE = {".zattrs", ".zgroup", ".zmetadata", "zarr.json", "Experiments"}
Window = tuple[float | None, float | None]


@dataclass
class Cleaning:
    """What is mended first."""

    spikes: Annotated[
        bool, typer.Option("--spikes", help="Find and repair hits of X-rays and cosmic rays.")
    ] = False
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="METHOD",
            help="Subtract a baseline (asls … of pybaselines).",
        ),
    ] = None
    background: Annotated[
        Any,
        typer.Option(
            parser=str,
            callback=lambda text: parse_window(text, "--background"),
            help="Subtract the background fitted in this window, and zero what is before it; it may "
            "lie outside --crop.",
            metavar="START:STOP",
        ),
    ] = None


@dataclass
class Steps(Cleaning):
    """What is done."""

    align: Annotated[
        bool,
        typer.Option(
            "--align",
            help="Move every spectrum back by its energy shift: by the zero-loss peak where the axis "
            "holds zero energy loss, else by correlation; counts by whole channels.",
        ),
    ] = False
    low_loss: Annotated[
        Path | None,
        typer.Option(
            "--low-loss",
            help="With --align: take the shifts from the zero-loss peak of this file (dual EELS).",
            metavar="FILE",
        ),
    ] = None
    dispersion: DispersionOption = False
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --background: how to fit it, ml (a power law by maximum likelihood) unless given, or "
            "another method of em.preprocess.subtract_background.",
        ),
    ] = None
    denoise: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="K", help="Keep K principal components; unmixing needs no denoising."
        ),
    ] = None

    def check(self, crop: Sequence[Window] | None, missing: str | None) -> None:
        """Refuse what has no effect, and what does not go together."""
        refuse_if(
            not (self.spikes or self.align or self.baseline or self.background or self.denoise),
            "say what to do: --spikes, --align, --baseline METHOD, --background START:STOP or --denoise K",
        )
        only_with("--align", self.align, low_loss=self.low_loss, dispersion=self.dispersion)
        only_with("--background START:STOP", self.background, method=self.method)
        refuse_if(
            self.denoise and (missing or len(crop or ()) > 1),
            "--denoise takes whole spectra; leave out --missing, and give one --crop at most",
        )


#: What can be written and read again with the history in it.
_FORMATS = (".hspy", ".zspy")


def preprocess(
    file: FileArgument,
    *,
    steps: Steps,
    crop: CropOption = None,
    missing: MissingOption = None,
    signal: SignalOption = None,
    reader: ReaderOption = None,
    energy_axis: AxisOption = None,
    lazy: LazyOption = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT.hspy",
            help="Where to save (hspy or zspy); by default FILE-preprocessed.hspy in the current folder.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Repair spikes, align, subtract baseline or background, denoise: in this order, and keep what comes out.

    The steps stay in the file's history and appear in the report of 'endmember unmix'.
    """
    steps.check(crop, missing)
    target = Path(f"{file.stem}-preprocessed.hspy") if output is None else output
    refuse_if(
        target.suffix not in _FORMATS,
        f"{target} must end in .hspy or .zspy, formats that keep the history",
    )
    places = (target, *target.absolute().parents) if file.is_dir() else (target,)
    refuse_if(
        file.exists() and any(place.exists() and place.samefile(file) for place in places),
        f"{target} is the file to read, or lies in it; name another with -o",
    )
    refuse_earlier(target, overwrite, "file")
    if target.is_dir() and not _STORE.issuperset(entry.name for entry in target.iterdir()):
        raise FileExistsError(
            f"{target} holds something else than an image and is not replaced; name another with -o"
        )
    check_place(target)
    image = open_image(file, lazy, signal, reading_of(reader, energy_axis))
    low = steps.low_loss and narrowed(
        open_image(steps.low_loss, lazy, None), None, missing, entries=True
    )
    align = partial(_aligned, low_loss=low, dispersion=steps.dispersion) if steps.align else None
    image = screened(
        image, steps, crop=crop, missing=missing, method=steps.method or "ml", align=align
    )
    if steps.denoise is not None:
        image = em.preprocess.denoise(image, steps.denoise)
        typer.echo(f"Denoised: {steps.denoise} principal components kept")
    make_folder(target.parent)
    save(image, target)
    typer.echo(f"Saved: {target}")


def screened(
    image: Any,
    cleaning: Cleaning,
    *,
    crop: Sequence[Window] | None,
    missing: str | None,
    entries: bool = True,
    method: str = "ml",
    align: Callable[[Any], Any] | None = None,
) -> Any:
    """Return the image after the steps asked for, and say in one line each what was done.

    It is cropped first; a window of the background that lies outside is kept until the background is subtracted.
    """
    from endmember.factor.data.axis import Axis

    window, first = cleaning.background, crop
    if window is not None:
        base = signals.channels_within(
            image, window, "background"
        )  # refuses one that leaves the axis
        kept = {channel for one in crop or () for channel in signals.channels_within(image, one)}
        first = crop if not crop or kept.issuperset(base) else _joined(crop, window)
    image = narrowed(image, first, missing, entries)
    if cleaning.spikes:
        typer.echo(_repaired(em.preprocess.find_spikes(image)))
        image = em.preprocess.remove_spikes(image)  # no mask, so that the history says it all
    if align is not None:
        image = align(image)
    if cleaning.baseline is not None:
        image = em.preprocess.subtract_baseline(image, cleaning.baseline)
        typer.echo(f"Baseline subtracted: {cleaning.baseline}")
    axis = Axis.of(image)
    if window is not None:
        ends = (float(axis.energy.min()), float(axis.energy.max()))
        start, stop = (own if end is None else end for end, own in zip(window, ends, strict=True))
        image = em.preprocess.subtract_background(image, window=(start, stop), method=method)
        unit = f" {axis.units or ''}".rstrip()
        typer.echo(f"Background subtracted: {method}, fitted from {start:g} to {stop:g}{unit}")
    if first != crop:
        image = narrowed(image, [_within(one, axis.energy) for one in crop or ()], None, entries)
        typer.echo(
            f"Cropped after that, since the window before the edge lies outside: {Axis.of(image)}"
        )
    return image


def _joined(crop: Sequence[Window], window: Window) -> list[Window]:
    """Return windows with one more: the only one widened, or that added."""
    if len(crop) > 1:
        return [*crop, window]
    starts, stops = zip(*crop, window, strict=True)
    return [(None if None in starts else min(starts), None if None in stops else max(stops))]


def _within(window: Window, energy: Any) -> Window:
    """Return a window without what alignment has cut off the axis."""
    start, stop = window
    return (
        None if start is not None and start < energy.min() else start,
        None if stop is not None and stop > energy.max() else stop,
    )


def _aligned(image: Any, low_loss: Any, dispersion: bool) -> Any:
    """Align an image and say by how much."""
    found = em.preprocess.find_shifts(image, low_loss, dispersion=dispersion)
    shifts, stretches = found if dispersion else (found, None)
    typer.echo(
        f"Aligned: shifts from {shifts.min():.2f} to {shifts.max():.2f} channels, "
        f"{shifts.std():.2f} root mean square"
    )
    if stretches is not None:
        typer.echo(
            f"Stretched by {stretches.min():.2%} to {stretches.max():.2%} of the axis, "
            f"{stretches.std():.2%} root mean square"
        )
    return em.preprocess.align(image, low_loss, dispersion=dispersion)


def _repaired(mask: Any) -> str:
    """Say how many spikes, runs of channels, were repaired and where."""
    from endmember.factor.data.inspection import given

    marked = given(mask).array
    first = marked[..., :1].sum() + (marked[..., 1:] & ~marked[..., :-1]).sum()
    spectra = counted(int(marked.any(axis=-1).sum()), "spectrum", "spectra")
    return f"{counted(int(first), 'spike')} in {spectra} repaired"


def save(image: Any, target: Path) -> None:
    """Write a signal beside its place and rename it, so that an older file stays until then; NaN for what is hidden."""
    import numpy as np

    from endmember.factor.data.inspection import given

    taken = given(image)
    if taken.hidden is not None:
        (spectral,) = image.axes_manager.signal_indices_in_array
        image.data = np.moveaxis(np.where(taken.hidden, np.nan, taken.array), -1, spectral)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.stem}-") as beside:
        new = Path(beside) / target.name
        image.save(new)
        if target.is_dir():
            shutil.rmtree(target)
        new.replace(target)
