"""
An oxide interface: is there a third phase?
===========================================

A line of ten pixels across La0.7Sr0.3MnO3 on SrTiO3, O-K, Mn-L, La-M and Ti-L in one spectrum. Two components
are the film and the substrate. What does a third one add (grey)? No phase at the interface: a noisy spectrum
with some of everything, absent at the interface itself, and the residual hardly falls. The data
(usnistgov/hyperspy_tutorial, NIST licence and GPL-3) are not part of Endmember: the script reads them in the
folder that ENDMEMBER_DATA names, and the picture was made by it.

.. image:: /images/interface.png
   :alt: Profiles and spectra of two and of three components across an oxide interface
"""

# sphinx_gallery_thumbnail_path = 'images/interface.png'

import os
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import endmember as em

warnings.filterwarnings("ignore", message=".*of the values are negative")
path = Path(os.environ["ENDMEMBER_DATA"]) / "eels" / "LSMO_STO_linescan.hspy"
net = em.preprocess.subtract_background(em.load(path), (405, 450)).isig[440.0:]
energy = net.axes_manager.signal_axes[0].axis

colours = {2: ["C0", "C1"], 3: ["C0", "0.6", "C1"]}  # substrate, what a third adds, film
figure = Figure(figsize=(9, 4.6), layout="constrained")
for row, k in zip(figure.subplots(2, 2, width_ratios=[1, 2.6]), (2, 3), strict=True):
    model = em.NMF(k, normalise=("spectra", "l1"), random_state=0).fit(net)
    rest = np.asarray(net.data) - model.inverse_transform(model.maps_)
    share = np.linalg.norm(rest) / np.linalg.norm(net.data)
    order = np.argsort([np.average(np.arange(10), weights=m) for m in model.maps_.T])
    for colour, component in zip(colours[k], order, strict=True):
        look = {"color": colour, "zorder": 1 if colour == "0.6" else 2}
        row[0].plot(model.maps_[:, component], "o-", markersize=3, **look)
        row[1].plot(energy, model.components_[component], linewidth=0.9, **look)
    row[0].set(ylabel=f"{k} components", ylim=(0, None))
    row[1].set(yticks=[], xlim=(440, energy[-1]))
    row[0].set_title(f"residual {share:.1%} of the net signal", fontsize="small")
    for name, onset in {"Ti-L": 456, "O-K": 532, "Mn-L": 640, "La-M": 832}.items():
        row[1].axvline(onset, color="0.8", linewidth=0.7, zorder=0)
        row[1].annotate(
            name, (onset, 1), xycoords=("data", "axes fraction"), fontsize="small", va="bottom"
        )
row[0].set_xlabel("pixel along the line")
row[1].set_xlabel("Energy loss (eV)")

if __name__ == "__main__":
    figure.savefig("interface.png", dpi=110)
    print("interface.png")
