"""Denoising: what a few components reconstruct, and what fits no component at all."""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from endmember.errors import Argument, EndmemberError, refuse_if
from endmember.factor.data import Floats, Rescaled, logger, observe, one_blas_thread
from endmember.factor.noise import (
    NoiseModel,
    counting_noise,
    estimate_noise,
    known_noise,
    lone_count_floor,
    spiked_overlap,
    spiked_strength,
    whitening_weights,
)
from endmember.factor.sketch.low_rank import LowRank, sketch
from endmember.preprocess.lifting import lifted, map_pixels, map_whole

_PASSES = 8  # principal components of noise lie close together: this many passes tell them apart
_BIASED = 0.9  # cos² of the angle to the truth below which a component is called biased
_GROWTH = 1.6  # of the penalty of the augmented Lagrangian, from step to step
_SETTLED = 1e-8  # misfit, relative to the data, that ends the separation
_STEPS = 500
_EXACT = (
    1e-12  # mean variance, relative to the mean square of the data, up to which data have no noise
)
_ROUNDS = 50  # in which components and outliers settle above the noise
_WIDTHS = (
    3.3  # of the largest eigenvalue of noise, which its edge is exceeded by once in 10,000 times
)


class Separated(NamedTuple):
    """Data taken apart: ``X = low_rank + outliers``, each as `X` was given.

    Attributes
    ----------
    low_rank : ndarray, Dask array or HyperSpy signal, (*domain, channels)
        What few components explain: the data to go on with.
    outliers : ndarray, Dask array or HyperSpy signal, (*domain, channels)
        What was screened; zero at most places. ``abs(outliers).sum(axis=-1)`` is its image.
    """

    low_rank: Any
    outliers: Any


@lifted
def denoise(X: Any, rank: int, *, noise: NoiseModel | None = None) -> Any:
    r"""Reconstruct every spectrum from a few principal components, chosen in the noise's own metric.

    :math:`\hat x = (x \circ c)\, V V^\top / c`, with ``V`` the leading principal components of
    :math:`\mathrm{diag}(r) X \mathrm{diag}(c)` and ``r``, ``c`` the weights that make the noise white.

    Parameters
    ----------
    X : array_like, Dask array or HyperSpy signal, (*domain, channels)
        The data.
    rank : int
        How many components to keep; what `em.assess.rank` says.
    noise : NoiseModel, optional
        Measured from the data by default, also from lazy ones.

    Returns
    -------
    ndarray, Dask array or HyperSpy signal, (*domain, channels)
        Lazy data are read to find the components and reconstructed only when asked for.

    Raises
    ------
    ValueError
        If ``rank`` is no whole number from 1 to min(pixels, channels), or entries are missing.

    Warns
    -----
    Through the logger: where components lie in the noise, and where noise has turned the weakest. A
    phase below the limit is removed by any such reconstruction, and an analysis of denoised data cannot
    find it any more: prefer to fit the data themselves.

    References
    ----------
    Keenan & Kotula, Surf. Interface Anal. 36 (2004) 203. Lichtert & Verbeeck, Ultramicroscopy 125 (2013)
    35, and Spiegelberg & Rusz, Ultramicroscopy 172 (2017) 40, for what is lost.

    Examples
    --------
    >>> X = np.outer([1.0, 2.0, 3.0], [4.0, 5.0, 1.0])
    >>> bool(np.allclose(denoise(X, 1), X))
    True
    """
    into, back = noise_weighted_basis(X, rank, noise)
    return map_pixels(lambda block: ((block @ into) @ back).astype(block.dtype, copy=False), X)


def noise_weighted_basis(
    X: Any, rank: int | None, noise: NoiseModel | None = None
) -> tuple[Floats, Floats]:
    """Return what takes spectra into their leading components and back, (channels, rank) and its converse.

    Raises
    ------
    ValueError
        As in `denoise`.
    """
    observed = observe(X)
    n, m = observed.data.shape
    if (
        isinstance(rank, bool)
        or not isinstance(rank, int | np.integer)
        or not 1 <= rank <= min(n, m)
    ):
        raise EndmemberError(
            Argument("rank", rank),
            f" is not a whole number from 1 to {min(n, m)}, the smaller of {n} pixels and "
            f"{m} channels that hold anything; ",
            Argument("'endmember rank'", says="em.assess.rank"),
            " suggests one",
        )
    noise = estimate_noise(observed) if noise is None else noise.times(1 / observed.unit)
    rows, columns = _weights(observed.data, noise)
    with one_blas_thread():
        low = sketch(Rescaled(observed.data, rows, columns), int(rank), 0, _PASSES)
    _warn(low, noise, n, m)
    into = np.zeros((observed.n_channels, low.rank))
    back = np.zeros((low.rank, observed.n_channels))
    into[observed.columns] = low.V * columns[:, None]
    back[:, observed.columns] = low.V.T / columns
    return into, back


@lifted
def separate_outliers(
    X: Any,
    *,
    sparsity: float | None = None,
    max_iter: int = _STEPS,
    noise: NoiseModel | None = None,
) -> Separated:
    r"""Take data apart into what few components explain and what sits at a few places only (robust PCA).

    :math:`\min \|L\|_* + \lambda \|S\|_1` with :math:`L + S = X`, by the inexact augmented Lagrangian method:
    singular values and entries are shrunk in turn under a growing penalty. This is how a camera's
    moving foreground is told from the still background: spikes, dead lines and patterns that come and go
    are the foreground. Where the data are noisy, :math:`L + S + N = X`, that is where a search starts which keeps in
    turn the components of :math:`X - S` that stand above the edge of the noise, and the entries of :math:`X - L` that
    noise does not reach anywhere.

    Parameters
    ----------
    X : array_like, Dask array or HyperSpy signal, (*domain, channels)
        The data, without missing entries.
    sparsity : float, optional
        λ relative to :math:`1 / \sqrt{\max(n, m)}`, with n pixels and m channels, and with noise the threshold relative
        to :math:`\sigma \sqrt{2 \ln nm}`, above which less than one entry of noise is expected; 1 by default. More
        screens less.
    max_iter : int
        Most steps; a warning says if they did not suffice.
    noise : NoiseModel, optional
        Measured from the data by default, and again without the outliers.

    Returns
    -------
    Separated
        ``(low_rank, outliers)``, of the kind of ``X``. Their sum is ``X`` but for the noise, and but for rounding where
        there is none. A lazy separation holds all data in memory while it is computed.

    Raises
    ------
    ValueError
        If entries are missing or infinite (when computed, for lazy data), or an option is out of range.

    Notes
    -----
    Without noise the two parts are found exactly, if there are few outliers in no pattern. A phase that does not
    stand above the noise is in neither part: to fit data that keep their noise, give the places of outliers the
    weight 0, or take ``X - outliers``.

    References
    ----------
    Candès, Li, Ma & Wright, J. ACM 58 (2011) 11. Lin, Chen & Ma, arXiv:1009.5055, for the algorithm. Zhou, Li, Wright,
    Candès & Ma, IEEE Int. Symp. Inf. Theory (2010) 1518, for data with noise. Muto & Shiga,
    Microscopy 69 (2020) 110, "Special remarks on noise treatment".

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> smooth = rng.random((60, 2)) @ rng.random((2, 50))
    >>> smooth_found, outliers = separate_outliers(smooth + 9 * np.eye(60, 50))
    >>> bool(np.allclose(outliers, 9 * np.eye(60, 50), atol=1e-5))
    True
    """
    refuse_if(
        sparsity is not None and not sparsity > 0,
        f"sparsity={sparsity} is not positive; 1 is the theory's value",
    )
    refuse_if(max_iter < 1, f"max_iter={max_iter} leaves no step; give at least 1")
    relative = 1.0 if sparsity is None else float(sparsity)
    pursued = partial(_pursued, relative=relative, steps=max_iter, noise=noise)
    return Separated(*map_whole(pursued, X, results=2))


def _weights(data: Any, noise: NoiseModel) -> tuple[Floats, Floats]:
    """Return the weights of pixels and channels that make the noise white, lone counts held below its edge."""
    n, m = data.shape
    counts = float(data.dot(np.ones((m, 1))).mean()) / m / (noise.gain or 1.0)
    return whitening_weights(data, noise, lone_count_floor(counts, n, m) if noise.gain > 0 else 0.0)


def _warn(low: LowRank, noise: NoiseModel, n: int, m: int) -> None:
    """Say which of the components are noise, and how far noise has turned the weakest."""
    if noise.unknown or (noise.gain == 0 and noise.read_variance == 0):
        return
    gamma = m / n
    strengths = spiked_strength(low.singular_values**2 / n, gamma)
    hidden = int(np.sum(strengths == 0))
    if hidden:
        logger.warning(
            "%d of the %d components kept lie below the limit of detection and hold nothing but noise; "
            "keep fewer, em.assess.rank suggests how many",
            hidden,
            low.rank,
        )
    overlap = float(spiked_overlap(strengths[: low.rank - hidden], gamma).min(initial=1.0))
    if overlap < _BIASED:
        logger.warning(
            "noise has turned the weakest component kept by %.0f°; phases this weak come out biased, and "
            "weaker ones are removed: fit the data themselves where they matter",
            math.degrees(math.acos(math.sqrt(overlap))),
        )


def _pursued(
    X: Floats, relative: float, steps: int, noise: NoiseModel | None
) -> tuple[Floats, Floats]:
    """Separate an array by the inexact augmented Lagrangian method, and from there on by its noise."""
    M = np.asarray(X, dtype=np.float64).reshape(-1, X.shape[-1])
    size = float(np.max(np.abs(M), initial=0.0))
    if size == 0:
        return np.zeros_like(X), np.zeros_like(X)
    weight = relative / math.sqrt(max(M.shape))
    with one_blas_thread():
        sparse, misfit = _augmented_lagrangian(M / size, weight, steps)
        if misfit > _SETTLED:
            logger.warning(
                "the separation has not settled after %d steps (misfit %.1e); raise max_iter",
                steps,
                misfit,
            )
        low, outliers = _above_noise(M, sparse * size, relative, noise)
    return low.astype(X.dtype).reshape(X.shape), outliers.astype(X.dtype).reshape(X.shape)


def _above_noise(
    M: Floats, outliers: Floats, relative: float, given: NoiseModel | None
) -> tuple[Floats, Floats]:
    """Return the parts of data (n, m) that stand above their noise, from a separation that knows none."""
    threshold = relative * math.sqrt(2 * math.log(M.size))
    low: Any = M - outliers
    places: Any = np.zeros(M.shape, bool)
    noise = given or counting_noise(M) or known_noise(low)
    if noise is None or np.mean(noise.variance(M)) <= _EXACT * np.mean(M**2):
        return low, outliers
    for _ in range(_ROUNDS):
        before, places = places, np.abs(_in_deviations(M, low, noise)) > threshold
        outliers = np.where(places, M - low, 0.0)
        low = _components_above(M - outliers, noise, float(np.mean(places)))
        if np.array_equal(places, before):
            break
        noise = given or known_noise(np.where(places, np.nan, M)) or noise
    return low, outliers


def _components_above(M: Floats, noise: NoiseModel, filled: float) -> Floats:
    """Return data (n, m) rebuilt from the components that stand above the edge of what the weaker ones leave.

    Entries that were filled in by such components, a share of all, have no noise and keep a component as it is.
    """
    rows, columns = _weights(M, noise)
    U, values, Vt = np.linalg.svd(rows[:, None] * M * columns, full_matrices=False)
    n, m = (size - np.arange(len(values)) for size in M.shape)
    level = np.cumsum(values[::-1] ** 2)[::-1] / (n * m * (1 - filled) ** 2)
    edge = np.sqrt(n) + np.sqrt(m)
    widths = edge * (1 / np.sqrt(n) + 1 / np.sqrt(m)) ** (1 / 3)
    k = int(np.argmin(np.append(values**2 > level * (edge**2 + _WIDTHS * widths), False)))
    return (U[:, :k] * values[:k]) @ Vt[:k] / rows[:, None] / columns


def _in_deviations(X: Floats, model: Floats, noise: NoiseModel) -> Floats:
    """Return how far data lie from a model, in standard deviations of its noise; of few counts never more than these.

    Counts are skew: above the model their square roots are compared (Anscombe), below it they themselves.
    """
    plain = (X - model) / np.sqrt(np.maximum(noise.variance(model), 1e-300))
    if noise.gain == 0:
        return plain
    counts = [
        (np.maximum(noise.variance(values), 0) / noise.gain**2 + 3 / 8) ** 0.5
        for values in (X, model)
    ]
    return np.minimum(plain, 2 * (counts[0] - counts[1]))


def _augmented_lagrangian(M: Floats, weight: float, steps: int) -> tuple[Floats, float]:
    """Return the sparse part and the misfit of both parts together, relative to the data."""
    norm, largest = float(np.linalg.norm(M)), float(np.linalg.norm(M, 2))
    Y = M / max(largest, float(np.max(np.abs(M))) / weight)
    penalty, sparse, misfit = 1.25 / largest, np.zeros_like(M), math.inf
    for _ in range(steps):
        U, values, Vt = np.linalg.svd(M - sparse + Y / penalty, full_matrices=False)
        kept = np.maximum(values - 1 / penalty, 0)
        k = int(np.count_nonzero(kept))
        low = (U[:, :k] * kept[:k]) @ Vt[:k]
        rest = M - low + Y / penalty
        sparse = np.sign(rest) * np.maximum(np.abs(rest) - weight / penalty, 0)
        gap = M - low - sparse
        Y += penalty * gap
        penalty *= _GROWTH
        misfit = float(np.linalg.norm(gap)) / norm
        if misfit < _SETTLED:
            break
    return sparse, misfit
