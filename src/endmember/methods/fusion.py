"""Structured data fusion: several data sets that share factors, written like the equations of a paper."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from endmember.errors import EndmemberError, refuse_if
from endmember.factor.arrangements.fusion import FusedData, FusedLoss, SharedTerm, Sum, Summand
from endmember.factor.data import Axis, Grid, filled_in, one_blas_thread
from endmember.factor.loop import (
    Callback,
    Fit,
    Problem,
    alternate,
    can_obey,
    check_combination,
    concluded,
    default_solver,
    multistart,
)
from endmember.factor.penalties import Penalty
from endmember.factor.scale.carriers import Scales, charged_factors, pinned_columns
from endmember.factor.solvers import HALS, Newton, Solver
from endmember.methods.checks import check_sweeps
from endmember.methods.expressions import Factor, Fixed, Term, checked_terms

#: Sweeps of the short run from every start.
SHORT = 30

__all__ = ["Factor", "Fusion", "FusionFit", "Term"]


@dataclass(frozen=True)
class FusionFit:
    """The factors of a fusion and how they were reached; ``fit[C]`` is the array of factor ``C``.

    Attributes
    ----------
    objective_ : ndarray
        Misfit and penalties of the chosen start, one value a sweep.
    misfits_ : list of float
        The weighted misfit of every term, half the sum of squares for squared error.
    weights_ : list of float
        The weight of every term.
    n_iter_ : int
        Sweeps of the chosen start.
    converged_ : bool
        Whether ``tol`` was reached within ``max_iter`` sweeps.
    optimality_ : float
        The largest unit-free residual of the optimality conditions of all factors.
    starts_ : list of float
        Where the short run from every start ended.
    """

    arrays: dict[Factor, np.ndarray]
    objective_: np.ndarray
    misfits_: list[float]
    weights_: list[float]
    n_iter_: int
    converged_: bool
    optimality_: float
    starts_: list[float]

    def __getitem__(self, factor: Factor) -> np.ndarray:
        """Return a factor, (*domain, k) for the leading modes of data and (channels, k) for their last."""
        if factor not in self.arrays:
            raise KeyError(f"{factor!r} takes part in no term of this fusion")
        return self.arrays[factor]


class Fusion:
    r"""Several terms that share factors, minimised together.

    .. math:: \sum_t \lambda_t D(X_t, E_{t1} E_{t2}^\top) + \text{penalties}

    With ``Term(eels, C + N, S1)`` and ``Term(edxs, C, S2)`` this is equation (14) of Muto & Shiga, with
    ``Term(raw, C, S + N)`` and ``Term(subtracted, C, S)`` equation (15). What the data leave open, the scale
    of each component, is fixed by columns of unit length: of the spectra, and first of all of those that stand
    beside a sum, so that no summand is made small by inflating them.

    Parameters
    ----------
    terms : sequence of Term
    init : mapping of Factor to ndarray, optional
        Where to start; what is left out starts at random.
    n_starts : int
        Random starts, of which the one with the lowest objective goes on.
    max_iter : int
        Sweeps at most.
    tol : float
        Relative progress per sweep that ends the fit.
    random_state : int, optional

    Raises
    ------
    TypeError, ValueError
        If terms do not fit together; the message names the factor.

    References
    ----------
    Sorber, Van Barel & De Lathauwer, IEEE J. Sel. Top. Signal Process. 9 (2015) 586. Muto & Shiga,
    Microscopy 69 (2020) 110, equations (14) and (15).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> maps, spectra, lines = rng.random((30, 2)), rng.random((2, 20)), rng.random((2, 9))
    >>> C, S, L = Factor(2), Factor(2), Factor(2)
    >>> terms = [Term(maps @ spectra, C, S, weight=1), Term(maps @ lines, C, L, weight=1)]
    >>> fit = Fusion(terms, random_state=0, tol=1e-9).fit()
    >>> bool(np.allclose(fit[C] @ fit[L].T, maps @ lines, atol=1e-2))
    True
    """

    def __init__(
        self,
        terms: Sequence[Term],
        *,
        init: Any = None,
        n_starts: int = 10,
        max_iter: int = 2000,
        tol: float = 1e-6,
        random_state: Any = None,
    ) -> None:
        self.terms, self.init, self.n_starts = terms, init, n_starts
        self.max_iter, self.tol, self.random_state = max_iter, tol, random_state

    def fit(self, callback: Callback | None = None) -> FusionFit:
        """Find the factors.

        Parameters
        ----------
        callback : callable, optional
            Called after every sweep with ``stage``, ``sweep``, ``objective`` and ``seconds_left``;
            returning True stops and keeps the best so far.

        Returns
        -------
        FusionFit
        """
        check_sweeps(self)
        with one_blas_thread():
            return self._fit(Assembly(checked_terms(self.terms)), callback)

    def _fit(self, assembly: "Assembly", callback: Callback | None) -> FusionFit:
        solvers, problem = assembly.solvers(), assembly.problem
        given = assembly.given(self.init)
        rng = np.random.default_rng(self.random_state)
        n_starts = 1 if len(given) == len(assembly.factors) else self.n_starts
        starts = [
            (f"start {number}", assembly.start(seed, given, number))
            for number, seed in enumerate(rng.spawn(n_starts))
        ]
        problem = problem.settled(starts[0][1])
        best, reports = multistart(
            replace(problem, penalties=assembly.penalties_of_starts(given)), starts, solvers,
            n_starts=n_starts, tol=self.tol, max_iter=self.max_iter, short=SHORT, callback=callback,
        )  # fmt: skip
        done = len(best.objective)
        if not best.stopped and done < self.max_iter:
            best = alternate(
                problem, best, solvers, max_iter=self.max_iter - done, tol=self.tol,
                callback=callback, first_sweep=done,
            )  # fmt: skip
        best, optimality = concluded(problem, best, self.tol)
        return assembly.answer(best, optimality, [report.objective for report in reports])


class Assembly:
    """Terms put together: factors numbered, shapes checked, noise measured.

    Attributes
    ----------
    factors : list of Factor
        In the order in which the terms name them; the loop improves the first one last.
    problem : Problem
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = terms
        self.factors = _in_order(terms)
        self.number = {factor: i for i, factor in enumerate(self.factors)}
        self.sizes, self.domains, self.channels = self._layout()
        self.k = self.factors[0].k
        self.penalties = [
            factor.all_penalties(size, domain)
            for factor, size, domain in zip(self.factors, self.sizes, self.domains, strict=True)
        ]
        self.parts = [
            SharedTerm(term.data, term.loss_, term.weight_, [*map(self._sum, term.slots)])
            for term in terms
        ]
        # One likelihood of counts, of two plain factors in every term, adds up as it is.
        adds_up = all(
            len(term.slots) == 2
            and repr(term.loss_) == repr(terms[0].loss_)
            and Newton().can_solve(term.loss_.makes)
            and all(len(slot.summands) == 1 and slot.summands[0][1] is None for slot in term.slots)
            for term in terms
        ) and all(can_obey(Newton(), penalty) for own in self.penalties for penalty in own)
        self.loss = FusedLoss(terms[0].loss_ if adds_up else None)
        grids = [
            Grid(domain, known=len(domain) > 1 or channels)
            for domain, channels in zip(self.domains, self.channels, strict=True)
        ]
        data = FusedData(self.parts, self.sizes, self._scales(grids))
        self.problem = Problem(data, self.loss, self.penalties, grids, valleys=True)

    def _layout(self) -> tuple[list[int], list[tuple[int, ...]], list[bool]]:
        """Return for every factor how many rows it has, in what shape, and whether they are channels."""
        found: dict[Factor, tuple[int, tuple[int, ...], bool, int]] = {}
        axes: dict[Factor, Axis] = {}
        for place, term in enumerate(self.terms):
            last = len(term.slots) - 1
            for mode, slot in enumerate(term.slots):
                rows, shape = term.data.shape[mode], term.shape_of(mode)
                for factor, matrix in slot.summands:
                    if matrix is not None and matrix.shape[0] != rows:
                        raise EndmemberError(
                            f"a known matrix of shape {matrix.shape} stands for mode {mode} of term "
                            f"{place + 1}, which has {rows} rows; give a matrix with as many rows as the data"
                        )
                    n = rows if matrix is None else matrix.shape[1]
                    here = n, shape if matrix is None else (n,), mode == last, place
                    known = found.setdefault(factor, here)
                    refuse_if(
                        known[0] != n,
                        f"{factor!r} would have {known[0]} rows in term {known[3] + 1} and {n} in term "
                        f"{place + 1}; data on another grid need a known matrix between them: G @ factor",
                    )
                    if mode == last and matrix is None:
                        axis = axes.setdefault(factor, term.observed.axis)
                        axis.check(
                            term.observed.axis, f"the data of term {place + 1}, which share {factor!r}, lie",
                            "give a factor of its own, or a known matrix between the axes: G @ factor",
                        )  # fmt: skip
                    if len(known[1]) < len(here[1]):
                        found[factor] = here
        rows_, shapes, last_ = zip(*(found[factor][:3] for factor in self.factors), strict=True)
        return list(rows_), list(shapes), list(last_)

    def _sum(self, slot: Any) -> Sum:
        return Sum(
            tuple(
                Summand(self.number[factor], matrix, 1.0 if matrix is None else _bound(matrix))
                for factor, matrix in slot.summands
            ),
            slot.is_mixed,
        )

    def _scales(self, grids: Sequence[Grid]) -> Scales:
        """Return who carries the scale: spectra beside a sum first, then all other spectra, then the rest."""
        numbers = [[[s.factor for s in slot.summands] for slot in part.sums] for part in self.parts]
        beside, spectra, others = [], [], []
        for term in numbers:
            has_sum = any(len(slot) > 1 for slot in term)
            for slot in reversed(term):
                if has_sum and len(slot) == 1:
                    beside += slot
            spectra += term[-1]
            others += [f for slot in reversed(term[:-1]) for f in slot]
        order = beside + spectra if charged_factors(self.penalties).any() else spectra + beside
        pinned = pinned_columns(self.penalties, self.sizes, grids, self.k)
        return Scales(self.penalties, pinned, numbers, [*order, *others])

    def solvers(self) -> list[Solver]:
        """Return the solver of every factor, or refuse penalties that none can obey."""
        solvers = []
        for i, penalties in enumerate(self.penalties):
            curved = not self.loss.shared and any(
                part.is_curved and any(part.places(i)) for part in self.parts
            )
            # Going through the columns never rises, however ill-conditioned the rows are.
            by_columns = curved and all(can_obey(HALS(), penalty) for penalty in penalties)
            solver = HALS() if by_columns else default_solver(self.loss, penalties, self.k)
            check_combination(self.loss, [solver], [penalties], [repr(self.factors[i])])
            solvers.append(solver)
        return solvers

    def penalties_of_starts(self, given: dict[int, np.ndarray]) -> list[list[Penalty]]:
        """Return the penalties for finding a start: what only loosens a coupling is zero unless given."""
        penalties = [list(own) for own in self.penalties]
        for i in self._loosening - set(given):
            penalties[i] = [*penalties[i], Fixed(np.zeros((self.sizes[i], self.k)))]
        return penalties

    @property
    def _loosening(self) -> set[int]:
        """The factors of any sign in sums that are held non-negative."""
        return {
            summand.factor
            for part in self.parts
            for slot in part.sums
            for summand in slot.summands
            if slot.non_negative and self.factors[summand.factor].is_free
        }

    def given(self, init: Any) -> dict[int, np.ndarray]:
        """Return the user's own start, by the number of the factor."""
        given = {}
        for factor, values in dict(init or {}).items():
            refuse_if(
                factor not in self.number, f"init names {factor!r}, which takes part in no term"
            )
            i = self.number[factor]
            array = np.array(values, dtype=np.float64)
            refuse_if(
                array.size != self.sizes[i] * self.k or array.shape[-1] != self.k,
                f"init gives {factor!r} the shape {array.shape}; allowed: {(*self.domains[i], self.k)}",
            )
            given[i] = array.reshape(-1, self.k)
        return given

    def start(
        self, rng: np.random.Generator, given: dict[int, np.ndarray], number: int
    ) -> list[np.ndarray]:
        """Return random factors within their bounds; in every second start spectra are those of random pixels."""
        factors = [rng.random((size, self.k)) for size in self.sizes]
        pixels: dict[int, np.ndarray] = {}
        for part in self.parts:
            last, n = part.sums[-1].summands, part.data.matrix.shape[0]
            if number % 2 and len(last) == 1 and last[0].matrix is None and n >= self.k:
                if n not in pixels:
                    pixels[n] = np.sort(rng.choice(n, self.k, replace=False))
                rows = np.maximum(part.data.matrix.rows(pixels[n]), 0.0).T
                factors[last[0].factor] = rows + 0.1 * np.mean(rows) * factors[last[0].factor]
        for i in self._loosening:
            factors[i][:] = 0.0
        for i, values in given.items():
            factors[i] = values.copy()
        factors = [self.problem.clip(F, i) for i, F in enumerate(factors)]
        self._scale(factors, set(given))
        return factors

    def _scale(self, factors: list[np.ndarray], settled: set[int]) -> None:
        """Make the model as large as the data, by factors that are not settled yet, in place."""
        for part in self.parts:
            for slot in part.sums:
                free = [s.factor for s in slot.summands if s.factor not in settled]
                if len(free) == len(slot.summands):
                    scale = part.scale(factors) or 1.0
                    for i in free:
                        factors[i] = self.problem.clip(factors[i] * scale, i)
                    break
            settled |= {s.factor for slot in part.sums for s in slot.summands}

    def answer(self, fit: Fit, optimality: float, starts: list[float]) -> FusionFit:
        """Return the factors in the shapes of the data, and how they were reached."""
        dtypes = [term.data.matrix.dtype for term in self.terms]
        arrays = {}
        for i, factor in enumerate(self.factors):
            F = fit.factors[i].astype(np.result_type(*dtypes))
            unseen = np.ones(
                self.sizes[i], dtype=bool
            )  # rows that are masked wherever they take part
            for part, term in zip(self.parts, self.terms, strict=True):
                for mode, summand in part.places(i):
                    masked = term.masked(mode)
                    unseen &= False if summand.matrix is not None or masked is None else masked
            F[unseen] = np.nan
            F = F.reshape(*self.domains[i], self.k)
            fills = unseen.any() and any(penalty.spatial for penalty in self.penalties[i])
            arrays[factor] = filled_in(F) if fills else F
        return FusionFit(
            arrays=arrays,
            objective_=np.array(fit.objective),
            misfits_=[part.misfit(fit.factors) for part in self.parts],
            weights_=[part.weight for part in self.parts],
            n_iter_=len(fit.objective),
            converged_=fit.converged,
            optimality_=optimality,
            starts_=starts,
        )


def _in_order(terms: Sequence[Term]) -> list[Factor]:
    """Return the factors: those of any sign, which take what others leave, then those of the leading modes."""
    leading = sorted(
        (f for term in terms for slot in term.slots[:-1] for f, _ in slot.summands),
        key=lambda factor: not factor.is_free,
    )
    last = [f for term in terms for f, _ in term.slots[-1].summands]
    return list(dict.fromkeys([*leading, *last]))


def _bound(matrix: Any) -> float:
    """Return the largest squared singular value of a known matrix."""
    from scipy.sparse.linalg import norm as sparse_norm
    from scipy.sparse.linalg import svds

    if not hasattr(matrix, "tocsr"):
        return float(np.linalg.norm(matrix, 2) ** 2)
    return (
        float(sparse_norm(matrix) ** 2)
        if min(matrix.shape) < 3
        else float(svds(matrix, k=1, return_singular_vectors=False)[0] ** 2) * (1 + 1e-9)
    )
