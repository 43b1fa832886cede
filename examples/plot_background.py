"""
Pre-edge background: to be or not to be
=======================================

Two oxides and a resin share an O-K edge on a background that is brighter than the edge. Subtract it before the
factorisation, after it, or keep it as a component with its own map? What to look for: the foot of the net
edges (a step before the onset is background that leaked in), and the resin, which is nearly all background. After
"Pre-edge background in ELNES: to be or not to be" of Muto and Shiga, Microscopy 69 (2020) 110.
"""

import warnings

import numpy as np
from matplotlib.figure import Figure

import endmember as em

warnings.filterwarnings("ignore", message=".*of the values are negative")
phantom = em.synthetic.oxygen_edge(shape=(32, 32), channels=128, dose=500, seed=1)
energy, data = phantom.energy, phantom.data
before, edge = (492, 522), 524
start = int(np.searchsorted(energy, edge))
truth = phantom.spectra - phantom.background
options = {"n_starts": 3, "random_state": 0, "tol": 1e-6}


def net(spectra):
    return em.preprocess.subtract_background(spectra, before, energy=energy)


# 1. Subtract, then unmix: negative residuals stay in the data, but no component can follow them.
subtracted = em.NMF(3, **options).fit(net(data))

# 2. Unmix, then subtract from the components, whose noise is small by then.
whole = em.NMF(3, **options).fit(data)

# 3. One component is a sum of power laws and has its own map; the others are zero before the edge.
absent = np.zeros((4, energy.size), dtype=bool)
absent[1:, :start] = True
own = em.NMF(
    4, solver=em.HALS(), spectra=[em.PowerLaws(energy, columns=[0]), em.Absent(absent)], **options
).fit(data)

# 4. As 1, and maps that exclude each other a little.
pushed = em.NMF(3, maps=em.SoftOrthogonal(0.05), **{**options, "tol": 1e-5}).fit(net(data))

routes = {
    "subtracted before": (subtracted.components_, subtracted.maps_),
    "subtracted after": (net(whole.components_), whole.maps_),
    "a component of its own": (own.components_[1:], own.maps_[..., 1:]),
    "subtracted before,\nsoft orthogonality": (pushed.components_, pushed.maps_),
}
figure = Figure(figsize=(9, 8), layout="constrained")
rows = figure.subplots(len(routes), 4, width_ratios=[1, 1, 1, 2.6])
for axes, (name, (spectra, maps)) in zip(rows, routes.items(), strict=True):
    order = em.match_components(spectra, truth)
    angles = em.spectral_angle(spectra[order], truth)
    for k, j in enumerate(order):
        axes[k].imshow(maps[..., j], vmin=0)
        axes[k].set(xticks=[], yticks=[])
        found, true = (s / np.linalg.norm(s) for s in (spectra[j], truth[k]))
        label = f"{phantom.names[k]}, {angles[k]:.1f}° off"
        (line,) = axes[3].plot(energy, found - 0.15 * k, label=label)
        axes[3].plot(energy, true - 0.15 * k, "--", color=line.get_color(), linewidth=0.8)
    axes[0].set_ylabel(name)
    axes[3].axvline(edge, color="0.8", linewidth=0.8, zorder=0)
    axes[3].set_yticks([])
    axes[3].legend(fontsize="x-small", frameon=False, loc="upper left")
for axis, name in zip(rows[0], [*phantom.names, "net edges found, and true (dashed)"], strict=True):
    axis.set_title(name, fontsize="medium")
rows[-1][3].set_xlabel("Energy loss (eV)")

if __name__ == "__main__":
    figure.savefig("background.png", dpi=110)
    print("background.png")
