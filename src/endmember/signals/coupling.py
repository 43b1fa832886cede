"""An answer about several detectors: shared maps, a signal of spectra for each, kept and read back together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from endmember import show
from endmember.methods.coupled import Coupled, same_pixels
from endmember.show.contents import Components
from endmember.show.html import Report, Section, write
from endmember.show.particular import detectors
from endmember.signals import folders, provenance, reporting, storage
from endmember.signals import unmixing as single
from endmember.signals.axes import describe_data
from endmember.signals.bridge import wrap_maps, wrap_spectra
from endmember.signals.misfits import misfit_of, open_misfit, save_misfit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def together(signals: Any, model: Any, weights: Any, **options: Any) -> Any:
    """Unmix several detectors, or say why not."""
    if not isinstance(model, Coupled):
        raise TypeError(
            f"several signals need a model of several detectors, such as em.Coupled(3), and not {model!r}"
        )
    if weights is not None:
        raise ValueError(
            "em.Coupled takes no weights of entries; give em.Term(…, weights=…) to em.Fusion"
        )
    return unmix_together(signals, model, **options)


def unmix_together(
    signals: Sequence[Any],
    model: Coupled,
    *,
    mask: Any = None,
    channel_mask: Any = None,
    callback: Any = None,
) -> CoupledUnmixing:
    """Separate several detectors' data of one area into shared maps and a set of spectra for each.

    Parameters
    ----------
    signals : sequence of HyperSpy signals or arrays, (*domain, channels), or images (*domain)
        Never changed.
    model : em.Coupled
        A copy is fitted.
    mask, channel_mask, callback
        As in :meth:`em.Coupled.fit`.

    Returns
    -------
    CoupledUnmixing
    """
    images = same_pixels(signals)
    wrapped = [_as_signal(one, image) for one, image in zip(signals, images, strict=True)]
    model = single._seeded(clone(model))
    options = {"mask": mask, "channel_mask": channel_mask}
    began, start = datetime.now(UTC), time.perf_counter()
    model.fit(images, **options, callback=callback)
    record = {
        "written": began.isoformat(timespec="seconds"),
        "fit_seconds": round(time.perf_counter() - start, 3),
        "versions": provenance.versions(),
        "detectors": [
            {"data": _describe_image(one, image), "steps": []}
            if image.shape[-1] == 1
            else {"data": describe_data(signal), "steps": provenance.steps(signal)}
            for one, signal, image in zip(signals, wrapped, images, strict=True)
        ],
    }
    left_out = channel_mask or [None] * len(wrapped)
    misfits: list[dict[str, np.ndarray] | None] = []
    for d, signal in enumerate(wrapped):
        if images[d].shape[-1] == 1:
            misfits.append(None)
            continue
        misfits.append(
            misfit_of(signal, model.seen_by(d), {"mask": mask, "channel_mask": left_out[d]})
        )
    return CoupledUnmixing(
        maps=wrap_maps(model.maps_, _first_cube(wrapped, images)),
        spectra=[
            _brightness(S)
            if image.shape[-1] == 1
            else wrap_spectra(S, signal, unit=model.unit_of_spectra)
            for S, signal, image in zip(model.spectra_, wrapped, images, strict=True)
        ],
        model=model,
        options={
            name: [None if one is None else single._plain(one) for one in value]
            if isinstance(value, list | tuple)
            else single._plain(value)
            for name, value in options.items()
            if value is not None
        },
        record=record,
        misfits=misfits,
    )


class CoupledUnmixing:
    """What came out of several detectors over one area.

    Attributes
    ----------
    maps : HyperSpy signal
        Data ``(k, *domain)``: the shared maps.
    spectra : list of HyperSpy signals
        One a detector, data ``(k, channels)``, of its signal class, with its energy axis; for an image
        the brightness of each component, ``(k,)``.
    model : em.Coupled
        The fitted model with all that it learned.
    options, record : dict
        Masks of the fit; data, hashes, versions, timings.
    """

    def __init__(
        self,
        *,
        maps: Any,
        spectra: list[Any],
        model: Coupled,
        options: dict[str, Any],
        record: dict[str, Any],
        misfits: list[dict[str, np.ndarray] | None],
    ) -> None:
        self.maps, self.spectra, self.model = maps, spectra, model
        self.options, self.record, self._misfits = options, record, misfits

    def __repr__(self) -> str:
        k, *domain = self.maps.data.shape
        size = " x ".join(str(n) for n in domain)
        return f"<CoupledUnmixing: {k} components, {size} pixels, {len(self.spectra)} detectors>"

    @property
    def detectors(self) -> list[single.Unmixing | None]:
        """The answer as each detector sees it; None for images."""
        parts: list[single.Unmixing | None] = []
        for d, (spectra, misfit) in enumerate(zip(self.spectra, self._misfits, strict=True)):
            if misfit is None:
                parts.append(None)
                continue
            record = {**self.record, **self.record["detectors"][d], "reasons": []}
            parts.append(
                single.Unmixing(
                    maps=self.maps, spectra=spectra, model=self.model.seen_by(d), options={},
                    record=record, misfit=misfit,
                )
            )  # fmt: skip
        return parts

    @property
    def labels(self) -> list[str]:
        """The names of the detectors."""
        titles = [detector["data"]["title"] for detector in self.record["detectors"]]
        kinds = [one.metadata.get_item("Signal.signal_type", default="") for one in self.spectra]
        names = [
            f"{title} ({kind})" if titles.count(title) > 1 and kind else title
            for title, kind in zip(titles, kinds, strict=True)
        ]
        return [
            name if name and names.count(name) == 1 else f"{name} {d + 1}".strip()
            for d, name in enumerate(names)
        ]

    def plot(self) -> Figure:
        """Draw the shared map of every component beside its spectra."""
        maps = np.moveaxis(self.maps.data, 0, -1)
        pictures = [
            Components(maps, spectra.data[:, None]) if part is None else part.picture()
            for part, spectra in zip(self.detectors, self.spectra, strict=True)
        ]
        return detectors(pictures, self.labels)

    def report(self, file: str | Path) -> Path:
        """Write one self-contained HTML file about all detectors.

        Parameters
        ----------
        file : str or Path
            Replaced if it exists.
        """
        return write(_compose(self), file)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Keep the answer in formats that others read.

        ``maps.hspy``, ``spectra_1.hspy`` and ``misfit_1.hspy`` for every detector, ``unmixing.json`` and
        ``report.html``. Written beside and renamed: a crash leaves the old answer.

        Parameters
        ----------
        folder : str or Path
        overwrite : bool
            Replace an earlier answer of that name.

        Raises
        ------
        FileExistsError
            If the folder exists and may not be replaced.
        """
        folder = Path(folder)
        with folders.replacing(folder, overwrite) as new:
            self.maps.save(new / "maps.hspy")
            for d, (spectra, misfit) in enumerate(zip(self.spectra, self._misfits, strict=True), 1):
                spectra.save(new / f"spectra_{d}.hspy")
                if misfit is not None:
                    save_misfit(new / f"misfit_{d}.hspy", misfit, self.maps, spectra)
            arrays: dict[str, np.ndarray] = {}
            written = storage.written(
                self.model, self.options, arrays, beside=("maps_", "spectra_")
            )
            storage.write_record(new, {**self.record, **written}, arrays)
            storage.add_report(self, new / "report.html")
        return folder

    def reproduce(self, data: Sequence[Any]) -> CoupledUnmixing:
        """Run the same model with the same options and seed again on the data of all detectors."""
        return unmix_together(data, self.model, **self.options)


def open_together(
    place: Path, record: dict[str, Any], model: Any, options: dict[str, Any]
) -> CoupledUnmixing:
    """Read back what :meth:`CoupledUnmixing.save` wrote."""
    import hyperspy.api as hs

    maps, numbers = hs.load(place / "maps.hspy"), range(1, len(record["detectors"]) + 1)
    spectra = [hs.load(place / f"spectra_{d}.hspy") for d in numbers]
    model.restored(
        {
            "maps_": np.moveaxis(maps.data, 0, -1),
            "spectra_": [one.data.reshape(len(one.data), -1) for one in spectra],
        }
    )
    misfits = [
        open_misfit(place / f"misfit_{d}.hspy") if (place / f"misfit_{d}.hspy").exists() else None
        for d in numbers
    ]
    return CoupledUnmixing(
        maps=maps, spectra=spectra, model=model, options=options, record=record, misfits=misfits
    )


def _as_signal(one: Any, image: Any) -> Any:
    """Return the data of one detector as a signal of spectra; an image as it is."""
    import hyperspy.api as hs

    if hasattr(one, "axes_manager") or image.shape[-1] == 1:
        return one
    return hs.signals.Signal1D(np.asarray(image))


def _first_cube(wrapped: Sequence[Any], images: Sequence[Any]) -> Any:
    """Return the first detector that is no image: its scan is that of the maps."""
    return next(
        (signal for signal, image in zip(wrapped, images, strict=True) if image.shape[-1] > 1)
    )


def _brightness(S: np.ndarray) -> Any:
    """Return how bright each component is in an image, (k,)."""
    import hyperspy.api as hs

    axis = {"name": "component", "size": len(S), "navigate": False}
    return hs.signals.Signal1D(
        S[:, 0], axes=[axis], metadata={"General": {"title": "brightness of the components"}}
    )


def _describe_image(one: Any, image: Any) -> dict[str, Any]:
    """Return what is kept of an image."""
    is_signal = hasattr(one, "metadata")
    title = one.metadata.get_item("General.title", default="") if is_signal else ""
    return {
        "title": title or "Image",
        "source": provenance.source(one) if is_signal else None,
        "hash": provenance.data_hash(np.asarray(image)),
        "shape": [int(size) for size in image.shape],
        "dtype": str(image.dtype),
        "energy": {"name": "Intensity", "units": "", "first": 0.0, "last": 0.0},
    }


def _compose(result: CoupledUnmixing) -> Report:
    """Return the report of an answer about several detectors."""
    model, names = result.model, result.labels
    sections = [
        Section(
            "Components",
            figure=result.plot(),
            caption="Shared maps, and spectra of every detector.",
        )
    ]
    for part, name in zip(result.detectors, names, strict=True):
        if part is not None:
            caption = "What the components leave unexplained, in space and in energy."
            sections.append(
                Section(f"Residual of {name}", figure=show.residual(part), caption=caption)
            )
    sections += reporting._convergence(model)
    for detector, name in zip(result.record["detectors"], names, strict=True):
        data = detector["data"]
        sections.append(
            Section(f"Data of {name}", table=reporting._about_data(data, data["source"]))
        )
    sections.append(Section("Parameters", table=_parameters(model)))
    return Report(
        title=" and ".join(names),
        subtitle=f"{model.n_components_} components of {len(names)} detectors by Coupled",
        sentences=_findings(result),
        warnings=reporting._warnings(model),
        sections=sections,
        methods=f"{reporting._in_words(model)}{reporting._outcome(model)}",
        references=reporting.references(model),
        footer=reporting._footer(result.record),
    )


def _findings(result: CoupledUnmixing) -> list[str]:
    """Return what came out, in sentences."""
    model, names = result.model, result.labels
    found = [
        f"The data of {len(names)} detectors were separated into {model.n_components_} components."
    ]
    weights = ", ".join(f"{name} {w:.3g}" for name, w in zip(names, model.weights_, strict=True))
    found.append(
        "Weights of the detectors (automatic ones are one over the variance of the noise, or 1 under a loss for "
        f"counts, which has it inside): {weights}."
    )
    if model.coupling == "weak":
        apart = [
            f"{name} {np.linalg.norm(np.nan_to_num(N)) / np.linalg.norm(np.nan_to_num(model.maps_)):.2g}"
            for name, N in zip(names, model.deviations_, strict=True)
            if N is not None
        ]
        found.append(
            f"How far maps of a detector are from the shared ones, relative: {', '.join(apart)}."
        )
    return found


def _parameters(model: Coupled) -> list[tuple[object, object]]:
    rows: list[tuple[object, object]] = [("Model", "Coupled")]
    return rows + [(name, repr(value)) for name, value in model.get_params(deep=False).items()]
