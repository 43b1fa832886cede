"""Two answers side by side: what differs in their data, their parameters and what they found."""

from copy import copy
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np

from endmember.assess.comparison import Comparison, side_by_side
from endmember.assess.comparison import compare as compare_models
from endmember.errors import EndmemberTypeError, refuse_if
from endmember.factor.data.axis import Axis
from endmember.show.shown import Shown
from endmember.signals.result.unmixing import Unmixing

#: Parts of a record that are compared, by the names that are said.
_OF_DATA = {"title": "title", "hash": "data", "shape": "shape", "dtype": "type", "energy": "axis"}
#: Letters of a value that are shown.
_LONGEST = 60


@dataclass(frozen=True, eq=False, repr=False)
class Differences(Shown):
    """What differs between two answers.

    Attributes
    ----------
    names : (str, str)
    data, parameters : list of (str, str, str)
        What, its value in the first, its value in the second: only where they differ.
    comparison : Comparison
        Spectra and maps, matched; the second's spectra at the energies of the first.
    """

    names: tuple[str, str]
    data: list[tuple[str, str, str]]
    parameters: list[tuple[str, str, str]]
    comparison: Comparison

    @property
    def sentence(self) -> str:
        """What differs, in words."""
        changed = ", ".join(what for what, *_ in self.parameters)
        return (
            f"{'The same' if self.comparison.same_data else 'Different'} data, "
            + (f"different {changed}" if changed else "the same model and parameters")
            + f". {self.comparison.sentence}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what differs: values of data and parameters in both, and the largest angle of each component."""
        return {
            "names": self.names,
            "data": {what: values for what, *values in self.data},
            "parameters": {what: values for what, *values in self.parameters},
            "degrees": self.comparison.angles[0, 1].tolist(),
        }

    def plot(self) -> Any:
        """Draw maps and spectra of both side by side; returns a matplotlib Figure."""
        return self.comparison.plot()

    def __str__(self) -> str:
        rows = [("", *self.names), *self.data, *self.parameters]
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        lines = ("  ".join((a.ljust(widths[0]), b.ljust(widths[1]), c)) for a, b, c in rows)
        return "\n".join([*lines, self.comparison.table, self.sentence])


@wraps(compare_models)
def compare(X: Any, models: Any, **options: Any) -> Any:
    """Compare models of the same data, or two answers."""
    if not isinstance(X, Shown):
        return compare_models(X, models, **options)
    refuse_if(
        options,
        f"two answers are compared as they are, so {', '.join(options)} has no effect; leave it out",
    )
    return differences(X, models, ("first", "second"))


def differences(first: Any, second: Any, names: tuple[str, str]) -> Differences:
    """Compare two answers.

    Parameters
    ----------
    first, second : Unmixing
    names : (str, str)
        What they are called.

    Returns
    -------
    Differences

    Raises
    ------
    TypeError
        If one is about several detectors.
    ValueError
        If their energy axes have no channel in common, or other units.
    """
    refuse_if(
        not (isinstance(first, Unmixing) and isinstance(second, Unmixing)),
        "an answer of em.unmix about one spectrum image is compared with another such answer; give two, and of "
        "several detectors unmix each detector by itself",
        kind=EndmemberTypeError,
    )
    axes = [Axis.of(answer.spectra) for answer in (first, second)]
    energies = [axis.energy for axis in axes]
    refuse_if(
        axes[0].units != axes[1].units,
        f"{names[0]} is in {axes[0].units} and {names[1]} in {axes[1].units}, so their spectra cannot be "
        "compared; compare answers on axes of one unit",
    )
    low, high = max(e.min() for e in energies), min(e.max() for e in energies)
    refuse_if(
        np.count_nonzero((energies[0] >= low) & (energies[0] <= high)) < 2,
        f"{names[0]} and {names[1]} have no energies in common, so their spectra cannot be compared; compare "
        "answers whose axes overlap",
    )
    comparison = side_by_side(
        names,
        [
            _at_energies(answer, own, energies[0], other)
            for answer, own, other in zip((first, second), energies, energies[::-1], strict=True)
        ],
        misfit=[float(np.sqrt(np.nanmean(one.misfit().map ** 2))) for one in (first, second)],
        n_pixels=int(np.isfinite(first.misfit().map).sum()),
        seconds=[answer.record["fit_seconds"] for answer in (first, second)],
        energy=energies[0],
        energy_label=axes[0].label,
        bands=first.bands if np.array_equal(energies[0], energies[1]) else None,
        same_data=first.record["data"]["hash"] == second.record["data"]["hash"],
    )  # fmt: skip
    return Differences(
        names, _differing(_data_of(first), _data_of(second)),
        _differing(_parameters_of(first), _parameters_of(second)), comparison,
    )  # fmt: skip


def _at_energies(answer: Unmixing, own: np.ndarray, wanted: np.ndarray, other: np.ndarray) -> Any:
    """Return the model with its spectra at the wanted energies, NaN outside of those of both answers."""
    if np.array_equal(own, wanted) and np.array_equal(own, other):
        return answer.model
    order = np.argsort(own)
    spectra = [
        np.interp(wanted, own[order], spectrum[order], left=np.nan, right=np.nan)
        for spectrum in np.asarray(answer.model.components_, dtype=float)
    ]
    shared = (wanted >= other.min()) & (wanted <= other.max())
    return copy(answer.model).restored({"components_": np.where(shared, spectra, np.nan)})


def _data_of(answer: Unmixing) -> dict[str, str]:
    record, source = answer.record, answer.record["data"]["source"]
    return {
        **{said: str(record["data"][name]) for name, said in _OF_DATA.items()},
        "file": str(source["path"]) if source else "in memory",
        "steps before the fit": ", ".join(str(step) for step in record["steps"]) or "none",
    }


def _parameters_of(answer: Unmixing) -> dict[str, str]:
    return {
        "model": type(answer.model).__name__,
        **{
            name: " ".join(repr(value).split())
            for name, value in answer.model.get_params(deep=False).items()
        },
        **{
            name: f"{np.count_nonzero(value)} entries of an array of shape {np.shape(value)}"
            for name, value in answer.options.items()
        },
    }


def _differing(first: dict[str, str], second: dict[str, str]) -> list[tuple[str, str, str]]:
    names = [*first, *(name for name in second if name not in first)]
    pairs = [(name, first.get(name, "-"), second.get(name, "-")) for name in names]
    return [(name, _cut(a), _cut(b)) for name, a, b in pairs if a != b]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
