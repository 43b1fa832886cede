"""What a solver is given instead of the data.

``F`` (n, k) is the factor to improve, ``G`` (k, k) the Gram matrix of all the other factors,
``H`` (n, k) the data contracted with them. Losses make subproblems, penalties add to them,
solvers solve them; none imports another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: An array of bounds, or one bound for every entry.
Bound = np.ndarray | float


def times_gram(F: np.ndarray, G: np.ndarray) -> np.ndarray:
    """Multiply every row of ``F`` (n, k) with one Gram matrix (k, k) or with its own (n, k, k)."""
    if G.ndim == 2:
        return F @ G
    return np.einsum("ik,ikl->il", F, G)


@dataclass
class Quadratic:
    r"""Minimise :math:`\tfrac12\langle F G, F\rangle - \langle F, H\rangle` between bounds.

    Parameters
    ----------
    G : ndarray, (k, k) or (n, k, k)
        Symmetric positive semi-definite; one matrix for all rows, or one a row (entry-wise
        weights).
    H : ndarray, (n, k)
        The linear term.
    lower, upper : float or ndarray, broadcastable to (n, k)
        Bounds on ``F``; ``-inf`` and ``inf`` where there is none.

    Examples
    --------
    >>> sub = Quadratic(np.eye(2), np.array([[3.0, -1.0]]))
    >>> sub.clip(np.array([[3.0, -1.0]]))
    array([[3., 0.]])
    """

    G: np.ndarray
    H: np.ndarray
    lower: Bound = 0.0
    upper: Bound = np.inf

    def value(self, F: np.ndarray) -> float:
        """Return the objective at ``F``."""
        return float(0.5 * np.vdot(times_gram(F, self.G), F) - np.vdot(F, self.H))

    def gradient(self, F: np.ndarray) -> np.ndarray:
        """Return ``F G − H``, (n, k)."""
        return times_gram(F, self.G) - self.H

    def clip(self, F: np.ndarray) -> np.ndarray:
        """Return the point of the feasible box nearest to ``F``."""
        return np.clip(F, self.lower, self.upper)

    def diagonal(self) -> np.ndarray:
        """Return the diagonal of ``G``: (k,), or (n, k) where every row has its own."""
        return np.diagonal(self.G, axis1=-2, axis2=-1)

    def optimality(self, F: np.ndarray) -> float:
        r"""Return the unit-free Karush-Kuhn-Tucker residual :math:`\|F - [F - \nabla]_{\rm box}\| / \|F\|`.

        Columns are measured as if the other factors had columns of unit length, which makes ``F``
        and its gradient comparable; the scale of the data plays no part.
        """
        curvature = self.diagonal()
        curvature = np.where(curvature > 0, curvature, 1.0)
        unit = np.sqrt(curvature)
        residual = F - self.clip(F - self.gradient(F) / curvature)
        size = np.linalg.norm(F * unit)
        return float(np.linalg.norm(residual * unit) / size) if size > 0 else 0.0
