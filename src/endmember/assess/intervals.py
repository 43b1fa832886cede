r"""One interval that holds noise and rotation: how far a quantity can be displaced until the data object.

Every :math:`C T^{-\top}, S T` explains the data as well as :math:`C, S`. Amounts are solved without bounds, so that
those that are truly zero scatter by their standard error to both sides, and the squares of the negative ones are
chi-squared, whatever the positive ones look like. A rotation stays in as long as they are no larger than that, in all
maps and all spectra: what non-negativity costs the likelihood is held against what zeros must cost it.
Clipped noise, which draws the best fit away from the truth, has no say in it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import eigh, toeplitz
from scipy.special import chdtri
from scipy.stats import norm

from endmember.assess.bands import known_entries
from endmember.assess.information import Information, Weights, solution
from endmember.assess.standard_errors import LEAST_VARIANCE, NoisyAnswer, noisy_answer
from endmember.errors import EndmemberError, EndmemberTypeError, refuse_if
from endmember.factor.data import one_blas_thread
from endmember.factor.loop import Callback, Progress
from endmember.factor.scale.carriers import rescale
from endmember.show.shown import Shown

#: Negative values count fully from so many standard errors, so that their number is smooth.
SOFT = 0.1
#: What a normal number below zero counts on average then.
COUNTED = 1 - 2 * (norm.cdf(SOFT) - 0.5) + 2 * (norm.pdf(0) - norm.pdf(SOFT)) / SOFT
#: Draws of the noise at every end.
DRAWS = 40
#: Random directions in which the edge is met, in so many halvings; the search for an end begins at the best ones.
RAYS, HALVINGS, STARTS = 16, 9, 2
#: A direction that the data do not bear for so much is searched as if they bore it for that much.
NARROWEST, WIDE = 1e-3, 0.1
#: Components that are no more like themselves than like each other, up to this cosine, have changed places.
TOUCHING = 1e-2
#: Steps of a search at most, by how much its end may break a limit, and the step from which a slope is taken.
MOST, BORNE, STEP = 100, 1e-3, 1e-4

Quantity = Callable[[np.ndarray, np.ndarray], Any]


@dataclass(frozen=True, eq=False, repr=False)
class Interval(Shown):
    """Between which values a quantity lies.

    Attributes
    ----------
    value : float
        That of the answer.
    low, high : ndarray, (levels,)
        The ends at every level.
    level : ndarray, (levels,)
        The probabilities.
    noise : float
        One standard error, the rotation of the answer held.
    swaps : int
        At how many of the ends components have changed places.
    """

    value: float
    low: np.ndarray
    high: np.ndarray
    level: np.ndarray
    noise: float
    swaps: int

    @property
    def sentence(self) -> str:
        """The widest interval in words."""
        last = int(np.argmax(self.level))
        low, high = self.low[last], self.high[last]
        words = (
            f"{self.value:.4g}, and between {low:.4g} and {high:.4g} at {self.level[last]:.0%}; noise alone leaves "
            f"± {self.noise:.2g}."
        )
        if self.swaps:
            words += " Components change places on the way, so that it is not clear of which one this speaks."
        return words


def displacement(
    fitted: Any,
    X: Any = None,
    *,
    of: Quantity | Sequence[Any],
    level: float | Sequence[float] = (0.68, 0.95),
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    domain: tuple[int, ...] | None = None,
    callback: Callback | None = None,
    random_state: int = 0,
) -> Interval:
    r"""Return between which values a quantity lies, for noise and for all other factors that fit as well.

    The quantity is displaced along the rotations of the answer until the negative amounts of a map, or values of a
    spectrum, are more than noise; what noise does beside that is added at both ends. Zeros that a test has decided
    (``em.Absent("auto")``) and penalties on shape or size are not asked: the interval is that of the data, of what is
    non-negative and of what the model was told to be known.

    Parameters
    ----------
    fitted : fitted estimator or Unmixing
        With non-negative maps and spectra.
    X : array_like, sparse matrix, Dask array or HyperSpy signal, (*domain, n_channels)
        The data of the fit; an ``Unmixing`` reads its own again unless they are given.
    of : callable or tuple
        ``f(maps, spectra) -> number`` of maps (*domain, k) and spectra (k, n_channels), scaled as those of the model;
        or ``("spectra", j, channel)``, one value of spectrum j, counted from 0; ``("spectra", j, (start, stop))``, its
        sum over a window in the unit of the energy axis; ``("maps", j)``, the mean of a map.
    level : float or tuple of float
        Probabilities that the truth lies between the ends.
    mask, channel_mask, weights, domain
        As in the fit; the image is that of the fitted maps unless given.
    callback : callable, optional
        Gets the progress before each level.
    random_state : int
        For the draws of noise.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If a factor may be negative, single entries have weights, or the quantity is not a number.

    References
    ----------
    Paatero, Eberly, Brown & Norris, Atmos. Meas. Tech. 7 (2014) 781, for the idea of displacement.

    Examples
    --------
    >>> import endmember as em
    >>> phantom = em.synthetic.mixed_phases((12, 12), channels=24, k=2, dose=100)
    >>> nmf = em.NMF(2, random_state=0).fit(phantom.data)
    >>> found = displacement(nmf, phantom.data, of=("maps", 0))
    >>> bool(found.low[1] <= found.low[0] <= found.value <= found.high[0] <= found.high[1])
    True
    """
    levels = np.atleast_1d(np.asarray(level, dtype=float))
    refuse_if(
        levels.ndim > 1 or not levels.size or not ((levels > 0) & (levels < 1)).all(),
        f"level={level!r} is not allowed; give probabilities between 0 and 1",
    )
    answer = noisy_answer(fitted, X, None, mask, channel_mask, weights, domain)
    tell = callback or (lambda progress: None)
    with one_blas_thread():
        turned = _Turned(answer, _quantity(of, answer.model), random_state)
        found, swaps = np.empty((2, len(levels))), 0
        for ends, sign in zip(found, (-1.0, 1.0), strict=True):
            x = np.zeros(len(turned.directions))
            for step in np.argsort(levels):
                tell(Progress("displacement", int(step) + 1, math.nan))
                ends[step], x = turned.end(levels[step], sign, x)
                swaps += int(turned.own_place(x).min(initial=1.0) < TOUCHING)
        low, high, value = *found, turned.value
    return Interval(
        value, np.minimum(low, value), np.maximum(high, value), levels, turned.noise, swaps
    )


def _quantity(of: Any, model: Any) -> Quantity:
    """Return the function that was named, or given."""
    if callable(of):
        return of
    k, energy = len(model.components_), model._axis.energy
    match of:
        case ("maps", int() | np.integer() as j) if 0 <= j < k:
            return lambda maps, spectra: np.nanmean(maps[..., j])
        case ("spectra", int() | np.integer() as j, int() | np.integer() as channel) if (
            0 <= j < k and 0 <= channel < len(energy)
        ):
            return lambda maps, spectra: spectra[j, channel]
        case ("spectra", int() | np.integer() as j, (start, stop)) if 0 <= j < k:
            inside = (energy >= start) & (energy < stop)
            if inside.any():
                return lambda maps, spectra: np.nansum(spectra[j, inside])
    raise EndmemberError(
        f'of={of!r} is not known; allowed: f(maps, spectra), ("spectra", j, channel), ("spectra", j, (start, stop)) '
        f'or ("maps", j), with j from 0 to {k - 1}, channels from 0 to {len(energy) - 1} and windows from '
        f"{energy.min():g} to {energy.max():g}"
    )


class _Turned:
    """All rotations of an answer, what they make of a quantity, and whether the data bear them."""

    def __init__(self, answer: NoisyAnswer, quantity: Quantity, seed: int) -> None:
        self.answer, self.quantity, self.seed = answer, quantity, seed
        self.model, self.observed = answer.model, answer.observed
        refuse_if(
            self.observed.data.weighted,
            "em.assess.displacement does not know weights of single entries; leave them out",
        )
        self.k = answer.S.shape[1]
        self.known = known_entries(self.model, self.observed, self.k, "displacement")
        self.energy = self.observed.axis.energy[self.observed.columns]
        self.normalise = getattr(self.model, "normalise", None) or ("spectra", "l2")
        scaled = rescale(answer.C, answer.S, self.normalise, self.energy)[1]
        self.size = np.linalg.norm(answer.S, axis=0) / np.linalg.norm(scaled, axis=0)
        self._free()
        self.value = self.of(answer.C, answer.S)
        refuse_if(
            not math.isfinite(self.value),
            f"of gives {self.value} for this answer; give a number that is finite, such as by np.nanmean where "
            "pixels or channels were left out",
        )
        self._rays: dict[float, tuple[list[np.ndarray], np.ndarray]] = {}
        self.noise = self.noise_at(np.zeros(len(self.directions)))

    def _free(self) -> None:
        """Solve for both factors without bounds, and for the covariance of every row of them."""
        answer = self.answer
        rows, columns = answer.plain_weights
        whitening = _inverse_of(answer.correlation, np.sqrt(columns))
        C, S = self.C, self.S = answer.without_bounds(rows, whitening)
        self.spread = answer.covariances(C, S, (rows, whitening))
        correlated, white = answer.products_of_errors(solution(S, whitening))
        values, vectors = eigh(correlated, white)
        colour = white @ (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        self.spread[0] = colour @ self.spread[0] @ colour.T
        for spread, known in zip(self.spread, self.known, strict=True):
            spread *= ~(known[:, :, None] | known[:, None, :])
        self.directions = Information(C, S, Weights(rows, columns), *self.known).rotations

    def of(self, C: np.ndarray, S: np.ndarray) -> float:
        """Return the quantity of maps (n, k) and spectra (m, k)."""
        C, S = rescale(C, S, self.normalise, self.energy)
        observed, powers = self.observed, self.model._powers()
        maps = observed.maps(C / self.size / self.answer.exposure) * observed.unit ** powers.get(
            "maps_", 0
        )
        spectra = observed.spectra(S * self.size) * observed.unit ** powers.get("components_", 0)
        value = np.asarray(self.quantity(maps, spectra), dtype=float)
        refuse_if(
            value.ndim,
            "of must return one number; sum or index what it returns",
            kind=EndmemberTypeError,
        )
        return float(value)

    def turn(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what turns the maps, and what turns the spectra."""
        T = np.eye(self.k) + np.tensordot(x, self.directions, 1)
        return np.linalg.inv(T).T, T

    def turned(self, x: np.ndarray) -> list[np.ndarray]:
        """Return maps and spectra after a rotation."""
        return [F @ T for F, T in zip((self.C, self.S), self.turn(x), strict=True)]

    def room(self, x: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return how much of the squares of negative values noise explains beyond those there are, and its slope.

        Of every map and every spectrum, in standard errors of such a sum: (2 k,) and (2 k, rotations).
        """
        D, T = self.turn(x)
        moved = -D @ self.directions.transpose(0, 2, 1) @ D, self.directions
        values, slopes = zip(
            *(
                self._room_of(mode, turn, move, level)
                for mode, (turn, move) in enumerate(zip((D, T), moved, strict=True))
            ),
            strict=True,
        )
        return np.concatenate(values), np.concatenate(slopes)

    def _room_of(
        self, mode: int, T: np.ndarray, moved: np.ndarray, level: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the same of one factor that is turned by ``T``, whose slope is ``moved``."""
        F, known = (self.C, self.S)[mode], self.known[mode]
        spread = (self.spread[mode].reshape(-1, self.k) @ T).reshape(len(F), self.k, -1)
        variance = np.maximum(np.sum(T * spread, axis=1), 1e-300)
        z = np.where(known, 0.0, np.minimum(F @ T, 0.0) / np.sqrt(variance))
        number = np.maximum(np.minimum(-z / SOFT, 1.0).sum(axis=0) / COUNTED, 1.0)
        chance, scale = (1 - level) / (2 * self.k), np.sqrt(2 * number)
        left = (chdtri(number, chance) - np.sum(z**2, axis=0)) / scale
        more = (chdtri(number + 0.5, chance) - chdtri(number - 0.5, chance)) / scale
        more -= left / (2 * number)
        push = -2 * z / scale - np.where((z < 0) & (z > -SOFT), more / (SOFT * COUNTED), 0.0)
        slope = F.T @ (push / np.sqrt(variance)) - np.einsum(
            "ij,iqj->qj", push * z / variance, spread
        )
        return left, np.einsum("qj,rqj->jr", slope, moved)

    def own_place(self, x: np.ndarray) -> np.ndarray:
        """Return by how much every two components are more like themselves than like each other."""
        S = self.turned(x)[1]
        cosine = (S / np.linalg.norm(S, axis=0)).T @ (self.S / np.linalg.norm(self.S, axis=0))
        same = np.diag(cosine)
        i, j = np.triu_indices(self.k, 1)
        return same[i] + same[j] - cosine[i, j] - cosine[j, i]

    def end(self, level: float, sign: float, start: np.ndarray) -> tuple[float, np.ndarray]:
        """Return how far the quantity goes up (sign 1) or down, noise at that end included, and the rotation there."""
        x = self._farthest(level, sign, start)
        return self.of(*self.turned(x)) + sign * norm.isf((1 - level) / 2) * self.noise_at(x), x

    def _farthest(self, level: float, sign: float, start: np.ndarray) -> np.ndarray:
        """Return the rotation that the data bear with the largest (sign 1) or smallest quantity."""
        from scipy.optimize import minimize

        if not len(self.directions):
            return start
        unit = self.noise or 1.0

        def height(x: np.ndarray) -> float:
            return sign * (self.of(*self.turned(x)) - self.value) / unit

        best, top = start, height(start)
        rays, scale = self.rays(level)
        limits = [
            {
                "type": "ineq",
                "fun": lambda y: self.room(y * scale, level)[0],
                "jac": lambda y: self.room(y * scale, level)[1] * scale,
            },
            {"type": "ineq", "fun": lambda y: self.own_place(y * scale)},
        ]
        for begun in [start, *sorted(rays, key=height)[-STARTS:]]:
            found = minimize(
                lambda y: -height(y * scale), begun / scale, method="SLSQP",
                constraints=limits, options={"maxiter": MOST, "ftol": 1e-3, "eps": STEP},
            ).x * scale  # fmt: skip
            for x in (begun, found):
                if self.borne(x, level) and height(x) > top:
                    best, top = x, height(x)
        return best

    def borne(self, x: np.ndarray, level: float) -> bool:
        """Tell whether the data bear a rotation that leaves all components in their places."""
        return bool(min(self.own_place(x).min(initial=1.0), self.room(x, level)[0].min()) > -BORNE)

    def rays(self, level: float) -> tuple[list[np.ndarray], np.ndarray]:
        """Return rotations at the edge of what the data bear, and how far that is in every direction."""
        if level not in self._rays:
            free = len(self.directions)
            axes = [self._reach(one, level) for one in np.vstack([np.eye(free), -np.eye(free)])]
            reach = np.abs(np.reshape(axes, (2, free, free))).sum(axis=2).max(axis=0)
            scale = np.where(reach > NARROWEST, reach, WIDE)
            rng = np.random.default_rng(self.seed)
            more = [self._reach(scale * one, level) for one in rng.standard_normal((RAYS, free))]
            self._rays[level] = axes + more, scale
        return self._rays[level]

    def _reach(self, direction: np.ndarray, level: float) -> np.ndarray:
        """Return the last rotation in a direction that the data bear, from that of the answer on."""
        low, high = 0.0, 1.0 / float(np.abs(direction).max())
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.borne(middle * direction, level) else (low, middle)
        return low * direction

    def noise_at(self, x: np.ndarray) -> float:
        """Return the standard error of the quantity with a rotation held."""
        rng, draws = np.random.default_rng(self.seed), []
        T = self.turn(x)
        for _ in range(DRAWS):
            C, S = (
                (F + np.einsum("iqr,ir->iq", root, rng.standard_normal(F.shape))) @ turn
                for F, root, turn in zip((self.C, self.S), self._roots, T, strict=True)
            )
            draws.append(self.of(C, S))
        return float(np.nanstd(draws, ddof=1))

    @cached_property
    def _roots(self) -> list[np.ndarray]:
        """The roots of the covariances, (n, k, k) and (m, k, k)."""
        roots = []
        for spread in self.spread:
            values, vectors = np.linalg.eigh(spread)
            roots.append(vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :])
        return roots


def _inverse_of(correlation: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """Return weights of channels whose noise is correlated at these distances: (m, m), or (m,) where it is not."""
    if not correlation[1:].any():
        return roots**2
    values, vectors = eigh(toeplitz(correlation))
    return ((vectors / np.maximum(values, LEAST_VARIANCE)) @ vectors.T) * np.outer(roots, roots)
