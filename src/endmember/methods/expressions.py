"""What a fusion is written with: factors, their sums and products with known matrices, and terms."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from endmember.errors import EndmemberError, EndmemberTypeError, refuse_if
from endmember.factor.arrangements.series import Tensor
from endmember.factor.data import (
    Arrangement,
    Data,
    Given,
    Grid,
    Observed,
    checked_masks,
    given,
    is_signal,
    observe,
)
from endmember.factor.losses import Loss, given_loss
from endmember.factor.noise.model import estimate_noise
from endmember.factor.penalties import Penalty, is_free, resolve
from endmember.factor.subproblems import Bound
from endmember.methods.checks import check_number_of_components

#: Noise is never taken for less than this fraction of the mean square of the data.
QUIET = 1e-12


@dataclass(frozen=True, eq=False)
class Expression:
    """A sum of factors, each with a known matrix before it or none."""

    summands: "tuple[tuple[Factor, Any], ...]"

    #: Keeps NumPy from taking an expression for a number.
    __array_ufunc__ = None

    @property
    def factors(self) -> "list[Factor]":
        """The factors that are added."""
        return [factor for factor, _ in self.summands]

    @property
    def is_mixed(self) -> bool:
        """Whether some factors may have any sign and others not: the sum must then not be negative."""
        return len({factor.is_free for factor in self.factors}) == 2

    def __add__(self, other: "Expression") -> "Expression":
        known = isinstance(other, Expression)
        return Expression(self.summands + other.summands) if known else NotImplemented

    def __rmatmul__(self, matrix: Any) -> "Expression":
        return Expression(
            tuple(
                (factor, matrix if known is None else matrix @ known)
                for factor, known in self.summands
            )
        )


class Factor(Expression):
    """An unknown matrix of ``k`` columns that terms share.

    Add factors (``C + N``), multiply them from the left with a known matrix (``G @ S``), and hand them to
    :class:`em.Term`. As many rows as the data that they stand for; non-negative unless ``em.Free()`` is
    given. A sum is held non-negative as a whole as soon as one of its summands is.

    Parameters
    ----------
    k : int
        The number of components, the same for all factors of a fusion.
    penalties : Penalty or list of them, optional
    fixed : array_like, optional
        Known entries, NaN where they are to be found: (*domain, k), (rows, k) or (k, channels). Zeros in
        the columns of one detector's spectra make a component private to the others.
    name : str, optional
        For messages.

    Examples
    --------
    >>> from endmember.factor.penalties import Free
    >>> C, N = Factor(2, name="C"), Factor(2, penalties=Free(), name="N")
    >>> (C + N).summands
    ((Factor(2, name='C'), None), (Factor(2, name='N'), None))
    """

    def __init__(
        self, k: int, penalties: Any = None, fixed: Any = None, *, name: str | None = None
    ) -> None:
        self.k = check_number_of_components(k, "k")
        self.penalties = resolve(penalties, name or "factor")
        self.fixed = None if fixed is None else np.asarray(fixed, dtype=np.float64)
        self.name = name

    def __repr__(self) -> str:
        return f"Factor({self.k})" if self.name is None else f"Factor({self.k}, name={self.name!r})"

    @property
    def summands(self) -> "tuple[tuple[Factor, Any], ...]":
        """Itself alone, as a sum."""
        return ((self, None),)

    @property
    def is_free(self) -> bool:
        """Whether entries below zero are allowed."""
        return is_free(self.penalties)

    def all_penalties(self, rows: int, domain: tuple[int, ...]) -> list[Penalty]:
        """Return all penalties on the factor once it is known how many rows it has.

        Raises
        ------
        ValueError
            If the fixed entries have another shape.
        """
        if self.fixed is None:
            return self.penalties
        allowed = [(*domain, self.k), (rows, self.k), (self.k, rows)]
        refuse_if(
            self.fixed.shape not in allowed,
            f"{self!r} has fixed entries of shape {self.fixed.shape}; allowed: {allowed[0]} or "
            f"{allowed[2]}, NaN where an entry is to be found",
        )
        turned = self.fixed.shape == allowed[2] and self.fixed.shape not in allowed[:2]
        values = self.fixed.T if turned else self.fixed.reshape(rows, self.k)
        refuse_if(
            np.isinf(values).any() or (not self.is_free and np.any(values < 0)),
            f"{self!r} has fixed entries that are infinite or below zero; give em.Free() for entries of "
            "any sign",
        )
        return [*self.penalties, Fixed(values)]


class Fixed(Penalty):
    """Entries that are given, NaN where they are not, (rows, k)."""

    in_words = "known in part"

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def bounds(self, shape: tuple[int, int], grid: Grid | None = None) -> tuple[Bound, Bound]:
        free = np.isnan(self.values)
        return np.where(free, -np.inf, self.values), np.where(free, np.inf, self.values)


class Term:
    r"""One data set and the factors whose product it is: :math:`\lambda\,D(X, E_1 E_2^\top)`.

    Parameters
    ----------
    data : array_like, sparse matrix, Dask array or HyperSpy signal, (*domain, channels)
        An image as a signal or with one channel, ``image[..., np.newaxis]``. Never changed.
    *factors : Factor or sums of them
        Two, for maps and spectra; or one for every axis of the data (CP).
    weight : float or "auto"
        "auto" is one over the variance of the noise, measured from the data; 1 under losses for counts.
    loss : Loss, optional
        ``em.SquaredError()`` unless given; ``em.Poisson()`` for counts of gain 1. Terms may differ.
    mask, channel_mask, weights
        Pixels, channels and weights of entries as in :meth:`em.NMF.fit`.

    Raises
    ------
    TypeError, ValueError
        If the data cannot be fused as asked; the message says what is allowed.

    Examples
    --------
    >>> term = Term(np.ones((4, 5, 6)), Factor(2), Factor(2), weight=1)
    >>> term.data.shape
    (20, 6)
    """

    def __init__(
        self,
        data: Any,
        *factors: Expression,
        weight: float | str = "auto",
        loss: Loss | None = None,
        mask: Any = None,
        channel_mask: Any = None,
        weights: Any = None,
    ) -> None:
        for factor in factors:
            refuse_if(
                not isinstance(factor, Expression),
                f"{factor!r} is no factor; give em.Factor(k), a sum of factors, or a known matrix times one (G @ S)",
                kind=EndmemberTypeError,
            )
        self.slots = list(factors)
        self.loss_ = given_loss(loss)
        X = given(data.data[..., np.newaxis] if is_image(data) else data)
        self.observed = _observed(X, mask, channel_mask, weights)
        refuse_if(
            self.observed.unit != 1,
            f"data of a fusion must be near one and the largest value of these is about {self.observed.unit:.0e}; "
            "give them in another unit, such as counts",
        )
        self.data = self._as_modes(self.loss_.prepare(self.observed.data))
        self.weight_ = self._weight(weight, X, mask, channel_mask)

    def check(self) -> None:
        """Refuse factors that no model of these data can have.

        Raises
        ------
        ValueError
            With the way out.
        """
        named = [factor for slot in self.slots for factor in slot.factors]
        any_sign = any(all(factor.is_free for factor in slot.factors) for slot in self.slots)
        refuse_if(
            self.loss_.takes != "any" and any_sign,
            f"{self.loss_!r} needs a model without negative values, so em.Free() factors can only stand in a "
            "sum with one that is not free; use em.PoissonScaled() or leave em.Free() out",
        )
        refuse_if(
            len(named) != len(set(named)),
            "a factor stands twice in one term, which makes the term no linear problem of it; give a second "
            "factor and tie the two with a term of their own",
        )
        matrices = [known for slot in self.slots if slot.is_mixed for _, known in slot.summands]
        refuse_if(
            any(known is not None for known in matrices),
            "a sum with a known matrix cannot be held non-negative as a whole; leave em.Free() out of its "
            "factors, or give em.Free() to all of them",
        )
        choosing = [p for factor in named for p in factor.penalties if p.chooses]
        if choosing:
            raise EndmemberError(
                f"{choosing[0]!r} chooses among components of a single data set; say how many a fusion has"
            )

    def shape_of(self, mode: int) -> tuple[int, ...]:
        """Return the shape that the rows of a mode have in the data."""
        maps = len(self.slots) == 2 and mode == 0
        return self.observed.domain if maps else (self.data.shape[mode],)

    def masked(self, mode: int) -> np.ndarray | None:
        """Return which rows of a mode are masked as a whole, or None."""
        if mode == len(self.slots) - 1:
            return self.observed.channel_mask
        mask = self.observed.mask
        return mask.ravel() if mask is not None and len(self.slots) == 2 else None

    def _as_modes(self, matrix: Data) -> Arrangement:
        axes = len(self.observed.domain) + 1
        if len(self.slots) == 2:
            return matrix
        refuse_if(
            len(self.slots) != axes,
            f"the data have {axes} axes and the term {len(self.slots)} factors; give two (maps and "
            "spectra), or one for every axis",
        )
        return Tensor(matrix, self.observed.domain)

    def _weight(self, weight: Any, X: Given, mask: Any, channel_mask: Any) -> float:
        if not isinstance(weight, str):
            refuse_if(
                not isinstance(weight, Real) or not 0 < float(weight) < np.inf,
                f'weight={weight!r} is no weight of a term; give a number above zero or "auto"',
            )
            return float(weight)
        refuse_if(
            weight != "auto", f'weight={weight!r} is not known; give a number above zero or "auto"'
        )
        refuse_if(
            self.loss_.power is None,
            f'{self.loss_!r} does not say what its noise is, so weight="auto" cannot be found; give the term a '
            "number, such as weight=1",
        )
        if self.loss_.power != 0:
            return 1.0
        refuse_if(
            not self.observed.survey.filled_rows.any(),
            "all values of one detector are zero, so it says nothing; leave it out",
        )
        return 1.0 / _noise_variance(self.observed, X, mask, channel_mask)


def is_image(one: Any) -> bool:
    """Tell whether this is a HyperSpy image: two signal axes and nothing besides."""
    return is_signal(one) and (
        one.axes_manager.signal_dimension == 2 and one.axes_manager.navigation_dimension == 0
    )


def _observed(X: Given, mask: Any, channel_mask: Any, weights: Any) -> Observed:
    """Read the data; what is masked stays in them with weight zero, as other terms may see it."""
    if mask is None and channel_mask is None and weights is None and X.hidden is None:
        return observe(X, keep_empty=True)
    pixels, channels, seen = checked_masks(X, X.shape[:-1], mask, channel_mask, weights)
    seen = np.ones(X.shape) if seen is None else seen.copy()
    if pixels is not None:
        seen[pixels] = 0.0
    if channels is not None:
        seen[..., channels] = 0.0
    found = observe(replace(X, hidden=None), weights=seen, keep_empty=True)
    found.mask, found.channel_mask = pixels, channels
    return found


def _noise_variance(observed: Observed, X: Given, mask: Any, channel_mask: Any) -> float:
    """Return the mean variance of an entry."""
    data = observed.data
    n, m = data.shape
    square = max(data.squared_norm / (n * m), 1e-300)
    noise = estimate_noise(X, mask=mask, channel_mask=channel_mask)
    refuse_if(noise.unknown, f"{noise.sentence()} Give the term weight=1/variance")
    total = float(np.sum(data.dot(np.ones((m, 1)))))
    seen = float(n * m if data.W is None else data.W.sum())
    return max(float(noise.variance(total / max(seen, 1e-300))), QUIET * square)


def checked_terms(terms: Iterable[Term]) -> Sequence[Term]:
    """Return the terms of a fusion after checking that they fit together.

    Raises
    ------
    TypeError, ValueError
        With the way out.
    """
    terms = list(terms)
    refuse_if(
        not terms or not all(isinstance(term, Term) for term in terms),
        "em.Fusion takes a list of em.Term, at least one",
        kind=EndmemberTypeError,
    )
    sizes = {factor.k for term in terms for slot in term.slots for factor in slot.factors}
    refuse_if(
        len(sizes) > 1,
        f"the factors have {sorted(sizes)} components and must have the same number; for components that "
        "only one detector sees, fix the others' spectra there to zero: em.Factor(k, fixed=...)",
    )
    for term in terms:
        term.check()
    return terms
