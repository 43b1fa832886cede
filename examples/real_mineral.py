"""
A mineral from EDXS counts: phases at a tenth of a count a voxel
================================================================

STEM-EDXS of a laser-heated mineral: 201 by 201 pixels, 95 % of all values zero. How many phases stand above the
noise, and what are they? Three do (``em.assess.rank``): a silicate, an oxide of Mg and Fe, and a phase with Ca
and the lines that Nd and Sm have between 5 and 6 keV. The counts stay as they are; spectra are drawn as square
roots, so that weak lines are seen beside strong ones. The data (espm 1.1.3, MIT licence) are not part of
Endmember: the script reads them in the folder that ENDMEMBER_DATA names, and the picture was made by it.

.. image:: /images/mineral.png
   :alt: Maps and spectra of three components of a mineral, with the lines of its elements
"""

# sphinx_gallery_thumbnail_path = 'images/mineral.png'

import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import endmember as em

path = Path(os.environ["ENDMEMBER_DATA"]) / "edxs" / "mineral_71GPa.hspy"
signal = em.load(path).isig[0.2:8.3]
energy = signal.axes_manager.signal_axes[0].axis
k = em.assess.rank(signal).suggested
model = em.NMF(k, loss=em.PoissonScaled(), n_starts=4, random_state=0).fit(signal)

lines = {"O": 0.525, "Mg": 1.254, "Al": 1.487, "Si": 1.740, "Ca": 3.69, "Fe": 6.40, "Cu (grid)": 8.05}  # fmt: skip
figure = Figure(figsize=(9, 1.9 * k), layout="constrained")
rows = figure.subplots(k, 2, width_ratios=[1, 3.6])
for j, (left, right) in enumerate(rows):
    left.imshow(model.maps_[..., j], vmin=0)
    left.set(xticks=[], yticks=[])
    left.set_ylabel(f"component {j + 1}", color=f"C{j}")
    right.plot(energy, np.sqrt(model.components_[j]), color=f"C{j}", linewidth=0.8)
    right.set(ylim=(0, None), xlim=(0.2, 8.3), yticks=[])
    for position in lines.values():
        right.axvline(position, color="0.8", linewidth=0.7, zorder=0)
for name, position in lines.items():
    rows[0, 1].annotate(
        name, (position, 1), xycoords=("data", "axes fraction"),
        fontsize="small", ha="center", va="bottom",
    )  # fmt: skip
rows[-1, 1].set_xlabel("Energy (keV)")

if __name__ == "__main__":
    figure.savefig("mineral.png", dpi=110)
    print("mineral.png")
