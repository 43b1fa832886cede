r"""Many sweeps for the price of one: compressed data with the zeros of the maps kept.

While it is known which entries of the maps are zero, the maps are a linear function of the spectra. With data
:math:`X = L R^\top`, :math:`G = S^\top S` and :math:`K_P` the inverse of ``G`` among the components that pattern ``P``
leaves free, zero elsewhere, all pixels of a pattern have

.. math:: C_P = L_P A_P,\quad A_P = R^\top S K_P,\qquad
          C^\top C = \sum_P A_P^\top (L_P^\top L_P) A_P,\quad L^\top C = \sum_P (L_P^\top L_P) A_P

so that a sweep costs :math:`r^2 k` a pattern, however many pixels there are. Such sweeps follow one another, mixed as
D. G. Anderson proposed; then the loop solves for all pixels again, and takes the leap back if the objective rose.

Anderson, J. ACM 12 (1965) 547. Walker & Ni, SIAM J. Numer. Anal. 49 (2011) 1715.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

from endmember.factor.loop.fit import WINDOW, Fit, stands_still
from endmember.factor.loop.problem import Problem
from endmember.factor.penalties import NonNegative
from endmember.factor.solvers import ANLS, Solver, groups, inverses
from endmember.factor.subproblems import Quadratic

#: Sweeps that bring less than this fraction of the objective are slow: where more is asked, leaps take their place,
SLOW = 1e-6
#: and progress is measured over so many of them.
LEAPS = 3
#: Sweeps of a leap, at most.
SWEEPS = 20
#: A leap ends where a sweep brings less than this fraction of the progress that counts as none.
STILL = 0.01
#: Earlier sweeps that are mixed.
MEMORY = 8
#: What keeps the mixing away from directions that are all but the same.
RIDGE = 1e-10
#: Patterns that follow the spectra; pixels of rarer ones keep their maps.
MOST_PATTERNS = 64


def can_leap(problem: Problem, solvers: Sequence[Solver]) -> bool:
    """Tell whether leaps are possible: compressed data, exact solvers, maps that shall be positive and nothing else."""
    return (
        len(problem.penalties) == 2
        and problem.loss.needs == "products"
        and not problem.ruled
        and problem.data.halves() is not None
        and all(isinstance(solver, ANLS) for solver in solvers)
        and all(type(penalty) is NonNegative for penalty in problem.penalties[0])
        and not any(p.offers() & {"basis", "norm"} or p.has_scale for p in problem.penalties[1])
    )


class Leaps:
    """Leaps between the sweeps of a run, from when these are slow."""

    def __init__(self, problem: Problem, solvers: Sequence[Solver], tol: float) -> None:
        self.problem, self.solvers, self.tol = problem, solvers, tol
        self.possible, self.begun, self.sweeps = can_leap(problem, solvers), False, SWEEPS

    @property
    def window(self) -> int | None:
        """Over how many sweeps progress is measured; None before the first leap."""
        return LEAPS if self.begun else None

    def are_due(self, fit: Fit) -> bool:
        """Tell whether the sweeps of a fit are slow."""
        least = SLOW * abs(fit.objective[-1])
        return self.begun or (self.possible and stands_still(fit.objective, 0.0, least, WINDOW))

    def ahead(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the factors many sweeps ahead."""
        self.begun = True
        found = leap(self.problem, factors, self.solvers[1], self.sweeps, self.tol)
        self.sweeps = min(2 * self.sweeps, SWEEPS)
        return found

    def taken_back(self, fit: Fit) -> list[np.ndarray]:
        """Return the factors from which the last leap began, and make the next one shorter."""
        self.sweeps = max(self.sweeps // 4, 1)
        return list(fit.factors)


def leap(
    problem: Problem, factors: Sequence[np.ndarray], solver: Solver, sweeps: int, tol: float
) -> list[np.ndarray]:
    """Return the factors that sweeps with the zeros of the maps kept lead to.

    Parameters
    ----------
    problem : Problem
        One that :func:`can_leap`.
    factors : sequence of ndarray, (n, k), (m, k)
    solver : Solver
        Of the spectra.
    sweeps : int
        At most.
    tol : float
        Relative progress per sweep that counts as none.
    """
    maps, mixing = _KeptZeros(problem, factors[0]), Mixing()
    point = S = factors[1]
    best = np.inf
    for _ in range(sweeps):
        subproblem, misfit = maps.spectra(point)
        objective = misfit + sum(
            penalty.value(point, subproblem.setting) for penalty in problem.penalties[1]
        )
        if objective > best:
            if point is S:
                break
            mixing, point = Mixing(), S
            continue
        gained, best = best - objective, objective
        S = solver.improve(
            subproblem, point, problem.data.n_others(1), penalties=problem.penalties[1]
        )
        if gained <= STILL * tol * abs(objective):
            break
        point = subproblem.clip(mixing.after(point, S))
    return [maps.of(S), S]


class Mixing:
    r"""Anderson's mixing of the steps of an iteration :math:`x \mapsto g(x)`.

    With :math:`f = g(x) - x`, the next point is :math:`g - \Delta g\,\gamma`, where :math:`\gamma` makes
    :math:`f - \Delta f\,\gamma` as short as can be.

    Examples
    --------
    >>> mixing, x = Mixing(), np.array([1.0, 1.0])
    >>> for _ in range(4):
    ...     x = mixing.after(x, np.array([[0.9, 0.3], [0.0, 0.8]]) @ x)
    >>> bool(np.linalg.norm(x) < 1e-6)
    True
    """

    def __init__(self) -> None:
        self.steps: deque[np.ndarray] = deque(maxlen=MEMORY)
        self.images: deque[np.ndarray] = deque(maxlen=MEMORY)

    def after(self, point: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Return the point that follows ``point`` and its ``image``."""
        self.steps.append((image - point).ravel())
        self.images.append(image.ravel())
        if len(self.steps) < 2:
            return image
        steps, images = np.diff(self.steps, axis=0), np.diff(self.images, axis=0)
        A = steps @ steps.T
        A += RIDGE * np.trace(A) / len(A) * np.eye(len(A))
        return (
            image
            if not A.any()
            else image - (np.linalg.solve(A, steps @ self.steps[-1]) @ images).reshape(image.shape)
        )


class _KeptZeros:
    """Maps whose zeros are kept, as functions of the spectra."""

    def __init__(self, problem: Problem, C: np.ndarray) -> None:
        halves = problem.data.halves()
        assert halves is not None
        self.problem, (self.L, self.R), (self.r, self.c) = (
            problem,
            halves,
            problem.data.matrix.scales,
        )
        found = sorted(groups(C > 0), key=lambda group: -len(group[0]))
        self.groups, rare = found[:MOST_PATTERNS], found[MOST_PATTERNS:]
        self.patterns = np.array([free for _, free in self.groups])
        self.squares = np.array([L.T @ L for L in (self.L[rows] for rows, _ in self.groups)])
        others = np.concatenate([rows for rows, _ in rare]) if rare else np.empty(0, int)
        self.C = self.r * C
        fixed = self.C[others]
        self.fixed = fixed.T @ fixed, self.L[others].T @ fixed

    def _shares(self, S: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``A`` of every pattern, (patterns, r, k), ``RᵀS`` and ``G``."""
        S = self.c * S
        W, G = self.R.T @ S, S.T @ S
        return W @ inverses(G, self.patterns), W, G

    def spectra(self, S: np.ndarray) -> tuple[Quadratic, float]:
        """Return what the maps of spectra ``S`` ask of spectra, and the misfit of both."""
        A, W, G = self._shares(S)
        products = self.squares @ A
        CC = np.einsum("prk,prl->kl", A, products) + self.fixed[0]
        LC = products.sum(axis=0) + self.fixed[1]
        misfit = 0.5 * (self.problem.data.squared_norm - 2 * np.vdot(LC, W) + np.vdot(CC, G))
        plain = Quadratic(
            CC, (self.R @ LC) / self.c, -np.inf, np.inf, self.problem.data.row_weights(1)
        )
        subproblem = self.problem.penalised(plain, 1, [self.C, S])
        assert isinstance(subproblem, Quadratic)
        return subproblem, float(misfit)

    def of(self, S: np.ndarray) -> np.ndarray:
        """Return the maps of spectra ``S``, cut where they would be negative."""
        C = self.C
        for (rows, _), A in zip(self.groups, self._shares(S)[0], strict=True):
            C[rows] = self.L[rows] @ A
        return np.maximum(C, 0.0) / self.r
