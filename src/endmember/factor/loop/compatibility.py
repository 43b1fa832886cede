"""Which solver can do what, and one sentence for every combination that cannot be."""

from collections.abc import Iterable, Sequence
from itertools import chain

from endmember.errors import Argument, EndmemberError, Words, among
from endmember.factor.losses import Loss, SquaredError
from endmember.factor.penalties import Penalty, is_free, worded
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
    """Tell whether a solver can do what a penalty asks for; a rule for columns is never left out."""
    needs = penalty.offers() - {"bounds"}
    return needs <= {"add"} or bool(needs & set(solver.obeys))


def can_serve(solver: Solver, loss: Loss, penalties: Sequence[Penalty]) -> bool:
    """Tell whether a solver can improve a factor with these penalties under a loss."""
    return (
        solver.can_solve(loss.makes)
        and all(can_obey(solver, penalty) for penalty in penalties)
        and not ((solver.keeps_signs or loss.takes != "any") and is_free(penalties))
    )


def default_solver(loss: Loss, penalties: Sequence[Penalty], k: int) -> Solver:
    """Return the solver that measures best for one factor."""
    candidates = (HALS(), *CANDIDATES) if k > MANY and loss.makes.squares else CANDIDATES
    able = (solver for solver in candidates if can_serve(solver, loss, penalties))
    # Where none can, the one that could but for the penalties makes the clearest refusal.
    return next(chain(able, (s for s in candidates if s.can_solve(loss.makes))))


def default_solvers(loss: Loss, penalties: Sequence[Sequence[Penalty]], k: int) -> list[Solver]:
    """Return the solver that measures best for every factor, given the penalties of each."""
    return [default_solver(loss, own, k) for own in penalties]


def check_combination(
    loss: Loss,
    solvers: Sequence[Solver],
    penalties: Sequence[Sequence[Penalty]],
    names: Iterable[str],
) -> None:
    """Refuse a model that cannot work, and name a way out that the whole model can take.

    Parameters
    ----------
    loss : Loss
    solvers, penalties, names : sequences
        The solver, the penalties and the name of every factor.

    Raises
    ------
    ValueError
        If a solver cannot work with the loss, or cannot do what a penalty of its factor asks for.
    """
    factors = list(zip(solvers, penalties, names, strict=True))
    for _, own, name in factors:  # what no solver can cure comes first
        if loss.takes != "any" and is_free(own):
            raise EndmemberError(
                Argument.part("loss", loss),
                f" needs a model without negative values, so the {name} cannot be em.Free(); ",
                *_way_out(loss, penalties, "em.Free()"),
            )
    for solver, own, name in factors:
        if not can_serve(solver, loss, own):
            raise EndmemberError(
                *_obstacle(solver, loss, own, name), "; ", *_way_out(loss, penalties, "a penalty")
            )


def _obstacle(solver: Solver, loss: Loss, penalties: Sequence[Penalty], name: str) -> Words:
    """Return why a solver cannot serve a factor."""
    this = Argument.part("solver", solver)
    if not solver.can_solve(loss.makes):
        return this, " cannot minimise ", Argument.part("loss", loss)
    if solver.keeps_signs and is_free(penalties):
        return (
            this,
            f" multiplies entries, which keeps their sign, so the {name} cannot be em.Free()",
        )
    penalty = next(penalty for penalty in penalties if not can_obey(solver, penalty))
    refused = worded(penalty, f"{penalty!r} on the {name}")
    steps = " or ".join(sorted(penalty.offers()))
    return refused, " is not compatible with ", this, f", which cannot apply {steps} steps"


def _way_out(loss: Loss, penalties: Sequence[Sequence[Penalty]], burden: str) -> Words:
    """Return what to use instead: solvers, else another loss with its solver, or less of a burden."""
    if solvers := _named(loss, penalties):
        return "use ", *among(solvers), " to have it chosen"
    if solvers := _named(SquaredError(), penalties):
        return (
            "use ",
            Argument("loss", "SquaredError", "em.SquaredError()"),
            " with ",
            solvers[0],
            " instead of ",
            Argument.part("loss", loss),
            f", or leave {burden} out",
        )
    return (f"leave {burden} out, for no solver can apply all penalties",)


def _named(loss: Loss, penalties: Sequence[Sequence[Penalty]]) -> list[Argument]:
    """Return the solvers that can serve all factors of a model, as they are given to it, None last."""
    every = [s for s in CANDIDATES if all(can_serve(s, loss, own) for own in penalties)]
    named = [
        Argument("solver", type(solver).__name__, f"solver=em.{solver!r}") for solver in every[:3]
    ]
    if all(any(can_serve(s, loss, own) for s in CANDIDATES) for own in penalties):
        named.append(Argument("leave it out", says="solver=None"))
    return named
