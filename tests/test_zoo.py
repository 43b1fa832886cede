"""Every kind of file that a laboratory has, as it has it: described, unmixed, the same numbers whatever the kind."""

import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import hyperspy.api as hs
import numpy as np
import pytest
import rsciio
from scipy.io import savemat

import endmember as em
from endmember.cli import main
from endmember.cli.options import parse_setting
from endmember.signals import read

SHAPE, ENERGY = (5, 6), 450.0 + 2.0 * np.arange(40)
DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="module")
def counts():
    """Counts (ny, nx, channels) of three phases."""
    spectra = em.synthetic.mixed_phases((4, 4), channels=len(ENERGY), k=3, seed=1).spectra
    rng = np.random.default_rng(0)
    return rng.poisson(400 * rng.dirichlet([0.3] * 3, SHAPE) @ spectra).astype(np.uint16)


def signal_of(counts):
    signal = hs.signals.Signal1D(counts)
    axis = signal.axes_manager.signal_axes[0]
    axis.offset, axis.scale, axis.units = ENERGY[0], 2.0, "eV"
    for one, name in zip(signal.axes_manager._axes, "yxE", strict=True):
        one.name = name
    return signal


def by_hyperspy(counts, file):
    signal_of(counts).save(file)


def renamed(counts, file):
    by_hyperspy(counts, file.with_suffix(".hspy"))
    file.with_suffix(".hspy").rename(file)


def stack(counts, file):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(file, np.moveaxis(counts, -1, 0), photometric="minisblack")


def labspec(counts, file, falling=True):
    order = slice(None, None, -1 if falling else 1)
    rows = [["", "", *ENERGY[order]]]
    rows += [[y, x, *counts[y, x, order]] for y, x in np.ndindex(SHAPE)]
    file.write_text("\n".join("\t".join(map(str, row)) for row in rows))


def columns(counts, file):
    """A spreadsheet of another country: semicolons, decimal commas, a title and a line of names."""
    rows = np.column_stack([ENERGY, counts.reshape(-1, len(ENERGY)).T])
    lines = [";".join(f"{one:.1f}".replace(".", ",") for one in row) for row in rows]
    file.write_text(
        "\n".join(["Map of Tuesday", "Energy" + ";spectrum" * 30, *lines, ""]),
        encoding="utf-8-sig",
    )


def packed(counts, file):
    labspec(counts, file.with_name("map.txt"))
    with zipfile.ZipFile(file, "w") as archive:
        archive.write(file.with_name("map.txt"), "folder/map.txt")


def edax(counts, file):
    """The smallest map of EDAX: its header, then the counts; the energies would be in a file beside it."""
    from rsciio.edax._api import get_spd_dtype_list

    header = np.zeros(1, dtype=get_spd_dtype_list())
    header["tag"] = np.frombuffer(b"MAPSPECTRA_DATA\0", np.int8)
    ny, nx, channels = counts.shape
    told = {"version": 1, "nSpectra": ny * nx, "nPoints": nx, "nLines": ny, "nChannels": channels}
    for name, value in {**told, "countBytes": 2, "dataOffset": header.nbytes, "nFrames": 1}.items():
        header[name] = value
    file.write_bytes(header.tobytes() + counts.astype("<u2").tobytes())


#: By the name of a file who writes it, and what its reader must be told.
ZOO = {
    "a.hspy": (by_hyperspy, ""),
    "a.zspy": (by_hyperspy, ""),
    "a.nxs": (by_hyperspy, ""),
    "ncem.emd": (by_hyperspy, "--energy-axis 2"),
    "a.rpl": (by_hyperspy, ""),
    "a.hdf5": (renamed, "--reader file_format=HSPY"),
    "a.spd": (edax, "--reader start=450 --reader step=2 --reader units=eV"),
    "stack.tif": (stack, "--energy-axis 0"),
    "last.npy": (lambda counts, file: np.save(file, counts), ""),
    "first.npy": (lambda counts, file: np.save(file, np.moveaxis(counts, -1, 0)), "--energy-axis 0"),
    "first.npz": (
        lambda counts, file: np.savez(file, I=np.moveaxis(counts, -1, 0), energy=ENERGY, x=np.arange(6.0)), ""
    ),
    "falling.npz": (lambda counts, file: np.savez(file, I=counts[..., ::-1], wl=ENERGY[::-1]), ""),
    "a.mat": (lambda counts, file: savemat(file, {"I": counts, "wavenumber": ENERGY}), ""),
    "map.txt": (labspec, ""),
    "columns.csv": (columns, ""),
    "a.zip": (packed, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_every_kind_gives_the_same_counts_and_ends_in_a_command_that_works(
    name, counts, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write, options = ZOO[name]
    write(counts, tmp_path / name)
    said = options.replace("--energy-axis ", "energy_axis=").replace("--reader", "").split()
    reader = dict(map(parse_setting, said))
    signal = em.load(name, reader=reader)
    array = np.moveaxis(signal.data, signal.axes_manager.signal_indices_in_array[0], -1)
    np.testing.assert_array_equal(array.reshape(-1, len(ENERGY)), counts.reshape(-1, len(ENERGY)))
    assert array.shape[:-1] == (SHAPE if name != "columns.csv" else (30,))
    axis = signal.axes_manager.signal_axes[0]
    known = np.arange(len(ENERGY)) if name in ("stack.tif", "last.npy", "first.npy") else ENERGY
    np.testing.assert_allclose(axis.axis, known)
    assert main(["info", name, *options.split()]) == 0
    *_, command = capsys.readouterr().out.splitlines()
    words = [*shlex.split(command)[1:], "--starts", "1", "--tol", "1e-3", "-o", "out"]
    assert main(words) == 0 and main(["report", "out"]) == 0


def test_a_stack_is_described_with_a_command_that_works(counts, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stack(counts, tmp_path / "stack.tif")
    assert main(["info", "stack.tif"]) == 0
    command = capsys.readouterr().out.splitlines()[-1]
    assert main([*shlex.split(command, comments=True)[1:], "--starts", "1", "-o", "out"]) == 0


@pytest.mark.parametrize("few", [np.zeros((5, 6, 40)), np.ones((2, 2, 40))])
def test_where_nothing_can_be_unmixed_no_command_is_named(few, tmp_path, capsys):
    np.save(tmp_path / "few.npy", few)
    assert main(["info", str(tmp_path / "few.npy")]) == 0
    assert "endmember unmix" not in capsys.readouterr().out


def test_what_a_file_lacks_is_asked_for_and_said(counts, tmp_path, capsys):
    file = tmp_path / "a.npy"
    np.save(file, counts)
    assert main(["info", str(file)]) == 0 and "--reader start=" in capsys.readouterr().out
    said = ["--reader", "start=450", "--reader", "step=2", "--reader", "units=eV"]
    assert (
        main(["unmix", str(file), "-k", "2", "--starts", "1", *said, "-o", str(tmp_path / "out")])
        == 0
    )
    axis = em.open(tmp_path / "out").spectra.axes_manager.signal_axes[0]
    assert axis.units == "eV"
    np.testing.assert_allclose(axis.axis, ENERGY)
    assert em.open(tmp_path / "out").reproduce().spectra.axes_manager.signal_axes[0].offset == 450


@pytest.mark.parametrize("write", ["1 2\n3", "# nothing\nat all\n"])
def test_a_text_without_a_table_is_refused_and_not_called_damaged(write, tmp_path):
    (tmp_path / "notes.txt").write_text(write)
    with pytest.raises(em.UnreadableFileError, match="no table.*export") as refused:
        em.load(tmp_path / "notes.txt")
    assert "damaged" not in str(refused.value)


@pytest.mark.parametrize("name", ["pure.csv", "pure.msa"])
def test_a_known_spectrum_may_be_a_file(name, counts, tmp_path):
    spectrum = counts.mean(axis=(0, 1))
    if name.endswith("csv"):
        np.savetxt(tmp_path / name, np.column_stack([ENERGY, spectrum]), delimiter=",")
    else:
        signal_of(counts).mean().save(tmp_path / name)
    by_file, by_array = (
        em.NMF(2, spectra=em.Known({0: one}), random_state=0).fit(signal_of(counts))
        for one in (tmp_path / name, spectrum)
    )
    np.testing.assert_allclose(by_file.maps_, by_array.maps_, rtol=1e-4, atol=1e-4)


def test_energies_on_the_first_axis_of_an_array_are_noticed(counts):
    first = np.moveaxis(np.concatenate([counts] * 2, axis=-1), -1, 0)
    with pytest.warns(UserWarning, match="moveaxis"):
        em.NMF(2, random_state=0).fit(first)


def test_of_several_packed_files_none_is_guessed(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.txt", "1 2")
        archive.writestr("b.txt", "1 2")
    with pytest.raises(em.UnreadableFileError, match="it holds 2 files"):
        em.load(tmp_path / "two.zip")


def matlab73(folder, counts, **options):
    """Write what MATLAB 7.3 does: HDF5 behind its own words, the axes the other way round."""
    with h5py.File(folder / "a.mat", "w", userblock_size=512) as file:
        file.create_dataset("cube", data=counts.T, **options)
    with (folder / "a.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(128))
    return folder / "a.mat"


def test_matlab_keeps_its_axes_and_brings_in_no_other_file(counts, tmp_path):
    np.testing.assert_array_equal(em.load(matlab73(tmp_path, counts)).data, counts)
    (tmp_path / "secret").write_bytes(bytes(counts.nbytes))
    outside = [(str(tmp_path / "secret"), 0, counts.nbytes)]
    with pytest.raises(em.UnreadableFileError, match="from another file"):
        em.load(matlab73(tmp_path, counts, external=outside))


@pytest.mark.parametrize("name", ["pure.csv", "pure.txt"])
def test_references_come_from_two_columns(name, counts, tmp_path, capsys):
    spectra = em.synthetic.mixed_phases((4, 4), channels=len(ENERGY), k=3, seed=1).spectra
    np.savetxt(
        tmp_path / name,
        np.column_stack([ENERGY, spectra[0]]),
        delimiter="," if name[-1] == "v" else "\t",
    )
    references = [tmp_path / name, *spectra[1:]]
    signal = signal_of(counts)
    by_file, by_array = em.MLLS(references).fit(signal), em.MLLS(spectra).fit(signal)
    np.testing.assert_allclose(by_file.maps_, by_array.maps_, rtol=1e-6, atol=1e-6)
    signal.save(tmp_path / "a.hspy")
    words = [
        "mlls",
        str(tmp_path / "a.hspy"),
        "--reference",
        str(tmp_path / name),
        "--background",
        "constant",
    ]
    assert main([*words, "-o", str(tmp_path / "out")]) == 0 and "pure" in capsys.readouterr().out
    words = [
        "unmix",
        str(tmp_path / "a.hspy"),
        "-k",
        "3",
        "--known",
        f"1={tmp_path / name}",
        "--starts",
        "1",
    ]
    assert main([*words, "-o", str(tmp_path / "known")]) == 0
    found = em.open(tmp_path / "known").spectra.data
    assert em.spectral_angle(found[:1], spectra[:1]).max() < 0.01


@pytest.mark.skipif(not DATA.exists(), reason=f"real data are not at {DATA}")
@pytest.mark.parametrize(
    "name",
    [
        "edxs/low_dose_TEM.bcf", "edxs/velox_16x16.emd", "eels/NMC_Si.dm3", "other/raman_streamline.wdf",
        "other/stxm_iron_FeL.npz", "other/raman_cartilage.npz", "phantoms/Mn3O4_theory.mat",
    ],
)  # fmt: skip
def test_real_files_end_in_a_command_that_works(name, tmp_path, capsys):
    assert main(["info", str(DATA / name)]) == 0
    lines = capsys.readouterr().out.splitlines()
    command = next(line for line in lines if line.startswith("  endmember unmix"))
    words = [
        *shlex.split(command)[1:],
        "--starts",
        "1",
        "--tol",
        "1e-3",
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(words) == 0 and main(["report", str(tmp_path / "out")]) == 0


@pytest.mark.skipif(
    tuple(map(int, rsciio.__version__.split(".")[:2])) < (0, 15),
    reason="the table is that of newer readers",
)
def test_the_table_of_formats_is_that_of_the_readers():
    root = Path(__file__).parents[1]
    checked = subprocess.run(
        [sys.executable, root / "tools" / "formats.py", "--check"], check=False
    )
    assert checked.returncode == 0


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, complex])
def test_values_that_go_up_and_down_are_no_energies(tmp_path, dtype):
    np.savez(
        tmp_path / "a.npz",
        cube=np.ones((3, 4, 7)),
        energy=np.array([3, 1, 2, 9, 4, 0, 1]).astype(dtype),
    )
    (cube,) = [one for one in read(tmp_path / "a.npz") if one.data.ndim == 3]
    assert list(cube.axes_manager[-1].axis) == list(range(7))


@pytest.mark.parametrize("damage", ["no zip", "cut", "flipped"])
def test_a_damaged_zip_is_refused_in_a_sentence(tmp_path, damage):
    np.save(tmp_path / "cube.npy", np.arange(4000).reshape(10, 10, 40))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "cube.npy", "cube.npy")
    whole = (tmp_path / "a.zip").read_bytes()
    wrong = {"no zip": b"words", "cut": whole[:900]}
    flipped = whole[:900] + bytes([whole[900] ^ 255]) + whole[901:]
    (tmp_path / "a.zip").write_bytes(wrong.get(damage, flipped))
    with pytest.raises(em.errors.EndmemberError, match="a.zip .* cannot be read: .*BadZipFile"):
        read(tmp_path / "a.zip")


def test_an_option_of_the_reader_is_given_once(tmp_path, capsys):
    np.save(tmp_path / "cube.npy", np.ones((3, 4, 7)))
    for twice in (["--reader", "step=2"], ["--energy-axis", "0", "--reader", "energy_axis=1"]):
        assert main(["info", str(tmp_path / "cube.npy"), "--reader", "step=1", *twice]) == 2
        assert "is given twice" in capsys.readouterr().err
