"""How fast the workbench answers: a cube of 256 x 256 pixels and 1024 channels.

Prints the time of every answer beside what it should take. The answers are timed without the browser, from the
request to the arrays that the page draws.
"""

from __future__ import annotations

import contextlib
import os
import select
import statistics
import threading
import time

import numpy as np

import endmember as em
from endmember.app.core.choices import Choices
from endmember.app.core.live import Live
from endmember.app.core.session import Session
from endmember.app.server.shared import Store
from endmember.app.work.pool import Workers
from endmember.app.work.scheduler import Cancelled, Ticket

REGION, FIRST, ANSWER = 0.1, 0.2, 1.0
WEIGHTED = "counts, weighted"
CHANGES = (
    Choices(3), Choices(4), Choices(5), Choices(6), Choices(4),
    Choices(4, penalties={"soft_orthogonal": 0.01}), Choices(4, penalties={"soft_orthogonal": 0.02}),
    Choices(4, penalties={"sparse": 0.05}), Choices(4, penalties={"smooth": 0.1}),
    Choices(4, WEIGHTED), Choices(4, WEIGHTED, penalties={"soft_orthogonal": 0.01}),
)  # fmt: skip


def timed(call):
    start = time.perf_counter()
    answer = call()
    return time.perf_counter() - start, answer


def line(what, seconds, limit, remark=""):
    verdict = "met" if seconds <= limit else f"missed by {seconds - limit:.3f} s"
    print(f"{what:<55} {seconds:7.3f} s  of {limit:.1f} s: {verdict}  {remark}")


def main():
    phantom = em.synthetic.mixed_phases((256, 256), channels=1024, k=4)
    shared = Store()
    seconds, image = timed(lambda: shared.keep(phantom.signal))
    print(f"opening, once: {seconds:.2f} s")
    rng = np.random.default_rng(0)
    regions = [
        (tuple(sorted(rng.integers(0, 257, 2))), tuple(sorted(rng.integers(0, 257, 2))))
        for _ in range(50)
    ]
    times = [timed(lambda box=box: image.spectrum(*box))[0] for box in regions]
    line("region of interest, slowest of 50", max(times), REGION)
    windows = [tuple(sorted(rng.integers(0, 1025, 2))) for _ in range(50)]
    times = [timed(lambda window=window: image.map(window))[0] for window in windows]
    line("energy window, slowest of 50", max(times), REGION)
    live = Live(image.sketches)
    for loss in ("constant noise", "counts, weighted"):
        print(
            f"sketch for {loss}, once: {timed(lambda loss=loss: image.sketches.get(loss))[0]:.2f} s"
        )
    firsts, ends = [], []
    for choices in CHANGES:
        shown = []
        picture = live.unmix(choices, shown.append, lambda: None)
        firsts.append(shown[0].seconds)
        ends.append(picture.seconds)
        settled = "settled" if picture.settled else "still moving when its time was over"
        line(f"{choices.label}: first picture", shown[0].seconds, FIRST)
        line(f"{choices.label}: answer", picture.seconds, ANSWER, settled)
    print(
        f"medians: first pictures {statistics.median(firsts):.3f} s, answers {statistics.median(ends):.3f} s"
    )
    shared.close()
    cancelling(phantom.signal)


def cancelling(signal):
    """Print how long a fit in its process goes on after it was cancelled, and what handing over costs."""
    workers = Workers()
    session = Session(store=Store(workers))
    session.use(signal)
    session.run(Choices(4, starts=1))  # the process is awake and the file is mapped
    seconds, run = timed(lambda: session.run(Choices(4)))
    print(
        f"a run takes {run.fitted.seconds:.2f} s in its process and {seconds - run.fitted.seconds:.2f} s besides"
    )
    ticket, begun = Ticket(), threading.Event()
    ticket.show = lambda words: begun.set()
    model = em.NMF(4, loss=em.Poisson(), tol=0.0, random_state=0)

    def work():
        with contextlib.suppress(Cancelled):
            workers.call(ticket, "fit", session.data, model)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    (busy,) = workers._busy
    handle = os.pidfd_open(busy.process.pid)

    def end():
        ticket.cancel()
        select.select([handle], [], [])

    seconds, _ = timed(end)
    print(f"a cancelled fit has ended after {1000 * seconds:.0f} ms")
    thread.join()
    workers.close()


if __name__ == "__main__":
    main()
