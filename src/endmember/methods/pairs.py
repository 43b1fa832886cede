"""What two signals of one area share: partial least squares and canonical correlation."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from endmember.errors import Argument, EndmemberError, refuse_if
from endmember.factor.columns import unit_columns
from endmember.factor.data import Observed, is_lazy, observe, unwrap
from endmember.methods.checks import check_fits, check_number_of_components, check_weights
from endmember.methods.estimator import SpectralEstimator, stored

#: Of scikit-learn's NIPALS.
MAX_ITER, TOLERANCE = 500, 1e-6
#: Principal components that canonical correlation takes by itself, and the pixels that each needs.
MOST_PRINCIPAL, PIXELS_EACH = 10, 10


@dataclass(frozen=True)
class _Shared:
    """What two blocks (n, m) and (n, q), with their means taken off, share."""

    scores: np.ndarray
    scores_y: np.ndarray
    rotations: np.ndarray
    loadings: np.ndarray
    loadings_y: np.ndarray


class _Paired(SpectralEstimator):
    """Components that two signals of the same area share."""

    unit_of_spectra = "for each unit of the maps"
    _in_units = {"mean_spectrum_": 1, "components_": 1, "rotations_": -1}
    signed = True
    takes_weights = False

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        mask: Any = None,
        channel_mask: Any = None,
        weights: Any = None,
        exposure: Any = None,
        domain: tuple[int, ...] | None = None,
        pattern: tuple[int, ...] | None = None,
        callback: Any = None,
    ) -> Self:
        """Learn what two signals of one area share.

        Parameters
        ----------
        X, y : array_like, sparse matrix, Dask array or HyperSpy signal, (…, channels)
            Two spectrum images of the same pixels, such as EELS and EDXS; each with its own
            channels. Never changed.
        mask : array_like of bool or HyperSpy signal, (…), optional
            Pixels to leave out (True), of both.
        channel_mask : array_like of bool or HyperSpy signal, optional
            Channels of ``X`` to leave out (True).
        weights : None
            Not possible here.
        exposure : array_like or HyperSpy signal, (…), optional
            As in :meth:`em.NMF.fit`, of ``X``.
        domain : tuple of int, optional
            The image that the rows of a 2-D ``X`` form.
        pattern : tuple of int, optional
            As in :meth:`em.NMF.fit`, of ``X``.
        callback : None
            Not used.

        Raises
        ------
        ValueError
            If ``y`` is missing or has other pixels than ``X``.
        """
        refuse_if(
            y is None,
            f"{type(self).__name__} requires y to be passed, but the target y is None: give the second signal of "
            "the area, fit(eels, edxs)",
        )
        first = self.observed(
            X, mask=mask, channel_mask=channel_mask, weights=weights, exposure=exposure, domain=domain,
            pattern=pattern,
        )  # fmt: skip
        k, second = check_fits(self, first), self._second(y, first)
        refuse_if(
            second.data.weighted or len(first.rows) != len(second.rows),
            Argument("method", type(self).__name__, f"em.{type(self).__name__}"),
            " takes no weights, and no missing values; leave whole pixels of both signals out (",
            Argument("mask"),
            ")",
        )
        refuse_if(
            first.data.shape[0] < 2,
            Argument("one pixel", says="one pixel (n_samples = 1)"),
            " correlates with nothing; give an image or a line of pixels",
        )
        A, B = (one.data.rows(np.arange(one.data.shape[0])) for one in (first, second))
        means = A.mean(axis=0), B.mean(axis=0)
        self._keep(first, second, means, self._share(A - means[0], B - means[1], k))
        return self._scale(first.unit).with_patterns(first.pattern)

    def _keeps_empty(self, axes: int, of_signal: bool) -> bool:
        return True

    def _second(self, y: Any, first: Observed) -> Observed:
        y, self.flat_ = unwrap(y), False
        y = y if is_lazy(y) or sparse.issparse(y) else _numbers(y)
        if y.ndim == 1 or y.shape == first.domain:
            self.flat_, y = True, y[..., None]
        refuse_if(
            np.prod(y.shape[:-1]) != np.prod(first.domain),
            f"the signals have {first.domain} and {tuple(y.shape[:-1])} pixels; they must show the same pixels "
            "in the same order: crop or rebin one of them",
        )
        return observe(
            y,
            mask=None if first.mask is None else first.mask.reshape(y.shape[:-1]),
            keep_empty=True,
        )

    @abstractmethod
    def _share(self, A: np.ndarray, B: np.ndarray, k: int) -> _Shared:
        """Return k shared components of two centred blocks."""

    def _keep(
        self,
        first: Observed,
        second: Observed,
        means: tuple[np.ndarray, np.ndarray],
        found: _Shared,
    ) -> None:
        self.n_components_ = found.scores.shape[1]
        T, V = (unit_columns(F - F.mean(axis=0)) for F in (found.scores, found.scores_y))
        self.correlations_ = np.sum(T * V, axis=0)
        self.mean_spectrum_ = first.spectra(means[0][:, None])[0]
        self.mean_spectrum_y_ = second.spectra(means[1][:, None])[0] * second.unit
        self.rotations_ = np.nan_to_num(first.spectra(found.rotations))
        self.maps_, self.components_ = first.maps(found.scores), first.spectra(found.loadings)
        self.maps_y_ = second.maps(found.scores_y).reshape(*first.domain, -1)
        self.components_y_ = second.spectra(found.loadings_y) * second.unit

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Any) -> None:
        """Do nothing: two signals are fitted together in :meth:`fit`."""

    def _maps_of(self, observed: Observed, S: np.ndarray) -> np.ndarray:
        check_weights(self, observed)
        rotations = self.rotations_[:, observed.columns].T.astype(np.float64)
        return observed.data.dot(rotations) - self.mean_spectrum_[observed.columns] @ rotations

    def _offset(self) -> np.ndarray | None:
        return self.mean_spectrum_

    def transform(
        self,
        X: Any,
        y: Any = None,
        *,
        mask: Any = None,
        channel_mask: Any = None,
        weights: Any = None,
        exposure: Any = None,
        resample: bool = False,
    ) -> np.ndarray:
        """Return the scores ``(…, k)`` of the first signal; ``y`` is taken, as by scikit-learn, and not needed."""
        return super().transform(
            X,
            mask=mask,
            channel_mask=channel_mask,
            weights=weights,
            exposure=exposure,
            resample=resample,
        )

    def predict(self, X: Any) -> np.ndarray:
        """Return the second signal ``(…, channels of y)`` that the first one lets expect."""
        check_is_fitted(self)
        found = self.transform(X) @ self.components_y_ + self.mean_spectrum_y_
        return found[..., 0] if self.flat_ else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


def _numbers(y: Any) -> np.ndarray:
    y = y if isinstance(y, np.ma.MaskedArray) else np.asarray(y)
    if y.dtype.kind in "fiub":
        return y
    try:
        return y.astype(np.float64)
    except (TypeError, ValueError):
        raise EndmemberError(
            f"Unknown label type: the second signal holds {y.dtype} and must hold numbers"
        ) from None


class PLS(_Paired):
    r"""Partial least squares between two signals of one area, such as EELS and EDXS.

    .. math:: X \approx 1\mu^\top + T P^\top, \qquad Y \approx 1\nu^\top + T Q^\top

    Scores T that hold much of X and predict Y. With as many components as X has dimensions it is ordinary
    least squares; with few it leaves out what noise would carry over. Scores have signs and are no abundances.

    Parameters
    ----------
    n_components : int
        How many components, k.
    scale : bool
        Whether every channel is first divided by its standard deviation.

    Attributes
    ----------
    maps_ : ndarray, (*domain, k)
        Scores T of the first signal.
    components_ : ndarray, (k, n_channels)
        Loadings P of the first signal.
    components_y_ : ndarray, (k, channels of y)
        Loadings Q of the second: what goes with each map there.
    maps_y_ : ndarray, (*domain, k)
        Scores of the second signal.
    correlations_ : ndarray, (k,)
        Between the scores of both.
    mean_spectrum_, mean_spectrum_y_ : ndarray
        The mean spectra, which are taken off.
    rotations_ : ndarray, (k, n_channels)
        What the first signal, its mean taken off, is multiplied by for its maps.
    flat_ : bool
        Whether the second signal is an image, one value a pixel.
    n_components_, n_features_in_ : int
        How many components there are in the answer, and channels in the data.

    References
    ----------
    Wold, Sjöström & Eriksson, Chemom. Intell. Lab. Syst. 58 (2001) 109.

    Examples
    --------
    >>> X = np.random.default_rng(0).random((30, 3))
    >>> Y = X @ np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    >>> bool(np.allclose(PLS(3).fit(X, Y).predict(X), Y))
    True
    """

    in_words = (
        "The two signals were related by partial least squares (PLS) with {n_components} components"
    )
    references = (
        "S. Wold, M. Sjöström and L. Eriksson, Chemom. Intell. Lab. Syst. 58 (2001) 109.",
    )

    @stored
    def __init__(
        self,
        n_components: int | None = None,
        *,
        scale: bool = False,
    ) -> None:
        """Keep the parameters."""

    def _share(self, A: np.ndarray, B: np.ndarray, k: int) -> _Shared:
        from sklearn.cross_decomposition import PLSRegression

        size, size_y = _scale(A), _scale(B)
        pls = PLSRegression(k, scale=self.scale, max_iter=MAX_ITER, tol=TOLERANCE)
        pls.fit(A / size, B / size_y)
        spread = pls._x_std * size
        return _Shared(
            scores=pls.x_scores_, scores_y=pls.y_scores_,
            rotations=pls.x_rotations_ / spread[:, None],
            loadings=pls.x_loadings_ * spread[:, None],
            loadings_y=pls.y_loadings_ * (pls._y_std * size_y)[:, None],
        )  # fmt: skip


def _scale(A: np.ndarray) -> float:
    """Return the size of a block, so that thresholds of the solver mean the same in every unit."""
    return float(np.sqrt(np.mean(A**2))) or 1.0


class CCA(_Paired):
    r"""Canonical correlation analysis between two signals of one area, such as EELS and EDXS.

    .. math:: \max_{a, b}\ {\rm corr}(X a,\ Y b)

    and so on for further pairs without correlation to the earlier ones. Each signal is first reduced to its
    principal components: with as many as there are pixels, anything correlates with anything. It says what two
    detectors see alike, however weak, and not how much of the signal that is.

    Parameters
    ----------
    n_components : int
        How many pairs, k.
    principal : int, optional
        How many principal components of each signal take part, at most; 10, or with few pixels a
        tenth of their number, unless given.

    Attributes
    ----------
    maps_, maps_y_ : ndarray, (*domain, k)
        Canonical variates of both signals, of unit variance.
    components_, components_y_ : ndarray, (k, channels)
        The spectra that go with them: regression of each signal on its variates.
    correlations_ : ndarray, (k,)
        Falling.
    p_values_ : ndarray, (k,)
        Of Bartlett's test that this and all later correlations are zero, for independent pixels.
    mean_spectrum_, mean_spectrum_y_ : ndarray
        Means of both signals, (n_channels,) each, in the unit of the data.
    rotations_ : ndarray, (k, n_channels)
        What the first signal, its mean taken off, is multiplied by for its maps.
    flat_ : bool
        Whether the second signal is an image, one value a pixel.
    n_components_, n_features_in_ : int
        How many components there are in the answer, and channels in the data.

    References
    ----------
    Hotelling, Biometrika 28 (1936) 321. Bartlett, Math. Proc. Camb. Philos. Soc. 34 (1938) 33.

    Examples
    --------
    >>> X = np.random.default_rng(0).random((50, 3))
    >>> CCA(2).fit(X, X @ np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 3.0]])).correlations_.round(9)
    array([1., 1.])
    """

    in_words = (
        "The two signals, each reduced to its principal components, were related by canonical "
        "correlation analysis (CCA) with {n_components} pairs"
    )
    references = ("H. Hotelling, Biometrika 28 (1936) 321.",)

    @stored
    def __init__(self, n_components: int | None = None, *, principal: int | None = None) -> None:
        """Keep the parameters."""

    def _share(self, A: np.ndarray, B: np.ndarray, k: int) -> _Shared:
        most = max(k, min(MOST_PRINCIPAL, len(A) // PIXELS_EACH))
        if self.principal is not None:
            most = check_number_of_components(self.principal, "principal")
        T, loadings, rotations = _whitened(A, most)
        V, loadings_y, _ = _whitened(B, most)
        refuse_if(
            k > min(T.shape[1], V.shape[1]),
            Argument("n_components", k),
            f" is more than the signals share: they have {T.shape[1]} and {V.shape[1]} dimensions",
            Argument("", says=f" with principal={most}"),
            "; ask for fewer pairs",
            Argument("", says=" or raise principal"),
        )
        n = len(A)
        left, correlations, right = np.linalg.svd(T.T @ V / n, full_matrices=False)
        correlations = np.clip(correlations, 0.0, 1.0)
        self.p_values_ = _bartlett(correlations, n, T.shape[1], V.shape[1])[:k]
        left, right = left[:, :k], right[:k].T
        return _Shared(
            scores=T @ left, scores_y=V @ right, rotations=rotations @ left,
            loadings=loadings @ left, loadings_y=loadings_y @ right,
        )  # fmt: skip


def _whitened(A: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return principal scores of unit variance (n, p), the spectra that go with them and the way to new scores."""
    n, m = A.shape
    _, vectors = np.linalg.eigh(A.T @ A if m <= n else A @ A.T)
    V = vectors if m <= n else A.T @ vectors
    V = np.linalg.qr(V[:, ::-1][:, : min(most, n, m)])[0]
    left, values, right = np.linalg.svd(A @ V, full_matrices=False)
    kept = values > 1e-10 * max(values[0], np.finfo(float).tiny)
    values, rotation = values[kept] / np.sqrt(n), V @ right[kept].T
    return left[:, kept] * np.sqrt(n), rotation * values, rotation / values


def _bartlett(correlations: np.ndarray, n: int, p: int, q: int) -> np.ndarray:
    from scipy.stats import chi2

    with np.errstate(divide="ignore"):
        logs = np.log1p(-(correlations**2))
    statistic = -(n - 1 - (p + q + 1) / 2) * np.cumsum(logs[::-1])[::-1]
    order = np.arange(len(correlations))
    return chi2.sf(np.maximum(statistic, 0.0), (p - order) * (q - order))
