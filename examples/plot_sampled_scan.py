"""
A sampled scan: maps everywhere from a fifth of the pixels
==========================================================

A beam that visits a fifth of the pixels at random may stay five times as long in each. The others hold nothing, and
``mask=`` says so. Nothing is reconstructed first: the spectra come from the pixels that were measured, and
``em.Smooth`` lets the maps go on between them, on the surface of least bending. Errors are NaN where nothing was
measured. The full scan above has the same total dose. After the closing remarks of Muto and Shiga, Microscopy 69 (2020)
110; sampled EELS: Monier et al., IEEE Trans. Comput. Imag. 4 (2018) 585.
"""

import numpy as np
from matplotlib.figure import Figure

import endmember as em

SHARE, DOSE = 0.2, 20
full = em.synthetic.edxs_phases(shape=(48, 48), channels=256, dose=DOSE, seed=0)
few = em.synthetic.edxs_phases(shape=(48, 48), channels=256, dose=DOSE / SHARE, seed=0)
measured = np.random.default_rng(0).random((48, 48)) < SHARE

model = em.NMF(3, loss=em.PoissonScaled(), maps=em.Smooth(0.001), random_state=0)
whole = em.unmix(full.signal, model)
sampled = em.unmix(few.signal, model, mask=~measured)

figure = Figure(figsize=(7.2, 7.2), layout="constrained")
for row, (maps, spectra, said) in zip(
    figure.subplots(3, 3, sharex=True, sharey=True),
    [
        (full.maps, full.spectra, "truth"),
        (whole.model.maps_, whole.model.components_, "every pixel"),
        (sampled.model.maps_, sampled.model.components_, "a fifth of the pixels"),
    ],
    strict=True,
):
    order = em.match_components(spectra, full.spectra)
    for axes, j in zip(row, order, strict=True):
        axes.imshow(maps[..., j], vmin=0)
        axes.set(xticks=[], yticks=[])
    row[0].set_ylabel(said)

if __name__ == "__main__":
    figure.savefig("sampled_scan.png", dpi=120)
    print("sampled_scan.png")
