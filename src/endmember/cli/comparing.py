"""``endmember compare``: several methods on one file, or two results."""

from pathlib import Path
from typing import Annotated, Any

import typer

from endmember.errors import EndmemberError

from .commands import app
from .options import ComponentsOption, SeedOption
from .source import Source
from .targets import beside, draw, picture_for


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
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PICTURE",
            help="Where to draw it (png, pdf, svg); by default FILE-compare.png beside the file, or A-B-compare.png.",
        ),
    ] = None,
    seed: SeedOption = 0,
    bands: Annotated[
        bool, typer.Option(help="Ask what else fits as well as the plain factorisation.")
    ] = True,
) -> None:
    """Say where several methods agree on a spectrum image, or what differs between two results.

    A file is unmixed by NMF, NMF with soft orthogonality, vertex component analysis and subspace
    sampling, counts by Poisson NMF too: methods that assume different things.
    """
    if len(places) > 2 or (len(places) == 2 and not all(place.is_dir() for place in places)):
        raise EndmemberError("give one file, or the folders of two results")
    if len(places) == 1 and places[0].is_dir():
        raise EndmemberError(
            f"{places[0]} is a folder; give the folder of a second result beside it, or a file"
        )
    if len(places) == 2:
        if components is not None or source.given() or seed or not bands:
            raise EndmemberError(
                "-k, --crop, --missing, --mask, --channel-mask, --signal, --seed and --no-bands go with a file, "
                "not with two results"
            )
        _compare_results(places[0], places[1], output)
        return
    from endmember.assess.comparison import compare as fit_all
    from endmember.signals.choosing import choose_model, choose_models

    (file,) = places
    picture = picture_for(output or beside(file, f"{file.stem}-compare.png"))
    image, masks = source.read(file)
    model, _, panel = choose_model(image, components, random_state=seed, **masks)
    if panel is not None:
        typer.echo(panel.sentence)
    found = fit_all(image, choose_models(image, model), bands=bands, **masks)
    typer.echo(str(found))
    draw(found, picture)


def _compare_results(first: Path, second: Path, output: Path | None) -> None:
    from endmember.signals.result.differences import differences
    from endmember.signals.result.unmixing import open_folder

    names: Any = (first.name or str(first), second.name or str(second))
    if names[0] == names[1]:
        names = (str(first), str(second))
    name = f"{first.resolve().name}-{second.resolve().name}-compare.png"
    picture = picture_for(output or beside(first, name))
    found = differences(open_folder(first), open_folder(second), names)
    typer.echo(str(found))
    draw(found.comparison, picture)
