"""The history of a signal: every processing step, kept in its metadata and so in every file of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from endmember.factor.door import STEPS, steps


def record(signal: Any, step: dict[str, Any], inplace: bool = False) -> Any:
    """Append a processing step to a signal's history.

    Parameters
    ----------
    signal : hyperspy.api.signals.BaseSignal
        With at least one signal axis.
    step : dict
        What was done, as JSON can hold it: names, numbers, texts, lists; NumPy numbers and small
        arrays are turned into such.
    inplace : bool
        Edit the given signal's metadata rather than those of a new one.

    Returns
    -------
    hyperspy.api.signals.BaseSignal
        The signal with the longer history: the given one, or a new one that shares its data.

    Raises
    ------
    ValueError
        The step holds something that JSON cannot.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> spectrum = hs.signals.Signal1D([1.0, 2.0])
    >>> steps(record(spectrum, {"step": "remove_spikes", "threshold": 5})), steps(spectrum)
    ([{'step': 'remove_spikes', 'threshold': 5}], [])
    """
    try:
        text = json.dumps([*steps(signal), step], default=_plain, allow_nan=False)
    except (TypeError, ValueError) as problem:
        raise ValueError(
            f"a processing step must hold names, finite numbers, texts and lists only: {problem}"
        ) from problem
    recorded = signal if inplace else signal.isig[:]
    recorded.metadata.set_item(STEPS, text)
    return recorded


def _plain(value: Any) -> Any:
    """Turn NumPy numbers and arrays into numbers and lists."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be kept")
