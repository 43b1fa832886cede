"""Both doors of the library, ``em.unmix`` and ``em.open``, for one detector or several; the answer about several."""

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
from endmember.methods.estimator import SpectralEstimator
from endmember.show.contents import Components
from endmember.show.html import Report, Section, write
from endmember.show.particular import detectors
from endmember.show.shown import Shown
from endmember.signals.bridge import as_signal, wrap_maps, wrap_spectra
from endmember.signals.cropping import describe_data, source_of
from endmember.signals.files.reading import read
from endmember.signals.result import reporting, storage
from endmember.signals.result.doubts import open_doubts
from endmember.signals.result.folders import existing
from endmember.signals.result.joint import JointUnmixing, open_images, unmix_images
from endmember.signals.result.misfits import MISFIT_TITLES, misfit_of, open_together
from endmember.signals.result.unmixing import Unmixing, plain, seeded, timed, unmix_one

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def unmix(
    signal: Any,
    model: Any = None,
    *,
    n_components: int | None = None,
    assume: str = "pure_maps",
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    domain: tuple[int, ...] | None = None,
    pattern: tuple[int, ...] | None = None,
    callback: Any = None,
    reasons: Sequence[str] = (),
    memory: int | str | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> Unmixing | CoupledUnmixing | JointUnmixing:
    """Separate a spectrum image into pure spectra and their maps.

    Parameters
    ----------
    signal : HyperSpy signal or array_like, (*domain, channels), or a list of them
        With one signal axis; an array gets axes without units. Never changed. Several detectors of one
        area, ``[eels, edxs]``, go with ``em.Coupled(k)`` and give a :class:`CoupledUnmixing`; several images of any
        size with shared spectra go with any other model and give a :class:`JointUnmixing`, with a mask for each.
    model : estimator, optional
        Such as ``em.NMF(3)``. A copy is fitted; the one given stays as it is. Without one, the rank
        panel says how many components, the noise which loss, a test where each is absent, and the report why.
    n_components : int, optional
        How many components, all else left open.
    assume : "pure_maps" or "distinct_spectra"
        Mixed pixels and like spectra are the same data. Without a model, phases are taken to be as separate as
        the data allow, or with "distinct_spectra" spectra to be as different.
    mask, channel_mask, weights, domain, pattern, callback
        As in ``em.NMF.fit``.
    reasons : sequence of str, optional
        Why this model, for the report.
    memory : int or str, optional
        What lazy data may take while they are read block by block, such as ``"1GB"``, besides what the
        process holds already; what cannot fit is refused. No limit unless given.
    checkpoint : str or Path, optional
        A folder where the result of every pass over lazy data is kept until the fit has ended.
    resume : bool
        Use what an interrupted fit has left in ``checkpoint``.

    Returns
    -------
    Unmixing, or CoupledUnmixing of several detectors, or JointUnmixing of several images

    Raises
    ------
    ValueError
        If the data cannot be unmixed as asked; the message says what is allowed.

    Examples
    --------
    >>> import endmember as em
    >>> phantom = em.synthetic.diode(shape=(12, 12), channels=60)
    >>> result = em.unmix(phantom.signal, em.NMF(3, random_state=0))
    >>> result.maps.data.shape, result.spectra.data.shape
    ((3, 12, 12), (3, 60))
    """
    if not isinstance(model, SpectralEstimator | Coupled | None):
        raise EndmemberTypeError(f"model={model!r} is not a model; give one such as em.NMF(3)")
    of_all: dict[str, Any] = {
        "mask": mask, "channel_mask": channel_mask, "weights": weights, "callback": callback,
    }  # fmt: skip
    of_one: dict[str, Any] = {
        "n_components": n_components, "domain": domain, "pattern": pattern, "reasons": reasons, "memory": memory,
        "checkpoint": checkpoint, "resume": resume,
    }  # fmt: skip
    several = isinstance(signal, list | tuple) and any(  # and not one array as nested lists
        hasattr(one, "axes_manager") or np.ndim(one) > 2 for one in signal
    )
    if not (isinstance(model, Coupled) or several):
        return unmix_one(signal, model, assume=assume, **of_all, **of_one)
    needless = [name for name, value in of_one.items() if value]
    needless += ["assume"] if assume != "pure_maps" else []
    if needless:
        raise EndmemberError(f"a list of data takes no {' and no '.join(needless)}; leave it out")
    if isinstance(model, Coupled):
        return unmix_together(signal, model, **of_all)
    if model is None:
        raise EndmemberError(
            "a list of data can mean several things; give em.NMF(k) for several images with shared spectra, "
            "em.Coupled(k) for several detectors of one area, or one array, numpy.stack(images), for a series of it"
        )
    if of_all.pop("weights") is not None:
        raise EndmemberError(
            "several images take no weights; mask pixels and channels, or stack the images yourself"
        )
    return unmix_images(signal, model, **of_all)


def open_folder(
    folder: str | Path, *, classes: Sequence[type] = ()
) -> Unmixing | CoupledUnmixing | JointUnmixing:
    """Read back an answer that :meth:`Unmixing.save` wrote; this is ``em.open``.

    Parameters
    ----------
    folder : str or Path
    classes : sequence of type
        Your own losses, penalties, solvers and estimators that the model was made with; those that are imported
        already are found by themselves. Nothing is ever imported because a file names it.

    Returns
    -------
    Unmixing
        With maps, spectra and fitted model; the data are read again only where they are needed. Where a class is
        not at hand the model is described by what the file says, and ``transform`` says which class to give.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged.
    """
    place = existing(Path(folder))
    record, arrays = storage.read_record(place)
    try:
        model, options = storage.read_model(record, arrays, classes)
        if "images" in record:
            return open_images(place, model, options, record)
        (maps,) = read(place / "maps.hspy")
        numbers = range(1, len(record.get("detectors", ())) + 1)
        endings = [f"_{number}" for number in numbers] or [""]
        spectra = [read(place / f"spectra{ending}.hspy")[0] for ending in endings]
        misfits: list[Any] = [  # none of an image, of which each component has one brightness
            open_together(place / f"misfit{ending}.hspy", MISFIT_TITLES)
            if one.data.ndim > 1
            else None
            for ending, one in zip(endings, spectra, strict=True)
        ]
        doubts = open_doubts(place, record.pop("doubts", {}))
        if {len(one.data) for one in (maps, *spectra)} != {model.n_components_}:
            raise EndmemberError("maps and spectra do not belong to one result")
    except Exception as problem:
        raise storage.damaged(place, problem) from problem
    maps_, kept = (
        np.moveaxis(maps.data, 0, -1),
        {"model": model, "options": options, "record": record},
    )
    if numbers:
        tables = [one.data.reshape(len(one.data), -1) for one in spectra]
        model.restored({"maps_": maps_, "spectra_": tables})
        return CoupledUnmixing(maps=maps, spectra=spectra, misfits=misfits, **kept)
    model.restored({"maps_": maps_, "components_": spectra[0].data})
    result = Unmixing(maps=maps, spectra=spectra[0], misfit=misfits[0], **kept)
    result.comparison = storage.read_comparison(record, arrays, classes, result)
    vars(result).update(doubts)
    return result


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
    model = seeded(clone(model))
    options = {"mask": mask, "channel_mask": channel_mask}
    _, record = timed(partial(model.fit, images, **options, callback=callback))
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
            name: [None if one is None else plain(one) for one in value]
            if isinstance(value, list | tuple)
            else plain(value)
            for name, value in options.items()
            if value is not None
        },
        record=record,
        misfits=[
            misfit_of(wrapped[d], model.seen_by(d), masks[d]) if cube else None
            for d, cube in enumerate(is_cube)
        ],
    )


class CoupledUnmixing(Shown):
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
    def detectors(self) -> list[Unmixing | None]:
        """The answer as each detector sees it; None for images."""
        records = [{**self.record, **own, "reasons": []} for own in self.record["detectors"]]
        return [
            None if misfit is None else Unmixing(
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
            *(Section(f"Data of {name}", table=reporting._about_data(data))
              for data, name in zip(described, names, strict=True)),
            Section("Parameters", table=[("Model", "Coupled"), *(
                (name, repr(value)) for name, value in model.get_params(deep=False).items())]),
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
