"""An image beside a spectrum image: its contrast, where it lies, and how far it may be believed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage, optimize

from endmember.factor.data import Observed
from endmember.factor.loop import Problem
from endmember.factor.noise.model import estimate_noise

#: Squares of so many pixels show what an image does not share with the maps, and smooth what contrast is fitted to;
#: powers that it may have, 1 unless this share of the span of values speaks against it; the share of the brightest
#: value below which its slope is taken to stand still.
SQUARES, POWERS, PLAIN, DARK = (1, 5), (0.5, 2.5), 0.01, 0.05
#: An image lies at most so many pixels off, found in so many rounds, and is moved where the residual falls so far.
FARTHEST, ROUNDS, MOVES = 5.0, 6, 0.9


def believed(
    image: np.ndarray, maps: np.ndarray, spectra: np.ndarray, problem: Problem, observed: Observed
) -> tuple[dict[str, Any], np.ndarray]:
    r"""Return an image as data of a term of a fusion, and its contrast :math:`(p, I_0, \Delta)`.

    With maps C and brightnesses b it is :math:`I(x + \Delta) = I_0 + (C b)^p` and a part of its own. Data are
    :math:`(I - I_0)^{1/p}`, moved by the shift Δ in pixels, with a weight for every pixel and one over the variance of
    noise and own part for all: an image that tells of something else weighs little, and can do little harm. Squares of
    pixels show what is not noise: of the residual of the image to the maps, whatever exceeds the noise of both is its
    own.

    Parameters
    ----------
    image : ndarray, (*domain, 1)
    maps, spectra : ndarray, (*domain, k), (k, channels)
        What was fitted to the cube alone.
    problem : Problem
        Of which they are the answer.
    observed : Observed
        The cube.
    """
    maps, seen = np.nan_to_num(maps), np.zeros(observed.domain)
    seen.ravel()[observed.rows] = np.isfinite(image.ravel()[observed.rows])
    whole = np.where(seen > 0, image[..., 0].astype(float), 0.0)
    found, shift = [], np.zeros(whole.ndim)
    for _ in range(ROUNDS):
        image = ndimage.shift(whole, -shift, order=1, mode="nearest")
        power, constant, model = _contrast(image, maps, seen)
        left = ndimage.uniform_filter(seen * (image - model), max(SQUARES))
        found.append(
            (np.sum(left**2) * (1.0 if shift.any() else MOVES), shift, power, constant, image)
        )
        slopes: Any = np.gradient(ndimage.uniform_filter(seen * model, max(SQUARES)))
        step = np.linalg.lstsq(np.reshape(slopes, (whole.ndim, -1)).T, left.ravel(), rcond=None)[0]
        shift = np.clip(shift - step, -FARTHEST, FARTHEST)
    _, shift, power, constant, image = min(found, key=lambda one: one[0])
    linear = np.maximum(image - constant, 0.0) ** (1.0 / power)
    slope = np.maximum(linear, DARK * linear.max()) ** (power - 1.0)
    weights = seen * slope**2 / np.mean(slope[seen > 0] ** 2)
    variance = max(
        float(estimate_noise(linear[..., np.newaxis]).variance(float(linear.mean()))),
        *_excess(linear, weights, maps, spectra, problem, observed),
    )
    return (
        {"data": linear[..., None], "weights": weights[..., None], "weight": 1.0 / variance},
        np.array([power, constant, *shift]),
    )


def share(
    images: Sequence[dict[str, Any]],
    maps: np.ndarray,
    spectra: np.ndarray,
    problem: Problem,
    observed: Observed,
) -> float:
    """Return which part of what is known of the maps the spectra know alone, the rest being known by images.

    Maps that are as smooth as the spectra found likely are as likely beside images. A weight is relative to the
    curvature of all data, so that it is this part of the weight that was right for the spectra.

    Parameters
    ----------
    images : sequence of dict
        As :func:`believed` returns them.
    maps, spectra, problem, observed
        As there.
    """
    C = np.nan_to_num(maps).reshape(-1, maps.shape[-1])
    factors = [C[observed.rows], spectra.T[observed.columns]]
    own = problem.touching(factors, 0).curvature(factors[0]) / (
        1.0 if problem.loss.counts else problem.noise_left(factors)
    )
    others = [
        one["weight"] * np.mean(optimize.nnls(C, one["data"].ravel())[0] ** 2) for one in images
    ]
    return float(own / (own + sum(others)))


def _excess(
    linear: Any, weights: Any, maps: Any, spectra: Any, problem: Problem, observed: Observed
) -> list[float]:
    """Return the mean square of the residual in squares of each size beyond what the noise of the maps leaves there."""
    C, root = maps.reshape(-1, maps.shape[-1]), np.sqrt(weights)
    b, _ = optimize.nnls(root.reshape(-1, 1) * C, (root * linear).ravel())
    factors = [C[observed.rows], spectra.T[observed.columns]]
    plain = problem.touching(factors, 0)
    spread = np.einsum("k,...kl,l->...", b, np.linalg.pinv(plain.G), b)
    noise = problem.noise_left(factors) * spread / np.ravel(plain.weights)
    left = np.sum(weights.ravel()[observed.rows] * noise) / weights.size
    return [
        float(
            np.mean(ndimage.uniform_filter(root * (linear - maps @ b), size) ** 2)
            - left / size**linear.ndim
        )
        for size in SQUARES
    ]


def _contrast(image: Any, maps: Any, seen: Any) -> tuple[float, float, np.ndarray]:
    """Return the power and the constant of the contrast, and the image as it makes it of the maps."""
    size, k = max(SQUARES), maps.shape[-1]
    C, taken = maps / (maps.max() or 1.0), seen > 0
    share = ndimage.uniform_filter(seen, size)[taken]
    A = np.stack(
        [ndimage.uniform_filter(C[..., j], size)[taken] / share for j in range(k)], axis=-1
    )
    y = ndimage.uniform_filter(image, size)[taken] / share
    low, span = y.min(), (np.ptp(y) or 1.0)

    def made(q: np.ndarray, C: np.ndarray) -> np.ndarray:
        return low + span * (q[k] + np.maximum(C @ q[:k], 1e-9) ** q[k + 1])

    bounds = [*[0.0] * k, -9.0, POWERS[0]], [*[9.0] * k, 0.9, POWERS[1]]
    held = PLAIN * span * np.sqrt(len(y)), [-low / span, 1.0]
    q = optimize.least_squares(
        lambda q: np.append(made(q, A) - y, held[0] * (q[k:] - held[1])) / span,
        [*[0.7] * k, 0.0, 1.0],
        bounds=bounds,
    ).x
    return float(q[k + 1]), float(low + span * q[k]), made(q, C)
