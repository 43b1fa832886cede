"""
A battery cathode: which states of oxygen and metal?
====================================================

O-K to Ni-L of a Si-doped NMC cathode (a line scan of 2 by 21 pixels, Gatan file). The background before the O-K
edge is subtracted and three components are asked for. At the dashed lines the edges begin: components that
differ before the first of them hold background. The data (HailiJia/MultimodalEELS-XAS, MIT licence) are not
part of Endmember: the script reads them in the folder that ENDMEMBER_DATA names, and the picture was made by
it.

.. image:: /images/cathode.png
   :alt: Profiles and spectra of three components of a battery cathode, with the onsets of O-K, Mn-L, Co-L and Ni-L
"""

# sphinx_gallery_thumbnail_path = 'images/cathode.png'

import os
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import endmember as em

warnings.filterwarnings("ignore", message=".*of the values are negative")
signal = em.load(Path(os.environ["ENDMEMBER_DATA"]) / "eels" / "NMC_TM_O.dm3").isig[470.0:920.0]
net = em.preprocess.subtract_background(signal, (470, 508))
energy = signal.axes_manager.signal_axes[0].axis
model = em.NMF(3, normalise=("spectra", "l1"), random_state=0).fit(net)

figure = Figure(figsize=(9, 4), layout="constrained")
profiles, spectra = figure.subplots(1, 2, width_ratios=[1, 2.2])
for k in range(3):
    (line,) = profiles.plot(model.maps_[..., k].mean(axis=0), "o-", markersize=3)
    top = 1.1 * model.components_.max()
    spectra.plot(energy, model.components_[k] + top * k, color=line.get_color(), linewidth=0.9)
onsets = {"O-K": 513, "Mn-L": 628, "Co-L": 762, "Ni-L": 834}  # on the axis as the file gives it
for name, onset in onsets.items():
    spectra.axvline(onset, color="0.6", linestyle="--", linewidth=0.7, zorder=0)
    spectra.annotate(
        name, (onset, 1), xycoords=("data", "axes fraction"), fontsize="small", va="bottom"
    )
profiles.set(xlabel="pixel along the line", ylabel="counts", ylim=(0, None))
spectra.set(xlabel="Energy loss (eV)", yticks=[], xlim=(energy[0], energy[-1]))
residual = np.asarray(net.data) - model.inverse_transform(model.maps_)
profiles.set_title(
    f"residual: {np.std(residual) / np.std(net.data):.1%} of the signal", fontsize="small"
)

if __name__ == "__main__":
    figure.savefig("cathode.png", dpi=110)
    print("cathode.png")
