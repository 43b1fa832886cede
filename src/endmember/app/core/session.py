"""What one user does: data, steps before the fit, runs, and everything that can be taken home."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from sklearn.base import clone

import endmember as em
from endmember.app.core.choices import Choices
from endmember.app.core.image import Image
from endmember.app.core.live import Live
from endmember.app.core.regions import KINDS, Constraint, Region, lines_of
from endmember.app.core.steps import Step, write_script
from endmember.app.server.files import UPLOAD_LIMIT, Upload, inside
from endmember.app.server.shared import Store
from endmember.app.work.jobs import Fitted, folders_of_runs
from endmember.app.work.scheduler import Ticket
from endmember.errors import EndmemberError, refuse_if
from endmember.methods.standards import standards
from endmember.signals.files.source import Source
from endmember.signals.result.provenance import fingerprint_of
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
    original : Image
        The data before the steps.
    known : sequence of str
        The lines of a script that say what was known of it.
    """

    name: str
    label: str
    model: Any
    steps: tuple[Step, ...]
    image: Image
    fitted: Fitted
    result: Unmixing
    original: Image
    known: Sequence[str] = ()


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
    workspace : Path, optional
        Where the result folder of every run is kept as it ends; nowhere unless given.

    Attributes
    ----------
    image : Image or None
        What is looked at: the data after all steps.
    original : Image or None
        The data as they were read.
    steps : tuple of Step
    undone : tuple of Step
        Those that were taken back, the last one first.
    regions : list of Region
        That are kept of the image.
    runs : list of Run
        Of all the data that were looked at.
    uploads : Path
        Where files that were dropped are kept, and what is handed to the browser.
    live : Live or None
        The sketch of what is looked at.

    Examples
    --------
    >>> session = Session(".")
    >>> session.use(em.synthetic.diode(shape=(12, 12), channels=60).signal)
    >>> session.run(Choices(k=3, starts=2)).result.maps.data.shape
    (3, 12, 12)
    """

    def __init__(
        self,
        root: str | Path = ".",
        limit: int = UPLOAD_LIMIT,
        store: Store | None = None,
        workspace: Path | None = None,
    ) -> None:
        self.root, self.limit, self.workspace = Path(root).resolve(), limit, workspace
        self.store = store or Store()
        self.image: Image | None = None
        self.original: Image | None = None
        self.steps = self.undone = cast(tuple[Step, ...], ())
        self.runs: list[Run] = []
        self.regions: list[Region] = []
        self.live: Live | None = None
        self._own = tempfile.TemporaryDirectory(dir=self.store.room)
        self.uploads = Path(self._own.name)

    def close(self) -> None:
        """Forget the data and delete the uploads."""
        self.image = self.original = self.live = None
        self.runs = []
        self._own.cleanup()

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
        return Upload(self.uploads, name, self.limit)

    def read_upload(
        self, upload: Upload, signal: int | None = None, ticket: Ticket | None = None
    ) -> Image:
        """Return what was uploaded, for :meth:`use`; changes nothing."""
        return self.store.read(ticket or Ticket(), upload.path, signal)

    def use(self, signal: Any) -> None:
        """Take a signal, or an :class:`Image` of one, as the data; the runs of earlier data stay."""
        image = signal if isinstance(signal, Image) else self.store.keep(signal)
        self.original, self.steps, self.undone = image, (), ()
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
        self.regions[:] = [
            replace(one, mean=image.spectrum(*one.box, False, one.corners))
            for one in self.regions
            if one.shape == image.whole.shape
        ]
        self.image, self.live = image, Live(image.sketches)

    # Before the fit -------------------------------------------------------------------------
    def prepared(self, steps: tuple[Step, ...], ticket: Ticket | None = None) -> Image:
        """Return what these steps, all since the data were read, would make of them; changes nothing."""
        done = len(self.steps)
        begun = steps[:done] == self.steps
        image, left = (self.data, steps[done:]) if begun else (cast(Image, self.original), steps)
        return self.store.prepare(ticket or Ticket(), image, left) if left else image

    def settle(self, steps: tuple[Step, ...], image: Image | None = None) -> None:
        """Have these steps done for good: one more, or the last one taken back, which may be done again.

        ``image`` is what :meth:`prepared` gave for them, where that was asked.
        """
        known = (*self.steps, *self.undone)
        self._look_at(image or self.prepared(steps))
        self.undone = known[len(steps) :] if known[: len(steps)] == steps else ()
        self.steps = steps

    def constraint(
        self, kind: str, component: int = 0, region: Region | None = None, file: str | None = None, energy: float = 0.0
    ) -> Constraint:  # fmt: skip
        """Return what is known: of a kind that ``KINDS`` lists, about a component counted from 0.

        Raises
        ------
        ValueError
            If there is no such region or the file holds no spectrum on the axis of the data.
        """
        _, sentence, line = KINDS[kind]
        refuse_if(
            "region" in sentence and region is None,
            "no region is drawn yet: drag one on the picture of all maps",
        )
        refuse_if(
            kind == "file" and not file,
            "there is no file to take a spectrum from: put one into the folder and load this page anew",
        )
        axis, path, here = self.data.axis, str(inside(self.root, file or "")), cast(Region, region)
        given: dict[str, Callable[[], Any]] = {
            "is": lambda: here.mean.clip(0),
            "only": lambda: here.mask,
            "absent": lambda: here.mask,
            "file": lambda: standards([path], axis)[0].at(axis.energy, axis.step),
            "onset": lambda: self.data.window((energy, np.inf)),
        }
        said = {
            "component": component,
            "n": component + 1,
            "region": region,
            "file": file,
            "path": path,
            "energy": energy,
        }
        return Constraint(
            kind, component * (kind != "onset"), sentence.format(**said), line.format(**said), given[kind]()
        )  # fmt: skip

    # Runs -----------------------------------------------------------------------------------
    @property
    def state(self) -> tuple[Image, tuple[Step, ...], Image]:
        """What a fit is asked for: the data after all steps, the steps, and the data before them."""
        return self.data, self.steps, cast(Image, self.original)

    def fit(self, choices: Choices, ticket: Ticket | None = None, state: Any = None) -> Run:
        """Fit the full data, keep the result folder in the workspace, and return the run without listing it.

        Parameters
        ----------
        choices : Choices
        ticket : Ticket, optional
        state : tuple, optional
            :attr:`state` as it was when the fit was asked for; as it is unless given.
        """
        (image, steps, original), model = state or self.state, choices.model()
        image.noise  # noqa: B018 - measured here, off the event loop
        about: dict[str, Any] = {
            "label": choices.label,
            "steps": [[step.name, step.parameters] for step in steps],
            "known": lines_of(choices.constraints, choices.k),
        }
        fitted = self._ask(ticket, "fit", image, model, self.workspace, about)
        return Run(
            fitted.name, choices.label, model, steps, image, fitted, fitted.result(image.signal), original,
            about["known"],
        )  # fmt: skip

    def keep(self, run: Run) -> Run:
        """Enter a run into the list; one without a folder gets its name here."""
        method = type(run.model).__name__.lower()
        name = run.name or f"run-{len(self.runs) + 1}-{method}-{run.result.model.n_components_}"
        self.runs.append(replace(run, name=name))
        return self.runs[-1]

    def kept(self) -> list[str]:
        """Return the names of the runs in the workspace that are not listed, the newest first."""
        if self.workspace is None:
            return []
        listed = {run.name for run in self.runs}
        return [name for _, name in reversed(folders_of_runs(self.workspace)) if name not in listed]

    def reopen(self, name: str, ticket: Ticket | None = None) -> Run:
        """Return a run of the workspace with its data, without listing it.

        Raises
        ------
        ValueError
            If its data are not there as they were.
        """
        folder = inside(cast(Path, self.workspace), name)
        result: Any = em.open(folder)
        about, data = result.record["workbench"], result.record["data"]
        steps = tuple(Step(step, parameters) for step, parameters in about["steps"])
        try:
            original = self.read(data["source"]["path"], data["source"]["signal"], ticket)
            image = self.store.prepare(ticket or Ticket(), original, steps) if steps else original
        except (ValueError, OSError) as problem:
            raise EndmemberError(
                f"{name} is kept in {folder}, but its data cannot be read ({problem}); put them back, or open the "
                "result with em.open"
            ) from problem
        refuse_if(
            fingerprint_of(image.signal) != data["hash"],
            f"{name} is kept in {folder}, but {data['source']['path']} has changed since; open the result with "
            "em.open",
        )
        judged = {what: one for what in ("bands", "errors") if (one := getattr(result, what))}
        fitted = Fitted(result.model, result.record, result._misfit, judged, name)
        return Run(
            name, about["label"], clone(result.model), steps, image, fitted, result, original,
            about.get("known", []),
        )  # fmt: skip

    def take(self, run: Run) -> None:
        """List a run that was reopened; where nothing is looked at yet, look at its data."""
        self.runs.append(run)
        if self.image is None:
            self.use(run.original)
            self.steps = run.steps
            self._look_at(run.image)

    def run(self, choices: Choices, ticket: Ticket | None = None) -> Run:
        """Fit the full data and keep the run."""
        return self.keep(self.fit(choices, ticket))

    def judge(self, run: Run, what: str, ticket: Ticket | None = None) -> Any:
        """Return the ``"bands"`` or ``"errors"`` of a run, worked out once; its exports have them from then on."""
        judged = run.fitted.judged
        if what not in judged:
            judged[what] = self._ask(ticket, "judge", run.image, run.fitted, what, self.workspace)
            setattr(run.result, what, judged[what])
        return judged[what]

    def rank(self, ticket: Ticket | None = None) -> Any:
        """Return the panel of criteria for the number of components."""
        return self._ask(ticket, "rank", self.data)

    def _ask(self, ticket: Ticket | None, job: str, image: Image, *arguments: Any) -> Any:
        return self.store.workers.call(ticket or Ticket(), job, image, *arguments)

    # To take home ---------------------------------------------------------------------------
    def script(self, brought: Image | None = None) -> str:
        """Return the Python script that makes all runs again.

        Parameters
        ----------
        brought : Image, optional
            Whose data lie beside the script, as ``data.hspy``.

        Raises
        ------
        ValueError
            If there is no run yet.
        """
        refuse_if(
            not self.runs, "there is no run yet; press Run first, the script repeats the runs"
        )
        return write_script(
            em.__version__, [(self._place(run.original, brought), run) for run in self.runs]
        )

    def _place(self, original: Image, brought: Image | None) -> Source:
        """Return where a script finds data; those that were dropped, in a file of their name beside it."""
        if original is brought or original.source is None:
            return Source("data.hspy")
        known = replace(original.source, lazy=False)
        return replace(known, path=Path(known.path).name) if self._needs_data(original) else known

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
        refuse_if(not name.strip(), "the folder has no name; type one, such as diode")
        return self._ask(
            ticket, "save", run.image, run.fitted, str(inside(self.root, name.strip())), overwrite
        )

    def archive(self, run: Run, ticket: Ticket | None = None) -> Path:
        """Return a zip of the result folder, the script and, where they came from no kept file, the data."""
        original = run.original if self._needs_data(run.original) else None
        return self._ask(
            ticket, "archive", run.image, run.fitted, run.name, self.script(original), original,
            str(self.uploads / f"{run.name}.zip"),
        )  # fmt: skip

    def report(self, run: Run, ticket: Ticket | None = None, ending: str = "html") -> Path:
        """Return the report of a run in one HTML file, or what ``Unmixing.export`` writes for another ending."""
        return self._ask(
            ticket, "report", run.image, run.fitted, str(self.uploads / f"{run.name}.{ending}")
        )

    def _needs_data(self, original: Image) -> bool:
        """Tell whether a script elsewhere would not find the data: they were uploaded or made in memory."""
        source = original.source
        return source is None or self.uploads in Path(source.path).parents


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
    refuse_if(
        a.shape[1] != b.shape[1],
        f"{first.name} has {a.shape[1]} channels and {second.name} {b.shape[1]}: runs compare "
        "where they were fitted to the same energies",
    )
    in_first, in_second = paired(a, b)
    return in_first, in_second, np.asarray(em.spectral_angle(a[in_first], b[in_second]))


def paired(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of some spectra (k, channels) belong with which of others, in the order of the fewer."""
    return (
        (em.match_components(a, b), np.arange(len(b)))
        if len(a) >= len(b)
        else (np.arange(len(a)), em.match_components(b, a))
    )
