"""What is done to the data before they are unmixed, as values that can be repeated and written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from endmember import preprocess
from endmember.signals import cropping

#: Steps that the preprocess panel offers.
STEPS = ("crop_energy", "crop_pixels", "rebin", "remove_spikes", "align", "subtract_background")


@dataclass(frozen=True)
class Step:
    """One thing done to the data before a fit.

    Attributes
    ----------
    name : str
        One of ``STEPS``.
    parameters : dict
        Keywords, plain values only.

    Examples
    --------
    >>> Step("rebin", {"pixels": 2}).code
    'rebin(signal, pixels=2)'
    """

    name: str
    parameters: dict[str, Any]

    @property
    def code(self) -> str:
        """The step as Python code."""
        place = "" if hasattr(cropping, self.name) else "em.preprocess."
        words = "".join(f", {name}={value!r}" for name, value in self.parameters.items())
        return f"{place}{self.name}(signal{words})"

    def apply(self, signal: Any) -> Any:
        """Return a signal with the step done to it."""
        if self.name not in STEPS:
            raise ValueError(f"{self.name!r} is no step; allowed: {', '.join(STEPS)}")
        room = cropping if hasattr(cropping, self.name) else preprocess
        return getattr(room, self.name)(signal, **self.parameters)
