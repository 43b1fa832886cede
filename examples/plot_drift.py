"""
Three oxides that share an edge, on an energy axis that drifts
==============================================================

Oxides of vanadium, chromium and nickel with a diffuse interface: each has a power-law background, the L edges
of its metal and the O-K edge, which differs by little. 250 counts a spectrum, and an axis that drifts by 1.2
channels while the scan runs. The pieces are put together one by one, and the angles to the true spectra printed.
"""

import numpy as np
from matplotlib.figure import Figure

import endmember as em

SHAPE, CHANNELS, COUNTS, DRIFT = (48, 60), 240, 250, 1.2
energy = 480 + 420 / CHANNELS * np.arange(CHANNELS)
oxides = {  # L3, its height, O-K peaks as (energy, height), exponent of the background
    "V2O3": (518.0, 1.0, [(532.5, 0.5), (541.0, 0.4)], 2.7),
    "Cr2O3": (577.0, 0.9, [(533.5, 0.4), (541.5, 0.5)], 3.1),
    "NiO": (855.0, 0.8, [(532.0, 0.3), (540.0, 0.6)], 3.4),
}


def spectrum(E, L3, height, oxygen, exponent):
    """A background with two L edges and the O-K edge: steps with peaks on them."""
    peaks = [(L3, height, 2.5), (L3 + 0.018 * L3, 0.5 * height, 3.0)]
    peaks += [(place, high, 3.0) for place, high in oxygen]
    steps = 0.25 / (1 + np.exp(-(E - L3 + 3) / 1.5)) + 0.15 / (1 + np.exp(-(E - 530) / 1.5))
    lines = sum(high * np.exp(-0.5 * ((E - place) / width) ** 2) for place, high, width in peaks)
    return 1.2 * (E / 480) ** -exponent + steps * (E / 600) ** -2.5 + lines


def scene(seed, counts=COUNTS):
    """Data (ny, nx, channels) of so many counts a spectrum, the true spectra, and the true shifts in channels."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(SHAPE) / np.array(SHAPE)[:, None, None]
    edge = 0.45 + 0.1 * np.sin(5 * y + rng.uniform(0, 6))
    first, last = (1 / (1 + np.exp((x - edge + d) / 0.04)) for d in (0.18, -0.18))
    maps = np.stack([first, last - first, 1 - last], axis=-1)
    run = np.linspace(0, 1, x.size)
    shifts = np.sin(2 * np.pi * run + rng.uniform(0, 6)) + run
    shifts = ((shifts - shifts.mean()) * DRIFT / np.ptp(shifts)).reshape(SHAPE)
    moved = energy - (energy[1] - energy[0]) * shifts[..., None]
    parts = zip(np.moveaxis(maps, -1, 0), oxides.values(), strict=True)
    clean = sum(map_[..., None] * spectrum(moved, *oxide) for map_, oxide in parts)
    truth = np.stack([spectrum(energy, *oxide) for oxide in oxides.values()])
    return rng.poisson(clean * counts / clean.sum(axis=-1).mean()), truth, shifts


ordinary = {"n_starts": 1, "max_iter": 200, "tol": 1e-5, "random_state": 0}
scaled = {"loss": em.PoissonScaled(), **ordinary}
tight = {"spectra": em.MinimumVolume(0.03), "maps": em.SumToOne(mode="scale"), **scaled}
models = {
    "plain NMF": em.NMF(3, **ordinary),
    "scaled loss": em.NMF(3, **scaled),
    "scaled loss, drift": em.Drifting(em.NMF(3, **scaled)),
    "scaled loss, minimum volume and closure": em.NMF(3, **tight),
    "the same with drift": em.Drifting(em.NMF(3, **tight)),
}

counts, truth, shifts = scene(seed=4)
plain, model = (models[name].fit(counts) for name in ("plain NMF", "the same with drift"))

figure = Figure(figsize=(10, 5.2), layout="constrained")
above, below = figure.subplots(2, 3)
for j, (axes, name) in enumerate(zip(above, oxides, strict=True)):
    lines = [("truth", truth[j])]
    for label, fitted in (("plain NMF", plain), ("all pieces", model)):
        lines.append((label, fitted.components_[em.match_components(fitted.components_, truth)[j]]))
    for label, line in lines:
        axes.plot(energy, line / np.linalg.norm(line), linewidth=0.9, label=label)
    axes.set(title=name, xlabel="energy loss (eV)", yticks=[])
above[0].legend(frameon=False)
fields = {"true shifts": shifts, "found": model.shifts_, "error": model.shifts_ - shifts}
for axes, (title, field) in zip(below, fields.items(), strict=True):
    image = axes.imshow(field, cmap="RdBu_r", vmin=-DRIFT, vmax=DRIFT)
    axes.set(title=f"{title}: {np.std(field):.2f} channels rms", xticks=[], yticks=[])
figure.colorbar(image, ax=below, label="channels")

if __name__ == "__main__":
    for name, model in models.items():
        found = []
        for counts, truth, _ in map(scene, range(5)):
            order = em.match_components(model.fit(counts).components_, truth)
            found.append(em.spectral_angle(model.components_[order], truth).mean())
        print(f"{name:42} {np.mean(found):5.2f}°   seeds:", *(f"{value:.1f}" for value in found))
    figure.savefig("drift.png", dpi=120)
