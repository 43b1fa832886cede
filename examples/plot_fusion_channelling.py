"""
Two sites of manganese from two detectors
=========================================

EELS and X-rays of a spinel under 60 tilts: channelling changes how strongly the tetrahedral (Mn2+) and the
octahedral (Mn3+) site are seen, but never leaves one out, so no detector fixes the answer alone. Two zeros
that a microscopist knows do, one in each detector: no nickel on the tetrahedral site, and nothing before the
onset of Mn3+. Equation (14) brings them together. After Fig. 8 of Muto and Shiga, Microscopy 69 (2020) 110.
"""

import numpy as np
from matplotlib.figure import Figure

import endmember as em

series = em.synthetic.channelling(seed=0)
counts = em.PoissonScaled()


def fused(with_zeros):
    """Fit equation (14); return the weights and the spectra of both detectors."""
    eels = np.stack([np.zeros_like(series.before_onset), series.before_onset])
    edxs = np.stack([series.nickel, np.zeros_like(series.nickel)])
    C, N = em.Factor(2), em.Factor(2, [em.Free(), em.Ridge(0.003)])
    S1, S2 = em.Factor(2, em.Absent(eels & with_zeros)), em.Factor(2, em.Absent(edxs & with_zeros))
    terms = [
        em.Term(series.eels, C + N, S1, loss=counts),
        em.Term(series.edxs, C, S2, loss=counts),
    ]
    fit = em.Fusion(terms, random_state=0, n_starts=2, tol=3e-6, max_iter=1000).fit()
    order = em.match_components(fit[S2].T, series.edxs_spectra)
    return fit[C][:, order], fit[S1].T[order], fit[S2].T[order]


def unit(spectra):
    return spectra / np.linalg.norm(spectra, axis=-1, keepdims=True)


def share(maps, spectra):
    """The share of the Mn-K counts of the tetrahedral site at every tilt."""
    carried = maps * spectra[:, series.manganese].sum(axis=1)
    return carried[:, 0] / carried.sum(axis=1)


figure = Figure(figsize=(10, 5), layout="constrained")
rows = figure.subplots(2, 3, width_ratios=[1, 1, 0.8])
for row, (name, zeros) in zip(
    rows, {"without zeros": False, "two zeros": True}.items(), strict=True
):
    maps, *spectra = fused(zeros)
    truths = series.eels_spectra, series.edxs_spectra
    energies = series.eels_energy, series.edxs_energy
    for axes, found, true, energy in zip(row, spectra, truths, energies, strict=False):
        angles = em.spectral_angle(found, true)
        for k, site in enumerate(("Mn2+, tetrahedral", "Mn3+, octahedral")):
            label = f"{site}: {angles[k]:.1f}° off"
            (line,) = axes.plot(energy, unit(found)[k] + 0.35 * k, label=label)
            axes.plot(energy, unit(true)[k] + 0.35 * k, "k--", linewidth=0.7)
        axes.set(yticks=[], ylabel=name)
        axes.legend(fontsize="small", frameon=False)
    row[2].plot(series.tilt, share(maps, spectra[1]), label="found")
    row[2].plot(series.tilt, share(series.edxs_weights, series.edxs_spectra), "k--", label="true")
    row[2].set(ylim=(0, 1), ylabel="tetrahedral share of Mn-K")
    row[2].legend(fontsize="small", frameon=False)
rows[0, 0].set_title("EELS (true: dashed)")
rows[0, 1].set_title("X-rays")
rows[0, 1].set_xlim(0, 9)
rows[1, 1].set_xlim(0, 9)
rows[1, 0].set_xlabel("Energy loss (eV)")
rows[1, 1].set_xlabel("Energy (keV)")
rows[1, 2].set_xlabel("Tilt (Bragg angles)")

if __name__ == "__main__":
    figure.savefig("fusion_channelling.png", dpi=120)
    print("fusion_channelling.png")
