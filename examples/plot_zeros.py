"""
Zeros that are decided, not clipped
===================================

Where a phase is absent, its least-squares amount is noise around zero, half of it negative. A fit that clips the
negative half keeps a positive mean; the spectra of the others widen to explain it. That error is a fixed multiple of
the noise, and no number of pixels lessens it. ``em.Absent("auto")`` solves amounts without a bound, tests them
together with those of their neighbours, and holds at zero what is absent.
"""

# %%
# Three oxides at 30 counts in the brightest voxel, in images of more and more pixels. The angle is that of the spectrum
# that is found worst.
import numpy as np
from matplotlib.figure import Figure

import endmember as em


def worst(model, phantom):
    order = em.match_components(model.components_, phantom.spectra)
    return em.spectral_angle(model.components_[order], phantom.spectra).max()


sizes = (16, 24, 32, 48)
angles = {"clipped": [], "tested": [], "known": []}
for size in sizes:
    phantom = em.synthetic.mixed_phases((size, size), channels=128, k=3, dose=30, seed=1)
    counts = em.PoissonScaled()
    models = {
        "clipped": em.NMF(3, loss=counts, random_state=0),
        "tested": em.NMF(3, loss=counts, maps=em.Absent("auto"), random_state=0),
        "known": em.NMF(
            3, loss=counts, maps=em.Absent(phantom.maps == 0), init=(phantom.maps, phantom.spectra)
        ),
    }
    for name, model in models.items():
        angles[name].append(worst(model.fit(phantom.data), phantom))
for name, found in angles.items():
    print(f"{name:8}", *(f"{angle:5.1f}°" for angle in found))

# %%
# The amounts of the first phase in pixels where it is absent, without a bound: they scatter about zero. What a fit
# that clips keeps is the right half.
tested = models["tested"]
S = tested.components_
weights = 1 / np.maximum(phantom.data.reshape(-1, 128).mean(axis=0), 0.1)
free = phantom.data.reshape(-1, 128) * weights @ S.T @ np.linalg.inv(S * weights @ S.T)
order = em.match_components(S, phantom.spectra)
amounts = free[:, order[0]][phantom.maps[..., 0].ravel() == 0]

figure = Figure(figsize=(9, 3.4), layout="constrained")
left, right = figure.subplots(1, 2)
left.hist(amounts[amounts < 0], bins=30, color="#c9c9c9", label="clipped by a fit")
left.hist(amounts[amounts >= 0], bins=30, color="#5b7db1", label="kept by it")
left.axvline(amounts.mean(), color="k", linewidth=1, label="mean of all")
left.axvline(np.maximum(amounts, 0).mean(), color="C3", linewidth=1, label="mean after clipping")
left.set(xlabel="amount where the phase is absent", ylabel="pixels")
left.legend(frameon=False, fontsize="small")
for name, found in angles.items():
    right.loglog(np.square(sizes), found, "o-", label={"known": "zeros known"}.get(name, name))
right.set_xticks(np.square(sizes), [f"{size**2:,}" for size in sizes])
right.minorticks_off()
right.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
right.set(xlabel="pixels", ylabel="worst spectrum (°)")
right.legend(frameon=False)

# %%
# Every fitted model says how far the amounts that it clipped or tested lie below zero: Q, their mean square in standard
# errors, is about 1 where zeros are zeros, and less where the cone of the spectra has widened to explain clipped noise.
for name in ("clipped", "tested"):
    print(f"{name:8} Q = {np.nanmean(models[name].excess_):.2f}")
