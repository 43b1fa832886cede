"""Whatever happened to a file, loading it ends in a signal or in one sentence."""

import os
import shutil
from pathlib import Path

import hyperspy.api as hs
import numpy as np
import pytest

from endmember.signals.files.reading import read, read_cheaply
from faults.damage import ALLOWED, damaged, outcome_of

DATA = Path(os.environ.get("ENDMEMBER_DATA", Path(__file__).parents[3] / "shared" / "data"))
RNG = np.random.default_rng(0)
IMAGE = hs.signals.Signal1D(RNG.poisson(5, (6, 7, 40)).astype(np.uint16))
SPECTRUM = hs.signals.Signal1D(RNG.poisson(5, 40).astype(np.float32))
PICTURE = hs.signals.Signal2D(RNG.poisson(5, (12, 14)).astype(np.uint16))
WRITTEN = {
    **dict.fromkeys(("hspy", "zspy", "emd", "nxs", "rpl", "prz", "npy", "sur"), IMAGE),
    "msa": SPECTRUM,
    "tif": PICTURE,
    "unf": hs.signals.Signal1D(IMAGE.data.astype(np.float32)),
}
REAL = [
    "eels/NMC_TM_O.dm3", "reference/SrTiO3.dm3", "reference/NMC_Co_edge.msa",
    "eels/LSMO_STO_linescan.hspy", "edxs/chevkinite.bcf", "edxs/low_dose_TEM.bcf",
    "edxs/nearly_empty_velox.emd", "other/raman_streamline.wdf",
]  # fmt: skip


def original(name, folder):
    """Put a whole file into a folder of its own, and return where."""
    folder.mkdir()
    if name not in WRITTEN:
        if not (DATA / name).exists():
            pytest.skip(f"{name} is not in {DATA}")
        return Path(shutil.copy(DATA / name, folder))
    path = folder / f"small.{name}"
    try:
        WRITTEN[name].save(path)
    except ImportError as missing:
        pytest.skip(f"{missing}")
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*WRITTEN, *REAL])
def test_a_damaged_file_is_a_signal_or_a_sentence(name, tmp_path, often, count):
    whole = original(name, tmp_path / "whole")
    files = sorted(file for file in whole.parent.rglob("*") if file.is_file())
    # In this process first, so that no child need import or compile anything.
    read(whole)
    read_cheaply(whole)
    wrong = []
    for number in range(often(7, 160)):
        rng = np.random.default_rng([*name.encode(), number])
        victim = files[rng.integers(len(files))].relative_to(whole.parent)
        shutil.copytree(whole.parent, tmp_path / "damaged")
        broken = tmp_path / "damaged" / victim
        broken.chmod(0o644)
        broken.write_bytes(damaged(broken.read_bytes(), number, rng))
        kind, details = outcome_of(tmp_path / "damaged" / whole.name, lazy=bool(rng.integers(2)))
        count(f"damaged {whole.suffix[1:]}", kind)
        if kind not in ALLOWED:
            wrong.append(f"{number}: {kind}, {details}")
        shutil.rmtree(tmp_path / "damaged")
    assert wrong == []
