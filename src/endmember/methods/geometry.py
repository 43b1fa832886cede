"""Pure pixels: the corners of the simplex that all mixtures fill."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import clone

from endmember.errors import EndmemberTypeError, refuse_if
from endmember.factor.data import Data, Dense, Observed
from endmember.factor.geometry import extremes
from endmember.factor.loop import successive_projection
from endmember.factor.regression import Limits, least_squares
from endmember.methods.checks import (
    check_fits,
    check_positive_whole,
    generator,
)
from endmember.methods.estimator import SpectralEstimator, stored


class _PurePixels(SpectralEstimator):
    """What the searches for pure pixels share: spectra of the pixels found, and maps by least squares."""

    unit_of_spectra = ""
    _in_units = {"components_": 1}
    takes_weights = False

    _choices = {"closure": (True, False)}

    def _check_parameters(self) -> None:
        super()._check_parameters()
        noise = getattr(self, "noise", "auto")
        number = isinstance(noise, Real) and not isinstance(noise, bool)
        refuse_if(
            not (float(noise) >= 0 if number else noise in ("auto", "low", "high")),
            f'noise={noise!r} is not known; allowed: "auto", "low", "high", or the standard '
            "deviation of the noise, not negative",
        )

    def _projected(
        self, data: Data, observed: Observed, k: int, rng: np.random.Generator
    ) -> extremes.Projection:
        """Return the data without most of their noise, and learn how much there is."""
        level = self.noise if isinstance(self.noise, str) else float(self.noise) / observed.unit
        found = extremes.project(data, k, level, rng)
        self.signal_to_noise_ = found.signal_to_noise
        return found

    def _keep(self, observed: Observed, pixels: np.ndarray, spectra: np.ndarray) -> None:
        """Learn the pixels and the spectra (k, m) of the answer and the maps that go with them."""
        self.pixels_ = observed.rows[pixels]
        S = np.asarray(spectra, dtype=np.float64).T
        self.unique_ = bool(np.linalg.matrix_rank(S) == S.shape[1])
        self._learn(observed, self._maps_of(observed, S), S)

    def _maps_of(self, observed: Observed, S: np.ndarray) -> np.ndarray:
        if not self.closure:
            return super()._maps_of(observed, S)
        m, k = S.shape
        return least_squares(observed.data, S, np.ones(m), Limits(shares=np.ones(k)))


class VCA(_PurePixels):
    r"""Vertex component analysis: the pixels that are extreme in random directions are taken for pure.

    Mixtures of k spectra fill a simplex whose corners are the pure pixels. One after the other, the
    pixel is taken that reaches farthest along a random direction orthogonal to those found before; of
    several runs the one that spans the largest volume stays. With little noise pixels are first brought
    to the same brightness, with much of it they are projected on k − 1 principal components.

    Needs a pure pixel of every component in the data; use ``sampling`` where there is none.

    Parameters
    ----------
    n_components : int
        How many components, k, at most min(pixels, channels).
    sampling : None or ``em.SubspaceSampling()``
        Search among artificial spectra (or maps) that the data allow, in place of the pixels: finds
        components that are pure in no pixel.
    segments : int, optional
        Search in about so many tiles of the image and then among what was found there: finds phases
        that cover little of it.
    noise : "auto", "low", "high" or float
        Which projection: as the signal-to-noise ratio measured from the data says, told, or as it follows
        from the standard deviation of the noise, in the unit of the data.
    n_starts : int
        Runs.
    closure : bool
        Whether the maps of a pixel sum to one (fully constrained least squares), for pixels of equal
        thickness; non-negative least squares otherwise.
    random_state : int, numpy Generator, RandomState or None
        Seed of the directions.

    Attributes
    ----------
    components_ : ndarray, (k, n_channels)
        Spectra of the pixels found, in the unit of the data, without what lies outside the signal subspace;
        NaN at masked channels.
    maps_ : ndarray, (*domain, k)
        Abundances; NaN at masked pixels.
    pixels_ : ndarray of int, (k,)
        Where they were found, as flat indices of the domain (``numpy.unravel_index``); not with ``sampling``.
    unique_ : bool
        Whether every component has a pixel of its own: no spectrum found is a mixture of the others. With
        ``sampling`` as in :class:`~endmember.methods.sampling.SubspaceSampling`.
    signal_to_noise_ : float
        In dB, on which the choice of projection rests; without ``sampling``.
    n_components_, n_features_in_ : int
        How many components there are in the answer, and channels in the data.

    References
    ----------
    Nascimento & Bioucas-Dias, IEEE Trans. Geosci. Remote Sens. 43 (2005) 898. In segments, after the idea of Nie et
    al., Appl. Opt. 56 (2017) 2476.

    Examples
    --------
    >>> fractions = np.array([[1, 0], [0.5, 0.5], [0.2, 0.8], [0, 1]])
    >>> X = fractions @ np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])
    >>> sorted(map(int, VCA(2, random_state=0).fit(X).pixels_))
    [0, 3]
    """

    in_words = (
        "The spectra of {n_components} components were found by vertex component analysis (VCA)"
    )
    references = (
        "J. M. P. Nascimento and J. M. Bioucas-Dias, IEEE Trans. Geosci. Remote Sens. 43 (2005) 898.",
    )
    _whole = ("n_starts",)

    @property
    def unit_of_spectra(self) -> str:  # type: ignore[override]
        return "" if self.sampling is None else self.sampling.unit_of_spectra

    @stored
    def __init__(
        self,
        n_components: int | None = None,
        *,
        sampling: Any = None,
        segments: int | None = None,
        noise: str | float = "auto",
        n_starts: int = 20,
        closure: bool = False,
        random_state: Any = None,
    ) -> None:
        """Keep the parameters."""

    def parts(self) -> list[tuple[str, Any]]:
        return [] if self.sampling is None else [("searched among", self.sampling)]

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.segments is not None:
            check_positive_whole("segments", self.segments)
        if self.sampling is None:
            return
        refuse_if(
            not hasattr(self.sampling, "sampler"),
            f"sampling={self.sampling!r} samples nothing; give em.SubspaceSampling()",
            kind=EndmemberTypeError,
        )
        refuse_if(
            self.segments is not None or self.closure,
            "sampling goes with neither segments nor closure: artificial spectra lie in no tile and "
            "have no scale; leave one of them out",
        )

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Any) -> None:
        k, rng = check_fits(self, observed), generator(self.random_state)
        if self.sampling is not None:
            sampling = clone(self.sampling).set_params(
                n_components=k, n_starts=self.n_starts, random_state=int(rng.integers(2**31))
            )
            sampling._check_parameters()
            sampling._fit(observed, energy, None)
            learned = ("components_", "maps_", "n_components_", "unique_")
            self.restored({name: getattr(sampling, name) for name in learned})
            return
        data, pixels = observed.data.plain, np.arange(observed.data.shape[0])
        if self.segments is not None:
            parts = extremes.tiles(observed.domain, observed.rows, self.segments)
            white = observed.weighted_by_counts().scaled
            pixels, spectra = extremes.candidates(data, white, parts, k, rng)
            data = Dense(spectra) if len(spectra) >= k else data
        found = self._projected(data, observed, k, rng)
        runs = [extremes.vertex_components(found.Y, rng) for _ in range(self.n_starts)]
        index = extremes.largest_of(found.Y, runs)
        self._keep(observed, pixels[index], found.spectra(data.rows(index)))

    def _powers(self) -> dict[str, float]:
        return super()._powers() if self.sampling is None else {"maps_": 1}


class SPA(_PurePixels):
    """Successive projection: the brightest remainder is taken for pure and projected out, k times.

    Pixels are brought to the same sum first. Exact for noise-free data with a pure pixel of every
    component; deterministic, and the order is that of a QR decomposition with pivoting.

    Parameters
    ----------
    n_components : int
        How many components, k, at most min(pixels, channels).
    closure : bool
        Whether the maps of a pixel sum to one.

    Attributes
    ----------
    components_ : ndarray, (k, n_channels)
        Spectra of the pixels found, in their order, in the unit of the data; NaN at masked channels.
    maps_ : ndarray, (*domain, k)
        Abundances by non-negative least squares; NaN at masked pixels.
    pixels_ : ndarray of int, (k,)
        Where they were found, as flat indices of the domain.
    unique_ : bool
        As of :class:`VCA`.
    n_components_, n_features_in_ : int
        How many components there are in the answer, and channels in the data.

    References
    ----------
    Araújo et al., Chemom. Intell. Lab. Syst. 57 (2001) 65. Gillis & Vavasis, IEEE Trans. Pattern Anal. Mach.
    Intell. 36 (2014) 698.

    Examples
    --------
    >>> X = np.array([[1, 0], [0.5, 0.5], [0, 3]]) @ np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])
    >>> [int(pixel) for pixel in SPA(2).fit(X).pixels_]
    [2, 0]
    """

    in_words = "The spectra of {n_components} components were found by successive projection (SPA)"
    references = (
        "M. C. U. Araújo et al., Chemom. Intell. Lab. Syst. 57 (2001) 65.",
        "N. Gillis and S. A. Vavasis, IEEE Trans. Pattern Anal. Mach. Intell. 36 (2014) 698.",
    )

    @stored
    def __init__(self, n_components: int | None = None, *, closure: bool = False) -> None:
        """Keep the parameters."""

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Any) -> None:
        k = check_fits(self, observed)
        data = observed.data
        index = successive_projection(data.scaled, k)
        self._keep(observed, index, data.rows(index))


class NFINDR(_PurePixels):
    """N-FINDR: the k pixels that span the largest simplex, by exact sweeps over all pixels.

    One vertex after the other is exchanged for the pixel that makes the volume largest, until no
    exchange does; from the pixels of successive projection and from random ones. Noise is projected
    out as in :class:`VCA`.

    Parameters
    ----------
    n_components : int
        How many components, k, at most min(pixels, channels).
    noise : "auto", "low", "high" or float
        As in :class:`VCA`.
    n_starts : int
        Starts.
    closure : bool
        Whether the maps of a pixel sum to one.
    random_state : int, numpy Generator, RandomState or None
        Seed of the random starts.

    Attributes
    ----------
    components_ : ndarray, (k, n_channels)
        As of :class:`VCA`.
    maps_ : ndarray, (*domain, k)
        Abundances by non-negative least squares; NaN at masked pixels.
    pixels_ : ndarray of int, (k,)
        Where they were found, as flat indices of the domain.
    unique_ : bool
        As of :class:`VCA`.
    signal_to_noise_ : float
        In dB.
    n_components_, n_features_in_ : int
        How many components there are in the answer, and channels in the data.

    References
    ----------
    Winter, Proc. SPIE 3753 (1999) 266.

    Examples
    --------
    >>> X = np.array([[1, 0], [0.5, 0.5], [0, 3]]) @ np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])
    >>> sorted(map(int, NFINDR(2, random_state=0).fit(X).pixels_))
    [0, 2]
    """

    in_words = (
        "The spectra of {n_components} components were found by N-FINDR, from {n_starts} starts"
    )
    references = ("M. E. Winter, Proc. SPIE 3753 (1999) 266.",)
    _whole = ("n_starts",)

    @stored
    def __init__(
        self,
        n_components: int | None = None,
        *,
        noise: str | float = "auto",
        n_starts: int = 10,
        closure: bool = False,
        random_state: Any = None,
    ) -> None:
        """Keep the parameters."""

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Any) -> None:
        k = check_fits(self, observed)
        rng, data = generator(self.random_state), observed.data.plain
        found = self._projected(data, observed, k, rng)
        index = extremes.largest_simplex(found.Y, self.n_starts, rng)
        self._keep(observed, index, found.spectra(data.rows(index)))
