"""A field over the pixels that is as smooth as the data say: measured values, their weights, one penalty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

#: Lengths in pixels over which a field may be averaged; the data choose among them.
LENGTHS = tuple(2.0 ** (step / 2) for step in range(-2, 15))


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


class SmoothField:
    r"""Solve :math:`\min_\delta \tfrac12\delta^\top(A + \lambda\Lambda)\delta - b^\top\delta`, ``A = diag(a) − U Uᵀ``.

    ``A`` is what the data say of the field, in units of their noise: ``a`` the information of every pixel, ``U``
    (n, q) what of it is used up by quantities that are estimated along with it.

    Parameters
    ----------
    domain : tuple of int
        The pixels, all of them.
    """

    def __init__(self, domain: Sequence[int]) -> None:
        self.penalty, self.rank = curvature_penalty(domain)
        self._place = len(LENGTHS) // 2

    def solve(
        self, a: np.ndarray, U: np.ndarray, b: np.ndarray, length: float
    ) -> tuple[np.ndarray, float]:
        r"""Return the field and its evidence: the log-probability of the data for this length.

        .. math:: \lambda = \bar a\,\ell^4,\qquad
                  \ln p = \tfrac12\left(r\ln\lambda - \ln\det(A + \lambda\Lambda) + b^\top\delta\right) + {\rm const}

        Parameters
        ----------
        a : ndarray, (n,)
        U : ndarray, (n, q)
        b : ndarray, (n,)
        length : float
            In pixels, the length over which the field is averaged; 0 for no averaging.
        """
        mean = float(a[a > 0].mean()) if (a > 0).any() else 1.0
        strength = mean * max(length, 1e-3) ** 4
        base = sparse.csc_array(sparse.diags_array(a + 1e-6 * mean) + strength * self.penalty)
        factor = splu(base, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
                      options={"SymmetricMode": True})  # fmt: skip
        both = factor.solve(np.column_stack([b, U]))
        direct, spread = both[:, 0], both[:, 1:]
        core = np.eye(U.shape[1]) * (1 + 1e-6) - U.T @ spread
        core = (core + core.T) / 2
        field = direct + spread @ np.linalg.solve(core, U.T @ direct)
        logdet = np.log(np.abs(factor.U.diagonal())).sum() + np.linalg.slogdet(core)[1]
        return field, 0.5 * (self.rank * np.log(strength) - logdet + float(b @ field))

    def best(self, a: np.ndarray, U: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the field of the length with the highest evidence, and that length; the next search starts from it."""
        found: dict[float, tuple[np.ndarray, float]] = {}
        while True:  # climb from where the last search ended
            place = self._place
            around = [n for n in (place - 1, place, place + 1) if 0 <= n < len(LENGTHS)]
            for n in around:
                if n not in found:
                    found[n] = self.solve(a, U, b, LENGTHS[n])
            top = max(around, key=lambda n: found[n][1])
            if top == place:
                return found[place][0], LENGTHS[place]
            self._place = top
