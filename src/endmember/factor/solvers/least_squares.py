"""Unconstrained least squares, put right afterwards as MCR-ALS does, or in turn with penalties that know their prox."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from endmember.factor.solvers.base import TOLERANCE, Memory, Solver
from endmember.factor.subproblems import ProximalStep, Quadratic, times_gram

#: Weights of MALS start here, never exceed LARGEST, and are dropped below SMALLEST.
START, LARGEST, SMALLEST = 1.0, 10.0, 1e-8
#: A column whose negative part is below this fraction of it needs no weight any more.
CALM = 1e-3


class ALS(Solver):
    r"""Alternating least squares: solve without bounds, then clip and apply every constraint.

    .. math:: F \leftarrow [H G^{-1}]_+

    Equations (5) and (6) of Muto & Shiga. Clipping is not the bounded minimum, so the objective
    may rise; the best iterate is kept. Use it to compare with MCR-ALS, and :class:`ANLS` to unmix.

    Parameters
    ----------
    floor : float
        Entries below this fraction of the factor's largest are raised to it: the small constant of the article,
        made relative.

    References
    ----------
    Paatero & Tapper, Environmetrics 5 (1994) 111. Jaumot, de Juan & Tauler, Chemom. Intell. Lab.
    Syst. 140 (2015) 1.

    Examples
    --------
    >>> sub = Quadratic(np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[3.0, 0.0]]))
    >>> ALS().improve(sub, np.zeros((1, 2)), 2)
    array([[2., 0.]])
    """

    obeys = ("column", "prox")
    monotone = False
    short_sweeps = 20
    in_words = "alternating least squares (ALS) with constraints applied after every half step"
    references = ("P. Paatero and U. Tapper, Environmetrics 5 (1994) 111.",)

    def __init__(self, floor: float = 0.0) -> None:
        self.floor = floor

    def improve(
        self,
        subproblem: Quadratic,
        F: np.ndarray,
        n_others: int,
        *,
        penalties: Sequence[Any] = (),
        memory: Memory | None = None,
    ) -> np.ndarray:
        return put_right(solve_rows(subproblem.G, subproblem.H), subproblem, penalties, self.floor)


class MALS(Solver):
    r"""Modified ALS: the step from the last estimate is damped while negative values still change.

    .. math:: F \leftarrow [(H + F_{\rm old} W)(G + W)^{-1}]_+ , \qquad W = {\rm diag}(\omega_k)\,{\rm trace}(G)/k

    Equations (7) and (8) of Muto & Shiga. Every :math:`\omega_k` starts at 1, is halved when the negative part of its
    column before clipping did not grow, and is raised by half (up to 10) when it did.

    Parameters
    ----------
    form : "proximal" or "as_printed"
        "as_printed" leaves :math:`F_{\rm old} W` out for the maps, as equation (8) does: a ridge that must fade away.

    Notes
    -----
    The published rule for the weights speaks of the change of the negative values between estimates; the
    factors 1/2 and 3/2 are ours.

    References
    ----------
    J.-H. Wang, P. K. Hopke, T. M. Hancewicz and S. L. Zhang, Anal. Chim. Acta 476 (2003) 93; S. Muto and M. Shiga,
    Microscopy 69 (2020) 110, equations (7) and (8).

    Examples
    --------
    >>> sub = Quadratic(np.eye(2), np.array([[3.0, -1.0]]))
    >>> MALS().improve(sub, np.array([[1.0, 1.0]]), 2)
    array([[2., 0.]])
    """

    obeys = ("column", "prox")
    monotone = False
    short_sweeps = 20
    in_words = "modified alternating least squares (MALS, {form})"
    references = (
        "J.-H. Wang, P. K. Hopke, T. M. Hancewicz and S. L. Zhang, Anal. Chim. Acta 476 (2003) 93.",
    )

    def __init__(self, form: str = "proximal") -> None:
        self.form = form

    def improve(
        self,
        subproblem: Quadratic,
        F: np.ndarray,
        n_others: int,
        *,
        penalties: Sequence[Any] = (),
        memory: Memory | None = None,
    ) -> np.ndarray:
        memory = {} if memory is None else memory
        omega = memory.setdefault("omega", np.full(F.shape[1], START))
        W = omega * np.mean(subproblem.diagonal())
        ridge_only = self.form == "as_printed" and memory.get("mode") == 0
        H = subproblem.H if ridge_only else subproblem.H + F * W
        free = solve_rows(subproblem.G + np.diag(W), H)
        memory["omega"], memory["negativity"] = _next_weights(omega, free, memory.get("negativity"))
        return put_right(free, subproblem, penalties, 0.0)


class ADMM(Solver):
    r"""Alternating direction method of multipliers inside every half step (AO-ADMM).

    Each penalty with a proximal step gets a copy :math:`Z_p` of the factor and a running
    disagreement :math:`U_p`:

    .. math:: F \leftarrow \arg\min \tfrac12\langle F G, F\rangle - \langle F, H\rangle
              + \tfrac{\rho}{2}\sum_p \|F - Z_p + U_p\|^2,\quad
              Z_p \leftarrow {\rm prox}_p(F + U_p),\quad U_p \leftarrow U_p + F - Z_p

    with :math:`\rho = {\rm trace}(G)/k`. The last copy is returned, which meets its constraint
    exactly. The objective may rise a little; the best iterate is kept.

    Parameters
    ----------
    inner : int
        Rounds in every half step; copies and disagreements are kept from sweep to sweep.

    References
    ----------
    Huang, Sidiropoulos & Liavas, IEEE Trans. Signal Process. 64 (2016) 5052.

    Examples
    --------
    >>> sub = Quadratic(np.eye(2), np.array([[3.0, -1.0]]))
    >>> ADMM(inner=200).improve(sub, np.zeros((1, 2)), 2).round(6) + 0.0
    array([[3., 0.]])
    """

    obeys = ("prox",)
    monotone = False
    in_words = "alternating optimisation with ADMM"
    references = (
        "K. Huang, N. D. Sidiropoulos and A. P. Liavas, IEEE Trans. Signal Process. 64 (2016) 5052.",
    )

    def __init__(self, inner: int = 10) -> None:
        self.inner = inner

    def improve(
        self,
        subproblem: Quadratic,
        F: np.ndarray,
        n_others: int,
        *,
        penalties: Sequence[Any] = (),
        memory: Memory | None = None,
    ) -> np.ndarray:
        memory = {} if memory is None else memory
        given = [penalty.prox for penalty in penalties if hasattr(penalty, "prox")]
        steps: list[ProximalStep] = given or [lambda Z, step, setting: Z]
        rho = subproblem.curvature()
        if rho <= 0:  # nothing depends on this factor
            return subproblem.clip(F)
        copies = [F.copy() for _ in steps]
        apart = memory.setdefault("apart", [np.zeros_like(F) for _ in steps])
        damped = replace(subproblem)
        damped.add_quadratic(rho * len(steps))
        for _ in range(self.inner):
            near = replace(damped)
            near.add_linear(-rho * sum(Z - U for Z, U in zip(copies, apart, strict=True)))
            F = solve_rows(near.G, near.H)
            for p, prox in enumerate(steps):
                copies[p] = subproblem.clip(prox(F + apart[p], 1.0 / rho, subproblem.setting))
                apart[p] = apart[p] + F - copies[p]
        return copies[-1]


def _next_weights(
    omega: np.ndarray, free: np.ndarray, before: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of the next sweep and the negativity of every column."""
    size = np.linalg.norm(free, axis=0)
    negativity = np.linalg.norm(np.minimum(free, 0.0), axis=0) / np.where(size > 0, size, 1.0)
    calmer = np.full(len(omega), True) if before is None else negativity <= before
    omega = np.where(calmer, omega / 2, np.minimum(1.5 * omega, LARGEST))
    return np.where((negativity < CALM) | (omega < SMALLEST), 0.0, omega), negativity


def solve_rows(G: np.ndarray, H: np.ndarray) -> np.ndarray:
    """Return ``H G⁻¹`` for one Gram or one a row; the pseudo-inverse where it is singular."""
    values = np.linalg.eigvalsh(G)
    if not np.all(values[..., 0] > TOLERANCE * values[..., -1]):
        return times_gram(H, np.linalg.pinv(G, rcond=TOLERANCE, hermitian=True))
    return np.linalg.solve(G, H.T).T if G.ndim == 2 else np.linalg.solve(G, H[..., None])[..., 0]


def put_right(
    F: np.ndarray, subproblem: Quadratic, penalties: Sequence[Any], floor: float
) -> np.ndarray:
    """Return ``F`` between its bounds and with every constraint and rule of the penalties applied."""
    lower = np.asarray(subproblem.lower)
    if floor:
        raised = floor * np.max(np.abs(F), initial=0.0)
        lower = np.where((lower == 0) & (subproblem.upper > raised), raised, lower)
    F = np.clip(F, lower, subproblem.upper)
    diagonal = np.broadcast_to(subproblem.diagonal(), F.shape)
    weights = 1.0 if subproblem.row_weights is None else subproblem.row_weights
    for penalty in penalties:
        if hasattr(penalty, "column"):
            for j in range(F.shape[1]):
                divisor = weights * np.where(diagonal[:, j] > 0, diagonal[:, j], 1.0)
                F[:, j] = penalty.column(F[:, j] * divisor, divisor, F, j, subproblem.setting)
        elif hasattr(penalty, "prox"):
            step = 1.0 / max(subproblem.curvature(), np.finfo(float).tiny)
            F = penalty.prox(F, step, subproblem.setting)
        F = np.clip(F, subproblem.lower, subproblem.upper)
    return F
