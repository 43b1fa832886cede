"""Fits of known spectra: multiple linear least squares."""

import warnings
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from endmember.errors import Argument, EndmemberError, refuse_if
from endmember.factor import regression
from endmember.factor.data import Axis, Data, Given, Observed, Standard
from endmember.factor.noise.model import NoiseModel, known_noise
from endmember.factor.penalties import Free, Known, Penalty
from endmember.factor.sketch.low_rank import sketch
from endmember.methods.estimator import SpectralEstimator, stored
from endmember.methods.nmf import NMF
from endmember.methods.standards import background, column, kernel, standards

#: References that are collinear to this condition number are named in a warning, or refused.
NEARLY, WHOLLY = 30.0, 1e7
#: A residual this many times stronger than noise makes it is structure.
STRUCTURE = 1.1
#: What is said where nothing but the residual tells the noise.
UNJUDGED = (
    "{} spectra of {} channels that are no counts do not tell their noise from what the references miss: chi2_ is NaN, "
    "and the errors take all of the residual for noise; fit more spectra together, or give the counts as they "
    "were recorded"
)
#: Steps of a search for shifts: a fraction of a channel, at most so many, and how often it goes round.
FRACTION, MOST_STEPS, ROUNDS = 0.5, 81, 3


class MLLS(SpectralEstimator):
    r"""Fit reference spectra to every pixel: multiple linear least squares, the conventional way.

    .. math:: \min_{c_i}\ \ell(x_i,\ R\,c_i), \qquad c_i \ge 0

    Maps come with standard errors, and every pixel with its reduced chi-square: near 1 where the
    references explain the data up to their noise. With ``em.Poisson()`` the noise is that of counts; with other losses
    it is measured from the data, or, where they are too few for that, that of counts if they are whole numbers.

    Parameters
    ----------
    references : array_like (k, channels), HyperSpy signal, path, or sequence of spectra, signals and paths
        The known spectra. Signals and files (.msa, .dm3, .hspy …) are brought on the axis of the
        data; arrays are on it.
    loss : loss, optional
        ``em.SquaredError()`` unless given; ``em.PoissonScaled()`` weighs channels by their counts;
        ``em.Poisson()`` maximises the likelihood of counts.
    non_negative : bool
        Whether maps may not fall below zero.
    background : None, "constant", "linear", "power_law" (or "power-law"), or spectra as ``references``
        Further spectra to fit; "power_law" is a sum of :math:`E^{-2}` to :math:`E^{-5}`.
    shift : float
        How far each reference may be moved to fit, in the energy unit of the data (channels for
        arrays); the same in every pixel.
    broaden : float
        How much wider than it was recorded each reference may be made, in the same unit: the full width at half
        maximum of a Gaussian that it is convolved with.
    gain : float
        By which fraction all references together may be stretched or squeezed about the middle of the axis, such as
        0.01 where dispersions may differ by a per cent.
    low_loss : array_like, HyperSpy signal or path, optional
        Low-loss spectrum that the references are convolved with (plural scattering), as they are
        measured on thin specimens; the background is not. Its largest channel is taken for the zero loss.
    extra : int
        1 adds one free component if the residual holds more than noise: not negative, or of any sign
        where a reference has negative values itself.
    maps : em.SumToOne(), optional
        The amounts of the references, without the background, sum to one in every pixel: fractions, where the
        references are spectra of the pure phases on the scale of the data (fully constrained unmixing).

    Attributes
    ----------
    maps_ : ndarray, (*domain, k)
        The amount of every reference, then of background and extra component.
    maps_error_ : ndarray, (*domain, k)
        Standard errors; of a coefficient held at zero, the error that it would have if it were free.
    chi2_ : ndarray, (*domain)
        Reduced chi-square; like the errors NaN at empty pixels, and where there is no noise; NaN too, with a
        warning, where few spectra that are no counts do not tell their noise. With weights of single entries
        it is relative, 1 on average.
    components_ : ndarray, (k, n_channels)
        The spectra as fitted: shifted, scattered, background and extra component included.
    names_ : list of str
        What each is.
    shifts_ : ndarray, (n_references,)
        How far each reference was moved, positive to higher energy.
    widths_ : ndarray, (n_references,)
        How much each was broadened.
    gain_ : float
        By which fraction all were stretched.
    correlation_ : ndarray, (n_references, n_references)
        Cosines between the references in the metric of the fit.
    condition_ : float
        Condition number of the references, each of unit length: how much noise is amplified.
    channel_weights_ : ndarray, (n_channels,)
        How much every channel counted: 1 unless the loss is one for counts.
    n_components_, n_features_in_ : int
        How many components there are in the answer, and channels in the data.

    References
    ----------
    Leapman & Swyt, Ultramicroscopy 26 (1988) 393. Lawson & Hanson, Solving Least Squares Problems (1974).

    Examples
    --------
    >>> R = np.array([[1.0, 2.0, 0.0, 1.0], [0.0, 1.0, 3.0, 1.0]])
    >>> MLLS(R).fit_transform(np.array([[1.0, 3.0, 3.0, 2.0], [2.0, 4.0, 0.0, 2.0]])).round(9)
    array([[1., 1.],
           [2., 0.]])
    """

    in_words = (
        "Reference spectra were fitted to every pixel (multiple linear least squares, MLLS; "
        "non-negative: {non_negative}; background: {background}; shifts of up to {shift:g} and widths of up to "
        "{broaden:g} in the unit of the axis, stretched by up to {gain:g})"
    )
    references = (
        "R. D. Leapman and C. R. Swyt, Ultramicroscopy 26 (1988) 393.",
        "C. L. Lawson and R. J. Hanson, Solving Least Squares Problems, Prentice-Hall (1974).",
    )

    unit_of_spectra = "as given"
    _in_units = {"maps_": 1, "maps_error_": 1}

    @stored
    def __init__(
        self,
        references: Any = None,
        *,
        loss: Any = None,
        non_negative: bool = True,
        background: Any = None,
        shift: float = 0.0,
        broaden: float = 0.0,
        gain: float = 0.0,
        low_loss: Any = None,
        extra: int = 0,
        maps: Any = None,
    ) -> None:
        """Keep the parameters."""

    def parts(self) -> list[tuple[str, Any]]:
        return [("loss", self.own_loss())] + [("maps", self.maps)] * (self.maps is not None)

    def _check_parameters(self) -> None:
        refuse_if(
            self.references is None and self.background is None,
            "references are missing: give spectra (k, channels), signals or files, such as "
            'em.MLLS(["oxide.msa", "metal.msa"])',
        )
        refuse_if(
            self.own_loss().as_squares() is None,
            Argument.of("loss", self.loss),
            " does not go with a fit of references; allowed: em.SquaredError(), "
            "em.PoissonScaled(), em.Poisson() or None",
        )
        for name, most in (("shift", np.inf), ("broaden", np.inf), ("gain", 0.5)):
            value = getattr(self, name)
            refuse_if(
                not isinstance(value, Real) or not 0 <= float(value) < most,
                Argument.of(name, value),
                " is not how far references may change; give a number of at least 0, in the unit of the energy axis (a "
                "fraction for gain)",
            )
        refuse_if(
            self.extra not in (0, 1),
            f"extra={self.extra!r} is not known; allowed: 0 or 1 free component",
        )
        total = self.maps.row_sum if isinstance(self.maps, Penalty) else None
        refuse_if(
            self.maps is not None and not (total and total > 0 and not self.extra),
            Argument("closure", says=f"maps={self.maps!r}"),
            " with ",
            Argument("extra", self.extra),
            " does not go with a fit of references; allowed: ",
            Argument("one of them", says="maps=None, or em.SumToOne() with extra=0"),
            ", for known spectra have known scales",
        )
        refuse_if(
            self.extra and not self.non_negative,
            "a free component needs maps that are not negative; leave out extra=1 or non_negative=False",
        )

    def _read(self, X: Any, reset: bool, pattern: tuple[int, ...] | None = None) -> Given:
        refuse_if(
            isinstance(X, Data),
            "a fit of references reads the data once or twice and judges their noise, so it takes no compressed "
            "data; give the data themselves",
        )
        return super()._read(X, reset, pattern)

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Any) -> None:
        axis = observed.axis
        span = float(np.ptp(axis.energy))
        for name in ("shift", "broaden"):
            refuse_if(
                getattr(self, name) > span > 0,
                Argument.of(name, getattr(self, name)),
                f" lets references leave the data, which span {span:g} {axis.units or 'channels'}; give less",
            )
        exposure = observed.data.exposure
        refuse_if(
            exposure is not None and self.maps is not None,
            "amounts that sum to one hold whatever the exposure; leave exposure out, or maps=em.SumToOne()",
        )
        observed = replace(observed, data=observed.data.counts)
        if self.broaden:
            axis.check_even("references cannot be broadened")
        found = standards(self.references, axis)
        scattering = None if self.low_loss is None else kernel(self.low_loss, axis)
        weights = self._weights(observed)
        ground, ground_names = background(self.background, axis)

        def columns(changes: np.ndarray) -> np.ndarray:
            own = zip(found, *changes[:-1].reshape(2, -1), strict=True)
            moved = [column(one, axis, scattering, s, w, changes[-1]) for one, s, w in own]
            return np.column_stack([*moved, ground])[observed.columns]

        changes = self._fitted_changes(found, axis, columns, observed, weights)
        (self.shifts_, self.widths_), self.gain_ = changes[:-1].reshape(2, -1), float(changes[-1])
        R = columns(changes)
        self.names_ = [one.name for one in found] + ground_names
        self._judge(R[:, : len(found)], weights)
        F, noise = self._maps(observed, R, weights), self._noise(observed)
        if self.extra:
            R = self._with_extra(observed, F, R, noise, energy)
            F = self._maps(observed, R, weights)
        self._keep(observed, F, R, weights, noise, 1.0 if exposure is None else exposure[:, None])

    def _maps_of(self, observed: Observed, S: np.ndarray) -> np.ndarray:
        return self._maps(
            observed, S, np.nan_to_num(self.channel_weights_[observed.columns], nan=1.0)
        )

    @property
    def _counting(self) -> bool:
        """Whether the likelihood of counts is maximised, not a sum of squares minimised."""
        return self.own_loss().needs == "entries"

    def _limits(self, R: np.ndarray) -> regression.Limits:
        """Return what the amounts of spectra ``R`` (m, k) keep to; background is in no sum."""
        lower = 0.0 if self.non_negative else -np.inf
        if self.maps is None:
            return regression.Limits(lower)
        counted = np.arange(R.shape[1]) < len(self.shifts_)
        return regression.Limits(lower, counted / self.maps.total)

    def _weights(self, observed: Observed) -> np.ndarray:
        """Return the weight of every channel, (m,)."""
        flat = np.ones(observed.data.shape[1])
        if not np.any(observed.survey.filled_rows):
            return flat
        loss = self.own_loss()
        squares = loss if observed.data.weighted else loss.as_squares()
        weights = squares.prepare(observed.data).row_weights(1)  # type: ignore[union-attr]
        return flat if weights is None else weights

    def _maps(self, observed: Observed, R: np.ndarray, weights: np.ndarray) -> np.ndarray:
        self.own_loss().prepare(observed.data)  # refuses values that it does not take
        limits = self._limits(R)
        F = regression.least_squares(observed.data, R, weights, limits)
        return regression.poisson(observed.data, R, F, limits) if self._counting else F

    def _noise(self, observed: Observed) -> NoiseModel | None:
        """Return the noise: of counts, or measured; None where only the residual of the fit would tell."""
        if self._counting:
            return NoiseModel(poisson=True)
        return None if observed.data.weighted else known_noise(observed)

    def _judge(self, R: np.ndarray, weights: np.ndarray) -> None:
        """Learn how alike the references are; name those that are nearly, refuse those that are wholly collinear."""
        scaled = np.sqrt(weights)[:, None] * R
        size = np.linalg.norm(scaled, axis=0)
        for name in np.array(self.names_, dtype=object)[: R.shape[1]][size == 0]:
            raise EndmemberError(f"{name} is zero in every channel of the data; leave it out")
        scaled = scaled / size
        self.correlation_ = scaled.T @ scaled
        if R.shape[1] < 2:
            self.condition_ = 1.0
            return
        _, values, vectors = np.linalg.svd(scaled)
        smallest = values[-1] if scaled.shape[0] >= scaled.shape[1] else 0.0
        self.condition_ = float(values[0] / smallest) if smallest > 0 else np.inf
        named = " and ".join(self.names_[j] for j in np.flatnonzero(np.abs(vectors[-1]) > 0.3))
        refuse_if(
            self.condition_ > WHOLLY,
            f"the references {named} are collinear over these channels (condition number "
            f"{self.condition_:.1e}), so their amounts cannot be told apart; leave one out or widen the window",
        )
        if self.condition_ > NEARLY:
            warnings.warn(
                f"the references {named} are nearly collinear over these channels: noise in their maps is amplified "
                f"up to {self.condition_:.0f} times, and an error in the references even more",
                UserWarning,
                stacklevel=5,
            )

    def _fitted_changes(
        self, found: list[Standard], axis: Axis, columns: Any, observed: Observed, weights: Any
    ) -> np.ndarray:
        """Return the shifts, widths and the gain that leave least, all pixels together, (2 n + 1,)."""
        n = len(found)
        most = np.repeat([self.shift, self.broaden, self.gain], [n, n, 1]).astype(float)
        least = np.where(np.arange(2 * n + 1) // max(n, 1) == 1, 0.0, -most)
        if not n or not most.any():
            return np.zeros(2 * n + 1)
        seen = np.sqrt(weights)[:, None] * _directions(observed, columns(np.zeros(2 * n + 1)))

        def left(changes: np.ndarray) -> np.ndarray:
            basis, _ = np.linalg.qr(np.sqrt(weights)[:, None] * columns(changes))
            return (seen - basis @ (basis.T @ seen)).ravel()

        steps = np.repeat([axis.step, axis.step, 2 / len(axis.energy)], [n, n, 1])
        changes = _search(left, least, most, FRACTION * steps)
        words = (("moved", "shift"), ("was broadened", "broaden"))
        names = [(one.name, *said) for said in words for one in found]
        for (name, done, option), change, limit in zip(
            [*names, ("all references", "were stretched", "gain")], changes, most, strict=True
        ):
            if 0 < 0.999 * limit < abs(change):
                warnings.warn(
                    f"{name} {done} as far as allowed ({change:g}); allow a larger {option}, or check the axis",
                    UserWarning,
                    stacklevel=5,
                )
        return changes

    def _with_extra(
        self,
        observed: Observed,
        F: np.ndarray,
        R: np.ndarray,
        noise: NoiseModel | None,
        energy: np.ndarray,
    ) -> np.ndarray:
        """Return the spectra with a free one more, if the residual holds more than noise."""
        noise = noise or regression.scattered(observed.data, F, R, self._limits(R))
        direction, strength = regression.residual_direction(observed.data, F, R, noise)
        if not (strength > STRUCTURE and R.shape[1] < min(observed.data.shape)):
            return R
        spectrum = np.maximum(direction, 0.0)[:, None] / direction.max()
        amount = observed.data.dot(spectrum) - F @ (R.T @ spectrum)
        amount = np.maximum(amount, 0.0) / np.sum(spectrum**2)
        spectra = np.nan_to_num(observed.spectra(np.column_stack([R, spectrum])))
        maps = observed.maps(np.column_stack([F, amount]))
        signs = [Free()] if (R < 0).any() else []
        model = NMF(
            R.shape[1] + 1, loss=self.own_loss(), init=(maps, spectra),
            spectra=[Known(dict(enumerate(spectra[:-1]))), *signs],
            normalise=("spectra", "max"), random_state=0,
        )  # fmt: skip
        with warnings.catch_warnings(action="ignore"):
            model._fit(replace(observed, unit=1.0), energy, None)
        self.names_.append("extra component")
        return np.column_stack([R, model.components_[-1, observed.columns]])

    def _keep(
        self,
        observed: Observed,
        F: np.ndarray,
        R: np.ndarray,
        weights: np.ndarray,
        known: NoiseModel | None,
        exposure: np.ndarray | float,
    ) -> None:
        data, limits = observed.data, self._limits(R)
        noise = known or regression.scattered(data, F, R, limits)
        if self._counting:
            errors = regression.errors_of_counts(data, F, R, limits)
        elif data.weighted:
            G = data.gram([R, R], 0) / (noise.read_variance or 1.0)
            errors = regression.errors_of_information(G, F, limits) * (noise.read_variance > 0)
        else:
            errors = regression.errors_of_least_squares(F, R, weights, limits, noise)
        chi2 = regression.reduced_chi2(data, F, R, limits, noise)
        if known is None and (not data.weighted or min(data.shape) < regression.FEW):
            chi2[:] = np.nan
            warnings.warn(UNJUDGED.format(*data.shape), UserWarning, stacklevel=4)
        self.channel_weights_ = observed.spectra(weights[:, None])[0].astype(np.float64)
        self._learn(observed, F / exposure, R)
        self.maps_error_ = observed.maps(errors / exposure, np.nan)
        self.chi2_ = observed.maps(chi2[:, None], np.nan)[..., 0]


def _directions(observed: Observed, R: np.ndarray) -> np.ndarray:
    """Return the few spectra (m, r), with their strength, that hold what the pixels have in common."""
    data = observed.data
    if data.W is not None:
        seen = data.W.sum(axis=0)
        total = data.transposed_dot(np.ones((data.shape[0], 1)))
        return total / np.where(seen > 0, seen, 1.0)[:, None]
    low = sketch(data, min(R.shape[1] + 6, *data.shape), 0, 2)
    return low.V * low.singular_values


def _search(left: Any, least: np.ndarray, most: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the changes between two limits that leave least: alike ones together, then each, then all at once."""
    from scipy.optimize import least_squares

    free = np.flatnonzero(most)
    tried = [
        np.linspace(low, high, min(MOST_STEPS, int(np.ceil((high - low) / by)) + 1))
        for low, high, by in zip(least, most, step, strict=True)
    ]

    def best_of(candidates: list[np.ndarray]) -> np.ndarray:
        return candidates[int(np.argmin([np.sum(left(one) ** 2) for one in candidates]))]

    changes = np.zeros(len(most))
    alike = np.arange(len(most)) // max(len(most) // 2, 1)
    together = [alike == kind for kind in np.unique(alike[free])]
    for units in [together] + ROUNDS * [list(np.eye(len(most), dtype=bool)[free])]:
        for unit in units:
            values = tried[int(np.argmax(unit))]
            changes = best_of([changes, *(np.where(unit, value, changes) for value in values)])

    def placed(some: np.ndarray) -> np.ndarray:
        whole = changes.copy()
        whole[free] = some * most[free]
        return whole

    refined = least_squares(
        lambda some: left(placed(some)), changes[free] / most[free],
        bounds=(least[free] / most[free], np.ones(len(free))), diff_step=1e-4, xtol=1e-10, ftol=1e-12,
    )  # fmt: skip
    return best_of([placed(refined.x), changes])
