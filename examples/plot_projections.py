"""
What projections can and cannot do
==================================

Two oxides and a metal by PCA and ICA. Independent maps (random amounts in every pixel) are what ICA looks
for, and it finds the spectra. Layers that exclude each other are not independent, and it does not: there the
derivatives of the spectra are. NMF needs pixels where something is absent, which layers have and random amounts
have not.
"""

import numpy as np
from matplotlib.figure import Figure

import endmember as em

phantom = em.synthetic.diode(noise=0.01, seed=0)
rng = np.random.default_rng(0)
independent = rng.random(phantom.maps.shape) ** 2 @ phantom.spectra
independent += rng.normal(0, 0.01 * independent.max(), independent.shape)
independent = np.maximum(independent, 0)
data = {"independent amounts": independent, "layers": phantom.data}
models = {
    "PCA": em.PCA(3, random_state=0),
    "ICA of the maps": em.ICA(3, random_state=0),
    "ICA of derivatives": em.ICA(3, independent="derivatives", random_state=0),
    "NMF": em.NMF(3, maps=em.SoftOrthogonal(0.01), random_state=0),
}

figure = Figure(figsize=(9, 4.6), layout="constrained")
rows = figure.subplots(2, 4, sharex=True)
for axes, (situation, X) in zip(rows, data.items(), strict=True):
    for one, (name, model) in zip(axes, models.items(), strict=True):
        penalties = {"maps": None} if name == "NMF" and X is independent else {}
        model.set_params(**penalties).fit(X)
        signs = np.where(model.components_ @ phantom.spectra.mean(axis=0) < 0, -1.0, 1.0)
        found = model.components_ * signs[:, None]
        found = found[em.match_components(found, phantom.spectra)]
        angles = em.spectral_angle(found, phantom.spectra)
        print(f"{situation:20} {name:20}", *(f"{angle:5.1f}°" for angle in angles))
        for k in range(3):
            true = phantom.spectra[k] / np.linalg.norm(phantom.spectra[k])
            (line,) = one.plot(phantom.energy, found[k] / np.linalg.norm(found[k]) + 0.15 * k)
            one.plot(phantom.energy, true + 0.15 * k, "--", color=line.get_color(), linewidth=0.8)
        one.set_title(f"{name}: up to {angles.max():.1f}° off", fontsize="small")
        one.set_yticks([])
        if name == "NMF" and X is independent:
            model.set_params(maps=em.SoftOrthogonal(0.01))
    axes[0].set_ylabel(situation)
for one in rows[1]:
    one.set_xlabel("Energy loss (eV)")

if __name__ == "__main__":
    figure.savefig("projections.png", dpi=120)
    print("projections.png")
