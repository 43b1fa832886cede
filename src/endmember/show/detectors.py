"""Components that several detectors share: one map, and a spectrum of every detector, in each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from endmember.show import drawing, page
from endmember.show.contents import Components
from endmember.show.space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Inches of a spectrum and of a bar for a single channel.
SPECTRUM_WIDTH, BAR_WIDTH = 3.4, 0.9


def detectors(answers: Sequence[Components], labels: Sequence[str]) -> Figure:
    """Draw the shared map of each component beside its spectrum under every detector.

    Parameters
    ----------
    answers : sequence of Components
        One a detector, with the same maps.
    labels : sequence of str
        The names of the detectors.

    Returns
    -------
    Figure
        A row for each component. A detector of one channel, such as an image, is drawn as a bar.

    Examples
    --------
    >>> maps = np.random.default_rng(0).random((8, 6, 2))
    >>> figure = detectors([Components(maps, np.eye(2, 9)), Components(maps, np.eye(2, 5))], ["a", "b"])
    >>> len(figure.axes) >= 6
    True
    """
    first = answers[0]
    k = first.spectra.shape[0]
    flat = [drawing.flatten_domain(first.maps[..., j])[0] for j in range(k)]
    space = Space.of(flat[0], first.pixel_size, first.pixel_units, 0.8)
    widths = [SPECTRUM_WIDTH if one.spectra.shape[1] > 1 else BAR_WIDTH for one in answers]
    figure = page.blank_figure(
        space.width + sum(widths) + 0.8, k * (max(space.height, 1.1) + 0.3) + 0.7,
        f"Maps of {k} components and their spectra under {len(answers)} detectors",
    )  # fmt: skip
    grid = figure.add_gridspec(k, 1 + len(answers), width_ratios=[space.width + 0.4, *widths])
    for j, colour in enumerate(page.palette(k)):
        left = figure.add_subplot(grid[j, 0])
        space.draw(left, flat[j], colour, "")
        page.head(left, (first.names or ())[j])
        for d, (one, label) in enumerate(zip(answers, labels, strict=True)):
            axes = figure.add_subplot(grid[j, d + 1])
            _draw_detector(axes, one, j, colour)
            if j == 0:
                page.head(axes, label, quiet=True)
            if j == k - 1 and one.spectra.shape[1] > 1:
                axes.set_xlabel(page.with_units(one.energy_label, one.energy_units))
    page.title(figure, first.title, [])
    return figure


def _draw_detector(axes, one: Components, j: int, colour: str) -> None:  # type: ignore[no-untyped-def]
    channels = one.spectra.shape[1]
    if channels == 1:
        axes.bar([0], [one.spectra[j, 0]], color=colour, width=0.6)
        axes.set(xticks=[], xlim=(-0.8, 0.8), ylim=(0, 1.05 * max(np.nanmax(one.spectra), 1e-300)))
        page.quiet_axes(axes)
        return
    energy = np.arange(channels) if one.energy is None else one.energy
    drawing.draw_spectrum(axes, energy, one.spectra[j], colour=colour)
