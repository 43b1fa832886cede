"""Where long work is done: in a few processes that all users share, or here."""

import contextlib
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from endmember.app.work.jobs import JOBS
from endmember.app.work.process import receive, send
from endmember.app.work.scheduler import Ticket

#: Processes that are kept while they have nothing to do: one for the next job, one for whoever comes meanwhile.
IDLE = 2
#: Seconds between two looks whether work that waits for a process is still wanted.
WAIT = 0.05


class WorkerLostError(RuntimeError):
    """The process that did the work has ended without an answer."""


class Worker:
    """One process; ``python -m endmember.app.work.process`` with the same packages, in no particular folder.

    Parameters
    ----------
    room : Path, optional
        What it deletes where this process ends without a chance to do it.
    """

    def __init__(self, room: Path | None = None) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self.process: Any = subprocess.Popen(
            [sys.executable, "-P", "-m", "endmember.app.work.process", *([str(room)] if room else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip

    def ask(self, ticket: Ticket, name: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
        """Return ``"done"`` and the answer to a job, or ``"failed"`` and what it raised."""
        try:
            send(self.process.stdin, (name, arguments))
            while True:
                kind, value = receive(self.process.stdout)
                if kind != "show":
                    return kind, value
                ticket.show(value)
        except (EOFError, BrokenPipeError) as lost:
            ticket.check()
            code = self.process.wait()
            why = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise WorkerLostError(
                f"the process that did this has ended ({why}), perhaps for want of memory; nothing else is "
                "lost: bin or crop the data, or try again"
            ) from lost

    def end(self) -> None:
        """End the process at once, whatever it does, and close the pipes."""
        self.process.kill()
        self.process.wait()  # whoever listens to it has heard its end before the pipes are closed
        with contextlib.suppress(BrokenPipeError), self.process:
            pass


class Workers:
    """A few processes for all users: one waits warm, more are started while it is busy.

    Parameters
    ----------
    most : int, optional
        Processes at a time, at least two so that one user's fit does not hold up another's; as many as the
        machine has cores, up to four, unless given.
    room : Path, optional
        As of :class:`Worker`.
    """

    def __init__(self, most: int | None = None, room: Path | None = None) -> None:
        self._room = room
        self.most = most or max(2, min(4, os.cpu_count() or 1))
        self._changed = threading.Condition(threading.RLock())
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._end = weakref.finalize(self, _end, self._idle, self._busy)

    def start(self) -> None:
        """Have a process ready, without waiting for it."""
        with self._changed:
            if not self._idle and len(self._busy) < self.most and self._end.alive:
                self._idle.append(Worker(self._room))

    def close(self) -> None:
        """End all processes."""
        with self._changed:
            self._end()
            self._changed.notify_all()

    def call(self, ticket: Ticket, name: str, *arguments: Any) -> Any:
        """Do a job in a process of its own; where the ticket is cancelled meanwhile, end that.

        Parameters
        ----------
        ticket : Ticket
        name : str
            A key of ``JOBS``.
        *arguments
            Of the job, after the ticket.

        Raises
        ------
        WorkerLostError
            If the process has died.
        """
        worker, kind = self._take(ticket), ""
        try:
            ticket.when_cancelled(worker.process.kill)
            kind, value = worker.ask(ticket, name, arguments)
        finally:
            ticket.when_cancelled(lambda: None)
            # One that is still at work would later say what would be taken for another answer.
            self._give_back(worker, reusable=bool(kind) and not ticket.cancelled)
        if kind == "failed":
            raise value
        return value

    def _take(self, ticket: Ticket) -> Worker:
        with self._changed:
            if len(self._busy) >= self.most:
                ticket.show("waiting until the work of others is done")
            while len(self._busy) >= self.most and self._end.alive:
                self._changed.wait(WAIT)
                ticket.check()
            if not self._end.alive:
                raise WorkerLostError("the workbench is closing; start it again")
            self._idle[:] = [worker for worker in self._idle if worker.process.poll() is None]
            worker = self._idle.pop() if self._idle else Worker(self._room)
            self._busy.add(worker)
            self.start()  # whoever comes next does not wait for Python to start
            return worker

    def _give_back(self, worker: Worker, reusable: bool) -> None:
        with self._changed:
            self._busy.discard(worker)
            keep = reusable and len(self._idle) < IDLE and self._end.alive
            if keep:
                self._idle.append(worker)
            self._changed.notify_all()
        if not keep:
            worker.end()
            self.start()


class Here:
    """Does the same jobs in this process; they end where they ask whether they are wanted."""

    def call(self, ticket: Ticket, name: str, *arguments: Any) -> Any:
        """Do a job."""
        return JOBS[name](ticket, *arguments)


def _end(*groups: Any) -> None:
    for worker in [worker for group in groups for worker in group]:
        worker.end()
