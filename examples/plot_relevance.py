"""
Ten components asked for, three kept
====================================

How many components? Ask for more than there can be, with relevance determination: the maps of components that
the data do not need shrink to nothing, look-alikes are merged, and the noise decides what must stay. Together
with soft orthogonality this is the ARD-SO-NMF of Fig. 5 of Muto and Shiga, Microscopy 69 (2020) 110. On the
right the relevance of all ten; `em.show.relevance(model)` draws it for any model.
"""

import numpy as np
from matplotlib.figure import Figure

import endmember as em

phantom = em.synthetic.diode(shape=(32, 32), noise=0.03, seed=0)
model = em.NMF(10, maps=[em.SoftOrthogonal(0.01), em.Relevance()], n_starts=3, random_state=0)
model.fit(phantom.data)

order = em.match_components(model.components_, phantom.spectra)
maps, spectra = model.maps_[..., order], model.components_[order]
figure = Figure(figsize=(10, 3.6), layout="constrained")
rows = [["found 0", "found 1", "found 2", "spectra", "levels"],
        ["true 0", "true 1", "true 2", "spectra", "levels"]]  # fmt: skip
panel = figure.subplot_mosaic(rows, width_ratios=[1, 1, 1, 2.2, 1.6])
for k, name in enumerate(phantom.names):
    angle = em.spectral_angle(spectra[k], phantom.spectra[k])
    panel[f"found {k}"].imshow(maps[..., k], vmin=0)
    panel[f"found {k}"].set_title(f"{name}, {angle:.1f}° off", fontsize="medium")
    panel[f"true {k}"].imshow(phantom.maps[..., k], vmin=0)
    for axes in (panel[f"found {k}"], panel[f"true {k}"]):
        axes.set(xticks=[], yticks=[])
    true = phantom.spectra[k] / np.linalg.norm(phantom.spectra[k])
    panel["spectra"].plot(phantom.energy, spectra[k] + 0.1 * k)
    panel["spectra"].plot(phantom.energy, true + 0.1 * k, "k--", linewidth=0.8)
panel["found 0"].set_ylabel("found")
panel["true 0"].set_ylabel("true")
panel["spectra"].set(xlabel="Energy loss (eV)", yticks=[])
panel["spectra"].set_title("found, and true (dashed)", fontsize="medium")

kept = model.n_components_
panel["levels"].semilogy(range(1, 11), model.relevance_, "o", color="0.7")
panel["levels"].semilogy(range(1, kept + 1), model.relevance_[:kept], "o", color="C0")
panel["levels"].set(xlabel="component", xticks=range(1, 11))
panel["levels"].set_title(f"relevance: {kept} of 10 kept", fontsize="medium")

if __name__ == "__main__":
    figure.savefig("relevance.png", dpi=120)
    print("relevance.png")
