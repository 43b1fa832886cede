"""How far an answer can be trusted: the options that ask for it, and what is added to a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import typer

from .console import note
from .options import AmbiguityOption, CrosscheckOption, ErrorsOption


@dataclass
class Doubts:
    """Options that ask how sure a result is."""

    errors: ErrorsOption = False
    ambiguity: AmbiguityOption = False
    crosscheck: CrosscheckOption = False

    def add_to(self, result: Any, image: Any) -> None:
        """Add errors, bands and the agreement with other methods to a result, and say what they come to.

        What cannot be worked out is noted and left out: the answer itself is there and is kept.
        """
        from endmember.assess.bands import ambiguity
        from endmember.assess.standard_errors import uncertainty

        if self.errors:
            result.errors = _said(uncertainty, result, image)
        if self.ambiguity:
            result.bands = _said(ambiguity, result, image)
        if self.crosscheck and (found := _said(_compared, result, image)) is not None:
            from endmember.signals.result.doubts import agreement_of

            result.record["agreement"] = agreement_of(found)


def _said(judge: Any, result: Any, image: Any) -> Any:
    try:
        found = judge(result, image)
    except ValueError as refusal:
        note(f"Note: {refusal}")
        return None
    typer.echo(found.sentence)
    return found


def _compared(result: Any, image: Any) -> Any:
    """Fit other methods to the same pixels and channels."""
    from endmember.assess.comparison import compare
    from endmember.signals.choosing import choose_model, choose_models

    k, options = result.model.n_components_, result.options
    seed = getattr(result.model, "random_state", 0)
    plain, _, _ = choose_model(image, k, random_state=seed, **options)
    others = choose_models(image, plain)
    own = f"{type(result.model).__name__} (this)"
    models = {
        own: result.model,
        **{n: m for n, m in others.items() if repr(m) != repr(result.model)},
    }
    return compare(image, models, bands=False, **options)
