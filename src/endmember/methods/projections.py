"""Linear projections: principal and independent components."""

import warnings
from typing import Any

import numpy as np

from endmember.errors import Argument, refuse_if
from endmember.factor.columns import unit_columns
from endmember.factor.data import Centred, Data, Observed, count_scaled
from endmember.factor.scale.carriers import rescale
from endmember.factor.sketch.low_rank import FINE_PASSES, LowRank, sketch
from endmember.methods.checks import (
    check_fits,
    check_weights,
    generator,
    of_this_size,
)
from endmember.methods.estimator import SpectralEstimator, stored

#: Of scikit-learn's FastICA.
MAX_ITER, TOLERANCE = 500, 1e-6
#: A direction whose variance is below this fraction of the largest does not vary.
SAME = 1e-14


class _Projection(SpectralEstimator):
    """What projections of (scaled) data share: components with signs, and the way back to their maps."""

    signed = True
    takes_weights = False
    _choices = {"scaling": (None, "poisson")}

    def _keep(self, observed: Observed, C: np.ndarray, S: np.ndarray, c: np.ndarray) -> None:
        """Learn maps (n, k) and spectra (m, k) of data whose channels were scaled by c (m, 1)."""
        self.channel_weights_ = observed.spectra(c**2)[0]
        self._learn(observed, C, S)

    def _maps_of(self, observed: Observed, S: np.ndarray) -> np.ndarray:
        check_weights(self, observed)
        weighted = S * self.channel_weights_[observed.columns, None]
        projected, mean = observed.data.dot(weighted), self._offset()
        if mean is not None:
            projected = projected - mean[observed.columns].astype(float) @ weighted
        return np.linalg.solve(weighted.T @ S, projected.T).T


class PCA(_Projection):
    r"""Principal component analysis of a spectrum image, plain or scaled for counts.

    The best approximation of rank k, :math:`X \approx 1\mu^\top + C S^\top`, in least squares or, with
    ``scaling="poisson"``, in least squares weighted by counts. Components have signs and mix chemical states: use
    them to see how many there are and to compare, not as spectra of anything.

    Parameters
    ----------
    n_components : int
        How many components, k, at most min(pixels, channels).
    centre : bool
        Whether the mean spectrum is taken off first. Uncentred, the first component is close to it.
    scaling : None or "poisson"
        "poisson" weights pixels and channels by their counts, which whitens the noise of counts;
        components and maps are given back in the unit of the data.
    random_state : int, numpy Generator, RandomState or None
        For the random projection that large data are reduced by.

    Attributes
    ----------
    components_ : ndarray, (k, n_channels)
        Of unit length, each with its largest entry positive; orthogonal unless scaled.
    maps_ : ndarray, (*domain, k)
        Amounts in the unit of the data, of either sign; NaN at masked pixels.
    singular_values_ : ndarray, (k,)
        Of the (centred, scaled) data, falling.
    explained_variance_ratio_ : ndarray, (k,)
        Share of each component in the sum of squares of the (centred, scaled) data.
    mean_spectrum_ : ndarray, (n_channels,)
        The spectrum taken off; zero unless centred.
    channel_weights_ : ndarray, (n_channels,)
        How much every channel counts in :meth:`transform`: 1 unless scaled.
    n_components_, n_features_in_ : int
        How many components there are in the answer, and channels in the data.

    References
    ----------
    Keenan & Kotula, Surf. Interface Anal. 36 (2004) 203. Halko, Martinsson & Tropp, SIAM Rev. 53
    (2011) 217.

    Examples
    --------
    >>> X = np.outer([1.0, 2.0, 2.0], [0.0, 3.0, 4.0])
    >>> PCA(1).fit(X).components_
    array([[0. , 0.6, 0.8]])
    """

    _in_units = {**_Projection._in_units, "singular_values_": 1}
    in_words = "The data were projected on {n_components} principal components (PCA)"
    references = ("M. R. Keenan and P. G. Kotula, Surf. Interface Anal. 36 (2004) 203.",)

    @stored
    def __init__(
        self,
        n_components: int | None = None,
        *,
        centre: bool = False,
        scaling: str | None = None,
        random_state: Any = None,
    ) -> None:
        """Keep the parameters."""

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Any) -> None:
        k = check_fits(self, observed)
        mean, low, data, (r, c) = _principal(
            observed.data, k, self.scaling, self.random_state, self.centre
        )
        C, S = _with_signs(low.Z / r, low.V / c)
        self.singular_values_ = low.singular_values.astype(observed.data.dtype)
        total = data.squared_norm
        ratio = low.singular_values**2 / total if total > 0 else np.zeros(k)
        self.explained_variance_ratio_ = ratio.astype(observed.data.dtype)
        self.mean_spectrum_ = observed.spectra(mean[:, None] / c)[0]
        self._keep(observed, C, S, c)

    def _offset(self) -> np.ndarray | None:
        return self.mean_spectrum_ if self.centre else None


def _principal(
    data: Data, k: int, scaling: str | None, random_state: Any, centre: bool = False
) -> tuple[np.ndarray, LowRank, Data, tuple[np.ndarray, np.ndarray]]:
    """Return the mean, the k principal components, the (scaled, centred) data and their scales."""
    weighted = count_scaled(data) if scaling == "poisson" else data.plain
    data, (r, c) = weighted.scaled, weighted.scales
    n, m = data.shape
    mean = np.zeros(m)
    if centre:
        mean = data.transposed_dot(np.full((n, 1), 1.0 / n))[:, 0]
        data = Centred(data, mean)
    return mean, sketch(data, k, generator(random_state), FINE_PASSES), data, (r, c)


def _with_signs(C: np.ndarray, S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give spectra unit length and a positive largest entry; the product stays."""
    C, S = rescale(C, S, ("spectra", "l2"), np.empty(0))
    sign = np.where(S[np.argmax(np.abs(S), axis=0), np.arange(S.shape[1])] < 0, -1.0, 1.0)
    return C * sign, S * sign


class ICA(_Projection):
    r"""Independent component analysis: FastICA on the principal components of a spectrum image.

    .. math:: X \approx C_{\rm PCA} S_{\rm PCA}^\top = (C_{\rm PCA} U^\top)(S_{\rm PCA} U^{-1})^\top

    The rotation and scaling U makes the maps (or the spectra, or their derivatives) as far from Gaussian
    as it can. Nothing keeps components positive, and what is not independent comes out wrong: a map
    that avoids another one is not. With noise of counts use ``scaling="poisson"``.

    Parameters
    ----------
    n_components : int
        How many components, k.
    independent : "maps", "spectra" or "derivatives"
        What is taken for independent: maps over the pixels, spectra over the channels, or first
        derivatives of the spectra, which suit overlapping EELS edges better.
    scaling : None or "poisson"
        As in ``em.PCA``.
    random_state : int, numpy Generator, RandomState or None

    Attributes
    ----------
    components_ : ndarray, (k, n_channels)
        Of unit length, each with its largest entry positive.
    maps_ : ndarray, (*domain, k)
        Amounts in the unit of the data, of either sign; NaN at masked pixels.
    channel_weights_ : ndarray, (n_channels,)
        As in ``em.PCA``.
    n_components_, n_features_in_ : int
        How many components there are in the answer, and channels in the data.

    References
    ----------
    Hyvärinen & Oja, Neural Netw. 13 (2000) 411. de la Peña et al., Ultramicroscopy 111 (2011) 169.

    Examples
    --------
    >>> sources = np.random.default_rng(0).random((2000, 2))
    >>> ica = ICA(2, random_state=0).fit(sources @ np.array([[1.0, 0.0, 2.0], [1.0, 2.0, 0.0]]))
    >>> ica.components_[np.argsort(ica.components_[:, 1])].round(1)
    array([[ 0.4, -0. ,  0.9],
           [ 0.4,  0.9, -0. ]])
    """

    in_words = (
        "Independent component analysis (FastICA) of the {independent} was made on "
        "{n_components} principal components"
    )
    references = (
        "A. Hyvärinen and E. Oja, Neural Netw. 13 (2000) 411.",
        "F. de la Peña et al., Ultramicroscopy 111 (2011) 169.",
    )
    _choices = {**_Projection._choices, "independent": ("maps", "spectra", "derivatives")}

    @stored
    def __init__(
        self,
        n_components: int | None = None,
        *,
        independent: str = "maps",
        scaling: str | None = None,
        random_state: Any = None,
    ) -> None:
        """Keep the parameters."""

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Any) -> None:
        from sklearn.decomposition import FastICA

        k, seed = check_fits(self, observed), generator(self.random_state)
        _, low, _, (r, c) = _principal(observed.data, k, self.scaling, seed)
        C, S = _with_signs(low.Z / r, low.V / c)
        C, S = unit_columns(C), S * np.linalg.norm(C, axis=0)
        rows = C if self.independent == "maps" else unit_columns(S)
        rows = np.diff(rows, axis=0) if self.independent == "derivatives" else rows
        refuse_if(
            len(rows) < max(2, k),
            f"independent {self.independent} need more than {len(rows)} samples for ",
            Argument("n_components", k),
            "; the data have ",
            *of_this_size(len(C), len(S)),
        )
        white, K = _whitened(rows, self.independent)
        fast = FastICA(
            whiten=False, max_iter=MAX_ITER, tol=TOLERANCE, random_state=int(seed.integers(2**31))
        )
        _warn_of_gaussians(fast.fit_transform(white))
        U = fast.components_ @ K
        if self.independent == "maps":
            C, S = C @ U.T, S @ np.linalg.inv(U)
        else:
            size = np.linalg.norm(S, axis=0)
            C, S = C * size @ np.linalg.inv(U), S / size @ U.T
        self._keep(observed, *_with_signs(C, S), c)


def _whitened(rows: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return samples (n, k) without mean, of unit covariance, and the symmetric matrix that makes them so.

    The symmetric one is unique even where variances are equal, so rounding errors do not turn the start.
    """
    rows = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    varying = int(np.count_nonzero(values > SAME * max(values[-1], SAME / len(rows))))
    refuse_if(
        varying < len(values),
        Argument("n_components", len(values)),
        f" independent {what} are more than the data hold: {varying} vary in their own way; "
        "ask for fewer components",
    )
    K = vectors / np.sqrt(values) @ vectors.T
    return rows @ K, K


def _warn_of_gaussians(sources: np.ndarray) -> None:
    """Warn where two sources are as good as Gaussian: nothing tells such a pair from any mixture of the two."""
    n = len(sources)
    z = (sources - sources.mean(axis=0)) / np.maximum(sources.std(axis=0), 1e-300)
    flat = np.abs(np.mean(z**4, axis=0) - 3) < 3 * np.sqrt(24 / n)
    even = np.abs(np.mean(z**3, axis=0)) < 3 * np.sqrt(6 / n)
    if n > 100 and np.count_nonzero(flat & even) > 1:
        warnings.warn(
            f"{np.count_nonzero(flat & even)} of {sources.shape[1]} components are nearly Gaussian, and ICA cannot "
            "tell these from their mixtures; ask for fewer components, or try what else is independent",
            UserWarning,
            stacklevel=6,
        )
