"""What was clicked, as values that can be repeated: steps before a fit, and the script of a session."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from endmember import preprocess
from endmember.app.core.regions import inside
from endmember.errors import refuse_if
from endmember.signals import cropping
from endmember.signals.files.source import Source

#: Steps that the preprocess panel offers, and the module that holds each.
STEPS: dict[str, Any] = {
    **dict.fromkeys(("crop_energy", "crop_pixels", "rebin"), cropping),
    **dict.fromkeys(("remove_spikes", "align", "subtract_background"), preprocess),
}
_HEAD = '''"""What was done in the workbench of Endmember {version}, as a script."""

import endmember as em
'''
#: What stands before the runs where a loop was drawn round what is known.
_KNOWN = """import numpy as np
from matplotlib.path import Path
from typing import Any


"""


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
        place = "em.preprocess." if STEPS[self.name] is preprocess else ""
        words = "".join(f", {name}={value!r}" for name, value in self.parameters.items())
        return f"{place}{self.name}(signal{words})"

    def apply(self, signal: Any) -> Any:
        """Return a signal with the step done to it."""
        refuse_if(self.name not in STEPS, f"{self.name!r} is no step; allowed: {', '.join(STEPS)}")
        return getattr(STEPS[self.name], self.name)(signal, **self.parameters)


def code_of(value: Any) -> str:
    """Return Python code for a model, a penalty or a plain value; parameters at their default are left out.

    Examples
    --------
    >>> import endmember as em
    >>> code_of(em.NMF(3, maps=[em.Sparse(0.2)], random_state=0))
    'em.NMF(n_components=3, maps=[em.Sparse(weight=0.2)], random_state=0)'
    """
    if isinstance(value, np.ndarray | dict):  # made in lines before
        return "known" if isinstance(value, dict) else "absent"
    if isinstance(value, list):
        return f"[{', '.join(map(code_of, value))}]"
    if not isinstance(value, BaseEstimator):
        return repr(value)
    given = value.get_params(deep=False)
    words = [
        f"{name}={code_of(given[name])}"
        for name, parameter in inspect.signature(type(value)).parameters.items()
        if repr(given[name]) != repr(parameter.default)
    ]
    return f"em.{type(value).__name__}({', '.join(words)})"


def write_script(version: str, runs: Sequence[tuple[Source, Any]]) -> str:
    """Return the script that makes every run of a session again, from the files to the result folders.

    Parameters
    ----------
    version : str
        Of Endmember.
    runs : sequence of tuple
        Where the data of a run lie, and the :class:`Run` with its own steps before the fit.

    Returns
    -------
    str
        Python code; ``results`` holds the answers by the names of the runs.
    """
    cropped = sorted(
        {step.name for _, run in runs for step in run.steps if STEPS[step.name] is cropping}
    )
    imports = f"from endmember.signals.cropping import {', '.join(cropped)}\n" if cropped else ""
    known = "".join(line for _, run in runs for line in run.known)
    imports += (
        _KNOWN + inspect.getsource(inside)
        if "inside(" in known
        else "import numpy as np\n" * bool(known)
    )
    lines, loaded = [_HEAD.format(version=version) + imports, "results = {}"], ""
    for source, run in runs:
        lines += ["", f"# {run.name}"]
        if source.code() != loaded:
            loaded = source.code()
            lines.append(f"data = {loaded}")
        lines.append("signal = data")
        lines += [f"signal = {step.code}" for step in run.steps]
        lines += run.known
        lines.append(f"results[{run.name!r}] = em.unmix(signal, {code_of(run.model)})")
    lines += [
        "",
        'if __name__ == "__main__":',
        "    for name, result in results.items():",
        "        result.save(name, overwrite=True)",
    ]
    return "\n".join(lines) + "\n"
