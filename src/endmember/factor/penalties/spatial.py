"""Penalties on differences between neighbours: in an image, along an axis."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from endmember.factor.grid import Grid
from endmember.factor.penalties.base import Penalty
from endmember.factor.penalties.elementwise import curvature_of
from endmember.factor.subproblem import Setting, Subproblem

#: The proximal step of the total variation ends at this duality gap, as a fraction of its
#: objective, or after so many rounds; the gap costs as much as a round and is seldom looked at.
GAP, ROUNDS, CHECK_EVERY = 1e-5, 500, 5


class Smooth(Penalty):
    r"""Small differences between neighbours: :math:`\tfrac{w}{2}\tau\|D F\|^2`.

    :math:`\tau` is the curvature of the misfit. In an image ``D`` takes first differences between
    neighbours along every axis, which draws maps to local means; along a single axis it takes
    second differences, which leaves straight slopes alone. Differences to what does not take part
    are left out.

    Parameters
    ----------
    weight : float
        1 charges for a difference between neighbours as much as for a misfit of the same size.

    Notes
    -----
    Solvers get the quadratic :math:`\tfrac{w}{2}\tau(\sigma\|F\|^2 - 2\langle(\sigma - D^\top D)F_0, F\rangle)`
    that touches at :math:`F_0` and lies above, with :math:`\sigma \ge \|D\|^2`: 4 for every axis of an image, 16
    along a single axis.

    References
    ----------
    Zdunek & Cichocki, Comput. Intell. Neurosci. 2008, 939567.

    Examples
    --------
    >>> from endmember.factor.grid import Grid
    >>> Smooth(2.0).value(np.array([[0.0], [1.0], [0.0]]), Setting(1.0, 1.0, Grid((1, 3))))
    2.0
    """

    has_scale = True
    spatial = True
    in_words = "smooth (w = {weight:g})"
    references = ("R. Zdunek and A. Cichocki, Comput. Intell. Neurosci. 2008, 939567.",)

    def __init__(self, weight: float = 0.1) -> None:
        self.weight = weight

    def add(self, subproblem: Subproblem, F: np.ndarray) -> None:
        differences, sigma = self._differences(subproblem.setting, len(F))
        mu = self.weight * curvature_of(subproblem, F)
        subproblem.add_quadratic(mu * sigma)
        subproblem.add_linear(mu * (differences.T @ (differences @ F) - sigma * F))

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        differences, _ = self._differences(setting, len(F))
        mu = self.weight * (setting.curvature if setting else 1.0)
        return 0.5 * mu * float(np.sum((differences @ F) ** 2))

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        check_places(self, setting)

    @staticmethod
    def _differences(setting: Setting | None, n: int) -> tuple[sparse.csr_array, float]:
        """Return ``D`` and a bound on the square of its largest singular value."""
        grid = setting.grid if setting else Grid((n,))
        if grid.n_axes == 1:
            return grid.second_differences, 16.0
        return grid.first_differences, 4.0 * grid.n_axes


class TotalVariation(Penalty):
    r"""Few steps between neighbours: :math:`w\,\alpha\sum|D F|`.

    :math:`\alpha` is the largest slope of the misfit. Plateaus with sharp borders, as maps of phases
    have. The sum is over the absolute differences of all neighbours along every axis (anisotropic),
    so that values may be cut at a bound afterwards and the point is still the best one. Differences
    to what does not take part are left out.

    Parameters
    ----------
    weight : float
        A step that stands alone is lowered by this fraction of the largest entry on either side.

    Notes
    -----
    The proximal step is found by an accelerated projected gradient on its dual (Beck & Teboulle),
    until the duality gap is below 1e-5 of the objective.

    References
    ----------
    Rudin, Osher & Fatemi, Physica D 60 (1992) 259. Beck & Teboulle, IEEE Trans. Image Process. 18
    (2009) 2419.

    Examples
    --------
    >>> from endmember.factor.grid import Grid
    >>> setting = Setting(1.0, 1.0, Grid((1, 4)))
    >>> TotalVariation(0.5).prox(np.array([[0.0], [0.0], [4.0], [4.0]]), 1.0, setting).T.round(3)
    array([[0.25, 0.25, 3.75, 3.75]])
    """

    has_scale = True
    spatial = True
    in_words = "of few steps (total variation, w = {weight:g})"
    references = (
        "L. I. Rudin, S. Osher and E. Fatemi, Physica D 60 (1992) 259.",
        "A. Beck and M. Teboulle, IEEE Trans. Image Process. 18 (2009) 2419.",
    )

    def __init__(self, weight: float = 0.01) -> None:
        self.weight = weight

    def prox(self, F: np.ndarray, step: float, setting: Setting | None) -> np.ndarray:
        grid = setting.grid if setting else Grid((len(F),))
        amount = step * self.weight * (setting.peak if setting else 1.0)
        return fewest_steps(F, amount, grid.first_differences, grid.n_axes)

    def value(self, F: np.ndarray, setting: Setting | None) -> float:
        grid = setting.grid if setting else Grid((len(F),))
        alpha = self.weight * (setting.peak if setting else 1.0)
        return alpha * float(np.sum(np.abs(grid.first_differences @ F)))

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        check_places(self, setting)


def fewest_steps(
    F: np.ndarray, amount: float, differences: sparse.csr_array, n_axes: int
) -> np.ndarray:
    r"""Return :math:`\arg\min_U \tfrac12\|U - F\|^2 + a\sum|D U|`.

    Parameters
    ----------
    F : ndarray, (n, k)
    amount : float
        ``a``, in the unit of ``F``.
    differences : sparse array, (edges, n)
        ``D``.
    n_axes : int
        The number of axes of the image, for the step: :math:`\|D\|^2 \le 4 n_{\rm axes}`.
    """
    if amount == 0 or differences.shape[0] == 0:
        return F.copy()
    transposed = differences.T.tocsr()
    dual = ahead = np.zeros((differences.shape[0], F.shape[1]))
    speed, stride = 1.0, 4.0 * n_axes * amount
    for round_ in range(ROUNDS):
        before = dual
        slopes = differences @ (F - amount * (transposed @ ahead))
        dual = np.clip(ahead + slopes / stride, -1.0, 1.0)
        if np.vdot(ahead - dual, dual - before) > 0:
            speed = 1.0  # Momentum that has come to point uphill is dropped.
        faster = 0.5 + np.sqrt(0.25 + speed**2)
        ahead, speed = dual + (speed - 1.0) / faster * (dual - before), faster
        if round_ % CHECK_EVERY == 0 and _gap(F, dual, amount, differences, transposed) <= GAP:
            break
    return F - amount * (transposed @ dual)


def _gap(
    F: np.ndarray,
    dual: np.ndarray,
    amount: float,
    differences: sparse.csr_array,
    transposed: sparse.csr_array,
) -> float:
    """Return how far a dual point may be from the best objective, as a fraction of it."""
    pull = amount * (transposed @ dual)
    slopes = differences @ (F - pull)
    steps = float(np.sum(np.abs(slopes)))
    objective = 0.5 * float(np.sum(pull**2)) + amount * steps
    return amount * (steps - float(np.vdot(dual, slopes))) / objective if objective > 0 else 0.0


def check_places(penalty: Penalty, setting: Setting) -> None:
    """Refuse a penalty on neighbours where nobody knows who they are.

    Raises
    ------
    ValueError
        If the rows are a mere list of pixels.
    """
    if not setting.grid.known:
        raise ValueError(
            f"{penalty!r} speaks of neighbours, and a list of pixels has none; give the image as "
            "(ny, nx, channels), or its shape as fit(X, domain=(ny, nx))"
        )
