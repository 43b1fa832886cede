"""The penalties of a factor together: what was given, whether all can be granted, and their one set of bounds."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from numbers import Real
from typing import Any

import numpy as np

from endmember.errors import Argument, EndmemberError, EndmemberTypeError, refuse_if
from endmember.factor.data.axis import Grid
from endmember.factor.penalties.base import Automatic, Penalty, worded
from endmember.factor.penalties.basis import Basis
from endmember.factor.penalties.elementwise import Free, NonNegative
from endmember.factor.subproblems import Bound


def steers_columns(penalties: Iterable[Penalty]) -> bool:
    """Tell whether one of the penalties on a factor has a rule for columns."""
    return any("column" in penalty.offers() for penalty in penalties)


def decides(penalties: Iterable[Penalty]) -> bool:
    """Tell whether data decide where one of the penalties holds, or how much it weighs."""
    return any(p.tested or isinstance(getattr(p, "weight", 0), Automatic) for p in penalties)


def resolve(
    penalties: Penalty | Iterable[Penalty] | None,
    name: str,
    tested: bool = False,
    weights: Iterable[float] = (),
) -> list[Penalty]:
    """Return the penalties of one factor as a list, with non-negativity unless ``Free()`` is among them.

    ``tested`` says whether the model can let the data decide where a penalty holds, and how much it weighs; ``weights``
    are those that they have chosen already.

    Raises
    ------
    TypeError
        If something given is not a penalty.
    ValueError
        If the weight of one is no number of at least 0.
    """
    given: list[Any] = [] if penalties is None else [penalties]
    if isinstance(penalties, Iterable) and not isinstance(penalties, str):
        given = list(penalties)
    for penalty in given:
        refuse_if(
            not isinstance(penalty, Penalty),
            f"{name}={penalty!r} is not a penalty; give one such as em.Smooth(), a list of "
            "them, or None",
            kind=EndmemberTypeError,
        )
        refuse_if(
            name == "maps" and isinstance(penalty, Basis),
            worded(penalty),
            " is about spectra; give it as spectra=",
        )
        weight = getattr(penalty, "weight", 0)
        chosen = isinstance(weight, str) and weight == "auto"
        refuse_if(
            (penalty.tested or chosen) and not tested,
            f"{penalty!r} on the {name}: em.NMF, also inside em.Drifting, lets the data decide; give ",
            "a weight such as 0.01 here"
            if chosen
            else "a mask of bool here, where True = must be zero",
        )
        refuse_if(
            not chosen and (not isinstance(weight, Real) or not 0 <= float(weight) < np.inf),
            worded(
                penalty,
                f"weight={weight!r} of em.{type(penalty).__name__} on the {name}",
                weight,
            ),
            ' must be a number of at least 0, such as 0.01, or "auto"',
        )
    left = iter(weights)
    given = [
        p.weighing(Automatic(next(left, getattr(p, "first", type(p)().weight))))
        if getattr(p, "weight", 0) == "auto"
        else p
        for p in given
    ]
    if not any(isinstance(penalty, Free | NonNegative) for penalty in given):
        given.insert(0, NonNegative())
    # What must hold exactly has the last word.
    return sorted(given, key=lambda penalty: "prox" in penalty.offers() and not penalty.has_scale)


def is_free(penalties: Sequence[Penalty]) -> bool:
    """Tell whether a factor with these penalties may have any sign."""
    return any(isinstance(penalty, Free) for penalty in penalties)


def check_together(penalties: Mapping[str, Sequence[Penalty]], k: int) -> None:
    """Refuse penalties on the factors of a model, by name, that cannot all be granted.

    Raises
    ------
    ValueError
        With the sentence of the first penalty that is in conflict.
    """
    for name, own in penalties.items():
        others = [those for other, those in penalties.items() if other != name]
        for penalty in own:
            reason = penalty.conflict(own, others, k)
            if reason:
                words = (reason,) if isinstance(reason, str) else reason
                raise EndmemberError(
                    worded(penalty, f"{type(penalty).__name__} on the {name}"), ": ", *words
                )


def bounds_of(
    penalties: Sequence[Penalty], shape: tuple[int, int], grid: Grid | None = None
) -> tuple[Bound, Bound]:
    """Return the box in which all penalties' boxes overlap.

    Parameters
    ----------
    penalties : sequence of Penalty
    shape : (int, int)
        Of the factor, (n, k).
    grid : Grid, optional
        Says which pixels or channels are the rows of the factor; all of them unless given.

    Raises
    ------
    ValueError
        If the boxes do not overlap.
    """
    bounding: list[Any] = [penalty for penalty in penalties if "bounds" in penalty.offers()]
    boxes = [(-np.inf, np.inf), *(penalty.bounds(shape, grid) for penalty in bounding)]
    lower = reduce(np.maximum, [low for low, _ in boxes])
    upper = reduce(np.minimum, [high for _, high in boxes])
    crossed = np.count_nonzero(np.greater(lower, upper))
    names = " and ".join(type(penalty).__name__ for penalty in bounding)
    refuse_if(
        crossed,
        f"{names} contradict each other in {crossed} entries of the factor: a given value below zero needs ",
        Argument("free", says="em.Free()"),
        " beside it, and an entry that must be absent cannot be given",
    )
    return lower, upper
