"""Whitened data, noise that looks like theirs, independent repeats of them, and criteria that need these.

``Y`` (n, m) is the data of n pixels and m channels, scaled so that the noise has variance one.
"""

import math
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import cholesky_banded, solve_banded
from scipy.sparse.linalg import svds

from endmember.assess.criteria import Scree, elbow
from endmember.errors import refuse_if
from endmember.factor.data import (
    Data,
    Floats,
    Given,
    Sparse,
    checked_masks,
    given,
    observe,
)
from endmember.factor.matching import match_components, spectral_angle
from endmember.factor.noise import (
    NoiseModel,
    estimate_noise,
    heads,
    lone_count_floor,
    weighted,
    whitening_weights,
)
from endmember.factor.sketch.low_rank import compress

_FULL_SIDE = 1100  # with a shorter side than this, all singular values are computed; half of it, if one is asked
_N_LARGEST = 31  # singular values computed otherwise
_MAX_LAG = 12
_LEAST_CORRELATION = 0.01
_MORE = 8  # components more, which hold whatever of the signal the first leave
_SURELY = 12.0  # times 1/√n, above one: five errors of a median of squares
_PASSES = 3  # of measuring the correlation and taking it out
_BEYOND = 8  # directions of a half that are kept beyond two for each component
_FAINTEST = 0.5  # of the mean: noise that is weaker at a frequency is not enlarged to it


@dataclass
class WhiteData:
    """Data in units of their noise.

    Attributes
    ----------
    Y : ndarray or csr_array of shape (n, m)
        Whitened data.
    raw : ndarray or csr_array of shape (n, m)
        The data as they came.
    weights : tuple of ndarray
        Weights of pixels (n,) and channels (m,): ``Y = raw · rows · columns``.
    noise : NoiseModel
        Noise of ``raw``.
    domain : tuple of int
        Shape of the image.
    rows, columns : ndarray of int
        Pixels and channels of the image that take part.
    dtype : numpy dtype
        How precise the data are.
    unit : float
        What one in ``raw`` stands for.
    spread : ndarray of shape (n, m), optional
        Standard deviation of the whitened noise, where it does not follow from the rest.
    """

    Y: Any
    raw: Any
    weights: tuple[Floats, Floats]
    noise: NoiseModel
    domain: tuple[int, ...]
    rows: NDArray[np.integer]
    columns: NDArray[np.integer]
    dtype: Any = np.dtype(float)
    unit: float = 1.0
    spread: Floats | None = None

    @cached_property
    def decomposition(self) -> tuple[Floats, Scree, Floats]:
        """Left vectors (n, r), squared singular values, right vectors (m, r) of ``Y``."""
        return decompose(self.Y)

    @property
    def scree(self) -> Scree:
        """Squared singular values of ``Y``."""
        return self.decomposition[1]

    @property
    def counting(self) -> bool:
        """Whether noise is drawn by splitting counts; correlated counts are treated as floats."""
        counts = self.noise.poisson and self.spread is None
        return counts and (self.noise.white or sp.issparse(self.raw))

    def without(self, pixels: NDArray[np.integer], channels: NDArray[np.integer]) -> "WhiteData":
        """Return the data without some of their pixels and channels, whitened anew."""
        kept = [
            np.delete(np.arange(size), gone)
            for size, gone in zip(self.Y.shape, (pixels, channels), strict=True)
        ]
        left = abs(self.raw)[kept[0]][:, kept[1]]
        rows, columns = (
            k[np.asarray(left.sum(axis=1 - i)).ravel() > 0] for i, k in enumerate(kept)
        )
        return _white(
            self.raw[rows][:, columns], self.noise, self.domain, self.rows[rows],
            self.columns[columns], self.dtype, self.unit,
        )  # fmt: skip

    def fit(self, rank: int) -> Floats:
        """Return what so many components explain of ``Y``."""
        U, scree, V = self.decomposition
        return (U[:, :rank] * np.sqrt(scree.values[:rank])) @ V[:, :rank].T

    @cached_property
    def deviation(self) -> Floats:
        """Standard deviation (n, m) of the whitened noise: halfway to that of a low-rank fit, which is noisy itself."""
        if self.spread is not None:
            return self.spread
        rows, columns = self.weights
        fit = self.fit(self.scree.safe_rank())
        variance = (
            self.noise.variance(fit / rows[:, None] / columns) * (rows[:, None] * columns) ** 2
        )
        return np.sqrt(
            (variance + (variance.mean() or 1.0)) / 2
        )  # a fit of nothing has no variance

    def noise_like(self, rng: np.random.Generator) -> Any:
        """Draw noise without signal, whitened.

        Counts are split in two by a fair coin for each: the difference of the halves has mean zero
        and, given the data, the variance of the data. Otherwise Gaussian noise of the right
        variance is drawn.
        """
        return (
            weighted(2.0 * heads(self.raw, rng) - self.raw, *self.weights)
            if self.counting
            else rng.standard_normal(self.Y.shape) * self.deviation
        )

    def halves(self, rng: np.random.Generator) -> tuple[Any, Any]:
        """Split the data into two independent repeats, each with twice the noise variance.

        Counts are divided by a fair coin for each (and doubled); other data get noise of their own
        kind, added to one repeat and subtracted from the other.
        """
        if self.counting:
            half = heads(self.raw, rng)
            return tuple(weighted(2.0 * one, *self.weights) for one in (half, self.raw - half))
        added = self.noise_like(rng)
        return self.Y + added, self.Y - added

    def grid(self, vectors: Floats) -> Floats:
        """Lay columns (n, r) out as images (*domain, r), nan where a pixel takes no part."""
        image = np.full((math.prod(self.domain), vectors.shape[1]), np.nan)
        image[self.rows] = vectors
        return image.reshape(*self.domain, vectors.shape[1])


def as_masks(
    X: Any, asked: str, domain: tuple[int, ...] | None, mask: Any, channel_mask: Any, weights: Any
) -> tuple[Given, Any, Any]:
    """Return data and masks, with the pixels and channels whose weights are all zero left out too.

    Raises
    ------
    ValueError
        If the weights say more than that: no singular values go with weights of single entries.
    """
    taken = given(X)
    image = taken.shape[:-1] if domain is None else domain
    mask, channel_mask, weights = checked_masks(taken, image, mask, channel_mask, weights)
    taken = replace(taken, hidden=None)
    if weights is None:
        return taken, mask, channel_mask
    rows = weights.reshape(-1, weights.shape[-1])
    pixels, channels = np.all(rows == 0, axis=1), np.all(rows == 0, axis=0)
    pixels = pixels if mask is None else pixels | mask.ravel()
    channels = channels if channel_mask is None else channels | channel_mask
    left = rows[~pixels][:, ~channels]
    refuse_if(
        not left.size or (left != left[0, 0]).any(),
        f"{asked} compares whole spectra and takes no weights of single entries, only 0 for whole pixels "
        "or channels; leave the rest out with mask= and channel_mask=, or fill it",
    )
    return taken, pixels.reshape(image), channels


def whitened(
    X: Any,
    *,
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    exposure: Any = None,
    domain: tuple[int, ...] | None = None,
    noise: NoiseModel | None = None,
    asked: str = "em.assess.rank",
) -> WhiteData:
    """Read a spectrum image, find its noise, and whiten it.

    Parameters
    ----------
    X : array_like, Dask array, sparse matrix or HyperSpy signal of shape (*domain, channels)
        The data.
    mask, channel_mask, weights, exposure, domain
        As in the estimators; no weights but 0 for whole pixels and channels.
    noise : NoiseModel, optional
        Known noise; estimated if not given.
    asked : str
        The function that a user called.

    Returns
    -------
    WhiteData

    Raises
    ------
    ValueError
        If shapes do not fit, or NaN or infinite values are not masked.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(4.0, (50, 40))
    >>> white = whitened(counts)
    >>> bool(np.isclose(white.scree.values[0], counts.sum()))
    True
    """
    X, mask, channel_mask = as_masks(X, asked, domain, mask, channel_mask, weights)
    options = {"mask": mask, "channel_mask": channel_mask, "exposure": exposure, "domain": domain}
    observed = observe(X, **options)
    data = observed.data.counts
    raw = data.X if isinstance(data, Sparse) else data.rows(np.arange(data.shape[0]))
    # Empty channels belong to the noise of few counts.
    noise = (
        estimate_noise(observe(X, **options, keep_empty=True))
        if noise is None
        else noise.times(1 / observed.unit)
    )
    return _white(
        raw, noise, observed.domain, observed.rows, observed.columns, data.dtype, observed.unit
    )


def _white(raw: Any, noise: NoiseModel, *image: Any) -> WhiteData:
    """Whiten data (n, m) of an image by their noise; without any they stay as they are."""
    floor = lone_count_floor(float(raw.sum()) / math.prod(raw.shape), *raw.shape)
    weights = whitening_weights(raw, noise, floor if noise.poisson else 0.0)
    return WhiteData(weighted(raw, *weights), raw, weights, noise, *image)


def decompose(Y: Any, number: int = _N_LARGEST) -> tuple[Floats, Scree, Floats]:
    """Singular vectors and squared singular values: all if one side is short, else ``number``."""
    n, m = Y.shape
    total = float(Y.multiply(Y).sum() if sp.issparse(Y) else np.vdot(Y, Y))
    if min(n, m) > _FULL_SIDE * min(number, 2) / 2:
        U, s, Vt = svds(
            Y, k=number, tol=1e-3, v0=np.random.default_rng(0).standard_normal(min(n, m))
        )
        order = np.argsort(s)[::-1]
        return U[:, order], Scree(s[order] ** 2, total, (n, m)), Vt[order].T
    if n < m:
        V, scree, U = decompose(Y.T)
        return U, Scree(scree.values, total, (n, m)), V
    gram = Y.T @ Y
    values, vectors = np.linalg.eigh(gram.toarray() if sp.issparse(gram) else gram)
    values = np.maximum(values[::-1], 0)
    V = vectors[:, : -_N_LARGEST - 1 : -1]
    return (
        Y @ V / np.sqrt(np.maximum(values[: V.shape[1]], 1e-300)),
        Scree(values, total, (n, m)),
        V,
    )


# --- correlated noise -----------------------------------------------------------------------------


def decorrelated(white: WhiteData, most: int) -> WhiteData:
    """Return data whose noise is white along channels and image: their own where no correlation is found.

    Correlation is measured on what the components beyond doubt leave. What is gone where many more are taken out was
    that of weak components, which is no reason to take the data for correlated.
    """
    for _ in range(0 if white.counting or sp.issparse(white.Y) else _PASSES):
        count = min(white.scree.safe_rank(), elbow(white.scree.values), most)
        before, white = white, _evened(white, count)
        lags = [
            near[: near.size * (far.size > 0)]
            for near, far in zip(
                correlation(white, count), correlation(white, count + _MORE), strict=True
            )
        ]
        if any(one.size for one in lags):
            Y = _filtered(white.Y, lags[0], 1)
            image = np.nan_to_num(white.grid(Y))
            for axis, one in enumerate(lags[1:]):
                image = _filtered(image, one, axis)
            Y = image.reshape(-1, Y.shape[1])[white.rows]
            white = replace(white, Y=Y, spread=white.deviation)
        if white is before:
            break
    return white


def _evened(white: WhiteData, count: int) -> WhiteData:
    """Return data without channels that are noisier than the noise model says, as bands of a sensor may be."""
    residual = white.Y - white.fit(count)
    power = np.median(residual**2, axis=0)
    power /= max(float(np.median(power)), 1e-300)
    noisy = power > 1 + _SURELY / math.sqrt(len(residual))
    if white.noise.read_variance == 0 or not noisy.any():
        return white
    less = np.where(noisy, 1 / np.sqrt(np.maximum(power, 1e-300)), 1.0)
    weights = white.weights[0], white.weights[1] * less
    return replace(white, Y=white.Y * less, weights=weights, spread=white.deviation)


def _filtered(Y: Floats, lags: Floats, axis: int) -> Floats:
    """Make noise with the given correlation along one axis white, by the root of its covariance."""
    if lags.size == 0:
        return Y
    angle = np.linspace(0.0, math.pi, 512)
    power = 1 + 2 * np.cos(np.outer(angle, np.arange(1, lags.size + 1))) @ lags
    bands = np.tile(np.append(1.0, lags)[:, None], Y.shape[axis])
    bands[0] += max(_FAINTEST - float(power.min()), 0.0)
    root, moved = cholesky_banded(bands, lower=True), np.moveaxis(Y, axis, 0)
    solved = solve_banded((lags.size, 0), root, moved.reshape(len(moved), -1))
    return np.moveaxis(solved.reshape(moved.shape), 0, axis)


def correlation(white: WhiteData, rank: int) -> list[Floats]:
    """Measure the correlation of what a fit with ``rank`` components leaves, at lags 1, 2, … while it is there.

    Along the channels first, then along every axis of the image; empty where there is none.
    """
    U, V = (vectors[:, :rank] for vectors in white.decomposition[::2])
    residual = white.Y - white.fit(rank)
    image, maps, present = (
        np.nan_to_num(white.grid(F)) for F in (residual, U, np.ones((len(U), 1)))
    )
    along = [
        lagged_correlation(
            *(np.moveaxis(array, axis, 0) for array in (image, maps, present[..., 0]))
        )
        for axis in range(len(white.domain))
    ]
    return [lagged_correlation(residual.T, V, np.ones(V.shape[0])), *along]


def lagged_correlation(residual: Floats, basis: Floats, present: Floats) -> Floats:
    """Correlation of the noise along the first axis at lags 1, 2, … until it ends.

    ``residual`` is noise minus its projection P on the orthonormal ``basis``, so its covariance is
    ``(I − P) Σ (I − P)`` with ``Σ = Σ_l ρ_l T_l``, T_l the shifts by ± l. The sums along its
    diagonals are linear in ρ and are solved for it.
    """
    repeats = residual.size / present.size
    lags = range(min(_MAX_LAG, residual.shape[0] // 3) + 1)
    sums = [_lagged(residual, residual, lag) / repeats for lag in lags]
    number = 1
    for lag in lags[1:]:
        pairs = _lagged(present, present, lag)
        expected = sums[0] / present.sum() * pairs
        limit = max(_LEAST_CORRELATION, 4 / math.sqrt(max(pairs * repeats, 1)))
        absorbed = _lagged(basis, basis, lag)
        if pairs == 0 or abs(sums[lag] / max(expected, 1e-300) + absorbed / pairs) < limit:
            break
        number = lag + 1
    if number == 1 or sums[0] == 0:
        return np.empty(0)
    number = min(2 * number, len(sums))  # more are needed where the fit has taken many
    system = np.array([_diagonal_sums(basis, present, shift, number) for shift in range(number)])
    found = np.linalg.lstsq(system.T, sums[:number])[0]
    return found[1:] / found[0]


def _diagonal_sums(basis: Floats, present: Floats, shift: int, number: int) -> list[float]:
    """Sum the diagonals 0 … number − 1 of ``(I − P) T (I − P)``, T the shifts by ± shift."""
    moved = basis
    if shift:
        ends = np.zeros((shift, *basis.shape[1:]))
        moved = np.concatenate([ends, basis[:-shift]]) + np.concatenate([basis[shift:], ends])
    flat = basis.reshape(math.prod(basis.shape[:-1]), basis.shape[-1])
    twice = basis @ (flat.T @ moved.reshape(flat.shape))
    sums = [
        _lagged(twice, basis, lag) - _lagged(basis, moved, lag) - _lagged(moved, basis, lag)
        for lag in range(number)
    ]
    sums[shift] += _lagged(present, present, shift)
    return sums


def _lagged(one: Floats, other: Floats, lag: int) -> float:
    return float(np.vdot(one[lag:], other[: one.shape[0] - lag]))


STABLE_ANGLE = 20.0  # degrees between the spectra of two halves of the data
_STEPS = 4  # numbers tried for stability


def thinning(white: WhiteData, most: int, rng: np.random.Generator) -> int:
    """Count the components of one half that predict the other best.

    ``‖B − Σ_{j≤k} σ_j u_j v_jᵀ‖²`` for the truncated SVD of half A changes by
    ``σ_k² − 2 σ_k u_kᵀ B v_k`` with the k-th component.
    """
    gain = np.zeros(most)
    for _ in range(2):
        one, other = white.halves(rng)
        U, scree, V = decompose(one, most)
        s = np.sqrt(scree.values[:most])
        gain += 2 * s * np.einsum("ik,ik->k", U[:, :most], other @ V[:, :most]) - s**2
    return int(np.argmax(np.concatenate([[0.0], np.cumsum(gain)])))


def map_structure(white: WhiteData, most: int) -> Floats | None:
    """How alike neighbouring pixels are in the map of each component, in standard errors.

    Components of noise give the value that maps without structure have (it is not 0 if the noise
    of neighbours is slightly correlated): the median of the later half of those looked at.
    """
    if len(white.domain) < 2 or min(white.domain) < 3 or (white.counting and not white.noise.white):
        return None
    maps = white.grid(white.decomposition[0])
    number = maps.shape[-1]
    products, pairs = np.zeros(number), 0
    for axis in range(len(white.domain)):
        moved = np.moveaxis(maps, axis, 0)
        product = moved[1:] * moved[:-1]
        products += np.nansum(product.reshape(-1, number), axis=0)
        pairs += int(np.count_nonzero(np.isfinite(product[..., 0])))
    alike = products / max(pairs, 1) / np.nanmean(maps.reshape(-1, number) ** 2, axis=0)
    usual = float(np.median(alike[number // 2 :])) if number > 3 else 0.0
    return (alike[:most] - max(usual, 0.0)) * math.sqrt(max(pairs, 1))


def stable_number(white: WhiteData, count: int, most: int, rng: np.random.Generator) -> int | None:
    """Largest number, around the count, for which NMF finds the same spectra in both halves."""
    if count >= most > 2:
        return None
    first = min(count + 1, most)
    one, other = (compress(half, 2 * first + _BEYOND) for half in white.halves(rng))
    for k in range(first, max(first - _STEPS, 0), -1):
        if k == 1 or _disagreement(one, other, k) <= STABLE_ANGLE:
            return k
    return None


def _disagreement(one: Data, other: Data, k: int) -> float:
    """Largest angle between the NMF spectra of two halves, in degrees."""
    from endmember.methods.nmf import NMF

    with warnings.catch_warnings(action="ignore"):
        found = [
            NMF(k, n_starts=2, max_iter=100, tol=1e-4, random_state=0).fit(half).components_
            for half in (one, other)
        ]
    return float(np.max(spectral_angle(found[0], found[1][match_components(found[1], found[0])])))
