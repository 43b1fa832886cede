"""A process that does long work for the workbench, one job at a time, until its parent goes or ends it.

Jobs come in on stdin and answers go out on stdout: pipes between a process and its own child.
"""

import os
import queue
import shutil
import signal
import sys
import threading
import warnings
from multiprocessing.reduction import ForkingPickler
from typing import IO, Any

from endmember.app.work.scheduler import Ticket

#: Bytes that tell the length of a value.
LENGTH = 8


def main() -> None:
    """Answer jobs until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    waiting: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(waiting,), daemon=True).start()
    import hyperspy.api as hs

    import endmember as em
    from endmember.app.work.jobs import JOBS

    # Imported now: every first job would wait for it.
    _ = hs.load, hs.signals.Signal1D, em.NMF, em.unmix, em.assess.rank
    # Who cancels a job ends its process: the ticket only shows.
    ticket = Ticket(lambda value: send(answers, ("show", value)))
    while True:
        name, arguments = waiting.get()
        try:
            kind, answer = "done", JOBS[name](ticket, *arguments)
        except Exception as problem:  # becomes a message on the page
            kind, answer = "failed", _portable(problem)
        send(answers, (kind, answer))


def _listen(waiting: queue.SimpleQueue[Any]) -> None:
    """Take jobs; end with the parent, whatever is being worked on, and delete what it has left behind."""
    while True:
        try:
            waiting.put(receive(sys.stdin.buffer))
        except EOFError:
            for room in sys.argv[1:]:
                shutil.rmtree(room, ignore_errors=True)
            os._exit(0)


def _portable(problem: Exception) -> Exception:
    """Return an exception that the parent can read."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(problem))
    except Exception:
        said = f"{type(problem).__name__}: {problem}"
        return OSError(said) if isinstance(problem, OSError) else ValueError(said)
    return problem


# Values between a process and its own child, over a pipe that nobody else can reach.
def send(stream: IO[bytes], value: Any) -> None:
    """Write one value, encoded as :mod:`multiprocessing` does, behind its length."""
    body = ForkingPickler.dumps(value)
    stream.write(len(body).to_bytes(LENGTH, "little"))
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one value.

    Raises
    ------
    EOFError
        If the other side has gone.
    """
    length = int.from_bytes(stream.read(LENGTH), "little")
    body = stream.read(length)
    if not 0 < len(body) == length:
        raise EOFError("the other process has gone")
    return ForkingPickler.loads(body)


if __name__ == "__main__":
    main()
