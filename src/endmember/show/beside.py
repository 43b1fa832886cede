"""Several answers side by side: a row for each component, a column for each model."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from endmember.show import drawing, page
from endmember.show.page import Axes, Figure
from endmember.show.space import Space, label_below

_SPECTRUM_WIDTH = 4.3  # inches


@dataclass(frozen=True, eq=False)
class Beside:
    """What is drawn of several answers.

    Parameters
    ----------
    names : sequence of str
        One for each model.
    maps : sequence of array (*domain, k)
    spectra : array (models, k, channels)
        NaN where a model has no such component.
    component_names : sequence of str
    energy : array (channels,)
    energy_label : str
    band : (low, high), each array (k, channels), optional
        Drawn behind the spectra, for the first model.
    agreement : array (models, models)
        Largest angle between two models, in degrees.
    agree : array of bool (models, models)
    words : str
        Written beside the agreement.
    """

    names: Sequence[str]
    maps: Sequence[np.ndarray]
    spectra: np.ndarray
    component_names: Sequence[str]
    energy: np.ndarray
    energy_label: str
    agreement: np.ndarray
    agree: np.ndarray
    words: str
    band: tuple[np.ndarray, np.ndarray] | None = None


def draw_beside(content: Beside) -> Figure:
    """Draw maps and spectra of several models side by side, and how far they agree.

    Parameters
    ----------
    content : Beside

    Returns
    -------
    Figure

    Examples
    --------
    >>> flat = np.ones((2, 1, 5))
    >>> two = Beside(("A", "B"), (np.ones((4, 4, 1)),) * 2, flat, ("Iron",), np.arange(5.0), "Channel",
    ...              np.zeros((2, 2)), np.ones((2, 2), bool), "All agree.")
    >>> len(draw_beside(two).axes)
    5
    """
    n, k = content.spectra.shape[:2]
    space = Space.of(drawing.flatten_domain(content.maps[0][..., 0])[0], None, None, 0.72)
    row = max(space.height + 0.25, 1.25)
    figure = page.blank_figure(
        n * (space.width + 0.55) + _SPECTRUM_WIDTH,
        k * row + 0.5 + 0.6 + 0.3 * n,
        f"Maps and spectra by {', '.join(content.names)}",
    )
    parts: Any = figure.subfigures(2, 1, height_ratios=[k * row + 0.5, 0.6 + 0.3 * n])
    above, below = parts
    for part in parts:
        part.set_facecolor("white")
    grid = above.add_gridspec(k, n + 1, width_ratios=[space.width + 0.4] * n + [_SPECTRUM_WIDTH])
    colours = page.palette(n)
    right = None
    for j in range(k):
        for i, colour in enumerate(colours):
            _draw_map(above.add_subplot(grid[j, i]), space, content, i, j, colour)
        right = above.add_subplot(grid[j, n], sharex=right)
        _draw_spectra(right, content, j, colours)
        label_below(right, content.energy_label, j == k - 1)
    left, words = below.subplots(1, 2, width_ratios=[1, 1.7])
    _draw_agreement(left, content)
    words.axis("off")
    said = textwrap.fill(content.words, 78)
    words.text(0, 1, said, va="top", fontsize=page.NORMAL, color=page.INK)
    return figure


def _draw_map(axes: Axes, space: Space, content: Beside, i: int, j: int, colour: str) -> None:
    """Draw one map, the name of its model over the first."""
    values = drawing.flatten_domain(content.maps[i][..., j])[0]
    if np.isfinite(values).any():
        Space.of(values, None, None, 0.72).draw(axes, values, colour, "")
    else:
        axes.axis("off")
        axes.text(0.5, 0.5, "none", ha="center", fontsize=page.SMALL, color=page.GREY)
    if j == 0:
        name = textwrap.fill(content.names[i], 17)
        axes.set_title(name, loc="left", color=colour, fontsize=page.NORMAL)
    label_below(axes, space.position_text, j == content.spectra.shape[1] - 1)


def _draw_spectra(axes: Axes, content: Beside, j: int, colours: Sequence[str]) -> None:
    """Draw the spectra of one component by all models, over the band of the first."""
    if content.band is not None:
        low, high = (edge[j] for edge in content.band)
        drawing.draw_spectrum(axes, content.energy, high, colour="none")
        axes.fill_between(content.energy, low, high, color=page.FAINT, lw=0, zorder=0.5)
    for i, colour in reversed(list(enumerate(colours))):
        if np.isfinite(content.spectra[i, j]).any():
            line = drawing.draw_spectrum(axes, content.energy, content.spectra[i, j], colour=colour)
            line.set_alpha(0.8)
    highest, lowest = (f(content.spectra[:, j], initial=0.0) for f in (np.nanmax, np.nanmin))
    if highest > 0:  # a band may be far higher than any spectrum
        axes.set_ylim(1.05 * lowest - 0.03 * highest, 1.6 * highest)
    page.head(axes, content.component_names[j])
    if j == 0 and content.band is not None:
        page.remark(axes, f"grey: fits as well as {content.names[0]}")


def _draw_agreement(axes: Axes, content: Beside) -> None:
    """Draw the largest angle between every two models, in bold where they agree."""
    n = len(content.names)
    axes.imshow(np.where(content.agree, 0.25, 0.0), cmap="Greens", vmin=0, vmax=1, aspect="auto")
    labels = [textwrap.fill(name, 17) for name in content.names]
    ticks: dict[str, Any] = {"ticks": range(n), "labels": labels, "fontsize": page.SMALL}
    axes.set_xticks(**ticks)
    axes.set_yticks(**ticks)
    axes.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    for i, j in np.ndindex(n, n):
        said = "" if i == j else f"{content.agreement[i, j]:.1f}°"
        weight = "bold" if content.agree[i, j] else "normal"
        axes.text(j, i, said, ha="center", va="center", fontsize=page.SMALL, fontweight=weight)
    axes.set_xlabel("largest angle; green: within noise", fontsize=page.SMALL, color=page.GREY)
