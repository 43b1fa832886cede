"""What components hold of each element, in per cent, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from endmember.assess.bands import given_fit
from endmember.assess.standard_errors import NoisyAnswer
from endmember.errors import check_known, refuse_if
from endmember.factor.data import observe, one_blas_thread

#: The family that stands for an element is the first of K, L and M with this share of the counts of the strongest.
SHARE = 0.1
#: No channel holds less than so many counts of a component.
LEAST = 0.1
#: Elements of more per cent than this are in the name of a component.
NAMED = 10.0
#: What every method assumes.
ASSUMED = {
    "cliff-lorimer": "by Cliff and Lorimer's formula, of a specimen that absorbs nothing",
    "cross-section": "by cross-sections, of a specimen that absorbs nothing",
    "edges": "by hydrogenic cross-sections of the edges, of a specimen in which electrons lose energy once",
    "ratios": "shares of the counts of main lines, no composition: no factors were given",
}


@dataclass(frozen=True, eq=False)
class Composition:
    """The elements of every component, all in per cent.

    Attributes
    ----------
    elements : list of str
    atomic, weight : ndarray, (k, elements)
    atomic_error, weight_error : ndarray, (k, elements)
        Standard errors from counting, and of the factors where their uncertainty is given.
    limits : ndarray, (k, elements)
        Three standard errors of an element that is not there on what else the component holds, atomic.
    lines : list of str
        The family of lines that stood for each element.
    method : str
    maps : HyperSpy signal or ndarray, (elements, *domain)
        Atomic; NaN where nothing is.
    doubted : sequence of str
        Elements of which the sum of all pixels shows nothing: theirs is what the model is wrong by.
    uncertainty : float
        Relative standard error of the factors that is part of the errors.
    """

    elements: list[str]
    atomic: np.ndarray
    atomic_error: np.ndarray
    weight: np.ndarray
    weight_error: np.ndarray
    limits: np.ndarray
    lines: list[str]
    method: str
    maps: Any = field(repr=False)
    doubted: Sequence[str] = ()
    uncertainty: float = 0.0

    def rows(self) -> list[tuple[str, ...]]:
        """Return a table with its head: component, line, atomic and weight per cent with their errors, and limits."""
        values = self.atomic, self.atomic_error, self.weight, self.weight_error, self.limits
        return [("component", "line", "at.%", "± at.%", "wt.%", "± wt.%", "limit at.%")] + [
            (str(q + 1), line, *(f"{one[q, e]:.2f}" for one in values))
            for q in range(len(self.atomic))
            for e, line in enumerate(self.lines)
        ]

    @property
    def names(self) -> list[str]:
        """What every component is called: its elements above a tenth, the most first, with their shares of atoms."""
        names = []
        for number, (shares, limits) in enumerate(zip(self.atomic, self.limits, strict=True), 1):
            most = [e for e in np.argsort(-shares)[:3] if shares[e] > max(NAMED, limits[e])]
            atoms = ":".join(f"{shares[e]:.0f}" for e in most) * (self.method != "ratios")
            names.append(f"{number}. {'–'.join(self.elements[e] for e in most)} {atoms}".strip())
        return names

    @property
    def sentence(self) -> str:
        """What it assumes, and the table."""
        table = "\n".join("".join(f"{cell:>11}" for cell in row) for row in self.rows())
        nothing = "; errors of the model may be all that the sum of all pixels holds of " * bool(
            self.doubted
        )
        return (
            f"Composition: {ASSUMED[self.method]}; errors from counting "
            + (f"and factors known to {self.uncertainty:.2g}" if self.uncertainty else "alone")
            + f"{nothing}{', '.join(self.doubted)}\n{table}"
        )

    def __str__(self) -> str:
        return self.sentence


def composition(
    fitted: Any,
    X: Any = None,
    *,
    method: str | None = None,
    factors: Mapping[str, float] | Sequence[float] | None = None,
    thickness: Any = None,
    uncertainty: float = 0.0,
    **options: Any,
) -> Composition:
    r"""Return what every component holds of each element, from the amounts of its lines.

    With the counts :math:`I_e` of the main line of each element, weight fractions are in proportion to
    :math:`k_e I_e` (Cliff & Lorimer) and atomic ones to :math:`I_e / \sigma_e` (cross-sections).

    Parameters
    ----------
    fitted : Unmixing, or fitted em.NMF with em.XRayLines as its spectra
    X : array_like or HyperSpy signal, optional
        The data; those of an Unmixing unless given.
    method : "cliff-lorimer", "cross-section" (eXSpy's "CL", "cross_section"), "ratios" or "edges", optional
        Of lines, the first where there are factors, else "ratios", which gives shares of counts and says so; of
        em.CoreLossEdges always the last.
    factors : mapping of str to float, or sequence of float
        By element or line, such as ``{"Fe_Ka": 1.3, "O": 2.1}``, or in the order of the elements: k-factors, or
        cross-sections in one unit.
    thickness : None
        Nothing that lines ask for: absorption is not corrected, and a thickness is refused.
    uncertainty : float
        Relative standard error of every factor, such as 0.05, each by itself; the errors hold it then.
    **options
        mask, channel_mask and weights of the fit.

    Returns
    -------
    Composition
        Whose ``maps`` are an array (elements, *domain).

    Raises
    ------
    ValueError
        If the spectra are not made of lines, or a factor is missing.

    References
    ----------
    Cliff & Lorimer, J. Microsc. 103 (1975) 203.

    Examples
    --------
    >>> import endmember as em
    >>> phantom = em.synthetic.edxs_phases(shape=(8, 8), k=1, dose=20)
    >>> model = em.NMF(1, spectra=em.XRayLines(["O", "Mg", "Al", "Si", "Ca", "Fe", "C", "Cu"]))
    >>> found = composition(model.fit(phantom.signal), phantom.signal)
    >>> found.elements[int(found.atomic[0].argmin())]
    'Ca'
    """
    known = ("mask", "channel_mask", "weights")
    for name in options:
        check_known("option", name, *known)
    model, X, options = given_fit(fitted, X, *map(options.get, known))
    refuse_if(
        "elements_" not in model.learned(),
        "the spectra are not made of lines or edges; fit em.NMF(k, spectra=em.XRayLines(elements)) first",
    )
    refuse_if(
        thickness is not None,
        f"thickness={thickness!r} has no effect, as absorption is not corrected; leave it out",
    )
    if factors is not None and not isinstance(factors, Mapping):
        refuse_if(
            len(factors) > len(model.elements_),
            f"there are {len(factors)} factors for {', '.join(model.elements_)}; give one for each, or by name",
        )
        factors = dict(zip(model.elements_, factors, strict=False))
    method = {"CL": "cliff-lorimer", "cross_section": "cross-section"}.get(
        method or "", method or ("cliff-lorimer" if factors else str(model.made_of_))
    )
    refuse_if(
        not 0 <= uncertainty < 1 or (uncertainty and not factors),
        f"uncertainty={uncertainty!r} is not allowed; give the relative error of factors, such as 0.05, and factors=",
    )
    check_known("method", method, *ASSUMED)
    refuse_if(
        (method == model.made_of_) != (not factors) or (factors and model.made_of_ == "edges"),
        f"method={method!r} with factors={factors!r} cannot be: ratios of counts and edges take none, lines by "
        "all else need them",
    )
    given = {name.split("_")[0]: (name, float(value)) for name, value in (factors or {}).items()}
    missing = [one for one in model.elements_ if one not in given and factors]
    refuse_if(
        missing,
        f"there is no factor for {', '.join(missing)}; give one for each of {', '.join(model.elements_)}",
    )
    with one_blas_thread():
        answer = NoisyAnswer(model, model.explained(observe(X, **options, keep_empty=True)), None)
        total = answer.C.sum(axis=0)
        chosen = [_line(model, one, given.get(one, ("", 0))[0], total) for one in model.elements_]
        covariance = answer.covariance_of_amounts(chosen)
        return _composed(
            model, chosen, covariance, method,
            np.array([given.get(one, ("", 1.0))[1] for one in model.elements_]), total, uncertainty,
        )  # fmt: skip


def _line(model: Any, element: str, named: str, total: np.ndarray) -> int:
    """Return the column that stands for an element: the one named, or the first strong one of K, L, M."""
    names = [f"{element}_{shell}" for shell in (named.partition("_")[2][:1] or "KLM")]
    found = [model.column_names_.index(name) for name in names if name in model.column_names_]
    refuse_if(
        not found,
        f"the axis holds no line of {' or '.join(names)}; leave {element} out or name another line",
    )
    counts = total @ model.amounts_[:, found]
    return found[int(np.argmax(counts >= SHARE * counts.max()))]


def _composed(
    model: Any, chosen: Sequence[int], covariance: np.ndarray, method: str, factors: np.ndarray,
    total: np.ndarray, uncertainty: float,
) -> Composition:  # fmt: skip
    """Return the composition from the amounts of the chosen columns and their covariance (k, p, k, p)."""
    from exspy.material import elements as table

    mass = np.array([table[one].General_properties.atomic_weight for one in model.elements_])
    times = {"cliff-lorimer": factors / mass, "cross-section": 1 / factors}.get(method, factors)
    amounts = model.amounts_[:, chosen]
    own = np.stack([covariance[q, chosen][:, q, chosen] for q in range(len(amounts))])
    own += uncertainty**2 * amounts[:, :, None] ** 2 * np.eye(len(mass))
    atomic, atomic_error = _shares(amounts, own, times)
    weight, weight_error = _shares(amounts, own, times * mass)
    lines = model.columns_[chosen]
    rest = model.components_[:, None] - amounts[:, :, None] * lines
    known = np.nansum(lines**2 / np.maximum(rest, LEAST / total[:, None, None]), axis=-1)
    whole = np.sum(amounts * times, axis=1, keepdims=True)
    limits = 300 * times / np.sqrt(total[:, None] * known) / whole
    atoms = np.moveaxis(model.maps_ @ (amounts * times), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        maps = 100 * atoms / atoms.sum(axis=0)
    return Composition(
        list(model.elements_),
        atomic,
        atomic_error,
        weight,
        weight_error,
        limits,
        [model.column_names_[one] for one in chosen],
        method,
        maps,
        model.learned().get("unfound_", ()),
        uncertainty,
    )


def _shares(
    amounts: np.ndarray, covariance: np.ndarray, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares in per cent of amounts (k, e) times a factor each, and their standard errors."""
    whole = np.sum(amounts * times, axis=1)[:, None]
    shares = amounts * times / whole
    J = (np.eye(len(times)) - shares[:, :, None]) * times / whole[:, :, None]
    return 100 * shares, 100 * np.sqrt(np.einsum("qae,qef,qaf->qa", J, covariance, J))
