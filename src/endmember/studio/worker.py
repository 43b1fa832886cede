"""A process that does long work for the workbench, one job at a time, until its parent goes or ends it.

Jobs come in on stdin and answers go out on stdout: pipes between a process and its own child.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import warnings
from typing import IO, Any

from endmember.studio.messages import decoded, encoded, receive, send


class Voice:
    """The ticket of a job in this process: what it shows goes to the parent; cancelling ends the process."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def send(self, kind: str, value: Any) -> None:
        """Send one message."""
        send(self._out, (kind, value))

    def show(self, value: Any) -> None:
        """Send an intermediate value."""
        self.send("show", value)

    def check(self) -> None:
        """Go on: who cancels a job ends its process."""


def main() -> None:
    """Answer jobs until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    # What a library prints must not get between the answers.
    voice = Voice(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    waiting: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(waiting,), daemon=True).start()
    from endmember.studio.jobs import JOBS

    _warm_up()
    while True:
        name, arguments = waiting.get()
        try:
            kind, answer = "done", JOBS[name](voice, *arguments)
        except Exception as problem:  # becomes a message on the page
            kind, answer = "failed", _portable(problem)
        voice.send(kind, answer)


def _listen(waiting: queue.SimpleQueue) -> None:
    """Take jobs; end with the parent, whatever is being worked on."""
    while True:
        try:
            waiting.put(receive(sys.stdin.buffer))
        except EOFError:
            os._exit(0)


def _warm_up() -> None:
    """Import what every first job would wait for."""
    import hyperspy.api as hs

    import endmember as em

    _ = hs.load, hs.signals.Signal1D, em.NMF, em.unmix, em.assess.rank


def _portable(problem: Exception) -> Exception:
    """Return an exception that the parent can read."""
    try:
        decoded(encoded(problem))
    except Exception:
        said = f"{type(problem).__name__}: {problem}"
        return OSError(said) if isinstance(problem, OSError) else ValueError(said)
    return problem


if __name__ == "__main__":
    main()
