"""A field over the pixels that is as smooth as the data say: measured values, their weights, one penalty an axis."""

from collections.abc import Sequence
from functools import cache, reduce

import numpy as np
from scipy import sparse
from scipy.linalg import eigvals_banded
from scipy.sparse.linalg import splu

#: Lengths in pixels over which a field may be averaged; the data choose among them.
LENGTHS = tuple(2.0 ** (step / 2) for step in range(-6, 15))
#: An axis tells lengths up to so many times its own.
LONGEST = 2
#: Pixels that tell the lengths; of larger images, a window in the middle is asked, then all pixels in bins.
ASKED = 2**11
#: Bins along an axis are at most this part of the length along it.
BIN = 0.5

#: One length for each axis of the image, for one field after the other.
Lengths = tuple[tuple[float, ...], ...]


def differences(size: int) -> sparse.csr_array:
    """Return the second differences along an axis, (size − 2, size); of two pixels the first, of one none.

    Examples
    --------
    >>> differences(4).toarray()
    array([[ 1., -2.,  1.,  0.],
           [ 0.,  1., -2.,  1.]])
    """
    D = sparse.eye_array(size, format="csr")
    for _ in range(min(2, size - 1)):
        D = D[1:] - D[:-1]
    return sparse.csr_array((0, size)) if size == 1 else D


def curvature_penalties(domain: Sequence[int]) -> list[sparse.csc_array]:
    r"""Return ``Λ_a`` with :math:`\delta^\top\Lambda_a\delta = \|D_a\delta\|^2`, of the differences along each axis.

    Returns
    -------
    list of csc_array, (n, n)
        Planes cost nothing.
    """
    found = []
    for axis, size in enumerate(domain):
        D = differences(size)
        before, after = int(np.prod(domain[:axis])), int(np.prod(domain[axis + 1 :]))
        whole = sparse.kron(sparse.kron(sparse.eye_array(before), D), sparse.eye_array(after))
        found.append(sparse.csc_array(whole.T @ whole))
    return found


class SmoothField:
    r"""Solve :math:`\min_\delta \tfrac12\delta^\top(A + \Lambda_\lambda)\delta - b^\top\delta` for a field or several.

    .. math:: A = \mathrm{diag}(a) - U U^\top,\qquad
              \Lambda_\lambda = \mathrm{diag}_q\Big(\sum_a \lambda_{qa}\Lambda_a\Big)

    ``A`` is what the data say of the fields, in units of their noise: ``a`` (n, q, q) the information of every pixel
    about its values of the q fields, ``U`` (n, q, p) what of it is used up by quantities that are estimated along
    with them.

    Parameters
    ----------
    domain : tuple of int
        The pixels, all of them.
    """

    def __init__(self, domain: Sequence[int]) -> None:
        self.domain = tuple(domain)
        self.penalties = curvature_penalties(domain)
        self._most = np.searchsorted(LENGTHS, LONGEST * np.array(domain), side="right") - 1
        self._places: tuple[int, ...] = ()
        self._parts: dict[tuple[int, ...], SmoothField] = {}

    def solve(
        self, a: np.ndarray, U: np.ndarray, b: np.ndarray, lengths: Lengths, judge: bool = True
    ) -> tuple[np.ndarray, float]:
        r"""Return the fields (n, q) and their evidence: the log-probability of the data for these lengths.

        .. math:: \lambda_{qa} = \bar a_{qq}\,\ell_{qa}^4,\qquad
                  \ln p = \tfrac12\left(\ln{\det}^+\Lambda_\lambda - \ln\det(A + \Lambda_\lambda) + b^\top\delta\right)
                  + {\rm const}

        Parameters
        ----------
        a : ndarray, (n, q, q)
        U : ndarray, (n, q, p)
        b : ndarray, (n, q)
        lengths : (q, axes)
            In pixels, the length over which each field is averaged along each axis; 0 for no averaging.
        judge : bool
            Whether the evidence is wanted; else 0.
        """
        n, q = b.shape
        own = np.einsum("iqq->qi", a)
        mean = np.array([size[size > 0].mean() if (size > 0).any() else 1.0 for size in own])
        strengths = mean[:, None] * np.maximum(np.reshape(lengths, (q, -1)), 1e-3) ** 4
        blocks = [[sparse.diags_array(a[:, r, c]) for c in range(q)] for r in range(q)]
        for field, own_strengths in enumerate(strengths):
            smooth = sum(s * P for s, P in zip(own_strengths, self.penalties, strict=True))
            blocks[field][field] += smooth + 1e-6 * mean[field] * sparse.eye_array(n)
        base = sparse.csc_array(sparse.block_array(blocks))
        factor = splu(base, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
                      options={"SymmetricMode": True})  # fmt: skip
        used, wanted = U.transpose(1, 0, 2).reshape(q * n, -1), b.T.ravel()
        both = factor.solve(np.column_stack([wanted, used]))
        direct, spread = both[:, 0], both[:, 1:]
        core = np.eye(used.shape[1]) * (1 + 1e-6) - used.T @ spread
        core = (core + core.T) / 2
        found = direct + spread @ np.linalg.solve(core, used.T @ direct)
        evidence = 0.0
        if judge:
            logdet = np.log(np.abs(factor.U.diagonal())).sum() + np.linalg.slogdet(core)[1]
            prior = sum(self.log_determinant(own_strengths) for own_strengths in strengths)
            evidence = 0.5 * (prior - logdet + float(wanted @ found))
        return found.reshape(q, n).T, evidence

    def log_determinant(self, strengths: np.ndarray) -> float:
        r"""Return :math:`\ln\det^+ \sum_a \lambda_a \Lambda_a`, of what is not zero.

        Its eigenvalues are sums of those of the axes.

        Parameters
        ----------
        strengths : ndarray, (axes,)
        """
        parts = [s * _eigenvalues(size) for s, size in zip(strengths, self.domain, strict=True)]
        values = reduce(np.add.outer, parts)
        return float(np.log(values[values > 0]).sum())

    def best(
        self, a: np.ndarray, U: np.ndarray, g: np.ndarray, known: np.ndarray
    ) -> tuple[np.ndarray, Lengths]:
        """Return the fields of the lengths with the highest evidence, and those; the next search starts from them.

        Parameters
        ----------
        a, U : ndarray
            As in :meth:`solve`.
        g : ndarray, (n, q)
            What the data say beyond the fields known so far: ``b`` is ``A known + g``.
        known : ndarray, (n, q)
            Outside a window that is asked for the lengths, the fields are taken for these.
        """
        b = right_side(a, U, g, known)
        if len(b) <= ASKED:
            return self.climb(a, U, b)
        places = central_window(self.domain, ASKED)
        inside = places.ravel()
        own = right_side(a[inside], U[inside], g[inside], known[inside])
        _, lengths = self._part(places.shape).climb(a[inside], U[inside], own)
        lengths = self._of_bins(a, U, b, lengths)
        return self.solve(a, U, b, lengths, judge=False)[0], lengths

    def climb(self, a: np.ndarray, U: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Lengths]:
        """Return the fields of the highest evidence and their lengths, made longer or shorter one after the other.

        Parameters
        ----------
        a, U, b : ndarray
            As in :meth:`solve`.
        """
        q, axes = b.shape[1], len(self.domain)
        most = np.tile(self._most, q)
        if len(self._places) != q * axes:
            start = np.minimum(self._most, len(LENGTHS) // 2)
            self._places = tuple(int(place) for place in start) * q

        @cache
        def at(places: tuple[int, ...]) -> tuple[np.ndarray, float]:
            return (
                (b, -np.inf)
                if min(places) < 0 or np.any(places > most)
                else self.solve(a, U, b, _lengths(places, axes))
            )

        while True:
            before = self._places
            for one in range(len(before)):
                for step in (-1, 1):
                    while at(_stepped(self._places, one, step))[1] > at(self._places)[1]:
                        self._places = _stepped(self._places, one, step)
            if self._places == before:
                return at(before)[0], _lengths(before, axes)

    def _of_bins(self, a: np.ndarray, U: np.ndarray, b: np.ndarray, lengths: Lengths) -> Lengths:
        """Return better lengths than those of a window, from all pixels in bins, where few bins will do.

        A window does not see how a field goes on: in its middle, a drift of the whole scan may be a plane.
        """
        widths = 2 ** np.floor(np.log2(np.maximum(BIN * np.min(lengths, axis=0), 1.0))).astype(int)
        shape = tuple(int(size) for size in -(-np.array(self.domain) // widths))
        if np.prod(shape) > 2 * ASKED:
            return lengths
        places = np.indices(self.domain).reshape(len(shape), -1) // widths[:, None]
        n = len(b)
        target = np.ravel_multi_index(tuple(places), shape)
        gather = sparse.csr_array((np.ones(n), (target, np.arange(n))), shape=(np.prod(shape), n))
        sums = [(gather @ part.reshape(n, -1)).reshape(-1, *part.shape[1:]) for part in (a, U, b)]
        _, found = self._part(shape).climb(*sums)
        return tuple(tuple(float(length) for length in widths * own) for own in found)

    def _part(self, shape: tuple[int, ...]) -> "SmoothField":
        """Return the field of a window or of bins, which remembers where its last search ended."""
        if shape not in self._parts:
            self._parts[shape] = SmoothField(shape)
        return self._parts[shape]


def right_side(a: np.ndarray, U: np.ndarray, g: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return ``A known + g``, (n, q)."""
    return np.einsum("iqr,ir->iq", a, known) - U @ np.einsum("iqp,iq->p", U, known) + g


def central_window(domain: Sequence[int], most: int) -> np.ndarray:
    """Return the flat numbers of the pixels of a window in the middle of an image, at most so many.

    Examples
    --------
    >>> central_window((3, 4), most=4)
    array([[1, 2],
           [5, 6]])
    """
    width = max(domain, default=1)
    while width > 1 and np.prod(np.minimum(domain, width)) > most:
        width -= 1
    start = [max(0, (size - width) // 2) for size in domain]
    places = np.arange(int(np.prod(domain))).reshape(domain)
    return places[tuple(slice(first, first + width) for first in start)]


@cache
def _eigenvalues(size: int) -> np.ndarray:
    """Return those of the penalty along an axis; what costs nothing has exactly zero."""
    (penalty,), order = curvature_penalties([size]), min(2, size - 1)
    bands = [np.pad(penalty.diagonal(-below), (0, below)) for below in range(order + 1)]
    values = eigvals_banded(bands, lower=True)
    values[: max(order, 1)] = 0.0
    values.flags.writeable = False  # kept for the next call
    return values


def _lengths(places: tuple[int, ...], axes: int) -> Lengths:
    """Return the lengths of each field along each axis."""
    found = [LENGTHS[place] for place in places]
    return tuple(tuple(found[start : start + axes]) for start in range(0, len(found), axes))


def _stepped(places: tuple[int, ...], one: int, step: int) -> tuple[int, ...]:
    return (*places[:one], places[one] + step, *places[one + 1 :])
