"""
What two detectors see alike
============================

EELS and EDXS counts of the same three phases, by CCA and PLS. Canonical correlation finds the maps that both
share, in whatever mixture, and says which of them could be chance: where the pixels of one signal are
shuffled nothing is left. Partial least squares predicts the strong from the noisy signal. Neither gives pure
phases: both have signs, and a factorisation must follow.
"""

import numpy as np
from matplotlib.figure import Figure

import endmember as em

phantom = em.synthetic.mixed_phases(shape=(40, 40), channels=256, k=3, dose=100, seed=2)
rng = np.random.default_rng(0)
channels = np.arange(300)
lines = np.exp(-0.5 * ((channels - np.array([[60], [140], [230]])) / 4) ** 2) + 0.02
clean = phantom.maps / phantom.maps.max() @ lines
edxs = rng.poisson(2 * clean)
shuffled = rng.permutation(edxs.reshape(-1, 300)).reshape(edxs.shape)
cca, chance = (em.CCA(4).fit(phantom.data, other) for other in (edxs, shuffled))
pls = em.PLS(3).fit(phantom.data, edxs)

figure = Figure(figsize=(9, 4.6), layout="constrained")
axes = figure.subplots(2, 4)
for k in range(3):
    axes[0, k].imshow(cca.maps_[..., k])
    axes[0, k].set_title(
        f"CCA {k + 1}: r = {cca.correlations_[k]:.2f}, p = {cca.p_values_[k]:.1g}",
        fontsize="small",
    )
numbers = np.arange(1, 5)
axes[0, 3].plot(numbers, cca.correlations_, "o-", label="same area")
axes[0, 3].plot(numbers, chance.correlations_, "s--", label="shuffled")
axes[0, 3].set(ylim=(0, 1.02), xticks=numbers, xlabel="pair", ylabel="correlation")
axes[0, 3].legend(frameon=False, fontsize="small", loc="upper right")
line = slice(220, 241)
pictures = {
    "EDXS counts in a line": edxs[..., line].sum(axis=-1),
    "predicted from EELS (PLS)": pls.predict(phantom.data)[..., line].sum(axis=-1),
    "expected": 2 * clean[..., line].sum(axis=-1),
}
for one, (title, picture) in zip(axes[1], pictures.items(), strict=False):
    one.imshow(picture, vmin=0, vmax=2 * clean[..., line].sum(axis=-1).max())
    off = np.sqrt(np.mean((picture - pictures["expected"]) ** 2))
    one.set_title(f"{title}\nrms error {off:.2f}", fontsize="small")
for one in [*axes[0, :3], *axes[1, :3]]:
    one.set(xticks=[], yticks=[])
for k in range(3):
    axes[1, 3].plot(phantom.energy, cca.components_[k] / np.abs(cca.components_[k]).max() + 2 * k)
axes[1, 3].set(yticks=[], xlabel="Energy loss (eV)")
axes[1, 3].set_title("EELS spectra of the pairs", fontsize="small")

if __name__ == "__main__":
    figure.savefig("two_signals.png", dpi=120)
    print("two_signals.png")
    print("p of the first shuffled pair", f"{chance.p_values_[0]:.2f}")
