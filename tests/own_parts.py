"""A loss, and more, as a user writes them: what the page on extending shows, and tests run over."""

import numpy as np

from endmember.factor.losses import Loss, SquaredError
from endmember.factor.penalties import Penalty
from endmember.factor.subproblems import Quadratic


class Huber(Loss):
    """Squares up to a residual of ``width``, straight lines beyond: spikes pull no harder than that."""

    def __init__(self, width=1.0):
        self.width = width

    def reference(self, data):
        return self._sum(data.matrix.entries(dense=True), 0.0)

    def subproblem(self, data, factors, mode):
        entries, Z = data.entries_for(factors, mode, dense=True)
        residual = np.abs(entries.x - factors[mode] @ Z.T)
        weights = self.width / np.maximum(residual, self.width)  # of squares that lie above
        k = Z.shape[1]
        G = entries.dot(weights, (Z[:, :, None] * Z[:, None]).reshape(-1, k * k))
        H = entries.dot(weights * entries.x, Z)
        return Quadratic(G.reshape(-1, k, k), H, -np.inf, np.inf)

    def misfit(self, data, factors, mode=0, subproblem=None):
        entries, Z = data.entries_for(factors, 0, dense=True)
        return self._sum(entries, factors[0] @ Z.T)

    def _sum(self, entries, model):
        residual = np.abs(entries.x - model)
        inside = np.minimum(residual, self.width)
        return float(
            entries.dot(inside * (residual - inside / 2), np.ones((residual.shape[1], 1))).sum()
        )


class Quantile(Huber):
    """Of white noise, and lines that are steeper above: a baseline below most of the data."""

    power = 0.0

    def __init__(self, width=1.0, share=0.5):
        self.width, self.share = width, share

    def subproblem(self, data, factors, mode):
        square = super().subproblem(data, factors, mode)
        entries, Z = data.entries_for(factors, mode, dense=True)
        tilt = entries.dot(np.full(entries.x.shape, (2 * self.share - 1) * self.width), Z)
        return Quadratic(square.G, square.H + tilt, -np.inf, np.inf)

    def _sum(self, entries, model):
        slope = (2 * self.share - 1) * self.width
        tilted = slope * (entries.x - model)
        return super()._sum(entries, model) + float(
            entries.dot(tilted, np.ones((tilted.shape[1], 1))).sum()
        )


class ByEntries(SquaredError):
    """Squared error from single entries, by someone who does not know what "needs" is."""

    def subproblem(self, data, factors, mode):
        return Huber(1e9).subproblem(data, factors, mode)


class NoMoreThan(Penalty):
    """No entry above ``most``."""

    def __init__(self, most=1.0):
        self.most = most

    def bounds(self, shape, grid=None):
        return 0.0, self.most
