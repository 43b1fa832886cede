r"""Feasible rotations met on the way: an inner estimate for any number of components and fixed entries.

Rows of ``T`` are moved one at a time along chords of the feasible set. With the others held, a row
``T_r + t u`` keeps every spectrum and every pixel above zero for t in one interval, because

.. math:: C'_l \ge 0 \iff c_l + t (c_l w_r - c_r w_l) \ge 0,\qquad w = u^\top T^{-1}

(Sherman and Morrison): both ends of every chord are extremes and cost one division.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import null_space
from scipy.spatial import ConvexHull, QhullError

from endmember.factor.geometry.feasible import Feasible, interval

#: Chords of a walk, and of the way to an extreme, for every free entry of ``T``.
CHORDS, CLIMB = 100, 10
#: A chord ends this fraction before its end, so that rounding leaves it feasible.
SHORT_OF_END = 1e-9
#: Up to this many components only the corners of a convex hull are looked at.
HULL_COMPONENTS = 5


@dataclass(frozen=True)
class Fixed:
    """Entries that a rotation must leave as they are.

    Attributes
    ----------
    spectra : ndarray of bool, (channels, k)
    maps : ndarray of bool, (k, k)
        Whether (row) there is anything of a component in the answer where (column) the map of
        another is fixed: that map changes there with every row whose own map holds some of the first.
    """

    spectra: np.ndarray
    maps: np.ndarray


def sampled(
    S: np.ndarray,
    room: np.ndarray,
    points: np.ndarray,
    totals: np.ndarray,
    fixed: Fixed | None,
    rng: np.random.Generator,
) -> Feasible:
    r"""Return an inner estimate of the feasible set from walks through it.

    The walks begin at the answer and at the extremes of every component's share,
    :math:`\|c_k s_k^\top\|`, found by climbing along chords.

    Parameters
    ----------
    S : ndarray, (channels, k)
        Spectra of unit sum.
    room : ndarray, (channels,)
        How far below zero a spectrum may be.
    points : ndarray, (pixels, k)
        The pixels' points: rows sum to one.
    totals : ndarray, (pixels,)
        What the maps of every pixel sum to.
    fixed : Fixed, optional
    rng : numpy Generator

    References
    ----------
    Gemperline, Anal. Chem. 71 (1999) 5398. Tauler, J. Chemom. 15 (2001) 627, for the extremes.
    """
    walk = _Walk(S, room, points, fixed)
    k = S.shape[1]
    C = points * totals[:, None]
    grams = C.T @ C, S.T @ S
    climbed = [
        walk.climb(CLIMB * k * (k - 1), component, sign, grams, rng)
        for component in range(k)
        for sign in (1.0, -1.0)
    ]
    starts = [np.eye(k), *climbed]
    for T in starts:
        walk.go(T, CHORDS * k * (k - 1) // len(starts), rng)
    return Feasible(
        [np.array(found) for found in walk.corners], [np.array(found) for found in walk.duals],
        exact=False,
    )  # fmt: skip


class _Walk:
    """All feasible rows and inverse columns that were met, and the way on."""

    def __init__(
        self, S: np.ndarray, room: np.ndarray, points: np.ndarray, fixed: Fixed | None
    ) -> None:
        self.k = S.shape[1]
        self.S, self.fixed = S, fixed
        self.points = _outermost(np.maximum(points, 0.0))
        # The answer itself is feasible, whatever rounding and noise say.
        self.walls = _tightest(np.column_stack([S, np.maximum(room, -S.min(axis=1))]))
        self.corners = [[row] for row in np.eye(self.k)]
        self.duals = [[row] for row in np.eye(self.k)]

    def go(self, T: np.ndarray, steps: int, rng: np.random.Generator) -> None:
        """Walk from ``T`` along random chords; half of the steps go to one of the ends, the others between."""
        for step in range(steps):
            ends = self._ends(T, step % self.k, rng)
            if ends is not None:
                T = ends[0] + np.clip(rng.uniform(-0.5, 1.5), 0.0, 1.0) * (ends[1] - ends[0])

    def climb(
        self,
        steps: int,
        component: int,
        sign: float,
        grams: tuple[np.ndarray, np.ndarray],
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return a rotation with a large (sign 1) or small (−1) share of a component."""

        def share(T: np.ndarray) -> float:
            dual = np.linalg.inv(T)[:, component]
            return sign * float((dual @ grams[0] @ dual) * (T[component] @ grams[1] @ T[component]))

        T = np.eye(self.k)
        for step in range(steps):
            T = max((T, *(self._ends(T, step % self.k, rng) or ())), key=share)
        return T

    def _ends(
        self, T: np.ndarray, r: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the two ends of a random chord through ``T`` that moves row ``r``, and keep them."""
        inverse = np.linalg.inv(T)
        u = self._direction(r, inverse, rng)
        if u is None:
            return None
        low, high = self._chord(T, inverse, r, u)
        unit = np.outer(np.arange(self.k) == r, u)
        ends = T + low * unit, T + high * unit
        for end in ends:
            kept = zip(self.corners, self.duals, end, np.linalg.inv(end).T, strict=True)
            for corners, duals, corner, dual in kept:
                corners.append(corner)
                duals.append(dual)
        return ends

    def _direction(
        self, r: int, inverse: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray | None:
        """Return a unit direction for row ``r``, half of them those in which one channel changes most."""
        wall = self.walls[rng.integers(len(self.walls)), :-1]
        u = wall if rng.random() < 0.5 else rng.normal(size=self.k)
        kept = [np.ones((1, self.k))]
        if self.fixed is not None:
            held = (np.abs(inverse[:, r]) > SHORT_OF_END) @ self.fixed.maps
            kept += [self.S[self.fixed.spectra[:, r]], inverse[:, held].T]
        free = null_space(np.vstack(kept), rcond=1e-10)
        u = free @ (free.T @ u)
        size = float(np.linalg.norm(u))
        return u / size if size > 0 else None

    def _chord(
        self, T: np.ndarray, inverse: np.ndarray, r: int, u: np.ndarray
    ) -> tuple[float, float]:
        """Return between which t the row ``T_r + t u`` is feasible."""
        w, C = u @ inverse, self.points @ inverse
        turn = C * w[r] - C[:, r : r + 1] * w
        start = np.concatenate([C.ravel(), (self.walls[:, :-1] @ T[r] + self.walls[:, -1]), [1.0]])
        slope = np.concatenate([turn.ravel(), self.walls[:, :-1] @ u, [w[r]]])
        low, high = interval(np.maximum(start, 0.0), slope)
        return low * (1.0 - SHORT_OF_END), high * (1.0 - SHORT_OF_END)


def _outermost(points: np.ndarray) -> np.ndarray:
    """Return the points (n, k) that span all others; all of them where that is too much work."""
    points = np.unique(points / points.sum(axis=1, keepdims=True), axis=0)
    return points[_corners(points[:, 1:])]


def _tightest(walls: np.ndarray) -> np.ndarray:
    """Return the half-spaces ``walls[:, :-1] @ row + walls[:, -1] >= 0`` that bound rows of unit sum."""
    heights = walls[:, :-1].mean(axis=1) + walls[:, -1]
    slopes = walls[:, 1:-1] - walls[:, :1]
    steep = (np.linalg.norm(slopes, axis=1) > 0) & (heights > 0)
    return walls[steep][_corners(slopes[steep] / heights[steep, None])]


def _corners(points: np.ndarray) -> Any:
    """Return which points (n, k − 1) are corners of their convex hull; all of them where that is too much work."""
    if not 2 <= points.shape[1] < HULL_COMPONENTS or len(points) <= points.shape[1] + 1:
        return slice(None)
    try:
        return ConvexHull(points).vertices
    except QhullError:  # all in one plane: nothing is saved
        return slice(None)
