"""Classical criteria for the number of components, from the singular values of whitened data.

``values`` are the squared singular values (largest first) of a whitened, uncentred matrix, n pixels
by m channels; ``total`` is the sum of all of them (they may be cut off), and the *rest* after k
components is ``total − Σ_{j≤k} values_j``. Every function returns how many components it counts.
"""

import math
from dataclasses import dataclass

import numpy as np

from endmember.factor.data import Floats
from endmember.factor.noise.photon_transfer import safe_rank

TRACY_WIDOM_MEAN, TRACY_WIDOM_DEVIATION = -1.2065, 1.2680


@dataclass(frozen=True)
class Scree:
    """Squared singular values of whitened data, all or only the largest.

    Attributes
    ----------
    values : ndarray
        Squared singular values, largest first.
    total : float
        Their sum, including those not listed.
    shape : tuple of int
        Pixels and channels.
    """

    values: Floats
    total: float
    shape: tuple[int, int]

    def rest(self) -> Floats:
        """Sum of what is left after 0, 1, … components."""
        left = self.total - np.concatenate([[0.0], np.cumsum(self.values)])
        return np.maximum(left, 0.0)[: min(self.shape)]

    def level(self) -> Floats:
        """Noise variance if 0, 1, … components are signal."""
        rest = self.rest()
        n, m = (size - np.arange(rest.size) for size in self.shape)
        return rest / (n * m)

    def safe_rank(self) -> int:
        """Smallest rank that leaves no component worth half a percent of the variance."""
        return safe_rank(self.values, min(self.shape), max(self.shape), self.total)


def elbow(values: Floats, length: int = 20) -> int:
    """Find the elbow of the scree plot: the point farthest below the chord of log values.

    The chord runs from the first to the last of ``length`` points. Counted from 0, the elbow is the
    first point of the noise floor, which is not counted as a component.

    Parameters
    ----------
    values : ndarray
        Squared singular values, largest first.
    length : int
        Points of the plot that are looked at.

    Returns
    -------
    int
        Number of components.

    Examples
    --------
    >>> elbow(np.array([1000.0, 100.0, 1.1, 1.0, 0.9, 0.8]))
    2
    """
    used = values[:length]
    if used.size < 3 or used[0] <= 0:
        return min(used.size, 1)
    logs = np.log(np.maximum(used, used[0] * 1e-30))
    return int(np.argmax(np.linspace(logs[0], logs[-1], logs.size) - logs))


def indicator(scree: Scree, max_rank: int) -> int:
    """Count by the minimum of Malinowski's indicator function among 0 … max_rank components.

    With the larger and smaller side g and s: ``IND = RE / (s − k)²``, with the real error
    ``RE = √(rest / (g (s − k)))``, which is the noise if k components are signal.

    Parameters
    ----------
    scree : Scree
        Singular values.
    max_rank : int
        Largest number considered.

    Returns
    -------
    int
        Number of components.

    References
    ----------
    E. R. Malinowski, *Factor Analysis in Chemistry*, Wiley (2002); *Anal. Chem.* **49** (1977) 612.

    Examples
    --------
    >>> indicator(Scree(np.array([1e4, 1.1, 1.0, 0.9]), 1e4 + 3.0, (8, 4)), 3)
    1
    """
    small, large = min(scree.shape), max(scree.shape)
    rest = scree.rest()[: max_rank + 1]
    left = small - np.arange(rest.size)
    return int(np.argmin(np.sqrt(rest / (large * left)) / left**2))


def noise_edge(n: int, m: int, deviations: float = 2.0) -> float:
    """Largest squared singular value of white noise of variance one, n by m.

    Tracy and Widom: mean and standard deviation of ``((√(n−½) + √(m−½))² + s W)`` with
    ``s = √edge (1/√(n−½) + 1/√(m−½))^(1/3)``.

    Parameters
    ----------
    n, m : int
        Pixels and channels.
    deviations : float
        Standard deviations above the mean (1.73 are exceeded once in 20 times).

    Returns
    -------
    float
        The edge.

    References
    ----------
    I. M. Johnstone, *Ann. Statist.* **29** (2001) 295; Z. Ma, *Bernoulli* **18** (2012) 322.

    Examples
    --------
    >>> round(noise_edge(1000, 100, 0.0) / (1000**0.5 + 100**0.5) ** 2, 2)
    0.98
    """
    a, b = math.sqrt(n - 0.5), math.sqrt(m - 0.5)
    spread = (a + b) * (1 / a + 1 / b) ** (1 / 3)
    return (a + b) ** 2 + spread * (TRACY_WIDOM_MEAN + deviations * TRACY_WIDOM_DEVIATION)


def marchenko_pastur(scree: Scree, max_rank: int) -> int:
    """Count values above the noise edge, with the noise variance of what is left each time."""
    n, m = scree.shape
    level = scree.level()
    for k in range(min(max_rank, level.size - 1)):
        if scree.values[k] <= level[k] * noise_edge(n - k, m - k, 1.73):
            return k
    return min(max_rank, level.size - 1)


def gavish_donoho(scree: Scree, max_rank: int, noise: float) -> int:
    """Count singular values above the threshold that minimises the error of the denoised data.

    ``τ = λ*(β) √g σ`` with ``λ*(β)² = 2(β + 1) + 8β / (β + 1 + √(β² + 14β + 1))``, β = s/g, the
    sides s ≤ g.

    Parameters
    ----------
    scree : Scree
        Singular values.
    max_rank : int
        Largest number considered.
    noise : float
        Standard deviation σ of the noise (1 for whitened data).

    Returns
    -------
    int
        Number of components.

    References
    ----------
    M. Gavish and D. L. Donoho, *IEEE Trans. Inf. Theory* **60** (2014) 5040.

    Examples
    --------
    >>> values = np.array([400.0, 30.0, 2.0, 1.0])
    >>> gavish_donoho(Scree(values, values.sum(), (4, 4)), 3, noise=1.0)
    2
    """
    small, large = min(scree.shape), max(scree.shape)
    limit = (optimal_threshold(small / large) * noise) ** 2 * large
    return int(np.count_nonzero(scree.values[:max_rank] > limit))


def optimal_threshold(beta: float) -> float:
    """Return Gavish and Donoho's λ*(β); 4/√3 for a square matrix."""
    return math.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + math.sqrt(beta**2 + 14 * beta + 1)))


def description_length(scree: Scree, max_rank: int) -> int:
    """Count by the minimum description length of Wax and Kailath.

    ``MDL(k) = N (M − k) ln(arithmetic / geometric mean of the rest) + ½ k (2M − k) ln N``
    with N the longer and M the shorter side.

    Parameters
    ----------
    scree : Scree
        Singular values, all of them.
    max_rank : int
        Largest number considered.

    Returns
    -------
    int
        Number of components.

    References
    ----------
    M. Wax and T. Kailath, *IEEE Trans. ASSP* **33** (1985) 387.

    Examples
    --------
    >>> values = np.array([500.0, 90.0, 11.0, 10.0, 9.0])
    >>> description_length(Scree(values, values.sum(), (60, 5)), 4)
    2
    """
    short, long = min(scree.shape), max(scree.shape)
    values = np.maximum(scree.values, scree.values[0] * 1e-30)
    k = np.arange(min(max_rank, short - 1) + 1)
    tail_sum, tail_log = values[::-1].cumsum()[::-1][k], np.log(values)[::-1].cumsum()[::-1][k]
    left = short - k
    misfit = long * (left * np.log(tail_sum / left) - tail_log)
    return int(np.argmin(misfit + 0.5 * k * (2 * short - k) * math.log(long)))
