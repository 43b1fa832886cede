"""An answer that can be told, kept and repeated, and the fit that it comes from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from endmember.assess.comparison import Comparison, side_by_side
from endmember.assess.opinions import Opinion, second_opinions
from endmember.errors import EndmemberError
from endmember.factor.data.axis import Axis, is_signal
from endmember.factor.data.inspection import given, steps, unwrap
from endmember.factor.data.observed import Observed, checked_masks, observe
from endmember.factor.data.resources import Checkpoint, session
from endmember.factor.data.watched import unchanged
from endmember.show.html import write
from endmember.signals.bridge import as_signal, wrap_like, wrap_maps, wrap_spectra
from endmember.signals.choosing import choose_model
from endmember.signals.cropping import describe_data, do_again
from endmember.signals.files.source import Source
from endmember.signals.plan import check_memory
from endmember.signals.result import storage
from endmember.signals.result.answer import Answer
from endmember.signals.result.doubts import assumed_in_words, save_doubts
from endmember.signals.result.misfits import misfit_of
from endmember.signals.result.provenance import about, fingerprint_of, versions
from endmember.signals.result.reporting import compose


def unmix_one(
    signal: Any,
    model: Any = None,
    *,
    n_components: int | None = None,
    assume: str = "pure_maps",
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    domain: tuple[int, ...] | None = None,
    callback: Any = None,
    reasons: Sequence[str] = (),
    memory: int | str | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    left_open: bool = False,
) -> Unmixing:
    """Separate one spectrum image, with the parameters of ``em.unmix``; ``left_open`` asks for second opinions."""
    taken, reasons = given(signal), list(reasons)
    if is_signal(signal) and domain is not None and tuple(domain) != taken.shape[:-1]:
        raise EndmemberError(
            f"domain={domain} is not that of the signal, {taken.shape[:-1]}; leave it out, or give signal.data"
        )
    if model is not None and (n_components is not None or assume != "pure_maps"):
        raise EndmemberError(
            "n_components and assume are for what is left open; leave them out, or leave the model out"
        )
    if resume and checkpoint is None:
        raise EndmemberError(
            "resume has no effect without checkpoint; give the file of the interrupted fit"
        )
    signal = as_signal(signal, taken.array, domain)
    if taken.hidden is not None:
        mask, channel_mask, weights = checked_masks(
            taken, domain or taken.shape[:-1], mask, channel_mask, weights
        )
    kept = None if checkpoint is None else Checkpoint(Path(checkpoint), about(signal), resume)
    options = {"mask": mask, "channel_mask": channel_mask, "weights": weights}
    left_open = left_open or model is None
    with session(memory, kept) as work, unchanged(unwrap(signal)):
        if model is None:
            model, why, _ = choose_model(signal, n_components, assume=assume, **options)
            reasons += why
        check_memory(signal, model.get_params(deep=False).get("n_components"))
        result = _unmixed(signal, seeded(clone(model)), options, callback, reasons, left_open)
        result.record["passes"] = len(work.passes)
        if kept is not None:
            kept.clear()
    return result


def _unmixed(
    signal: Any,
    model: Any,
    options: dict[str, Any],
    callback: Any,
    reasons: list[str],
    left_open: bool = False,
) -> Unmixing:
    """Fit a model and put everything together that is kept of it."""

    def read_and_fit() -> Observed:
        observed = model.observed(signal, **options)
        model.fit(observed, callback=callback)
        return observed

    observed, record = timed(read_and_fit)
    record |= {
        "data": describe_data(signal),
        "steps": steps(signal),
        "reasons": reasons,
    }
    result = Unmixing(
        maps=wrap_maps(model.maps_, signal),
        spectra=wrap_spectra(model.components_, signal, unit=model.unit_of_spectra),
        model=model,
        options={name: plain(value) for name, value in options.items() if value is not None},
        record=record,
        misfit=misfit_of(signal, model, options, observed),
    )
    result._data = signal
    if left_open:
        result.comparison = compared(result, second_opinions(model, observed))
    return result


def compared(result: Unmixing, opinions: Mapping[str, Opinion]) -> Comparison | None:
    """Return an answer beside second opinions on it, None where there are none."""
    if len(opinions) < 2:
        return None
    found, axis = opinions.values(), Axis.of(result.spectra)
    return side_by_side(
        list(opinions), [one.model for one in found], n_pixels=result.maps.data[0].size,
        misfit=[one.misfit for one in found], yardstick=[one.yardstick for one in found],
        seconds=[one.seconds for one in found], energy=axis.energy, energy_label=axis.label,
    )  # fmt: skip


def timed(fit: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Return what a fit returns, and what the record keeps of when and with what it was done."""
    began, start = datetime.now(UTC), time.perf_counter()
    return fit(), {
        "written": began.isoformat(timespec="seconds"),
        "fit_seconds": round(time.perf_counter() - start, 3),
        "versions": versions(),
    }


class Unmixing(Answer):
    """What came out of a spectrum image.

    Attributes
    ----------
    maps : HyperSpy signal
        Data ``(k, *domain)``: one map a component, with the scan's axes.
    spectra : HyperSpy signal
        Data ``(k, channels)``: one spectrum a component, of the input's signal class, with its
        energy axis.
    model : estimator
        The fitted model with all that it learned.
    options : dict
        Masks and weights of the fit.
    record : dict
        Data path and hash, processing steps, versions, timings.
    errors : Errors, optional
        Set it to what :func:`em.assess.uncertainty` returns: report and folder keep it.
    bands : Bands, optional
        Set it to what :func:`em.assess.ambiguity` returns.
    intervals : dict of str to Interval
        Put in what :func:`em.assess.displacement` returns, by the name of the quantity.
    comparison : Comparison, optional
        This answer beside second opinions on the same data; made where the model was left open.
    """

    def __repr__(self) -> str:
        return "\n".join(filter(None, [super().__repr__(), self.sentence]))

    @property
    def sentence(self) -> str:
        """What the answer assumes, how far the widest other lies that fits as well, and what would decide."""
        return assumed_in_words(self)

    def report(self, file: str | Path) -> Path:
        """Write one self-contained HTML file: what was done, components, residual, convergence, a methods paragraph.

        Parameters
        ----------
        file : str or Path
            Replaced if it exists.
        """
        return write(compose(self), file)

    def save(self, folder: str | Path, *, overwrite: bool = False, residual: bool = False) -> Path:
        """Keep the answer in formats that others read.

        ``maps.hspy``, ``spectra.hspy``, ``misfit.hspy``, ``arrays.npz``, ``unmixing.json``,
        ``report.html``, and ``errors.hspy`` and ``bands.hspy`` where computed. Written beside and
        renamed: a crash leaves the old answer.

        Parameters
        ----------
        folder : str or Path
        overwrite : bool
            Replace an earlier answer of that name.
        residual : bool
            Keep the full residual too (``residual.hspy``); it is as large as the data and needs
            them where they were.

        Raises
        ------
        FileExistsError
            If the folder exists and may not be replaced.
        """

        def more(new: Path) -> dict[str, Any]:
            if residual:
                self._residual().save(new / "residual.hspy")
            return {"doubts": save_doubts(new, self)}

        one = {"": (self.spectra, self._misfit)}
        return storage.save_answer(self, folder, overwrite, ("maps_", "components_"), one, more)

    def reproduce(self, data: Any = None) -> Unmixing:
        """Run the same model with the same options and seed again.

        Parameters
        ----------
        data : HyperSpy signal or array_like, optional
            The spectrum image; read again from where it came from unless given.

        Raises
        ------
        ValueError
            If the data are not those of this answer, or it is not known where they came from.
        """
        return unmix_one(
            self.data_again() if data is None else data,
            self.model,
            **self.options,
            reasons=self.record["reasons"],
        )

    def data_again(self) -> Any:
        """Return the spectrum image, from memory or read again and treated as before the fit.

        Returns
        -------
        HyperSpy signal

        Raises
        ------
        ValueError
            If it has changed, or is neither in memory nor in a file.
        """
        source, known = self.record["data"]["source"], self.record["data"]["hash"]
        if self._data is not None and fingerprint_of(self._data) == known:
            return self._data
        if source is None:
            raise EndmemberError(
                "these data came from no file and are not in memory as they were; give them, such as "
                "result.reproduce(data)"
            )
        signal = Source(**source).load()
        for step in self.record["steps"]:
            signal = do_again(signal, step)
        if fingerprint_of(signal) != known:
            raise EndmemberError(
                f"{source['path']} no longer gives the data that were unmixed; give them: "
                "result.reproduce(data)"
            )
        return signal

    def _residual(self) -> Any:
        """Return the residual of all pixels and channels that took part, where the model reads them; NaN elsewhere."""
        data = self.data_again()
        explained = self.model.explained(observe(data, **self.options, keep_empty=True))
        observed, weights = explained.observed, explained.weights
        shape = int(np.prod(observed.domain)), observed.n_channels
        residual = np.full(shape, np.nan, observed.data.dtype)
        for rows, block in explained.residual_blocks():
            if weights is not None:
                with np.errstate(invalid="ignore", divide="ignore"):
                    block = block / np.sqrt(weights[rows])
            residual[np.ix_(observed.rows[rows], observed.columns)] = block * observed.unit
        return wrap_like(residual.reshape(*observed.domain, -1), data, "residual", over="both")


def seeded(model: Any) -> Any:
    """Give a model whose seed is no number one, so that it can be run again."""
    for name, seed in model.get_params().items():
        if name.endswith("random_state") and not isinstance(seed, int | np.integer):
            rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng()
            model.set_params(**{name: int(rng.integers(2**31))})
    return model


def plain(value: Any) -> np.ndarray:
    """Return a mask or weights as an array that can be kept."""
    return np.array(value.data if hasattr(value, "axes_manager") else value)
