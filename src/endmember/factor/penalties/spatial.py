"""Penalties on neighbours in an image or along an axis, and on the shape of whole spectra."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from endmember.errors import EndmemberError, check_known, refuse_if
from endmember.factor.data.axis import Grid
from endmember.factor.penalties.base import Penalty
from endmember.factor.penalties.elementwise import check_line, curvature_of, places_of
from endmember.factor.subproblems import Setting, Subproblem

#: The proximal step of the total variation ends at this duality gap, as a fraction of its
#: objective, or after so many rounds; the gap costs as much as a round and is seldom looked at.
GAP, ROUNDS, CHECK_EVERY = 1e-5, 500, 5


class _OfNeighbours(Penalty):
    """A penalty on neighbours, which a mere list of pixels has not."""

    has_scale = True
    spatial = True

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        refuse_if(
            not setting.grid.known,
            f"{self!r} speaks of neighbours, and a list of pixels has none; give the image as "
            "(ny, nx, channels), or its shape as fit(X, domain=(ny, nx))",
        )


class Smooth(_OfNeighbours):
    r"""Small differences between neighbours: :math:`\tfrac{w}{2}\tau\|D F\|^2`.

    :math:`\tau` is the curvature of the misfit. In an image ``D`` takes first differences between
    neighbours along every axis, which draws maps to local means; along a single axis it takes
    second differences, which leaves straight slopes alone. Differences to what does not take part
    are left out; maps go on where pixels are masked, on the surface of least bending.

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
    >>> from endmember.factor.data.axis import Grid
    >>> Smooth(2.0).value(np.array([[0.0], [1.0], [0.0]]), Setting(1.0, 1.0, Grid((1, 3))))
    2.0
    """

    in_words = "smooth (w = {weight})"
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

    @staticmethod
    def _differences(setting: Setting | None, n: int) -> tuple[sparse.csr_array, float]:
        """Return ``D`` and a bound on the square of its largest singular value."""
        grid = setting.grid if setting else Grid((n,))
        n = grid.n_axes
        return (grid.second_differences, 16.0) if n == 1 else (grid.first_differences, 4.0 * n)


class TotalVariation(_OfNeighbours):
    r"""Few steps between neighbours: :math:`w\,\alpha\sum|D F|`.

    :math:`\alpha` is the largest slope of the misfit. Plateaus with sharp borders, as maps of phases
    have. The sum is over the absolute differences of all neighbours along every axis (anisotropic),
    so that values may be cut at a bound afterwards and the point is still the best one. Differences
    to what does not take part are left out; maps go on where pixels are masked, as under :class:`Smooth`.

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
    >>> from endmember.factor.data.axis import Grid
    >>> setting = Setting(1.0, 1.0, Grid((1, 4)))
    >>> TotalVariation(0.5).prox(np.array([[0.0], [0.0], [4.0], [4.0]]), 1.0, setting).T.round(3)
    array([[0.25, 0.25, 3.75, 3.75]])
    """

    in_words = "of few steps (total variation, w = {weight})"
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
    change = amount * (transposed @ dual)
    slopes = differences @ (F - change)
    steps = float(np.sum(np.abs(slopes)))
    objective = 0.5 * float(np.sum(change**2)) + amount * steps
    return amount * (steps - float(np.vdot(dual, slopes))) / objective if objective > 0 else 0.0


class _Shape(Penalty):
    """Columns that must have a shape: the nearest column that has it answers every question."""

    columns: Sequence[int] | None

    @abstractmethod
    def nearest(self, y: np.ndarray, weights: np.ndarray, setting: Setting | None) -> np.ndarray:
        """Return the column of the shape with the least ``Σ weights (· − y)²``; both (n,)."""

    def column(
        self, h: np.ndarray, d: np.ndarray | float, F: np.ndarray, j: int, setting: Setting | None
    ) -> np.ndarray:
        """Return the best column ``j``: the nearest to ``h / d`` as ``d`` weighs the rows."""
        return (
            h / d
            if self.columns is not None and j not in self.columns
            else self.nearest(
                h / d, np.broadcast_to(np.asarray(d, dtype=np.float64), h.shape), setting
            )
        )

    def prox(self, F: np.ndarray, step: float, setting: Setting | None) -> np.ndarray:
        """Return the factor of the shape that is nearest to ``F``."""
        ones = np.ones(len(F))
        return np.column_stack([self.column(f, ones, F, j, setting) for j, f in enumerate(F.T)])

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        check_line(self, setting)
        wrong = [j for j in self.columns or () if not 0 <= j < shape[1]]
        if wrong:
            raise EndmemberError(
                f"{type(self).__name__} names component {wrong[0]}, but the {shape[1]} components are "
                f"counted from 0 to {shape[1] - 1}"
            )


class Unimodal(_Shape):
    r"""One peak, nowhere below zero: rises up to a channel and falls from there on.

    The nearest such column is found exactly. For every place of the peak it is the nearest rising
    column before and the nearest falling one after, and one pass from either end gives the errors
    of all of them.

    Parameters
    ----------
    columns : sequence of int, optional
        The components that must have it, counted from 0; all unless given.

    References
    ----------
    Bro & Sidiropoulos, J. Chemom. 12 (1998) 223. Stout, Comput. Stat. Data Anal. 53 (2008) 289.

    Examples
    --------
    >>> Unimodal().prox(np.array([[1.0], [3.0], [0.0], [2.0]]), 1.0, None).T
    array([[1., 3., 1., 1.]])
    """

    in_words = "with a single peak"
    references = ("R. Bro and N. D. Sidiropoulos, J. Chemom. 12 (1998) 223.",)

    def __init__(self, columns: Sequence[int] | None = None) -> None:
        self.columns = columns

    def nearest(self, y: np.ndarray, weights: np.ndarray, setting: Setting | None) -> np.ndarray:
        rising = _errors_of_rising(y, weights)
        peak = int(np.argmin(rising + _errors_of_rising(y[::-1], weights[::-1])[::-1]))
        sides = isotonic(y[:peak], weights[:peak]), isotonic(y[peak:], weights[peak:], rising=False)
        return np.maximum(np.concatenate(sides), 0.0)


class Monotone(_Shape):
    """Columns that never rise, or never fall: backgrounds, decays, profiles.

    Parameters
    ----------
    direction : "decreasing" or "increasing"
    columns : sequence of int, optional
        The components that must have it, counted from 0; all unless given.

    References
    ----------
    Barlow, Bartholomew, Bremner & Brunk, Statistical Inference under Order Restrictions (1972).

    Examples
    --------
    >>> Monotone().prox(np.array([[3.0], [1.0], [2.0]]), 1.0, None).T
    array([[3. , 1.5, 1.5]])
    """

    in_words = "{direction}"
    references = (
        "R. E. Barlow et al., Statistical Inference under Order Restrictions, Wiley (1972).",
    )

    def __init__(self, direction: str = "decreasing", columns: Sequence[int] | None = None) -> None:
        self.direction, self.columns = direction, columns

    def nearest(self, y: np.ndarray, weights: np.ndarray, setting: Setting | None) -> np.ndarray:
        return isotonic(y, weights, rising=self.direction == "increasing")

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        check_known("direction", self.direction, "decreasing", "increasing")
        super().check(shape, setting)


class PowerLaws(_Shape):
    r"""Sums of power laws, :math:`\sum_r a_r E^{-r}` with :math:`a_r \ge 0`: the background of EELS.

    Such a column is positive, falls, and does so ever more slowly, whatever the fit does to it.

    Parameters
    ----------
    energy : ndarray, (channels,)
        The energy of every channel of the whole axis, above zero; its unit plays no part.
    exponents : sequence of float, optional
        The exponents ``r``; 1, 2, … 6 unless given.
    columns : sequence of int, optional
        The components that must have it, counted from 0; all unless given.

    Raises
    ------
    ValueError
        If there is not one positive energy a channel.

    References
    ----------
    Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope (2011), section 4.4.

    Examples
    --------
    >>> energy = np.array([100.0, 200.0, 400.0])
    >>> laws = PowerLaws(energy, exponents=[1, 2])
    >>> laws.prox((3 / energy + 5 / energy**2)[:, None], 1.0, None).T * energy
    array([[3.05  , 3.025 , 3.0125]])
    """

    creeps = True
    in_words = "a sum of power laws"
    references = (
        "R. F. Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed., "
        "Springer (2011), section 4.4.",
    )

    def __init__(
        self,
        energy: np.ndarray,
        exponents: Sequence[float] | None = None,
        columns: Sequence[int] | None = None,
    ) -> None:
        self.energy, self.exponents, self.columns = energy, exponents, columns

    def nearest(self, y: np.ndarray, weights: np.ndarray, setting: Setting | None) -> np.ndarray:
        from scipy.optimize import nnls

        laws = self.dictionary(setting)
        root = np.sqrt(weights)
        size = np.max(np.abs(root * y), initial=0.0) or 1.0
        amounts, _ = nnls(root[:, None] * laws, root * y / size)
        return laws @ (amounts * size)

    def dictionary(self, setting: Setting | None = None) -> np.ndarray:
        """Return the power laws at the channels that take part, each of unit length, (n, r)."""
        energy = np.asarray(self.energy, dtype=np.float64)
        energy = energy if setting is None else energy[setting.grid.index]
        exponents = np.linspace(1, 6, 6) if self.exponents is None else np.asarray(self.exponents)
        laws = (energy[:, None] / energy.min()) ** -exponents
        return laws / np.linalg.norm(laws, axis=0)

    def check(self, shape: tuple[int, int], setting: Setting) -> None:
        super().check(shape, setting)
        energy, n = np.asarray(self.energy), places_of(shape, setting.grid)
        refuse_if(
            energy.shape != (n,) or not np.all(energy > 0),
            f"em.PowerLaws needs the positive energy of each of {n} channels and got shape "
            f"{energy.shape} from {np.min(energy, initial=np.inf):g}; leave out channels at or below "
            "zero loss by cropping the data",
        )


def isotonic(y: np.ndarray, weights: np.ndarray, rising: bool = True) -> np.ndarray:
    """Return the nearest rising (or falling) sequence, (n,)."""
    from sklearn.isotonic import isotonic_regression

    return y if len(y) == 0 else isotonic_regression(y, sample_weight=weights, increasing=rising)


def _errors_of_rising(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    r"""Return for every p the least :math:`\sum w (f - y)^2` of a rising :math:`f \ge 0` through ``y[:p]``; (n + 1,).

    Pools adjacent violators from left to right. A pool is kept as its mean, its weight and the
    error summed up to its end; its error is that around ``max(mean, 0)``.
    """
    errors = np.zeros(len(y) + 1)
    pools: list[tuple[float, float, float, float]] = []  # mean, weight, spread, error so far
    for p, (mean, weight) in enumerate(zip(y.tolist(), weights.tolist(), strict=True)):
        spread = 0.0
        while pools and pools[-1][0] >= mean:
            left_mean, left_weight, left_spread, _ = pools.pop()
            total = left_weight + weight
            share = weight / total if total > 0 else 0.5
            spread += left_spread + left_weight * share * (mean - left_mean) ** 2
            mean, weight = left_mean + share * (mean - left_mean), total
        error = (pools[-1][3] if pools else 0.0) + spread + weight * min(mean, 0.0) ** 2
        pools.append((mean, weight, spread, error))
        errors[p + 1] = error
    return errors
