"""One door: what any public function takes, all take, and refuse the rest in the same sentence."""

from functools import cache

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone

import endmember as em
from endmember.factor.data.axis import Axis

RNG = np.random.default_rng(0)
PLACES = np.linspace(0, 1, 40)
SPECTRA = np.array([np.exp(-(((PLACES - c) / 0.1) ** 2)) + 0.02 for c in (0.2, 0.5, 0.8)])
COUNTS = RNG.poisson(300 * RNG.dirichlet([0.4] * 3, size=(8, 9)) @ SPECTRA)
PIXELS = np.zeros((8, 9), bool)
PIXELS[2:4, 3:6] = True
CHANNELS = PLACES > 0.9


def on(array, offset=100.0, scale=1.0, units="eV"):
    """Return an array as a signal on an energy axis."""
    signal = hs.signals.Signal1D(np.asarray(array))
    axis = signal.axes_manager.signal_axes[0]
    axis.offset, axis.scale, axis.units = offset, scale, units
    return signal


# --- the energy axis ------------------------------------------------------------------------------


def test_a_straight_line_is_the_same_line_at_other_energies():
    own, wanted = Axis(np.linspace(10, 50, 81)), Axis(np.linspace(14.2, 46.2, 9))
    matrix, covered = own.onto(wanted)
    assert np.allclose((3.0 + 2.0 * own.energy) @ matrix, 3.0 + 2.0 * wanted.energy)
    assert covered.all() and not own.onto(Axis(wanted.energy + 10))[1].all()


def test_axes_are_the_same_that_are_written_from_the_other_end_but_not_when_moved():
    axis = Axis(np.arange(100.0, 140.0), "eV")
    assert axis.agrees(Axis(axis.energy + 1e-6, "eV")) and axis.agrees(Axis.numbers(40))
    assert not axis.agrees(Axis(axis.energy + 0.5, "eV"))
    assert not axis.agrees(Axis(axis.energy / 1000, "keV"))


def test_data_on_another_axis_are_refused_unless_they_may_be_resampled():
    model = em.NMF(3, random_state=0).fit(on(COUNTS))
    assert np.array_equal(model.transform(on(COUNTS)), model.transform(COUNTS))
    for call in (model.transform, model.score):
        with pytest.raises(ValueError, match="another axis.*resample=True"):
            call(on(COUNTS, offset=100.4))
    for call in (em.assess.ambiguity, em.assess.uncertainty):
        with pytest.raises(ValueError, match="another axis"):
            call(model, on(COUNTS, offset=100.4))
    wider = np.repeat(COUNTS, 2, axis=-1) / 1.0
    fine = on(wider, offset=99.75, scale=0.5)
    assert np.allclose(model.transform(fine, resample=True), model.maps_, rtol=1e-2, atol=1.0)
    assert model.score(fine, resample=True) == pytest.approx(model.score(COUNTS), abs=1e-3)


def test_numbers_for_columns_are_the_energies_of_a_data_frame():
    frame = pd.DataFrame(COUNTS.reshape(-1, 40), columns=np.linspace(100.0, 139.0, 40))
    model = em.NMF(3, random_state=0).fit(frame)
    assert np.array_equal(model.energy_, frame.columns)
    assert np.array_equal(model.transform(frame), model.transform(frame.to_numpy()))
    for other in (frame.iloc[:, ::-1], frame.set_axis(frame.columns + 0.4, axis=1)):
        for call in (model.transform, model.score):
            with pytest.raises(ValueError, match="another axis.*resample=True"):
                call(other)
    back = model.transform(frame.iloc[:, ::-1], resample=True)
    assert np.allclose(back, model.maps_, rtol=1e-2, atol=1.0)
    numbered = em.NMF(3, random_state=0).fit(pd.DataFrame(COUNTS.reshape(-1, 40)))
    assert np.array_equal(numbered.transform(frame), model.transform(frame))


@pytest.mark.parametrize("call", [em.assess.ambiguity, em.assess.uncertainty])
@pytest.mark.parametrize("k", [1, 3])
def test_what_judges_an_answer_takes_the_data_of_the_fit_alone(call, k):
    model = em.NMF(k, random_state=0).fit(COUNTS)
    flat = COUNTS.reshape(-1, 40)
    others = COUNTS[:3], flat[:3], COUNTS.swapaxes(0, 1), COUNTS[..., :30], np.repeat(COUNTS, 2, 0)
    for other in others:
        with pytest.raises(ValueError, match=r"shape.*\(8, 9, 40\); give the data of the fit"):
            call(model, other)


@pytest.mark.usefixtures("without_report")
def test_the_axis_is_kept_with_the_answer(tmp_path):
    em.unmix(on(COUNTS), em.NMF(3, random_state=0)).save(tmp_path / "answer")
    with pytest.raises(ValueError, match="another axis"):
        em.open(tmp_path / "answer").model.transform(on(COUNTS, offset=90))


def test_known_spectra_are_read_at_the_channels_of_the_data():
    places = np.linspace(-0.1, 1.1, 300)
    known = on(np.exp(-(((places - 0.2) / 0.1) ** 2)) + 0.02, 100 - 3.9, 1.2 * 39 / 299)
    model = em.NMF(3, spectra=em.Known({0: known}), random_state=0).fit(on(COUNTS))
    assert np.allclose(model.components_[0], SPECTRA[0], atol=0.01)
    with pytest.raises(ValueError, match="keV"):
        em.NMF(3, spectra=em.Known({0: on(SPECTRA[0], units="keV")})).fit(on(COUNTS))


def test_masks_on_another_axis_are_refused():
    image = hs.signals.Signal2D(PIXELS)
    data = on(COUNTS)
    for signal in (image, data):
        signal.axes_manager[0].units = "nm"
    assert np.isnan(em.NMF(3).fit(data, mask=image).maps_[PIXELS]).all()
    image.axes_manager[0].scale = 3.0
    with pytest.raises(ValueError, match="mask lies on another axis"):
        em.NMF(3).fit(data, mask=image)
    with pytest.raises(ValueError, match="channel_mask lies on another axis"):
        em.NMF(3).fit(data, channel_mask=on(CHANNELS, offset=3))


@pytest.mark.filterwarnings(
    "ignore:not converged:sklearn.exceptions.ConvergenceWarning"
)  # three sweeps
def test_terms_are_compared_only_where_they_share_spectra():
    C, D, S, T = (em.Factor(2) for _ in range(4))
    here, there = on(COUNTS + 0.0), on(COUNTS + 0.0, offset=300)
    em.Fusion([em.Term(here, C, S, weight=1), em.Term(there, C, T, weight=1)], max_iter=3).fit()
    with pytest.raises(ValueError, match="another axis"):
        em.Fusion([em.Term(here, C, S, weight=1), em.Term(there, D, S, weight=1)]).fit()


# --- what is hidden -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hidden", "options"),
    [
        (PIXELS[..., None] | (COUNTS < 0), {"mask": PIXELS}),
        (CHANNELS | (COUNTS < 0), {"channel_mask": CHANNELS}),
        (PIXELS[..., None] | CHANNELS, {"mask": PIXELS, "channel_mask": CHANNELS}),
        (COUNTS % 7 == 3, {"weights": 1.0 * (COUNTS % 7 != 3)}),
    ],
)
def test_what_a_masked_array_hides_is_left_out(hidden, options):
    spoilt = np.where(hidden, 10**6, COUNTS)
    model = em.NMF(3, random_state=0).fit(np.ma.array(spoilt, mask=hidden))
    plain = em.NMF(3, random_state=0).fit(COUNTS, **options)
    assert np.array_equal(model.components_, plain.components_, equal_nan=True)
    assert np.array_equal(model.maps_, plain.maps_, equal_nan=True)


def test_infinite_values_are_refused_with_weights_too():
    X = COUNTS + 0.0
    X[1, 2, 3] = np.inf
    with pytest.raises(
        ValueError, match=r"1 infinite values, the first at pixel \(1, 2\), channel 3"
    ):
        em.NMF(3).fit(X, weights=np.ones(X.shape))
    em.NMF(3).fit(X, weights=np.isfinite(X))


# --- every public way in --------------------------------------------------------------------------

ENERGY = np.arange(100.0, 140.0)
FITTED = em.NMF(3, random_state=0).fit(COUNTS)
#: Public names that take no spectrum image, and why.
NO_WAY_IN = {
    "Anomalies", "Bands", "Detectability", "Errors", "Hint", "Interval", "Path", "PowerLawBackground", "RankReport",
    "Recurrence", "Separated", "ShapeBackground",  # answers
    "bad_channels", "bremsstrahlung_shapes", "detectability", "element_hints",  # take spectra, maps, references
    "Composition", "composition",  # of fits to lines of elements: test_elements.py
}  # fmt: skip


def no_energy(X):
    """Return the energies that an array needs and a signal has."""
    return None if hasattr(X, "axes_manager") else ENERGY


def estimators():
    """Return every public model of spectrum images, for three components."""
    classes = [getattr(em, name) for name in em.__all__]
    models = [one for one in classes if isinstance(one, type) and hasattr(one, "transform")]
    settings = {
        "MLLS": {"references": SPECTRA}, "Drifting": {"model": em.NMF(3, random_state=0)}, "Tucker": {"ranks": 3},
    }  # fmt: skip
    return {
        model.__name__: model(**settings.get(model.__name__, {"n_components": 3}))
        for model in models
        if model.__name__ != "Coupled"
    }


def fitted_maps(model):
    """Return a function that fits the model to data and gives its maps."""

    def fit(X):
        again = clone(model)
        if "random_state" in again.get_params():
            again.set_params(random_state=0)
        second = (COUNTS.reshape(-1, 40)[:, :20],) if isinstance(model, em.PLS | em.CCA) else ()
        return again.fit(X, *second).maps_

    return fit


def ways_in():
    """Return every public function of a spectrum image, as a function of it alone."""
    models = {"a": em.NMF(3, random_state=0), "b": em.SPA(3)}
    assess = {
        "rank": lambda X: em.assess.rank(X, stability=False).visibility,
        "local_rank": em.assess.local_rank,
        "path": lambda X: (
            em.assess.path(
                em.NMF(3, maps=em.Sparse(), random_state=0), X, "maps__weight", [0.01, 0.1]
            ).misfit
        ),
        "ambiguity": lambda X: em.assess.ambiguity(FITTED, X).maps_high,
        "uncertainty": lambda X: em.assess.uncertainty(FITTED, X).maps,
        "anomalies": lambda X: em.assess.anomalies(FITTED, X).score,
        "recurrence": lambda X: em.assess.recurrence(FITTED, X, n_draws=3).table,
        "displacement": lambda X: (
            em.assess.displacement(FITTED, X, of=("maps", 0), level=0.68).high
        ),
    }
    preprocess = {
        "align": lambda X: em.preprocess.align(X, method="correlation", interpolate=False),
        "find_shifts": lambda X: em.preprocess.find_shifts(X, method="correlation"),
        "denoise": lambda X: em.preprocess.denoise(X, 3),
        "separate_outliers": lambda X: em.preprocess.separate_outliers(X)[0],
        "correct_detector": lambda X: em.preprocess.correct_detector(X, gain=1 + 0.1 * PLACES),
        "absorbance": lambda X: em.preprocess.absorbance(X, 1e4),
        "subtract_baseline": lambda X: em.preprocess.subtract_baseline(X, "imodpoly", poly_order=2),
        "remove_afterglow": lambda X: em.preprocess.remove_afterglow(X, 0.01),
        "remove_fixed_pattern": lambda X: em.preprocess.remove_fixed_pattern(
            X, np.arange(9) // 3, pattern=np.zeros(40)
        ),
        "fixed_pattern": lambda X: em.preprocess.fixed_pattern(X, np.arange(9) ** 2 % 7),
        "find_spikes": em.preprocess.find_spikes,
        "remove_spikes": em.preprocess.remove_spikes,
        "subtract_background": lambda X: em.preprocess.subtract_background(
            X, (102, 112), energy=no_energy(X)
        ),
        "fit_background": lambda X: em.preprocess.fit_background(
            X, (102, 112), energy=no_energy(X)
        ).background(ENERGY),
    }
    return {
        **{name: fitted_maps(model) for name, model in estimators().items()},
        "transform": FITTED.transform,
        "unmix": lambda X: em.unmix(X, em.NMF(3, random_state=0)).maps.data,
        "compress": lambda X: em.compress(X, 5).singular_values,
        "compare": lambda X: em.compare(X, models, bands=False).misfit,
        **{f"assess.{name}": way for name, way in assess.items()},
        **{f"preprocess.{name}": way for name, way in preprocess.items()},
    }


WAYS = ways_in()


def answer(way, X):
    """Return what a public function makes of data, as an array."""
    found = way(X)
    found = getattr(found, "data", found) if hasattr(found, "axes_manager") else found
    found = found.compute() if hasattr(found, "dask") else found
    found = found.toarray() if hasattr(found, "toarray") else found
    return np.ma.filled(np.ma.asarray(found).astype(float), np.nan)


@cache
def plain_answer(name, *shape):
    """Return what a public function makes of the counts as a plain array, of this shape."""
    return answer(WAYS[name], COUNTS.reshape(*shape))


def test_every_public_function_of_data_is_here():
    functions = {f"assess.{name}" for name in em.assess.__all__ if name not in NO_WAY_IN}
    functions |= {f"preprocess.{name}" for name in em.preprocess.__all__ if name not in NO_WAY_IN}
    assert functions | estimators().keys() <= WAYS.keys()


SPOILT = {
    "None": None,
    "the name of a file": "diode.dm4",
    "text": np.array([["a", "b"]]),
    "complex": COUNTS * 1j,
    "no channels": np.ones((5, 0)),
    "no pixels": np.ones((0, 5)),
    "a number": np.float64(3),
    "rows of different lengths": [[1, 2, 3], [1, 2]],
    "an image": hs.signals.Signal2D(COUNTS),
    "infinite": np.where(COUNTS[1, 2, 3] == COUNTS, np.inf, COUNTS),
}


#: What asks an answer for its own data where none are given.
HAVE_DATA = {
    (f"assess.{name}", "None")
    for name in ("ambiguity", "uncertainty", "displacement", "anomalies", "recurrence")
}


@pytest.mark.parametrize(
    ("name", "what"), [(n, w) for n in WAYS for w in SPOILT if (n, w) not in HAVE_DATA]
)
def test_what_is_no_spectrum_image_is_refused_in_one_sentence(name, what):
    with pytest.raises((TypeError, ValueError)) as expected:
        em.SPA(3).fit(SPOILT[what])
    with pytest.raises(expected.type) as found:
        answer(WAYS[name], SPOILT[what])
    said, wanted = str(found.value), str(expected.value).replace("NaN or infinite", "infinite")
    assert said.replace("NaN or infinite", "infinite") == wanted


ODD = {
    "float32": COUNTS.astype(np.float32),
    "a list": COUNTS.tolist(),
    "lazy": da.from_array(COUNTS, chunks=(3, 4, 25)),
    "lazy signal": on(COUNTS).as_lazy(),
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("name", WAYS)
def test_data_of_any_kind_give_the_same(name, what):
    expected, found = plain_answer(name, 8, 9, 40), answer(WAYS[name], ODD[what])
    near = 3e-3 if name == "Drifting" else 1e-3  # shifts settle to a two-hundredth of a channel
    size = near * np.nanmax(np.abs(expected))
    assert np.allclose(
        found.reshape(expected.shape), expected, rtol=1e-2, atol=size, equal_nan=True
    )


FLAT = {
    "sparse": sparse.coo_array(COUNTS.reshape(-1, 40)),
    "data frame": pd.DataFrame(COUNTS.reshape(-1, 40)),
}
NEEDS_AN_IMAGE = {
    "assess.local_rank", "preprocess.remove_fixed_pattern", "preprocess.fixed_pattern"
}  # fmt: skip


@pytest.mark.parametrize("what", FLAT)
@pytest.mark.parametrize("name", [name for name in WAYS if name not in NEEDS_AN_IMAGE])
def test_a_matrix_of_any_kind_gives_the_same(name, what):
    expected, found = plain_answer(name, 72, 40), answer(WAYS[name], FLAT[what])
    size = np.nanmax(np.abs(expected))
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-3 * size, equal_nan=True)


# --- the unit of the data -------------------------------------------------------------------------

#: Powers of two that data in other units come times; what fits in float32 comes so too.
UNITS = [(-500, np.float64), (490, np.float64), (-100, np.float32)]


@pytest.mark.parametrize(("power", "dtype"), UNITS)
@pytest.mark.parametrize("name", estimators())
def test_models_say_the_same_in_any_unit(name, power, dtype):
    model = estimators()[name]
    if "random_state" in model.get_params():
        model.set_params(random_state=0)
    second = (COUNTS.reshape(-1, 40)[:, :20],) if isinstance(model, em.PLS | em.CCA) else ()
    near = (COUNTS / 64).astype(dtype)
    one, far = clone(model).fit(near, *second), clone(model).fit(np.ldexp(near, power), *second)
    for name, degree in one._powers().items():
        if name in ("maps_", "components_", "mean_spectrum_", "maps_error_") and hasattr(one, name):
            expected = np.ldexp(getattr(one, name).astype(float), power * degree)
            assert np.allclose(
                getattr(far, name), expected, rtol=1e-3, atol=1e-4 * np.nanmax(expected)
            )
    expected = far.transform(np.ldexp(near, power))
    scale = one._powers().get("maps_", 0)
    found = np.ldexp(one.transform(near).astype(float), power * scale)
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4 * np.nanmax(found))
    assert far.score(np.ldexp(near, power)) == pytest.approx(one.score(near), abs=1e-6)


@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_what_is_too_far_from_one_is_refused_in_one_sentence(unit):
    with pytest.raises(ValueError, match="data are taken from 1e-150 to 1e150"):
        em.NMF(3).fit(COUNTS * unit)
    with pytest.raises(ValueError, match="data are taken from 1e-150 to 1e150"):
        em.assess.rank(COUNTS * unit)


@pytest.mark.parametrize(("power", "dtype"), UNITS)
def test_doubts_are_the_same_in_any_unit(power, dtype):
    near = (COUNTS / 64).astype(dtype)
    far = np.ldexp(near, power)
    models = {"a": em.NMF(3, random_state=0), "b": em.SPA(3)}
    one, other = models["a"].fit(near), clone(models["a"]).fit(far)
    assert (
        em.assess.rank(far, stability=False).suggested
        == em.assess.rank(near, stability=False).suggested
    )
    for call, name in ((em.assess.ambiguity, "maps_high"), (em.assess.uncertainty, "maps")):
        expected = np.ldexp(getattr(call(one, near), name).astype(float), power)
        assert np.allclose(
            getattr(call(other, far), name), expected, rtol=1e-3, atol=1e-3 * expected.max()
        )
    misfit = [em.compare(X, models, bands=False).misfit for X in (near, far)]
    assert np.allclose(np.ldexp(misfit[0], power), misfit[1], rtol=1e-4)
    result = [em.unmix(X, models["a"]) for X in (near, far)]
    assert np.allclose(np.ldexp(result[0].misfit().map, power), result[1].misfit().map, rtol=1e-3)


@pytest.mark.parametrize("power", [-500, 490])
@pytest.mark.parametrize(
    "name",
    [one for one in WAYS if one.startswith("preprocess.") and one != "preprocess.absorbance"],
)
def test_preprocessing_says_the_same_in_any_unit(name, power):
    near, way = COUNTS / 64, WAYS[name]
    expected, found = answer(way, near), answer(way, np.ldexp(near, power))
    if name not in ("preprocess.find_shifts", "preprocess.find_spikes"):
        expected = np.ldexp(expected, power)
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-3 * np.nanmax(np.abs(expected)))
