"""Data that are larger than memory: the options that say how they are read, and the session that they are read in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from endmember.errors import EndmemberError

from .options import LazyOption, MemoryOption, ResumeOption, SchedulerOption, only_with

#: A scheduler that does not answer within this time is taken for absent, in seconds.
_ANSWER_SECONDS = 10


@dataclass
class Reading:
    """Options of how a fit reads its data."""

    lazy: LazyOption = False
    memory: MemoryOption = None
    scheduler: SchedulerOption = None
    resume: ResumeOption = False

    def check(self) -> None:
        """Refuse what has no effect on data that are not lazy."""
        only_with(
            "--lazy", self.lazy, memory=self.memory, scheduler=self.scheduler, resume=self.resume
        )

    @contextmanager
    def session(self) -> Iterator[None]:
        """Open a session with a limit of memory, on a cluster where one is named."""
        from endmember.factor.data.resources import session

        with ExitStack() as stack:
            if self.scheduler is not None:
                stack.enter_context(_client(self.scheduler))
            stack.enter_context(session(self.memory))
            yield


def _client(scheduler: str) -> Any:
    """Return a client of the cluster at that address."""
    try:
        from distributed import Client
    except ImportError:
        raise EndmemberError(
            "--scheduler needs dask.distributed: pip install distributed"
        ) from None
    try:
        return Client(scheduler, timeout=_ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise EndmemberError(
            f"no Dask scheduler answers at --scheduler {scheduler} ({error}); start one with 'dask scheduler' "
            "and give the address that it prints"
        ) from error
