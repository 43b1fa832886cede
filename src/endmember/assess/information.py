r"""What the data know of maps and spectra: Fisher information and the Cramér-Rao bound.

With weights :math:`w_{ij} = 1/\sigma^2_{ij}` the log-likelihood of :math:`X = C S^\top` has the curvature
:math:`J^\top W J`. Maps are profiled out pixel by pixel, so that what is left is one matrix of the spectra,
(k channels)². Entries held at zero take no part. Scale, and every rotation that the fixed entries
allow, is a direction in which nothing changes: the bound is that with these directions held.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cho_factor
from scipy.linalg.lapack import dpotri
from scipy.special import chndtrix
from scipy.stats import norm

from endmember.factor.data import row_blocks

#: Rotations whose effect on the fixed entries is below this fraction of the largest are free.
FREE = 1e-8
#: Entries of a block of pixels that are worked on at a time.
BLOCK = 2**22
#: The limit of an entry at zero has this much of the probability below it, as one standard error has.
BELOW = float(norm.cdf(1.0))
#: Distance of two answers, in standard errors, from which on noise adds the same to it.
FAR = 8.0


@dataclass(frozen=True)
class Weights:
    """One over the variance of every entry: ``rows[i] columns[j]``, or a function of the model.

    Attributes
    ----------
    rows : ndarray, (n,)
    columns : ndarray, (m,)
    of_model : callable, optional
        Returns the weights of a block from the model there; the product of rows and columns unless
        given.
    """

    rows: np.ndarray
    columns: np.ndarray
    of_model: Callable[[np.ndarray], np.ndarray] | None = None

    def block(self, rows: slice, model: np.ndarray) -> np.ndarray:
        """Return the weights of some rows, (rows, m)."""
        own = self.of_model
        return self.rows[rows, None] * self.columns if own is None else own(model)


class Information:
    """The information on the spectra with the maps profiled out, and the bounds that follow.

    Parameters
    ----------
    C : ndarray, (n, k)
    S : ndarray, (m, k)
    weights : Weights
    fixed_maps : ndarray of bool, (n, k)
        Entries at a bound.
    fixed_spectra : ndarray of bool, (m, k)
    """

    def __init__(
        self,
        C: np.ndarray,
        S: np.ndarray,
        weights: Weights,
        fixed_maps: np.ndarray,
        fixed_spectra: np.ndarray,
    ) -> None:
        self.C, self.S, self.weights = C, S, weights
        self.fixed_maps, self.fixed_spectra = fixed_maps, fixed_spectra
        self.k, self.m = S.shape[1], S.shape[0]

    @cached_property
    def matrix(self) -> np.ndarray:
        """The information on all spectra, (k, m, k, m)."""
        if self.weights.of_model is not None:
            return self.of_amounts(None)
        whole = np.zeros((self.k, self.m, self.k, self.m))
        for pixels, root, _, _ in self._patterns():
            gram = (self.C[pixels] * self.weights.rows[pixels, None]).T @ self.C[pixels]
            known = np.diag(self.weights.columns) - root.T @ root
            whole += gram[:, None, :, None] * known[None, :, None, :]
        return whole

    def of_amounts(self, columns: np.ndarray | None) -> np.ndarray:
        """Return the information on the amounts of known columns (m, p), or of all channels, (k, p, k, p)."""
        p = self.m if columns is None else columns.shape[1]
        whole = np.zeros((self.k, p, self.k, p))
        for rows, W in self._blocks():
            root, C = self._explained(rows, W)[0], self.C[rows]
            root = root if columns is None else root @ columns
            for q, r in zip(*np.triu_indices(self.k), strict=True):
                both = C[:, q] * C[:, r]
                own = both @ W
                known = np.diag(own) if columns is None else columns.T @ (columns * own[:, None])
                whole[q, :, r] += known - np.tensordot(
                    root * both[:, None, None], root, ((0, 1), (0, 1))
                )
        for q, r in zip(*np.triu_indices(self.k), strict=True):
            whole[r, :, q] = whole[q, :, r].T
        return whole

    @cached_property
    def rotations(self) -> np.ndarray:
        """The free rotations beyond scale that leave all fixed entries at zero, (number, k, k)."""
        k, C, S = self.k, self.C, self.S
        gram = np.zeros((k, k, k, k))  # of the entries of R in S R and -C Rᵀ, at what is fixed
        for q in range(k):
            fixed = S[self.fixed_spectra[:, q]]
            gram[:, q, :, q] += fixed.T @ fixed / max(np.sum(S**2), 1e-300)
            fixed = C[self.fixed_maps[:, q]]
            gram[q, :, q, :] += fixed.T @ fixed / max(np.sum(C**2), 1e-300)
        off = ~np.eye(k, dtype=bool).ravel()
        values, vectors = np.linalg.eigh(gram.reshape(k * k, k * k)[np.ix_(off, off)])
        found = vectors[:, values <= FREE].T
        rotations = np.zeros((len(found), k * k))
        rotations[:, off] = found
        return rotations.reshape(-1, k, k)

    @cached_property
    def covariance(self) -> np.ndarray:
        """The bound on the covariance of the spectra, of unit length, with free rotations held; (k, m, k, m)."""
        k, m = self.k, self.m
        free = ~self.fixed_spectra.T.ravel()
        if not free.any():
            return np.zeros((k, m, k, m))
        information = self.matrix.reshape(k * m, k * m)[np.ix_(free, free)]
        still = [np.diag(np.eye(k)[q]) for q in range(k)] + list(self.rotations)
        basis, _ = np.linalg.qr(np.stack([(self.S @ R).T.ravel()[free] for R in still], axis=1))
        size = float(np.mean(np.diag(information)))
        factor, _ = cho_factor(information + size * basis @ basis.T, check_finite=False)
        inverse = np.triu(
            dpotri(factor)[0]
        )  # of a Cholesky factor: a third of the work of solving for each column
        covariance = inverse + np.triu(inverse, 1).T - basis @ basis.T / size
        whole = np.zeros((k * m, k * m))
        whole[np.ix_(free, free)] = covariance
        return whole.reshape(k, m, k, m)

    def with_scale(self, norm: np.ndarray) -> np.ndarray:
        """Return that bound where ``norm[:, q] · s_q`` is held instead of the length, (k, m, k, m).

        Parameters
        ----------
        norm : ndarray, (m, k)
        """
        along = norm / np.sum(norm * self.S, axis=0)
        moved = np.einsum(
            "jq,qjrh->qrh", along, self.covariance
        )  # T = 1 - s gᵀ / gᵀ s from the left
        covariance = self.covariance - np.einsum("iq,qrh->qirh", self.S, moved)
        moved = np.einsum("qirh,hr->qir", covariance, along)  # then from the right
        return covariance - np.einsum("qir,hr->qirh", moved, self.S)

    def spectra_errors(self, covariance: np.ndarray) -> np.ndarray:
        """Return the standard errors of the spectra, (m, k)."""
        variance = np.stack([np.diagonal(covariance[q, :, q, :]) for q in range(self.k)], axis=1)
        return np.sqrt(np.maximum(variance, 0.0))

    def maps_errors(self, covariance: np.ndarray) -> np.ndarray:
        """Return the standard errors of the maps, their own noise and that of the spectra, (n, k)."""
        variance = np.zeros(self.C.shape)
        if self.weights.of_model is None:
            for pixels, _, solve, own in self._patterns():
                spread = np.einsum("lj,qjrh,lh->lqr", solve, covariance, solve, optimize=True)
                C = self.C[pixels]
                variance[pixels] = own / self.weights.rows[pixels, None]
                variance[pixels] += np.einsum("iq,lqr,ir->il", C, spread, C, optimize=True)
        else:
            for rows, W in self._blocks():
                _, solve, own = self._explained(rows, W)
                C = self.C[rows]
                variance[rows] = own
                for q, r in zip(
                    *np.triu_indices(self.k), strict=True
                ):  # the other triangle is the same
                    spread = (
                        solve.reshape(-1, self.m) @ covariance[q, :, r, :]
                    )  # one product for all pixels
                    moved = np.einsum("ilj,ilj->il", spread.reshape(solve.shape), solve)
                    variance[rows] += ((1 + (q < r)) * C[:, q] * C[:, r])[:, None] * moved
        return np.where(self.fixed_maps, 0.0, np.sqrt(np.maximum(variance, 0.0)))

    def curvatures(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the information of every single entry with all others held: of maps (n, k) and of spectra (m, k)."""
        maps, spectra = np.empty(self.C.shape), np.zeros(self.S.shape)
        for rows, W in self._blocks():
            maps[rows] = W @ self.S**2
            spectra += W.T @ self.C[rows] ** 2
        return maps, spectra

    def _blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield blocks of pixels with their weights."""
        for rows in row_blocks(len(self.C), self.m * self.k, BLOCK):
            yield rows, self.weights.block(rows, self.C[rows] @ self.S.T)

    def _patterns(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the pixels of every pattern of fixed maps, with what `_solved` says of them."""
        patterns, label = np.unique(self.fixed_maps, axis=0, return_inverse=True)
        for number, fixed in enumerate(patterns):
            pixels = np.flatnonzero(label.ravel() == number)
            yield pixels, *_solved(self.S.T * ~fixed[:, None], self.weights.columns)

    def _explained(self, rows: slice, W: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return what `_solved` says of every pixel."""
        return _solved(self.S.T * ~self.fixed_maps[rows][:, :, None], W[:, None, :])


def _solved(A: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the root of what maps beside spectra ``A`` (…, k, m) explain, what solves for them, and their variance."""
    weighted = A * W
    inverse = np.linalg.pinv(weighted @ A.swapaxes(-1, -2), hermitian=True)
    values, vectors = np.linalg.eigh(inverse)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]).swapaxes(-1, -2) @ weighted
    return root, inverse @ weighted, np.diagonal(inverse, axis1=-2, axis2=-1)


def solution(Z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return what takes data to the least-squares factor beside ``Z`` (m, k) with weights (m,) or (m, m), (m, k)."""
    weighted = Z * weights[:, None] if weights.ndim == 1 else weights @ Z
    return weighted @ np.linalg.pinv(Z.T @ weighted)


def together(distance: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Return what the size of a normal number of this mean and error stays below in 68 of 100 cases."""
    away = np.minimum(np.abs(distance) / np.maximum(error, 1e-300), FAR)
    return np.abs(distance) + (np.sqrt(chndtrix(2 * BELOW - 1, 1, away**2)) - away) * error


def upper_limit(slope: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    r"""Return the quantile of :math:`\exp(-g x - h x^2/2)`, :math:`x \ge 0`, that one standard error leaves below."""
    root = np.sqrt(np.maximum(curvature, 1e-300))
    start = np.maximum(slope, 0.0) / root
    normal = (norm.isf((1 - BELOW) * norm.sf(np.minimum(start, 30.0))) - start) / root
    return np.where(start < 30.0, normal, -np.log(1 - BELOW) / np.where(slope > 0, slope, 1.0))
