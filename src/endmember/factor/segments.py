"""Candidates for pure pixels, one part of the image at a time.

A phase that fills half a percent of an image is lost in the variance of the whole, and fills a good part of
the tile that it lies in.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2

from endmember.factor.blocks import Data
from endmember.factor.extremes import vertex_components
from endmember.factor.lowrank import sketch

#: A candidate becomes the mean of so many pixels most like it, at most.
ALIKE = 10
#: Pixels whose directions differ by less than this are the same, in radians.
SAME = 1e-6
#: A singular value of a tile counts as signal above this multiple of the largest that noise gives.
ABOVE_NOISE = 1.02


def tiles(domain: tuple[int, ...], rows: np.ndarray, n_segments: int) -> list[np.ndarray]:
    """Return the pixels of every tile: indices into ``rows``.

    Parameters
    ----------
    domain : tuple of int
        Shape of the image.
    rows : ndarray of int, (n,)
        The pixels that take part, flat.
    n_segments : int
        About how many tiles there are.
    """
    across = max(1, round(n_segments ** (1 / len(domain))))
    places = np.unravel_index(rows, domain)
    label = np.zeros(len(rows), int)
    for place, size in zip(places, domain, strict=True):
        parts = min(across, size)
        label = label * parts + place * parts // size
    return [np.flatnonzero(label == tile) for tile in np.unique(label)]


def noise_of(data: Data, k: int, random_state: int | np.random.Generator = 0) -> float:
    """Return the standard deviation of what k components leave unexplained."""
    (n, m), low = data.shape, sketch(data, k, random_state)
    left = data.squared_norm - float(low.squared_row_norms.sum())
    return float(np.sqrt(max(left, 0.0) / max((n - k) * (m - k), 1)))


def candidates(
    data: Data, scaled: Data, parts: list[np.ndarray], k: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return extreme pixels of every tile and their spectra, each averaged with those that noise cannot tell from it.

    In each tile as many as it has singular values above the noise, at most k, are taken by vertex
    component analysis.

    Parameters
    ----------
    data : Data, (n, m)
    scaled : Data, (n, m)
        The same with white noise.
    parts : list of ndarray of int
        The pixels of every tile.
    k : int
    rng : Generator

    Returns
    -------
    pixels : ndarray of int, (c,)
    spectra : ndarray, (c, m)
    """
    noise = noise_of(scaled, min(k, *data.shape), rng)
    pixels, spectra = [], []
    for part in parts:
        block = scaled.rows(part)
        U, s, _ = np.linalg.svd(block, full_matrices=False)
        edge = ABOVE_NOISE * noise * (np.sqrt(block.shape[0]) + np.sqrt(block.shape[1]))
        seen = min(k, max(1, np.count_nonzero(s > edge)))
        Z = U[:, :seen] * s[:seen]
        length = np.linalg.norm(Z, axis=1, keepdims=True)
        directions = Z / np.where(length > 0, length, 1.0)
        mean = Z.mean(axis=0)
        height = directions @ mean
        Y = directions * np.where(height > 0, 1 / np.where(height > 0, height, 1.0), 0.0)[:, None]
        for pixel in vertex_components(Y, rng):
            pixels.append(part[pixel])
            alike = _alike(Z, directions, pixel, noise)
            spectra.append(data.rows(part[alike]).mean(axis=0))
    return np.array(pixels), np.array(spectra)


def _alike(Z: np.ndarray, directions: np.ndarray, pixel: int, noise: float) -> np.ndarray:
    """Return the pixels whose direction differs from that of one by no more than noise makes it, at most ten.

    Noise moves a pixel of length z across the direction of another one of length y by its own share and by z / y of
    the other's.
    """
    nearest = np.argsort(-(directions @ directions[pixel]), kind="stable")[:ALIKE]
    along = Z[nearest] @ directions[pixel]
    across = np.sum((Z[nearest] - np.outer(along, directions[pixel])) ** 2, axis=1)
    stretch = along / (np.linalg.norm(Z[pixel]) or 1.0)
    farthest = chi2.isf(1 / len(Z), max(1, Z.shape[1] - 1))
    return nearest[across <= farthest * noise**2 * (1 + stretch**2) + (SAME * along) ** 2]
