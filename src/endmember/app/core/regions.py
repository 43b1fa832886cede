"""What was pointed at in an image, what is known of it, and the lines of a script that say the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.path import Path

import endmember as em
from endmember.errors import refuse_if

#: What can be known of a component: the words of the page, a sentence, and the line of a script.
KINDS = {
    "is": (
        "has the mean spectrum of this region",
        "component {n} is {region.name}",
        "known[{component}] = signal.data[{region.code}].reshape(-1, signal.data.shape[-1]).mean(0, float).clip(0)",
    ),
    "only": (
        "is alone in this region",
        "{region.name} holds component {n} alone",
        "absent[{region.code}] |= np.arange(absent.shape[-1]) != {component}",
    ),
    "absent": (
        "is absent in this region",
        "component {n} is absent in {region.name}",
        "absent[{region.code}] |= np.arange(absent.shape[-1]) == {component}",
    ),
    "file": (
        "has the spectrum of this file",
        "component {n} is {file}",
        "known[{component}] = {path!r}",
    ),
    "onset": ("Nothing before this onset", "nothing before {energy:g}", ""),
}
#: What a drag on a picture draws, besides the loop of the lasso.
SHAPES = ("box", "ellipse", "line")
#: Corners that a polygon keeps, about.
MOST_CORNERS = 60
#: Pixels of the first live picture, about: a regular grid of those of the image.
FEW_PIXELS = 2304


def inside(corners: Any, shape: Any) -> Any:
    """Return which pixels (rows, columns) have their middle within a polygon of (column, row) corners."""
    found = np.zeros(shape, dtype=bool)
    left, top = np.floor(np.min(corners, axis=0)).astype(int).clip(0)
    part = found[
        top : int(np.max(corners, axis=0)[1]) + 1, left : int(np.max(corners, axis=0)[0]) + 1
    ]
    middles = np.argwhere(~part)[:, ::-1] + (left + 0.5, top + 0.5)
    part[...] = Path(corners).contains_points(middles).reshape(part.shape)
    return found


def outline_of(shape: str, start: Any, end: Any, width: float) -> np.ndarray:
    """Return the corners of an ellipse or a line that is dragged from one (column, row) to another, (corners, 2).

    The ellipse touches the sides of the box between them. Those of the line begin on one side of its begin and go on
    along it, as those of a strip of its width.
    """
    start, way = np.asarray(start), np.subtract(end, start)
    if shape == "line":
        aside = np.array([-way[1], way[0]]) * (width / 2 / max(np.hypot(*way), 1e-9))
        return start + np.array([aside, way + aside, way - aside, -aside])
    angles = np.linspace(0, 2 * np.pi, MOST_CORNERS, endpoint=False)[:, None]
    return start + way * (1 + np.hstack([np.cos(angles), np.sin(angles)])) / 2


def grid_of(domain: Sequence[int]) -> tuple[slice, ...]:
    """Return the pixels of a regular grid, about ``FEW_PIXELS``: the one in the middle of every block."""
    step = max(1, round((np.prod(domain) / FEW_PIXELS) ** (1 / len(domain))))
    return tuple(slice(min(step // 2, size - 1), None, step) for size in domain)


@dataclass(frozen=True)
class Region:
    """Some pixels of an image.

    Attributes
    ----------
    box : ((first, end), (first, end))
        The rows and columns that they fill, or lie in.
    shape : tuple of int
        The domain of the image, (pixels,) or (rows, columns).
    corners : tuple of (column, row)
        Of a polygon, where it is no box; the first pixel lies between 0 and 1.
    width : int
        Of a line in pixels, 0 where it is none; its corners are those of the strip that it is, in the order of
        :func:`outline_of`.
    name, colour : str
    mean : ndarray, (channels,)
        Its mean spectrum.

    Examples
    --------
    >>> Region(((1, 3), (0, 2)), (4, 5)).code
    '1:3, 0:2'
    """

    box: tuple[tuple[int, int], tuple[int, int]]
    shape: tuple[int, ...]
    corners: tuple[tuple[float, float], ...] = ()
    name: str = "region"
    colour: str = "#D55E00"
    mean: Any = field(default=None, compare=False, repr=False)
    width: int = 0

    @property
    def outline(self) -> list[tuple[float, float]]:
        """Its corners."""
        (top, bottom), (left, right) = self.box
        return [*self.corners] or [(left, top), (right, top), (right, bottom), (left, bottom)]

    @property
    def mask(self) -> np.ndarray:
        """Which pixels it has, (*domain)."""
        return inside(self.outline, (1, *self.shape)[-2:]).reshape(self.shape)

    @property
    def code(self) -> str:
        """What has these pixels between the brackets of an array, as Python."""
        spans = ", ".join(f"{low}:{high}" for low, high in self.box[-len(self.shape) :])
        return f"inside({self.outline}, {self.shape})" if self.corners else spans


@dataclass(frozen=True)
class Constraint:
    """One thing that is known of an answer.

    Attributes
    ----------
    kind : str
        A key of ``KINDS``.
    component : int
        Counted from 0.
    words, line : str
        What is known as a sentence, and as the line of a script.
    given : ndarray of bool, (*domain), or of float, (channels,); or (first, end)
        The pixels of a region, a spectrum that is known, or the channels from an onset on.
    """

    kind: str
    component: int
    words: str
    line: str
    given: Any = field(compare=False, repr=False)


def penalties_of(
    constraints: Sequence[Constraint], k: int, domain: Any = None
) -> dict[str, list[Any]]:
    """Return what is known as penalties on "maps" and "spectra".

    Parameters
    ----------
    constraints : sequence of Constraint
    k : int
        Number of components.
    domain : tuple of int, optional
        That of the fit, where it has the pixels of :func:`grid_of` alone.

    Raises
    ------
    ValueError
        If a constraint is about a component that is not there, or two contradict each other.
    """
    for one in constraints:
        refuse_if(
            one.component >= k,
            f"{one.words}, but there are {k}: raise k, or remove what is known of it",
        )
    given = {kind: [one for one in constraints if one.kind == kind] for kind in KINDS}
    known = {one.component: one.given for one in (*given["is"], *given["file"])}
    beyond = [
        one.words
        for one in given["onset"]
        if any(np.delete(s, np.s_[slice(*one.given)]).any() for s in known.values())
    ]
    refuse_if(
        beyond,
        f"a spectrum that is known says otherwise than {', '.join(beyond)}: take one of them back",
    )
    places = [
        one.given[..., None] & ((np.arange(k) == one.component) != (one.kind == "only"))
        for one in (*given["only"], *given["absent"])
    ]
    absent = np.any(places, axis=0)
    if places and domain not in (None, absent.shape[:-1]):
        absent = absent[grid_of(absent.shape[:-1])]
    return {
        "maps": [em.Absent(absent)] if places else [],
        "spectra": [em.Known(known)] * bool(known)
        + [em.ZeroOutside(*one.given) for one in given["onset"]],
    }


def lines_of(constraints: Sequence[Constraint], k: int) -> list[str]:
    """Return the lines of a script that put what is known of ``k`` components into ``absent`` and ``known``."""
    lines = [f"{one.line}  # {one.words}" for one in constraints if one.line]
    begin = f"absent, known = np.zeros((*signal.data.shape[:-1], {k}), dtype=bool), {{}}"
    return [begin, *lines] if lines else []
