"""Work off the event loop: the newest request wins, one is in flight, and all can be cancelled."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("endmember")


class Cancelled(Exception):
    """Raised inside work that nobody waits for any more."""


class Ticket:
    """What a piece of work gets to hold: a way to show progress, and to learn that it is over."""

    def __init__(self, lane: Lane | None = None, show: Callable[[Any], None] | None = None) -> None:
        self._lane, self._show = lane, show
        self._lock = threading.Lock()
        self._hook: Callable[[], None] | None = None
        self.cancelled = False

    def cancel(self) -> None:
        """Say that nobody waits any more."""
        with self._lock:
            self.cancelled = True
            if self._hook is not None:
                self._hook()

    def when_cancelled(self, hook: Callable[[], None] | None) -> None:
        """Have something done at once where the work is cancelled, or has been; None takes it back."""
        with self._lock:
            self._hook = hook
            if hook is not None and self.cancelled:
                hook()

    def check(self) -> None:
        """Raise :class:`Cancelled` where a newer request has come or the user has cancelled."""
        if self.cancelled:
            raise Cancelled

    def show(self, value: Any) -> None:
        """Hand an intermediate value to the one who asked, unless something newer is on its way."""
        self.check()
        if self._show is not None and self._lane is not None:
            self._lane.hand_over(self, self._show, value)


class Lane:
    """One worker thread of one user.

    Parameters
    ----------
    deliver : callable, optional
        Called with a function of no arguments from the worker's thread; should call it where the
        answers are wanted, such as on the event loop. Called at once by default.
    """

    def __init__(self, deliver: Callable[[Callable[[], None]], Any] | None = None) -> None:
        self._deliver = deliver or (lambda call: call())
        self._ready = threading.Condition()
        self._waiting: tuple[Ticket, Callable, Callable, Callable] | None = None
        self._running: Ticket | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(
        self,
        work: Callable[[Ticket], Any],
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
        show: Callable[[Any], None] | None = None,
    ) -> Ticket:
        """Ask for work; what runs or waits is cancelled.

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
        ticket = Ticket(self, show)
        with self._ready:
            self._cancel()
            self._waiting = (ticket, work, done, failed)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._ready.notify()
        return ticket

    def cancel(self) -> None:
        """Drop what runs and what waits; neither ``done`` nor ``failed`` is called."""
        with self._ready:
            self._cancel()

    def close(self) -> None:
        """Cancel, and end the thread when its work lets go."""
        with self._ready:
            self._cancel()
            self._closed = True
            self._ready.notify()

    @property
    def busy(self) -> bool:
        """Whether something runs or waits that was not cancelled."""
        with self._ready:
            running = self._running is not None and not self._running.cancelled
            return running or self._waiting is not None

    def hand_over(self, ticket: Ticket, take: Callable[[Any], None], value: Any) -> None:
        """Let ``take`` have the value where answers are wanted, unless the ticket is cancelled by then."""
        self._deliver(lambda: None if ticket.cancelled else take(value))

    def _cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()
        if self._waiting is not None:
            self._waiting[0].cancel()
            self._waiting = None

    def _run(self) -> None:
        while True:
            with self._ready:
                while self._waiting is None and not self._closed:
                    self._ready.wait()
                if self._waiting is None:
                    return
                ticket, work, done, failed = self._waiting
                self._waiting, self._running = None, ticket
            self._carry_out(ticket, work, done, failed)

    def _carry_out(self, ticket: Ticket, work: Callable, done: Callable, failed: Callable) -> None:
        answer: Any
        try:
            answer, take = work(ticket), done
        except Cancelled:
            take = None
        except Exception as problem:  # whatever happened becomes a message on the page
            logger.debug("work of the workbench failed", exc_info=True)
            answer, take = problem, failed
        with self._ready:
            self._running = None
        if take is not None:
            self.hand_over(ticket, take, answer)
