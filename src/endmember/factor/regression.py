"""Maps of spectra that are known: bounded least squares, Poisson likelihood, and their standard errors.

``X`` (n, m) is the data, ``F`` (n, k) the maps, ``R`` (m, k) the spectra in their columns. ``lower`` is 0 where
maps may not be negative, else minus infinity.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from endmember.factor.blocks import Data, row_blocks
from endmember.factor.data import Weighted
from endmember.factor.noise import NoiseModel, estimate_noise
from endmember.factor.solvers import ANLS
from endmember.factor.solvers.pivoting import groups
from endmember.factor.subproblem import Quadratic

#: Entries looked at to measure the noise.
SAMPLED = 1_200_000
#: With fewer pixels or channels the noise is taken for the same everywhere.
FEW = 16
#: A variance is never taken for less than this fraction of the mean variance of its pixel,
LEAST_VARIANCE = 1e-3
#: nor the model of a count for less than this fraction of the mean count of its pixel where it divides.
LEAST_COUNT = 1e-2
#: A pixel is done when a Newton step promises less than this fraction of its counts in likelihood.
PROMISE = 1e-20
#: Newton steps at most, and halvings of one.
STEPS, HALVINGS = 100, 40


def least_squares(data: Data, R: np.ndarray, weights: np.ndarray, lower: float) -> np.ndarray:
    r"""Return the maps that minimise :math:`\sum_j w_j (x_{ij} - f_i r_j^\top)^2` above a bound, (n, k).

    Parameters
    ----------
    data : Data, (n, m)
        With weights of single entries, those take the place of ``weights``.
    R : ndarray, (m, k)
    weights : ndarray, (m,)
    lower : float
        0 or minus infinity.

    Examples
    --------
    >>> from endmember.factor.data import Dense
    >>> R = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> least_squares(Dense(np.array([[2.0, 5.0, 3.0]])), R, np.ones(3), 0.0).round(12)
    array([[2., 3.]])
    """
    R, size = _unit(R, weights)
    if isinstance(data, Weighted):
        subproblem = Quadratic(data.gram([R, R], 0), data.dot(R), lower=lower)
    else:
        weighted = weights[:, None] * R
        subproblem = Quadratic(weighted.T @ R, data.dot(weighted), lower=lower)
    return ANLS().improve(subproblem, np.ones(subproblem.shape), R.shape[0]) / size


def _unit(R: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = np.sqrt(weights @ R**2)
    size = np.where(size > 0, size, 1.0)
    return R / size, size


def poisson(data: Data, R: np.ndarray, start: np.ndarray, lower: float) -> np.ndarray:
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
    lower : float
        0 or minus infinity.

    References
    ----------
    Cash, Astrophys. J. 228 (1979) 939, for the likelihood.
    """
    R, size = _unit(R, np.ones(len(R)))
    F = np.empty_like(start)
    for rows, X, W in _blocks(data):
        F[rows] = _Likelihood(X, W, R, lower).maximise(start[rows] * size)
    return F / size


def _blocks(data: Data) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
    """Yield ``(rows, X, W)`` block by block; ``W`` None where all weights are one."""
    if isinstance(data, Weighted):
        for rows in row_blocks(*data.shape):
            yield rows, data.X[rows], data.W[rows]
        return
    nothing = np.zeros((data.shape[0], 1)), np.zeros((data.shape[1], 1))
    for rows, block in data.residual_blocks(*nothing):
        yield rows, block, None


class _Likelihood:
    """The Poisson likelihood of the pixels of one block."""

    def __init__(self, X: np.ndarray, W: np.ndarray | None, R: np.ndarray, lower: float) -> None:
        self.X, self.W, self.R, self.lower = X, W, R, lower
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
            moved = self._search(F, step, slope, left)
            left = left[moved]
        return F

    def _inside(self, F: np.ndarray) -> np.ndarray:
        """Return ``F`` with a little of everything: no count may be impossible at the start."""
        total = np.maximum(self.R.sum(axis=0), 1e-12)
        flat = self.mean[:, None] * len(self.R) / total / F.shape[1]
        empty = (self.mean <= 0)[:, None]
        return np.where(empty, 0.0, np.maximum(0.95 * F + 0.05 * flat, self.lower))

    def _model(self, F: np.ndarray, rows: np.ndarray, least: float) -> np.ndarray:
        return np.maximum(F @ self.R.T, least * self.mean[rows, None])

    def _cost(self, F: np.ndarray, rows: np.ndarray) -> np.ndarray:
        V = self._model(F, rows, 1e-10)
        terms = V - self.X[rows] * np.log(V / self.mean[rows, None])
        return np.sum(terms if self.W is None else self.W[rows] * terms, axis=1)

    def _newton(self, F: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the step to the bounded minimum of the quadratic model, and the slope along it."""
        pull = 1.0 - self.X[rows] / self._model(F, rows, 1e-10)
        gradient = (pull if self.W is None else self.W[rows] * pull) @ self.R
        G = information(self._model(F, rows, LEAST_COUNT), self.R, self._weights(rows))
        H = np.einsum("ik,ikl->il", F, G) - gradient
        step = ANLS().improve(Quadratic(G, H, lower=self.lower), F, len(self.R)) - F
        return step, np.sum(gradient * step, axis=1)

    def _weights(self, rows: np.ndarray) -> np.ndarray | None:
        return None if self.W is None else self.W[rows]

    def _search(
        self, F: np.ndarray, step: np.ndarray, slope: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """Go along the steps as far as the likelihood rises, in place; tell which pixels moved."""
        if len(rows) == 0:
            return np.zeros(0, bool)
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


def information(V: np.ndarray, R: np.ndarray, W: np.ndarray | None = None) -> np.ndarray:
    """Return the Fisher information ``Rᵀ diag(w/v) R`` of every pixel, (n, k, k)."""
    m, k = R.shape
    products = (R[:, :, None] * R[:, None, :]).reshape(m, k * k)
    return ((1.0 if W is None else W) / V @ products).reshape(-1, k, k)


def measure_noise(data: Data, F: np.ndarray, R: np.ndarray) -> NoiseModel:
    """Return the noise of the data: from the data themselves, or with few of them from the residual of the fit."""
    n, m = data.shape
    if min(n, m) < FEW:
        squares = sum(float(np.vdot(block, block)) for _, block in data.residual_blocks(F, R))
        return NoiseModel(gain=0.0, read_variance=squares / max(n * (m - F.shape[1]), 1))
    index = np.unique(np.linspace(0, n - 1, min(n, max(SAMPLED // m, 600))).astype(int))
    return estimate_noise(data.rows(index))


def errors_of_least_squares(
    F: np.ndarray, R: np.ndarray, weights: np.ndarray, lower: float, noise: NoiseModel
) -> np.ndarray:
    r"""Return the standard errors of maps of least squares, (n, k).

    The covariance is that of the free coefficients, :math:`A\,{\rm diag}(\sigma^2)A^\top` with
    :math:`A = (R^\top W R)^{-1} R^\top W`, whatever the weights. A coefficient held at its bound gets the error that
    it would have if it were free too.
    """
    R, size = _unit(R, weights)
    F = F * size
    errors = np.zeros_like(F)
    constant = noise.read_variance - noise.gain * noise.offset
    for group, free in groups(lower < F):
        for j in range(R.shape[1]):
            chosen = np.flatnonzero(free | (np.arange(len(free)) == j))
            weighted = weights[:, None] * R[:, chosen]
            unit = (chosen == j).astype(float)
            squares = (weighted @ np.linalg.pinv(weighted.T @ R[:, chosen]) @ unit) ** 2
            variance = noise.gain * (F[group] @ (R.T @ squares)) + constant * squares.sum()
            errors[group, j] = np.sqrt(np.maximum(variance, 0.0))
    return errors / size


def errors_of_information(G: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return the standard errors that an information matrix a row (n, k, k) stands for, (n, k).

    Coefficients that are not free are held; their own error is what it would be if they were free too.
    """
    size = np.sqrt(np.maximum(np.diagonal(G, axis1=1, axis2=2), np.finfo(float).tiny))
    G = G / size[:, :, None] / size[:, None, :]
    errors = np.sqrt(_variances(G, free))
    for j in range(G.shape[1]):
        held = np.flatnonzero(~free[:, j])
        if len(held):
            freed = free[held].copy()
            freed[:, j] = True
            errors[held, j] = np.sqrt(_variances(G[held], freed)[:, j])
    return errors / size


def _variances(G: np.ndarray, free: np.ndarray) -> np.ndarray:
    both = free[:, :, None] & free[:, None, :]
    G = np.where(both, G, np.eye(G.shape[1]))
    inverse = np.linalg.pinv(G, rcond=1e-14, hermitian=True)
    return np.maximum(np.diagonal(inverse, axis1=1, axis2=2), 0.0)


def errors_of_counts(data: Data, F: np.ndarray, R: np.ndarray, lower: float) -> np.ndarray:
    """Return the standard errors of maps of largest Poisson likelihood, from the information at ``F``, (n, k)."""
    R, size = _unit(R, np.ones(len(R)))
    F = F * size
    errors = np.empty_like(F)
    for rows, X, W in _blocks(data):
        least = np.maximum(LEAST_COUNT * X.mean(axis=1), np.finfo(float).tiny)
        V = np.maximum(F[rows] @ R.T, least[:, None])
        errors[rows] = errors_of_information(information(V, R, W), F[rows] > lower)
    return errors / size


def reduced_chi2(
    data: Data, F: np.ndarray, R: np.ndarray, lower: float, noise: NoiseModel
) -> np.ndarray:
    r"""Return :math:`\tfrac{1}{m_i - k_i}\sum_j r_{ij}^2/\sigma_{ij}^2`, (n,), with :math:`k_i` free coefficients.

    A channel whose variance is taken for larger than it is counts for as much less in :math:`m_i`. NaN where there
    are no degrees of freedom or no noise.
    """
    chi2, known = np.full(data.shape[0], np.nan), np.zeros(data.shape[0])
    for rows, residual in data.residual_blocks(F, R):
        if isinstance(data, Weighted):
            true = data.W[rows].astype(bool) * noise.read_variance
            variance = np.full_like(residual, noise.read_variance)
        else:
            true = np.asarray(noise.variance(F[rows] @ R.T), dtype=np.float64)
            variance = np.asarray(floored(true))
        noisy = variance > 0
        known[rows] = np.divide(true, variance, out=np.zeros_like(residual), where=noisy).sum(
            axis=1
        )
        residual = np.where(noisy, residual, 0.0)
        chi2[rows] = np.divide(residual**2, variance, out=residual, where=noisy).sum(axis=1)
    freedom = known - np.count_nonzero(lower < F, axis=1)
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
    sign = 1.0 if np.sum(direction**3) >= 0 else -1.0
    return sign * direction, float(values[-1] / (np.sqrt(n) + np.sqrt(m)) ** 2)
