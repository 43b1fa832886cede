"""All that defines an optimum: data, loss and the penalties of every factor; and one sweep towards it."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from endmember.factor.columns import lengths, or_one
from endmember.factor.data import Arrangement, Grid
from endmember.factor.data.kernels import ENOUGH, SHORTER, TIMES
from endmember.factor.losses import Loss
from endmember.factor.penalties import Penalty, bounds_of
from endmember.factor.scale.carriers import Carriers, Scales, charged_factors, pinned_columns
from endmember.factor.solvers import ANLS, HALS, Memory, Newton, Solver
from endmember.factor.subproblems import Bound, Noise, Quadratic, Ratio, Setting, Subproblem

#: A cost below this fraction of the data's square is none.
FLED = 1e-9
#: No amount of a column begins below this fraction of their mean under a divergence, which holds on to zeros.
LEAST_AMOUNT = 0.01
#: Rounds in which scale is shared between factors that are charged, before the first sweep.
SHARING = 30
#: Factors are the same that differ by less than this fraction of the largest entry.
SAME = 1e-12


@dataclass(frozen=True)
class Problem:
    """Data, loss and the penalties of every factor: all that defines the optimum.

    ``penalties[mode]`` are those of factor number ``mode``, ``grids[mode]`` says where its
    rows lie, ``settings[mode]`` what a weight of 1 is worth for it. ``noise`` is measured where a
    penalty decides how many components there are. ``valleys`` says that the data open valleys along
    which the objective hardly falls, as terms that share factors do.
    """

    data: Arrangement
    loss: Loss
    penalties: Sequence[Sequence[Penalty]]
    grids: Sequence[Grid]
    settings: Sequence[Setting] | None = None
    noise: Noise | None = None
    valleys: bool = False
    _scales: dict[int, Carriers] = field(init=False, default_factory=dict)
    _boxes: dict[tuple[int, tuple[int, int]], tuple[Bound, Bound]] = field(
        init=False, default_factory=dict
    )

    @property
    def _all_penalties(self) -> list[Penalty]:
        return [penalty for own in self.penalties for penalty in own]

    @property
    def chooses(self) -> str:
        """By which rule the number of components is decided; "" where it is given."""
        return next((p.chooses for p in self._all_penalties if p.chooses), "")

    def settled(self, factors: Sequence[np.ndarray]) -> "Problem":
        """Return the problem with the size of every weight fixed, measured at ``factors``.

        Raises
        ------
        ValueError
            If a penalty makes no sense for its factor.
        """
        factors = self.scales(factors[-1].shape[1]).balanced(factors)
        settings = []
        for mode, F in enumerate(factors):
            plain = self.plain(factors, mode)
            curvature, weights = plain.curvature(F), self.data.row_weights(mode)
            squares = lengths(F, weights) ** 2 / (1.0 if weights is None else np.mean(weights))
            settings.append(
                Setting(
                    curvature, plain.peak(F), self.grids[mode],
                    self.noise, self._typical(mode, F.shape[1]),
                    float(np.sqrt(2 * self.loss.reference(self.data))),
                    curvature * float(np.mean(squares)),
                )
            )  # fmt: skip
            for penalty in self.penalties[mode]:
                penalty.check(F.shape, settings[mode])
        return replace(self, settings=settings)

    def _typical(self, mode: int, k: int) -> float:
        """Return the mean entry of a factor if its ``k`` components were alike, and the others flat."""
        if self.noise is None:
            return 1.0
        m = self.data.shape[-1]
        mean = float(np.mean(self.data.matrix.dot(np.ones((m, 1))))) / m
        flat = [
            lengths(np.ones((size, 1)), self.data.row_weights(other))[0]
            for other, size in enumerate(self.data.shape)
            if other != mode
        ]
        return abs(mean) * float(np.prod(flat)) / k

    @property
    def creeps(self) -> bool:
        """Whether the floor of the objective is noise, above which a valley is too low to be seen."""
        return self.valleys or any(p.creeps for p in self._all_penalties)

    def level(self, misfit: float, factors: Sequence[np.ndarray]) -> float:
        """Return the variance of the noise, in units of the misfit: twice what is left for each entry that is free."""
        return 2.0 * max(misfit, 0.0) / max(self.data.size - sum(F.size for F in factors), 1)

    def noise_left(self, factors: Sequence[np.ndarray]) -> float:
        """Return the variance of the noise as factors leave it in the data, in units of the misfit."""
        return self.level(self.loss.misfit(self.data, factors), factors)

    def scales(self, k: int) -> Carriers:
        """Return who carries the scale of each of ``k`` components."""
        if k not in self._scales:
            self._scales[k] = self.data.own_scales or Scales(
                self.penalties,
                pinned_columns(self.penalties, self.data.shape, self.grids, k),
                row_weights=[self.data.row_weights(mode) for mode in range(len(self.grids))],
            )
        return self._scales[k]

    @cached_property
    def _charged(self) -> list[int]:
        return np.flatnonzero(charged_factors(self.penalties)).tolist()

    def spent(self, factors: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Return for every factor that is charged by how much that rises with the logarithm of each length, (k,)."""
        return {
            mode: np.sum([p.spent(factors[mode], self._setting(mode)) for p in own], axis=0)
            for mode, own in enumerate(self.penalties)
            if mode in self._charged
        }

    def balanced(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the same model with all scale where it is carried, and shared at the least cost."""
        factors = self.scales(factors[-1].shape[1]).balanced(factors)
        for _ in range(SHARING if self.shares_scale else 0):
            self.share(factors)
        return factors

    def share(self, factors: list[np.ndarray]) -> None:
        """Move scale between factors that are charged towards where they cost least together, in place."""
        size = self.settings[0].size if self.settings else 0.0
        self.scales(factors[-1].shape[1]).share(factors, self.spent(factors), FLED * size**2)

    @property
    def shares_scale(self) -> bool:
        """Whether several factors are charged, so that costs decide how they share the scale."""
        return len(self._charged) > 1

    def _setting(self, mode: int) -> Setting | None:
        return self.settings[mode] if self.settings else None

    def plain(self, factors: Sequence[np.ndarray], mode: int) -> Subproblem:
        """Return what the data alone ask of factor number ``mode``."""
        return self.loss.subproblem(self.data, factors, mode)

    def touching(self, factors: Sequence[np.ndarray], mode: int) -> Quadratic:
        """Return the square that touches what the data alone ask of factor number ``mode``."""
        return self.loss.touching(self.data, factors, mode)

    def penalised(self, plain: Subproblem, mode: int, factors: Sequence[np.ndarray]) -> Subproblem:
        """Return the subproblem of a factor with all that the penalties of all factors put into it at ``factors``."""
        F = factors[mode]
        subproblem = copy(plain) if isinstance(plain, Quadratic) else plain
        lower, subproblem.upper = self._box(mode, F.shape)
        summed = np.ndim(plain.lower) > 0  # a sum that must not fall below zero
        subproblem.lower = np.maximum(lower, plain.lower) if summed else lower
        subproblem.setting = self._setting(mode)
        for penalty in self.penalties[mode]:
            if hasattr(penalty, "add"):
                penalty.add(subproblem, F)
        if self._charged:
            costs = self.scales(factors[-1].shape[1]).costs_elsewhere(self.spent(factors), mode)
            subproblem.add_costs_elsewhere(costs, F)
        return subproblem

    @cached_property
    def known(self) -> "dict[int, Amounts]":
        """The known columns that stand before a factor, by its number."""
        return {
            mode: Amounts(penalty.basis(self.grids[mode]))
            for mode, own in enumerate(self.penalties)
            for penalty in own
            if hasattr(penalty, "basis")
        }

    def behind(self, mode: int, solver: Solver) -> Any:
        """Return a solver of factor number ``mode``: the one given, or with it one of the amounts of known columns."""
        return replace(self.known[mode], solver=solver) if mode in self.known else solver

    def clip(self, F: np.ndarray, mode: int) -> np.ndarray:
        """Return values of factor number ``mode`` near those given, or the nearest, that keep all constraints."""
        return (
            np.clip(F, *self._box(mode, F.shape))
            if mode not in self.known
            else self.known[mode].nearest(F, 0.0 if self.loss.makes.squares else LEAST_AMOUNT)
        )

    def _box(self, mode: int, shape: tuple[int, int]) -> tuple[Bound, Bound]:
        """Return the bounds of factor number ``mode``."""
        if (mode, shape) not in self._boxes:
            self._boxes[mode, shape] = bounds_of(self.penalties[mode], shape, self.grids[mode])
        return self._boxes[mode, shape]

    def penalty(self, factors: Sequence[np.ndarray]) -> float:
        """Return what all penalties add to the objective."""
        return sum(
            penalty.value(F, self._setting(mode))
            for mode, (own, F) in enumerate(zip(self.penalties, factors, strict=True))
            for penalty in own
        )

    def optimality(self, factors: Sequence[np.ndarray]) -> float:
        """Return the largest unit-free KKT residual of all factors (two products with the data).

        Where a rule without an objective takes part, how far one more sweep would move the maps.
        """
        if self.ruled:
            return self._unrest(factors)
        residuals = []
        for mode, F in enumerate(factors):
            subproblem = self.penalised(self.plain(factors, mode), mode, factors)
            for penalty in self.penalties[mode]:
                if "norm" in penalty.offers():
                    subproblem.add_linear(penalty.slope(subproblem, F))
            if mode in self.known:
                residuals.append(self.known[mode].optimality(subproblem, F))
                continue
            steps = [p.prox for p in self.penalties[mode] if "prox" in p.offers()]
            residuals.append(subproblem.optimality(F, steps))
        return max(residuals)

    @property
    def ruled(self) -> bool:
        """Whether a rule without an objective takes part."""
        return not all(penalty.has_objective for penalty in self._all_penalties)

    def _unrest(self, factors: Sequence[np.ndarray]) -> float:
        """Return how far one more sweep moves the first factor, relative to its length."""
        factors = self.balanced(factors)
        before = factors[0]
        self.sweep(factors, [HALS() for _ in factors], [{} for _ in factors])
        size = np.linalg.norm(before)
        return float(np.linalg.norm(factors[0] - before) / size) if size > 0 else 0.0

    def sweep(
        self, factors: list[np.ndarray], solvers: Sequence[Solver], memory: Sequence[Memory]
    ) -> tuple[float, float]:
        """Improve every factor once, the first one last, in place; return the objective and the misfit."""
        for mode in reversed(range(len(factors))):
            plain = self.plain(factors, mode)
            subproblem = self.penalised(plain, mode, factors)
            solver = self.behind(mode, solvers[mode]) if self.known else solvers[mode]
            factors[mode] = subproblem.improved_by(
                solver, factors[mode], self.data.n_others(mode),
                penalties=self.penalties[mode], memory=memory[mode],
            )  # fmt: skip
            if mode == 0:
                misfit = self.loss.misfit(self.data, factors, 0, plain)
            self.scales(factors[-1].shape[1]).balance(factors, mode)
        if self.shares_scale:
            self.share(factors)
        return misfit + self.penalty(factors), misfit


@dataclass
class Amounts:
    r"""A factor behind known columns, :math:`F = B W` with :math:`W \ge 0`: what is asked of it, asked of its amounts.

    Where the problem of ``F`` (m, k) has the slope :math:`\nabla` and in row j the curvature :math:`G_j`, that of the
    amounts ``W`` (p, k) has

    .. math:: \nabla_W = B^\top \nabla,\qquad G_W = \sum_j b_j b_j^\top \otimes G_j

    so that all amounts together are the one row of a problem that solvers know. Columns that are alike are no
    hindrance, as the amounts of all are found at once. Inside, columns have unit length.

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
