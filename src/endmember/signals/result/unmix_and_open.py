"""Both doors of the library, ``em.unmix`` and ``em.open``, for one image or several, one detector or several."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from endmember.errors import EndmemberTypeError, refuse_if
from endmember.methods.coupled import Coupled
from endmember.methods.estimator import SpectralEstimator
from endmember.signals.files.reading import read
from endmember.signals.result import storage
from endmember.signals.result.doubts import open_doubts
from endmember.signals.result.folders import existing
from endmember.signals.result.misfits import MISFIT_TITLES, open_together
from endmember.signals.result.several import (
    CoupledUnmixing,
    JointUnmixing,
    unmix_images,
    unmix_together,
)
from endmember.signals.result.unmixing import Unmixing, unmix_one


def unmix(
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
    mask, channel_mask, weights, exposure, domain, pattern, callback
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
    refuse_if(
        not isinstance(model, SpectralEstimator | Coupled | None),
        f"model={model!r} is not a model; give one such as em.NMF(3)",
        kind=EndmemberTypeError,
    )
    of_all: dict[str, Any] = {
        "mask": mask, "channel_mask": channel_mask, "weights": weights, "exposure": exposure, "callback": callback,
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
    refuse_if(needless, f"a list of data takes no {' and no '.join(needless)}; leave it out")
    refuse_if(
        of_all.pop("exposure") is not None,
        "a list of data takes no exposure; divide each by its own, or give the images one by one",
    )
    if isinstance(model, Coupled):
        return unmix_together(signal, model, **of_all)
    refuse_if(
        model is None,
        "a list of data can mean several things; give em.NMF(k) for several images with shared spectra, "
        "em.Coupled(k) for several detectors of one area, or one array, numpy.stack(images), for a series of it",
    )
    refuse_if(
        of_all.pop("weights") is not None,
        "several images take no weights; mask pixels and channels, or stack the images yourself",
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
    storage.find_data(record, place)
    images, detectors = (
        [f"_{number}" for number, _ in enumerate(record.get(parts, ()), 1)]
        for parts in ("images", "detectors")
    )
    try:
        model, options = storage.read_model(record, arrays, classes)
        maps = [read(place / f"maps{ending}.hspy")[0] for ending in images or [""]]
        spectra = [read(place / f"spectra{ending}.hspy")[0] for ending in detectors or [""]]
        misfits: list[Any] = [  # none of an image, of which each component has one brightness
            open_together(place / f"misfit{ending}.hspy", MISFIT_TITLES)
            if one.data.ndim > 1
            else None
            for ending, one in zip(images or detectors or [""], cycle(spectra))
        ]
        doubts = open_doubts(place, record.pop("doubts", {}))
        refuse_if(
            {len(one.data) for one in (*maps, *spectra)} != {model.n_components_},
            "maps and spectra do not belong to one result",
        )
    except Exception as problem:
        raise storage.damaged(place, problem) from problem
    kept = {"model": model, "options": options, "record": record}
    maps_ = [np.moveaxis(one.data, 0, -1) for one in maps]
    tables = [one.data.reshape(len(one.data), -1) for one in spectra]
    if detectors:
        model.restored({"maps_": maps_[0], "spectra_": tables})
        return CoupledUnmixing(maps=maps[0], spectra=spectra, misfits=misfits, **kept)
    if images:
        rows = [one.reshape(-1, model.n_components_) for one in maps_]
        model.restored({"maps_": np.concatenate(rows), "components_": spectra[0].data})
        return JointUnmixing(maps=maps, spectra=spectra[0], misfits=misfits, **kept)
    model.restored({"maps_": maps_[0], "components_": spectra[0].data})
    result = Unmixing(maps=maps[0], spectra=spectra[0], misfit=misfits[0], **kept)
    result.comparison = storage.read_comparison(record, arrays, classes, result)
    vars(result).update(doubts)
    return result
