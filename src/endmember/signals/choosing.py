"""What to do when the user leaves it open: how many components, which method, and which loss."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone

from endmember.assess.number import RankReport, rank
from endmember.catalogue import LOSSES, METHODS, named
from endmember.errors import Argument, EndmemberError, check_known, refuse_if
from endmember.factor.data import (
    Observed,
    blocks_of,
    checked_masks,
    given,
    left_out,
    observe,
    of_zero_peak,
    row_blocks,
    sample,
    stays_lazy,
    unwrap,
)
from endmember.factor.losses import Loss, Poisson, PoissonScaled, SquaredError
from endmember.factor.noise.model import NoiseModel, estimate_noise
from endmember.factor.penalties import Absent, Free, SoftOrthogonal
from endmember.methods.geometry import VCA
from endmember.methods.nmf import NMF
from endmember.methods.sampling import SubspaceSampling

#: Weight of the soft orthogonality that other methods are compared with.
PUSH = 0.01
#: Mean count of an entry below which Poisson's likelihood finds better spectra than weighted squares.
FEW_COUNTS = 1.0
#: Share of the signal's power below zero from which data are signed by nature.
SIGNED = 0.2
#: Where HyperSpy keeps the variance of the noise: one number, or one of every value.
VARIANCE = "Signal.Noise_properties.variance"
#: Why zeros are tested, and why spectra are moved apart after that.
ZEROS = (
    'Zeros: a test decides where a phase is absent (em.Absent("auto")), if small amounts scatter as noise does, since '
    "amounts that noise takes below zero and a fit clips would bias the spectra."
)
APART = (
    'Spectra: as different as the data allow (em.Absent("auto", mixed=True)), as asked: pixels may mix all phases, '
    "which is the same data as spectra that are alike."
)
#: Steps of a history that leave an error of either sign.
_BACKGROUND = {"subtract_background", "fit_background"}


def choose_model(
    signal: Any,
    n_components: int | None = None,
    *,
    method: str = "nmf",
    loss: str = "auto",
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    exposure: Any = None,
    callback: Any = None,
    assume: str = "pure_maps",
    **parameters: Any,
) -> tuple[Any, list[str], RankReport | None]:
    """Return a model with everything chosen that was left open, the reasons, and the rank panel if it was asked.

    Parameters
    ----------
    signal : HyperSpy signal
    n_components : int, optional
        Suggested by the rank panel unless given.
    method : one of ``catalogue.METHODS``
    loss : "auto", "squared", "scaled" or "poisson"
    mask, channel_mask, weights : optional
        As in ``em.unmix``. The number is judged by the spectra that lack no value.
    exposure : optional
        As in ``em.unmix``: number and noise are those of the counts, whatever the exposure.
    callback : callable, optional
        Told of the progress of the panel.
    assume : "pure_maps" or "distinct_spectra"
        Which end of what fits as well is taken where loss, solver and penalties are left open.
    **parameters
        Of the model. Those that are None count as not given.

    Raises
    ------
    ValueError
        If the method has no such parameter, or nothing stands above the noise, so that no number can be suggested.
    """
    check_known("assume", assume, "pure_maps", "distinct_spectra")
    parameters = {name: value for name, value in parameters.items() if value is not None}
    model = _other_method(method, loss, parameters)
    reasons = [] if channel_mask is not None else of_zero_peak(signal)
    report, (judged, mask, left) = None, _judged(signal, mask, weights)
    observed = observe(judged, mask=mask, channel_mask=channel_mask, weights=left)
    weighted = weights is not None or observed.data.weighted
    if n_components is None:
        # The noise is measured: the gain that readers put into the metadata is that of the display.
        whole, complete = _without_gaps(judged, mask, channel_mask, left)
        report = rank(whole, mask=complete, channel_mask=channel_mask, callback=callback)
        n_components = report.clear
        reasons.append(_on_number(report, None if judged is signal else judged[..., 0].size))
    noise = report.noise.times(1 / observed.unit) if report else estimate_noise(observed)
    chosen, why = _suited(observed, noise, weighted) if loss == "auto" else (named_loss(loss), [])
    free = model is None and loss == "auto" and not {"maps", "spectra", "solver"} & {*parameters}
    refuse_if(
        assume != "pure_maps" and (weighted or not free),
        Argument("assume", assume),
        " moves spectra apart from where a test has decided zeros, and none are tested here; leave it out, or "
        "leave method, loss, solver, penalties and weights open",
    )
    if model is not None:
        if "scaling" in model.get_params(deep=False):
            model.set_params(scaling="poisson" if noise.poisson else None)
        if "loss" in model.get_params(deep=False):
            model.set_params(loss=chosen)
            reasons += why
        return model.set_params(n_components=n_components), reasons, report
    if free:
        signed = 0.0 if noise.poisson else _signed_share(observed, noise)
        chosen, why = _left_open(
            chosen, why, _mean(observed) if judged is signal and noise.poisson else np.inf,
            signed, parameters, n_components, weighted, assume,
        )  # fmt: skip
    found = NMF(n_components, loss=chosen, **parameters)
    if loss == "auto" and weighted and chosen.counts:
        try:
            found._check_parameters()
        except EndmemberError:
            found.set_params(loss=SquaredError())
            why = [
                "Loss: squared error, because single values have weights or are missing, which weights by counts do "
                "not go with, nor does the likelihood of Poisson with the penalties given."
            ]
    return found, [*reasons, *why], report


def _on_number(report: RankReport, pixels: int | None) -> str:
    """Return why that many components are taken, judged on so many pixels of more; refuse where there are none."""
    refuse_if(
        report.suggested < 1, f"{report.sentence} To unmix all the same, say how many components."
    )
    fewer = f" {report.clear} are taken: the others stand within 5 % of the noise line."
    taken = "" if report.clear == report.suggested else fewer
    on = f" Judged on {pixels} pixels out of a few blocks of the data." if pixels else ""
    return f"Number of components: {report.sentence}{taken}{on}"


def _left_open(
    chosen: Loss,
    why: list[str],
    mean: float,
    signed: float,
    parameters: dict[str, Any],
    n_components: int,
    weighted: bool,
    assume: str,
) -> tuple[Loss, list[str]]:
    """Choose penalties where none are given, and the likelihood of few counts; return the loss and all reasons."""
    if chosen.counts and mean < FEW_COUNTS:
        chosen = Poisson()
        why = [
            f"Loss: Poisson's likelihood, because the data are counts and so few, {mean:.2g} a channel on average, "
            "that squares would misjudge them."
        ]
    if signed:
        parameters["spectra"] = Free()
        why.append(
            f"Spectra: of any sign (em.Free()), because {signed:.0%} of the values are negative, which noise does not "
            "explain."
        )
        if not parameters.keys() & {"init", "n_starts"}:
            parameters["init"] = VCA(n_components, random_state=parameters.get("random_state"))
            why.append(
                "Start: the purest pixels (em.VCA), since little else determines such spectra."
            )
    elif not weighted:
        parameters["maps"] = Absent("auto", mixed=assume == "distinct_spectra")
        why.append(ZEROS if assume == "pure_maps" else APART)
    return chosen, why


def _mean(observed: Observed) -> float:
    """Return the mean of the data."""
    n, m = observed.data.shape
    return float(observed.data.dot(np.ones((m, 1))).mean()) / m


def _signed_share(observed: Observed, noise: NoiseModel) -> float:
    """Return which share of the values is negative where they are signed by nature, else 0.

    They are if values below zero hold much of the power of the signal, after what noise around zero explains. A
    background that was subtracted is another matter: what it leaves below zero is its error.
    """
    subtracted = any(step.get("step") in _BACKGROUND for step in observed.history)
    if not observed.survey.n_negative or subtracted or noise.unknown:
        return 0.0
    data = observed.data
    size = math.prod(data.shape)
    below = sum(
        float(np.sum(np.minimum(data.rows(np.arange(rows.start, rows.stop)), 0.0) ** 2))
        for rows in row_blocks(*data.shape)
    )
    excess = below - size * float(noise.variance(0.0)) / 2
    signal = data.squared_norm - size * float(noise.variance(_mean(observed)))
    return observed.survey.n_negative / size if excess > SIGNED * max(signal, 0.0) else 0.0


def choose_models(signal: Any, model: NMF) -> dict[str, Any]:
    """Return methods with different assumptions, to be compared with a plain NMF; it comes first.

    Parameters
    ----------
    signal : HyperSpy signal
    model : NMF
        Of this number of components, for the noise of these data.

    Returns
    -------
    dict of str to estimator
        NMF, the same with tested zeros, NMF-SO (maps overlap little), VCA (pure pixels), SSS (channels of their own
        for EDS, else pixels), and for counts Poisson.
    """
    k, seed = model.n_components, model.random_state
    kind = str(signal.metadata.get_item("Signal.signal_type", default=""))
    on = "spectra" if kind.startswith("EDS") else "maps"
    models = {
        "NMF": clone(model).set_params(maps=None),
        "tested zeros": clone(model).set_params(maps=Absent("auto")),
        "NMF-SO": clone(model).set_params(maps=SoftOrthogonal(PUSH)),
        "VCA": VCA(k, random_state=seed),
        "SSS": SubspaceSampling(k, on=on, random_state=seed),
    }
    if model.own_loss().counts and not model.own_loss().likelihood:
        models["Poisson"] = clone(model).set_params(loss=Poisson())
    return models


def chosen_loss(
    signal: Any,
    loss: str = "auto",
    *,
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
) -> tuple[Loss, list[str]]:
    """Return a loss by its name, or with "auto" the one that suits the noise, and the reasons.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if loss != "auto":
        return named_loss(loss), []
    judged, mask, left = _judged(signal, mask, weights)
    observed = observe(judged, mask=mask, channel_mask=channel_mask, weights=left)
    return _suited(
        observed, estimate_noise(observed), weights is not None or observed.data.weighted
    )


def weights_known(signal: Any, model: Any, reasons: list[str]) -> np.ndarray | None:
    """Return the weights that a variance in the metadata stands for, where the loss takes them; say so in ``reasons``.

    One number is that of white noise and weighs nothing.
    """
    known, X = signal.metadata.get_item(VARIANCE), unwrap(signal)
    if np.ndim(getattr(known, "data", known)) == 0:
        return None
    of_white_noise = model is not None and model.takes_weights and model.own_loss().power == 0
    if stays_lazy(X) or not of_white_noise:
        reasons.append(
            "Variance: that in the metadata is not used, which em.SquaredError() takes for weights of data in memory."
        )
        return None
    reasons.append("Weights: one over the variance of every value, which the metadata hold.")
    variance = np.broadcast_to(np.asarray(unwrap(known), dtype=float), X.shape)
    return np.divide(1.0, variance, out=np.zeros(X.shape), where=variance > 0)


def _suited(observed: Observed, noise: NoiseModel, weighted: bool) -> tuple[Loss, list[str]]:
    """Return the loss that suits the noise, and the reasons; ``weighted`` where single values have weights."""
    grows = (
        noise.gain > 0 and noise.read_variance == noise.offset == observed.survey.n_negative == 0
    )
    if not grows or (weighted and not noise.poisson):
        return SquaredError(), ["Loss: squared error, because the data are not plain counts."]
    if weighted:
        return Poisson(), [
            "Loss: Poisson's likelihood, because the data are counts of which single ones have weights or are missing."
        ]
    return PoissonScaled(), [
        "Loss: squared error weighted by counts (PoissonScaled), because the data are counts."
        if noise.poisson
        else "Loss: squared error weighted by counts (PoissonScaled), because the variance grows with the signal as "
        "that of counts does: if they were divided by a time or a dose, give counts and exposure=."
    ]


def named_loss(name: str) -> Loss:
    """Return the loss that the command line knows by this name.

    Raises
    ------
    ValueError
        If there is none.
    """
    return named(LOSSES, name, "loss", also=["auto"])()


def _other_method(method: str, loss: str, parameters: dict[str, Any]) -> Any:
    """Return the model of a method other than NMF, or None for NMF; refuse what it has no use for."""
    kind = named(METHODS, method, "method")
    known = kind().get_params(deep=False)
    words = {"maps": "penalties of maps", "spectra": "penalties of spectra"}
    given = [words.get(name, name) for name in parameters if name not in known]
    given += ["loss"] if loss != "auto" and "loss" not in known else []
    refuse_if(given, f"the method {method} takes no {' and no '.join(given)}; leave it out")
    return None if kind is NMF else kind(**parameters)


def _judged(signal: Any, mask: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Return the signal with masks and weights, or where it is lazy and large a part, so that judging costs no pass."""
    X = unwrap(signal)
    if not stays_lazy(X):
        return signal, mask, weights
    if mask is not None:
        import dask.array as da

        hidden = left_out(mask, X.shape[:-1], given(signal).pixels, "mask", "pixels")
        if hidden is not None:
            X = da.ma.masked_where(da.broadcast_to(hidden[..., None], X.shape, X.chunks), X)
    return sample(blocks_of(X)), None, None


def _without_gaps(judged: Any, mask: Any, channel_mask: Any, weights: Any) -> tuple[Any, Any]:
    """Return data and a mask that leaves out the spectra that lack single values.

    Raises
    ------
    ValueError
        If all of them do.
    """
    taken = given(judged)
    mask, channel_mask, weights = checked_masks(
        taken, taken.shape[:-1], mask, channel_mask, weights
    )
    if weights is None:
        return judged, mask
    missing = (weights == 0) & ~(False if channel_mask is None else channel_mask)
    mask = missing.any(axis=-1) | (False if mask is None else mask)
    refuse_if(
        mask.all(),
        "every spectrum lacks some value, and the number of components is judged by whole ones; say how many "
        "components, or leave out the channels that lack most",
    )
    return replace(taken, hidden=None), mask
