"""Spectra from few counts, per cent and their errors: known lines against known truths, and against real files.

python benchmarks/composition.py --seeds 20      prints the tables
python benchmarks/composition.py --write         also writes docs/composition_measured.md
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np

import endmember as em
from endmember.factor.data.axis import Axis

PAGE = Path(__file__).parents[1] / "docs" / "composition_measured.md"
ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Ti", "Fe", "Cu", "C"]
FILES = ("two_phase_50x50.bcf", "mineral_71GPa.hspy", "FePt_bare_core.hspy", "chevkinite.bcf")
HEAD = """# From counts to per cent: what was measured

Written by `benchmarks/composition.py`. [The guide](composition.md) says how to do it.
"""


def worst(model, phantom) -> float:
    order = em.match_components(model.components_, phantom.spectra)
    return float(np.max(em.spectral_angle(model.components_[order], phantom.spectra)))


def few_counts(seeds: int) -> list[str]:
    """Return the worst spectrum of three minerals, in degrees, at several doses."""
    lines = [
        "\n## The worst spectrum at few counts\n",
        "Three minerals, `em.synthetic.edxs_phases`, 64 × 64 pixels, at convergence: median and largest angle of the "
        "spectrum found worst, in degrees. The phantom has other line ratios and absorption than the columns. Floor: "
        "lines with the true maps given.\n",
        "| counts in the brightest voxel (seeds) | neither | zeros tested | lines known | both | floor | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for dose, fewer in ((2, 1), (5, 4), (20, 6)):  # more counts vary less from seed to seed
        found: dict[str, list[float]] = {
            name: [] for name in ("neither", "zeros", "lines", "both", "floor")
        }
        spent = {"neither": 0.0, "both": 0.0}
        for seed in range(seeds // fewer):
            phantom = em.synthetic.edxs_phases(dose=dose, seed=seed)
            known = em.XRayLines(ELEMENTS, energy=phantom.energy)
            tested = em.Absent("auto")
            for name, maps, spectra in (
                ("neither", None, None), ("zeros", tested, None), ("lines", None, known), ("both", tested, known),
            ):  # fmt: skip
                begun = time.process_time()
                model = em.NMF(3, loss=em.Poisson(), maps=maps, spectra=spectra, random_state=0)
                found[name].append(worst(model.fit(phantom.data), phantom))
                if name in spent:
                    spent[name] += (time.process_time() - begun) / (seeds // fewer)
            given = em.NMF(
                3, loss=em.Poisson(), maps=em.Known(dict(enumerate(np.moveaxis(phantom.maps, -1, 0)))),
                spectra=known, random_state=0, n_starts=1,
            )  # fmt: skip
            found["floor"].append(worst(given.fit(phantom.data), phantom))
        cells = " | ".join(f"{np.median(one):.1f}, {np.max(one):.1f}" for one in found.values())
        seconds = f"{spent['neither']:.1f} (neither), {spent['both']:.1f} (both)"
        lines.append(f"| {dose} ({seeds // fewer}) | {cells} | {seconds} |")
        print(lines[-1], flush=True)
    return lines


def coverage(draws: int) -> list[str]:
    """Return how often counting errors of the shares of main lines hold the truth."""
    energy = np.arange(0.1, 10.34, 0.02)
    elements = ["O", "Mg", "Si", "Ca", "Fe", "Cu"]
    columns, names = em.XRayLines(elements, energy=energy).columns_on(Axis(energy, "keV"))
    amounts = np.array(
        [[1, 0.6, 0.8, 0, 0.3, 0.1], [0.8, 0.1, 0.2, 0.9, 0, 0.1], [0.3, 0, 0.1, 0.2, 1.2, 0.15]]
    )
    shapes = columns / columns.sum(axis=1, keepdims=True)
    lines = [names.index(f"{one}_K") for one in elements]
    spectra = amounts @ shapes[lines] + 0.6 * shapes[names.index("continuum 5")]
    truth = amounts / columns[lines].sum(axis=1)
    truth = 100 * truth / truth.sum(axis=1, keepdims=True)
    y, x = np.mgrid[:24, :24]
    centres = (5, 5), (6, 18), (18, 12)
    maps = np.stack(
        [np.clip(1.4 - np.hypot(y - a, x - b) / 9, 0, None) for a, b in centres], axis=-1
    )
    maps /= np.maximum(maps.sum(axis=-1, keepdims=True), 0.3)
    major, away = truth > 3, []
    for seed in range(draws):
        X = np.random.default_rng(seed).poisson(150 * maps @ spectra)
        model = em.NMF(
            3, loss=em.Poisson(), maps=em.Absent("auto"), random_state=0, n_starts=3,
            spectra=em.XRayLines(elements, energy=energy),
        ).fit(X)  # fmt: skip
        found = em.assess.composition(model, X)
        order = em.match_components(model.components_, spectra)
        away.append(((found.atomic[order] - truth) / found.atomic_error[order])[major])
    values = np.array(away)
    inside, twice = np.mean(np.abs(values) < 1), np.mean(np.abs(values) < 2)
    said = (
        f"{values.size} shares of main lines above 3 %, in {draws} draws of 24 × 24 pixels and 150 counts a unit of "
        f"map (axis fitted, zeros tested): {inside:.0%} within one standard error, {twice:.0%} within two; the mean "
        f"lies {values.mean():+.2f} standard errors off, that of the share that is furthest off "
        f"{np.abs(values.mean(axis=0)).max():.2f}."
    )
    print(said, flush=True)
    return ["\n## Counting errors\n", said]


def missing(seeds: int) -> list[str]:
    """Return how often an element that is missing is found first, and one too many not claimed."""
    first = silent = 0
    for seed in range(seeds):
        phantom = em.synthetic.edxs_phases(dose=0.5, seed=seed)
        total, axis = phantom.data.reshape(-1, 1024).sum(axis=0), Axis(phantom.energy, "keV")
        counts = int(total.sum())
        short = em.XRayLines([one for one in ELEMENTS if one != "Cu"], energy=phantom.energy)
        first += short.learned_from(total, axis)["unlisted_"][:1] == ["Cu"]
        silent += not em.XRayLines(ELEMENTS, energy=phantom.energy).learned_from(total, axis)[
            "unlisted_"
        ]
    said = (
        f"Sums of about {counts // 1000} thousand counts, {seeds} seeds: copper left out of the list is the first that "
        f"is named in {first}; nothing is claimed besides a complete list in {silent}."
    )
    print(said, flush=True)
    return ["\n## Lists that are incomplete\n", said]


def real_files() -> list[str]:
    """Return what the sum of all pixels of real files says of the axis, and of elements that are not listed."""
    lines = [
        "\n## Real files\n",
        "The sum of all pixels, the elements of the metadata and what is found besides: gain in per mille, offset and "
        "shift of soft lines in eV, width at Mn Kα in eV, deviance for each degree of freedom.\n",
        "| file | counts | gain, offset, width, soft | deviance | in the data, not in the list | and the reverse |",
        "|---|---|---|---|---|---|",
    ]
    for name in FILES:
        signal = em.load(Path(os.environ["ENDMEMBER_DATA"]) / "edxs" / name)
        total = signal.data.reshape(-1, signal.data.shape[-1]).sum(axis=0, dtype=float)
        found = em.XRayLines("auto").learned_from(total, Axis.of(signal))
        gain, offset, width, soft = found["axis_fit_"]
        unlisted, unfound = (", ".join(found[one]) or "–" for one in ("unlisted_", "unfound_"))
        lines.append(
            f"| {name} | {total.sum():.3g} | {1e3 * gain:.2f}, {offset:.1f}, {width:.1f}, {soft:.1f} | "
            f"{found['deviance_']:.1f} | {unlisted} | {unfound} |"
        )
        print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    parts = [*real_files(), *missing(given.seeds), *coverage(given.draws), *few_counts(given.seeds)]
    if given.write:
        PAGE.write_text("\n".join([HEAD, *parts]) + "\n", encoding="utf-8")
