"""What one user does: data, steps before the fit, runs, and everything that can be taken home."""

from __future__ import annotations

import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import endmember as em
from endmember import preprocess
from endmember.factor.threads import one_blas_thread
from endmember.signals import cropping, provenance
from endmember.signals.bridge import load
from endmember.signals.unmixing import Unmixing, unmix
from endmember.studio.choices import Choices
from endmember.studio.files import UPLOAD_LIMIT, Upload, inside
from endmember.studio.image import Image
from endmember.studio.live import Live
from endmember.studio.script import write_script

#: Steps that the preprocess panel offers.
STEPS = ("crop_energy", "crop_pixels", "rebin", "remove_spikes", "subtract_background")


@dataclass(frozen=True)
class Step:
    """One thing done to the data before a fit.

    Attributes
    ----------
    name : str
        One of ``STEPS``.
    parameters : dict
        Keywords, plain values only.

    Examples
    --------
    >>> Step("rebin", {"pixels": 2}).code
    'rebin(signal, pixels=2)'
    """

    name: str
    parameters: dict[str, Any]

    @property
    def code(self) -> str:
        """The step as Python code."""
        place = "" if hasattr(cropping, self.name) else "em.preprocess."
        words = "".join(f", {name}={value!r}" for name, value in self.parameters.items())
        return f"{place}{self.name}(signal{words})"

    def apply(self, signal: Any) -> Any:
        """Return a signal with the step done to it."""
        if self.name not in STEPS:
            raise ValueError(f"{self.name!r} is no step; allowed: {', '.join(STEPS)}")
        room = cropping if hasattr(cropping, self.name) else preprocess
        return getattr(room, self.name)(signal, **self.parameters)


@dataclass(frozen=True, eq=False)
class Run:
    """A finished fit to the full data.

    Attributes
    ----------
    name : str
        Unique in its session; letters, digits and hyphens.
    label : str
        What it was, for people.
    model : estimator
        Not fitted, as it was asked for.
    steps : tuple of Step
        What was done to the data before.
    result : Unmixing
    signal : HyperSpy signal
        The data of the fit.
    seconds : float
    judged : dict
        Bands and errors once they were asked for.
    """

    name: str
    label: str
    model: Any
    steps: tuple[Step, ...]
    result: Unmixing
    signal: Any
    seconds: float
    judged: dict[str, Any] = field(default_factory=dict)

    def bands(self) -> Any:
        """Return between which spectra and maps the data cannot tell; worked out once."""
        if "bands" not in self.judged:
            self.judged["bands"] = em.assess.ambiguity(self.result, self.signal)
        return self.judged["bands"]

    def errors(self) -> Any:
        """Return the standard errors of spectra and maps; worked out once."""
        if "errors" not in self.judged:
            self.judged["errors"] = em.assess.uncertainty(self.result, self.signal)
        return self.judged["errors"]


class Session:
    """Everything of one user; nothing of it is shared with another.

    Parameters
    ----------
    root : str or Path
        The folder whose files may be opened and in which results may be kept.
    limit : int
        Bytes that an upload may have.

    Attributes
    ----------
    image : Image or None
        What is looked at: the data after all steps.
    original : Image or None
        The data as they were read.
    steps : tuple of Step
    runs : list of Run
    live : Live or None
        The sketch of what is looked at.

    Examples
    --------
    >>> session = Session(".")
    >>> session.use(em.synthetic.diode(shape=(12, 12), channels=60).signal)
    >>> session.run(Choices(k=3, starts=2)).result
    <Unmixing: 3 components, 12 x 12 pixels, 60 channels, NMF>
    """

    def __init__(self, root: str | Path = ".", limit: int = UPLOAD_LIMIT) -> None:
        self.root, self.limit = Path(root).resolve(), limit
        self.image: Image | None = None
        self.original: Image | None = None
        self.steps: tuple[Step, ...] = ()
        self.runs: list[Run] = []
        self.live: Live | None = None
        self._made = 0
        self._own = tempfile.TemporaryDirectory(prefix="endmember-workbench-")
        self._source: dict[str, Any] | None = None

    def close(self) -> None:
        """Forget the data and delete the uploads."""
        self.image = self.original = self.live = None
        self.runs = []
        self._own.cleanup()

    # Data -----------------------------------------------------------------------------------
    def open(self, name: str, signal: int | None = None) -> None:
        """Open a file of the folder.

        Raises
        ------
        PermissionError
            If it is outside.
        OSError, ValueError
            If it cannot be read or holds no spectrum image; one sentence says what to do.
        """
        self.use(self.read(name, signal))

    def read(self, name: str, signal: int | None = None) -> Image:
        """Return what a file of the folder holds, for :meth:`use`; changes nothing."""
        return Image(load(inside(self.root, name), signal=signal))

    def receive(self, name: str) -> Upload:
        """Return where to write an upload that is called ``name``; then read it with :meth:`read_upload`."""
        return Upload(Path(self._own.name), name, self.limit)

    def read_upload(self, upload: Upload) -> Image:
        """Return what was uploaded, for :meth:`use`; changes nothing."""
        return Image(load(upload.path))

    def use(self, signal: Any) -> None:
        """Take a signal, or an :class:`Image` of one, as the data; steps and runs of earlier data are forgotten."""
        image = signal if isinstance(signal, Image) else Image(signal)
        # A signal made in Python may have left its file behind: its script brings the data along.
        self._source = provenance.source(image.signal) if image is signal else None
        self.image = self.original = image
        self.steps, self.runs, self.live = (), [], Live(image.signal)

    @property
    def data(self) -> Image:
        """What is looked at.

        Raises
        ------
        ValueError
            If nothing was opened.
        """
        if self.image is None:
            raise ValueError("there are no data yet; open a file first")
        return self.image

    # Before the fit -------------------------------------------------------------------------
    def preview(self, step: Step) -> Image:
        """Return what a step would make of the data, and change nothing."""
        return Image(step.apply(self.data.signal))

    def accept(self, step: Step, image: Image | None = None) -> None:
        """Do a step for good; ``image`` is its preview where that was made."""
        self.image = self.preview(step) if image is None else image
        self.steps = (*self.steps, step)
        self.live = Live(self.image.signal)

    def without_last_step(self) -> Image:
        """Return the data before the last step, by doing the others again; changes nothing."""
        if self.original is None or not self.steps:
            raise ValueError("there is no step to take back")
        signal = self.original.signal
        for step in self.steps[:-1]:
            signal = step.apply(signal)
        return Image(signal)

    def undo(self, image: Image | None = None) -> None:
        """Take the last step back; ``image`` is :meth:`without_last_step` where that was made."""
        self.image, self.steps = image or self.without_last_step(), self.steps[:-1]
        self.live = Live(self.image.signal)

    # Runs -----------------------------------------------------------------------------------
    def fit(self, choices: Choices, callback: Callable[[Any], Any] | None = None) -> Run:
        """Fit the full data and return the run without keeping it; ``callback`` as in ``em.unmix``."""
        data, steps = self.data, self.steps
        model = choices.model()
        began = time.perf_counter()
        result = unmix(data.signal, model, callback=callback)
        taken = time.perf_counter() - began
        return Run("", choices.label, model, steps, result, data.signal, taken)

    def keep(self, run: Run) -> Run:
        """Enter a run into the list and give it its name."""
        self._made += 1
        method = type(run.model).__name__.lower()
        named = Run(
            f"run-{self._made}-{method}-{run.result.model.n_components_}", run.label, run.model, run.steps,
            run.result, run.signal, run.seconds, run.judged,
        )  # fmt: skip
        self.runs.append(named)
        return named

    def run(self, choices: Choices, callback: Callable[[Any], Any] | None = None) -> Run:
        """Fit the full data and keep the run."""
        return self.keep(self.fit(choices, callback))

    def find(self, name: str) -> Run:
        """Return the run of that name."""
        return next(run for run in self.runs if run.name == name)

    def rank(self, callback: Callable[[Any], Any] | None = None) -> Any:
        """Return the panel of criteria for the number of components."""
        with one_blas_thread():
            return em.assess.rank(self.data.signal, callback=callback)

    # To take home ---------------------------------------------------------------------------
    def script(self, file: str | None = None) -> str:
        """Return the Python script that makes all runs again.

        Parameters
        ----------
        file : str, optional
            Where the data lie; where they were read from unless given.

        Raises
        ------
        ValueError
            If there is no run yet.
        """
        if not self.runs:
            raise ValueError("there is no run yet; press Run first, the script repeats the runs")
        number = self._source["signal"] if self._source and file is None else None
        named = self._source["path"] if self._source else "data.hspy"
        return write_script(em.__version__, file or named, number, self.runs)

    def save(self, run: Run, name: str, overwrite: bool = False) -> Path:
        """Keep a run's result folder inside the folder of the workbench.

        Raises
        ------
        PermissionError
            If the name leads out of it.
        FileExistsError
            If there is something of that name.
        """
        if not name.strip():
            raise ValueError("the folder has no name; type one, such as diode")
        return run.result.save(inside(self.root, name.strip()), overwrite=overwrite)

    def archive(self, run: Run) -> Path:
        """Return a zip of the result folder, the script and, where they came from no kept file, the data."""
        place = Path(self._own.name) / f"{run.name}.zip"
        with tempfile.TemporaryDirectory(dir=self._own.name) as scratch:
            folder = run.result.save(Path(scratch) / run.name)
            own = self._needs_data()
            (Path(scratch) / "script.py").write_text(
                self.script("data.hspy" if own else None), encoding="utf-8"
            )
            if own and self.original is not None:
                self.original.signal.save(Path(scratch) / "data.hspy")
            with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as whole:
                for file in [*sorted(folder.iterdir()), *sorted(Path(scratch).glob("*.*"))]:
                    whole.write(file, file.relative_to(scratch))
        return place

    def report(self, run: Run) -> Path:
        """Return the report of a run in one HTML file."""
        return run.result.report(Path(self._own.name) / f"{run.name}.html")

    def _needs_data(self) -> bool:
        """Tell whether a script elsewhere would not find the data: they were uploaded or made in memory."""
        return self._source is None or Path(self._own.name) in Path(self._source["path"]).parents


def side_by_side(first: Run, second: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair the components of two runs by the angles of their spectra.

    Parameters
    ----------
    first, second : Run
        With the same channels.

    Returns
    -------
    in_first, in_second : ndarray of int, (pairs,)
        Which component of each run stands in a pair.
    angles : ndarray, (pairs,)
        Between the two, in degrees.

    Raises
    ------
    ValueError
        If the runs have different channels.
    """
    a, b = (np.asarray(run.result.spectra.data) for run in (first, second))
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{first.name} has {a.shape[1]} channels and {second.name} {b.shape[1]}: runs compare "
            "where they were fitted to the same energies"
        )
    if len(a) >= len(b):
        in_first, in_second = em.match_components(a, b), np.arange(len(b))
    else:
        in_first, in_second = np.arange(len(a)), em.match_components(b, a)
    return in_first, in_second, np.asarray(em.spectral_angle(a[in_first], b[in_second]))
