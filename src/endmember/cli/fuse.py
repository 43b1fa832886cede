"""The command ``endmember fuse``: several detectors of one area, unmixed together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from endmember.errors import EndmemberError

from .commands import app
from .console import Watch
from .options import (
    LossOption,
    MaxIterOption,
    MissingOption,
    OverwriteOption,
    SeedOption,
    StartsOption,
    TolOption,
)
from .source import narrowed, open_image
from .targets import folder_for, keep_result

if TYPE_CHECKING:
    from endmember.signals.result.coupling import CoupledUnmixing


@app.command()
def fuse(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE FILE…", help="One file a detector, of the same pixels."),
    ],
    components: Annotated[
        int, typer.Option("-k", "--components", min=1, help="How many components to look for.")
    ],
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
            "--signal", min=0, help="Which signal of each file, once a file in their order."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER",
            help="Where to save; by default FILE-fused beside the first file.",
        ),
    ] = None,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    starts: StartsOption = 10,
    max_iter: MaxIterOption = 2000,
    tol: TolOption = 1e-6,
) -> None:
    """Separate several detectors' data of one area into shared maps and spectra of each detector.

    Every detector counts by the inverse of the variance of its noise, which is
    measured from the data. Ctrl-C ends the fit after the sweep and keeps the
    best result so far.
    """
    if len(files) < 2:
        raise EndmemberError(
            "fuse takes at least two files, one a detector; one file goes to 'endmember unmix'"
        )
    if signal and len(signal) != len(files):
        raise EndmemberError(
            f"--signal is given {len(signal)} times for {len(files)} files; give it once a file"
        )
    numbers: list[Any] = list(signal) if signal else [None] * len(files)
    if len({(file.resolve(), one) for file, one in zip(files, numbers, strict=True)}) < len(files):
        raise EndmemberError(
            "the same data are given twice; give one file a detector, or with --signal another signal of the file"
        )
    from endmember.methods.coupled import Coupled
    from endmember.signals.choosing import named_loss
    from endmember.signals.result.coupling import unmix_together

    chosen = None if loss == "auto" else named_loss(loss)
    folder = folder_for(files[0], "fused", output, overwrite)
    signals = [
        narrowed(open_image(file, False, number), None, missing, entries=True)
        for file, number in zip(files, numbers, strict=True)
    ]
    model = Coupled(
        components, "weak" if weak else "shared", loss=chosen, n_starts=starts,
        max_iter=max_iter, tol=tol, random_state=seed,
    )  # fmt: skip
    with Watch() as watch:
        result = unmix_together(signals, model, callback=watch)
        watch.finish()
        typer.echo(_in_short(result))
        keep_result(result, folder, overwrite)


def _in_short(result: CoupledUnmixing) -> str:
    """Say in one line what the fit came to."""
    model = result.model
    end = "converged" if model.converged_ else "not converged"
    weights = ", ".join(f"{weight:.3g}" for weight in model.weights_)
    return (
        f"{model.n_components_} components of {len(result.spectra)} detectors (weights {weights}) after "
        f"{model.n_iter_} sweeps, {end}, optimality {model.optimality_:.1e}"
    )
