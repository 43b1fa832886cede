"""
How sure, and which model
=========================

A silicon diode: every pixel belongs to one layer, but every spectrum has intensity in every channel. Plain NMF
fits as well as the methods that know of disjoint layers, and is wrong. What to look for: nothing in the fit tells
(the misfits are equal); the bands and the disagreement do. After the advice of Muto and Shiga, Microscopy 69
(2020) 110, to crosscheck several methods.
"""

import warnings

import numpy as np
from matplotlib.figure import Figure

import endmember as em

warnings.simplefilter("ignore")
phantom = em.synthetic.diode(shape=(32, 32), channels=120)
models = {
    "NMF": em.NMF(3, random_state=0),
    "NMF-SO": em.NMF(3, maps=em.SoftOrthogonal(0.01), random_state=0),
    "SSS": em.SubspaceSampling(3, on="maps", random_state=0),
    "VCA": em.VCA(3, random_state=0),
}
found = em.compare(phantom.signal, models, truth=phantom)
errors = em.assess.uncertainty(found.models[1], phantom.data)

figure = Figure(figsize=(10, 3.4), layout="constrained")
left, middle, right = figure.subplots(1, 3)
angles = found.agreement
left.imshow(np.where(found.agree, 0.3, 0), cmap="Greens", vmin=0, vmax=1)
left.set_xticks(range(len(models)), models)
left.set_yticks(range(len(models)), models)
for (i, j), angle in np.ndenumerate(angles):
    left.text(j, i, f"{angle:.1f}°" if i != j else "", ha="center", va="center", fontsize="small")
left.set_title("angle between answers\n(green: noise explains it)", fontsize="medium")

order = em.match_components(found.bands.spectra, phantom.spectra)
colours = ["C0", "C1", "C2"]
for k, (j, colour) in enumerate(zip(order, colours, strict=True)):
    low, high = (edge[j] / np.linalg.norm(found.bands.spectra[j]) for edge in
                 (found.bands.spectra_low, found.bands.spectra_high))  # fmt: skip
    middle.fill_between(
        phantom.energy, low + 0.4 * k, high + 0.4 * k, color=colour, alpha=0.25, lw=0
    )
    middle.plot(phantom.energy, found.spectra[0, k] + 0.4 * k, color=colour, label=phantom.names[k])
middle.set(xlabel="Energy loss (eV)", yticks=[])
middle.set_title("plain NMF, and what fits as well", fontsize="medium")
middle.legend(fontsize="x-small", frameon=False, loc="upper right")

place = em.match_components(found.models[1].components_, phantom.spectra)
for k, (j, colour) in enumerate(zip(place, colours, strict=True)):
    spectrum, error = found.models[1].components_[j], errors.spectra[j]
    true = phantom.spectra[k] / np.linalg.norm(phantom.spectra[k])
    right.fill_between(phantom.energy, spectrum - 2 * error - true + 0.02 * k,
                       spectrum + 2 * error - true + 0.02 * k, color=colour, alpha=0.3, lw=0)  # fmt: skip
    right.plot(phantom.energy, found.spectra[1, k] - true + 0.02 * k, color=colour, lw=0.8)
    right.axhline(0.02 * k, color="0.6", lw=0.6, zorder=0)
right.set(xlabel="Energy loss (eV)")
right.set_title("NMF-SO minus truth, ±2 standard errors", fontsize="medium")
right.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))

if __name__ == "__main__":
    figure.savefig("comparison.png", dpi=120)
    print(found)
    print("comparison.png")
