"""The door that all data come through: what is taken, and in which sentence the rest is refused.

Estimators, ``em.assess``, ``em.preprocess`` and ``em.compare`` take spectra by :func:`given` and masks by
:func:`left_out`, so that they accept and refuse the same. What was taken is known again by :func:`data_hash`.
"""

import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from endmember.errors import Argument, EndmemberError, EndmemberTypeError, refuse_if
from endmember.factor.data.axis import Axis, is_signal
from endmember.factor.data.kernels import canonical
from endmember.factor.data.matrix import Data, row_blocks

#: Where the metadata of a signal keep its history.
STEPS = "Endmember.steps"


def is_lazy(X: Any) -> bool:
    """Tell whether ``X`` is a Dask array, without importing Dask."""
    return hasattr(X, "dask") and hasattr(X, "chunks")


def steps(signal: Any) -> list[dict[str, Any]]:
    """Return the processing steps that a signal went through, oldest first.

    Parameters
    ----------
    signal : hyperspy.api.signals.BaseSignal
        Steps are kept in its metadata as JSON text, which every file format of HyperSpy keeps.

    Returns
    -------
    list of dict
        As given to `endmember.preprocess.lifting.record`; a copy.
    """
    return json.loads(signal.metadata.get_item(STEPS, default="[]"))


def unwrap(X: Any) -> Any:
    """Return the array of a HyperSpy signal with spectra, or patterns row by row, on the last axis; else ``X`` itself.

    Raises
    ------
    TypeError
        If it is the name of a file.
    ValueError
        If the signal has neither one signal axis, nor two at every pixel of a scan.
    """
    refuse_if(
        isinstance(X, str | os.PathLike),
        f"{str(X)!r} names a file and is no data; read it first: em.load({str(X)!r})",
        kind=EndmemberTypeError,
    )
    if not is_signal(X):
        return X
    axes = X.axes_manager
    refuse_if(
        axes.signal_dimension != 1 and pattern_of(X) is None,
        f"the signal has {axes.signal_dimension} signal axes and a spectrum needs exactly one; "
        "choose the energy axis with signal.as_signal1D(axis)",
        Argument("", says=", or give signal.data with pattern= if each image is a pixel's pattern"),
    )
    places = sorted(axes.signal_indices_in_array)
    last = list(range(X.data.ndim - len(places), X.data.ndim))
    array = X.data if places == last else np.moveaxis(X.data, places, last)
    return array if len(places) == 1 else _in_rows(array)


def _in_rows(X: Any) -> Any:
    """Return patterns (*domain, py, px) row by row, (*domain, py·px)."""
    whole = X.rechunk({X.ndim - 2: -1, X.ndim - 1: -1}) if is_lazy(X) else X
    return whole.reshape(*X.shape[:-2], X.shape[-2] * X.shape[-1])


def pattern_of(X: Any) -> tuple[int, ...] | None:
    """Return the shape of the pattern at every pixel of a signal; None for all else.

    One image after the other is no scan: they may as well be taken at energies.
    """
    if (
        not is_signal(X)
        or X.axes_manager.signal_dimension != 2
        or X.axes_manager.navigation_dimension < 2
    ):
        return None
    return tuple(len(axis.energy) for axis in Axis.in_data_order(X.axes_manager.signal_axes))


def in_patterns(S: Any, pattern: tuple[int, ...] | None) -> Any:
    """Return spectra (…, channels) as patterns (…, py, px) where they are ones."""
    return S if pattern is None else S.reshape(*S.shape[:-1], *pattern)


#: Data whose largest value lies within these powers of two come in as they are: products of a few stay exact.
NEAR = {4: 40, 8: 64}
#: Powers of ten between which data are taken at all, by the bytes of a number.
TAKEN = {4: 30, 8: 150}


@dataclass(frozen=True)
class Given:
    """Spectra as they came through the door.

    Attributes
    ----------
    array : ndarray, Dask array, CSR matrix or Data, (*domain, channels)
        Real or whole numbers; what a masked array hides is zero.
    axis : Axis
        The energy of every channel.
    pixels : tuple of Axis, or None
        The axes of the image of a signal, in data order.
    hidden : ndarray of bool, (*domain, channels), or None
        The entries that a masked array hides.
    history : tuple of dict
        The processing steps that a signal went through.
    pattern : tuple of int, or None
        The shape of the pattern that the channels of every pixel form.
    """

    array: Any
    axis: Axis
    pixels: tuple[Axis, ...] | None = None
    hidden: np.ndarray | None = None
    history: tuple[dict[str, Any], ...] = ()
    pattern: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return tuple(int(size) for size in self.array.shape)

    @property
    def matrix(self) -> Any:
        """The array with all pixels along one axis, (n, channels)."""
        X = self.array
        return X if sparse.issparse(X) else X.reshape(-1, X.shape[-1])

    @property
    def domain(self) -> tuple[int, ...] | None:
        """The image that the pixels form; None for those of a mere list."""
        if isinstance(self.array, Data):
            return self.array.origin.domain if self.array.origin else None
        return None if self.pixels is None and len(self.shape) < 3 else self.shape[:-1]

    def channels_left_out(self, mask: Any) -> np.ndarray | None:
        """Return a mask of channels, or of patterns, (channels,); None where nothing is left out."""
        shaped = self.pattern if is_signal(mask) or np.ndim(mask) != 1 else None
        shape, axes = shaped or (len(self.axis.energy),), None if shaped else (self.axis,)
        left = left_out(mask, shape, axes, "channel_mask", "channels")
        return None if left is None else left.ravel()

    def resampled(self, axis: Axis, channel_mask: Any = None) -> "tuple[Given, np.ndarray]":
        """Return the spectra at other energies, and which channels they do not reach or are left out."""
        matrix, covered = self.axis.onto(axis)
        left = self.channels_left_out(channel_mask)
        if left is not None:
            covered &= left @ matrix == 0
        matrix = matrix.astype(np.float32 if self.array.dtype == np.float32 else np.float64)
        X, hidden = self.array, None
        if is_lazy(X):
            X = X.rechunk({X.ndim - 1: -1})
            X = X.map_blocks(
                _product, matrix, dtype=matrix.dtype, chunks=(*X.chunks[:-1], matrix.shape[1:])
            )
        else:
            X = _product(X, matrix)
        if self.hidden is not None:
            hidden = _product(self.hidden.astype(matrix.dtype), matrix) > 0
        return Given(X, axis, self.pixels, hidden, self.history), ~covered


def _product(X: Any, matrix: sparse.csr_array) -> Any:
    """Return spectra (*domain, channels) times a matrix."""
    if sparse.issparse(X):
        return X @ matrix
    return (X.reshape(-1, X.shape[-1]) @ matrix).reshape(*X.shape[:-1], -1)


def given(X: Any, least: int = 2, pattern: tuple[int, ...] | None = None) -> Given:
    """Take spectra of any kind, or say in one sentence why they are none.

    Parameters
    ----------
    X : array_like, masked array, data frame, sparse matrix, Dask array or HyperSpy signal, (*domain, channels)
        Never copied but to fill what a masked array hides, never changed.
    least : int
        Axes that there must be: 1 where a single spectrum will do.
    pattern : tuple of int, optional
        The shape of the pattern at every pixel of an array, whose last axes they are, or row by row its last axis.

    Raises
    ------
    TypeError
        If it is None, the name of a file, or holds objects that are no numbers.
    ValueError
        If it holds text or complex numbers, has fewer than two axes, or an axis without entries.
    """
    if isinstance(X, Given):
        return X
    if isinstance(X, Data):
        return Given(X, X.origin.axis if X.origin else Axis.numbers(X.shape[1]))
    refuse_if(
        X is None,
        "X is None and no spectrum image; give an array (*domain, channels) or a signal",
        kind=EndmemberTypeError,
    )
    array, hidden = unwrap(X), None
    if sparse.issparse(array):
        array = sparse.csr_array(array)
    elif not is_lazy(array):
        array = _as_ndarray(array)
    own = pattern_of(X)
    if (
        array is X and array.ndim == 3 and pattern is None
        and array.shape[0] >= max(4 * array.shape[2], 2 * array.shape[1])
    ):  # fmt: skip
        warnings.warn(
            f"the last axis, which holds the channels, is much the shortest of {array.shape}; if the first holds the "
            "energies, give numpy.moveaxis(X, 0, -1)",
            UserWarning,
            stacklevel=3,
        )
    if pattern is not None:
        pattern = tuple(int(size) for size in pattern)
        refuse_if(
            is_signal(X) and own != pattern,
            f"pattern={pattern} is not that of the signal, {own or 'which holds spectra'}; leave it out, or give "
            "signal.data",
        )
        array = array if is_signal(X) else _with_pattern(array, pattern)
    _check(array, least)
    pixels = Axis.in_data_order(X.axes_manager.navigation_axes) if is_signal(X) else None
    if is_lazy(array) and isinstance(array._meta, np.ma.MaskedArray):
        import dask.array as da

        hidden = np.asarray(da.ma.getmaskarray(array))
        array = da.ma.filled(array, 0)
    elif isinstance(array, np.ma.MaskedArray):
        hidden, array = np.ma.getmaskarray(array), array.filled(0)
    hidden = hidden if hidden is not None and hidden.any() else None
    axis = Axis.of(X if is_signal(X) or hasattr(X, "columns") else array)
    return Given(
        array, axis, pixels, hidden, tuple(steps(X)) if is_signal(X) else (), pattern or own
    )


def _with_pattern(X: Any, pattern: tuple[int, ...]) -> Any:
    """Return an array whose last axis holds patterns of that shape row by row."""
    if len(pattern) == 2 and X.shape[-2:] == pattern:
        return _in_rows(X)
    refuse_if(
        len(pattern) != 2 or X.shape[-1:] != (math.prod(pattern),),
        f"pattern={pattern} is no shape of the last axes of the data, whose shape is {X.shape}; give (py, px)",
    )
    return X


def _as_ndarray(X: Any) -> np.ndarray:
    """Return what a user gave as an array of numbers, a masked one as such."""
    try:
        array = np.asanyarray(X) if isinstance(X, np.ma.MaskedArray) else np.asarray(X)
    except ValueError as problem:
        raise EndmemberError(
            f"X is no array of spectra ({problem}); give all spectra the same channels"
        ) from problem
    return array.astype(np.float64) if array.dtype == object else array


def _check(X: Any, least: int) -> None:
    """Refuse what holds no real numbers, has fewer than two axes, or an axis of no entries."""
    refuse_if(
        X.dtype.kind == "c",
        "Complex data not supported: a spectrum image holds real or whole numbers; give their modulus",
    )
    refuse_if(
        X.dtype.kind not in "fiub", f"a spectrum image holds real or whole numbers, not {X.dtype}"
    )
    shape = X.shape
    refuse_if(
        is_lazy(X) and np.isnan(shape).any(),
        "the sizes of the chunks of this Dask array are not known; call X.compute_chunk_sizes() first",
    )
    refuse_if(
        len(shape) < least,
        f"a spectrum image has the shape (*domain, channels), at least 2-D, and this is a {len(shape)}D array. "
        "Reshape your data: one spectrum to (1, channels), one number per pixel to (pixels, 1)",
    )
    if 0 in shape:
        what = "feature" if shape[-1] == 0 else "sample"
        raise EndmemberError(
            f"X has no entry along axis {shape.index(0)}: 0 {what}(s) (shape={tuple(shape)}) while a minimum of 1 is "
            "required; look at what was cut away before"
        )


def left_out(
    mask: Any, shape: tuple[int, ...], axes: tuple[Axis, ...] | None, name: str, what: str
) -> np.ndarray | None:
    """Return a mask (array or HyperSpy signal, True = left out) in data order; None where nothing is left out.

    Raises
    ------
    ValueError
        If it holds other values, has another shape, or is a signal on another axis.
    """
    if mask is None:
        return None
    array = np.asarray(mask.data if is_signal(mask) else mask)
    refuse_if(
        callable(mask),
        f"{mask} is a region and no mask; unmix what lies inside, such as em.unmix(roi(signal)), or give an array",
    )
    refuse_if(
        array.dtype != bool and not np.isin(array, (0, 1)).all(),
        "a mask holds True (left out) and False; this one holds other values",
    )
    refuse_if(
        array.shape != shape,
        f"{name} has the shape {array.shape} and the {what} have {shape}; give one True (left "
        "out) or False for each, in the order of the data",
    )
    if is_signal(mask) and axes is not None:
        manager = mask.axes_manager
        own = (*manager.navigation_axes, *manager.signal_axes)
        for one, other in zip(Axis.in_data_order(own), axes, strict=False):
            other.check(one, f"{name} lies", "give a mask of these data")
    return array.astype(bool) if array.any() else None


def exposures(
    exposure: Any, domain: tuple[int, ...], listed: tuple[int, ...], mask: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the exposure of every pixel, None where all are 1, and the mask with the pixels of none.

    Raises
    ------
    ValueError
        If it is negative or infinite, positive nowhere, or has another shape.
    """
    named = isinstance(exposure, str | os.PathLike)
    refuse_if(named, f"exposure={str(exposure)!r} is a name; read the file first: np.load, em.load")
    e = np.asarray(exposure.data if is_signal(exposure) else exposure, dtype=np.float64)
    refuse_if(
        e.shape not in (domain, listed),
        f"exposure has the shape {e.shape} and the pixels have {domain}; give a live time, dwell time or dose for each",
    )
    refuse_if(
        np.isinf(e).any() or (e < 0).any() or not (e > 0).any(),
        "exposure must be finite and not negative, and positive somewhere; 0 or NaN means that nothing was measured",
    )
    e, dark = e.reshape(domain), ~(e.reshape(domain) > 0)
    mask = mask if not dark.any() else dark if mask is None else mask | dark
    return None if (e[~dark] == 1).all() else e, mask


def left_in(mask: np.ndarray | None, size: int) -> np.ndarray:
    """Return the numbers of what a mask (True = left out) leaves; of all where there is none."""
    return np.arange(size) if mask is None else np.flatnonzero(~mask.ravel())


def whole(X: Any, missing: bool = False) -> Any:
    """Return an array whose values are finite, or NaN where ``missing`` values are taken; lazy data say so later.

    Raises
    ------
    ValueError
        With the place of the first value that is not.
    """
    if X.dtype.kind != "f":
        return X
    lazy = is_lazy(X)
    return (
        X.map_blocks(_finite, missing, dtype=X.dtype, meta=X._meta) if lazy else _finite(X, missing)
    )


def _finite(X: np.ndarray, missing: bool, block_info: Any = None) -> np.ndarray:
    wrong = np.isinf(X) if missing else ~np.isfinite(X)
    if wrong.any():
        first = np.argwhere(wrong)[0]
        if block_info:
            first = first + [start for start, _ in block_info[0]["array-location"]]
        what = "infinite" if missing else "NaN or infinite"
        raise nonfinite(int(np.count_nonzero(wrong)), what, first[:-1], first[-1])
    return X


def nonfinite(n: int, what: str, pixel: Any, channel: int) -> EndmemberError:
    """Return what is said of values that no spectrum may have."""
    place = tuple(int(index) for index in pixel)
    return EndmemberError(
        f"the data hold {n} {what} values, the first at pixel {place}, channel {channel}",
        way_out=(
            "leave these out with ",
            Argument("missing", "leave-out", "mask=, channel_mask= or weights= (0 = missing)"),
            ", or repair them",
        ),
    )


def far_from_one(size: float, dtype: np.dtype) -> int:
    """Return the power of two of data of this size, 0 where they are near enough to one.

    Raises
    ------
    ValueError
        If they are so large or small that squares of them are no numbers.
    """
    width = 4 if dtype.itemsize < 8 else 8
    if size == 0 or abs(np.log2(size)) <= NEAR[width]:
        return 0
    refuse_if(
        abs(np.log10(size)) > TAKEN[width] + 3,
        f"the largest value of the data is {size:.0e}, and {dtype} data are taken from 1e-{TAKEN[width]} to "
        f"1e{TAKEN[width]}; give them in another unit",
    )
    return int(np.log2(size))


def times_two_to(X: Any, exponent: int) -> Any:
    """Return data times a power of two, which is exact."""
    if is_lazy(X):
        return X.map_blocks(np.ldexp, exponent, dtype=X.dtype, meta=X._meta)
    if sparse.issparse(X):
        return sparse.csr_array((np.ldexp(X.data, exponent), X.indices, X.indptr), shape=X.shape)
    return np.ldexp(X, exponent)


#: Bytes hashed in one go.
_BLOCK = 2**25


def data_hash(data: Any) -> str:
    """Return a fingerprint of data: the same data always give the same, others another.

    BLAKE2b, 16 bytes, of the shape, the data type and the values in C order, little-endian.
    It does not depend on how the data are kept: an eager and a lazy array, any chunking, any
    memory order, and a signal and its ``(*domain, channels)`` array agree. Sparse data are hashed
    as a CSR matrix with sorted indices, no duplicates and no stored zeros, and differ from the
    same data kept dense.

    Parameters
    ----------
    data : ndarray, dask.array.Array, sparse matrix or hyperspy.api.signals.BaseSignal
        Looked at block by block.

    Returns
    -------
    str
        ``"blake2b:"`` and 32 hexadecimal digits.

    Raises
    ------
    ValueError
        The values are Python objects, which have no bytes of their own.

    Examples
    --------
    >>> data_hash(np.arange(6).reshape(2, 3)) == data_hash(np.arange(6).reshape(3, 2))
    False
    """
    data = unwrap(data)
    digest = hashlib.blake2b(digest_size=16)
    if sparse.issparse(data):
        csr = canonical(sparse.csr_array(data))
        digest.update(f"csr{tuple(map(int, csr.shape))}".encode())
        for part in (csr.indptr.astype(np.int64), csr.indices.astype(np.int64), csr.data):
            _hash_array(digest, part)
    else:
        _hash_array(digest, data if hasattr(data, "dtype") else np.asarray(data))
    return f"blake2b:{digest.hexdigest()}"


def _hash_array(digest: Any, data: Any) -> None:
    dtype = data.dtype.newbyteorder("<")
    refuse_if(
        dtype.hasobject, f"data of type {data.dtype} have no fingerprint; make them numbers first"
    )
    digest.update(f"{tuple(map(int, data.shape))} {dtype.str}".encode())
    for block in blocks_in_order(data):
        digest.update(np.ascontiguousarray(block, dtype=dtype))


def blocks_in_order(data: Any) -> Iterator[np.ndarray]:
    """Go through an array along its first axis, a lazy one chunk row by chunk row."""
    data = data.reshape(data.shape or 1)
    if isinstance(data, np.ndarray):
        yield from (data[rows] for rows in row_blocks(len(data), data[:1].nbytes, _BLOCK))
    else:
        yield from map(np.asarray, (data.blocks[row] for row in range(data.numblocks[0])))
