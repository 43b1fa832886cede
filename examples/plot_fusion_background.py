"""
Background inside the model, and the resin that it uncovers
===========================================================

The O-K edge of a battery cathode lies on a background that is brighter than it is. Subtracting it first leaves
noise and bias that become part of the components. Equation (15) keeps the background in the model: smooth,
falling spectra N beside every edge. A single term with maps of the background of its own uses every channel
once. After Fig. 9 of Muto and Shiga, Microscopy 69 (2020) 110.
"""

import numpy as np
from matplotlib.figure import Figure

import endmember as em

phantom = em.synthetic.oxygen_edge(shape=(24, 24), channels=96, seed=0)
energy, data = phantom.energy, phantom.data.astype(float)
edges = phantom.spectra - phantom.background
start = int(np.argmax(energy >= 525))
little_volume = em.MinimumVolume(
    0.001
)  # of the many answers that fit, the tightest around the data

design = np.stack([np.ones(start), np.log(energy[:start])])
law = np.log(np.maximum(data[..., :start], 1)) @ np.linalg.pinv(design)
net = data - np.exp(law[..., :1] + law[..., 1:] * np.log(energy))


def equation_15():
    C, S = em.Factor(3), em.Factor(3, little_volume)
    N = em.Factor(3, em.PowerLaws(energy))
    terms = [em.Term(data, C, S + N, weight=1), em.Term(net, C, S, weight=1)]
    fit = em.Fusion(terms, random_state=0, n_starts=2, tol=1e-4, max_iter=2000).fit()
    return fit[S].T


def single_term():
    laws = np.stack([(energy / energy[0]) ** -r for r in (2.0, 3.0, 4.0)], axis=1)
    known = np.full((energy.size, 6), np.nan)
    known[:, 3:] = laws / np.linalg.norm(laws, axis=0)
    known[:start, :3] = 0
    C, S = em.Factor(6), em.Factor(6, little_volume, fixed=known)
    term = em.Term(phantom.data, C, S, loss=em.PoissonScaled())
    return em.Fusion([term], random_state=0, n_starts=2).fit()[S].T[:3]


routes = {
    "subtract, then NMF": em.NMF(3, random_state=0, n_starts=2).fit(np.maximum(net, 0)).components_,
    "equation (15)": equation_15(),
    "single term": single_term(),
}
figure = Figure(figsize=(10, 4), layout="constrained")
for axes, (name, spectra) in zip(figure.subplots(1, 3, sharey=True), routes.items(), strict=True):
    spectra = spectra[em.match_components(spectra, edges)]
    angles = em.spectral_angle(spectra, edges)
    for k, phase in enumerate(("pristine", "degraded", "resin")):
        shift, size = 1.1 * (2 - k), spectra[k].max()
        axes.plot(energy, spectra[k] / size + shift, label=f"{phase}: {angles[k]:.1f}° off")
        axes.plot(energy, edges[k] / edges[k].max() + shift, "k--", linewidth=0.7)
        axes.axhline(shift, color="0.8", linewidth=0.5, zorder=0)
    axes.set(title=name, xlabel="Energy loss (eV)", yticks=[])
    axes.legend(fontsize="small", frameon=False, loc="upper left")

if __name__ == "__main__":
    figure.savefig("fusion_background.png", dpi=120)
    print("fusion_background.png")
