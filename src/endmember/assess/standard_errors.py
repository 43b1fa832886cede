"""How large the error bars are: what noise alone does to spectra and maps."""

import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import matmul_toeplitz
from sklearn.base import clone

from endmember.assess.bands import fixed_entries, given_fit
from endmember.assess.information import (
    BELOW,
    Information,
    Weights,
    solution,
    together,
    upper_limit,
)
from endmember.assess.surrogates import lagged_correlation
from endmember.errors import Argument, EndmemberError, Sentence, Words, check_known, refuse_if
from endmember.factor.columns import or_one
from endmember.factor.data import Explained, observe, one_blas_thread, row_blocks
from endmember.factor.loop import Callback, Progress
from endmember.factor.matching import match_components
from endmember.factor.noise import NoiseModel, growth, known_noise
from endmember.factor.penalties import Absent
from endmember.factor.scale.carriers import gradient_of_norm
from endmember.methods.checks import check_positive_whole
from endmember.methods.nmf import NMF
from endmember.show.shown import Shown

#: Above this many steps the variances are taken for a product of one of the pixel and one of the channel.
MOST_WORK = 3e11
#: Largest number of entries of all spectra whose covariance is worked out.
MOST_ENTRIES = 8000
#: An entry is held at zero when it is below this fraction of the largest of its component.
AT_ZERO = 1e-8
#: White noise is taken for what a loss says it is, unless its variance grows with the signal by so many errors.
GROWS = 5.0
#: A residual is said whose mean square is larger than that of the noise by this fraction.
UNLIKE = 0.1
#: Sweeps of least squares without bounds that bring an answer to the directions of the data.
SWEEPS = 5
#: Pixels and channels are weighted as if they had this share of the mean variance at least.
LEAST_VARIANCE = 0.05
#: Correlation is measured in data of up to so many entries.
MOST_PAINTED = 2e7
#: Expected counts are never taken for less than this fraction of the largest.
FAINTEST = 1e-9
#: Directions of amounts of which so little of the most is known are those of scale.
SINGULAR = 1e-9
#: What is said of the bias of clipped noise.
TESTED = {
    True: " They hold how far clipped noise and penalties have moved it from the answer whose zeros a test decides.",
    False: " The bias of clipped noise is not part of them: small amounts are not zero here, and no test can tell it.",
}


@dataclass(frozen=True, eq=False, repr=False)
class Errors(Shown):
    """Standard errors of an answer, in the unit of its spectra and maps.

    Attributes
    ----------
    spectra : ndarray, (k, n_channels)
        One standard error, 0 where the model holds the entry; at entries that are zero the limit
        below which they lie with the same probability (84 %). NaN at masked channels.
    maps : ndarray, (*domain, k)
        Likewise.
    spectra_at_zero, maps_at_zero : ndarray of bool
        Where the error is a one-sided limit.
    rotations : int
        Rotations that neither data nor zeros fix: the errors are those with them held, and
        :func:`em.assess.ambiguity` says how far they go.
    method : str
    exact : bool
        Whether every entry had its own variance; else variances were a product of one of the pixel and
        one of the channel.
    efficient : bool
        Whether the loss of the model is the likelihood of this noise, so that the bound can be reached.
    tested : bool or None
        Whether the errors hold how far clipped noise and penalties have moved the answer; False where the data bear
        no zeros from which that could be told, None where it was not asked.
    misfit : float
        Mean square of the residual over what the noise explains; NaN where the noise was measured from it.
    """

    spectra: np.ndarray
    maps: np.ndarray
    spectra_at_zero: np.ndarray
    maps_at_zero: np.ndarray
    rotations: int
    method: str
    exact: bool = True
    efficient: bool = False
    tested: bool | None = None
    misfit: float = math.nan

    @property
    def sentence(self) -> str:
        """What the errors are worth."""
        if np.isnan(self.maps).all():
            return Sentence(
                "Errors are not known: the model has as many unknowns as the data have entries, which leaves nothing "
                "to tell the noise from; ",
                Argument("", says="give noise=, "),
                "ask for fewer components or take more pixels.",
            )
        bound: Words = ("Errors from fits to simulated data: noise alone, not ambiguity.",)
        if self.method != "bootstrap":
            bound = (
                "Errors are the Cramér-Rao bound: what the best estimator makes of this noise.",
            )
            if not self.efficient:
                bound += (
                    " The loss of this model does worse, which they allow for one factor at a time.",
                )
        if self.tested is not None:
            bound += (TESTED[bool(self.tested)],)
        if self.misfit > 1 + UNLIKE:
            bound += (
                f" The residual is {self.misfit:.2g} times what this noise explains: something is left that is no "
                "noise, and errors may be too small.",
            )
        if not self.rotations:
            return Sentence(*bound)
        several = "s" if self.rotations > 1 else ""
        besides = (
            f" {self.rotations} rotation{several} of the components {'are' if several else 'is'} not fixed by the "
            "data and not part of these errors: see "
        )
        return Sentence(*bound, besides, Argument("ambiguity", says="em.assess.ambiguity"), ".")


def uncertainty(
    fitted: Any,
    X: Any = None,
    *,
    method: str = "cramer-rao",
    noise: NoiseModel | None = None,
    n_bootstrap: int = 100,
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    domain: tuple[int, ...] | None = None,
    callback: Callback | None = None,
    random_state: int = 0,
) -> Errors:
    r"""Return standard errors of spectra and maps under a noise model.

    "cramer-rao" inverts the Fisher information of all spectra and maps together, with entries at zero
    held there and every spectrum held at its norm (that of the model's ``normalise``; unit length where
    that speaks of maps). Clipped noise widens the cone of an :class:`em.NMF`, and penalties move it: it is fitted again
    without these and with zeros that a test decides (:class:`em.Absent`), and the error is that within which both the
    distance of the two answers and the noise of the second lie together, in 68 of 100 cases. Noise of neighbours that
    is correlated, and a loss that weighs them otherwise than their noise asks, enlarge the errors of each factor as
    if the other were known. "bootstrap" fits the model again to data simulated from the answer.

    Parameters
    ----------
    fitted : fitted estimator or Unmixing
    X : array_like, sparse matrix, Dask array or HyperSpy signal, (*domain, n_channels)
        The data of the fit; an ``Unmixing`` reads its own again unless they are given.
    method : "cramer-rao" or "bootstrap"
    noise : NoiseModel, optional
        That of the model's loss unless given: for white noise as large as the residual, for counts with the gain
        measured from the data; measured altogether where the loss does not say what its noise is.
    n_bootstrap : int
        Simulated data sets.
    mask, channel_mask, weights, domain
        As in the fit; the image is that of the fitted maps unless given.
    callback : callable, optional
        Gets the progress before the bound is worked out, or before every fit of the bootstrap; returning True
        there keeps the fits so far, at least two.
    random_state : int
        For the simulated data.

    Returns
    -------
    Errors

    Raises
    ------
    ValueError
        If the method is not known, or there are more spectra and channels than can be worked out at once.

    References
    ----------
    Stoica & Ng, IEEE Signal Process. Lett. 5 (1998) 177, for bounds under constraints.

    Examples
    --------
    >>> import endmember as em
    >>> rng = np.random.default_rng(0)
    >>> X = np.eye(2).repeat(200, axis=0) @ np.eye(2).repeat(9, axis=1)
    >>> X = X + 0.1 * rng.standard_normal(X.shape)
    >>> X = np.abs(X)
    >>> errors = uncertainty(em.NMF(2, random_state=0).fit(X), X)
    >>> errors.spectra.shape, errors.maps.shape
    ((2, 18), (400, 2))
    """
    check_known("method", method, "cramer-rao", "bootstrap")
    check_positive_whole("n_bootstrap", n_bootstrap)
    answer = noisy_answer(fitted, X, noise, mask, channel_mask, weights, domain)
    tell = callback or (lambda progress: None)
    if math.isnan(answer.noise.read_variance):
        spectra, maps = np.full(answer.S.shape, np.nan), np.full(answer.C.shape, np.nan)
        return answer.errors(spectra, maps, 0, "cramer-rao", True)
    if method == "bootstrap":
        return answer.simulated(n_bootstrap, np.random.default_rng(random_state), tell)
    tell(Progress(method, 1, math.nan))
    with one_blas_thread():
        return answer.with_distance(answer.bound())


def noisy_answer(fitted: Any, X: Any, noise: NoiseModel | None, *left_out: Any) -> "NoisyAnswer":
    """Return the answer of a fit with its noise, the data read again; what is left out as in :func:`uncertainty`."""
    model, X, options = given_fit(fitted, X, *left_out)
    with one_blas_thread():
        observed = observe(X, **options, keep_empty=True)
        noise = noise and noise.times(1 / observed.unit)
        return NoisyAnswer(model, model.explained(observed), noise)


class NoisyAnswer:
    """An answer at the pixels and channels that took part, with the noise that goes with it."""

    def __init__(self, model: Any, explained: Explained, noise: NoiseModel | None) -> None:
        self.as_fitted, explained = explained.observed, explained.as_recorded()
        self.exposure = 1.0 if (e := self.as_fitted.data.exposure) is None else e[:, None]
        self.model, self.explained, self.observed = model, explained, explained.observed
        self.C, self.S = explained.C, explained.S
        known, negative = fixed_entries(model, self.observed, self.S.shape[1])
        zero = [AT_ZERO * np.max(F, axis=0) >= F for F in (self.C, self.S)]
        self.at_zero = [z & ~h & (not negative) for z, h in zip(zero, known, strict=True)]
        self.fixed = [z | h for z, h in zip(self.at_zero, known, strict=True)]
        self.noise, self.misfit = noise or self._noise(), math.nan

    def _noise(self) -> NoiseModel:
        """Return the noise that the loss of the model stands for; of variance NaN where nothing tells it."""
        data, loss = self.observed.data, self.model.own_loss()
        counted = None if loss.power == 0 else loss.measured_noise(self.observed)
        if counted is not None:
            return counted
        left = data.size + self.S.shape[1] - sum(np.count_nonzero(~one) for one in self.fixed)
        if left <= 0:
            return NoiseModel(gain=0.0, read_variance=math.nan)
        large = data.weighted or data.size > MOST_PAINTED
        grown = known_noise(self.observed) if large else self._growing_noise()
        if grown is not None and grown.gain > GROWS * grown.gain_error:
            return grown
        return NoiseModel(gain=0.0, read_variance=self.explained.squares() / left)

    def _growing_noise(self) -> NoiseModel:
        C, S = self.without_bounds(*map(np.ones, self.observed.data.shape))
        residual = [block for _, block in replace(self.explained, C=C, S=S).residual_blocks()]
        slope, error, least = growth(C @ S.T, np.concatenate(residual), np.linalg.qr(S)[0])
        return NoiseModel(gain=slope, gain_error=error, read_variance=max(least, 0.0))

    def bound(self) -> Errors:
        """Return the Cramér-Rao bound."""
        n, k = self.C.shape
        m = len(self.S)
        refuse_if(
            k * m > MOST_ENTRIES,
            f"{k} spectra of {m} channels have more entries than the {MOST_ENTRIES} whose errors can "
            "be worked out together; bin or crop the energy axis",
        )
        weights, exact = self._weights(n * k**3 * m**2)
        known = Information(self.C, self.S, weights, *self.fixed)
        normalise = getattr(self.model, "normalise", None)
        energy = self.observed.axis.energy[self.observed.columns]
        covariance = known.with_scale(gradient_of_norm(self.S, normalise, energy))
        spectra, maps = known.spectra_errors(covariance), known.maps_errors(covariance)
        limits = self._limits(known)
        maps = np.where(self.at_zero[0], limits[0], maps)
        spectra = np.where(self.at_zero[1], limits[1], spectra)
        times = self._inefficiency()
        return self.errors(
            spectra * times[1], maps * times[0], len(known.rotations), "cramer-rao", exact
        )

    def covariance_of_amounts(self, kept: Sequence[int]) -> np.ndarray:
        """Return the bound on the covariance of the amounts of known columns, (k, p, k, p).

        Amounts at zero are held, but for those of the columns ``kept``, which have the error that they would have free.
        """
        amounts, columns = self.model.amounts_, self.model.columns_.T[self.observed.columns]
        free = amounts > AT_ZERO * amounts.max(axis=1, keepdims=True)
        free[:, kept] = True
        known = Information(self.C, self.S, self._weights(0.0)[0], *self.fixed)
        information = known.of_amounts(columns).reshape(amounts.size, amounts.size)
        size = np.sqrt(or_one(np.diag(information))) * np.where(free.ravel(), 1.0, np.inf)
        scaled = information / np.outer(size, size)
        inverse = np.linalg.pinv(scaled, rcond=SINGULAR, hermitian=True) / np.outer(size, size)
        return inverse.reshape(*amounts.shape, *amounts.shape)

    def with_distance(self, errors: Errors) -> Errors:
        """Return the errors of the answer with its distance from one whose zeros a test decides, where there is one."""
        model = self._with_tested_zeros()
        if model is None:
            return errors
        if not model.absent_.any():
            return replace(errors, tested=False)
        other = NoisyAnswer(model, model.explained(self.as_fitted), self.noise)
        order = match_components(other.S.T, self.S.T)
        own, there = other.bound(), self.model
        spectra = together(there.flat_components - model.flat_components[order], own.spectra[order])
        maps = together(there.maps_ - model.maps_[..., order], own.maps[..., order])
        known = [self.fixed[mode] & ~self.at_zero[mode] for mode in (0, 1)]
        return replace(
            errors, tested=True, rotations=own.rotations,
            maps=np.where(self.observed.maps(known[0].astype(float)) == 1, 0.0, maps),
            spectra=np.where(self.observed.spectra(known[1].astype(float)) == 1, 0.0, spectra),
        )  # fmt: skip

    def _with_tested_zeros(self) -> Any:
        """Return the model without penalties and with tested zeros, fitted from the answer; None where it is that."""
        model, k = self.model, self.S.shape[1]
        judged = {"excess_", "absent_"} <= vars(model).keys()
        if not isinstance(model, NMF) or k == 1 or judged or self.fixed[1].all():
            return None
        own = {
            name: [p for p in penalties if "bounds" in p.offers() or np.any(p.fixes_scale(k))]
            for name, penalties in model._penalties().items()
        }
        own["maps"].append(Absent("auto"))
        with warnings.catch_warnings(action="ignore"), suppress(EndmemberError):
            start = np.nan_to_num(model.maps_), np.nan_to_num(model.flat_components)
            return clone(model).set_params(n_components=k, init=start, **own).fit(self.as_fitted)
        return None

    def _inefficiency(self) -> list[np.ndarray]:
        """Return how much larger the errors of maps (n, k) and of spectra (m, k) are than bounds, the others known."""
        data, loss = self.observed.data, self.model.own_loss()
        times, weights = [np.ones(self.C.shape), np.ones(self.S.shape)], [np.ones(1), np.ones(1)]
        if data.weighted:
            return times
        if self.noise.gain > 0 and loss.needs == "products":
            scaled = [loss.prepare(data).row_weights(mode) for mode in (0, 1)]
            weights = [one if w is None else w for one, w in zip(weights, scaled, strict=True)]
            reached, best = (
                self.covariances(self.C, self.S, weights),
                self.covariances(self.C, self.S),
            )
            times = [
                np.sqrt(np.maximum(np.einsum("iqq->iq", one) / np.einsum("iqq->iq", other), 1.0))
                for one, other in zip(reached, best, strict=True)
            ]
        correlated, white = map(np.diag, self.products_of_errors(solution(self.S, weights[1])))
        times[0] *= np.sqrt(np.maximum(correlated / white, 0.0))
        return times

    def products_of_errors(self, solve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the covariance of maps that ``solve`` (m, k) makes in a mean pixel, correlated as measured, or not.

        Both are (k, k).
        """
        u = solve * self._deviation[:, None]
        return u.T @ matmul_toeplitz(self.correlation, u), u.T @ u

    @cached_property
    def correlation(self) -> np.ndarray:
        """The correlation of the noise of channels at a distance of 0, 1, 2, … channels, (m,); not of large data.

        Measured without bounds: a residual of bounded maps holds signal, which is alike in all channels. How large it
        is beside the noise is measured on the way.
        """
        found, size = np.eye(1, len(self.S))[0], self.observed.data.size
        if size > MOST_PAINTED:
            return found
        squares, expected, residual = 0.0, 0.0, []
        by_pixel, by_channel = map(np.sqrt, self.plain_weights)
        C, S = self.without_bounds(*self.plain_weights)
        for rows, block in replace(self.explained, C=C, S=S).residual_blocks():
            squares += np.sum(block**2)
            expected += np.sum(self.variance(self.C[rows]))
            residual.append(block * by_pixel[rows, None] * by_channel)
        free = max(size - self.C.size - self.S.size, 1)
        self.misfit = float(squares / expected) * size / free if self.noise.gain > 0 else math.nan
        basis = np.linalg.qr(S * by_channel[:, None])[0]
        lags = lagged_correlation(np.concatenate(residual).T, basis, np.ones(len(basis)))
        found[1 : len(lags) + 1] = lags
        return found

    def without_bounds(self, rows: np.ndarray, columns: np.ndarray) -> list[np.ndarray]:
        """Return maps and spectra that weighted least squares bring to the directions of the data.

        Entries that the model was told stay, and models whose answer has no bounds keep it.
        """
        C, S = self.C, self.S
        known = [fixed & ~zero for fixed, zero in zip(self.fixed, self.at_zero, strict=True)]
        data = self.observed.data
        for _ in range(SWEEPS if self.explained.offset is None else 0):
            C = np.where(known[0], self.C, data.dot(solution(S, columns)))
            S = np.where(known[1], self.S, data.transposed_dot(solution(C, rows)))
        return [C, S]

    @cached_property
    def plain_weights(self) -> list[np.ndarray]:
        """One over the mean variance of pixels (n,) and of channels (m,)."""
        means = self.variance(self.C).mean(axis=1), self._deviation**2
        return [1 / np.maximum(v, LEAST_VARIANCE * v.mean()) for v in means]

    @cached_property
    def _deviation(self) -> np.ndarray:
        return np.sqrt(self.variance(self.C.mean(axis=0, keepdims=True))[0])

    def variance(self, C: np.ndarray) -> np.ndarray:
        """Return the variance of the noise in pixels of some maps, (rows, m)."""
        model = np.maximum(C @ self.S.T, 0.0)
        variance = np.broadcast_to(self.noise.variance(model), model.shape)
        return np.maximum(variance, 1e-3 * variance.mean())

    def covariances(
        self, C: np.ndarray, S: np.ndarray, weights: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """Return the covariances of the rows of maps (n, k, k) and spectra (m, k, k), each with the other factor known.

        Of least squares with weights of pixels and channels, or with those that the noise asks for.
        """
        n, m, k = len(C), len(S), S.shape[1]
        to_maps, to_spectra = (
            (S, C) if weights is None else (solution(S, weights[1]), solution(C, weights[0]))
        )
        found = [np.zeros((n, k, k)), np.zeros((m, k, k))]
        for rows in row_blocks(n, m):
            variance = self.variance(self.C[rows])
            variance = 1 / variance if weights is None else variance
            part = to_spectra[rows]
            found[0][rows] = np.einsum("ij,jq,jr->iqr", variance, to_maps, to_maps, optimize=True)
            found[1] += np.einsum("ij,iq,ir->jqr", variance, part, part, optimize=True)
        return [np.linalg.pinv(one, hermitian=True) for one in found] if weights is None else found

    def _weights(self, work: float) -> tuple[Weights, bool]:
        """Return one over the variance of every entry, and whether that is exact."""
        (n, m), noise = self.observed.data.shape, self.noise
        floor = FAINTEST * float(np.max(self.C.sum(axis=1)) * np.max(self.S)) + noise.offset
        if noise.gain > 0 and work <= MOST_WORK:
            return Weights(
                np.ones(n), np.ones(m), lambda model: 1 / noise.variance(np.maximum(model, floor))
            ), True
        by_pixel = noise.variance(np.maximum(self.C @ self.S.mean(axis=0), floor))
        by_channel = noise.variance(np.maximum(self.S @ self.C.mean(axis=0), floor))
        return Weights(1 / by_pixel, np.mean(by_channel) / by_channel), noise.gain == 0

    def _limits(self, known: Information) -> list[np.ndarray]:
        """Return below which value entries at zero lie, all others held: of maps (n, k) and of spectra (m, k)."""
        push = [np.zeros(self.C.shape), np.zeros(self.S.shape)]
        for rows, residual in self.explained.residual_blocks():
            weighted = residual * known.weights.block(rows, self.C[rows] @ self.S.T)
            push[0][rows] = -weighted @ self.S
            push[1] -= weighted.T @ self.C[rows]
        return [upper_limit(slope, h) for slope, h in zip(push, known.curvatures(), strict=True)]

    def simulated(self, number: int, rng: np.random.Generator, tell: Callback) -> Errors:
        """Return the spread of fits to data simulated from the answer."""
        observed, k = self.observed, self.S.shape[1]
        refuse_if(
            observed.data.weighted,
            "the bootstrap does not know weights of single entries; leave them out",
        )
        mean = self.C @ self.S.T
        found: list[list[np.ndarray]] = [[], []]
        for draw in range(number):
            if tell(Progress("bootstrap", draw + 1, math.nan)) and draw >= 2:
                break
            again = clone(self.model)
            if "init" in again.get_params():
                again.set_params(init=(self.C, self.S.T))
            again.fit(self.noise.draw(mean, rng))
            order = match_components(again.components_, self.S.T)
            found[0].append(np.asarray(again.maps_).reshape(-1, k)[:, order])
            found[1].append(again.components_[order].T)
        spread = [np.std(draws, axis=0, ddof=1) for draws in found]
        above = [np.quantile(draws, BELOW, axis=0) for draws in found]
        maps, spectra = (
            np.where(zero, limit, error)
            for zero, limit, error in zip(self.at_zero, above, spread, strict=True)
        )
        return self.errors(spectra, maps, 0, "bootstrap", True)

    def errors(
        self, spectra: np.ndarray, maps: np.ndarray, rotations: int, method: str, exact: bool
    ) -> Errors:
        """Return errors at the pixels (n, k) and channels (m, k) that took part in the shapes and unit of the data."""
        observed, powers = self.observed, self.model._powers()
        return Errors(
            observed.spectra(spectra) * observed.unit ** powers.get("components_", 0),
            observed.maps(maps / self.exposure) * observed.unit ** powers.get("maps_", 0),
            observed.spectra(self.at_zero[1].astype(float)) > 0.5,
            observed.maps(self.at_zero[0].astype(float)) > 0.5,
            rotations, method, exact, self.model.own_loss().likelihood, misfit=self.misfit,
        )  # fmt: skip
