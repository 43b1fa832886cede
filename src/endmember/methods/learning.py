"""What a model has learned, and what it says of the data: asked here and written down nowhere else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from endmember.factor.blocks import Data
from endmember.factor.data import Weighted
from endmember.factor.inputs import Observed


class Learning:
    """Something that learns: all it has learned is in attributes that end in an underscore."""

    def learned(self) -> dict[str, Any]:
        """Return everything learned by its name, ``maps_`` and ``components_`` among it; nothing before a fit.

        Fitted models inside, such as ``model_`` of :class:`em.Drifting`, are there with what they have learned
        themselves. What is not named like this is not part of the answer: neither kept nor given back.
        """
        return {name: value for name, value in vars(self).items() if _is_learned(name)}

    def restored(self, learned: Mapping[str, Any]) -> Self:
        """Take over what a model of the same kind has learned, and return the model.

        Parameters
        ----------
        learned : mapping
            As :meth:`learned` returned it.

        Raises
        ------
        ValueError
            If a name is none of something learned, or that of a method or property of the class.
        """
        for name in learned:
            if not _is_learned(name) or hasattr(type(self), name):
                raise ValueError(
                    f"{name!r} is nothing that {type(self).__name__} learns: names of what is learned end in an "
                    "underscore, and none is that of a method"
                )
        vars(self).update(learned)
        return self


def _is_learned(name: str) -> bool:
    return name.isidentifier() and name.endswith("_") and not name.startswith("_")


@dataclass(frozen=True, eq=False)
class Explained:
    r"""Data and what a model says of them: :math:`X \approx C S^\top + 1 \mu^\top`.

    Drift is inside of the data, which are read where the model found their channels; cores and profiles along
    several axes are inside of the maps.

    Attributes
    ----------
    observed : Observed
        The data, the pixels and channels that take part, and the way back to the image.
    C : ndarray, (n, k)
        Maps of the pixels that take part.
    S : ndarray, (m, k)
        Spectra at the channels that take part.
    offset : ndarray, (m,), optional
        A spectrum μ that is part of every pixel, such as the mean that a centred model takes off.
    """

    observed: Observed
    C: np.ndarray
    S: np.ndarray
    offset: np.ndarray | None = None

    @property
    def factors(self) -> list[np.ndarray]:
        """Maps and spectra whose product is the model, the offset among them: (n, q) and (m, q)."""
        if self.offset is None:
            return [self.C, self.S]
        return [
            np.column_stack([self.C, np.ones(len(self.C))]), np.column_stack([self.S, self.offset])
        ]  # fmt: skip

    @property
    def weights(self) -> np.ndarray | None:
        """The weight of every entry, (n, m); None where all weigh the same."""
        data = self.observed.data
        return data.W if isinstance(data, Weighted) else None

    def residual_blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield ``(rows, residual)`` block by block, every entry times the root of its weight."""
        return self.observed.data.residual_blocks(*self.factors)

    def squares(self, data: Data | None = None) -> float:
        """Return the sum of the squared residuals times their weights; with those of ``data`` if given."""
        return 2.0 * (self.observed.data if data is None else data).misfit(self.factors)
