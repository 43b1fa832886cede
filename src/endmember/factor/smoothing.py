"""A field over the pixels that is as smooth as the data say: measured values, their weights, one penalty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

#: Lengths in pixels over which a field may be averaged; the data choose among them.
LENGTHS = tuple(2.0 ** (step / 2) for step in range(-2, 15))
#: Pixels that tell the length; of larger images, a window in the middle is asked.
ASKED = 2**12


def curvature_penalty(domain: Sequence[int]) -> tuple[sparse.csc_array, int]:
    r"""Return ``Λ`` with :math:`\delta^\top\Lambda\delta = \sum \|D_a\delta\|^2`, of second differences along all axes.

    Planes cost nothing. An axis of two pixels has one first difference.

    Returns
    -------
    csc_array, (n, n)
    int
        The rank of it.

    Examples
    --------
    >>> curvature_penalty((3,))[0].toarray()
    array([[ 1., -2.,  1.],
           [-2.,  4., -2.],
           [ 1., -2.,  1.]])
    """
    n, free = int(np.prod(domain)), 1
    total = sparse.csc_array((n, n))
    for axis, size in enumerate(domain):
        order = min(2, size - 1)
        free *= max(order, 1)
        if order == 0:
            continue
        D = sparse.eye_array(size, format="csr")
        for _ in range(order):
            D = D[1:] - D[:-1]
        before, after = int(np.prod(domain[:axis])), int(np.prod(domain[axis + 1 :]))
        whole = sparse.kron(sparse.kron(sparse.eye_array(before), D), sparse.eye_array(after))
        total = total + sparse.csc_array(whole.T @ whole)
    return sparse.csc_array(total), n - free


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


class SmoothField:
    r"""Solve :math:`\min_\delta \tfrac12\delta^\top(A + \Lambda_\lambda)\delta - b^\top\delta` for a field or several.

    .. math:: A = \mathrm{diag}(a) - U U^\top,\qquad \Lambda_\lambda = \mathrm{diag}(\lambda)\otimes\Lambda

    ``A`` is what the data say of the fields, in units of their noise: ``a`` (n, q, q) the information of every pixel
    about its values of the q fields, ``U`` (n, q, p) what of it is used up by quantities that are estimated along
    with them.

    Parameters
    ----------
    domain : tuple of int
        The pixels, all of them.
    """

    def __init__(self, domain: Sequence[int]) -> None:
        self.penalty, self.rank = curvature_penalty(domain)
        self._places: tuple[int, ...] = ()
        self._inside = central_window(domain, ASKED)
        shape = self._inside.shape
        self._window = None if shape == tuple(domain) else SmoothField(shape)

    def solve(
        self, a: np.ndarray, U: np.ndarray, b: np.ndarray, lengths: Sequence[float]
    ) -> tuple[np.ndarray, float]:
        r"""Return the fields (n, q) and their evidence: the log-probability of the data for these lengths.

        .. math:: \lambda_q = \bar a_{qq}\,\ell_q^4,\qquad
                  \ln p = \tfrac12\left(r\sum\ln\lambda_q - \ln\det(A + \Lambda_\lambda) + b^\top\delta\right)
                  + {\rm const}

        Parameters
        ----------
        a : ndarray, (n, q, q)
        U : ndarray, (n, q, p)
        b : ndarray, (n, q)
        lengths : sequence of float, (q,)
            In pixels, the length over which each field is averaged; 0 for no averaging.
        """
        n, q = b.shape
        own = np.einsum("iqq->iq", a)
        mean = np.array([size[size > 0].mean() if (size > 0).any() else 1.0 for size in own.T])
        strength = mean * np.maximum(lengths, 1e-3) ** 4
        ridge = sparse.diags_array(np.repeat(1e-6 * mean, n))
        smooth = sparse.kron(sparse.diags_array(strength), self.penalty)
        blocks = [
            [sparse.diags_array(a[:, row, column]) for column in range(q)] for row in range(q)
        ]
        base = sparse.csc_array(sparse.block_array(blocks) + ridge + smooth)
        factor = splu(base, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
                      options={"SymmetricMode": True})  # fmt: skip
        used, wanted = U.transpose(1, 0, 2).reshape(q * n, -1), b.T.ravel()
        both = factor.solve(np.column_stack([wanted, used]))
        direct, spread = both[:, 0], both[:, 1:]
        core = np.eye(used.shape[1]) * (1 + 1e-6) - used.T @ spread
        core = (core + core.T) / 2
        field = direct + spread @ np.linalg.solve(core, used.T @ direct)
        logdet = np.log(np.abs(factor.U.diagonal())).sum() + np.linalg.slogdet(core)[1]
        evidence = 0.5 * (self.rank * np.log(strength).sum() - logdet + float(wanted @ field))
        return field.reshape(q, n).T, evidence

    def best(
        self, a: np.ndarray, U: np.ndarray, b: np.ndarray
    ) -> tuple[np.ndarray, tuple[float, ...]]:
        """Return the fields of the lengths with the highest evidence, and those; the next search starts from them."""
        q, inside = b.shape[1], self._inside.ravel()
        if self._window is not None and a[inside].any():
            _, lengths = self._window.best(a[inside], U[inside], b[inside])
            return self.solve(a, U, b, lengths)[0], lengths
        if len(self._places) != q:
            self._places = (len(LENGTHS) // 2,) * q
        found: dict[tuple[int, ...], tuple[np.ndarray, float]] = {}
        while True:  # climb from where the last search ended, one length at a time
            here = self._places
            for one in range(q):
                around = [_stepped(self._places, one, step) for step in (0, -1, 1)]
                for places in around:
                    if places not in found and 0 <= places[one] < len(LENGTHS):
                        chosen = [LENGTHS[place] for place in places]
                        found[places] = self.solve(a, U, b, chosen)
                known = [places for places in around if places in found]
                self._places = max(known, key=lambda places: found[places][1])
            if self._places == here:
                return found[here][0], tuple(LENGTHS[place] for place in here)


def _stepped(places: tuple[int, ...], one: int, step: int) -> tuple[int, ...]:
    return (*places[:one], places[one] + step, *places[one + 1 :])
