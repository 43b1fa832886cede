"""What one box is worth: the angle of plain NMF with and without it, by the very code of the workbench.

EDXS, three minerals at 5 counts in the brightest voxel, of 512 channels. In every phase the largest box of its pure
pixels is drawn, as a user would, and called that phase. Angles are those of the spectrum found worst: medians over 20
seeds.
"""

from __future__ import annotations

import statistics
import warnings
from dataclasses import replace

import numpy as np

import endmember as em
from endmember.app.core.choices import Choices
from endmember.app.core.session import Session

SHAPE, SEEDS = (32, 32), 20


def largest_box(inside):
    """Return the ends of the largest box of True values: rows, then columns."""
    best, heights = (0, (0, 1), (0, 1)), np.zeros(inside.shape[1], dtype=int)
    for row, values in enumerate(inside):
        heights = np.where(values, heights + 1, 0)
        for first in range(len(heights)):
            for end in range(first + 1, len(heights) + 1):
                height = int(heights[first:end].min())
                best = max(
                    best, (height * (end - first), (row + 1 - height, row + 1), (first, end))
                )
    return best[1:]


def worst(found, true):
    """Return the largest angle of a spectrum from the truth."""
    return float(np.max(em.spectral_angle(found[em.match_components(found, true)], true)))


def box_of(session, rows, columns):
    """Return a box as if it were dragged, with its mean spectrum."""
    across, down = session.data.sides
    region = session.data.region(
        across.centres[[columns[0], columns[1] - 1]], down.centres[[rows[0], rows[1] - 1]]
    )
    return replace(region, mean=session.data.spectrum(*region.box, True))


def angles(seed):
    """Return the angle of every way for one seed."""
    phantom = em.synthetic.edxs_phases(SHAPE, 512, k=3, dose=5, seed=seed)
    session = Session()
    session.use(phantom.signal)
    share = phantom.maps / phantom.maps.sum(axis=-1, keepdims=True)

    def fitted(*known):
        model = Choices(3, "counts, weighted", constraints=known).model()
        return worst(model.fit(phantom.signal).components_, phantom.spectra)

    found = {"no box": fitted()}
    for j in range(3):
        region = box_of(session, *largest_box(share[..., j] > 0.999))
        made = {kind: session.constraint(kind, 0, region) for kind in ("is", "only")}
        found[f"phase {j + 1}: box is its spectrum"] = fitted(made["is"])
        found[f"phase {j + 1}: box holds it alone"] = fitted(made["only"])
        found[f"phase {j + 1}: both"] = fitted(*made.values())
    default = em.unmix(phantom.signal, n_components=3)
    found["default of em.unmix, no box"] = worst(default.spectra.data, phantom.spectra)
    absent = Choices(3, "counts, weighted", constraints=(made["only"],)).model().maps
    model = em.NMF(3, loss=em.PoissonScaled(), maps=[*absent, em.Absent("auto")], random_state=0)
    found["zeros tested, box of phase 3"] = worst(
        model.fit(phantom.signal).components_, phantom.spectra
    )
    session.close()
    return found


def main():
    warnings.simplefilter("ignore")
    every = [angles(seed) for seed in range(SEEDS)]
    plain = statistics.median(one["no box"] for one in every)
    for name in every[0]:
        middle = statistics.median(one[name] for one in every)
        print(f"{name:<35} {middle:6.1f}°   {middle / plain:5.2f} of that without")


if __name__ == "__main__":
    main()
