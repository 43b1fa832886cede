"""Which solver can do what, and one sentence for every combination that cannot be."""

from __future__ import annotations

from collections.abc import Sequence

from endmember.factor.losses import Loss
from endmember.factor.penalties import Penalty, is_free, offers
from endmember.factor.solvers import (
    ADMM,
    ALS,
    ANLS,
    HALS,
    MALS,
    MultiplicativeUpdate,
    Newton,
    Solver,
)

#: Solvers that a refusal can name, in the order in which they are worth trying.
CANDIDATES: tuple[Solver, ...] = (
    ANLS(), Newton(), HALS(), MultiplicativeUpdate(), ADMM(), ALS(), MALS(),
)  # fmt: skip
#: Above this many components going through the columns is quicker than pivoting.
MANY = 20


def can_obey(solver: Solver, penalty: Penalty) -> bool:
    """Tell whether a solver can do what a penalty wishes; a rule for columns is never left out."""
    needs = offers(penalty) - {"bounds"}
    if not needs or needs == {"add"}:
        return True
    return bool(needs & set(solver.obeys))


def can_solve(solver: Solver, loss: Loss) -> bool:
    """Tell whether a solver can work on the subproblems of a loss."""
    return solver.can_solve(loss.makes)


def default_solver(loss: Loss, penalties: Sequence[Penalty], k: int) -> Solver:
    """Return the solver that measures best for one factor."""
    candidates = (HALS(), *CANDIDATES) if k > MANY and loss.makes.squares else CANDIDATES
    for solver in candidates:
        if can_solve(solver, loss) and all(can_obey(solver, penalty) for penalty in penalties):
            return solver
    # None can: the one that could but for the penalties makes the clearest refusal.
    return next(solver for solver in candidates if can_solve(solver, loss))


def default_solvers(loss: Loss, wishes: Sequence[Sequence[Penalty]], k: int) -> list[Solver]:
    """Return the solver that measures best for every factor, given the wishes about each."""
    return [default_solver(loss, penalties, k) for penalties in wishes]


def check_combination(
    loss: Loss, solver: Solver, penalties: Sequence[Penalty], factor: str
) -> None:
    """Refuse a combination that cannot work, and name the way out.

    Raises
    ------
    ValueError
        If the solver cannot work with the loss, or cannot do what a penalty of ``factor`` wishes.
    """
    if not can_solve(solver, loss):
        raise ValueError(
            f"{solver!r} cannot minimise {loss!r}; {_named(loss, penalties, 'use')}, or solver=None to have it chosen"
        )
    if loss.takes != "any" and is_free(penalties):
        raise ValueError(
            f"{loss!r} needs a model without negative values, so the {factor} cannot be em.Free(); use "
            "em.SquaredError() or leave em.Free() out"
        )
    if solver.keeps_signs and is_free(penalties):
        raise ValueError(
            f"{solver!r} multiplies entries, which keeps their sign, so the {factor} cannot be em.Free(); "
            f"{_named(loss, penalties, 'use')}"
        )
    for penalty in penalties:
        if not can_obey(solver, penalty):
            raise ValueError(
                f"{penalty!r} on the {factor} is not compatible with {solver!r}, which cannot apply "
                f"{' or '.join(sorted(offers(penalty)))} steps; {_named(loss, penalties, 'use')}"
            )


def _named(loss: Loss, penalties: Sequence[Penalty], verb: str) -> str:
    fitting = [
        solver
        for solver in CANDIDATES
        if can_solve(solver, loss)
        and all(can_obey(solver, penalty) for penalty in penalties)
        and not (solver.keeps_signs and is_free(penalties))
    ]
    if not fitting:
        return f"{verb} em.SquaredError() instead of {loss!r}, or leave a penalty out"
    return f"{verb} " + " or ".join(f"solver=em.{solver!r}" for solver in fitting[:3])
