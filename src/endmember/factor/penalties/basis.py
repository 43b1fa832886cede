"""Spectra that are put together from known columns."""

from collections.abc import Sequence
from copy import copy
from typing import Any, Self

import numpy as np

from endmember.errors import EndmemberTypeError, Words, refuse_if
from endmember.factor.data.axis import Axis, Grid, is_signal
from endmember.factor.penalties.base import Penalty, worded
from endmember.factor.penalties.elementwise import NonNegative, as_array


class Basis(Penalty):
    r"""Spectra that are non-negative combinations of known columns: lines, edges, references, shapes of a background.

    .. math:: S = G\,W, \qquad W \ge 0

    The fit finds the amounts ``W`` (p, k) of the ``p`` columns in each of the k spectra, whatever the loss: the
    problem of the spectra is posed to their amounts. A spectrum then has few unknowns, which few counts
    determine; what no column describes goes to the misfit.

    Parameters
    ----------
    columns : array or HyperSpy signal, (channels, p) or (p, channels)
        In any unit, none below zero, over the whole axis. An array with as many rows as columns has its columns as
        they are.

    Raises
    ------
    ValueError
        If the columns do not fit the channels, are negative, not finite or empty, or are given for maps.

    References
    ----------
    Teurtrie, Perraudin, Holvoet, Chen, Alexander, Obozinski & Hébert, Ultramicroscopy 249 (2023) 113719.

    Examples
    --------
    >>> Basis([[1.0, 0.0], [1.0, 2.0], [0.0, 1.0]]).basis(Grid((3,)))
    array([[1., 0.],
           [1., 2.],
           [0., 1.]])
    """

    in_words = "non-negative combinations of known columns"
    references: tuple[str, ...] = ("A. Teurtrie et al., Ultramicroscopy 249 (2023) 113719.",)
    #: The columns that a fit has found, (p, channels); None where they are as given.
    found: np.ndarray | None = None

    def __init__(self, columns: Any) -> None:
        self.columns = columns

    def basis(self, grid: Grid) -> np.ndarray:
        """Return the columns at the channels that take part, (m, p)."""
        refuse_if(
            not (grid.n_axes == 1 and grid.known),
            f"em.{type(self).__name__} is about spectra; give it as spectra=",
        )
        return (
            self.found.T[grid.index]
            if self.found is not None
            else self.columns_on(grid.axis or Axis.numbers(grid.shape[0]))[0].T[grid.index]
        )

    def learned_from(self, total: np.ndarray, axis: Axis) -> dict[str, Any]:
        """Return what a model learns of the columns before its fit, by name.

        Parameters
        ----------
        total : ndarray, (channels,)
            The sum of all pixels.
        axis : Axis
        """
        columns, names = self.columns_on(axis)
        return {"columns_": columns, "column_names_": names}

    def columns_on(self, axis: Axis) -> tuple[np.ndarray, list[str]]:
        """Return the columns (p, channels) on an axis, and their names."""
        try:
            G = np.atleast_2d(as_array(self.columns).astype(np.float64))
        except (TypeError, ValueError):
            raise EndmemberTypeError(
                f"em.Basis got {type(self.columns).__name__} and needs numbers; give an array (channels, p)"
            ) from None
        channels = len(axis.energy)
        if is_signal(self.columns):
            axis.check(Axis.of(self.columns), "the columns of em.Basis lie", "interpolate them")
        elif G.ndim == 2 and G.shape[0] == channels:
            G = G.T
        refuse_if(
            G.ndim != 2 or G.shape[1] != channels,
            f"em.Basis has columns of shape {G.shape} for {channels} channels; allowed: (channels, p) "
            "or (p, channels)",
        )
        refuse_if(
            not np.isfinite(G).all() or (G < 0).any() or not G.any(axis=1).all(),
            "em.Basis needs columns that are finite, nowhere negative and not zero everywhere; clip or "
            "leave out those that are not",
        )
        return G, [f"column {number + 1}" for number in range(len(G))]

    def holding(self, columns: np.ndarray) -> Self:
        """Return the same with the columns (p, channels) that a fit has found."""
        held = copy(self)
        held.found = columns
        return held

    def conflict(
        self, own: Sequence[Penalty], others: Sequence[Sequence[Penalty]], k: int
    ) -> str | Words | None:
        steps = {"basis", "bounds", "column", "norm", "prox"}
        for one in own:
            if one is not self and one.offers() & steps and not isinstance(one, NonNegative):
                return "its columns decide what spectra can be, so it does not go with ", worded(
                    one
                )
        return (
            "spectra that are moved apart are no combinations; leave out mixed=True"
            if any(getattr(one, "mixed", False) for other in others for one in other)
            else None
        )
