"""Answers at the speed of a slider: models of a sketch, first of every few pixels, then of all."""

import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import nnls

import endmember as em
from endmember.app.core.choices import MOST_COMPONENTS, Choices
from endmember.app.core.regions import grid_of, penalties_of
from endmember.catalogue import PENALTIES
from endmember.errors import refuse_if
from endmember.factor.data import Data, one_blas_thread
from endmember.factor.loop import mixed, with_maps
from endmember.factor.sketch.low_rank import some_pixels
from endmember.signals.result.reporting import doubts

#: Directions that the sketch keeps.
DIRECTIONS = 2 * MOST_COMPONENTS
#: Seconds for the starts of the first picture, for finishing it on few pixels, and for all together.
FIRST_SECONDS, FEW_SECONDS, ALL_SECONDS = 0.05, 0.40, 0.75
#: Seconds for all starts of a run, on the sketch; what takes longer is left to the run.
STARTS_SECONDS = 8.0
#: Seconds between two questions whether a sketch is still waited for.
WAIT = 0.02
#: Starts of the first picture and its relative progress per sweep at which it stops.
STARTS, FIRST_TOLERANCE = 3, 1e-4


@dataclass(frozen=True, eq=False)
class Picture:
    """A live answer.

    Attributes
    ----------
    maps : ndarray, (*domain, k)
        Of a regular grid of the pixels in the first picture, else of all.
    spectra : ndarray, (k, channels)
        Of unit length.
    stage : str
        "first", "few pixels" or "all pixels"; the last twice, the second time after all starts.
    settled : bool
        Whether it is what a run gives: the best of as many starts, taken to its end, nothing left out, no rival found.
    seconds : float
        Since the request.
    left_out : str
        What was left out to be quick, in words; empty where nothing was.
    doubts : str
        Why another answer may be as good, in words; empty where nothing speaks for it.
    """

    maps: np.ndarray
    spectra: np.ndarray
    stage: str
    settled: bool
    seconds: float
    left_out: str = ""
    doubts: str = ""


class Sketches:
    """The sketches of one spectrum image, each made once in a thread of its own, for all who look at the image.

    Parameters
    ----------
    make : callable
        Takes ``None`` or ``"poisson"``, the ``scaling`` of :func:`em.compress`, and returns the sketch.
    """

    def __init__(self, make: Callable[[str | None], Data]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: dict[str | None, Future[tuple[Data, Data]]] = {}

    @classmethod
    def of(cls, signal: Any) -> "Sketches":
        """Return the sketches of a signal or an array in memory."""
        return cls(lambda scaling: em.compress(signal, DIRECTIONS, scaling=scaling))

    def get(self, loss: str, check: Callable[[], None] = lambda: None) -> tuple[Data, Data]:
        """Return the sketches of all pixels and of few that suit a loss; ``check`` is asked while they are made."""
        scaling = None if loss == "constant noise" else "poisson"
        with self._lock:
            future = self._made.get(scaling)
            if future is None or (future.done() and future.exception() is not None):
                future = self._made[scaling] = Future()
                threading.Thread(target=self._fill, args=(future, scaling), daemon=True).start()
        while not future.done():
            check()
            wait([future], WAIT)
        return future.result()

    def _fill(self, future: Future[Any], scaling: str | None) -> None:
        try:
            full = self._make(scaling)
            # What the sketch was made from stays out: the sketch takes its place.
            full.origin = replace(full.origin, data=full)
            future.set_result((full, _coarse(full)))
        except Exception as problem:  # becomes a message of whoever waits
            future.set_exception(problem)


class Live:
    """The models that one user tries on sketches.

    Parameters
    ----------
    data : Sketches, HyperSpy signal or ndarray, (*domain, channels)
    patience : float
        All times allowed are multiplied by it.
    """

    def __init__(self, data: Any, patience: float = 1.0) -> None:
        self._sketches = data if isinstance(data, Sketches) else Sketches.of(data)
        self._patience = patience
        self._ends: Any = (None, None, 0.0)

    def unmix(
        self, choices: Choices, show: Callable[[Picture], None], check: Callable[[], None], last: Any = None
    ) -> Picture:  # fmt: skip
        """Return the answer to the choices, and show what comes before it.

        Parameters
        ----------
        choices : Choices
        show : callable
            Takes every :class:`Picture` but the last: the first has the maps of few pixels, a regular grid of them.
        check : callable
            Called after every sweep; raises where the answer is no longer wanted.
        last : ndarray, (k, channels), optional
            Spectra to begin from, where there are as many as are asked for.

        Returns
        -------
        Picture
            Of all pixels, the best of as many starts as a run has; ``settled`` says whether the time sufficed.
        """
        if choices.way is not None:
            return self._between(choices, choices.way, check)
        full, few = self._sketches.get(choices.loss, check)
        began = time.perf_counter()
        choices, left_out = _quick(choices)

        def until(seconds: float) -> Callable[[Any], bool]:
            """Return the callback of a fit that stops at a time and asks whether to go on at all."""

            def callback(progress: Any) -> bool:
                check()
                return time.perf_counter() > began + seconds * self._patience

            return callback

        def picture(maps: np.ndarray, model: Any, stage: str, last: bool = False) -> Picture:
            said = " ".join(doubts(model)) if last else ""
            settled, taken = last and not (said or left_out), time.perf_counter() - began
            return Picture(maps, model.components_, stage, settled, taken, left_out, said)

        soon = until(FIRST_SECONDS)
        first = (
            _continued(few, choices, _all_maps(few, last, choices), last, soon)
            if last is not None and len(last) == choices.k
            else _fitted(few, choices, soon, n_starts=STARTS, tol=FIRST_TOLERANCE)
        )
        show(picture(first.maps_, first, "first"))
        best = _continued(few, choices, first.maps_, first.components_, until(FEW_SECONDS))
        maps = _all_maps(full, best.components_, choices)
        show(picture(maps, best, "few pixels"))
        end = _continued(full, choices, maps, best.components_, until(ALL_SECONDS))
        show(picture(end.maps_, end, "all pixels"))
        other = _fitted(full, choices, until(STARTS_SECONDS))
        if other.converged_ or other.objective_[-1] < end.objective_[-1]:
            end = other
        return picture(end.maps_, end, "all pixels", last=True)

    def _between(self, choices: Choices, way: float, check: Callable[[], None]) -> Picture:
        """Return an answer between the ends of what the data allow, which all fit equally well.

        At one end zeros are tested. From there a growing share of the mean of the image is in every pixel, as far as
        no spectrum is below zero beyond its noise (:func:`moved_apart`).
        """
        began, (plain, left_out) = time.perf_counter(), _quick(replace(choices, way=None))
        refuse_if(
            plain.constraints or plain.closure or any(plain.penalties.values()) or left_out,
            "answers between the ends fit equally well where nothing but the number of components and the noise is "
            "given: set all penalties to 0, and take closure and what is known off",
        )
        full, _ = self._sketches.get(plain.loss, check)
        if self._ends[0] != plain:
            model = _fitted(full, plain, lambda _: check(), maps=em.Absent("auto", mixed=True))
            C = _all_maps(full, model.other_end_, plain)
            amounts = C.reshape(-1, plain.k)
            even, mean = nnls(amounts, np.ones(len(amounts)))[0], amounts.mean(axis=0)
            self._ends = plain, partial(mixed, C, model.other_end_.T, even, mean), model.mixed_
        _, walk, most = self._ends
        C, S = walk(way * most)
        lengths = np.linalg.norm(S, axis=0)
        return Picture(
            C * lengths, (S / lengths).T, f"{way:.0%} of the way", False, time.perf_counter() - began,
            doubts=f"The mean of the image makes up {way * most:.1%} of every pixel. From maps as pure as the data "
            "allow to spectra as distinct all answers fit equally well; which is true, they do not say.",
        )  # fmt: skip


def _quick(choices: Choices) -> tuple[Choices, str]:
    """Return choices that a sketch can answer at once, and in words what they leave to a run."""
    exact = choices.loss == "counts, exact"
    chosen = [PENALTIES[name].words for name, one in choices.penalties.items() if one == "auto"]
    known = {
        name: weight
        for name, weight in choices.penalties.items()
        if weight != "auto" and name != "relevance"
    }
    left_out = (
        (exact, "counts are weighted, not exact"),
        (
            choices.penalties.get("relevance"),
            "all components are shown, none is dropped yet",
        ),
        (chosen, f"a run chooses the weight of: {', '.join(chosen)}; 0 here"),
    )
    quick = replace(choices, loss="counts, weighted" if exact else choices.loss, penalties=known)
    return quick, "; ".join(said for is_left, said in left_out if is_left)


def _fitted(data: Data, choices: Choices, callback: Callable[..., Any], **parameters: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the page says itself what has not converged
        return choices.model(data.origin.domain, compress=False, **parameters).fit(
            data, callback=callback
        )


def _continued(
    data: Data,
    choices: Choices,
    maps: np.ndarray,
    spectra: np.ndarray,
    callback: Callable[..., Any],
) -> Any:
    return _fitted(data, choices, callback, init=(np.asarray(maps, dtype=float), spectra))


def _coarse(full: Data) -> Data:
    """Return the sketch of the pixels of a regular grid: the map of each, stretched, lies where it belongs."""
    observed = full.origin
    grid, taken = grid_of(observed.domain), np.zeros(observed.domain, dtype=bool)
    taken[grid] = True
    domain = taken[grid].shape
    number = np.cumsum(taken.ravel()) - 1
    chosen = np.flatnonzero(taken.ravel()[observed.rows])
    low = some_pixels(full, chosen)
    low.origin = replace(
        observed, data=low, domain=domain, rows=number[observed.rows[chosen]], mask=None
    )
    return low


def _all_maps(data: Data, spectra: np.ndarray, choices: Choices) -> np.ndarray:
    """Return the maps of a sketch that go with given spectra, by non-negative least squares."""
    observed = data.origin
    loss = replace(choices, constraints=()).model().loss or em.SquaredError()
    S = np.asarray(spectra, dtype=np.float64).T[observed.columns]
    with one_blas_thread():
        maps = observed.maps(with_maps(loss.prepare(data), S)[0])
    for absent in penalties_of(choices.constraints, choices.k, observed.domain)["maps"]:
        maps[absent.mask] = 0.0
    return maps
