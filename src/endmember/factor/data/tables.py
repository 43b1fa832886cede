"""Spectra in text files, as instruments and spreadsheets write them, and in arrays beside their energies."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from endmember.errors import EndmemberError, refuse_if
from endmember.factor.data.axis import EVEN
from endmember.factor.data.watched import elsewhere

#: How the names of text files end.
TABLES = (".csv", ".txt", ".dat", ".tsv", ".asc", ".xy")
#: What may stand between columns; None stands for any white space.
_SEPARATORS = ("\t", ";", ",", None)
#: Lines by which the separator is found.
_FIRST = 200


def table_signal(path: Path) -> Any:
    r"""Return the spectra of a text file as a signal.

    Columns are energies and then one spectrum each; or, as LabSpec writes maps, one or two columns of positions and a
    spectrum a row under a row of energies, whose first fields are empty. Positions that fill a grid become an image.
    What is no number before, between and after is left out.

    Parameters
    ----------
    path : Path

    Returns
    -------
    hyperspy.api.signals.Signal1D
        Data (channels,), (n, channels) or (ny, nx, channels), on a rising axis without unit.

    Raises
    ------
    ValueError
        The file holds no table of numbers.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "map.txt")
    ...     _ = file.write_text("\t\t500\t501\n0\t0\t1\t2\n0\t1\t3\t4\n1\t0\t5\t6\n1\t1\t7\t8\n")
    ...     table_signal(file)
    <Signal1D, title: map, dimensions: (2, 2|2)>
    """
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    separator = max(_SEPARATORS, key=lambda one: np.isfinite(_numbers(lines[:_FIRST], one)).sum())
    table = _numbers(lines, separator)
    refuse_if(
        table.shape[0] < 2 or table.shape[1] < 2,
        "there is no table of numbers with an energy beside every value",
    )
    named = np.isfinite(table[0])
    if named.all():
        return signal_of(table[:, 1:].T.squeeze(), table[:, 0], path.stem)
    places, spectra = table[1:, ~named], table[1:, named]
    fast = int(places[0, 0] == places[1, 0])  # x is the position that changes from row to row
    slow_to_fast = places[:, [-1 - fast, fast]].T if places.shape[1] == 2 else places.T
    domain = [len(np.unique(one)) for one in slow_to_fast]
    if np.prod(domain) == len(places):
        spectra = spectra[np.lexsort(slow_to_fast[::-1])].reshape(*domain, -1)
    return signal_of(spectra, table[0, named], path.stem)


def open_spectrum(path: Path) -> Any:
    """Return the signal of a file that holds nothing but spectra.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read or holds something else.
    """
    import hyperspy.api as hs

    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; check the path of the reference")
    try:
        fault = elsewhere(path)
        loaded = [] if fault else (table_signal if path.suffix.lower() in TABLES else hs.load)(path)
    except Exception as problem:
        raise EndmemberError(
            f"{path} cannot be read as a reference ({type(problem).__name__}: {problem}); give a file that HyperSpy "
            "reads, such as .msa, a table of energies and intensities, or an array"
        ) from problem
    refuse_if(fault, f"{path} cannot be read as a reference: {fault}")
    found = [
        one
        for one in (loaded if isinstance(loaded, list) else [loaded])
        if one.axes_manager.signal_dimension == 1
    ]
    refuse_if(
        len(found) != 1,
        f"{path} holds {len(found)} signals of spectra and a reference is one; give a file with just that",
    )
    return found[0]


def _numbers(lines: list[str], separator: str | None) -> np.ndarray:
    """Return the rows of numbers that are as long as most, (rows, columns), NaN where a field is empty."""
    rows = []
    for line in lines if separator == "," else [line.replace(",", ".") for line in lines]:
        with suppress(ValueError):
            rows.append([float(one) if one.strip() else np.nan for one in line.split(separator)])
    lengths = [len(row) for row in rows]
    most = max(set(lengths), key=lengths.count, default=0)
    table = np.array([row for row in rows if len(row) == most]).reshape(-1, max(most, 1))
    return table[:, np.isfinite(table).any(axis=0)]


def signal_of(values: np.ndarray, energy: np.ndarray, title: str) -> Any:
    """Return a signal of spectra (..., channels), turned round where their energies (channels,) fall."""
    import hyperspy.api as hs

    rising = slice(None, None, 1 if energy[-1] >= energy[0] else -1)
    energy, steps = energy[rising], np.diff(energy[rising])
    known = (
        {"offset": energy[0], "scale": steps.mean() if steps.size else 1.0}
        if (steps.size == 0 or np.ptp(steps) <= EVEN * abs(steps.mean()))
        else {"axis": energy}
    )
    axes = [{"size": size, "navigate": True} for size in values.shape[:-1]]
    name = None if np.array_equal(energy, np.arange(len(energy))) else "Energy"
    axes.append({**known, "size": len(energy), "navigate": False, "name": name})
    return hs.signals.Signal1D(
        values[..., rising], axes=axes, metadata={"General": {"title": title}}
    )
