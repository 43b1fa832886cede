"""An answer about several detectors: shared maps, a signal of spectra for each, kept and read back together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from endmember import show
from endmember.errors import EndmemberError, EndmemberTypeError
from endmember.factor.data.fingerprint import data_hash
from endmember.factor.data.inspection import steps
from endmember.methods.coupled import Coupled, same_pixels
from endmember.show.contents import Components
from endmember.show.html import Report, Section, write
from endmember.show.particular import detectors
from endmember.signals.bridge import as_signal, wrap_maps, wrap_spectra
from endmember.signals.cropping import describe_data, source_of
from endmember.signals.result import reporting, storage
from endmember.signals.result import unmixing as single
from endmember.signals.result.misfits import misfit_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def unmix_together(
    signals: Any,
    model: Any,
    *,
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
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
    weights : None
        There are none.

    Returns
    -------
    CoupledUnmixing

    Raises
    ------
    TypeError, ValueError
        If the model is for one detector, or the detectors cannot be coupled as asked.
    """
    if not isinstance(model, Coupled):
        raise EndmemberTypeError(
            f"several signals need a model of several detectors, such as em.Coupled(3), and not {model!r}"
        )
    if weights is not None:
        raise EndmemberError(
            "em.Coupled takes no weights of entries; give em.Term(…, weights=…) to em.Fusion"
        )
    images = same_pixels(signals)
    wrapped = [
        one if image.shape[-1] == 1 else as_signal(one, image)
        for one, image in zip(signals, images, strict=True)
    ]
    model = single.seeded(clone(model))
    options = {"mask": mask, "channel_mask": channel_mask}
    _, record = single.timed(partial(model.fit, images, **options, callback=callback))
    record |= {
        "detectors": [
            {"data": _describe_image(one, image), "steps": []}
            if image.shape[-1] == 1
            else {"data": describe_data(signal), "steps": steps(signal)}
            for one, signal, image in zip(signals, wrapped, images, strict=True)
        ],
    }
    masks = [{"mask": mask, "channel_mask": one} for one in channel_mask or [None] * len(wrapped)]
    is_cube = [image.shape[-1] > 1 for image in images]
    return CoupledUnmixing(
        # The scan of the first detector that is no image is that of the maps.
        maps=wrap_maps(model.maps_, wrapped[is_cube.index(True)]),
        spectra=[
            _brightness(S)
            if image.shape[-1] == 1
            else wrap_spectra(S, signal, unit=model.unit_of_spectra)
            for S, signal, image in zip(model.spectra_, wrapped, images, strict=True)
        ],
        model=model,
        options={
            name: [None if one is None else single.plain(one) for one in value]
            if isinstance(value, list | tuple)
            else single.plain(value)
            for name, value in options.items()
            if value is not None
        },
        record=record,
        misfits=[
            misfit_of(wrapped[d], model.seen_by(d), masks[d]) if cube else None
            for d, cube in enumerate(is_cube)
        ],
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
        records = [{**self.record, **own, "reasons": []} for own in self.record["detectors"]]
        return [
            None if misfit is None else single.Unmixing(
                maps=self.maps, spectra=spectra, model=self.model.seen_by(d), options={},
                record=records[d], misfit=misfit,
            )
            for d, (spectra, misfit) in enumerate(zip(self.spectra, self._misfits, strict=True))
        ]  # fmt: skip

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
        parts = enumerate(zip(self.spectra, self._misfits, strict=True), 1)
        detectors = {f"_{number}": part for number, part in parts}
        return storage.save_answer(self, folder, overwrite, ("maps_", "spectra_"), detectors)

    def reproduce(self, data: Sequence[Any] | None = None) -> CoupledUnmixing:
        """Run the same model with the same options and seed again on the data of all detectors.

        Parameters
        ----------
        data : list of HyperSpy signals or arrays
            One a detector, in the order of the fit.

        Raises
        ------
        ValueError
            If no data are given: those of several detectors are not kept.
        """
        if data is None:
            raise EndmemberError(
                "the data of several detectors are not in memory; give them, such as "
                "result.reproduce([first, second])"
            )
        return unmix_together(data, self.model, **self.options)


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
        "source": source_of(one) if is_signal else None,
        "hash": data_hash(np.asarray(image)),
        "shape": [int(size) for size in image.shape],
        "dtype": str(image.dtype),
        "energy": {"name": "Intensity", "units": "", "first": 0.0, "last": 0.0},
    }


def _compose(result: CoupledUnmixing) -> Report:
    """Return the report of an answer about several detectors."""
    model, names = result.model, result.labels
    caption = "What the components leave unexplained, in space and in energy."
    described = [detector["data"] for detector in result.record["detectors"]]
    return Report(
        title=" and ".join(names),
        subtitle=f"{model.n_components_} components of {len(names)} detectors by Coupled",
        sentences=_findings(result),
        warnings=reporting.doubts(model),
        sections=[
            Section("Components", figure=result.plot(),
                    caption="Shared maps, and spectra of every detector."),
            *(Section(f"Residual of {name}", figure=show.residual(part), caption=caption)
              for part, name in zip(result.detectors, names, strict=True) if part is not None),
            *reporting._convergence(model),
            *(Section(f"Data of {name}", table=reporting._about_data(data, data["source"]))
              for data, name in zip(described, names, strict=True)),
            Section("Parameters", table=_parameters(model)),
        ],
        methods=f"{reporting._in_words(model)}{reporting._outcome(model)}",
        references=reporting.references(model),
        footer=reporting._footer(result.record),
    )  # fmt: skip


def _findings(result: CoupledUnmixing) -> list[str]:
    """Return what came out, in sentences."""
    model, names = result.model, result.labels
    weights = ", ".join(f"{name} {w:.3g}" for name, w in zip(names, model.weights_, strict=True))
    found = [
        f"The data of {len(names)} detectors were separated into {model.n_components_} components.",
        "Weights of the detectors (automatic ones are one over the variance of the noise, or 1 under a loss for "
        f"counts, which has it inside): {weights}.",
    ]
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
