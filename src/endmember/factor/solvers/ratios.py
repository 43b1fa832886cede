"""Solvers for divergences, whose gradient is a denominator less a numerator."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from endmember.factor.data.kernels import (
    ENOUGH,
    NEGLIGIBLE,
    PASSES,
    SETTLED,
    SHORTER,
    TIMES,
    Rest,
    run,
)
from endmember.factor.solvers.base import Memory, Solver
from endmember.factor.subproblems.base import Quadratic, Subproblem, times_gram
from endmember.factor.subproblems.ratio import Counted, Ratio

#: Entries of dense data that are worked on at a time: 4 MiB of float64.
BLOCK_ENTRIES = 2**19


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
            curvature = F @ np.maximum(subproblem.quadratic, 0)
            root = np.sqrt(down**2 + 4.0 * curvature * up)
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
    short_sweeps = 30
    in_words = "over-relaxed Newton steps"
    references = (
        "L. T. K. Hien and N. Gillis, J. Sci. Comput. 87 (2021) 93.",
        "D. M. Young, Trans. Am. Math. Soc. 76 (1954) 92.",
    )

    def __init__(self, inner: int = 1, relaxation: float = 1.8) -> None:
        self.inner = inner
        self.relaxation = relaxation

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
        relaxation = self._relaxation(subproblem, penalties, memory)
        counts, Q = subproblem.counts(), subproblem.quadratic
        lower = np.array(np.broadcast_to(subproblem.lower, F.shape), float, order="C")
        upper = np.array(np.broadcast_to(subproblem.upper, F.shape), float, order="C")
        if counts is not None:
            slopes = np.ascontiguousarray(subproblem.everywhere + subproblem.linear)
            Z = np.ascontiguousarray(subproblem.Z.T)
            rest = Rest(slopes, np.ascontiguousarray(Q), lower, upper)
            run("newton_steps", counts, Z, F, rest, relaxation, self.inner)
            return F
        linear = np.broadcast_to(subproblem.linear, F.shape)
        height = max(1, BLOCK_ENTRIES // n_others)
        for start in range(0, len(F), height):
            rows = slice(start, start + height)
            part = subproblem.some_rows(F, rows)
            for _ in range(self.inner):
                f = F[rows]
                g, H = part.curvatures(f)
                g, H = g + linear[rows] + f @ Q, H + Q
                low, high = lower[rows] - f, upper[rows] - f
                step = best_steps(g, H, low, high)
                t = lengths_of_steps(g, H, Q, low, high, step, part.fall(f, step), relaxation)
                F[rows] = np.clip(f + t[:, None] * step, lower[rows], upper[rows])
        return F

    def _relaxation(
        self, subproblem: Counted, penalties: Sequence[Any], memory: Memory | None
    ) -> float:
        """Return how far to go: further only where the other factor has moved, and an objective says what is better."""
        if memory is None or not all(penalty.has_objective for penalty in penalties):
            return 1.0
        before, memory["other"] = memory.get("other"), subproblem.Z
        moved = before is not None and not np.array_equal(before, subproblem.Z)
        return self.relaxation if moved else 1.0


def best_steps(g: np.ndarray, H: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return for every row the minimiser ``d`` of ``g·d + ½ d·H d`` between ``low`` and ``high``, (n, k)."""
    step, going, first_gain = np.zeros_like(g), np.ones(len(g), bool), np.zeros(len(g))
    for turn in range(PASSES):
        gain = np.zeros(len(g))
        for c in range(g.shape[1]):
            slope, curvature = g[:, c] + np.einsum("ib,ib->i", H[:, c], step), H[:, c, c]
            bent = curvature > 0
            newton = step[:, c] - slope / np.where(bent, curvature, 1.0)
            now = np.where(bent, newton, np.where(slope > 0, low[:, c], step[:, c]))
            now = np.where(going, np.clip(now, low[:, c], high[:, c]), step[:, c])
            gain += curvature * (now - step[:, c]) ** 2
            step[:, c] = now
        first_gain = gain if turn == 0 else first_gain
        going &= gain > SETTLED * first_gain
        if not going.any():
            break
    return step


def lengths_of_steps(
    g: np.ndarray, H: np.ndarray, Q: np.ndarray, low: np.ndarray, high: np.ndarray,
    step: np.ndarray, fall: np.ndarray, relaxation: float,
) -> np.ndarray:  # fmt: skip
    """Return how far to go along the step of every row, (n,), so that the objective falls for certain."""
    slope = np.einsum("ik,ik->i", g, step)
    bent = np.einsum("ik,kl,il->i", step, Q, step)
    whole = np.einsum("ik,ikl,il->i", step, H, step)
    own = step**2 * np.diagonal(H, axis1=1, axis2=2)
    counts = own > NEGLIGIBLE * np.abs(whole)[:, None]
    room = np.where(step > 0, high, low) / np.where(counts, step, 1.0)
    t = np.minimum(relaxation, np.where(counts, np.maximum(room, 1.0), np.inf).min(axis=1))
    curvature = whole - bent
    found = slope >= 0
    t[found] = 0.0
    for _ in range(TIMES):
        u = np.minimum(t * fall, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithm = (-u - np.log1p(-u)) / np.where(fall > 0, fall, 1.0) ** 2
            loss = curvature * np.where(t * fall < 1e-4, t**2 / 2, logarithm)
        rise = t * slope + bent * t**2 / 2 + np.where(curvature > 0, loss, 0.0)
        found |= rise <= ENOUGH * (2 - relaxation) * t * slope
        if found.all():
            return t
        t = np.where(found, t, SHORTER * t)
    return np.where(found, t, 0.0)
