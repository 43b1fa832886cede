"""Linear projections: principal components."""

from __future__ import annotations

from typing import Any

import numpy as np

from endmember.factor.data import Centred, Data, Reweighted, count_scaled
from endmember.factor.inputs import Observed
from endmember.factor.lowrank import sketch
from endmember.methods.estimator import SpectralEstimator, check_fits, check_number_of_components

#: Principal components of noise lie close together: this many passes tell them apart.
POWER_PASSES = 8


class PCA(SpectralEstimator):
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
    singular_values_ : ndarray, (k,)
        Of the (centred, scaled) data, falling.
    explained_variance_ratio_ : ndarray, (k,)
        Share of each component in the sum of squares of the (centred, scaled) data.
    mean_ : ndarray, (n_channels,)
        The spectrum taken off; zero unless centred.
    n_components_, n_features_in_ : int

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

    in_words = "The data were projected on {n_components} principal components (PCA)"
    references = ("M. R. Keenan and P. G. Kotula, Surf. Interface Anal. 36 (2004) 203.",)

    singular_values_: np.ndarray
    explained_variance_ratio_: np.ndarray
    mean_: np.ndarray

    def __init__(
        self,
        n_components: int | None = None,
        *,
        centre: bool = False,
        scaling: str | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.centre = centre
        self.scaling = scaling
        self.random_state = random_state

    def _check_parameters(self) -> None:
        check_number_of_components(self.n_components)
        if self.scaling not in (None, "poisson"):
            raise ValueError(f'scaling={self.scaling!r} is not known; allowed: None, "poisson"')

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Any) -> None:
        k = check_number_of_components(self.n_components)
        check_fits(k, observed)
        data, r, c = self._scaled(observed.data)
        n, m = data.shape
        mean = np.zeros(m)
        if self.centre:
            mean = data.transposed_dot(np.full((n, 1), 1.0 / n))[:, 0]
            data = Centred(data, mean)
        seed = self.random_state
        if isinstance(seed, np.random.RandomState):
            seed = seed.randint(2**31)
        low = sketch(data, k, seed, POWER_PASSES)
        C, S = _with_signs(low.Z / r, low.V / c)
        self.singular_values_ = low.singular_values.astype(observed.data.dtype)
        total = data.squared_norm
        ratio = low.singular_values**2 / total if total > 0 else np.zeros(k)
        self.explained_variance_ratio_ = ratio.astype(observed.data.dtype)
        self.n_components_ = k
        self.mean_ = observed.spectra(mean[:, None] / c)[0]
        self._weights = observed.spectra(c**2)[0]
        self.components_, self.maps_ = observed.spectra(S), observed.maps(C)

    def _scaled(self, data: Data) -> tuple[Data, np.ndarray, np.ndarray]:
        """Return the data as they are decomposed, and the scale of every pixel and channel."""
        n, m = data.shape
        if self.scaling == "poisson" or isinstance(data, Reweighted):
            weighted = data if isinstance(data, Reweighted) else count_scaled(data)
            return weighted.scaled, *weighted.scales
        return data, np.ones((n, 1)), np.ones((m, 1))

    def _maps_of(self, observed: Observed, S: np.ndarray) -> np.ndarray:
        weighted = S * self._weights[observed.columns, None]
        mean = np.asarray(self.mean_, dtype=float)[observed.columns]
        return np.linalg.solve(weighted.T @ S, (observed.data.dot(weighted) - mean @ weighted).T).T

    def inverse_transform(self, X: Any) -> np.ndarray:
        return super().inverse_transform(X) + self.mean_


def _with_signs(C: np.ndarray, S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give spectra unit length and a positive largest entry; the product stays."""
    size = np.linalg.norm(S, axis=0)
    largest = S[np.argmax(np.abs(S), axis=0), np.arange(S.shape[1])]
    scale = np.where(largest < 0, -1.0, 1.0) * np.where(size > 0, size, 1.0)
    return C * scale, S / scale
