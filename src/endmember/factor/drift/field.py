"""The energy shift of every pixel, from data, their factors and what a small shift would change.

With ``Y ≈ C Sᵀ`` read on the axis without drift, a pixel that is really ``e`` channels further up leaves the
residual ``−e S′ c``, and one whose axis is stretched as well ``−Σ_a e_a (q_a ∘ S′) c``, with the courses ``q`` of
:func:`~endmember.factor.drift.shifted.courses`. The factors are estimated along with the shifts, so only the part of it
counts that they cannot follow: ``(I − P_C)`` times it times ``(I − P_S)``. What remains is a linear problem for the
whole field, of which each pixel has its own information and all share a few directions.
"""

import math
from dataclasses import dataclass

import numpy as np

from endmember.factor.columns import placed
from endmember.factor.data import Data, Dense, count_scaled
from endmember.factor.drift.shifted import Shifted
from endmember.factor.drift.smoothing import Lengths, SmoothField, right_side
from endmember.factor.sketch.low_rank import sketch


def weigh(data: Data, counts: bool) -> tuple[Data, np.ndarray, np.ndarray]:
    """Return data with nearly white noise, and the scales (n, 1) of pixels and (m, 1) of channels that make them so."""
    weighted = count_scaled(data) if counts else data
    return weighted.scaled, *weighted.scales


def subspace(data: Data, k: int, S: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return factors (n, k) and (m, k) of the best approximation of rank ``k``, improved from ``S`` if given."""
    if S is None:
        low = sketch(data, k, 0)
        return low.Z, low.V
    S = np.linalg.qr(data.transposed_dot(data.dot(S) @ np.linalg.pinv(S.T @ S)))[0]
    return data.dot(S), S


def examine(
    data: Shifted,
    counts: bool,
    C: np.ndarray,
    S: np.ndarray,
    channels: np.ndarray,
    along: np.ndarray,
    known: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return what the data say of further shifts ``e``: ``A e = g`` with ``A = diag(a) − U Uᵀ``; and the misfit.

    Parameters
    ----------
    data : Shifted, (n, m)
        Read on the axis without drift.
    counts : bool
        Whether their variance goes with their mean; else it is taken for constant.
    C, S : ndarray, (n, k), (m, k)
        Their factors.
    channels : ndarray, (m,)
        Where on the axis the channels lie.
    along : ndarray, (m, q)
        How far each channel goes with a shift of one.
    known : bool
        Whether ``S`` is known rather than estimated from these data.

    Returns
    -------
    a : ndarray, (n, q, q)
        Information of every pixel, in units of the noise.
    U : ndarray, (n, q, p)
        What of it the factors use up.
    g : ndarray, (n, q)
    misfit : float
        Mean square of what the factors leave, in scaled data.
    """
    Y, r, c = weigh(data, counts)
    scaled = r * C
    slope = np.gradient(S, channels, axis=0) * c
    S = S * c
    (n, k), q = C.shape, along.shape[1]
    moved = np.column_stack([course[:, None] * slope for course in along.T])
    B = moved - S @ np.linalg.lstsq(S, moved, rcond=None)[0]
    V, misfit = _projected(Y, scaled, S, B)
    M = B.T @ B
    if known:
        U = np.zeros((n, q, 1))
    else:
        Q = np.linalg.qr(scaled)[0]
        V = V - Q @ (Q.T @ V)
        values, vectors = np.linalg.eigh(M)
        roots = (vectors * np.sqrt(np.maximum(values, 0.0))).reshape(q, k, -1)
        E = np.einsum("ik,qkp->iqp", scaled, roots)
        U = (Q[:, None, :, None] * E[:, :, None, :]).reshape(n, q, -1)
    a = np.einsum("ik,qkrl,il->iqr", scaled, M.reshape(q, k, q, k), scaled, optimize=True)
    variance = misfit / data.noise_kept
    if counts:
        variance *= _excess(scaled, S, B, c, r, a)
    variance = max(variance, 1e-12 * float(Y.squared_norm) / (Y.shape[0] * Y.shape[1]))
    g = -np.einsum("ik,iqk->iq", scaled, V.reshape(n, q, k))
    return a / variance, U / np.sqrt(variance), g / variance, misfit


def _projected(Y: Data, C: np.ndarray, S: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the residual times ``B``, (n, k), and its mean square."""
    V, squares = np.empty((Y.shape[0], B.shape[1])), 0.0
    for rows, residual in Y.residual_blocks(C, S):
        V[rows] = residual @ B
        squares += float(np.vdot(residual, residual))
    return V, squares / (Y.shape[0] * Y.shape[1])


def _excess(
    C: np.ndarray, S: np.ndarray, B: np.ndarray, c: np.ndarray, r: np.ndarray, a: np.ndarray
) -> float:
    r"""Return how many times larger than on average the noise of counts is where spectra have slopes.

    In scaled data an entry has the variance :math:`r_i c_j v_{ij}` with the scaled model :math:`v`: more than
    average in a line that only this pixel's phase has.
    """
    mean = float(np.mean(r[:, 0] * (C @ (S.T @ c[:, 0])))) / len(c)
    k, own = C.shape[1], 0.0
    for course in range(B.shape[1] // k):
        slope = B[:, course * k : (course + 1) * k]
        cube = np.einsum("jk,jl,jp,j->klp", S, slope, slope, c[:, 0], optimize=True)
        own += float(np.einsum("ik,il,ip,klp->i", C, C, C, cube, optimize=True) @ r[:, 0])
    total = float(np.einsum("iqq->", a))
    return max(own / (mean * total), 1.0) if mean > 0 and total > 0 else 1.0


@dataclass
class Search:
    """Where and how the shifts of a spectrum image are looked for.

    Attributes
    ----------
    data : Data, (n, m)
        As recorded.
    channels : ndarray of int, (m,)
        Where on the detector the columns lie.
    domain : tuple of int
    rows : ndarray of int, (n,)
        The pixels of the domain that take part.
    counts : bool
        Whether the variance goes with the mean; else it is taken for constant.
    length : float, optional
        Over which the field is averaged, in pixels; chosen by the data unless given.
    reach : float
        Largest shift, of any channel.
    along : ndarray, (m, q)
        How far each channel goes with a shift of one.
    """

    data: Data
    channels: np.ndarray
    domain: tuple[int, ...]
    rows: np.ndarray
    counts: bool
    length: float | None
    reach: float
    along: np.ndarray

    def __post_init__(self) -> None:
        self._smooth = SmoothField(self.domain)
        #: Mean square of what the factors of the last improvement left.
        self.misfit = np.inf

    def read(self, shifts: np.ndarray) -> Shifted:
        """Return the data read at shifts (n, q) of the pixels, in channels that all shifts within reach leave."""
        return Shifted(self.data, shifts, self.channels, margin=self.reach, along=self.along)

    def improve(
        self, data: Shifted, C: np.ndarray, S: np.ndarray, known: bool = False
    ) -> tuple[np.ndarray, Lengths]:
        """Return the field (pixels, q) that the data ask for, and its lengths.

        Parameters
        ----------
        data : Shifted, (n, m)
            What :meth:`read` gives.
        C, S : ndarray, (n, k), (m, k)
            Factors of them; ``S`` on all channels as recorded.
        known : bool
            Whether ``S`` is known rather than estimated; if not, the mean of the field is zero.
        """
        there, n = data.columns, math.prod(self.domain)
        *found, self.misfit = examine(
            data, self.counts, C, S[there], self.channels[there], self.along[there], known
        )
        a, U, g, applied = (placed(one, self.rows, n) for one in (*found, data.shifts))
        if self.length is None:
            field, lengths = self._smooth.best(a, U, g, applied)
        else:
            lengths = ((self.length,) * len(self.domain),) * applied.shape[1]
            field = self._smooth.solve(a, U, right_side(a, U, g, applied), lengths, judge=False)[0]
        if not known:
            field = field - field[self.rows].mean(axis=0)
        # At no channel does a shift exceed the reach.
        largest = np.abs(field).sum(axis=1, keepdims=True)
        return field * np.minimum(1.0, self.reach / np.maximum(largest, self.reach)), lengths

    def find(
        self, k: int, rounds: int, tolerance: float, S: np.ndarray | None = None
    ) -> tuple[np.ndarray, Lengths]:
        """Return the field and its lengths, improved again and again with the factors of the data read at it.

        Parameters
        ----------
        k : int
        rounds, tolerance : int, float
            Stop after so many rounds, or when shifts move by less, root mean square.
        S : ndarray, (m, k), optional
            Known spectra; the best approximation of rank ``k`` unless given.
        """
        field = np.zeros((int(np.prod(self.domain)), self.along.shape[1]))
        lengths: Lengths = ()
        known = S is not None
        for _ in range(rounds):
            before = field[self.rows]
            data = self.read(before)
            C, S = self._factors(data, k, S, known)
            field, lengths = self.improve(data, C, S, known)
            if np.sqrt(np.mean((field[self.rows] - before) ** 2)) < tolerance:
                break
        return field, lengths

    def _factors(
        self, data: Shifted, k: int, S: np.ndarray | None, known: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return maps and spectra of the data, the latter those that are known or better than those given."""
        scaled, r, c = weigh(data, self.counts)
        basis = None if S is None else S[data.columns] * c
        if known and S is not None and basis is not None:
            return scaled.dot(basis) @ np.linalg.pinv(basis.T @ basis) / r, S
        scores, basis = subspace(scaled, k, basis)
        # Around gaps, other shifts leave other channels.
        return scores / r, placed(basis / c, data.columns, self.data.shape[1])


def filled(data: Data, k: int, rounds: int = 20) -> Data:
    """Return weighted data as plain ones, with a low-rank model where they are missing or weigh little.

    Parameters
    ----------
    data : Data, (n, m)
        Returned as they are unless single entries have weights.
    k : int
        Rank of the model.
    rounds : int
        Of fitting the model to what the last one has filled in.
    """
    if data.W is None:
        return data
    shares = data.W / data.W.max()
    known = data.rows(np.arange(data.shape[0])) * shares
    total = shares.sum()
    model = np.full(data.shape, known.sum() / total if total > 0 else 0.0)
    for _ in range(rounds):
        low = sketch(Dense(known + (1 - shares) * model), k, 0)
        model = low.Z @ low.V.T
    return Dense(known + (1 - shares) * model)
