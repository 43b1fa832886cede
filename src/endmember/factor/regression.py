"""Maps of spectra that are known: bounded least squares, Poisson likelihood, and their standard errors.

``X`` (n, m) is the data, ``F`` (n, k) the maps, ``R`` (m, k) the spectra in their columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from endmember.factor.columns import lengths, or_one
from endmember.factor.data import Data, weighted_gram
from endmember.factor.noise.model import NoiseModel
from endmember.factor.solvers import ANLS, groups
from endmember.factor.subproblems import Quadratic, times_gram

#: With fewer pixels or channels the residual does not tell noise from what the references miss.
FEW = 16
#: A variance is never taken for less than this fraction of the mean variance of its pixel,
LEAST_VARIANCE = 1e-3
#: nor the model of a count for less than this fraction of the mean count of its pixel where it divides.
LEAST_COUNT = 1e-2
#: A pixel is done when a Newton step promises less than this fraction of its counts in likelihood.
PROMISE = 1e-20
#: Newton steps at most, and halvings of one.
STEPS, HALVINGS = 100, 40


@dataclass(frozen=True)
class Limits:
    r"""What amounts ``f`` (k,) of known spectra must keep to: a lower bound, and perhaps a sum.

    Attributes
    ----------
    lower : float
        0 or minus infinity.
    shares : ndarray, (k,), optional
        :math:`\sum_j e_j f_j = 1`; zero for amounts that are not counted.
    """

    lower: float = 0.0
    shares: np.ndarray | None = None

    def scaled(self, size: np.ndarray) -> Self:
        """Return the limits of amounts that are ``size`` times as large."""
        return self if self.shares is None else replace(self, shares=self.shares / size)

    def closed(self, F: np.ndarray) -> np.ndarray:
        """Return amounts (n, k) with the sum that they must have."""
        return F if self.shares is None else F / (F @ self.shares)[:, None]

    def freedom(self, F: np.ndarray) -> np.ndarray:
        """Return how many numbers every pixel was free to choose, (n,)."""
        return np.count_nonzero(self.lower < F, axis=1) - (self.shares is not None)

    def minimiser(self, G: np.ndarray, H: np.ndarray, start: np.ndarray, m: int) -> np.ndarray:
        r"""Return the amounts that minimise :math:`\tfrac12 f G f^\top - f h^\top`, (n, k).

        With a sum the problem is made homogeneous: with :math:`q(f) = |f|_G^2 - 2 f h^\top e f^\top + c\,(e f^\top)^2`,
        not negative and twice the objective where :math:`e f^\top = 1`, the minimiser of
        :math:`q(u) + w (e u^\top - 1)^2` points where that of q does, for any w > 0.
        """
        e = self.shares
        if e is not None:
            constant = np.einsum("ik,ik->i", H, times_gram(H, np.linalg.pinv(G)))
            weight = constant + np.trace(G, axis1=-2, axis2=-1) / (e @ e)
            cross = H[:, :, None] * e
            whole = (constant + weight)[:, None, None] * np.outer(e, e)
            G = (G - cross - cross.transpose(0, 2, 1) + whole) / weight[:, None, None]
            H = np.broadcast_to(e, H.shape)
        return self.closed(ANLS().improve(Quadratic(G, H, lower=self.lower), start, m))

    def covariance(self, G: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Return the inverse of an information (…, k, k) among the free amounts (…, k), one for the others."""
        both = free[..., :, None] & free[..., None, :]
        inverse = np.linalg.pinv(
            np.where(both, G, np.eye(G.shape[-1])), rcond=1e-14, hermitian=True
        )
        if self.shares is None:
            return inverse
        e = np.where(free, self.shares, 0.0)
        along = np.einsum("...kl,...l->...k", inverse, e)
        size = np.sum(e * along, axis=-1)[..., None, None]
        return inverse - along[..., :, None] * along[..., None, :] / size


def least_squares(data: Data, R: np.ndarray, weights: np.ndarray, limits: Limits) -> np.ndarray:
    r"""Return the maps within limits that minimise :math:`\sum_j w_j (x_{ij} - f_i r_j^\top)^2`, (n, k).

    Parameters
    ----------
    data : Data, (n, m)
        With weights of single entries, those take the place of ``weights``.
    R : ndarray, (m, k)
    weights : ndarray, (m,)
    limits : Limits

    References
    ----------
    Heinz & Chang, IEEE Trans. Geosci. Remote Sens. 39 (2001) 529, for amounts that sum to one.

    Examples
    --------
    >>> from endmember.factor.data.in_memory import Dense
    >>> R = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> least_squares(Dense(np.array([[2.0, 5.0, 3.0]])), R, np.ones(3), Limits()).round(12)
    array([[2., 3.]])
    """
    R, size = _unit(R, weights)
    if not data.weighted:
        weighted = weights[:, None] * R
        G, H = weighted.T @ R, data.dot(weighted)
    else:
        G, H = data.gram([R, R], 0), data.dot(R)
    return limits.scaled(size).minimiser(G, H, np.ones(H.shape), len(R)) / size


def _unit(R: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = or_one(lengths(R, weights))
    return R / size, size


def poisson(data: Data, R: np.ndarray, start: np.ndarray, limits: Limits) -> np.ndarray:
    r"""Return the maps of largest Poisson likelihood, :math:`\min \sum_j v_{ij} - x_{ij}\ln v_{ij},\ v = F R^\top`.

    Projected Newton steps with the Fisher information :math:`R^\top\,{\rm diag}(1/v)\,R`: each is an exact bounded
    quadratic problem, followed by a line search, so the likelihood never falls.

    Parameters
    ----------
    data : Data, (n, m)
        Counts, not negative.
    R : ndarray, (m, k)
    start : ndarray, (n, k)
        Where to begin, such as the maps of least squares.
    limits : Limits

    References
    ----------
    Cash, Astrophys. J. 228 (1979) 939, for the likelihood.
    """
    R, size = _unit(R, np.ones(len(R)))
    F = np.empty_like(start)
    for rows, X, W in _blocks(data):
        F[rows] = _Likelihood(X, W, R, limits.scaled(size)).maximise(start[rows] * size)
    return F / size


def _blocks(data: Data) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
    """Yield ``(rows, X, W)`` block by block; ``W`` None where all weights are one."""
    for rows, block in data.blocks():
        yield rows, block, None if data.W is None else data.W[rows]


class _Likelihood:
    """The Poisson likelihood of the pixels of one block."""

    def __init__(self, X: np.ndarray, W: np.ndarray | None, R: np.ndarray, limits: Limits) -> None:
        self.X, self.W, self.R, self.limits = X, W, R, limits
        self.mean = np.mean(X, axis=1)

    def maximise(self, F: np.ndarray) -> np.ndarray:
        F = self._inside(F)
        left = np.flatnonzero(self.mean > 0)
        for _ in range(STEPS):
            if len(left) == 0:
                break
            step, slope = self._newton(F[left], left)
            on = -slope > PROMISE * self.mean[left] * len(self.R)
            left, step, slope = left[on], step[on], slope[on]
            left = left[self._search(F, step, slope, left)]
        return F

    def _inside(self, F: np.ndarray) -> np.ndarray:
        """Return ``F`` with a little of everything: no count may be impossible at the start."""
        flat = self.mean[:, None] * len(self.R) / np.maximum(self.R.sum(axis=0), 1e-12) / F.shape[1]
        inside = np.maximum(0.95 * F + 0.05 * flat, self.limits.lower)
        return self.limits.closed(np.where((self.mean <= 0)[:, None], F, inside))

    def _model(self, F: np.ndarray, rows: np.ndarray, least: float) -> np.ndarray:
        return np.maximum(F @ self.R.T, least * self.mean[rows, None])

    def _cost(self, F: np.ndarray, rows: np.ndarray) -> np.ndarray:
        V = self._model(F, rows, 1e-10)
        terms = V - self.X[rows] * np.log(V / self.mean[rows, None])
        return np.sum(terms if self.W is None else self.W[rows] * terms, axis=1)

    def _newton(self, F: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the step to the bounded minimum of the quadratic model, and the slope along it."""
        excess = 1.0 - self.X[rows] / self._model(F, rows, 1e-10)
        weight = 1.0 if self.W is None else self.W[rows]
        gradient = (weight * excess) @ self.R
        G = weighted_gram(self.R, weight / self._model(F, rows, LEAST_COUNT))
        step = (
            self.limits.minimiser(G, np.einsum("ik,ikl->il", F, G) - gradient, F, len(self.R)) - F
        )
        return step, np.sum(gradient * step, axis=1)

    def _search(
        self, F: np.ndarray, step: np.ndarray, slope: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """Go along the steps as far as the likelihood rises, in place; tell which pixels moved."""
        before, length = self._cost(F[rows], rows), np.ones(len(rows))
        rounding = 1e-14 * (np.abs(before) + self.mean[rows] * len(self.R))
        wrong = np.arange(len(rows))
        for _ in range(HALVINGS):
            new = F[rows[wrong]] + length[wrong, None] * step[wrong]
            enough = before[wrong] + 1e-4 * length[wrong] * slope[wrong] + rounding[wrong]
            wrong = wrong[self._cost(new, rows[wrong]) > enough]
            if len(wrong) == 0:
                break
            length[wrong] /= 2
        length[wrong] = 0.0
        F[rows] += length[:, None] * step
        return length > 0


def scattered(data: Data, F: np.ndarray, R: np.ndarray, limits: Limits) -> NoiseModel:
    """Return the noise, the same everywhere up to weights, that would make all of the residual."""
    squares = sum(float(np.vdot(block, block)) for _, block in data.residual_blocks(F, R))
    freedom = int(data.size - limits.freedom(F).sum())
    return NoiseModel(gain=0.0, read_variance=squares / max(freedom, 1))


def errors_of_least_squares(
    F: np.ndarray, R: np.ndarray, weights: np.ndarray, limits: Limits, noise: NoiseModel
) -> np.ndarray:
    r"""Return the standard errors of maps of least squares, (n, k).

    The covariance is that of the free coefficients, :math:`A\,{\rm diag}(\sigma^2)A^\top` with
    :math:`A = (R^\top W R)^{-1} R^\top W`, whatever the weights. A coefficient held at its bound gets the error that
    it would have if it were free too.
    """
    R, size = _unit(R, weights)
    F, limits = F * size, limits.scaled(size)
    errors = np.zeros_like(F)
    constant = noise.read_variance - noise.gain * noise.offset
    weighted = weights[:, None] * R
    for group, free in groups(limits.lower < F):
        for j in range(R.shape[1]):
            freed = free | (np.arange(len(free)) == j)
            squares = (weighted @ (limits.covariance(weighted.T @ R, freed)[j] * freed)) ** 2
            variance = noise.gain * (F[group] @ (R.T @ squares)) + constant * squares.sum()
            errors[group, j] = np.sqrt(np.maximum(variance, 0.0))
    return errors / size


def errors_of_information(G: np.ndarray, F: np.ndarray, limits: Limits) -> np.ndarray:
    """Return the standard errors of maps ``F`` that an information matrix a row (n, k, k) stands for, (n, k).

    Coefficients that are not free are fixed; their own error is what it would be if they were free too.
    """
    size = np.sqrt(np.maximum(np.diagonal(G, axis1=1, axis2=2), np.finfo(float).tiny))
    G, free = G / size[:, :, None] / size[:, None, :], limits.lower < F

    def variances(rows: Any, freed: np.ndarray) -> np.ndarray:
        return np.diagonal(limits.scaled(size[rows]).covariance(G[rows], freed), axis1=1, axis2=2)

    errors = np.array(variances(slice(None), free))
    for j in range(F.shape[1]):
        fixed = np.flatnonzero(~free[:, j])
        errors[fixed, j] = variances(fixed, free[fixed] | (np.arange(F.shape[1]) == j))[:, j]
    return np.sqrt(np.maximum(errors, 0.0)) / size


def errors_of_counts(data: Data, F: np.ndarray, R: np.ndarray, limits: Limits) -> np.ndarray:
    """Return the standard errors of maps of largest Poisson likelihood, from the information at ``F``, (n, k)."""
    errors = np.empty_like(F)
    for rows, X, W in _blocks(data):
        least = np.maximum(LEAST_COUNT * X.mean(axis=1), np.finfo(float).tiny)
        V = np.maximum(F[rows] @ R.T, least[:, None])
        errors[rows] = errors_of_information(
            weighted_gram(R, (1.0 if W is None else W) / V), F[rows], limits
        )
    return errors


def reduced_chi2(
    data: Data, F: np.ndarray, R: np.ndarray, limits: Limits, noise: NoiseModel
) -> np.ndarray:
    r"""Return :math:`\tfrac{1}{m_i - k_i}\sum_j r_{ij}^2/\sigma_{ij}^2`, (n,), with :math:`k_i` free coefficients.

    A channel whose variance is taken for larger than it is counts for as much less in :math:`m_i`. NaN where there
    are no degrees of freedom or no noise.
    """
    chi2, known = np.full(data.shape[0], np.nan), np.zeros(data.shape[0])
    for rows, residual in data.residual_blocks(F, R):
        true = noise.variance(F[rows] @ R.T)
        true = true if data.W is None else true * (data.W[rows] > 0)
        variance = floored(true)
        variance[variance <= 0] = np.inf
        known[rows] = (true / variance).sum(axis=1)
        chi2[rows] = (residual**2 / variance).sum(axis=1)
    freedom = known - limits.freedom(F)
    return np.where(freedom > 0, chi2 / np.maximum(freedom, 1e-300), np.nan)


def floored(variance: np.ndarray) -> np.ndarray:
    """Return variances (n, m) of which none is far below the mean of its pixel."""
    return np.maximum(variance, LEAST_VARIANCE * variance.mean(axis=1, keepdims=True))


def residual_direction(
    data: Data, F: np.ndarray, R: np.ndarray, noise: NoiseModel
) -> tuple[np.ndarray, float]:
    r"""Return the strongest spectrum in the residual, (m,), and its strength over what noise alone reaches.

    In units of the noise, :math:`n` pixels by :math:`m` channels of it have squared singular values up to
    :math:`(\sqrt n + \sqrt m)^2`; a strength well above 1 is structure.
    """
    n, m = data.shape
    gram, spread = np.zeros((m, m)), np.zeros(m)
    for rows, residual in data.residual_blocks(F, R):
        variance = floored(noise.variance(F[rows] @ R.T))
        white = np.divide(residual, np.sqrt(variance), where=variance > 0, out=0 * residual)
        gram += white.T @ white
        spread += variance.sum(axis=0)
    values, vectors = np.linalg.eigh(gram)
    direction = vectors[:, -1] * np.sqrt(spread)
    direction *= 1.0 if np.sum(direction**3) >= 0 else -1.0
    return direction, float(values[-1] / (np.sqrt(n) + np.sqrt(m)) ** 2)
