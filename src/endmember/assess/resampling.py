"""Whether components come back when the data are drawn again: which of them rest on few pixels, or on noise."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from endmember.assess.bands import given_fit
from endmember.errors import check_known, refuse_if
from endmember.factor.data import Dense, Observed, exposed, observe, one_blas_thread
from endmember.factor.geometry.extremes import tiles
from endmember.factor.loop import Callback, Progress
from endmember.factor.matching import spectral_angle
from endmember.factor.noise.splitting import heads
from endmember.methods.checks import check_positive_whole
from endmember.show.shown import Shown

#: Neighbouring pixels that are drawn together.
TOGETHER = 9
#: A component is to be named that comes back in this share of the draws.
NAMED = 0.8


@dataclass(frozen=True, eq=False, repr=False)
class Recurrence(Shown):
    """How often every component came back.

    Attributes
    ----------
    table : ndarray of int, (k, k + 1)
        In how many draws the component of a row was found again as that of a column; in the last column, as none.
    draws : int
        How many there were.
    """

    table: np.ndarray
    draws: int

    @property
    def returns(self) -> np.ndarray:
        """In how many draws every component came back as itself, (k,)."""
        return np.diag(self.table)

    @property
    def verdicts(self) -> list[str]:
        """One sentence on each component."""
        found = zip(self.returns, self.table[:, :-1] - np.diag(self.returns), strict=True)
        return [
            f"came back in {own} of {self.draws} draws"
            + (f", as component {other.argmax() + 1} in {other.max()}" if other.any() else "")
            + (": do not name it." if own < NAMED * self.draws else ".")
            for own, other in found
        ]

    @property
    def sentence(self) -> str:
        """How often each came back, in words."""
        return "\n".join(f"Component {j}: {said}" for j, said in enumerate(self.verdicts, 1))


def recurrence(
    fitted: Any,
    X: Any = None,
    *,
    method: str = "pixels",
    n_draws: int = 100,
    mask: Any = None,
    channel_mask: Any = None,
    weights: Any = None,
    domain: tuple[int, ...] | None = None,
    callback: Callback | None = None,
    random_state: int = 0,
) -> Recurrence:
    """Fit the model again to data that are drawn from the data, and count which components come back.

    Every fit starts from the answer where the model takes a start. The spectrum nearest to that of a component goes for
    the component of the answer that it is nearest to, if its angle is less than half of that to the nearest other. What
    seldom comes back rests on few pixels or on noise. That all come back does not say that the answer is the only one:
    see :func:`em.assess.ambiguity`.

    Parameters
    ----------
    fitted : fitted estimator or Unmixing
    X : array_like, sparse matrix, Dask array or HyperSpy signal, (*domain, n_channels)
        The data of the fit; an ``Unmixing`` reads its own again unless they are given.
    method : "pixels" or "counts"
        Draw tiles of about nine neighbouring pixels, as many as there are and with repeats (a block bootstrap), or
        keep every count with probability one half, so that the draws have half the dose.
    n_draws : int
    mask, channel_mask, weights, domain
        As in the fit; no weights of single entries.
    callback : callable, optional
        Gets the progress before every fit; returning True keeps those so far, at least one.
    random_state : int

    Returns
    -------
    Recurrence

    Raises
    ------
    ValueError
        If the data are no counts that could be thinned, have weights, or the model looks at neighbouring pixels while
        pixels are drawn.

    References
    ----------
    Paatero, Eberly, Brown & Norris, Atmos. Meas. Tech. 7 (2014) 781. Künsch, Ann. Stat. 17 (1989) 1217.

    Examples
    --------
    >>> import endmember as em
    >>> counts = np.random.default_rng(0).poisson(50 * np.eye(2).repeat(90, axis=0) @ np.eye(2).repeat(9, axis=1))
    >>> print(recurrence(em.NMF(2, random_state=0).fit(counts), counts, n_draws=10).sentence)
    Component 1: came back in 10 of 10 draws.
    Component 2: came back in 10 of 10 draws.
    """
    check_known("method", method, "pixels", "counts")
    check_positive_whole("n_draws", n_draws)
    model, X, options = given_fit(fitted, X, mask, channel_mask, weights, domain)
    observed = observe(X, **options, keep_empty=True)
    _check(model, observed, method)
    rng, answer = np.random.default_rng(random_state), model.flat_components
    again = clone(model)
    if "init" in again.get_params():
        again.set_params(init=(np.nan_to_num(model.maps_), np.nan_to_num(answer)))
    parts = tiles(observed.domain, observed.rows, max(len(observed.rows) // TOGETHER, 1))
    k = len(answer)
    apart = np.asarray(spectral_angle(answer[:, None], answer[None])) + 180 * np.eye(k)
    room = np.minimum(apart.min(axis=1), 90) / 2
    table = np.zeros((k, k + 1), int)
    for draw in range(1, n_draws + 1):
        if callback is not None and callback(Progress("recurrence", draw, np.nan)) and draw > 1:
            break
        if method == "pixels":
            chosen = rng.integers(len(parts), size=len(parts))
            drawn = observed.of(np.concatenate([parts[one] for one in chosen]))
        else:
            thinned = heads(observed.data.counts.rows(np.arange(observed.data.shape[0])), rng)
            data = exposed(Dense(thinned.astype(observed.data.dtype)), observed.data.exposure)
            drawn = replace(observed, data=data)
        with warnings.catch_warnings(action="ignore"), one_blas_thread():
            found = again.fit(drawn).flat_components
        angles = np.asarray(spectral_angle(found[:, None], answer[None]))
        nearest = angles[angles.argmin(axis=0)]  # to what was found nearest to each
        place = nearest.argmin(axis=1)
        table[np.arange(k), np.where(nearest.min(axis=1) < room[place], place, k)] += 1
    return Recurrence(table, int(table[0].sum()))


def _check(model: Any, observed: Observed, method: str) -> None:
    """Refuse data that cannot be drawn again as asked."""
    refuse_if(
        observed.data.weighted,
        "em.assess.recurrence does not know weights of single entries; leave them out",
    )
    refuse_if(
        method == "counts" and not (observed.holds_counts and observed.unit == 1),
        'method="counts" thins counts and these data are none; give method="pixels"',
    )
    alike = [part for _, part in model.parts() if getattr(part, "spatial", False)]
    refuse_if(
        method == "pixels" and (alike or "shifts_" in model.learned()),
        f"{alike[0] if alike else model!r} looks at neighbouring pixels, which a draw of pixels tears apart; give "
        'method="counts"',
    )
