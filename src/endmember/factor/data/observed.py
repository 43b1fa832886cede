"""From what a user has to what the mathematics needs: signals, cubes, counts, masks and weights.

A spectrum image has the shape ``(*domain, channels)``. Here it becomes
:class:`~endmember.factor.data.in_memory.Data` of the pixels and channels that take part, together with the
way back to the domain.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy import sparse

from endmember.errors import EndmemberError, refuse_if
from endmember.factor.columns import placed
from endmember.factor.data.axis import Axis, filled_in, is_signal
from endmember.factor.data.in_memory import Dense, Sparse, Weighted, count_scaled, exposed
from endmember.factor.data.inspection import (
    Given,
    exposures,
    far_from_one,
    given,
    is_lazy,
    left_in,
    left_out,
    nonfinite,
    times_two_to,
    unwrap,
)
from endmember.factor.data.lazy import Blocks, Lazy, counts_of, in_memory, is_list
from endmember.factor.data.matrix import BLOCK_ENTRIES, BlockData, Data, Selection, row_blocks
from endmember.factor.data.resources import current, fingerprint, logger
from endmember.factor.sketch.passes import FirstPass, Seen, Survey, Wanted, first_pass, largest_size

#: Dense counts with more zeros than this are turned into sparse ones, once.
SPARSE_FROM = 0.8
#: Values are whole numbers of a unit where they lie this close to them.
WHOLE = 1e-3
#: Lazy data up to this size are read once and kept, in bytes: no more than a block of larger ones.
KEPT_UP_TO = 2**26


@dataclass
class Observed:
    """A spectrum image ready for a fit, and the way back to its domain.

    Attributes
    ----------
    data : Data
        The pixels and channels that take part, (n, m).
    domain : tuple of int
        The shape of the image; ``(n_pixels,)`` for 2-D input.
    n_channels : int
        All channels, those left out included.
    rows, columns : ndarray of int
        The pixels and channels that take part.
    mask, channel_mask : ndarray of bool or None
        True where the user left a pixel or channel out.
    survey : Survey
        What the data hold.
    axis : Axis
        The energy of every channel, those left out included.
    unit : float
        A power of two: what one in ``data`` stands for. Data that are far from one come in scaled.
    domain_known : bool
        Whether the pixels form an image or a line, and are no mere list.
    history : tuple of dict
        The processing steps that a signal went through.
    seen : tuple, optional
        What the last pass over the data says of factors (:class:`~endmember.factor.sketch.passes.Seen`), and these.
    pattern : tuple of int, optional
        The shape of the pattern that all channels form, where they do.
    exposure : ndarray, (*domain), optional
        How long every pixel was exposed, where not all were alike: maps are for one unit of it.
    judged : Problem, optional
        The least squares of data whose noise is white on which a fit was judged.
    """

    data: Data
    domain: tuple[int, ...]
    n_channels: int
    rows: np.ndarray
    columns: np.ndarray
    mask: np.ndarray | None
    channel_mask: np.ndarray | None
    survey: Survey
    axis: Axis
    domain_known: bool = True
    history: tuple[dict[str, Any], ...] = ()
    unit: float = 1.0
    seen: tuple[Seen, np.ndarray, np.ndarray] | None = None
    judged: Any = None
    pattern: tuple[int, ...] | None = None
    exposure: np.ndarray | None = None

    @cached_property
    def holds_counts(self) -> bool:
        """Whether no value is negative and all are whole numbers of one unit, whatever type they have."""
        if self.survey.n_negative or self.survey.integer:
            return not self.survey.n_negative
        unit, precision = np.inf, np.finfo(self.data.dtype).eps
        for rows in row_blocks(*self.data.shape):
            values = self.data.counts.rows(np.arange(rows.start, rows.stop))
            unit = np.min(values, where=values > 0, initial=unit)
            fine = values.max() * precision > WHOLE * unit  # nothing would show what lies between
            if fine or np.abs(values / unit - np.rint(values / unit)).max() > WHOLE:
                return False
        return True

    def some_pixels(self, most: int = 2048) -> np.ndarray | None:
        """Return the numbers of at most so many pixels, drawn once; None for all of few, and of data not in memory."""
        n = self.data.shape[0]
        many = n > most and isinstance(self.data, Dense | Sparse)
        return np.sort(np.random.default_rng(0).choice(n, most, replace=False)) if many else None

    def of(self, pixels: np.ndarray) -> Self:
        """Return the same of some of the pixels."""
        data, e = Dense(self.data.counts.rows(pixels).astype(self.data.dtype)), self.data.exposure
        return replace(
            self, data=exposed(data, None if e is None else e[pixels]), rows=self.rows[pixels]
        )

    def weighted_by_counts(self) -> Data:
        """Return the data, where they are counts with weights that make their noise white."""
        counted = not self.data.weighted and self.holds_counts
        return count_scaled(self.data) if counted else self.data

    def maps(self, F: np.ndarray, empty: float = 0.0, fill: bool = False) -> np.ndarray:
        """Return maps (n, k) as ``(*domain, k)``: zero, or what is said, at empty pixels, NaN at masked ones.

        With ``fill``, masked ones are filled in from those around them.
        """
        full = self._spread(F, self.rows, int(np.prod(self.domain)), self.mask, empty)
        full = full.reshape(*self.domain, F.shape[1])
        return filled_in(full) if fill and self.mask is not None else full

    def spectra(self, F: np.ndarray) -> np.ndarray:
        """Return spectra (m, k) as ``(k, channels)``: zero at empty channels, NaN at masked ones."""
        return np.ascontiguousarray(
            self._spread(F, self.columns, self.n_channels, self.channel_mask).T
        )

    def _spread(
        self,
        F: np.ndarray,
        index: np.ndarray,
        size: int,
        mask: np.ndarray | None,
        empty: float = 0.0,
    ) -> np.ndarray:
        full = placed(F, index, size, empty, self.data.dtype)
        if mask is not None:
            full[mask.ravel()] = np.nan
        return full


@dataclass(frozen=True, eq=False)
class Explained:
    r"""Data and what a model says of them: :math:`X \approx C S^\top + 1 \mu^\top`.

    Drift is inside of the data, which are read where the model found their channels; cores and profiles along
    several axes are inside of the maps.

    Attributes
    ----------
    observed : Observed
        The data, the pixels and channels that take part, and the way back to the image.
    C : ndarray, (n, k)
        Maps of the pixels that take part.
    S : ndarray, (m, k)
        Spectra at the channels that take part.
    offset : ndarray, (m,), optional
        A spectrum μ that is part of every pixel, such as the mean that a centred model takes off.
    """

    observed: Observed
    C: np.ndarray
    S: np.ndarray
    offset: np.ndarray | None = None

    @property
    def factors(self) -> list[np.ndarray]:
        """Maps and spectra whose product is the model, the offset among them: (n, q) and (m, q)."""
        if self.offset is None:
            return [self.C, self.S]
        return [
            np.column_stack([self.C, np.ones(len(self.C))]), np.column_stack([self.S, self.offset])
        ]  # fmt: skip

    @property
    def weights(self) -> np.ndarray | None:
        """The weight of every entry, (n, m); None where all weigh the same."""
        return self.observed.data.W

    def as_recorded(self) -> Self:
        """Return the same of the data as recorded, their exposure in the maps."""
        data, (C, S) = self.observed.data, self.factors
        if data.exposure is None:
            return self
        observed = replace(self.observed, data=data.counts, exposure=None)
        return replace(self, observed=observed, C=C * data.exposure[:, None], S=S, offset=None)

    def residual_blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield ``(rows, residual)`` block by block, every entry times the root of its weight."""
        return self.observed.data.residual_blocks(*self.factors)

    def squares(self, data: Data | None = None) -> float:
        """Return the sum of the squared residuals times their weights; with those of ``data`` if given."""
        return 2.0 * (self.observed.data if data is None else data).misfit(self.factors)


def observe(
    X: Any,
    *,
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    exposure: Any = None,
    domain: tuple[int, ...] | None = None,
    keep_empty: bool = False,
    wanted: Wanted | None = None,
) -> Observed:
    """Read a spectrum image of any kind for a fit.

    Parameters
    ----------
    X : array_like, Dask array, sparse matrix or HyperSpy signal, (*domain, channels)
        Any real or integer dtype. Never copied whole, never changed.
    mask, channel_mask : array_like of bool or HyperSpy signal, optional
        Pixels ``(*domain)`` and channels ``(channels,)`` to leave out, in data order.
    weights : array_like, shape of X, optional
        Non-negative weight of every entry; 0, or NaN in the data, means missing.
    exposure : array_like or HyperSpy signal, (*domain), optional
        Live time, dwell time or dose of every pixel; 0 or NaN where nothing was measured.
    domain : tuple of int, optional
        The image that the pixels of a 2-D ``X`` form.
    keep_empty : bool
        Keep pixels and channels that are all zero, which are left out of a fit otherwise.
    wanted : Wanted, optional
        What to find in the same pass over the data.

    Raises
    ------
    ValueError
        If shapes do not fit, if everything is zero or masked, or if NaN or infinite values are
        neither masked nor missing.
    """
    taken = given(X)
    if isinstance(taken.array, Data):
        return _observe_again(taken.array, mask, channel_mask, weights, exposure)
    X, n_channels = taken.array, taken.shape[-1]
    domain_known = (domain or taken.domain) is not None
    domain = _image_shape(taken.shape[:-1], domain)
    mask, channel_mask, weights = checked_masks(
        taken, domain, mask, channel_mask, weights, not keep_empty
    )
    if exposure is not None:
        exposure, mask = exposures(exposure, domain, taken.shape[:-1], mask)
    wanted = wanted or Wanted()
    if is_lazy(X):
        X = _kept(X, wanted, weights is not None)
    X = X if is_lazy(X) or sparse.issparse(X) else X.reshape(-1, n_channels)
    found = survey(X, mask, channel_mask, wanted)
    if len(found.first_nonfinite) and weights is None:
        row, column = found.first_nonfinite
        raise nonfinite(found.counts[0], "NaN or infinite", np.unravel_index(row, domain), column)
    exponent = far_from_one(found.size, X.dtype)
    if exponent:
        near = replace(taken, array=times_two_to(taken.array, -exponent), hidden=None)
        seen = observe(
            near, mask=mask, channel_mask=channel_mask, weights=weights, exposure=exposure, domain=domain,
            keep_empty=keep_empty, wanted=wanted,
        )  # fmt: skip
        return replace(seen, unit=2.0**exponent)
    if not found.filled_rows.any() and not keep_empty:
        raise EndmemberError(_why_nothing_is_left(mask, channel_mask))
    rows = _taking_part(mask, found.filled_rows, keep_empty)
    columns = _taking_part(channel_mask, found.filled_columns, keep_empty)
    data = _as_data(X, found, rows, columns)
    if isinstance(found, FirstPass) and isinstance(data, BlockData):
        data.found = found.pixels[rows], found.channels[columns], found.directions[columns]
        data.by_counts = wanted.by_counts
    data.channels = np.searchsorted(_taking_part(channel_mask, found.filled_columns, True), columns)
    if weights is not None:
        data = Weighted(data, weights.reshape(-1, n_channels)[np.ix_(rows, columns)])
        _refuse_infinite(data, rows, columns, domain)
    data = data if exposure is None else exposed(data, exposure.ravel()[rows])
    return Observed(
        data, domain, n_channels, rows, columns, mask, channel_mask, found, taken.axis, domain_known,
        taken.history, pattern=taken.pattern, exposure=exposure,
    )  # fmt: skip


def _taking_part(mask: np.ndarray | None, filled: np.ndarray, keep_empty: bool) -> np.ndarray:
    """Return the indices that are neither masked nor, unless they are kept, empty."""
    return left_in(mask, len(filled)) if keep_empty else np.flatnonzero(filled)


def _observe_again(X: Data, *left_out: Any) -> Observed:
    """Return what compressed data were made from, with the compressed data in its place."""
    refuse_if(
        any(one is not None for one in left_out),
        "compressed data have their masks already and take no weights and no exposure; give mask and channel_mask to "
        "em.compress, and the uncompressed data for weights and exposure",
    )
    refuse_if(
        X.origin is None, "these data do not know where they come from; make them with em.compress"
    )
    return replace(X.origin, data=X)


def _kept(X: Any, wanted: Wanted, weighted: bool) -> Any:
    """Return lazy data as they are, or in memory where they are small or every entry is asked for."""
    if is_list(X) and not weighted:
        return counts_of(X)
    if not stays_lazy(X):
        return in_memory(X, blocks_of(X))
    if not (wanted.entries or weighted):
        return X
    return in_memory(X, blocks_of(X), 1.0 if weighted else SPARSE_FROM)


def stays_lazy(X: Any) -> bool:
    """Tell whether ``X`` is a Dask array so large that it is read block by block rather than kept."""
    large = is_lazy(X) and (X.nbytes > KEPT_UP_TO or 32 * X.size > (current().memory or math.inf))
    return large and not is_list(X)


def blocks_of(X: Any) -> Blocks:
    """Return how a Dask array is read, decided once a session."""
    notes, key = current().notes, ("blocks", X.name)
    if key not in notes:
        notes[key] = Blocks(X, current().memory)
    return notes[key]


def survey(
    X: Any, mask: np.ndarray | None, channel_mask: np.ndarray | None, wanted: Wanted
) -> Survey:
    """Return what one pass over a matrix (n, m) or lazy data finds; a :class:`FirstPass` but for sparse ones."""
    shape = int(np.prod(X.shape[:-1])), int(X.shape[-1])
    rows, columns = left_in(mask, shape[0]), left_in(channel_mask, shape[1])
    if not (len(rows) and len(columns)):
        raise EndmemberError(_why_nothing_is_left(mask, channel_mask))
    selection = _selection(rows, columns, shape)
    if sparse.issparse(X):
        return _survey_of_nonzeros(
            Sparse(X, selection).X, rows, columns, shape, X.dtype.kind in "iub"
        )
    if is_lazy(X):
        return _first_pass_of_lazy(X, selection, rows, columns, shape, wanted)
    wanted = Wanted() if _seems_sparse(X) else wanted
    return first_pass(Dense(X, selection), columns, rows, shape, wanted)


def _survey_of_nonzeros(
    X: sparse.csr_array, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int],
    integer: bool,
) -> Survey:  # fmt: skip
    """Return what a matrix of these rows and columns holds; no zero is stored in it."""
    n, m = shape
    filled_rows = placed(np.diff(X.indptr) > 0, rows, n, False, bool)
    filled_columns = np.isin(np.arange(m), columns[X.indices])
    wrong = np.flatnonzero(~np.isfinite(X.data))
    row_of = np.searchsorted(X.indptr, wrong[:1], side="right") - 1
    first = np.concatenate([rows[row_of], columns[X.indices[wrong[:1]]]])
    counts = np.array([len(wrong), np.count_nonzero(X.data < 0), math.prod(X.shape) - X.nnz])
    return Survey(filled_rows, filled_columns, counts, first, integer, largest_size(X.data))


def _first_pass_of_lazy(
    X: Any, selection: Selection, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int],
    wanted: Wanted,
) -> FirstPass:  # fmt: skip
    """Return what a first pass over lazy data finds; once a session."""
    session, key = current(), ("look", X.name, fingerprint([rows, columns]), wanted.by_counts)
    found = session.notes.get(key)
    if found is None or found.directions.shape[1] < min(wanted.directions, len(rows), len(columns)):
        data = Lazy(X, selection, blocks_of(X))
        found = session.notes[key] = first_pass(data, columns, rows, shape, wanted)
    return found


def _seems_sparse(X: np.ndarray) -> bool:
    """Tell whether the first pixels are counts so full of zeros that the data may be stored sparse."""
    few = X[: max(1, BLOCK_ENTRIES // max(X.shape[1], 1))]
    return X.dtype.kind in "iub" and bool(np.mean(few != 0) < 1 - SPARSE_FROM)


def _selection(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> Selection:
    n, m = shape
    return Selection(None if len(rows) == n else rows, None if len(columns) == m else columns)


def _as_data(X: Any, found: Survey, rows: np.ndarray, columns: np.ndarray) -> Data:
    selection = _selection(rows, columns, (int(np.prod(X.shape[:-1])), int(X.shape[-1])))
    if is_lazy(X):
        return Lazy(X, selection, blocks_of(X))
    if sparse.issparse(X):
        return Sparse(X, selection)
    if found.integer and found.counts[2] > SPARSE_FROM * X.size:
        logger.debug("counts with %.0f %% zeros are stored sparse", 100 * found.counts[2] / X.size)
        return Sparse(sparse.csr_array(X), selection)
    return Dense(X, selection)


def _image_shape(found: tuple[int, ...], domain: tuple[int, ...] | None) -> tuple[int, ...]:
    if domain is None:
        return found
    domain = tuple(int(size) for size in domain)
    refuse_if(
        np.prod(domain) != np.prod(found),
        f"domain={domain} has {np.prod(domain)} pixels and X has {np.prod(found)}; they must agree",
    )
    return domain


def checked_masks(
    taken: Given,
    domain: tuple[int, ...],
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    whole: bool = True,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return masks and weights as arrays, with what a masked array hides: whole pixels, channels, then entries.

    Unless ``whole`` is false, pixels without weight are masked, and weights of one left out that say no more.

    Raises
    ------
    ValueError
        If one does not belong to the data.
    """
    mask = left_out(mask, domain, taken.pixels, "mask", "pixels")
    n_channels, channel_mask = len(taken.axis.energy), taken.channels_left_out(channel_mask)
    weights = _check_weights(weights, taken)
    if whole and weights is not None and not weights.any(axis=-1).all():
        missing = ~weights.any(axis=-1).reshape(domain)
        mask = missing if mask is None else mask | missing
        X, measured = taken.array, ~mask.reshape(weights.shape[:-1])
        finite = not isinstance(X, np.ndarray) or np.isfinite(X[measured]).all()
        weights = None if finite and np.all(weights[measured] == 1) else weights
    if taken.hidden is None:
        return mask, channel_mask, weights
    flat = taken.hidden.reshape(-1, n_channels)
    rows = flat.all(axis=1) if mask is None else flat.all(axis=1) | mask.ravel()
    columns = np.all(flat[~rows], axis=0)
    columns = columns if channel_mask is None else columns | channel_mask
    if flat[~rows][:, ~columns].any():
        weights = np.where(taken.hidden, 0.0, 1.0 if weights is None else weights)
    return rows.reshape(domain) if rows.any() else None, columns if columns.any() else None, weights


def _check_weights(weights: Any, taken: Given) -> np.ndarray | None:
    if weights is None:
        return None
    if is_signal(weights):
        taken.axis.check(Axis.of(weights), "weights lie", "give weights of these data")
    weights, shape = np.asarray(unwrap(weights), dtype=np.float64), taken.shape
    if taken.pattern and weights.shape == (*shape[:-1], *taken.pattern):
        weights = weights.reshape(shape)
    if weights.shape == shape[:-1]:
        weights = np.broadcast_to(weights[..., None], shape)
    refuse_if(
        weights.shape != shape,
        f"weights have the shape {weights.shape} and X has {shape}; they must agree, or give one a pixel",
    )
    refuse_if(
        not np.isfinite(weights).all() or (weights < 0).any(),
        "weights must be finite and not negative; use 0 for a missing entry",
    )
    refuse_if(
        not weights.any(), "all weights are zero, so that no entry is left; 0 means a missing entry"
    )
    return weights


def _refuse_infinite(
    data: Weighted, rows: np.ndarray, columns: np.ndarray, domain: tuple[int, ...]
) -> None:
    """Refuse infinite values that have weight: unlike NaN they do not stand for missing entries."""
    infinite = np.argwhere(np.isinf(data.X))
    if len(infinite):
        row, column = infinite[0]
        raise nonfinite(
            len(infinite), "infinite", np.unravel_index(rows[row], domain), columns[column]
        )


def _why_nothing_is_left(mask: np.ndarray | None, channel_mask: np.ndarray | None) -> str:
    for what, left in (("pixel", mask), ("channel", channel_mask)):
        if left is not None and left.all():
            return f"every {what} is masked, so nothing is left to fit; 1 or True means left out: turn the mask round"
    where = " outside the masks" if mask is not None or channel_mask is not None else ""
    return f"all values{where} are zero, so there is nothing to unmix; take the right signal of the file"
