r"""Who carries the scale of each component: the one place where that is decided.

Multiplying column j of every factor f with :math:`e^{u_f}` changes no model where :math:`\sum u = 0` over the modes
of every term and all summands of a sum have one and the same u. Each direction of that kind is taken away by giving
the columns of one factor unit length: not those of a factor whose size costs something or is given. A penalty that
charges for the size of a factor charges for it at that length of the others, so that growing a column of unit length
costs as much as growing what carries its scale. Every solver learns of that as a ridge
(:meth:`Carriers.costs_elsewhere`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from scipy.linalg import null_space

from endmember.errors import refuse_if
from endmember.factor.columns import lengths
from endmember.factor.data.axis import Grid
from endmember.factor.penalties import Penalty, bounds_of

#: Directions shorter than this are none.
TINY = 1e-9
#: Costs count as growing with at most this power of a length where scale is shared.
POWER = 2.0


class Carriers(ABC):
    """Which columns have unit length, and who carries their scale."""

    #: Where a column has unit length, (factors, k).
    unit: np.ndarray
    #: The directions, (factors, any), in which scale is left to costs alone, for every column.
    shared: Sequence[np.ndarray] = ()

    @abstractmethod
    def balance(self, factors: list[np.ndarray], mode: int) -> None:
        """Give the columns of a factor that want it unit length and their scale to the others, in place."""

    @abstractmethod
    def costs_elsewhere(self, spent: dict[int, np.ndarray], mode: int) -> np.ndarray:
        """Return by how much all costs rise with the logarithm of the length of each column of a factor, (k,).

        ``spent`` says for the factors that are charged by how much their own costs rise with that of each of theirs.
        """

    def balanced(self, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return factors with every column as long as it will be in the fit."""
        factors = [np.array(F, dtype=np.float64) for F in factors]
        for mode in range(len(factors)):
            self.balance(factors, mode)
        return factors

    def share(
        self, factors: list[np.ndarray], spent: dict[int, np.ndarray], least: float = 0.0
    ) -> None:
        """Move scale between factors that are all charged towards where they cost least together, in place.

        Columns that cost no more than ``least`` stay: a cost that can flee altogether, such as that of the roughness
        of a flat map, would draw them to infinity.
        """
        steps = np.zeros((len(factors), len(self.shared)))
        for j, free in enumerate(self.shared):
            costs = np.array([spent[f][j] if f in spent else 0.0 for f in range(len(factors))])
            if free.size and costs.max() > least:
                bend = POWER * free.T @ (costs[:, None] * free)
                steps[:, j] = -free @ np.linalg.lstsq(bend, free.T @ costs, rcond=None)[0]
        for f, step in enumerate(steps):
            if step.any():
                factors[f] = factors[f] * np.exp(step)


class Scales(Carriers):
    """Who carries the scale of each component, so that it cannot flee from a penalty.

    A factor whose penalties charge for its size, or fix it, keeps its scale; the others then have columns of unit
    length. With no such penalty the first factor carries the scale.

    Parameters
    ----------
    penalties : sequence of sequence of Penalty
        About each factor.
    pinned : ndarray of bool, (factors, k)
        Columns whose scale is given.
    terms : sequence of sequence of sequence of int, optional
        For every term and every mode of its data the numbers of the factors in the sum; one term of all factors
        unless given.
    candidates : sequence of int, optional
        Factors in the order in which they are wanted at unit length; the last first unless given.
    row_weights : sequence of ndarray or None, optional
        Of every factor, in the length of its columns.

    Attributes
    ----------
    unit : ndarray of bool, (factors, k)
        Where a column has unit length.

    Examples
    --------
    >>> shared = Scales([[]] * 3, np.zeros((3, 1), bool), [[[0], [1]], [[0], [2]]], [1, 2, 0])
    >>> factors = [np.ones((2, 1)), np.array([[3.0], [4.0]]), np.ones((1, 1))]
    >>> [F.T for F in shared.balanced(factors)]
    [array([[5., 5.]]), array([[0.6, 0.8]]), array([[0.2]])]
    """

    def __init__(
        self,
        penalties: Sequence[Sequence[Penalty]],
        pinned: np.ndarray,
        terms: Sequence[Sequence[Sequence[int]]] | None = None,
        candidates: Sequence[int] | None = None,
        row_weights: Sequence[np.ndarray | None] | None = None,
    ) -> None:
        n, k = pinned.shape
        self.pinned, self.row_weights = pinned, row_weights or [None] * n
        carrying = np.array([any(p.carries_scale for p in own) for own in penalties], bool)
        self.charged = carrying if carrying.any() else charged_factors(penalties)
        order = range(n)[::-1] if candidates is None else candidates
        candidates = [f for f in order if not self.charged[f]]
        #: ``moves[f, :, j]``: how the logarithms of all scales change with that of column j of factor f.
        self.unit, self.moves = np.zeros((n, k), dtype=bool), np.zeros((n, n, k))
        self.shared = [np.empty(0)] * k
        conditions = _invariants([[[f] for f in range(n)]] if terms is None else terms, n)
        for pattern in np.unique(pinned, axis=1).T:
            columns = np.flatnonzero((pinned == pattern[:, None]).all(axis=0))
            fixed = np.vstack([*conditions, *np.eye(n)[pattern]])
            free = null_space(fixed)
            chosen: list[int] = []
            for f in candidates:  # each that is free to change while those before it stay
                if np.linalg.matrix_rank(free[[*chosen, f]], tol=TINY) > len(chosen):
                    chosen.append(f)
            for f, move in zip(chosen, (free @ np.linalg.pinv(free[chosen])).T, strict=True):
                self.unit[f, columns] = True
                self.moves[f][:, columns] = move[:, None]
            for j in columns:
                self.shared[j] = null_space(np.vstack([fixed, np.eye(n)[chosen]]))
        #: For every factor, those whose scales change with it.
        self.moved = [
            np.flatnonzero(np.abs(move).max(axis=1) > TINY).tolist() for move in self.moves
        ]

    def balance(self, factors: list[np.ndarray], mode: int) -> None:
        if not self.moved[mode]:
            return
        size = lengths(factors[mode], self.row_weights[mode])
        size = np.where(self.unit[mode] & (size > 0), size, 1.0)
        for other in self.moved[mode]:
            factors[other] = factors[other] * size ** -self.moves[mode, other]

    def costs_elsewhere(self, spent: dict[int, np.ndarray], mode: int) -> np.ndarray:
        costs = [-self.moves[mode, f] * cost for f, cost in spent.items()]
        return np.sum(costs, axis=0) * self.unit[mode]


def charged_factors(penalties: Sequence[Sequence[Penalty]]) -> np.ndarray:
    """Return for each factor whether it costs more when it is larger, (factors,) bool."""
    return np.array([any(p.has_scale for p in own) for own in penalties], dtype=bool)


def pinned_columns(
    penalties: Sequence[Sequence[Penalty]], sizes: Sequence[int], grids: Sequence[Grid], k: int
) -> np.ndarray:
    """Return the columns whose scale is given, by a penalty or by a bound other than zero, (factors, k) bool."""
    pinned = np.zeros((len(penalties), k), dtype=bool)
    for own, n, grid, columns in zip(penalties, sizes, grids, pinned, strict=True):
        for bound in bounds_of(own, (n, k), grid):
            if np.ndim(bound) or bound:
                columns |= np.any(np.isfinite(bound) & (np.asarray(bound) != 0), axis=0)
        for penalty in own:
            columns |= penalty.fixes_scale(k)
    return pinned


def _invariants(terms: Sequence[Sequence[Sequence[int]]], n: int) -> list[np.ndarray]:
    """Return the linear conditions under which scales change no model, each (factors,)."""
    unit, conditions = np.eye(n), []
    for term in terms:
        conditions.append(np.sum([unit[mode[0]] for mode in term], axis=0))
        conditions += [unit[f] - unit[mode[0]] for mode in term for f in mode[1:]]
    return conditions


#: Norms that have a name of their own, and their p.
_NAMED = {"l1": 1.0, "l2": 2.0, "max": np.inf}
_IN_WORDS = {"l1": "unit sum", "l2": "unit length", "max": "unit maximum", 0: "a norm that counts"}
_ALLOWED = (
    'None or (which, norm) with which "spectra" or "maps" and norm "l1", "l2", "max", the p of an '
    'l_p norm from 0 on or, for spectra alone, ("area", (start, stop))'
)


def check_normalise(normalise: Any) -> None:
    """Refuse anything that :func:`rescale` does not know.

    Raises
    ------
    ValueError
        With all that is allowed.
    """
    if normalise is None:
        return
    try:
        which, norm = normalise
        if isinstance(norm, str | Real):
            known = which in ("spectra", "maps") and _exponent(norm) >= 0
        else:
            name, (start, stop) = norm
            known = which == "spectra" and name == "area" and start < stop
    except (KeyError, TypeError, ValueError):
        known = False
    refuse_if(not known, f"normalise={normalise!r} is not known; allowed: {_ALLOWED}")


def rescale(
    C: np.ndarray,
    S: np.ndarray,
    normalise: Any,
    energy: np.ndarray,
    fixed: np.ndarray | bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Divide the columns of one factor by their norm and give it to the other; ``C Sᵀ`` stays.

    The norm is :math:`(\sum_i |f_i|^p)^{1/p}`; with p = 0 the number of entries that are not zero, which no
    scale changes: columns then have the scale of the fit over that number. The area of a spectrum over a window is
    :math:`\sum_{a \le E_j < b} s_j\,\Delta E_j`, in the unit of the energy axis. Columns that are zero, or whose
    norm is not positive or beyond what a number holds, stay as they are.

    Parameters
    ----------
    C : ndarray, (n, k)
        Maps.
    S : ndarray, (m, k)
        Spectra.
    normalise : None or tuple
        See ``em.NMF``.
    energy : ndarray, (m,)
        The energy of every channel.
    fixed : ndarray of bool, (k,), optional
        Components whose scale a constraint has fixed: they stay as they are.
    """
    if normalise is None:
        return C, S
    which, norm = normalise
    size = _size(S if which == "spectra" else C, norm, energy)
    size = np.where((size > 0) & np.isfinite(size) & ~np.asarray(fixed), size, 1.0)
    return (C * size, S / size) if which == "spectra" else (C / size, S * size)


def unit_in_words(normalise: Any) -> str:
    """Return what the numbers of spectra are after :func:`rescale`.

    Examples
    --------
    >>> unit_in_words(("spectra", "l2")), unit_in_words(("spectra", ("area", (450, 470))))
    ('unit length', 'unit area over 450:470')
    """
    if normalise is None:
        return "scale of the fit"
    which, norm = normalise
    if not isinstance(norm, str | Real):
        return f"unit area over {norm[1][0]:g}:{norm[1][1]:g}"
    words = _IN_WORDS.get(norm, f"unit norm of p = {norm}")
    return words if which == "spectra" else f"for maps of {words}"


def gradient_of_norm(S: np.ndarray, normalise: Any, energy: np.ndarray) -> np.ndarray:
    """Return along which direction the norm holds every spectrum: its gradient, up to a factor, (m, k).

    What speaks of maps, or counts entries, holds no spectrum: the direction is then that of unit length.
    """
    which, norm = normalise or ("spectra", "l2")
    if not isinstance(norm, str | Real):
        return np.repeat(_widths(energy, norm[1])[:, None], S.shape[1], axis=1)
    p = (_exponent(norm) if which == "spectra" else 0.0) or 2.0
    relative = np.abs(S) / np.abs(S).max(axis=0)
    return (
        np.sign(S) * (relative == 1)
        if np.isinf(p)
        else np.sign(S) * np.where(relative > 0, relative, np.inf if p < 1 else 0.0) ** (p - 1)
    )


def area(S: np.ndarray, energy: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """Return the area of every spectrum (m, k) over an energy window ``(start, stop)``, or over all of it; (k,).

    Raises
    ------
    ValueError
        If the window is no pair of numbers, or no channel lies in it.
    """
    return np.nansum(S * _widths(energy, window)[:, None], axis=0)


def _exponent(norm: Any) -> float:
    """Return the p of a norm, from its name or its number."""
    return float(norm) if isinstance(norm, Real) and not isinstance(norm, bool) else _NAMED[norm]


def _size(F: np.ndarray, norm: Any, energy: np.ndarray) -> np.ndarray:
    """Return the norm of every column of ``F`` (m, k), (k,)."""
    if not isinstance(norm, str | Real):
        return area(F, energy, norm[1])
    p, largest = _exponent(norm), np.abs(F).max(axis=0, initial=0.0)
    within = np.linalg.norm(F / np.where(largest > 0, largest, 1.0), p, axis=0)
    return within * largest if p else within


def _widths(energy: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """Return how much energy every channel of a window stands for, 0 outside; (m,)."""
    width = np.abs(np.gradient(energy)) if len(energy) > 1 else np.ones(1)
    if window is None:
        return width
    refuse_if(
        np.shape(window) != (2,) or np.asarray(window).dtype.kind not in "iuf",
        f"window={window!r} is no window; window must be (start, stop)",
    )
    inside = (energy >= window[0]) & (energy < window[1])
    refuse_if(
        not inside.any(),
        f"no channel lies in the window {window}; the axis runs from {energy.min():g} to "
        f"{energy.max():g}",
    )
    return width * inside
