"""The scree plot above the edge of the noise, and what each criterion counts."""

from typing import Any

import numpy as np


def draw_rank(report: Any, axes: Any = None) -> Any:
    """Draw a report on the number of components on a pair of axes, on a new figure unless given; returns the figure."""
    if axes is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, 3.0), layout="constrained")
        axes = figure.subplots(1, 2, width_ratios=[3, 2])
    _draw_scree(axes[0], report)
    _draw_votes(axes[1], report)
    return axes[0].figure


def _draw_scree(axes: Any, report: Any) -> None:
    numbers = np.arange(1, report.visibility.size + 1)
    signal = numbers <= report.suggested
    axes.semilogy(numbers, report.visibility, "-", color="0.7", lw=1, zorder=1)
    axes.semilogy(numbers[signal], report.visibility[signal], "o", color="C0", label="components")
    axes.semilogy(numbers[~signal], report.visibility[~signal], "o", mfc="w", color="0.5")
    axes.axhline(1.0, color="C3", lw=1, ls="--", label="noise")
    axes.axvspan(report.range[0] - 0.3, report.range[1] + 0.3, color="C0", alpha=0.12, lw=0)
    axes.set_xlabel("component")
    axes.set_ylabel("squared singular value / noise")
    axes.legend(frameon=False)


def _draw_votes(axes: Any, report: Any) -> None:
    votes = [vote for vote in report.table if vote.count is not None][::-1]
    places = np.arange(len(votes))
    axes.barh(places, [vote.count or 0 for vote in votes], color="0.75", height=0.7)
    axes.axvline(report.suggested, color="C0", lw=1.5)
    axes.set_yticks(places, [vote.criterion for vote in votes])
    axes.set_xlabel("components counted")
