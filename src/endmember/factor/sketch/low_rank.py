"""Compressed data: the few directions that carry the signal, behind the same products.

``X`` (n, m) is replaced by ``Z Vᵀ`` with ``V`` (m, r) orthonormal and ``Z = X V`` (n, r): a sweep
then costs ``(n + m) r k`` instead of ``n m k``.
"""

from functools import cached_property
from typing import Any

import numpy as np

from endmember.errors import check_known, refuse_if
from endmember.factor.columns import or_one
from endmember.factor.data import Data, count_scaled, observe, one_blas_thread, session
from endmember.factor.sketch.passes import OVERSAMPLING, Wanted, sketched

#: Up to this many channels the Gram matrix of the channels is cheaper than random projections.
GRAM_CHANNELS = 512
#: Passes of random projections; so many where directions lie as close together as those of noise.
POWER_PASSES, FINE_PASSES = 2, 8


class LowRank(Data):
    r"""A sketch :math:`X \approx Z V^\top` of a matrix that answers its products.

    :math:`\|X - C S^\top\|^2 = \|Z - C (V^\top S)^\top\|^2 + \|(X - C S^\top)(I - V V^\top)\|^2`,
    so a model of the sketch is a model of the data as far as the second term does not depend on
    it; it does not where the rank of ``X`` is at most ``r``. Products and norm are all that it
    answers.

    Parameters
    ----------
    Z : ndarray, (n, r)
        Scores: the data in the basis.
    V : ndarray, (m, r)
        Orthonormal basis, by falling variance.
    squared_norm : float
        ``‖X‖²`` of the data that the sketch stands for, so that misfits are on the scale of the
        full data.
    dtype : numpy dtype
        The type of answers.

    Attributes
    ----------
    origin : Observed or None
        The pixels, channels and image that the sketch was made from.

    Examples
    --------
    >>> X, V = np.outer([1.0, 2.0], [3.0, 0.0, 4.0]), np.array([[0.6], [0.0], [0.8]])
    >>> sketch = LowRank(X @ V, V, np.sum(X**2))
    >>> sketch.shape, bool(np.allclose(sketch.rows([1]), X[1]))
    ((2, 3), True)
    """

    def __init__(
        self,
        Z: np.ndarray,
        V: np.ndarray,
        squared_norm: float,
        dtype: Any = np.float64,
    ) -> None:
        self.Z, self.V = Z, V
        self.shape = Z.shape[0], V.shape[0]
        self.dtype = np.dtype(dtype)
        self.squared_norm = squared_norm

    @property
    def rank(self) -> int:
        """The number of directions kept, r."""
        return self.V.shape[1]

    @property
    def singular_values(self) -> np.ndarray:
        """Singular values of the sketch, (r,), falling."""
        return np.linalg.norm(self.Z, axis=0) * (self.origin.unit if self.origin else 1.0)

    def take(self, rows: np.ndarray) -> "LowRank":
        """Return the sketch of some of the pixels."""
        Z = self.Z[rows]
        left_out = (self.squared_norm - float(np.vdot(self.Z, self.Z))) * len(rows) / len(self.Z)
        return LowRank(Z, self.V, float(np.vdot(Z, Z)) + max(left_out, 0.0), self.dtype)

    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        return self.Z, self.V

    def dot(self, Z: np.ndarray) -> np.ndarray:
        return self.Z @ (self.V.T @ Z)

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        return self.V @ (self.Z.T @ F)

    def channel_gram(self) -> np.ndarray:
        return self.V @ (self.Z.T @ self.Z) @ self.V.T

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.Z[index] @ self.V.T

    @cached_property
    def squared_row_norms(self) -> np.ndarray:
        return np.einsum("ij,ij->i", self.Z, self.Z)

    def misfit(self, factors: Any) -> float:
        """Return ``½‖X − F Sᵀ‖²``, taking what the sketch left out for unexplained.

        Inside of the directions and outside of them residuals are at right angles.
        """
        F, S = factors[:2]
        shares = self.V.T @ S
        inside, outside = self.Z - F @ shares.T, S - self.V @ shares
        left_out = max(0.0, self.squared_norm - float(self.squared_row_norms.sum()))
        return 0.5 * float(
            np.vdot(inside, inside) + np.vdot(F.T @ F, outside.T @ outside) + left_out
        )


def is_compressed(data: Data) -> bool:
    """Tell whether data are a sketch already, with weights or without."""
    return isinstance(data.scaled, LowRank)


def some_pixels(data: Data, rows: np.ndarray) -> Data:
    """Return compressed data of some of the pixels only."""
    assert isinstance(data.scaled, LowRank)
    return data.with_scaled(data.scaled.take(rows), rows)


def with_directions(compressed: Data, data: Data, S: np.ndarray) -> Data:
    """Return compressed data with the directions of spectra (m, k) besides: their misfit is that of all data."""
    low = compressed.scaled
    if compressed is data or not isinstance(low, LowRank):
        return compressed
    inside = compressed.scales[1] * S
    beyond = inside - low.V @ (low.V.T @ inside)
    Q = np.linalg.svd(beyond - low.V @ (low.V.T @ beyond), full_matrices=False)[0]
    V = np.hstack([low.V, Q])
    return compressed.with_scaled(LowRank(data.scaled.dot(V), V, data.squared_norm, low.dtype))


def sketch_of(data: Data, rank: int) -> Data:
    """Compress data to ``rank`` directions, those of the scaled data where pixels have weights.

    The passes are the same for data in memory and on disk, so that their fits are the same.
    """
    return data.with_scaled(LowRank(*sketched(data, rank), data.dtype))


def sketch(
    data: Data,
    rank: int,
    random_state: int | np.random.Generator | None = 0,
    power_passes: int = POWER_PASSES,
) -> LowRank:
    """Compress ``data`` to ``rank`` directions.

    With few channels the leading eigenvectors of ``XᵀX`` are exact; with many, a random
    projection is refined by two power passes (Halko, Martinsson & Tropp, SIAM Rev. 53 (2011)
    217), each two products with the data.

    Parameters
    ----------
    data : Data, (n, m)
        Taken without weights of pixels and channels.
    rank : int
        Directions to keep; at most min(n, m).
    random_state : int, numpy Generator or None
    power_passes : int
        More passes resolve directions whose variances lie close together.
    """
    data, (n, m) = data.plain, data.shape
    rank = min(rank, n, m)
    size = min(rank + OVERSAMPLING, n, m)
    V = (
        _gram_basis(data, size)
        if m <= GRAM_CHANNELS or size == min(n, m)
        else _random_basis(data, size, power_passes, np.random.default_rng(random_state))
    )
    Z = data.dot(V)
    rotation = np.linalg.svd(Z, full_matrices=False)[2][:rank].T
    return LowRank(Z @ rotation, V @ rotation, data.squared_norm, data.dtype)


def _gram_basis(data: Data, size: int) -> np.ndarray:
    """Return the leading eigenvectors of the channels' Gram matrix, or what all the rows span."""
    n, m = data.shape
    if n < m:
        return np.linalg.qr(data.transposed_dot(np.eye(n)))[0]
    G = data.channel_gram()
    return np.linalg.eigh((G + G.T) / 2)[1][:, : -size - 1 : -1]


def _random_basis(data: Data, size: int, power_passes: int, rng: np.random.Generator) -> np.ndarray:
    V = rng.standard_normal((data.shape[1], size))
    for _ in range(power_passes):
        V, _ = np.linalg.qr(data.transposed_dot(data.dot(V)))
    return V


def compress(
    X: Any,
    rank: int | None = None,
    *,
    scaling: str | None = None,
    mask: Any = None,
    channel_mask: Any = None,
    domain: tuple[int, ...] | None = None,
    random_state: int | np.random.Generator | None = 0,
    memory: int | str | None = None,
) -> Data:
    """Reduce a spectrum image to a low-rank sketch that takes its place in least-squares models.

    Parameters
    ----------
    X : array_like, Dask array, sparse matrix or HyperSpy signal, (*domain, channels)
    rank : int, optional
        Directions to keep; 20 unless given, never more than the data have.
    scaling : None or "poisson"
        Choose the directions after weighting pixels and channels by their counts (Keenan & Kotula
        2004), which whitens the noise of counts; least-squares models then use these weights.
    mask, channel_mask, domain
        As in the estimators.
    random_state : int, numpy Generator or None
        Has no effect: directions are drawn with a seed of their own, so that a sketch is always the same.
    memory : int or str, optional
        What lazy data may take while they are read, such as ``"1GB"``; no limit unless given.

    Returns
    -------
    LowRank, or the same with weights
        ``.Z`` (n, r), ``.V`` (m, r), ``.singular_values`` (r,); n pixels and m channels that are
        neither masked nor empty.

    Raises
    ------
    ValueError
        If the rank is below 1, or the scaling is not known.

    Examples
    --------
    >>> sketch = compress(np.outer(np.arange(1, 5), np.arange(1, 7)), rank=1)
    >>> bool(np.isclose(sketch.singular_values[0] ** 2, sketch.squared_norm))
    True
    """
    rank = 20 if rank is None else rank
    refuse_if(rank < 1, f"rank={rank} keeps nothing; give a whole number of at least 1")
    check_known("scaling", scaling, None, "poisson")
    wanted = Wanted(rank + OVERSAMPLING, scaling is not None)
    with session(memory), one_blas_thread():
        observed = observe(X, mask=mask, channel_mask=channel_mask, domain=domain, wanted=wanted)
        low = sketch_of(observed.data if scaling is None else count_scaled(observed.data), rank)
    low.origin = observed
    return low


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
        sizes = or_one(np.linalg.norm(Z, axis=0))
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
        vars(self).pop("squared_row_norms", None)  # those of before

    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        right = [*self._right, *(rest.T for rest in self._rest)]
        return np.hstack([*self._scores, *self._left]), np.hstack(right)

    def dot(self, Z: np.ndarray) -> np.ndarray:
        known = sum(A @ (R.T @ Z) for A, R in zip(self._scores, self._right, strict=True))
        return known + sum(L @ (D @ Z) for L, D in zip(self._left, self._rest, strict=True))

    def transposed_dot(self, F: np.ndarray) -> np.ndarray:
        known = sum(R @ (A.T @ F) for A, R in zip(self._scores, self._right, strict=True))
        return known + sum(D.T @ (L.T @ F) for L, D in zip(self._left, self._rest, strict=True))

    def rows(self, index: np.ndarray) -> np.ndarray:
        known = sum(A[index] @ R.T for A, R in zip(self._scores, self._right, strict=True))
        return known + sum(L[index] @ D for L, D in zip(self._left, self._rest, strict=True))


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
    size = or_one(np.linalg.norm(F, axis=0))
    F, product = F / size, product / size
    for _ in range(2):  # twice, since once leaves rounding where F is nearly known
        for directions, image in zip(known, images, strict=True):
            shares = directions.T @ F
            F, product = F - directions @ shares, product - image @ shares
    values, turn = np.linalg.eigh(F.T @ F)
    keep = values > KNOWN
    turn = turn[:, keep] / np.sqrt(values[keep])
    return F @ turn, product @ turn
