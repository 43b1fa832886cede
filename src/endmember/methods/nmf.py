"""Non-negative matrix factorisation of spectrum images."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from endmember.errors import EndmemberError, EndmemberTypeError, check_known, refuse_if
from endmember.factor.columns import unit_columns
from endmember.factor.data import Data, Grid, Lazy, Observed
from endmember.factor.loop import (
    DEAR,
    STARTS,
    Amounts,
    Callback,
    Fit,
    Problem,
    StartReport,
    absent,
    as_least_squares,
    best_factor,
    check_combination,
    decided,
    excess_of_clipped,
    least_price,
    moved_apart,
    set_aside,
    start_maps,
    tests_of,
    weighed,
    with_zeros,
)
from endmember.factor.loop import merging as moves
from endmember.factor.losses import Loss
from endmember.factor.noise import with_white_noise
from endmember.factor.penalties import Absent, Penalty, bounds_of, check_together, resolve
from endmember.factor.scale.carriers import check_normalise, rescale, unit_in_words
from endmember.factor.sketch.low_rank import is_compressed, sketch_of
from endmember.factor.sketch.passes import OVERSAMPLING, Wanted
from endmember.factor.sketch.refinement import finish
from endmember.factor.solvers import Solver
from endmember.factor.subproblems import Setting
from endmember.methods.alternating import (
    Alternating,
    fitted_start,
    given_start,
    holding,
    learned_columns,
    start_pixels,
)
from endmember.methods.checks import (
    check_fits,
    check_number_of_components,
    check_sweeps,
    generator,
    warn_of_negatives,
)
from endmember.methods.estimator import stored
from endmember.methods.sampling import sampled_starts

#: Compression pays from so many times the entries of the sketch, and from these where starts then take few pixels.
PAYS_FROM = 4, 2


class NMF(Alternating):
    r"""Non-negative matrix factorisation: every pixel a non-negative mixture of k non-negative spectra.

    .. math:: \min_{C, S}\ \ell(X, C S^\top) + \sum R_C(C) + \sum R_S(S), \qquad C \ge 0,\ S \ge 0

    The best of several starts is continued until the objective stands still; large data are first compressed to the
    few directions that carry the signal, and the answer is finished on the full data.

    Parameters
    ----------
    n_components : int
        How many components, k, at most min(pixels, channels); with ``em.Relevance()`` more, of which some are kept.
    loss : loss, optional
        ``em.SquaredError()`` unless given.
    maps, spectra : penalty or list of penalties, optional
        Penalties on the maps and on the spectra. Both are non-negative unless ``em.Free()`` is given.
    solver : solver, optional
        ``em.ANLS()`` unless given.
    init : str, tuple of arrays or estimator
        "multistart", one of "random", "random_pixels", "nndsvd", "nndsvda", "nndsvdar", "pure_pixels", your own
        ``(maps, spectra)``, (*domain, k) and (k, channels), or an estimator that finds them, such as ``em.VCA(3)``.
    n_starts : int
        Starts of "multistart".
    normalise : tuple or None
        Which factor has unit norm in the answer, and which norm: ``("spectra" | "maps", "l1" | "l2" | "max" | p)`` with
        the p of any l_p norm, or ``("spectra", ("area", (start, stop)))`` over an energy window, in the signal's unit
        (channels for arrays). p = 0 divides by the number of entries that are not zero, which is no unit of scale.
    compress : "auto" or bool
        Whether starts and first sweeps run on a low-rank sketch.
    max_iter : int
        Sweeps at most.
    tol : float
        Relative progress per sweep at which the fit has converged.
    random_state : int, numpy Generator, RandomState or None
        Seed; the same seed gives the same answer.

    Attributes
    ----------
    components_, maps_ : ndarray, (k, n_channels), (*domain, k)
        The spectra, NaN at masked channels; the maps, NaN at masked pixels, or filled in from around them where a
        penalty on the maps speaks of neighbours.
    n_components_, n_features_in_ : int
        How many components there are in the answer, and channels in the data, masked ones included.
    relevance_ : ndarray, (n_components,)
        With ``em.Relevance()``: the level of every component that was kept, in their order, then the lowest
        there can be for each that was not.
    channel_weights_ : ndarray, (n_channels,)
        With ``em.PoissonScaled()``: the weight of every channel, with which other data are met as well.
    objective_ : ndarray, (n_iter_,)
        The chosen start's penalised objective after every sweep, on the scale of the full data.
    n_iter_, converged_ : int, bool
        Sweeps of the chosen start; whether ``tol`` was reached within ``max_iter`` at a minimum, ``optimality_`` being
        at most max(1e-5, 10 tol^(2/3)), where something is left of every component.
    optimality_ : float
        Unit-free KKT residual on the full data: 0 at a stationary point.
    starts_ : list of StartReport
        Cost and spectra of every start.
    absent_, absent_spectra_ : ndarray of bool, (*domain, k), (k, n_channels)
        With ``em.Absent("auto")`` on maps or spectra, where the data bear zeros: the entries that were decided.
    excess_ : ndarray, (k,)
        Q: the mean square of the negative amounts that were clipped or tested, in standard errors; NaN for none, and
        not known for free maps and weighted entries. About 1 where zeros are zeros, less where the cone of the spectra
        is wider than the noise allows, more where small amounts are not zero; above 1.8 no tested zeros are kept.
    columns_, amounts_ : ndarray, (p, n_channels), (k, p)
        With ``em.Basis``, columns called ``column_names_`` and their amounts: ``components_ = amounts_ @ columns_``.
    mixed_, other_end_ : float, ndarray (k, n_channels)
        With ``em.Absent("auto", mixed=True)``: the share of the mean image put into every pixel; spectra before that.
    penalty_weights_ : ndarray
        The weights that the data chose where ``weight="auto"`` was given, on ``maps`` first; 0 where without is best.

    References
    ----------
    Paatero & Tapper, Environmetrics 5 (1994) 111. Lee & Seung, Nature 401 (1999) 788. Muto &
    Shiga, Microscopy 69 (2020) 110.

    Examples
    --------
    >>> maps, spectra = np.eye(4, 2).repeat(3, axis=0), np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])
    >>> nmf = NMF(2, random_state=0).fit(maps @ spectra)
    >>> bool(np.allclose(nmf.inverse_transform(nmf.maps_), maps @ spectra))
    True
    """

    in_words = (
        "The data were factorised into {n_components} components by non-negative matrix factorisation (NMF), from "
        "{n_starts} starts, until the objective fell by less than {tol:g} of itself per sweep"
    )
    references = (
        "P. Paatero and U. Tapper, Environmetrics 5 (1994) 111.",
        "S. Muto and M. Shiga, Microscopy 69 (2020) 110.",
    )

    def parts(self) -> list[tuple[str, Any]]:
        penalties = self._penalties()
        named = [(name, penalty) for name, own in penalties.items() for penalty in own]
        k = int(self.n_components or 1)
        solvers = self._solvers(self.own_loss(), list(penalties.values()), k)
        distinct = solvers if repr(solvers[0]) != repr(solvers[1]) else solvers[1:]
        return [*named, ("loss", self.own_loss()), *(("solver", solver) for solver in distinct)]

    @stored
    def __init__(
        self,
        n_components: int | None = None,
        *,
        loss: Any = None,
        maps: Any = None,
        spectra: Any = None,
        solver: Any = None,
        init: Any = "multistart",
        n_starts: int = 10,
        normalise: Any = ("spectra", "l2"),
        compress: bool | str = "auto",
        max_iter: int = 2000,
        tol: float = 1e-6,
        random_state: Any = None,
    ) -> None:
        """Keep the parameters."""

    def _check_parameters(self) -> None:
        check_number_of_components(self.n_components)
        check_normalise(self.normalise)
        penalties = self._penalties()
        check_together(penalties, int(self.n_components or 1))
        check_sweeps(self)
        refuse_if(
            self.solver is not None and not isinstance(self.solver, Solver),
            f"solver={self.solver!r} is not a solver; give em.ANLS(), em.HALS() or None",
            kind=EndmemberTypeError,
        )
        loss, own = self.own_loss(), list(penalties.values())
        solvers = self._solvers(loss, own, int(self.n_components or 1))
        check_combination(loss, solvers, own, penalties)
        check_known("compress", self.compress, "auto", True, False)
        known = ["multistart", *STARTS]
        refuse_if(
            isinstance(self.init, str) and self.init not in known,
            f"init={self.init!r} is not known; allowed: {', '.join(known)}, (maps, spectra), or an "
            "estimator such as em.VCA(3)",
        )

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Callback | None) -> None:
        k, rng = check_fits(self, observed), generator(self.random_state)
        full = self._problem(observed)
        if known := learned_columns(full.penalties[1], observed):
            full = self.restored(known)._problem(observed)
        full, aside = set_aside(full)
        self._check_noise(full, bool(aside), observed)
        warn_of_negatives(observed, *full.penalties)
        for mode, penalty in aside:
            penalty.check((full.data.shape[mode], k), Setting(1.0, 1.0, full.grids[mode]))
        if full.chooses:
            full = replace(full, noise=moves.measure_noise(full.data.matrix, full.loss, k))
        quick = replace(full, data=self._compressed(full.data.matrix, k))
        first = 1 if full.chooses else None  # others follow when their number is known
        given = self._given(quick, observed, k)
        quick, fit, self.starts_ = self._start(quick, k, given, rng, callback, first)
        full = replace(full, settings=quick.settings)
        if full.chooses:
            fit = self._choose(quick, fit, rng, callback)
        fit = self._continue(quick, fit, callback, "fit")
        if tests_of(full) and not fit.stopped:
            full, quick, fit = self._decide(full, quick, fit, observed, callback)
        if aside and not fit.stopped:
            judged = quick
            if full.loss.needs != "products":
                _, judged = self._judged(full, quick, fit.factors, observed)
            full, quick, fit = self._weigh(full, quick, judged, fit, aside, callback)
        optimality = None
        if quick.data is not full.data:
            fit, optimality, seen = finish(
                full, quick.data.matrix, fit, self.tol,
                lambda problem, fit: self._continue(problem, fit, callback, "full data"),
                self._best_maps,
            )  # fmt: skip
            observed.seen = seen, fit.factors[0], fit.factors[1]
        fit = self._conclude(full, fit, optimality)
        fit = self._judge(quick, fit, observed)
        self._keep(observed, fit, energy)
        self._keep_weights(full.data, observed)
        self._keep_relevance(full, fit, k)

    def _wanted(self) -> Wanted:
        loss = self.own_loss()
        if loss.needs == "entries" or self.compress is False:
            return Wanted(entries=loss.needs == "entries")
        return Wanted(_rank(int(self.n_components or 1)) + OVERSAMPLING, loss.counts)

    def _choose(self, problem: Problem, fit: Fit, rng: np.random.Generator, callback: Any) -> Fit:
        """Return a fit with as many components as the penalty that decides of it lets be."""

        def improve(factors: Any, sweeps: int | None) -> Fit:
            most = min(sweeps or self.max_iter, self.max_iter)
            return self._run(
                problem, Fit(factors), max_iter=most, callback=callback, stage="components"
            )

        def refit(k: int) -> Fit:
            _, fresh, self.starts_ = self._start(problem, k, None, rng, callback)
            return fresh if fresh.stopped else improve(fresh.factors, None)

        if not fit.objective:
            fit = improve(fit.factors, None)
        if problem.chooses == "published":
            return moves.published(
                fit, improve, self.max_iter, lambda fit: self._levels(problem, fit)[1]
            )
        assert problem.noise is not None
        again = refit if isinstance(self.init, str) else None
        return moves.guarded(fit, problem.noise, improve, again)

    def _decide(
        self, full: Problem, quick: Problem, fit: Fit, observed: Observed, callback: Any
    ) -> tuple[Problem, Problem, Fit]:
        """Return the problems with the zeros that a test has decided, and the fit with them."""
        k = fit.factors[-1].shape[1]
        whole, sketch = self._judged(full, quick, fit.factors, observed)
        tests = tests_of(full)
        starts = [fit.factors, *sampled_starts(sketch, observed, k, tests)]
        observed.judged = sketch if isinstance(observed.data, Lazy) else whole
        found = least_price(sketch, starts, tests)
        if sketch.data is not whole.data and not isinstance(observed.data, Lazy):
            found = decided(whole, found.factors, tests)
        self.excess_, kept = found.excess, found.borne
        if kept:
            held, other = (with_zeros(problem, found.absent) for problem in (full, quick))
            begun = Fit([other.clip(F, mode) for mode, F in enumerate(found.factors)])
            zeros = self._continue(other, begun, callback, "zeros")
            cost = found.cost(zeros.objective[-1] - fit.objective[-1]) if full.loss.counts else 0.0
            kept = cost <= DEAR
            self.excess_ = found.excess if kept else np.maximum(found.excess, cost)
        for mode, absent_here in found.absent.items():
            mask = (absent_here & kept).astype(float)
            if mode == 0:
                self.absent_ = observed.maps(mask) == 1
            else:
                self.absent_spectra_ = observed.spectra(mask) == 1
        return (held, other, zeros) if kept else (full, quick, fit)

    def _judge(self, problem: Problem, fit: Fit, observed: Observed) -> Fit:
        """Learn how wide the cone of the spectra is; return the fit, with spectra moved apart where that is asked."""
        maps, spectra = self._penalties().values()
        tested = any(penalty.tested for penalty in [*maps, *spectra])
        lower, _ = bounds_of(maps, fit.factors[0].shape, problem.grids[0])
        known = problem.loss.as_squares() is not None and not observed.data.weighted
        if fit.stopped or not known or not (tested or np.all(np.isfinite(lower))):
            return fit
        lazy, (C, S) = isinstance(observed.data, Lazy), fit.factors  # judged as it was weighted
        if not tested and (few := observed.some_pixels()) is not None:
            observed, C = observed.of(few), C[few]
            problem = self._problem(observed)
        squares = observed.judged or (
            problem if lazy else self._white(problem, observed, Observed.weighted_by_counts)
        )
        if not tested:
            self.excess_ = excess_of_clipped(squares, S)
        if any(isinstance(penalty, Absent) and penalty.mixed for penalty in maps):
            factors, self.mixed_ = moved_apart(squares, fit.factors)
            self.other_end_ = observed.spectra(unit_columns(fit.factors[1]))
            self.absent_ = self.absent_ & (self.mixed_ == 0)
            return replace(fit, factors=factors)
        return fit

    @staticmethod
    def _check_noise(problem: Problem, automatic: bool, observed: Observed) -> None:
        """Refuse that data decide of which it is not known what noise does."""
        tests, loss = bool(tests_of(problem)), problem.loss
        weighted = observed.data.weighted and (tests or loss.needs != "products")
        if (tests or automatic) and (loss.as_squares() is None or weighted):
            asked, instead = ('em.Absent("auto")', "mask") if tests else ('weight="auto"', "number")
            raise EndmemberError(
                f"{asked} needs to know what noise does; give the loss em.SquaredError(), em.PoissonScaled() or "
                f'em.Poisson(), without weights of single entries, or a {instead} in place of "auto"'
            )

    def _judged(
        self, full: Problem, quick: Problem, factors: Sequence[np.ndarray], observed: Observed
    ) -> tuple[Problem, Problem]:
        """Return the least-squares problem whose noise is white, of the data and of their sketch."""
        whole = self._white(full, observed)
        if whole is full:
            return full, quick
        whole = whole.settled(factors)
        data = self._compressed(whole.data.matrix, factors[-1].shape[1], whole.loss)
        return whole, replace(whole, data=data)

    def _white(self, problem: Problem, observed: Observed, by: Any = with_white_noise) -> Problem:
        """Return the least-squares problem of the same data whose noise is white, on which zeros are tested."""
        loss: Any = problem.loss.as_squares()
        if loss is problem.loss and loss.counts:
            return problem
        X = loss.prepare(observed.data) if loss.counts else by(observed)
        return problem if X is problem.data else replace(problem, data=X, loss=loss, settings=None)

    def _levels(self, problem: Problem, fit: Fit) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the level of every component, by what fraction it exceeds the lowest, and the lowest."""
        mode, penalty = next(
            (mode, p) for mode, own in enumerate(problem.penalties) for p in own if p.chooses
        )
        assert problem.settings is not None
        F, scale = fit.factors[mode], penalty.scale(problem.settings[mode])
        levels, lowest = penalty.levels(F, scale), penalty.levels(0 * F[:, :1], scale)[0]
        return levels, levels / lowest - 1, float(lowest)

    def _powers(self) -> dict[str, float]:
        powers = {**super()._powers(), "relevance_": 1}
        k = int(self.n_components or 1)
        held = any(np.any(penalty.fixes_scale(k)) for penalty in self._penalties()["maps"])
        if held or (self.normalise is not None and self.normalise[0] == "maps"):
            powers["components_"] = powers.pop("maps_")
        return {**powers, "amounts_": powers.get("components_", 0)}

    def _keep_relevance(self, problem: Problem, fit: Fit, k: int) -> None:
        if problem.chooses:
            levels, _, lowest = self._levels(problem, fit)
            self.relevance_ = np.append(levels, np.full(k - len(levels), lowest))

    @property
    def unit_of_spectra(self) -> str:  # type: ignore[override]
        maps, spectra = self._fixed(int(self.n_components or 1))
        if maps.all():
            return ""
        return "as given" if spectra.any() else unit_in_words(self.normalise)

    def _fixed(self, k: int) -> list[np.ndarray]:
        """Return which components have their scale given, in maps and in spectra, (k,) each."""
        return [
            np.any([p.fixes_scale(k) for p in own], axis=0) for own in self._penalties().values()
        ]

    @property
    def fills(self) -> bool:  # type: ignore[override]
        return any(penalty.spatial for penalty in self._penalties()["maps"])

    def _penalties(self) -> dict[str, list[Penalty]]:
        weights = iter(self.learned().get("penalty_weights_", ()))
        found = {
            name: resolve(getattr(self, name), name, True, weights) for name in ("maps", "spectra")
        }
        return found if (columns := vars(self).get("columns_")) is None else holding(found, columns)

    def _problem(self, observed: Observed) -> Problem:
        grids = [
            Grid(observed.domain, observed.rows, observed.domain_known),
            Grid(observed.pattern or (observed.n_channels,), observed.columns, axis=observed.axis),
        ]
        loss, penalties = self.own_loss(), list(self._penalties().values())
        data = loss.prepare(observed.data)
        return Problem(data, loss, penalties, grids, valleys=observed.data.creeps)

    def _compressed(self, data: Data, k: int, loss: Loss | None = None) -> Data:
        """Return a sketch of the data where that is wanted and allowed, else the data."""
        possible = (loss or self.own_loss()).needs == "products" and not data.weighted
        wanted = possible and self._wants_sketch(data, k) and not is_compressed(data)
        return sketch_of(data, _rank(k)) if wanted else data

    def _wants_sketch(self, data: Data, k: int) -> bool:
        least = PAYS_FROM[data.shape[0] > start_pixels(k)] * _rank(k) * sum(data.shape)
        pays = data.work >= least or isinstance(data.plain, Lazy)
        return pays if self.compress == "auto" else bool(self.compress)

    def _start(
        self,
        problem: Problem,
        k: int,
        given: Any,
        rng: np.random.Generator,
        callback: Any,
        n_starts: int | None = None,
    ) -> tuple[Problem, Fit, list[StartReport]]:
        penalties = [[penalty.gentler() for penalty in own] for own in problem.penalties]
        if penalties != list(problem.penalties) and given is None:
            gentle = replace(problem, penalties=penalties)
            gentle, fit, starts = self._start(gentle, k, None, rng, callback, n_starts)
            fit = self._continue(gentle, fit, callback, "fit")
            for mode, own in enumerate(problem.penalties):
                for penalty in own:
                    fit.factors[mode] = penalty.begin(fit.factors[mode])
            return replace(problem, settings=gentle.settings), fit, starts
        if (
            given is None
            and self.init == "multistart"
            and self._wants_sketch(problem.data.matrix, k)
        ):
            other = as_least_squares(problem, _rank(k))
            if other is not None:
                return self._start_beside(other, problem, k, rng, callback)
        return super()._start(problem, k, given, rng, callback, n_starts)

    def _given(self, problem: Problem, observed: Observed, k: int) -> list[np.ndarray] | None:
        """Return the start that the user brings, or another model; None where it has a name."""
        if isinstance(self.init, str):
            return None
        if hasattr(self.init, "fit"):
            return fitted_start(self.init, problem, observed, k)
        factors = given_start(self.init, observed, k)
        factors[0] /= observed.unit
        return factors

    def _keep(self, observed: Observed, fit: Fit, energy: np.ndarray) -> None:
        """Learn the answer of a fit."""
        C, S = fit.factors
        maps, spectra = self._fixed(C.shape[1])
        C, S = rescale(C, S, self.normalise, energy[observed.columns], maps | spectra)
        for mode, penalties in enumerate(self._penalties().values()):
            for penalty in penalties:
                C, S = penalty.finish([C, S], mode)
        self.maps_, self.components_ = observed.maps(C, fill=self.fills), observed.spectra(S)
        self.n_components_ = C.shape[1]
        if "columns_" in vars(self):
            self.amounts_ = Amounts(self.columns_.T[observed.columns]).of(S).T

    def _maps_of(self, observed: Observed, S: np.ndarray) -> np.ndarray:
        weights = self.learned().get("penalty_weights_", ())
        problem = weighed(*set_aside(self._problem(observed)), weights)
        if problem.data.row_weights(1) is not None:
            weights = self.channel_weights_[observed.columns].astype(np.float64)
            weights[weights == 0] = 1.0  # where the fit saw nothing spectra are zero
            problem = replace(problem, data=problem.data.matrix.with_channels(weights))
        factors = start_maps(problem, S)
        tests = tests_of(problem)
        if 0 in tests and self.absent_.any():
            squares = self._white(problem, observed).settled(factors)
            problem = with_zeros(problem, {0: absent(squares, factors, 0, tests[0])})
        return self._best_maps(problem.settled(factors), factors)

    def _best_maps(self, problem: Problem, factors: list[np.ndarray]) -> np.ndarray:
        """Return the maps that are best for the spectra as they are."""
        solver = self._solvers(problem.loss, problem.penalties, factors[1].shape[1])[0]
        return best_factor(problem, factors, 0, solver)


def _rank(k: int) -> int:
    """Return how many directions a sketch keeps for ``k`` components."""
    return max(2 * k, k + 10)
