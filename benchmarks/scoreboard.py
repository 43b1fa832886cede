"""How far from the truth: every method of this package and of others, where the truth is known.

python benchmarks/scoreboard.py                        every table, 20 seeds for rows that are judged, 3 for others
python benchmarks/scoreboard.py dose --seeds 10        one table
python benchmarks/scoreboard.py dose --rows NMF VCA    only these rows ("judged", "others", a package)
python benchmarks/scoreboard.py --write                into docs/scoreboard.md as well; what is not measured stays

Programs of others that are not installed are left out: pip install ".[bench]", and espm where HyperSpy 2.2 will do.
The published cubes of the table "interface" are read from the folder that ENDMEMBER_DATA names.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import logging
import os
import re
import time
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

import endmember as em
from endmember.synthetic.fields import smooth_field

PAGE = Path(__file__).parents[1] / "docs" / "scoreboard.md"
FIGURE = PAGE.parent / "images" / "scoreboard.png"
PUBLISHED = "phantoms/oxide_interface_dose200.npz"
SHAPE, CHANNELS, PHASES = (32, 32), 128, 3
FOUND = 5.0  # degrees within which a phase counts as found
SEEDS, FEW = 20, 3  # of rows that are judged, and of the others
SLOW = 5.0  # seconds a fit from which a row that is judged gets few seeds as well
FINE = 16  # steps a channel in which a common shift of the energy axis is looked for


# ------------------------------------------------------------------------------------- the data
@dataclass
class Scene:
    """Counts (ny, nx, channels) with true maps and spectra; how many components are asked for.

    Where the energy axis drifts, `fine` are the spectra in steps of 1 / FINE of a channel.
    """

    data: np.ndarray
    maps: np.ndarray
    spectra: np.ndarray
    k: int = PHASES
    fine: np.ndarray | None = None
    shares: bool = False  # maps are scored as shares of a pixel, spectra by their mean angle


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
    """The oxides at 100 counts, none alone: the share of every pixel that is the mean of the image.

    With "as like spectra" the same data are scored against their other truth.
    """
    number, alike = (float(share.split()[0]), True) if isinstance(share, str) else (share, False)
    pure = dose(100, seed)
    mean = pure.maps.mean(axis=(0, 1))
    scene = counted((1 - number) * pure.maps + number * mean, pure.spectra, seed)
    if alike:
        # (1 - s) M S + s 1 m S is M ((1 - s) S + s 1 (m S)) where the rows of M sum to one, as they nearly do
        scene.maps = pure.maps
        scene.spectra = (1 - number) * scene.spectra + number * (mean @ scene.spectra)
    return scene


def likeness(share, seed):
    """The oxides at 100 counts, with spectra that are alike: the share of each that is their mean."""
    scene = dose(100, seed)
    spectra = (1 - share) * scene.spectra + share * scene.spectra.mean(axis=0)
    return counted(scene.maps, spectra, seed)


def drift(level, seed):
    """The oxides at 100 counts on an energy axis that drifts; channels peak to peak.

    With "fine" the window has 512 channels instead of 128, so that peaks are wider than channels.
    """
    told = level.split() if isinstance(level, str) else [level]
    shift, channels = float(told[0]), 4 * CHANNELS if len(told) > 1 else CHANNELS
    phantom = em.synthetic.mixed_phases(SHAPE, channels, k=PHASES, dose=100, drift=shift, seed=seed)
    fine = em.synthetic.mixed_phases((8, 8), FINE * channels, k=PHASES, seed=seed).spectra
    return Scene(phantom.data, phantom.maps, phantom.spectra, fine=fine)


def faces(counts, seed):
    """Every face of the simplex touched and no pixel purer than 80 %."""
    phantom = em.synthetic.mixed_phases(SHAPE, CHANNELS, PHASES, dose=counts, pure=False, seed=seed)
    return Scene(phantom.data, phantom.maps, phantom.spectra)


def oxides(seed, k=PHASES):
    """Spectra of oxides, and where the maps of a scene come from."""
    spectra = em.synthetic.mixed_phases((8, 8), CHANNELS, k, dose=100, seed=seed).spectra
    return spectra, np.random.default_rng([seed, 1])


def precipitate(seed):
    """Two grains and a plate between them, some 2 pixels wide, that fills 60 % of the thickness at most."""
    spectra, rng = oxides(seed)
    y, x = np.indices(SHAPE) - np.array(SHAPE).reshape(2, 1, 1) / 2
    angle, aside = rng.uniform(0, np.pi), rng.uniform(-4, 4)
    across = x * np.cos(angle) + y * np.sin(angle) - aside
    along = y * np.cos(angle) - x * np.sin(angle)
    right = np.clip((x - rng.uniform(-4, 4)) / 4 + 0.5, 0, 1)
    plate = 0.6 * np.clip(1.5 - np.abs(across) / 1.5, 0, 1) * (np.abs(along) < 11)
    maps = np.stack([(1 - plate) * (1 - right), (1 - plate) * right, plate], axis=-1)
    return counted(maps, spectra, seed)


def core(counts, seed):
    """A round core inside its shell, on a thin film that is everywhere."""
    radius = np.hypot(*np.indices(SHAPE) - np.array(SHAPE).reshape(2, 1, 1) / 2)
    whole, inner = (np.sqrt(np.maximum(r**2 - radius**2, 0)) / 14 for r in (14.0, 8.0))
    maps = np.stack([inner, whole - inner, np.full(SHAPE, 0.15)], axis=-1)
    return counted(maps, oxides(seed)[0], seed, counts)


def blobs(seed):
    """Four phases in round blobs whose flanks are small amounts and nowhere zero, at 300 counts."""
    spectra, rng = oxides(seed, 4)
    places = rng.uniform(0, SHAPE[0], (4, 6, 2, 1, 1))
    widths = rng.uniform(2, 4, (4, 6, 1, 1))
    squares = ((np.indices(SHAPE) - places) ** 2).sum(axis=2)
    maps = np.moveaxis(np.exp(-squares / (2 * widths**2)).sum(axis=1) + 1e-3, 0, -1)
    scene = counted(maps, spectra, seed, 300)
    scene.k = 4
    return scene


def everywhere(seed):
    """Three phases whose shares vary smoothly and are nowhere zero."""
    spectra, rng = oxides(seed)
    fields = np.stack([smooth_field(SHAPE, rng, 0.1) for _ in spectra], axis=-1)
    maps = np.exp(fields)
    return counted(maps / maps.sum(axis=-1, keepdims=True), spectra, seed)


def columns(seed):
    """Columns of Mn2+ and Mn3+ under a probe with tails, at 300 counts."""
    phantom = em.synthetic.atomic_columns(SHAPE, seed=seed)
    return Scene(phantom.data, phantom.maps, phantom.spectra, k=2)


def elution(seed):
    """A sequence of 200 spectra: three profiles with tails that come after each other and overlap."""
    spectra, rng = oxides(seed)
    time = np.arange(200.0)[:, None, None]
    centres = np.array([70.0, 95.0, 120.0]) + rng.uniform(-4, 4, 3)
    widths = rng.uniform(10, 16, 3) * np.where(time > centres, 1.5, 1.0)
    return counted(np.exp(-(((time - centres) / widths) ** 2) / 2), spectra, seed)


SHAPES = {
    "faces": lambda seed: faces(100, seed),
    "faces, 1000": lambda seed: faces(1000, seed),
    "plate": precipitate,
    "core": lambda seed: core(100, seed),
    "core, 3": lambda seed: core(3, seed),
    "blobs": blobs,
    "everywhere": everywhere,
    "columns": columns,
    "elution": elution,
}


def shapes(name, seed):
    """Other places where phases lie, at 100 counts unless said otherwise."""
    return SHAPES[name](seed)


def phases(k, seed):
    """More than three oxides at 100 counts, each alone in some pixels."""
    phantom = em.synthetic.mixed_phases(SHAPE, CHANNELS, k=k, dose=100, seed=seed)
    return Scene(phantom.data, phantom.maps, phantom.spectra, k)


def interface(level, seed):
    """Two grains and a precipitate on their boundary, 64 x 64, 200 counts a spectrum; drift in channels peak to peak.

    With "published" the cubes that the simulator's author keeps, seeds 0 to 2.
    """
    if isinstance(level, str):
        cubes = np.load(Path(os.environ["ENDMEMBER_DATA"]) / PUBLISHED)
        name = f"drift{float(level.split()[0]):.1f}_seed{seed}".replace(".", "_")
        data, maps, spectra = (cubes[f"{part}_{name}"] for part in ("cube", "maps", "spectra"))
        at = np.arange(FINE * spectra.shape[1]) / FINE
        fine = CubicSpline(np.arange(spectra.shape[1]), spectra, axis=1)(at)
        return Scene(data, maps, spectra, fine=fine, shares=True)
    phantom = em.synthetic.oxide_interface(drift=level, seed=seed)
    fine = em.synthetic.oxide_interface((8, 8), FINE * 200, seed=seed).spectra
    return Scene(phantom.data, phantom.maps, phantom.spectra, fine=fine, shares=True)


def number(k, seed):
    """The oxides at 100 counts, with another number of components asked for than the three there are."""
    scene = dose(100, seed)
    scene.k = k
    return scene


TABLES = {
    dose: (1000, 300, 100, 30, 10, 3),
    background: (1000, 100, 10),
    xrays: (100, 20, 5, 2),
    mixing: (0.1, 0.3, 0.5, "0.1 alike", "0.3 alike", "0.5 alike"),
    likeness: (0.3, 0.6, 0.9),
    drift: (0.5, 1, 1.5, 2, 4, "0 fine", "1.5 fine", "4 fine"),
    shapes: tuple(SHAPES),
    phases: (4, 6),
    interface: (0, 1.5, "0 published", "1.5 published"),
    number: (2, 3, 4, 5),
}
HEADS = {
    dose: "EELS, counts",
    background: "with background",
    xrays: "EDXS, counts",
    mixing: "mixed pixels",
    likeness: "like spectra",
    drift: "drift, channels",
    shapes: "other shapes",
    phases: "phases",
    interface: "interface, drift",
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
    judged: bool = False  # measured with more seeds

    @property
    def asked(self):
        """By which words of --rows it is meant."""
        if self.package != "endmember":
            return {self.package, f"{self.package}: {self.name}"}
        return {self.name, "judged" if self.judged else "others"}


def ours(make):
    """Return the function that fits one of our models with k components."""

    def fit(scene):
        model = make(scene.k).fit(scene.data)
        return model.components_, model.maps_.reshape(-1, model.n_components_)

    return fit


def default(**told):
    """What em.unmix answers without a model."""

    def fit(scene):
        number = {} if told.get("unknown") else {"n_components": scene.k}
        assumed = {name: value for name, value in told.items() if name != "unknown"}
        model = em.unmix(scene.data, **number, **assumed).model
        return model.components_, model.maps_.reshape(-1, model.n_components_)

    return fit


class Untold(ValueError):
    """Raised where a row has nothing to be told."""


def true_zeros(scene):
    """Where phases are absent."""
    absent = scene.maps <= 0
    if scene.k != scene.maps.shape[-1] or not absent.any():
        raise Untold
    return absent


def zeros_known(scene):
    """The limit: told where every phase is absent, from the true maps and spectra; inside em.Drifting under drift."""
    told = {"maps": em.Absent(true_zeros(scene)), "init": (scene.maps, scene.spectra)}
    model = em.NMF(scene.k, loss=em.PoissonScaled(), **told)
    model = (model if scene.fine is None else em.Drifting(model)).fit(scene.data)
    return model.components_, model.maps_.reshape(-1, scene.k)


def bound(scene):
    """A draw from the Cramér-Rao bound: an answer without bias, of the least variance, with the zeros known.

    Fisher information of maps (where they are not zero) and spectra under Poisson noise; the scale of each spectrum
    is fixed by leaving the directions out that the data do not see.
    """
    present, rng = ~true_zeros(scene).reshape(-1, scene.k), np.random.default_rng(scene.data.sum())
    if scene.fine is not None:
        raise Untold
    C, S = scene.maps.reshape(-1, scene.k), scene.spectra
    clean = C @ S
    weights = 1 / np.maximum(clean, 1e-3 * clean.mean())
    (n, k), m = C.shape, S.shape[1]
    of_maps = np.einsum("ic,ac,bc->iab", weights, S, S) * (present[:, :, None] & present[:, None])
    of_maps += np.eye(k) * ~present[:, :, None]  # absent amounts are no parameters
    inverse = np.linalg.inv(of_maps) * (present[:, :, None] & present[:, None])
    both = np.einsum("ia,ic,bc->iacb", C, weights, S).reshape(n, k * m, k)
    information = -np.einsum("ipa,iaq->piq", both, inverse).reshape(k * m, -1) @ np.moveaxis(
        both, 2, 1
    ).reshape(-1, k * m)
    blocks = information.reshape(k, m, k, m)
    blocks[:, range(m), :, range(m)] += np.einsum("ia,ib,ic->cab", C, C, weights)
    seen, directions = np.linalg.eigh(information)
    use = seen > 1e-9 * seen[-1]
    off = directions[:, use] @ (rng.standard_normal(use.sum()) / np.sqrt(seen[use]))
    roots = np.linalg.cholesky(of_maps)
    noise = np.linalg.solve(np.moveaxis(roots, 1, 2), rng.standard_normal((n, k, 1)))[..., 0]
    away = noise * present - np.einsum("iab,ib->ia", inverse, off @ both)
    return S + off.reshape(k, m), C + away


def our_rows():
    """Every model of this package that needs nothing but the data and a number."""
    push, counts, zeros = em.SoftOrthogonal(0.01), em.PoissonScaled(), em.Absent("auto")
    tight = {"spectra": em.MinimumVolume("auto"), "maps": em.SumToOne(mode="scale")}
    r = {"random_state": 0}
    return [
        Method("default", "em.unmix(signal, n_components=k)", default(), judged=True),
        Method("default, number unknown", "em.unmix(signal)", default(unknown=True)),
        Method("default, distinct spectra", 'em.unmix(signal, n_components=k, assume="distinct_spectra")',
               default(assume="distinct_spectra")),
        Method("NMF", "em.NMF(k)", ours(lambda k: em.NMF(k, **r)), judged=True),
        Method("NMF by ALS", "em.NMF(k, solver=em.ALS())", ours(lambda k: em.NMF(k, solver=em.ALS(), **r))),
        Method("NMF by MALS", "em.NMF(k, solver=em.MALS())", ours(lambda k: em.NMF(k, solver=em.MALS(), **r))),
        Method("NMF by HALS", "em.NMF(k, solver=em.HALS())", ours(lambda k: em.NMF(k, solver=em.HALS(), **r))),
        Method("NMF, counts", "em.NMF(k, loss=em.PoissonScaled())", ours(lambda k: em.NMF(k, loss=counts, **r)),
               judged=True),
        Method("NMF, Poisson", "em.NMF(k, loss=em.Poisson())", ours(lambda k: em.NMF(k, loss=em.Poisson(), **r))),
        Method("NMF-SO", "em.NMF(k, loss=em.PoissonScaled(), maps=em.SoftOrthogonal(0.01))",
               ours(lambda k: em.NMF(k, loss=counts, maps=push, **r))),
        Method("NMF, tested zeros", 'em.NMF(k, loss=em.PoissonScaled(), maps=em.Absent("auto"))',
               ours(lambda k: em.NMF(k, loss=counts, maps=zeros, **r)), judged=True),
        Method("NMF, tested zeros, smooth",
               'em.NMF(k, loss=em.PoissonScaled(), maps=[em.Absent("auto"), em.Smooth("auto")])',
               ours(lambda k: em.NMF(k, loss=counts, maps=[zeros, em.Smooth("auto")], **r))),
        Method("NMF, tested zeros, drifting", 'em.Drifting(em.NMF(k, loss=em.PoissonScaled(), maps=em.Absent("auto")))',
               ours(lambda k: em.Drifting(em.NMF(k, loss=counts, maps=zeros, **r))), only=(drift, interface),
               judged=True),
        Method("NMF, tested zeros, smooth, drifting",
               'em.Drifting(em.NMF(k, loss=em.PoissonScaled(), maps=[em.Absent("auto"), em.Smooth("auto")]))',
               ours(lambda k: em.Drifting(em.NMF(k, loss=counts, maps=[zeros, em.Smooth("auto")], **r))),
               only=(drift, interface)),
        Method("NMF, zeros known", "em.NMF(k, loss=em.PoissonScaled(), maps=em.Absent(mask), init=truth)", zeros_known,
               judged=True),
        Method("Cramér–Rao bound", "bound(scene) of benchmarks/scoreboard.py", bound, judged=True),
        Method("ARD-SO-NMF", "em.NMF(k + 5, loss=em.PoissonScaled(), maps=[em.SoftOrthogonal(0.01), em.Relevance()])",
               ours(lambda k: em.NMF(k + 5, loss=counts, maps=[push, em.Relevance()], **r))),
        Method("NMF, little volume",
               'em.NMF(k, loss=em.PoissonScaled(), spectra=em.MinimumVolume("auto"), maps=em.SumToOne(mode="scale"))',
               ours(lambda k: em.NMF(k, loss=counts, **tight, **r))),
        Method("NMF-SO, drifting", "em.Drifting(em.NMF(k, loss=em.PoissonScaled(), maps=em.SoftOrthogonal(0.01)))",
               ours(lambda k: em.Drifting(em.NMF(k, loss=counts, maps=push, **r))), only=(drift, interface)),
        Method("VCA", "em.VCA(k)", ours(lambda k: em.VCA(k, **r))),
        Method("SPA", "em.SPA(k)", ours(lambda k: em.SPA(k))),
        Method("N-FINDR", "em.NFINDR(k)", ours(lambda k: em.NFINDR(k, **r))),
        Method("SSS", "em.SubspaceSampling(k)", ours(lambda k: em.SubspaceSampling(k, **r))),
        Method("SSS on maps", 'em.SubspaceSampling(k, on="maps")',
               ours(lambda k: em.SubspaceSampling(k, on="maps", **r)), judged=True),
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
    """How far every phase is off, (3, phases): its spectrum (deg), that modulo a common shift, and its map (per cent).

    A map's error is the root mean square, after the best scale, in per cent of the map's own; of shares of a pixel
    it is that of all of them, in per cent of a pixel.
    """
    spectra, maps = upright(np.asarray(spectra, float), np.asarray(maps, float))
    true, k = scene.maps.reshape(-1, len(scene.spectra)).T, len(scene.spectra)
    off = np.full((3, k), 90.0)
    off[2] = 100.0
    if len(spectra) >= k:
        places, order = np.arange(k), em.match_components(spectra, scene.spectra)
    else:
        places, order = em.match_components(scene.spectra, spectra), np.arange(len(spectra))
    off[0, places] = em.spectral_angle(spectra[order], scene.spectra[places])
    off[1, places] = shifted_angles(scene, spectra[order], places)
    off[2, places] = 100 * np.sin(np.radians(em.spectral_angle(maps.T[order], true[places])))
    if scene.shares and len(places) == k:
        off[2] = 100 * error_of_shares(scene, spectra[order], maps.T[order])
    return off


def shifted_angles(scene, spectra, places):
    """Angles of the spectra to the true ones, moved together along the energy axis to where they are least."""
    if scene.fine is None:
        return em.spectral_angle(spectra, scene.spectra[places])
    at = FINE * np.arange(spectra.shape[1])
    moved = (
        em.spectral_angle(spectra, scene.fine[places][:, np.clip(at + step, 0, at[-1] + FINE - 1)])
        for step in range(-6 * FINE, 6 * FINE + 1)
    )
    return min(moved, key=np.mean if scene.shares else np.max)


def error_of_shares(scene, spectra, maps):
    """Root mean square error of maps whose pixels sum to one, of spectra scaled to the true ones."""
    seen = np.isfinite(spectra).all(axis=0)  # drift leaves none at an end of the axis
    true = scene.spectra[:, seen]
    scale = (spectra[:, seen] * true).sum(axis=1) / (true**2).sum(axis=1)
    found, true = scale * maps.T, scene.maps.reshape(maps.T.shape)
    found, true = (M / np.maximum(M.sum(axis=1, keepdims=True), 1e-12) for M in (found, true))
    return np.sqrt(np.mean((found - true) ** 2))


def seeds_of(method, level, asked):
    """How many seeds a method gets for a level."""
    seeds = asked or (SEEDS if method.judged else FEW)
    return min(seeds, 3) if "published" in str(level) else seeds


def measured(method, table, level, asked=None):
    """Errors of one method for every seed, (seeds, 3, phases), NaN where it gave no answer; seconds of processor time.

    None and 0 where it has nothing to be told, or the data are not at hand.
    """
    found, spent = [], 0.0
    if "published" in str(level) and "ENDMEMBER_DATA" not in os.environ:
        return None, spent
    for seed in range(seeds_of(method, level, asked)):
        scene = table(level, seed)
        off, begun = np.full((3, len(scene.spectra)), np.nan), time.process_time()
        with quiet(), contextlib.suppress(ValueError, np.linalg.LinAlgError):
            try:
                answer = method.fit(scene)
            except Untold:
                return None, 0.0
            spent += time.process_time() - begun
            off = errors(scene, *answer)
        found.append(off)
        if not asked and seed == FEW - 1 and spent > FEW * SLOW:
            break
    return np.array(found), spent / len(found)


@contextlib.contextmanager
def quiet():
    """Keep warnings, logs and prints of all programs away."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        yield
    logging.disable(logging.NOTSET)


# ----------------------------------------------------------------------------------- the tables
def cell(table, found):
    """What one cell says of the errors of all seeds, (seeds, 3, phases)."""
    if found is None:
        return "–"
    if np.isnan(found).any():
        return "refused"
    if table is number:
        return f"{np.median((found[:, 0] < FOUND).sum(axis=-1)):.0f} of {PHASES}"
    worst = found.mean(axis=-1) if table is interface else found.max(axis=-1)
    spectra, moved, maps = (
        f"{value:.{1 if value < 9.95 else 0}f}" for value in np.median(worst, axis=0)
    )
    common = f" ({moved})" if table in (drift, interface) else ""
    return f"{spectra}{common},\u00a0{maps}"


def head(table):
    """The first lines of a table."""
    columns = [f"{level:g}" if not isinstance(level, str) else level for level in TABLES[table]]
    line = f"| package | method | {' | '.join(columns)} | seeds | ms |"
    return [line, "|---" * (len(columns) + 4) + "|"]


def score(table, methods, asked):
    """Print one table row by row, in Markdown, and yield its rows."""
    levels = TABLES[table]
    print(*head(table), sep="\n")
    for method in methods:
        if table not in method.only:
            continue
        results = [measured(method, table, level, asked) for level in levels]
        cells = [cell(table, found) for found, _ in results]
        most = max((0 if found is None else len(found) for found, _ in results), default=0)
        spent = 1000 * np.median(
            [seconds for found, seconds in results if found is not None] or [0]
        )
        line = f"| {method.package} | {method.name} | {' | '.join(cells)} | {most} | {spent:,.0f} |"
        print(line, flush=True)
        yield line


def calls(methods):
    """The table of what every row calls."""
    lines = ["| package | method | what is called |", "|---|---|---|"]
    for method in methods:
        package = method.package
        current = em.__version__ if package == "endmember" else version(package)
        lines.append(f"| {package} {current} | {method.name} | `{method.call}` |")
    return lines


def angles_on(text, table):
    """Read the angle of every cell back from the page, modulo a common shift, as {(package, method): [angles]}."""
    begin, end = (text.index(f"<!-- {word} {table.__name__} -->") for word in ("begin", "end"))
    rows = [line.strip("| ").split(" | ") for line in text[begin:end].splitlines()[3:]]
    return {
        (package, name): [
            float((re.findall(r"\((.*)\)", said) or re.findall(r"^[\d.]+", said) or ["nan"])[0])
            for said in cells
        ]
        for package, name, *cells, _, _ in rows
    }


def drawn(text):
    """The tables of the page as one picture: rows are methods, columns are conditions, colours are angles."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    tables = {table: angles_on(text, table) for table in TABLES if table is not number}
    rows = [(row.package, row.name) for row in our_rows()]
    rows += sorted({row for angles in tables.values() for row in angles} - set(rows))
    figure = Figure(figsize=(19, 0.27 * len(rows) + 1.6), layout="constrained")
    widths = [len(TABLES[table]) for table in tables]
    panels = figure.subplots(1, len(tables), sharey=True, width_ratios=widths)
    for axes, (table, angles) in zip(panels, tables.items(), strict=True):
        blank = [np.nan] * len(TABLES[table])
        grid = np.array([angles.get(row, blank) for row in rows])
        image = axes.imshow(grid, norm=LogNorm(0.5, 45), cmap="cividis_r", aspect="auto")
        for (row, column), value in np.ndenumerate(grid):
            if np.isfinite(value):
                said = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
                ink = "k" if value < 5 else "w"
                axes.text(column, row, said, ha="center", va="center", fontsize=6.5, color=ink)
        names = [f"{level:g}" if not isinstance(level, str) else level for level in TABLES[table]]
        turned = {"rotation": 60, "ha": "right"} if max(map(len, names)) > 4 else {}
        axes.set_xticks(range(len(blank)), names, **turned)
        axes.set_title(HEADS[table], fontsize="small")
        axes.axhline(sum(row[0] == "endmember" for row in rows) - 0.5, color="k", linewidth=1)
        axes.tick_params(length=0, labelsize="small")
    panels[0].set_yticks(
        range(len(rows)), [name if who == "endmember" else f"{who}: {name}" for who, name in rows]
    )
    bar = figure.colorbar(image, ax=panels, aspect=40, pad=0.01, ticks=[0.5, 1, 2, 5, 10, 20, 45])
    bar.ax.set_yticklabels(["0.5°", "1°", "2°", "5°", "10°", "20°", "45°"], fontsize="small")
    return figure


def write(name, lines):
    """Put rows into the table of the page that bears the name; rows and cells that are not measured stay."""
    first, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    text = PAGE.read_text(encoding="utf-8")
    begin = text.index(first) + len(first)
    kept = {row_of(line): line for line in text[begin : text.index(end)].splitlines()}
    for line in lines:
        cells = zip(line.split(" | "), kept.get(row_of(line), line).split(" | "), strict=True)
        kept[row_of(line)] = " | ".join(was if now == "–" else now for now, was in cells)
    table = "\n".join([*kept.values(), end])
    PAGE.write_text(text[:begin] + table + text[text.index(end) + len(end) :], encoding="utf-8")


def row_of(line):
    """Package without its version, and method."""
    package, _, method = line.partition(" | ")
    return *package.split(" ")[1:2], method.split(" | ")[0]


def main() -> None:
    """Print the tables asked for, and write them where that is asked."""
    names = {table.__name__: table for table in TABLES}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tables", nargs="*", choices=[*names, []], default=[])
    parser.add_argument("--seeds", type=int, help=f"{SEEDS} for judged rows, {FEW} for others")
    parser.add_argument(
        "--rows", nargs="*", help='only these, by their names, "judged", "others", or of a package'
    )
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name} as well")
    options = parser.parse_args()
    methods = [
        row
        for row in [*our_rows(), *their_rows()]
        if not options.rows or row.asked & set(options.rows)
    ]
    for name in options.tables or names:
        print(f"\n== {name}: {names[name].__doc__}")
        for line in score(names[name], methods, options.seeds):
            if options.write:
                write(name, [line])
    if options.write:
        write("calls", calls(methods))
        drawn(PAGE.read_text(encoding="utf-8")).savefig(FIGURE, dpi=110)
        print(f"\n{PAGE}\n{FIGURE}")


if __name__ == "__main__":
    main()
