"""Solvers for divergences, whose gradient is a denominator less a numerator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from endmember.factor.solvers.base import Memory, Solver
from endmember.factor.subproblem import Quadratic, Ratio, Subproblem, times_gram

#: Above this damped length a full Newton step may overshoot (Hien & Gillis 2021, proposition 2).
LONG_STEP = 0.683802


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
            curvature = F @ np.maximum(subproblem.quadratic, 0)
            return subproblem.clip(_with_curvature(F, up, down, curvature))
        return subproblem.clip(F * _quotient(up, down) ** _exponent(subproblem.beta))


def _quotient(up: np.ndarray, down: np.ndarray) -> np.ndarray:
    return np.divide(up, down, out=np.zeros_like(up), where=down > 0)


def _exponent(beta: float) -> float:
    if beta < 1:
        return 1.0 / (2.0 - beta)
    return 1.0 if beta <= 2 else 1.0 / (beta - 1.0)


def _with_curvature(
    F: np.ndarray, up: np.ndarray, down: np.ndarray, curvature: np.ndarray
) -> np.ndarray:
    """Minimise ``down·t − up·F ln t + ½ (curvature/F) t²``, the surrogate with a quadratic term."""
    discriminant = np.sqrt(down**2 + 4.0 * curvature * up)
    return F * _quotient(2.0 * up, down + discriminant)


class Newton(Solver):
    r"""Scalar Newton steps for Poisson: one column after another, every entry by its own two derivatives.

    .. math:: t \leftarrow \max(t - g/q, 0),\quad g = \sum_j z_j(1 - x_j/v_j),\quad q = \sum_j x_j z_j^2/v_j^2

    Where the slope is negative the full step is safe. Where it is positive it is damped by what self-concordance
    allows, so the objective never rises.

    Parameters
    ----------
    inner : int
        Steps per column and sweep at most; stops when a step is below a fifth of the first.

    References
    ----------
    Hien & Gillis, J. Sci. Comput. 87 (2021) 93.
    """

    solves: tuple[type[Subproblem], ...] = (Ratio,)
    short_sweeps = 30
    in_words = "scalar Newton steps"
    references = ("L. T. K. Hien and N. Gillis, J. Sci. Comput. 87 (2021) 93.",)

    def __init__(self, inner: int = 3) -> None:
        self.inner = inner

    def improve(
        self,
        subproblem: Ratio,
        F: np.ndarray,
        n_others: int,
        *,
        penalties: Sequence[Any] = (),
        memory: Memory | None = None,
    ) -> np.ndarray:
        F = np.array(F)
        lower = np.broadcast_to(subproblem.lower, F.shape)
        upper = np.broadcast_to(subproblem.upper, F.shape)
        concordance = subproblem.self_concordance()
        linear = np.broadcast_to(subproblem.linear, F.shape)
        for j in range(F.shape[1]):
            first = None
            for _ in range(self.inner):
                g, q = subproblem.slope(F, j)
                g = g + linear[:, j] + F @ subproblem.quadratic[:, j]
                q = q + subproblem.quadratic[j, j]
                step = _damped_step(F[:, j], g, q, concordance)
                step = np.clip(F[:, j] + step, lower[:, j], upper[:, j]) - F[:, j]
                subproblem.move(F, j, step)
                size = np.linalg.norm(step)
                first = size if first is None else first
                if size <= 0.2 * first:
                    break
        # Moving by differences leaves the last bits of a bound behind.
        return subproblem.clip(F)


def _damped_step(
    t: np.ndarray, g: np.ndarray, q: np.ndarray, concordance: np.ndarray
) -> np.ndarray:
    """Return the step of every entry: a full one downhill to the right, a damped one to the left."""
    # Without curvature the misfit is linear: all the way down, or nowhere.
    full = np.where(q > 0, -g / np.where(q > 0, q, 1.0), np.where(g > 0, -t, 0.0))
    full = np.maximum(full, -t)
    length = concordance * np.sqrt(q) * np.abs(full)
    damped = (g > 0) & (length > LONG_STEP) & (q > 0)
    return np.where(damped, full / (1.0 + length), full)
