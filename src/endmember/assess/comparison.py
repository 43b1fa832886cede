"""Several models of the same data side by side: where they agree, where they differ, and what that says."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from endmember.assess.bands import Bands, ambiguity
from endmember.errors import EndmemberTypeError, refuse_if
from endmember.factor.data import Data, Explained, observe
from endmember.factor.loop import Callback
from endmember.factor.matching import match_components, spectral_angle
from endmember.methods.estimator import SpectralEstimator
from endmember.show.shown import Shown

logger = logging.getLogger("endmember")

#: Spectra this close, in degrees, are the same to any eye.
SAME = 0.5
#: Spectra agree that are no further apart than this many times what noise explains.
TIMES_NOISE = 3.0
#: Models fit equally well whose misfits differ by less than this share of what a fit gains by following noise.
EQUAL = 1.0
#: A band is wide from this angle on, in degrees.
WIDE = 5.0
#: That noise explains an angle of so many degrees says nothing.
LOOSE = 30.0


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Shown):
    """Several answers to one question, their components in one order.

    Attributes
    ----------
    names : tuple of str
        Of the models.
    models : tuple of estimators
        Fitted.
    spectra : ndarray, (models, k, n_channels)
        Of unit length, in the order of the first model, or of the truth if given. NaN where a model has no
        such component, and at masked channels.
    maps : tuple of ndarray, (*domain, k)
        One for each model, on the scale of the spectra.
    angles : ndarray, (models, models, k)
        Between the spectra of two models, in degrees; NaN where one has no such component.
    noise : ndarray, (models, k)
        The angle by which noise alone turns each spectrum.
    misfit : ndarray, (models,)
        Root mean square of the residual.
    excess : ndarray, (models,)
        How much the squared residual (of counts: weighted as Keenan and Kotula do) lies above the lowest, in
        units of what a fit gains by following noise.
    seconds : ndarray, (models,)
        What each fit took.
    truth : ndarray, (models, k), optional
        Angles to the true spectra, in degrees.
    bands : Bands, optional
        What other answers fit as well as that of the first model.
    energy : ndarray, (n_channels,)
    energy_label : str
    component_names : tuple of str
    same_data : bool
        Whether all were fitted to the same data, so that misfits can be compared.
    """

    names: tuple[str, ...]
    models: tuple[Any, ...]
    spectra: np.ndarray
    maps: tuple[np.ndarray, ...]
    angles: np.ndarray
    noise: np.ndarray
    misfit: np.ndarray
    excess: np.ndarray
    seconds: np.ndarray
    truth: np.ndarray | None
    bands: Bands | None
    energy: np.ndarray
    energy_label: str
    component_names: tuple[str, ...]
    same_data: bool = True

    @property
    def agreement(self) -> np.ndarray:
        """Largest angle between matched spectra of two models, (models, models), in degrees."""
        return np.nanmax(self.angles, axis=-1, initial=0.0)

    @property
    def agree(self) -> np.ndarray:
        """Whether two models agree, (models, models) bool: no component differs by more than noise explains."""
        allowed = TIMES_NOISE * np.hypot(self.noise[:, None], self.noise[None, :])
        within = np.isnan(self.angles) | (self.angles <= np.maximum(allowed, SAME))
        count = np.isfinite(self.noise).sum(axis=1)
        return within.all(axis=-1) & (count[:, None] == count[None, :])

    @property
    def groups(self) -> list[list[str]]:
        """Models that agree with one another, the largest group first."""
        agree = self.agree
        groups: list[list[int]] = []
        for i in np.argsort(-agree.sum(axis=1), kind="stable"):
            home = next((group for group in groups if agree[i, group].all()), None)
            if home is None:
                groups.append([i])
            else:
                home.append(i)
        ordered = sorted(groups, key=lambda group: (-len(group), min(group)))
        return [[self.names[i] for i in sorted(group)] for group in ordered]

    @property
    def consensus(self) -> np.ndarray | None:
        """Mean spectra of the largest group that agrees, of unit length, (k, n_channels); None where no two agree."""
        members = [self.names.index(name) for name in self.groups[0]]
        mean = np.nanmean(self.spectra[members], axis=0)
        length = np.sqrt(np.nansum(mean**2, axis=1, keepdims=True))
        return mean / length if len(members) > 1 else None

    @property
    def sentence(self) -> str:
        """What the comparison says, in words."""
        said = [self._on_misfit(), self._on_agreement(), self._on_bands(), self._conclusion()]
        return " ".join(part for part in said if part)

    def _equal(self) -> list[str]:
        """Return the models that fit equally well."""
        return [
            name for name, excess in zip(self.names, self.excess, strict=True) if excess <= EQUAL
        ]

    def _on_misfit(self) -> str:
        if not self.same_data:
            return "The data differ, so that misfits cannot be compared."
        worse = [name for name in self.names if name not in self._equal()]
        return (
            f"{_listed(self.names)} fit the data equally well."
            if not worse
            else f"{_listed(worse)} {'fits' if len(worse) == 1 else 'fit'} worse than {_listed(self._equal())}."
        )

    def _on_agreement(self) -> str:
        groups = self.groups
        if len(groups) == 1:
            return _as_noise_allows("All", self.agreement.max())
        if len(groups[0]) == 1:
            apart = self.agreement[np.triu_indices(len(self.names), 1)]
            return (
                f"They disagree: their spectra are up to {apart[0]:.1f}° apart."
                if len(apart) == 1
                else f"No two agree: their spectra are {apart.min():.1f}° to {apart.max():.1f}° apart."
            )
        return " ".join(self._on_group(group, groups[0]) for group in groups)

    def _on_group(self, group: Sequence[str], first: Sequence[str]) -> str:
        inside, other = ([self.names.index(name) for name in names] for names in (group, first))
        said = ""
        if len(group) > 1:
            said = _as_noise_allows(_listed(group), self.agreement[np.ix_(inside, inside)].max())
        if group is first:
            return said
        other = [i for i in other if not self.agree[i, inside].all()]
        apart = self.agreement[np.ix_(inside, other)].max()
        verb, those = "disagrees" if len(group) == 1 else "disagree", [self.names[i] for i in other]
        return (
            f"{said} {_listed(group)} {verb} with {_listed(those)} by up to {apart:.1f}°.".strip()
        )

    def _on_bands(self) -> str:
        if self.bands is None:
            return ""
        if self.bands.fixed.all():
            return f"The answer of {self.names[0]} is fixed by the data: no other fits as well."
        at_least = "" if self.bands.exact else "at least "
        wide = "wide" if self.bands.angle.max() >= WIDE else "narrow"
        return (
            f"The bands of {self.names[0]} are {wide}: spectra {at_least}up to {self.bands.angle.max():.0f}° from "
            "its own fit as well."
        )

    def _conclusion(self) -> str:
        equal = self._equal() if self.same_data else []
        if sum(bool(set(group) & set(equal)) for group in self.groups) > 1:
            return (
                "The misfit does not decide between them: choose by what you know of the specimen (phases in separate "
                "places, pure pixels, references), and trust first what methods with different assumptions share."
            )
        return (
            "They agree because they prefer alike, not because the data fix the answer."
            if self.bands is not None and not self.bands.fixed.all() and len(self.groups) == 1
            else ""
        )

    @property
    def table(self) -> str:
        """Misfit, time and angles, one line a model."""
        width = max(len(name) for name in (*self.names, "model"))
        columns = [max(len(name), 6) for name in self.names]
        angles = "  ".join(f"{name:>{w}}" for name, w in zip(self.names, columns, strict=True))
        last = "" if self.truth is None else "   truth"
        lines = [f"{'model':<{width}}     misfit    seconds  degrees to: {angles}{last}"]
        for i, name in enumerate(self.names):
            angles = "  ".join(
                f"{a:>{w}.2f}" for a, w in zip(self.agreement[i], columns, strict=True)
            )
            last = "" if self.truth is None else f"  {np.nanmax(self.truth[i]):6.2f}"
            seconds = f"{self.seconds[i]:10.2f}"
            lines.append(
                f"{name:<{width}} {self.misfit[i]:10.4g} {seconds}              {angles}{last}"
            )
        return "\n".join(lines)

    def __str__(self) -> str:
        return f"{self.table}\n{self.sentence}"

    def plot(self) -> Any:
        """Draw maps and spectra of all models side by side, with their agreement; returns a matplotlib Figure."""
        from endmember.show.beside import draw_beside

        band = None
        if self.bands is not None:
            length = np.sqrt(np.nansum(self.bands.spectra**2, axis=1))[:, None]
            order = _partners(self.bands.spectra, self.spectra[0])
            ends = self.bands.spectra_low, self.bands.spectra_high
            low, high = (_taken(end / length, order) for end in ends)
            band = low, high
        return draw_beside(self, band)


def compare(
    X: Any,
    models: Mapping[str, Any],
    *,
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    exposure: Any = None,
    domain: tuple[int, ...] | None = None,
    callback: Callback | None = None,
    truth: Any = None,
    bands: bool = True,
    n_jobs: int | None = None,
) -> Comparison:
    r"""Fit several models to the same data and say where they agree.

    Components are matched by the angles between spectra. Two spectra agree that are no further apart
    than three times what noise explains, :math:`\sigma\sqrt{m\,[(C^\top C)^{-1}]_{jj}}\,/\,\|s_j\|` each
    (with pure pixels: of those alone, in k directions where noise is projected out), or than half a degree. Misfits
    count as equal that differ by less than a fit gains by following noise, :math:`k(n + m - k)\sigma^2`.

    Parameters
    ----------
    X : array_like, sparse matrix, Dask array or HyperSpy signal, (*domain, n_channels)
        Or an :class:`em.Unmixing` (``em.compare(a, b)``): then ``models`` is another, and what differs is returned.
    models : dict of str to estimator
        At least two; copies are fitted. The first gives the order of the components and the bands.
    mask, channel_mask, weights, exposure, domain, callback
        As in ``em.NMF.fit``; returning True ends the fit in progress, and the next model follows.
    truth : phantom or array_like, (k, n_channels), optional
        True spectra; they give the order of components then.
    bands : bool
        Whether to ask what else fits as well as the first model (:func:`em.assess.ambiguity`); left out where
        it may have negative spectra or maps.
    n_jobs : int, optional
        Models fitted at the same time, as in joblib.

    Returns
    -------
    Comparison
        Of two answers ``Differences``: as text (``str``), as a dict (``as_dict()``), with a ``comparison``.

    Raises
    ------
    ValueError
        If fewer than two models are given, or two answers cannot be compared.

    References
    ----------
    Muto & Shiga, Microscopy 69 (2020) 110, who advise to crosscheck several methods.

    Examples
    --------
    >>> import endmember as em
    >>> phantom = em.synthetic.diode(shape=(16, 16), channels=60)
    >>> models = {"NMF-SO": em.NMF(3, maps=em.SoftOrthogonal(0.01), random_state=0),
    ...           "SSS": em.SubspaceSampling(3, on="maps")}
    >>> compare(phantom.data, models, bands=False).groups
    [['NMF-SO', 'SSS']]
    """
    from joblib import Parallel, delayed

    refuse_if(
        not isinstance(models, Mapping) or len(models) < 2,
        'give at least two models by name, such as {"NMF": em.NMF(3), "VCA": em.VCA(3)}',
    )
    for name, model in models.items():
        refuse_if(
            not isinstance(model, SpectralEstimator),
            f"{name!r} is no model but {model!r}; give one such as em.NMF(3)",
            kind=EndmemberTypeError,
        )
    options = {"mask": mask, "channel_mask": channel_mask, "weights": weights, "domain": domain}
    fits = Parallel(n_jobs=n_jobs)(
        delayed(_fitted)(clone(model), X, {**options, "exposure": exposure, "callback": callback})
        for model in models.values()
    )
    fitted = [model for model, _ in fits]
    observed = observe(X, **options, exposure=exposure, keep_empty=True)
    explained = [model.explained(observed) for model in fitted]
    first = _bands(fitted[0], X, options) if bands else None
    return side_by_side(
        tuple(models), fitted,
        misfit=[_misfit(one, one.observed.data) for one in explained],
        yardstick=[_misfit(one, one.observed.weighted_by_counts()) for one in explained],
        n_pixels=observed.data.shape[0],
        seconds=[seconds for _, seconds in fits],
        truth=truth, bands=first, energy=observed.axis.energy, energy_label=observed.axis.label,
    )  # fmt: skip


def side_by_side(
    names: Sequence[str],
    models: Sequence[Any],
    *,
    misfit: Sequence[float],
    n_pixels: int,
    seconds: Sequence[float],
    energy: np.ndarray,
    energy_label: str,
    yardstick: Sequence[float] | None = None,
    truth: Any = None,
    bands: Bands | None = None,
    same_data: bool = True,
) -> Comparison:
    """Put fitted models into one order and compare them; what :func:`compare` does after its fits.

    Parameters
    ----------
    names : sequence of str
    models : sequence of fitted estimators
        With ``components_`` (k, n_channels) over the same channels, and ``maps_``.
    misfit : sequence of float
        Root mean square of each residual.
    n_pixels : int
        That took part.
    seconds : sequence of float
    energy : ndarray, (n_channels,)
    energy_label : str
    yardstick : sequence of float, optional
        What decides which fits better, where that is not the misfit.
    truth : phantom or array_like, (k, n_channels), optional
    bands : Bands, optional
        Of the first model.
    same_data : bool
        Whether misfits can be compared.
    """
    true = None if truth is None else np.asarray(getattr(truth, "spectra", truth), dtype=float)
    anchor = np.asarray(models[0].flat_components, dtype=float) if true is None else true
    spectra, maps, noise = [], [], []
    for model, size in zip(models, misfit, strict=True):
        S, C = _scaled(model)
        order = _partners(S, anchor)
        spectra.append(_taken(S, order))
        maps.append(np.moveaxis(_taken(np.moveaxis(C, -1, 0), order), 0, -1))
        noise.append(_taken(_noise_angles(model, S, C, size), order))
    found = np.array(spectra)
    angles = spectral_angle(found[:, None], found[None, :])
    absent = np.isnan(found).all(axis=-1)
    angles = np.where(absent[:, None] | absent[None, :], np.nan, angles)
    k, m = anchor.shape[0], int(np.isfinite(anchor).sum(axis=1).max())
    return Comparison(
        names=tuple(names), models=tuple(models), spectra=found, maps=tuple(maps), angles=angles,
        noise=np.array(noise), misfit=np.array(misfit, dtype=float),
        excess=_excess(misfit if yardstick is None else yardstick, n_pixels, m, k),
        seconds=np.array(seconds, dtype=float),
        truth=None if true is None else np.where(absent, np.nan, spectral_angle(found, true[None])),
        bands=bands, energy=energy, energy_label=energy_label,
        component_names=tuple(getattr(truth, "names", ()) or (f"Component {j + 1}" for j in range(k))),
        same_data=same_data,
    )  # fmt: skip


def _fitted(model: Any, X: Any, options: dict[str, Any]) -> tuple[Any, float]:
    """Return the fitted model and the seconds it took."""
    began = time.perf_counter()
    model.fit(X, **options)
    return model, time.perf_counter() - began


def _bands(model: Any, X: Any, options: dict[str, Any]) -> Bands | None:
    """Return the bands of a model, or None where it has none: nothing limits what negative factors could be."""
    try:
        return ambiguity(model, X, **options)
    except ValueError as reason:
        logger.info("no bands for %s: %s", type(model).__name__, reason)
        return None


def _misfit(explained: Explained, data: Data) -> float:
    """Return the root mean square of a residual."""
    squares = explained.squares(data) / (data.shape[0] * data.shape[1])
    return float(np.sqrt(squares)) * explained.observed.unit


def _excess(misfit: Sequence[float], n: int, m: int, k: int) -> np.ndarray:
    """Return squared misfits above the lowest, in units of what a fit gains by following noise."""
    squares = np.square(np.asarray(misfit, dtype=float))
    lowest = squares.min()
    followed = lowest * k * (n + m - k) / max(n * m - k * (n + m - k), 1)
    return (squares - lowest) / followed if followed > 0 else np.zeros(len(squares))


def _scaled(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return spectra of unit length (k, m) and the maps (*domain, k) that go with them."""
    S, C = np.asarray(model.flat_components, dtype=float), np.asarray(model.maps_, dtype=float)
    length = np.sqrt(np.nansum(S**2, axis=1))
    return S / np.where(length > 0, length, 1.0)[:, None], C * length


def _noise_angles(model: Any, S: np.ndarray, C: np.ndarray, misfit: float) -> np.ndarray:
    """Return by how many degrees noise turns every spectrum of unit length, (k,)."""
    k = len(S)
    rows = np.nan_to_num(C.reshape(-1, k))
    directions, learned = int(np.isfinite(S).sum(axis=1).max()), model.learned()
    if "pixels_" in learned:
        rows = rows[learned["pixels_"]]
        # Those that measure the noise have projected it out of their pixels.
        directions = k if "signal_to_noise_" in learned else directions
    spread = np.sqrt(np.abs(np.diag(np.linalg.pinv(rows.T @ rows, hermitian=True))))
    return np.degrees(np.arctan(misfit * np.sqrt(directions) * spread))


def _partners(found: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Return which component of ``found`` belongs to each of ``anchor``, -1 where none is left."""
    if len(found) >= len(anchor):
        return match_components(found, anchor)
    order = np.full(len(anchor), -1)
    order[match_components(anchor, found)] = np.arange(len(found))
    return order


def _taken(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the values (k, ...) in an order, NaN where it holds -1."""
    taken = values[order].astype(float)
    taken[order < 0] = np.nan
    return taken


def _as_noise_allows(names: str, angle: float) -> str:
    """Say that noise explains how far spectra are apart, up to an angle in degrees, and when that is no news."""
    return (
        f"{names} agree: their spectra differ by no more than noise explains (up to {angle:.1f}°)."
        if angle < LOOSE
        else f"{names} cannot be told apart: noise alone explains spectra up to {angle:.1f}° apart."
    )


def _listed(names: Sequence[str]) -> str:
    """Return names as a person lists them.

    Examples
    --------
    >>> _listed(["NMF", "NMF-SO", "VCA"])
    'NMF, NMF-SO and VCA'
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
