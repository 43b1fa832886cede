"""The line of variance against mean, measured on what a low-rank fit leaves, and what noise does to weak components.

Arrays in, arrays out: ``block`` (n, m) is a dense sample of the data, n pixels by m channels.
In the spiked model of principal components in white noise, a component of *strength* ℓ (its variance along its own
spectrum, divided by the noise variance) lies in n pixels by m channels, ``gamma = m / n``, both large.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from endmember.factor.data.matrix import Floats, Indices

Bools = NDArray[np.bool_]

LEAST_SHARE = 0.3  # entries that the fit swallows by more than the rest say nothing of the noise
_WHITENING_FLOOR = 0.2  # of the mean variance: lone counts in empty channels are no components
_N_BINS = 40
_NEGLIGIBLE = 0.005  # share of the variance that a component left in the residual may have
_TRIMMED = 0.003  # share of entries that the search for spikes leaves out at first
_FEW = 12  # eigenvalues left, among which one that is no noise would make much of the variance
_UNEVEN = 4.0  # mean over smallest eigenvalue of few spectra of noise, correlated or not
_MAX_LOST = 0.03  # of the entries that are not zero: what is more than this is no spike


@dataclass
class ResidualFit:
    """A low-rank fit of the sampled block and the variance line of its residual."""

    residual: Floats  # data minus fit, zero where not valid
    valid: Bools
    left: Floats  # (n, r) orthonormal maps of the fit
    right: Floats  # (m, r) orthonormal spectra of the fit
    variance: Floats  # of every entry, by the line
    share: Floats  # of the noise left in the residual, (1 − leverage of row)(1 − of column)
    slope: float = 0.0
    intercept: float = 0.0
    slope_error: float = 0.0
    intercept_error: float = 0.0
    mean_signal: float = 0.0
    signal_power: float = 0.0
    complete: bool = True  # False where so few spectra hold more than the fit may take out


def fit_noise(block: Floats) -> ResidualFit:
    """Alternate between a fit in whitened units and the variance line of what it leaves."""
    known = np.isfinite(block)
    column_mean = np.sum(np.where(known, block, 0), axis=0) / np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, block, column_mean)
    positive = np.maximum(filled, 0)
    power = float(np.mean(filled**2))
    variance = positive + max(positive.mean(), 1e-3 * math.sqrt(power), np.finfo(float).tiny) * 0.1
    bins = _bins_of_equal_signal(positive)
    for _ in range(3):
        smallest = _WHITENING_FLOOR * variance.mean()
        rows, columns = rank_one_variance(
            np.maximum(variance.mean(axis=1), smallest), np.maximum(variance.mean(axis=0), smallest)
        )
        left, right, low_rank, complete = _low_rank_fit(filled, rows, columns)
        share = np.outer(1 - np.sum(left**2, axis=1), 1 - np.sum(right**2, axis=1))
        residual = np.where(known, block - low_rank, 0)
        valid, line, errors = _photon_transfer(filled, residual, share, bins, known)
        variance = np.maximum(line[0] * np.maximum(low_rank, 0) + line[1], 0)
        floor = max(1e-3 * variance.mean(), np.finfo(float).eps ** 2 * power, 1e-300)
        variance = np.maximum(variance, floor)
        filled = np.where(valid, block, low_rank)
    return ResidualFit(
        residual=np.where(valid, residual, 0),
        valid=valid,
        left=left,
        right=right,
        variance=variance,
        share=share,
        slope=line[0],
        intercept=line[1],
        slope_error=errors[0],
        intercept_error=errors[1],
        mean_signal=float(filled.mean()),
        signal_power=power,
        complete=complete,
    )


def growth(model: Floats, residual: Floats, basis: Floats) -> tuple[float, float, float]:
    """Return slope, error of the slope and intercept of the variance of a residual (n, m) against its model (n, m).

    ``basis`` (m, k) are the orthonormal directions that the model has taken out.
    """
    share = np.broadcast_to(1 - np.sum(basis**2, axis=1), model.shape)
    bins, known = _bins_of_equal_signal(np.maximum(model, 0.0)), np.isfinite(residual)
    _, line, errors = _photon_transfer(model + residual, residual, share, bins, known)
    return line[0], errors[0], line[1]


def _low_rank_fit(
    filled: Floats, rows: Floats, columns: Floats
) -> tuple[Floats, Floats, Floats, bool]:
    """Truncate the SVD of the data in whitened units: maps, spectra, the fit in data units, and whether it is all."""
    scaled = filled / np.sqrt(rows)[:, None] / np.sqrt(columns)
    tall = scaled.shape[0] > scaled.shape[1]
    wide = scaled.T if tall else scaled
    values, vectors = np.linalg.eigh(wide @ wide.T)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    rank = safe_rank(values, *wide.shape)
    short = vectors[:, :rank]
    long = wide.T @ short / np.sqrt(np.maximum(values[:rank], 1e-300))
    left, right = (long, short) if tall else (short, long)
    fit = left @ (left.T @ scaled) * np.sqrt(rows)[:, None] * np.sqrt(columns)
    rest = values[rank:]  # where they are few, a component among them dwarfs the last
    return (
        left,
        right,
        fit,
        rest.size >= _FEW or (rest.size > 3 and rest.mean() < _UNEVEN * rest[-1]),
    )


def safe_rank(values: Floats, n: int, m: int, total: float | None = None) -> int:
    """Smallest rank that leaves no component worth half a percent of the variance.

    A component is what stands above the floor, a straight line through the logarithms of
    eigenvalues further down (noise that is correlated or rare has a steep floor and no sharp
    edge). Weak components change the variance by nothing, so the rank is stopped early, while a
    noise component taken for signal would be given back only in part. ``total`` is the sum of all
    eigenvalues, where ``values`` are only the largest.
    """
    start = min(15, n // 3)
    stop = min(max(min(30, 2 * n // 3), start + 2), values.size)
    logs = np.log(np.maximum(values, (values.size * np.finfo(float).eps) * values[0] + 1e-300))
    line = np.polyfit(np.arange(start, stop), logs[start:stop], 1)
    floor = np.exp(np.polyval(line, np.arange(start)))
    excess = np.maximum(values[:start] - floor, 0)[::-1].cumsum()[::-1]
    rest = (total or values.sum()) - np.concatenate([[0.0], np.cumsum(values)])
    values, rest, ranks = values[:start], rest[:start], np.arange(start)
    edge = rest / ((n - ranks) * (m - ranks)) * (np.sqrt(n - ranks) + np.sqrt(m - ranks)) ** 2
    return int(np.argmax(np.append((values <= 1.05 * edge) | (excess <= _NEGLIGIBLE * rest), True)))


def _bins_of_equal_signal(positive: Floats) -> Indices:
    """Bin of every entry by the product of its row and column means, which hardly carry noise.

    Averages of data and of squared residuals in such a bin are unbiased, however few the counts.
    """
    expected = np.outer(positive.mean(axis=1), positive.mean(axis=0)).ravel()
    some = expected[:: max(1, expected.size // 100_000)]
    return np.searchsorted(np.quantile(some, np.arange(1, _N_BINS) / _N_BINS), expected)


def _photon_transfer(
    data: Floats, residual: Floats, share: Floats, bins: Indices, known: Bools
) -> tuple[Bools, list[float], list[float]]:
    """Line through mean square residual against mean; entries far off the line are spikes.

    The search for spikes starts without the largest residuals, so that spikes cannot hide behind
    each other. If it ends by throwing away many of the entries that are not zero, these were rare
    counts, and the search starts again from everything.
    """
    square = residual**2 / np.maximum(share, LEAST_SHARE)
    trusted = known & (share >= LEAST_SHARE)
    for valid in ((known & (square <= np.quantile(square, 1 - _TRIMMED))), known):
        for _ in range(6):
            line, errors = _line_through(data, square, bins, trusted & valid)
            variance = np.maximum(line[0] * (data - residual), 0) + max(line[1], 0)
            limit = 6 * np.sqrt(variance) + 12 * max(line[0], 0) + 1e-7 * np.abs(data)
            before, valid = valid, known & (np.abs(residual) <= limit)
            if np.array_equal(before, valid):
                break
        if np.count_nonzero(known & ~valid) <= _MAX_LOST * np.count_nonzero(data[known]):
            break
    return valid, line.tolist(), errors.tolist()


def _line_through(data: Floats, square: Floats, bins: Indices, use: Bools) -> tuple[Floats, Floats]:
    """Fit ``mean square = slope · mean + intercept`` over the bins by reweighting; with the standard errors of the two.

    A square of variance v scatters with variance 2 v² + gain² v (Gauss plus the Poisson tail).
    """
    weight = use.ravel().astype(float)
    count, sums, squares = (
        np.bincount(bins, weight * values, _N_BINS).astype(float)
        for values in (1.0, data.ravel(), square.ravel())
    )
    count, sums, squares = (values[count > 0] for values in (count, sums, squares))
    mean, power = sums / count, squares / count
    if not np.any(power):
        return np.zeros(2), np.zeros(2)
    unit = max(float(power.mean()), 1e-300)
    scale = max(float(np.abs(mean).max()), 1e-300)
    design = np.stack([mean / scale, np.ones_like(mean)], axis=1)
    target = power / unit
    model, gain = np.full_like(target, target.mean()), 0.0
    for _ in range(20):
        spread = (2 * model**2 + gain**2 * model / unit) / count
        normal = design.T @ (design / spread[:, None])
        line = np.linalg.lstsq(normal, design.T @ (target / spread), rcond=1e-12)[0]
        model = np.maximum(design @ line, 1e-3 * target.mean() + 1e-300)
        gain = max(float(line[0]), 0.0) * unit / scale
    scatter = max(1.0, float(np.mean((target - design @ line) ** 2 / spread)))
    error = np.sqrt(scatter * np.maximum(np.diag(np.linalg.pinv(normal)), 0))
    factors = np.array([unit / scale, unit])
    return line * factors, error * factors


def rank_one_variance(rows: Floats, columns: Floats) -> tuple[Floats, Floats]:
    """Variances of rows and columns such that their product is that of an entry."""
    return rows, columns / (float(np.mean(rows)) or 1.0)


def detection_limit(gamma: float) -> float:
    """Weakest strength that leaves a trace in the principal components, ``√γ``.

    Parameters
    ----------
    gamma : float
        Channels per pixel, m / n.

    Returns
    -------
    float
        Strength (variance of the component along its spectrum / noise variance) below which, for
        large n and m, no test on the eigenvalues can see the component.

    References
    ----------
    I. M. Johnstone, *Ann. Statist.* **29** (2001) 295; B. Nadler, *Ann. Statist.* **36** (2008)
    2791.

    Examples
    --------
    >>> detection_limit(0.25)
    0.5
    """
    return math.sqrt(gamma)


def spiked_strength(eigenvalue: ArrayLike, gamma: float) -> Floats:
    """Strength of the component behind an eigenvalue.

    A strength ℓ above the limit √γ shows as the eigenvalue ``λ = (1 + ℓ)(1 + γ/ℓ)``, a lower one as the noise edge
    ``(1 + √γ)²``; this is the inverse.

    Parameters
    ----------
    eigenvalue : array_like
        Eigenvalues of ``XᵀX / n``, divided by the noise variance.
    gamma : float
        Channels per pixel, m / n.

    Returns
    -------
    ndarray
        The strength ℓ; 0 for eigenvalues that do not leave the noise.

    Examples
    --------
    >>> spiked_strength([2.0, 3.375], 0.25)
    array([0., 2.])
    """
    seen = np.asarray(eigenvalue, dtype=float)
    excess = seen - 1 - gamma
    root = np.sqrt(np.maximum(excess**2 - 4 * gamma, 0))
    return np.where(seen > (1 + math.sqrt(gamma)) ** 2, (excess + root) / 2, 0.0)


def spiked_overlap(strength: ArrayLike, gamma: float) -> Floats:
    """How much of the true spectrum its principal component holds: cos² of the angle between.

    ``cos² = (1 − γ/ℓ²) / (1 + γ/ℓ)`` above the limit, 0 below it.

    Parameters
    ----------
    strength : array_like
        Strength ℓ of the component.
    gamma : float
        Channels per pixel, m / n.

    Returns
    -------
    ndarray
        Between 0 (nothing is seen) and 1 (exact).

    Examples
    --------
    >>> spiked_overlap([0.5, 100.0], 0.25).round(2)
    array([0., 1.])
    """
    given = np.asarray(strength, dtype=float)
    seen = given > detection_limit(gamma)
    safe = np.where(seen, given, 1.0)
    return np.where(seen, (1 - gamma / safe**2) / (1 + gamma / safe), 0.0)
