"""Pure pixels and subspace sampling: what they find, beside the truth.

python benchmarks/geometry.py                 every block
python benchmarks/geometry.py rare --seeds 20
python benchmarks/geometry.py real            needs ENDMEMBER_DATA (UV-vis, Raman) and TensorLy (Indian Pines)
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np

import endmember as em

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
DOSES = (2000, 200, 60, 20, 5, 2)
FOUND = 25.0


def angles(spectra, truth):
    return em.spectral_angle(spectra[em.match_components(spectra, truth)], truth)


def methods(k, seed):
    return {
        "VCA": em.VCA(k, random_state=seed),
        "SPA": em.SPA(k),
        "NFINDR": em.NFINDR(k, random_state=seed),
    }


def pure(seeds):
    """Noise-free mixtures with k pure pixels among 2000, illumination 0.3 to 3, weakest where pure."""
    for k in (3, 5, 8):
        exact, worst = dict.fromkeys(methods(k, 0), 0), dict.fromkeys(methods(k, 0), 0.0)
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            fractions = rng.dirichlet(np.ones(k), 2000)
            pixels = rng.choice(2000, k, replace=False)
            fractions[pixels] = np.eye(k)
            light = rng.uniform(0.4, 3.0, (2000, 1))
            light[pixels] = 0.3
            spectra = rng.random((k, 100))
            for name, model in methods(k, seed).items():
                model.fit(light * fractions @ spectra)
                exact[name] += set(model.pixels_) == set(pixels)
                worst[name] = max(worst[name], angles(model.components_, spectra).max())
        for name, count in exact.items():
            print(f"k = {k}  {name:7} exact in {count} of {seeds}, worst angle {worst[name]:.1e}°")


def rare_phase(seed, noise):
    """Two mixed phases and a third, pure on 5 x 4 of 64 x 64 pixels (0.5 %)."""
    rng = np.random.default_rng(seed)
    maps = rng.dirichlet(np.ones(2), (64, 64)) @ np.eye(2, 3)
    y, x = rng.integers(0, 59, 2)
    maps[y : y + 5, x : x + 4] = [0, 0, 1]
    peaks = [np.exp(-0.5 * ((np.arange(120) - centre) / 9) ** 2) for centre in (30, 55, 80)]
    spectra = np.array(peaks) + 0.3
    return maps @ spectra + rng.normal(0, noise, (64, 64, 120)), spectra


def rare(seeds):
    """A phase on 0.5 % of the image in Gaussian noise: found means its spectrum within 25 degrees."""
    print("noise  segments  found  angle to it: median   worst")
    for noise in (0.35, 0.5, 0.6, 0.7, 0.8, 1.0):
        for segments in (None, 16):
            worst = []
            for seed in range(seeds):
                X, spectra = rare_phase(seed, noise)
                model = em.VCA(3, segments=segments, random_state=seed).fit(X)
                worst.append(em.spectral_angle(model.components_, spectra[2]).min())
            count = np.count_nonzero(np.array(worst) < FOUND)
            print(
                f"{noise:5} {segments!s:>9} {count:3}/{seeds} {np.median(worst):19.1f}° {max(worst):6.1f}°"
            )


def dose(seeds):
    """Films in plan view (no pure pixel, exclusive lines, counts, 48 x 48 pixels): worst angle of the three."""
    models = {
        "VCA": em.VCA(3, random_state=0),
        "SSS, vertices": em.SubspaceSampling(3, random_state=0),
        "vertices, unsharpened": em.SubspaceSampling(3, sharpen=False, random_state=0),
        "SSS, rejection": em.SubspaceSampling(3, sampler="rejection", random_state=0),
        "rejection, unsharpened": em.SubspaceSampling(
            3, sampler="rejection", sharpen=False, random_state=0
        ),
    }
    print(f"{'peak counts':22}" + "".join(f"{dose:>13}" for dose in DOSES))
    for name, model in models.items():
        line = []
        for dose in DOSES:
            worst = []
            for seed in range(seeds):
                phantom = em.synthetic.plan_view(dose=dose, seed=seed)
                found = angles(model.fit(phantom.data).components_, phantom.spectra)
                worst.append(found.max())
            line.append(f"{np.median(worst):6.2f} ({max(worst):4.1f})")
        print(f"{name:22}" + "".join(f"{text:>13}" for text in line), flush=True)
    unique = {True: 0, False: 0}
    for exclusive in unique:
        for seed in range(seeds):
            phantom = em.synthetic.plan_view(exclusive=exclusive, seed=seed)
            unique[exclusive] += em.SubspaceSampling(3, random_state=0).fit(phantom.data).unique_
    print(f"unique_ with exclusive lines: {unique[True]}/{seeds}, without: {unique[False]}/{seeds}")


def maps(seeds):
    """EELS phases whose spectra overlap everywhere (48 x 48 pixels, counts): worst angle of three."""
    print(
        "alone somewhere  peak counts  SSS on maps: median   worst  unique_   VCA: median   worst"
    )
    for pure_somewhere in (True, False):
        for dose in (300, 100, 30, 10):
            sampled, plain, unique = [], [], 0
            for seed in range(seeds):
                phantom = em.synthetic.mixed_phases(
                    (48, 48), channels=256, k=3, dose=dose, pure=pure_somewhere, seed=seed
                )
                sss = em.SubspaceSampling(3, on="maps", random_state=0).fit(phantom.data)
                sampled.append(angles(sss.components_, phantom.spectra).max())
                unique += sss.unique_
                vca = em.VCA(3, random_state=0).fit(phantom.data)
                plain.append(angles(vca.components_, phantom.spectra).max())
            print(
                f"{pure_somewhere!s:15} {dose:12} {np.median(sampled):20.2f}° {max(sampled):6.2f}° "
                f"{unique:4}/{seeds} {np.median(plain):12.2f}° {max(plain):6.2f}°",
                flush=True,
            )


def real(seeds):
    """Real mixtures with known spectra, and Indian Pines."""
    for file, data, truth in (
        ("uvvis_three_component", "D", "S"),
        ("raman_carbohydrates", "D", "S"),
    ):
        place = DATA / "other" / f"{file}.npz"
        if not place.exists():
            print(f"{file}: not here")
            continue
        stored = np.load(place)
        X, spectra = np.asarray(stored[data], float), np.asarray(stored[truth], float).T
        _compare(file, X, spectra)
    try:
        from tensorly.datasets import load_indian_pines
    except ImportError:
        print("Indian Pines: TensorLy is not here")
        return
    _compare("Indian Pines, k = 6", np.asarray(load_indian_pines().tensor, float), None, k=6)


def _compare(title, X, spectra, k=3):
    models = methods(k, 0) | {
        "SSS on spectra": em.SubspaceSampling(k, random_state=0),
        "NMF": em.NMF(k, random_state=0),
        "NMF from VCA": em.NMF(k, init=em.VCA(k, random_state=0)),
    }
    if k < 6:  # corners of a polytope with a bound for every pixel: minutes from six components on
        models["SSS on maps"] = em.SubspaceSampling(k, on="maps", random_state=0)
    for name, model in models.items():
        began = time.perf_counter()
        model.fit(X)
        seconds = time.perf_counter() - began
        misfit = np.linalg.norm(X - model.inverse_transform(model.maps_)) / np.linalg.norm(X)
        said = "" if spectra is None else "angles " + ", ".join(
            f"{angle:.2f}°" for angle in angles(model.components_, spectra)
        )  # fmt: skip
        unique = f"unique_ {model.unique_}" if hasattr(model, "unique_") else ""
        print(f"{title}: {name:15} residual {misfit:.4f}  {seconds:5.2f} s  {said} {unique}")


if __name__ == "__main__":
    blocks = {"pure": pure, "rare": rare, "dose": dose, "maps": maps, "real": real}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("block", nargs="?", choices=blocks)
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, block in blocks.items():
        if arguments.block in (None, name):
            print(f"== {name}: {block.__doc__}")
            block(arguments.seeds)
