"""
Pure spectra without pure pixels
================================

Three films lie on top of each other: no pixel shows one alone. Vertex component analysis takes the most
extreme pixels for pure and is wrong. Every film has lines of its own, though, so the non-negative part of
the signal subspace has the pure spectra as its corners: signal subspace sampling finds them. Below, films
that share their lines: the polygon has other corners, and the answer says that it is not unique.
"""

import warnings

import numpy as np
from matplotlib.figure import Figure

import endmember as em

figure = Figure(figsize=(9, 6), layout="constrained")
rows = figure.subplots(2, 2, width_ratios=[1, 1.6])
for axes, exclusive in zip(rows, (True, False), strict=True):
    phantom = em.synthetic.plan_view((32, 32), dose=100, exclusive=exclusive)
    with warnings.catch_warnings(action="ignore"):  # the films that share lines
        sss = em.SubspaceSampling(3, random_state=0).fit(phantom.data)
    vca = em.VCA(3, random_state=0).fit(phantom.data)

    def on_plane(spectra, corners=sss.components_):
        """Mixing ratios of spectra in terms of the three found, as places in a triangle."""
        ratios = np.linalg.lstsq((corners / corners.sum(1)[:, None]).T, spectra.T, rcond=None)[0]
        return (ratios / ratios.sum(0)).T @ [[0, 0], [1, 0], [0.5, 0.87]]

    left, right = axes
    left.plot(*on_plane(phantom.data.reshape(-1, 1024)).T, ".", color="0.8", ms=2, label="pixels")
    corners = sss.samples_ @ [[0, 0], [1, 0], [0.5, 0.87]]
    around = np.argsort(np.arctan2(*(corners - corners.mean(0)).T))
    left.fill(*corners[around].T, fill=False, edgecolor="0.4", label="allowed (not negative)")
    left.plot(*on_plane(phantom.spectra).T, "k*", ms=11, label="true")
    left.plot(*on_plane(vca.components_).T, "C1s", mfc="none", ms=8, label="VCA")
    left.plot(*on_plane(sss.components_).T, "C0o", mfc="none", ms=12, label="SSS + VCA")
    left.set(xticks=[], yticks=[], aspect="equal", title=f"unique_ = {sss.unique_}")
    left.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    order = em.match_components(sss.components_, phantom.spectra)
    found = sss.components_[order]
    off = em.spectral_angle(found, phantom.spectra)
    plain = em.match_components(vca.components_, phantom.spectra)
    vca_off = em.spectral_angle(vca.components_[plain], phantom.spectra)
    for k, name in enumerate(phantom.names):
        true = phantom.spectra[k] / np.linalg.norm(phantom.spectra[k])
        (line,) = right.plot(phantom.energy, found[k] + 0.5 * k)
        right.plot(phantom.energy, true + 0.5 * k, "k--", linewidth=0.6)
        label = f"{name}: {off[k]:.1f}° off\n(VCA: {vca_off[k]:.1f}°)"
        right.text(2.0, 0.5 * k + 0.05, label, color=line.get_color(), fontsize="small")
    right.set(xlim=(0.1, 2.7), xlabel="Energy (keV)", yticks=[], title="found, and true (dashed)")

if __name__ == "__main__":
    figure.savefig("pure_spectra.png", dpi=120)
    print("pure_spectra.png")
