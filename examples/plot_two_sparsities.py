"""
Two kinds of sparse: few entries, or few columns
================================================

"Sparse" can mean two things for the maps. Few entries: every component may exist, but in few pixels
(`em.Sparse`). Few columns: a component exists or it does not, and those that exist may fill the image
(`em.Relevance`). Only the second says how many components there are. The maps as a matrix, one row a pixel and
one column a component, show the difference; on the left the truth, three layers. After Fig. 4 of Muto and Shiga,
Microscopy 69 (2020) 110.
"""

import numpy as np
from matplotlib.figure import Figure

import endmember as em

phantom = em.synthetic.diode(shape=(24, 24), channels=80, noise=0.05, seed=0)
models = {
    "non-negative only": em.NMF(8, n_starts=2, random_state=0),
    "(i) few entries: Sparse(0.1)": em.NMF(8, maps=em.Sparse(0.1), n_starts=2, random_state=0),
    "(ii) few columns: Relevance()": em.NMF(8, maps=em.Relevance(), n_starts=2, random_state=0),
}

# Pixels in the order of the layer they belong to, so that the matrices can be read.
pixels = np.argsort(phantom.maps.reshape(-1, 3).argmax(axis=1), kind="stable")
figure = Figure(figsize=(10, 3.8), layout="constrained")
panels = figure.subplots(1, 4, sharey=True)


def draw(axes, name, maps, spectra):
    """Draw maps as a matrix, the strongest column first; what is below 1 % of the maximum stays white."""
    strength = maps.reshape(len(pixels), -1) * np.linalg.norm(spectra, axis=1)
    matrix = np.zeros((len(pixels), 8))
    order = np.argsort(-strength.sum(axis=0))
    matrix[:, : len(order)] = strength[pixels][:, order]
    matrix[matrix <= 0.01 * matrix.max()] = np.nan
    filled = np.isfinite(matrix)
    axes.imshow(matrix, aspect="auto", interpolation="nearest", vmin=0)
    said = f"{name}\n{filled.mean():.0%} of entries, {filled.any(axis=0).sum()} columns"
    axes.set_title(said, fontsize="medium")
    axes.set(xlabel="component", xticks=range(8), xticklabels=range(1, 9), yticks=[])


draw(panels[0], "truth", phantom.maps, phantom.spectra)
for axes, (name, model) in zip(panels[1:], models.items(), strict=True):
    model.fit(phantom.data)
    draw(axes, name, model.maps_, model.components_)
panels[0].set_ylabel("pixels, layer by layer")

if __name__ == "__main__":
    figure.savefig("two_sparsities.png", dpi=120)
    print("two_sparsities.png")
