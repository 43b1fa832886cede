"""
Three layers whose spectra overlap everywhere
=============================================

Can factorisation separate silicon, its oxide and its nitride when every spectrum is above zero in every
channel? Non-negativity alone cannot: mixing two spectra a little and unmixing their maps as much fits
equally well. A gentle push of the maps away from each other (NMF-SO) settles it. After Fig. 3 of Muto and
Shiga, Microscopy 69 (2020) 110.
"""

import numpy as np
from matplotlib.figure import Figure

import endmember as em

phantom = em.synthetic.diode(noise=0.03, seed=0)
models = {
    "without (HALS)": em.NMF(3, solver=em.HALS(), random_state=0),
    "soft orthogonality 0.01": em.NMF(3, maps=em.SoftOrthogonal(0.01), random_state=0),
}

figure = Figure(figsize=(8, 5), layout="constrained")
rows = figure.subplots(len(models), 4, width_ratios=[1, 1, 1, 2.4])
for axes, (name, model) in zip(rows, models.items(), strict=True):
    model.fit(phantom.data)
    order = em.match_components(model.components_, phantom.spectra)
    maps, spectra = model.maps_[..., order], model.components_[order]
    angles = em.spectral_angle(spectra, phantom.spectra)
    for k, title in enumerate(phantom.names):
        axes[k].imshow(maps[..., k], vmin=0)
        axes[k].set(xticks=[], yticks=[], title=title)
        true = phantom.spectra[k] / np.linalg.norm(phantom.spectra[k])
        (line,) = axes[3].plot(phantom.energy, spectra[k] + 0.1 * k, label=f"{angles[k]:.1f}° off")
        axes[3].plot(phantom.energy, true + 0.1 * k, "--", color=line.get_color(), linewidth=0.8)
    axes[0].set_ylabel(name)
    axes[3].set(xlabel="Energy loss (eV)", title="found, and true (dashed)", yticks=[])
    axes[3].legend(fontsize="small", frameon=False, loc="upper right")

if __name__ == "__main__":
    figure.savefig("soft_orthogonality.png", dpi=120)
    print("soft_orthogonality.png")
