"""Lines of the elements as the columns of spectra, and what they are as per cent."""

import math
import os
import warnings
from pathlib import Path

import numpy as np
import pytest

import endmember as em
from endmember.cli import main
from endmember.factor.data.axis import Axis

ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Ti", "Fe", "Cu", "C"]
ENERGY = np.arange(0.1, 10.34, 0.01)
AXIS = Axis(ENERGY, "keV")


def summed(elements, counts, seed=0, gain=0.0, offset=0.0, resolution=130.0):
    """Return counts of lines of these elements, equally strong, and half as many of a continuum."""
    lines = em.XRayLines(elements, energy=ENERGY * (1 + gain) + offset, resolution=resolution)
    columns, names = lines.columns_on(AXIS)
    weights = [1.0 * (name[-2:] == "_K") + (name == "continuum 5") * 5 for name in names]
    spectrum = weights @ (columns / columns.sum(axis=1, keepdims=True))
    return np.random.default_rng(seed).poisson(counts * spectrum / spectrum.sum())


def test_the_main_line_of_a_column_counts_one():
    columns, names = em.XRayLines(["Fe"], energy=ENERGY).columns_on(AXIS)
    iron = columns[names.index("Fe_K")]
    assert iron[np.abs(ENERGY - 6.404) < 0.3].sum() == pytest.approx(1.0, abs=1e-3)
    assert iron[np.abs(ENERGY - 7.058) < 0.3].sum() == pytest.approx(0.1272, abs=1e-3)
    width = np.ptp(ENERGY[iron > iron.max() / 2])
    assert width == pytest.approx(0.133, abs=0.011)


def test_an_axis_that_is_off_and_lines_that_are_wider_are_found():
    total = summed(["O", "Si", "Fe"], 3e5, gain=0.003, offset=0.005, resolution=137.0)
    learned = em.XRayLines(["O", "Si", "Fe"], energy=ENERGY).learned_from(total, AXIS)
    gain, offset, width, soft = learned["axis_fit_"]
    shift = gain * np.array([1.74, 6.4]) + 1e-3 * (
        offset + soft * np.exp(-np.array([1.74, 6.4]) / 0.5)
    )
    np.testing.assert_allclose(shift, 0.003 * np.array([1.74, 6.4]) + 0.005, atol=0.001)
    assert width == pytest.approx(137.0, abs=2.0)
    assert learned["deviance_"] < 1.3


@pytest.mark.parametrize("seed", range(4))
def test_an_element_that_is_missing_comes_first_and_none_is_claimed_else(seed):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        total = summed(["O", "Si", "Fe", "Cu"], 2e4, seed)
        missing = em.XRayLines(["O", "Si", "Fe"], energy=ENERGY).learned_from(total, AXIS)
        complete = em.XRayLines(["O", "Si", "Fe", "Cu", "Ti"], energy=ENERGY).learned_from(
            total, AXIS
        )
    assert missing["unlisted_"] == ["Cu"] and complete["unlisted_"] == []
    heard = [str(one.message) for one in said if one.category is UserWarning]
    assert heard == ["in the data, not in your list: Cu", "in your list, not in the data: Ti"]
    assert complete["unfound_"] == ["Ti"] and missing["unfound_"] == []


def tailed(total):
    """Return counts of which those of soft X-rays are collected in part, over an exponential of 0.1 keV."""
    kernel = np.exp(-np.arange(100) * 0.01 / 0.1)
    share = 0.01 + 0.6 * np.exp(-ENERGY / 0.5)
    later = np.convolve((share * total)[::-1], kernel / kernel.sum())[: len(total)][::-1]
    return (1 - share) * total + later


def piled(total):
    """Return counts of which one in a hundred comes together with another."""
    twice = np.convolve(total, total)[: len(total)] / total.sum()
    return 0.99 * total + 0.01 * np.append(
        np.zeros(10), twice[:-10]
    )  # the axis begins at 10 channels


def falsified(total):
    """Return counts of a detector whose lines are a tenth stronger above their middle than below."""
    return total * (1 + 0.1 * np.tanh(np.sin(40 * ENERGY)))


@pytest.mark.parametrize("wrong", [tailed, piled, falsified])
@pytest.mark.parametrize("elements", [["O", "Al", "Fe"], ["O", "Si", "Ti", "Cu"]])
def test_what_a_detector_does_is_no_element(wrong, elements):
    total = np.random.default_rng(0).poisson(wrong(summed(elements, 2e6).astype(float)))
    learned = em.XRayLines(elements, energy=ENERGY).learned_from(total, AXIS)
    assert learned["unlisted_"] == [] and learned["unfound_"] == []


def test_an_element_whose_harder_line_is_missing_is_none():
    total = summed(["O", "Si", "Fe"], 2e5).astype(float)
    soft = em.XRayLines(["Ti"], energy=ENERGY).columns_on(AXIS)
    titanium = soft[0][soft[1].index("Ti_L")]
    learned = em.XRayLines(["O", "Si", "Fe"], energy=ENERGY).learned_from(
        total + 0.05 * total.sum() * titanium / titanium.sum(), AXIS
    )
    assert "Ti" not in learned["unlisted_"]


DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.mark.skipif(not DATA.is_dir(), reason="no folder of real data; set ENDMEMBER_DATA")
@pytest.mark.parametrize(
    ("name", "others", "deviance"),
    [
        ("two_phase_50x50.bcf", set(), 3),
        (
            "mineral_71GPa.hspy",
            {"Cu", "Pt", "Ga", "Zr"},
            10,
        ),  # grid, two of the ion beam, collimator
        ("FePt_bare_core.hspy", {"Cu", "C", "Si", "O"}, 25),  # grid, film and its oxide
        ("chevkinite.bcf", {"Mn"}, 25),
    ],
)
@pytest.mark.filterwarnings("ignore:in (the data|your list), not in")
def test_nothing_is_claimed_of_real_files_that_has_no_peak(name, others, deviance):
    signal = em.load(DATA / "edxs" / name)
    total = signal.data.reshape(-1, signal.data.shape[-1]).sum(axis=0, dtype=float)
    learned = em.XRayLines("auto").learned_from(total, Axis.of(signal))
    assert set(learned["unlisted_"]) == others and learned["deviance_"] < deviance
    # No pixel of this map, nor their sum, has a peak at the main lines of these rare earths.
    absent = {"Ce", "Gd", "Nd", "Th"} if name == "chevkinite.bcf" else set()
    assert set(learned["unfound_"]) == absent


def test_a_list_that_is_empty_is_completed_by_what_is_in_the_data():
    phantom = em.synthetic.edxs_phases(shape=(24, 24), dose=5)
    with pytest.warns(UserWarning, match="in the data, not in your list: .*; added"):
        fitted = em.NMF(2, spectra=em.XRayLines("auto"), n_starts=2).fit(phantom.signal)
    assert set(fitted.elements_) == set(ELEMENTS)


@pytest.mark.parametrize("dose", [2, 20])
def test_few_counts_suffice_where_lines_are_known_and_zeros_tested(dose):
    phantom = em.synthetic.edxs_phases(shape=(48, 48), dose=dose)
    model = em.NMF(
        3, loss=em.Poisson(), maps=em.Absent("auto"), spectra=em.XRayLines(ELEMENTS), random_state=0
    )
    fitted = model.fit(phantom.signal)
    order = em.match_components(fitted.components_, phantom.spectra)
    angles = em.spectral_angle(fitted.components_[order], phantom.spectra)
    assert fitted.converged_ and np.max(angles) < 30 / (8 + dose)
    assert fitted.elements_ == ELEMENTS and fitted.unlisted_ == []


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (em.XRayLines(["Fe", "Xx"], energy=ENERGY), "'Xx' is no element with .*; give"),
        (
            em.XRayLines(["Fe", "H"], energy=ENERGY),
            "'H' is no element with a line on this axis; give",
        ),
        (em.XRayLines(["Fe"]), "no X-ray spectra of which .*; give"),
        (em.XRayLines(["Fe"], energy=ENERGY[:5]), "one for each"),
    ],
)
def test_what_is_not_known_is_said(lines, says):
    with pytest.raises(ValueError, match=says):
        em.NMF(2, spectra=lines).fit(np.ones((4, 5, len(ENERGY))))


def composed(seed=0, shape=(16, 16), counts=300):
    """Return counts of two phases whose lines are columns themselves, their shares of main lines, and a fit."""
    energy = ENERGY[::2]
    elements = ["O", "Si", "Fe", "Cu"]
    columns, names = em.XRayLines(elements, energy=energy).columns_on(Axis(energy, "keV"))
    lines = columns[[names.index(f"{one}_K") for one in elements]]
    amounts = np.array([[50.0, 40.0, 0.0, 10.0], [20.0, 5.0, 60.0, 15.0]])
    spectra = amounts @ lines + 0.3 * columns[names.index("continuum 5")]
    x = np.indices(shape)[1] / shape[1]
    maps = np.clip(np.stack([1.3 - 2 * x, 2 * x - 0.6], axis=-1), 0, 1)
    X = np.random.default_rng(seed).poisson(maps @ spectra * counts / spectra.sum(axis=1).mean())
    model = em.NMF(
        2, loss=em.Poisson(), maps=em.Absent("auto"), random_state=0, n_starts=3,
        spectra=em.XRayLines(elements, energy=energy),
    )  # fmt: skip
    return X, amounts, spectra, model.fit(X)


@pytest.fixture(scope="module")
def one():
    return composed()


def test_shares_of_counts_are_found_within_their_errors():
    away = []
    for seed in range(4):
        X, amounts, spectra, fitted = composed(seed)
        found = em.assess.composition(fitted, X)
        order = em.match_components(fitted.components_, spectra)
        error = found.atomic_error[order]
        away.append(((found.atomic[order] - amounts) / error)[amounts > 0])
        assert (found.atomic_error < 2).all() and found.method == "ratios"
        assert (found.atomic[order][amounts == 0] < found.limits[order][amounts == 0]).all()
    assert 0.5 < np.mean(np.abs(away) < 1) < 0.9 and np.abs(np.mean(away)) < 0.5


def test_the_limit_is_three_times_the_noise_of_what_else_is_there(one):
    X, _, spectra, fitted = one
    found, order = (
        em.assess.composition(fitted, X),
        em.match_components(fitted.components_, spectra),
    )
    first, iron = order[0], found.elements.index("Fe")
    column = fitted.columns_[fitted.column_names_.index("Fe_K")]
    peak = column > 0.4 * column.max()
    total = np.nansum(fitted.maps_[..., first])
    counts = (
        total * fitted.amounts_[first, [fitted.column_names_.index(one) for one in found.lines]]
    )
    background = total * fitted.components_[first, peak].sum()
    limit = 100 * 3 * np.sqrt(background) / column[peak].sum() / counts.sum()
    assert found.limits[first, iron] == pytest.approx(limit, rel=0.3)


def test_per_cent_are_those_of_exspy(one):
    import exspy.signals
    import hyperspy.api as hs

    X, _, _, fitted = one
    factors = {"O": 2.1, "Si": 1.0, "Fe_Ka": 1.4, "Cu": 1.7}
    lines = [f"{element}_Ka" for element in fitted.elements_]
    columns = [fitted.column_names_.index(f"{element}_K") for element in fitted.elements_]
    counts = 1e6 * fitted.amounts_[:, columns].T
    signal = exspy.signals.EDSTEMSpectrum(np.ones((2, 2, 100)))
    signal.axes_manager.signal_axes[0].units = "keV"
    signal.set_elements(fitted.elements_)
    signal.set_lines(lines)
    intensities = [
        hs.signals.BaseSignal(np.tile(row, (2, 1))).T for row in counts
    ]  # one axis fails there
    for intensity, line in zip(intensities, lines, strict=True):
        intensity.metadata.set_item("Sample.elements", [line.split("_")[0]])
        intensity.metadata.set_item("Sample.xray_lines", [line])
    weights = signal.quantification(
        intensities, "CL", list(factors.values()), composition_units="weight", navigation_mask=None
    )
    found = em.assess.composition(fitted, X, factors=factors)
    theirs = np.stack([one.data[0] for one in weights], axis=1)
    np.testing.assert_allclose(found.weight, theirs, atol=1e-6)
    listed = em.assess.composition(fitted, X, method="CL", factors=list(factors.values()))
    np.testing.assert_array_equal(listed.weight, found.weight)
    atoms = em.assess.composition(fitted, X, method="cross-section", factors=factors)
    ours = counts.T / list(factors.values())
    np.testing.assert_allclose(
        atoms.atomic, 100 * ours / ours.sum(axis=1, keepdims=True), atol=1e-6
    )


def test_what_is_not_known_of_factors_is_part_of_the_errors(one):
    X, _, _, fitted = one
    factors = {"O": 2.0, "Si": 1.0, "Fe": 1.3, "Cu": 1.6}
    plain = em.assess.composition(fitted, X, factors=factors)
    found = em.assess.composition(fitted, X, factors=factors, uncertainty=0.05)
    wrong = 1 + 0.05 * np.random.default_rng(0).standard_normal((20000, 1, len(factors)))
    drawn = plain.weight * wrong / np.sum(plain.weight * wrong / 100, axis=-1, keepdims=True)
    expected = np.hypot(plain.weight_error, np.std(drawn, axis=0))
    np.testing.assert_allclose(found.weight_error, expected, rtol=0.05, atol=0.02)
    np.testing.assert_array_equal(found.atomic, plain.atomic)
    assert "counting and factors known to 0.05" in str(found)
    assert "counting alone" in str(plain)


def test_a_result_shows_and_keeps_its_composition(tmp_path):
    phantom = em.synthetic.edxs_phases(shape=(16, 16), dose=5)
    model = em.NMF(2, loss=em.Poisson(), spectra=em.XRayLines(ELEMENTS), random_state=0)
    result = em.unmix(phantom.signal, model)
    found = result.composition()
    assert found.maps.data.shape == (len(ELEMENTS), 16, 16)
    np.testing.assert_allclose(np.nansum(found.maps.data, axis=0), 100)
    np.testing.assert_allclose(found.weight.sum(axis=1), 100)
    for number, name in enumerate(result.picture().names):
        first, *held = name.split()
        shares = found.atomic[number]
        assert first == f"{number + 1}." and held[0].split("–")[0] == ELEMENTS[np.argmax(shares)]
        assert len(held) == 1  # shares of counts are no composition
    factors = dict.fromkeys(ELEMENTS, 1.5) | {"O": 3.0}
    named = result.composition(factors=factors)
    atoms = sorted((f"{share:.0f}" for share in named.atomic[0] if share > 10), key=float)[::-1]
    assert result.picture().names[0].endswith(" " + ":".join(atoms[:3]))
    found = result.composition()
    result.save(tmp_path / "kept")
    table = (tmp_path / "kept" / "composition.csv").read_text().splitlines()
    assert len(table) == 1 + 2 * len(ELEMENTS) and table[1].startswith("1,O_K,")
    assert "no factors were given" in (tmp_path / "kept" / "report.html").read_text()
    assert em.open(tmp_path / "kept").picture().names == result.picture().names
    again = em.assess.composition(em.open(tmp_path / "kept"), phantom.signal)
    np.testing.assert_allclose(again.atomic, found.atomic, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"thickness": 50}, "absorption is not corrected; leave it out"),
        ({"factors": {"O": 1.0}}, "no factor for Si, Fe, Cu; give one"),
        ({"factors": [1.0] * 5}, "there are 5 factors for O, Si, Fe, Cu"),
        ({"masks": 1}, "masks.* is not known; allowed"),
        ({"uncertainty": 0.05}, "give the relative error of factors, such as 0.05, and factors="),
        ({"method": "zeta"}, "'zeta' is not known; allowed"),
        ({"method": "ratios", "factors": {"O": 1}}, "ratios of counts and edges take none"),
        ({"factors": {"O_La": 1, "Si": 1, "Fe": 1, "Cu": 1}}, "no line of O_L; leave"),
    ],
)
def test_what_cannot_be_composed_is_said(one, options, says):
    with pytest.raises(ValueError, match=says):
        em.assess.composition(one[3], one[0], **options)
    with pytest.raises(ValueError, match="fit em.NMF"):
        em.assess.composition(em.NMF(2).fit(one[0]), one[0])


def test_an_element_of_the_list_that_is_not_there_is_doubted():
    phantom = em.synthetic.edxs_phases(shape=(16, 16), dose=5)
    model = em.NMF(2, loss=em.Poisson(), spectra=em.XRayLines([*ELEMENTS, "Zn"]), random_state=0)
    with pytest.warns(UserWarning, match="in your list, not in the data: Zn"):
        result = em.unmix(phantom.signal, model)
    assert result.composition().doubted == ["Zn"]
    assert "all that the sum of all pixels holds of Zn" in str(result.percentages)


def test_the_command_line_takes_edges_of_energy_losses_and_names_components(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    signal = em.synthetic.oxygen_edge().signal.isig[:64]
    signal.set_signal_type("EELS")
    signal.axes_manager.signal_axes[0].offset, signal.axes_manager.signal_axes[0].scale = 500.0, 1.0
    for place in ("beam_energy", "convergence_angle", "Detector.EELS.collection_angle"):
        signal.metadata.set_item(
            f"Acquisition_instrument.TEM.{place}", 20.0 + 180.0 * ("beam" in place)
        )
    signal.save("losses.hspy")
    words = [
        "unmix",
        "losses.hspy",
        "-k",
        "2",
        "--starts",
        "1",
        "--quantify",
        "-o",
        "kept",
        "--elements",
    ]
    assert main([*words, "auto"]) == 2
    assert "name the K and L edges" in capsys.readouterr().err
    assert main([*words, "Fe"]) == 2
    assert "Fe_ is no K or L edge" in capsys.readouterr().err
    assert main([*words, "O_K"]) == 0
    assert "O_K     100.00" in capsys.readouterr().out
    assert "2. O 100" in Path("kept", "report.html").read_text()


EV = np.arange(400.0, 800.0)
MICROSCOPE = {"energy": EV, "beam_energy": 200, "convergence": 10, "collection": 20}


def test_edges_are_counted_once_and_give_atomic_per_cent_though_fine_structure_differs():
    edges = em.CoreLossEdges(["O_K", "Mn_L3", "Mn_L2"], **MICROSCOPE)
    columns, names = edges.columns_on(Axis(EV, "eV"))
    assert names[:2] == ["Mn_L", "O_K"]
    shares = np.array([[0.5, 0.5], [0.2, 0.8]])  # of manganese and oxygen
    spectra = 1e-2 * shares @ columns[:2] + 3 * (EV / 400) ** -3.0
    white = np.exp(-0.5 * ((EV - 643) / 3) ** 2), np.exp(-0.5 * ((EV - 537) / 4) ** 2)
    spectra += 5 * shares @ white
    x = np.indices((12, 12))[1] / 12
    maps = np.clip(np.stack([1.3 - 2 * x, 2 * x - 0.6], axis=-1), 0, 1)
    X = np.random.default_rng(0).poisson(3000 * maps @ spectra).astype(float)
    model = em.NMF(2, loss=em.Poisson(), spectra=edges, maps=em.Absent("auto"), random_state=0).fit(
        X
    )
    found = em.assess.composition(model, X)
    order = em.match_components(model.components_, spectra)
    assert found.method == "edges" and found.elements == ["O", "Mn"]
    np.testing.assert_allclose(found.atomic[order][:, ::-1], 100 * shares, atol=1)
    assert (found.atomic_error < 1).all()


def test_low_losses_undo_plural_scattering():
    loss = np.arange(-20.0, 200.0)
    plasmon = np.exp(-0.5 * ((loss - 23) / 8) ** 2)
    scattered = np.exp(-0.5 * (loss / 1.0) ** 2)
    once, low = plasmon / plasmon.sum(), scattered / scattered.sum()
    for order in range(1, 6):  # a thickness of 1.5 mean free paths
        scattered = np.convolve(scattered, once)[20:][: len(loss)]
        low = low + 1.5**order / math.factorial(order) * scattered / scattered.sum()
    thin = em.CoreLossEdges(["O_K", "Mn_L"], **MICROSCOPE).columns_on(Axis(EV, "eV"))[0][:2]
    shares = np.array([0.4, 0.6])
    spectrum = np.convolve(shares @ thin, low / low.sum())[20:][: len(EV)]
    X = (1e-2 * spectrum + 3 * (EV / 400) ** -3.0)[None] * np.array([[1.0], [2.0]])
    found = []
    for given in (None, low):
        edges = em.CoreLossEdges(["O_K", "Mn_L"], low_loss=given, **MICROSCOPE)
        model = em.NMF(1, spectra=edges, random_state=0).fit(X)
        found.append(em.assess.composition(model, X).atomic[0, 1] / 100)
    assert abs(found[1] / shares[0] - 1) < 0.02 < abs(found[0] / shares[0] - 1)


def test_edges_that_cannot_be_are_refused():
    losses = em.synthetic.mixed_phases((4, 5), channels=64, k=2).signal
    with pytest.raises(ValueError, match="no X-ray spectra .*em.CoreLossEdges"):
        em.NMF(2, spectra=em.XRayLines(["Fe"])).fit(losses)
    with pytest.raises(ValueError, match="La_M is no K or L edge"):
        em.CoreLossEdges(["La_M5"], **MICROSCOPE).columns_on(Axis(EV, "eV"))
    with pytest.raises(ValueError, match="both angles; give"):
        em.CoreLossEdges(["O_K"]).columns_on(Axis(EV, "eV"))
    with pytest.raises(ValueError, match="low losses are empty"):
        em.CoreLossEdges(["O_K"], low_loss=np.zeros(9), **MICROSCOPE).columns_on(Axis(EV, "eV"))
