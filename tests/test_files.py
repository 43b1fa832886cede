"""Files as laboratories have them: each is read, described, unmixed and reported as its user types it."""

import struct

import hyperspy.api as hs
import numpy as np
import pytest
from sklearn.base import clone

import endmember as em
from endmember.cli import main
from endmember.factor.data.lazy import counts_of, is_list

RNG = np.random.default_rng(0)


def jeol_events(cube):
    """Return the bytes of a JEOL ``.pts`` file of counts (ny, nx, 4096): the smallest header and single events."""

    def entry(name, raw=b"", code=0, inside=b""):
        head = name.encode() + b"\0"
        sizes = struct.pack("<i", len(head)), struct.pack("<ii", code, len(raw))
        return b"\1" + sizes[0] + head + sizes[1] + raw + inside + b"\xff"

    def number(name, value):
        return entry(name, struct.pack("<f", value), 4)

    def text(name, value, inside=b""):
        return entry(name, value.encode() + b"\0", 20, inside)

    ny, nx, _ = cube.shape
    scan = text("DetT", "SDD") + b"".join(
        number(name, 128.0) for name in ("ScanSize", "DirAng", "ElevAng", "MnKaRES")
    )
    pages = text("PARAMPAGE0", "SEM", scan)
    pages += text("PARAMPAGE1", "EDXRF", entry("Tpl", inside=entry("T1", inside=number("DigZ", 0))))
    doc = number("CoefA", 0.01) + number("CoefB", 0) + number("DwellTime(msec)", 0.1)
    doc += number("RealTime", 1) + entry("Sweep", struct.pack("<i", 1), 3)
    conditions = entry(
        "Meas Cond", inside=text("Pixels", f"{nx}x{ny}") + text("Tpl", "T1")
    ) + entry("MeasCond", inside=number("Mag", 1000) + number("AccKV", 200))
    parts = conditions + entry("Doc", inside=doc)
    header = bytes(12) + entry("PTTD Param", inside=entry("Params", inside=pages))
    header += entry("PTTD Data", inside=entry("AnalyzableMap MeasData", inside=parts)) + b"\xff"
    events = []
    for y, x in np.ndindex(ny, nx):
        events += [0x9000 | y * 4096 // ny, 0x8000 | x * 4096 // nx]
        events += [0xB000 | channel for channel in np.repeat(np.arange(4096), cube[y, x])]
    start = 4 + 8 + 24 + 128 + 132 + 8
    sizes = struct.pack("<6I", 0, 0, start, len(header), start + len(header), 2 * len(events))
    begin = struct.pack("<I", 304) + bytes(8) + sizes + bytes(260) + struct.pack("<d", 44000.0)
    return begin + header + np.array(events, "<u2").tobytes()


@pytest.fixture
def counts():
    energy = np.arange(4096)
    peaks = [np.exp(-((energy - at) ** 2) / 50) for at in (174, 640)]
    maps = RNG.dirichlet([0.4, 0.4], (8, 16))
    return RNG.poisson(30 * maps @ (np.array(peaks) / np.sum(peaks[0]))).astype(np.uint16)


def test_single_events_are_counts_however_they_are_kept(counts, tmp_path, monkeypatch):
    file = tmp_path / "map.pts"
    file.write_bytes(jeol_events(counts))
    small = em.load(file)
    assert not small._lazy and np.array_equal(small.data, counts)
    monkeypatch.setattr("endmember.signals.files.reading.KEPT_UP_TO", 0)
    large = em.load(file)
    for signal, cube in ((large, counts), (large.isig[100:700], counts[..., 100:700])):
        assert is_list(signal.data) and np.array_equal(signal.data.compute(), cube)
        assert np.array_equal(counts_of(signal.data).toarray().reshape(cube.shape), cube)
    model = em.NMF(2, loss=em.Poisson(), random_state=0)
    for one, other in zip(
        em.unmix(large, model).spectra.data, em.unmix(small, model).spectra.data, strict=True
    ):
        assert em.spectral_angle(one, other) < 0.01


def test_no_row_of_a_tall_map_is_lost(counts, tmp_path):
    file = tmp_path / "tall.pts"
    file.write_bytes(jeol_events(counts.transpose(1, 0, 2)))
    for lazy in (False, True):
        assert np.array_equal(em.load(file, lazy=lazy).data, counts.transpose(1, 0, 2))


def test_events_are_described_unmixed_and_reported(counts, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("endmember.signals.files.reading.KEPT_UP_TO", 0)
    file = tmp_path / "map.pts"
    file.write_bytes(jeol_events(counts))
    assert main(["info", str(file)]) == 0
    said = capsys.readouterr().out
    assert f"counts; 0 to {counts.max()}, mean {counts.mean():.4g}" in said
    words = said.splitlines()[-1].split()
    assert main([*words[1:3], *words[3:], "-o", str(tmp_path / "out")]) == 0
    assert main(["report", str(tmp_path / "out")]) == 0
    assert em.open(tmp_path / "out").maps.data.shape == (3, 8, 16)


@pytest.fixture
def scan():
    """A scan of 9 x 7 pixels with patterns of 12 x 10, and the patterns of its phases."""
    y, x = np.mgrid[:12, :10]
    phases = np.stack(
        [np.exp(-((y - a) ** 2 + (x - b) ** 2) / 4.0) for a, b in ((3, 2), (8, 5), (5, 8))]
    )
    maps = RNG.dirichlet(np.full(3, 0.3), (9, 7))
    return RNG.poisson(200 * np.tensordot(maps, phases, 1)).astype(np.float32), phases


def test_patterns_are_spectra_with_two_axes(scan, tmp_path):
    data, phases = scan
    model = em.NMF(3, random_state=0)
    flat = model.fit(data.reshape(9, 7, -1)).components_.reshape(3, 12, 10)
    mask = phases.sum(axis=0) < 0.01
    signal = hs.signals.Signal2D(data)
    ways = {
        "signal": em.unmix(signal, model).model,
        "array": em.unmix(data, model, pattern=(12, 10)).model,
        "lazy": em.unmix(signal.as_lazy(), model).model,
        "rows": clone(model).fit(data.reshape(9, 7, -1), pattern=(12, 10)),
    }
    for fitted in ways.values():
        np.testing.assert_allclose(fitted.components_, flat, atol=1e-6)
        np.testing.assert_allclose(fitted.transform(data), fitted.maps_, rtol=1e-3, atol=1e-3)
        assert fitted.inverse_transform(fitted.maps_).shape == data.shape
    masked = em.unmix(signal, model, channel_mask=mask).spectra.data
    assert np.array_equal(np.isnan(masked), np.broadcast_to(mask, (3, 12, 10)))
    result = em.unmix(signal, model)
    result.errors, result.bands = em.assess.uncertainty(result), em.assess.ambiguity(result)
    again = em.open(result.save(tmp_path / "out"))
    assert again.spectra.data.shape == again.model.components_.shape == (3, 12, 10)
    assert again.misfit().spectrum.shape == (12, 10)
    assert em.compare(signal, {"NMF": model, "VCA": em.VCA(3)}).spectra.shape == (2, 3, 120)


def test_patterns_are_described_unmixed_and_reported(scan, tmp_path, capsys):
    file = tmp_path / "scan.hspy"
    hs.signals.Signal2D(scan[0]).save(file)
    assert main(["info", str(file)]) == 0
    words = capsys.readouterr().out.splitlines()[-1].split()
    assert main([*words[1:], "-o", str(tmp_path / "out")]) == 0
    found = em.open(tmp_path / "out").spectra.data
    assert all(
        min(em.spectral_angle(one.ravel(), true.ravel()) for one in found) < 5 for true in scan[1]
    )
    assert main(["unmix", str(file), "-k", "3", "--crop", "1:5"]) == 2
    assert "--channel-mask" in capsys.readouterr().err


@pytest.fixture
def areas():
    """Two areas of other sizes with the same phases, as signals, and the spectra of these."""
    spectra = em.synthetic.mixed_phases((4, 4), channels=60, k=3, seed=1).spectra
    images = [
        hs.signals.Signal1D(RNG.poisson(400 * RNG.dirichlet([0.3] * 3, size) @ spectra))
        for size in ((7, 9), (12, 5))
    ]
    return images, spectra


def test_several_images_share_their_spectra(areas, tmp_path):
    images, true = areas
    model = em.NMF(3, loss=em.Poisson(), random_state=0)
    result = em.unmix(images, model)
    row = np.concatenate([one.data.reshape(-1, 60) for one in images])
    alone = clone(model).fit(row)
    np.testing.assert_array_equal(result.spectra.data, alone.components_)
    for maps, part in zip(result.maps, np.split(alone.maps_, [63]), strict=True):
        np.testing.assert_array_equal(np.moveaxis(maps.data, 0, -1).reshape(-1, 3), part)
    again = em.open(result.save(tmp_path / "both"))
    assert [one.data.shape for one in again.maps] == [(3, 7, 9), (3, 12, 5)]
    np.testing.assert_array_equal(again.model.maps_, alone.maps_)
    for part, one in zip(again.images, images, strict=True):
        assert part.misfit().map.shape == one.data.shape[:2]
    lazy = em.unmix([images[0].as_lazy(), images[1]], model)
    np.testing.assert_allclose(lazy.spectra.data, result.spectra.data, atol=1e-6)
    masks = [np.arange(63).reshape(7, 9) < 5, None]
    masked = em.unmix(images, model, mask=masks, channel_mask=np.arange(60) > 50)
    assert (
        np.isnan(masked.maps[0].data[:, masks[0]]).all()
        and np.isnan(masked.spectra.data[:, 51:]).all()
    )


def test_a_list_is_told_what_it_can_mean(areas):
    images, _ = areas
    for call, said in (
        (lambda: em.unmix(images), r"em.NMF\(k\).*em.Coupled\(k\).*numpy.stack"),
        (lambda: em.unmix(images, em.Coupled(2)), r"em.NMF\(k\), which shares"),
        (lambda: em.unmix(images, em.NMF(2, maps=em.Smooth(1.0))), "domain"),
        (lambda: em.unmix([images[0], images[1].isig[2:]], em.NMF(2)), "image 2"),
        (lambda: em.unmix(images, em.NMF(2), domain=(3, 4)), "domain"),
    ):
        with pytest.raises(ValueError, match=said):
            call()


def test_several_files_are_unmixed_together(areas, tmp_path, capsys):
    files = [tmp_path / f"{name}.hspy" for name in "ab"]
    for one, file in zip(areas[0], files, strict=True):
        one.save(file)
    words = ["unmix", *map(str, files), "-k", "3", "-o", str(tmp_path / "out")]
    assert main(words) == 2 and "--together" in capsys.readouterr().err
    assert main([*words, "--together"]) == 0 and (tmp_path / "out" / "components.png").exists()
    assert main(["report", str(tmp_path / "out")]) == 0
