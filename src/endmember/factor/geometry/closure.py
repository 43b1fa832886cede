"""Maps that are not negative and sum to one: fully constrained least squares."""

from __future__ import annotations

import numpy as np

from endmember.factor.data.matrix import Data
from endmember.factor.solvers import ANLS
from endmember.factor.subproblems.quadratic import Quadratic


def closed_maps(data: Data, S: np.ndarray) -> np.ndarray:
    r"""Return the maps (n, k) of least squares with :math:`c \ge 0` and :math:`\sum_k c_k = 1`, exactly.

    On the simplex the misfit of a pixel is :math:`c^\top M c` with :math:`M = G - h 1^\top - 1 h^\top + t 1 1^\top`,
    whatever t. With t large enough for M to be definite, its minimiser is that of
    :math:`\tfrac12 y^\top M y - 1^\top y,\ y \ge 0`, divided by its sum: non-negative least squares.

    Parameters
    ----------
    data : Data, (n, m)
    S : ndarray, (m, k)
        Spectra.

    Examples
    --------
    >>> from endmember.factor.data.in_memory import Dense
    >>> closed_maps(Dense(np.array([[3.0, 1.0], [5.0, 0.0]])), 4.0 * np.eye(2))
    array([[0.75, 0.25],
           [1.  , 0.  ]])
    """
    factors = [np.zeros((data.shape[0], S.shape[1])), S]
    G, H = data.gram(factors, 0), data.contract(factors, 0)
    within = np.einsum("ik,ik->i", H, np.linalg.lstsq(G, H.T, rcond=1e-12)[0].T)
    t = within + np.trace(G) / len(G)
    M = G - H[:, :, None] - H[:, None, :] + t[:, None, None]
    scaled = Quadratic(M / t[:, None, None], np.ones_like(H))
    y = ANLS().improve(scaled, np.ones_like(H), data.shape[1])
    return y / y.sum(axis=1, keepdims=True)
