"""Solvers for divergences, whose gradient is a denominator less a numerator."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from endmember.factor.data.kernels import Rest, run
from endmember.factor.solvers.base import Memory, Solver
from endmember.factor.subproblems import Counted, Quadratic, Ratio, Subproblem, times_gram


class MultiplicativeUpdate(Solver):
    r"""Multiplicative updates: every entry times the ratio of what pulls it up to what pulls it down.

    .. math:: F \leftarrow F \circ \left(\frac{N}{D}\right)^{\gamma(\beta)},\qquad
              \gamma = \tfrac{1}{2-\beta}\ (\beta<1),\ 1\ (1\le\beta\le2),\ \tfrac{1}{\beta-1}\ (\beta>2)

    The minimiser of a surrogate that lies above the objective, so the objective never rises. Slow,
    and an entry at zero stays there: the yardstick for other solvers, and the way for any
    beta-divergence. What penalties add joins the surrogate.

    References
    ----------
    Lee & Seung, NIPS 13 (2001). Févotte & Idier, Neural Comput. 23 (2011) 2421.

    Examples
    --------
    >>> sub = Quadratic(np.eye(2), np.array([[3.0, 1.0]]))
    >>> MultiplicativeUpdate().improve(sub, np.ones((1, 2)), 2)
    array([[3., 1.]])
    """

    solves: tuple[type[Subproblem], ...] = (Quadratic, Ratio)
    keeps_signs = True
    in_words = "multiplicative updates"
    references = ("C. Févotte and J. Idier, Neural Comput. 23 (2011) 2421.",)

    def improve(
        self,
        subproblem: Quadratic | Ratio,
        F: np.ndarray,
        n_others: int,
        *,
        penalties: Sequence[Any] = (),
        memory: Memory | None = None,
    ) -> np.ndarray:
        if isinstance(subproblem, Quadratic):
            # Every entry of G and H counts on the side that its sign puts it.
            down = times_gram(F, np.maximum(subproblem.G, 0)) + np.maximum(-subproblem.H, 0)
            up = times_gram(F, np.maximum(-subproblem.G, 0)) + np.maximum(subproblem.H, 0)
            return subproblem.clip(F * _quotient(up, down))
        up, down = subproblem.parts(F)
        linear = np.broadcast_to(subproblem.linear, F.shape)
        up, down = up + np.maximum(-linear, 0), down + np.maximum(linear, 0)
        if subproblem.quadratic.any():
            up = up + F @ np.maximum(-subproblem.quadratic, 0)
            # The surrogate ``down·t − up·F ln t + ½ (curvature/F) t²`` has its minimum at a root.
            root = np.sqrt(down**2 + 4.0 * (F @ np.maximum(subproblem.quadratic, 0)) * up)
            return subproblem.clip(F * _quotient(2.0 * up, down + root))
        beta = subproblem.beta
        gamma = 1.0 / (2.0 - beta) if beta < 1 else 1.0 / max(beta - 1.0, 1.0)
        return subproblem.clip(F * _quotient(up, down) ** gamma)


def _quotient(up: np.ndarray, down: np.ndarray) -> np.ndarray:
    return np.divide(up, down, out=np.zeros_like(up), where=down > 0)


class Newton(Solver):
    r"""Newton steps for Poisson, all components of a row at once, taken further while the other factor follows.

    .. math:: d = \arg\min_{f + d \ge 0}\ g\cdot d + \tfrac12\, d \cdot H d,\qquad
              g = \sum_j z_j (1 - x_j/v_j),\quad H = \sum_j \frac{x_j}{v_j^2}\, z_j z_j^\top,\qquad
              f \leftarrow f + t\,d

    Two factors that are improved in turn creep along the valley where one makes up for the other. Going
    ``relaxation`` times the step (successive over-relaxation) cuts through it: the objective still falls, since
    :math:`t(2 - t) > 0`. No logarithm loses more than :math:`-u - \ln(1 - u)` where the model falls by the fraction
    :math:`u`, and ``t`` is made smaller until that keeps a quarter of the promised descent. A factor whose partner did
    not move is improved without over-relaxation.

    Parameters
    ----------
    inner : int
        Steps per sweep.
    relaxation : float
        How many times a step is taken, from 1 to below 2.

    References
    ----------
    Hien & Gillis, J. Sci. Comput. 87 (2021) 93 (self-concordance). Young, Trans. Am. Math. Soc. 76 (1954) 92.

    Examples
    --------
    >>> from endmember.factor.data.in_memory import Dense
    >>> from endmember.factor.losses import Poisson
    >>> sub = Poisson().subproblem(Dense(np.array([[3.0, 5.0]])), [np.ones((1, 2)), np.eye(2)], 0)
    >>> Newton(inner=20).improve(sub, np.ones((1, 2)), 2).round(6)
    array([[3., 5.]])
    """

    solves: tuple[type[Subproblem], ...] = (Counted,)
    obeys = ("basis",)
    short_sweeps = 30
    in_words = "over-relaxed Newton steps"
    references = (
        "L. T. K. Hien and N. Gillis, J. Sci. Comput. 87 (2021) 93.",
        "D. M. Young, Trans. Am. Math. Soc. 76 (1954) 92.",
    )

    def __init__(self, inner: int = 1, relaxation: float = 1.8) -> None:
        self.inner, self.relaxation = inner, relaxation

    def improve(
        self,
        subproblem: Counted,
        F: np.ndarray,
        n_others: int,
        *,
        penalties: Sequence[Any] = (),
        memory: Memory | None = None,
    ) -> np.ndarray:
        F = np.array(subproblem.clip(F), order="C")
        relaxation = self.relaxed(subproblem, penalties, memory)
        lower = np.array(np.broadcast_to(subproblem.lower, F.shape), float, order="C")
        upper = np.array(np.broadcast_to(subproblem.upper, F.shape), float, order="C")
        slopes = np.ascontiguousarray(subproblem.everywhere + subproblem.linear)
        rest = Rest(slopes, np.ascontiguousarray(subproblem.quadratic), lower, upper)
        counts, Z = (
            subproblem.entries.counts(subproblem.floor),
            np.ascontiguousarray(subproblem.Z.T),
        )
        run("newton_steps", counts, Z, F, rest, relaxation, self.inner)
        return F

    def relaxed(self, subproblem: Ratio, penalties: Sequence[Any], memory: Memory | None) -> float:
        """Return how far to go: further only where the other factor has moved, and an objective says what is better."""
        if memory is None or not all(penalty.has_objective for penalty in penalties):
            return 1.0
        before, memory["other"] = memory.get("other"), subproblem.Z
        moved = before is not None and not np.array_equal(before, subproblem.Z)
        return self.relaxation if moved else 1.0
