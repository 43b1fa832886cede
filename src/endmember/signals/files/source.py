"""Where a spectrum image comes from: a file, what that holds, which of its signals, and how it is read."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from endmember.errors import Argument, EndmemberError, among, refuse_if
from endmember.factor.data.watched import files_of, state_of, watch
from endmember.signals.files.reading import DETECTORS, existing, read

#: Where the metadata of a signal say what it was loaded from.
_NOTE = "Endmember.source"

_log = logging.getLogger("endmember")


class SeveralSignalsError(EndmemberError):
    """A file that holds several spectrum images, of which none was chosen.

    Attributes
    ----------
    choices : dict of str to int
        What can be chosen, in words, and the number of each.
    """

    choices: dict[str, int]


@dataclass(frozen=True)
class Description:
    """One signal of a file, as far as it is known without reading its data.

    ``number`` counts from 0 within the file and is what `load` takes as ``signal``; ``words`` say its title, kind,
    shape, type, and the detector where the file names it. A scan may hold patterns in place of spectra.
    """

    number: int
    words: str
    is_spectrum_image: bool
    holds_patterns: bool = False

    def __str__(self) -> str:
        return f"{self.number}: {self.words}"


@dataclass(frozen=True)
class Source:
    """What a spectrum image is read from, as one thing that travels.

    Attributes
    ----------
    path : str or Path
    signal : int, optional
        Which signal of the file, counted from 0; needed only where it holds several spectrum images.
    lazy : bool
        Whether the data stay on disk, as a Dask array.
    reader : dict
        Options of the file's reader.

    Examples
    --------
    >>> Source("cube.emd", signal=2).code()
    "em.load('cube.emd', signal=2)"
    """

    path: str | Path
    signal: int | None = None
    lazy: bool = False
    reader: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, signal: Any) -> Self | None:
        """Return where a signal was loaded from; None for one that came from no file."""
        text = signal.metadata.get_item(_NOTE, default="")
        return cls(**json.loads(text)) if text else None

    def load(self) -> Any:
        """Return the spectrum image, with a note in its metadata of where it came from."""
        files = files_of(existing(self.path).absolute())
        state = state_of(files) if self.lazy else ""
        signals = read(self.path, self.lazy, self.reader)
        found = [describe_signal(one, number) for number, one in enumerate(signals)]
        number = _choose(self.path, found, self.signal)
        others = [str(one) for one in found if one.number != number]
        if others:
            _log.info("%s: taken %s; left aside %s", self.path, found[number], "; ".join(others))
        known = Source(str(Path(self.path).absolute()), number, self.lazy, self.reader)
        signals[number].metadata.set_item(_NOTE, json.dumps(known.record()))
        if self.lazy and signals[number]._lazy:
            watch(signals[number].data, files, state)
        return signals[number]

    def record(self) -> dict[str, Any]:
        """Return what is kept with an answer: path, signal and lazy, and options of the reader if there are any."""
        said = asdict(self)
        return said if self.reader else {name: said[name] for name in ("path", "signal", "lazy")}

    def code(self) -> str:
        """Return the Python code that loads it."""
        given = {"lazy": self.lazy or None, "signal": self.signal, "reader": self.reader or None}
        words = "".join(f", {name}={value!r}" for name, value in given.items() if value is not None)
        return f"em.load({str(self.path)!r}{words})"

    def fingerprint(self) -> str:
        """Return what changes when the files do, without reading them, and tells signals of one file apart."""
        return f"{state_of(files_of(Path(self.path).absolute()))} {self.signal} {self.reader}"


def load(
    path: str | Path,
    lazy: bool = False,
    signal: int | None = None,
    reader: Mapping[str, Any] | None = None,
) -> Any:
    """Load the spectrum image of a file.

    Parameters
    ----------
    path : str or Path
        A file that HyperSpy reads (dm3, dm4, emd, bcf, hspy, rpl ...) or the folder of a ``.zspy``
        store.
    lazy : bool
        Leave the data on disk, as a Dask array, where the format allows it. Large lists of single events (JEOL
        ``.pts``, Velox ``.emd``) stay lists, as Dask arrays that fits read as sparse counts, even without.
    signal : int, optional
        Which signal of the file, counted from 0; needed only where a file holds several spectrum
        images.
    reader : dict, optional
        Options for the file's reader in RosettaSciIO, such as ``{"select_type": "spectrum_image"}``.

    Returns
    -------
    hyperspy.api.signals.BaseSignal
        A signal with navigation axes and one signal axis, or two where a file holds patterns alone. What else the
        file holds is named on the logger ``endmember`` at level INFO.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnreadableFileError
        There is one, and it cannot be read.
    ValueError
        The file holds no spectrum image, several without ``signal``, or none under that number.

    Examples
    --------
    >>> load("two_phase_50x50.bcf")  # doctest: +SKIP
    <EDSSEMSpectrum, title: EDX, dimensions: (50, 50|2048)>
    """
    return Source(path, signal, lazy, reader or {}).load()


def _choose(path: str | Path, found: Sequence[Description], number: int | None) -> int:
    """Return the number of the spectrum image to take, or say why there is no telling."""
    images = images_among(found)
    if number is None and len(images) == 1:
        return images[0].number
    listed = "\n  ".join(str(one) for one in (images if number is None and images else found))
    refuse_if(
        not images,
        f"{path} holds no spectrum image (one spectrum at each of several pixels), but\n"
        f"  {listed or 'nothing'}; if one axis of a stack holds the energies, say which: ",
        Argument("energy_axis", "0", 'reader={"energy_axis": 0}'),
    )
    if number is None:
        several = SeveralSignalsError(
            f"{path} holds {len(images)} spectrum images; choose one with ",
            Argument("signal", "N"),
            f":\n  {listed}",
        )
        several.choices = {str(one): one.number for one in images}
        raise several
    refuse_if(
        isinstance(number, bool) or not isinstance(number, int | np.integer),
        f"signal = {number!r} must be a whole number, one of:\n  {listed}",
    )
    refuse_if(
        not 0 <= number < len(found),
        f"{path} has no signal {number}, only 0 to {len(found) - 1}:\n  {listed}",
    )
    refuse_if(
        not (found[number].is_spectrum_image or found[number].holds_patterns),
        f"signal {number} of {path} is no spectrum image ({found[number]}); take ",
        *among([Argument("signal", one.number) for one in images]),
    )
    return int(number)


def images_among(found: Sequence[Description]) -> list[Description]:
    """Return the spectrum images of a file, or where it has none the scans with a pattern at every pixel."""
    return [one for one in found if one.is_spectrum_image] or [
        one for one in found if one.holds_patterns
    ]


def describe_signal(signal: Any, number: int = 0) -> Description:
    """Describe one signal by its axes and metadata, without reading its data.

    Parameters
    ----------
    signal : hyperspy.api.signals.BaseSignal
        Of any kind.
    number : int
        Its place in its file, counted from 0.

    Returns
    -------
    Description

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> print(describe_signal(hs.signals.Signal1D(np.zeros((4, 5, 60)))))
    0: untitled, Signal1D, 4 x 5 pixels of 60 channels, float64
    """
    manager = signal.axes_manager
    domain, own = (
        " x ".join(str(axis.size) for axis in reversed(axes))
        for axes in (manager.navigation_axes, manager.signal_axes)
    )
    detector = _detector(signal)
    words = [
        str(signal.metadata.get_item("General.title", default="")) or "untitled",
        type(signal).__name__.removeprefix("Lazy"),
        (f"{domain} pixels of " if domain else "")
        + f"{own} {'channels' if manager.signal_dimension == 1 else 'pixels'}",
        str(signal.data.dtype),
        *([f"detector {detector}"] if detector else []),
    ]
    real, n_axes = signal.data.dtype.kind in "biuf", manager.signal_dimension
    # One image after the other may as well be taken at energies: only a scan over two axes is one of patterns.
    kinds = (real and n_axes == n and manager.navigation_dimension >= n for n in (1, 2))
    return Description(number, ", ".join(words), *kinds)


def _detector(signal: Any) -> str | None:
    """Find the detector's name where the readers of Velox, Bruker and Gatan files put it, or how many are summed."""
    metadata = signal.metadata
    summed = metadata.get_item(DETECTORS, default=0)
    if summed > 1:
        return f"sum of {summed}"
    names = [
        metadata.get_item(f"Acquisition_instrument.{instrument}.Detector.{entry}")
        for instrument in ("TEM", "SEM")
        for entry in ("EDS.detector_type", "EELS.spectrometer")
    ]
    if signal.axes_manager.navigation_dimension == 0:
        names.insert(0, signal.original_metadata.get_item("BinaryResult.Detector"))
    return next((str(name) for name in names if name), None)
