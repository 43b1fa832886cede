"""Pixels that are no mixture of the components: where the residual holds more than noise."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control, norm

from endmember.assess.standard_errors import NoisyAnswer, noisy_answer
from endmember.errors import refuse_if
from endmember.factor.data import one_blas_thread
from endmember.factor.noise.model import NoiseModel
from endmember.show.shown import Shown

#: Channels whose residuals are summed before they are squared: edges and lines that moved fill about as many.
TOGETHER = 4
#: Share of the pixels that the spread of the others is taken from.
ORDINARY = 0.95


@dataclass(frozen=True, eq=False, repr=False)
class Anomalies(Shown):
    """Which pixels are no mixture of the components.

    Attributes
    ----------
    found : ndarray, (*domain,) bool
        Those of which at most the share ``level`` is noise, on average over repeated measurements.
    score : ndarray, (*domain,)
        How far the residual of each pixel lies above what noise leaves, in standard deviations; NaN at masked pixels.
    level : float
    """

    found: np.ndarray
    score: np.ndarray
    level: float

    @property
    def sentence(self) -> str:
        """How many there are, and where the strongest is."""
        number, of = int(self.found.sum()), int(np.isfinite(self.score).sum())
        if not number:
            return f"None of the {of} pixels differs from a mixture of the components by more than noise."
        place = np.unravel_index(np.nanargmax(self.score), self.score.shape)
        return (
            f"{number} of the {of} pixels {'is' if number == 1 else 'are'} no mixture of the components (of these, "
            f"noise explains {self.level:.0%} at most); the farthest is {tuple(map(int, place))}, "
            f"{np.nanmax(self.score):.1f} standard deviations from one."
        )

    def plot(self) -> Any:
        """Draw how far each pixel is from a mixture, those found in rings; returns a matplotlib Figure."""
        from endmember.show import drawing, page
        from endmember.show.space import Space

        flat, found = (drawing.flatten_domain(one)[0] for one in (self.score, self.found))
        space = Space.of(flat, None, None, scale=1.35)
        figure = page.blank_figure(
            max(space.width, 2.5) + 1.2, max(space.height, 0.6) + 0.6, "Pixels that are odd"
        )
        axes = figure.subplots()
        space.draw(axes, flat, page.INK, "σ")
        x = np.nonzero(found)[-1]
        y = np.nonzero(found)[0] if space.is_image else flat[found]
        axes.scatter(x, y, s=60, facecolors="none", edgecolors="tab:red", linewidths=1)
        return figure


def anomalies(
    fitted: Any,
    X: Any = None,
    *,
    level: float = 0.05,
    noise: NoiseModel | None = None,
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    domain: tuple[int, ...] | None = None,
) -> Anomalies:
    r"""Return the pixels that no amounts of the components explain.

    The residual is divided by the standard deviation of its noise, the amounts of each pixel are fitted anew under
    that weight and taken off, and the rest is summed over four neighbouring channels, squared and added up. The cube
    root of that is nearly normal (Wilson and Hilferty); its centre and spread are those of most pixels, so that a
    misfit that all share is no anomaly. Single counts weigh as one expected count at least.

    Parameters
    ----------
    fitted : fitted estimator or Unmixing
    X : array_like, sparse matrix, Dask array or HyperSpy signal, (*domain, n_channels), optional
        The data; an Unmixing has them.
    level : float
        False discovery rate: the share of those found that noise may explain, on average.
    noise : NoiseModel, optional
        Measured unless given.
    mask, channel_mask, weights, domain
        As in ``em.NMF.fit``; those of an Unmixing are known.

    Returns
    -------
    Anomalies

    Raises
    ------
    ValueError
        If ``level`` is not between 0 and 1, or the noise cannot be measured.

    References
    ----------
    E. B. Wilson and M. M. Hilferty, *PNAS* **17** (1931) 684; Y. Benjamini and Y. Hochberg, *J. R. Stat. Soc. B* **57**
    (1995) 289.

    Examples
    --------
    >>> import endmember as em
    >>> phantom = em.synthetic.mixed_phases((24, 24), channels=128, k=2)
    >>> phantom.data[3, 5, 60:70] += 200
    >>> fitted = em.NMF(2, maps=em.Absent("auto"), random_state=0).fit(phantom.data)
    >>> [tuple(map(int, place)) for place in np.argwhere(anomalies(fitted, phantom.data).found)]
    [(3, 5)]
    """
    refuse_if(not 0 < level < 1, f"level={level} must lie between 0 and 1; 0.05 is usual")
    answer = noisy_answer(fitted, X, noise, mask, channel_mask, weights, domain)
    refuse_if(
        np.isnan(answer.noise.read_variance),
        "the noise of these data cannot be measured, and without it nothing is odd; give noise=",
    )
    with one_blas_thread():
        size = np.cbrt(_unexplained(answer))
    middle = np.median(size)
    spread = max(
        np.median(np.abs(size - middle)) / norm.ppf(0.75),
        (np.quantile(size, ORDINARY) - middle) / norm.ppf(ORDINARY),
    )
    score = (size - middle) / max(spread, np.finfo(float).tiny)
    found = false_discovery_control(norm.sf(score)) <= level
    maps = answer.observed.maps(np.column_stack([found, score]))
    return Anomalies(maps[..., 0] == 1, maps[..., 1], level)


def _unexplained(answer: NoisyAnswer) -> np.ndarray:
    """Return the sum of squares of every pixel's whitened residual over windows of channels, (n,)."""
    C, S = answer.explained.factors
    noise, k = answer.noise, S.shape[1]
    pairs = (S[:, :, None] * S[:, None, :]).reshape(len(S), -1)
    ridge, total = 1e-9 * np.eye(k), np.empty(len(C))
    for rows, residual in answer.explained.residual_blocks():
        expected = np.maximum(C[rows] @ S.T, noise.gain)
        root = 1 / np.sqrt(np.maximum(noise.variance(expected), np.finfo(float).tiny))
        white = residual * root  # every entry times the root of its weight already
        if answer.explained.weights is not None:
            root = root * np.sqrt(answer.explained.weights[rows])
        G = (root**2 @ pairs).reshape(-1, k, k)
        G += np.trace(G, axis1=1, axis2=2)[:, None, None] * ridge
        white = white - root * (np.linalg.solve(G, ((root * white) @ S)[..., None])[..., 0] @ S.T)
        sums = np.cumsum(np.pad(white, ((0, 0), (1, 0))), axis=1)
        width = min(TOGETHER, len(S))
        total[rows] = np.sum((sums[:, width:] - sums[:, :-width]) ** 2, axis=1)
    return total
