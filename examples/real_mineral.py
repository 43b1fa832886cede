"""
A mineral from EDXS counts: phases at a tenth of a count a voxel
================================================================

STEM-EDXS of a laser-heated mineral: 201 by 201 pixels, 95 % of all values zero. How many phases stand above the
noise, and what are they? The counts stay as they are; four components of the Poisson-weighted fit are drawn
with the lines of the elements that are expected. The data (espm 1.1.3, MIT licence) are not part of Endmember:
the script reads them in the folder that ENDMEMBER_DATA names, and the picture was made by it.

.. image:: /images/mineral.png
   :alt: Maps and spectra of four components of a mineral, with the lines of its elements
"""

# sphinx_gallery_thumbnail_path = 'images/mineral.png'

import os
from pathlib import Path

from matplotlib.figure import Figure

import endmember as em

path = Path(os.environ["ENDMEMBER_DATA"]) / "edxs" / "mineral_71GPa.hspy"
signal = em.load(path).isig[0.2:8.0]
energy = signal.axes_manager.signal_axes[0].axis
model = em.NMF(4, loss=em.PoissonScaled(), n_starts=4, random_state=0).fit(signal)

lines = {
    "O": 0.525,
    "Fe": 6.40,
    "Mg": 1.254,
    "Al": 1.487,
    "Si": 1.740,
    "Ca": 3.69,
    "Cu (grid)": 8.05,
}
figure = Figure(figsize=(9, 5.6), layout="constrained")
rows = figure.subplots(4, 2, width_ratios=[1, 3.6])
for k, (left, right) in enumerate(rows):
    left.imshow(model.maps_[..., k], vmin=0)
    left.set(xticks=[], yticks=[])
    left.set_ylabel(f"component {k + 1}")
    right.semilogy(energy, model.components_[k], color=f"C{k}", linewidth=0.8)
    right.set(ylim=(1e-4, 1.5 * model.components_.max()), xlim=(0.2, 8.0), yticks=[])
    for name, position in lines.items():
        if position < 8:
            right.axvline(position, color="0.8", linewidth=0.7, zorder=0)
            if k == 0:
                right.annotate(
                    name, (position, 1), xycoords=("data", "axes fraction"),
                    fontsize="small", ha="center", va="bottom",
                )  # fmt: skip
rows[-1, 1].set_xlabel("Energy (keV)")

if __name__ == "__main__":
    figure.savefig("mineral.png", dpi=110)
    print("mineral.png")
