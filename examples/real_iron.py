"""
Iron in plume particles: does the factorisation find the references?
====================================================================

Fe-L absorption of plume particles in a scanning X-ray microscope, with spectra of reduced and oxidised iron
that were measured apart. Factorised without them, both are found where they peak, but one has a hole where the
other peaks: non-negativity alone allows that. With the reference of the other given (``em.Known``), oxidised
iron comes closer. Reduced iron does not: the oxidised iron of these particles lacks the step of its reference
after the edge, the free spectrum takes up the difference, and the rare phase is lost. A reference helps only if
it is that of the specimen. The data (stetef/nano-XANES-microscopy-of-Fe, MIT licence) are not part of
Endmember: the script reads them in the folder that ENDMEMBER_DATA names, and the picture was made by it.

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
references = references.clip(0)

model = em.NMF(2, n_starts=4, normalise=("spectra", "max"), random_state=0).fit(density)
better = []  # each, with the reference of the other given
for k in range(2):
    given = em.Known({1 - k: references[1 - k]})
    better.append(em.NMF(2, spectra=given, n_starts=4, random_state=0).fit(density).components_[k])

order = em.match_components(model.components_, references)
found = {"found": model.components_[order], "found, the other given": better}
figure = Figure(figsize=(9, 5.6), layout="constrained")
rows = figure.subplots(2, 2, width_ratios=[1, 1.6])
for k, (name, (left, right)) in enumerate(zip(("reduced", "oxidised"), rows, strict=True)):
    left.imshow(model.maps_[..., order[k]], vmin=0)
    left.set(xticks=[], yticks=[], ylabel=name)
    for words, spectra in found.items():
        angle = em.spectral_angle(spectra[k : k + 1], references[k : k + 1])[0]
        label = f"{words}: {angle:.0f}° from the reference"
        right.plot(energy, spectra[k] / spectra[k].max(), label=label)
    right.plot(energy, references[k] / references[k].max(), "k--", linewidth=0.8, label="reference")
    right.set(yticks=[], ylabel="absorption", ylim=(None, 1.55))
    right.legend(frameon=False, loc="upper right", fontsize="small")
rows[1, 1].set_xlabel("Energy (eV)")

if __name__ == "__main__":
    figure.savefig("iron.png", dpi=110)
    print("iron.png")
