"""Data whose energy axis drifts, seen on the axis without drift.

Row ``i`` of the data ``X`` (n, m) was recorded ``δ_i`` channels too high, so that its channel ``j`` lies at
``j + δ_i`` and is read there by interpolation: ``Y = (A_g x_i)`` with one sparse matrix ``A_g`` for all rows
of the same shift. Products with factors move the factor, not the data: ``Y Z = X_g (A_gᵀ Z)``. An axis that is
also stretched lies at ``j + Σ_a δ_ia q_ja``: ``q`` (m, a) are the courses of :func:`courses`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from endmember.factor.columns import placed
from endmember.factor.data import (
    BlockData,
    Data,
    Dense,
    DenseEntries,
    Entries,
    Rows,
    Sparse,
    SparseEntries,
    Weighted,
)

#: Shifts are rounded to this fraction of a channel, so that pixels of the same shift go together.
STEPS = 16


class Shifted(BlockData):
    r"""Data :math:`y_{ij} = x_i(j + \sum_a \delta_{ia} q_{ja})`, read by cubic interpolation, without a copy.

    Whole shifts only move entries. What divergences need entry by entry is read by straight lines instead,
    which keep counts non-negative.

    Parameters
    ----------
    X : Data, (n, m)
        As recorded.
    shifts : ndarray, (n,) or (n, q)
        In channels, positive = the spectrum was moved to higher energy; rounded to 1/16. One for each course.
    channels : ndarray of int, (m,), optional
        Where on the detector the columns of ``X`` lie; one after the other unless given.
    margin : float
        Keep only channels that can be read at all shifts up to this size, besides those given.
    along : ndarray, (m, q), optional
        How far each channel goes with a shift of one: the :func:`courses`. All go alike unless given.

    Attributes
    ----------
    columns : ndarray of int
        Which of the columns of ``X`` are left: those that can be read in every row.
    shifts : ndarray, (n,) or (n, q)
        The rounded shifts.

    Examples
    --------
    >>> X = Dense(np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]))
    >>> Shifted(X, np.array([0, 1])).rows(np.arange(2))
    array([[0., 1., 0.],
           [0., 1., 0.]])
    """

    creeps = True

    def __init__(
        self,
        X: Data,
        shifts: np.ndarray,
        channels: np.ndarray | None = None,
        margin: float = 0.0,
        along: np.ndarray | None = None,
    ) -> None:
        self.X = X
        channels = np.arange(X.shape[1]) if channels is None else channels
        self.shifts, self._group, moves = grouped(shifts, along, len(channels))
        ends = np.full((2, len(channels)), [[-margin], [margin]])
        lines = readers(channels, channels + np.vstack([moves, ends]), 2)
        seen = np.all([np.diff(A.indptr) > 0 for A in lines], axis=0)  # at all moves
        self.columns = np.flatnonzero(seen)
        self._channels, self._places = channels, (channels + moves)[:, seen]
        self._readers = readers(channels, self._places, 4)
        self.shape, self.dtype = (X.shape[0], len(self.columns)), X.dtype

    def dot(self, Z: np.ndarray) -> np.ndarray:
        product = np.empty((self.shape[0], Z.shape[1]))
        moved = [A.T @ Z for A in self._readers]
        for rows, group, piece in self._pieces():
            product[rows] = piece @ moved[group]
        return product

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        product = np.zeros((self.shape[1], F.shape[1]))
        for rows, group, piece in self._pieces():
            product += self._readers[group] @ (piece.T @ F[rows])
        return product

    def blocks(self) -> Iterator[tuple[Rows, np.ndarray]]:
        for rows, block in self.X.blocks():
            yield rows, self._read(block, self._group[rows])

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self._read(self.X.rows(index), self._group[index])

    def entries(self, dense: bool = False) -> Entries:
        """Return the entries read by straight lines: whole counts where shifts are whole, never negative."""
        lines = readers(self._channels, self._places, 2)
        pieces = [(rows, piece @ lines[group].T) for rows, group, piece in self._pieces()]
        order = np.argsort(np.concatenate([rows for rows, _ in pieces]))
        if isinstance(self.X, Sparse):
            stacked = sparse.csr_array(sparse.vstack([piece for _, piece in pieces], format="csr"))
            stacked = sparse.csr_array(stacked[order])
            return DenseEntries(stacked.toarray()) if dense else SparseEntries(stacked)
        return DenseEntries(np.concatenate([piece for _, piece in pieces])[order])

    @property
    def noise_kept(self) -> float:
        """The share of the variance of white noise that reading between channels leaves."""
        kept = [A.multiply(A).sum() / max(A.shape[0], 1) for A in self._readers]
        return float(np.mean(np.array(kept)[self._group]))

    def _pieces(self) -> Iterator[tuple[np.ndarray, int, Any]]:
        """Yield ``(rows, group, X[rows])`` for rows of the same shift, dense or in compressed sparse rows."""
        if isinstance(self.X, Sparse):
            for group, rows in runs(self._group):
                yield rows, group, self.X.X[rows]
            return
        for where, block in self.X.blocks():
            index = np.arange(self.shape[0])[where]
            for group, own in runs(self._group[where]):
                yield index[own], group, block[own]

    def _read(self, block: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Return rows as recorded on the axis without drift."""
        found = np.empty((len(block), self.shape[1]))
        for group, own in runs(groups):
            found[own] = block[own] @ self._readers[group].T
        return found


def runs(groups: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield every group there is and where its members are.

    Examples
    --------
    >>> [(group, where.tolist()) for group, where in runs(np.array([3, 0, 3]))]
    [(0, [1]), (3, [0, 2])]
    """
    order = np.argsort(groups, kind="stable")
    for where in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if len(where):
            yield int(groups[where[0]]), where


def shifted_weights(
    X: Data,
    shifts: np.ndarray,
    channels: np.ndarray | None = None,
    along: np.ndarray | None = None,
) -> Weighted:
    r"""Return data with a weight for every entry on the axis without drift, read by straight lines.

    :math:`w' = A w` and :math:`y = A(w \circ x) / w'`; what lies beyond the ends of the axis is missing.

    Parameters
    ----------
    X : Data, (n, m)
        With a weight for every entry.
    shifts : ndarray, (n,) or (n, q)
    channels : ndarray of int, (m,), optional
    along : ndarray, (m, q), optional
        As in :class:`Shifted`.
    """
    assert X.W is not None
    channels = np.arange(X.shape[1]) if channels is None else channels
    _, group, moves = grouped(shifts, along, len(channels))
    known, values, weights = X.W * X.rows(np.arange(len(X.W))), np.zeros(X.shape), np.zeros(X.shape)
    lines = readers(channels, channels + moves, 2)
    for place, own in runs(group):
        A = lines[place]
        weights[own] = X.W[own] @ A.T
        values[own] = known[own] @ A.T
    values = np.divide(values, weights, out=np.zeros_like(values), where=weights > 0)
    moved = Weighted(Dense(values), weights)
    moved.dtype = X.dtype
    return moved


def courses(channels: np.ndarray, n_channels: int, stretch: bool) -> np.ndarray:
    """Return how far each channel goes with a shift of one, and with a stretch that moves the ends by one.

    Parameters
    ----------
    channels : ndarray of int, (m,)
        Of the detector's ``n_channels``.
    n_channels : int
    stretch : bool
        Whether the axis may be stretched, about its middle, besides being shifted.

    Returns
    -------
    ndarray, (m, 1) or (m, 2)

    Examples
    --------
    >>> courses(np.arange(5), 5, stretch=True).T
    array([[ 1. ,  1. ,  1. ,  1. ,  1. ],
           [-1. , -0.5,  0. ,  0.5,  1. ]])
    """
    shift = np.ones(len(channels))
    if not stretch:
        return shift[:, None]
    middle = half_width(n_channels)
    return np.column_stack([shift, (channels - middle) / middle])


def half_width(n_channels: int) -> float:
    """Return how many channels lie between the middle of an axis and its ends."""
    return (n_channels - 1) / 2


def grouped(
    shifts: np.ndarray, along: np.ndarray | None, m: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return shifts rounded to 1/16, the group of equal ones each belongs to, and how far those move ``m`` channels.

    Returns
    -------
    ndarray
        As ``shifts``, (n,) or (n, q).
    ndarray of int, (n,)
    ndarray, (groups, m)
    """
    along = np.ones((m, 1)) if along is None else along
    steps = np.rint(np.asarray(shifts) * STEPS).astype(int)
    known, group = np.unique(steps.reshape(-1, along.shape[1]), axis=0, return_inverse=True)
    return steps / STEPS, group.ravel(), known @ along.T / STEPS


def readers(channels: np.ndarray, places: np.ndarray, points: int) -> list[sparse.csr_array]:
    """Return the matrix of :func:`reader` for each row of ``places`` (groups, q)."""
    groups, q = places.shape
    whole = reader(channels, places.ravel(), points)
    return [whole[group * q : (group + 1) * q] for group in range(groups)]


def reader(channels: np.ndarray, places: np.ndarray, points: int) -> sparse.csr_array:
    r"""Return the matrix ``A`` that reads a spectrum at places between its channels.

    Lagrange's polynomial through the two or four channels around each place; through two where one of
    the four is missing, and nothing where one of the two is.

    Parameters
    ----------
    channels : ndarray of int, (m,)
        Rising.
    places : ndarray, (q,)
    points : 2 or 4

    Returns
    -------
    csr_array, (q, m)

    Examples
    --------
    >>> reader(np.arange(4), np.array([1.5, 2.0]), 4).toarray()
    array([[-0.0625,  0.5625,  0.5625, -0.0625],
           [ 0.    ,  0.    ,  1.    ,  0.    ]])
    """
    span = channels[-1] - channels[0] + 1
    column = placed(np.arange(len(channels)), channels - channels[0], span, -1, int)
    places = places - channels[0]
    below = np.floor(places).astype(int)
    f = places - below
    lines = {0: 1 - f, 1: f}
    cubic = {
        -1: -f * (f - 1) * (f - 2) / 6,
        0: (f + 1) * (f - 1) * (f - 2) / 2,
        1: -(f + 1) * f * (f - 2) / 2,
        2: (f + 1) * f * (f - 1) / 6,
    }

    def there(step: int) -> np.ndarray:
        place = below + step
        inside = (place >= 0) & (place < len(column))
        return np.where(inside, column[np.clip(place, 0, len(column) - 1)], -1)

    between = f > 0
    simple = (there(0) >= 0) & ((there(1) >= 0) | ~between)
    full = simple & between & (there(-1) >= 0) & (there(2) >= 0) & (points == 4)
    taps = [
        (step, weight, np.flatnonzero(which & (weight != 0)))
        for which, weights in ((full, cubic), (simple & ~full, lines))
        for step, weight in weights.items()
    ]
    values = np.concatenate([weight[use] for _, weight, use in taps])
    columns = np.concatenate([there(step)[use] for step, _, use in taps])
    rows = np.concatenate([use for *_, use in taps])
    return sparse.csr_array((values, (rows, columns)), shape=(len(places), len(channels)))
