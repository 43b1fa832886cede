"""The noise of a spectrum image: what it is, measured from the data alone.

``X`` (n, m) is the data, n pixels by m channels; ``variance`` is that of one entry of ``X`` around
its mean. How weak a component may be before noise hides it: `endmember.factor.noise.photon_transfer`;
how to make it white: `endmember.factor.noise.whitening`.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from endmember.factor.columns import placed
from endmember.factor.data import (
    Data,
    Floats,
    Given,
    Grid,
    Indices,
    Observed,
    far_from_one,
    given,
    left_in,
    left_out,
)
from endmember.factor.noise.photon_transfer import LEAST_SHARE, ResidualFit, fit_noise
from endmember.factor.sketch.low_rank import is_compressed
from endmember.factor.sketch.passes import largest_size

_MAX_ENTRIES = 1_200_000  # looked at by `estimate_noise`: enough for a gain to 0.3 %
_SEED = 20110
_FEW_COUNTS = 10.0  # expected of counts where a fit leaves nothing: e^−10 is their chance to do so
_CORRELATION_WORTH_NAMING = 0.05
_DENOISING = {"denoise", "separate_outliers"}  # steps of a history after which noise is no noise


@dataclass(frozen=True)
class NoiseModel:
    """How the variance of an entry follows from its mean, and whether entries are independent.

    ``variance(mean) = gain (mean − offset)^power + read_variance``

    Attributes
    ----------
    gain : float
        Variance per unit of mean, in data units per count (1 for counts, 0 for constant noise).
    offset : float
        Mean at which no counts arrive, in data units (a pedestal of the detector).
    read_variance : float
        Variance that is there without any counts, in data units squared.
    channel_correlation, pixel_correlation : float
        Correlation of the noise of neighbouring channels and pixels; nan where not known.
    poisson : bool
        True for pure counts: whole numbers whose variance is their mean.
    outliers : float
        Fraction of entries left out of the estimate as spikes.
    dispersion : float
        Measured variance of counts divided by their mean (1 for ideal counting).
    gain_error, correlation_error : float
        Standard errors of the gain and of the correlations; 0 where the model was not estimated. An infinite
        ``gain_error``: whole numbers were taken for counts, since too few spectra can tell.
    unknown : str
        Why the noise could not be measured; gain and read variance are nan then, and so is everything that is
        worked out from them. Empty where it is known.
    power : float
        With which power of the mean above the offset the variance grows: 1 for counts, 2 for noise in proportion.

    Examples
    --------
    >>> float(NoiseModel(gain=2.0, read_variance=9.0).variance(8.0))
    25.0
    """

    gain: float = 1.0
    offset: float = 0.0
    read_variance: float = 0.0
    channel_correlation: float = 0.0
    pixel_correlation: float = 0.0
    poisson: bool = False
    outliers: float = 0.0
    dispersion: float = 1.0
    gain_error: float = 0.0
    correlation_error: float = 0.0
    power: float = 1.0
    unknown: str = ""

    def draw(self, mean: Floats, rng: np.random.Generator) -> Floats:
        """Return data with this mean and noise."""
        if self.power == 1 and self.gain > 0 and self.offset == self.read_variance == 0:
            return self.gain * rng.poisson(np.maximum(mean, 0.0) / self.gain)
        return mean + rng.standard_normal(mean.shape) * np.sqrt(self.variance(mean))

    def variance(self, mean: ArrayLike) -> Floats:
        """Variance of entries with these means, never below the read noise.

        Parameters
        ----------
        mean : array_like
            Expected data, in data units.

        Returns
        -------
        ndarray
            ``gain max(mean − offset, 0)^power + read_variance``, of the same shape.
        """
        above = np.maximum(np.asarray(mean) - self.offset, 0)
        return self.gain * above**self.power + self.read_variance

    def times(self, factor: float) -> "NoiseModel":
        """Return the noise of the data times a factor."""
        slope = factor ** (2 - self.power)
        return replace(
            self, gain=self.gain * slope, gain_error=self.gain_error * slope, offset=self.offset * factor,
            read_variance=self.read_variance * factor**2,
        )  # fmt: skip

    @property
    def white(self) -> bool:
        """Whether neighbouring channels and pixels are independent, as far as can be told."""
        return not self._correlated()

    def _correlated(self) -> dict[str, float]:
        """Return the correlations of neighbours that are worth naming, by what are neighbours."""
        limit = max(_CORRELATION_WORTH_NAMING, 5 * self.correlation_error)
        pair = {"channels": self.channel_correlation, "pixels": self.pixel_correlation}
        return {name: value for name, value in pair.items() if abs(value) > limit}

    def sentence(self) -> str:
        """Say in one sentence what the noise is."""
        deviation = math.sqrt(max(self.read_variance, 0.0))
        rests = (
            (
                self.read_variance > 0,
                f"on top of a read noise of {deviation:.3g} (standard deviation)",
            ),
            (self.offset != 0, f"counted from an offset of {self.offset:.3g} data units"),
            (True, "and no read noise is seen"),
        )
        rest = next(said for holds, said in rests if holds)
        cases = (
            (self.unknown, f"The noise cannot be measured: {self.unknown}."),
            (
                self.poisson,
                "The data are counts with Poisson noise: the variance equals the mean.",
            ),
            (self.gain == self.read_variance == 0, "The data carry no noise above rounding."),
            (
                self.gain == 0,
                f"The noise is the same everywhere, with a standard deviation of {deviation:.3g} data units.",
            ),
            (
                True,
                f"The variance grows with the signal by {self.gain:.3g} data units per data unit, {rest}.",
            ),
        )
        return next(said for holds, said in cases if holds)

    def warnings(self) -> list[str]:
        """List what a user should know before trusting the noise model."""
        cases = (
            (
                math.isinf(self.gain_error),
                "So few spectra cannot tell what their noise is: whole numbers were taken for plain counts.",
            ),
            *(
                (
                    True,
                    f"The noise of neighbouring {name} is correlated ({value:+.2f}), so tests that "
                    "take it for independent would count too many components.",
                )
                for name, value in self._correlated().items()
            ),
            (
                abs(self.dispersion - 1) > max(0.1, 5 * self.gain_error),
                f"The counts scatter {self.dispersion:.2f} times as much as counting explains "
                "(dead time, resampling, or structure that the fit has missed).",
            ),
            (
                self.outliers > 1e-5,
                f"{100 * self.outliers:.2g} % of the entries look like spikes and were left out of the "
                "noise estimate; consider removing spikes first.",
            ),
        )
        return [said for holds, said in cases if holds]

    def to_hyperspy(self) -> dict[str, float]:
        """Return the model as HyperSpy's ``Variance_linear_model``.

        Returns
        -------
        dict
            ``gain_factor``, ``gain_offset`` and ``correlation_factor``, to be stored under
            ``metadata.Signal.Noise_properties.Variance_linear_model``; HyperSpy's variance is
            ``correlation_factor · (gain_factor · mean + gain_offset)``.
        """
        return {
            "gain_factor": self.gain,
            "gain_offset": self.read_variance - self.gain * self.offset,
            "correlation_factor": 1.0,
        }

    @classmethod
    def from_hyperspy(cls, linear_model: dict[str, Any]) -> "NoiseModel":
        """Read HyperSpy's ``Variance_linear_model``.

        Parameters
        ----------
        linear_model : dict
            As returned by `to_hyperspy`; missing entries take HyperSpy's defaults (1, 0, 1).

        Examples
        --------
        >>> NoiseModel.from_hyperspy({"gain_factor": 2.0, "gain_offset": 3.0}).read_variance
        3.0
        """
        correlation = float(linear_model.get("correlation_factor", 1.0))
        slope = float(linear_model.get("gain_factor", 1.0)) * correlation
        intercept = float(linear_model.get("gain_offset", 0.0)) * correlation
        return cls(**_line(slope, intercept), poisson=slope == 1.0 and intercept == 0.0)


def estimate_noise(
    X: Any,
    *,
    domain: tuple[int, ...] | None = None,
    mask: Any = None,
    channel_mask: Any = None,
) -> NoiseModel:
    """Measure gain, read noise and correlation from the data alone.

    The residual of a low-rank fit is noise; its mean square in bins of equal expected signal is a
    straight line in the mean signal (the photon transfer curve): the slope is the gain, the
    intercept the read variance. Spikes are left out, and the share of the noise that the fit
    absorbs (its leverage) is given back. Large images are judged on a few hundred pixels, drawn
    in 2 × 2 patches with a fixed seed.

    Parameters
    ----------
    X : array_like, sparse matrix, Dask array, HyperSpy signal, shape (..., channels), or Observed, or Data
        The data; whole numbers or floats, NaN = missing. What `observe` has read has its masks already.
    domain : tuple of int, optional
        Shape of the image when ``X`` is a matrix; without it the correlation of neighbouring
        pixels of a matrix stays nan.
    mask : array_like of bool or HyperSpy signal, shape of the image, optional
        True = pixel left out.
    channel_mask : array_like of bool or HyperSpy signal, shape (channels,), optional
        True = channel left out.

    Returns
    -------
    NoiseModel
        Where the noise cannot be measured, one that says why (`NoiseModel.unknown`): because so few spectra are
        left that all of them may be signal, or because the data were denoised or compressed before, so that
        what a fit leaves is not their noise. Few whole numbers are taken for counts. The noise of images, data with
        a single channel, comes from mixed second differences.

    Raises
    ------
    ValueError
        If the data have no axis of channels.

    References
    ----------
    J. R. Janesick, *Photon Transfer*, SPIE Press (2007).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> clean = rng.random((300, 2)) @ rng.random((2, 60)) * 20
    >>> round(estimate_noise(3.0 * rng.poisson(clean)).gain, 1)
    3.0
    """
    taken = X if isinstance(X, Observed) else given(X)
    if denoised := denoised_before(taken):
        return _unmeasured(denoised)
    data, rows, columns, domain = _places(taken, domain, mask, channel_mask)
    if columns.size == 1 and domain is not None:
        return _noise_of_image(_dense(data, rows, rows, columns), rows, domain)
    if rows.size < 2 or columns.size < 2:
        return _unmeasured(
            f"{rows.size} pixels and {columns.size} channels are left, at least 2 of each are needed"
        )
    pixels, block = _sampled_block(data, rows, columns, domain)
    if isinstance(taken, Given) and taken.hidden is not None:
        block[taken.hidden.reshape(-1, taken.shape[-1])[pixels][:, columns]] = np.nan
    exponent = far_from_one(largest_size(block), block.dtype)
    precision = float(np.finfo(np.promote_types(data.dtype, np.float32)).eps)
    noise = _noise_of_block(np.ldexp(block, -exponent), pixels, columns, domain, precision)
    return noise.times(2.0**exponent)


def _noise_of_block(
    block: Floats,
    pixels: Indices,
    columns: Indices,
    domain: tuple[int, ...] | None,
    precision: float,
) -> NoiseModel:
    """Return the noise of the spectra of some pixels, whose values are near one."""
    fit = fit_noise(block)
    slope, intercept = _settle_line(fit, block, precision)
    silent, poisson = (slope, intercept) == (0, 0), (slope, intercept) == (1, 0)
    if not (fit.complete or silent) or _hides_counts(fit, block):  # all may be signal
        return counting_noise(block) or _unmeasured(
            f"{block.shape[0]} pixels of {block.shape[1]} channels hold too many components to tell noise from them, "
            "and are no counts; at least three pixels and channels for each are needed"
        )
    axis = None if silent else Grid((int(columns[-1]) + 1,), columns)
    image = None if silent or domain is None else Grid(domain, pixels)
    channel_correlation, channel_error = _correlation(
        fit.residual.T, fit.variance.T, fit.right, axis
    )
    pixel_correlation, pixel_error = _correlation(fit.residual, fit.variance, fit.left, image)
    return NoiseModel(
        **_line(slope, intercept),
        channel_correlation=channel_correlation,
        pixel_correlation=pixel_correlation,
        poisson=poisson,
        outliers=0.0 if silent else float(1 - fit.valid.mean()),
        dispersion=fit.slope if poisson else 1.0,
        gain_error=fit.slope_error,
        correlation_error=max(channel_error, pixel_error),
    )


def _hides_counts(fit: ResidualFit, block: Floats) -> bool:
    """Tell whether whole numbers are so few, where the fit leaves noise, that what it leaves says nothing of counts."""
    left = float(np.sum(fit.share * block, where=fit.valid & (fit.share >= LEAST_SHARE)))
    return bool(np.nanmax(block) > 0) and left < _FEW_COUNTS and _count_tolerance(block) > 0


def known_noise(X: Any) -> NoiseModel | None:
    """Return what `estimate_noise` measures, or None where the noise cannot be measured."""
    noise = estimate_noise(X)
    return None if noise.unknown else noise


def denoised_before(X: Given | Observed) -> str:
    """Say what took noise out of the data before, as far as they know; empty where nothing did."""
    data = X.data if isinstance(X, Observed) else X.array
    if isinstance(data, Data) and is_compressed(data):
        return "the data are compressed, and what a fit leaves of them is not their noise"
    if gone := sorted(_DENOISING & {step.get("step") for step in X.history}):
        return (
            f"the data went through {' and '.join(gone)} before, and what a fit leaves of them is not the noise "
            "of the recording; measure it on the data as they were recorded"
        )
    return ""


def _unmeasured(why: str) -> NoiseModel:
    nan = math.nan
    return NoiseModel(nan, 0.0, nan, nan, nan, gain_error=nan, correlation_error=nan, unknown=why)


def counting_noise(block: Floats) -> NoiseModel | None:
    """Return the noise of counts, unmeasured, or None for data that are none."""
    noise = NoiseModel(poisson=True, pixel_correlation=math.nan, gain_error=math.inf)
    return noise if _count_tolerance(block) > 0 else None


def _noise_of_image(values: Floats, pixels: Indices, domain: tuple[int, ...]) -> NoiseModel:
    """Return the constant noise of an image, from its mixed second differences; the image itself has hardly any."""
    if len(domain) != 2 or min(domain) < 3:
        return _unmeasured("a single channel needs an image of at least 3 x 3 pixels")
    image = placed(values[:, 0], pixels, math.prod(domain), math.nan)
    mixed = np.diff(np.diff(image.reshape(domain), axis=0), axis=1)
    deviation = 1.4826 * np.nanmedian(np.abs(mixed - np.nanmedian(mixed))) / 2.0
    return NoiseModel(gain=0.0, read_variance=float(deviation**2))


def _places(
    X: Given | Observed, domain: tuple[int, ...] | None, mask: Any, channel_mask: Any
) -> tuple[Any, Indices, Indices, tuple[int, ...] | None]:
    """Return the matrix, which pixels of the image and which channels take part, and the shape of the image."""
    if isinstance(X, Observed):
        return X.data.counts, X.rows, X.columns, X.domain if len(X.domain) > 1 else domain
    if isinstance(X.array, Data):
        return X.array, np.arange(X.shape[0]), np.arange(X.shape[1]), domain
    domain = domain or X.domain
    masked = left_out(mask, domain or X.shape[:-1], X.pixels, "mask", "pixels")
    channels = left_out(channel_mask, X.shape[-1:], (X.axis,), "channel_mask", "channels")
    n, n_channels = X.matrix.shape
    return X.matrix, left_in(masked, n), left_in(channels, n_channels), domain


def _dense(data: Any, pixels: Indices, rows: Indices, columns: Indices) -> Floats:
    """Return some of the pixels that take part, as float64; NaN where an entry is missing."""
    if not isinstance(data, Data):
        block = data[pixels].toarray() if sp.issparse(data) else data[pixels]
        return np.asarray(block, dtype=np.float64)[:, columns]
    index = np.searchsorted(rows, pixels)
    block = data.rows(index)
    return block if data.W is None else np.where(data.W[index] > 0, block, math.nan)


def _sampled_block(
    data: Any, rows: Indices, columns: Indices, domain: tuple[int, ...] | None
) -> tuple[Indices, Floats]:
    """Return the pixels that are looked at and their spectra; empty ones say nothing of noise."""
    pixels = _sample_pixels(rows, domain, columns.size)
    block = _dense(data, pixels, rows, columns)
    if isinstance(data, Data) or 2 * np.count_nonzero(block.any(axis=1)) >= len(block):
        return pixels, block
    filled = rows[np.asarray((data[rows] != 0).sum(axis=1)).ravel() > 0]
    if filled.size >= 2:
        pixels = _sample_pixels(filled, domain, columns.size)
    return pixels, _dense(data, pixels, rows, columns)


def _sample_pixels(pixels: Indices, domain: tuple[int, ...] | None, m: int) -> Indices:
    """Pixels for about `_MAX_ENTRIES` entries, in 2 × 2 patches of the image (or runs of 4)."""
    wanted = min(max(_MAX_ENTRIES // m, 600), 4000)
    if pixels.size <= wanted:
        return pixels
    if domain is None or len(domain) == 1:
        patch = pixels // 4
    else:
        rows, columns = np.divmod(pixels, domain[-1])
        patch = (rows // 2) * ((domain[-1] + 1) // 2) + columns // 2
    rank = np.random.default_rng(_SEED).permutation(int(patch.max()) + 1)[patch]
    return pixels[rank <= np.partition(rank, wanted - 1)[wanted - 1]]


def _settle_line(fit: ResidualFit, block: Floats, precision: float) -> tuple[float, float]:
    """Slope and intercept with everything insignificant set to exactly 0, or 1 for counts."""
    trusted = fit.valid & (fit.share >= LEAST_SHARE)
    power = float(np.mean(fit.residual[trusted] ** 2 / fit.share[trusted])) if trusted.any() else 0
    if power <= (100 * precision) ** 2 * fit.signal_power:
        return 0.0, 0.0
    slope, intercept = fit.slope, fit.intercept
    tolerance = _count_tolerance(block)
    near_one = abs(slope - 1) <= min(max(4 * fit.slope_error, tolerance), 0.5)
    expected = abs(slope) * fit.mean_signal
    allowed = min(max(4 * fit.intercept_error, tolerance * expected), 0.5 * expected)
    if tolerance > 0 and near_one and abs(intercept) <= allowed:
        return 1.0, 0.0
    if slope <= 3 * fit.slope_error:
        return 0.0, power
    if abs(intercept) <= 3 * fit.intercept_error and fit.mean_signal > 0:
        return power / fit.mean_signal, 0.0
    return slope, intercept


def _count_tolerance(block: Floats) -> float:
    """How far the variance of counts may be from their mean; 0 where the data are not counts.

    Where single counts are common the quantum of the data is one event, and a variance off the
    mean tells of dead time or of structure, not of a gain.
    """
    known = block[np.isfinite(block)]
    exact = np.max(known, initial=0.0) < 1 / np.finfo(float).eps  # beyond it, all numbers are whole
    if not exact or np.any(known < 0) or np.any(np.mod(known, 1) != 0):
        return 0.0
    ones, others = np.count_nonzero(known == 1), np.count_nonzero(known > 1)
    return 0.5 if 3 * ones >= others else 0.05


def _line(slope: float, intercept: float) -> dict[str, Any]:
    """Gain, offset and read variance of a line; a negative intercept is an offset."""
    return (
        {"gain": slope, "offset": 0.0, "read_variance": max(intercept, 0.0)}
        if intercept >= 0 or slope <= 0
        else {"gain": slope, "offset": -intercept / slope, "read_variance": 0.0}
    )


def _neighbour_correlation(
    residual: Floats, spread: Floats, basis: Floats, pairs: Indices
) -> tuple[float, float]:
    """Correlation of the rows ``pairs[0]`` with ``pairs[1]`` of a residual, and its error.

    A fit on orthonormal ``basis`` leaves ``(I − basis basisᵀ) noise``, whose rows are correlated
    by −(basis basisᵀ) even if those of the noise are not; that much is added back.
    """
    first, second = pairs
    scaled = residual / np.sqrt(spread)
    one, other = scaled[first], scaled[second]
    power = math.sqrt(float(np.sum(one**2)) * float(np.sum(other**2)))
    if power == 0:  # nothing is left, or there are no neighbours
        return math.nan, 0.0
    absorbed = float(np.mean(np.sum(basis[first] * basis[second], axis=1)))
    error = math.sqrt(float(np.sum(one**2 * other**2))) / power
    return float(np.sum(one * other)) / power + absorbed, error


def _correlation(
    residual: Floats, variance: Floats, basis: Floats, places: Grid | None
) -> tuple[float, float]:
    """Correlation of neighbouring rows, and its error, along the axis along which they are most alike."""
    spread = variance + variance.mean()
    pairs = [places.neighbours(axis).T for axis in range(places.n_axes)] if places else []
    found = [_neighbour_correlation(residual, spread, basis, pair) for pair in pairs]
    known = [pair for pair in found if not math.isnan(pair[0])]
    return max(known, key=lambda pair: abs(pair[0]), default=(math.nan, 0.0))
