"""Data fusion on phantoms whose truth is known: the article's Figs. 8 and 9, and EELS with EDXS of one area.

python benchmarks/fusion.py                       every block, few seeds
python benchmarks/fusion.py channelling --seeds 20
python benchmarks/fusion.py alternatives --seeds 20
python benchmarks/fusion.py oxygen --seeds 20
python benchmarks/fusion.py concurrent --seeds 20
python benchmarks/fusion.py poisson --seeds 5
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np

import endmember as em

COUNTS = em.PoissonScaled()
#: A phase counts as found when its spectrum is nearer to the truth than this, in degrees.
FOUND = 10.0


def angles(spectra, truth):
    return em.spectral_angle(spectra[em.match_components(spectra, truth)], truth)


def share(maps, spectra, manganese):
    """The tilt-averaged share of the Mn-K counts that the first component carries."""
    counts = maps * spectra[:, manganese].sum(axis=1)
    return float(np.mean(counts[:, 0] / counts.sum(axis=1)))


def equation_14(series, seed, zeros=True, gamma=0.003):
    """Fit equation (14) from random starts; return the weights of EDXS and both detectors' spectra."""
    none = [np.zeros(energy.size, bool) for energy in (series.eels_energy, series.edxs_energy)]
    eels_zeros = em.Absent(np.stack([none[0], series.before_onset])) if zeros else None
    edxs_zeros = em.Absent(np.stack([series.nickel, none[1]])) if zeros else None
    C, N = em.Factor(2), em.Factor(2, [em.Free(), em.Ridge(gamma)])
    S1, S2 = em.Factor(2, eels_zeros), em.Factor(2, edxs_zeros)
    terms = [
        em.Term(series.eels, C + N, S1, loss=COUNTS),
        em.Term(series.edxs, C, S2, loss=COUNTS),
    ]
    fit = em.Fusion(terms, random_state=seed, n_starts=2, tol=3e-6).fit()
    return fit[C], fit[S1].T, fit[S2].T


def channelling(seeds):
    """Fig. 8: angles to the truth and error of the occupancy, with and without the two zeros."""
    rows = {name: [] for name in ("eq. 14, zeros", "eq. 14, none", "EELS alone", "EDXS alone")}
    for seed in range(seeds):
        series = em.synthetic.channelling(seed=seed)
        for name, zeros in (("eq. 14, zeros", True), ("eq. 14, none", False)):
            maps, eels, edxs = equation_14(series, seed, zeros)
            order = em.match_components(edxs, series.edxs_spectra)
            wrong = share(maps[:, order], edxs[order], series.manganese) - series.occupancy
            off = angles(eels, series.eels_spectra), angles(edxs, series.edxs_spectra)
            rows[name].append((*off[0], *off[1], abs(wrong)))
        for name, data, truth, zeros in (
            ("EELS alone", series.eels, series.eels_spectra, (1, series.before_onset)),
            ("EDXS alone", series.edxs, series.edxs_spectra, (0, series.nickel)),
        ):
            mask = np.zeros(truth.shape, bool)
            mask[zeros[0]] = zeros[1]
            C, S = em.Factor(2), em.Factor(2, em.Absent(mask))
            fit = em.Fusion([em.Term(data, C, S, loss=COUNTS)], random_state=seed, n_starts=2).fit()
            off = angles(fit[S].T, truth)
            both = (*off, np.nan, np.nan) if name == "EELS alone" else (np.nan, np.nan, *off)
            rows[name].append((*both, np.nan))
    print("channelling: median (worst) of all seeds, degrees")
    print(
        f"{'model':14} {'EELS Mn2+':>13} {'EELS Mn3+':>13} {'EDXS tetra':>13} {'EDXS octa':>13}  share"
    )
    for name, values in rows.items():
        table(name, np.array(values), 4, "{:6.3f}")


def alternative(series, mixing=1.0):
    """Mix the true spectra as far as maps stay positive: other spectra that explain the same data exactly."""
    maps = np.vstack([series.eels_weights, series.edxs_weights])
    least = mixing * np.min(maps[:, ::-1] / maps, axis=0)
    T = np.array([[1.0, least[0]], [least[1], 1.0]])
    other = np.linalg.inv(T)
    pairs = (
        (series.eels_weights, series.eels_spectra),
        (series.edxs_weights, series.edxs_spectra),
    )
    lowest = min((C @ other).min() / C.max() for C, _ in pairs)
    misfit = max(
        np.linalg.norm(C @ other @ T @ S - C @ S) / np.linalg.norm(C @ S) for C, S in pairs
    )
    assert lowest > -1e-12
    return [em.spectral_angle(T @ S, S) for _, S in pairs], misfit


def inside(bands, truth):
    """Return the share of the entries of true spectra within the bands, with components matched."""
    truth = truth / truth.sum(axis=1, keepdims=True)
    order = em.match_components(bands.spectra, truth)
    room = 1e-6 * truth.max()
    low, high = bands.spectra_low[order] - room, bands.spectra_high[order] + room
    return float(np.mean((low <= truth) & (truth <= high)))


def alternatives(seeds):
    """Fig. 8: what non-negativity and shared weights leave open, exactly and in the words of em.assess.ambiguity."""
    for mixing in (0.4, 1.0):
        found = [alternative(em.synthetic.channelling(seed=s), mixing) for s in range(seeds)]
        angles = np.median([np.hstack(both) for both, _ in found], axis=0)
        print(
            f"spectra mixed to {100 * mixing:.0f} % of what positive weights allow: misfit at most "
            f"{max(misfit for _, misfit in found):.1e}, angles (EELS, EELS, EDXS, EDXS) "
            f"{', '.join(f'{a:.1f}' for a in angles)}, mean {angles.mean():.1f} degrees"
        )
    rows = {"without noise": [], "counts": []}
    for seed in range(seeds):
        series = em.synthetic.channelling(seed=seed, difference=0.0)
        truth = np.hstack([series.eels_spectra, series.edxs_spectra])
        for name, X, loss in (
            ("without noise", series.eels_weights @ truth, None),
            ("counts", np.hstack([series.eels, series.edxs]), COUNTS),
        ):
            model = em.NMF(2, loss=loss, random_state=seed, n_starts=2, tol=1e-7).fit(X)
            bands = em.assess.ambiguity(model, X)
            rows[name].append((not bands.fixed.any(), bands.angle.max(), inside(bands, truth)))
    for name, values in rows.items():
        free, angle, share = np.array(values, dtype=float).T
        print(
            f"em.assess.ambiguity, {name}: not fixed in {free.sum():.0f} of {seeds}, up to "
            f"{np.median(angle):.1f} degrees, {100 * np.median(share):.0f} % of the truth within the bands"
        )


def table(name, values, n_angles, last):
    cells = [
        f"{'-':>13}" if np.isnan(v).any() else f"{np.median(v):6.2f} ({v.max():4.1f})"
        for v in values[:, :n_angles].T
    ]
    rest = [
        "-" if np.isnan(v).any() else last.format(np.median(v)) + f" ({v.max():.3f})"
        for v in values[:, n_angles:].T
    ]
    print(f"{name:14} {' '.join(cells)}  {' '.join(rest)}", flush=True)


def subtracted(phantom, start):
    """Take a power law from every pixel, fitted to its logarithm before the edge."""
    energy, data = phantom.energy, phantom.data.astype(float)
    before = energy < start
    design = np.stack([np.ones(before.sum()), np.log(energy[before])])
    logs = np.log(np.maximum(data[..., before], 1.0))
    fit = logs @ np.linalg.pinv(design)
    return data - np.exp(fit[..., :1] + fit[..., 1:] * np.log(energy))


def oxygen_models(phantom, seed, start=525.0, volume=0.001):
    """Return the spectra of the edge by three routes; little volume picks one of the many that fit."""
    energy, edge = phantom.energy, int(np.argmax(phantom.energy >= start))
    net = subtracted(phantom, start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = em.NMF(3, random_state=seed, n_starts=2).fit(net)
        small = em.NMF(3, spectra=em.MinimumVolume(volume), random_state=seed, n_starts=2).fit(net)
    C, S = em.Factor(3), em.Factor(3, em.MinimumVolume(volume))
    N = em.Factor(3, em.PowerLaws(energy))
    terms = [em.Term(phantom.data, C, S + N, weight=1), em.Term(net, C, S, weight=1)]
    both = em.Fusion(terms, random_state=seed, n_starts=2, tol=1e-5).fit()
    return {
        "subtract, NMF": plain.components_,
        "with volume": small.components_,
        "eq. 15": both[S].T,
        "single term": single_term(phantom, seed, edge, volume),
    }


def single_term(phantom, seed, edge, volume):
    """Maps and edges of three components, and maps of known power laws: one term, every channel once."""
    energy = phantom.energy
    laws = np.stack([(energy / energy[0]) ** -r for r in (2.0, 3.0, 4.0)], axis=1)
    known = np.full((energy.size, 6), np.nan)
    known[:, 3:] = laws / np.linalg.norm(laws, axis=0)
    known[:edge, :3] = 0.0
    C, S = em.Factor(6), em.Factor(6, em.MinimumVolume(volume), fixed=known)
    term = em.Term(phantom.data, C, S, loss=COUNTS)
    return em.Fusion([term], random_state=seed, n_starts=2).fit()[S].T[:3]


def oxygen(seeds):
    """Fig. 9: angles to the true edges and what is left before them."""
    rows: dict[str, list] = {}
    for seed in range(seeds):
        phantom = em.synthetic.oxygen_edge(shape=(32, 32), channels=128, seed=seed)
        truth = phantom.spectra - phantom.background
        before = phantom.energy < 525
        for name, spectra in oxygen_models(phantom, seed).items():
            spectra = spectra[em.match_components(spectra, truth)]
            bias = spectra[:, before].mean(axis=1) / spectra.max(axis=1)
            off = em.spectral_angle(spectra, truth)
            rows.setdefault(name, []).append((*off, bias[:2].max()))
    print(
        "oxygen_edge: median (worst) of all seeds, degrees; bias before the edge over its maximum"
    )
    print(f"{'route':14} {'pristine':>13} {'degraded':>13} {'resin':>13}  bias")
    for name, values in rows.items():
        table(name, np.array(values), 3, "{:6.4f}")
        found = sum(row[2] < FOUND for row in values)
        print(f"{'':14} resin within {FOUND:.0f} degrees: {found} of {seeds}")


def map_error(maps, truth):
    """Relative error of the maps, each scaled to its true one."""
    C, T = (A.reshape(-1, A.shape[-1]) for A in (maps, truth))
    C = C[:, em.match_components(C.T, T.T)]
    C = C * (np.sum(C * T, axis=0) / np.sum(C * C, axis=0))
    return float(np.linalg.norm(C - T) / np.linalg.norm(T))


def concurrent(seeds, loss=COUNTS, weights=(0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)):
    """Map error of fusion and of either detector alone, and of fusion at other weights."""
    print(f"concurrent, {loss!r}: median map error of all seeds")
    print("EELS dose  EDXS dose    EELS    EDXS  fusion   best fixed weight of EDXS: error")
    for doses in ((30, 5.0), (100, 2.0), (300, 5.0), (300, 50.0)):
        rows = []
        for seed in range(seeds):
            both = em.synthetic.concurrent((24, 24), 3, *doses, seed=seed)
            pair = [both.eels.data, both.edxs.data]
            options = {"random_state": seed, "n_starts": 2}
            alone = []
            for data in pair:
                C, S = em.Factor(3), em.Factor(3)
                fit = em.Fusion([em.Term(data, C, S, loss=loss)], **options).fit()
                alone.append(map_error(fit[C], both.maps))
            fused = [
                map_error(em.Coupled(3, loss=loss, weight=w, **options).fit(pair).maps_, both.maps)
                for w in ("auto", *([1.0, w] for w in weights))
            ]
            rows.append((*alone, *fused))
        error = np.median(rows, axis=0)
        best = int(np.argmin(error[3:]))
        print(
            f"{doses[0]:9} {doses[1]:10} {error[0]:7.4f} {error[1]:7.4f} {error[2]:7.4f}"
            f"   {weights[best]:6}: {error[3 + best]:.4f}",
            flush=True,
        )


def poisson(seeds):
    """As concurrent, with the likelihood of counts in place of scaled squares."""
    concurrent(seeds, em.Poisson(), (0.3, 1.0, 3.0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    blocks = {
        "channelling": channelling,
        "alternatives": alternatives,
        "oxygen": oxygen,
        "concurrent": concurrent,
        "poisson": poisson,
    }
    parser.add_argument("block", nargs="?", choices=blocks)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for name, block in blocks.items():
        if options.block in (None, name):
            block(options.seeds)
