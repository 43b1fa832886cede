"""What the model panel offers, and the model that comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import endmember as em
from endmember.app.core.regions import Constraint, penalties_of
from endmember.catalogue import LOSSES, LOSSES_IN_WORDS, PENALTIES, penalties

#: Methods by the names on the page, and the penalties that the panel sets for each.
METHODS: dict[str, dict[str, float | bool]] = {
    "NMF": {"soft_orthogonal": 0.0, "relevance": False},
    "NMF-SO": {"soft_orthogonal": 0.01, "relevance": False},
    "ARD-SO-NMF": {"soft_orthogonal": 0.01, "relevance": True},
}
#: Most components that the panel offers: a sketch keeps twice as many directions.
MOST_COMPONENTS = 15


@dataclass(frozen=True)
class Choices:
    """Everything that the model panel says.

    Attributes
    ----------
    k : int
        Number of components.
    loss : str
        A key of ``catalogue.LOSSES_IN_WORDS``.
    penalties : mapping of str to float, "auto" or bool
        Weights by the names in ``catalogue.PENALTIES``, or whether one without a weight is on; 0 and False leave one
        out. A minimum volume of the spectra scales the maps to sum to one as well as they can, unless another penalty
        or ``closure`` decides on their scale.
    closure : bool
        Whether the maps sum to one exactly.
    starts, seed : int
        Random starts and their seed.
    constraints : tuple of Constraint
        What is known of the answer.
    way : float, optional
        Where between maps as pure (0) and spectra as distinct (1) as the data allow a live answer lies; no run has it.

    Examples
    --------
    >>> Choices(4, penalties={"soft_orthogonal": 0.01}).model()
    NMF(maps=[SoftOrthogonal()], n_components=4, random_state=0)
    """

    k: int = 3
    loss: str = "constant noise"
    penalties: Mapping[str, float | str | bool] = field(default_factory=dict)
    closure: bool = False
    starts: int = 10
    seed: int = 0
    constraints: tuple[Constraint, ...] = ()
    way: float | None = None

    @property
    def method(self) -> str:
        """The name of the method in the literature."""
        ard = "ARD-" if self.penalties.get("relevance") else ""
        so = "SO-" if self.penalties.get("soft_orthogonal") else ""
        return "NMF-SO" if so and not ard else f"{ard}{so}NMF"

    @property
    def label(self) -> str:
        """A short name for a list of runs."""
        weights = [
            f"{row.short} {self.penalties[name]}"
            for name, row in PENALTIES.items()
            if row.weights and self.penalties.get(name)
        ]
        return ", ".join(
            [f"{self.method} k = {self.k}", self.loss, *weights, *(one.words for one in self.constraints)]
        )  # fmt: skip

    def model(self, domain: Any = None, **parameters: Any) -> em.NMF:
        """Return the model, not fitted.

        Parameters
        ----------
        domain : tuple of int, optional
            That of the fit, where it is one of fewer pixels.
        **parameters
            Of ``em.NMF``, in place of those that follow from the choices.
        """
        chosen: dict[str, Any] = {"random_state": self.seed, "n_starts": self.starts}
        loss = LOSSES[LOSSES_IN_WORDS[self.loss]].kind
        if loss != "SquaredError":
            chosen["loss"] = getattr(em, loss)()
        weights: dict[str, Any] = {n: weight for n, weight in self.penalties.items() if weight}
        asked = penalties(self.closure, **weights)
        known = penalties_of(self.constraints, self.k, domain)
        chosen |= {name: both for name in known if (both := [*asked[name], *known[name]])}
        return em.NMF(self.k, **{**chosen, **parameters})
