"""The counts of several terms as one problem of a factor that they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from endmember.factor.subproblem import Counted


class SummedCounts(Counted):
    r"""Minimise :math:`\sum_t \lambda_t D(X_t, F Z_t^\top)`: numerators, denominators and curvatures add up.

    Parameters
    ----------
    terms : sequence of Counted
        Problems of one and the same factor.
    weights : sequence of float
        What each is multiplied with.

    Examples
    --------
    >>> from endmember.factor.data import Dense
    >>> from endmember.factor.losses import Poisson
    >>> F, Z = np.ones((1, 1)), np.ones((2, 1))
    >>> one = Poisson().subproblem(Dense(np.array([[3.0, 5.0]])), [F, Z], 0)
    >>> [part.tolist() for part in SummedCounts([one, one], [1.0, 2.0]).parts(F)]
    [[[24.0]], [[6.0]]]
    """

    def __init__(self, terms: Sequence[Counted], weights: Sequence[float]) -> None:
        super().__init__(terms[0].shape, 1.0)
        self.terms, self.weights = list(terms), list(weights)
        self.Z = np.vstack([w * term.Z for w, term in zip(weights, terms, strict=True)])

    def parts(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._pair([term.parts(F) for term in self.terms])

    def curvatures(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._pair([term.curvatures(F) for term in self.terms])

    def fall(self, F: np.ndarray, step: np.ndarray) -> np.ndarray:
        return np.asarray(np.max([term.fall(F, step) for term in self.terms], axis=0))

    def weighted(self, F: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
        return self._pair([term.weighted(F, j) for term in self.terms])

    def rise(self, F: np.ndarray, j: int, step: np.ndarray) -> np.ndarray:
        return self._sum([term.rise(F, j, step) for term in self.terms])

    def move(self, F: np.ndarray, j: int, step: np.ndarray) -> None:
        before = F[:, j].copy()
        for term in self.terms:
            # Each term moves the column; all start from where it was.
            F[:, j] = before
            term.move(F, j, step)

    def some_rows(self, F: np.ndarray, rows: slice) -> SummedCounts:
        return SummedCounts([term.some_rows(F, rows) for term in self.terms], self.weights)

    def everywhere(self) -> np.ndarray:
        return self._sum([term.everywhere() for term in self.terms])

    def counts(self) -> None:
        return None

    def curvature(self, F: np.ndarray | None = None) -> float:
        return float(self._sum([np.asarray(term.curvature(F)) for term in self.terms]))

    def peak(self, F: np.ndarray | None = None) -> float:
        return float(self._sum([np.asarray(term.peak(F)) for term in self.terms]))

    def _sum(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.asarray(sum(w * A for w, A in zip(self.weights, arrays, strict=True)))

    def _pair(
        self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        first, second = zip(*pairs, strict=True)
        return self._sum(first), self._sum(second)
