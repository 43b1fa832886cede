"""Work off the event loop: the newest request wins, one is in flight, and all can be cancelled."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

logger = logging.getLogger("endmember")


class Cancelled(Exception):
    """Raised inside work that nobody waits for any more."""


class Remark(str):
    """What was noticed during work, to be shown with its answer: a warning, or what a step has found."""


class Ticket:
    """What a piece of work gets to hold: a way to show progress, and to learn that it is over.

    Attributes
    ----------
    cancelled : bool
        Whether nobody waits any more.
    done : bool
        Whether the work has come to its end.
    """

    def __init__(self, show: Callable[[Any], None] = lambda value: None) -> None:
        self._show = show
        self._lock = threading.Lock()
        self._hook: Callable[[], None] = lambda: None
        self.cancelled = self.done = False

    def cancel(self) -> None:
        """Say that nobody waits any more."""
        with self._lock:
            self.cancelled = True
            self._hook()

    def when_cancelled(self, hook: Callable[[], None]) -> None:
        """Have something done at once where the work is cancelled, or has been."""
        with self._lock:
            self._hook = hook
            if self.cancelled:
                hook()

    def check(self) -> None:
        """Raise :class:`Cancelled` where a newer request has come or the user has cancelled."""
        if self.cancelled:
            raise Cancelled

    def show(self, value: Any) -> None:
        """Hand an intermediate value to the one who asked, unless something newer is on its way."""
        self.check()
        self._show(value)


class Lane:
    """One worker thread of one user.

    Parameters
    ----------
    deliver : callable, optional
        Called with a function of no arguments from the worker's thread; should call it where the
        answers are wanted, such as on the event loop. Called at once by default.
    queue : bool
        Whether a request waits for those before it; otherwise it cancels them.
    """

    def __init__(
        self,
        deliver: Callable[[Callable[[], None]], Any] = lambda call: call(),
        queue: bool = False,
    ) -> None:
        self._deliver, self._queue = deliver, queue
        self._requests: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._tickets: list[Ticket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def submit(
        self,
        work: Callable[[Ticket], Any],
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
        show: Callable[[Any], None] = lambda value: None,
    ) -> Ticket:
        """Ask for work; what runs or waits is cancelled, unless requests queue.

        Parameters
        ----------
        work : callable
            Called with a :class:`Ticket` in the worker's thread; should ask ``ticket.check()`` often.
        done : callable
            Takes what ``work`` returned, if nothing newer was asked for meanwhile.
        failed : callable
            Takes the exception instead.
        show : callable, optional
            Takes what ``ticket.show`` is called with.
        """
        ticket = Ticket(lambda value: self._hand_over(ticket, show, value))
        if not self._queue:
            self.cancel()
        with self._lock:
            self._tickets = [*self._waiting(), ticket]
            self._requests.put((ticket, work, done, failed))
        return ticket

    def cancel(self, first: bool = False) -> None:
        """Drop what runs and what waits, or the ``first`` of them alone; neither ``done`` nor ``failed`` is called."""
        with self._lock:
            for ticket in self._waiting()[: 1 if first else None]:
                ticket.cancel()

    def close(self) -> None:
        """Cancel, and end the thread when its work lets go."""
        self.cancel()
        self._requests.put(None)

    @property
    def busy(self) -> bool:
        """Whether something runs or waits that was not cancelled."""
        return bool(self._waiting())

    def _waiting(self) -> list[Ticket]:
        return [ticket for ticket in self._tickets if not (ticket.done or ticket.cancelled)]

    def _hand_over(self, ticket: Ticket, take: Callable[[Any], None], value: Any) -> None:
        """Let ``take`` have the value where answers are wanted, unless the ticket is cancelled by then."""
        self._deliver(lambda: None if ticket.cancelled else take(value))

    def _run(self) -> None:
        for request in iter(self._requests.get, None):
            self._carry_out(*request)

    def _carry_out(self, ticket: Ticket, work: Any, done: Any, failed: Any) -> None:
        answer: Any
        try:
            ticket.check()
            answer, take = work(ticket), done
        except Cancelled:
            return
        except Exception as problem:  # whatever happened becomes a message on the page
            logger.debug("work of the workbench failed", exc_info=True)
            answer, take = problem, failed
        ticket.done = True
        self._hand_over(ticket, take, answer)
