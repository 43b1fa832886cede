"""An answer that can be told, kept and repeated, and the fit that it comes from."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from endmember import assess, show
from endmember.assess.comparison import Comparison, side_by_side
from endmember.assess.opinions import second_opinions
from endmember.errors import NAMES_IN_RESULTS, refuse_if
from endmember.factor.data import (
    Axis,
    Checkpoint,
    Observed,
    checked_masks,
    given,
    is_signal,
    observe,
    session,
    steps,
    unchanged,
    unwrap,
)
from endmember.factor.penalties import Automatic
from endmember.factor.scale.carriers import area
from endmember.methods.checks import seeded
from endmember.show import Components, Figure, Misfit, Shown, write
from endmember.signals.bridge import (
    as_signal,
    fill_learning_results,
    with_values,
    wrap_like,
    wrap_maps,
    wrap_spectra,
)
from endmember.signals.choosing import VARIANCE, choose_model, weights_known
from endmember.signals.cropping import describe_data, do_again, energy_of, mode_labels, pixels_of
from endmember.signals.files.source import Source
from endmember.signals.plan import check_memory
from endmember.signals.result import storage
from endmember.signals.result.doubts import assumed_in_words, save_doubts
from endmember.signals.result.exporting import export
from endmember.signals.result.folders import DATA
from endmember.signals.result.misfits import misfit_of
from endmember.signals.result.provenance import about, fingerprint_of, versions
from endmember.signals.result.reporting import compose

#: Spectra that start above this fraction of their maximum still hold their background.
BACKGROUND = 0.1


def unmix_one(
    signal: Any,
    model: Any = None,
    *,
    n_components: int | None = None,
    assume: str = "pure_maps",
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    exposure: Any = None,
    domain: tuple[int, ...] | None = None,
    pattern: tuple[int, ...] | None = None,
    callback: Any = None,
    reasons: Sequence[str] = (),
    memory: int | str | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    left_open: bool = False,
) -> "Unmixing":
    """Separate one spectrum image, with the parameters of ``em.unmix``; ``left_open`` asks for second opinions."""
    taken, reasons = given(signal, pattern=pattern), list(reasons)
    refuse_if(
        is_signal(signal) and domain is not None and tuple(domain) != taken.shape[:-1],
        f"domain={domain} is not that of the signal, {taken.shape[:-1]}; leave it out, or give signal.data",
    )
    refuse_if(
        model is not None and (n_components is not None or assume != "pure_maps"),
        "n_components and assume are for what is left open; leave them out, or leave the model out",
    )
    refuse_if(
        resume and checkpoint is None,
        "resume has no effect without checkpoint; give the file of the interrupted fit",
    )
    signal = as_signal(signal, taken.array, domain, taken.pattern)
    if taken.hidden is not None:
        mask, channel_mask, weights = checked_masks(
            taken, domain or taken.shape[:-1], mask, channel_mask, weights
        )
    kept = None if checkpoint is None else Checkpoint(Path(checkpoint), about(signal), resume)
    if weights is None and signal.metadata.has_item(VARIANCE):
        weights = weights_known(signal, model, reasons)
    options = {"mask": mask, "channel_mask": channel_mask, "weights": weights, "exposure": exposure}
    left_open = left_open or model is None
    with session(memory, kept) as work, unchanged(unwrap(signal)):
        if model is None:
            model, why, _ = choose_model(
                signal, n_components, assume=assume, random_state=0, **options
            )
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
) -> "Unmixing":
    """Fit a model and put everything together that is kept of it."""

    def read_and_fit() -> Observed:
        observed = model.observed(signal, **options)
        model.fit(observed, callback=callback)
        return observed

    observed, record = timed(read_and_fit)
    model.with_patterns(observed.pattern)
    record |= {
        "data": describe_data(signal),
        "steps": steps(signal),
        "reasons": reasons,
        "whole_numbers": bool(observed.survey.integer),
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
    opinions = second_opinions(model, observed) if left_open else {}
    if len(opinions) > 1:
        found, axis = opinions.values(), Axis.of(result.spectra)
        result.comparison = side_by_side(
            list(opinions), [one.model for one in found], n_pixels=result.maps.data[0].size,
            misfit=[one.misfit for one in found], yardstick=[one.yardstick for one in found],
            seconds=[one.seconds for one in found], energy=axis.energy, energy_label=axis.label,
        )  # fmt: skip
    return result


def timed(fit: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Return what a fit returns, and what the record keeps of when and with what it was done."""
    began, start = datetime.now(UTC), time.perf_counter()
    return fit(), {
        "written": began.isoformat(timespec="seconds"),
        "fit_seconds": round(time.perf_counter() - start, 3),
        "versions": versions(),
    }


class Unmixing(Shown):
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
    options, record : dict
        Masks, weights and exposure of the fit; data path and hash, processing steps, versions, timings.
    errors : Errors, optional
        Set it to what :func:`em.assess.uncertainty` returns: report and folder keep it.
    bands : Bands, recurrence : Recurrence, anomalies : Anomalies, optional
        Likewise what :func:`em.assess.ambiguity`, :func:`em.assess.recurrence`, :func:`em.assess.anomalies` return.
    intervals : dict of str to Interval
        Put in what :func:`em.assess.displacement` returns, by the name of the quantity.
    percentages : Composition, optional
        What :meth:`composition` found last: the report shows it, and the folder keeps it as ``composition.csv``.
    comparison : Comparison, optional
        This answer beside second opinions on the same data; made where the model was left open.
    """

    def __init__(
        self,
        *,
        maps: Any,
        spectra: Any,
        model: Any,
        options: dict[str, Any],
        record: dict[str, Any],
        misfit: dict[str, np.ndarray],
    ) -> None:
        self.maps, self.spectra, self.model = maps, spectra, model
        self.options, self.record = options, record
        self._misfit, self._data = misfit, None
        self.errors: assess.Errors | None = None
        self.bands: assess.Bands | None = None
        self.intervals: dict[str, assess.Interval] = {}
        self.comparison: Comparison | None = None
        self.recurrence: assess.Recurrence | None = None
        self.anomalies: assess.Anomalies | None = None
        self.percentages: assess.Composition | None = None

    def __getattr__(self, name: str) -> Any:
        known = f"; it is called {NAMES_IN_RESULTS[name]}" if name in NAMES_IN_RESULTS else ""
        raise AttributeError(f"{type(self).__name__} has no {name}{known}")

    def __repr__(self) -> str:
        k, *domain = self.maps.data.shape
        size = f"{' x '.join(map(str, domain))} pixels, {self.spectra.data[0].size} channels"
        chosen = [
            f", {type(part).__name__}({part.weight:.3g})"
            for _, part in self.model.parts()
            if isinstance(getattr(part, "weight", None), Automatic)
        ]
        words = (
            f"{k} component{'s' * (k > 1)}, {size}, {type(self.model).__name__}{''.join(chosen)}"
        )
        return "\n".join(filter(None, [f"<{type(self).__name__}: {words}>", self.sentence]))

    def __str__(self) -> str:
        return "\n".join([repr(self), *self.record["reasons"]])

    @property
    def sentence(self) -> str:
        """What the answer assumes, how far the widest other lies that fits as well, and what would decide."""
        return assumed_in_words(self)

    def plot(self) -> Figure:
        """Draw every component: map and spectrum side by side, for a series also its profiles."""
        learned = self.model.learned()
        if "mode_shapes_" not in learned:
            return show.components(self)
        picture, shapes = self.picture(), learned["mode_shapes_"]
        return show.profiles(
            learned["factors_"], shapes, labels=mode_labels(self.maps, shapes), energy=picture.energy,
            energy_label=Axis.of(self.spectra).label, title=picture.title,
        )  # fmt: skip

    def fractions(self, window: tuple[float, float] | None = None) -> Any:
        """Return maps of fractions: maps times the area of their spectra, summing to one in every pixel.

        Parameters
        ----------
        window : (start, stop), optional
            The part of the energy axis whose area counts, in its unit; all of it unless given.

        Returns
        -------
        HyperSpy signal
            Data ``(k, *domain)``; NaN where a pixel holds nothing.

        Raises
        ------
        ValueError
            If a spectrum has no positive area over the window, or if the background of an energy-loss
            spectrum is still in: its area says nothing of amounts.
        """
        refuse_if(
            window is None and self._has_background(),
            "the background is still in: spectra have intensity before their first edge, so their "
            "areas are no amounts; subtract it first, crop it away, or give window=(start, stop) to "
            "compare areas over a window all the same",
        )
        areas = area(
            np.reshape(self.spectra.data, (len(self.spectra.data), -1)).T,
            Axis.of(self.spectra).energy,
            window,
        )
        refuse_if(
            not (areas > 0).all(),
            f"component {np.argmin(areas > 0) + 1} has no positive area over the window, so fractions mean "
            "nothing; choose a window in which every component has intensity",
        )
        amounts = np.moveaxis(np.asarray(self.maps.data, dtype=float), 0, -1) * areas
        total = amounts.sum(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            fractions = np.where(total > 0, amounts / total, np.nan)
        return with_values(self.maps, fractions, "fractions")

    def composition(
        self, method: str | None = None, factors: Any = None, **options: Any
    ) -> assess.Composition:
        """Return what every component holds of each element, with errors; as :func:`em.assess.composition`."""
        found = assess.composition(self, method=method, factors=factors, **options)
        self.percentages = replace(found, maps=with_values(
            self.maps, np.moveaxis(found.maps, 0, -1), "atomic per cent"))  # fmt: skip
        return self.percentages

    def spectra_in_counts(self) -> Any:
        """Return the spectra in the unit of the data: how much each component has of the sum of all pixels.

        Each is :attr:`spectra` times the sum of its map, whatever the norm of the spectra, so that all together add
        up to what the model explains of the data, summed over pixels. What asks for counts works on these, such as
        eXSpy's ``get_lines_intensity`` and ``quantification``.

        Returns
        -------
        HyperSpy signal
            Data ``(k, channels)``; masked pixels do not count.

        Raises
        ------
        ValueError
            If the model takes the mean spectrum off first: its components describe deviations, which have no counts.
        """
        refuse_if(
            self.model._offset() is not None,
            f"{type(self.model).__name__} has taken the mean spectrum off, so its components are deviations of "
            "either sign and hold no counts; use a model without a mean, such as em.PCA(k) or em.NMF(k)",
        )
        total = np.nansum(self.maps.data, axis=tuple(range(1, self.maps.data.ndim)), dtype=float)
        spectra = self.spectra.deepcopy()
        spectra.data = (spectra.data.T * total).T.astype(spectra.data.dtype)
        if spectra.metadata.has_item("Signal.quantity_of_data"):
            spectra.metadata.Signal.quantity = spectra.metadata.Signal.quantity_of_data
        return spectra

    def _has_background(self) -> bool:
        """Tell whether energy-loss spectra start well above zero and fall: a background, not an edge."""
        if self.spectra.metadata.get_item("Signal.signal_type", default="") != "EELS":
            return False
        spectra = np.nan_to_num(np.asarray(self.spectra.data, dtype=float))
        start = spectra[:, : max(2, spectra.shape[1] // 30)].mean(axis=1)
        return bool(np.any(start > BACKGROUND * np.abs(spectra).max(axis=1)))

    def to_hyperspy(self, signal: Any) -> None:
        """Put this answer into ``signal.learning_results``, where HyperSpy's own plots of a decomposition find it."""
        maps = np.moveaxis(self.maps.data, 0, -1)
        fill_learning_results(signal, maps, self.spectra.data, type(self.model).__name__)

    def picture(self) -> Components:
        """Return what :func:`endmember.show.components` draws."""
        return Components(
            maps=np.moveaxis(self.maps.data, 0, -1),
            spectra=self.spectra.data,
            title=self.record["data"]["title"] or None,
            names=getattr(self.percentages, "names", self.record.get("names", self.model.learned().get("names_"))),
            spectrum_label=self.spectra.metadata.get_item("Signal.quantity", default="Intensity"),
            **energy_of(self.spectra),
            **pixels_of(self.maps),
        )  # fmt: skip

    def misfit(self) -> Misfit:
        """Return what :func:`endmember.show.residual` draws."""
        arrays: dict[str, Any] = dict(self._misfit)
        return Misfit(**arrays, **energy_of(self.spectra), **pixels_of(self.maps))

    def report(self, file: str | Path) -> Path:
        """Write one self-contained HTML file: what was done, components, residual, convergence, a methods paragraph.

        Parameters
        ----------
        file : str or Path
            Replaced if it exists.
        """
        return write(compose(self), file)

    def export(self, path: str | Path) -> list[Path]:
        """Write a file that other programs open; what is in it follows from the ending of its name.

        Parameters
        ----------
        path : str or Path
            Replaced if it exists. ``.csv``: a table of the spectra. ``.msa``: each spectrum, such as for
            DigitalMicrograph, in ``NAME-1.msa`` and so on where there are several. ``.tif``: the maps as pages of
            32-bit numbers with the pixel size, as ImageJ reads them. ``.json``: maps, spectra, energies and the
            record. ``.pdf``, ``.svg``, ``.png``: the picture, its letters left as letters that can be edited.

        Returns
        -------
        list of Path
            The files that were written.

        Raises
        ------
        ValueError
            If the name ends in none of these.
        """
        return export(self, path)

    def save(
        self, folder: str | Path, *, overwrite: bool = False, residual: bool = False, data: bool = False
    ) -> Path:  # fmt: skip
        """Keep the answer in formats that others read.

        ``maps.hspy``, ``spectra.hspy``, ``misfit.hspy``, ``arrays.npz``, ``unmixing.json``, ``report.html``, and
        ``errors.hspy``, ``bands.hspy``, ``anomalies.hspy`` where computed; a crash leaves the old answer.

        Parameters
        ----------
        folder : str or Path
        overwrite : bool
            Replace an earlier answer of that name.
        residual : bool
            Keep the full residual too (``residual.hspy``); it is as large as the data and needs them.
        data : bool
            Keep a copy of the data (``data.hspy``): the folder alone then suffices to :meth:`reproduce`.

        Raises
        ------
        FileExistsError
            If the folder exists and may not be replaced.
        """

        def more(new: Path) -> dict[str, Any]:
            if data or DATA in str(self.record["data"]["source"]):
                self.data_again().save(new / DATA)
            if residual:
                self._residual().save(new / "residual.hspy")
            if self.percentages:
                lines = [",".join(row) for row in self.percentages.rows()]
                (new / "composition.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
            named = {"names": self.percentages.names} if self.percentages else {}
            return {"doubts": save_doubts(new, self), **named}

        return storage.save_answer(self, self._misfit, folder, overwrite, more)

    def reproduce(self, data: Any = None) -> "Unmixing":
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
        refuse_if(
            source is None,
            "these data came from no file and are not in memory as they were; give them, such as "
            "result.reproduce(data)",
        )
        signal = Source(**source).load()
        for step in self.record["steps"][len(steps(signal)) :]:
            signal = do_again(signal, step)
        refuse_if(
            fingerprint_of(signal) != known,
            f"{source['path']} no longer gives the data that were unmixed; give them: "
            "result.reproduce(data)",
        )
        return signal

    def _residual(self) -> Any:
        """Return the residual of all pixels and channels that took part, where the model reads them; NaN elsewhere."""
        data = self.data_again()
        explained = self.model.explained(
            observe(data, **self.options, keep_empty=True)
        ).as_recorded()
        observed, weights = explained.observed, explained.weights
        shape = int(np.prod(observed.domain)), observed.n_channels
        residual = np.full(shape, np.nan, observed.data.dtype)
        for rows, block in explained.residual_blocks():
            if weights is not None:
                with np.errstate(invalid="ignore", divide="ignore"):
                    block = block / np.sqrt(weights[rows])
            residual[np.ix_(observed.rows[rows], observed.columns)] = block * observed.unit
        return wrap_like(residual.reshape(*observed.domain, -1), data, "residual")


def plain(value: Any) -> np.ndarray:
    """Return a mask or weights as an array that can be kept."""
    return np.array(value.data if hasattr(value, "axes_manager") else value)
