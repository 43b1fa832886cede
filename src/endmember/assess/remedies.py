"""What the widest other answer says: how far it lies from the first of a comparison, and what would decide."""

from typing import Any

import numpy as np

from endmember.assess.comparison import EQUAL, SAME, TIMES_NOISE, Comparison
from endmember.factor.matching import spectral_angle

#: Two spectra that are nearer than this, in degrees, are better told apart by another signal.
ALIKE = 10.0
#: A spectrum or map is empty below this share of its highest value.
EMPTY = 0.02
#: Where one of two answers is empty counts if it makes up this share of what they differ by.
TELLING = 0.25


def widest(comparison: Comparison) -> tuple[int, int, float] | None:
    """Return which answer that fits as well as the first lies farthest, in which component, by how many degrees.

    The same maps are fitted to all, so that misfits count as equal that differ by less than k spectra of m channels
    gain by following noise: the part m of the n + m − k that a whole fit gains.
    """
    k, m = np.isfinite(comparison.spectra[0]).sum(axis=0).max(), comparison.energy.size
    n = np.isfinite(comparison.maps[0]).all(axis=-1).sum()
    level = comparison.excess[0] + EQUAL * m / (n + m - k)
    rivals = [i for i in range(1, len(comparison.names)) if comparison.excess[i] <= level]
    if not rivals:
        return None
    angles = np.nan_to_num(comparison.angles[0][rivals])
    row, j = np.unravel_index(int(np.argmax(angles)), angles.shape)
    return rivals[row], int(j), float(angles[row, j])


def other_answers_in_words(comparison: Comparison) -> str:
    """Say how far the widest other answer lies, which it is, and what would decide between the two."""
    found = widest(comparison)
    if found is None:
        return "No other that was tried fits as well."
    i, j, angle = found
    if angle < SAME:
        return (
            f"Of {len(comparison.names) - 1} others, {np.sum(comparison.excess <= EQUAL) - 1} fit as well and agree "
            f"with it within {SAME:g}°."
        )
    return (
        f"Of others that fit as well, {comparison.names[i]} lies farthest, {angle:.1f}° in "
        f"{comparison.component_names[j]}: {_remedy(comparison, i, j, angle)}."
    )


def _remedy(comparison: Comparison, i: int, j: int, angle: float) -> str:
    """Return which of five things would decide between the first answer and answer ``i`` about component ``j``."""
    name = comparison.component_names[j]
    if angle <= TIMES_NOISE * np.hypot(*comparison.noise[[0, i], j]):
        return "no more than noise explains, so more dose would decide"
    apart: Any = spectral_angle(comparison.spectra[0][:, None], comparison.spectra[0][None])
    first, second = np.unravel_index(int(np.argmin(apart + 90.0 * np.eye(len(apart)))), apart.shape)
    if apart[first, second] < ALIKE:
        pair = " and ".join(comparison.component_names[n] for n in sorted((first, second)))
        return (
            f"a second detector would decide, since the spectra of {pair} are as near as "
            f"{apart[first, second]:.1f}°"
        )
    window, part = _telling(*comparison.spectra[[0, i], j])
    _, place = _telling(*(np.ravel(comparison.maps[n][..., j]) for n in (0, i)))
    if part >= max(place, TELLING):
        return f"a known empty window would decide, such as whether {name} is empty {_range(comparison, window)}"
    if place >= TELLING:
        return (
            f"a region without the phase would decide, one that is known to hold nothing of {name}"
        )
    return f"a pure reference would decide, the spectrum of {name} measured where it is alone"


def _telling(one: np.ndarray, other: np.ndarray) -> tuple[slice, float]:
    """Return the stretch where one of two is empty and the other most is not, and the share of all such places."""
    one, other = (
        np.nan_to_num(F) / max(np.linalg.norm(np.nan_to_num(F)), 1e-300) for F in (one, other)
    )
    empty = (one <= EMPTY * one.max()) != (other <= EMPTY * other.max())
    squares = (one - other) ** 2
    if not empty.any():
        return slice(0, 0), 0.0
    most = int(np.argmax(np.where(empty, squares, -1.0)))
    full = np.flatnonzero(~empty)
    start = int(np.max(full[full < most], initial=-1)) + 1
    stop = int(np.min(full[full > most], initial=len(empty)))
    return slice(start, stop), float(squares[empty].sum() / squares.sum())


def _range(comparison: Comparison, window: slice) -> str:
    """Return a stretch of channels as a person says it."""
    energy: Any = comparison.energy[window]
    _, known, units = comparison.energy_label.rpartition("(")
    ends = " to ".join(f"{end:.4g}" for end in dict.fromkeys((energy[0], energy[-1])))
    return f"at {ends} {units.rstrip(')')}" if known else f"in channel {ends}"
