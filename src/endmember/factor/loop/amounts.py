r"""A factor behind known columns, :math:`F = B W` with :math:`W \ge 0`: what is asked of it, asked of its amounts.

Where the problem of ``F`` (m, k) has the slope :math:`\nabla` and in row j the curvature :math:`G_j`, that of the
amounts ``W`` (p, k) has

.. math:: \nabla_W = B^\top \nabla,\qquad G_W = \sum_j b_j b_j^\top \otimes G_j

so that all amounts together are the one row of a problem that solvers know. Columns that are alike are no hindrance, as
the amounts of all are found at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from endmember.factor.columns import lengths, or_one
from endmember.factor.data.kernels import ENOUGH, SHORTER, TIMES
from endmember.factor.solvers import ANLS, Memory, Newton, Solver
from endmember.factor.subproblems import Quadratic, Ratio, Subproblem

#: Factors are the same that differ by less than this fraction of the largest entry.
SAME = 1e-12


@dataclass
class Amounts:
    """Known columns, and a solver that improves a factor by their amounts; inside, columns have unit length.

    Parameters
    ----------
    columns : ndarray, (m, p)
    solver : Solver
    """

    columns: np.ndarray
    solver: Solver = field(default_factory=ANLS)
    sizes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = or_one(lengths(self.columns))[:, None]
        self.columns = self.columns / self.sizes.T

    def of(self, F: np.ndarray) -> np.ndarray:
        """Return the amounts (p, k) whose combinations are nearest to a factor, of columns as they were given."""
        return self._of(F) / self.sizes

    def _of(self, F: np.ndarray) -> np.ndarray:
        B = self.columns
        asked = Quadratic(B.T @ B, F.T @ B)
        return ANLS().improve(asked, np.zeros(asked.shape), len(B)).T

    def nearest(self, F: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Return the combinations that are nearest to a factor, with no amount below a share ``fill`` of the mean."""
        W = self._of(F)
        return self.columns @ np.maximum(W, fill * W.mean())

    def asked(self, subproblem: Any, F: np.ndarray, W: np.ndarray) -> Quadratic:
        """Return the square that touches a problem at ``F``, as one of all amounts in a row."""
        B, (p, k) = self.columns, W.shape
        weights, bend = subproblem.weights, subproblem.bend(F)
        if bend.ndim == 2:
            G = np.kron(B.T @ (B * weights), bend)
        else:
            G = np.empty((p, k, p, k))
            for q, r in zip(*np.triu_indices(k), strict=True):
                G[:, q, :, r] = B.T @ (B * (weights * bend[:, q, r, None]))
                G[:, r, :, q] = G[:, q, :, r]
            G = G.reshape(p * k, p * k)
        slope = (B.T @ (weights * subproblem.gradient(F))).reshape(1, -1)
        return Quadratic(G, W.reshape(1, -1) @ G - slope)

    def optimality(self, subproblem: Subproblem, F: np.ndarray) -> float:
        """Return the unit-free KKT residual of the amounts."""
        W = self._of(F)
        return self.asked(subproblem, F, W).optimality(W.reshape(1, -1))

    def improve(
        self,
        subproblem: Any,
        F: np.ndarray,
        n_others: int,
        *,
        penalties: Sequence[Any] = (),
        memory: Memory,
    ) -> np.ndarray:
        """Return a better factor; the parameters are those of a solver."""
        W = self._kept(F, memory)
        F = self.columns @ W
        asked = self.asked(subproblem, F, W)
        unit = np.sqrt(or_one(asked.diagonal()))
        row = W.reshape(1, -1) * unit
        asked = Quadratic(asked.G / np.outer(unit, unit), asked.H / unit)
        solver = self.solver if self.solver.can_solve(Quadratic) else ANLS()
        step = ((solver.improve(asked, row, n_others) - row) / unit).reshape(W.shape)
        t = 1.0
        if isinstance(subproblem, Ratio):
            own = self.solver if isinstance(self.solver, Newton) else Newton(relaxation=1.0)
            most = own.relaxed(subproblem, penalties, memory)
            far = np.min(W / np.where(step < 0, -step, 1.0), where=step < 0, initial=most)
            t = _length(subproblem, F, self.columns @ step, max(float(far), 1.0))
        memory["amounts"] = W = np.maximum(W + t * step, 0.0)
        return self.columns @ W

    def _kept(self, F: np.ndarray, memory: Memory) -> np.ndarray:
        """Return the amounts of a factor made here, though its columns were scaled since; of another, the nearest."""
        if "amounts" in memory and memory["amounts"].shape[1] == F.shape[1]:
            made = self.columns @ memory["amounts"]
            scale = lengths(F) / or_one(lengths(made))
            if np.allclose(made * scale, F, rtol=0, atol=SAME * np.abs(F).max()):
                return memory["amounts"] * scale
        return self._of(F)


def _length(subproblem: Ratio, F: np.ndarray, step: np.ndarray, t: float) -> float:
    """Return how far to go along a step: ``t`` times, or less where that might lead uphill."""
    slope, rise = float(np.vdot(subproblem.gradient(F), step)), subproblem.rise_along(F, step)
    for _ in range(TIMES):
        if slope < 0 and rise(t) <= ENOUGH * (2 - t) * t * slope:
            return t
        t *= SHORTER
    return 0.0
