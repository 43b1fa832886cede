"""What one user does: data, steps before the fit, runs, and everything that can be taken home."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import endmember as em
from endmember.app.core.choices import Choices
from endmember.app.core.image import Image
from endmember.app.core.live import Live
from endmember.app.core.steps import Step, write_script
from endmember.app.server.files import UPLOAD_LIMIT, Upload, inside
from endmember.app.server.shared import Store
from endmember.app.work.jobs import Fitted
from endmember.app.work.scheduler import Ticket
from endmember.errors import EndmemberError
from endmember.signals.files.source import Source
from endmember.signals.result.unmixing import Unmixing


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
    image : Image
        The data of the fit.
    fitted : Fitted
    result : Unmixing
    """

    name: str
    label: str
    model: Any
    steps: tuple[Step, ...]
    image: Image
    fitted: Fitted
    result: Unmixing


class Session:
    """Everything of one user. Others see nothing of it; where they opened the same file, its data are held once.

    Parameters
    ----------
    root : str or Path
        The folder whose files may be opened and in which results may be kept.
    limit : int
        Bytes that an upload may have.
    store : Store, optional
        Where images are kept and long work is done, shared with other sessions; one of its own unless given.

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

    def __init__(
        self, root: str | Path = ".", limit: int = UPLOAD_LIMIT, store: Store | None = None
    ) -> None:
        self.root, self.limit = Path(root).resolve(), limit
        self.store = store or Store()
        self.image: Image | None = None
        self.original: Image | None = None
        self.steps: tuple[Step, ...] = ()
        self.runs: list[Run] = []
        self.live: Live | None = None
        self._made = 0
        self._own = tempfile.TemporaryDirectory(prefix="endmember-workbench-")
        self._source: Source | None = None

    def close(self) -> None:
        """Forget the data and delete the uploads."""
        self.image = self.original = self.live = None
        self.runs = []
        self._own.cleanup()

    @property
    def folders(self) -> tuple[Path, Path]:
        """Where files may lie: the folder of the workbench, and that of the uploads."""
        return self.root, Path(self._own.name)

    # Data -----------------------------------------------------------------------------------
    def read(self, name: str, signal: int | None = None, ticket: Ticket | None = None) -> Image:
        """Return what a file of the folder holds, for :meth:`use`; changes nothing.

        Raises
        ------
        PermissionError
            If it is outside.
        OSError, ValueError
            If it cannot be read or holds no spectrum image; one sentence says what to do.
        """
        return self.store.read(ticket or Ticket(), inside(self.root, name), signal)

    def receive(self, name: str) -> Upload:
        """Return where to write an upload that is called ``name``; then read it with :meth:`read_upload`."""
        return Upload(Path(self._own.name), name, self.limit)

    def read_upload(self, upload: Upload, ticket: Ticket | None = None) -> Image:
        """Return what was uploaded, for :meth:`use`; changes nothing."""
        return self.store.read(ticket or Ticket(), upload.path)

    def use(self, signal: Any) -> None:
        """Take a signal, or an :class:`Image` of one, as the data; steps and runs of earlier data are forgotten."""
        image = signal if isinstance(signal, Image) else self.store.keep(signal)
        # A signal made in Python may have left its file behind: its script brings the data along.
        self._source = image.source
        self.original, self.steps, self.runs = image, (), []
        self._look_at(image)

    @property
    def data(self) -> Image:
        """What is looked at.

        Raises
        ------
        ValueError
            If nothing was opened.
        """
        if self.image is None:
            raise EndmemberError("there are no data yet; open a file first")
        return self.image

    def _look_at(self, image: Image) -> None:
        self.image, self.live = image, Live(image.sketches)

    # Before the fit -------------------------------------------------------------------------
    def preview(self, step: Step, ticket: Ticket | None = None) -> Image:
        """Return what a step would make of the data, and change nothing."""
        return self.store.prepare(ticket or Ticket(), self.data, (step,))

    def accept(self, step: Step, image: Image | None = None) -> None:
        """Do a step for good; ``image`` is its preview where that was made."""
        self._look_at(self.preview(step) if image is None else image)
        self.steps = (*self.steps, step)

    def without_last_step(self, ticket: Ticket | None = None) -> Image:
        """Return the data before the last step, by doing the others again; changes nothing."""
        if self.original is None or not self.steps:
            raise EndmemberError("there is no step to take back")
        others = self.steps[:-1]
        if not others:
            return self.original
        return self.store.prepare(ticket or Ticket(), self.original, others)

    def undo(self, image: Image | None = None) -> None:
        """Take the last step back; ``image`` is :meth:`without_last_step` where that was made."""
        self._look_at(image or self.without_last_step())
        self.steps = self.steps[:-1]

    # Runs -----------------------------------------------------------------------------------
    def fit(self, choices: Choices, ticket: Ticket | None = None) -> Run:
        """Fit the full data and return the run without keeping it."""
        image, steps, model = self.data, self.steps, choices.model()
        image.noise  # noqa: B018 - measured here, off the event loop
        fitted = self._ask(ticket, "fit", image, model)
        return Run("", choices.label, model, steps, image, fitted, fitted.result(image.signal))

    def keep(self, run: Run) -> Run:
        """Enter a run into the list and give it its name."""
        self._made += 1
        method = type(run.model).__name__.lower()
        named = replace(run, name=f"run-{self._made}-{method}-{run.result.model.n_components_}")
        self.runs.append(named)
        return named

    def run(self, choices: Choices, ticket: Ticket | None = None) -> Run:
        """Fit the full data and keep the run."""
        return self.keep(self.fit(choices, ticket))

    def judge(self, run: Run, what: str, ticket: Ticket | None = None) -> Any:
        """Return the ``"bands"`` or ``"errors"`` of a run, worked out once; its exports have them from then on."""
        judged = run.fitted.judged
        if what not in judged:
            judged[what] = self._ask(ticket, "judge", run.image, run.fitted, what)
            setattr(run.result, what, judged[what])
        return judged[what]

    def rank(self, ticket: Ticket | None = None) -> Any:
        """Return the panel of criteria for the number of components."""
        return self._ask(ticket, "rank", self.data)

    def _ask(self, ticket: Ticket | None, job: str, image: Image, *arguments: Any) -> Any:
        return self.store.workers.call(ticket or Ticket(), job, image, *arguments)

    def find(self, name: str) -> Run:
        """Return the run of that name."""
        return next(run for run in self.runs if run.name == name)

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
            raise EndmemberError(
                "there is no run yet; press Run first, the script repeats the runs"
            )
        known = self._source or Source("data.hspy")
        source = Source(file) if file else replace(known, lazy=False)
        return write_script(em.__version__, source, self.runs)

    def save(
        self, run: Run, name: str, overwrite: bool = False, ticket: Ticket | None = None
    ) -> Path:
        """Keep a run's result folder inside the folder of the workbench.

        Raises
        ------
        PermissionError
            If the name leads out of it.
        FileExistsError
            If there is something of that name.
        """
        if not name.strip():
            raise EndmemberError("the folder has no name; type one, such as diode")
        folder = inside(self.root, name.strip())
        return self._ask(ticket, "save", run.image, run.fitted, str(folder), overwrite)

    def archive(self, run: Run, ticket: Ticket | None = None) -> Path:
        """Return a zip of the result folder, the script and, where they came from no kept file, the data."""
        original = self.original if self._needs_data() else None
        script = self.script(None if original is None else "data.hspy")
        place = str(Path(self._own.name) / f"{run.name}.zip")
        return self._ask(
            ticket, "archive", run.image, run.fitted, run.name, script, original, place
        )

    def report(self, run: Run, ticket: Ticket | None = None) -> Path:
        """Return the report of a run in one HTML file."""
        place = str(Path(self._own.name) / f"{run.name}.html")
        return self._ask(ticket, "report", run.image, run.fitted, place)

    def _needs_data(self) -> bool:
        """Tell whether a script elsewhere would not find the data: they were uploaded or made in memory."""
        return self._source is None or Path(self._own.name) in Path(self._source.path).parents


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
        raise EndmemberError(
            f"{first.name} has {a.shape[1]} channels and {second.name} {b.shape[1]}: runs compare "
            "where they were fitted to the same energies"
        )
    in_first, in_second = paired(a, b)
    return in_first, in_second, np.asarray(em.spectral_angle(a[in_first], b[in_second]))


def paired(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of some spectra (k, channels) belong with which of others, in the order of the fewer."""
    if len(a) >= len(b):
        return em.match_components(a, b), np.arange(len(b))
    return np.arange(len(a)), em.match_components(b, a)
