"""What holds for every estimator, whatever its mathematics; a class is here by being public."""

import pickle
import warnings
from functools import cache

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import endmember as em
from endmember.factor.data.observed import observe
from endmember.factor.loop.starts import with_maps
from endmember.factor.penalties import Penalty
from endmember.methods.estimator import SpectralEstimator
from endmember.signals.result import doubts, reporting, storage

RNG = np.random.default_rng(0)
K, DOMAIN, CHANNELS = 2, (6, 8), 24
AMOUNTS = RNG.random((*DOMAIN, K)) * (0.5 + RNG.random((*DOMAIN, 1)))
AMOUNTS[0, :3, 0] = AMOUNTS[-1, :3, 1] = 0  # a few pixels are pure, and so are a few channels
SPECTRA = RNG.random((K, CHANNELS)) + 3 * np.exp(
    -0.5 * ((np.arange(CHANNELS) - np.array([[6], [15]])) / 2) ** 2
)
SPECTRA[0, :3] = SPECTRA[1, -3:] = 0
COUNTS = np.random.default_rng(1).poisson(300 * AMOUNTS @ SPECTRA)
X = COUNTS.astype(float)
Y = X @ RNG.random((CHANNELS, 5))

#: How a model is made that needs more than a number of components and a seed.
WITH_MORE = {
    "MLLS": lambda kind: kind(SPECTRA, background="constant"),
    "Tucker": lambda kind: kind(K, n_starts=2, random_state=0),
    "Drifting": lambda kind: kind(em.NMF(K, n_starts=2, random_state=0), max_shift=1),
    "NMF": lambda kind: kind(K, n_starts=3, tol=1e-9, random_state=0),
    "CP": lambda kind: kind(K, n_starts=3, tol=1e-9, random_state=0),
}
#: Parameters that change what a model learns or says of the data.
FURTHER = {
    "NMF of counts": em.NMF(K, loss=em.PoissonScaled(), n_starts=3, tol=1e-9, random_state=0),
    "NMF by likelihood": em.NMF(K, loss=em.Poisson(), n_starts=3, tol=1e-8, random_state=0),
    "PCA centred": em.PCA(K, centre=True),
    "PCA of counts": em.PCA(K, scaling="poisson"),
    "MLLS of counts": em.MLLS(SPECTRA, loss=em.PoissonScaled(), extra=1),
    "Drifting, centred": em.Drifting(em.PCA(K, centre=True), max_shift=1),
    "SubspaceSampling on maps": em.SubspaceSampling(K, on="maps", random_state=0),
}


def made(name):
    kind = getattr(em, name)
    if name in WITH_MORE:
        return WITH_MORE[name](kind)
    seed = {"random_state": 0} if "random_state" in kind().get_params() else {}
    return kind(K, **seed)


CLASSES = [
    name
    for name in em.__all__
    if isinstance(getattr(em, name), type) and issubclass(getattr(em, name), SpectralEstimator)
]
MODELS = {name: made(name) for name in CLASSES} | FURTHER
#: Models of two signals, and of images whose pixels have neighbours.
PAIRED = {"PLS", "CCA"}
SPATIAL = {"Drifting", "Drifting, centred"}
every = pytest.mark.parametrize("name", MODELS)
every_of_one = pytest.mark.parametrize("name", [name for name in MODELS if name not in PAIRED])
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("without_report")]


def fitted(name, change=lambda image: image, **options):
    """Return a model fitted to the data, changed in some way."""
    second = (change(Y),) if name in PAIRED else ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(MODELS[name]).fit(change(X), *second, **options)


@cache
def answer(name):
    """Return the model fitted to the data as they are, once."""
    return fitted(name)


def flat(image):
    return image.reshape(-1, image.shape[-1])


@cache
def answer_of_a_table(name):
    """Return the model fitted to the data as a table of pixels, once."""
    return fitted(name, flat)


@cache
def unmixed(name):
    """Return what ``em.unmix`` makes of the data, once."""
    return em.unmix(X, MODELS[name])


def assert_same_spectra(found, expected, angle=1e-3):
    """Compare the directions of spectra, matched; their signs and order may differ."""
    S, T = (np.nan_to_num(one.components_) for one in (found, expected))
    order = em.match_components(S, T)
    assert np.max(em.spectral_angle(np.abs(S[order]), np.abs(T))) < angle


def assert_same(found, expected, angle=1e-3, rtol=1e-6):
    """Compare spectra, and what maps and spectra amount to."""
    assert_same_spectra(found, expected, angle)
    both = (one.inverse_transform(one.maps_).reshape(-1, CHANNELS) for one in (found, expected))
    model, same = both
    known = np.isfinite(model) & np.isfinite(same)
    np.testing.assert_allclose(
        model[known], same[known], rtol=0, atol=rtol * np.abs(same[known]).max()
    )


#: Made for a few samples of two or three features, which are too few channels for a drift.
CONTRACTS = {
    "MLLS": em.MLLS(background="constant"),
    "NMF": em.NMF(2, n_starts=2),
    "CP": em.CP(2, n_starts=2),
    "Tucker": em.Tucker(1, n_starts=1),
    "CCA": em.CCA(1),
    "Drifting": None,
}


@parametrize_with_checks(
    [model for model in (CONTRACTS.get(n, getattr(em, n)(2)) for n in CLASSES) if model]
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@every
def test_a_clone_has_learned_nothing(name):
    model = answer(name)
    again = clone(model)
    assert repr(again) == repr(model) and again.learned() == {}
    assert {"maps_", "components_", "n_features_in_"} <= set(model.learned())


@every
def test_a_pickled_copy_and_what_is_written_down_are_the_model(name):
    model, arrays = answer(name), {}
    written = storage.encode(model, arrays, "model")
    for copy in (pickle.loads(pickle.dumps(model)), storage.decode(written, arrays)):
        assert set(copy.learned()) == set(model.learned())
        np.testing.assert_array_equal(copy.transform(X), model.transform(X))
        np.testing.assert_array_equal(
            copy.inverse_transform(model.maps_), model.inverse_transform(model.maps_)
        )
        assert copy.score(X) == model.score(X)


@every_of_one
def test_an_opened_answer_is_the_answer(name, tmp_path):
    result = unmixed(name)
    again = em.open(result.save(tmp_path / "answer"))
    assert set(again.model.learned()) == set(result.model.learned())
    for called in ("transform", "score"):
        found, expected = (getattr(one.model, called)(X) for one in (again, result))
        np.testing.assert_array_equal(found, expected)
    models = [one.model.inverse_transform(one.model.maps_) for one in (again, result)]
    np.testing.assert_array_equal(*models)
    assert report_of(again) == report_of(result)


def report_of(result):
    """Return what a report says, without pictures."""
    words = (reporting.methods_paragraph, reporting._findings, doubts.verdicts)
    return [say(result) for say in words], reporting.doubts(result.model)


TESTED = {
    "NMF, tested zeros": em.NMF(K, maps=em.Absent("auto", mixed=True), n_starts=2, random_state=0),
    "NMF, chosen weight": em.NMF(K, maps=em.Sparse("auto"), n_starts=2, random_state=0),
}


@pytest.mark.parametrize(
    ("name", "earlier"),
    [
        (name, earlier)
        for name in sorted(MODELS.keys() - PAIRED)
        for earlier in sorted((MODELS | TESTED).keys() - {name})
        if type((MODELS | TESTED)[earlier]) is type(MODELS[name])
    ],
)
def test_an_earlier_fit_leaves_nothing_behind(name, earlier):
    fresh, model = answer(name), clone((MODELS | TESTED)[earlier]).fit(X)
    again = model.set_params(**clone(MODELS[name]).get_params(deep=False)).fit(X)
    assert again.learned().keys() == fresh.learned().keys()
    np.testing.assert_array_equal(again.components_, fresh.components_)


@every_of_one
def test_the_misfit_is_what_the_model_leaves_of_the_data(name):
    """Drift is inside of the data, which are read where the model says."""
    result = unmixed(name)
    model, misfit = result.model, result.misfit()
    explained = model.explained(observe(X, keep_empty=True))
    observed = explained.observed
    data = observed.data.rows(np.arange(len(observed.rows)))
    says = model.inverse_transform(model.maps_).reshape(-1, CHANNELS)[:, observed.columns]
    left = data - says
    assert len(observed.columns) > CHANNELS - 4
    np.testing.assert_allclose(misfit.map.ravel(), np.sqrt(np.mean(left**2, axis=1)), rtol=1e-9)
    scale = 1e-12 * np.abs(data).max()
    np.testing.assert_allclose(misfit.spectrum[observed.columns], left.mean(axis=0), atol=scale)
    np.testing.assert_allclose(
        misfit.data_spectrum[observed.columns], data.mean(axis=0), atol=scale
    )
    assert explained.squares() == pytest.approx(np.sum(left**2), rel=1e-12)
    if name not in SPATIAL:
        np.testing.assert_array_equal(data, X.reshape(-1, CHANNELS))


@every
def test_the_score_of_the_data_is_the_share_that_the_maps_found_anew_explain(name):
    model = answer(name)
    if name in SPATIAL:
        explained = model._explained_anew(X)
        total = explained.observed.data.squared_norm
        assert model.score(X) == pytest.approx(1 - explained.squares() / total, rel=1e-12)
        return
    left = X - model.inverse_transform(model.transform(X))
    assert model.score(X) == pytest.approx(1 - np.sum(left**2) / np.sum(X**2), rel=1e-9)


KINDS = {
    "lazy": lambda image: da.from_array(image, chunks=(3, 4, -1)),
    "masked array": np.ma.masked_array,
    "integers": lambda image: np.rint(image).astype(np.int64),
    "signal": hs.signals.Signal1D,
    "fortran": np.asfortranarray,
}


@every
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_gives_the_same_answer(name, kind):
    if kind == "integers" and name in PAIRED | {"SubspaceSampling", "SubspaceSampling on maps"}:
        pytest.skip("whole numbers of type int are taken for counts here")
    assert_same(fitted(name, KINDS[kind]), answer(name), rtol=1e-5)


FLAT = {
    "sparse": lambda image: sparse.csr_array(flat(image)),
    "data frame": lambda image: pd.DataFrame(flat(image)),
}


@every
@pytest.mark.parametrize("kind", FLAT)
def test_every_kind_of_table_gives_the_same_answer(name, kind):
    assert_same(fitted(name, FLAT[kind]), answer_of_a_table(name), rtol=1e-5)


@every
def test_masked_pixels_are_pixels_that_are_not_there(name):
    if name in SPATIAL | {"Tucker"}:
        pytest.skip("pixels have neighbours, or must all be there")
    mask = np.zeros(X.shape[0] * X.shape[1], bool)
    mask[[5, 17, 30]] = True
    assert_same_spectra(
        fitted(name, flat, mask=mask), fitted(name, lambda image: flat(image)[~mask])
    )


@every
def test_single_precision_stays_and_costs_digits_alone(name):
    model = fitted(name, lambda image: image.astype(np.float32))
    assert model.maps_.dtype == model.components_.dtype == np.float32
    assert model.transform(X.astype(np.float32)).dtype == np.float32
    assert_same(model, answer(name), angle=0.05, rtol=1e-3)


@every
@pytest.mark.parametrize("power", [-20, 20])
def test_the_unit_of_the_data_is_that_of_the_answer(name, power):
    model, same = fitted(name, lambda image: image * 2.0**power), answer(name)
    found = model.inverse_transform(model.maps_)
    expected = same.inverse_transform(same.maps_) * 2.0**power
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.nanmax(np.abs(expected)))
    assert_same_spectra(model, same)


CHANGES = {
    "permuted pixels": lambda image: flat(image)[
        np.random.default_rng(5).permutation(X[..., 0].size)
    ],
    "tiled image": lambda image: np.tile(image, (2, 1, 1)),
    "added zero pixels": lambda image: np.concatenate([image, 0 * image[:1]]),
}


#: What has a right to depend on them: neighbours, means, tensors, how much noise may do and how many
#: principal components a number of pixels bears.
DEPENDS = {
    "permuted pixels": SPATIAL | {"Tucker"},
    "tiled image": SPATIAL | {"Tucker", "CCA", "SubspaceSampling"},
    "added zero pixels": SPATIAL | PAIRED | {"Tucker", "CP", "PCA centred"},
}


@pytest.mark.parametrize(
    "name, change",
    [(name, change) for change in CHANGES for name in MODELS if name not in DEPENDS[change]],
)
def test_the_order_and_number_of_pixels_change_no_spectrum(name, change):
    model = fitted(name, lambda image: flat(CHANGES[change](image)))
    assert_same_spectra(model, answer_of_a_table(name))


@pytest.mark.parametrize("loss", [None, em.PoissonScaled(), em.Poisson()], ids=repr)
def test_where_pixels_and_channels_lie_decides_nothing_where_much_fits_as_well(loss):
    """Starts drawn by place would end degrees apart: these data do not fix the answer."""
    counts = em.synthetic.mixed_phases(shape=(12, 11), channels=60, k=3, dose=400, seed=4).data
    counts, model = counts.reshape(-1, 60), em.NMF(3, loss=loss, random_state=0)
    rng = np.random.default_rng(0)
    pixels, channels = rng.permutation(len(counts)), rng.permutation(60)
    expected = clone(model).fit(counts).components_[:, channels]
    found = clone(model).fit(counts[pixels][:, channels]).components_
    order = em.match_components(found, expected)
    assert em.spectral_angle(found[order], expected).max() < 1e-4


@every_of_one
def test_permuted_channels_give_permuted_spectra(name):
    if name in SPATIAL or "MLLS" in name or name == "Tucker":
        pytest.skip(
            "channels have neighbours, their place is known, or profiles turn against a core"
        )
    order = np.random.default_rng(7).permutation(CHANNELS)
    model = fitted(name, lambda image: image[..., order])
    model.components_ = model.components_[:, np.argsort(order)]
    assert_same_spectra(model, answer(name))


@every_of_one
def test_constant_weights_are_no_weights_or_refused(name):
    if name in SPATIAL:
        pytest.skip("what has weights is read between channels by straight lines")
    try:
        model = fitted(name, weights=np.full(X.shape, 3.0))
    except ValueError as refused:
        assert "weights" in str(refused)
        return
    assert_same(model, answer(name), angle=0.05, rtol=1e-3)


class Brightest(SpectralEstimator):
    """A user's own estimator: the spectra of the brightest pixels, above a floor that is the same everywhere."""

    in_words = "The {n_components} brightest pixels were taken for pure"
    references = ("A User, Journal of One's Own 1 (2026) 1.",)

    def __init__(self, n_components=2):
        self.n_components = n_components

    def _fit(self, observed, energy, callback):
        data = observed.data
        values = data.rows(np.arange(data.shape[0]))
        self.floor_ = observed.spectra(np.full((data.shape[1], 1), values.min() / 2))[0]
        brightest = np.argsort(-values.sum(axis=1))[: self.n_components]
        S = values[brightest].T - self.floor_[observed.columns, None]
        self.n_components_, self.components_ = self.n_components, observed.spectra(S)
        self.maps_ = observed.maps(self._maps_of(observed, S))

    def _maps_of(self, observed, S):
        return with_maps(observed.data, S)[0]

    def _offset(self):
        return self.floor_


class Floor(Penalty):
    """A user's own penalty: nothing below a fraction of the largest entry."""

    def __init__(self, share=0.0):
        self.share = share

    def bounds(self, shape, grid=None):
        return self.share, np.inf


OWN = {
    "estimator": Brightest(K),
    "part": em.NMF(K, maps=Floor(0.01), n_starts=2, random_state=0),
    "inside": em.Drifting(Brightest(K), max_shift=1),
}


@pytest.mark.parametrize("name", OWN)
def test_a_users_own_class_is_kept_opened_and_compared(name, tmp_path, monkeypatch):
    result = em.unmix(X, OWN[name])
    folder = result.save(tmp_path / "answer")
    maps = result.model.transform(X)
    np.testing.assert_array_equal(em.open(folder).model.transform(X), maps)
    compared = em.compare(X, {"own": OWN[name], "PCA": em.PCA(K)}, bands=False)
    left = result.model.explained(observe(X, keep_empty=True)).squares() / X.size
    assert compared.misfit[0] == pytest.approx(np.sqrt(left), rel=0.1)

    monkeypatch.setattr(storage, "_BASES", ())  # as where nothing has imported the class
    again = em.open(folder)
    np.testing.assert_array_equal(again.maps.data, result.maps.data)
    np.testing.assert_array_equal(again.misfit().map, result.misfit().map)
    assert " ".join(repr(again.model).split()).startswith(type(result.model).__name__)
    if name != "part":  # whose solvers only the class knows
        assert report_of(again) == report_of(result)
    kind = "Floor" if name == "part" else "Brightest"
    for refused in (again.model.transform, again.model.score, again.model.fit):
        with pytest.raises(TypeError, match=rf"classes=\[{kind}\]"):
            refused(X)
    with pytest.raises(TypeError, match=kind):
        again.reproduce(X)
    kept_again = again.save(tmp_path / "kept again")
    given = em.open(kept_again, classes=[Brightest, Floor])
    np.testing.assert_array_equal(given.model.transform(X), maps)


def test_a_file_sets_only_what_a_model_learns():
    for name in ("transform", "_offset", "n_components", "fit_transform_", "a b_", "__class__"):
        monkey = type("Model", (em.PCA,), {"fit_transform_": property(lambda self: 1)})(1)
        with pytest.raises(ValueError, match="nothing that Model learns"):
            monkey.restored({name: 1})
    with pytest.raises(ValueError, match="no model"):
        storage.decode({"class": "load", "parameters": {"path": "x"}}, {})


def test_nothing_is_imported_because_a_file_names_it(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    said = {"class": "trap.Model", "parameters": {"n_components": 2}}
    model = storage.decode(said, {})
    assert repr(model) == "Model(n_components=2)"
    with pytest.raises(TypeError, match=r"trap\.Model"):
        model.fit(X)


def test_weights_of_penalties_in_a_list_can_be_searched():
    from sklearn.model_selection import GridSearchCV

    X = em.synthetic.mixed_phases((12, 10), channels=40, k=2).data.reshape(-1, 40)
    model = em.NMF(2, maps=[em.Ridge(0.1), em.Sparse(0.1)], random_state=0, n_starts=1)
    search = GridSearchCV(model, {"maps__1__weight": [0.01, 0.5]}, cv=2).fit(X)
    chosen = search.best_params_["maps__1__weight"]
    assert search.best_estimator_.maps[1].weight == chosen
    assert model.maps[1].weight == 0.1
    assert clone(model).set_params(maps__0__weight=0.3).maps[0].weight == 0.3


def test_a_weight_a_pixel_stands_for_one_at_every_entry():
    X = em.synthetic.mixed_phases((6, 5), channels=40, k=2).data
    weights = np.random.default_rng(0).uniform(0.5, 2.0, (6, 5))
    one = em.NMF(2, random_state=0).fit(X, weights=weights)
    other = em.NMF(2, random_state=0).fit(X, weights=np.repeat(weights[..., None], 40, axis=2))
    np.testing.assert_array_equal(one.components_, other.components_)


def test_names_of_other_libraries_are_answered_with_ours():
    signal = em.synthetic.mixed_phases((6, 5), channels=40, k=2).signal
    result = em.unmix(signal, em.NMF(2, random_state=0))
    for asked, name in (("W_", "maps_"), ("H_", "components_")):
        with pytest.raises(AttributeError, match=f"it is called {name}"):
            getattr(result.model, asked)
    for asked, name in (("loadings", "maps"), ("factors", "spectra")):
        with pytest.raises(AttributeError, match=f"it is called {name}"):
            getattr(result, asked)
