"""A sketch that learns: exact for all factors that the full data have been asked about."""

from __future__ import annotations

from typing import Any

import numpy as np

from endmember.factor.blocks import Data

#: New directions of factors are left out below this fraction of their squared length.
KNOWN = 1e-13


class Refined(Data):
    r"""A sketch that is exact for factors that the full data have been asked about.

    With :math:`L` an orthonormal basis of the maps and :math:`R` one of the spectra whose products
    :math:`L^\top X`, :math:`X R` are known,

    .. math:: \hat X = X R R^\top + L L^\top X (I - R R^\top),\qquad
              X - \hat X = (I - L L^\top) X (I - R R^\top)

    Parameters
    ----------
    Z, V : ndarray, (n, r), (m, r)
        A sketch as :func:`sketched` gives it.
    squared_norm : float
        ``‖X‖²`` of the data.
    dtype : numpy dtype
        The type of answers.
    """

    def __init__(self, Z: np.ndarray, V: np.ndarray, squared_norm: float, dtype: Any) -> None:
        self.shape, self.dtype = (Z.shape[0], V.shape[0]), np.dtype(dtype)
        self.squared_norm = squared_norm
        sizes = np.linalg.norm(Z, axis=0)
        sizes[sizes == 0] = 1.0
        self._left, self._rows = [Z / sizes], [sizes[:, None] * V.T]
        self._right: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []

    def learn(self, C: np.ndarray, S: np.ndarray, right: np.ndarray, left: np.ndarray) -> None:
        """Become exact for ``C`` (n, k) and ``S`` (m, k), given ``X S`` and ``Xᵀ C``."""
        new, images = _extended(self._left, [rows.T for rows in self._rows], C, left)
        self._left.append(new)
        self._rows.append(images.T)
        new, images = _extended(self._right, self._scores, S, right)
        self._right.append(new)
        self._scores.append(images)
        self._rest = [rows - sum((rows @ R) @ R.T for R in self._right) for rows in self._rows]

    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        right = [*self._right, *(rest.T for rest in self._rest)]
        return np.hstack([*self._scores, *self._left]), np.hstack(right)

    def dot(self, Z: np.ndarray) -> np.ndarray:
        known = sum(A @ (R.T @ Z) for A, R in zip(self._scores, self._right, strict=True))
        return known + sum(L @ (D @ Z) for L, D in zip(self._left, self._rest, strict=True))

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        known = sum(R @ (A.T @ F) for A, R in zip(self._scores, self._right, strict=True))
        return known + sum(D.T @ (L.T @ F) for L, D in zip(self._left, self._rest, strict=True))

    def channel_gram(self) -> np.ndarray:
        return self.transposed_dot(self.dot(np.eye(self.shape[1])))

    def rows(self, index: np.ndarray) -> np.ndarray:
        known = sum(A[index] @ R.T for A, R in zip(self._scores, self._right, strict=True))
        return known + sum(L[index] @ D for L, D in zip(self._left, self._rest, strict=True))

    @property
    def squared_row_norms(self) -> np.ndarray:  # type: ignore[override]
        norms = np.empty(self.shape[0])
        for rows, X in self.blocks():
            norms[rows] = np.einsum("ij,ij->i", X, X)
        return norms


def _extended(
    known: list[np.ndarray], images: list[np.ndarray], F: np.ndarray, product: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return orthonormal directions that ``F`` adds to those known, and what the data make of them.

    Parameters
    ----------
    known, images : list of ndarray
        Orthonormal directions, and the data times each.
    F, product : ndarray, (n, k), (m, k)
        New directions, and the data times each.
    """
    size = np.linalg.norm(F, axis=0)
    size[size == 0] = 1.0
    F, product = F / size, product / size
    for _ in range(2):  # twice, since once leaves rounding where F is nearly known
        for directions, image in zip(known, images, strict=True):
            shares = directions.T @ F
            F, product = F - directions @ shares, product - image @ shares
    values, turn = np.linalg.eigh(F.T @ F)
    keep = values > KNOWN
    turn = turn[:, keep] / np.sqrt(values[keep])
    return F @ turn, product @ turn
