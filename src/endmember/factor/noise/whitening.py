"""Weights of pixels and channels that make the noise white, as far as a product of the two can."""

import math
from typing import Any

import numpy as np
import scipy.sparse as sp

from endmember.factor.columns import or_one
from endmember.factor.data import Observed, count_scaled
from endmember.factor.data.matrix import Data, Floats
from endmember.factor.noise.model import NoiseModel, estimate_noise
from endmember.factor.noise.photon_transfer import rank_one_variance


def whitening_weights(X: Any, noise: NoiseModel, floor: float = 0.0) -> tuple[Floats, Floats]:
    """Weights of pixels and channels that give the noise variance one, as far as a product can.

    The variance of an entry is approximated by ``row_i column_j / overall``, with the mean
    variances of its pixel, its channel and all data. For Poisson counts that is the scaling of
    Keenan and Kotula, ``X̃ = √n D_a^(−1/2) X D_b^(−1/2)`` with row sums a, column sums b and
    the total n: the largest singular value of X̃ is then exactly √n.

    Parameters
    ----------
    X : array_like, sparse matrix or Data of shape (pixels, channels)
        The data.
    noise : NoiseModel
        Its noise; without any, or where it is unknown, all weights are 1.
    floor : float
        Pixels and channels whose variance is below this share of the mean are weighted as if they
        had that much, so that lone counts in empty channels get no say.

    Returns
    -------
    rows : ndarray of shape (pixels,)
        Weights of the pixels; 0 where a pixel has no variance.
    columns : ndarray of shape (channels,)
        Weights of the channels; 0 where a channel has no variance.

    References
    ----------
    M. R. Keenan and P. G. Kotula, *Surf. Interface Anal.* **36** (2004) 203.

    Examples
    --------
    >>> counts = np.array([[4.0, 0.0], [1.0, 3.0]])
    >>> rows, columns = whitening_weights(counts, NoiseModel(poisson=True))
    >>> values = np.linalg.svd(counts * rows[:, None] * columns, compute_uv=False)
    >>> float(round(values[0] ** 2, 6))
    8.0
    """
    n, m = X.shape
    if noise.unknown or (noise.gain == 0 and noise.read_variance == 0):
        return np.ones(n), np.ones(m)
    sums = X.totals() if isinstance(X, Data) else (X.sum(axis=1), X.sum(axis=0))
    means = [
        np.asarray(total, dtype=np.float64).ravel() / size
        for total, size in zip(sums, (m, n), strict=True)
    ]
    variances = rank_one_variance(*map(noise.variance, means))
    floored = (np.maximum(values, floor * values.mean()) for values in variances)
    rows, columns = (np.where(v > 0, 1 / np.sqrt(or_one(v)), 0.0) for v in floored)
    return rows, columns


def with_white_noise(observed: Observed) -> Data:
    """Return the data with weights of pixels and channels that make their noise white, as it is measured.

    Data whose noise is white already, cannot be measured or is that of counts are given the weights that counts have,
    or none.
    """
    data = observed.weighted_by_counts()
    if data is not observed.data or data.weighted:
        return data
    noise = estimate_noise(observed)
    return (
        count_scaled(data, noise.read_variance / noise.gain - noise.offset)
        if noise.gain > 0  # neither constant nor unknown
        else data
    )


def lone_count_floor(counts: float, n: int, m: int) -> float:
    """Floor of the variances below which a lone count would look like a component.

    In whitened data a count in a pixel with a counts and a channel with b has the square
    ``total / (a b)``; it must stay below a fifth of the noise edge ``(√n + √m)²``.

    Parameters
    ----------
    counts : float
        Mean count of an entry.
    n, m : int
        Pixels and channels.
    """
    return min(math.sqrt(5 / max(counts, 1e-300)) / (math.sqrt(n) + math.sqrt(m)), 1.0)


def weighted(X: Any, rows: Floats, columns: Floats) -> Any:
    """Return ``diag(rows) X diag(columns)``; sparse data stay sparse.

    Examples
    --------
    >>> X = np.array([[2.0, 4.0]])
    >>> weighted(X, *whitening_weights(X, NoiseModel(gain=0.0, read_variance=4.0)))
    array([[1., 2.]])
    """
    if sp.issparse(X):
        return sp.csr_array(sp.diags_array(rows) @ X @ sp.diags_array(columns))
    Y = X * rows[:, None]
    Y *= columns
    return Y
