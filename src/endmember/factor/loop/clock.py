"""How long a fit still takes."""

from __future__ import annotations

import time

import numpy as np

#: Sweeps over which progress is measured.
WINDOW = 10


class Clock:
    """Foretells how long a run still takes, from its pace and from how fast its progress fades."""

    def __init__(self, max_iter: int, tol: float) -> None:
        self.start, self.max_iter, self.tol = time.monotonic(), max_iter, tol

    def seconds_left(self, objective: list[float], scale: float) -> float | None:
        """Return the seconds that are left, or None while it is too early to say."""
        done = len(objective)
        if done <= 2 * WINDOW:
            return None
        pace = (time.monotonic() - self.start) / done
        now, before, earlier = objective[-1], objective[-1 - WINDOW], objective[-1 - 2 * WINDOW]
        late, early = before - now, earlier - before
        goal = self.tol * WINDOW * scale
        sweeps = float(self.max_iter - done)
        if 0 < goal < late < early:
            sweeps = min(sweeps, WINDOW * np.log(late / goal) / np.log(early / late))
        elif late <= goal:
            sweeps = 0.0
        return pace * sweeps
