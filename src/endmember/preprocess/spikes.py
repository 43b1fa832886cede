"""Spikes: X-rays and cosmic rays that hit the camera, found over a whole spectrum image.

A spike is an entry that its own spectrum does not explain (the channels beside it) *and* that the
same channels of the neighbouring pixels do not explain. A real edge or zero-loss peak is in the
neighbours too; the border of a particle raises all channels. "Does not explain" means a tail
probability below 10⁻⁷ under the local noise model. What is compared are the data in their own
unit, ``variance(mean) = gain (mean − offset) + read_variance``.
"""

import itertools
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from endmember.errors import refuse_if
from endmember.factor.data import Floats, Indices, is_lazy, logger, row_blocks, unwrap
from endmember.factor.noise.model import NoiseModel, estimate_noise
from endmember.preprocess.lifting import lifted, map_pixels

_widened = partial(ndimage.maximum_filter1d, mode="constant")  # a mask over so many channels

_REACH = 2  # channels on either side that say what a spectrum has here
_BESIDE = np.array([-2, -1, 1, 2])  # the steps to them
_WINDOW = 8  # channels on either side over which neighbouring pixels are compared
_CLIP = 3.0  # standard deviations from the median at which surroundings stop counting
_LOOSE = 1e-3  # tail probability that is enough beside a spike, and in its afterglow
_SHOULDERS = 3  # channels beside a spike that are looked at again, and how often
_CHANCE = 2.0  # a spread up to this, of a median over the window, is chance
_RELATIVE = 0.01  # by how much neighbours may disagree beyond noise, of their mean
_SOFT = 10.0  # counts that keep ratios of nearly empty spectra near one
_MANY = 1000.0  # counts from which the tail is Gaussian to all purposes
_LOOK = 3.5  # standard deviations from which an entry is looked at closely
_SAMPLE = 2**22  # entries on which the noise is measured
_ROUNDS = (1e-2, 1e-4, 1e-6)  # tail probabilities of what is taken out before it is measured again
_NAMED = 8  # pixels with spikes that are named
_CHUNK = 20_000  # entries looked at closely at a time


@lifted(counts=True, records=False, missing=True)
def find_spikes(
    X: Any,
    *,
    probability: float = 1e-7,
    grow: int = 1,
    afterglow: bool = True,
    noise: NoiseModel | None = None,
) -> Any:
    """Find the entries that X-rays or cosmic rays have hit.

    With μ and s² the mean and its squared error of the surroundings (winsorised, so that spikes
    among them do not count), an entry ``x`` is a spike where ``P(N ≥ x) < probability`` twice: for
    the two channels on either side, and for the same channels of the neighbouring pixels, scaled
    to the intensity of this one. N has the variance of the noise model plus s²: a negative
    binomial below 1000 counts (the predictive law of Poisson counts whose mean is itself known
    from counts only), a normal above. Neighbours that agree worse than noise allows, as on a
    drifting zero-loss peak, widen the law by as much.

    Parameters
    ----------
    X : array_like, Dask array or HyperSpy signal, (*domain, channels)
        Counts or floats, at least two pixels and five channels; NaN is missing and no spike.
        A matrix is taken for a line of pixels.
    probability : float
        Largest tail probability of a spike, for each of the two tests.
    grow : int
        Channels marked on either side of a spike besides those that stand out themselves.
    afterglow : bool
        Look, less strictly, at the same channels of the pixel scanned next (the last axis of the
        domain), where a slow scintillator still shows the spike.
    noise : NoiseModel, optional
        Measured from the data by default, also from lazy ones.

    Returns
    -------
    ndarray, Dask array or HyperSpy signal of bool, (*domain, channels)
        True = spike. ``weights=1 - mask`` leaves them out of a fit, which is better than repair.

    Raises
    ------
    ValueError
        One pixel alone, fewer than five channels, or a parameter out of range.

    Notes
    -----
    HyperSpy's ``spikes_removal_tool`` asks the user, and its ``spikes_diagnosis`` looks at
    positive differences of neighbouring channels alone; neither looks at neighbouring pixels.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(5.0, (8, 8, 50))
    >>> counts[2, 3, 20] = 90
    >>> np.argwhere(find_spikes(counts, grow=0)).tolist()
    [[2, 3, 20]]
    """
    _check(X, probability, grow)
    offsets = _offsets(X.shape[:-1])
    noise = _measured(X, offsets) if noise is None else noise
    margin = max(abs(step) for offset in offsets for step in offset) + bool(afterglow)
    flag = partial(
        _flag, offsets=offsets, noise=noise, probability=probability, grow=grow, afterglow=afterglow
    )  # fmt: skip
    return map_pixels(flag, X, dtype=bool, margin=margin)


@lifted(counts=True, missing=True)
def remove_spikes(
    X: Any,
    mask: Any = None,
    *,
    probability: float = 1e-7,
    grow: int = 1,
    afterglow: bool = True,
    noise: NoiseModel | None = None,
) -> Any:
    """Replace spikes by a straight line between the channels on either side.

    How many spikes were found and where is told on the logger ``endmember`` at level INFO, except of lazy data.
    No noise is put on the line. Where a fit follows, leaving spikes out (``find_spikes``, weight 0)
    is cleaner than filling them in.

    Parameters
    ----------
    X : array_like, Dask array or HyperSpy signal, (*domain, channels)
        Counts stay counts: what is filled in is rounded.
    mask : array_like, Dask array or HyperSpy signal of bool, (*domain, channels), optional
        True = spike; by default what `find_spikes` finds with the other parameters.
    probability, grow, afterglow, noise
        As in `find_spikes`.

    Returns
    -------
    ndarray, Dask array or HyperSpy signal
        As ``X``, of the same type of numbers.

    Raises
    ------
    ValueError
        The mask has another shape than the data, or as in `find_spikes`.

    Examples
    --------
    >>> remove_spikes([[1, 2, 90, 4]], mask=[[False, False, True, False]])
    array([[1, 2, 3, 4]])
    """
    if mask is None:
        mask = find_spikes(X, probability=probability, grow=grow, afterglow=afterglow, noise=noise)
        if not is_lazy(mask):
            hit = np.argwhere(mask.any(axis=-1))
            places = [
                f"{', '.join(map(str, pixel))} (channel {int(np.argmax(mask[tuple(pixel)]))})"
                for pixel in hit[:_NAMED].tolist()
            ]
            logger.info(
                "spikes: %d values in %d of %d spectra were replaced%s%s",
                mask.sum(), len(hit), mask[..., 0].size,
                ", in pixel " * bool(places) + "; ".join(places), " ..." * (len(hit) > _NAMED),
            )  # fmt: skip
    mask = unwrap(mask)
    mask = mask if hasattr(mask, "dtype") else np.asarray(mask)
    refuse_if(
        mask.shape != X.shape or mask.dtype != bool,
        f"mask has the shape {mask.shape} and the type {mask.dtype}, the data {X.shape}; give "
        "True (spike) or False for every entry",
    )
    return map_pixels(_bridge, X, mask)


def _check(X: Any, probability: float, grow: int) -> None:
    pixels = int(np.prod(X.shape[:-1]))
    refuse_if(
        X.ndim < 2 or pixels < 2 or X.shape[-1] < 2 * _REACH + 1,
        f"spikes are told from what neighbours have: {pixels} pixels of {X.shape[-1]} channels "
        f"are too few; give at least 2 pixels of {2 * _REACH + 1} channels",
    )
    refuse_if(
        not 0 < probability < 1, f"probability={probability} must lie between 0 and 1, such as 1e-7"
    )
    refuse_if(
        isinstance(grow, bool) or not isinstance(grow, int | np.integer) or grow < 0,
        f"grow={grow!r} must be a whole number of channels, 0 or more",
    )


def _offsets(domain: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the steps to the neighbours of a pixel: 3 × 3 in an image, two either way on a line."""
    sizes = (1,) * (len(domain) == 1) + domain[-2:]
    radii = [2 if min(sizes) < 3 and size > 2 else min(1, size - 1) for size in sizes]
    box = itertools.product(*(range(-radius, radius + 1) for radius in radii))
    leading = (0,) * (len(domain) - 2)
    return [leading + step[-len(domain) :] for step in box if any(step)]


def _measured(X: Any, offsets: list[tuple[int, ...]]) -> NoiseModel:
    """Measure the noise in the middle of an image, with what may be spikes taken out in rounds.

    Few spikes in a small image look like a large gain, under which they would hide.
    """
    side = max(4, int((_SAMPLE / X.shape[-1]) ** (1 / max(1, X.ndim - 1))))
    starts = [max(0, (size - side) // 2) for size in X.shape[:-1]]
    block = _whole(np.asarray(X[tuple(slice(start, start + side) for start in starts)]))
    noise = estimate_noise(block)
    if noise.gain == 0 and noise.read_variance == 0:
        noise, block = estimate_noise(X), block[:0]
    for probability in _ROUNDS if block.size and not noise.poisson else ():
        spikes = _flag(
            block, offsets=offsets, noise=noise, probability=probability, grow=0, afterglow=False
        )  # fmt: skip
        bridged = _bridge(block, spikes)  # whole numbers stay whole, so that counts are recognised
        noise = estimate_noise(np.rint(bridged) if X.dtype.kind in "iub" else bridged)
    return noise


def _flag(
    data: np.ndarray,
    *,
    offsets: list[tuple[int, ...]],
    noise: NoiseModel,
    probability: float,
    grow: int,
    afterglow: bool,
) -> NDArray[np.bool_]:
    """Return the spikes of a block of pixels."""
    values = _whole(data).reshape(-1, data.shape[-1])
    neighbours = _neighbours(data.shape[:-1], offsets)
    spikes = np.zeros(values.shape, dtype=bool)
    spikes[
        _stand_out(values, values, neighbours, _worth_a_look(values, noise), noise, probability)
    ] = True
    if not spikes.any():
        return spikes.reshape(data.shape)
    repaired = values.copy()
    for _ in range(_SHOULDERS):
        repaired = _bridge(values, spikes)
        beside = np.nonzero(_widened(spikes, 2 * _SHOULDERS + 1) & ~spikes)
        spikes[_stand_out(repaired, values, neighbours, beside, noise, _LOOSE)] = True
    if afterglow:
        scanned_next = np.zeros(data.shape, dtype=bool)
        scanned_next[..., 1:, :] = spikes.reshape(data.shape)[..., :-1, :]
        after = np.nonzero(scanned_next.reshape(values.shape) & ~spikes)
        spikes[_stand_out(repaired, values, neighbours, after, noise, _LOOSE)] = True
    return _widened(spikes, 2 * grow + 1).reshape(data.shape) & np.isfinite(data)


def _whole(data: np.ndarray) -> Floats:
    """Return data as float64 with missing entries bridged."""
    values = np.asarray(data, dtype=np.float64)
    missing = ~np.isfinite(values)
    return _bridge(values, missing) if missing.any() else values


def _neighbours(domain: tuple[int, ...], offsets: list[tuple[int, ...]]) -> Indices:
    """Return the flat indices (pixels, neighbours) of the neighbours, −1 beyond the border."""
    numbers = np.arange(int(np.prod(domain))).reshape(domain)
    padded = np.pad(numbers, 2, constant_values=-1)  # no offset is longer
    inner, axes = (slice(2, -2),) * len(domain), tuple(range(len(domain)))
    return np.stack(
        [np.roll(padded, np.negative(offset), axes)[inner].ravel() for offset in offsets], axis=1
    )


def _worth_a_look(values: Floats, noise: NoiseModel) -> tuple[Indices, Indices]:
    """Return rows and columns of the entries well above the channels beside them."""
    size = values.shape[1]
    near = [values[:, _reflected(np.arange(size) + step, size)] for step in _BESIDE]
    level, error = _level(np.stack(near), noise)
    high = values - level > _LOOK * np.sqrt(noise.variance(level) + error)
    return np.nonzero(high)  # type: ignore[return-value]


def _stand_out(
    values: Floats,
    around: Floats,
    neighbours: Indices,
    places: tuple[Any, ...],
    noise: NoiseModel,
    probability: float,
) -> tuple[Indices, Indices]:
    """Return those of the places that neither their spectrum nor their neighbours explain.

    ``values`` are the spectra with the spikes known so far bridged, but for the places themselves;
    ``around`` are the data, among which neighbours are looked up.
    """
    found: list[tuple[Indices, Indices]] = [(np.empty(0, int), np.empty(0, int))]
    for part in row_blocks(len(places[0]), 1, _CHUNK):
        rows, columns = (index[part] for index in places)
        x = around[rows, columns]
        beside = _reflected(columns + _BESIDE[:, None], values.shape[1])
        level, error = _level(values[rows, beside], noise)
        keep = _tail(x, level, error, noise) < probability
        rows, columns, x = rows[keep], columns[keep], x[keep]
        level, error, spread = _neighbours_say(
            values, around, neighbours[rows], rows, columns, noise
        )
        keep = _tail(x, level, error, noise, spread) < probability
        found.append((rows[keep], columns[keep]))
    rows, columns = (np.concatenate(part) for part in zip(*found, strict=True))
    return rows, columns


def _reflected(index: Indices, size: int) -> Indices:
    """Return indices beyond either end reflected at it."""
    index = np.abs(index)
    return np.clip(np.where(index >= size, 2 * (size - 1) - index, index), 0, size - 1)


def _level(surroundings: Floats, noise: NoiseModel) -> tuple[Floats, Floats]:
    """Return mean and squared error of surroundings along axis 0, far ones counting as less far.

    Missing ones are NaN. Half a count is added to their sum (Jeffreys' prior for a Poisson mean).
    """
    ordered = np.sort(surroundings, axis=0)  # NaN last
    number = np.maximum(np.isfinite(ordered).sum(axis=0), 1)
    middle = np.stack([(number - 1) // 2, number // 2])
    median = np.take_along_axis(ordered, middle, axis=0).mean(axis=0)
    reach = _CLIP * np.sqrt(noise.variance(median) + noise.gain**2)
    clipped = np.clip(surroundings, median - reach, median + reach)
    level = (np.nansum(clipped, axis=0) + noise.gain / 2) / number
    return level, noise.variance(level) / number + (_RELATIVE * (level - noise.offset)) ** 2


def _neighbours_say(
    values: Floats,
    around: Floats,
    near: Indices,
    rows: Indices,
    columns: Indices,
    noise: NoiseModel,
) -> tuple[Floats, Floats, Floats]:
    """Return what neighbouring pixels lead to expect: mean, squared error, and spread.

    The mean is that of the neighbours' spectra times the ratio of intensities over a window: the
    largest within one channel, as energies may drift between pixels, and no less than what two
    neighbours have, as at the corner of a particle. The spread tells how many
    times larger than noise the squared disagreement is over the window beyond chance, at least 1.
    """
    steps = np.arange(-_WINDOW, _WINDOW + 1)
    window = _reflected(columns[:, None] + steps, values.shape[1])
    own = values[rows[:, None], window]
    theirs = np.where(near[..., None] >= 0, around[near[..., None], window[:, None, :]], np.nan)
    level, error = _level(np.moveaxis(theirs, 1, 0), noise)
    aside = np.abs(steps) > 1
    soft = _SOFT * noise.gain + _REACH * np.sqrt(noise.read_variance) - noise.offset
    total = _positive(level + soft, soft)
    ratio = np.median(((own + soft) / total)[:, aside], axis=1)[:, None]
    level, total = ratio * level + (ratio - 1) * soft, ratio * total
    doubt = np.median((noise.variance(level) / total**2)[:, aside], axis=1) * 1.6 / aside.sum()
    error = error * ratio**2 + doubt[:, None] * total**2  # of the neighbours, and of the ratio
    variance = noise.variance(level) + error
    departure = np.abs(own - level) / np.sqrt(np.where(variance > 0, variance, 1))
    spread = (1.4826 * np.median(departure[:, aside], axis=1)) ** 2
    middle = slice(_WINDOW - 1, _WINDOW + 2)
    expected, error = level[:, middle].max(axis=1), error[:, middle].max(axis=1)
    shared = ratio[:, 0] * (_second(theirs[..., _WINDOW]) + soft) - soft
    seen = shared - 2 * np.sqrt(noise.variance(shared))
    unsure = noise.variance(shared) + doubt * (shared + soft) ** 2
    error = np.where(seen > expected, np.maximum(error, unsure), error)
    return np.maximum(expected, seen), error, np.maximum(1, spread / _CHANCE)


def _second(values: Floats) -> Floats:
    """Return the second largest of each row, NaN being missing; what two pixels have is no spike."""
    ordered = np.sort(np.where(np.isnan(values), -np.inf, values), axis=1)[:, -2:]
    return np.where(np.isinf(ordered[:, 0]), ordered[:, -1], ordered[:, 0])


def _positive(values: Floats, scale: float) -> Floats:
    """Return values kept well above zero, on their own scale."""
    least = 0.5 * scale if scale > 0 else np.abs(values).max(initial=0) * 1e-6 or 1.0
    return np.maximum(values, least)


def _tail(
    x: Floats, level: Floats, error: Floats, noise: NoiseModel, spread: Floats | float = 1.0
) -> Floats:
    """Return the probability of ``x`` or more where ``level`` is expected, known to ``error``.

    All variances are ``spread`` times those of the noise model.
    """
    variance, error = noise.variance(level) * spread, error * spread
    total = variance + error
    z = (x - level) / np.sqrt(np.where(total > 0, total, 1))
    tail = np.where((total > 0) | (x <= level), special.ndtr(-z), 0.0)
    unit = noise.gain * np.broadcast_to(spread, x.shape)
    few = (
        (noise.gain > 0) & (variance < _MANY * unit**2) & (variance > 0) & (error > 0) & (x > level)
    )
    mean = variance[few] / unit[few] ** 2  # counts, read noise as if it were counts
    number = mean + (x - level)[few] / unit[few]
    shape = mean**2 / (error[few] / unit[few] ** 2)
    tail[few] = special.betainc(number, shape, mean / (mean + shape))
    return tail


def _bridge(data: np.ndarray, mask: NDArray[np.bool_]) -> np.ndarray:
    """Replace what is masked by a straight line between channels that are known; a pixel without any stays."""
    flat, marked = np.array(data).reshape(-1, data.shape[-1]), mask.reshape(-1, data.shape[-1])
    channels, known = np.arange(flat.shape[1]), ~(marked | np.isnan(flat))
    for row in np.flatnonzero(marked.any(axis=1) & known.any(axis=1)):
        bad, good = marked[row], known[row]
        line = np.interp(channels[bad], channels[good], flat[row, good])
        flat[row, bad] = np.rint(line) if flat.dtype.kind in "iu" else line
    return flat.reshape(data.shape)
