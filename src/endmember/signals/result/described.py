"""Which class a name in a file stands for, and models whose class is not at hand."""

from collections.abc import Collection
from typing import Any, NoReturn, Self

from sklearn.base import BaseEstimator

import endmember
from endmember.errors import EndmemberError, EndmemberTypeError
from endmember.factor.losses import Loss
from endmember.factor.penalties import Penalty
from endmember.factor.solvers import Solver
from endmember.methods.estimator import SpectralEstimator


class Described(SpectralEstimator):
    """A model, or a part of one, of which there is all that its file says but not the class.

    Maps, spectra and all else that it has learned are there; what needs the class says which one to give.
    """

    _name: str
    _parameters: dict[str, Any]
    #: The names of the classes that are not at hand.
    _missing: list[str]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters that the file says."""
        return self._parameters

    def parts(self) -> list[tuple[str, Any]]:
        found = self._parameters.items()
        return [(role, part) for role, part in found if isinstance(part, BaseEstimator)]

    def __repr__(self, *args: Any) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self._parameters.items())
        return f"{type(self).__name__}({told})"

    def __sklearn_clone__(self) -> Self:
        return self

    def own_loss(self) -> Loss:
        mine = isinstance(self._parameters.get("loss"), Described)
        return self._refuse() if mine else super().own_loss()

    def _refuse(self, *args: Any, **options: Any) -> NoReturn:
        short = ", ".join(name.rpartition(".")[2] for name in self._missing)
        raise EndmemberTypeError(
            f"{type(self).__name__} was made with {' and '.join(self._missing)}, which is not at hand as it was then: "
            f"import it first, or give it, em.open(folder, classes=[{short}])"
        )

    fit = inverse_transform = explained = _refuse
    _explained_anew = _fit = _maps_of = _refuse


def name_of(part: Any) -> str:
    """Return the name by which a file calls the class of a model or a part of one: short if the package offers it."""
    if isinstance(part, Described):
        return part._name
    kind = type(part)
    public = getattr(endmember, kind.__name__, None) is kind
    return kind.__name__ if public else _full_name(kind)


def class_called(name: str, classes: Collection[type]) -> type | None:
    """Return the class of that name: one that the package offers, one of ``classes``, or one that exists already.

    Raises
    ------
    ValueError
        If it would be a class of the package, which has none of that name.
    """
    if "." not in name:
        kind = getattr(endmember, name, None)
        if not (isinstance(kind, type) and issubclass(kind, BaseEstimator)):
            raise EndmemberError(f"{name!r} is no model of this version of endmember")
        return kind
    known = {_full_name(kind): kind for base in _BASES for kind in _below(base)}
    given = {kind.__name__: kind for kind in classes}
    exactly = {_full_name(kind): kind for kind in classes}
    return exactly.get(name) or given.get(name.rpartition(".")[2]) or known.get(name)


_BASES = (Loss, Penalty, Solver, SpectralEstimator)


def _below(base: type) -> list[type]:
    """Return all classes that exist below one; of those of one name, defined again, the last is the latest."""
    children: list[type] = base.__subclasses__()
    return [kind for child in children for kind in (child, *_below(child))]


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def made(name: str, kind: type | None, parameters: dict[str, Any], words: str, works: Any) -> Any:
    """Return an instance of a class, described where the class or that of a parameter is not at hand.

    Parameters
    ----------
    name : str
        By which the file calls the class.
    kind : type or None
        The class, where it is at hand.
    parameters : dict
    words, works : str, sequence of str
        What it says of itself in a report, and where it comes from.
    """
    missing = [one for value in parameters.values() for one in _missing(value)]
    if kind is not None and not missing:
        try:
            return kind(**parameters)
        except TypeError:  # a class of that name that takes other parameters
            kind = None
    said = {"in_words": words.replace("{", "{{").replace("}", "}}"), "references": tuple(works)}
    bases = (Described,) if kind is None else (Described, kind)
    model: Described = object.__new__(type(name.rpartition(".")[2], bases, said))
    model.__dict__.update(
        parameters, _name=name, _parameters=parameters, _missing=missing or [name]
    )
    return model


def _missing(value: Any) -> list[str]:
    """Return the names of the classes that a parameter lacks."""
    if isinstance(value, Described):
        return value._missing
    if isinstance(value, dict):
        value = list(value.values())
    return (
        [one for item in value for one in _missing(item)] if isinstance(value, list | tuple) else []
    )
