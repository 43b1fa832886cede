"""Weights that the data choose: nearest to the data without their noise, and harmful to no component."""

import numpy as np
import pytest

import endmember as em
from endmember.cli import main
from endmember.errors import EndmemberError
from endmember.factor.loop.automatic import risk
from endmember.factor.loop.fit import Fit

QUICK = {"loss": em.PoissonScaled(), "n_starts": 4, "random_state": 0}
KINDS = {
    "maps": [em.SoftOrthogonal, em.Sparse, em.Smooth],
    "spectra": [em.MinimumVolume],
}


def worst(model, truth):
    order = em.match_components(model.components_, truth)
    return float(np.max(em.spectral_angle(model.components_[order], truth)))


def fitted(phantom, **penalties):
    return em.NMF(phantom.maps.shape[-1], **QUICK, **penalties).fit(phantom.data)


@pytest.fixture(scope="module")
def phases():
    return em.synthetic.mixed_phases((24, 24), 64, k=3, dose=60, seed=5)


@pytest.fixture(scope="module")
def plain(phases):
    return fitted(phases)


@pytest.mark.parametrize("kind", [em.SoftOrthogonal, em.Sparse, em.MinimumVolume])
def test_the_weight_that_the_data_choose_mends_most_of_the_bias(phases, plain, kind):
    factor = "spectra" if kind is em.MinimumVolume else "maps"
    penalty = kind("auto")
    model = fitted(phases, **{factor: penalty})
    assert worst(model, phases.spectra) < 0.5 * worst(plain, phases.spectra)
    by_hand = fitted(phases, **{factor: kind(float(model.penalty_weights_[0]))})
    assert worst(model, phases.spectra) < 1.3 * worst(by_hand, phases.spectra)
    assert penalty.weight == "auto"
    assert model.get_params()[factor] is penalty


def test_counts_choose_by_what_their_noise_is_in_squares(phases):
    exact = {"loss": em.Poisson(), "n_starts": 4, "random_state": 0}
    free, sparse = (
        em.NMF(3, maps=maps, **exact).fit(phases.data) for maps in (None, em.Sparse("auto"))
    )
    assert worst(sparse, phases.spectra) < 0.5 * worst(free, phases.spectra)
    with pytest.raises(EndmemberError, match="needs to know what noise does.* number in place"):
        em.NMF(3, loss=em.BetaDivergence(0.5), maps=em.Sparse("auto")).fit(phases.data)


@pytest.mark.filterwarnings("ignore:the sweeps stand still away")
@pytest.mark.parametrize("kind", [em.Smooth, em.TotalVariation])
def test_neighbours_beside_zeros_take_noise_from_maps(kind):
    phases = em.synthetic.mixed_phases((14, 14), 32, k=2, dose=20, seed=5)
    zeros = em.Absent(phases.maps == 0)
    start = {"init": (phases.maps, phases.spectra)}
    rough, smooth = (fitted(phases, maps=maps, **start) for maps in (zeros, [zeros, kind("auto")]))
    truth = phases.maps * np.linalg.norm(phases.spectra, axis=1)
    error = [np.linalg.norm(model.maps_ - truth * (np.vdot(model.maps_, truth) / np.vdot(truth, truth)))
             for model in (rough, smooth)]  # fmt: skip
    assert smooth.penalty_weights_[0] > 0
    assert error[1] < error[0]
    assert worst(smooth, phases.spectra) < 1.1 * worst(rough, phases.spectra)


def test_scale_changes_nothing(phases):
    model = fitted(phases, spectra=em.MinimumVolume("auto"))
    larger = em.NMF(3, **QUICK, spectra=em.MinimumVolume("auto")).fit(1000.0 * phases.data)
    np.testing.assert_array_equal(larger.penalty_weights_, model.penalty_weights_)
    np.testing.assert_allclose(larger.components_, model.components_, atol=1e-6)


def test_a_component_whose_cone_is_narrow_already_keeps_no_weight_from_the_others():
    phases = em.synthetic.mixed_phases((32, 32), 128, k=3, dose=1000, pure=False, seed=13)
    maps = em.SumToOne(mode="scale")
    plain, tight = (
        fitted(phases, maps=maps, spectra=spectra) for spectra in (None, em.MinimumVolume())
    )
    assert plain.excess_.max() > 0.8  # the other two are wide
    assert worst(tight, phases.spectra) < 0.5 * worst(plain, phases.spectra)


def specks(seed):
    """Two phases, and single pixels of a third."""
    spectra = em.synthetic.mixed_phases((8, 8), 96, k=3, dose=100, seed=seed).spectra
    share = np.clip((np.arange(28) - 14) / 4 + 0.5, 0, 1)[:, None] * np.ones(28)
    maps = np.stack([share, 1 - share, 0 * share], axis=-1)
    places = np.random.default_rng(seed).choice(28 * 28, 6, replace=False)
    maps.reshape(-1, 3)[places] = [0, 0, 1]
    clean = maps @ spectra
    return np.random.default_rng(seed).poisson(150 * clean / clean.max()), spectra


@pytest.mark.parametrize(("factor", "kind"), [(f, kind) for f in KINDS for kind in KINDS[f]])
def test_a_phase_of_single_pixels_is_not_harmed(factor, kind):
    data, spectra = specks(3)
    without = em.NMF(3, **QUICK).fit(data)
    model = em.NMF(3, **QUICK, **{factor: kind("auto")}).fit(data)
    assert worst(model, spectra) < 1.1 * worst(without, spectra) + 0.1


def test_risk_is_the_distance_from_the_data_without_noise_but_for_a_constant(phases):
    spectra, k = phases.spectra, 3
    clean = phases.maps.reshape(-1, k) @ spectra
    deviation = 0.05 * clean.max()
    known = em.Known(dict(enumerate(spectra)))
    rng, told, true = np.random.default_rng(0), [], []
    for _ in range(20):
        data = clean + deviation * rng.standard_normal(clean.shape)
        risks, distances = [], []
        for weight in (0.5, 0.05):
            model = em.NMF(k, maps=em.Ridge(weight), spectra=known, compress=False)
            problem = model._problem(model.observed(data))
            start = [phases.maps.reshape(-1, k), spectra.T]
            problem = problem.settled(start)
            factors = model._run(problem, Fit(start), max_iter=30).factors
            risks.append(risk(problem, factors, deviation**2, np.ones((1, len(data))))[0])
            distances.append(np.sum((clean - factors[0] @ factors[1].T) ** 2) / deviation**2)
        told.append(np.subtract(*risks))
        true.append(np.subtract(*distances))
    error = np.std(np.subtract(told, true)) / len(true) ** 0.5
    assert abs(np.mean(told) - np.mean(true)) < 3 * error
    assert abs(np.mean(true)) > 10 * error


def test_what_was_chosen_is_said_and_kept(phases, tmp_path):
    model = em.NMF(3, **QUICK, maps=[em.Absent("auto"), em.Sparse("auto")])
    result = em.unmix(phases.signal, model)
    (weight,) = result.model.penalty_weights_
    result.report(tmp_path / "report.html")
    assert (
        f"sparse (w = {weight:.3g}, chosen by the data)" in (tmp_path / "report.html").read_text()
    )
    assert f"Sparse({weight:.3g}, chosen by the data)" in repr(result)
    result.save(tmp_path / "a")
    kept = em.open(tmp_path / "a")
    assert kept.model.penalty_weights_ == weight
    assert repr(kept) == repr(result)
    assert kept.model.maps[1].weight == "auto"


def test_other_data_are_met_with_the_weight_chosen(phases):
    model = fitted(phases, maps=em.Sparse("auto"))
    by_hand = em.NMF(3, **QUICK, maps=em.Sparse(float(model.penalty_weights_[0])))
    by_hand.fit(phases.data)
    by_hand.components_ = model.components_
    np.testing.assert_allclose(model.transform(phases.data), by_hand.transform(phases.data))


def test_a_weight_is_a_number_or_auto(phases):
    with pytest.raises(EndmemberError, match="must be a number of at least 0, such as 0.01, or"):
        fitted(phases, maps=em.Smooth("much"))
    with pytest.raises(EndmemberError, match="a list of pixels has none"):
        em.NMF(3, maps=em.Smooth("auto")).fit(phases.data.reshape(-1, 64))
    with pytest.raises(EndmemberError, match="give a weight such as 0.01 here"):
        em.CP(2, modes={0: em.Smooth("auto")}).fit(phases.data)


@pytest.mark.usefixtures("without_report")
def test_the_command_line_lets_the_data_choose(phases, tmp_path):
    phases.signal.save(tmp_path / "cube.hspy")
    words = [str(tmp_path / "cube.hspy"), "-k", "3", "--starts", "4", "--minimum-volume", "auto"]
    assert main(["unmix", *words, "-o", str(tmp_path / "a")]) == 0
    assert em.open(tmp_path / "a").model.penalty_weights_[0] > 0
