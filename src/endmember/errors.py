"""The one class of all refusals: what was wrong, the argument it is about, and the way out."""

from collections.abc import Callable, Sequence
from typing import Any, Self, TypeAlias

#: What other libraries call the parts of a fitted model, and what they are called here.
NAMES_ELSEWHERE = {
    **dict.fromkeys(("H_", "ST_opt_", "endmembers_", "spectra"), "components_"),
    **dict.fromkeys(("W_", "C_opt_", "abundances_", "loadings_", "maps"), "maps_"),
}
#: The same of a result.
NAMES_IN_RESULTS = {
    **dict.fromkeys(("factors", "endmembers", "components_"), "spectra"),
    **dict.fromkeys(("loadings", "abundances", "scores", "maps_"), "maps"),
}


class Argument:
    """An argument inside a sentence, which a caller without Python spells in its own words.

    Parameters
    ----------
    name : str
        As the library calls it.
    value : optional
        The value to give; text stands for itself.
    says : str, optional
        How the library says it, where that is not ``name=value``.

    Examples
    --------
    >>> str(Argument("lazy", True)), str(Argument("signal", "N")), str(Argument("memory"))
    ('lazy=True', 'signal=N', 'memory=')
    >>> str(Argument("loss", "Poisson", "em.Poisson()")), str(Argument.of("method", "guess"))
    ('em.Poisson()', "method='guess'")
    """

    def __init__(self, name: str, value: Any = "", says: str | None = None) -> None:
        self.name, self.value, self.says = name, value, says

    @classmethod
    def of(cls, name: str, value: Any) -> "Argument":
        """Return the argument with the value that a caller has given it."""
        return cls(name, value, f"{name}={value!r}")

    @classmethod
    def part(cls, name: str, part: Any) -> "Argument":
        """Return a part of a model, such as a loss, as it was given for an argument."""
        return cls(name, type(part).__name__, repr(part))

    def __str__(self) -> str:
        return f"{self.name}={self.value}" if self.says is None else self.says

    def __repr__(self) -> str:
        return f"Argument({self.name!r}, {self.value!r})"


#: A sentence in pieces.
Words: TypeAlias = tuple[str | Argument, ...]


def among(words: Sequence[str | Argument], between: str = " or ") -> Words:
    """Return words with another between each two.

    Examples
    --------
    >>> among(["a", "b", "c"])
    ('a', ' or ', 'b', ' or ', 'c')
    """
    return tuple(piece for word in words for piece in (between, word))[1:]


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
        way_out: str | Words = (),
    ) -> None:
        super().__init__(*words)
        self.parameter = parameter
        self._way_out = (way_out,) if isinstance(way_out, str) else tuple(way_out)

    @property
    def way_out(self) -> str:
        return "".join(map(str, self._way_out))

    def spelled(self, spell: Callable[[Argument], str | None]) -> str:
        """Return the sentence with every argument as ``spell`` writes it.

        An argument for which that has no words, None, stands without those of Python, and a way out that needs one
        is left away.
        """
        sentence, way_out = (
            [spell(word) if isinstance(word, Argument) else str(word) for word in words]
            for words in (self.args, self._way_out)
        )
        said = "".join(
            _plain(word) if text is None else text
            for word, text in zip(self.args, sentence, strict=True)
        )
        return said if None in way_out or not way_out else f"{said}; {''.join(map(str, way_out))}"

    def __str__(self) -> str:
        return self.spelled(str)


class Sentence(str):
    """A text of the library that a caller without Python can have in its own words, such as that of a warning.

    Parameters
    ----------
    *words : str or Argument
        In pieces that are joined as they stand.

    Examples
    --------
    >>> said = Sentence("not converged: raise ", Argument("max_iter", says="max_iter"))
    >>> said, said.spelled(lambda argument: f"--{argument.name}")
    ('not converged: raise max_iter', 'not converged: raise --max_iter')
    """

    words: Words

    def __new__(cls, *words: str | Argument) -> Self:
        made = super().__new__(cls, "".join(map(str, words)))
        made.words = words
        return made

    def spelled(self, spell: Callable[[Argument], str | None]) -> str:
        """Return it with every argument as ``spell`` writes it; without the words of Python where that has none."""
        return EndmemberError(*self.words).spelled(spell)


def _plain(argument: Argument) -> str:
    return f"{argument.name.replace('_', ' ')} {argument.value}".rstrip()


class EndmemberTypeError(EndmemberError, TypeError):
    """Something of a kind that Endmember cannot take; a ``TypeError`` as well."""


class EndmemberFileError(EndmemberError, OSError):
    """A file or folder that the system does not let us use; an ``OSError`` as well."""

    def __new__(cls, *words: Any, **_: Any) -> Self:
        made = OSError.__new__(cls)  # which takes words for numbers of errors
        made.args = words
        return made


def refuse_if(
    wrong: Any, *words: str | Argument, kind: type[EndmemberError] = EndmemberError, **more: Any
) -> None:
    """Raise an error of these words where a condition holds.

    Parameters
    ----------
    wrong : bool
        What must not be.
    *words : str or Argument
        The sentence; it is put together whether it is needed or not, so it must be cheap and possible either way.
    kind : class of EndmemberError
    **more
        ``parameter`` and ``way_out``, as of `EndmemberError`.

    Raises
    ------
    EndmemberError

    Examples
    --------
    >>> refuse_if(2 < 1, "two is less than one")
    """
    if wrong:
        raise kind(*words, **more)


def check_known(name: str, value: Any, *allowed: Any) -> None:
    """Refuse what is none of the values that a parameter may have.

    Raises
    ------
    ValueError
    """
    known = ", ".join(f'"{one}"' if isinstance(one, str) else repr(one) for one in allowed)
    refuse_if(
        not any(isinstance(value, type(one)) and value == one for one in allowed),
        Argument.of(name, value),
        f" is not known; allowed: {known}",
    )
