"""The long work of the workbench, as functions that run here or in a process of their own."""

import contextlib
import functools
import logging
import re
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import endmember as em
from endmember.app.core.image import Image, Step
from endmember.app.work import storage
from endmember.app.work.scheduler import Remark, Ticket
from endmember.factor.data import Data, one_blas_thread
from endmember.signals.bridge import wrap_maps, wrap_spectra
from endmember.signals.result.unmixing import Unmixing, unmix_one

logger = logging.getLogger("endmember")
#: Where the library lies: warnings of others, such as of what will change in them, are none of the user's business.
HOME = Path(em.__file__).parent
#: Seconds between two words about progress.
SAY_EVERY = 0.2


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit without its data: what passes between processes.

    Attributes
    ----------
    model : estimator
        Fitted.
    record : dict
        As of :class:`Unmixing`.
    misfit : dict of ndarray
    judged : dict
        Bands and errors once they were asked for.
    name : str
        Of its folder in the workspace; "" where it is in none.
    unsaved : str
        Why it is not, where it should be.
    """

    model: Any
    record: dict[str, Any]
    misfit: dict[str, Any]
    judged: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    unsaved: str = ""

    def result(self, signal: Any) -> Unmixing:
        """Return the answer for people, with the axes of the signal that was fitted."""
        result = Unmixing(
            maps=wrap_maps(self.model.maps_, signal),
            spectra=wrap_spectra(self.model.components_, signal, unit=self.model.unit_of_spectra),
            model=self.model, options={}, record=self.record, misfit=self.misfit,
        )  # fmt: skip
        result.bands, result.errors = self.judged.get("bands"), self.judged.get("errors")
        return result


def prepare(ticket: Ticket, data: Image, steps: tuple[Step, ...], room: Path) -> Image:
    """Do steps to data, and store what comes of them."""
    signal = data.signal
    for step in steps:
        ticket.check()
        signal = step.apply(signal)
    return storage.store(signal, room, (*data.steps, *steps))


def fit(
    ticket: Ticket,
    data: Image,
    model: Any,
    workspace: Path | None = None,
    about: Mapping[str, Any] = {},
) -> Fitted:
    """Fit the full data, and keep the result folder at once, with what the workbench knows of it."""
    result = unmix_one(data.signal, model, callback=_progress(ticket))
    result.record["workbench"] = dict(about)
    name = unsaved = ""
    if workspace is not None:
        ticket.show("Keeping the result ...")
        try:
            name = _keep(result, workspace)
        except (ValueError, OSError) as problem:  # the run is worth more than its folder
            unsaved = str(problem)
    return Fitted(result.model, result.record, result._misfit, name=name, unsaved=unsaved)


def _keep(result: Unmixing, workspace: Path) -> str:
    """Save a result under the next number that is free, and return its name."""
    workspace.mkdir(parents=True, exist_ok=True)
    method = f"{type(result.model).__name__.lower()}-{result.model.n_components_}"
    while True:
        number = max((number for number, _ in folders_of_runs(workspace)), default=0) + 1
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            return result.save(workspace / f"run-{number}-{method}").name


def folders_of_runs(workspace: Path) -> list[tuple[int, str]]:
    """Return numbers and names of the runs in a workspace, in order."""
    names = [place.parent.name for place in workspace.glob("run-*/unmixing.json")]
    return sorted(
        (int(found[1]), name) for name in names if (found := re.match(r"run-(\d+)-", name))
    )


def rank(ticket: Ticket, data: Image) -> Any:
    """Return the panel of criteria for the number of components."""
    with one_blas_thread():
        return em.assess.rank(data.signal, callback=_progress(ticket))


def judge(
    ticket: Ticket, data: Image, fitted: Fitted, what: str, workspace: Path | None = None
) -> Any:
    """Return the "bands" between which the data cannot tell spectra and maps, or their standard "errors"; keep them."""
    assess = em.assess.ambiguity if what == "bands" else em.assess.uncertainty
    result = fitted.result(data.signal)
    judged = assess(result, data.signal)
    setattr(result, what, judged)
    if workspace is not None and (workspace / fitted.name / "unmixing.json").exists():
        result.save(workspace / fitted.name, overwrite=True)
    return judged


def sketch(ticket: Ticket, data: Image, rank: int, scaling: str | None) -> Data:
    """Return a sketch of data that stay on disk."""
    return em.compress(data.signal, rank, scaling=scaling)


def save(ticket: Ticket, data: Image, fitted: Fitted, folder: str, overwrite: bool) -> Path:
    """Keep a result folder."""
    return fitted.result(data.signal).save(folder, overwrite=overwrite)


def report(ticket: Ticket, data: Image, fitted: Fitted, file: str) -> Path:
    """Write the report in one HTML file, or what another ending asks for."""
    result = fitted.result(data.signal)
    return result.report(file) if file.endswith(".html") else result.export(file)[0]


def archive(
    ticket: Ticket,
    data: Image,
    fitted: Fitted,
    name: str,
    script: str,
    original: Image | None,
    file: str,
) -> Path:
    """Zip result folder, script and, where ``original`` is given, the data."""
    with tempfile.TemporaryDirectory(dir=Path(file).parent) as scratch:
        folder = fitted.result(data.signal).save(Path(scratch) / name)
        (Path(scratch) / "script.py").write_text(script, encoding="utf-8")
        if original is not None:
            original.signal.save(Path(scratch) / "data.hspy")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as whole:
            for one in [*sorted(folder.iterdir()), *sorted(Path(scratch).glob("*.*"))]:
                whole.write(one, one.relative_to(scratch))
    return Path(file)


def _progress(ticket: Ticket) -> Any:
    """Return the callback of a fit that says how it goes on and ends where it was cancelled."""
    last = [0.0]

    def callback(progress: Any) -> bool:
        ticket.check()
        now = time.monotonic()
        if now - last[0] > SAY_EVERY:
            last[0] = now
            left = progress.seconds_left
            known = left is not None and not progress.stage.startswith("start")
            words = f", about {left:.0f} s left in this stage" if known else ""
            ticket.show(f"{progress.stage}: sweep {progress.sweep}{words}")
        return False

    return callback


def _heard(job: Callable[..., Any]) -> Callable[..., Any]:
    """Return a job that also shows what the library says on the way, in its log and in warnings."""

    @functools.wraps(job)
    def call(ticket: Ticket, *arguments: Any) -> Any:
        def hear(record: logging.LogRecord) -> bool:
            ticket.show(Remark(record.getMessage()))
            return True

        level = logger.level
        logger.addFilter(hear)
        logger.setLevel(logging.INFO)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                answer = job(ticket, *arguments)
        finally:
            logger.removeFilter(hear)
            logger.setLevel(level)
        for one in caught:
            if HOME in Path(one.filename).parents:
                ticket.show(Remark(one.message))
        return answer

    return call


#: By the names that a process is asked for them.
JOBS: dict[str, Any] = {
    job.__name__: _heard(job)
    for job in (storage.read, prepare, fit, rank, judge, sketch, save, report, archive)
}
