"""The detector: dark counts and gain, dead and hot channels, afterglow, and the pattern it always adds.

The fixed pattern of a camera is the same in every spectrum, so that a fit takes it for a component.
When the spectrum is moved over the camera between acquisitions, the two can be told apart.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import minimize_scalar

from endmember.errors import refuse_if
from endmember.factor.data import Floats, is_lazy, unwrap
from endmember.preprocess.lifting import Cropped, as_array, lifted

_TOLD = 1e-10  # precision, relative to the largest, of what the shifts tell of a pattern
_DECADES = 30  # either way, of the variance of a pattern over that of the noise


@lifted(missing=True)
def correct_detector(
    X: Any,
    dark: Any = 0.0,
    gain: Any = 1.0,
    *,
    conversion: float = 1.0,
    read_variance: float = 0.0,
    dark_variance: Any = 0.0,
    with_variance: bool = False,
) -> Any:
    """Subtract what the camera shows without a beam and divide by what it makes of equal light.

    ``y = (X − dark) / gain`` with ``var y = (max(y, 0) gain · conversion + read_variance +
    dark_variance) / gain²``: the electrons that a channel registers are Poisson counts whose mean is
    in proportion to ``gain``, and each makes ``conversion`` camera units.

    Parameters
    ----------
    X : array_like, Dask array or HyperSpy signal, (*domain, channels)
        Raw data in camera units.
    dark : float, array_like or signal
        Mean dark spectrum, for the same exposure, in camera units: one number, one a channel, or
        the shape of ``X``.
    gain : float, array_like or signal
        Response to equal light, about 1; likewise. Channels where it is 0 or less become NaN:
        leave them out with `bad_channels`.
    conversion : float
        Camera units for each electron.
    read_variance : float
        Variance of one reading without light, in camera units squared.
    dark_variance : float or array_like
        Squared error of ``dark`` (its variance divided by the number of frames averaged).
    with_variance : bool
        Return the variance as well.

    Returns
    -------
    ndarray, Dask array or HyperSpy signal
        As ``X``; with ``with_variance`` a pair of them. ``1 / variance`` are weights of a fit.

    Raises
    ------
    ValueError
        Shapes do not match, or a variance or the conversion is negative.

    Examples
    --------
    >>> y, variance = correct_detector([[12.0, 30.0]], dark=10.0, gain=[1.0, 2.0], with_variance=True)
    >>> y.tolist(), variance.tolist()
    ([[2.0, 10.0]], [[2.0, 5.0]])
    """
    dark, gain, dark_variance = (_beside(X, part) for part in (dark, gain, dark_variance))
    refuse_if(
        conversion <= 0
        or read_variance < 0
        or not is_lazy(dark_variance)
        and np.any(dark_variance < 0),
        f"conversion={conversion} must be positive and read_variance={read_variance} and "
        "dark_variance not negative",
    )
    gain = np.where(gain > 0, gain, np.nan)
    corrected = (X - dark) / gain
    if not with_variance:
        return corrected
    light = np.maximum(corrected * gain, 0) * conversion
    return corrected, (light + read_variance + dark_variance) / gain**2


@lifted
def remove_afterglow(X: Any, strength: float, *, axis: int = -2, rests: bool = True) -> Any:
    """Take out what a slow scintillator still shows of the reading before.

    A reading ``y_t = x_t + strength · y_(t−1)`` holds the light ``x_t`` and a share of the reading
    before, which decays as powers of ``strength``; so ``x_t = y_t − strength · y_(t−1)``, exactly.
    Variance grows by ``strength²`` times that of the reading before.

    Parameters
    ----------
    X : array_like, Dask array or HyperSpy signal, (*domain, channels)
        In the order of the scan along ``axis``, dark counts subtracted.
    strength : float
        Share of a reading that the next one still shows, 0 to 1 (0.001 to 0.02 is common).
    axis : int
        The fast axis of the scan; the last of the domain by default.
    rests : bool
        Whether the scintillator has rested before the first pixel of every line. Otherwise that pixel shows
        the last one of the line before: lines follow each other in the order of the other axes of the
        domain, the last fastest, all in the same direction. The very first pixel is taken for rested.

    Returns
    -------
    ndarray, Dask array or HyperSpy signal
        As ``X``.

    Raises
    ------
    ValueError
        ``strength`` is not between 0 and 1, or the axis is not one of the domain.

    Examples
    --------
    >>> remove_afterglow([[100.0], [1.0], [0.01]], 0.01).ravel().round(6)
    array([100.,   0.,   0.])
    """
    refuse_if(not 0 <= strength < 1, f"strength={strength} must be a share, from 0 to less than 1")
    refuse_if(
        not -X.ndim <= axis < X.ndim or axis % X.ndim == X.ndim - 1,
        f"axis={axis} is no axis of the domain of data with {X.ndim} axes",
    )
    lines = np.moveaxis(X, axis, -2)
    scan = lines if rests else lines.reshape(1, -1, X.shape[-1])
    before = np.concatenate([np.zeros_like(scan[..., :1, :]), scan[..., :-1, :]], axis=-2)
    light = scan - np.asarray(strength, dtype=X.dtype) * before
    return np.moveaxis(light.reshape(lines.shape), -2, axis)


def bad_channels(
    *, dark: ArrayLike | None = None, gain: ArrayLike | None = None, hot: float = 8.0
) -> NDArray[np.bool_]:
    """Return the channels that are dead or hot: the ``channel_mask`` of a fit.

    Dead: ``gain < 0.3 median(gain)`` or not finite. Hot: dark counts more than ``hot`` robust
    standard deviations (1.4826 times the median deviation) from their median.

    Parameters
    ----------
    dark, gain : array_like, (channels,)
        The spectra of `correct_detector`; either or both.
    hot : float
        How far dark counts may stray, in standard deviations.

    Returns
    -------
    ndarray of bool, (channels,)
        True = bad.

    Raises
    ------
    ValueError
        Neither is given, or they differ in shape.

    Examples
    --------
    >>> bad_channels(gain=[1, 0.9, 0.1, 1.1], dark=[2, 3, 2, 900])
    array([False, False,  True,  True])
    """
    given = [np.asarray(unwrap(part), dtype=float) for part in (dark, gain) if part is not None]
    refuse_if(
        not given or any(part.ndim != 1 or part.shape != given[0].shape for part in given),
        "give dark=, gain= or both: one number for each channel",
    )
    bad: NDArray[np.bool_] = np.logical_not(np.isfinite(given).all(axis=0))
    if gain is not None:
        bad |= given[-1] < 0.3 * np.nanmedian(given[-1])
    if dark is not None:
        departure = np.abs(given[0] - np.nanmedian(given[0]))
        spread = 1.4826 * np.nanmedian(departure)
        least = np.finfo(float).eps * np.nanmax(np.abs(given[0]), initial=0)
        bad |= departure > hot * max(spread, least)
    return bad


def fixed_pattern(X: Any, shifts: ArrayLike) -> Floats:
    """Return the pattern that a camera adds to every acquisition, from spectra moved over it.

    Acquisition i shows ``X_i[p] = s[p − shift_i] + f[p]``. Spectrum and pattern are fitted by least
    squares together, and what is found of the pattern is shrunk by the share of it that noise would
    explain (best linear prediction): few shifts say little, and then little is subtracted. A pattern with
    the period g, the greatest common divisor of the differences of the shifts, may be added to f and
    taken from s unseen: the pattern is fixed up to a constant where g = 1, up to g numbers otherwise, which
    is refused. The mean of the pattern is zero.

    Parameters
    ----------
    X : array_like, Dask array or HyperSpy signal, (acquisitions, channels) or (*domain, channels)
        All of the same object, such as the mean spectrum of each acquisition: what comes before
        the last two axes is averaged over.
    shifts : array_like of int, (acquisitions,)
        By how many channels each acquisition was moved to higher channels.

    Returns
    -------
    ndarray, (channels,)
        The pattern, in data units.

    Raises
    ------
    ValueError
        The shifts are no whole numbers, not one for each acquisition, larger than the spectrum, or
        leave the pattern undetermined.

    Notes
    -----
    Many distinct shifts over more channels than the widest feature keep the errors small. The time grows with the
    cube of the channels.

    References
    ----------
    Robinson, Statist. Sci. 6 (1991) 15. Patterson & Thompson, Biometrika 58 (1971) 545, for the variances.

    Examples
    --------
    >>> spectrum, pattern = np.arange(12.0) ** 2, np.array([1.0, -1, 0, 0, 2, -2, 0, 0])
    >>> seen = np.stack([spectrum[3 - d : 11 - d] + pattern for d in (0, 1, 3)])
    >>> np.allclose(fixed_pattern(seen, [0, 1, 3]), pattern)
    True
    """
    data = as_array(X)
    shifts = _checked_shifts(shifts, data.shape)
    mean = np.asarray(data.mean(axis=tuple(range(data.ndim - 2))), dtype=np.float64)
    size = np.abs(mean).max() or 1.0
    return _shrunk_pattern(mean / size, shifts) * size


def _shrunk_pattern(X: Floats, shifts: np.ndarray) -> Floats:
    r"""Return the mean of the pattern given the data, for white noise and a white pattern of unknown variances.

    With the spectrum eliminated, the amounts of the pattern along directions v are found with variances
    :math:`\sigma^2 / \lambda + \tau^2`, of which :math:`\tau^2` is the pattern's own: that share of them is kept. Both
    variances are those of the largest restricted likelihood.
    """
    m = X.shape[1]
    design = _wobble_design(shifts, m)
    spectrum, seen = design[:, :-m], design[:, -m:]
    weight = sparse.diags_array(1 / np.maximum(spectrum.sum(axis=0), 1))

    def without_spectrum(values: Any) -> Any:
        return values - spectrum @ (weight @ (spectrum.T @ values))

    left = without_spectrum(X.ravel())
    precision, V = np.linalg.eigh((seen.T @ without_spectrum(seen)).toarray())
    told = precision > _TOLD * precision[-1]
    precision, V = precision[told], V[:, told]
    found = V.T @ (seen.T @ left) / precision
    rest = without_spectrum(left - seen @ (V @ found))
    freedom = X.size - np.count_nonzero(spectrum.sum(axis=0)) - len(found)
    squares = rest @ rest

    def cost(ratio: float) -> float:
        spread = 1 + precision * 10.0**ratio
        total = squares + np.sum(precision * found**2 / spread)
        return float((freedom + len(found)) * np.log(max(total, 1e-300)) + np.sum(np.log(spread)))

    best = min(range(-_DECADES, _DECADES + 1), key=cost)
    spread = precision * 10 ** minimize_scalar(cost, bounds=(best - 1, best + 1)).x
    return V @ (found * spread / (1 + spread))


@lifted
def remove_fixed_pattern(X: Any, shifts: ArrayLike, pattern: ArrayLike | None = None) -> Any:
    """Subtract the camera's fixed pattern and move the acquisitions back onto each other.

    Parameters
    ----------
    X : array_like, Dask array or HyperSpy signal, (..., acquisitions, channels)
        The last axis of the domain counts the acquisitions, or pixels, that have a shift each.
    shifts : array_like of int, (acquisitions,)
        By how many channels each was moved to higher channels.
    pattern : array_like, (channels,), optional
        What to subtract; by default that of `fixed_pattern`, which takes the acquisitions for the
        same object. Where they differ, as pixels do, measure it on a uniform area first.

    Returns
    -------
    ndarray, Dask array or HyperSpy signal
        Moved by whole channels, so that noise stays uncorrelated, and cropped to the channels that
        all acquisitions share; a signal's energies are those of shift 0.

    Raises
    ------
    ValueError
        As in `fixed_pattern`, or nothing is left that all share.

    Examples
    --------
    >>> remove_fixed_pattern([[0.0, 7, 1, 0], [0.0, 0, 7, 1]], [0, 1], pattern=np.zeros(4))
    array([[0., 7., 1.],
           [0., 7., 1.]])
    """
    shifts = _checked_shifts(shifts, X.shape, identify=pattern is None)
    pattern = np.asarray(
        fixed_pattern(X, shifts) if pattern is None else unwrap(pattern), dtype=X.dtype
    )
    refuse_if(
        pattern.shape != X.shape[-1:],
        f"pattern has the shape {pattern.shape}, not one number for each of {X.shape[-1]} channels",
    )
    clean = X - pattern
    first, last = max(0, -shifts.min()), X.shape[-1] - max(0, shifts.max())
    moved = np.stack([clean[..., i, first + d : last + d] for i, d in enumerate(shifts)], axis=-2)
    return Cropped(moved, int(first))


def _beside(X: Any, part: Any) -> Any:
    """Return dark or gain as an array that fits the data."""
    array = unwrap(part)
    array = array if is_lazy(array) else np.asarray(array, dtype=X.dtype)
    refuse_if(
        array.shape not in ((), X.shape[-1:], X.shape),
        f"dark and gain have the shape {array.shape}; allowed are one number, one for each of "
        f"{X.shape[-1]} channels, or the shape of the data {X.shape}",
    )
    return array


def _checked_shifts(shifts: ArrayLike, shape: tuple[int, ...], identify: bool = True) -> np.ndarray:
    """Return shifts as integers, or say why they do not do."""
    given = np.asarray(shifts)
    refuse_if(
        len(shape) < 2 or given.shape != shape[-2:-1],
        f"shifts have the shape {given.shape} and the data {shape}; give one for each "
        "acquisition, the last axis before the channels",
    )
    whole = np.rint(given.astype(float)).astype(int)
    refuse_if(
        not np.allclose(given, whole, rtol=0, atol=1e-9),
        "shifts must be whole channels; round them, or move the spectra by whole channels",
    )
    refuse_if(
        np.ptp(np.append(whole, 0)) >= shape[-1],
        f"the shifts span {np.ptp(whole)} channels and the spectra have {shape[-1]}; nothing is shared",
    )
    step = math.gcd(*map(int, whole - whole[0]))
    refuse_if(
        identify and step != 1,
        f"the shifts differ by multiples of {step} channels, which leaves {step or shape[-1]} "
        "numbers of the pattern undetermined; add an acquisition whose shift differs by a "
        "number that has no divisor in common with them",
    )
    return whole


def _wobble_design(shifts: np.ndarray, channels: int) -> sparse.csr_array:
    """Return the matrix that makes acquisitions of a spectrum followed by a pattern."""
    length, pattern = channels + int(np.ptp(shifts)), sparse.eye_array(channels)
    moved = [sparse.eye_array(channels, length, k=int(shifts.max() - shift)) for shift in shifts]
    return sparse.csr_array(sparse.block_array([[spectrum, pattern] for spectrum in moved]))
