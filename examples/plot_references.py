"""
Known spectra, and how sure their maps are
==========================================

Fits the spectra of a phantom to its counts by Poisson likelihood. The references are measured 1.5 eV too
low: a shift that is fitted puts that right. The reduced chi-square says whether the references explain the
data; on the right, the true errors of the maps over their standard errors, and what they should be.
"""

import numpy as np
from matplotlib.figure import Figure

import endmember as em

phantom = em.synthetic.mixed_phases(shape=(48, 48), channels=256, k=3, dose=100, seed=1)
step = phantom.energy[1] - phantom.energy[0]
references = em.unmix(phantom.signal, em.MLLS(phantom.spectra)).spectra
references.axes_manager.signal_axes[0].offset -= 1.5
image = phantom.signal.isig[phantom.energy[3] : phantom.energy[-3] - 1.5]
models = {
    "as measured": em.MLLS(references, loss=em.Poisson()),
    "shift fitted": em.MLLS(references, loss=em.Poisson(), shift=3.0),
}

figure = Figure(figsize=(9, 4), layout="constrained")
rows = figure.subplots(2, 5, width_ratios=[1, 1, 1, 1.25, 1.3])
for axes, (name, model) in zip(rows, models.items(), strict=True):
    model.fit(image)
    for k in range(3):
        picture = axes[k].imshow(model.maps_[..., k], vmin=0)
        axes[k].set_title(f"reference {k + 1}\nmoved {model.shifts_[k]:+.2f} eV", fontsize="small")
    picture = axes[3].imshow(model.chi2_, vmin=0, vmax=2, cmap="coolwarm")
    axes[3].set_title(f"chi-square\nmedian {np.median(model.chi2_):.2f}", fontsize="small")
    figure.colorbar(picture, ax=axes[3], shrink=0.6)
    for one in axes[:4]:
        one.set(xticks=[], yticks=[])
    axes[0].set_ylabel(name)
    pull = (model.maps_ - phantom.maps) / model.maps_error_
    sure = phantom.maps > 3 * model.maps_error_
    axes[4].hist(pull[sure], bins=np.linspace(-6, 6, 49), density=True)
    z = np.linspace(-6, 6, 200)
    axes[4].plot(z, np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi), color="black", linewidth=0.8)
    within = np.mean(np.abs(pull[sure]) < 1)
    axes[4].set(xlabel="error / standard error", yticks=[])
    axes[4].set_title(f"{within:.0%} within one", fontsize="small")

if __name__ == "__main__":
    figure.savefig("references.png", dpi=120)
    print("references.png")
