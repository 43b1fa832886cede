"""The lines of the elements on a continuum, fitted to the sum of all pixels: axis, and which elements it holds."""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares, nnls
from scipy.special import ndtr, xlogy

from endmember.errors import refuse_if
from endmember.factor.columns import lengths, unit_columns

#: Energies in keV: below the first there is the peak of the electronics, and no line; below the second lines that
#: leave the outermost electron out are taken for themselves; and charge of soft X-rays is lost, so that their lines
#: lie lower, less so from one such energy as the third to the next.
LOWEST, UNSURE, SOFT = 0.2, 1.2, 0.5
#: Bounds of what an axis may be off: of itself, in keV, the width of lines of itself, soft lines in keV, the counts of
#: soft lines in a tail that falls off over so many keV, and by how much the variance grows with energy, of itself.
BOUNDS, TAIL = np.array([0.01, 0.02, 0.3, 0.05, 2.0, 0.3]), 0.1
#: The continuum falls towards low energies as behind layers that absorb below these energies, in keV.
ABSORBED = (0.0, 0.4, 1.2)
#: What the model may be wrong by, as standard deviations of itself: a line beside its family's main one, the axis for
#: each family (of its bounds), and the continuum over steps of the logarithmic energy.
RATIO, OWN, SMOOTH, STEP = 0.2, 0.05, 0.1, 0.35
#: An element is in the data whose lines bring so much, in twice the logarithm of the likelihood with what the model may
#: be wrong by, and of whose lines that must be seen each is so many standard deviations high; no family counts that
#: others make up but for this share.
CLEAR, SEEN, APART = 25.0, 3.0, 0.6
#: Elements that are found at most, and times that amounts are weighted by their model.
MOST, REWEIGHTED = 20, 4
#: Elements that are in no specimen by chance: gases without compounds, and those that decay.
UNLIKELY = set("H He Li Ne Ar Kr Xe Tc Pm Po At Rn Fr Ra Ac Pa Np Pu Am Cm Bk Cf Es".split())  # noqa: SIM905
#: Shells whose ionisation gives the lines of a family, in the table of edges.
SHELLS = {"K": "K", "L": "L3", "M": "M5"}


class Family(NamedTuple):
    """The lines of one shell of an element: energies (keV), intensities beside the main one, and the edge."""

    element: str
    name: str
    energies: np.ndarray
    weights: np.ndarray
    edge: float


@cache
def known_of(element: str, table: str, unit: str) -> dict[str, float]:
    """Return the energies of an element's lines, their weights, or the onsets of its major edges."""
    from exspy.material import elements

    known = elements.get_item(f"{element}.Atomic_properties.{table}", {})
    return {
        name: float(known[name][unit])
        for name in known.keys()  # noqa: SIM118 (no dictionary)
        if table == "Xray_lines" or known[name].get_item("relevance", "Major") == "Major"
    }


def families(elements: Collection[str], low: float, high: float) -> list[Family]:
    """Return the families of some elements whose main line lies between two energies in keV."""
    found = []
    for element in elements:
        lines = known_of(element, "Xray_lines", "energy (keV)")
        weights = known_of(element, "Xray_lines", "weight")
        edges = known_of(element, "Binding_energies", "onset_energy (eV)")
        for shell, name in SHELLS.items():
            main = f"{shell}a"
            weights = {**weights, main: weights.get(main) or 1.0}  # where the table lacks it
            own = [line for line in lines if line[0] == shell and weights[line] > 0]
            soft = [line for line in own if line in ("Ll", "Ln") and lines[line] < UNSURE]
            for kind, chosen in ((shell, [one for one in own if one not in soft]), ("Ll", soft)):
                energies, sizes = (
                    np.array([table[one] for one in chosen]) for table in (lines, weights)
                )
                if len(chosen) and low < energies[np.argmax(sizes)] < high:
                    edge = 1e-3 * edges.get(name, 1e3 * max(lines[one] for one in own))
                    found.append(
                        Family(element, f"{element}_{kind}", energies, sizes / sizes.max(), edge)
                    )
    return found


def bremsstrahlung_shapes(
    energy: Any,
    beam_energy: float | None = None,
    efficiency: Any | None = None,
) -> np.ndarray:
    r"""Return the two shapes of the bremsstrahlung of a thin specimen.

    With :math:`u = 1 - E / E_0` they are :math:`\varepsilon(E)\, u` and
    :math:`\varepsilon(E)\, u^2 / E`, the terms of Lifshin's formula. Far below the beam energy they
    are a constant and :math:`1 / E`, the first terms of Chapman's.

    Parameters
    ----------
    energy : array_like, (channels,)
        Positive where the shapes are wanted; they are 0 at and below zero and above the beam energy.
    beam_energy : float, optional
        ``E_0`` in the unit of ``energy``; far above the axis unless given.
    efficiency : array_like, (channels,), optional
        What detector and specimen let through; 1 unless given.

    Returns
    -------
    ndarray, (channels, 2)
        Fixed columns of a model as they are, ``em.Known({k - 1: shapes[:, 0]})``.

    Raises
    ------
    ValueError
        If the beam energy is not positive, or the efficiency not one a channel.

    References
    ----------
    Chapman, Gray, Robertson & Nicholson, X-Ray Spectrom. 12 (1983) 153. Teurtrie, Perraudin, Holvoet,
    Chen, Alexander, Obozinski & Hébert, Ultramicroscopy 249 (2023) 113719, for Lifshin's formula.

    Examples
    --------
    >>> bremsstrahlung_shapes([1.0, 2.0], beam_energy=4.0)
    array([[0.75  , 0.5625],
           [0.5   , 0.125 ]])
    """
    E = np.asarray(energy, dtype=float)
    refuse_if(
        beam_energy is not None and not beam_energy > 0,
        f"beam_energy={beam_energy} is not positive; give it in the axis' own unit",
    )
    through = np.ones(E.shape) if efficiency is None else np.asarray(efficiency, dtype=float)
    refuse_if(
        through.shape != E.shape,
        f"efficiency has the shape {through.shape} and the axis {E.shape}; give one value a channel",
    )
    u = np.ones(E.shape) if beam_energy is None else np.maximum(1 - E / beam_energy, 0)
    positive = E > 0
    return np.stack([u, u**2 / np.where(positive, E, 1.0)], axis=-1) * (through * positive)[:, None]


class SumOfLines:
    """The sum of all pixels, and what lines of elements make of it."""

    def __init__(
        self, energy: np.ndarray, beam: float | None, resolution: float, total: np.ndarray
    ) -> None:
        self.energy, self.beam, self.resolution, self.total = energy, beam, resolution, total
        self.step, self.low = float(np.median(np.diff(energy))), energy < LOWEST

    def families(self, elements: Collection[str]) -> list[Family]:
        """Return the families of some elements on the axis that the beam can excite."""
        return families(
            elements, max(LOWEST, self.energy[0]), min(self.energy[-1], self.beam or np.inf)
        )

    def deviations(self, energies: Any, off: np.ndarray) -> np.ndarray:
        """Return the standard deviation of lines, in keV."""
        width, grows = self.resolution * (1 + BOUNDS[2] * off[2]), 2.5 * (1 + BOUNDS[5] * off[5])
        variance = width**2 + grows * (1e3 * np.asarray(energies) - 5895)
        return 1e-3 * np.sqrt(np.maximum(variance, 400.0)) / 2.3548

    def below(self, edges: np.ndarray, energies: np.ndarray, off: np.ndarray) -> np.ndarray:
        """Return the share of the counts of lines below some edges, (edges, lines)."""
        width, apart = self.deviations(energies, off), edges[:, None] - energies
        whole = ndtr(apart / width)
        part = np.exp(apart / TAIL + (width / TAIL) ** 2 / 2) * ndtr(-apart / width - width / TAIL)
        return whole + np.clip(BOUNDS[4] * off[4] * np.exp(-energies / SOFT), 0.0, 1.0) * part

    def lines(self, found: Sequence[Family], off: np.ndarray) -> np.ndarray:
        """Return the lines of some families, (channels, families), counts of the main line."""
        edges = np.append(self.energy - self.step / 2, self.energy[-1] + self.step / 2)
        soft = BOUNDS[3] * off[3] * np.exp(-np.maximum(edges, 0.0) / SOFT)
        edges = edges * (1 + BOUNDS[0] * off[0]) + BOUNDS[1] * off[1] + soft
        lines = np.zeros((len(self.energy), len(found)))
        for one, line in zip(found, lines.T, strict=True):
            ends = one.energies.min() - 10 * TAIL, one.energies.max() + 10 * TAIL
            first, last = np.searchsorted(edges, ends)
            below = self.below(edges[first:last], one.energies, off) @ one.weights
            line[first : last - 1] = np.diff(below)
        return lines

    def columns(self, elements: Collection[str], off: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Return all columns (p, channels) and their names."""
        E, found = self.energy, self.families(elements)
        shapes = bremsstrahlung_shapes(E, self.beam)
        positive = np.maximum(E, LOWEST)[:, None]
        shapes = np.column_stack([shapes, shapes[:, 1:] / positive])
        behind = [shapes * np.exp(-((one / positive) ** 3)) for one in ABSORBED]
        edge = np.array([one.edge for one in found])
        lost = (
            ndtr((E[:, None] - edge) / self.deviations(edge, off))
            * np.minimum(edge / positive, 1.0) ** 3
        )
        steps = behind[1].sum(axis=1)[:, None] * (1 - lost)
        rest = np.hstack([self.lines(found, off), *behind, steps]) * ~self.low[:, None]
        columns = np.column_stack([rest, np.where(self.low, self.total, 0.0)])
        names = np.array(
            [
                *(one.name for one in found),
                *(f"continuum {number + 1}" for number in range(3 * len(ABSORBED))),
                *(f"edge {one.name}" for one in found),
                "zero peak",
            ]
        )
        kept = np.any(columns > 0, axis=0)
        return columns.T[kept], names[kept].tolist()

    def fitted(
        self, columns: np.ndarray, model: np.ndarray | None = None
    ) -> tuple[np.ndarray, ...]:
        """Return the model of the sum by columns (channels, p), the weight of every residual, the amounts of columns.

        Weighted by its own model, unless one is given.
        """
        size, given = np.linalg.norm(columns, axis=0), model
        least = max(1e-3 * float(np.mean(self.total)), 1e-300)
        model = self.total if given is None else given
        for _ in range(REWEIGHTED if given is None else 1):
            root = 1 / np.sqrt(np.maximum(model, least))
            amounts = nnls(columns / size * root[:, None], self.total * root)[0]
            model = columns / size @ amounts
        return model, 1 / np.sqrt(np.maximum(model, least)), amounts / size

    def deviance(self, columns: np.ndarray) -> float:
        """Return the deviance of the sum from the best model, for each degree of freedom."""
        y = self.total
        model = np.maximum(self.fitted(columns)[0], 1e-9 * y.max())
        return float(
            2 * np.sum(xlogy(y, y / model) - y + model) / max(len(y) - columns.shape[1], 1)
        )

    def off(self, elements: Collection[str], start: np.ndarray) -> np.ndarray:
        """Return how far the axis is off and lines are wider, in units of their bounds."""
        start = np.clip(start, -0.9, 0.9) + 0.01
        first = self.fitted(self.columns(elements, start)[0].T)[0]

        def residual(off: np.ndarray) -> np.ndarray:
            model, root, _ = self.fitted(self.columns(elements, off)[0].T, first)
            return np.append((model - self.total) * root, 2 * off)  # half the bounds are likely

        return least_squares(
            residual,
            start,
            bounds=(-1.0, 1.0),
            loss="soft_l1",
            f_scale=5.0,
            diff_step=1e-2,
            xtol=1e-3,
            ftol=1e-4,
        ).x

    def wrong(
        self, elements: Collection[str], off: np.ndarray, model: np.ndarray, amounts: Any
    ) -> np.ndarray:
        """Return what the model of the sum may be wrong by, in counts (channels, q), each a standard deviation."""
        E = np.log(np.maximum(self.energy, LOWEST))[:, None]
        found = [
            one._replace(weights=amounts.get(one.name, 0.0) * one.weights)
            for one in self.families(elements)
        ]
        alone = [
            one._replace(energies=one.energies[[n]], weights=one.weights[[n]])
            for one in found for n in np.flatnonzero(one.weights < one.weights.max())
        ]  # fmt: skip
        hats = np.maximum(1 - np.abs(E - np.arange(E.min(), E.max() + STEP, STEP)) / STEP, 0)
        here = self.lines(found, off)
        moved = [self.lines(found, off + OWN * one) - here for one in np.eye(len(off))]
        smooth = (model - here.sum(axis=1))[:, None] * hats
        return np.hstack([RATIO * self.lines(alone, off), *moved, SMOOTH * smooth])

    def seen(
        self, elements: Collection[str], others: Sequence[Family], off: np.ndarray
    ) -> np.ndarray:
        r"""Return by how many standard errors the sum holds families besides those of a list, NaN if made up for.

        With the columns of the list projected out and :math:`N` what the model may be wrong by, a family ``n`` of the
        residual ``r`` has :math:`t = n^T V r / \sqrt{n^T V n}`, :math:`V = (I + N N^T)^{-1}`, in units of the noise.
        """
        columns, names = self.columns(elements, off)
        model, root, amounts = self.fitted(columns.T)
        basis = np.linalg.qr(unit_columns(columns[amounts > 0].T) * root[:, None])[0]
        wrong = self.wrong(elements, off, model, dict(zip(names, amounts, strict=True)))
        wrong, new = wrong * root[:, None], self.lines(others, off) * (~self.low * root)[:, None]
        rest, wrong = (one - basis @ (basis.T @ one) for one in (new, wrong))
        known = rest - wrong @ np.linalg.solve(
            np.eye(wrong.shape[1]) + wrong.T @ wrong, wrong.T @ rest
        )
        size = np.sqrt(np.maximum(np.sum(known * rest, axis=0), 1e-300))
        t = known.T @ ((self.total - model) * root) / size
        return np.where(lengths(rest) < APART * lengths(new), np.nan, t)

    def missing(self, elements: Collection[str], off: np.ndarray) -> tuple[list[str], float]:
        """Return the elements whose lines the sum holds besides those listed, the clearest first, and the scatter of t.

        Most elements are in no specimen, so that theirs scatter as noise and all other errors of the model do (the
        empirical null of Efron, J. Am. Stat. Assoc. 99 (2004) 96).
        """
        from exspy.material import elements as table

        found: list[str] = []
        while True:
            others = self.families(sorted({*table.keys()} - {*elements, *found} - UNLIKELY))
            t = self.seen([*elements, *found], others, off)
            scale = max(1.0, 1.4826 * float(np.nanmedian(np.abs(t))))
            totals: dict[str, float] = {}
            for one, value in zip(others, t / scale, strict=True):
                due = one.energies[np.argmax(one.weights)] > UNSURE and 2 * one.edge < (
                    self.beam or np.inf
                )
                gain = -np.inf if due and value < SEEN else max(np.nan_to_num(value), 0.0) ** 2
                totals[one.element] = totals.get(one.element, 0.0) + gain
            best = max(totals, key=lambda one: totals[one])
            if totals[best] < CLEAR or len(found) == MOST:
                return found, scale
            found.append(best)

    def unfound(
        self, elements: Sequence[str], every: Sequence[str], off: np.ndarray, scale: float
    ) -> list[str]:
        """Return the elements of a list of whose lines the sum holds none, and no others make up for them."""
        return [
            one for one in elements
            if np.all(self.seen([e for e in every if e != one], self.families([one]), off) < SEEN * scale)
        ]  # fmt: skip
