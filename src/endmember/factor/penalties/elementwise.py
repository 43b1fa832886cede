"""Penalties on single entries of a factor."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from endmember.errors import Argument, EndmemberError, Words, refuse_if
from endmember.factor.data import Axis, Grid, is_signal, on_axis, open_spectrum, state_of
from endmember.factor.penalties.base import Penalty, worded
from endmember.factor.subproblems import Bound, Setting, Subproblem


class NonNegative(Penalty):
    """No entry below zero. On for every factor unless :class:`Free` is given.

    Examples
    --------
    >>> NonNegative().bounds((3, 2))
    (0.0, inf)
    """

    in_words = "non-negative"

    def bounds(self, shape: tuple[int, int], grid: Grid | None = None) -> tuple[Bound, Bound]:
        return 0.0, np.inf


class Free(Penalty):
    """Entries of any sign: switches off the non-negativity that every factor has by default.

    Examples
    --------
    >>> Free().bounds((3, 2))
    (-inf, inf)
    """

    in_words = "of any sign"

    def bounds(self, shape: tuple[int, int], grid: Grid | None = None) -> tuple[Bound, Bound]:
        return -np.inf, np.inf


class Ridge(Penalty):
    r"""Small entries: :math:`\tfrac{w}{2}\tau\|F\|^2`, with :math:`\tau` the curvature of the misfit.

    Parameters
    ----------
    weight : float
        1 shrinks a component that overlaps with no other to half.

    References
    ----------
    A. E. Hoerl and R. W. Kennard, Technometrics 12 (1970) 55; the unit of the weight is ours.

    Examples
    --------
    >>> from endmember.factor.subproblems import Quadratic
    >>> sub = Quadratic(np.eye(1), np.array([[3.0]]))
    >>> Ridge(2.0).add(sub, np.zeros((1, 1)))
    >>> sub.G
    array([[3.]])
    """

    has_scale = True
    in_words = "small (ridge, w = {weight})"

    def __init__(self, weight: float = 0.1) -> None:
        self.weight = weight

    def add(self, subproblem: Subproblem, F: np.ndarray) -> None:
        subproblem.add_quadratic(self.weight * curvature_of(subproblem, F))

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        return 0.5 * self.weight * (setting.curvature if setting else 1.0) * float(np.vdot(F, F))


class Sparse(Penalty):
    r"""Few entries above zero: :math:`w\,\alpha\sum F`, with :math:`\alpha` the largest slope of the misfit.

    Parameters
    ----------
    weight : float
        The threshold as a fraction of the largest entry; 1 empties the factor.

    References
    ----------
    R. Tibshirani, J. R. Stat. Soc. B 58 (1996) 267; the unit of the weight is ours.

    Examples
    --------
    >>> from endmember.factor.subproblems import Quadratic
    >>> sub = Quadratic(np.eye(1), np.array([[4.0], [1.0]]))
    >>> Sparse(0.5).add(sub, np.zeros((2, 1)))
    >>> sub.H
    array([[ 2.],
           [-1.]])
    """

    has_scale = True
    in_words = "sparse (w = {weight})"

    def __init__(self, weight: float = 0.01) -> None:
        self.weight = weight

    def add(self, subproblem: Subproblem, F: np.ndarray) -> None:
        peak = subproblem.setting.peak if subproblem.setting else subproblem.peak(F)
        subproblem.add_linear(self.weight * peak)

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        return self.weight * (setting.peak if setting else 1.0) * float(np.sum(F))


class Absent(Penalty):
    r"""Components that are missing in places: entries at zero, known beforehand or decided by a test.

    Called selectivity or local rank in multivariate curve resolution; it removes most of the
    ambiguity of an unmixing. With ``"auto"`` the data decide: amounts are solved without a bound, each with its
    standard error, and a component is present where those of the neighbours are significant together, or its own by
    itself. Zeros are then no clipped noise, which would bias the spectra. They are taken back where the amounts
    called zero scatter more than noise does: small amounts are not zero.

    Parameters
    ----------
    mask : "auto", array of bool or HyperSpy signal, (*domain, k) for maps or (k, channels) for spectra
        True = must be zero; over the whole image or axis, whatever takes part in the fit. For maps
        along a single axis of as many pixels as components, the components come first.
    threshold : float
        With "auto": standard errors from which neighbours count as significant; an amount by itself needs 1.5 more,
        and no more than this in a mere list of pixels.
    mixed : bool
        With "auto", for maps: whether pixels may mix all components. Mixed pixels and like spectra are the same data,
        and zeros stand for the end where spectra are most alike; from there spectra are moved apart, and maps
        together, until a spectrum would be further below zero than noise takes it. The fit stays the same.

    Raises
    ------
    ValueError
        If the mask has another shape, or leaves a component no entry.

    References
    ----------
    Tauler, Smilde & Kowalski, J. Chemom. 9 (1995) 31.

    Examples
    --------
    >>> lower, upper = Absent([[True, False, False], [False, False, True]]).bounds((3, 2))
    >>> upper
    array([[ 0., inf],
           [inf, inf],
           [inf,  0.]])
    """

    references = ("R. Tauler, A. Smilde and B. Kowalski, J. Chemom. 9 (1995) 31.",)

    def __init__(self, mask: Any, threshold: float = 2.5, mixed: bool = False) -> None:
        self.mask, self.threshold, self.mixed = mask, threshold, mixed

    @property
    def in_words(self) -> str:  # type: ignore[override]
        if not self.tested:
            return "absent in given places"
        apart = ", then mixed as far as spectra stay non-negative" if self.mixed else ""
        return f"absent where a test does not find it (at {{threshold:g}} standard errors){apart}"

    @property
    def tested(self) -> bool:  # type: ignore[override]
        """Whether the data decide."""
        return isinstance(self.mask, str)

    def bounds(self, shape: tuple[int, int], grid: Grid | None = None) -> tuple[Bound, Bound]:
        if self.tested:
            return -np.inf, np.inf
        absent = _as_rows(as_array(self.mask).astype(bool), shape, grid, "em.Absent(mask)")
        return np.where(absent, 0.0, -np.inf), np.where(absent, 0.0, np.inf)

    def conflict(
        self, own: Sequence[Penalty], others: Sequence[Sequence[Penalty]], k: int
    ) -> str | None:
        if not self.tested:
            return 'mixed=True goes with em.Absent("auto") alone' if self.mixed else None
        if self.mask != "auto":
            return f'{self.mask!r} is no mask; give "auto" or an array of bool, where True = must be zero'
        if not isinstance(self.threshold, Real) or not 0 < float(self.threshold) < np.inf:
            return f"threshold={self.threshold!r} must be a number of standard errors above zero, such as 2.5"
        return None

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        refuse_if(
            self.mixed and setting.grid.axis is not None,
            "em.Absent(mixed=True) is of maps; leave it out for spectra",
        )
        if self.tested:
            return
        refuse_if(
            as_array(self.mask).dtype != bool,
            "em.Absent(mask) needs a mask of bool, where True = must be zero",
        )
        axis = setting.grid.axis
        if axis is not None and is_signal(self.mask):
            axis.check(Axis.of(self.mask), "em.Absent(mask) lies", "give a mask of these data")
        absent = _as_rows(as_array(self.mask), shape, setting.grid, "em.Absent(mask)")
        refuse_if(
            absent.all(axis=0).any(),
            f"em.Absent(mask) leaves component {int(np.argmax(absent.all(axis=0)))} no place at "
            "all; give fewer components, or False where it may be",
        )


class Known(Penalty):
    """Given columns: spectra (or maps) that are known and stay exactly as they are.

    The scale of a given spectrum is kept, so its map comes in that unit. NaN leaves an entry free,
    for spectra known over a part of their axis.

    Parameters
    ----------
    columns : dict of int to array, HyperSpy signal or path
        For each known component, counted from 0, its spectrum ``(channels,)`` or map ``domain``
        over the whole axis or image.

    Raises
    ------
    ValueError
        If a component or a shape does not fit, or nothing of a column is above or below zero.

    Examples
    --------
    >>> lower, upper = Known({1: [0.5, 2.0]}).bounds((2, 2))
    >>> lower
    array([[-inf,  0.5],
           [-inf,  2. ]])
    """

    in_words = "known in part"

    def __init__(self, columns: Mapping[int, Any]) -> None:
        self.columns = columns

    def fixes_scale(self, k: int) -> np.ndarray:
        return np.isin(np.arange(k), [int(j) for j in self.columns])

    def bounds(self, shape: tuple[int, int], grid: Grid | None = None) -> tuple[Bound, Bound]:
        lower, upper = np.full(shape, -np.inf), np.full(shape, np.inf)
        for j, column in self.columns.items():
            values = self._column(column, shape, grid)
            given = ~np.isnan(values)
            lower[given, int(j)] = upper[given, int(j)] = values[given]
        return lower, upper

    def conflict(
        self, own: Sequence[Penalty], others: Sequence[Sequence[Penalty]], k: int
    ) -> str | Words | None:
        wrong = [j for j in self.columns if not 0 <= int(j) < k]
        if not wrong:
            return None
        from_one = (
            f"component {int(wrong[0]) + 1}, but the {k} components are counted from 1 to {k}"
        )
        from_zero = f"component {wrong[0]}, but the {k} components are counted from 0 to {k - 1}"
        return "it names ", Argument(from_one, says=from_zero)

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        if reason := self.conflict([], [], shape[1]):
            raise EndmemberError(f"{self!r}: ", *reason)
        for j, column in self.columns.items():
            values = self._column(column, shape, setting.grid)
            refuse_if(
                np.isinf(values).any() or not np.any(np.nan_to_num(values)),
                worded(self),
                f" gives component {j} no finite value other than zero where data take part; leave it out",
                Argument("", says=", or use em.Absent for zeros"),
            )

    @staticmethod
    def _column(column: Any, shape: tuple[int, int], grid: Grid | None) -> np.ndarray:
        file = Path(column).absolute() if isinstance(column, str | Path) else None
        column = column if file is None else _of_file(str(file), state_of([file]))
        values = as_array(column).astype(np.float64).ravel()
        if grid is not None and grid.axis is not None and is_signal(column):
            values = on_axis("the known spectrum", values, Axis.of(column), grid.axis)
        n_places = places_of(shape, grid)
        refuse_if(
            len(values) != n_places,
            f"em.Known got a column of {len(values)} values for {n_places} channels or pixels; give "
            "it over the whole axis or image, or interpolate it to the energies of the data",
        )
        return values if grid is None else values[grid.index]


class ZeroOutside(Penalty):
    """Zero outside channels ``start:stop``, e.g. before an ionisation edge.

    Parameters
    ----------
    start, stop : int or None
        Channels counted from 0 over the whole axis, as in a slice: ``stop`` itself is outside.

    Raises
    ------
    ValueError
        If no channel that takes part is inside, or the factor lies in an image.

    Examples
    --------
    >>> ZeroOutside(1, 3).bounds((4, 1))[1].T
    array([[ 0., inf, inf,  0.]])
    """

    in_words = "zero outside channels {start}:{stop}"

    def __init__(self, start: int | None, stop: int | None = None) -> None:
        self.start, self.stop = start, stop

    def bounds(self, shape: tuple[int, int], grid: Grid | None = None) -> tuple[Bound, Bound]:
        inside = np.zeros(places_of(shape, grid), dtype=bool)
        inside[self.start : self.stop] = True
        inside = inside if grid is None else inside[grid.index]
        column = inside[:, None]
        return np.where(column, -np.inf, np.zeros(shape)), np.where(column, np.inf, np.zeros(shape))

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        check_line(self, setting)
        refuse_if(
            not np.any(self.bounds(shape, setting.grid)[1]),
            f"{self!r} leaves none of the {places_of(shape, setting.grid)} channels; give start and stop "
            "as channels, not as energies",
        )


@lru_cache
def _of_file(path: str, state: str) -> Any:
    """Return the spectrum of a file, read once while its size and time stay."""
    return open_spectrum(Path(path))


def as_array(values: Any) -> np.ndarray:
    """Return an array of what was given: an array, a list, or a signal with its axes."""
    return np.asarray(values.data if hasattr(values, "axes_manager") else values)


def places_of(shape: tuple[int, int], grid: Grid | None) -> int:
    """Return how many pixels or channels there are, left out or not."""
    return shape[0] if grid is None else int(np.prod(grid.shape))


def check_line(penalty: Penalty, setting: Setting) -> None:
    """Refuse a penalty on rows that follow no line.

    Raises
    ------
    ValueError
        If the rows are the pixels of an image or a mere list of pixels.
    """
    refuse_if(
        setting.grid.n_axes != 1 or not setting.grid.known,
        f"{type(penalty).__name__} needs rows along one axis, such as channels or a line scan, "
        "and these are the pixels of an image; give it for the spectra instead",
    )


def _as_rows(mask: np.ndarray, shape: tuple[int, int], grid: Grid | None, name: str) -> np.ndarray:
    """Return a mask over the whole image or axis as the rows (n, k) of the factor."""
    n, k = places_of(shape, grid), shape[1]
    domain = (n,) if grid is None else grid.shape
    if mask.shape == (k, n) and len(domain) == 1:
        rows = mask.T
    elif mask.shape == (*domain, k):
        rows = mask.reshape(n, k)
    else:
        raise EndmemberError(
            f"{name} has shape {mask.shape}; allowed: {(*domain, k)} for maps"
            + (f" or {(k, n)} for spectra" if len(domain) == 1 else "")
        )
    return rows if grid is None else rows[grid.index]


def curvature_of(subproblem: Subproblem, F: np.ndarray) -> float:
    """Return the curvature that a weight of 1 stands for."""
    return subproblem.setting.curvature if subproblem.setting else subproblem.curvature(F)
