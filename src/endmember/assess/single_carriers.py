"""Single pixels and channels that carry a component by themselves: spikes, particles, defects."""

from typing import Any

import numpy as np

from endmember.assess import criteria
from endmember.assess.surrogates import WhiteData
from endmember.factor.data.matrix import Floats, Indices

_ALONE = 0.5  # share of a component's power above which one pixel or channel carries it
_CROWD = 30  # pixels or channels below which any of them may carry a component
_ROUNDS = 10  # of looking for such pixels and channels
_NAMED = 6  # of them are named


def without_single_carriers(white: WhiteData, most: int) -> tuple[WhiteData, tuple[str, ...]]:
    """Leave out pixels and channels that carry a component each by themselves; with the sentences that name them."""
    whole = white
    for _ in range(_ROUNDS):
        pixels, channels = _single_carriers(white, most)
        if not (pixels.size or channels.size):
            break
        white = white.without(pixels, channels)
    gone = np.setdiff1d(whole.rows, white.rows), np.setdiff1d(whole.columns, white.columns)
    places = [tuple(map(int, np.unravel_index(row, white.domain))) for row in gone[0]]
    return white, (
        *_named(places, "pixel", "spikes, or particles of one pixel"),
        *_named(gone[1].tolist(), "channel", "channels that are defect"),
    )


def _single_carriers(white: WhiteData, most: int) -> tuple[Indices, Indices]:
    """Return the pixels and channels that hold most of a component above the noise.

    Few pixels or channels hold much of anything, and so do those of a coarse axis, on which a line is one channel.
    """
    U, scree, V = white.decomposition
    count = criteria.marchenko_pastur(scree, min(most, V.shape[1]))
    powers = [F[:, :count] ** 2 * (len(F) >= _CROWD) for F in (U, V)]
    pixel, channel = (power.argmax(axis=0) for power in powers)
    alone, narrow = (power.max(axis=0, initial=0.0) > _ALONE for power in powers)
    narrow &= ~alone & np.array([_stands_alone(V, j) for j in channel], dtype=bool)
    return np.unique(pixel[alone]), np.unique(channel[narrow])


def _stands_alone(V: Floats, channel: int) -> bool:
    """Tell whether the spectra are resolved finely, so that a lone channel is no line of theirs."""
    mean = np.delete(V[:, 0], channel)
    return float(np.sum(np.diff(mean, 2) ** 2)) < float(np.sum((mean - mean.mean()) ** 2))


def _named(places: list[Any], what: str, why: str) -> tuple[str, ...]:
    """Say which pixels or channels carry components alone, in one sentence or none."""
    if not places:
        return ()
    named = ", ".join(map(str, places[:_NAMED])) + (", …" if len(places) > _NAMED else "")
    number = f"{len(places)} {what}s carry" if len(places) > 1 else f"One {what} carries"
    way_out = (
        "em.preprocess.remove_spikes repairs spikes, mask= and channel_mask= leave out the rest"
    )
    return (f"{number} components alone ({named}): {why}. They are not counted; {way_out}.",)
