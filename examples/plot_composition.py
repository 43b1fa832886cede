"""
Per cent from a handful of counts
=================================

Three minerals at two counts in the brightest voxel. Plain factorisation follows the noise; with zeros tested spectra
are a few degrees off; made of the lines of the elements besides, ``em.XRayLines``, they are nearer, smooth where
there is no line, and the amounts of the lines are shares of counts with errors. Without k-factors these are no
composition, and the table says so.
"""

# %%
# The same counts three times. The angle is that of the spectrum that is found worst.
import numpy as np
from matplotlib.figure import Figure

import endmember as em

phantom = em.synthetic.edxs_phases(shape=(48, 48), dose=2)
elements = ["O", "Mg", "Al", "Si", "Ca", "Ti", "Fe", "C", "Cu"]
options = {"loss": em.Poisson(), "random_state": 0}
lines = em.XRayLines(elements)
models = {
    "plain": em.NMF(3, **options),
    "zeros tested": em.NMF(3, maps=em.Absent("auto"), **options),
    "lines and zeros": em.NMF(3, maps=em.Absent("auto"), spectra=lines, **options),
}
for name, model in models.items():
    model.fit(phantom.signal)
    order = em.match_components(model.components_, phantom.spectra)
    angle = em.spectral_angle(model.components_[order], phantom.spectra).max()
    print(f"{name:16}{angle:5.1f}°")

# %%
# What each component holds, and how sure that is.
composition = em.assess.composition(models["lines and zeros"], phantom.signal)
print(composition)

# %%
# The first mineral as counted, as plain factorisation has it, and as put together from lines.
figure = Figure(figsize=(9, 4), layout="constrained")
axes = figure.subplots()
truth = phantom.spectra[0] / np.linalg.norm(phantom.spectra[0])
for name, colour in (("plain", "#c9c9c9"), ("lines and zeros", "#5b7db1")):
    model = models[name]
    order = em.match_components(model.components_, phantom.spectra)
    axes.plot(phantom.energy, model.components_[order[0]], colour, label=name)
axes.plot(phantom.energy, truth, "k", linewidth=0.6, label="truth")
axes.set(
    xlabel="energy (keV)",
    ylabel="intensity (unit length)",
    xlim=(0.1, 8),
    yscale="log",
    ylim=(1e-4, 1),
)
axes.legend(frameon=False)
