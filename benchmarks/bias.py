"""Does more data help? The bias of spectra where phases are absent, in standard errors, for images of growing size.

python benchmarks/bias.py              every size and dose, 20 draws each
python benchmarks/bias.py --draws 40
python benchmarks/bias.py --camera     the worst angle where a camera adds noise of its own, so that data are no counts

One truth for each size (three oxides by EELS, 64 channels); every draw has new counts. The bias of an entry is its mean
over the draws less the truth; printed is its root mean square over the entries, divided by the standard deviation of
one answer, less what chance gives the mean of so many draws. Above one, errors that know of noise alone do not hold.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np

import endmember as em

SIDES, DOSES, CHANNELS = (40, 80, 256), (30, 300), 64
COUNTS = em.PoissonScaled()


def rows(phantom):
    """The models that are compared, by name."""
    known = em.Absent(phantom.maps <= 0)
    start = (phantom.maps, phantom.spectra)
    return {
        "NMF": em.NMF(3, loss=COUNTS, random_state=0),
        "NMF, tested zeros": em.NMF(3, loss=COUNTS, maps=em.Absent("auto"), random_state=0),
        "NMF, zeros known": em.NMF(3, loss=COUNTS, maps=known, init=start),
    }


def spectra(model, counts, truth):
    """Spectra of unit length in the order of the truth."""
    with warnings.catch_warnings(action="ignore"):
        found = model.fit(counts).components_
    found = found[em.match_components(found, truth)]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def bias(model, phantom, draws):
    """Root mean square of the bias in standard deviations of one answer, for the worst of the phases."""
    truth = phantom.spectra / np.linalg.norm(phantom.spectra, axis=1, keepdims=True)
    clean = phantom.clean
    answers = np.stack([
        spectra(model, np.random.default_rng(draw).poisson(clean).astype(np.uint16), truth)
        for draw in range(draws)
    ])  # fmt: skip
    variance = answers.var(axis=0, ddof=1)
    square = (answers.mean(axis=0) - truth) ** 2 - variance / draws
    return np.sqrt(np.maximum(square.sum(axis=1) / variance.sum(axis=1), 0)).max()


def camera(draws):
    """Print the median of the worst angle and the worst of all, for counts times a gain of five and read noise."""
    print("| counts | read noise, counts | NMF | NMF, tested zeros | NMF, zeros known |")
    print("|---|---|---|---|---|")
    for dose in (50, 300):
        for read in (0.2, 1.0):
            angles = []
            for seed in range(draws):
                phantom = em.synthetic.mixed_phases((40, 40), 200, k=4, dose=dose, seed=100 + seed)
                rng = np.random.default_rng(seed)
                noise = read * rng.standard_normal(phantom.clean.shape)
                data = 5.0 * (rng.poisson(phantom.clean) + noise)
                known, start = em.Absent(phantom.maps <= 0), (phantom.maps, phantom.spectra)
                angles.append([
                    em.spectral_angle(spectra(model, data, phantom.spectra), phantom.spectra).max()
                    for model in (
                        em.NMF(4, random_state=0),
                        em.NMF(4, maps=em.Absent("auto"), random_state=0),
                        em.NMF(4, maps=known, init=start),
                    )
                ])  # fmt: skip
            cells = zip(np.median(angles, axis=0), np.max(angles, axis=0), strict=True)
            said = " | ".join(f"{middle:.1f} ({worst:.1f})" for middle, worst in cells)
            print(f"| {dose} | {read} | {said} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--camera", action="store_true")
    asked = parser.parse_args()
    draws = asked.draws
    if asked.camera:
        camera(draws)
        return
    print(f"| counts | pixels | {' | '.join(rows(em.synthetic.mixed_phases((8, 8), 32, k=3)))} |")
    print("|---|---|---|---|---|")
    for dose in DOSES:
        for side in SIDES:
            phantom = em.synthetic.mixed_phases((side, side), CHANNELS, k=3, dose=dose, seed=7)
            cells = [f"{bias(model, phantom, draws):.2f}" for model in rows(phantom).values()]
            print(f"| {dose} | {side**2:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
