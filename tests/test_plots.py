import io
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from endmember.show import Components, Misfit, components, convergence, relevance, residual
from endmember.show.drawing import round_length, scale_bar
from endmember.show.page import blank_figure, palette


def maps_of(*shape):
    """Values that are all different, so that no flip or transposition goes unseen."""
    return np.arange(1.0, np.prod(shape) + 1).reshape(shape)


def picture(*shape, channels=9, **more):
    spectra = np.random.default_rng(0).random((shape[-1], channels))
    return Components(maps=maps_of(*shape), spectra=spectra, **more)


def test_energies_come_behind_the_spectra():
    energy = np.arange(9.0)
    assert list(Components(maps_of(3, 4, 2), np.ones((2, 9)), energy).energy) == list(energy)
    assert Misfit(maps_of(3, 4), energy, energy, energy, energy + 5).energy[0] == 5


def map_panels(figure):
    return [axes for axes in figure.axes if axes.images]


def line_of(axes):
    return next(line for line in axes.lines if line.get_gid() is None)


def scale_bar_of(axes):
    """Length in pixels and label, or None."""
    if not axes.patches:
        return None
    return axes.patches[0].get_width(), axes.texts[0].get_text()


def drawn(figure, dpi=40):
    """Draw with every warning (a collapsed layout is one) an error."""
    figure.savefig(io.BytesIO(), dpi=dpi)
    return figure


def loaded_after(statement):
    """Names of what a fresh interpreter has loaded after a statement."""
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_show_loads_neither_matplotlib_nor_jinja():
    assert not loaded_after("import endmember.show") & {"matplotlib", "jinja2"}


def test_drawing_does_without_pyplot():
    draw = "from endmember import show; show.convergence([2.0, 1.0])._repr_png_()"
    modules = loaded_after(draw)
    assert "matplotlib" in modules and "matplotlib.pyplot" not in modules


SHAPES = [(48, 48, 3), (2, 21, 3), (21, 2, 2), (10, 2), (2304, 1), (2,), (4, 6, 5, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_of_domain_is_laid_out_and_drawn(shape):
    figure = drawn(components(picture(*shape, title="a.dm3")))
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 2 * shape[-1]
    assert min(box.width for box in boxes) > 0.02 and min(box.height for box in boxes) > 0.02
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 1 and box.y1 <= 1 for box in boxes)


@pytest.mark.parametrize("shape", [(3, 5), (7, 4), (2, 21)])
def test_a_map_is_drawn_row_zero_on_top_and_columns_to_the_right(shape):
    answer = picture(*shape, 2)
    figure = drawn(components(answer))
    for j, axes in enumerate(map_panels(figure)):
        np.testing.assert_array_equal(axes.images[0].get_array(), answer.maps[..., j])
        to_paper = axes.transData.transform
        (x0, y0), (x1, _), (_, y1) = to_paper((0, 0)), to_paper((1, 0)), to_paper((0, 1))
        assert x1 > x0 and y1 < y0


def test_pixels_are_drawn_in_their_true_proportions():
    figure = drawn(components(picture(8, 10, 1, pixel_size=(3.0, 2.0), pixel_units="nm")))
    origin, right, down = figure.axes[0].transData.transform([(0, 0), (1, 0), (0, 1)])
    assert (origin[1] - down[1]) / (right[0] - origin[0]) == pytest.approx(3 / 2)


def test_a_stretched_map_says_by_how_much():
    figure = drawn(components(picture(2, 21, 1, pixel_size=(1.0, 1.0), pixel_units="nm")))
    origin, right, down = figure.axes[0].transData.transform([(0, 0), (1, 0), (0, 1)])
    stretch = (origin[1] - down[1]) / (right[0] - origin[0])
    assert stretch > 2
    assert f"{stretch:.2g}× taller" in figure.get_suptitle()


def test_colours_run_from_zero_to_the_maximum():
    image = components(picture(3, 5, 1)).axes[0].images[0]
    assert image.get_clim() == (0.0, 15.0)
    assert image.get_cmap().name == "viridis"


def test_maps_of_both_signs_have_white_at_zero():
    answer = Components(maps=maps_of(3, 5, 1) - 6, spectra=np.ones((1, 4)))
    image = components(answer).axes[0].images[0]
    assert image.get_clim() == (-9.0, 9.0)
    np.testing.assert_allclose(image.to_rgba(np.array([[0.0]]))[0, 0, :3], 1.0, atol=0.05)


def test_left_out_pixels_are_blank_and_the_others_are_not():
    maps = maps_of(4, 5, 1)
    maps[1, 3] = np.nan
    image = components(Components(maps=maps, spectra=np.ones((1, 4)))).axes[0].images[0]
    np.testing.assert_array_equal(image.get_array().mask, np.isnan(maps[..., 0]))
    assert image.to_rgba(image.get_array())[1, 3, 3] == 0  # transparent


def test_left_out_channels_are_gaps_and_a_channel_between_gaps_is_a_dot():
    spectra = np.array([[1.0, 2.0, np.nan, 3.0, np.inf, 4.0, 5.0]])
    line = line_of(components(Components(np.ones((2, 2, 1)), spectra)).axes[1])
    np.testing.assert_array_equal(line.get_ydata(), [1, 2, np.nan, 3, np.nan, 4, 5])
    np.testing.assert_array_equal(np.flatnonzero(line.get_markevery()), [3])


def test_everything_left_out_is_still_a_picture():
    nothing = Components(np.full((3, 4, 1), np.nan), np.full((1, 6), np.nan))
    assert map_panels(drawn(components(nothing)))[0].images[0].get_array().mask.all()


def test_the_energies_drawn_are_those_of_the_axis_and_all_panels_share_them():
    energy = np.array([700.0, 700.5, 701.5, 703.0, 710.0])  # not uniform
    answer = picture(3, 4, 3, channels=5, energy=energy, energy_units="eV")
    figure = components(answer)
    for j, axes in enumerate(figure.axes[1::2]):
        np.testing.assert_array_equal(line_of(axes).get_xdata(), energy)
        np.testing.assert_array_equal(line_of(axes).get_ydata(), answer.spectra[j])
        assert axes.get_xlim() == (700.0, 710.0)
    assert [axes.get_xlabel() for axes in figure.axes[1::2]] == ["", "", "Energy (eV)"]


def test_without_energies_there_are_channels():
    axes = components(picture(3, 4, 1)).axes[1]
    assert axes.get_xlabel() == "Channel"
    np.testing.assert_array_equal(line_of(axes).get_xdata(), np.arange(9))


def test_negative_intensities_are_in_sight_about_a_zero_line():
    axes = components(Components(np.ones((2, 2, 1)), np.array([[-2.0, 0.0, 3.0]]))).axes[1]
    low, high = axes.get_ylim()
    assert low < -2 and high > 3
    assert [line.get_ydata()[0] for line in axes.lines if line.get_gid() == "zero"] == [0]


@pytest.mark.parametrize("step", [1.0, 0.37, 1.72, 13.08, 2.5e-4])
@pytest.mark.parametrize("width", [4, 21, 48, 201, 1024])
def test_the_scale_bar_is_as_long_as_it_says(step, width):
    axes = blank_figure(2, 2, "").add_subplot()
    scale_bar(axes, width, step, "nm")
    pixels, label = scale_bar_of(axes)
    length, unit = label.split()
    assert pixels * step == pytest.approx(float(length), rel=1e-9)
    assert 0.12 < pixels / width < 0.33 and unit == "nm"
    assert f"{float(length):.5e}"[:7] in ("1.00000", "2.00000", "5.00000")


def test_only_the_first_map_has_a_scale_bar_and_steps_may_run_backwards():
    figure = components(picture(30, 40, 2, pixel_size=(-0.5, -0.5), pixel_units="nm"))
    first, second = map_panels(figure)
    assert scale_bar_of(first) == (10.0, "5 nm")
    assert scale_bar_of(second) is None


def test_the_scale_bar_is_that_of_the_columns():
    figure = components(picture(8, 40, 1, pixel_size=(7.0, 1.0), pixel_units="um"))
    assert scale_bar_of(figure.axes[0]) == (10.0, "10 µm")


@pytest.mark.parametrize(
    ("size", "units"),
    [
        (None, "nm"),
        ((1.0, 1.0), None),
        ((1.0, 0.0), "nm"),
        ((1.0, None), "nm"),
        ((1, 1), "<undefined>"),
    ],
)
def test_an_uncalibrated_map_has_no_scale_bar(size, units):
    figure = components(picture(8, 8, 1, pixel_size=size, pixel_units=units))
    assert scale_bar_of(figure.axes[0]) is None


def test_round_lengths_scale_with_the_decade():
    extents = np.geomspace(1, 10, 50)
    for extent in extents:
        assert round_length(extent * 1000) == pytest.approx(1000 * round_length(extent))


def test_a_line_scan_is_a_profile_against_position():
    answer = picture(10, 2, pixel_size=(0.7,), pixel_units="nm")
    figure = components(answer)
    assert not map_panels(figure)
    np.testing.assert_allclose(line_of(figure.axes[0]).get_xdata(), 0.7 * np.arange(10))
    np.testing.assert_array_equal(line_of(figure.axes[2]).get_ydata(), answer.maps[:, 1])
    assert figure.axes[2].get_xlabel() == "Position (nm)"


def test_a_list_of_pixels_is_a_profile_against_pixel_number():
    model = SimpleNamespace(maps_=maps_of(30, 2), components_=np.ones((2, 5)))
    axes = components(model).axes[2]
    np.testing.assert_array_equal(line_of(axes).get_xdata(), np.arange(30))
    assert axes.get_xlabel() == "Pixel"


def test_a_series_of_maps_is_drawn_as_its_mean_and_says_so():
    maps = maps_of(3, 4, 5, 1)
    maps[0, 1, 2] = np.nan  # known in two of three
    maps[:, 3, 3] = np.nan  # nowhere known
    size = {"pixel_size": (60.0, 2.0, 2.0), "pixel_units": ("s", "nm", "nm")}
    figure = components(Components(maps, np.ones((1, 4)), **size))
    image = figure.axes[0].images[0].get_array()
    assert image[0, 0] == pytest.approx(maps[:, 0, 0, 0].mean())
    assert image[1, 2] == pytest.approx(maps[1:, 1, 2, 0].mean())
    assert image.mask[3, 3] and image.mask.sum() == 1
    assert scale_bar_of(figure.axes[0]) == (1.0, "2 nm")
    assert "mean over the 3 positions" in figure.get_suptitle()


@pytest.mark.parametrize("k", [7, 10])
def test_many_components_stand_in_two_columns_each_beside_its_spectrum(k):
    answer = picture(5, 6, k, names=[f"phase {j}" for j in range(k)])
    figure = drawn(components(answer))
    for j in range(k):
        left, right = figure.axes[2 * j : 2 * j + 2]
        assert left.get_title(loc="left") == f"phase {j}"
        np.testing.assert_array_equal(left.images[0].get_array(), answer.maps[..., j])
        np.testing.assert_array_equal(line_of(right).get_ydata(), answer.spectra[j])
        assert left.get_position().y1 == pytest.approx(right.get_position().y1)
        assert left.get_position().x1 < right.get_position().x0
    columns = {round(axes.get_position().x0, 3) for axes in figure.axes[::2]}
    assert len(columns) == 2


def test_an_answer_hands_itself_over_and_keywords_win():
    answer = SimpleNamespace(
        picture=lambda: picture(3, 4, 2, energy=np.arange(9.0), energy_units="eV")
    )
    figure = components(answer, energy=np.arange(9.0) / 10, energy_units="keV", names=["a", "b"])
    assert figure.axes[3].get_xlabel() == "Energy (keV)"
    assert line_of(figure.axes[3]).get_xdata()[-1] == pytest.approx(0.8)
    assert figure.axes[2].get_title(loc="left") == "b"


def test_names_and_titles_are_written_as_they_stand():
    title = r"scan_$\frac{$_10.dm3"  # as mathematics this would not parse
    figure = drawn(components(picture(3, 4, 1, names=[title], title=title)))
    assert figure.get_suptitle() == title


@pytest.mark.parametrize("foreign", [r"$\frac{a$", "a\0b", "a\udc80b"])
def test_foreign_words_are_text_in_every_picture_and_powers_of_ten_stay(foreign):
    answer = picture(
        3, 1, title=foreign, names=[foreign], pixel_size=(0.5,), pixel_units=foreign,
        energy=np.arange(9.0), energy_label=foreign, energy_units=foreign,
    )  # fmt: skip
    figure = drawn(components(answer))
    clean = foreign.replace("\0", "").replace("\udc80", "?")
    assert clean in figure.get_suptitle() and clean in figure.axes[-1].get_xlabel()
    pickle.loads(pickle.dumps(figure)).savefig(io.BytesIO(), bbox_inches="tight")

    axes = blank_figure(3, 3, "").add_subplot()
    axes.set(xlim=(1, 100), xscale="log", yticks=[0.0, 1.0], yticklabels=[foreign, "b"])
    axes.legend([axes.plot([1, 2])[0]], [foreign])
    drawn(axes.figure)
    assert all(label.get_parse_math() for label in axes.get_xticklabels())
    assert not any(label.get_parse_math() for label in axes.get_yticklabels())


def test_the_arrays_handed_in_are_neither_edited_nor_shared():
    maps, spectra = maps_of(3, 4, 1), np.ones((1, 5))
    answer = Components(maps, spectra)
    before = maps.copy()
    drawn(components(answer))
    np.testing.assert_array_equal(maps, before)
    maps[:] = 0
    np.testing.assert_array_equal(answer.maps, before)


def test_a_notebook_shows_the_figure_and_a_copy_shows_itself():
    figure = components(picture(3, 4, 1))
    assert figure._repr_png_().startswith(b"\x89PNG")
    copy = pickle.loads(pickle.dumps(figure))
    assert copy._repr_png_.args[0] is copy


def test_figures_drawn_in_threads_equal_those_drawn_alone():
    def pixels():
        buffer = io.BytesIO()
        components(picture(6, 7, 2)).savefig(buffer, dpi=50, format="png")
        return buffer.getvalue()

    found = []
    threads = [threading.Thread(target=lambda: found.append(pixels())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [pixels()] * 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spectra": np.ones((3, 9))}, "same k"),
        ({"energy": np.arange(8)}, "9 channels"),
        ({"names": ["one"]}, "1 names for 2"),
        ({"pixel_size": (1.0,)}, "domain of 2 axes"),
    ],
)
def test_lengths_that_contradict_each_other_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(picture(3, 4, 2), **change)


@pytest.mark.parametrize("draw", [components, residual])
def test_what_cannot_be_drawn_is_named(draw):
    with pytest.raises(TypeError, match="a dict: give a"):
        draw({})


def test_line_colours_stay_apart_without_red_or_green_receptors():
    # Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
    protanopia = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    deuteranopia = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    colours = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in palette(7)])
    for simulated in (np.eye(3), np.array(protanopia), np.array(deuteranopia)):
        seen = np.clip(colours**2.2 @ simulated.T, 0, 1) ** (1 / 2.2)
        distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
        assert distances[np.triu_indices(7, 1)].min() > 0.12


# ---- residual ----------------------------------------------------------------------------------


def misfit(*shape, channels=50, **more):
    rng = np.random.default_rng(1)
    data, model = rng.random((2, channels)) + 5
    spectra = {"spectrum": data - model, "data_spectrum": data, "model_spectrum": model}
    return Misfit(map=maps_of(*shape), **{**spectra, **more})


@pytest.mark.parametrize("shape", [(6, 8), (2, 21), (30, 3), (10,), (), (3, 4, 5)])
@pytest.mark.parametrize("noise", [None, 4.0])
def test_the_residual_of_any_domain_is_drawn(shape, noise):
    answer = misfit(*shape, noise=noise, energy=np.arange(50.0), energy_units="eV")
    left, above, below = drawn(residual(answer)).axes
    data, model = above.lines[:2]
    difference = np.asarray(data.get_ydata()) - np.asarray(model.get_ydata())
    np.testing.assert_allclose(difference, line_of(below).get_ydata())
    assert below.get_xlabel() == "Energy (eV)"


def test_the_residual_map_shows_its_values_between_lowest_and_highest():
    answer = misfit(6, 8)
    image = residual(SimpleNamespace(misfit=lambda: answer)).axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), answer.map)
    assert image.get_clim() == (1.0, 48.0)


def test_the_noise_is_marked_at_its_level_and_within_the_colours():
    left, _, below = residual(misfit(6, 8, noise=0.5)).axes
    assert left.images[0].get_clim() == (0.5, 48.0)
    mark = next(line for line in left.child_axes[0].lines if line.get_gid() == "noise")
    assert mark.get_ydata()[0] == 0.5
    band = below.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(2 * 0.5 / np.sqrt(48))


def test_the_noise_band_counts_only_the_pixels_that_are_in():
    answer = misfit(6, 8, noise=0.5)
    half = answer.map.copy()
    half[:, :4] = np.nan
    band = residual(replace(answer, map=half)).axes[2].collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(2 * 0.5 / np.sqrt(24))


# ---- convergence -------------------------------------------------------------------------------


def test_the_curve_is_the_relative_excess_over_the_last_value():
    objective = np.array([12.0, 6.0, 4.5, 4.0])
    axes = drawn(convergence(objective, converged=True)).axes[0]
    line = axes.lines[0]
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(line.get_ydata(), [2.0, 0.5, 0.125, np.nan])
    assert axes.get_yscale() == "log"
    assert axes.get_title(loc="left") == "Converged after 4 sweeps"


@pytest.mark.parametrize("factor", [2.0**-90, 1e8])
def test_the_curve_does_not_depend_on_the_scale_of_the_data(factor):
    objective = np.array([9.0, 3.0, 1.0])
    curves = [convergence(c * objective).axes[0].lines[0].get_ydata() for c in (1.0, factor)]
    np.testing.assert_allclose(curves[1], curves[0])


@pytest.mark.parametrize(
    ("objective", "starts"),
    [
        ([5.0], None),
        ([0.0], None),
        ([5.0, 5.0, 5.0], None),
        ([3.0, 1.0, 0.0], [0.0, 0.1]),
        ([1.0, 2.0, 3.0], None),
        ([5.0], [5.0, 5.5]),
        ([5.0], [5.0, 5.0]),
        ([-1.0, -3.0], [-3.0, -2.5]),
    ],
)
def test_a_curve_without_descent_is_drawn_without_complaint(objective, starts):
    axes = drawn(convergence(objective, starts=starts)).axes[0]
    values = np.asarray(axes.lines[0].get_ydata(), float)
    assert np.all(values[np.isfinite(values)] > 0)
    assert np.isnan(values[-1])


def test_starts_stand_at_their_excess_and_the_best_at_the_bottom():
    axes = drawn(convergence([8.0, 5.0, 4.0], starts=[4.0, 5.0, 4.4])).axes[0]
    ticks = next(line for line in axes.lines if line.get_gid() == "starts")
    np.testing.assert_allclose(ticks.get_ydata(), [axes.get_ylim()[0], 0.25, 0.1])


def test_a_fitted_model_brings_its_own_trace():
    starts = [SimpleNamespace(objective=2.0), SimpleNamespace(objective=3.0)]
    model = SimpleNamespace(objective_=[4.0, 2.0], converged_=False, starts_=starts)
    axes = convergence(model).axes[0]
    assert axes.get_title(loc="left") == "Not converged after 2 sweeps"
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [1.0, np.nan])
    ticks = next(line for line in axes.lines if line.get_gid() == "starts")
    np.testing.assert_allclose(ticks.get_ydata(), [axes.get_ylim()[0], 0.5])


def test_no_sweep_and_no_numbers_are_refused():
    with pytest.raises(ValueError, match="no sweep to draw"):
        convergence([])
    with pytest.raises(TypeError, match="sequence of numbers"):
        convergence("abc")


# ---- relevance ---------------------------------------------------------------------------------


def test_what_was_kept_is_coloured_as_its_component_and_the_rest_lies_on_the_line():
    figure = drawn(relevance([7.0, 3.0, 0.2, 0.2, 0.2], kept=2))
    axes = figure.axes[0]
    kept, gone = (collection.get_facecolor() for collection in axes.collections[1::2])
    np.testing.assert_allclose(kept, [to_rgba(colour) for colour in palette(2)])
    assert len(gone) == 3 and len(np.unique(gone, axis=0)) == 1
    (line,) = (line for line in axes.lines if line.get_gid() == "lowest")
    assert line.get_ydata()[0] == 0.2 and axes.get_yscale() == "log"
    np.testing.assert_array_equal(axes.collections[1].get_offsets(), [[1, 7], [2, 3]])


def test_where_all_are_kept_there_is_no_line():
    axes = drawn(relevance(SimpleNamespace(relevance_=np.ones(3), n_components_=3))).axes[0]
    assert not [line for line in axes.lines if line.get_gid() == "lowest"]
    assert len(axes.collections[1].get_offsets()) == 3


@pytest.mark.parametrize(
    "levels, kept, error",
    [("abc", 1, TypeError), ([0.0, 1.0], 1, ValueError), ([1.0], 2, ValueError)],
)
def test_relevance_without_levels_is_refused(levels, kept, error):
    with pytest.raises(error, match="component|levels must be numbers"):
        relevance(levels, kept=kept)
