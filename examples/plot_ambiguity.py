"""
Would another answer fit as well?
=================================

Three oxides whose spectra overlap in nearly every channel, without noise. With non-negativity alone whole bands of
spectra fit equally well, although the fit is exact and each phase is alone in some pixels: a little of one spectrum
can be taken out of another. Knowing where each phase is absent takes the choice away; more counts would not.
"""

from matplotlib.figure import Figure

import endmember as em

phantom = em.synthetic.mixed_phases((24, 24), 128, k=3, dose=1000, seed=1)
absent = phantom.maps < 0.01 * phantom.maps.max()
clean = phantom.maps * ~absent @ phantom.spectra
models = {
    "nothing known": em.NMF(3, n_starts=3, random_state=0),
    "absent in places": em.NMF(3, maps=em.Absent(absent), n_starts=3, tol=1e-9, random_state=0),
}

figure = Figure(figsize=(9, 4.8), layout="constrained")
rows = figure.subplots(2, 3, sharex=True, sharey=True)
for axes, (name, model) in zip(rows, models.items(), strict=True):
    bands = em.assess.ambiguity(model.fit(clean), clean)
    order = em.match_components(model.components_, phantom.spectra)
    for k, j in enumerate(order):
        true = phantom.spectra[k] / phantom.spectra[k].sum()
        low, high = bands.spectra_low[j], bands.spectra_high[j]
        axes[k].fill_between(phantom.energy, low, high, color="C1", alpha=0.5, label="fits as well")
        axes[k].plot(phantom.energy, bands.spectra[j], label="found")
        axes[k].plot(phantom.energy, true, "k--", linewidth=0.9, label="true")
        axes[k].set(title=f"{phantom.names[k]}: up to {bands.angle[j]:.1f}° away", yticks=[])
    axes[0].set_ylabel(name)
rows[0, 0].legend(fontsize="small", frameon=False)
for axis in rows[1]:
    axis.set_xlabel("Energy loss (eV)")

if __name__ == "__main__":
    figure.savefig("ambiguity.png", dpi=110)
    print("ambiguity.png")
