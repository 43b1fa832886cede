"""How far an answer could be different and fit as well: bands of feasible spectra and maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from endmember.errors import EndmemberTypeError, refuse_if
from endmember.factor.data import (
    Data,
    Explained,
    Grid,
    Observed,
    given,
    observe,
    one_blas_thread,
    row_blocks,
)
from endmember.factor.geometry.feasible import Feasible, three_components, two_components
from endmember.factor.geometry.rotations import Fixed, sampled
from endmember.factor.loop import Callback, Progress
from endmember.factor.matching import spectral_angle
from endmember.factor.penalties import bounds_of, resolve
from endmember.factor.sketch.low_rank import sketch
from endmember.factor.solvers import ANLS
from endmember.factor.subproblems import Quadratic
from endmember.methods.estimator import SpectralEstimator
from endmember.show.shown import Shown

#: A component whose band takes less than this share of its spectrum is fixed by the data.
FIXED = 0.05
#: Data are free of noise where as many directions as components leave this much less than the fit.
FREE_OF_NOISE = 0.5
#: Sweeps that bring an answer to the exact factors of data free of noise.
POLISH = 500
#: Bands are drawn this much wider, in parts of the largest entry: what rounding leaves uncertain.
ROUNDING = 2e-7
#: Bands hold so many standard errors of what noise makes of a mixture.
NOISE = 2.0
#: Entries of an envelope that are worked out at a time.
BLOCK = 2**22


@dataclass(frozen=True, eq=False, repr=False)
class Bands(Shown):
    """Between which spectra and maps the data cannot tell.

    Every spectrum has unit sum, and maps have the scale that goes with it. The bands are pointwise:
    not every curve between them is feasible.

    Attributes
    ----------
    spectra_low, spectra_high : ndarray, (k, n_channels)
        NaN at masked channels.
    maps_low, maps_high : ndarray, (*domain, k)
        NaN at masked pixels.
    spectra : ndarray, (k, n_channels)
        Those of the answer, of unit sum.
    exact : bool
        Whether the bands are the extremes (two and three components); otherwise an inner estimate:
        the truth may be still less certain.
    touching : bool
        Whether the regions of the components are connected: then all have one and the same band.
    width : ndarray, (k,)
        Area of the band over the area of the spectrum.
    angle : ndarray, (k,)
        How far from that of the answer a feasible spectrum may be, in degrees.
    """

    spectra_low: np.ndarray
    spectra_high: np.ndarray
    maps_low: np.ndarray
    maps_high: np.ndarray
    spectra: np.ndarray
    exact: bool
    touching: bool
    width: np.ndarray
    angle: np.ndarray

    @property
    def fixed(self) -> np.ndarray:
        """Which components the data fix, (k,) bool: the band has collapsed."""
        return self.width < FIXED

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if self.fixed.all():
            return "All components are fixed by the data: no other factors fit as well."
        free = ", ".join(str(j + 1) for j in np.flatnonzero(~self.fixed))
        several = np.count_nonzero(~self.fixed) > 1
        at_least = "" if self.exact else "at least "
        touching = " The components are not even told apart." if self.touching else ""
        return (
            f"Component{'s' if several else ''} {free} {'are' if several else 'is'} not fixed by the data: "
            f"other spectra, {at_least}up to {np.max(self.angle):.1f}° away, fit as well.{touching} "
            "What you know of them (zeros, references, disjoint phases) narrows the bands."
        )

    def plot(self, energy: Any = None, energy_label: str = "Channel") -> Any:
        """Draw every spectrum with its band behind it; returns a matplotlib Figure.

        Parameters
        ----------
        energy : array_like, (n_channels,), optional
        energy_label : str
            With its unit.
        """
        from endmember.show.drawing import draw_spectrum
        from endmember.show.page import blank_figure, head, palette

        k, channels = self.spectra.shape
        energy = np.arange(channels) if energy is None else np.asarray(energy, dtype=float)
        figure = blank_figure(6.5, 0.7 + 1.35 * k, "Bands of feasible spectra")
        rows = figure.subplots(k, 1, sharex=True, squeeze=False)[:, 0]
        for j, (axes, colour) in enumerate(zip(rows, palette(k), strict=True)):
            draw_spectrum(axes, energy, self.spectra_high[j], colour="none")
            axes.fill_between(
                energy, self.spectra_low[j], self.spectra_high[j], color=colour, alpha=0.3, lw=0
            )
            draw_spectrum(axes, energy, self.spectra[j], colour=colour)
            said = "fixed by the data" if self.fixed[j] else f"up to {self.angle[j]:.1f}° away"
            head(axes, f"Component {j + 1}: {said}")
        rows[-1].set_xlabel(energy_label)
        return figure


def ambiguity(
    fitted: Any,
    X: Any = None,
    *,
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    domain: tuple[int, ...] | None = None,
    callback: Callback | None = None,
    slack: float | None = None,
    random_state: int = 0,
) -> Bands:
    r"""Say between which spectra and maps the data cannot tell.

    Every :math:`C T^{-1}, T S^\top` without negative entries fits as well as :math:`C, S^\top`. The band of
    a spectrum is what all of them leave it: in closed form for two components, the area of
    feasible solutions for three, for more an inner estimate from walks through the feasible set.
    To its ends two standard errors are added of what noise makes of the mixture that lies there.
    Entries that the model holds (:class:`em.Known`, :class:`em.Absent`, :class:`em.ZeroOutside`) stay held, and the
    estimate is an inner one then; closure fixes no more than the scale of maps. Penalties on shape
    (smooth, unimodal) are not asked: they would narrow the bands.

    Parameters
    ----------
    fitted : fitted estimator or Unmixing
        With non-negative maps and spectra.
    X : array_like, sparse matrix, Dask array or HyperSpy signal, (*domain, n_channels)
        The data of the fit; an ``Unmixing`` reads its own again unless they are given.
    mask, channel_mask, weights, domain
        As in the fit; the image is that of the fitted maps unless given.
    callback : callable, optional
        Gets the progress before each of the two steps; there is no best so far to stop at.
    slack : float, optional
        How far below zero noise may take an entry, in standard errors; unless given as far as the
        largest of as many normal numbers is expected.
    random_state : int
        For the walks.

    Returns
    -------
    Bands

    Raises
    ------
    ValueError
        If a factor may be negative, or a spectrum has no positive sum.

    References
    ----------
    Lawton & Sylvestre, Technometrics 13 (1971) 617. Borgen & Kowalski, Anal. Chim. Acta 174 (1985)
    1. Tauler, J. Chemom. 15 (2001) 627. Sawall et al., J. Chemom. 27 (2013) 106.

    Examples
    --------
    >>> import endmember as em
    >>> maps, spectra = np.eye(3).repeat(2, axis=0), np.eye(3).repeat(3, axis=1)
    >>> bands = ambiguity(em.NMF(3, random_state=0).fit(maps @ spectra), maps @ spectra)
    >>> bands.fixed.tolist(), bands.exact
    ([True, True, True], True)
    """
    model, X, options = given_fit(fitted, X, mask, channel_mask, weights, domain)
    tell = callback or (lambda progress: None)
    with one_blas_thread():
        explained = model.explained(observe(X, **options, keep_empty=True))
        if explained.C.shape[1] == 1:
            return _alone(model)
        observed, answer = explained.observed, _Answer(explained)
        entries = known_entries(model, observed, answer.k, "ambiguity")
        fixed = Fixed(entries[1], (answer.C.T / np.max(answer.C) > ROUNDING) @ entries[0])
        tell(Progress("feasible spectra", 1, math.nan))
        found = answer.feasible(
            fixed if fixed.spectra.any() or fixed.maps.any() else None,
            slack,
            np.random.default_rng(random_state),
        )
        tell(Progress("bands", 2, math.nan))
        return answer.bands(found, observed)


def given_fit(
    fitted: Any,
    X: Any,
    mask: Any,
    channel_mask: Any,
    weights: Any,
    domain: tuple[int, ...] | None = None,
) -> tuple[Any, Any, dict[str, Any]]:
    """Return the fitted model, its data and the options of the fit."""
    options = {"mask": mask, "channel_mask": channel_mask, "weights": weights, "domain": domain}
    if hasattr(fitted, "model") and hasattr(fitted, "data_again"):
        options |= {
            name: value for name, value in fitted.options.items() if options.get(name) is None
        }
        return fitted.model, fitted.data_again() if X is None else X, options
    refuse_if(
        not isinstance(fitted, SpectralEstimator) or "maps_" not in fitted.learned(),
        f"{fitted!r} is not fitted; give a fitted model with its data, or what em.unmix returned",
        kind=EndmemberTypeError,
    )
    refuse_if(
        X is None,
        "the data are missing: give a fitted model together with its data",
        kind=EndmemberTypeError,
    )
    X, shape = given(X), np.shape(fitted.maps_)[:-1]
    if domain is None and len(shape) > 1 and X.shape[:-1] == (math.prod(shape),):
        options["domain"] = shape
    return fitted, X, options | {"exposure": fitted.learned().get("exposure_")}


def _alone(model: Any) -> Bands:
    """Return the bands of a single component, which nothing can be mixed with."""
    spectrum = model.flat_components / np.nansum(model.components_)
    maps = model.maps_ * np.nansum(model.components_)
    return Bands(
        spectrum, spectrum, maps, maps, spectrum, exact=True, touching=False,
        width=np.zeros(1), angle=np.zeros(1),
    )  # fmt: skip


class _Answer:
    """Maps and spectra of an answer at the pixels and channels that took part, spectra of unit sum."""

    def __init__(self, explained: Explained) -> None:
        data, C, S = explained.observed.data.plain, explained.C, explained.S
        self.k, self.free_of_noise = S.shape[1], False
        if not data.weighted:
            C, S = self._exact(data, C, S)
        total = S.sum(axis=0)
        refuse_if(
            not (total > 0).all(),
            f"component {int(np.argmin(total > 0)) + 1} has no positive sum, so that nothing "
            "can be said of what it could be; em.assess.ambiguity needs non-negative spectra",
        )
        self.S, self.C = S / total, C * total
        by_pixel, by_channel = data.squares_left(self.C, self.S)
        self.by_pixel, self.by_channel = by_pixel / len(S), by_channel / len(C)

    def _exact(self, data: Data, C: np.ndarray, S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the exact factors next to an answer, where the data have as many directions as components."""
        low = sketch(data, self.k, 0)
        left = max(data.squared_norm - float(np.vdot(low.Z, low.Z)), 0.0)
        if left > FREE_OF_NOISE**2 * 2.0 * data.misfit([C, S]):
            return C, S
        self.free_of_noise = True
        if self.k > 3:
            for _ in range(POLISH):
                S = ANLS().improve(Quadratic(C.T @ C, low.transposed_dot(C)), S, len(C))
                C = ANLS().improve(Quadratic(S.T @ S, low.dot(S)), C, len(S))
        S = low.V @ (low.V.T @ S)
        return np.linalg.solve(S.T @ S, low.dot(S).T).T, S

    def feasible(
        self, fixed: Fixed | None, slack: float | None, rng: np.random.Generator
    ) -> Feasible:
        """Return the feasible set with the slack that noise asks for."""
        room, drawn = self._slack(slack)
        totals = self.C.sum(axis=1)
        bright = totals > 1e-12 * np.max(totals, initial=0.0)
        points = self.C[bright] / totals[bright, None]
        inwards = np.minimum(drawn[bright] / totals[bright], 1.0)[:, None]
        points = points + inwards * (points.mean(axis=0) - points)
        if fixed is None and self.k == 2:
            return two_components(self.S, room, points)
        walked = sampled(self.S, room, points, totals[bright], fixed, rng)
        if fixed is not None or self.k > 3:
            return walked
        exact = three_components(self.S, room, points)
        return exact if exact.touching else exact.joined(walked)

    def _slack(self, slack: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Return how far noise takes a channel below zero, and how far inwards a pixel is drawn."""
        if self.free_of_noise:
            return np.zeros(len(self.S)), np.zeros(len(self.C))
        spread = [
            np.sqrt(np.max(np.diag(np.linalg.pinv(F.T @ F)))) for F in (self.C, self.S)
        ]  # fmt: skip
        times = [
            np.sqrt(2 * np.log(max(len(F), 2))) if slack is None else slack
            for F in (self.S, self.C)
        ]
        room = times[0] * spread[0] * np.sqrt(self.by_channel)
        return room, self.k * times[1] * spread[1] * np.sqrt(self.by_pixel)

    def bands(self, found: Feasible, observed: Observed) -> Bands:
        """Return the envelopes of the feasible set."""
        low, high = _envelopes(found.corners, self.S)
        width = (high - low).sum(axis=0)
        noisy = 0.0 if self.free_of_noise else NOISE
        low, high = _rounded(*_envelopes(found.corners, self.S, self.C, noisy**2 * self.by_channel))
        below, above = _rounded(*_envelopes(found.duals, self.C, self.S, noisy**2 * self.by_pixel))
        angle = [
            np.max(spectral_angle(_corners(corners) @ self.S.T, self.S[:, j]), initial=0.0)
            for j, corners in enumerate(found.corners)
        ]
        return Bands(
            observed.spectra(low), observed.spectra(high),
            observed.maps(below) * observed.unit, observed.maps(above) * observed.unit,
            observed.spectra(self.S), found.exact, found.touching,
            width, np.array(angle),
        )  # fmt: skip


def known_entries(model: Any, observed: Observed, k: int, asked: str) -> list[np.ndarray]:
    """Return which entries of maps (n, k) and spectra (m, k) a model holds; refuse factors that may be negative."""
    entries, negative = fixed_entries(model, observed, k)
    refuse_if(
        negative,
        f"the {negative} may be negative (em.Free()), so that nothing limits what they could be; "
        f"em.assess.{asked} needs non-negative factors",
    )
    return entries


def fixed_entries(model: Any, observed: Observed, k: int) -> tuple[list[np.ndarray], str]:
    """Return which entries of maps (n, k) and spectra (m, k) a model holds, and which factor may be negative."""
    found, negative = [np.zeros((size, k), bool) for size in observed.data.shape], ""
    grids = [
        Grid(observed.domain, observed.rows, observed.domain_known),
        Grid((observed.n_channels,), observed.columns, axis=observed.axis),
    ]
    for name, fixed, grid in zip(("maps", "spectra"), found, grids, strict=True):
        if hasattr(model, name):
            lower, upper = bounds_of(
                resolve(getattr(model, name), name, tested=True), fixed.shape, grid
            )
            negative = negative or ("" if np.all(np.isfinite(lower)) else name)
            fixed |= np.equal(lower, upper)
    return found, negative


def _envelopes(
    regions: Sequence[np.ndarray],
    F: np.ndarray,
    Z: np.ndarray | None = None,
    variance: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest of ``points @ F.T`` of every region that is not negative, (n, k) each.

    Of noise with so large a ``variance`` in every row, beside the other factor ``Z``, a mixture holds the more the
    farther it is from the answer: it is taken off and added.
    """
    low, high = np.empty((2, len(F), len(regions)))
    for j, points in enumerate(map(_corners, regions)):
        spread = 0.0 * points[:, 0]
        if Z is not None:
            spread = np.sqrt(np.sum(points @ np.linalg.pinv(Z.T @ Z) * points, axis=1))
        for rows in row_blocks(len(F), len(points), BLOCK):
            values = F[rows] @ points.T
            noise = 0.0 if variance is None else np.sqrt(variance[rows, None]) * spread
            low[rows, j] = (values - noise).min(axis=1)
            high[rows, j] = (values + noise).max(axis=1)
    return np.maximum(low, 0.0), np.maximum(high, 0.0)


def _rounded(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bands wide enough for what rounding leaves uncertain."""
    margin = ROUNDING * np.max(high, axis=0)
    return np.maximum(low - margin, 0.0), high + margin


def _corners(points: np.ndarray) -> np.ndarray:
    """Return those of the points (n, k) that span all others; extremes of what is linear lie there."""
    points = np.unique(points, axis=0)
    seen = points[:, 1:] if (np.ptp(points.sum(axis=1)) < 1e-9) else points
    if not 1 < seen.shape[1] < 5 or len(points) <= seen.shape[1] + 1:
        return points
    try:
        return points[ConvexHull(seen).vertices]
    except QhullError:  # all in one plane, or collapsed to a point
        return points
