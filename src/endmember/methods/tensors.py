"""Models of series of spectrum images: data of three and more modes."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np

from endmember.errors import Argument, refuse_if
from endmember.factor.arrangements.series import Tensor, khatri_rao
from endmember.factor.data import Data, Grid, Observed, observe
from endmember.factor.loop import Callback, Problem, as_least_squares, check_combination
from endmember.factor.matching import congruence, core_consistency, kruskal_unique
from endmember.factor.penalties import Penalty, check_together, resolve
from endmember.factor.scale.carriers import rescale
from endmember.methods.alternating import Alternating
from endmember.methods.checks import generator, warn_of_negatives
from endmember.methods.estimator import stored
from endmember.methods.nmf import NMF

#: Two components that are this alike, or this opposed, in all modes at once are degenerate.
DEGENERATE = 0.97


class CP(Alternating):
    r"""Canonical polyadic decomposition: every component a product of one profile along each mode.

    .. math:: x_{i_1 \dots i_p j} \approx \sum_k f^1_{i_1 k} \cdots f^p_{i_p k}\, s_{jk}

    NMF of a matrix is the case of two modes. With three and more, components are mostly unique
    without any constraint: what differs from mode to mode in its own way is told apart.

    Parameters
    ----------
    n_components : int
        How many components, k; more than channels, too, if the other modes tell them apart.
    modes : sequence or mapping, optional
        Penalties on the factor of each mode: for every mode in the order of the axes a penalty, a
        list of them or None; or ``{mode: penalties}``, where −1 is the channels. All factors are
        non-negative unless ``em.Free()`` is given.
    joined : tuple of int, optional
        Neighbouring axes that form one mode, such as ``(1, 2)`` for the images (y, x) of a series
        (t, y, x, channels). For HyperSpy signals of three and more navigation axes the last two,
        unless ``()`` is given; for arrays none.
    loss, solver, n_starts, compress, max_iter, tol, random_state
        As in :class:`em.NMF`.
    init : str or sequence of arrays
        As in :class:`em.NMF`; your own start is one array (size, k) a mode.

    Attributes
    ----------
    components_ : ndarray, (k, n_channels)
        The spectra, of unit length unless a penalty fixes it; NaN at masked channels.
    maps_ : ndarray, (*domain, k)
        The products of all leading profiles; NaN at masked pixels.
    factors_ : list of ndarray, (size, k)
        One a mode, the spectra last. All but the first have columns of unit length, unless a penalty fixes their scale.
    mode_shapes_ : list of tuple of int
        The axes of every mode but the last.
    unique_ : bool
        Whether Kruskal's condition proves the components unique, but for order and scale.
    congruence_ : float
        How alike, or opposed, the two most similar components are in all modes at once: near ±1
        the fit is degenerate and there are too many components.
    core_consistency_ : float
        How well products of profiles describe the data, in percent: near 100 for a model that
        holds, near zero or below with too many components; NaN with masks, weights, or a mode of fewer entries than
        components.
    objective_, n_iter_, converged_, optimality_, starts_, n_components_, n_features_in_
        As in :class:`em.NMF`.

    References
    ----------
    Harshman, UCLA Working Papers in Phonetics 16 (1970) 1. Kolda & Bader, SIAM Rev. 51 (2009) 455.
    Bro & Kiers, J. Chemom. 17 (2003) 274. Muto & Shiga, Microscopy 69 (2020) 110.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> series = np.einsum("ak,bk,ck->abc", *(rng.random((n, 2)) for n in (5, 6, 7)))
    >>> cp = CP(2, random_state=0, tol=1e-9).fit(series)
    >>> bool(np.allclose(cp.inverse_transform(cp.maps_), series, atol=1e-4)), cp.unique_
    (True, True)
    """

    exact = 1e-19  # unique factors are worth digits
    in_words = (
        "The data were decomposed into {n_components} products of one profile along each mode by "
        "canonical polyadic decomposition (CP), from {n_starts} starts, until the objective fell by less "
        "than {tol:g} of itself per sweep"
    )
    references = (
        "T. G. Kolda and B. W. Bader, SIAM Rev. 51 (2009) 455.",
        "S. Muto and M. Shiga, Microscopy 69 (2020) 110.",
    )

    @stored
    def __init__(
        self,
        n_components: int | None = None,
        *,
        modes: Any = None,
        joined: tuple[int, ...] | None = None,
        loss: Any = None,
        solver: Any = None,
        init: Any = "multistart",
        n_starts: int = 10,
        compress: bool | str = "auto",
        max_iter: int = 2000,
        tol: float = 1e-6,
        random_state: Any = None,
    ) -> None:
        """Keep the parameters."""

    def parts(self) -> list[tuple[str, Any]]:
        modes = self.modes if isinstance(self.modes, Mapping) else dict(enumerate(self.modes or ()))
        named = [
            (f"mode {mode}", penalty)
            for mode, own in modes.items()
            for penalty in resolve(own, f"mode {mode}")
        ]
        return [*named, ("loss", self.own_loss())]

    def _check_parameters(self) -> None:
        self._matrix_model([None, None])._check_parameters()

    def _matrix_model(self, penalties: Sequence[Any]) -> NMF:
        """Return the model of two modes that goes with this one."""
        return NMF(
            self.n_components, loss=self.loss, maps=penalties[0], spectra=penalties[1],
            solver=self.solver, init=self.init if isinstance(self.init, str) else "multistart",
            n_starts=self.n_starts, compress=self.compress, max_iter=self.max_iter, tol=self.tol,
            random_state=self.random_state,
        )  # fmt: skip

    def _keeps_empty(self, axes: int, of_signal: bool) -> bool:
        self._joined = checked_joined(self.joined, axes, of_signal)
        return axes > 1

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Callback | None) -> None:
        k, layout = int(self.n_components or 1), Layout(observed, self._joined)
        penalties = layout.penalties(self.modes)
        layout.check_rank(k)
        factors = (
            self._fit_series(observed, layout, penalties, k, callback)
            if len(layout.long) > 2
            else self._fit_matrix(observed, layout, penalties, energy, callback)
        )
        self._keep(observed, layout, factors)
        self._keep_weights(self.own_loss().prepare(observed.data), observed)

    def _fit_matrix(
        self,
        observed: Observed,
        layout: "Layout",
        penalties: Sequence[Any],
        energy: np.ndarray,
        callback: Callback | None,
    ) -> list[np.ndarray]:
        """Return the factors where at most two modes have more than one entry: that is NMF."""
        first, last = layout.two
        nmf = self._matrix_model([penalties[first], penalties[last]])
        nmf._check_parameters()
        matrix = layout.as_matrix(observed)
        nmf._fit(matrix, energy if matrix is observed else np.arange(matrix.n_channels), callback)
        course = ("objective_", "n_iter_", "converged_", "optimality_", "starts_")
        self.restored({name: getattr(nmf, name) for name in course})
        factors = [np.ones((size, nmf.n_components_)) for size in layout.sizes]
        factors[first] = np.nan_to_num(nmf.maps_).reshape(-1, nmf.n_components_)
        spectra = nmf.components_.T
        factors[last] = spectra[observed.columns] if matrix is observed else np.nan_to_num(spectra)
        return factors

    def _fit_series(
        self,
        observed: Observed,
        layout: "Layout",
        penalties: Sequence[list[Penalty]],
        k: int,
        callback: Callback | None,
    ) -> list[np.ndarray]:
        """Return the factors of three and more modes."""
        warn_of_negatives(observed, *penalties)
        names = [layout.names[mode] for mode in layout.long]
        chosen = [penalties[mode] for mode in layout.long]
        rng, loss = generator(self.random_state), self.own_loss()
        check_together(dict(zip(names, chosen, strict=True)), k)
        refuse_if(
            any(penalty.chooses for own in chosen for penalty in own),
            "em.Relevance() chooses among components of two modes and cannot for more; compare "
            "core_consistency_ for several numbers of components",
        )
        check_combination(loss, self._solvers(loss, chosen, k), chosen, names)
        data = layout.tensor(loss.prepare(observed.data), observed)
        grids = layout.grids(observed)
        full = Problem(data, loss, chosen, [grids[mode] for mode in layout.long])
        matrix = self._matrix_model([None, None])._compressed(data.matrix, k)
        quick = full if matrix is data.matrix else replace(full, data=data.like(matrix))
        other = as_least_squares(replace(full, data=data.matrix), max(2 * k, k + 10))
        if other is not None and isinstance(self.init, str) and self.init == "multistart":
            other = replace(other, data=data.like(other.data.matrix))
            quick, fit, self.starts_ = self._start_beside(other, quick, k, rng, callback)
        else:
            given = None if isinstance(self.init, str) else layout.given(self.init, k)
            quick, fit, self.starts_ = self._start(quick, k, given, rng, callback)
        fit = self._continue(quick, fit, callback, "fit")
        if quick.data is not data:
            full = replace(full, settings=quick.settings)
            fit = self._continue(full, fit, callback, "full data")
        fit = self._conclude(full, fit, stacklevel=6)
        factors = [np.ones((size, k)) for size in layout.sizes]
        for mode, F in zip(layout.long, fit.factors, strict=True):
            factors[mode] = F
        fixed = [np.any([p.fixes_scale(k) for p in own], axis=0) for own in penalties]
        for mode in range(1, len(factors)):
            factors[0], factors[mode] = rescale(
                factors[0], factors[mode], ("spectra", "l2"), np.empty(0), fixed[0] | fixed[mode]
            )
        return factors

    def _keep(self, observed: Observed, layout: "Layout", factors: list[np.ndarray]) -> None:
        """Learn the answer, and what the factors say of themselves."""
        k, dtype = factors[0].shape[1], observed.data.dtype
        self.n_components_ = k
        self.maps_ = khatri_rao(factors[:-1]).reshape(*observed.domain, k).astype(dtype)
        if observed.mask is not None:
            self.maps_[observed.mask] = np.nan
        self.components_ = observed.spectra(factors[-1])
        self.factors_ = [*(F.astype(dtype) for F in factors[:-1]), self.components_.T]
        self.mode_shapes_ = list(layout.shapes)
        alike = congruence(factors)[np.triu_indices(k, 1)]
        self.congruence_ = float(alike[np.argmax(np.abs(alike))]) if len(alike) else 0.0
        self.unique_ = kruskal_unique(factors)
        self.core_consistency_ = np.nan
        if (observed.mask is None and not observed.data.weighted) and k <= min(layout.sizes):
            data = Tensor(observed.data, layout.sizes[:-1], observed.rows)
            self.core_consistency_ = core_consistency(
                data.core([np.linalg.pinv(F).T for F in factors])
            )
        if abs(self.congruence_) > DEGENERATE:
            warnings.warn(
                f"two components are nearly the same in all modes, or cancel each other (congruence "
                f"{self.congruence_:.2f}): ask for fewer components",
                UserWarning,
                stacklevel=5,
            )

    def _scale(self, unit: float) -> Self:
        if unit != 1:
            self.factors_ = [self.factors_[0] * unit, *self.factors_[1:]]
        return super()._scale(unit)

    def _maps_of(self, observed: Observed, S: np.ndarray) -> np.ndarray:
        refuse_if(
            S.shape[1] > len(S),
            f"{S.shape[1]} spectra of {len(S)} channels do not fix the maps of a pixel by itself; fit the series "
            "that it belongs to, or ask for fewer components",
        )
        return self._matrix_model([None, None]).restored(self.learned())._maps_of(observed, S)


class Layout:
    """How the axes of a series form the modes of a tensor.

    Attributes
    ----------
    sizes : list of int
        Of all modes, the channels that take part last.
    shapes : list of tuple of int
        The axes of every leading mode.
    names : list of str
        Of all modes, for messages.
    long : list of int
        The modes of more than one entry: the others carry nothing but scale.
    """

    def __init__(self, observed: Observed, joined: tuple[int, ...]) -> None:
        refuse_if(
            not observed.survey.filled_rows.any(),
            "all values are zero, so there is nothing to unmix",
        )
        self.shapes: list[tuple[int, ...]] = []
        for axis, size in enumerate(observed.domain):
            if axis in joined[1:]:
                self.shapes[-1] = (*self.shapes[-1], size)
            else:
                self.shapes.append((size,))
        self.sizes = [int(np.prod(shape)) for shape in self.shapes] + [observed.data.shape[1]]
        self.names = [f"mode {mode}" for mode in range(len(self.shapes))] + ["spectra"]
        self.long = [mode for mode, size in enumerate(self.sizes) if size > 1]

    @property
    def two(self) -> tuple[int, int]:
        """The two modes of a matrix: those of more than one entry, and others where there are fewer."""
        short = [mode for mode in range(len(self.sizes)) if mode not in self.long]
        first, last = sorted([*self.long, *short[::-1]][:2])
        return first, last

    def check_rank(self, k: int) -> None:
        """Refuse more components than describe any data of this shape: one an entry of all modes but the longest."""
        most = int(np.prod(self.sizes)) // max(self.sizes)
        refuse_if(
            k > most,
            Argument("n_components", k),
            f" is more than the data can hold: modes of {self.sizes} entries have at most {most} components",
        )

    def penalties(self, modes: Any) -> list[list[Penalty]]:
        """Return the penalties of every mode.

        Raises
        ------
        ValueError
            If there are not as many as modes, or a mode is named that is not there.
        """
        n = len(self.sizes)
        given: list[Any] = [None] * n
        if isinstance(modes, Mapping):
            for mode, own in modes.items():
                refuse_if(
                    not isinstance(mode, Integral) or not -n <= int(mode) < n,
                    f"modes names mode {mode!r}, but the {n} modes are 0 to {n - 1}",
                )
                given[int(mode)] = own
        elif modes is not None:
            given = list(modes)
            refuse_if(
                len(given) != n,
                f"modes holds the penalties of {len(given)} modes, but the data have {n}; give one "
                "entry a mode, None where there is none, or a dictionary {mode: penalties}",
            )
        return [resolve(own, name) for own, name in zip(given, self.names, strict=True)]

    def grids(self, observed: Observed) -> list[Grid]:
        """Return where the rows of the factor of every mode lie."""
        leading = [Grid(shape) for shape in self.shapes]
        return [*leading, Grid((observed.n_channels,), observed.columns, axis=observed.axis)]

    def tensor(self, matrix: Data, observed: Observed) -> Tensor:
        """Return the data of the long modes."""
        rows = None if observed.mask is None else observed.rows
        return Tensor(
            matrix, [self.sizes[mode] for mode in self.long if mode < len(self.shapes)], rows
        )

    def as_matrix(self, observed: Observed) -> Observed:
        """Return the data of two modes as a matrix, without what is empty."""
        first, last = self.two
        if last != len(self.shapes):
            values = observed.data.rows(np.arange(observed.data.shape[0]))
            return observe(values.reshape(self.sizes[first], self.sizes[last]))
        return observed

    def given(self, init: Any, k: int) -> list[np.ndarray]:
        """Return the user's own start of the long modes.

        Raises
        ------
        ValueError
            If it does not have one array of the right shape a mode.
        """
        try:
            factors = [np.array(F, dtype=np.float64) for F in init]
        except (TypeError, ValueError):
            factors = []
        shapes = [(size, k) for size in self.sizes]
        refuse_if(
            [F.shape for F in factors] != shapes,
            f"init must be the name of a start or one array a mode, of shapes {shapes}",
        )
        return [factors[mode] for mode in self.long]


def checked_joined(joined: Any, axes: int, of_signal: bool) -> tuple[int, ...]:
    """Return the axes that form one mode: those given, or the images of a series of signals.

    Raises
    ------
    ValueError
        If they are not neighbours among the leading axes.
    """
    if joined is None:
        joined = (axes - 2, axes - 1) if of_signal and axes > 2 else ()
    chosen = tuple(sorted(int(axis) for axis in joined))
    refuse_if(
        chosen and (chosen[0] < 0 or chosen[-1] >= axes or np.any(np.diff(chosen) != 1)),
        f"joined={joined!r} must name neighbouring axes among the {axes} before the channels, such "
        "as (1, 2)",
    )
    return chosen
