"""The scree plot above the edge of the noise, and what each criterion counts."""

from typing import Any

import numpy as np


def draw_rank(report: Any, axes: Any = None) -> Any:
    """Draw a report on the number of components on a pair of axes, on a new figure unless given; returns the figure."""
    if axes is None:
        from matplotlib.figure import Figure

        axes = Figure(figsize=(7.0, 3.0), layout="constrained").subplots(1, 2, width_ratios=[3, 2])
    scree, counted = axes
    numbers = np.arange(1, report.visibility.size + 1)
    signal = numbers <= report.suggested
    scree.semilogy(numbers, report.visibility, "-", color="0.7", lw=1, zorder=1)
    scree.semilogy(numbers[signal], report.visibility[signal], "o", color="C0", label="components")
    scree.semilogy(numbers[~signal], report.visibility[~signal], "o", mfc="w", color="0.5")
    scree.axhline(1.0, color="C3", lw=1, ls="--", label="noise")
    scree.axvspan(report.range[0] - 0.3, report.range[1] + 0.3, color="C0", alpha=0.12, lw=0)
    scree.set_xlabel("component")
    scree.set_ylabel("squared singular value / noise")
    scree.legend(frameon=False)
    votes = [vote for vote in report.table if vote.count is not None][::-1]
    counted.barh(
        range(len(votes)), [vote.count for vote in votes], color="0.75", height=0.7,
        tick_label=[vote.criterion for vote in votes],
    )  # fmt: skip
    counted.axvline(report.suggested, color="C0", lw=1.5)
    counted.set_xlabel("components counted")
    return scree.figure
