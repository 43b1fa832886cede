r"""All factorisations that fit as well: the set of non-negative rotations of an answer.

With maps ``C`` (n, k) and spectra ``S`` (m, k) of unit sum, every :math:`S' = S T^\top`,
:math:`C' = C T^{-1}` gives the same model. The rows of ``T`` sum to one: they are points, in
coordinates whose corners are the spectra of the answer. A spectrum may lie where no channel is
negative, in the *outer* polytope; the simplex of the k spectra must hold every pixel's point, so
the convex hull of those, the *inner* polytope.

A result is a pair of lists, one entry a component: ``corners[k]`` (p, k), rows of feasible ``T``, and
``duals[k]`` (q, k), columns of their inverses. Spectra and maps are linear in them, so that the
extremes over a convex set are those over its corners.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

#: Steps of the direction of a side of the triangle, and of its distance, for three components.
DIRECTIONS, DISTANCES = 1440, 24
#: Outer corners through which sides are laid.
MOST_CORNERS = 60
#: Points count as inside within this fraction of the size of the answer's own simplex.
INSIDE = 1e-9

Points = list[np.ndarray]


@dataclass(frozen=True)
class Feasible:
    """Corners of the feasible spectra and maps of every component.

    Attributes
    ----------
    corners, duals : list of ndarray, (points, k)
        Spectra are ``corners[k] @ S.T``, maps ``duals[k] @ C.T``.
    exact : bool
        Whether these are the extremes; an inner estimate otherwise.
    touching : bool
        Whether the regions of different components are connected, so that they cannot be told
        apart.
    """

    corners: Points
    duals: Points
    exact: bool
    touching: bool = False

    def joined(self, other: "Feasible") -> "Feasible":
        """Return all that is known of the same set in two ways."""
        both = [
            [np.vstack(pair) for pair in zip(mine, theirs, strict=True)]
            for mine, theirs in ((self.corners, other.corners), (self.duals, other.duals))
        ]
        return Feasible(both[0], both[1], self.exact, self.touching)


def two_components(S: np.ndarray, room: np.ndarray, points: np.ndarray) -> Feasible:
    r"""Return the feasible set of two components in closed form.

    A spectrum is :math:`(1-t)s_1 + t s_2`; the first lies between the outer and the inner end
    on its side, the second likewise.

    Parameters
    ----------
    S : ndarray, (channels, 2)
        Spectra of unit sum.
    room : ndarray, (channels,)
        How far below zero a spectrum may be.
    points : ndarray, (pixels, 2)
        The pixels' points: rows sum to one.

    References
    ----------
    Lawton & Sylvestre, Technometrics 13 (1971) 617.

    Examples
    --------
    >>> S, points = np.array([[0.75, 0.25], [0.25, 0.75]]), np.array([[0.9, 0.1], [0.0, 1.0]])
    >>> two_components(S, np.zeros(2), points).corners[0] @ S.T
    array([[1. , 0. ],
           [0.7, 0.3]])
    """
    low, high = interval(S[:, 0] + room, S[:, 1] - S[:, 0])
    first = np.sort([low, points[:, 1].min()])
    second = np.sort([points[:, 1].max(), high])
    t, u = (grid.ravel() for grid in np.meshgrid(first, second))
    span = (u - t)[:, None]
    return Feasible(
        corners=[np.column_stack([1 - ends, ends]) for ends in (first, second)],
        duals=[np.column_stack([u, u - 1]) / span, np.column_stack([-t, 1 - t]) / span],
        exact=True,
    )


def interval(start: np.ndarray, slope: np.ndarray) -> tuple[float, float]:
    """Return between which t no entry of ``start + t slope`` is negative, but for what rounding makes of none."""
    flat = INSIDE * np.max(np.abs(slope), initial=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = -start / slope
    return (
        float(np.max(zero[slope > flat], initial=-np.inf)),
        float(np.min(zero[slope < -flat], initial=np.inf)),
    )


def three_components(S: np.ndarray, room: np.ndarray, points: np.ndarray) -> Feasible:
    r"""Return the feasible set of three components: the area of feasible solutions.

    Every feasible triangle can be made smaller until one side touches the inner polygon, and that
    side longer until it ends on the outer one; the other two sides then touch the inner polygon
    from its ends. The corners of these triangles, for all directions of the side, are the edges of
    the three regions.

    Parameters
    ----------
    S, room, points
        As in :func:`two_components`, for three components.

    References
    ----------
    Borgen & Kowalski, Anal. Chim. Acta 174 (1985) 1. Sawall et al., J. Chemom. 27 (2013) 106.
    """
    found = _regions(_Scene(S, room, points))
    if found is None:
        # Noise leaves no triangle: hold the answer itself for feasible, and all that is within it.
        answer = np.maximum(points, 0.0)
        answer /= answer.sum(axis=1, keepdims=True)
        found = _regions(_Scene(S, np.maximum(room, -S.min(axis=1)), answer))
    return found or Feasible(list(np.eye(3)[:, None]), list(np.eye(3)[:, None]), exact=True)


def _regions(scene: "_Scene") -> Feasible | None:
    """Return the regions of all three components, or None where one of them is empty."""
    angles = scene.directions()
    triangles = _Triangles(scene, angles, 0.0)
    apex, touching = _apexes(triangles, angles)
    if touching:
        everywhere = triangles.feasible
        corners = [np.vstack([t[everywhere] for t in (triangles.apex, triangles.a, triangles.b)])]
        duals = [np.vstack(_duals(scene, angles, apex)[0])]
        return Feasible([_spread(corners[0])] * 3, duals * 3, exact=True, touching=True)
    if {0, 1, 2} - set(apex[triangles.feasible]):
        return None
    parts = [
        [
            where[triangles.feasible & (apex == (k - shift) % 3)]
            for shift, where in enumerate((triangles.apex, triangles.a, triangles.b))
        ]
        for k in range(3)
    ]
    duals = [np.vstack(part) for part in _duals(scene, angles, apex)]
    return Feasible([_spread(np.vstack(part)) for part in parts], duals, exact=True)


def _duals(scene: "_Scene", angles: np.ndarray, apex: np.ndarray) -> list[Points]:
    """Return dual vectors of triangles with a side in every direction, by the component of the apex.

    The sides lie at even distances from the inner polygon, and through the corners of the outer.
    """
    even = np.linspace(0.0, 1.0, DISTANCES)[:, None] * scene.reach(angles)
    through = scene.outer @ np.stack([np.cos(angles), np.sin(angles)]) - scene.support(angles)
    found: list[Points] = [[], [], []]
    for distances in [*even, *through[:MOST_CORNERS]]:
        lines = _Triangles(scene, angles, np.maximum(distances, 0.0))
        for k in range(3):
            found[k].append(lines.functionals(lines.feasible & (apex == k)))
    return found


#: Where the three spectra of the answer lie in the plane of spectra of unit sum.
OWN = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
#: The directions in which the sides opposite to them look.
OWN_ANGLES = np.array([0.25, 1.0, 1.5]) * np.pi


def _spread(places: np.ndarray) -> np.ndarray:
    """Return places in the plane (n, 2) as coordinates that sum to one, (n, 3)."""
    return np.column_stack([1.0 - places.sum(axis=1), places])


class _Scene:
    """The outer polygon as half-planes ``normals · p ≤ offsets``, the inner one as corners."""

    def __init__(self, S: np.ndarray, room: np.ndarray, points: np.ndarray) -> None:
        slopes = S[:, 1:] - S[:, :1]
        size = np.linalg.norm(slopes, axis=1)
        slanted = size > 0
        normals = -slopes[slanted] / size[slanted, None]
        self.inner = points[ConvexHull(points[:, 1:]).vertices, 1:]
        # The data themselves are not negative, whatever rounding and noise say.
        offsets = np.maximum(
            (S[slanted, 0] + room[slanted]) / size[slanted], (self.inner @ normals.T).max(axis=0)
        )
        # The polar dual: a half-plane at distance d from the centre is the point normal / d.
        distances = np.maximum(offsets - normals @ self.inner.mean(axis=0), INSIDE)
        seen = ConvexHull(normals / distances[:, None]).vertices
        self.normals, self.offsets = normals[seen], offsets[seen]
        self.outer = _crossings(self.normals, self.offsets)

    def directions(self) -> np.ndarray:
        """Return the directions of a side to try: even steps, and where the kind of triangle changes."""
        edges = np.roll(self.inner, -1, axis=0) - self.inner
        changes = np.concatenate(
            [
                np.arctan2(-edges[:, 0], edges[:, 1]), np.arctan2(*self.normals.T[::-1]),
                self._tangents(), OWN_ANGLES,
            ]
        )  # fmt: skip
        even = np.linspace(0.0, 2 * np.pi, DIRECTIONS, endpoint=False)
        angles = np.unique(np.concatenate([even, changes % (2 * np.pi)]))
        feasible = _Triangles(self, angles, 0.0).feasible
        return np.unique(np.concatenate([angles, self._ends(angles, feasible)]))

    def _tangents(self) -> np.ndarray:
        """Return the directions of the sides that touch the inner polygon and end in an outer corner."""
        away = self.inner[None, :, :] - self.outer[:, None, :]
        towards = self.inner.mean(axis=0) - self.outer
        along = np.einsum("ijx,ix->ij", away, towards)
        across = away[..., 1] * towards[:, None, 0] - away[..., 0] * towards[:, None, 1]
        turn = np.arctan2(across, along)
        rows = np.arange(len(away))
        left, right = away[rows, turn.argmax(axis=1)], away[rows, turn.argmin(axis=1)]
        return np.concatenate(
            [np.arctan2(left[:, 0], -left[:, 1]), np.arctan2(-right[:, 0], right[:, 1])]
        )

    def _ends(self, angles: np.ndarray, feasible: np.ndarray) -> np.ndarray:
        """Return where feasible directions begin and end, by bisection."""
        following = np.append(angles[1:], angles[0] + 2 * np.pi)
        change = feasible != np.roll(feasible, -1)
        inside = np.where(feasible, angles, following)[change]
        outside = np.where(feasible, following, angles)[change]
        for _ in range(40):
            middle = (inside + outside) / 2
            still = _Triangles(self, middle, 0.0).feasible
            inside, outside = (
                np.where(still, middle, inside),
                np.where(still, outside, middle),
            )
        return inside % (2 * np.pi)

    def support(self, angles: np.ndarray) -> np.ndarray:
        """Return how far the inner polygon reaches in every direction."""
        return (self.inner @ np.stack([np.cos(angles), np.sin(angles)])).max(axis=0)

    def reach(self, angles: np.ndarray) -> np.ndarray:
        """Return how far the outer polygon reaches beyond the inner one in every direction."""
        n = np.stack([np.cos(angles), np.sin(angles)])
        return (self.outer @ n).max(axis=0) - self.support(angles)


class _Triangles:
    """The largest triangles with a side at given directions and distances from the inner polygon.

    The side runs from ``a`` to ``b`` on the outer polygon, counter-clockwise; the other two touch
    the inner polygon and meet in ``apex``. Everything is (directions, 2).
    """

    def __init__(self, scene: _Scene, angles: np.ndarray, distances: np.ndarray | float) -> None:
        self.scene = scene
        self.n = np.column_stack([np.cos(angles), np.sin(angles)])
        self.u = np.column_stack([-self.n[:, 1], self.n[:, 0]])
        self.level = (self.n @ scene.inner.T).max(axis=1) + distances
        foot = self.level[:, None] * self.n
        low, high = _chord(foot, self.u, scene)
        self.a, self.b = foot + low[:, None] * self.u, foot + high[:, None] * self.u
        self.alpha, self.beta = self._angle(self.a, 1.0), self._angle(self.b, -1.0)
        total = self.alpha + self.beta
        with np.errstate(divide="ignore", invalid="ignore"):
            self.height = (high - low) * np.sin(self.alpha) * np.sin(self.beta) / np.sin(total)
            along = (high - low) * np.cos(self.alpha) * np.sin(self.beta) / np.sin(total)
        self.apex = self.a + along[:, None] * self.u - self.height[:, None] * self.n
        inside = (self.apex @ scene.normals.T <= scene.offsets + INSIDE).all(axis=1)
        self.feasible = inside & (high > low) & (total < np.pi) & (self.height > 0)

    def _angle(self, corner: np.ndarray, sense: float) -> np.ndarray:
        """Return the widest angle at a corner from the side to a corner of the inner polygon."""
        away = self.scene.inner[None, :, :] - corner[:, None, :]
        along = sense * np.einsum("ijx,ix->ij", away, self.u)
        depth = np.maximum(-np.einsum("ijx,ix->ij", away, self.n), 0.0)
        return np.where(np.hypot(along, depth) <= INSIDE, 0.0, np.arctan2(depth, along)).max(axis=1)

    def functionals(self, chosen: np.ndarray) -> np.ndarray:
        """Return the dual vectors of the apex, nearest to the side and farthest from it; (2 n, 3)."""
        above = self.level[chosen, None] - self.n[chosen] @ OWN.T
        near, far = self.height[chosen], self._farthest()[chosen]
        return np.vstack([above / near[:, None], above / np.maximum(far, near)[:, None]])

    def _farthest(self) -> np.ndarray:
        """Return how far from the side the apex of a feasible triangle may lie."""
        scene = self.scene
        left = np.cos(self.alpha)[:, None] * self.u - np.sin(self.alpha)[:, None] * self.n
        right = -np.cos(self.beta)[:, None] * self.u - np.sin(self.beta)[:, None] * self.n
        ends = [
            _chord(self.apex, side, scene)[1] * np.sin(angle)
            for side, angle in ((left, self.alpha), (right, self.beta))
        ]
        away = scene.outer[None, :, :] - self.apex[:, None, :]
        turn = _cross(left, right)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            between = (_cross(away, right[:, None]) / turn >= 0) & (
                _cross(left[:, None], away) / turn >= 0
            )
        gain = np.where(between, -np.einsum("ijx,ix->ij", away, self.n), 0.0)
        return self.height + np.max([gain.max(axis=1), *ends], axis=0)


def _cross(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the cross product of vectors in the plane."""
    return p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]


def _chord(foot: np.ndarray, direction: np.ndarray, scene: _Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return between which t the places ``foot + t direction`` lie in the outer polygon."""
    slope = direction @ scene.normals.T
    room = scene.offsets - foot @ scene.normals.T
    with np.errstate(divide="ignore", invalid="ignore"):
        t = room / slope
    high = np.where(slope > INSIDE, t, np.inf).min(axis=1)
    low = np.where(slope < -INSIDE, t, -np.inf).max(axis=1)
    missed = ((np.abs(slope) <= INSIDE) & (room < -INSIDE)).any(axis=1)
    return np.where(missed, 0.0, low), np.where(missed, 0.0, high)


def _apexes(triangles: _Triangles, angles: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return which component the apex of every feasible triangle is, and whether regions touch.

    The side that looks away from a component is feasible in the answer itself; directions that are
    connected with it belong to the same component.
    """
    feasible = triangles.feasible
    n = len(angles)
    run = np.cumsum(feasible & ~np.roll(feasible, 1))
    if feasible[0] and feasible[-1]:
        run[run == run[-1]] = run[0]
    own = np.searchsorted(angles, OWN_ANGLES - 1e-12) % n
    apex = np.full(n, -1)
    touching = len({int(run[i]) for i in own if feasible[i]}) < int(feasible[own].sum())
    for label in np.unique(run[feasible]):
        members = np.flatnonzero(feasible & (run == label))
        inside = [k for k in range(3) if own[k] in members]
        apex[members] = inside[0] if inside else _nearest(triangles, members)
    return apex, touching


def _nearest(triangles: _Triangles, members: np.ndarray) -> int:
    """Return which component the apex is where the triangle is laid on that of the answer."""
    middle = members[len(members) // 2]
    corners = np.stack([triangles.apex[middle], triangles.a[middle], triangles.b[middle]])
    return int(np.argmin([np.sum((corners - np.roll(OWN, -k, axis=0)) ** 2) for k in range(3)]))


def _crossings(normals: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return where neighbouring lines cross, (lines, 2)."""
    following, beyond = np.roll(normals, -1, axis=0), np.roll(offsets, -1)
    turned = offsets[:, None] * following - beyond[:, None] * normals
    return turned[:, ::-1] * [1.0, -1.0] / _cross(normals, following)[:, None]
