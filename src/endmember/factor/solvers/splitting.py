"""Splitting: for penalties that only know their proximal step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from endmember.factor.solvers.base import Memory, Solver
from endmember.factor.solvers.least_squares import solve_rows
from endmember.factor.subproblems.quadratic import Quadratic


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
        steps = [penalty for penalty in penalties if hasattr(penalty, "prox")] or [None]
        rho = subproblem.curvature()
        if rho <= 0:  # nothing depends on this factor
            return subproblem.clip(F)
        copies = [F.copy() for _ in steps]
        apart = memory.setdefault("apart", [np.zeros_like(F) for _ in steps])
        damped = replace(subproblem)
        damped.add_quadratic(rho * len(steps))
        for _ in range(self.inner):
            pulled = replace(damped)
            pulled.add_linear(-rho * sum(Z - U for Z, U in zip(copies, apart, strict=True)))
            F = solve_rows(pulled.G, pulled.H)
            for p, penalty in enumerate(steps):
                Z = F + apart[p]
                if penalty is not None:
                    Z = penalty.prox(Z, 1.0 / rho, subproblem.setting)
                copies[p] = subproblem.clip(Z)
                apart[p] = apart[p] + F - copies[p]
        return copies[-1]
