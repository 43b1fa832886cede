r"""The part of a signal subspace that is not negative: which spectra (or maps) the data allow.

``V`` (m, k) spans the subspace of the spectra, with channels as rows, or that of the maps, with pixels as
rows; a point ``z`` (k,) stands for ``V z``. The points that sum to one and are negative nowhere, as far as
noise can tell, form a polytope :math:`Vz \ge -\delta,\ 1^\top Vz = 1` that holds the true components. They
are its corners if each is alone in some row.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.spatial import HalfspaceIntersection

from endmember.errors import Argument, refuse_if
from endmember.factor.data.matrix import Data
from endmember.factor.geometry.feasible import interval
from endmember.factor.sketch.low_rank import FINE_PASSES, sketch

#: Rounding of the subspace, relative to its largest entry.
ROUNDING = 1e-9
#: Up to this many components corners are enumerated, beyond it searched in random directions,
MOST_ENUMERATED = 5
#: so many times k − 1 of them.
DIRECTIONS = 30
#: A row with less than this share of other components counts as one component's own.
PURE = 0.01
#: Rows that only noise lets count as a component's own may hold this share of others on average.
PURE_ON_AVERAGE = 0.05
#: Steps of the random walk between two points that are kept.
THIN = 10


@dataclass
class Subspace:
    """A basis whose rows are known up to noise.

    Attributes
    ----------
    V : ndarray, (m, k)
        In the unit of the data.
    spread : ndarray, (m,)
        Standard deviation of the noise of every row.
    scales : ndarray, (k,)
        How much of it every column has: the reciprocal singular values.
    typical : ndarray, (k,)
        The mean of the data, with entries that sum to one.
    """

    V: np.ndarray
    spread: np.ndarray
    scales: np.ndarray
    typical: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """``Vᵀ1``: what the entries of a point sum to, (k,)."""
        return self.V.sum(axis=0)

    def errors(self, points: np.ndarray) -> np.ndarray:
        r"""Return :math:`\sigma_j\sqrt{\sum_k z_k^2/s_k^2}`, the standard errors of points z (·, k), (·, m)."""
        return np.linalg.norm(points * self.scales, axis=-1)[..., None] * self.spread


def subspaces(
    data: Data, k: int, random_state: int | np.random.Generator = 0
) -> tuple[Subspace, Subspace]:
    """Return the signal subspace of the spectra and that of the maps, each with its noise.

    The noise is what k components leave unexplained, channel by channel and pixel by pixel. Data with
    weights are decomposed with these.
    """
    scaled, (r, c) = data.scaled, data.scales
    low = sketch(scaled, k, random_state, FINE_PASSES)
    size = np.where(low.singular_values > 0, low.singular_values, np.inf)
    rows, columns = _unexplained(scaled, low.Z, low.V)
    return (
        _subspace(low.V / c, columns / c[:, 0], 1 / size, (low.Z / r).mean(axis=0)),
        _subspace(low.Z / size / r, rows / r[:, 0], 1 / size, (low.V / c).mean(axis=0) * size),
    )


def _unexplained(data: Data, Z: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the standard deviation of the noise of every row and every column, (n,) and (m,)."""
    (n, m), k = data.shape, V.shape[1]
    left_out = max(0.0, data.squared_norm - float(data.squared_row_norms.sum()))
    rows, columns = data.squares_left(Z, V)
    freedom = max((n - k) * (m - k), 1) / (n * m)
    return (
        np.sqrt((rows + left_out / n) / (m * freedom)),
        np.sqrt((columns + left_out / m) / (n * freedom)),
    )


def _subspace(
    V: np.ndarray, spread: np.ndarray, scales: np.ndarray, typical: np.ndarray
) -> Subspace:
    total = V.sum(axis=0) @ typical
    refuse_if(
        total == 0,
        "the data sum to zero, so that non-negative components mean nothing; use ",
        Argument("method", "VCA", "em.VCA()"),
        " for data around zero",
    )
    typical = typical / total
    floor = ROUNDING * np.max(np.abs(V @ typical)) / np.linalg.norm(typical * scales)
    return Subspace(V, np.maximum(spread, floor), scales, typical)


@dataclass
class Polytope:
    r"""The points :math:`z = o + N y` with :math:`V z \ge -\delta`, all of the same sum.

    Attributes
    ----------
    V : ndarray, (m, k)
    delta : ndarray, (m,)
    origin : ndarray, (k,)
        Within.
    frame : ndarray, (k, k − 1)
        The directions N that keep the sum, as long as the mean of the data.
    """

    V: np.ndarray
    delta: np.ndarray
    origin: np.ndarray
    frame: np.ndarray

    @property
    def room(self) -> np.ndarray:
        """How far the origin is from every bound, (m,)."""
        return self.V @ self.origin + self.delta

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Tell which points (·, k) lie within."""
        return np.all(points @ self.V.T >= -self.delta, axis=1)


def polytope(space: Subspace, slack: float, at: np.ndarray | None = None) -> Polytope:
    """Return the polytope whose bounds lie ``slack`` standard errors below zero.

    Parameters
    ----------
    space : Subspace
    slack : float
    at : ndarray, (·, k), optional
        Points whose standard errors count; the mean of the data unless given.
    """
    error = np.sqrt(np.mean(space.errors(space.typical[None] if at is None else at) ** 2, axis=0))
    least = ROUNDING * np.max(np.abs(space.V @ space.typical))
    delta = np.maximum(slack * error, least - 1.01 * (space.V @ space.typical))
    along = np.linalg.svd((space.total / space.scales)[None])[2][1:].T / space.scales[:, None]
    return Polytope(
        space.V, delta, space.typical, along * np.linalg.norm(space.typical * space.scales)
    )


def corners(found: Polytope, rng: np.random.Generator) -> np.ndarray:
    """Return the corners of a polytope, (·, k): all of them up to five components, else many."""
    dimensions = found.frame.shape[1]
    inner, room = found.V @ found.frame, found.room
    if dimensions == 0:
        return found.origin[None]
    if dimensions == 1:
        ends = np.array(interval(room, inner[:, 0]))[:, None]
    elif dimensions < MOST_ENUMERATED:
        planes = (
            np.column_stack([-inner, -room])
            / np.max(np.abs(inner), axis=1, initial=1e-300)[:, None]
        )
        ends = HalfspaceIntersection(planes, np.zeros(dimensions), qhull_options="QJ").intersections
    else:
        ends = _searched(inner, room, rng)
    ends = ends[np.isfinite(ends).all(axis=1)]
    return found.origin + np.unique(ends.round(10), axis=0) @ found.frame.T


def _searched(inner: np.ndarray, room: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the corners that are extreme in random directions and away from the strongest rows.

    Linear programmes over the few rows that bound the polytope; rows that a corner turns out to break are
    taken in until none is broken.
    """
    dimensions, wanted = inner.shape[1], DIRECTIONS * inner.shape[1]
    strongest = np.argsort(-np.linalg.norm(inner, axis=1))[:wanted]
    left = np.concatenate([rng.standard_normal((wanted, dimensions)), inner[strongest]])
    near = -inner / room[:, None]
    rows = np.unique(np.argmax(near @ rng.standard_normal((dimensions, 10 * wanted)), axis=0))
    ends: list[np.ndarray] = []
    while len(left):
        bounds = -inner[rows], room[rows]
        found = [linprog(-way, *bounds, bounds=(None, None), method="highs").x for way in left]
        solved = np.array([end is not None for end in found], bool)
        points = np.array([end for end in found if end is not None]).reshape(-1, dimensions)
        broken = points @ near.T - 1.0
        worst = np.argmax(broken, axis=1)
        good = broken[np.arange(len(points)), worst] <= ROUNDING
        ends.extend(points[good])
        left, rows = left[solved][~good], np.union1d(rows, worst[~good])
    return np.array(ends).reshape(-1, dimensions)


def rejection(
    found: Polytope, scores: np.ndarray, n: int, spread: float, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Return up to n points drawn like the scores (·, k) and kept where they lie within, and the share kept.

    Scores of the data, each with entries that sum to one, give mean and covariance of a normal
    distribution that is made ``spread`` times as wide.
    """
    inside = (scores - found.origin) @ np.linalg.pinv(found.frame).T
    mean, covariance = inside.mean(axis=0), np.atleast_2d(np.cov(inside, rowvar=False))
    kept: list[np.ndarray] = []
    tried = accepted = 0
    while accepted < n and tried < 1000 * n:
        drawn = rng.multivariate_normal(mean, spread**2 * covariance, n, method="eigh")
        points = found.origin + drawn @ found.frame.T
        kept.append(points[found.holds(points)])
        tried, accepted = tried + n, accepted + len(kept[-1])
    return np.concatenate(kept)[:n], accepted / tried


def hit_and_run(found: Polytope, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n points spread evenly over the polytope: a random chord, a uniform point on it, and again.

    References
    ----------
    Smith, Oper. Res. 32 (1984) 1296.
    """
    inner, room = found.V @ found.frame, found.room
    place = np.zeros(inner.shape[1])
    points = np.empty((n, len(place)))
    for step in range(-10 * THIN * len(place), n * THIN):
        direction = rng.standard_normal(len(place))
        slope = inner @ direction
        low, high = interval(room, slope)
        length = rng.uniform(min(max(low, -1e9), 0.0), max(min(high, 1e9), 0.0))
        place, room = place + length * direction, np.maximum(room + length * slope, 0.0)
        if step >= 0 and step % THIN == 0:
            points[step // THIN] = place
    return found.origin + points @ found.frame.T


def sharpen(space: Subspace, points: np.ndarray, slack: float, max_iter: int = 30) -> np.ndarray:
    r"""Move every point to where all the rows in which it is zero, within noise, are closest to zero.

    Noise puts every row's bound a little off, and a corner follows the few that lie farthest in. All rows
    :math:`J` with :math:`v_j z \le` slack standard errors together say more:

    .. math:: \min_z \sum_{j \in J} (v_j z)^2 / \sigma_j^2 \Big/ \sum_k z_k^2 / s_k^2

    the total least squares problem of rows that are all noisy; J and z are found in turns.
    """
    sharp = np.array(points)
    for i, point in enumerate(points):
        rows = np.zeros(0, int)
        for _ in range(max_iter):
            before = rows
            rows = np.flatnonzero(space.V @ point <= slack * space.errors(point))
            if len(rows) < len(point) - 1 or np.array_equal(rows, before):
                break
            noisy = space.V[rows] / space.spread[rows, None] / space.scales
            point = np.linalg.eigh(noisy.T @ noisy)[1][:, 0] / space.scales
            point = point / (space.total @ point)
        sharp[i] = point
    return sharp


def own_rows(space: Subspace, points: np.ndarray, slack: float) -> np.ndarray:
    """Return how many rows belong to each component alone, (k,): the condition for one answer.

    In a row of its own a component stands ``slack`` standard errors above zero and each of the others does not, or
    holds less than a hundredth of it. Where noise leaves room, the others must be below a twentieth on average.
    """
    values, errors = points @ space.V.T, space.errors(points)
    absent, found = values <= slack * errors, np.zeros(len(points), int)
    for i in range(len(points)):
        others = np.arange(len(points)) != i
        own = values[i] > slack * errors[i]
        own &= np.all(absent[others] | (values[others] <= PURE * values[i]), axis=0)
        mixed = values[others][:, own].sum(axis=1) > PURE_ON_AVERAGE * values[i, own].sum()
        found[i] = 0 if mixed.any() else np.count_nonzero(own)
    return found
