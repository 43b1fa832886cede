import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

from endmember import synthetic

MAKERS = {
    "diode": synthetic.diode,
    "multilayer": synthetic.multilayer,
    "mixed_phases": synthetic.mixed_phases,
    "edxs_phases": synthetic.edxs_phases,
    "oxide_interface": synthetic.oxide_interface,
    "atomic_columns": synthetic.atomic_columns,
    "oxygen_edge": synthetic.oxygen_edge,
}
COUNTED = ["mixed_phases", "edxs_phases", "atomic_columns", "oxygen_edge"]
SHAPE = (24, 20)


@pytest.fixture(scope="module", params=MAKERS)
def phantom(request):
    return MAKERS[request.param](shape=SHAPE, seed=3)


@pytest.fixture(scope="module", params=COUNTED)
def counted(request):
    return MAKERS[request.param](shape=(40, 40), dose=50, seed=5)


def fractions(phantom):
    return phantom.maps / phantom.maps.sum(-1, keepdims=True)


def angles(first, second):
    cosines = np.sum(first * second, -1)
    cosines /= np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def test_clean_is_maps_times_spectra(phantom):
    product = np.einsum("yxk,kc->yxc", phantom.maps, phantom.spectra)
    np.testing.assert_array_equal(phantom.clean, product)
    assert phantom.data.shape == (*SHAPE, phantom.energy.size) == phantom.clean.shape
    assert len(phantom.names) == len(phantom.spectra) == phantom.maps.shape[-1]


def test_truth_is_positive_and_of_full_rank(phantom):
    k = len(phantom.names)
    assert phantom.spectra.min() > 0
    assert phantom.maps.min() >= 0
    assert np.linalg.matrix_rank(phantom.spectra) == k
    assert np.linalg.matrix_rank(phantom.maps.reshape(-1, k)) == k


def test_background_is_a_part_of_the_spectra(phantom):
    net = phantom.spectra - phantom.background
    assert phantom.background.min() >= 0
    assert net.min() >= -1e-12 * phantom.spectra.max()


@pytest.mark.parametrize("name", MAKERS)
def test_same_seed_same_bits_and_other_seed_other_phantom(name):
    first, again, other = (MAKERS[name](shape=SHAPE, seed=seed) for seed in (1, 1, 2))
    for attribute in ("data", "maps", "spectra", "energy", "drift"):
        np.testing.assert_array_equal(getattr(first, attribute), getattr(again, attribute))
    assert np.any(first.maps != other.maps)
    assert np.mean(first.data != other.data) > 0.01


@pytest.mark.parametrize("name", COUNTED)
def test_seed_changes_the_spectra_in_their_details(name):
    first, other = (MAKERS[name](shape=SHAPE, seed=seed) for seed in (1, 2))
    apart = angles(first.spectra, other.spectra)
    assert np.all((apart > 0.05) & (apart < 30))


@pytest.mark.parametrize("name", MAKERS)
def test_global_random_state_is_left_alone(name):
    np.random.seed(0)  # noqa: NPY002
    MAKERS[name](shape=SHAPE)
    untouched = np.random.RandomState(0).get_state()[1]  # noqa: NPY002
    np.testing.assert_array_equal(np.random.get_state()[1], untouched)  # noqa: NPY002


@pytest.mark.parametrize("name", COUNTED)
def test_dose_is_the_expectation_in_the_brightest_voxel_and_scales_the_truth_alone(name):
    weak, strong = (MAKERS[name](shape=SHAPE, dose=dose, seed=4) for dose in (7, 700))
    assert weak.clean.max() == pytest.approx(7, rel=1e-12)
    np.testing.assert_array_equal(weak.maps, strong.maps)
    np.testing.assert_allclose(100 * weak.spectra, strong.spectra, rtol=1e-12)
    np.testing.assert_allclose(100 * weak.background, strong.background, rtol=1e-12)


def test_counts_have_poisson_mean_variance_and_skewness(counted):
    expected = counted.clean[counted.clean > 0.2]
    counts = counted.data[counted.clean > 0.2].astype(float)
    assert counted.data.dtype.kind == "u"
    n, excess = expected.size, counts - expected
    assert abs(excess.sum()) < 4 * np.sqrt(expected.sum())
    squared = excess**2 / expected  # expectation 1, variance 2 + 1 / expected
    assert abs(squared.sum() - n) < 4 * np.sqrt(np.sum(2 + 1 / expected))
    cubed = excess**3 / expected**1.5  # expectation expected ** -0.5
    assert cubed.mean() == pytest.approx(np.mean(expected**-0.5), abs=4 * cubed.std() / np.sqrt(n))


def test_white_noise_has_the_asked_deviation_and_is_not_clipped():
    phantom = synthetic.diode(shape=(64, 64), noise=0.5)
    noise = (phantom.data - phantom.clean) / phantom.clean.max()
    assert noise.std() == pytest.approx(0.5, rel=0.005)
    assert abs(noise.mean()) < 4 * 0.5 / np.sqrt(noise.size)
    for axis in range(3):
        neighbours = np.moveaxis(noise, axis, 0)
        assert abs(np.mean(neighbours[1:] * neighbours[:-1])) < 5 * 0.25 / np.sqrt(noise.size)
    assert phantom.data.min() < -0.5 * phantom.clean.max()
    clean = synthetic.diode(noise=0)
    np.testing.assert_array_equal(clean.data, clean.clean)


@pytest.mark.parametrize("shape", [(3, 1), (4, 30), (48, 48)])
@pytest.mark.parametrize("seed", range(4))
def test_each_pixel_of_the_diode_belongs_to_one_layer(shape, seed):
    maps = synthetic.diode(shape=shape, seed=seed).maps
    assert set(np.unique(maps)) == {0.0, 1.0}
    np.testing.assert_array_equal(maps.sum(-1), 1)
    assert np.all(maps.sum(axis=0) >= 1), "a layer is missing from a column"
    layer = maps.argmax(-1)
    assert np.all(np.diff(layer, axis=0) <= 0), "from the top: Si3N4, SiO2, Si"


def test_spectra_of_the_diode_can_be_mixed_without_a_negative_value():
    phantom = synthetic.diode()
    turned, overlaps = np.zeros((3, 3)), []
    for changed, other in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]:
        amount = np.min(phantom.spectra[changed] / phantom.spectra[other])
        spectra, maps = phantom.spectra.copy(), phantom.maps.copy()
        spectra[changed] -= amount * phantom.spectra[other]
        maps[..., other] += amount * phantom.maps[..., changed]
        assert spectra.min() >= -1e-15
        assert maps.min() >= 0
        np.testing.assert_allclose(maps @ spectra, phantom.clean, rtol=1e-12)
        turned[changed, other] = angles(spectra[changed], phantom.spectra[changed])
        overlaps.append(np.sum(maps[..., changed] * maps[..., other]))
    assert np.all(np.sort(turned.max(axis=1)) > [9, 30, 40]), "degrees by which each may turn"
    assert min(overlaps) > 0, "orthogonal maps tell the truth from every one of these"


def test_the_precipitate_lies_on_a_diffuse_boundary_and_the_dose_is_that_of_a_spectrum():
    phantom = synthetic.oxide_interface(dose=200, seed=6)
    np.testing.assert_allclose(phantom.maps.sum(-1), 1, rtol=1e-12)
    assert phantom.clean.sum(-1).mean() == pytest.approx(200, rel=1e-12)
    assert np.all(phantom.maps.max((0, 1)) > 0.999), "each phase has pixels of its own"
    assert np.mean(phantom.maps == 0) < 0.2, "tails, not edges"
    area = (phantom.maps[..., 2] > 0.5).sum()
    assert area == pytest.approx(np.pi * (0.17 * 64) ** 2, rel=0.05)
    edges = dict(zip(phantom.names, phantom.spectra, strict=True))
    for name, onset in {"TiO2": 458.5, "MnO": 640.2, "Fe2O3": 709.5}.items():
        strongest = max(edges, key=lambda one: edges[one][np.argmin(abs(phantom.energy - onset))])
        assert strongest == name


def test_layers_of_the_multilayer_are_diffuse_and_complete():
    diffuse = synthetic.multilayer(layers=6, diffuseness=3)
    sharp = synthetic.multilayer(layers=6, diffuseness=0)
    np.testing.assert_allclose(diffuse.maps.sum(-1), 1, rtol=1e-12)
    assert np.mean(diffuse.maps.max(-1) < 0.95) > 0.3
    assert set(np.unique(sharp.maps)) == {0.0, 1.0}
    np.testing.assert_array_equal(np.sum(np.diff(sharp.maps.argmax(-1), axis=0) != 0, axis=0), 5)


@pytest.mark.parametrize(("shape", "k"), [((2, 2), 4), ((1, 40), 3), ((32, 32), 1), ((32, 32), 6)])
@pytest.mark.parametrize("seed", range(3))
def test_every_phase_has_a_pure_pixel(shape, k, seed):
    phantom = synthetic.mixed_phases(shape=shape, k=k, channels=64, seed=seed)
    assert np.all(np.sum(fractions(phantom) > 1 - 1e-12, axis=(0, 1)) >= 1)
    np.testing.assert_allclose(phantom.maps.sum(-1), 1, atol=0.1)


@pytest.mark.parametrize(("shape", "k"), [((2, 2), 4), ((32, 32), 2), ((32, 32), 6)])
@pytest.mark.parametrize("seed", range(3))
def test_no_phase_is_pure_where_none_should_be(shape, k, seed):
    phantom = synthetic.mixed_phases(shape=shape, k=k, channels=64, pure=False, seed=seed)
    assert fractions(phantom).max() <= 0.8 + 1e-12
    np.testing.assert_allclose(phantom.maps.sum(-1), 1, atol=0.1)


def test_mixed_maps_are_smooth():
    maps = fractions(synthetic.mixed_phases(pure=False, seed=1))
    for axis in (0, 1):
        assert np.sqrt(np.mean(np.diff(maps, axis=axis) ** 2)) < 0.25 * maps.std()


def test_background_is_a_power_law_of_its_own_for_each_phase():
    with_background = synthetic.mixed_phases(shape=SHAPE, background=True)
    without = synthetic.mixed_phases(shape=SHAPE, background=False)
    slopes = np.diff(np.log(with_background.background)) / np.diff(np.log(with_background.energy))
    np.testing.assert_allclose(slopes, slopes[:, :1].repeat(slopes.shape[1], 1), rtol=1e-6)
    assert np.ptp(slopes[:, 0]) > 0.05
    assert np.all((slopes < -2) & (slopes > -4))
    np.testing.assert_array_equal(without.background, 0)
    net = with_background.spectra - with_background.background
    assert angles(net, without.spectra).max() < 1e-5


def test_drift_moves_each_pixel_by_its_shift():
    still, moved = (
        synthetic.mixed_phases(shape=(12, 12), k=1, channels=2048, drift=drift) for drift in (0, 6)
    )
    np.testing.assert_array_equal(still.drift, 0)
    assert np.ptp(moved.drift) == pytest.approx(6)
    assert moved.drift.mean() == pytest.approx(0, abs=1e-12)
    assert np.abs(np.diff(moved.drift.ravel())).max() < 10 * 6 / moved.drift.size
    white_line = moved.energy < 461
    channel = np.flatnonzero(white_line)
    level = moved.spectra[0, white_line].max() / 2
    tops = np.maximum((moved.clean / moved.maps)[..., white_line] - level, 0)
    truth = np.maximum(moved.spectra[0, white_line] - level, 0)
    centroid = tops @ channel / tops.sum(-1) - truth @ channel / truth.sum()
    np.testing.assert_allclose(centroid, moved.drift, atol=0.02)


def test_a_stretch_draws_the_axis_out_about_its_middle():
    settings = {"shape": (6, 6), "k": 1, "channels": 1024, "background": True}
    still, moved = (synthetic.mixed_phases(stretch=by, **settings) for by in (0, 0.01))
    assert still.stretch is None and np.ptp(moved.stretch) == pytest.approx(0.01)
    assert moved.stretch.mean() == pytest.approx(0, abs=1e-12)
    np.testing.assert_array_equal(moved.drift, 0)
    channel, middle = np.arange(1024), 1023 / 2
    for pixel in np.ndindex(6, 6):
        places = channel + moved.stretch[pixel] * (channel - middle)
        inside = (places >= 0) & (places <= 1023)
        read = np.interp(places, channel, moved.clean[pixel] / moved.maps[pixel])
        np.testing.assert_allclose(read[inside], moved.spectra[0, inside], rtol=0.01)


def test_drift_changes_neither_maps_nor_shape_of_the_true_spectra():
    settings = {"shape": SHAPE, "background": True, "seed": 2}
    still, moved = (synthetic.mixed_phases(drift=drift, **settings) for drift in (0, 4))
    np.testing.assert_array_equal(still.maps, moved.maps)
    assert angles(still.spectra, moved.spectra).max() < 1e-5
    assert moved.clean.max() == pytest.approx(300, rel=1e-12)
    noise = (moved.data - moved.clean) / np.sqrt(moved.clean)
    assert noise.std() == pytest.approx(1, abs=0.01)
    unaligned = moved.maps @ moved.spectra - moved.clean
    np.testing.assert_allclose(unaligned[np.abs(moved.drift) < 1e-3], 0, atol=0.1)
    assert np.abs(unaligned).max() > 10


def test_sparse_counts_equal_dense_counts():
    dense = synthetic.edxs_phases(shape=SHAPE, seed=7)
    csr = synthetic.edxs_phases(shape=SHAPE, seed=7, sparse=True)
    assert sparse.issparse(csr.data)
    assert csr.data.dtype == dense.data.dtype
    np.testing.assert_array_equal(csr.data.toarray(), dense.data.reshape(csr.data.shape))
    np.testing.assert_array_equal(csr.signal.data, dense.data)


def test_default_edxs_counts_are_as_rare_as_real_ones():
    data = synthetic.edxs_phases().data
    assert data.dtype == np.uint8
    assert 0.05 < data.mean() < 0.2
    assert np.mean(data == 0) > 0.8


def test_lines_have_the_detectors_width():
    phantom = synthetic.edxs_phases(shape=SHAPE, channels=4096)
    window = np.abs(phantom.energy - 8.0478) < 0.35
    line, energy = (phantom.spectra - phantom.background)[:, window], phantom.energy[window]
    centre = line @ energy / line.sum(-1)
    variance = np.array([row @ (energy - c) ** 2 for row, c in zip(line, centre, strict=True)])
    widths = 1e3 * np.sqrt(8 * np.log(2) * variance / line.sum(-1))
    np.testing.assert_allclose(centre, 8.0478, atol=2e-3)
    np.testing.assert_allclose(widths, np.sqrt(130**2 + 2.5 * (8047.8 - 5895)), rtol=0.01)


def test_line_energies_are_those_of_the_elements():
    from exspy.material import elements

    from endmember.synthetic.edxs import _LINES

    for element, lines in _LINES.items():
        known = elements[element]["Atomic_properties"]["Xray_lines"]
        energies = np.array([line["energy (keV)"] for _, line in known])
        for energy, _ in lines:
            assert np.abs(energies - energy).min() < 0.006, (element, energy)


def test_two_detectors_share_maps_and_phases():
    both = synthetic.concurrent(shape=SHAPE, k=3, edxs_dose=20, seed=1)
    assert both.eels.names == both.edxs.names
    np.testing.assert_allclose(both.eels.clean, both.maps @ both.eels.spectra, rtol=1e-12)
    np.testing.assert_array_equal(both.edxs.maps, both.maps)
    np.testing.assert_array_equal(both.eels.maps, both.maps)
    assert both.edxs.clean.max() == pytest.approx(20)
    totals = [p.data.sum(-1) - p.clean.sum(-1) for p in (both.eels, both.edxs)]
    noise = np.corrcoef(*(total.ravel() for total in totals))[0, 1]
    assert abs(noise) < 4 / np.sqrt(totals[0].size), "the detectors count independently"


def test_light_and_dark_field_have_the_maps_of_the_other_detectors():
    both = synthetic.concurrent(shape=SHAPE, k=3, seed=1)
    clean = both.maps @ both.brightness
    assert np.std(both.adf - clean) == pytest.approx(0.01 * clean.max(), rel=0.2)
    light = both.maps @ both.cl_spectra
    assert light.max() == pytest.approx(20)
    assert both.cl.sum() == pytest.approx(light.sum(), rel=5 / np.sqrt(light.sum()))


def test_lattice_pixels_are_all_mixed_and_periodic():
    phantom = synthetic.atomic_columns(shape=(64, 64), period=8)
    shares = fractions(phantom)
    assert shares.min() > 0.05
    assert shares.max() < 0.95
    power = np.abs(np.fft.fft2(phantom.maps[..., 0] - phantom.maps[..., 0].mean()))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    assert frequency.ravel()[power.argmax()] == pytest.approx(1 / 8, abs=1 / 64)


def test_oxides_differ_in_their_near_edge_peaks_alone_and_the_resin_is_mostly_background():
    phantom = synthetic.oxygen_edge()
    before, after = phantom.energy < 520, phantom.energy > 555
    net = phantom.spectra - phantom.background
    assert np.abs(net[:, before]).max() < 1e-3 * net.max()
    shapes = net[:2, after] / net[:2, after].mean(-1, keepdims=True)
    assert np.ptp(shapes, axis=0).max() < 0.1
    assert np.all(phantom.background.max(-1) > net.max(-1))
    assert net[2].max() < 0.2 * net[:2].max()


def test_channelling_never_leaves_a_site_out_and_has_the_zeros_that_it_claims():
    series = synthetic.channelling(seed=2)
    for weights in (series.eels_weights, series.edxs_weights):
        assert weights.min() > 0.3
    apart = series.eels_weights / series.edxs_weights - 1
    assert np.sqrt(np.mean(apart**2)) == pytest.approx(0.03, rel=1e-6)
    assert not series.eels_spectra[1, series.before_onset].any()
    assert series.eels_spectra[0, series.before_onset].max() > 0.05 * series.eels_spectra.max()
    assert not series.edxs_spectra[0, series.nickel].any()
    assert series.edxs_spectra[1, series.nickel].max() > 0.3 * series.edxs_spectra.max()
    assert series.occupancy == pytest.approx(0.35, abs=0.02)
    assert series.edxs.sum() == pytest.approx(
        (series.edxs_weights @ series.edxs_spectra).sum(), rel=0.01
    )


@pytest.mark.parametrize(
    ("name", "kind", "axis", "units"),
    [
        ("diode", "EELSSpectrum", "Energy loss", "eV"),
        ("edxs_phases", "EDSTEMSpectrum", "Energy", "keV"),
    ],
)
def test_signal_has_the_data_the_axes_and_the_type(name, kind, axis, units):
    phantom = MAKERS[name](shape=(6, 9))
    signal = phantom.signal
    assert type(signal).__name__ == kind
    assert signal.metadata.Signal.signal_type == phantom.detector
    assert signal.metadata.General.title == phantom.title
    np.testing.assert_array_equal(signal.data, phantom.data)
    assert signal.data.dtype == phantom.data.dtype
    x, y = signal.axes_manager.navigation_axes
    assert [(x.name, x.size, x.units), (y.name, y.size, y.units)] == [
        ("x", 9, "nm"),
        ("y", 6, "nm"),
    ]
    energy = signal.axes_manager.signal_axes[0]
    assert (energy.name, energy.units) == (axis, units)
    np.testing.assert_allclose(energy.axis, phantom.energy, rtol=1e-12)
    assert phantom.signal is signal
    signal.data[:] = 0
    assert phantom.data.max() > 0


def test_arrays_need_no_hyperspy():
    code = (
        "import sys; from endmember import synthetic as s; p = s.mixed_phases((8, 8)); p.clean; "
        "s.edxs_phases((8, 8), sparse=True); "
        "assert not {'hyperspy', 'exspy', 'matplotlib', 'dask'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        ("diode", {"shape": (2, 5)}, "shape"),
        ("diode", {"shape": 48}, "shape"),
        ("diode", {"shape": (48, 4.5)}, "shape"),
        ("diode", {"channels": 0}, "channels"),
        ("diode", {"noise": -0.1}, "noise"),
        ("diode", {"noise": float("nan")}, "noise"),
        ("diode", {"seed": -1}, "seed"),
        ("diode", {"seed": None}, "seed"),
        ("multilayer", {"layers": 2}, "layers"),
        ("multilayer", {"shape": (5, 5), "layers": 6}, "shape"),
        ("multilayer", {"diffuseness": -1}, "diffuseness"),
        ("mixed_phases", {"k": 0}, "k"),
        ("mixed_phases", {"k": 2.0}, "k"),
        ("mixed_phases", {"k": 1, "pure": False}, "k"),
        ("mixed_phases", {"shape": (1, 3), "k": 4}, "k"),
        ("mixed_phases", {"channels": 3, "k": 4}, "k"),
        ("mixed_phases", {"channels": True}, "channels"),
        ("mixed_phases", {"dose": 0}, "dose"),
        ("mixed_phases", {"dose": "much"}, "dose"),
        ("mixed_phases", {"drift": -1}, "drift"),
        ("mixed_phases", {"stretch": -1}, "stretch"),
        ("edxs_phases", {"k": -1}, "k"),
        ("edxs_phases", {"dose": float("inf")}, "dose"),
        ("edxs_phases", {"channels": 1}, "channels"),
        ("oxide_interface", {"drift": -1}, "drift"),
        ("oxide_interface", {"channels": 2}, "channels"),
        ("atomic_columns", {"period": 0}, "period"),
        ("oxygen_edge", {"shape": (1, 2)}, "shape"),
        ("plan_view", {"shape": (1, 2)}, "shape"),
    ],
)
def test_bad_arguments_get_one_clear_sentence(name, arguments, word):
    with pytest.raises(ValueError, match=rf"^{word}=.*(must be).*try .*\.$") as caught:
        getattr(synthetic, name)(**arguments)
    assert "\n" not in str(caught.value)
