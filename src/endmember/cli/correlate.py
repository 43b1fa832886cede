"""The command ``endmember correlate``: what two signals of one area share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from endmember.errors import Argument, EndmemberError

from .commands import app
from .options import (
    FileArgument,
    OutputOption,
    OverwriteOption,
    PathComponentsOption,
)
from .source import Source, narrowed, open_image
from .targets import folder_for


@app.command()
def correlate(
    file: FileArgument,
    second: Annotated[
        Path, typer.Argument(metavar="SECOND", help="The other signal of the same pixels.")
    ],
    source: Source,
    components: PathComponentsOption,
    method: Annotated[
        str,
        typer.Option(help="pls (what of FILE predicts SECOND) or cca (what both see alike)."),
    ] = "cca",
    second_signal: Annotated[
        int | None, typer.Option("--second-signal", min=0, help="Which signal of SECOND.")
    ] = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Find what two signals of the same pixels share, such as EELS and EDXS of one scan.

    Leaves maps.hspy, spectra.hspy (of FILE) and spectra_2.hspy (of SECOND) in a folder, with a
    picture. Components have signs and are no pure spectra.
    """
    if method not in ("pls", "cca"):
        raise EndmemberError(f"--method {method} is not known; allowed: pls, cca")
    folder = folder_for(file, method, output, overwrite)
    from endmember.methods.pairs import CCA, PLS

    first, masks = source.read(file)
    try:
        whole = open_image(second, False, second_signal)
    except EndmemberError as refusal:
        for word in refusal.args:
            if isinstance(word, Argument) and word.name == "signal":
                word.name = "second_signal"
        raise
    other = narrowed(whole, None, source.missing, entries=False)
    model = (PLS if method == "pls" else CCA)(components).fit(first, other, **masks)
    for j, value in enumerate(model.correlations_):
        chance = f", by chance with p = {model.p_values_[j]:.1g}" if method == "cca" else ""
        typer.echo(f"Component {j + 1}: correlation {value:.4f}{chance}")
    _save(model, first, other, folder, overwrite)
    typer.echo(f"Picture: {folder / 'components.png'}")


def _save(model: Any, first: Any, other: Any, folder: Path, overwrite: bool) -> None:
    """Write maps and both kinds of spectra, and a picture of the first."""
    from endmember import show
    from endmember.factor.data.axis import Axis
    from endmember.signals.bridge import wrap_maps, wrap_spectra
    from endmember.signals.result.folders import replacing

    with replacing(folder, overwrite) as new:
        spectra = wrap_spectra(model.components_, first, unit=model.unit_of_spectra)
        axis = Axis.of(spectra)
        wrap_maps(model.maps_, first).save(new / "maps.hspy")
        spectra.save(new / "spectra.hspy")
        second = wrap_spectra(model.components_y_, other, unit=model.unit_of_spectra)
        second.save(new / "spectra_2.hspy")
        figure = show.components(model, energy=axis.energy, energy_units=axis.units)
        figure.savefig(new / "components.png", dpi=150)
