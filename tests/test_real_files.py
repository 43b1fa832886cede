"""Every real file: unmixed into a folder that reopens, by the command line as its user types it."""

import os
from pathlib import Path

import numpy as np
import pytest

import endmember as em
from endmember.cli import main
from endmember.signals.cropping import crop_energy

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[2] / "shared" / "data"))
#: Of the largest a part of the energies: all of the file is read, and the rest is only more of the same.
LARGE = {"dust_particle_tilt0.bcf", "mineral_71GPa.hspy", "SiO2_on_carbon.hspy"}
PART = (0.5, 2.5)
FILES = sorted(
    file for suffix in ("dm3", "hspy", "bcf", "emd") for file in DATA.glob(f"e*s/*.{suffix}")
)
pytestmark = pytest.mark.skipif(not FILES, reason=f"real data are not at {DATA}")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_unmixed_into_a_folder_that_reopens(file, tmp_path, capsys):
    signal = em.load(file)
    command = ["unmix", str(file), "-k", "2", "--starts", "2", "--tol", "1e-4"]
    if file.name in LARGE:
        signal, command = crop_energy(signal, *PART), [*command, "--crop", "{}:{}".format(*PART)]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.rstrip().endswith("report.html")
    result = em.open(tmp_path / "out")
    *domain, channels = signal.data.shape
    assert result.maps.data.shape == (2, *domain) and result.spectra.data.shape == (2, channels)
    assert type(result.spectra) is type(signal)
    units = [one.axes_manager.signal_axes[0].units for one in (result.spectra, signal)]
    assert units[0] == units[1] in ("eV", "keV")
    data, misfit = np.asarray(signal.data, dtype=np.float32), result.misfit()
    spread = np.sqrt(np.mean((data - data.mean(axis=tuple(range(len(domain))))) ** 2))
    assert 0 < np.sqrt(np.mean(misfit.map**2)) < spread
    np.testing.assert_allclose(misfit.data_spectrum.mean(), data.mean(), rtol=1e-3)


@pytest.mark.parametrize("name", ["LSMO_STO_linescan.hspy", "NMC_TM_O.dm3"])
def test_lazy_and_eager_give_the_same_answer(name):
    file = DATA / "eels" / name
    eager = em.NMF(3, random_state=0).fit(em.load(file))
    lazy = em.NMF(3, random_state=0).fit(em.load(file, lazy=True))
    np.testing.assert_allclose(lazy.components_, eager.components_, atol=1e-6)
    np.testing.assert_allclose(lazy.maps_, eager.maps_, rtol=1e-4, atol=1e-5 * eager.maps_.max())


def test_pure_ends_of_a_line_scan_are_found():
    # The scan crosses from SrTiO3 (no La) to La0.7Sr0.3MnO3: one component rises along it, the other falls.
    signal = em.load(DATA / "eels" / "LSMO_STO_linescan.hspy")
    maps = em.NMF(2, random_state=0).fit(signal).maps_
    fractions = maps / maps.sum(axis=1, keepdims=True)
    ends = fractions[[0, -1]]
    assert abs(ends[0, 0] - ends[1, 0]) > 0.8
