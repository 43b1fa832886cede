"""Where the phases are: layers, smooth mixed maps, lattices, and the course of a drift."""

import numpy as np
from scipy.ndimage import gaussian_filter

from endmember.factor.penalties.mixtures import onto_simplex

_MOST_WITHOUT_PURE = 0.8


def smooth_field(shape: tuple[int, ...], rng: np.random.Generator, scale: float) -> np.ndarray:
    """Return a smooth random field of zero mean and unit variance.

    `scale` is the standard deviation of the smoothing kernel as a part of each side.
    """
    field = gaussian_filter(rng.standard_normal(shape), [scale * n for n in shape], mode="reflect")
    field -= field.mean()
    return field / (field.std() or 1.0)


def layer_maps(
    shape: tuple[int, int],
    depths: np.ndarray,
    rng: np.random.Generator,
    roughness: float,
    diffuseness: float = 0.0,
) -> np.ndarray:
    """Return the maps (ny, nx, interfaces + 1) of stacked layers that sum to one in each pixel, the lowest first.

    `depths` of the interfaces and their `roughness` (standard deviation) are parts of the image's height. Interfaces
    keep their order and leave every layer at least one row. `diffuseness` is their width in pixels; 0 means sharp:
    one layer a pixel.
    """
    ny, nx = shape
    waves = np.stack([smooth_field((nx,), rng, 0.08) for _ in depths])
    rows = ny * (depths[:, None] + roughness * waves)
    lowest = np.arange(1, len(depths) + 1)[:, None]
    rows = np.maximum.accumulate(rows - lowest, axis=0).clip(0) + lowest
    depth = np.arange(ny)[:, None, None] - np.minimum(rows, ny - lowest[::-1]).T
    below = (depth > -0.5) * 1.0 if diffuseness == 0 else 0.5 + 0.5 * np.tanh(depth / diffuseness)
    # The share below each interface never grows from one interface to the next, so that the
    # differences, which are the layers, are not negative.
    ends = np.concatenate([np.ones_like(below[..., :1]), below, np.zeros_like(below[..., :1])], -1)
    return (ends[..., :-1] - ends[..., 1:])[..., ::-1]


def phase_maps(
    shape: tuple[int, int],
    k: int,
    rng: np.random.Generator,
    *,
    pure: bool,
    spread: float,
    contrast: float = 1.5,
) -> np.ndarray:
    """Return smooth fractions that sum to one, times a smooth thickness within `spread` of one; (ny, nx, k).

    With `pure`, every phase is alone in some pixels; otherwise no phase exceeds 80 % in any.
    """
    centres = _spread_pixels(shape, k, rng)
    logits = contrast * np.stack([smooth_field(shape, rng, 0.1) for _ in range(k)], -1)
    # Each phase is raised around its own centre until it leads there by more than the 1 that makes
    # a pixel pure; setting these pixels below is for images too small to hold such a hill.
    at_centres = logits[centres[:, 0], centres[:, 1]]
    logits += (at_centres.max(1) - at_centres.diagonal() + contrast) * _bumps(shape, centres)
    fractions = onto_simplex(logits.reshape(-1, k)).reshape(logits.shape)
    if pure:
        fractions[centres[:, 0], centres[:, 1]] = np.eye(k)
    else:
        fractions = _cap(fractions, logits)
    return fractions * (1 + spread * np.tanh(smooth_field(shape, rng, 0.3)))[..., None]


def interface_maps(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the maps (ny, nx, 3) of two grains and of a round precipitate on their wavy boundary."""
    ny, nx = shape
    y, x = np.indices(shape)
    course = nx * (0.5 + rng.uniform(-0.06, 0.06) + 0.06 * smooth_field((ny,), rng, 0.12))
    row = rng.integers(round(0.3 * ny), max(round(0.7 * ny), 1) + 1) % ny
    right = 0.5 + 0.5 * np.tanh((x - course[:, None]) / 4)
    inside = 0.5 - 0.5 * np.tanh((np.hypot(y - row, x - course[row]) - 0.17 * min(shape)) / 2)
    return np.stack([(1 - inside) * (1 - right), (1 - inside) * right, inside], -1)


def lattice_maps(shape: tuple[int, int], period: float, angle: float) -> np.ndarray:
    """Return the maps (ny, nx, 2) of two sites on interleaved square lattices, all pixels mixed.

    `period` in pixels, `angle` in radians. The probe's tails keep both maps above zero.
    """
    y, x = np.indices(shape)
    along = (x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period
    across = (y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / period
    sites = [np.cos(along) + np.cos(across), np.cos(along + np.pi) + np.cos(across + np.pi)]
    return np.stack([np.exp(0.75 * (site - 2)) + 0.08 for site in sites], -1)


def drift_course(shape: tuple[int, int], span: float, rng: np.random.Generator) -> np.ndarray:
    """Return shifts (ny, nx) of zero mean, smooth in scan order, `span` from lowest to highest."""
    time = np.linspace(0, 1, shape[0] * shape[1])
    harmonics = np.arange(1, 4)
    amplitudes = rng.uniform(0.5, 1, 3) / harmonics**2
    course = np.cos(np.pi * np.outer(time, harmonics) + rng.uniform(0, 2 * np.pi, 3)) @ amplitudes
    scaled = (course - course.mean()) * (span / (np.ptp(course) or 1.0))
    return scaled.reshape(shape) + 0.0  # without negative zeros


def _spread_pixels(shape: tuple[int, int], k: int, rng: np.random.Generator) -> np.ndarray:
    """Choose k distinct pixels far from each other: random candidates, the farthest one each."""
    pixels = np.argwhere(np.ones(shape, bool))
    chosen = [pixels[rng.integers(len(pixels))]]
    nearest = np.full(len(pixels), np.inf)
    for _ in range(k - 1):
        nearest = np.minimum(nearest, np.sum((pixels - chosen[-1]) ** 2, axis=1))
        # Among the farthest 15 %: well apart, and still not all in the corners.
        candidates = np.flatnonzero(nearest >= max(np.quantile(nearest, 0.85), 1))
        chosen.append(pixels[rng.choice(candidates)])
    return np.array(chosen)


def _bumps(shape: tuple[int, int], centres: np.ndarray) -> np.ndarray:
    """Return one Gaussian bump of height 1 for each centre, (ny, nx, k)."""
    y, x = np.indices(shape)
    down, along = y[..., None] - centres[:, 0], x[..., None] - centres[:, 1]
    distance = down**2 / shape[0] ** 2 + along**2 / shape[1] ** 2
    return np.exp(-0.5 * distance * len(centres) / 0.2**2)


def _cap(fractions: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Give what a phase holds above 80 % to the others, most to the nearest one."""
    leader = fractions.argmax(-1)[..., None] == np.arange(fractions.shape[-1])
    excess = np.where(leader, np.maximum(fractions - _MOST_WITHOUT_PURE, 0), 0)
    others = np.where(leader, -np.inf, logits)
    shares = np.exp(others - others.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return fractions - excess + excess.sum(-1, keepdims=True) * shares
