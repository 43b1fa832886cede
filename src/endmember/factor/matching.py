"""Which component of one answer is which of another, and whether a product of factors is unique or degenerates."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from endmember.errors import refuse_if
from endmember.factor.columns import or_one, unit_columns


def spectral_angle(a: np.ndarray, b: np.ndarray) -> np.ndarray | float:
    r"""Angle between spectra in degrees, :math:`\arccos(a\cdot b / \|a\|\|b\|)`; scale plays no part.

    Parameters
    ----------
    a, b : array_like, (..., channels)
        Spectra along the last axis; leading axes broadcast. Channels that are NaN in either are
        left out.

    Returns
    -------
    float or ndarray, (...)
        0° = same shape, 90° = nothing in common (or an empty spectrum).

    Examples
    --------
    >>> float(spectral_angle([1, 0], [1, 1]))
    45.0
    """
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    left_out = np.isnan(a) | np.isnan(b)
    a, b = _unit(np.where(left_out, 0.0, a)), _unit(np.where(left_out, 0.0, b))
    # The half-angle form keeps full accuracy at small angles, where arccos loses half the digits.
    apart, along = np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1)
    angle = np.degrees(2.0 * np.arctan2(apart, along))
    return np.where(a.any(axis=-1) & b.any(axis=-1), angle, 90.0)[()]


def _unit(a: np.ndarray) -> np.ndarray:
    a = a / or_one(np.max(np.abs(a), axis=-1, keepdims=True, initial=0.0))
    return a / or_one(np.linalg.norm(a, axis=-1, keepdims=True))


def match_components(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Order of ``found`` that pairs its spectra with ``true`` at the smallest sum of angles.

    The assignment problem is solved exactly by the Hungarian method (Kuhn, Naval Res. Logist. 2
    (1955) 83).

    Parameters
    ----------
    found : array_like, (k_found, channels)
        Spectra to put in order.
    true : array_like, (k_true, channels)
        Spectra that give the order; at most as many as in ``found``.

    Returns
    -------
    ndarray of int, (k_true,)
        ``found[order]`` stands in the order of ``true``.

    Raises
    ------
    ValueError
        If ``true`` holds more spectra than ``found``, or the channels differ.

    Examples
    --------
    >>> match_components(np.eye(3)[[2, 0, 1]], np.eye(3))
    array([1, 2, 0])
    """
    from scipy.optimize import linear_sum_assignment

    found, true = np.atleast_2d(found), np.atleast_2d(true)
    refuse_if(
        found.shape[-1] != true.shape[-1] or len(true) > len(found),
        f"cannot give each of the {true.shape} true spectra one of the {found.shape} found: "
        "the channels must "
        "agree, and true may not hold more spectra than found",
    )
    return linear_sum_assignment(spectral_angle(true[:, None, :], found[None, :, :]))[1]


def mean_angle(S: np.ndarray, true: np.ndarray) -> float:
    """Return the mean angle between two sets of matched spectra (m, k), in degrees."""
    return float(np.mean(spectral_angle(S.T[match_components(S.T, true.T)], true.T)))


#: Columns count as dependent where the smallest singular value is below this fraction of the largest.
DEPENDENT = 1e-6


def congruence(factors: Sequence[np.ndarray]) -> np.ndarray:
    r"""Return how alike every two components are in all modes at once, (k, k).

    :math:`\prod_n \cos(f^n_a, f^n_b)`: 1 for the same component twice, −1 for two that cancel each
    other, the mark of a degenerate fit.

    Examples
    --------
    >>> congruence([np.array([[1.0, 1.0], [0.0, 1.0]]), np.eye(2)]).round(3)
    array([[1., 0.],
           [0., 1.]])
    """
    return np.prod([unit.T @ unit for unit in map(unit_columns, factors)], axis=0)


def kruskal_rank(F: np.ndarray) -> int:
    """Return the largest number r such that every r columns of ``F`` (n, k) are independent.

    Examples
    --------
    >>> kruskal_rank(np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]))
    2
    >>> kruskal_rank(np.array([[1.0, 2.0], [3.0, 6.0]]))
    1
    """
    if not F.any(axis=0).all():
        return 0
    unit = unit_columns(F)
    gram = unit.T @ unit
    k = F.shape[1]
    for r in range(2, min(k, len(F)) + 1):
        for chosen in combinations(range(k), r):
            values = np.linalg.eigvalsh(gram[np.ix_(chosen, chosen)])
            if values[0] <= DEPENDENT**2 * values[-1]:
                return r - 1
    return min(k, len(F))


def kruskal_unique(factors: Sequence[np.ndarray]) -> bool:
    r"""Tell whether Kruskal's condition proves the components unique, but for order and scale.

    :math:`\sum_n k_n \ge 2 k + N - 1` with the Kruskal rank :math:`k_n` of each of the N factors.
    The condition is sufficient: where it does not hold, nothing is said. It never holds for the
    two factors of a matrix of more than one component.

    References
    ----------
    Kruskal, Linear Algebra Appl. 18 (1977) 95. Sidiropoulos & Bro, J. Chemom. 14 (2000) 229.

    Examples
    --------
    >>> kruskal_unique([np.eye(3), np.eye(3), np.eye(3)]), kruskal_unique([np.eye(3), np.eye(3)])
    (True, False)
    """
    return sum(map(kruskal_rank, factors)) >= 2 * factors[0].shape[1] + len(factors) - 1


def core_consistency(core: np.ndarray) -> float:
    r"""Return how nearly superdiagonal a core is, in percent.

    :math:`100\,(1 - \|\mathcal G - \mathcal I\|^2 / k)` for the core :math:`\mathcal G` (k, …, k) that
    fits the data best with the factors of a CP model. Near 100 for a model that holds, near zero or
    below for one with too many components.

    References
    ----------
    Bro & Kiers, J. Chemom. 17 (2003) 274.

    Examples
    --------
    >>> core_consistency(np.ones((1, 1, 1)))
    100.0
    """
    k = core.shape[0]
    ideal = np.zeros(core.shape)
    ideal[(np.arange(k),) * core.ndim] = 1.0
    return float(100.0 * (1.0 - np.sum((core - ideal) ** 2) / k))
