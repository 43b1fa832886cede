"""How large the error bars are: what noise alone does to spectra and maps."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm
from sklearn.base import clone

from endmember.assess.bands import fixed_entries, given_fit
from endmember.assess.information import Information, Weights
from endmember.errors import Argument, EndmemberError, Sentence, Words
from endmember.factor.data.observed import observe
from endmember.factor.data.resources import one_blas_thread
from endmember.factor.loop.fit import Callback, Progress
from endmember.factor.matching import match_components
from endmember.factor.noise.model import NoiseModel
from endmember.factor.scale.carriers import gradient_of_norm
from endmember.methods.estimator import Explained

#: Above this many steps the variances are taken for a product of one of the pixel and one of the channel.
MOST_WORK = 3e11
#: Largest number of entries of all spectra whose covariance is worked out.
MOST_ENTRIES = 8000
#: An entry is held at zero when it is below this fraction of the largest of its component.
AT_ZERO = 1e-8
#: The limit of an entry at zero has this much of the probability below it, as one standard error has.
BELOW = float(norm.cdf(1.0))
#: Expected counts are never taken for less than this fraction of the largest.
FAINTEST = 1e-9


@dataclass(frozen=True, eq=False)
class Errors:
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
    """

    spectra: np.ndarray
    maps: np.ndarray
    spectra_at_zero: np.ndarray
    maps_at_zero: np.ndarray
    rotations: int
    method: str
    exact: bool = True
    efficient: bool = False

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
                more = Argument("", says='; method="bootstrap" says by how much')
                bound += (" The loss of this model does worse", more, ".")
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
    that speaks of maps). "bootstrap" fits the model again to data simulated from the answer.

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
    if method not in ("cramer-rao", "bootstrap"):
        raise EndmemberError(f'method={method!r} is not known; allowed: "cramer-rao", "bootstrap"')
    model, X, options = given_fit(fitted, X, mask, channel_mask, weights, domain)
    tell = callback or (lambda progress: None)
    with one_blas_thread():
        observed = observe(X, **options, keep_empty=True)
        noise = noise and noise.times(1 / observed.unit)
        answer = NoisyAnswer(model, model.explained(observed), noise)
    if math.isnan(answer.noise.read_variance):
        return answer.unknown()
    if method == "bootstrap":
        return answer.simulated(n_bootstrap, np.random.default_rng(random_state), tell)
    tell(Progress(method, 1, math.nan))
    with one_blas_thread():
        return answer.bound()


class NoisyAnswer:
    """An answer at the pixels and channels that took part, with the noise that goes with it."""

    def __init__(self, model: Any, explained: Explained, noise: NoiseModel | None) -> None:
        self.model, self.explained, self.observed = model, explained, explained.observed
        self.C, self.S = explained.C, explained.S
        known, negative = fixed_entries(model, self.observed, self.S.shape[1])
        zero = [AT_ZERO * np.max(F, axis=0) >= F for F in (self.C, self.S)]
        self.at_zero = [z & ~h & (not negative) for z, h in zip(zero, known, strict=True)]
        self.fixed = [z | h for z, h in zip(self.at_zero, known, strict=True)]
        self.noise = noise or self._noise()

    def _noise(self) -> NoiseModel:
        """Return the noise that the loss of the model stands for; of variance NaN where nothing tells it."""
        data, loss = self.observed.data, self.model.own_loss()
        measured = None if loss.power == 0 else loss.measured_noise(self.observed)
        if measured is not None:
            return measured
        unknowns = sum(np.count_nonzero(~fixed) for fixed in self.fixed) - self.S.shape[1]
        left = data.size - unknowns
        return NoiseModel(
            gain=0.0, read_variance=self.explained.squares() / left if left > 0 else math.nan
        )

    def unknown(self) -> Errors:
        """Return errors that are not known."""
        spectra, maps = np.full(self.S.shape, np.nan), np.full(self.C.shape, np.nan)
        return self._errors(spectra, maps, 0, "cramer-rao", True)

    def bound(self) -> Errors:
        """Return the Cramér-Rao bound."""
        n, k = self.C.shape
        m = len(self.S)
        if k * m > MOST_ENTRIES:
            raise EndmemberError(
                f"{k} spectra of {m} channels have more entries than the {MOST_ENTRIES} whose errors can "
                "be worked out together; bin or crop the energy axis"
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
        return self._errors(spectra, maps, len(known.rotations), "cramer-rao", exact)

    def _weights(self, work: float) -> tuple[Weights, bool]:
        """Return one over the variance of every entry, and whether that is exact."""
        n, m = self.observed.data.shape
        noise = self.noise
        if noise.gain == 0:
            return Weights(np.full(n, 1.0 / noise.read_variance), np.ones(m)), True
        floor = FAINTEST * float(np.max(self.C.sum(axis=1)) * np.max(self.S))
        if work <= MOST_WORK:
            return Weights(
                np.ones(n), np.ones(m), lambda model: 1 / noise.variance(np.maximum(model, floor))
            ), True
        by_pixel = noise.variance(np.maximum(self.C @ self.S.mean(axis=0), floor))
        by_channel = noise.variance(np.maximum(self.S @ self.C.mean(axis=0), floor))
        return Weights(1 / by_pixel, np.mean(by_channel) / by_channel), False

    def _limits(self, known: Information) -> list[np.ndarray]:
        """Return below which value entries at zero lie, all others held: of maps (n, k) and of spectra (m, k)."""
        push = [np.zeros(self.C.shape), np.zeros(self.S.shape)]
        for rows, residual in self.explained.residual_blocks():
            weighted = residual * known.weights.block(rows, self.C[rows] @ self.S.T)
            push[0][rows] = -weighted @ self.S
            push[1] -= weighted.T @ self.C[rows]
        return [_upper_limit(slope, h) for slope, h in zip(push, known.curvatures(), strict=True)]

    def simulated(self, number: int, rng: np.random.Generator, tell: Callback) -> Errors:
        """Return the spread of fits to data simulated from the answer."""
        observed, k = self.observed, self.S.shape[1]
        if observed.data.weighted:
            raise EndmemberError(
                "the bootstrap does not know weights of single entries; leave them out"
            )
        mean = self.C @ self.S.T
        found: list[list[np.ndarray]] = [[], []]
        for draw in range(number):
            if tell(Progress("bootstrap", draw + 1, math.nan)) and draw >= 2:
                break
            again = clone(self.model)
            if "init" in again.get_params():
                again.set_params(init=(self.C, self.S.T))
            again.fit(_simulate(mean, self.noise, rng))
            order = match_components(again.components_, self.S.T)
            found[0].append(np.asarray(again.maps_).reshape(-1, k)[:, order])
            found[1].append(again.components_[order].T)
        spread = [np.std(draws, axis=0, ddof=1) for draws in found]
        above = [np.quantile(draws, BELOW, axis=0) for draws in found]
        maps, spectra = (
            np.where(zero, limit, error)
            for zero, limit, error in zip(self.at_zero, above, spread, strict=True)
        )
        return self._errors(spectra, maps, 0, "bootstrap", True)

    def _errors(
        self, spectra: np.ndarray, maps: np.ndarray, rotations: int, method: str, exact: bool
    ) -> Errors:
        observed, powers = self.observed, self.model._powers()
        return Errors(
            observed.spectra(spectra) * observed.unit ** powers.get("components_", 0),
            observed.maps(maps) * observed.unit ** powers.get("maps_", 0),
            observed.spectra(self.at_zero[1].astype(float)) > 0.5,
            observed.maps(self.at_zero[0].astype(float)) > 0.5,
            rotations, method, exact, self.model.own_loss().likelihood,
        )  # fmt: skip


def _upper_limit(slope: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    r"""Return the quantile of :math:`\exp(-g x - h x^2/2)`, :math:`x \ge 0`, that one standard error leaves below."""
    root = np.sqrt(np.maximum(curvature, 1e-300))
    start = np.maximum(slope, 0.0) / root
    normal = (norm.isf((1 - BELOW) * norm.sf(np.minimum(start, 30.0))) - start) / root
    steep = -np.log(1 - BELOW) / np.where(slope > 0, slope, 1.0)
    return np.where(start < 30.0, normal, steep)


def _simulate(mean: np.ndarray, noise: NoiseModel, rng: np.random.Generator) -> np.ndarray:
    """Return data with this mean and noise."""
    if noise.power == 1 and noise.gain > 0 and noise.offset == noise.read_variance == 0:
        return noise.gain * rng.poisson(np.maximum(mean, 0.0) / noise.gain)
    return mean + rng.standard_normal(mean.shape) * np.sqrt(noise.variance(mean))
