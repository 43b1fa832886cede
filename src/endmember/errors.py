"""The one class of all refusals: what was wrong, the argument it is about, and the way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Argument:
    """An argument inside a sentence, which a caller without Python spells in its own words.

    Parameters
    ----------
    name : str
        As the library calls it.
    value : optional
        The value to give; text stands for itself.

    Examples
    --------
    >>> str(Argument("lazy", True)), str(Argument("signal", "N")), str(Argument("memory"))
    ('lazy=True', 'signal=N', 'memory=')
    """

    def __init__(self, name: str, value: Any = "") -> None:
        self.name, self.value = name, value

    def __str__(self) -> str:
        return f"{self.name}={self.value}"

    def __repr__(self) -> str:
        return f"Argument({self.name!r}, {self.value!r})"


class EndmemberError(ValueError):
    """Something given to Endmember that it refuses, before any work was done or lost.

    Parameters
    ----------
    *words : str or Argument
        The sentence, in pieces that are joined as they stand: what was wrong and what is allowed.
    parameter : str, optional
        The argument that was refused, as the library calls it.
    way_out : str or tuple of str and Argument, optional
        What to do instead; it ends the sentence, after a semicolon.

    Attributes
    ----------
    parameter : str or None
    way_out : str
        In the words of the library.

    Examples
    --------
    >>> error = EndmemberError("the file holds two images", way_out=("choose one with ", Argument("signal", "N")))
    >>> str(error)
    'the file holds two images; choose one with signal=N'
    >>> error.spelled(lambda argument: f"--{argument.name} {argument.value}")
    'the file holds two images; choose one with --signal N'
    """

    def __init__(
        self,
        *words: str | Argument,
        parameter: str | None = None,
        way_out: str | tuple[str | Argument, ...] = (),
    ) -> None:
        super().__init__(*words)
        self.parameter = parameter
        self._way_out = (way_out,) if isinstance(way_out, str) else tuple(way_out)

    @property
    def way_out(self) -> str:
        return "".join(map(str, self._way_out))

    def spelled(self, spell: Callable[[Argument], str]) -> str:
        """Return the sentence with every argument as ``spell`` writes it."""
        words = (*self.args, "; ", *self._way_out) if self._way_out else self.args
        return "".join(spell(word) if isinstance(word, Argument) else str(word) for word in words)

    def __str__(self) -> str:
        return self.spelled(str)


class EndmemberTypeError(EndmemberError, TypeError):
    """Something of a kind that Endmember cannot take; a ``TypeError`` as well."""
