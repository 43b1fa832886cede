"""How many components are kept: merging and deleting under the eye of the noise.

A move is judged by the squared error that it costs. Noise alone has singular values up to an *edge*; no
component of pure noise can explain more than that edge squared, so a move that costs less took nothing
away that is known to be there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement, islice

import numpy as np

from endmember.errors import Argument, EndmemberError
from endmember.factor.columns import lengths, unit_columns
from endmember.factor.data.matrix import Data
from endmember.factor.loop.fit import Fit
from endmember.factor.losses import Loss
from endmember.factor.sketch.low_rank import sketch
from endmember.factor.subproblems import Noise

#: Entries on which the edge of the noise is drawn, and how often it is drawn.
DRAWN_ENTRIES, DRAWS = 2_000_000, 4
#: The largest of the draws is exceeded by noise itself now and then, by less than this.
MARGIN = 1.05
#: So many of the cheapest moves are carried through.
TRIED = 3
#: Spectra are the same above this cosine, in the published rule.
ALIKE = 0.99
#: Sweeps between two comparisons of the spectra, and from a forced merger to the next.
BETWEEN = 5
#: A component is dropped when its level is within this fraction of the lowest there can be.
DROPPED = 1e-3
#: The published rule has come to its end when the strengths change by less than this fraction.
STANDING = 1e-5

#: Continues factors: ``improve(factors, sweeps)``, or until they stand still where no sweeps are given.
Improve = Callable[[Sequence[np.ndarray], "int | None"], Fit]
#: Finds the best fit with so many components from new starts; None where the start is given.
Refit = Callable[[int], Fit] | None


def measure_noise(data: Data, loss: Loss, k: int) -> Noise:
    """Return what noise can do in these data, in the metric of the loss.

    Of the residual of a low-rank fit every entry keeps its size and gets a random sign: whatever structure
    is left falls apart, while the variance of every pixel and channel stays. The edge is the largest
    singular value of that. Directions are taken out one by one until the next does not stand above.

    Parameters
    ----------
    data : Data, (n, m)
    loss : Loss
        Counts are weighted as by ``em.PoissonScaled()``, where the loss does not do so itself.
    k : int
        How many components there are at most.

    Raises
    ------
    ValueError
        If the noise of the loss cannot be drawn: with weights of single entries, or a divergence that is
        neither squared error nor Poisson.
    """
    squares = loss.as_squares()
    if data.weighted or squares is None:
        raise EndmemberError(
            Argument("relevance", says="em.Relevance()"),
            " needs to know what noise does, and does so without weights of single entries and with ",
            Argument(
                "loss",
                "squared, scaled or poisson",
                "em.SquaredError(), em.PoissonScaled() or em.Poisson()",
            ),
            "; change the loss, fill or mask what is missing, or give the number of components instead",
        )
    data = squares.prepare(data).scaled
    n, m = data.shape
    most = max(min(k + 1, n - 1, m - 1), 1)
    low = sketch(data, most)
    rows = np.unique(np.linspace(0, n - 1, max(min(n, DRAWN_ENTRIES // m), 1)).astype(int))
    drawn = data.rows(rows)
    larger = ((np.sqrt(n) + np.sqrt(m)) / (np.sqrt(len(rows)) + np.sqrt(m))) ** 2
    values = low.singular_values**2
    rounding = (n + m) * np.finfo(np.float64).eps * data.squared_norm
    for above in range(most):
        V = low.V[:, :above]
        given_back = n * m / ((n - above) * (m - above))
        edge = max(MARGIN * larger * given_back * _drawn_edge(drawn - (drawn @ V) @ V.T), rounding)
        if values[above] <= edge:
            break
    left = max(data.squared_norm - float(values[:above].sum()), 0.0)
    return Noise(left * given_back / (n * m), edge, above)


def _drawn_edge(residual: np.ndarray) -> float:
    """Return the largest squared singular value of a residual (n, m) with random signs, of several draws."""
    from scipy.linalg import eigvalsh

    rng, size = np.random.default_rng(0), np.max(np.abs(residual), initial=0.0) or 1.0
    edges = []
    for _ in range(DRAWS):
        signed = residual / size * rng.choice((-1.0, 1.0), residual.shape)
        G = signed @ signed.T if len(signed) < signed.shape[1] else signed.T @ signed
        edges.append(eigvalsh(G, subset_by_index=[len(G) - 1] * 2)[0])
    return float(max(edges)) * size**2


def guarded(fit: Fit, noise: Noise, improve: Improve, refit: Refit) -> Fit:
    """Return the fit with the fewest components that the noise allows.

    First the cheapest mergers take away what exceeds the directions that stand above the noise; new starts
    may better the result. Then every further move is carried through until it stands still, and
    accepted if the squared error, 2 misfit, rises by no more than the edge.

    Parameters
    ----------
    fit : Fit
        With more components than needed.
    noise : Noise
    improve, refit : callable
        Continue given factors; start anew with a number of components.
    """
    most = max(noise.directions, 1)
    while fit.factors[0].shape[1] > most and not fit.stopped:
        _, factors = next(proposals(fit.factors))
        fit = improve(factors, BETWEEN)
    fit = fit if fit.stopped else _better(improve(fit.factors, None), refit)
    while fit.factors[0].shape[1] > 1 and not fit.stopped:
        accepted = _accepted(fit, noise, improve)
        if accepted is None:
            break
        fit = _better(accepted, refit)
    return fit


def _better(fit: Fit, refit: Refit) -> Fit:
    """Return a fit, or that from new starts with as many components, whichever has the lower objective."""
    return (
        fit
        if refit is None or fit.stopped
        else min((fit, refit(fit.factors[0].shape[1])), key=lambda one: one.objective[-1])
    )


def _accepted(fit: Fit, noise: Noise, improve: Improve) -> Fit | None:
    """Return the first fit after a move that costs no more than noise explains."""
    for _, factors in islice(proposals(fit.factors), TRIED):
        moved = improve(factors, None)
        fit.stopped = moved.stopped
        if fit.stopped:
            return None
        if 2 * (moved.misfit[-1] - fit.misfit[-1]) <= noise.edge:
            return moved
    return None


def proposals(factors: Sequence[np.ndarray]) -> Iterator[tuple[float, list[np.ndarray]]]:
    r"""Yield mergers and deletions with the squared norm that each takes away, the cheapest first.

    The best rank-one approximation of two components is :math:`u v^\top` with :math:`u = [c_i\,c_j]\,a`,
    where ``a`` is the leading eigenvector of :math:`T G`, the Gram matrices of their spectra and maps;
    it is non-negative where they are. Deleting never takes away less than merging, yet may end elsewhere.
    """
    C, S = factors
    G, T = C.T @ C, S.T @ S
    pairs = combinations_with_replacement(range(C.shape[1]), 2)
    for cost, i, j in sorted((_lost(G, T, i, j), i, j) for j, i in pairs):
        yield float(cost), merged(factors, i, j) if i != j else without(factors, [i])


def _lost(G: np.ndarray, T: np.ndarray, i: int, j: int) -> float:
    """Return the smaller squared singular value of the sum of two components; the square of one alone."""
    if i == j:
        return float(G[i, i] * T[i, i])
    G, T = (A[np.ix_([i, j], [i, j])] for A in (G, T))
    trace = float(np.sum(G * T))
    product = float(np.linalg.det(G) * np.linalg.det(T))
    return trace / 2 - float(np.sqrt(max(trace**2 / 4 - product, 0.0)))


def merged(factors: Sequence[np.ndarray], i: int, j: int) -> list[np.ndarray]:
    """Return factors with components ``i`` and ``j`` replaced by their best rank-one approximation.

    Examples
    --------
    >>> C, S = merged([np.array([[1.0, 2.0]]), np.array([[3.0, 3.0]])], 0, 1)
    >>> float((C @ S.T)[0, 0].round(9))
    9.0
    """
    C, S = (F[:, [i, j]] for F in factors)
    G = C.T @ C
    values, vectors = np.linalg.eig(S.T @ S @ G)
    a = np.abs(np.real(vectors[:, int(np.argmax(np.real(values)))]))
    u = C @ a
    size = float(a @ G @ a)
    v = S @ (G @ a) / (size if size > 0 else 1.0)
    return [np.column_stack([F, f]) for F, f in zip(without(factors, [i, j]), (u, v), strict=True)]


def without(factors: Sequence[np.ndarray], deleted: Sequence[int]) -> list[np.ndarray]:
    """Return factors without some of the components."""
    return [np.delete(F, deleted, axis=1) for F in factors]


def published(fit: Fit, improve: Improve, sweeps: int, excess: Callable[[Fit], np.ndarray]) -> Fit:
    """Return the fit in which look-alikes were merged and what shrank to nothing was dropped.

    Parameters
    ----------
    fit : Fit
        With more components than needed.
    improve : callable
        Continues given factors.
    sweeps : int
        At most, before anything is dropped.
    excess : callable
        Returns every component's level above the lowest there can be, as a fraction of that.
    """
    for _ in range(0, sweeps, BETWEEN):
        alike = _most_alike(fit.factors[1])
        if alike is None:
            before = fit
            fit = improve(fit.factors, BETWEEN)
            if fit.stopped or _stands_still(before, fit):
                break
        else:
            fit = replace(fit, factors=merged(fit.factors, *alike))
    if fit.stopped:
        return fit
    low = np.flatnonzero(excess(fit) <= DROPPED)[: fit.factors[0].shape[1] - 1]
    return improve(without(fit.factors, low.tolist()), None)


def _most_alike(S: np.ndarray) -> tuple[int, int] | None:
    unit = unit_columns(S)
    cosines = np.tril(unit.T @ unit, -1)
    i, j = np.unravel_index(int(np.argmax(cosines)), cosines.shape)
    return (int(i), int(j)) if cosines[i, j] >= ALIKE else None


def _stands_still(before: Fit, now: Fit) -> bool:
    """Tell whether the strength of the components has hardly changed."""
    was, is_now = (lengths(fit.factors[0]) * lengths(fit.factors[1]) for fit in (before, now))
    still = len(was) == len(is_now)
    return still and bool(np.linalg.norm(is_now - was) <= STANDING * np.linalg.norm(is_now))
