"""What to do when the user leaves it open: how many components, and which loss."""

from __future__ import annotations

from typing import Any

from endmember.assess.number import RankReport, rank
from endmember.factor.inputs import blocks_of, observe, stays_lazy, unwrap
from endmember.factor.layout import sample
from endmember.factor.losses import Loss, Poisson, PoissonScaled, SquaredError
from endmember.factor.noise import NoiseModel, estimate_noise
from endmember.methods.nmf import NMF
from endmember.signals.bridge import noise_model

#: Losses by the names that the command line knows.
LOSSES: dict[str, type[Loss]] = {
    "squared": SquaredError,
    "scaled": PoissonScaled,
    "poisson": Poisson,
}


def choose_loss(noise: NoiseModel) -> tuple[Loss, str]:
    """Return the loss that suits the noise, and why."""
    if noise.poisson:
        return PoissonScaled(), (
            "Loss: squared error weighted by counts (PoissonScaled), because the data are counts."
        )
    return SquaredError(), "Loss: squared error, because the data are not plain counts."


def choose_model(
    signal: Any,
    n_components: int | None = None,
    *,
    loss: str = "auto",
    mask: Any = None,
    channel_mask: Any = None,
    callback: Any = None,
    **parameters: Any,
) -> tuple[NMF, list[str], RankReport | None]:
    """Return NMF with everything chosen that was left open, the reasons, and the rank panel if it was asked.

    Parameters
    ----------
    signal : HyperSpy signal
    n_components : int, optional
        Suggested by the rank panel unless given.
    loss : "auto", "squared", "scaled" or "poisson"
    mask, channel_mask : optional
        As in ``em.unmix``.
    callback : callable, optional
        Told of the progress of the panel.
    **parameters
        Of ``em.NMF``.

    Raises
    ------
    ValueError
        If nothing stands above the noise, so that no number can be suggested.
    """
    reasons: list[str] = []
    report, judged = None, _judged(signal)
    if judged is signal:
        observe(
            signal, mask=mask, channel_mask=channel_mask
        )  # refuses what cannot be unmixed at all
    else:
        mask = None
    if n_components is None:
        report = rank(
            judged, mask=mask, channel_mask=channel_mask, noise=noise_model(signal), callback=callback
        )  # fmt: skip
        if report.suggested < 1:
            raise ValueError(f"{report.sentence} To unmix all the same, say how many components.")
        n_components = report.suggested
        reasons.append(f"Number of components: {report.sentence}")
        if judged is not signal:
            reasons.append(
                f"The number was judged on {judged[..., 0].size} pixels out of a few blocks of the data."
            )
    if loss == "auto":
        noise = report.noise if report else _noise_of(signal, judged)
        chosen, why = choose_loss(noise)
        reasons.append(why)
    elif loss in LOSSES:
        chosen = LOSSES[loss]()
    else:
        raise ValueError(f"loss {loss!r} is not known; allowed: auto, {', '.join(LOSSES)}")
    return NMF(n_components, loss=chosen, **parameters), reasons, report


def _judged(signal: Any) -> Any:
    """Return the signal, or where it is lazy and large a part of it, so that judging it costs no pass."""
    X = unwrap(signal)
    if not stays_lazy(X):
        return signal
    return sample(blocks_of(X))


def _noise_of(signal: Any, judged: Any) -> NoiseModel:
    X = unwrap(judged)
    return noise_model(signal) or estimate_noise(X, domain=X.shape[:-1])
