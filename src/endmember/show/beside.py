"""Several answers side by side: a row for each component, a column for each model."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from endmember.show import drawing, page
from endmember.show.space import Space, label_below

_SPECTRUM_WIDTH = 4.3  # inches


#: Low and high of the spectra of every component, (k, channels) each.
Band = tuple[np.ndarray, np.ndarray]


def draw_beside(answers: Any, band: Band | None = None) -> page.Figure:
    """Draw maps and spectra of several models side by side, and how far they agree.

    Parameters
    ----------
    answers : Comparison
        Drawn are its ``names``, ``maps``, ``spectra`` (NaN where a model has no such component),
        ``component_names``, ``energy`` with ``energy_label``, ``agreement`` in degrees, ``agree`` and ``sentence``.
    band : (low, high), each array (k, channels), optional
        Drawn behind the spectra, for the first model.

    Returns
    -------
    Figure

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> two = SimpleNamespace(
    ...     names=("A", "B"), maps=(np.ones((4, 4, 1)),) * 2, spectra=np.ones((2, 1, 5)), component_names=("Iron",),
    ...     energy=np.arange(5.0), energy_label="Channel", agreement=np.zeros((2, 2)),
    ...     agree=np.ones((2, 2), bool), sentence="All agree.")
    >>> len(draw_beside(two).axes)
    5
    """
    n, k = answers.spectra.shape[:2]
    space = Space.of(drawing.flatten_domain(answers.maps[0][..., 0])[0], None, None, 0.72)
    row = max(space.height + 0.25, 1.25)
    figure = page.blank_figure(
        n * (space.width + 0.55) + _SPECTRUM_WIDTH,
        k * row + 0.5 + 0.6 + 0.3 * n,
        f"Maps and spectra by {', '.join(answers.names)}",
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
            _draw_map(above.add_subplot(grid[j, i]), space, answers, i, j, colour)
        right = above.add_subplot(grid[j, n], sharex=right)
        _draw_spectra(right, answers, j, colours, band)
        label_below(right, answers.energy_label, j == k - 1)
    left, words = below.subplots(1, 2, width_ratios=[1, 1.7])
    _draw_agreement(left, answers)
    words.axis("off")
    words.text(
        0, 1, textwrap.fill(answers.sentence, 78), va="top", fontsize=page.NORMAL, color=page.INK
    )
    return figure


def _draw_map(axes: page.Axes, space: Space, answers: Any, i: int, j: int, colour: str) -> None:
    """Draw one map, the name of its model over the first."""
    values = drawing.flatten_domain(answers.maps[i][..., j])[0]
    if np.isfinite(values).any():
        Space.of(values, None, None, 0.72).draw(axes, values, colour, "")
    else:
        axes.axis("off")
        axes.text(0.5, 0.5, "none", ha="center", fontsize=page.SMALL, color=page.GREY)
    if j == 0:
        axes.set_title(
            textwrap.fill(answers.names[i], 17), loc="left", color=colour, fontsize=page.NORMAL
        )
    label_below(axes, space.position_text, j == answers.spectra.shape[1] - 1)


def _draw_spectra(
    axes: page.Axes, answers: Any, j: int, colours: Sequence[str], band: Band | None
) -> None:
    """Draw the spectra of one component by all models, over the band of the first."""
    if band is not None:
        low, high = (edge[j] for edge in band)
        drawing.draw_spectrum(axes, answers.energy, high, colour="none")
        axes.fill_between(answers.energy, low, high, color=page.FAINT, lw=0, zorder=0.5)
    for i, colour in reversed(list(enumerate(colours))):
        if np.isfinite(answers.spectra[i, j]).any():
            line = drawing.draw_spectrum(axes, answers.energy, answers.spectra[i, j], colour=colour)
            line.set_alpha(0.8)
    highest, lowest = (f(answers.spectra[:, j], initial=0.0) for f in (np.nanmax, np.nanmin))
    if highest > 0:  # a band may be far higher than any spectrum
        axes.set_ylim(1.05 * lowest - 0.03 * highest, 1.6 * highest)
    page.head(axes, answers.component_names[j])
    if j == 0 and band is not None:
        page.remark(axes, f"grey: fits as well as {answers.names[0]}")


def _draw_agreement(axes: page.Axes, answers: Any) -> None:
    """Draw the largest angle between every two models, in bold where they agree."""
    n = len(answers.names)
    axes.imshow(np.where(answers.agree, 0.25, 0.0), cmap="Greens", vmin=0, vmax=1, aspect="auto")
    labels = [textwrap.fill(name, 17) for name in answers.names]
    ticks: dict[str, Any] = {"ticks": range(n), "labels": labels, "fontsize": page.SMALL}
    axes.set_xticks(**ticks)
    axes.set_yticks(**ticks)
    axes.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    for i, j in np.ndindex(n, n):
        said = "" if i == j else f"{answers.agreement[i, j]:.1f}°"
        weight = "bold" if answers.agree[i, j] else "normal"
        axes.text(j, i, said, ha="center", va="center", fontsize=page.SMALL, fontweight=weight)
    axes.set_xlabel("largest angle; green: within noise", fontsize=page.SMALL, color=page.GREY)
