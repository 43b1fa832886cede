"""What ``endmember unmix`` does besides, when asked how far the answer can be trusted."""

from typing import Annotated, Any

import typer

from .console import note

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


def doubt(result: Any, image: Any, *, errors: bool, bands: bool, crosscheck: bool) -> None:
    """Add errors, bands and the agreement with other methods to a result, and say what they come to.

    What cannot be worked out is noted and left out: the answer itself is there and is kept.
    """
    from endmember.assess.bands import ambiguity
    from endmember.assess.standard_errors import uncertainty

    if errors:
        result.errors = _said(uncertainty, result, image)
    if bands:
        result.bands = _said(ambiguity, result, image)
    if crosscheck:
        _crosscheck(result, image)


def _said(judge: Any, result: Any, image: Any) -> Any:
    try:
        found = judge(result, image)
    except ValueError as refusal:
        note(f"Note: {refusal}")
        return None
    typer.echo(found.sentence)
    return found


def _crosscheck(result: Any, image: Any) -> None:
    from endmember.assess.comparison import compare
    from endmember.signals.choosing import choose_model, choose_models
    from endmember.signals.doubts import agreement_of

    k = result.model.n_components_
    plain, _, _ = choose_model(image, k, random_state=getattr(result.model, "random_state", 0))
    others = choose_models(image, plain)
    own = f"{type(result.model).__name__} (this)"
    models = {
        own: result.model,
        **{n: m for n, m in others.items() if repr(m) != repr(result.model)},
    }
    found = compare(image, models, bands=False)
    result.record["agreement"] = agreement_of(found)
    typer.echo(found.sentence)
