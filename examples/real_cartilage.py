"""
Raman of cartilage: why does one spectrum dip where another peaks?
==================================================================

A Raman map of cartilage, as measured: one spectrum has dips at 1063, 1130 and 1296 per cm, just where another
has lines. No molecule has; fluorescence under the bands leaves room to take one spectrum out of another. With
the background clipped off, spectra come down to zero between their bands, and the dips are gone. The data
(hyperSpec, GPL-3) are not part of Endmember: the script reads them in the folder that ENDMEMBER_DATA names, and
the picture was made by it.

.. image:: /images/cartilage.png
   :alt: Maps and spectra of three Raman components, before and after the background was clipped off
"""

# sphinx_gallery_thumbnail_path = 'images/cartilage.png'

import os
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import endmember as em

warnings.filterwarnings("ignore", message=".*of the values are negative")
with np.load(Path(os.environ["ENDMEMBER_DATA"]) / "other" / "raman_cartilage.npz") as file:
    data, wavenumber = file["X"], file["wavenumber"]
bands = em.preprocess.subtract_background(data, None, method="snip", energy=wavenumber)

figure = Figure(figsize=(9, 4.6), layout="constrained")
rows = figure.subplots(2, 4, width_ratios=[1, 1, 1, 4])
for axes, (name, X) in zip(
    rows, {"as measured": data, "background off": bands}.items(), strict=True
):
    model = em.NMF(3, n_starts=4, normalise=("spectra", "max"), random_state=0).fit(X)
    for k in range(3):
        axes[k].imshow(model.maps_[..., k], vmin=0)
        axes[k].set(xticks=[], yticks=[])
        axes[k].set_title(f"component {k + 1}", color=f"C{k}", fontsize="small")
        axes[3].plot(wavenumber, model.components_[k] + 1.05 * k, linewidth=0.9)
    axes[0].set_ylabel(name)
    axes[3].set(ylabel="intensity", yticks=[], xlim=(wavenumber[0], wavenumber[-1]))
rows[1, 3].set_xlabel("Raman shift (1/cm)")

if __name__ == "__main__":
    figure.savefig("cartilage.png", dpi=110)
    print("cartilage.png")
