"""Pictures of series: a profile, a map or a spectrum along every mode of every component."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from endmember.show import drawing, page

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

_PANEL = 2.4  # inches
_SPECTRUM_WIDTH = 3.6
_ROW = 1.5


def profiles(
    factors: Sequence[ArrayLike],
    shapes: Sequence[tuple[int, ...]] | None = None,
    *,
    labels: Sequence[str] | None = None,
    energy: ArrayLike | None = None,
    energy_label: str = "Channel",
    title: str | None = None,
) -> Figure:
    """Draw what every component does along every mode of a series: a row each, the spectrum last.

    Parameters
    ----------
    factors : sequence of array (size, k)
        One for every mode, the spectra last, as ``factors_`` of ``em.CP``.
    shapes : sequence of tuple of int, optional
        The axes of every mode but the last: ``(ny, nx)`` is drawn as a map. All are profiles unless given.
    labels : sequence of str, optional
        What every mode but the last is.
    energy : array (channels,), optional
    energy_label : str
        With its unit.
    title : str, optional

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the factors do not have as many columns, or the shapes do not go with them.

    Examples
    --------
    >>> figure = profiles([np.ones((3, 2)), np.ones((20, 2)), np.eye(9, 2)], [(3,), (4, 5)])
    >>> len([axes for axes in figure.axes if axes.images])
    2
    """
    arrays = [np.asarray(F, dtype=float) for F in factors]
    leading = len(arrays) - 1
    shapes = [(len(F),) for F in arrays[:-1]] if shapes is None else list(shapes)
    labels = [f"mode {mode}" for mode in range(leading)] if labels is None else list(labels)
    k = arrays[-1].shape[1]
    sizes = [int(np.prod(shape)) for shape in shapes]
    if {F.shape[1] for F in arrays} != {k} or sizes != [len(F) for F in arrays[:-1]]:
        raise ValueError(
            f"factors of shapes {[F.shape for F in arrays]} and axes {shapes} do not belong together: give "
            "one array (size, k) a mode and the axes of every mode but the last"
        )
    figure = page.blank_figure(
        leading * _PANEL + _SPECTRUM_WIDTH + 0.6, k * _ROW + 0.7, f"Profiles of {k} components"
    )
    grid = figure.add_gridspec(k, leading + 1, width_ratios=[_PANEL] * leading + [_SPECTRUM_WIDTH])
    channels = len(arrays[-1])
    axis = np.arange(channels) if energy is None else np.asarray(energy, dtype=float)
    for j, colour in enumerate(page.palette(k)):
        for mode, (F, shape) in enumerate(zip(arrays[:-1], shapes, strict=True)):
            panel = figure.add_subplot(grid[j, mode])
            if len(shape) == 2:
                drawing.draw_map(panel, F[:, j].reshape(shape))
            else:
                drawing.draw_profile(panel, F[:, j], colour=colour)
            if j == 0:
                page.head(panel, labels[mode], quiet=True)
            if mode == 0:
                panel.set_ylabel(f"{j + 1}", rotation=0, labelpad=12, color=colour, weight="bold")
        panel = figure.add_subplot(grid[j, leading])
        drawing.draw_spectrum(panel, axis, arrays[-1][:, j], colour=colour)
        if j == 0:
            page.head(panel, "spectrum", quiet=True)
        if j == k - 1:
            panel.set_xlabel(energy_label)
        else:
            panel.tick_params(labelbottom=False)
    page.title(figure, title, [])
    return figure
