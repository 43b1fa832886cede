"""The energy axis of every pixel brought on one: by the zero-loss peak, or by correlation with the others."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.signal.windows import tukey

from endmember.errors import Argument, EndmemberError, Sentence, check_known, refuse_if
from endmember.factor.data import Axis, Floats, given, is_signal, logger, row_blocks, unwrap
from endmember.preprocess.lifting import Cropped, as_array, lifted, map_pixels

#: Rounds in which the reference of the correlation is made anew from what is aligned so far.
_ROUNDS = 4
#: Shifts, and stretched ends, that move by less, root mean square in channels, have settled.
_SETTLED = 0.002
#: Rounds in which shifts and stretches are found together, and the largest step of one, in channels.
_ROUNDS_OF_STRETCHES, _STEP = 12, 1.0
#: Share of a window over which it fades in and out before it is correlated.
_FADE = 0.2
#: The zero-loss peak is fitted where it is above this share of its height.
_TOP = 0.5
#: Largest shift that is looked for by correlation unless another is given, in channels.
_REACH = 20


def align(
    X: Any,
    low_loss: Any = None,
    *,
    method: str = "auto",
    shifts: ArrayLike | None = None,
    window: tuple[float, float] | None = None,
    max_shift: float | None = None,
    smooth: int = 1,
    interpolate: bool | None = None,
    ends: str = "crop",
    energy: ArrayLike | None = None,
    dispersion: bool = False,
    stretches: ArrayLike | None = None,
) -> Any:
    r"""Move every spectrum back by its energy shift: :math:`y_i(j) = x_i(j + \delta_i + \gamma_i(j - j_0))`.

    Parameters
    ----------
    X : array_like, Dask array or HyperSpy signal, (*domain, channels)
    low_loss : array_like, Dask array or HyperSpy signal, (*domain, channels), optional
        The low loss recorded along with ``X`` (dual EELS): its zero-loss peak says how to shift ``X``.
    method, window, max_shift, smooth, energy, dispersion
        As in `find_shifts`.
    shifts, stretches : array_like, (*domain), optional
        What `find_shifts` returns, taken as they are; ``stretches`` :math:`\gamma` about the middle :math:`j_0` of
        the axis are 0 unless given or found.
    interpolate : bool, optional
        Read between channels, by a cubic, instead of shifting by whole channels. By default whole numbers, which
        are counts, are shifted whole and stay Poisson; other data are interpolated. That lowers the variance of white
        noise by up to 0.64 and makes it correlated from channel to channel, which the history says
        (``interpolate = True``); later estimates of the noise are then too low. Axes that are stretched as well
        are always interpolated.
    ends : "crop" or "nan"
        Channels that some pixels have not seen are cut off, and a warning says how many; or kept with NaN there.

    Returns
    -------
    ndarray, Dask array or HyperSpy signal
        As ``X``; fewer channels if cropped. The axis is that of the median pixel.

    Raises
    ------
    ValueError
        As in `find_shifts`; if the shifts leave no channel; if counts cannot hold NaN; if stretched axes are to be
        read without interpolation.

    Notes
    -----
    The zero-loss peak is not found by eXSpy's ``align_zero_loss_peak``: that edits the signal in place, interpolates
    counts linearly, and takes the channel of the maximum where ``subpixel=False``. A drift that must be found among
    phases with different edges is better left to `em.Drifting`, which knows the phases.

    Examples
    --------
    >>> X = np.zeros((2, 9), dtype=int)
    >>> X[0, 3:6] = 2, 9, 2
    >>> X[1, 4:7] = 2, 9, 2
    >>> align(X, shifts=[0, 1])
    array([[0, 0, 0, 2, 9, 2, 0, 0],
           [0, 0, 0, 2, 9, 2, 0, 0]])
    """
    stretched = bool(dispersion) or stretches is not None
    if interpolate is None:
        interpolate = stretched or given(X, least=1).array.dtype.kind == "f"
    elif stretched and not interpolate:
        raise EndmemberError(
            "an axis that is stretched cannot be read in whole channels; leave interpolate out, or let "
            "em.Drifting(model, dispersion=True) read the counts"
        )
    return _align(
        X, low_loss, method=method, shifts=shifts, window=window, max_shift=max_shift, smooth=smooth,
        interpolate=interpolate, ends=ends, energy=energy, dispersion=dispersion, stretches=stretches,
    )  # fmt: skip


@lifted(counts=True, missing=True, name="align")
def _align(
    X: Any, low_loss: Any, *, method: str, shifts: Any, window: Any, max_shift: Any, smooth: int,
    interpolate: bool, ends: str, energy: Any, dispersion: bool, stretches: Any,
) -> Any:  # fmt: skip
    check_known("ends", ends, "crop", "nan")
    refuse_if(
        ends == "nan" and X.dtype.kind != "f" and not interpolate,
        'counts cannot hold NaN; give ends="crop", or the data as floats',
    )
    domain = X.shape[:-1]
    _check_even(energy)
    if shifts is not None:
        moved_by = _given(shifts, domain)
        drawn = np.zeros(domain) if stretches is None else _given(stretches, domain)
    elif stretches is not None:
        raise EndmemberError(
            "stretches go with shifts; give both as em.preprocess.find_shifts found them"
        )
    else:
        moved_by, drawn = _shifts(
            X, low_loss, method, window, max_shift, smooth, energy, dispersion
        )
    moved_by = moved_by if interpolate else np.rint(moved_by).astype(int)
    start, stop = _seen(moved_by, drawn, X.shape[-1], interpolate)
    each = [np.broadcast_to(values[..., None], X.shape) for values in (moved_by, drawn)]
    dtype = np.float64 if interpolate and X.dtype.kind != "f" else X.dtype
    if ends == "nan":
        start, stop = 0, X.shape[-1]
    elif stop - start < X.shape[-1]:
        logger.warning(
            Sentence(
                f"aligned: {start} channels at the lower and {X.shape[-1] - stop} at the upper end, which not every "
                "pixel has seen, were cropped",
                Argument("", says='; ends="nan" keeps them'),
            )
        )
    moved = map_pixels(partial(_read, interpolate=interpolate), X, *each, dtype=dtype)
    return Cropped(moved[..., start:stop], start)


@lifted(counts=True, records=False, missing=True)
def find_shifts(
    X: Any,
    low_loss: Any = None,
    *,
    method: str = "auto",
    window: tuple[float, float] | None = None,
    max_shift: float | None = None,
    smooth: int = 1,
    energy: ArrayLike | None = None,
    dispersion: bool = False,
) -> Any:
    r"""Return by how many channels every spectrum lies too high in energy.

    "zero_loss": the vertex of a parabola through the logarithms of the peak's upper half, weighted by the counts:
    exact for a Gaussian. "correlation": the maximum of the correlation with a reference, the mean of all spectra
    moved back by what is found, made anew until the shifts settle; between channels by a parabola. The mean is
    taken off and the window fades out at its ends. With ``dispersion``, shift and stretch are then refined together
    by fitting each spectrum with the reference, a line, and the reference's slope as it is and drawn out.

    Parameters
    ----------
    X, low_loss
        As in `align`.
    method : "auto", "zero_loss" or "correlation"
        By default the zero-loss peak where the axis of a signal holds zero energy loss, or with ``low_loss``;
        else correlation.
    window : (start, stop), optional
        The energies that count, in the unit of the axis; channels for arrays without ``energy``.
    max_shift : float, optional
        Largest shift from the median, in channels. By default a quarter of the window, and by correlation no more
        than 20: a spectrum that matches the others nowhere within stays where it is, and a warning says so.
    smooth : int
        Width in pixels of the median taken over the image along all its axes; 1 takes none.
    energy : array_like, (channels,), optional
        For arrays; a signal has its own.
    dispersion : bool
        Whether the energy per channel may change from pixel to pixel as well. By correlation alone: one peak does
        not tell, and the window must hold features that lie far apart.

    Returns
    -------
    ndarray, (*domain)
        In channels of ``X``, positive = moved to higher energy; 0 at the median pixel, and at empty pixels.
    ndarray, (*domain)
        With ``dispersion``: the stretches, positive = drawn out over more channels about the middle of the axis,
        where the shifts then hold; 0 at the median pixel, and at empty pixels.

    Raises
    ------
    ValueError
        Before work starts: an unknown method, a window of fewer than 5 channels, channels that are not evenly
        spaced, a low loss of another image, a dispersion from a single peak.

    References
    ----------
    Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed. (2011), 2.5.

    Examples
    --------
    >>> E = np.arange(-10, 10)
    >>> peaks = np.exp(-((E - np.array([[0.0], [0.37], [-1.2]])) ** 2) / 4)
    >>> find_shifts(peaks, method="zero_loss")
    array([ 0.  ,  0.37, -1.2 ])
    """
    found = _shifts(X, low_loss, method, window, max_shift, smooth, energy, dispersion)
    return found if dispersion else found[0]


def _shifts(
    X: Any, low_loss: Any, method: str, window: Any, max_shift: Any, smooth: int, energy: Any,
    dispersion: bool,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return the shift and the stretch of every pixel, (*domain) each."""
    check_known("method", method, "auto", "zero_loss", "correlation")
    refuse_if(
        max_shift is not None and not (isinstance(max_shift, int | float) and max_shift > 0),
        f"max_shift={max_shift!r} must be a number of channels above zero",
    )
    refuse_if(
        not isinstance(smooth, int) or smooth < 1,
        f"smooth={smooth!r} must be a whole number of pixels, 1 for none",
    )
    refuse_if(not isinstance(dispersion, bool), f"dispersion={dispersion!r} must be True or False")
    source, scale = X, 1.0
    _check_even(energy)
    if low_loss is not None:
        refuse_if(
            method == "correlation",
            'low_loss is aligned by its zero-loss peak; leave method="correlation" out',
        )
        source = as_array(low_loss, counts=True, missing=True)
        own = Axis.of(low_loss).energy if is_signal(low_loss) else None
        refuse_if(
            source.shape[:-1] != X.shape[:-1],
            f"the low loss has {source.shape[:-1]} pixels and the data have {X.shape[:-1]}; they must agree",
            parameter="low_loss",
        )
        if own is not None and energy is not None:
            scale = float(np.mean(np.diff(own)) / np.mean(np.diff(energy)))
        energy = own
        _check_even(own)
    if method == "auto":
        holds_zero = energy is not None and energy[0] < 0 < energy[-1]
        method = "zero_loss" if holds_zero or low_loss is not None else "correlation"
    inside = _inside(window, energy, source.shape[-1])
    widest = len(inside) / 4 if method == "zero_loss" else min(len(inside) / 4, _REACH)
    reach = widest if max_shift is None else float(max_shift) / scale
    refuse_if(
        dispersion and method == "zero_loss",
        "the zero-loss peak alone does not tell the dispersion; leave ",
        Argument("low_loss", says="low_loss"),
        " out",
        Argument(
            "",
            says=' and give method="correlation" with a window that holds features far apart',
        ),
    )
    shifts = (_by_peak if method == "zero_loss" else _by_correlation)(source, inside, reach)
    stretches = np.zeros_like(shifts)
    if dispersion:
        shifts, stretches = _with_stretches(source, inside, shifts, reach)
    found = [values.reshape(X.shape[:-1]) for values in (shifts, stretches)]
    if smooth > 1:
        found = [ndimage.median_filter(values, size=smooth, mode="nearest") for values in found]
    return found[0] * scale, found[1]


def _check_even(energy: Any) -> None:
    if energy is not None:
        Axis(np.asarray(energy)).check_even("spectra cannot be moved by channels")


def _with_stretches(
    X: Any, inside: NDArray[np.integer], shifts: Floats, reach: float
) -> tuple[Floats, Floats]:
    r"""Return the shift and the stretch of every pixel, (pixels,) each, from shifts that are about right.

    .. math:: x_i(j + \delta_i + \gamma_i (j - j_0)) \approx a_i \bar y_j + b_i + c_i j

    with the mean :math:`\bar y` of all spectra read so. Gauss-Newton: what is left is fitted with :math:`\bar y`, a
    line, :math:`\bar y'` and :math:`(j - j_0)\,\bar y'`.
    """
    n, m = len(shifts), X.shape[-1]
    fade = tukey(len(inside), _FADE)
    inside, fade = inside[fade > 0], fade[fade > 0]
    places = inside - (m - 1) / 2
    half = float(np.abs(places).max())
    moves, filled = np.stack([shifts, np.zeros(n)], axis=1), np.zeros(n, bool)
    for _ in range(_ROUNDS_OF_STRETCHES):
        reference = np.zeros(m)
        for rows, block in _blocks(X, np.arange(m)):
            filled[rows] = block.any(axis=1)
            reference += _between(block, moves[rows, 0], moves[rows, 1] / half).sum(axis=0)
        fit = _fit_of(reference, inside, places / half, fade)
        found = moves.copy()
        for rows, block in _blocks(X, np.arange(m)):
            parts = _between(block, moves[rows, 0], moves[rows, 1] / half)[:, inside] @ fit
            amount, steps = parts[:, :1], np.zeros((len(parts), 2))
            np.divide(parts[:, 1:], amount, out=steps, where=amount > 0)
            found[rows] -= np.clip(steps, -_STEP, _STEP)
        before, moves = moves, _from_median(found, filled, reach)
        if np.sqrt(np.mean((moves - before) ** 2)) < _SETTLED:
            break
    return moves[:, 0], moves[:, 1] / half


def _fit_of(reference: Floats, inside: NDArray[np.integer], u: Floats, weight: Floats) -> Floats:
    """Return the matrix (m, 4) that gives the part of reference, line, slope and drawn-out slope in a spectrum."""
    slope = np.gradient(reference)[inside]
    parts = np.column_stack([reference[inside], np.ones(len(u)), u, slope, u * slope])
    size = np.linalg.norm(parts, axis=0)
    size[size == 0] = 1.0
    return ((np.linalg.pinv(weight[:, None] * parts / size) * weight) / size[:, None])[[0, 3, 4]].T


def _from_median(moves: Floats, filled: NDArray[np.bool_], reach: float) -> Floats:
    """Return moves (pixels,) or (pixels, 2) from the median pixel, made no longer than reach; 0 at empty pixels."""
    if filled.any():
        moves = moves - np.median(moves[filled], axis=0)
    largest = np.abs(moves).reshape(len(moves), -1).sum(axis=1)
    return np.where(filled, moves.T * np.minimum(1.0, reach / np.maximum(largest, reach)), 0.0).T


def _inside(window: Any, energy: Any, channels: int) -> NDArray[np.integer]:
    """Return the numbers of the channels that count."""
    axis = np.arange(channels) if energy is None else np.asarray(energy)
    first, last = (-np.inf, np.inf) if window is None else window
    found = np.flatnonzero((axis >= first) & (axis < last))
    refuse_if(
        len(found) < 5,
        f"the window holds {len(found)} of the channels from {axis[0]:g} to {axis[-1]:g}, and a shift "
        "needs at least 5; give a wider one in the unit of the axis",
    )
    return found


def _blocks(X: Any, inside: NDArray[np.integer]) -> Iterator[tuple[slice, Floats]]:
    """Yield the channels that count of pixel after pixel, (pixels, w), as float64."""
    flat = X.reshape(-1, X.shape[-1])
    for rows in row_blocks(*flat.shape):
        block = np.asarray(flat[rows])[:, inside].astype(np.float64)
        yield rows, np.where(np.isfinite(block), block, 0.0)


def _by_peak(X: Any, inside: NDArray[np.integer], reach: float) -> Floats:
    """Return shifts (pixels,) of the highest peak."""
    n = int(np.prod(X.shape[:-1]))
    total = sum(block.sum(axis=0) for _, block in _blocks(X, inside))
    near = np.abs(np.arange(len(inside)) - int(np.argmax(total))) <= reach
    found, filled = np.zeros(n), np.zeros(n, bool)
    for rows, block in _blocks(X, inside):
        top = np.argmax(np.where(near, block, -np.inf), axis=1)
        filled[rows] = np.take_along_axis(block, top[:, None], axis=1)[:, 0] > 0
        found[rows] = [_vertex(row, place) for row, place in zip(block, top, strict=True)]
    return _from_median(found, filled, reach)


def _vertex(y: Floats, top: int) -> float:
    """Return where the parabola through the logarithms of a peak's upper half has its maximum."""
    low = _TOP * y[top]
    below, above = np.flatnonzero(y[:top] < low), np.flatnonzero(y[top + 1 :] < low)
    start = min(below[-1] + 1 if len(below) else 0, top - 1)
    stop = max(top + 1 + above[0] if len(above) else len(y), top + 2)
    if start < 0 or stop > len(y) or not (y[start:stop] > 0).all():
        return float(top)
    x = np.arange(start, stop) - top
    square, slope, _ = np.polyfit(x, np.log(y[start:stop] / y[top]), 2, w=np.sqrt(y[start:stop]))
    return top + float(np.clip(-slope / (2 * square) if square < 0 else 0.0, -len(x), len(x)))


def _by_correlation(X: Any, inside: NDArray[np.integer], reach: float) -> Floats:
    """Return shifts (pixels,) by correlation with a reference that is made anew in every round."""
    n, size = int(np.prod(X.shape[:-1])), 2 * len(inside)
    found: Floats = np.zeros(n)
    filled, sure = np.zeros(n, bool), np.ones(n, bool)
    frequency = np.fft.rfftfreq(size)
    furthest = min(int(np.ceil(reach)), len(inside) - 1)
    for _ in range(_ROUNDS):
        reference = np.zeros(len(frequency), complex)
        for rows, block in _blocks(X, inside):
            filled[rows] = block.any(axis=1)
            turned = np.exp(2j * np.pi * np.outer(found[rows], frequency))
            reference += (_spectrum(block, size) * turned).sum(axis=0)
        before, found = found, np.zeros(n)
        for rows, block in _blocks(X, inside):
            correlation = np.fft.irfft(_spectrum(block, size) * reference.conj(), size, axis=1)
            found[rows], sure[rows] = _peak_of(correlation, furthest)
        found = _from_median(found, filled & sure, reach)
        if np.sqrt(np.mean((found - before) ** 2)) < _SETTLED:
            break
    if lost := int(np.sum(filled & ~sure)):
        logger.warning(
            "aligned: %d of %d spectra match the others nowhere within %g channels and stay where they are; a window "
            "around an edge that all have, or another max_shift, may help",
            lost,
            n,
            reach,
        )
    return found


def _spectrum(block: Floats, size: int) -> NDArray[np.complexfloating]:
    """Return the Fourier transform of spectra without their mean, faded out at both ends."""
    centred = block - block.mean(axis=1, keepdims=True)
    return np.fft.rfft(centred * tukey(block.shape[1], _FADE), size, axis=1)


def _peak_of(correlation: Floats, reach: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return where correlations (pixels, size) are highest within reach, by a parabola; and whether they peak there."""
    lags = np.arange(-reach - 1, reach + 2)
    near = correlation[:, lags % correlation.shape[1]]
    top = 1 + np.argmax(near[:, 1:-1], axis=1)
    left, middle, right = (
        np.take_along_axis(near, (top + step)[:, None], axis=1)[:, 0] for step in (-1, 0, 1)
    )
    bend = left - 2 * middle + right
    offset = np.divide(left - right, 2 * bend, out=np.zeros_like(bend), where=bend < 0)
    return lags[top] + np.clip(offset, -0.5, 0.5), (left <= middle) & (right <= middle)


def _given(shifts: Any, domain: tuple[int, ...]) -> Floats:
    """Return the caller's shifts, checked."""
    found = np.asarray(unwrap(shifts) if not is_signal(shifts) else shifts.data, dtype=float)
    refuse_if(
        found.shape != domain or not np.isfinite(found).all(),
        f"shifts of shape {found.shape} do not fit pixels of shape {domain}; give one finite number of "
        "channels for each",
    )
    return found


def _seen(shifts: Floats, stretches: Floats, channels: int, interpolate: bool) -> tuple[int, int]:
    """Return the first channel that every pixel has seen, and the one after the last."""
    around = int(interpolate and (bool(np.any(shifts % 1)) or bool(stretches.any())))
    middle = (channels - 1) / 2

    def first(place: float) -> Floats:
        return (place - shifts + stretches * middle) / (1 + stretches)

    # Of a quotient: the channel found must not lie a hair outside.
    rounding = 1e-9 * stretches.any()
    start = max(0, int(np.ceil(first(around).max() + rounding)))
    stop = min(channels, int(np.floor(first(channels - 1 - around).min() - rounding)) + 1)
    refuse_if(
        stop - start < 1,
        f"shifts from {shifts.min():g} to {shifts.max():g} leave none of the {channels} channels",
        way_out=("give a smaller ", Argument("max_shift", says="max_shift")),
    )
    return start, stop


def _moved(shifts: np.ndarray, stretches: Floats, m: int) -> np.ndarray:
    """Return by how much every channel has moved, (..., 1) where all have alike, else (..., m)."""
    if not stretches.any():
        return shifts[..., None]
    return shifts[..., None] + stretches[..., None] * (np.arange(m) - (m - 1) / 2)


def _between(block: np.ndarray, shifts: np.ndarray, stretches: Floats) -> np.ndarray:
    """Return spectra read between channels by cubics; the ends go on as they end."""
    m = block.shape[-1]
    moved = _moved(shifts, stretches, m)
    below = np.floor(moved).astype(int)
    f, places = moved - below, np.arange(m) + below

    def at(step: int) -> np.ndarray:
        return np.take_along_axis(block, np.clip(places + step, 0, m - 1), axis=-1)

    return (
        -f * (f - 1) * (f - 2) / 6 * at(-1)
        + (f + 1) * (f - 1) * (f - 2) / 2 * at(0)
        - (f + 1) * f * (f - 2) / 2 * at(1)
        + (f + 1) * f * (f - 1) / 6 * at(2)
    )


def _read(block: Any, shifts: Any, stretches: Floats, interpolate: bool) -> np.ndarray:
    """Return spectra read at shifted channels; NaN, or zero for counts, where there is none."""
    shifts, stretches, m = shifts[..., 0], stretches[..., 0], block.shape[-1]
    moved = _moved(shifts, stretches, m)
    places = np.arange(m) + np.floor(moved).astype(int)
    around = moved % 1 > 0  # channels on either side of a place that lies between two
    beyond = (places < around) | (places >= m - 2 * around)
    found = (
        _between(block, shifts, stretches)
        if interpolate
        else np.take_along_axis(block, np.clip(places, 0, m - 1), axis=-1)
    )
    return np.where(beyond, found.dtype.type(np.nan if found.dtype.kind == "f" else 0), found)
