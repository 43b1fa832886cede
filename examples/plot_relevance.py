"""
Ten components asked for, three kept
====================================

How many components? Ask for more than there can be, with relevance determination: the maps of components that
the data do not need shrink to nothing, look-alikes are merged, and the noise decides what must stay.
Together with soft orthogonality this is the ARD-SO-NMF of Fig. 5 of Muto and Shiga, Microscopy 69 (2020) 110.
"""

import numpy as np
from matplotlib.figure import Figure

import endmember as em

phantom = em.synthetic.diode(shape=(32, 32), noise=0.03, seed=0)
model = em.NMF(10, maps=[em.SoftOrthogonal(0.01), em.Relevance()], n_starts=3, random_state=0)
model.fit(phantom.data)

levels = em.show.relevance(model)

order = em.match_components(model.components_, phantom.spectra)
maps, spectra = model.maps_[..., order], model.components_[order]
figure = Figure(figsize=(8, 2.6), layout="constrained")
axes = figure.subplots(1, len(order) + 1, width_ratios=[1] * len(order) + [2.2])
for k, title in enumerate(phantom.names):
    angle = em.spectral_angle(spectra[k], phantom.spectra[k])
    axes[k].imshow(maps[..., k], vmin=0)
    axes[k].set(xticks=[], yticks=[], title=f"{title}, {angle:.1f}° off")
    true = phantom.spectra[k] / np.linalg.norm(phantom.spectra[k])
    (line,) = axes[-1].plot(phantom.energy, spectra[k] + 0.1 * k)
    axes[-1].plot(phantom.energy, true + 0.1 * k, "--", color=line.get_color(), linewidth=0.8)
axes[-1].set(xlabel="Energy loss (eV)", title="found, and true (dashed)", yticks=[])

if __name__ == "__main__":
    figure.savefig("relevance.png", dpi=120)
    levels.savefig("relevance_levels.png", dpi=120)
    print("relevance.png relevance_levels.png")
