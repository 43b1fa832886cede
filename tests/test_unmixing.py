"""An answer as signals and as a folder: axes, units, nothing lost, the same again."""

import json
import multiprocessing
import os
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path

import hyperspy.api as hs
import numpy as np
import pytest

import endmember as em
from endmember.signals.result import storage

PHANTOM = em.synthetic.mixed_phases(shape=(9, 12), channels=70, k=3, dose=400, seed=1)
RESULT = em.unmix(PHANTOM.signal, em.NMF(3, random_state=0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return RESULT.save(tmp_path_factory.mktemp("results") / "phases")


def test_signals_carry_axes_units_and_type():
    assert RESULT.maps.data.shape == (3, 9, 12) and RESULT.spectra.data.shape == (3, 70)
    assert type(RESULT.spectra) is type(PHANTOM.signal)
    scan = PHANTOM.signal.axes_manager.navigation_axes
    drawn = RESULT.maps.axes_manager.signal_axes
    assert [(a.name, a.size, a.scale, a.units) for a in drawn] == [
        (a.name, a.size, a.scale, a.units) for a in scan
    ]
    energy = RESULT.spectra.axes_manager.signal_axes[0]
    np.testing.assert_allclose(energy.axis, PHANTOM.energy)
    assert energy.units == "eV"


def test_the_given_model_and_signal_stay_as_they_are():
    model = em.NMF(2, random_state=0)
    before = PHANTOM.signal.data.copy()
    result = em.unmix(PHANTOM.signal, model)
    assert not hasattr(model, "components_") and result.model is not model
    np.testing.assert_array_equal(PHANTOM.signal.data, before)


def test_maps_and_spectra_are_those_of_the_model():
    np.testing.assert_array_equal(np.moveaxis(RESULT.maps.data, 0, -1), RESULT.model.maps_)
    np.testing.assert_array_equal(RESULT.spectra.data, RESULT.model.components_)


def test_misfit_is_that_of_the_arrays():
    model = RESULT.model.inverse_transform(RESULT.model.maps_)
    residual = PHANTOM.data - model
    misfit = RESULT.misfit()
    np.testing.assert_allclose(misfit.map, np.sqrt(np.mean(residual**2, axis=2)), rtol=1e-9)
    np.testing.assert_allclose(misfit.spectrum, residual.mean(axis=(0, 1)), atol=1e-10)
    np.testing.assert_allclose(misfit.data_spectrum, PHANTOM.data.mean(axis=(0, 1)), atol=1e-9)


def test_misfit_leaves_masked_and_missing_entries_out():
    mask, weights = np.zeros((9, 12), bool), np.ones((9, 12, 70))
    mask[2, 5], weights[..., ::3] = True, 0.0
    spoilt = PHANTOM.data.astype(float)
    spoilt[mask], spoilt[..., ::3] = 1e6, 1e6
    misfit = em.unmix(spoilt, em.NMF(3, random_state=0), mask=mask, weights=weights).misfit()
    assert np.isnan(misfit.map[2, 5]) and np.nanmax(misfit.map) < 100


def test_fractions_sum_to_one_and_follow_the_areas():
    fractions = RESULT.fractions().data
    np.testing.assert_allclose(fractions.sum(axis=0), 1.0, rtol=1e-12)
    width = PHANTOM.energy[1] - PHANTOM.energy[0]
    amounts = RESULT.maps.data * (RESULT.spectra.data.sum(axis=1) * width)[:, None, None]
    np.testing.assert_allclose(fractions, amounts / amounts.sum(axis=0), rtol=1e-9)
    with pytest.raises(ValueError, match="no channel lies in the window"):
        RESULT.fractions((1.0, 2.0))
    for window in ((5,), 5, ("a", "b"), (1, 2, 3)):
        with pytest.raises(ValueError, match=r"must be \(start, stop\)"):
            RESULT.fractions(window=window)


def counted(model, **options):
    signal = PHANTOM.signal.deepcopy()
    signal.metadata.Signal.quantity = "Electrons (Counts)"
    return em.unmix(signal, model, **options)


@pytest.mark.parametrize(
    ("model", "unit"),
    [
        (em.NMF(3, random_state=0), "Intensity (unit length)"),
        (em.NMF(3, random_state=0, normalise=("spectra", 0.5)), "Intensity (unit norm of p = 0.5)"),
        (
            em.NMF(3, random_state=0, normalise=("maps", "max")),
            "Intensity (for maps of unit maximum)",
        ),
        (em.NMF(3, random_state=0, normalise=None), "Intensity (scale of the fit)"),
        (em.PCA(3), "Intensity (unit length)"),
        (em.SPA(3), "Electrons (Counts)"),
        (em.NMF(3, maps=em.SumToOne(), random_state=0), "Electrons (Counts)"),
        (em.MLLS(PHANTOM.spectra), "Intensity (as given)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_spectra_say_what_their_numbers_are_and_in_counts_they_add_up_to_the_model(model, unit):
    result = counted(model)
    assert result.spectra.metadata.Signal.quantity == unit == result.picture().spectrum_label
    counts = result.spectra_in_counts()
    assert counts.metadata.Signal.quantity == "Electrons (Counts)"
    explained = result.model.inverse_transform(result.model.maps_).sum(axis=(0, 1))
    np.testing.assert_allclose(counts.data.sum(axis=0), explained, rtol=1e-9)


class Weighted(em.SquaredError):
    """A user's own loss."""

    def __init__(self, weight=1.0):
        self.weight = weight


def test_a_report_says_which_loss_it_needs_and_a_folder_is_kept_without(tmp_path, monkeypatch):
    folder = counted(em.NMF(3, loss=Weighted(3.0), random_state=0)).save(tmp_path / "answer")
    monkeypatch.setattr(storage, "_BASES", ())  # as where nothing has imported the class
    again = em.open(folder)
    with pytest.raises(TypeError, match=r"classes=\[Weighted\]"):
        again.report(tmp_path / "report.html")
    with pytest.warns(UserWarning, match=r"without its report.*classes=\[Weighted\]"):
        kept = again.save(tmp_path / "kept again")
    assert em.open(kept, classes=[Weighted]).report(tmp_path / "report.html").exists()


def test_deviations_from_a_mean_hold_no_counts():
    result = counted(em.PCA(3, centre=True))
    with pytest.raises(ValueError, match="has taken the mean spectrum off"):
        result.spectra_in_counts()


def test_quantities_of_components_in_counts_are_those_of_the_phases():
    phantom = em.synthetic.edxs_phases(shape=(12, 12), dose=200)
    phantom.signal.set_elements(["Fe", "Cu"])
    phantom.signal.set_lines(["Fe_Ka", "Cu_Ka"])
    result = em.unmix(phantom.signal, em.NMF(phantom.maps.shape[-1], random_state=0))

    def percent(spectra):
        found = spectra.quantification(
            spectra.get_lines_intensity(),
            method="CL",
            factors=[1.0, 1.0],
            composition_units="weight",
        )
        return np.array([one.data for one in found])

    np.testing.assert_allclose(percent(result.spectra_in_counts()).sum(axis=0), 100)


def test_fractions_are_refused_while_the_background_is_in():
    phantom = em.synthetic.oxygen_edge(shape=(10, 10))
    result = em.unmix(phantom.signal, em.NMF(2, random_state=0))
    with pytest.raises(ValueError, match="the background is still in"):
        result.fractions()
    energy = phantom.energy
    fractions = result.fractions((float(energy[100]), float(energy[-1]))).data
    np.testing.assert_allclose(fractions.sum(axis=0), 1.0, rtol=1e-12)


def test_a_folder_reads_back_as_it_was(folder):
    again = em.open(folder)
    np.testing.assert_array_equal(again.maps.data, RESULT.maps.data)
    np.testing.assert_array_equal(again.spectra.data, RESULT.spectra.data)
    np.testing.assert_array_equal(again.misfit().map, RESULT.misfit().map)
    np.testing.assert_array_equal(again.model.objective_, RESULT.model.objective_)
    assert again.model.starts_ == RESULT.model.starts_
    assert repr(again.model) == repr(RESULT.model) and again.record == RESULT.record
    maps = again.model.transform(PHANTOM.data)
    np.testing.assert_allclose(maps, RESULT.model.maps_, rtol=1e-6, atol=1e-6 * maps.max())


def test_a_folder_holds_only_what_others_read(folder):
    assert {file.name for file in folder.iterdir()} <= storage.FILES
    maps, spectra = hs.load(folder / "maps.hspy"), hs.load(folder / "spectra.hspy")
    assert maps.axes_manager.signal_axes[0].units == "nm"
    assert spectra.metadata.Signal.signal_type == "EELS"
    record = json.loads((folder / "unmixing.json").read_text())
    assert record["model"]["class"] == "NMF" and record["versions"]["endmember"] == em.__version__
    assert record["data"]["hash"].startswith("blake2b:")


def test_the_same_again_to_the_last_bit(folder):
    again = em.open(folder).reproduce(PHANTOM.signal)
    np.testing.assert_array_equal(again.maps.data, RESULT.maps.data)
    np.testing.assert_array_equal(again.spectra.data, RESULT.spectra.data)


def test_an_unseeded_fit_can_be_repeated_too():
    result = em.unmix(PHANTOM.signal, em.NMF(3))
    again = result.reproduce(PHANTOM.signal)
    np.testing.assert_array_equal(again.spectra.data, result.spectra.data)


@pytest.mark.usefixtures("without_report")
def test_data_are_found_again_with_their_steps(tmp_path):
    from endmember.signals.cropping import crop_energy

    PHANTOM.signal.save(tmp_path / "scan.hspy")
    image = crop_energy(em.load(tmp_path / "scan.hspy"), 450, 470)
    result = em.unmix(image, em.NMF(2, random_state=0))
    saved = em.open(result.save(tmp_path / "result", residual=True))
    np.testing.assert_array_equal(saved.reproduce().spectra.data, result.spectra.data)
    residual = hs.load(tmp_path / "result" / "residual.hspy").data
    np.testing.assert_allclose(
        residual, image.data - result.model.inverse_transform(result.model.maps_), atol=1e-9
    )
    other = PHANTOM.signal.deepcopy()
    other.data += 1
    other.save(tmp_path / "scan.hspy", overwrite=True)
    with pytest.raises(ValueError, match="no longer gives the data"):
        saved.reproduce()


@pytest.mark.usefixtures("without_report")
def test_masks_are_kept_with_the_answer(tmp_path):
    mask = np.zeros((9, 12), bool)
    mask[0, 3] = True
    result = em.unmix(PHANTOM.signal, em.NMF(2, random_state=0), mask=mask)
    again = em.open(result.save(tmp_path / "masked"))
    np.testing.assert_array_equal(again.options["mask"], mask)
    assert np.argwhere(np.isnan(again.maps.data[0])).tolist() == [[0, 3]]
    np.testing.assert_array_equal(again.reproduce(PHANTOM.signal).spectra.data, result.spectra.data)


@pytest.mark.usefixtures("without_report")
def test_array_parameters_are_kept(tmp_path):
    start = (RESULT.model.maps_, RESULT.model.components_)
    model = em.NMF(
        3, init=start, solver=em.HALS(inner=2), normalise=("spectra", ("area", (450, 470)))
    )
    result = em.unmix(PHANTOM.signal, model)
    again = em.open(result.save(tmp_path / "started"))
    assert repr(again.model.solver) == "HALS(inner=2)"
    assert again.model.normalise == ("spectra", ("area", (450, 470)))
    np.testing.assert_array_equal(again.model.init[0], start[0])


def test_hyperspy_shows_it_as_its_own_decomposition():
    signal = PHANTOM.signal.deepcopy()
    RESULT.to_hyperspy(signal)
    model = signal.get_decomposition_model()
    np.testing.assert_allclose(
        model.data, RESULT.model.inverse_transform(RESULT.model.maps_), rtol=1e-10
    )


@pytest.mark.parametrize("shape", [(7,), (4, 5), (2, 3, 4)])
def test_every_domain_comes_back_in_its_order(shape, tmp_path):
    rng = np.random.default_rng(0)
    true = rng.dirichlet(np.ones(2) * 0.2, int(np.prod(shape))).reshape(*shape, 2)
    spectra = rng.random((2, 30))
    result = em.unmix(true @ spectra, em.NMF(2, random_state=0, tol=1e-12, max_iter=9000))
    again = em.open(result.save(tmp_path / "result"))
    assert again.maps.data.shape == (2, *shape)
    model = np.tensordot(np.moveaxis(again.maps.data, 0, -1), again.spectra.data, 1)
    np.testing.assert_allclose(model, true @ spectra, atol=1e-3)


def test_an_existing_folder_is_not_replaced_unasked(folder):
    with pytest.raises(FileExistsError, match="overwrite=True"):
        RESULT.save(folder)
    assert em.open(folder).maps.data.shape == (3, 9, 12)
    RESULT.save(folder, overwrite=True)
    assert [place.name for place in folder.parent.iterdir()] == ["phases"]


def test_a_foreign_folder_is_never_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("work of years")
    with pytest.raises(FileExistsError, match="something else"):
        RESULT.save(tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "work of years"


def test_a_failed_save_leaves_the_old_answer_alone(folder, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write_record", fail)
    with pytest.raises(OSError, match="No space"):
        em.unmix(PHANTOM.signal, em.NMF(2, random_state=0)).save(folder, overwrite=True)
    assert em.open(folder).maps.data.shape == (3, 9, 12)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["phases"]


def while_writing(now):
    storage.write_record = lambda *_: (now.send(True), time.sleep(60))


def between_renames(now):
    rename = Path.rename

    def slow(self, to):
        rename(self, to)
        now.send(True)
        time.sleep(60)

    Path.rename = slow


def save_until_killed(result, target, trap, now):
    trap(now)
    result.save(target, overwrite=True)


@pytest.mark.usefixtures("without_report")
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("moment", [while_writing, between_renames])
def test_killed_while_saving_one_whole_answer_is_there(moment, folder, tmp_path):
    target = shutil.copytree(folder, tmp_path / "answer")
    other = em.unmix(PHANTOM.signal, em.NMF(2, random_state=0))
    context = multiprocessing.get_context("fork")
    told, now = context.Pipe(duplex=False)
    child = context.Process(target=save_until_killed, args=(other, target, moment, now))
    child.start()
    now.close()
    assert told.recv()
    child.kill()
    child.join()
    assert em.open(target).maps.data.shape in ((3, 9, 12), (2, 9, 12))
    RESULT.save(target, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["answer"]


@pytest.mark.usefixtures("without_report")
def test_nothing_to_open_and_damaged_answers_are_said(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        em.open(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no result in it"):
        em.open(tmp_path)
    broken = RESULT.save(tmp_path / "broken")
    for name in ("arrays.npz", "unmixing.json"):
        whole = (broken / name).read_bytes()
        (broken / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match="damaged result"):
            em.open(broken)
        (broken / name).write_bytes(whole)


def test_only_the_packages_own_classes_are_made_on_reading():
    assert storage.decode(storage.encode(em.NMF(2), {}, "model"), {}).n_components == 2
    with pytest.raises(ValueError, match="no model"):
        storage.decode({"class": "load", "parameters": {"path": "x"}}, {})


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.words, self.figures = "", 0

    def handle_starttag(self, tag, attrs):
        self.figures += tag == "img"

    def handle_data(self, data):
        self.words += data


def test_the_report_says_what_was_done(folder):
    page = _Page()
    page.feed((folder / "report.html").read_text())
    assert page.figures == 3
    for words in (
        "9 × 12 pixels and 70 channels", "non-negative matrix factorisation", "block principal pivoting",
        "Kim and H. Park", f"endmember {em.__version__}", "blake2b:", "random_state", "10 starts",
    ):  # fmt: skip
        assert words in " ".join(page.words.split()), words


def test_without_a_model_everything_is_chosen_and_the_report_says_why(tmp_path):
    phantom = em.synthetic.mixed_phases(shape=(24, 24), channels=80, k=3, dose=800, seed=2)
    result = em.unmix(phantom.signal)
    assert result.model.n_components_ == 3 and repr(result.model.loss) == "PoissonScaled()"
    text = result.report(tmp_path / "report.html").read_text()
    assert "because the data are counts" in text and "Number of components:" in text
    assert em.open(result.save(tmp_path / "out")).record["reasons"] == result.record["reasons"]


def test_the_choice_follows_the_data_and_not_the_gain_that_a_reader_fills_in():
    phantom = em.synthetic.diode((12, 12), 60, noise=0.05)
    signal = phantom.signal.deepcopy()
    told = "Signal.Noise_properties.Variance_linear_model"
    signal.metadata.set_item(f"{told}.gain_factor", 1.0)  # what the reader of Gatan files says
    signal.metadata.set_item(f"{told}.gain_offset", 0.0)
    result = em.unmix(signal)
    assert isinstance(result.model.loss, em.SquaredError)
    assert result.model.n_components_ == em.assess.rank(phantom.signal).suggested


def test_no_model_and_no_signal_are_refused():
    with pytest.raises(TypeError, match="not a model"):
        em.unmix(PHANTOM.signal, "nmf")
    with pytest.raises(ValueError, match="at least 2-D"):
        em.unmix(np.ones(5), em.NMF(1))


def test_a_report_can_be_written_anywhere(tmp_path):
    file = RESULT.report(tmp_path / "phases.html")
    assert Path(file).read_text().startswith("<!doctype html>")


@pytest.mark.usefixtures("without_report")
def test_an_answer_in_memory_knows_its_data_until_they_change(tmp_path):
    signal = em.synthetic.diode(shape=(8, 8), channels=40).signal
    result = em.unmix(signal, em.NMF(3, random_state=0, n_starts=2))
    alone, given = em.assess.ambiguity(result), em.assess.ambiguity(result, signal)
    np.testing.assert_array_equal(alone.spectra_high, given.spectra_high)
    np.testing.assert_array_equal(result.reproduce().maps.data, result.maps.data)
    kept = result.save(tmp_path / "kept", residual=True)
    assert (kept / "residual.hspy").exists()
    with np.load(kept / "arrays.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays.files)
    signal.data[0, 0, 0] += 1.0
    with pytest.raises(ValueError, match="not in memory as they were"):
        result.reproduce()


def test_a_folder_with_its_data_or_beside_them_as_they_were_reproduces_elsewhere(tmp_path):
    phantom = em.synthetic.mixed_phases((10, 12), channels=60, k=2, dose=50, seed=1)
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    phantom.signal.save(here / "raw.hspy")
    signal = em.preprocess.remove_spikes(em.load(here / "raw.hspy"))
    result = em.unmix(signal, em.NMF(2, random_state=0))
    result.save(here / "beside")
    result.save(here / "alone", data=True)
    here.rename(there)
    again = em.open(there / "beside").reproduce()
    np.testing.assert_array_equal(again.maps.data, result.maps.data)
    (there / "raw.hspy").unlink()
    alone = em.open(there / "alone")
    np.testing.assert_array_equal(alone.reproduce().maps.data, result.maps.data)
    alone.save(there / "alone", overwrite=True)  # the copy stays
    np.testing.assert_array_equal(em.open(there / "alone").reproduce().maps.data, result.maps.data)
    with pytest.raises(FileNotFoundError, match="raw.hspy"):
        em.open(there / "beside").reproduce()
