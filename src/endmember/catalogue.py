"""One table of what can be chosen: methods, losses, solvers and wishes, by the names that people call them.

What is chosen is named as in ``em``, so that reading the table costs nothing; the command line, the workbench and
the choices that ``em.unmix`` makes all ask here.
"""

from collections.abc import Collection, Mapping
from typing import Any

from endmember.errors import Argument, EndmemberError

METHODS = {
    "nmf": "NMF",
    "pca": "PCA",
    "ica": "ICA",
    "vca": "VCA",
    "spa": "SPA",
    "nfindr": "NFINDR",
    "sss": "SubspaceSampling",
    "cp": "CP",
}
LOSSES = {"squared": "SquaredError", "scaled": "PoissonScaled", "poisson": "Poisson"}
#: Losses by the words of a page.
LOSSES_IN_WORDS = {
    "constant noise": "squared",
    "counts, weighted": "scaled",
    "counts, exact": "poisson",
}
SOLVERS = {
    name.lower(): name
    for name in ("ADMM", "ALS", "ANLS", "HALS", "MALS", "MultiplicativeUpdate", "Newton")
}
#: Penalties, and whether they are about the maps or the spectra.
WISHES = {
    "sparse": ("Sparse", "maps"),
    "smooth": ("Smooth", "maps"),
    "soft_orthogonal": ("SoftOrthogonal", "maps"),
    "relevance": ("Relevance", "maps"),
    "minimum_volume": ("MinimumVolume", "spectra"),
}
#: Parameters of methods, by the options of the command line that they come from; a wish is about a factor.
PARAMETERS = {
    **{wish: part for wish, (_, part) in WISHES.items()},
    "closure": "maps",
    "known": "spectra",
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


def named(table: Mapping[str, str], name: str, what: str) -> Any:
    """Return what a table knows by a name, as a class of ``em``.

    Parameters
    ----------
    table : mapping
        ``METHODS``, ``LOSSES`` or ``SOLVERS``.
    name : str
    what : str
        The argument that the name was given for.

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

    if name not in table:
        raise EndmemberError(
            Argument(what, name, f"{what} {name!r}"), f" is not known; allowed: {', '.join(table)}"
        )
    return getattr(em, table[name])


def penalties(
    closure: bool = False, free: Collection[str] = (), **weights: float | bool | None
) -> dict[str, list[Any]]:
    """Return wishes as the parameters ``maps`` and ``spectra`` of a model.

    Parameters
    ----------
    closure : bool
        Whether the maps sum to one. A minimum volume scales them so that they do, unless another wish or this one
        decides on their scale.
    free : collection of "maps" and "spectra"
        Which of them may be negative.
    **weights
        Of ``WISHES``; None and False leave one out, and True takes it as it is.

    Examples
    --------
    >>> penalties(smooth=None, minimum_volume=0.01)
    {'maps': [SumToOne(mode='scale')], 'spectra': [MinimumVolume(weight=0.01)]}
    >>> penalties(smooth=0.1, minimum_volume=0.01)
    {'maps': [Smooth(weight=0.1)], 'spectra': [MinimumVolume(weight=0.01)]}
    """
    import endmember as em

    asked: dict[str, list[Any]] = {"maps": [], "spectra": []}
    for name, weight in weights.items():
        kind, part = WISHES[name]
        if weight is not None and weight is not False:
            asked[part].append(getattr(em, kind)(*([] if weight is True else [weight])))
    if closure:
        asked["maps"].append(em.SumToOne())
    elif asked["spectra"] and not any(wish.has_scale for wish in asked["maps"]):
        # The volume is that of spectra of unit length: the sum is settled afterwards.
        asked["maps"].append(em.SumToOne(mode="scale"))
    for part in dict.fromkeys(free):
        asked[part].append(em.Free())
    return asked
