"""Arrays and tables as they come: NumPy, MATLAB, text; and energies that a file lacks, said by options."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from endmember.factor.data.tables import TABLES, signal_of, table_signal

#: How the names of files end that are read here.
PLAIN = (".npy", ".npz", ".mat", *TABLES)
#: Options of every file that say which axis holds the energies, and what they are.
AXIS = ("energy_axis", "start", "step", "units")
#: What energies are called among the arrays of a file.
_CALLED = re.compile(r"e$|ev|energ|wave|wn$|wl$|shift|loss|lambda", re.IGNORECASE)


def read_plain(path: Path, lazy: bool = False) -> list[Any]:
    """Return a signal for every array of numbers in a file.

    The last axis holds the energies, or the one that has the length of a list of rising or falling numbers in the
    same file, which then are the energies.

    Parameters
    ----------
    path : Path
        With one of the endings in ``PLAIN``.
    lazy : bool
        Leave a ``.npy`` file on disk.

    Returns
    -------
    list of hyperspy.api.signals.Signal1D
        Titled with the names of the arrays.
    """
    if path.suffix.lower() in TABLES:
        return [table_signal(path)]
    arrays = {
        name: array
        for name, array in _arrays(path, lazy).items()
        if isinstance(array, np.ndarray) and array.dtype.kind in "biufc" and array.ndim
    }
    lists = {
        name: array.ravel()
        for name, array in arrays.items()
        if 1 < array.size == max(array.shape)
        and array.dtype.kind != "c"
        and abs(np.sign(np.diff(array.ravel().astype(float))).sum()) == array.size - 1
    }
    energies = {name: one for name, one in lists.items() if _CALLED.match(name)} or lists
    return [
        _placed(lists.get(name, array), [] if name in lists else [*energies.values()], name, lazy)
        for name, array in arrays.items()
    ]


def with_axis(
    signal: Any,
    energy_axis: int | None = None,
    start: float | None = None,
    step: float | None = None,
    units: str | None = None,
) -> Any:
    """Return a signal with what is said of its energies.

    Parameters
    ----------
    signal : hyperspy.api.signals.BaseSignal
    energy_axis : int, optional
        The axis of its array that holds the energies, counted from 0; what has fewer axes stays as it is.
    start, step : float, optional
        Energy of the first channel and distance of neighbours; of spectra alone, as the unit.
    units : str, optional
    """
    if energy_axis is not None and signal.data.ndim > min(energy_axis, 2):
        signal = signal.as_signal1D(signal.axes_manager._axes[energy_axis])
    if signal.axes_manager.signal_dimension == 1:
        own = {"offset": start, "scale": step, "units": units, "name": units and "Energy"}
        said = {name: value for name, value in own.items() if value is not None}
        signal.axes_manager.signal_axes[0].trait_set(**said)
    return signal


def _arrays(path: Path, lazy: bool) -> dict[str, Any]:
    """Return the arrays of a file by their names."""
    if path.suffix.lower() in (".npy", ".npz"):
        found = np.load(path, mmap_mode="r" if lazy else None, allow_pickle=False)
        return {path.stem: found} if isinstance(found, np.ndarray) else dict(found)
    import h5py
    from scipy.io import loadmat

    if not h5py.is_hdf5(path):
        return dict(loadmat(path))
    with h5py.File(path) as file:  # MATLAB 7.3, whose arrays run the other way round
        return {
            name: np.array(one).T for name, one in file.items() if isinstance(one, h5py.Dataset)
        }


def _placed(array: np.ndarray, lists: list[np.ndarray], title: str, lazy: bool) -> Any:
    """Return an array as a signal, with the energies that fit one of its axes: the last that any fits."""
    fitting = (
        (axis, one) for axis, size in enumerate(array.shape) for one in lists if size == len(one)
    )
    axis, energy = max(
        fitting, key=lambda found: found[0], default=(-1, np.arange(array.shape[-1]))
    )
    signal = signal_of(np.moveaxis(array, axis, -1), energy, title)
    return signal.as_lazy() if lazy else signal
