"""Several images with one set of spectra, or several detectors over one area: the fits and their answers."""

from collections.abc import Sequence
from copy import copy
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone

from endmember import show
from endmember.errors import refuse_if
from endmember.factor.data import Given, data_hash, given, is_lazy, left_out, steps
from endmember.methods.checks import seeded
from endmember.methods.coupled import same_pixels
from endmember.show import Components, Figure, Report, Section, Shown, detectors, write
from endmember.signals.bridge import as_signal, wrap_maps, wrap_spectra
from endmember.signals.cropping import describe_data, energy_of, source_of
from endmember.signals.result import reporting, storage
from endmember.signals.result.misfits import misfit_of
from endmember.signals.result.unmixing import Unmixing, plain, timed


def unmix_images(
    signals: Sequence[Any],
    model: Any,
    *,
    mask: Sequence[Any] | None = None,
    channel_mask: Any = None,
    callback: Any = None,
) -> "JointUnmixing":
    """Separate several images into maps for each and one set of spectra.

    Parameters
    ----------
    signals : sequence of HyperSpy signals or arrays, (*domain, channels)
        Of any size, on the same energy axis. Never changed.
    model : estimator
        Such as ``em.NMF(3)``; a copy is fitted to the pixels of all images as one list.
    mask : sequence of masks or None, optional
        Pixels to leave out (True), one entry an image.
    channel_mask, callback
        As in ``em.NMF.fit``.

    Returns
    -------
    JointUnmixing

    Raises
    ------
    ValueError
        If axes differ, or the model needs the neighbours of a pixel.
    """
    taken = [given(one) for one in signals]
    first, masks = taken[0], [None] * len(taken) if mask is None else list(mask)
    wrong = len(masks) != len(taken)
    refuse_if(wrong, f"mask needs one entry for each of the {len(taken)} images, or None")
    for number, one in enumerate(taken[1:], 2):
        first.axis.check(
            one.axis,
            f"image {number} lies",
            "crop or resample it; detectors of one area need em.Coupled",
        )
        refuse_if(
            one.shape[-1] != first.shape[-1],
            f"image {number} has {one.shape[-1]} channels and the first {first.shape[-1]}; crop or resample it",
        )
    domains = [one.shape[:-1] for one in taken]
    hidden = [
        left_out(own, domain, one.pixels, "mask", "pixels")
        for own, domain, one in zip(masks, domains, taken, strict=True)
    ]
    model = seeded(clone(model))

    def read_and_fit() -> None:
        whole = [
            np.ravel(np.zeros(domain, bool) if own is None else own)
            for own, domain in zip(hidden, domains, strict=True)
        ]
        observed = model.observed(
            _in_a_row(taken), mask=np.concatenate(whole), channel_mask=channel_mask
        )
        model.fit(observed, callback=callback).with_patterns(first.pattern)

    _, record = timed(read_and_fit)
    wrapped = [
        as_signal(one, own.array, None, own.pattern)
        for one, own in zip(signals, taken, strict=True)
    ]
    record["images"] = [{"data": describe_data(one), "steps": steps(one)} for one in wrapped]
    each = np.split(model.maps_, np.cumsum([int(np.prod(domain)) for domain in domains])[:-1])
    parts = [one.reshape(*domain, -1) for one, domain in zip(each, domains, strict=True)]
    options = {"channel_mask": channel_mask}
    return JointUnmixing(
        maps=[wrap_maps(part, one) for part, one in zip(parts, wrapped, strict=True)],
        spectra=wrap_spectra(model.components_, wrapped[0], unit=model.unit_of_spectra),
        model=model,
        options={} if channel_mask is None else {"channel_mask": plain(channel_mask)},
        record=record,
        misfits=[
            misfit_of(one, copy(model).restored({"maps_": part}), {"mask": own, **options})
            for one, part, own in zip(wrapped, parts, hidden, strict=True)
        ],
    )


def _in_a_row(taken: Sequence[Given]) -> Given:
    """Return the pixels of all images as one list, sparse only where all are, and lazy where one is."""
    matrices = [one.matrix for one in taken]
    if any(is_lazy(one) for one in matrices):
        import dask.array as da

        array = da.concatenate([da.asarray(one) for one in matrices])
    else:
        some = any(sparse.issparse(one) for one in matrices)
        array = sparse.csr_array(sparse.vstack(matrices)) if some else np.concatenate(matrices)
    hidden = None
    if any(one.hidden is not None for one in taken):
        gone = [np.zeros(one.shape, bool) if one.hidden is None else one.hidden for one in taken]
        hidden = np.concatenate([one.reshape(-1, one.shape[-1]) for one in gone])
    return Given(array, taken[0].axis, None, hidden, taken[0].history, taken[0].pattern)


def unmix_together(
    signals: Any,
    model: Any,
    *,
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    callback: Any = None,
) -> "CoupledUnmixing":
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
        If the detectors cannot be coupled as asked.
    """
    refuse_if(
        weights is not None,
        "em.Coupled takes no weights of entries; give em.Term(…, weights=…) to em.Fusion",
    )
    images = same_pixels(signals)
    wrapped = [
        one if image.shape[-1] == 1 else as_signal(one, image)
        for one, image in zip(signals, images, strict=True)
    ]
    model = seeded(clone(model))
    options = {"mask": mask, "channel_mask": channel_mask}
    _, record = timed(partial(model.fit, images, **options, callback=callback))
    record["detectors"] = [
        {"data": _describe_image(one, image), "steps": []}
        if image.shape[-1] == 1
        else {"data": describe_data(signal), "steps": steps(signal)}
        for one, signal, image in zip(signals, wrapped, images, strict=True)
    ]
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


class Several(Shown):
    """An answer about several parts: images that share their spectra, or detectors that share their maps.

    Attributes
    ----------
    maps, spectra : HyperSpy signal, or list of them
        Lists hold one signal a part, a single signal is shared by all.
    model : estimator
        The fitted model with all that it learned.
    options, record : dict
        Masks of the fit; data, hashes, versions, timings.
    """

    #: What a part is called; the record keeps what is known of the parts under its plural.
    part: str
    #: What is said of the picture of all.
    caption: str
    sentence = ""

    def __init__(
        self,
        *,
        maps: Any,
        spectra: Any,
        model: Any,
        options: dict[str, Any],
        record: dict[str, Any],
        misfits: list[Any],
    ) -> None:
        self.maps, self.spectra, self.model = maps, spectra, model
        self.options, self.record, self._misfits = options, record, misfits

    @property
    def labels(self) -> list[str]:
        """The names of the parts: titles, where several are alike with their kind and numbered."""
        titles = [own["data"]["title"] or self.part.title() for own in self._known]
        parts = self.spectra if isinstance(self.spectra, list) else []
        kinds = [one.metadata.get_item("Signal.signal_type", default="") for one in parts]
        names = [
            f"{title} ({kind})" if titles.count(title) > 1 and kind else title
            for title, kind in zip_longest(titles, kinds)
        ]
        return [
            name if names.count(name) == 1 else f"{name} {number}"
            for number, name in enumerate(names, 1)
        ]

    def report(self, file: str | Path) -> Path:
        """Write one self-contained HTML file about all parts.

        Parameters
        ----------
        file : str or Path
            Replaced if it exists.
        """
        return write(_compose(self), file)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Keep the answer in formats that others read.

        ``maps.hspy`` and ``spectra.hspy``, of those that are not shared one for every part (``maps_1.hspy``),
        ``misfit_1.hspy`` for every part, ``unmixing.json`` and ``report.html``. Written beside and renamed: a crash
        leaves the old answer.

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
        return storage.save_answer(self, self._misfits, folder, overwrite)

    @property
    def _known(self) -> list[dict[str, Any]]:
        """What the record keeps of every part: its data and steps."""
        return [{"reasons": [], **own} for own in self.record[f"{self.part}s"]]


class JointUnmixing(Several):
    """What came out of several images with shared spectra.

    ``maps`` is a list of HyperSpy signals, one an image, data ``(k, *domain)``; ``spectra`` one signal, data
    ``(k, channels)``. The model was fitted to the pixels of all images, one after the other.
    """

    part = "image"
    caption = "The maps of all images side by side, and the spectra that they share."

    def __repr__(self) -> str:
        sizes = ", ".join(" x ".join(map(str, one.data.shape[1:])) for one in self.maps)
        return f"<JointUnmixing: {len(self.spectra.data)} components, images of {sizes} pixels>"

    @property
    def images(self) -> list[Unmixing]:
        """The answer about each image."""
        return [
            Unmixing(
                maps=maps, spectra=self.spectra, options={}, misfit=misfit, record={**self.record, **own},
                model=copy(self.model).restored({"maps_": np.moveaxis(maps.data, 0, -1)}),
            )
            for maps, misfit, own in zip(self.maps, self._misfits, self._known, strict=True)
        ]  # fmt: skip

    def plot(self) -> Figure:
        """Draw the maps of all images side by side, and the spectra."""
        together = _side_by_side([np.moveaxis(one.data, 0, -1) for one in self.maps])
        title = ", ".join(self.labels)
        return show.components(
            Components(together, self.spectra.data, title=title, **energy_of(self.spectra))
        )

    def _findings(self) -> list[str]:
        """Return what came out, in sentences."""
        return [
            f"The pixels of {len(self.maps)} images were unmixed together, into one set of spectra."
        ]


class CoupledUnmixing(Several):
    """What came out of several detectors over one area.

    ``maps`` is one HyperSpy signal, data ``(k, *domain)``: the shared maps; ``spectra`` a list of them, one a detector,
    data ``(k, channels)``, of its signal class, with its energy axis; for an image the brightness of each component,
    ``(k,)``.
    """

    part = "detector"
    caption = "Shared maps, and spectra of every detector."

    def __repr__(self) -> str:
        k, *domain = self.maps.data.shape
        size = " x ".join(str(n) for n in domain)
        return f"<CoupledUnmixing: {k} components, {size} pixels, {len(self.spectra)} detectors>"

    @property
    def detectors(self) -> list[Unmixing | None]:
        """The answer as each detector sees it; None for images."""
        known = enumerate(zip(self.spectra, self._misfits, self._known, strict=True))
        return [
            None if misfit is None else Unmixing(
                maps=self.maps, spectra=spectra, model=self.model.seen_by(d), options={},
                record={**self.record, **own}, misfit=misfit,
            )
            for d, (spectra, misfit, own) in known
        ]  # fmt: skip

    def plot(self) -> Figure:
        """Draw the shared map of every component beside its spectra."""
        maps = np.moveaxis(self.maps.data, 0, -1)
        pictures = [
            Components(maps, spectra.data[:, None]) if part is None else part.picture()
            for part, spectra in zip(self.detectors, self.spectra, strict=True)
        ]
        return detectors(pictures, self.labels)

    def reproduce(self, data: Sequence[Any] | None = None) -> "CoupledUnmixing":
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
        refuse_if(
            data is None,
            "the data of several detectors are not in memory; give them, such as "
            "result.reproduce([first, second])",
        )
        return unmix_together(data, self.model, **self.options)

    def _findings(self) -> list[str]:
        """Return what came out, in sentences."""
        model, names = self.model, self.labels
        weights = ", ".join(
            f"{name} {w:.3g}" for name, w in zip(names, model.weights_, strict=True)
        )
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


def _side_by_side(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Return maps (*domain, k) of several images in one, with an empty column between them; of lines end to end."""
    if any(one.ndim != 3 for one in maps):
        return np.concatenate([one.reshape(-1, one.shape[-1]) for one in maps])
    height = max(len(one) for one in maps)
    padded = [
        np.pad(one, [(0, height - len(one)), (0, 1), (0, 0)], constant_values=np.nan)
        for one in maps
    ]
    return np.concatenate(padded, axis=1)[:, :-1]


def _compose(result: Any) -> Report:
    """Return the report of an answer about several parts."""
    model, names, parts = result.model, result.labels, f"{result.part}s"
    return Report(
        title=" and ".join(names),
        subtitle=f"{model.n_components_} components of {len(names)} {parts} by {type(model).__name__}",
        sentences=result._findings(),
        warnings=reporting.doubts(model),
        sections=[
            Section("Components", figure=result.plot(), caption=result.caption),
            *(Section(f"Residual of {name}", figure=show.residual(part),
                      caption="What the components leave unexplained, in space and in energy.")
              for part, name in zip(getattr(result, parts), names, strict=True) if part is not None),
            *reporting.convergence(model),
            *(Section(f"Data of {name}", table=reporting.about_data(own["data"]))
              for own, name in zip(result._known, names, strict=True)),
            Section("Parameters", table=[("Model", type(model).__name__), *(
                (name, repr(value)) for name, value in model.get_params(deep=False).items())]),
        ],
        methods=f"{reporting.model_in_words(model)}{reporting.outcome(model)}",
        references=reporting.references(model),
        footer=reporting.footer(result.record),
    )  # fmt: skip
