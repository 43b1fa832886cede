"""The Tucker model of series: profiles along every mode and a core that combines them."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from endmember.errors import refuse_if
from endmember.factor.arrangements.series import Tensor, WithCore, multiplied, unfold
from endmember.factor.data import Grid, Observed
from endmember.factor.loop import Callback, Fit, Problem, StartReport, check_combination, multistart
from endmember.factor.losses import Loss, SquaredError
from endmember.factor.penalties import Free, Penalty, bounds_of, is_free, resolve
from endmember.factor.sketch.low_rank import sketch
from endmember.factor.solvers import ANLS, Solver
from endmember.factor.subproblems import Quadratic
from endmember.methods.alternating import Alternating
from endmember.methods.checks import generator, warn_of_negatives
from endmember.methods.estimator import stored
from endmember.methods.nmf import NMF
from endmember.methods.tensors import Layout, checked_joined

#: Sweeps of the short runs that starts are compared by.
SHORT = 20


class Tucker(Alternating):
    r"""Tucker decomposition: profiles along every mode, combined by a core array.

    .. math:: x_{i \dots j} \approx \sum_{a \dots z} g_{a \dots z}\, f^1_{ia} \cdots s_{jz}

    The article's tensor picture: the number of profiles may differ from mode to mode. With as many along
    every mode and a core that is zero off its diagonal it is :class:`em.CP`. Profiles and core are non-negative
    unless ``em.Free()`` is given; with all of them free the profiles come out orthonormal. Rotations of
    profiles against the core are not fixed unless constraints fix them.

    Parameters
    ----------
    ranks : int or sequence of int
        How many profiles along every mode, the channels last; one number for all.
    modes : sequence or mapping, optional
        Penalties on the profiles of every mode, as in :class:`em.CP`.
    core : penalty or list of penalties, optional
        Penalties on the core, such as ``em.Sparse(0.1)`` or ``em.Free()``.
    joined : tuple of int, optional
        As in :class:`em.CP`.
    solver, n_starts, max_iter, tol, random_state
        As in :class:`em.NMF`. The loss is the squared error. Without constraints one start is enough.

    Attributes
    ----------
    components_ : ndarray, (r, n_channels)
        The spectra, of unit length; NaN at masked channels.
    maps_ : ndarray, (*domain, r)
        The core with the profiles of all leading modes: what goes with the spectra.
    core_ : ndarray, (*ranks)
        How much of each combination of profiles there is, in the unit of the data.
    factors_ : list of ndarray, (size, rank)
        Profiles along every mode, the spectra last.
    objective_, n_iter_, converged_, optimality_, starts_, n_components_, n_features_in_
        As in :class:`em.NMF`.

    References
    ----------
    Tucker, Psychometrika 31 (1966) 279. De Lathauwer, De Moor & Vandewalle, SIAM J. Matrix Anal.
    Appl. 21 (2000) 1324. Kolda & Bader, SIAM Rev. 51 (2009) 455.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> core, factors = rng.random((2, 2, 3)), [rng.random((n, r)) for n, r in ((6, 2), (7, 2), (9, 3))]
    >>> series = np.einsum("abc,ia,jb,kc->ijk", core, *factors)
    >>> tucker = Tucker((2, 2, 3), modes=[Free()] * 3, core=Free(), tol=1e-9).fit(series)
    >>> bool(np.allclose(tucker.inverse_transform(tucker.maps_), series, atol=1e-6))
    True
    """

    in_words = (
        "The data were decomposed into {ranks} profiles along the modes and a core by Tucker decomposition, "
        "until the objective fell by less than {tol:g} of itself per sweep"
    )
    references = (
        "L. R. Tucker, Psychometrika 31 (1966) 279.",
        "T. G. Kolda and B. W. Bader, SIAM Rev. 51 (2009) 455.",
    )

    @stored
    def __init__(
        self,
        ranks: Any = None,
        *,
        modes: Any = None,
        core: Any = None,
        joined: tuple[int, ...] | None = None,
        solver: Any = None,
        n_starts: int = 10,
        max_iter: int = 2000,
        tol: float = 1e-6,
        random_state: Any = None,
    ) -> None:
        """Keep the parameters."""

    def _check_parameters(self) -> None:
        refuse_if(
            self.ranks is None,
            "ranks is missing: say how many profiles along every mode, such as (2, 3, 4)",
        )
        given = [self.ranks] if isinstance(self.ranks, Integral) else list(self.ranks)
        refuse_if(
            not all(
                isinstance(r, Integral) and not isinstance(r, bool) and int(r) > 0 for r in given
            ),
            f"ranks={self.ranks!r} must be whole numbers of at least 1, one a mode",
        )

    def _keeps_empty(self, axes: int, of_signal: bool) -> bool:
        self._joined = checked_joined(self.joined, axes, of_signal)
        return True

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Callback | None) -> None:
        layout = Layout(observed, self._joined)
        ranks = self._ranks(observed, layout)
        penalties = [resolve(self.core, "core"), *layout.penalties(self.modes)]
        warn_of_negatives(observed, *penalties)
        loss = SquaredError()
        names = ["core", *layout.names]
        for own, name in zip(penalties[1:], layout.names, strict=True):
            for penalty in own:
                refuse_if(
                    penalty.has_scale,
                    f"{penalty!r} on the {name} would flee into the core, which carries the scale; give it to "
                    "core=, or use em.CP()",
                )
        check_combination(loss, self._solvers(loss, penalties, 1), penalties, names)
        data = WithCore(Tensor(observed.data, layout.sizes[:-1]), ranks)
        problem = Problem(data, loss, penalties, [Grid((1,)), *layout.grids(observed)])
        first = self._first_start(problem, ranks)
        problem = problem.settled(first)
        start = self._best_start(problem, first)
        fit = self._conclude(problem, self._continue(problem, Fit(start), callback, "fit"))
        self._keep(observed, data, fit.factors, penalties)

    def _solvers(self, loss: Loss, penalties: Sequence[Sequence[Penalty]], k: int) -> list[Solver]:
        return super()._solvers(loss, penalties, 1)  # the core is one row, however long

    def _ranks(self, observed: Observed, layout: Layout) -> tuple[int, ...]:
        """Return one rank a mode that the data can have.

        Raises
        ------
        ValueError
            If the number of ranks, or one of them, does not go with the data.
        """
        refuse_if(
            observed.mask is not None or observed.data.weighted or observed.exposure is not None,
            "em.Tucker() takes neither masked pixels nor weights of entries nor an exposure of pixels; em.CP() does",
        )
        n, one = len(layout.sizes), isinstance(self.ranks, Integral)
        ranks = tuple(int(r) for r in ([self.ranks] * n if one else self.ranks))
        refuse_if(
            len(ranks) != n,
            f"ranks={self.ranks!r} names {len(ranks)} modes and the data have {n}, the channels last",
        )
        for mode, (rank, size) in enumerate(zip(ranks, layout.sizes, strict=True)):
            others = int(np.prod(ranks)) // rank
            refuse_if(
                rank > min(size, others if n > 2 else max(ranks)),
                f"{rank} profiles along {layout.names[mode]} are more than its {size} entries and the "
                f"{others} combinations of the other profiles can tell apart",
            )
        return ranks

    def _first_start(self, problem: Problem, ranks: tuple[int, ...]) -> list[np.ndarray]:
        """Return the leading singular vectors of every mode, made feasible, and the core that goes with them."""
        data = problem.data
        assert isinstance(data, WithCore)
        low = sketch(data.tensor.matrix, max(ranks), generator(self.random_state))
        grid = low.Z.reshape(*data.tensor.domain, -1)
        profiles = [
            np.linalg.svd(unfold(grid, mode), full_matrices=False)[0][:, :rank]
            for mode, rank in enumerate(ranks[:-1])
        ]
        return self._with_core(problem, [*profiles, low.V[:, : ranks[-1]]])

    def _best_start(self, problem: Problem, first: list[np.ndarray]) -> list[np.ndarray]:
        """Return where the best of several short runs ended; the first start where nothing is constrained."""
        self.starts_: list[StartReport] = []
        if self.n_starts == 1 or all(map(is_free, problem.penalties)):
            return first
        rng = generator(self.random_state)
        others = [
            self._with_core(problem, [rng.random(F.shape) for F in first[1:]])
            for _ in range(self.n_starts - 1)
        ]
        starts = [("singular vectors", first), *(("random", factors) for factors in others)]
        solvers = self._solvers(problem.loss, problem.penalties, 1)
        best, self.starts_ = multistart(
            problem, starts, solvers, n_starts=self.n_starts, tol=self.tol,
            max_iter=self.max_iter, short=SHORT,
        )  # fmt: skip
        return best.factors

    def _with_core(self, problem: Problem, profiles: list[np.ndarray]) -> list[np.ndarray]:
        """Return feasible factors: the stronger sides of the profiles, and the core of least squares."""
        for mode, F in enumerate(profiles):
            lower, upper = bounds_of(problem.penalties[mode + 1], F.shape, problem.grids[mode + 1])
            if not np.all(np.isneginf(lower)):
                sides = np.stack([np.maximum(F, 0.0), np.maximum(-F, 0.0)])
                strength = np.linalg.norm(sides, axis=1)
                F = np.where(strength[0] >= strength[1], sides[0], sides[1])
            profiles[mode] = np.clip(F, lower, upper)
        size = int(np.prod([F.shape[1] for F in profiles]))
        factors = [np.ones((1, size)), *profiles]
        bounds = bounds_of(problem.penalties[0], (1, size), problem.grids[0])
        G, H = problem.data.gram(factors, 0), problem.data.contract(factors, 0)
        factors[0] = ANLS().improve(Quadratic(G, H, *bounds), factors[0], 1)
        return factors

    def _keep(
        self,
        observed: Observed,
        data: WithCore,
        factors: list[np.ndarray],
        penalties: Sequence[Sequence[Penalty]],
    ) -> None:
        """Learn the answer; profiles that nothing constrains are made orthonormal."""
        core, profiles = factors[0].reshape(data.ranks), list(factors[1:])
        if all(map(is_free, penalties)):
            pairs = [np.linalg.qr(F) for F in profiles]
            profiles = [Q for Q, _ in pairs]
            core = multiplied(core, [R.T for _, R in pairs])
        dtype = observed.data.dtype
        self.core_ = core.astype(dtype)
        maps = data.folded([core.reshape(1, -1), *profiles])[0]
        self.maps_ = maps.reshape(*observed.domain, -1).astype(dtype)
        self.components_ = observed.spectra(profiles[-1])
        self.factors_ = [*(F.astype(dtype) for F in profiles[:-1]), self.components_.T]
        self.n_components_ = data.ranks[-1]

    def _maps_of(self, observed: Observed, S: np.ndarray) -> np.ndarray:
        return NMF(S.shape[1], maps=Free() if np.any(self.maps_ < 0) else None)._maps_of(
            observed, S
        )
