"""Second opinions: other answers to the same data, each from another assumption, on the few directions of a sketch."""

import time
import warnings
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone

from endmember.errors import EndmemberError
from endmember.factor.columns import unit_columns
from endmember.factor.data import Lazy, Observed
from endmember.factor.loop import (
    Fit,
    Problem,
    alternate,
    default_solvers,
    excess_of_clipped,
    moved_apart,
    with_maps,
)
from endmember.factor.penalties import MinimumVolume, NonNegative, SumToOne
from endmember.factor.sketch.low_rank import with_directions
from endmember.methods.alternating import fitted_start
from endmember.methods.estimator import SpectralEstimator
from endmember.methods.nmf import NMF
from endmember.methods.projections import ICA
from endmember.methods.sampling import quick_sampling

#: Sweeps of an opinion at most, and the progress at which it stands still.
SWEEPS, STILL = 100, 1e-4
#: Weight of a minimum volume.
TIGHT = 0.002
#: A cone is widened while clipped amounts leave more than this of what noise explains. A smaller volume may cost this
#: of what k spectra gain by following noise: less than what counts as an equal fit.
WIDENED, GIVEN = 0.8, 0.9
#: How far either goes is tried at these shares of the way, closer together where it begins.
WAY = np.linspace(0.0, 1.0, 17) ** 2


@dataclass(frozen=True)
class Opinion:
    """An answer: the model that stands for it, its misfit and yardstick (root mean square) and what it took.

    The yardstick has the weights of counts, and leaves out what noise took below zero and clipping left unexplained.
    """

    model: SpectralEstimator
    misfit: float
    yardstick: float
    seconds: float


def second_opinions(model: NMF, observed: Observed) -> dict[str, Opinion]:
    """Return the answer of a fitted model, first and called "this answer", and others by what they assume.

    Signal subspace sampling on maps and on spectra, independent derivatives, minimum volume, the other end of mixed
    pixels and like spectra, and the answer widened towards a plain NMF as far as noise bears. Maps and spectra are
    non-negative in all of them. What cannot be found is left out.
    """
    problem, k = observed.judged, model.n_components_
    S = np.asarray(model.flat_components.T[observed.columns], dtype=float)
    C = model.maps_.reshape(-1, k)[observed.rows] / observed.unit
    if k < 2 or observed.data.weighted or (problem is None and isinstance(observed.data, Lazy)):
        return {}
    if problem is None:
        problem = model._white(model._problem(observed), observed)
    whole = problem.data.matrix
    problem = replace(
        problem, data=with_directions(model._compressed(whole, k, problem.loss), whole, S),
        penalties=[[NonNegative()]] * 2, settings=None,
    )  # fmt: skip
    factors = with_maps(problem.data, S)
    found = {"this answer": _opinion(model, problem, observed, factors, 0.0)}
    for name, own, find in _asked(
        model, problem, replace(observed, data=problem.data.matrix), [C, S]
    ):
        begun = time.perf_counter()
        with (
            warnings.catch_warnings(action="ignore"),
            suppress(EndmemberError, np.linalg.LinAlgError),
        ):
            factors = with_maps(problem.data, unit_columns(np.maximum(find()[1], 0.0)))
            own = clone(own).restored(
                {
                    "components_": observed.spectra(factors[1]),
                    "maps_": observed.maps(factors[0]) * observed.unit,
                    "n_components_": k,
                }
            )
            found[name] = _opinion(own, problem, observed, factors, time.perf_counter() - begun)
    return found


def _opinion(
    model: Any, problem: Problem, observed: Observed, factors: list[np.ndarray], seconds: float
) -> Opinion:
    """Return an answer with its misfits."""
    data = problem.data.matrix
    squares, size = 2 * data.misfit(factors), data.shape[0] * data.shape[1]
    clipped = problem.noise_left(factors) * np.count_nonzero(factors[0] <= 0)
    plain = np.prod([np.sqrt(np.mean(scale**-2.0)) for scale in data.scales]) * observed.unit
    fair = np.sqrt(max(squares - clipped, 0.0) / size)
    return Opinion(model, float(plain * np.sqrt(squares / size)), float(fair), seconds)


def _asked(
    model: NMF, problem: Problem, observed: Observed, factors: list[np.ndarray]
) -> Iterator[tuple[str, SpectralEstimator, Callable[[], Sequence[Any]]]]:
    """Yield every opinion: its name, the model that stands for it, and what finds its maps and spectra."""
    k, plain = model.n_components_, NMF(model.n_components_, loss=problem.loss)
    for name, other in (
        ("SSS on maps", quick_sampling(k, "maps")),
        ("SSS on spectra", quick_sampling(k, "spectra")),
        ("independent derivatives", ICA(k, independent="derivatives", random_state=0)),
    ):
        yield name, other, partial(fitted_start, other, problem, observed, k)
    small = clone(plain).set_params(maps=SumToOne(mode="scale"), spectra=MinimumVolume(TIGHT))
    yield "minimum volume", small, partial(_tightened, small, problem, factors)
    if "mixed_" in model.learned():
        ends = factors[0], model.other_end_.T[observed.columns].astype(float)
        yield "pure maps", plain, lambda: ends
    else:
        yield "distinct spectra", plain, lambda: moved_apart(problem, factors)[0]
        yield "a wider cone", plain, partial(_widened, plain, problem, factors)


def _improved(model: NMF, problem: Problem, factors: list[np.ndarray]) -> list[np.ndarray]:
    """Return factors near those given that are best with the penalties of a model, as far as few sweeps lead."""
    penalties = list(model._penalties().values())
    other = replace(problem, penalties=penalties).settled(factors)
    solvers = default_solvers(problem.loss, penalties, factors[0].shape[1])
    return alternate(other, Fit(list(factors)), solvers, max_iter=SWEEPS, tol=STILL).factors


def _widened(model: NMF, problem: Problem, factors: list[np.ndarray]) -> list[np.ndarray]:
    """Return factors whose spectra lie between these and those of a plain NMF, as wide as the noise bears."""
    return _as_far(
        model, problem, factors, lambda S: np.nanmean(excess_of_clipped(problem, S)) > WIDENED
    )


def _tightened(model: NMF, problem: Problem, factors: list[np.ndarray]) -> list[np.ndarray]:
    """Return factors whose spectra lie between these and those of a penalty, as far as they fit as well."""
    data, gain = problem.data.matrix, factors[1].size / 2 * problem.noise_left(factors)
    most = data.misfit(factors) + GIVEN * gain
    return _as_far(
        model, problem, factors, lambda S: data.misfit(with_maps(problem.data, S)) <= most
    )


def _as_far(
    model: NMF, problem: Problem, factors: list[np.ndarray], bears: Callable[[np.ndarray], bool]
) -> list[np.ndarray]:
    """Return the spectra on the way to those of a model that lie as far as is borne, twice: maps are found for them."""
    near, far = (unit_columns(F[1]) for F in (factors, _improved(model, problem, factors)))
    last = bisect(WAY[1:], 0, key=lambda share: not bears(near + share * (far - near)))
    return [near + WAY[last] * (far - near)] * 2
