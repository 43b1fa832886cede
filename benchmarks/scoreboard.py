"""How far from the truth: every method of this package and of others, where the truth is known.

python benchmarks/scoreboard.py                  every table, three seeds each
python benchmarks/scoreboard.py dose --seeds 10  one table
python benchmarks/scoreboard.py --write          into docs/scoreboard.md as well, with its figure

Programs of others that are not installed are left out: pip install ".[bench]", and espm where HyperSpy 2.2 will do.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import logging
import re
import time
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

import endmember as em

PAGE = Path(__file__).parents[1] / "docs" / "scoreboard.md"
FIGURE = PAGE.parent / "images" / "scoreboard.png"
SHAPE, CHANNELS, PHASES = (32, 32), 128, 3
FOUND = 5.0  # degrees within which a phase counts as found


# ------------------------------------------------------------------------------------- the data
@dataclass
class Scene:
    """Counts (ny, nx, channels) with true maps and spectra; how many components are asked for."""

    data: np.ndarray
    maps: np.ndarray
    spectra: np.ndarray
    k: int = PHASES


def dose(counts, seed):
    """Three oxides by EELS, each alone in some pixels; counts in the brightest voxel."""
    phantom = em.synthetic.mixed_phases(SHAPE, CHANNELS, k=PHASES, dose=counts, seed=seed)
    return Scene(phantom.data, phantom.maps, phantom.spectra)


def counted(maps, spectra, seed, brightest=100):
    """Draw counts of maps and spectra."""
    clean = maps @ spectra
    scale = brightest / clean.max()
    data = np.random.default_rng(seed).poisson(scale * clean).astype(np.uint16)
    return Scene(data, maps, scale * spectra)


def background(counts, seed):
    """The same with their pre-edge backgrounds left in; angles of whole spectra, counts in the brightest voxel."""
    phantom = em.synthetic.mixed_phases(
        SHAPE, CHANNELS, k=PHASES, dose=counts, background=True, seed=seed
    )
    return Scene(phantom.data, phantom.maps, phantom.spectra)


def xrays(counts, seed):
    """Three minerals by EDXS, each alone in some pixels; counts in the brightest voxel."""
    phantom = em.synthetic.edxs_phases(SHAPE, 512, k=PHASES, dose=counts, seed=seed)
    return Scene(phantom.data, phantom.maps, phantom.spectra)


def mixing(share, seed):
    """The oxides at 100 counts, none alone: the share of every pixel that is the mean of the image."""
    scene = dose(100, seed)
    maps = (1 - share) * scene.maps + share * scene.maps.mean(axis=(0, 1))
    return counted(maps, scene.spectra, seed)


def likeness(share, seed):
    """The oxides at 100 counts, with spectra that are alike: the share of each that is their mean."""
    scene = dose(100, seed)
    spectra = (1 - share) * scene.spectra + share * scene.spectra.mean(axis=0)
    return counted(scene.maps, spectra, seed)


def drift(channels, seed):
    """The oxides at 100 counts on an energy axis that drifts; channels peak to peak."""
    phantom = em.synthetic.mixed_phases(
        SHAPE, CHANNELS, k=PHASES, dose=100, drift=channels, seed=seed
    )
    return Scene(phantom.data, phantom.maps, phantom.spectra)


def number(k, seed):
    """The oxides at 100 counts, with another number of components asked for than the three there are."""
    scene = dose(100, seed)
    scene.k = k
    return scene


TABLES = {
    dose: (1000, 300, 100, 30, 10, 3),
    background: (1000, 100, 10),
    xrays: (100, 20, 5, 2),
    mixing: (0.1, 0.3, 0.5),
    likeness: (0.3, 0.6, 0.9),
    drift: (0.5, 1, 2, 4),
    number: (2, 3, 4, 5),
}
HEADS = {
    dose: "EELS, counts",
    background: "with background",
    xrays: "EDXS, counts",
    mixing: "mixed pixels",
    likeness: "like spectra",
    drift: "drift, channels",
}


# ---------------------------------------------------------------------------------- the methods
@dataclass
class Method:
    """One row: what is called, by whom it was written, and what it is told."""

    name: str
    call: str
    fit: object
    package: str = "endmember"
    only: tuple = field(default=tuple(TABLES))


def ours(make):
    """Return the function that fits one of our models with k components."""

    def fit(scene):
        model = make(scene.k).fit(scene.data)
        return model.components_, model.maps_.reshape(-1, model.n_components_)

    return fit


def zeros_known(scene):
    """The limit: told where every phase is absent, from the true maps and spectra; NaN if it is absent nowhere."""
    absent = scene.maps <= 0
    if scene.k != scene.maps.shape[-1] or not absent.any():
        raise ValueError("no zeros to be told")
    model = em.NMF(
        scene.k, loss=em.PoissonScaled(), maps=em.Absent(absent), init=(scene.maps, scene.spectra)
    )
    model.fit(scene.data)
    return model.components_, model.maps_.reshape(-1, scene.k)


def our_rows():
    """Every model of this package that needs nothing but the data and a number."""
    push, counts = em.SoftOrthogonal(0.01), em.PoissonScaled()
    tight = {"spectra": em.MinimumVolume("auto"), "maps": em.SumToOne(mode="scale")}
    r = {"random_state": 0}
    return [
        Method("NMF", "em.NMF(k)", ours(lambda k: em.NMF(k, **r))),
        Method("NMF by ALS", "em.NMF(k, solver=em.ALS())", ours(lambda k: em.NMF(k, solver=em.ALS(), **r))),
        Method("NMF by MALS", "em.NMF(k, solver=em.MALS())", ours(lambda k: em.NMF(k, solver=em.MALS(), **r))),
        Method("NMF by HALS", "em.NMF(k, solver=em.HALS())", ours(lambda k: em.NMF(k, solver=em.HALS(), **r))),
        Method("NMF, counts", "em.NMF(k, loss=em.PoissonScaled())", ours(lambda k: em.NMF(k, loss=counts, **r))),
        Method("NMF, Poisson", "em.NMF(k, loss=em.Poisson())", ours(lambda k: em.NMF(k, loss=em.Poisson(), **r))),
        Method("NMF-SO", "em.NMF(k, loss=em.PoissonScaled(), maps=em.SoftOrthogonal(0.01))",
               ours(lambda k: em.NMF(k, loss=counts, maps=push, **r))),
        Method("NMF, tested zeros", 'em.NMF(k, loss=em.PoissonScaled(), maps=em.Absent("auto"))',
               ours(lambda k: em.NMF(k, loss=counts, maps=em.Absent("auto"), **r))),
        Method("NMF, zeros known", "em.NMF(k, loss=em.PoissonScaled(), maps=em.Absent(mask), init=truth)", zeros_known),
        Method("ARD-SO-NMF", "em.NMF(k + 5, loss=em.PoissonScaled(), maps=[em.SoftOrthogonal(0.01), em.Relevance()])",
               ours(lambda k: em.NMF(k + 5, loss=counts, maps=[push, em.Relevance()], **r))),
        Method("NMF, little volume",
               'em.NMF(k, loss=em.PoissonScaled(), spectra=em.MinimumVolume("auto"), maps=em.SumToOne(mode="scale"))',
               ours(lambda k: em.NMF(k, loss=counts, **tight, **r))),
        Method("NMF-SO, drifting", "em.Drifting(em.NMF(k, loss=em.PoissonScaled(), maps=em.SoftOrthogonal(0.01)))",
               ours(lambda k: em.Drifting(em.NMF(k, loss=counts, maps=push, **r))), only=(drift,)),
        Method("VCA", "em.VCA(k)", ours(lambda k: em.VCA(k, **r))),
        Method("SPA", "em.SPA(k)", ours(lambda k: em.SPA(k))),
        Method("N-FINDR", "em.NFINDR(k)", ours(lambda k: em.NFINDR(k, **r))),
        Method("SSS", "em.SubspaceSampling(k)", ours(lambda k: em.SubspaceSampling(k, **r))),
        Method("SSS on maps", 'em.SubspaceSampling(k, on="maps")',
               ours(lambda k: em.SubspaceSampling(k, on="maps", **r))),
        Method("ICA", 'em.ICA(k, independent="derivatives")',
               ours(lambda k: em.ICA(k, independent="derivatives", **r))),
        Method("PCA", "em.PCA(k)", ours(lambda k: em.PCA(k, **r))),
    ]  # fmt: skip


def flat(scene):
    return scene.data.reshape(-1, scene.data.shape[-1]).astype(float)


def sklearn_nmf(**settings):
    def fit(scene):
        from sklearn.decomposition import NMF

        model = NMF(scene.k, init="nndsvda", max_iter=2000, tol=1e-6, random_state=0, **settings)
        maps = model.fit_transform(flat(scene))
        return model.components_, maps

    return fit


def hyperspy_nmf(poissonian, separate=False):
    """HyperSpy's decomposition, with its Poissonian normalisation or without; or ICA of its scores."""

    def fit(scene):
        import hyperspy.api as hs

        filled = scene.data.any(axis=(0, 1))  # empty channels become NaN under its normalisation
        signal = hs.signals.Signal1D(scene.data[..., filled].astype(float))
        told = {"algorithm": "SVD" if separate else "NMF", "output_dimension": scene.k}
        signal.decomposition(poissonian, print_info=False, **told)
        results = signal.learning_results
        spectra, maps = results.factors, results.loadings
        if separate:
            signal.blind_source_separation(scene.k, diff_order=1, print_info=False)
            spectra, maps = results.bss_factors, results.bss_loadings
        whole = np.zeros((scene.k, filled.size))
        whole[:, filled] = spectra[:, : scene.k].T
        return whole, maps[:, : scene.k]

    return fit


def pymcr(regressor):
    """pyMCR started from the spectra of the purest pixels, as it must be started from something."""

    def fit(scene):
        from pymcr.constraints import ConstraintNonneg
        from pymcr.mcr import McrAR

        sign = [ConstraintNonneg()]
        model = McrAR(max_iter=200, c_regr=regressor, st_regr=regressor, c_constraints=sign, st_constraints=sign,
                      tol_increase=1, tol_n_increase=50, tol_n_above_min=50)  # fmt: skip
        model.fit(flat(scene), ST=em.SPA(scene.k).fit(scene.data).components_)
        return np.asarray(model.ST_opt_), np.asarray(model.C_opt_)

    return fit


def tensorly_hals(scene):
    from tensorly.decomposition import non_negative_parafac_hals

    weights, (maps, spectra) = non_negative_parafac_hals(
        flat(scene), scene.k, n_iter_max=500, init="svd", tol=1e-8
    )
    return (spectra * weights).T, maps


def espm_smooth(scene):
    from espm.estimators import SmoothNMF

    model = SmoothNMF(n_components=scene.k, max_iter=2000, tol=1e-6, verbose=0, init="nndsvda", random_state=0,
                      hspy_comp=False, shape_2d=scene.data.shape[:2])  # fmt: skip
    return model.fit_transform(flat(scene).T).T, model.H_.T


def their_rows():
    """The factorisations that others offer for the same data, at their defaults or run further."""
    learn, spy, mcr = "scikit-learn", "hyperspy", "pyMCR"
    rows = [
        Method("NMF", 'NMF(k, init="nndsvda")', sklearn_nmf(), learn),
        Method("NMF, KL", 'NMF(k, solver="mu", beta_loss=1)', sklearn_nmf(solver="mu", beta_loss=1), learn),
        Method("NMF", 'decomposition(False, algorithm="NMF")', hyperspy_nmf(False), spy),
        Method("NMF, Poissonian", 'decomposition(True, algorithm="NMF")', hyperspy_nmf(True), spy),
        Method("SVD, then BSS", "decomposition(True), blind_source_separation(k)", hyperspy_nmf(True, True), spy),
        Method("ALS", 'McrAR(c_regr="OLS", st_regr="OLS")', pymcr("OLS"), mcr),
        Method("NNLS", 'McrAR(c_regr="NNLS", st_regr="NNLS")', pymcr("NNLS"), mcr),
        Method("HALS", "non_negative_parafac_hals(X, k)", tensorly_hals, "tensorly"),
        Method("SmoothNMF", "SmoothNMF(k)", espm_smooth, "espm"),
    ]  # fmt: skip
    modules = {"scikit-learn": "sklearn", "pyMCR": "pymcr"}
    return [row for row in rows if importlib.util.find_spec(modules.get(row.package, row.package))]


# ----------------------------------------------------------------------------------- the errors
def upright(spectra, maps):
    """Turn components that stand on their head, as projections leave them, with their maps."""
    signs = np.where(np.nansum(spectra, axis=1) < 0, -1.0, 1.0)
    return spectra * signs[:, None], maps * signs


def errors(scene, spectra, maps):
    """Angles (deg) of every true spectrum, and of every true map, to what was found for it, (2, 3)."""
    spectra, maps = upright(np.asarray(spectra, float), np.asarray(maps, float))
    true = scene.maps.reshape(-1, len(scene.spectra)).T
    angles = np.full((2, len(true)), 90.0)
    if len(spectra) >= len(true):
        places, order = np.arange(len(true)), em.match_components(spectra, scene.spectra)
    else:
        places, order = em.match_components(scene.spectra, spectra), np.arange(len(spectra))
    angles[0, places] = em.spectral_angle(spectra[order], scene.spectra[places])
    angles[1, places] = em.spectral_angle(maps.T[order], true[places])
    return angles


def measured(method, table, level, seeds):
    """Errors of one method for every seed, (seeds, 2, 3), NaN where it gave no answer; seconds of processor time."""
    found, spent = np.full((seeds, 2, PHASES), np.nan), 0.0
    for seed in range(seeds):
        scene = table(level, seed)
        begun = time.process_time()
        with quiet(), contextlib.suppress(ValueError, np.linalg.LinAlgError):
            found[seed] = errors(scene, *method.fit(scene))
        spent += time.process_time() - begun
    return found, spent / seeds


@contextlib.contextmanager
def quiet():
    """Keep warnings, logs and prints of all programs away."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        yield
    logging.disable(logging.NOTSET)


# ----------------------------------------------------------------------------------- the tables
def cell(table, found):
    """What one cell says of the errors of all seeds, (seeds, 2, 3)."""
    if np.isnan(found).any():
        return "refused"
    if table is number:
        return f"{np.median((found[:, 0] < FOUND).sum(axis=-1)):.0f} of {PHASES}"
    spectra, maps = np.median(found.max(axis=-1), axis=0)
    digits = 1 if spectra < 10 else 0
    return f"{spectra:.{digits}f},\u00a0{maps:.{digits}f}"


def score(table, methods, seeds):
    """Print one table row by row, in Markdown, and return its lines."""
    levels = TABLES[table]
    lines = [
        f"| package | method | {' | '.join(f'{level:g}' for level in levels)} | ms |",
        "|---" * (len(levels) + 3) + "|",
    ]
    print(*lines, sep="\n")
    for method in methods:
        if table not in method.only:
            continue
        results = [measured(method, table, level, seeds) for level in levels]
        cells = [cell(table, found) for found, _ in results]
        spent = 1000 * np.median([seconds for _, seconds in results])
        lines.append(f"| {method.package} | {method.name} | {' | '.join(cells)} | {spent:,.0f} |")
        print(lines[-1], flush=True)
    return lines


def calls(methods):
    """The table of what every row calls."""
    lines = ["| package | method | what is called |", "|---|---|---|"]
    for method in methods:
        package = method.package
        lines.append(f"| {package} {version(package)} | {method.name} | `{method.call}` |")
    return lines


def angles_on(text, table):
    """Read the first angle of every cell back from the page, as {(package, method): [angle of every level]}."""
    begin, end = (text.index(f"<!-- {word} {table.__name__} -->") for word in ("begin", "end"))
    rows = [line.strip("| ").split(" | ") for line in text[begin:end].splitlines()[3:]]
    return {
        (package, name): [
            float("nan" if said == "refused" else said.split(",")[0]) for said in cells
        ]
        for package, name, *cells, _ in rows
    }


def drawn(text):
    """The tables of the page as one picture: rows are methods, columns are conditions, colours are angles."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    tables = {table: angles_on(text, table) for table in TABLES if table is not number}
    rows = list(dict.fromkeys(row for angles in tables.values() for row in angles))
    rows.sort(key=lambda row: row[0] != "endmember")
    figure = Figure(figsize=(11.5, 0.27 * len(rows) + 1.2), layout="constrained")
    widths = [len(TABLES[table]) for table in tables]
    panels = figure.subplots(1, len(tables), sharey=True, width_ratios=widths)
    for axes, (table, angles) in zip(panels, tables.items(), strict=True):
        blank = [np.nan] * len(TABLES[table])
        grid = np.array([angles.get(row, blank) for row in rows])
        image = axes.imshow(grid, norm=LogNorm(0.5, 45), cmap="RdYlGn_r", aspect="auto")
        for (row, column), value in np.ndenumerate(grid):
            if np.isfinite(value):
                said = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
                ink = "k" if 0.8 < value < 28 else "w"
                axes.text(column, row, said, ha="center", va="center", fontsize=6.5, color=ink)
        axes.set_xticks(range(len(blank)), [f"{level:g}" for level in TABLES[table]])
        axes.set_title(HEADS[table], fontsize="small")
        axes.axhline(sum(row[0] == "endmember" for row in rows) - 0.5, color="k", linewidth=1)
        axes.tick_params(length=0, labelsize="small")
    panels[0].set_yticks(
        range(len(rows)), [name if who == "endmember" else f"{who}: {name}" for who, name in rows]
    )
    bar = figure.colorbar(image, ax=panels, aspect=40, pad=0.01, ticks=[0.5, 1, 2, 5, 10, 20, 45])
    bar.ax.set_yticklabels(["0.5°", "1°", "2°", "5°", "10°", "20°", "45°"], fontsize="small")
    return figure


def beside(name, lines):
    """The lines of a table that the page holds, with those that were measured now in their places or at the end."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    text = PAGE.read_text(encoding="utf-8")
    kept = text[text.index(begin) + len(begin) : text.index(end)].strip().splitlines()
    for line in lines[2:]:
        row = line.split(" | ")[:2]
        places = [i for i, old in enumerate(kept) if old.split(" | ")[:2] == row]
        if places:
            kept[places[0]] = line
        else:
            kept.append(line)
    return kept


def write(name, lines):
    """Put lines in the place of the page that bears the name."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(place.sub(lambda _: "\n".join([begin, *lines, end]), text), encoding="utf-8")


def main() -> None:
    """Print the tables asked for, and write them where that is asked."""
    names = {table.__name__: table for table in TABLES}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tables", nargs="*", choices=[*names, []], default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--rows", nargs="*", help="only these methods, by their names; the page keeps the others"
    )
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name} as well")
    options = parser.parse_args()
    methods = [
        row for row in [*our_rows(), *their_rows()] if not options.rows or row.name in options.rows
    ]
    for name in options.tables or names:
        print(f"\n== {name}: {names[name].__doc__}")
        lines = score(names[name], methods, options.seeds)
        if options.write:
            write(name, beside(name, lines) if options.rows else lines)
    if options.write:
        write("calls", beside("calls", calls(methods)) if options.rows else calls(methods))
        drawn(PAGE.read_text(encoding="utf-8")).savefig(FIGURE, dpi=130)
        print(f"\n{PAGE}\n{FIGURE}")


if __name__ == "__main__":
    main()
