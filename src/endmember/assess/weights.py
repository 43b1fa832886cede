"""How strong a penalty may be: misfit, overlap and movement of the spectra along a weight."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from endmember.assess.surrogates import as_masks
from endmember.errors import refuse_if
from endmember.factor.columns import unit_columns
from endmember.factor.data import observe, one_blas_thread
from endmember.factor.loop import Callback
from endmember.factor.matching import match_components, spectral_angle
from endmember.factor.sketch.low_rank import sketch
from endmember.methods.coupled import Coupled
from endmember.show.shown import Shown

#: Share of what a fit gains by following noise that a penalty may cost.
AFFORDABLE = 0.5


@dataclass(frozen=True, repr=False)
class Path(Shown):
    """What a weight does to an answer.

    Attributes
    ----------
    parameter : str
        Which parameter was varied.
    values : ndarray, (n,)
        Its values, rising.
    misfit : ndarray, (n,)
        Rise of the misfit above that of the smallest value, in units of what a fit gains by
        following noise: 1 costs all of that, so values well below 1 are not contradicted by the
        data.
    overlap : ndarray, (n,)
        Mean cosine between the maps of two components: 0 = nowhere together.
    angles : ndarray, (n,)
        How far the spectra have moved from those of the smallest value, largest of all
        components, in degrees.
    suggested : float
        The largest value that the data do not contradict.
    spectra : ndarray, (n, k, channels)
        In the same order of components throughout.
    """

    parameter: str
    values: np.ndarray
    misfit: np.ndarray
    overlap: np.ndarray
    angles: np.ndarray
    suggested: float
    spectra: np.ndarray

    @property
    def sentence(self) -> str:
        """The suggestion and its reason."""
        chosen = int(np.flatnonzero(self.values == self.suggested)[0])
        return (
            f"{self.parameter} = {self.suggested:g} is the strongest that the data do not "
            "contradict: it costs "
            f"{self.misfit[chosen]:.2f} of what the fit gains by following noise, leaves an "
            "overlap of "
            f"{self.overlap[chosen]:.2f} and moves a spectrum by up to {self.angles[chosen]:.1f}°."
        )

    def plot(self) -> Any:
        """Draw misfit, overlap and movement along the weight; returns a matplotlib Figure."""
        from endmember.show.page import blank_figure, palette, quiet_axes

        figure = blank_figure(7.0, 2.6, f"Misfit, overlap and movement along {self.parameter}")
        rows = (
            ("misfit rise / noise followed", self.misfit),
            ("overlap of maps", self.overlap),
            ("movement of spectra (degrees)", self.angles),
        )
        for axes, (label, curve), colour in zip(
            figure.subplots(1, 3), rows, palette(3), strict=True
        ):
            axes.plot(self.values, curve, "o-", color=colour, markersize=3)
            axes.axvline(self.suggested, color="0.6", linewidth=0.8, zorder=0)
            linear = float(np.min(self.values[self.values > 0], initial=np.inf))
            if np.isfinite(linear):
                axes.set_xscale("symlog", linthresh=linear)
                axes.set_xlim(-0.2 * linear, 1.4 * self.values[-1])
            axes.tick_params(labelsize="x-small")
            axes.set_xlabel(self.parameter.replace("__", " "), fontsize="small")
            axes.set_title(label, fontsize="small", loc="left")
            quiet_axes(axes)
        return figure


def path(
    model: Any,
    X: Any,
    parameter: str,
    values: Sequence[float],
    *,
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    exposure: Any = None,
    domain: tuple[int, ...] | None = None,
    callback: Callback | None = None,
) -> Path:
    r"""Fit a model along one of its parameters and say how strong a penalty the data bear.

    The rise of the misfit is compared with what the fit gains by following noise,
    :math:`k(n + m - k)\sigma^2/2` with :math:`\sigma^2` from the residual: the truth itself is that
    much worse than the best fit. The strongest value that costs less than half of it is suggested.

    Parameters
    ----------
    model : estimator
        Such as ``em.NMF(3, maps=em.SoftOrthogonal())``; a copy is fitted.
    X : array_like, sparse matrix, Dask array or HyperSpy signal, (*domain, channels)
        Compressed once, so that every value costs little; or the sequence of detectors that ``em.Coupled`` takes.
    parameter : str
        As in scikit-learn: ``"maps__weight"``; ``"gamma"`` of ``em.Coupled(k, "weak")``.
    values : sequence of float
        At least two; the smallest is the yardstick.
    mask, channel_mask, weights, exposure, domain, callback
        As in ``em.NMF.fit``; weights can only leave out whole pixels and channels here. Returning True ends
        the fit in progress, and the next value follows.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the model has no such parameter, or fewer than two values are given.

    Examples
    --------
    >>> import endmember as em
    >>> phantom = em.synthetic.diode(shape=(16, 16), channels=60)
    >>> nmf = em.NMF(3, maps=em.SoftOrthogonal(), random_state=0)
    >>> path(nmf, phantom.data, "maps__weight", [0, 0.01, 0.1]).misfit.shape
    (3,)
    """
    along = np.unique(np.asarray(values, dtype=float))
    refuse_if(
        len(along) < 2, "a path needs at least two values of the weight, such as [0, 0.01, 0.1]"
    )
    refuse_if(
        parameter not in model.get_params(),
        f"the model has no parameter {parameter!r}; allowed: "
        f"{', '.join(sorted(model.get_params()))}",
    )
    options = {
        "mask": mask, "channel_mask": channel_mask, "weights": weights,
        "exposure": exposure, "domain": domain, "callback": callback,
    }  # fmt: skip
    measured = _of_detectors if isinstance(model, Coupled) else _of_one
    fits, losses, entries, parameters = measured(model, X, parameter, along, options)
    followed = parameters * losses[0] / max(entries - parameters, 1)
    misfit = (losses - losses[0]) / followed if followed > 0 else np.zeros(len(along))
    spectra = [_spectra(fits[0])]
    for fit in fits[1:]:
        spectra.append(_spectra(fit)[match_components(_spectra(fit), spectra[-1])])
    bearable = np.flatnonzero(np.maximum.accumulate(misfit) <= AFFORDABLE)
    return Path(
        parameter=parameter,
        values=along,
        misfit=misfit,
        overlap=np.array([_overlap(fit.maps_, int(model.n_components)) for fit in fits]),
        angles=np.array([np.max(spectral_angle(S, spectra[0])) for S in spectra]),
        suggested=float(along[bearable[-1] if len(bearable) else 0]),
        spectra=np.array(spectra),
    )


def _of_one(
    model: Any, X: Any, parameter: str, along: np.ndarray, options: dict[str, Any]
) -> tuple[list[Any], np.ndarray, int, int]:
    """Return the fits to one spectrum image, their squared residuals, the entries and the free parameters."""
    X, mask, channel_mask = as_masks(
        X, "em.assess.path", options["domain"], options["mask"], options["channel_mask"], options["weights"]
    )  # fmt: skip
    observed = observe(
        X, mask=mask, channel_mask=channel_mask, exposure=options["exposure"], domain=options["domain"]
    )  # fmt: skip
    data, k = observed.data, int(model.n_components)
    with one_blas_thread():
        low = sketch(data, max(2 * k, k + 10))
    asked = low if model.own_loss().needs == "products" else data
    asked.origin = observed
    fits = [
        _fitted(model, parameter, value, asked, callback=options["callback"]) for value in along
    ]
    sketched = replace(observed, data=low)
    losses = np.array([fit.explained(sketched).squares() for fit in fits])
    n, m = data.shape
    return fits, losses, n * m, k * (n + m - k)


def _of_detectors(
    model: Any, X: Sequence[Any], parameter: str, along: np.ndarray, options: dict[str, Any]
) -> tuple[list[Any], np.ndarray, int, int]:
    """Return the same for several detectors whose maps are tied, in the weights of the fit."""
    given = {name: value for name, value in options.items() if value is not None}
    fits = [_fitted(model, parameter, value, X, **given) for value in along]
    losses = np.array([2.0 * sum(fit.misfits_) for fit in fits])
    k, n = int(model.n_components), int(np.prod(fits[0].maps_.shape[:-1]))
    channels = [S.shape[1] for S in fits[0].spectra_]
    # At the loosest, every detector has maps of its own.
    return fits, losses, n * sum(channels), sum(k * (n + m - k) for m in channels)


def _spectra(fit: Any) -> np.ndarray:
    """Return the spectra, those of several detectors side by side at unit length."""
    return (
        fit.components_
        if hasattr(fit, "components_")
        else np.hstack([S / max(float(np.linalg.norm(S)), 1e-300) for S in fit.spectra_])
    )


def _fitted(model: Any, parameter: str, value: float, X: Any, **options: Any) -> Any:
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return clone(model).set_params(**{parameter: value}).fit(X, **options)


def _overlap(maps: np.ndarray, k: int) -> float:
    C = unit_columns(np.nan_to_num(maps.reshape(-1, maps.shape[-1])))
    return float((C.T @ C)[np.triu_indices(k, 1)].mean()) if k > 1 else 0.0
