"""Losses: what the data ask of a factor, and how far the model is from the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.base import BaseEstimator

from endmember.factor.data import Data
from endmember.factor.subproblem import Quadratic

#: Below this fraction of ``½‖X‖²`` the misfit is taken from the residual: the difference of
#: products has no digits left.
EXPLICIT_BELOW = 1e-10


class SquaredError(BaseEstimator):
    r"""Half the sum of squared residuals, :math:`\tfrac12\|X - F Z^\top\|^2`: the likelihood of white Gaussian noise.

    Accepts negative data (a subtracted background leaves some). Entry-wise weights come with the
    data.

    Examples
    --------
    >>> from endmember.factor.data import Dense
    >>> X = Dense(np.array([[2.0, 0.0], [0.0, 1.0]]))
    >>> SquaredError().misfit(X, [np.eye(2), np.eye(2)])
    0.5
    """

    in_words = "squared error"
    references: tuple[str, ...] = ()

    def reference(self, data: Data) -> float:
        """Return the misfit of an empty model: the scale against which all others are small or large."""
        return 0.5 * data.squared_norm

    def subproblem(self, data: Data, factors: Sequence[np.ndarray], mode: int) -> Quadratic:
        """Return the problem of factor number ``mode`` with the others fixed, without bounds."""
        G, H = data.gram(factors, mode), data.contract(factors, mode)
        return Quadratic(G, H, lower=-np.inf, upper=np.inf)

    def misfit(
        self,
        data: Data,
        factors: Sequence[np.ndarray],
        mode: int = 0,
        subproblem: Quadratic | None = None,
    ) -> float:
        """Return the loss; free of charge where the subproblem of factor ``mode`` is at hand."""
        if subproblem is None:
            return data.misfit(factors)
        reference = self.reference(data)
        misfit = reference + subproblem.value(factors[mode])
        return misfit if misfit > EXPLICIT_BELOW * reference else data.misfit(factors)
