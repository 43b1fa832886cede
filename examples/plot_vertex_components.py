"""
Where are the pure pixels?
==========================

A detector of two channels and a specimen of two phases: every pixel is a point in a plane, a mixture of the two pure
spectra whose length is its thickness. Seen from the origin (projected onto the line on which both channels sum to
one) the pure spectra are the outermost points; vertex component analysis looks for them. With three phases and
128 channels the same holds in the plane of the signal, where the pure pixels are the corners of a triangle. What
to look for: noise puts pixels outside of the true corners, and the most extreme of them is taken. After Fig. 6 of
Muto and Shiga, Microscopy 69 (2020) 110.
"""

import numpy as np
from matplotlib.figure import Figure

import endmember as em

rng = np.random.default_rng(0)
pure = np.array([[0.9, 0.25], [0.3, 0.8]])
share = rng.beta(0.6, 0.6, 150)
thickness = rng.uniform(0.4, 1.1, 150)
pixels = thickness[:, None] * (share[:, None] * pure[0] + (1 - share)[:, None] * pure[1])
pixels = np.maximum(pixels + rng.normal(0, 0.008, pixels.shape), 0)
vca = em.VCA(2, random_state=0).fit(pixels)

figure = Figure(figsize=(10, 4.4), layout="constrained")
left, right = figure.subplots(1, 2)
left.plot([0, 1], [1, 0], color="0.6", linewidth=0.8, label="channels sum to one")
left.plot(*pixels.T, ".", color="0.6", markersize=4, label="pixels")
left.plot(
    *(pixels / pixels.sum(axis=1, keepdims=True)).T, "|", color="C2", label="seen from the origin"
)
for found in vca.components_ / vca.components_.sum(axis=1, keepdims=True):
    left.plot(*np.stack([[0, 0], 1.5 * found]).T, color="C1", linewidth=0.8, zorder=0)
    left.plot(*found, "C1s", fillstyle="none", markersize=9)
left.plot(*(pure / pure.sum(axis=1, keepdims=True)).T, "k*", markersize=8, label="true")
left.plot([], [], "C1s-", fillstyle="none", label="VCA")
left.set(xlim=(0, 1.15), ylim=(0, 1.05), xlabel="channel 1", ylabel="channel 2", aspect="equal")
left.set_title("two channels, two phases", fontsize="medium")
left.legend(fontsize="small", frameon=False, loc="upper right")

phantom = em.synthetic.mixed_phases((40, 40), 128, k=3, dose=300, seed=0)
model = em.VCA(3, random_state=0).fit(phantom.data)
order = em.match_components(model.components_, phantom.spectra)
off = em.spectral_angle(model.components_[order], phantom.spectra)
corners = np.array([[0, 0], [1, 0], [0.5, 0.87]])


def place(spectra):
    """Spectra by their shares of the three true ones, as places in a triangle with these at its corners."""
    shares = np.linalg.lstsq(phantom.spectra.T, np.asarray(spectra, float).T, rcond=None)[0]
    return (shares / shares.sum(axis=0)).T @ corners


right.plot(*place(phantom.data.reshape(-1, 128)).T, ".", color="0.6", markersize=2)
right.fill(*corners.T, fill=False, edgecolor="0.4", linewidth=0.8)
right.plot(*corners.T, "k*", markersize=10)
right.plot(*place(model.components_).T, "C1s", fillstyle="none", markersize=9)
for corner, name, angle in zip(corners, phantom.names, off, strict=True):
    beside = (16, 4) if corner[1] else (-12, -42)
    right.annotate(f"{name}\n{angle:.1f}° off", corner, xytext=beside, textcoords="offset points")
right.set(xticks=[], yticks=[], aspect="equal", xlim=(-0.25, 1.35), ylim=(-0.3, 1.05))
right.set_title("128 channels, three phases, in the plane of the signal", fontsize="medium")

if __name__ == "__main__":
    figure.savefig("vertex_components.png", dpi=120)
    print("vertex_components.png", model.pixels_)
