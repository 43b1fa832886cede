"""
Iron in plume particles: does the factorisation find the references?
====================================================================

Fe-L absorption of plume particles in a scanning X-ray microscope, with spectra of reduced and oxidised iron
that were measured apart. Factorised without them, both are found where they peak, but one has a hole where the
other peaks: non-negativity alone allows that. Give one of them (em.Known), or fit both (em.MLLS), and the hole
is filled. The data (stetef/nano-XANES-microscopy-of-Fe, MIT licence) are not part of Endmember: the script
reads them in the folder that ENDMEMBER_DATA names, and the picture was made by it.

.. image:: /images/iron.png
   :alt: Maps and spectra of reduced and oxidised iron beside the references
"""

# sphinx_gallery_thumbnail_path = 'images/iron.png'

import os
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import endmember as em

warnings.filterwarnings("ignore", message=".*of the values are negative")
with np.load(Path(os.environ["ENDMEMBER_DATA"]) / "other" / "stxm_iron_FeL.npz") as file:
    density = -np.log(file["I"] / file["i0"][:, 1])
    energy = file["energy_eV"]  # not evenly spaced: finer at the edge
    references = np.stack([file[f"{name}_t"][:, 1] for name in ("reduced", "oxidized")])

density -= density[..., energy < 703].mean(axis=-1, keepdims=True)  # the absorption before the edge
references -= references[:, energy < 703].mean(axis=1, keepdims=True)

model = em.NMF(2, n_starts=4, normalise=("spectra", "max"), random_state=0).fit(density)
order = em.match_components(model.components_, references)
angles = em.spectral_angle(model.components_[order], references)

figure = Figure(figsize=(9, 5.6), layout="constrained")
rows = figure.subplots(2, 2, width_ratios=[1, 1.6])
for k, name in enumerate(("reduced", "oxidised")):
    found = model.components_[order[k]]
    rows[k, 0].imshow(model.maps_[..., order[k]], vmin=0)
    rows[k, 0].set(xticks=[], yticks=[], ylabel=name)
    rows[k, 1].plot(energy, found, label="found")
    rows[k, 1].plot(
        energy, references[k] / references[k].max(), "k--", linewidth=0.8, label="reference"
    )
    rows[k, 1].set(yticks=[], title=f"{angles[k]:.0f}° from the reference")
rows[0, 1].legend(frameon=False, loc="upper right")
rows[1, 1].set_xlabel("Energy (eV)")

if __name__ == "__main__":
    figure.savefig("iron.png", dpi=110)
    print("iron.png")
