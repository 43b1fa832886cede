"""The command ``endmember mlls``: from known spectra to their maps."""

from pathlib import Path
from typing import Annotated, Any

import typer

import endmember as em
from endmember.errors import EndmemberError

from .groups import read_spectrum
from .options import (
    ClosureOption,
    FileArgument,
    LazyOption,
    LossOption,
    OutputOption,
    OverwriteOption,
    WeightsOption,
)
from .program import app
from .source import Source
from .targets import check_room, folder_for, keep_result


@app.command()
def mlls(
    file: FileArgument,
    source: Source,
    reference: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE", help="One known spectrum (msa, dm3, hspy …); give one for each."
        ),
    ],
    shift: Annotated[
        float,
        typer.Option(
            min=0, metavar="X", help="How far references may move, in the unit of the axis."
        ),
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
    kind = _background(background)
    from endmember.signals.choosing import chosen_loss

    image, masks = source.read(file, lazy=lazy, entries=loss != "scaled", weights=weights)
    check_room(folder, image, len(reference) + 5)
    chosen, why = chosen_loss(image, loss, **masks)
    model = em.MLLS(
        [read_spectrum(path) for path in reference],
        loss=chosen, background=kind, shift=shift,
        low_loss=None if low_loss is None else read_spectrum(low_loss, image=True), extra=int(extra),
        maps=em.SumToOne() if closure else None,
    )  # fmt: skip
    result = em.unmix(image, model, reasons=why, **masks)
    for line in _lines(result.model):
        typer.echo(line)
    keep_result(result, folder, overwrite)


def _background(text: str | None) -> str | None:
    """Return what the library calls a background.

    Examples
    --------
    >>> _background("power-law"), _background(None)
    ('power_law', None)
    """
    from endmember.methods.standards import BACKGROUNDS

    name = None if text is None else text.lower().replace("-", "_")
    if name is not None and name not in BACKGROUNDS:
        allowed = ", ".join(BACKGROUNDS).replace("_", "-")
        raise EndmemberError(
            f"--background {text} is not known; allowed: {allowed}, or none at all"
        )
    return name


def _lines(model: Any) -> list[str]:
    """Say what the fit came to, a line for every spectrum."""
    import numpy as np

    k = model.n_components_
    amounts, errors = (F.reshape(-1, k) for F in (model.maps_, model.maps_error_))
    shifts = [*model.shifts_, *[None] * k]
    width = max(len(name) for name in model.names_)
    lines = [f"{'spectrum':{width}}       mean  median error   shift"]
    for j, name in enumerate(model.names_):
        moved = "" if shifts[j] is None else f"{shifts[j]:+8.3f}"
        mean, error = np.nanmean(amounts[:, j]), np.nanmedian(errors[:, j])
        lines.append(f"{name:{width}} {mean:10.4g} {error:13.3g}{moved}")
    if len(model.shifts_) > 1:
        off = np.abs(model.correlation_ - np.eye(len(model.shifts_)))
        first, second = np.unravel_index(np.argmax(off), off.shape)
        lines.append(
            f"References: condition number {model.condition_:.3g}; most alike {model.names_[first]} and "
            f"{model.names_[second]} (cosine {off[first, second]:.3f})"
        )
    known = model.chi2_[np.isfinite(model.chi2_)]
    lines.append(
        f"Reduced chi-square: {f'median {np.median(known):.3g}' if known.size else 'not known'}"
    )
    return lines
