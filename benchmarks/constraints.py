"""What constraints bring: real mixtures beside pyMCR, missing entries, little volume, and what must change nothing.

python benchmarks/constraints.py                    every block, few seeds
python benchmarks/constraints.py volume --seeds 20  one block
ENDMEMBER_DATA=FOLDER python benchmarks/constraints.py mixtures
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import time
import warnings
from pathlib import Path

import numpy as np

import endmember as em

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
HAS_PYMCR = importlib.util.find_spec("pymcr") is not None
SWEEPS = 1000


def angles(found, true):
    """Angles in degrees between matched spectra, (k,)."""
    return em.spectral_angle(found[em.match_components(found, true)], true)


def row(name, values, note=""):
    print(
        f"  {name:<50}{'  '.join(f'{v:7.3f}' for v in values)}   mean {np.mean(values):7.3f}  {note}"
    )


# ------------------------------------------------------------------------------------ mixtures
def start_of(D, k):
    """Spectra of the purest rows of D and their least-squares maps: one start for everybody."""
    from endmember.factor.data.in_memory import Dense
    from endmember.factor.loop.starts import successive_projection

    spectra = D[successive_projection(Dense(D), k)]
    return np.maximum(np.linalg.lstsq(spectra.T, D.T, rcond=None)[0].T, 0.0), spectra


def ours(name, D, S, start, **settings):
    begun = time.perf_counter()
    settings = {"init": start, "tol": 1e-9, "max_iter": SWEEPS, **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A line of mixtures, not a list: only then has a share a neighbour.
        model = em.NMF(len(S), **settings).fit(D, domain=(len(D),))
    found = model.components_
    misfit = np.linalg.norm(D - model.maps_ @ found) / np.linalg.norm(D)
    seconds = time.perf_counter() - begun
    row(f"ours   {name}", angles(found, S), f"misfit {misfit:.2e}  {seconds:5.2f} s")


def theirs(name, D, S, start, maps=(), regressor="OLS"):
    """pyMCR from the same spectra, as often as ours at most."""
    if not HAS_PYMCR:
        return
    from pymcr.constraints import ConstraintNonneg
    from pymcr.mcr import McrAR

    begun = time.perf_counter()
    model = McrAR(
        max_iter=SWEEPS, c_regr=regressor, st_regr=regressor, tol_increase=1.0, tol_n_increase=50,
        tol_n_above_min=50, c_constraints=[ConstraintNonneg(), *maps],
        st_constraints=[ConstraintNonneg()],
    )  # fmt: skip
    logging.disable(logging.CRITICAL)
    model.fit(D, ST=start[1].copy())
    logging.disable(logging.NOTSET)
    found = np.asarray(model.ST_opt_)
    misfit = np.linalg.norm(D - model.D_opt_) / np.linalg.norm(D)
    seconds = time.perf_counter() - begun
    row(f"pyMCR  {name}", angles(found, S), f"misfit {misfit:.2e}  {seconds:5.2f} s")


def one_peak(column):
    """Nearest column with one peak, by isotonic regression on both sides of every place."""
    from sklearn.isotonic import isotonic_regression

    best, smallest = column, np.inf
    for peak in range(1, len(column) + 1):
        up = isotonic_regression(column[:peak])
        down = isotonic_regression(column[peak:], increasing=False) if peak < len(column) else []
        tried = np.concatenate([up, down])
        error = np.sum((tried - column) ** 2)
        if error < smallest:
            best, smallest = tried, error
    return best


def their_unimodality(columns):
    from pymcr.constraints import Constraint

    class Unimodal(Constraint):
        def transform(self, A):
            A = A.copy()
            for j in columns:
                A[:, j] = one_peak(A[:, j])
            return A

    return Unimodal()


def mixtures(seeds):
    """Measured spectra of mixtures with known shares: angle of every component to the truth."""
    if not HAS_PYMCR:
        print("pyMCR is missing (pip install pymcr): only our own rows are printed")
    for name in ("uvvis_three_component", "raman_carbohydrates"):
        path = DATA / "other" / f"{name}.npz"
        if not path.exists():
            print(f"{name}: no file {path}")
            continue
        with np.load(path, allow_pickle=False) as held:
            D, C, S = held["D"], held["C"], held["S"].T
        totals = C.sum(axis=1)
        print(f"{name}: {D.shape}, shares sum to {totals.min():.2f} .. {totals.max():.2f}")
        least = np.linalg.lstsq(C, D, rcond=None)[0]
        row("least squares with the true shares", angles(least, S))
        non_negative(D, S)
        if np.allclose(totals, 1):
            closed(D, S, C)
        else:
            print("  every mixture divided by its total share, so that closure is true:")
            closed(D / totals[:, None], S, C / totals[:, None])


def non_negative(D, S):
    start = start_of(D, len(S))
    row("the start: the purest mixtures", angles(start[1], S))
    theirs("non-negative (ALS)", D, S, start)
    theirs("non-negative (NNLS)", D, S, start, regressor="NNLS")
    ours("non-negative, em.ALS()", D, S, start, solver=em.ALS())
    ours("non-negative, em.ANLS()", D, S, start)
    ours("non-negative, ten starts", D, S, start, init="multistart", random_state=0)
    ours("minimum volume", D, S, start, spectra=em.MinimumVolume(0.001))


def closed(D, S, C):
    start = start_of(D, len(S))
    norm, one = [], None
    if HAS_PYMCR:
        from pymcr.constraints import ConstraintNorm

        norm = [ConstraintNorm()]
    theirs("closure (ALS)", D, S, start, norm)
    theirs("closure (NNLS)", D, S, start, norm, regressor="NNLS")
    ours("closure, em.ALS()", D, S, start, maps=em.SumToOne(), solver=em.ALS())
    ours("closure", D, S, start, maps=em.SumToOne())
    # Only shares that do have one peak over the mixtures may be asked to.
    order = np.argmax(angles_table(S, start[1]), axis=1)
    one = [int(order[j]) for j in range(len(S)) if np.allclose(one_peak(C[:, j]), C[:, j])]
    if not one:
        print(
            "  no component's share has one peak along the mixtures: unimodality is not true here"
        )
        return
    if HAS_PYMCR:
        theirs("closure, true unimodality (ALS)", D, S, start, [their_unimodality(one), *norm])
    penalties = [em.Unimodal(one), em.SumToOne()]
    ours("closure, true unimodality, em.ALS()", D, S, start, maps=penalties, solver=em.ALS())
    ours("closure, true unimodality", D, S, start, maps=penalties)


def angles_table(a, b):
    """Cosine of every spectrum of a with every one of b, (k, k)."""
    a, b = (s / np.linalg.norm(s, axis=1, keepdims=True) for s in (a, b))
    return a @ b.T


# ------------------------------------------------------------------------------------- missing
def missing(seeds):
    """30 % of the entries left out at random, once from the same start and once from ten of its own.

    Non-negativity alone leaves these data a range of answers, and other starts pick others of it: only from the same
    start does the ratio show what the missing entries cost.
    """
    phantoms = {
        "diode(shape=(32, 32))": lambda seed: em.synthetic.diode(shape=(32, 32), seed=seed),
        "mixed_phases(shape=(32, 32), channels=256, k=3)": lambda seed: em.synthetic.mixed_phases(
            shape=(32, 32), channels=256, k=3, seed=seed
        ),
    }
    print(
        "missing: angles (deg) with 30 % of the entries left out, and their ratio to those with all"
    )
    for name, make in phantoms.items():
        results = np.array([left_out(make(seed), seed) for seed in range(seeds)])
        print(f"  {name}")
        for seed, (whole, same, own) in enumerate(results):
            print(f"    seed {seed}: all {whole:.3f}, left out: same start {same:.3f} ({same / whole:.3f}), "
                  f"own starts {own:.3f} ({own / whole:.3f})")  # fmt: skip
        whole, same, own = results.mean(axis=0)
        print(
            f"    mean: same start {same / whole:.3f}, own starts {own / whole:.3f} (allowed: 1.5)"
        )


def left_out(phantom, seed):
    """Mean angles of the fit to all entries, and to 70 % of them from the same and from own starts."""
    X, k = phantom.data.astype(float), len(phantom.spectra)
    weights = (np.random.default_rng(seed).random(X.shape) > 0.3).astype(float)
    holed = np.where(weights > 0, X, np.nan)
    start = em.NMF(k, random_state=seed, compress=False, tol=1e-4).fit(X)
    same = {"init": (start.maps_, start.components_)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = [
            em.NMF(k, compress=False, **same).fit(X),
            em.NMF(k, **same).fit(holed, weights=weights),
            em.NMF(k, random_state=seed).fit(holed, weights=weights),
        ]
    return [angles(fit.components_, phantom.spectra).mean() for fit in fits]


# -------------------------------------------------------------------------------------- volume
def volume(seeds, weight=0.001):
    """No pixel holds one phase alone: plain NMF beside spectra of minimum volume."""
    print(f"volume: mixed_phases(pure=False, dose=300), spectra=em.MinimumVolume({weight:g})")
    means = []
    for seed in range(seeds):
        phantom = em.synthetic.mixed_phases(pure=False, dose=300, seed=seed)
        pair = []
        for penalties in ({}, {"spectra": em.MinimumVolume(weight)}):
            begun = time.perf_counter()
            model = em.NMF(4, random_state=seed, **penalties).fit(phantom.data)
            pair += [angles(model.components_, phantom.spectra).mean(), time.perf_counter() - begun]
        means.append(pair)
        print(f"  seed {seed:2d}: plain {pair[0]:6.3f} deg {pair[1]:5.1f} s, "
              f"minimum volume {pair[2]:6.3f} deg {pair[3]:5.1f} s")  # fmt: skip
    means = np.array(means)
    smaller = int(np.sum(means[:, 2] < means[:, 0]))
    print(f"  mean: plain {means[:, 0].mean():.3f}, minimum volume {means[:, 2].mean():.3f}; "
          f"smaller in {smaller} of {seeds}")  # fmt: skip


# --------------------------------------------------------------------------------------- scale
#: name, what NMF is told, and whether the order of the pixels plays no part in it.
COMBINATIONS = [
    ("plain", dict, True),
    ("HALS", lambda: {"solver": em.HALS()}, True),
    ("ALS", lambda: {"solver": em.ALS()}, True),
    ("MALS", lambda: {"solver": em.MALS()}, True),
    ("ADMM", lambda: {"solver": em.ADMM()}, True),
    ("multiplicative", lambda: {"solver": em.MultiplicativeUpdate(), "init": "same"}, True),
    ("PoissonScaled", lambda: {"loss": em.PoissonScaled()}, True),
    # Newton damps by the sums over a row, so tiles take another path to the same likelihood.
    ("Poisson", lambda: {"loss": em.Poisson(), "init": "same"}, True),
    (
        "Poisson, multipl.",
        lambda: {"loss": em.Poisson(), "solver": em.MultiplicativeUpdate(), "init": "same"},
        True,
    ),
    ("beta 1.5", lambda: {"loss": em.BetaDivergence(1.5), "init": "same"}, True),
    ("sparse maps", lambda: {"maps": em.Sparse(0.02)}, True),
    ("sparse spectra", lambda: {"spectra": em.Sparse(0.02)}, True),
    ("ridge maps", lambda: {"maps": em.Ridge(0.05)}, True),
    ("smooth maps", lambda: {"maps": em.Smooth(0.1)}, False),
    ("smooth spectra", lambda: {"spectra": em.Smooth(0.1)}, True),
    ("total variation", lambda: {"maps": em.TotalVariation(0.01)}, False),
    ("closure", lambda: {"maps": em.SumToOne()}, True),
    ("volume", lambda: {"spectra": em.MinimumVolume(0.001)}, True),
]


def scale(seeds):
    """Largest angle in degrees to the spectra of the unchanged data: 0 is wanted everywhere."""
    phantom = em.synthetic.mixed_phases(shape=(16, 16), channels=96, k=3, dose=300, seed=0)
    order = np.random.default_rng(0).permutation(256)
    # Tiles are mirrored, so that neighbours at the seams are alike.
    changes = {
        "x 1e-9": lambda cube: cube * 1e-9,
        "x 1e-3": lambda cube: cube * 1e-3,
        "x 1e7": lambda cube: cube * 1e7,
        "permuted": lambda cube: cube.reshape(256, -1)[order].reshape(cube.shape),
        "tiled": lambda cube: np.pad(cube, ((0, 16), (0, 16), (0, 0)), mode="symmetric"),
    }
    print("scale: largest angle (deg) to the spectra of the data as they are")
    print(f"  {'':<18}{''.join(f'{name:>12}' for name in changes)}")
    for name, told, any_order in COMBINATIONS:
        cells = []
        for change, apply in changes.items():
            if change == "permuted" and not any_order:
                cells.append("-")
                continue
            cells.append(changed_angle(phantom.data.astype(float), apply, told()))
        print(f"  {name:<18}{''.join(f'{cell:>12}' for cell in cells)}")


def changed_angle(X, apply, told):
    """Largest angle between the spectra of X and of the changed X, in words."""
    settings = {"init": "nndsvd", "max_iter": 300, **told}
    starts = [settings["init"]] * 2
    if settings["init"] == "same":
        # Starts whose zeros are filled in depend on the number of pixels: change the start as the data.
        rng = np.random.default_rng(0)
        maps, spectra = rng.random((16, 16, 3)) + 0.1, rng.random((3, 96)) + 0.1
        starts = [(maps, spectra), (apply(maps), spectra)]
    try:
        found = [
            fitted(Y, {**settings, "init": start})
            for Y, start in zip((X, apply(X)), starts, strict=True)
        ]
    except (ValueError, np.linalg.LinAlgError) as error:
        return type(error).__name__
    return f"{angles(found[1], found[0]).max():.1e}"


def fitted(X, settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return em.NMF(3, random_state=0, **settings).fit(X).components_


BLOCKS = {"mixtures": mixtures, "missing": missing, "volume": volume, "scale": scale}


def main() -> None:
    """Print the blocks asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("blocks", nargs="*", choices=[*BLOCKS, []], default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--weight", type=float, default=0.001, help="of MinimumVolume in volume")
    options = parser.parse_args()
    for name in options.blocks or BLOCKS:
        if name == "volume":
            volume(options.seeds, options.weight)
        else:
            BLOCKS[name](options.seeds)


if __name__ == "__main__":
    main()
