"""Solvers that go through the columns of a factor, one after another."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from endmember.factor.solvers.base import Memory, Solver
from endmember.factor.subproblems import Quadratic, Ratio, Setting, Subproblem

#: A step that makes a divergence worse is halved so often, then left out.
HALVINGS = 10
#: A column obeys its rules when they change it by less than this fraction of its largest entry.
OBEYED = 1e-9


class HALS(Solver):
    r"""Hierarchical alternating least squares: one column after another, each exactly.

    .. math:: f_j \leftarrow \left[f_j + (H - F G)_j / G_{jj}\right]_{\rm box}

    Equations (11) and (12) of Muto & Shiga. Each column is the exact minimiser with the others
    fixed, so the objective never rises. Penalties with a rule for a column apply it here.

    For a divergence every column takes one step of weighted least squares, with weights
    :math:`V^{\beta-2}` anew for each:

    .. math:: f_j \leftarrow [h / d]_+,\quad d_i = \sum_l v_{il}^{\beta-2} z_l^2,\quad
              h = d \circ f_j - \nabla_j

    halved in every row until the divergence does not rise there.

    Parameters
    ----------
    inner : int or "accelerated"
        How often the columns are gone through per sweep. "accelerated" repeats as long as that is
        cheap beside the products with the data and still changes much: at most
        :math:`\lfloor 1 + \tfrac12\rho\rfloor \le 10` times with
        :math:`\rho = 1 + m(n + k)/(n(k + 1))`, or until a pass changes less than a tenth of the
        first.

    References
    ----------
    Cichocki & Phan, IEICE Trans. Fundam. E92-A (2009) 708. Gillis & Glineur, Neural Comput. 24
    (2012) 1085. Li, Lebanon & Park, KDD (2012) 307.

    Examples
    --------
    >>> sub = Quadratic(np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[3.0, 3.0]]))
    >>> HALS(inner=100).improve(sub, np.zeros((1, 2)), 2).round(6)
    array([[1., 1.]])
    """

    solves: tuple[type[Subproblem], ...] = (Quadratic, Ratio)
    obeys = ("basis", "column")
    in_words = "hierarchical alternating least squares (HALS)"
    references = (
        "A. Cichocki and A.-H. Phan, IEICE Trans. Fundam. E92-A (2009) 708.",
        "N. Gillis and F. Glineur, Neural Comput. 24 (2012) 1085.",
    )

    def __init__(self, inner: int | str = "accelerated") -> None:
        self.inner = inner

    def improve(
        self,
        subproblem: Quadratic | Ratio,
        F: np.ndarray,
        n_others: int,
        *,
        penalties: Sequence[Any] = (),
        memory: Memory | None = None,
    ) -> np.ndarray:
        F = np.array(F, order="F")
        rules = [p for p in penalties if "column" in p.offers()]
        first = None
        for _ in range(self._passes(subproblem, n_others)):
            before = F.copy()
            _pass(subproblem, F, rules)
            change = np.linalg.norm(F - before)
            first = change if first is None else first
            if change == 0 or (change <= 0.1 * first and self.inner == "accelerated"):
                break
        # A step that was halved may not have reached the box from outside.
        return np.ascontiguousarray(subproblem.clip(F))

    def _passes(self, subproblem: Subproblem, n_others: int) -> int:
        if not subproblem.squares:
            return 1
        if not isinstance(self.inner, str):
            return self.inner
        n, k = subproblem.shape
        return min(10, int(1 + 0.5 * (1 + n_others * (n + k) / (n * (k + 1)))))


def _pass(subproblem: Quadratic | Ratio, F: np.ndarray, rules: Sequence[Any]) -> None:
    """Go through the columns once, in place."""
    lower = np.broadcast_to(subproblem.lower, F.shape)
    upper = np.broadcast_to(subproblem.upper, F.shape)
    for j in range(F.shape[1]):
        slope, d = subproblem.of_column(F, j)
        alive = d > 0
        d = np.where(alive, d, 1.0)
        # h / d is where the column would go with nothing in its way.
        new = np.where(alive, F[:, j] - slope / d, F[:, j])
        if rules:
            # Rules weigh the rows of a column against each other.
            weights = 1.0 if subproblem.row_weights is None else subproblem.row_weights
            new = _ruled(
                new, d * weights, F, j, lower[:, j], upper[:, j], rules, subproblem.setting
            )
        new = np.clip(new, lower[:, j], upper[:, j])
        if isinstance(subproblem, Ratio) and not rules:
            new = _downhill(subproblem, F, j, new)
        subproblem.set_column(F, j, new)


def _downhill(subproblem: Ratio, F: np.ndarray, j: int, new: np.ndarray) -> np.ndarray:
    """Return a new column ``j``, half as far in every row where the objective rises, until it does not."""
    for _ in range(HALVINGS):
        worse = subproblem.rise(F, j, new - F[:, j]) > 0
        if not worse.any():
            return new
        new = np.where(worse, 0.5 * (F[:, j] + new), new)
    return np.where(worse, F[:, j], new)


def _ruled(
    target: np.ndarray,
    d: np.ndarray,
    F: np.ndarray,
    j: int,
    lower: np.ndarray,
    upper: np.ndarray,
    rules: Sequence[Any],
    setting: Setting | None,
) -> np.ndarray:
    """Return column ``j`` with the rules applied in turn, between the bounds.

    Rules that know nothing of each other or of the bounds may miss the best column: one that already
    obeys stays where the new one is worse.
    """

    def applied(column: np.ndarray) -> np.ndarray:
        column = np.minimum(column, upper)
        for rule in rules:
            column = rule.column(column * d, d, F, j, setting).clip(lower, upper)
        return column

    before, after = F[:, j], applied(target)
    worse = np.sum(d * (after - target) ** 2) > np.sum(d * (before - target) ** 2)
    obeyed = worse and np.allclose(
        applied(before), before, rtol=0, atol=OBEYED * np.abs(before).max()
    )
    return before if obeyed else after
