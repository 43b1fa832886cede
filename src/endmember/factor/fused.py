r"""Several data sets as one: their terms add up in the problem of every factor.

With the sum of all other summands :math:`R` and :math:`Z` made from the other factors of a term,

.. math:: G = \sum_t \lambda_t Z_t^\top Z_t,\qquad H = \sum_t \lambda_t (X_t Z_t - R_t Z_t^\top Z_t)

so penalties and solvers work as they do on a single data set. A divergence takes part by the square that
touches it (:mod:`endmember.factor.local`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from endmember.factor.local import Local
from endmember.factor.losses import Loss
from endmember.factor.scales import Scales
from endmember.factor.subproblem import Counted, Quadratic, Subproblem
from endmember.factor.summed import SummedCounts
from endmember.factor.terms import Part


class Fused:
    """Terms that share factors, as the loop sees them.

    Parameters
    ----------
    parts : sequence of Part
    shape : sequence of int
        The number of rows of every factor.
    scales : Scales
        Who carries the scale of every component.
    """

    componentwise = False
    weighted = False

    def __init__(self, parts: Sequence[Part], shape: Sequence[int], scales: Scales) -> None:
        self.parts, self.shape, self.scales = list(parts), tuple(shape), scales

    def own_scales(self) -> Scales:
        """Return who carries the scale."""
        return self.scales

    @property
    def size(self) -> int:
        """The number of entries of all terms."""
        return sum(part.data.size for part in self.parts)

    def shares(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Return the length of every component as a fraction of that of the data of the term where it is most, (k,)."""
        return np.max([part.data.shares(part.modes(factors)) for part in self.parts], axis=0)

    def row_weights(self, mode: int) -> None:
        """Return None: weights of pixels and channels are inside the terms."""

    def halves(self) -> None:
        """Return None: terms are not compressed as one."""

    def n_others(self, mode: int) -> int:
        """Return how many entries each row of a factor is made from."""
        sizes = [
            int(np.prod(part.data.shape, dtype=np.int64)) // max(self.shape[mode], 1)
            for part in self.parts
            if any(part.places(mode))
        ]
        return max(1, sum(sizes))

    @property
    def squared_norm(self) -> float:
        """The sum of the squared lengths of all data in the metric of their losses."""
        return 2.0 * sum(part.reference() for part in self.parts)


class FusedLoss(Loss):
    """The weighted sum of the losses of all terms.

    Parameters
    ----------
    makes : type
        ``Counted`` where all terms are Poisson likelihoods that are asked directly, else ``Quadratic``.
    """

    in_words = "the weighted sum of the losses of all terms"

    def __init__(self, makes: type[Subproblem] = Quadratic) -> None:
        self.makes = makes

    def reference(self, data: Any) -> float:
        return sum(part.reference() for part in data.parts)

    def subproblem(self, data: Any, factors: Sequence[np.ndarray], mode: int) -> Any:
        if self.makes is Counted:
            asked = [(part, place) for part in data.parts for place in part.places(mode)]
            terms = [part.pull(factors, *place).subproblem for part, place in asked]
            return SummedCounts(terms, [part.weight for part, _ in asked])
        pulls, concerned = [], []
        for part in data.parts:
            found = [part.pull(factors, n, summand) for n, summand in part.places(mode)]
            pulls += found
            concerned += [part] if found else []
        combined = added([pull.subproblem for pull in pulls])
        floors = [-pull.rest for pull in pulls if pull.rest is not None]
        if floors:
            combined.lower = np.max(floors, axis=0)
        if not any(part.is_curved for part in concerned):
            return combined
        before, after = list(factors[:mode]), list(factors[mode + 1 :])

        def misfit(F: np.ndarray) -> float:
            return sum(part.misfit([*before, F, *after]) for part in concerned)

        return Local(
            combined.G, combined.H, combined.lower, combined.upper,
            own_G=combined.G, own_H=combined.H, misfit=misfit,
        )  # fmt: skip

    def misfit(
        self, data: Any, factors: Sequence[np.ndarray], mode: int = 0, subproblem: Any = None
    ) -> float:
        return sum(part.misfit(factors) for part in data.parts)


def added(terms: Sequence[Quadratic]) -> Quadratic:
    """Return the sum of quadratic problems of one factor.

    Examples
    --------
    >>> both = added([Quadratic(np.eye(1), np.ones((2, 1))), Quadratic(np.eye(1), np.ones((2, 1)))])
    >>> both.G, both.H.T
    (array([[2.]]), array([[2., 2.]]))
    """
    if len(terms) == 1:
        (only,) = terms
        return Quadratic(only.G, only.H, -np.inf, np.inf, only.row_weights)
    G: Any = 0.0
    H: Any = 0.0
    for term in terms:
        weights = term.row_weights
        if weights is None:
            G, H = _sum_of_grams(G, term.G), H + term.H
        else:
            G = _sum_of_grams(G, weights[:, None, None] * term.G)
            H = H + weights[:, None] * term.H
    return Quadratic(G, H, -np.inf, np.inf)


def _sum_of_grams(one: Any, other: np.ndarray) -> np.ndarray:
    return np.asarray(one + other)
