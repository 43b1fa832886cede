"""Several images, of any size, with one set of spectra: the fit, its answer, and the answer read back."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from sklearn.base import clone

from endmember import show
from endmember.errors import EndmemberError
from endmember.factor.data.inspection import Given, given, is_lazy, left_out, steps
from endmember.show.contents import Components
from endmember.show.html import Report, Section, write
from endmember.show.shown import Shown
from endmember.signals.bridge import as_signal, wrap_maps, wrap_spectra
from endmember.signals.cropping import describe_data, energy_of
from endmember.signals.files.reading import read
from endmember.signals.result import reporting, storage
from endmember.signals.result.folders import replacing
from endmember.signals.result.misfits import MISFIT_TITLES, misfit_of, open_together, save_together
from endmember.signals.result.unmixing import Unmixing, plain, seeded, timed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def unmix_images(
    signals: Sequence[Any],
    model: Any,
    *,
    mask: Sequence[Any] | None = None,
    channel_mask: Any = None,
    callback: Any = None,
) -> JointUnmixing:
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
    if len(masks) != len(taken):
        raise EndmemberError(f"mask needs one entry for each of the {len(taken)} images, or None")
    for number, one in enumerate(taken[1:], 2):
        first.axis.check(
            one.axis,
            f"image {number} lies",
            "crop or resample it; detectors of one area need em.Coupled",
        )
        if one.shape[-1] != first.shape[-1]:
            raise EndmemberError(
                f"image {number} has {one.shape[-1]} channels and the first {first.shape[-1]}; crop or resample it"
            )
    domains = [one.shape[:-1] for one in taken]
    hidden = [
        left_out(own, domain, one.pixels, "mask", "pixels")
        for own, domain, one in zip(masks, domains, taken, strict=True)
    ]
    whole = [
        np.zeros(d, bool) if own is None else own for own, d in zip(hidden, domains, strict=True)
    ]
    model = seeded(clone(model))

    def read_and_fit() -> None:
        observed = model.observed(
            _in_a_row(taken), mask=np.concatenate([own.ravel() for own in whole]),
            channel_mask=channel_mask,
        )  # fmt: skip
        model.fit(observed, callback=callback).with_patterns(first.pattern)

    _, record = timed(read_and_fit)
    wrapped = [
        as_signal(one, own.array, None, own.pattern)
        for one, own in zip(signals, taken, strict=True)
    ]
    record["images"] = [{"data": describe_data(one), "steps": steps(one)} for one in wrapped]
    parts = _split(model.maps_, domains)
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
    elif any(sparse.issparse(one) for one in matrices):
        array = sparse.csr_array(sparse.vstack(matrices))
    else:
        array = np.concatenate(matrices)
    hidden = None
    if any(one.hidden is not None for one in taken):
        gone = [np.zeros(one.shape, bool) if one.hidden is None else one.hidden for one in taken]
        hidden = np.concatenate([one.reshape(-1, one.shape[-1]) for one in gone])
    return Given(array, taken[0].axis, None, hidden, taken[0].history, taken[0].pattern)


def _split(maps: np.ndarray, domains: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Return the maps (n, k) of all pixels as those of every image, (*domain, k)."""
    ends = np.cumsum([int(np.prod(domain)) for domain in domains])[:-1]
    parts = zip(np.split(maps, ends), domains, strict=True)
    return [part.reshape(*domain, -1) for part, domain in parts]


class JointUnmixing(Shown):
    """What came out of several images with shared spectra.

    Attributes
    ----------
    maps : list of HyperSpy signals
        One an image, data ``(k, *domain)``.
    spectra : HyperSpy signal
        Data ``(k, channels)``.
    model : estimator
        Fitted to the pixels of all images, one after the other.
    options, record : dict
        Masks of the fit; data, hashes, versions, timings.
    """

    def __init__(
        self,
        *,
        maps: list[Any],
        spectra: Any,
        model: Any,
        options: dict[str, Any],
        record: dict[str, Any],
        misfits: list[dict[str, np.ndarray]],
    ) -> None:
        self.maps, self.spectra, self.model = maps, spectra, model
        self.options, self.record, self._misfits = options, record, misfits
        self.sentence = ""

    def __repr__(self) -> str:
        sizes = ", ".join(" x ".join(map(str, one.data.shape[1:])) for one in self.maps)
        return f"<JointUnmixing: {len(self.spectra.data)} components, images of {sizes} pixels>"

    @property
    def images(self) -> list[Unmixing]:
        """The answer about each image."""
        parts = zip(self.maps, self._misfits, self.record["images"], strict=True)
        return [
            Unmixing(
                maps=maps, spectra=self.spectra, options={}, misfit=misfit,
                record={**self.record, **own, "reasons": []},
                model=copy(self.model).restored({"maps_": np.moveaxis(maps.data, 0, -1)}),
            )
            for maps, misfit, own in parts
        ]  # fmt: skip

    @property
    def labels(self) -> list[str]:
        """The names of the images."""
        titles = [own["data"]["title"] for own in self.record["images"]]
        return [
            f"{title or 'Image'} {number}" if titles.count(title) > 1 or not title else title
            for number, title in enumerate(titles, 1)
        ]

    def plot(self) -> Figure:
        """Draw the maps of all images side by side, and the spectra."""
        together = _side_by_side([np.moveaxis(one.data, 0, -1) for one in self.maps])
        names = ", ".join(self.labels)
        return show.components(
            Components(together, self.spectra.data, title=names, **energy_of(self.spectra))
        )

    def report(self, file: str | Path) -> Path:
        """Write one self-contained HTML file about all images.

        Parameters
        ----------
        file : str or Path
            Replaced if it exists.
        """
        return write(_compose(self), file)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Keep the answer in formats that others read.

        ``spectra.hspy``, ``maps_1.hspy`` and ``misfit_1.hspy`` for every image, ``unmixing.json`` and ``report.html``.

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
        with replacing(Path(folder), overwrite) as new:
            self.spectra.save(new / "spectra.hspy")
            for number, (maps, misfit) in enumerate(zip(self.maps, self._misfits, strict=True), 1):
                maps.save(new / f"maps_{number}.hspy")
                save_together(
                    new / f"misfit_{number}.hspy", MISFIT_TITLES, misfit, maps.inav[0], self.spectra.inav[0]
                )  # fmt: skip
            arrays: dict[str, np.ndarray] = {}
            said = storage.written(self.model, self.options, arrays, ("maps_", "components_"))
            storage.write_record(new, {**self.record, **said}, arrays)
            storage.add_report(self, new / "report.html")
        return Path(folder)


def open_images(place: Path, model: Any, options: dict[str, Any], record: Any) -> JointUnmixing:
    """Read back what :meth:`JointUnmixing.save` wrote, with its model and record."""
    numbers = range(1, len(record["images"]) + 1)
    maps = [read(place / f"maps_{number}.hspy")[0] for number in numbers]
    (spectra,) = read(place / "spectra.hspy")
    misfits = [open_together(place / f"misfit_{number}.hspy", MISFIT_TITLES) for number in numbers]
    rows = [np.moveaxis(one.data, 0, -1).reshape(-1, len(spectra.data)) for one in maps]
    model.restored({"maps_": np.concatenate(rows), "components_": spectra.data})
    return JointUnmixing(
        maps=maps, spectra=spectra, model=model, options=options, record=record, misfits=misfits
    )


def _side_by_side(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Return maps (*domain, k) of several images in one, with an empty column between them; of lines end to end."""
    if any(one.ndim != 3 for one in maps):
        return np.concatenate([one.reshape(-1, one.shape[-1]) for one in maps])
    height = max(len(one) for one in maps)
    room = [(0, 0), (0, 1), (0, 0)]
    padded = [
        np.pad(one, [(0, height - len(one)), *room[1:]], constant_values=np.nan) for one in maps
    ]
    return np.concatenate(padded, axis=1)[:, :-1]


def _compose(result: JointUnmixing) -> Report:
    """Return the report of an answer about several images."""
    model, names = result.model, result.labels
    described = [own["data"] for own in result.record["images"]]
    return Report(
        title=", ".join(names),
        subtitle=f"{model.n_components_} components of {len(names)} images by {type(model).__name__}",
        sentences=[f"The pixels of {len(names)} images were unmixed together, into one set of spectra."],
        warnings=reporting.doubts(model),
        sections=[
            Section("Components", figure=result.plot(),
                    caption="The maps of all images side by side, and the spectra that they share."),
            *(Section(f"Residual of {name}", figure=show.residual(one),
                      caption="What the components leave unexplained, in space and in energy.")
              for one, name in zip(result.images, names, strict=True)),
            *reporting._convergence(model),
            *(Section(f"Data of {name}", table=reporting._about_data(data))
              for data, name in zip(described, names, strict=True)),
            Section("Parameters", table=[("Model", type(model).__name__), *(
                (name, repr(value)) for name, value in model.get_params(deep=False).items())]),
        ],
        methods=f"{reporting._in_words(model)}{reporting._outcome(model)}",
        references=reporting.references(model),
        footer=reporting._footer(result.record),
    )  # fmt: skip
