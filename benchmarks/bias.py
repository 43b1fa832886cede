"""Does more data help? The bias of spectra where phases are absent, in standard errors, for images of growing size.

python benchmarks/bias.py              every size and dose, 20 draws each
python benchmarks/bias.py --draws 40

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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=20)
    draws = parser.parse_args().draws
    print(f"| counts | pixels | {' | '.join(rows(em.synthetic.mixed_phases((8, 8), 32, k=3)))} |")
    print("|---|---|---|---|---|")
    for dose in DOSES:
        for side in SIDES:
            phantom = em.synthetic.mixed_phases((side, side), CHANNELS, k=3, dose=dose, seed=7)
            cells = [f"{bias(model, phantom, draws):.2f}" for model in rows(phantom).values()]
            print(f"| {dose} | {side**2:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
