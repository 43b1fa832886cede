"""Extreme pixels: the corners of the simplex that mixtures fill, in the whole image or one part at a time.

``X`` (n, m) is the data; ``Y`` (n, k) are coordinates of its pixels in which mixtures of k spectra fill
a simplex and the volume that k pixels span is the size of a determinant.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr
from scipy.stats import chi2

from endmember.factor.columns import unit_columns
from endmember.factor.data import Centred, Data
from endmember.factor.sketch.low_rank import FINE_PASSES, sketch

#: Pixels whose height in the projective projection is below this fraction of the largest are dark.
DARK = 1e-6
#: A vertex is exchanged where the volume grows by more than this fraction.
GAIN = 1e-9


@dataclass
class Projection:
    """Pixels in the few dimensions that carry the signal.

    Attributes
    ----------
    Y : ndarray, (n, k)
        Coordinates; zero for pixels too dark to judge.
    basis : ndarray, (m, d)
        Orthonormal spectra that span the subspace: d = k, or k − 1 about the mean.
    mean : ndarray, (m,)
        Origin of the subspace; zero where it holds the dark.
    signal_to_noise : float
        In dB.
    """

    Y: np.ndarray
    basis: np.ndarray
    mean: np.ndarray
    signal_to_noise: float

    def spectra(self, rows: np.ndarray) -> np.ndarray:
        """Return spectra (·, m) without what lies outside the subspace."""
        return (rows - self.mean) @ self.basis @ self.basis.T + self.mean


def project(
    data: Data, k: int, noise: str | float = "auto", random_state: int | np.random.Generator = 0
) -> Projection:
    r"""Project pixels for a search for vertices, as the noise advises.

    With little noise, :math:`y = U_k^\top x / (u^\top U_k^\top x)` with u the mean: the illumination of a
    pixel cancels. With much of it, the k − 1 principal components about the mean and a constant: no
    division by noise. The former from a signal-to-noise ratio of :math:`15 + 10\log_{10} k` dB.

    Parameters
    ----------
    data : Data, (n, m)
    k : int
    noise : "auto", "low", "high" or float
        How much noise there is: measured, told, or its standard deviation in the unit of the data.
    random_state : int or Generator

    References
    ----------
    Nascimento & Bioucas-Dias, IEEE Trans. Geosci. Remote Sens. 43 (2005) 898.
    """
    n, m = data.shape
    mean = data.transposed_dot(np.full((n, 1), 1.0 / n))[:, 0]
    about = sketch(Centred(data, mean), k, random_state, FINE_PASSES)
    ratio = _signal_to_noise(data, about.squared_row_norms.sum() / n + mean @ mean, k, noise)
    if noise == "low" or (noise != "high" and ratio >= 15 + 10 * np.log10(k)):
        low = sketch(data, k, random_state, FINE_PASSES)
        Y = _in_perspective(low.Z)
        if np.count_nonzero(Y.any(axis=1)) >= k:
            return Projection(Y, low.V, np.zeros(m), ratio)
    scores = about.Z[:, : k - 1]
    reach = float(np.sqrt(np.max(np.einsum("ij,ij->i", scores, scores), initial=0.0)))
    Y = np.column_stack([scores, np.full(n, reach if reach > 0 else 1.0)])
    return Projection(Y, about.V[:, : k - 1], mean, ratio)


def _signal_to_noise(data: Data, within: float, k: int, noise: str | float) -> float:
    """Return 10 log₁₀ of signal over noise power, from the power ``within`` k directions or the noise given."""
    m, total = data.shape[1], data.squared_norm / data.shape[0]
    if isinstance(noise, str):
        signal, rest = within - k / m * total, total - within
    else:
        rest = m * float(noise) ** 2
        signal = total - rest
    return (
        np.inf
        if rest <= 1e-15 * total
        else float(10 * np.log10(signal / rest))
        if signal > 0
        else -np.inf
    )


def _in_perspective(Z: np.ndarray) -> np.ndarray:
    """Scale every row to the same height along the mean; rows that are too dark become zero."""
    mean = Z.mean(axis=0)
    height = Z @ mean
    bright = height > DARK * np.max(height, initial=0.0)
    return np.where(bright[:, None], Z * (mean @ mean) / np.where(bright, height, 1.0)[:, None], 0)


def vertex_components(Y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the k rows that are extreme along random directions orthogonal to those found before; (k,) int.

    References
    ----------
    Nascimento & Bioucas-Dias, IEEE Trans. Geosci. Remote Sens. 43 (2005) 898.

    Examples
    --------
    >>> Y = np.array([[1, 0], [0.5, 0.5], [0, 1], [0.2, 0.8]])
    >>> sorted(map(int, vertex_components(Y, np.random.default_rng(0))))
    [0, 2]
    """
    k = Y.shape[1]
    found = np.zeros((k, k))
    found[-1, 0] = 1.0 if k > 1 else 0.0
    chosen: list[int] = []
    for i in range(k):
        drawn = rng.standard_normal(k)
        reaches = np.abs(Y @ (drawn - found @ (np.linalg.pinv(found) @ drawn)))
        reaches[chosen] = -1.0
        chosen.append(int(np.argmax(reaches)))
        found[:, i] = Y[chosen[-1]]
    return np.array(chosen)


def largest_of(Y: np.ndarray, candidates: list[np.ndarray]) -> np.ndarray:
    """Return the candidate whose rows span the largest volume."""
    return max(candidates, key=lambda index: float(np.linalg.slogdet(Y[index])[1]))


def grow_simplex(Y: np.ndarray, index: np.ndarray) -> np.ndarray:
    r"""Exchange one vertex after the other for the row that makes the volume largest, until none grows it.

    With the vertices as rows of A, a row y in place of vertex p changes the volume by the factor
    :math:`|y A^{-1} e_p|`: all pixels are tried exactly, with one product.

    References
    ----------
    Winter, Proc. SPIE 3753 (1999) 266.

    Examples
    --------
    >>> Y = np.array([[1, 0], [0.5, 0.5], [0, 1], [0.2, 0.8]])
    >>> grow_simplex(Y, np.array([1, 3]))
    array([0, 2])
    """
    index, k = np.array(index), Y.shape[1]
    for _ in range(3 * k):
        before = index.copy()
        for vertex in range(k):
            if np.linalg.cond(Y[index]) > 1 / np.finfo(float).eps:
                return index
            factor = np.abs(Y @ np.linalg.inv(Y[index])[:, vertex])
            best = int(np.argmax(factor))
            if factor[best] > 1 + GAIN:
                index[vertex] = best
        if np.array_equal(index, before):
            break
    return index


def largest_simplex(Y: np.ndarray, n_starts: int, rng: np.random.Generator) -> np.ndarray:
    """Return the k rows of the largest volume, from a greedy start and from random ones; (k,) int."""
    # Greedily: those that a QR decomposition with pivoting takes first.
    starts = [qr(Y.T, mode="r", pivoting=True)[1][: Y.shape[1]]]
    starts += [rng.permutation(len(Y))[: Y.shape[1]] for _ in range(n_starts - 1)]
    return largest_of(Y, [grow_simplex(Y, start) for start in starts])


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
        directions = unit_columns(Z.T).T
        height = directions @ Z.mean(axis=0)
        Y = directions * np.where(height > 0, 1 / np.where(height > 0, height, 1.0), 0.0)[:, None]
        for pixel in vertex_components(Y, rng):
            pixels.append(part[pixel])
            spectra.append(data.rows(part[_alike(Z, directions, pixel, noise)]).mean(axis=0))
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
