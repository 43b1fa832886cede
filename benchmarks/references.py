"""Time of fitting references, beside SciPy's nnls and HyperSpy's multifit; coverage of errors; real files.

python benchmarks/references.py                      every block
python benchmarks/references.py speed --pixels 1000000
ENDMEMBER_DATA=FOLDER python benchmarks/references.py files
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

import endmember as em
from endmember.signals.cropping import crop_energy

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
CHANNELS = np.arange(200)
PEAKS = ((40, 12), (70, 20), (110, 15), (150, 25))
R = np.array([np.exp(-0.5 * ((CHANNELS - c) / w) ** 2) + 0.1 for c, w in PEAKS])
LOSSES = {
    "least squares, non-negative": {},
    "least squares, free": {"non_negative": False},
    "weighted by counts": {"loss": em.PoissonScaled()},
    "Poisson likelihood": {"loss": em.Poisson()},
}


def counts(pixels, seed=0, dose=30.0):
    rng = np.random.default_rng(seed)
    amounts = rng.random((pixels, 4)) * (rng.random((pixels, 4)) > 0.3) * dose
    return amounts, rng.poisson(amounts @ R).astype(np.float32)


def speed(pixels):
    """Seconds for all pixels, 200 channels, 4 references; loops are timed on a few pixels."""
    _, X = counts(pixels)
    each = {}
    for name, options in LOSSES.items():
        start = time.perf_counter()
        em.MLLS(R, **options).fit(X)
        each[f"em.MLLS, {name}"] = (time.perf_counter() - start) / pixels
    few = X[:2000].astype(float)
    start = time.perf_counter()
    for x in few:
        nnls(R.T, x)
    each["SciPy nnls, pixel by pixel"] = (time.perf_counter() - start) / len(few)
    each["HyperSpy multifit (lstsq, free)"] = multifit(few[:400])
    own = each["em.MLLS, least squares, non-negative"]
    print(f"{'':48} us a pixel   for {pixels} pixels   ratio")
    for name, seconds in each.items():
        print(f"{name:48} {1e6 * seconds:10.2f} {pixels * seconds:15.1f} s {seconds / own:9.1f}")


def multifit(X):
    """Seconds a pixel of HyperSpy's own fit of the references, one component each."""
    import hyperspy.api as hs

    signal = hs.signals.Signal1D(X)
    model = signal.create_model()
    for number, values in enumerate(R):
        part = hs.model.components1D.ScalableFixedPattern(hs.signals.Signal1D(values))
        part.name = f"reference {number + 1}"
        part.shift.free = part.xscale.free = False
        model.append(part)
    start = time.perf_counter()
    model.multifit(optimizer="lstsq", show_progressbar=False)
    return (time.perf_counter() - start) / len(X)


def coverage(pixels):
    """Share of true amounts (3 errors above zero) within one standard error; 0.683 is right."""
    for dose in (3.0, 30.0, 300.0):
        amounts, X = counts(2000, dose=dose)
        gauss = amounts @ R + np.random.default_rng(1).normal(0, dose / 10, X.shape)
        for noise, data in (("Poisson", X), ("Gauss", gauss)):
            for name, options in LOSSES.items():
                if noise == "Gauss" and "loss" in options:
                    continue
                model = em.MLLS(R, **options).fit(data)
                sure = amounts > 3 * model.maps_error_
                within = (np.abs(model.maps_ - amounts) < model.maps_error_)[sure].mean()
                chi2 = np.nanmean(model.chi2_)
                print(
                    f"dose {dose:5g} {noise:8} {name:28} {within:.3f} of {sure.sum()}, chi2 {chi2:.3f}"
                )


def files(pixels):
    """Angle of data and fit, unexplained share and shifts on real images with references of their own."""
    drawn = {}
    for name, (image, model) in real().items():
        fitted = model.fit(image)
        data = np.asarray(image.data, dtype=float)
        rest = data - fitted.inverse_transform(fitted.maps_)
        angle = em.spectral_angle(data.mean(axis=(0, 1)), (data - rest).mean(axis=(0, 1)))
        print(
            f"{name}: mean spectra {angle:.2f}° apart, residual {np.sum(rest**2) / np.sum(data**2):.2e} of the power, "
            f"reduced chi-square {np.nanmedian(fitted.chi2_):.2f}, condition {fitted.condition_:.1f}"
        )
        if name.endswith("extra"):
            drawn[name] = fitted
        for j, reference in enumerate(fitted.names_):
            mean, error = fitted.maps_[..., j].mean(), np.nanmedian(fitted.maps_error_[..., j])
            shift = f"{fitted.shifts_[j]:+.2f} eV" if j < len(fitted.shifts_) else ""
            print(f"  {reference:22} {mean:10.4g} ± {error:<10.3g} {shift}")

    draw(drawn)


def draw(fits):
    """Save the maps of the fits with an extra component in references_files.png."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for (name, model), part in zip(fits.items(), figure.subfigures(2, 1), strict=True):
        shown = [j for j, title in enumerate(model.names_) if not title.startswith("background")]
        pictures = [(model.names_[j], model.maps_[..., j], None) for j in shown]
        pictures.append(("reduced chi-square", model.chi2_, (0, 2)))
        for axes, (title, values, limits) in zip(
            part.subplots(1, len(pictures)), pictures, strict=True
        ):
            picture = axes.imshow(values, aspect="auto", clim=limits)
            axes.set(xticks=[], yticks=[])
            axes.set_title(title.replace("NMC_", "").replace("_", " "), fontsize="small")
            part.colorbar(picture, ax=axes, location="bottom", shrink=0.9).ax.tick_params(
                labelsize=6
            )
        part.suptitle(name.split(",")[0], fontsize="medium", x=0.01, ha="left")
    figure.savefig("references_files.png", dpi=120)
    print("Picture: references_files.png")


def real():
    import hyperspy.api as hs

    with np.load(DATA / "other/stxm_iron_FeL.npz") as file:
        density = -np.log(file["I"] / file["i0"][:, 1])
        energy = file["energy_eV"]
        references = [
            hs.signals.BaseSignal(
                file[f"{name}_t"][:, 1], axes=[{"axis": energy, "units": "eV", "navigate": False}],
                metadata={"General": {"title": name}},
            )
            for name in ("reduced", "oxidized")
        ]  # fmt: skip
    axes = [{"size": size, "navigate": True} for size in density.shape[:2]]
    iron = hs.signals.BaseSignal(
        density, axes=[*axes, {"axis": energy, "units": "eV", "navigate": False}]
    )
    nmc = crop_energy(em.load(DATA / "eels/NMC_TM_O.dm3"), 470.0, 1000.0)
    edges = [DATA / f"reference/NMC_{name}_edge.msa" for name in ("oxygen", "Mn", "Co", "Ni")]
    images = {
        "Fe L of plume particles": (iron, {"references": references, "background": "constant"}),
        "NMC cathode": (nmc, {"references": edges, "background": "power_law"}),
    }
    return {
        f"{name}{said}": (image, em.MLLS(**options, shift=shift, extra=extra))
        for name, (image, options) in images.items()
        for said, shift, extra in ((", fixed", 0.0, 0), (", shift", 1.0, 0), (", shift and extra", 1.0, 1))
    }  # fmt: skip


if __name__ == "__main__":
    blocks = {"speed": speed, "coverage": coverage, "files": files}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("block", nargs="?", choices=blocks)
    parser.add_argument("--pixels", type=int, default=100_000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("hyperspy").setLevel(logging.ERROR)
    for name, block in blocks.items():
        if arguments.block in (None, name):
            print(f"== {name}: {block.__doc__}")
            block(arguments.pixels)
