"""What the model panel offers, and the model that comes of it."""

from dataclasses import dataclass
from typing import Any

import endmember as em
from endmember.catalogue import LOSSES, LOSSES_IN_WORDS, penalties

#: Methods by the names on the page; the second entry is what the panel sets besides.
METHODS: dict[str, dict[str, Any]] = {
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
    soft_orthogonal, sparse, smooth : float
        Weights on the maps; 0 leaves the wish out.
    minimum_volume : float
        Weight on the spectra; maps are then scaled to sum to one as well as they can.
    closure : bool
        Whether the maps sum to one exactly, where there is no minimum volume.
    relevance : bool
        Whether superfluous components are dropped.
    starts, seed : int
        Random starts and their seed.

    Examples
    --------
    >>> Choices(k=4, soft_orthogonal=0.01).model()
    NMF(maps=[SoftOrthogonal()], n_components=4, random_state=0)
    """

    k: int = 3
    loss: str = "constant noise"
    soft_orthogonal: float = 0.0
    sparse: float = 0.0
    smooth: float = 0.0
    minimum_volume: float = 0.0
    closure: bool = False
    relevance: bool = False
    starts: int = 10
    seed: int = 0

    @property
    def method(self) -> str:
        """The name of the method in the literature."""
        ard, so = "ARD-" * self.relevance, "SO-" * (self.soft_orthogonal > 0)
        return "NMF-SO" if so and not ard else f"{ard}{so}NMF"

    @property
    def label(self) -> str:
        """A short name for a list of runs."""
        weights = [
            f"{name} {value:g}"
            for name, value in (
                ("orthogonal", self.soft_orthogonal), ("sparse", self.sparse),
                ("smooth", self.smooth), ("volume", self.minimum_volume),
            ) if value > 0
        ]  # fmt: skip
        return ", ".join([f"{self.method} k = {self.k}", self.loss, *weights])

    def model(self, **parameters: Any) -> em.NMF:
        """Return the model, not fitted.

        Parameters
        ----------
        **parameters
            Of ``em.NMF``, in place of those that follow from the choices.
        """
        chosen: dict[str, Any] = {"random_state": self.seed}
        loss = LOSSES[LOSSES_IN_WORDS[self.loss]]
        if loss != "SquaredError":
            chosen["loss"] = getattr(em, loss)()
        if self.starts != em.NMF().n_starts:
            chosen["n_starts"] = self.starts
        wishes = penalties(
            self.closure, soft_orthogonal=self.soft_orthogonal or None, sparse=self.sparse or None,
            smooth=self.smooth or None, relevance=self.relevance,
            minimum_volume=self.minimum_volume or None,
        )  # fmt: skip
        chosen |= {name: asked for name, asked in wishes.items() if asked}
        return em.NMF(self.k, **{**chosen, **parameters})
