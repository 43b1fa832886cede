"""What was clicked, as values that can be repeated: steps before a fit, and the script of a session."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.base import BaseEstimator

from endmember import preprocess
from endmember.errors import EndmemberError
from endmember.signals import cropping

#: Steps that the preprocess panel offers.
STEPS = ("crop_energy", "crop_pixels", "rebin", "remove_spikes", "align", "subtract_background")
_HEAD = '''"""What was done in the workbench of Endmember {version}, as a script."""

import endmember as em
'''


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
    def room(self) -> Any:
        """The module that holds the step."""
        return cropping if hasattr(cropping, self.name) else preprocess

    @property
    def code(self) -> str:
        """The step as Python code."""
        place = "em.preprocess." if self.room is preprocess else ""
        words = "".join(f", {name}={value!r}" for name, value in self.parameters.items())
        return f"{place}{self.name}(signal{words})"

    def apply(self, signal: Any) -> Any:
        """Return a signal with the step done to it."""
        if self.name not in STEPS:
            raise EndmemberError(f"{self.name!r} is no step; allowed: {', '.join(STEPS)}")
        return getattr(self.room, self.name)(signal, **self.parameters)


def code_of(value: Any) -> str:
    """Return Python code for a model, a penalty or a plain value; parameters at their default are left out.

    Examples
    --------
    >>> import endmember as em
    >>> code_of(em.NMF(3, maps=[em.Sparse(0.2)], random_state=0))
    'em.NMF(n_components=3, maps=[em.Sparse(weight=0.2)], random_state=0)'
    """
    if isinstance(value, BaseEstimator):
        given, plain = value.get_params(deep=False), type(value)().get_params(deep=False)
        order = list(inspect.signature(type(value)).parameters)
        words = [
            f"{name}={code_of(given[name])}"
            for name in sorted(given, key=order.index)
            if repr(given[name]) != repr(plain[name])
        ]
        return f"em.{type(value).__name__}({', '.join(words)})"
    if isinstance(value, list | tuple):
        inner = ", ".join(code_of(item) for item in value)
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def write_script(
    version: str,
    file: str,
    number: int | None,
    runs: Sequence[Any],
) -> str:
    """Return the script that makes every run of a session again, from the file to the result folders.

    Parameters
    ----------
    version : str
        Of Endmember.
    file : str
        Where the data lie.
    number : int or None
        Which signal of the file, where it holds several.
    runs : sequence of Run
        Each with its own steps before the fit.

    Returns
    -------
    str
        Python code; ``results`` holds the answers by the names of the runs.
    """
    cropped = sorted({step.name for run in runs for step in run.steps if step.room is cropping})
    imports = f"from endmember.signals.cropping import {', '.join(cropped)}\n" if cropped else ""
    which = "" if number is None else f", signal={number}"
    lines = [
        _HEAD.format(version=version) + imports,
        f"data = em.load({file!r}{which})",
        "results = {}",
    ]
    for run in runs:
        lines += ["", f"# {run.name}", "signal = data"]
        lines += [f"signal = {step.code}" for step in run.steps]
        lines.append(f"results[{run.name!r}] = em.unmix(signal, {code_of(run.model)})")
    lines += [
        "",
        'if __name__ == "__main__":',
        "    for name, result in results.items():",
        "        result.save(name, overwrite=True)",
    ]
    return "\n".join(lines) + "\n"
