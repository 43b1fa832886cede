"""One table of what can be chosen: methods, losses, solvers and penalties, by the names that people call them.

What is chosen is named as in ``em``, so that reading the table costs nothing; the command line, the workbench and
the choices that ``em.unmix`` makes all ask here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from endmember.errors import Argument, refuse_if


@dataclass(frozen=True)
class Row:
    """A method, a loss or a solver; its key in the table is what the command line calls it.

    Attributes
    ----------
    kind : str
        The class, as in ``em``.
    help : str
        What the command line says of it in brackets; the name alone where that is enough.
    words : str
        What its control in the workbench says.
    """

    kind: str
    help: str = ""
    words: str = ""


METHODS = {
    "nmf": Row("NMF", "non-negative matrix factorisation"),
    "vca": Row("VCA"),
    "spa": Row("SPA"),
    "nfindr": Row("NFINDR", "pure pixels"),
    "sss": Row("SubspaceSampling", "without pure pixels"),
    "pca": Row("PCA"),
    "ica": Row("ICA", "principal, independent components"),
    "cp": Row("CP", "image series"),
}
LOSSES = {
    "squared": Row("SquaredError", "constant", "constant noise"),
    "scaled": Row("PoissonScaled", "counts, by weights", "counts, weighted"),
    "poisson": Row("Poisson", "counts, exactly", "counts, exact"),
}
#: Losses by the words of a page.
LOSSES_IN_WORDS = {row.words: name for name, row in LOSSES.items()}
SOLVERS = {
    name.lower(): Row(name)
    for name in ("ANLS", "HALS", "ALS", "MALS", "Newton", "MultiplicativeUpdate", "ADMM")
}


@dataclass(frozen=True)
class PenaltyRow:
    """A penalty that command line and workbench offer; its key in ``PENALTIES`` is the name of its option.

    Attributes
    ----------
    kind : str
        The class, as in ``em``; its own default is the weight that it has where none is given.
    factor : str
        "maps" or "spectra": what it is about.
    help : str
        What the command line says of it.
    words : str
        What its control in the workbench says.
    short : str
        What the list of runs calls it.
    weights : tuple of float and "auto"
        What its slider offers, from 0, which leaves it out; "auto" lets the data choose. One without a weight is
        switched on and off.
    """

    kind: str
    factor: str
    help: str
    words: str
    short: str = ""
    weights: tuple[float | str, ...] = (
        0.0, 0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, "auto"
    )  # fmt: skip


PENALTIES = {
    "soft_orthogonal": PenaltyRow(
        "SoftOrthogonal",
        "maps",
        "Weight of maps that overlap little (such as 0.01).",
        "Little overlap (soft orthogonality)",
        "orthogonal",
    ),
    "sparse": PenaltyRow(
        "Sparse",
        "maps",
        "Weight of sparse maps (0.01 is little).",
        "Sparse maps",
        "sparse",
    ),
    "smooth": PenaltyRow(
        "Smooth", "maps", "Weight of smooth maps (0.1 is little).", "Smooth maps", "smooth"
    ),
    "minimum_volume": PenaltyRow(
        "MinimumVolume",
        "spectra",
        "Weight of spectra as alike as the data allow (no pure pixels); scales maps to sum to one.",
        "Minimum volume of the spectra",
        "volume",
    ),
    "relevance": PenaltyRow(
        "Relevance",
        "maps",
        "Keep the components that the data bear (ARD).",
        "Drop superfluous components (ARD)",
        weights=(),
    ),
}
#: Parameters of methods, by the options of the command line that they come from; a penalty is about a factor.
PARAMETERS = {
    **{name: row.factor for name, row in PENALTIES.items()},
    "closure": "maps",
    "known": "spectra",
    "elements": "spectra",
    "free": "maps",
    "loss": "loss",
    "solver": "solver",
    "segments": "segments",
    "on": "on",
    "starts": "n_starts",
    "seed": "random_state",
    "max_iter": "max_iter",
    "tol": "tol",
}


def in_brackets(table: Mapping[str, Row]) -> str:
    """Return the names of a table for the help of an option, with what it says of them.

    Examples
    --------
    >>> in_brackets(LOSSES)
    'squared (constant), scaled (counts, by weights), poisson (counts, exactly)'
    """
    return ", ".join(f"{name} ({row.help})" if row.help else name for name, row in table.items())


def named(table: Mapping[str, Row], name: str, what: str, also: Sequence[str] = ()) -> Any:
    """Return what a table knows by a name, as a class of ``em``.

    Parameters
    ----------
    table : mapping
        ``METHODS``, ``LOSSES`` or ``SOLVERS``.
    name : str
    what : str
        The argument that the name was given for.
    also : sequence of str
        What else that argument allows.

    Raises
    ------
    ValueError
        If there is nothing of that name.

    Examples
    --------
    >>> named(LOSSES, "poisson", "loss")()
    Poisson()
    """
    import endmember as em

    refuse_if(
        name not in table,
        Argument(what, name, f"{what} {name!r}"),
        f" is not known; allowed: {', '.join([*also, *table])}",
    )
    return getattr(em, table[name].kind)


def penalties(
    closure: bool = False, free: Collection[str] = (), **weights: float | str | bool | None
) -> dict[str, list[Any]]:
    """Return penalties as the parameters ``maps`` and ``spectra`` of a model.

    Parameters
    ----------
    closure : bool
        Whether the maps sum to one. A minimum volume scales them so that they do, unless another penalty or this one
        decides on their scale.
    free : collection of "maps" and "spectra"
        Which of them may be negative.
    **weights
        Of ``PENALTIES``, "auto" among them; None and False leave one out, and True takes it as it is.

    Examples
    --------
    >>> penalties(smooth=None, minimum_volume=0.01)
    {'maps': [SumToOne(mode='scale')], 'spectra': [MinimumVolume(weight=0.01)]}
    >>> penalties(smooth=0.2, minimum_volume=0.01)
    {'maps': [Smooth(weight=0.2)], 'spectra': [MinimumVolume(weight=0.01)]}
    """
    import endmember as em

    asked: dict[str, list[Any]] = {"maps": [], "spectra": []}
    for name, weight in weights.items():
        row = PENALTIES[name]
        if weight is not None and weight is not False:
            asked[row.factor].append(getattr(em, row.kind)(*([] if weight is True else [weight])))
    if closure:
        asked["maps"].append(em.SumToOne())
    elif asked["spectra"] and not any(one.has_scale for one in asked["maps"]):
        # The volume is that of spectra of unit length: the sum is settled afterwards.
        asked["maps"].append(em.SumToOne(mode="scale"))
    for part in dict.fromkeys(free):
        asked[part].append(em.Free())
    return asked
