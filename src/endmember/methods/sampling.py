"""Artificial pure pixels: sampling what a signal subspace allows."""

import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from endmember.errors import Argument, EndmemberError, Sentence, refuse_if
from endmember.factor.columns import unit_columns
from endmember.factor.data import Data, Observed
from endmember.factor.geometry import extremes, subspace
from endmember.factor.loop import Problem, least_squares, start_maps
from endmember.methods.alternating import fitted_start
from endmember.methods.checks import (
    check_fits,
    generator,
    warn_of_negatives,
)
from endmember.methods.estimator import SpectralEstimator, stored

#: Times that the search is repeated with the noise of what it found.
ROUNDS = 3
#: Up to so many components a quick search takes the corners of a polytope, beyond it so many points of a walk.
MOST_CORNERS, POINTS = 5, 100


class SubspaceSampling(SpectralEstimator):
    r"""Signal subspace sampling and vertex component analysis (SSS + VCA).

    Every spectrum that k components can make lies in the subspace of the k leading principal
    components. Those that are nowhere negative and sum to one fill a polytope; the pure spectra are
    among them even where no pixel is pure. Points of the polytope are made, and vertex component analysis
    takes the k that span the largest volume. They are the pure spectra if each of these has a channel in which
    no other has intensity: characteristic lines of EDXS. With ``on="maps"`` the same is done with maps, for
    spectra that overlap everywhere (EELS): each component must then be alone in some pixels, which may be
    too noisy to be used one by one.

    Parameters
    ----------
    n_components : int
        How many components, k, at most min(pixels, channels).
    on : "spectra" or "maps"
        What is sampled.
    sampler : "vertices", "rejection" or "hit-and-run"
        "vertices" takes the corners of the polytope themselves (all of them up to k = 5, and those found in many
        directions beyond); "rejection" draws random scores and keeps what is allowed, as published, and comes less near
        to the corners the more components there are; "hit-and-run" walks through the polytope.
    slack : float
        How many standard errors below zero a channel (a pixel) may be, because noise takes it there.
    sharpen : bool
        Whether every spectrum found is refined by all the channels in which it is zero within noise, and not only by
        those that the polytope touches.
    n_samples : int
        Points of "rejection" and "hit-and-run".
    spread : float
        How many times wider than the scores of the data those of "rejection" are drawn.
    n_starts : int
        Runs of the vertex component analysis.
    random_state : int, numpy Generator, RandomState or None

    Attributes
    ----------
    components_ : ndarray, (k, n_channels)
        Of unit length, not negative; NaN at masked channels.
    maps_ : ndarray, (*domain, k)
        By non-negative least squares; NaN at masked pixels.
    unique_ : bool
        Whether every component has a channel (a pixel) of its own, as far as noise lets see. If not, other
        answers fit as well, and a warning says so. The converse is an assumption: components that have some
        intensity everywhere are given as little of each other as the data allow.
    own_ : ndarray of int, (k,)
        How many channels (pixels) each component has to itself.
    samples_ : ndarray, (points, k)
        The points as mixtures of the components found, which sum to one; negative entries lie outside of their simplex.
    acceptance_ : float
        Share of the points drawn that "rejection" kept; 1 for the other samplers.
    n_components_, n_features_in_ : int
        How many components there are in the answer, and channels in the data.

    Notes
    -----
    The noise is measured from what k components leave unexplained. Values of any type that are whole numbers of one
    unit, none negative, are taken for counts, and their subspace is found after weighting by counts (Keenan & Kotula
    2004). The standard error of channel j of the point z is :math:`\sigma_j (\sum_k z_k^2/s_k^2)^{1/2}` with the
    singular values s.

    References
    ----------
    Spiegelberg, Muto, Ohtsuka, Pelckmans & Rusz, Ultramicroscopy 182 (2017) 205. Muto & Shiga, Microscopy 69
    (2020) 110.

    Examples
    --------
    >>> spectra = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> sss = SubspaceSampling(2).fit(np.array([[0.7, 0.3], [0.5, 0.5], [0.4, 0.6]]) @ spectra)
    >>> np.sort(sss.components_ / sss.components_.max(), axis=0).round(6)
    array([[0., 1., 0.],
           [1., 1., 1.]])
    """

    in_words = (
        "{n_components} components were found by signal subspace sampling (SSS) on the {on} with {sampler} and a slack "
        "of {slack:g} standard errors, followed by vertex component analysis (VCA)"
    )
    references = (
        "J. Spiegelberg, S. Muto, M. Ohtsuka, K. Pelckmans and J. Rusz, Ultramicroscopy 182 (2017) 205.",
        "J. M. P. Nascimento and J. M. Bioucas-Dias, IEEE Trans. Geosci. Remote Sens. 43 (2005) 898.",
    )

    takes_weights = False
    _choices = {
        "on": ("spectra", "maps"),
        "sampler": ("vertices", "rejection", "hit-and-run"),
        "sharpen": (True, False),
    }
    _whole = ("n_samples", "n_starts")

    @stored
    def __init__(
        self,
        n_components: int | None = None,
        *,
        on: str = "spectra",
        sampler: str = "vertices",
        slack: float = 3.0,
        sharpen: bool = True,
        n_samples: int = 10_000,
        spread: float = 3.0,
        n_starts: int = 20,
        random_state: Any = None,
    ) -> None:
        """Keep the parameters."""

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("slack", "spread"):
            value = getattr(self, name)
            number = isinstance(value, Real) and not isinstance(value, bool)
            refuse_if(
                not (number and 0 < float(value) < np.inf),
                f"{name}={value!r} must be a positive number, such as 3",
            )

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Any) -> None:
        k = check_fits(self, observed)
        warn_of_negatives(observed)
        rng, data = generator(self.random_state), observed.weighted_by_counts()
        spaces = subspace.subspaces(data, k, rng)
        space = spaces[0] if self.on == "spectra" else spaces[1]
        points, found = self._search(space, _scores(data, space, self.on), rng)
        if self.sharpen:
            found = subspace.sharpen(space, found, self.slack)
        self.samples_ = np.linalg.lstsq(found.T, points.T, rcond=None)[0].T
        self.own_ = subspace.own_rows(space, found, self.slack)
        self.unique_ = bool(self.own_.all())
        self._keep(observed, data, np.maximum(space.V @ found.T, 0.0))
        if not self.unique_:
            self._warn()

    def _search(
        self, space: subspace.Subspace, scores: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the points sampled and the k of the largest volume, (·, k) and (k, k).

        Noise moves extreme points farther than the mean; so the search is repeated with the
        standard errors at what was found.
        """
        found = None
        for _ in range(ROUNDS):
            points = self._points(subspace.polytope(space, self.slack, found), scores, rng)
            refuse_if(
                len(points) < len(space.typical),
                f'only {len(points)} of the random points were non-negative; use sampler="vertices", '
                "more slack, or a spread nearer to 1",
            )
            runs = [extremes.vertex_components(points, rng) for _ in range(self.n_starts)]
            found = points[extremes.grow_simplex(points, extremes.largest_of(points, runs))]
        assert found is not None
        return points, found

    def _points(
        self, polytope: subspace.Polytope, scores: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        self.acceptance_ = 1.0
        if self.sampler == "vertices" or polytope.frame.shape[1] == 0:
            return subspace.corners(polytope, rng)
        if self.sampler == "hit-and-run":
            return subspace.hit_and_run(polytope, self.n_samples, rng)
        points, self.acceptance_ = subspace.rejection(
            polytope, scores, self.n_samples, self.spread, rng
        )
        return points

    def _keep(self, observed: Observed, data: Data, F: np.ndarray) -> None:
        """Learn spectra and maps from what was found: spectra (m, k) or maps (n, k)."""
        empty = np.zeros((data.shape[1], F.shape[1]))
        S = unit_columns(F if self.on == "spectra" else least_squares(data, [F, empty], 1))
        self._learn(observed, self._maps_of(observed, S), S)

    def _warn(self) -> None:
        place = "channel" if self.on == "spectra" else "pixel"
        without = ", ".join(str(i + 1) for i in np.flatnonzero(self.own_ == 0))
        other, where = (
            ("maps", "each component is alone somewhere in the image")
            if self.on == "spectra"
            else ("spectra", "each spectrum has a peak of its own")
        )
        warnings.warn(
            Sentence(
                f"no {place} belongs to one component alone (component {without}), so other answers fit as well",
                Argument("", says=" (unique_ is False)"),
                "; try ",
                Argument("on", other, f'on="{other}"'),
                f" if {where}, or ",
                Argument("method", "NMF", "em.NMF"),
                " with constraints",
            ),
            UserWarning,
            stacklevel=4,
        )


def quick_sampling(k: int, on: str) -> SubspaceSampling:
    """Return a sampling that takes a fraction of a second: beyond a few components corners cost too much."""
    how: dict[str, Any] = (
        {"sampler": "hit-and-run", "n_samples": POINTS} if k > MOST_CORNERS else {}
    )
    return SubspaceSampling(k, on=on, random_state=0, **how)


def sampled_starts(
    problem: Problem, observed: Observed, k: int, modes: Iterable[int]
) -> list[list[np.ndarray]]:
    """Return starts at which every component is alone in some pixels, or channels; none where there are none."""
    found, observed = [], replace(observed, data=problem.data.matrix)
    with warnings.catch_warnings(action="ignore"):
        for mode in modes:
            sampling = quick_sampling(k, ("maps", "spectra")[mode])
            with suppress(EndmemberError):
                _, S = fitted_start(sampling, problem, observed, k)
                found.append(start_maps(problem, S))
    return found


def _scores(data: Data, space: subspace.Subspace, on: str) -> np.ndarray:
    """Return the data as points of the subspace with the sum one, (·, k); those too faint are left out."""
    factor = np.linalg.pinv(space.V).T
    scores = data.dot(factor) if on == "spectra" else data.transposed_dot(factor)
    total = scores @ space.total
    bright = total > 1e-3 * np.max(total, initial=0.0)
    return scores[bright] / total[bright, None]
