"""Lazy data: the same answer as in memory from any chunks, threads and workers, in four passes."""

import os
import warnings

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
from scipy import sparse

import endmember as em
from endmember.factor.data import observed as inputs
from endmember.factor.data.in_memory import Dense
from endmember.factor.data.lazy import Blocks, Lazy
from endmember.factor.data.resources import Checkpoint, parse_memory, session
from endmember.factor.sketch.low_rank import Refined
from endmember.factor.sketch.passes import examined, sketched

RNG = np.random.default_rng(0)
PHANTOM = em.synthetic.mixed_phases(shape=(23, 19), channels=130, k=3, dose=100, seed=1)
COUNTS = PHANTOM.data
CHUNKS = {
    "rows": (5, 19, 130),
    "tiles": (8, 7, 130),
    "odd": ((11, 1, 11), (2, 17), (130,)),
    "energy split": (10, 19, 17),
    "everything split": (6, 5, 40),
    "one": (23, 19, 130),
}
MASK = np.zeros((23, 19), bool)
MASK[2, 15], MASK[20, :3] = True, True
CHANNEL_MASK = np.arange(130) % 31 == 4


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch):
    """Let the passes run on phantoms that would be kept in memory otherwise."""
    monkeypatch.setattr(inputs, "KEPT_UP_TO", 0)


def model(loss=None, **options):
    return em.NMF(3, loss=loss, random_state=0, n_starts=3, compress=True, **options)


def assert_same(one, other):
    assert one.objective_[-1] == pytest.approx(other.objective_[-1], rel=1e-6)
    spectra, true = (np.nan_to_num(fit.components_) for fit in (one, other))
    assert em.spectral_angle(spectra, true).max() < 0.01
    np.testing.assert_allclose(
        one.maps_, other.maps_, rtol=1e-6, atol=1e-6 * np.nanmax(other.maps_)
    )


@pytest.mark.parametrize("loss", [None, em.PoissonScaled()], ids=["squared", "scaled"])
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS.keys())
def test_any_chunks_give_the_answer_of_memory_and_of_sparse_counts(chunks, loss):
    masks = {"mask": MASK, "channel_mask": CHANNEL_MASK}
    eager = model(loss).fit(COUNTS, **masks)
    with session() as work:
        lazy = model(loss).fit(da.from_array(COUNTS, chunks=chunks), **masks)
    assert len(work.passes) <= 4, work.passes
    assert_same(lazy, eager)
    flat = sparse.csr_array(COUNTS.reshape(-1, 130))
    assert_same(model(loss).fit(flat, domain=(23, 19), **masks), eager)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_any_type_gives_the_answer_of_memory(dtype):
    X = COUNTS.astype(dtype)
    assert_same(model().fit(da.from_array(X, chunks=(9, 19, 50))), model().fit(X))


def test_a_lazy_signal_of_any_order_of_axes_is_read_like_its_array():
    lazy = PHANTOM.signal.as_lazy(chunks=(9, 8, 130))
    assert_same(model().fit(lazy), model().fit(COUNTS))
    axes = [{"name": name, "size": size} for name, size in zip("Eyx", (130, 23, 19), strict=True)]
    turned = hs.signals.Signal1D(np.moveaxis(COUNTS, -1, 0), axes=axes).as_signal1D("E").as_lazy()
    assert_same(model().fit(turned), model().fit(COUNTS))


def test_masks_of_a_lazy_signal_are_not_transposed():
    mask = np.zeros((23, 19), bool)
    mask[:, 0] = True
    spoilt = COUNTS.astype(float)
    spoilt[mask] = 1e6
    lazy = hs.signals.Signal1D(spoilt).as_lazy(chunks=(4, 19, 130))
    wrapped = hs.signals.BaseSignal(mask).T
    clean = model().fit(COUNTS[:, 1:])
    for given in (mask, wrapped):
        fitted = model().fit(lazy, mask=given)
        np.testing.assert_array_equal(np.isnan(fitted.maps_[..., 0]), mask)
        np.testing.assert_allclose(fitted.components_, clean.components_, atol=1e-6)


def test_chunks_of_unknown_size_are_refused_with_the_call_that_finds_them():
    spectra = da.from_array(COUNTS.reshape(-1, 130), chunks=(100, 130))
    bright = spectra[spectra.sum(axis=1) > COUNTS.sum(axis=-1).mean()]
    for take in (model().fit, em.assess.rank):
        with pytest.raises(ValueError, match=r"compute_chunk_sizes\(\)"):
            take(bright)
    assert_same(model().fit(bright.compute_chunk_sizes()), model().fit(bright.compute()))


def test_every_chunk_has_a_say():
    # Only the last chunk holds the third phase.
    maps = np.zeros((12, 4, 3))
    maps[:4, :, 0], maps[4:8, :, 1], maps[8:, :, 2] = 1, 1, 1
    spectra = np.eye(3, 60).repeat(1, axis=0) + 0.1 * RNG.random((3, 60))
    lazy = da.from_array(maps @ spectra, chunks=(4, 4, 60))
    found = model().fit(lazy).components_
    order = em.match_components(found, spectra)
    np.testing.assert_allclose(em.spectral_angle(found[order], spectra), 0, atol=1e-3)


def test_poisson_weights_of_lazy_counts_are_not_left_out():
    lazy = da.from_array(COUNTS, chunks=(9, 19, 130))
    weighted, plain = (model(loss).fit(lazy).components_ for loss in (em.PoissonScaled(), None))
    assert em.spectral_angle(weighted, plain[em.match_components(plain, weighted)]).max() > 0.1


def test_values_that_are_no_numbers_are_refused_with_their_place_or_masked():
    X = COUNTS.astype(float)
    X[20, 1, 7] = np.nan
    lazy = da.from_array(X, chunks=(6, 5, 40))
    with pytest.raises(
        ValueError, match=r"1 NaN or infinite values, the first at pixel \(20, 1\), channel 7"
    ):
        model().fit(lazy)
    assert_same(model().fit(lazy, mask=MASK), model().fit(X, mask=MASK))
    weights = np.ones(X.shape)
    one = em.NMF(3, random_state=0, n_starts=2).fit(lazy, weights=weights)
    np.testing.assert_allclose(
        one.components_, em.NMF(3, random_state=0, n_starts=2).fit(X, weights=weights).components_
    )


def test_poisson_on_lazy_counts_is_that_of_memory():
    fits = [em.NMF(3, loss=em.Poisson(), random_state=0, n_starts=2, max_iter=20) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lazy, eager = fits[0].fit(da.from_array(COUNTS, chunks=(5, 7, 50))), fits[1].fit(COUNTS)
    np.testing.assert_allclose(lazy.components_, eager.components_)


@pytest.mark.parametrize("scaled", [False, True])
def test_the_sketch_is_exact_for_factors_that_were_examined(scaled):
    X = Dense(COUNTS.reshape(-1, 130))
    whole = em.PoissonScaled().prepare(X) if scaled else X
    data = whole.scaled if scaled else whole
    C, S = RNG.random((437, 3)), RNG.random((130, 3))
    refined = Refined(*sketched(whole, 8), np.float64)
    seen = examined(whole, C, S)
    r, c = (data.r, data.c) if scaled else (1.0, 1.0)
    refined.learn(r * C, c * S, seen.right, seen.left)
    near = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(refined.dot(c * S), data.dot(c * S), **near)
    np.testing.assert_allclose(refined.transposed_dot(r * C), data.transposed_dot(r * C), **near)
    lazy = Lazy(da.from_array(COUNTS, chunks=(7, 8, 60)))
    other = em.PoissonScaled().prepare(lazy) if scaled else lazy
    for name, value in vars(examined(other, C, S)).items():
        np.testing.assert_allclose(value, getattr(seen, name), rtol=1e-10, err_msg=name)
    moved = seen.moved(C, C + 0.1, S)
    np.testing.assert_allclose(moved.squares, examined(whole, C + 0.1, S).squares, rtol=1e-9)


def test_the_result_of_lazy_data_is_that_of_memory_without_more_passes():
    result = em.unmix(PHANTOM.signal.as_lazy(chunks=(9, 8, 50)), model())
    eager = em.unmix(PHANTOM.signal, model())
    assert result.record["passes"] <= 4
    for name, value in vars(eager.misfit()).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(getattr(result.misfit(), name), value, rtol=1e-5, atol=1e-8)


def test_every_chunk_is_read_once_a_pass():
    reads = []

    def note(block, block_info=None):
        reads.append(tuple(block_info[0]["chunk-location"]))
        return block

    lazy = da.from_array(COUNTS, chunks=(10, 19, 17)).map_blocks(
        note, dtype=COUNTS.dtype, meta=COUNTS[:0]
    )
    with session() as work:
        model().fit(lazy)
    assert {reads.count(place) for place in reads} == {len(work.passes)}


def test_chunks_that_split_the_energy_axis_are_written_anew_once(caplog, monkeypatch):
    monkeypatch.setattr("endmember.factor.data.lazy.LARGE_BLOCK", 10_000)
    reads = []

    def note(block, block_info=None):
        reads.append(1)
        return block

    lazy = da.from_array(COUNTS, chunks=(23, 19, 13)).map_blocks(
        note, dtype=COUNTS.dtype, meta=COUNTS[:0]
    )
    fitted = model().fit(lazy)
    assert "written anew, once" in caplog.text
    assert len(reads) == 10
    assert_same(fitted, model().fit(COUNTS))


def test_what_does_not_fit_is_refused_with_the_chunks_that_do():
    lazy = da.zeros((4000, 4000, 2048), chunks=(2000, 2000, 2048), dtype=np.uint16)
    with pytest.raises(ValueError, match=r"save the data in chunks of at most \(\d+, \d+, 2048\)"):
        em.compress(lazy, memory="1GB")
    with pytest.raises(ValueError, match="too little: a fit"):
        em.unmix(
            hs.signals.Signal1D(da.zeros((9000, 9000, 64), chunks=(90, 90, 64))).as_lazy(),
            em.NMF(4),
            memory="1GB",
        )
    with pytest.raises(ValueError, match="memory='much' is no amount"):
        em.compress(COUNTS, memory="much")
    assert parse_memory("1.5GiB") == 3 * 2**29


def test_blocks_stay_within_the_memory():
    for chunks in ((1, 50, 512), (64, 64, 512)):
        X = da.zeros((1000, 1000, 512), chunks=chunks, dtype=np.float32)
        blocks, covered = Blocks(X, 500_000_000), np.zeros(10**6, int)
        assert blocks.threads * blocks.bytes_of_block <= 200_000_000
        for _, rows in blocks:
            covered[rows] += 1
        assert (covered == 1).all()


class Killed(Exception):
    """The machine went down."""


def test_an_interrupted_fit_goes_on_from_its_last_pass(tmp_path):
    lazy = PHANTOM.signal.as_lazy(chunks=(9, 19, 130))
    whole = em.unmix(lazy, model())

    def die(progress):
        if progress.stage == "fit":
            raise Killed

    with pytest.raises(Killed):
        em.unmix(lazy, model(), callback=die, checkpoint=tmp_path / "kept")
    assert len(list((tmp_path / "kept").glob("*.npz"))) == 2
    again = em.unmix(lazy, model(), checkpoint=tmp_path / "kept", resume=True)
    assert again.record["passes"] == whole.record["passes"] - 2
    np.testing.assert_array_equal(again.maps.data, whole.maps.data)
    np.testing.assert_array_equal(again.spectra.data, whole.spectra.data)
    assert not (tmp_path / "kept").exists()


def test_a_checkpoint_of_other_data_is_not_used(tmp_path):
    for about, expected in (("a", 1), ("a", 1), ("b", 2)):
        kept = Checkpoint(tmp_path, about, resume=True).kept(
            "look", [COUNTS], lambda number=expected: {"value": np.array(number)}
        )
        assert kept["value"] == expected


def test_what_is_kept_of_one_content_is_not_taken_for_another(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "KEPT_UP_TO", 0)
    rng = np.random.default_rng(3)
    one, other = (
        da.from_array(rng.random((8, 9, 2)) @ rng.random((2, 30)), chunks=(4, 9, 30))
        for _ in range(2)
    )

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        em.unmix(one, em.NMF(2, random_state=0), checkpoint=tmp_path / "kept", callback=interrupt)
    assert any((tmp_path / "kept").iterdir())
    fresh = em.unmix(other, em.NMF(2, random_state=0))
    resumed = em.unmix(other, em.NMF(2, random_state=0), checkpoint=tmp_path / "kept", resume=True)
    np.testing.assert_array_equal(resumed.spectra.data, fresh.spectra.data)


def test_a_file_that_changes_during_a_fit_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "KEPT_UP_TO", 0)
    file = tmp_path / "x.hspy"
    signal = em.synthetic.diode(shape=(8, 8), channels=40).signal
    signal.save(file)
    lazy = em.load(file, lazy=True)

    def write(progress):
        os.utime(file, ns=(0, 10**18))

    with pytest.raises(ValueError, match="changed while it was being read"):
        em.unmix(lazy, em.NMF(2, random_state=0), callback=write)
