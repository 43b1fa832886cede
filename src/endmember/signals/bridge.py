"""Between HyperSpy signals and arrays: wrap, and fill HyperSpy's own results."""

from typing import Any

import numpy as np

from endmember.errors import refuse_if
from endmember.factor.data import in_patterns, is_signal, pattern_of, unwrap
from endmember.show.page import writable


def as_signal(
    X: Any,
    array: Any,
    domain: tuple[int, ...] | None = None,
    pattern: tuple[int, ...] | None = None,
) -> Any:
    """Return a signal: the one given, or its array as one."""
    if is_signal(X):
        return X
    import hyperspy.api as hs

    array = array.toarray() if hasattr(array, "toarray") else array
    if domain is not None:
        array = array.reshape(*domain, array.shape[-1])
    kind = hs.signals.Signal1D if pattern is None else hs.signals.Signal2D
    signal = kind(in_patterns(array, pattern))
    return signal.as_lazy() if hasattr(array, "dask") and not signal._lazy else signal


def wrap_maps(maps: np.ndarray, like: Any) -> Any:
    """Wrap maps as a signal: one image (or line, or volume) for each component.

    Parameters
    ----------
    maps : ndarray, shape (*domain, k)
        As an estimator's ``maps_``.
    like : hyperspy.api.signals.BaseSignal
        The spectrum image that was unmixed; its navigation axes become the signal axes.

    Returns
    -------
    hyperspy.api.signals.BaseSignal
        Data ``(k, *domain)``, components on the navigation axis.

    Raises
    ------
    ValueError
        The maps do not have the domain of ``like``.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> cube = hs.signals.Signal1D(np.zeros((4, 5, 60)))
    >>> wrap_maps(np.ones((4, 5, 3)), cube)
    <Signal2D, title: maps, dimensions: (3|5, 4)>
    """
    axes = _domain_axes(like)
    _check_shape("maps", maps.shape[:-1], unwrap(like).shape[:-1])
    components = _component_axis(maps.shape[-1])
    data = np.ascontiguousarray(np.moveaxis(maps, -1, 0))
    return _new_signal(data, [components, *axes], _metadata(like, "maps"))


def with_values(maps: Any, values: np.ndarray, title: str) -> Any:
    """Return a signal of other maps ``(*domain, any)`` with the axes of a signal of maps, and another title."""
    data = np.ascontiguousarray(np.moveaxis(values, -1, 0))
    axes = [axis.get_axis_dictionary() for axis in reversed(maps.axes_manager.signal_axes)]
    known = {"Signal": {}, **maps.metadata.as_dictionary(), "General": {"title": title}}
    return _new_signal(data, [_component_axis(len(data)), *axes], known)


def wrap_spectra(spectra: np.ndarray, like: Any, unit: str = "") -> Any:
    """Wrap spectra as a signal of the same kind as the one that was unmixed.

    Parameters
    ----------
    spectra : ndarray, shape (k, channels)
        As an estimator's ``components_``; patterns row by row or ``(k, *pattern)``.
    like : hyperspy.api.signals.BaseSignal
        The spectrum image that was unmixed: gives the signal axis, the signal type, and what the
        metadata say of instrument and sample.
    unit : str
        What the numbers are, such as "unit length": ``metadata.Signal.quantity`` says it in place of the quantity of
        ``like``, which is kept as ``metadata.Signal.quantity_of_data``. Nothing for spectra in the unit of ``like``.

    Returns
    -------
    hyperspy.api.signals.BaseSignal
        Data ``(k, channels)``, components on the navigation axis.

    Raises
    ------
    ValueError
        The spectra do not have the channels of ``like``.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> cube = hs.signals.Signal1D(np.zeros((4, 5, 60)))
    >>> wrap_spectra(np.ones((3, 60)), cube)
    <Signal1D, title: spectra, dimensions: (3|60)>
    """
    spectra = spectra.reshape(len(spectra), -1)
    _check_shape("spectra", spectra.shape[1:], unwrap(like).shape[-1:])
    axes = [_component_axis(spectra.shape[0]), *_signal_axes(like)]
    metadata = _metadata(like, "spectra", own=True)
    quantity = metadata["Signal"].setdefault("quantity", "Intensity (unit of the data)")
    if unit:
        metadata["Signal"] |= {"quantity": f"Intensity ({unit})", "quantity_of_data": quantity}
    spectra = in_patterns(np.ascontiguousarray(spectra), pattern_of(like))
    return _new_signal(spectra, axes, metadata)


def wrap_like(array: np.ndarray, like: Any, title: str) -> Any:
    """Wrap a whole spectrum image, such as a residual.

    Parameters
    ----------
    array : ndarray, shape (*domain, channels)
        What to wrap.
    like : hyperspy.api.signals.BaseSignal
        The spectrum image that the array belongs to.
    title : str
        Added to the title of ``like``.

    Returns
    -------
    hyperspy.api.signals.BaseSignal
        A spectrum image of the same signal type.

    Raises
    ------
    ValueError
        The array does not have the shape of ``like``.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> wrap_like(np.ones((4, 5, 60)), hs.signals.Signal1D(np.zeros((4, 5, 60))), "residual")
    <Signal1D, title: residual, dimensions: (5, 4|60)>
    """
    _check_shape(title, array.shape, unwrap(like).shape)
    axes = [{**axis, "navigate": True} for axis in _domain_axes(like)]
    axes += _signal_axes(like)
    return _new_signal(in_patterns(array, pattern_of(like)), axes, _metadata(like, title, own=True))


def fill_learning_results(
    signal: Any, maps: np.ndarray, spectra: np.ndarray, algorithm: str = "Endmember"
) -> None:
    """Put an answer where HyperSpy keeps its own decompositions, in place.

    HyperSpy's ``plot_decomposition_results``, ``get_decomposition_model``,
    ``get_decomposition_factors`` and ``get_decomposition_loadings`` work on it then. What was there
    before is replaced.

    Parameters
    ----------
    signal : hyperspy.api.signals.BaseSignal
        The spectrum image that was unmixed; its ``learning_results`` are edited.
    maps : ndarray, shape (*domain, k)
        As an estimator's ``maps_``; HyperSpy calls them loadings.
    spectra : ndarray, shape (k, channels)
        As an estimator's ``components_``; HyperSpy calls them factors.
    algorithm : str
        The name to show.

    Raises
    ------
    ValueError
        The shapes do not belong to the signal, or its channels are not last in its array (HyperSpy
        itself rebuilds a model for no other order).

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> cube = hs.signals.Signal1D(np.zeros((4, 5, 60)))
    >>> fill_learning_results(cube, np.ones((4, 5, 2)), np.ones((2, 60)))
    >>> float(cube.get_decomposition_model().data.max())
    2.0
    """
    *domain, channels = unwrap(signal).shape
    _check_shape("maps", maps.shape, (*domain, spectra.shape[0]))
    _check_shape("spectra", spectra.shape[1:], (channels,))
    refuse_if(
        unwrap(signal) is not signal.data,
        "HyperSpy needs the channels last in the array to show a decomposition; "
        "give it signal.as_signal1D(axis), where axis is the energy axis",
    )
    results = type(signal.learning_results)()
    vars(results).update(
        loadings=np.ascontiguousarray(maps.reshape(-1, spectra.shape[0])),
        factors=np.ascontiguousarray(spectra.T),
        output_dimension=int(spectra.shape[0]),
        decomposition_algorithm=algorithm,
        poissonian_noise_normalized=False,
        unfolded=False,
        original_shape=tuple(signal.data.shape),
    )
    signal.learning_results = results


def _check_shape(name: str, given: tuple[int, ...], expected: tuple[int, ...]) -> None:
    refuse_if(
        tuple(given) != expected,
        f"the {name} have shape {tuple(given)}, but the signal has {expected}",
    )


def _component_axis(size: int) -> dict[str, Any]:
    return {"name": "component", "size": size, "navigate": True}


def _domain_axes(like: Any) -> list[dict[str, Any]]:
    """Return the navigation axes, in array order, as dictionaries of signal axes."""
    return [
        {**axis.get_axis_dictionary(), "navigate": False}
        for axis in reversed(like.axes_manager.navigation_axes)
    ]


def _signal_axes(like: Any) -> list[dict[str, Any]]:
    """Return the signal axes, in array order, as dictionaries."""
    return [axis.get_axis_dictionary() for axis in reversed(like.axes_manager.signal_axes)]


def _metadata(like: Any, title: str, own: bool = False) -> dict[str, Any]:
    """Return what the metadata of ``like`` also say of its parts; ``own``: and of its spectra."""
    known = like.metadata.as_dictionary()
    before = known.get("General", {}).get("title", "")
    of_signal = known.get("Signal", {}) if own else {}
    return {
        **{name: known[name] for name in ("Acquisition_instrument", "Sample") if name in known},
        "General": {"title": f"{before} {title}".strip()},
        "Signal": {key: of_signal[key] for key in ("signal_type", "quantity") if key in of_signal},
    }


def _new_signal(data: np.ndarray, axes: list[dict[str, Any]], metadata: dict[str, Any]) -> Any:
    """Make a signal of the class that its axes and signal type ask for."""
    import hyperspy.api as hs

    axes, metadata = _storable(axes), _storable(metadata)
    signal = hs.signals.BaseSignal(data, axes=axes, metadata=metadata)
    signal.set_signal_type(metadata["Signal"].get("signal_type", ""))
    return signal


def _storable(known: Any) -> Any:
    """Return texts, in lists and dictionaries of any depth, as an HDF5 file takes them."""
    if isinstance(known, str):
        return writable(known)
    if isinstance(known, dict):
        return {_storable(name): _storable(value) for name, value in known.items()}
    if isinstance(known, np.ndarray) and known.dtype.kind in "UO":
        return np.array(_storable(known.tolist()), dtype=known.dtype)
    return [_storable(value) for value in known] if isinstance(known, list) else known
