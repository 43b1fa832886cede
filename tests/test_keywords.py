"""Every keyword of the public functions and classes has an effect or is refused by name; each has a row here."""

from __future__ import annotations

import dataclasses
import inspect
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

import endmember as em
from effects import Refused, Same, With, differ, numbers
from endmember.factor.data.axis import Axis
from endmember.factor.noise.model import NoiseModel

PHANTOM = em.synthetic.mixed_phases((6, 5), channels=40, k=2, seed=1)
CUBE = PHANTOM.signal
X = np.asarray(CUBE.data, dtype=float)
ENERGY = PHANTOM.energy
RNG = np.random.default_rng(0)
OTHER = RNG.poisson(4.0 + PHANTOM.maps @ RNG.gamma(1.0, 40.0, (2, 30))).astype(float)
PIXELS, CHANNELS = np.zeros((6, 5), bool), np.zeros(40, bool)
PIXELS[0, :2] = CHANNELS[-3:] = True
WEIGHTS = RNG.uniform(0.2, 1.0, X.shape)
TENSOR = np.einsum("ir,jr,kr->ijk", *(RNG.uniform(size=(n, 2)) for n in (5, 6, 12)))
TENSOR = TENSOR + 0.01 * RNG.uniform(size=TENSOR.shape)
MOVED = em.synthetic.mixed_phases((6, 5), channels=60, k=2, dose=3000, drift=1.5, seed=3)
LOW_LOSS = 1e4 * np.exp(-0.5 * (np.arange(-10.0, 20.0) - RNG.normal(0, 1, (6, 5, 1))) ** 2)
NOISE = NoiseModel(gain=4.0, read_variance=400.0)
SPIKY = X.copy()
SPIKY[2, 2, 20] += 5000
SPIKY[2, 3, 20] += 4 * SPIKY[2, 3, 20] ** 0.5
SPIKY[4, 1, 9] += 60
FALLING = RNG.poisson(3e5 * (ENERGY / 400) ** -(2.5 + PHANTOM.maps[..., :1])).astype(float)
QUICK = {"n_starts": 4, "max_iter": 30, "random_state": 0}


def nmf(data: Any = X, **given: Any) -> Any:
    return em.NMF(2, **{**QUICK, **given}).fit(data)


def stop(progress: Any) -> bool:
    return True


def model_with(kind: Any, factor: str, **parameters: Any) -> Any:
    """A call that fits with a penalty, a loss or a solver of these keywords."""
    return lambda **given: nmf(**{factor: kind(**given), **parameters})


def fitted(kind: Any, data: Any = X, **parameters: Any) -> Any:
    """A call that fits an estimator of these keywords."""
    return lambda **given: kind(**{**parameters, **given}).fit(data)


def fusion(factor: Any = (), term: Any = (), init: Any = None, **given: Any) -> list[Any]:
    """The factors of two data sets with the same maps, and the names."""
    maps, *spectra = em.Factor(2, **dict(factor)), em.Factor(2), em.Factor(2)
    terms = [
        em.Term(data.reshape(30, -1), maps, S, **(dict(term) if S is spectra[0] else {}))
        for data, S in zip((X, OTHER), spectra, strict=True)
    ]
    found = em.Fusion(
        terms, init=init if init is None else {maps: init}, **{**QUICK, **given}
    ).fit()
    return [repr(maps), *(found[one] for one in (maps, *spectra))]


FITTED = nmf()
ANSWER = cache(lambda: em.unmix(CUBE, em.NMF(2, **QUICK)))
SQUARE = {"solver": em.HALS(), "max_iter": 3, "n_starts": 1}

KEV, EV = np.arange(0.2, 8.0, 0.02), np.arange(450.0, 700.0, 2.0)


@cache
def COMPOSED():
    phantom = em.synthetic.edxs_phases((6, 6), channels=512, k=1, dose=20)
    lines = em.XRayLines(["O", "Mg", "Si", "Fe"])
    return em.NMF(1, spectra=lines, **QUICK).fit(phantom.signal), phantom.signal


HINT_ENERGY = np.arange(500.0, 600.0, 0.5)
HINTED = [np.where(HINT_ENERGY < 532, 0.0, np.exp(-(HINT_ENERGY - 532) / 60))]
DARK = RNG.normal(0.0, 1.0, 300)
RNG_SHIFTS = RNG.normal(size=(6, 5))
SPIKES = {
    "probability": 0.3,
    "grow": 4,
    "afterglow": Same(False),
    "noise": NoiseModel(gain=0.0, read_variance=1e6),
}
BACKGROUND = {
    "neighbours": With(9.0, {"method": "local"}),
    "rank": With(1, {"method": "compressed", "rank": 2}),
    "exponents": With([1.0, 6.0], {"method": "convex"}),
    "beam_energy": With(900.0, {"method": "bremsstrahlung", "beam_energy": 1200.0}),
    "efficiency": With(
        np.linspace(0.5, 1, 40), {"method": "bremsstrahlung", "beam_energy": 1200.0}
    ),
}


def keywords(call: Any) -> set[str]:
    """The keywords of a function that may be left out."""
    taken = inspect.signature(call).parameters.items()
    return {name for name, one in taken if one.default is not one.empty and name != "X"}


#: For every name the call that takes its keywords, and a changed value of each.
ROWS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ADMM": (model_with(em.ADMM, "solver", maps=em.TotalVariation(0.1), max_iter=3), {"inner": 2}),
    "ALS": (model_with(em.ALS, "solver", max_iter=3), {"floor": 5.0}),
    "HALS": (model_with(em.HALS, "solver", max_iter=3), {"inner": 1}),
    "MALS": (model_with(em.MALS, "solver", max_iter=3), {"form": "as_printed"}),
    "Newton": (
        model_with(em.Newton, "solver", loss=em.Poisson(), max_iter=3),
        {"inner": 3, "relaxation": 1.0},
    ),
    "BetaDivergence": (model_with(em.BetaDivergence, "loss", max_iter=5), {"beta": 0.5}),
    "MinimumVolume": (model_with(em.MinimumVolume, "spectra"), {"weight": 0.1, "delta": 1.0}),
    "Monotone": (
        model_with(em.Monotone, "spectra"),
        {"direction": "increasing", "columns": [0]},
    ),
    "Norm": (model_with(em.Norm, "maps"), {"gamma": 0.5}),
    "XRayLines": (
        lambda **given: em.XRayLines(
            **{"elements": ["Fe", "O"], "energy": KEV, **given}
        ).columns_on(Axis(KEV, "keV")),
        {"elements": ["Si"], "energy": 1.01 * KEV, "beam_energy": 9.0, "resolution": 150.0},
    ),
    "CoreLossEdges": (
        lambda **given: em.CoreLossEdges(
            ["O_K"],
            **{"energy": EV, "beam_energy": 200, "convergence": 10, "collection": 20, **given},
        ).columns_on(Axis(EV, "eV")),
        {
            "fine": 60.0,
            "energy": EV + 5,
            "beam_energy": 100.0,
            "convergence": 20.0,
            "collection": 5.0,
            "low_loss": np.array([0.0, 5.0, 1.0, 2.0]),
        },
    ),
    "assess.composition": (
        lambda **given: vars(em.assess.composition(*COMPOSED(), **given)),
        {
            "method": With("cross-section", {"factors": [1.0, 2.0, 3.0, 4.0]}),
            "factors": [1.0, 2.0, 3.0, 4.0],
            "thickness": 50.0,
            "uncertainty": With(0.05, {"factors": [1.0, 2.0, 3.0, 4.0]}),
        },
    ),
    "PowerLaws": (
        lambda **given: nmf(FALLING, spectra=em.PowerLaws(ENERGY, **given)),
        {"exponents": [1.0, 6.0], "columns": [0]},
    ),
    "Relevance": (
        lambda **given: em.NMF(4, maps=em.Relevance(**given), **QUICK).fit(X),
        {"shape": 20.0, "prior": "half-normal", "mode": "published"},
    ),
    "Absent": (
        lambda **given: nmf(maps=em.Absent("auto", **given)),
        {"threshold": 60.0, "mixed": True},
    ),
    "Ridge": (model_with(em.Ridge, "maps"), {"weight": 1.0}),
    "Smooth": (model_with(em.Smooth, "maps"), {"weight": 1.0}),
    "SoftOrthogonal": (model_with(em.SoftOrthogonal, "maps"), {"weight": 0.2, "mode": "penalty"}),
    "Sparse": (model_with(em.Sparse, "maps"), {"weight": 0.2}),
    "SumToOne": (model_with(em.SumToOne, "maps"), {"total": 2.0, "mode": "scale"}),
    "TotalVariation": (model_with(em.TotalVariation, "maps", max_iter=5), {"weight": 0.3}),
    "Unimodal": (model_with(em.Unimodal, "spectra", max_iter=5), {"columns": [0]}),
    "ZeroOutside": (lambda **given: nmf(spectra=em.ZeroOutside(3, **given)), {"stop": 30}),
    "NMF": (
        fitted(em.NMF, **QUICK, n_components=2),
        {
            "n_components": 3,
            "loss": em.Poisson(),
            "maps": em.Sparse(0.1),
            "spectra": em.Free(),
            "solver": em.MultiplicativeUpdate(),
            "init": "random",
            "n_starts": 5,
            "normalise": ("maps", "max"),
            "compress": Same(False),
            "max_iter": 2,
            "tol": 0.01,
            "random_state": With(1, {"init": "random", "max_iter": 3}),
        },
    ),
    "CP": (
        fitted(em.CP, TENSOR, **QUICK, n_components=2),
        {
            "n_components": 3,
            "modes": [None, em.Smooth(1.0), None],
            "joined": (0, 1),
            "loss": em.Poisson(),
            "solver": em.HALS(),
            "init": "random",
            "n_starts": 5,
            "compress": Same(False),
            "max_iter": 2,
            "tol": 0.01,
            "random_state": With(1, {"init": "random", "max_iter": 3}),
        },
    ),
    "Tucker": (
        fitted(em.Tucker, TENSOR, **QUICK, ranks=(2, 2, 2)),
        {
            "ranks": (1, 2, 2),
            "modes": {0: em.Monotone()},
            "core": em.Sparse(0.1),
            "joined": With((0, 1), {"ranks": 2}),
            "solver": em.HALS(),
            "n_starts": 5,
            "max_iter": 2,
            "tol": 0.01,
            "random_state": 1,
        },
    ),
    "Coupled": (
        fitted(em.Coupled, [X, OTHER], **{**QUICK, "max_iter": 8}, n_components=2),
        {
            "n_components": 1,
            "coupling": "weak",
            "gamma": With(10.0, {"coupling": "weak"}),
            "loss": em.Poisson(),
            "weight": [1.0, 5.0],
            "maps": em.Smooth(1.0),
            "spectra": em.Smooth(1.0),
            "n_starts": With(1, {"max_iter": 2}),
            "max_iter": 2,
            "tol": With(0.01, {"max_iter": 30}),
            "random_state": 1,
        },
    ),
    "Drifting": (
        fitted(em.Drifting, np.asarray(MOVED.signal.data), model=em.NMF(2, **QUICK)),
        {"model": em.VCA(2, random_state=0), "max_shift": 1, "smooth": 0, "dispersion": True},
    ),
    "Fusion": (
        lambda **given: fusion(**given),
        {
            "init": PHANTOM.maps.reshape(30, 2),
            "n_starts": With(1, {"max_iter": 2}),
            "max_iter": 2,
            "tol": 0.01,
            "random_state": 1,
        },
    ),
    "Factor": (
        lambda **given: fusion(given),
        {"penalties": em.Sparse(1.0), "fixed": PHANTOM.maps.reshape(30, 2), "name": "maps"},
    ),
    "Term": (
        lambda **given: fusion(term=given),
        {
            "weight": 3.0,
            "loss": em.Poisson(),
            "mask": PIXELS.ravel(),
            "channel_mask": CHANNELS,
            "weights": WEIGHTS.reshape(30, 40),
        },
    ),
    "MLLS": (
        fitted(em.MLLS, X, references=PHANTOM.spectra),
        {
            "references": PHANTOM.spectra[:1],
            "loss": em.Poisson(),
            "non_negative": With(
                False,
                {
                    "references": np.vstack(
                        [
                            PHANTOM.spectra,
                            PHANTOM.spectra[:1] * 0.9
                            + RNG.uniform(size=40) * PHANTOM.spectra.mean(),
                        ]
                    )
                },
            ),
            "background": "linear",
            "shift": 3.0,
            "broaden": 3.0,
            "gain": 0.05,
            "low_loss": np.exp(-0.5 * np.arange(-5.0, 6) ** 2),
            "extra": With(1, {"references": PHANTOM.spectra[:1]}),
            "maps": em.SumToOne(),
        },
    ),
    "PCA": (
        fitted(em.PCA, n_components=2),
        {"n_components": 3, "centre": True, "scaling": "poisson", "random_state": Same(1)},
    ),
    "ICA": (
        fitted(em.ICA, n_components=2, random_state=0),
        {"n_components": 3, "independent": "spectra", "scaling": "poisson", "random_state": 1},
    ),
    "CCA": (
        lambda **given: em.CCA(**{"n_components": 2, **given}).fit(X, OTHER),
        {"n_components": 1, "principal": 2},
    ),
    "PLS": (
        lambda **given: em.PLS(**{"n_components": 2, **given}).fit(X, OTHER),
        {"n_components": 1, "scale": True},
    ),
    "SPA": (fitted(em.SPA, n_components=2), {"n_components": 3, "closure": True}),
    "VCA": (
        fitted(em.VCA, n_components=2, random_state=0, n_starts=1),
        {
            "n_components": 3,
            "sampling": em.SubspaceSampling(),
            "segments": 2,
            "noise": With("low", {"n_components": 3, "noise": "high"}),
            "n_starts": Same(30),
            "closure": True,
            "random_state": Same(5),
        },
    ),
    "NFINDR": (
        fitted(em.NFINDR, n_components=3, random_state=0, n_starts=1),
        {
            "n_components": 2,
            "noise": With("low", {"noise": "high"}),
            "n_starts": Same(30),
            "closure": True,
            "random_state": Same(5),
        },
    ),
    "SubspaceSampling": (
        fitted(em.SubspaceSampling, n_components=2, random_state=0),
        {
            "n_components": 3,
            "on": "maps",
            "sampler": "rejection",
            "slack": 0.5,
            "sharpen": False,
            "n_samples": With(50, {"sampler": "rejection"}),
            "spread": With(1.0, {"sampler": "rejection"}),
            "n_starts": Same(1),
            "random_state": With(5, {"sampler": "rejection", "n_samples": 50}),
        },
    ),
    "compare": (
        lambda **given: em.compare(
            X,
            {"a": em.NMF(2, **QUICK), "b": em.VCA(2, random_state=0)},
            **{"bands": False, **given},
        ),
        {
            "mask": PIXELS,
            "channel_mask": CHANNELS,
            "weights": Refused(WEIGHTS),
            "exposure": WEIGHTS[..., 0],
            "domain": With((5, 6), {}),
            "truth": PHANTOM.spectra,
            "bands": True,
            "n_jobs": Same(2),
            "callback": With(stop, {}),
        },
    ),
    "compress": (
        lambda **given: em.compress(X, **{"rank": 3, **given}),
        {
            "rank": 4,
            "scaling": "poisson",
            "mask": PIXELS,
            "channel_mask": CHANNELS,
            "domain": With((5, 6), {}),
            "random_state": Same(1),
            "memory": Same("1GB"),
        },
    ),
    "unmix": (
        lambda **given: em.unmix(CUBE, **{"model": em.NMF(2, **QUICK), **given}),
        {
            "model": em.VCA(2, random_state=0),
            "n_components": With(3, {"model": None}),
            "assume": With("distinct_spectra", {"model": None, "n_components": 2}),
            "mask": PIXELS,
            "channel_mask": CHANNELS,
            "weights": WEIGHTS,
            "exposure": WEIGHTS[..., 0],
            "domain": Refused((5, 6)),
            "pattern": Refused((8, 5)),
            "callback": stop,
            "reasons": Same(["because"]),
            "memory": Same("1GB"),
            "checkpoint": Same("here"),
            "resume": Refused(True),
        },
    ),
    "assess.rank": (
        lambda **given: em.assess.rank(X, **{"stability": False, **given}),
        {
            "max_rank": 1,
            "mask": PIXELS,
            "channel_mask": CHANNELS,
            "weights": Refused(WEIGHTS),
            "exposure": np.where(PIXELS, 0.0, 1.0),
            "domain": (5, 6),
            "noise": NOISE,
            "stability": True,
            "random_state": 1,
            "callback": stop,
        },
    ),
    "assess.ambiguity": (
        lambda **given: em.assess.ambiguity(FITTED, X, **given),
        {
            "mask": PIXELS,
            "channel_mask": CHANNELS,
            "weights": WEIGHTS,
            "domain": Refused((5, 7)),
            "callback": Same(stop),
            "slack": 5.0,
            "random_state": Same(1),
        },
    ),
    "assess.displacement": (
        lambda **given: em.assess.displacement(FITTED, X, **{"of": ("maps", 0), **given}),
        {
            "level": 0.5,
            "mask": PIXELS,
            "channel_mask": CHANNELS,
            "weights": Refused(WEIGHTS),
            "domain": Refused((5, 7)),
            "callback": Same(stop),
            "random_state": 1,
        },
    ),
    "assess.anomalies": (
        lambda **given: em.assess.anomalies(FITTED, X, **given),
        {
            "level": 0.9,
            "noise": NOISE,
            "mask": PIXELS,
            "channel_mask": CHANNELS,
            "weights": WEIGHTS,
            "domain": Refused((5, 7)),
        },
    ),
    "assess.recurrence": (
        lambda **given: em.assess.recurrence(FITTED, X, **{"n_draws": 3, **given}),
        {
            "method": Same("counts"),
            "n_draws": 2,
            "mask": Same(PIXELS),
            "channel_mask": Same(CHANNELS),
            "weights": Refused(WEIGHTS),
            "domain": Refused((5, 7)),
            "callback": stop,
            "random_state": Same(1),
        },
    ),
    "assess.uncertainty": (
        lambda **given: em.assess.uncertainty(FITTED, X, **given),
        {
            "method": With("bootstrap", {"n_bootstrap": 3}),
            "noise": NOISE,
            "n_bootstrap": With(3, {"method": "bootstrap", "n_bootstrap": 4}),
            "mask": PIXELS,
            "channel_mask": CHANNELS,
            "weights": WEIGHTS,
            "domain": Refused((5, 7)),
            "callback": With(stop, {"method": "bootstrap", "n_bootstrap": 4}),
            "random_state": With(1, {"method": "bootstrap", "n_bootstrap": 3}),
        },
    ),
    "assess.path": (
        lambda **given: em.assess.path(
            em.NMF(2, maps=em.Sparse(), **QUICK), X, "maps__weight", [0.0, 0.3], **given
        ),
        {
            "mask": PIXELS,
            "channel_mask": CHANNELS,
            "weights": WEIGHTS,
            "exposure": WEIGHTS[..., 0],
            "domain": Refused((5, 7)),
            "callback": stop,
        },
    ),
    "assess.local_rank": (
        lambda **given: em.assess.local_rank(X, **given),
        {
            "window": 1,
            "mask": PIXELS,
            "channel_mask": Refused(np.zeros(7, bool)),
            "domain": (5, 6),
            "noise": NOISE,
            "random_state": Same(1),
        },
    ),
    "assess.detectability": (
        lambda **given: em.assess.detectability(FITTED.maps_, FITTED.components_, **given),
        {"noise": NOISE},
    ),
    "assess.element_hints": (
        lambda **given: em.assess.element_hints(
            **{"spectra": HINTED, "energy": HINT_ENERGY, "kind": "EELS", **given}
        ),
        {"energy": HINT_ENERGY - 70, "kind": "EDS", "elements": ["Sb"]},
    ),
    "preprocess.align": (
        lambda **given: em.preprocess.align(MOVED.signal, **given),
        {
            "low_loss": LOW_LOSS,
            "method": "zero_loss",
            "shifts": np.ones((6, 5)),
            "window": (470.0, 550.0),
            "max_shift": 0.3,
            "smooth": 3,
            "interpolate": True,
            "ends": "nan",
            "energy": Refused(MOVED.energy),
            "dispersion": True,
            "stretches": With(
                np.full((6, 5), 0.02), {"shifts": np.ones((6, 5)), "interpolate": True}
            ),
        },
    ),
    "preprocess.find_shifts": (
        lambda **given: em.preprocess.find_shifts(np.asarray(MOVED.signal.data), **given),
        {
            "low_loss": LOW_LOSS,
            "method": "zero_loss",
            "window": (5, 30),
            "max_shift": 0.3,
            "smooth": 3,
            "energy": MOVED.energy - MOVED.energy[20],
            "dispersion": True,
        },
    ),
    "preprocess.bad_channels": (
        partial(em.preprocess.bad_channels, dark=DARK),
        {
            "dark": np.r_[np.zeros(299), 50.0] + np.arange(300) % 3,
            "gain": np.r_[np.ones(299), 0.0],
            "hot": 1.0,
        },
    ),
    "preprocess.bremsstrahlung_shapes": (
        lambda **given: em.preprocess.bremsstrahlung_shapes(np.linspace(0.5, 9, 30), **given),
        {"beam_energy": 20.0, "efficiency": np.linspace(0.5, 1, 30)},
    ),
    "preprocess.correct_detector": (
        lambda **given: em.preprocess.correct_detector(X, **given),
        {
            "dark": 2.0,
            "gain": 1.5,
            "conversion": With(3.0, {"with_variance": True}),
            "read_variance": With(4.0, {"with_variance": True}),
            "dark_variance": With(4.0, {"with_variance": True}),
            "with_variance": True,
        },
    ),
    "preprocess.denoise": (lambda **given: em.preprocess.denoise(X, 2, **given), {"noise": NOISE}),
    "preprocess.find_spikes": (lambda **given: em.preprocess.find_spikes(SPIKY, **given), SPIKES),
    "preprocess.remove_spikes": (
        lambda **given: em.preprocess.remove_spikes(SPIKY, **given),
        {"mask": SPIKY > 400, **SPIKES},
    ),
    "preprocess.fit_background": (
        partial(em.preprocess.fit_background, FALLING, (445, 500), energy=ENERGY),
        {"method": "log", "energy": ENERGY + 40, "noise": NOISE, **BACKGROUND},
    ),
    "preprocess.subtract_background": (
        partial(em.preprocess.subtract_background, FALLING, window=(445, 500), energy=ENERGY),
        {
            "window": (445, 540),
            "method": "log",
            "energy": ENERGY + 40,
            "width": With(3, {"method": "snip", "window": None}),
            **BACKGROUND,
        },
    ),
    "preprocess.absorbance": (
        lambda **given: em.preprocess.absorbance(X + 1, 1e4, **given),
        {"variance": "counts"},
    ),
    "preprocess.subtract_baseline": (
        lambda **given: em.preprocess.subtract_baseline(X, **given),
        {"method": "arpls", "energy": Same(ENERGY)},
    ),
    "preprocess.remove_afterglow": (
        lambda **given: em.preprocess.remove_afterglow(X, 0.01, **given),
        {"axis": 0, "rests": False},
    ),
    "preprocess.remove_fixed_pattern": (
        lambda **given: em.preprocess.remove_fixed_pattern(
            X.reshape(2, 15, 40), np.arange(15) ** 2 % 7, **given
        ),
        {"pattern": np.arange(40.0)},
    ),
    "preprocess.separate_outliers": (
        partial(em.preprocess.separate_outliers, SPIKY),
        {"sparsity": 0.5, "max_iter": 2, "noise": NOISE},
    ),
    "show.components": (
        lambda **given: em.show.components(FITTED, **given),
        {
            "energy": ENERGY,
            "energy_units": With("eV", {"energy": ENERGY}),
            "pixel_size": With((2.0, 2.0), {"pixel_units": "nm"}),
            "pixel_units": With("nm", {"pixel_size": (2.0, 2.0)}),
            "names": ["oxide", "metal"],
        },
    ),
    "show.convergence": (
        lambda **given: em.show.convergence([3.0, 2.0, 1.5], **given),
        {"starts": [1.6, 2.0], "converged": False},
    ),
    "show.profiles": (
        lambda **given: em.show.profiles([TENSOR[0], TENSOR[0]], **given),
        {
            "shapes": [(6,), (6,)],
            "labels": ["a"],
            "energy": np.linspace(3, 9, 6),
            "energy_label": "E",
            "title": "T",
        },
    ),
    "show.relevance": (lambda **given: em.show.relevance([3.0, 2.0, 0.1], **given), {"kept": 2}),
    "show.shifts": (
        lambda **given: em.show.shifts(RNG_SHIFTS, **given),
        {
            "stretches": RNG_SHIFTS / 90,
            "pixel_size": With((2.0, 2.0), {"pixel_units": "nm"}),
            "pixel_units": With("nm", {"pixel_size": (2.0, 2.0)}),
            "title": "T",
        },
    ),
}
#: Phantoms, and changed values of keywords that they share.
PHANTOMS = (
    "atomic_columns", "channelling", "concurrent", "diode", "edxs_phases", "mixed_phases", "multilayer",
    "oxide_interface", "oxygen_edge", "plan_view",
)  # fmt: skip
SHAPES = {"shape": (9, 8), "channels": 90, "tilts": 20, "k": 2, "layers": 3}
CHANGED = {
    "noise": 0.2,
    "period": 5.0,
    "occupancy": 0.6,
    "difference": 0.3,
    "background": True,
    "pure": False,
    "diffuseness": 4.0,
    "sparse": True,
    "exclusive": False,
    "drift": 2.0,
    "stretch": With(0.02, {"drift": 1.0}),
    "seed": 5,
}
for name in PHANTOMS:
    call = getattr(em.synthetic, name)
    small = {key: value for key, value in SHAPES.items() if key in keywords(call)}
    others = {key: CHANGED.get(key, 7.0) for key in keywords(call) - set(small)}
    larger = {"shape": (8, 9), "channels": 80, "tilts": 15, "k": 3, "layers": 4}
    ROWS[f"synthetic.{name}"] = (
        partial(call, **small),
        {**others, **{key: larger[key] for key in small}},
    )


#: What only holds or raises what others made: nobody chooses among its keywords.
HOLDERS = {"EndmemberError", "LowRank", "UnreadableFileError"}
#: Held by tests of their own: files, folders, pages.
ELSEWHERE = {
    "load",
    "open",
    "workbench",
    "show.Report",
    "show.Section",
    "show.Components",
    "show.Misfit",
}


def public() -> dict[str, Any]:
    """All that is public and takes keywords."""
    found = {}
    for name in em.__all__:
        thing = getattr(em, name)
        parts = thing.__all__ if inspect.ismodule(thing) else [""]
        for part in parts:
            call = getattr(thing, part) if part else thing
            kept = callable(call) and not dataclasses.is_dataclass(call) and name not in HOLDERS
            if kept and keywords(call):
                found[f"{name}.{part}".rstrip(".")] = call
    return found


@pytest.mark.parametrize("name", public())
def test_every_keyword_has_a_row(name):
    assert name in ELSEWHERE or set(ROWS[name][1]) == keywords(public()[name])


@cache
def plain(name: str, others: tuple[str, ...] = ()) -> Any:
    """What comes out without a keyword."""
    return outcome(ROWS[name][0], {})


def outcome(call: Any, given: dict[str, Any]) -> Any:
    try:
        return numbers(call(**given))
    except em.EndmemberError as refusal:
        return str(refusal)


@pytest.mark.parametrize(
    ("name", "keyword"), [(name, one) for name, (_, row) in ROWS.items() for one in sorted(row)]
)
@pytest.mark.filterwarnings("ignore")
def test_a_keyword_changes_what_comes_out_or_is_refused_by_name(name, keyword):
    call, row = ROWS[name]
    given = row[keyword]
    value, others = given if isinstance(given, With | Same | Refused) else (given, {})
    before = outcome(call, others) if others else plain(name)
    after = outcome(call, {**others, keyword: value})
    assert not isinstance(before, str), before
    if isinstance(after, str) or isinstance(given, Refused):
        assert keyword in after, after
    else:
        assert differ(before, after) != isinstance(given, Same)
