"""``endmember preprocess``: what is done to a spectrum image before it is unmixed, kept as a file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from endmember.errors import EndmemberError

from .options import (
    CropOption,
    DispersionOption,
    FileArgument,
    LazyOption,
    MissingOption,
    SignalOption,
    cropped,
    only_with,
    parse_window,
)
from .source import narrowed, open_image
from .targets import check_folder, make_folder

SpikesOption = Annotated[
    bool, typer.Option("--spikes", help="Find the hits of X-rays and cosmic rays, and repair them.")
]
BackgroundOption = Annotated[
    Any,
    typer.Option(
        parser=str,
        callback=lambda text: parse_window(text, "--background"),
        help="Subtract the background that this window before the edge extrapolates to, in the unit "
        "of the axis; everything before the window becomes zero. It may lie outside --crop.",
        metavar="START:STOP",
    ),
]


@dataclass
class Cleaning:
    """Options of what is mended before a fit."""

    spikes: SpikesOption = False
    background: BackgroundOption = None


#: What can be written and read again with the history in it.
_FORMATS = (".hspy", ".zspy")


def preprocess(
    file: FileArgument,
    spikes: SpikesOption = False,
    align: Annotated[
        bool,
        typer.Option(
            "--align",
            help="Move every spectrum back by its energy shift: by the zero-loss peak where the axis "
            "holds zero energy loss, else by correlation; counts by whole channels.",
        ),
    ] = False,
    low_loss: Annotated[
        Path | None,
        typer.Option(
            "--low-loss",
            help="With --align: take the shifts from the zero-loss peak of this file (dual EELS).",
            metavar="FILE",
        ),
    ] = None,
    dispersion: DispersionOption = False,
    background: BackgroundOption = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="With --background: how to fit it, ml (a power law by maximum likelihood) unless given, or "
            "another method of em.preprocess.subtract_background.",
        ),
    ] = None,
    denoise: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="K", help="Keep K principal components; unmixing needs no denoising."
        ),
    ] = None,
    crop: CropOption = None,
    missing: MissingOption = None,
    signal: SignalOption = None,
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier OUT.hspy.")
    ] = False,
) -> None:
    """Repair spikes, align, subtract the background, denoise: in this order, and keep what comes out.

    The steps stay in the file's history and appear in the report of 'endmember unmix'.
    """
    if not (spikes or align or background or denoise):
        raise EndmemberError(
            "say what to do: --spikes, --align, --background START:STOP or --denoise K"
        )
    only_with("--align", align, low_loss=low_loss, dispersion=dispersion)
    only_with("--background START:STOP", background, method=method)
    if denoise and (missing or len(crop or ()) > 1):
        raise EndmemberError(
            "--denoise takes whole spectra; leave out --missing, and give one --crop at most"
        )
    target = Path(f"{file.stem}-preprocessed.hspy") if output is None else output
    _check_file(target, file, overwrite)
    image = open_image(file, lazy, signal)
    low = None if low_loss is None else open_image(low_loss, lazy, None)
    low = narrowed(low, None, missing, entries=True) if missing and low is not None else low
    image = screened(
        image, crop=crop, missing=missing, spikes=spikes, align=align, low_loss=low, dispersion=dispersion,
        window=background, method=method or "ml", rank=denoise,
    )  # fmt: skip
    make_folder(target.parent)
    save(image, target)
    typer.echo(f"Saved: {target}")


def screened(
    image: Any,
    *,
    crop: Sequence[tuple[float | None, float | None]] | None = None,
    missing: str | None = None,
    entries: bool = True,
    spikes: bool = False,
    align: bool = False,
    low_loss: Any = None,
    dispersion: bool = False,
    window: tuple[float | None, float | None] | None = None,
    method: str = "ml",
    rank: int | None = None,
) -> Any:
    """Return the image after the steps asked for, and say in one line each what was done.

    It is cropped first; a window of the background that lies outside is kept until the background is subtracted.
    """
    from endmember import preprocess as steps
    from endmember.factor.data.axis import Axis
    from endmember.signals.bridge import channels_within

    if window is not None:
        channels_within(image, window, "background")  # refuses one that leaves the axis
    first = _with_background(image, crop, window)
    image = narrowed(image, first, missing, entries)
    if spikes:
        typer.echo(_repaired(steps.find_spikes(image)))
        image = steps.remove_spikes(image)  # without the mask, so that the history says it all
    if align:
        image = _aligned(image, low_loss, dispersion)
    if window is not None:
        start, stop = _closed(image, window)
        image = steps.subtract_background(image, window=(start, stop), method=method)
        unit = f" {Axis.of(image).units or ''}".rstrip()
        typer.echo(f"Background subtracted: {method}, fitted from {start:g} to {stop:g}{unit}")
    if first != crop:
        image = cropped(image, [_on_axis(image, one) for one in crop or ()])
        typer.echo(
            f"Cropped after that, since the window before the edge lies outside: {Axis.of(image)}"
        )
    if rank is not None:
        image = steps.denoise(image, rank)
        typer.echo(f"Denoised: {rank} principal components kept")
    return image


def _with_background(image: Any, crop: Any, window: Any) -> Any:
    """Return the windows to crop to until the background is subtracted: one of them widened, or its own added."""
    from endmember.signals.bridge import channels_within

    if not (crop and window):
        return crop
    kept = {channel for one in crop for channel in channels_within(image, one)}
    if kept.issuperset(channels_within(image, window)):
        return crop
    if len(crop) > 1:
        return [*crop, window]
    starts, stops = zip(*crop, window, strict=True)
    return [(None if None in starts else min(starts), None if None in stops else max(stops))]


def _on_axis(
    image: Any, window: tuple[float | None, float | None]
) -> tuple[float | None, float | None]:
    """Return a window without what alignment has cut off the axis."""
    from endmember.factor.data.axis import Axis

    energy = Axis.of(image).energy
    start, stop = window
    return (
        None if start is not None and start < energy.min() else start,
        None if stop is not None and stop > energy.max() else stop,
    )


def _aligned(image: Any, low_loss: Any, dispersion: bool) -> Any:
    """Align an image and say by how much."""
    import numpy as np

    from endmember import preprocess as steps

    found = steps.find_shifts(image, low_loss, dispersion=dispersion)
    shifts, stretches = found if dispersion else (found, None)
    typer.echo(
        f"Aligned: shifts from {shifts.min():.2f} to {shifts.max():.2f} channels, "
        f"{np.std(shifts):.2f} root mean square"
    )
    if stretches is not None:
        typer.echo(
            f"Stretched by {stretches.min():.2%} to {stretches.max():.2%} of the axis, "
            f"{np.std(stretches):.2%} root mean square"
        )
    return steps.align(image, low_loss, dispersion=dispersion)


def _repaired(mask: Any) -> str:
    """Say how many spikes, runs of channels, were repaired and where."""
    from endmember.factor.data.inspection import given

    marked = given(mask).array
    first = marked[..., :1].sum() + (marked[..., 1:] & ~marked[..., :-1]).sum()
    count, spectra = int(first), int(marked.any(axis=-1).sum())
    return (
        f"{count} spike{'s' * (count != 1)} in {spectra} "
        f"spectr{'um' if spectra == 1 else 'a'} repaired"
    )


def _closed(image: Any, window: tuple[float | None, float | None]) -> tuple[float, float]:
    """Return a window with both ends, those of the axis where one was left out."""
    from endmember.factor.data.axis import Axis

    (start, stop), energy = window, Axis.of(image).energy
    return (
        float(energy.min()) if start is None else start,
        float(energy.max()) if stop is None else stop,
    )


def _check_file(target: Path, source: Path, overwrite: bool) -> None:
    """Refuse a file that cannot take the result, before any work is done."""
    if target.suffix not in _FORMATS:
        raise EndmemberError(f"{target} must end in .hspy or .zspy, formats that keep the history")
    if target.exists() and source.exists() and target.samefile(source):
        raise EndmemberError(f"{target} is the file to read; name another with -o")
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"{target} exists already; add --overwrite to replace it or -o to name another file"
        )
    check_folder(target.absolute().parent)


def save(image: Any, target: Path) -> None:
    """Write a signal beside its place and rename it, so that an older file stays until then; NaN for what is hidden."""
    import shutil

    import numpy as np

    from endmember.factor.data.inspection import given

    taken = given(image)
    if taken.hidden is not None:
        (spectral,) = image.axes_manager.signal_indices_in_array
        image.data = np.moveaxis(np.where(taken.hidden, np.nan, taken.array), -1, spectral)
    beside = target.with_name(f".{target.stem}.{os.getpid()}.new{target.suffix}")
    try:
        image.save(beside, overwrite=True)
        if target.is_dir():
            shutil.rmtree(target)
        beside.replace(target)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside)
        else:
            beside.unlink(missing_ok=True)
