"""Several detectors over one area: shared maps, a spectrum of every detector for each component."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from endmember.errors import Argument, EndmemberTypeError, check_known, refuse_if
from endmember.factor.arrangements.beside import believed, share
from endmember.factor.data import Observed, unwrap
from endmember.factor.loop import Callback
from endmember.factor.losses import PoissonScaled, SquaredError
from endmember.factor.penalties import Absent, Free, Norm, decides, resolve
from endmember.methods.checks import check_number_of_components
from endmember.methods.estimator import Learning, SpectralEstimator, stored
from endmember.methods.expressions import is_image
from endmember.methods.fusion import Factor, Fusion, FusionFit, Term
from endmember.methods.nmf import NMF


class Coupled(Learning, BaseEstimator):
    r"""The same maps for several detectors, or nearly the same: equation (14) of Muto & Shiga.

    .. math:: \sum_d \lambda_d \|X_d - (C + N_d) S_d^\top\|^2 + \gamma \sum_d \|N_d\|

    "shared" has no N. Under "weak" every detector but the last may differ from the shared maps, at the
    price of an unsquared norm (:class:`em.Norm`) that keeps N exactly zero where the data do not ask for
    it. Everything else is spelled with :class:`em.Fusion`.

    An image beside spectra (dark field, bright field) says one thing of the amounts in each pixel, at its own noise.
    First the spectra alone are unmixed; they say with which power of the amounts the image goes, from which constant,
    how far it is shifted, and what it shows that they do not. That counts as noise of the image: one that lies (of
    a phase without contrast, of carbon) weighs little and harms little. A number as its ``weight`` takes an image as
    it is.

    Parameters
    ----------
    n_components : int
    coupling : "shared" or "weak"
    gamma : float or "auto"
        Under "weak", the weight of :class:`em.Norm`. "auto" is what the noise of the data alone does not overcome.
    loss : Loss, sequence of them, or None
        One for all detectors or one each; None: ``em.PoissonScaled()`` for counts, else ``em.SquaredError()``.
    weight : float, "auto" or sequence of them
        As in :class:`em.Term`; "auto" for an image as said above.
    maps : penalty or list of them, optional
        ``em.Absent("auto")`` beside images unless given. What data decide, such as ``weight="auto"``, the first
        spectra decide alone; of such a weight as large a part is taken as they know of the maps beside images.
    spectra : sequence of penalties, optional
        The penalties on the spectra of each detector: one entry a detector.
    n_starts, max_iter, tol, random_state
        As in :class:`em.Fusion`.

    Attributes
    ----------
    maps_ : ndarray, (*domain, k)
        The shared maps.
    spectra_ : list of ndarray, (k, channels)
        One a detector. The first have unit length, the others the scale that goes with them.
    deviations_ : list of ndarray or None
        N of every detector, (*domain, k); None where there is none.
    gamma_ : float
        What was used; infinite for strictly shared maps.
    contrasts_ : list of ndarray or None
        Of every image, ``(power, constant, *shift)``: it is ``constant + (maps_ @ spectra_[d]) ** power``, moved by
        the shift in pixels; None for spectra, and for images of given weight.
    weights_, misfits_ : list of float
        The weight and weighted misfit of every detector.
    objective_, n_iter_, converged_, optimality_
        As in :class:`em.NMF`.

    References
    ----------
    Muto & Shiga, Microscopy 69 (2020) 110, equation (14). Yuan & Lin, J. R. Stat. Soc. B 68 (2006) 49.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> maps = rng.random((6, 7, 2))
    >>> detectors = [maps @ rng.random((2, 20)), maps @ rng.random((2, 9))]
    >>> model = Coupled(2, random_state=0).fit(detectors)
    >>> model.maps_.shape, [spectra.shape for spectra in model.spectra_]
    ((6, 7, 2), [(2, 20), (2, 9)])
    """

    unit_of_spectra = "for each unit of the maps"
    in_words = (
        "The data of all detectors were factorised together into {n_components} components with "
        "{coupling} maps (structured data fusion), from {n_starts} starts, until the objective fell by less than "
        "{tol:g} of itself per sweep"
    )
    references = (
        "L. Sorber, M. Van Barel and L. De Lathauwer, IEEE J. Sel. Top. Signal Process. 9 (2015) 586.",
        "S. Muto and M. Shiga, Microscopy 69 (2020) 110.",
    )

    @stored
    def __init__(
        self,
        n_components: int | None = None,
        coupling: str = "shared",
        gamma: float | str = "auto",
        *,
        loss: Any = None,
        weight: Any = "auto",
        maps: Any = None,
        spectra: Any = None,
        n_starts: int = 10,
        max_iter: int = 2000,
        tol: float = 1e-6,
        random_state: Any = None,
    ) -> None:
        """Keep the parameters."""

    def fit(
        self,
        X: Sequence[Any],
        y: Any = None,
        *,
        mask: Any = None,
        channel_mask: Any = None,
        callback: Callback | None = None,
    ) -> Self:
        """Learn shared maps and the spectra of every detector.

        Parameters
        ----------
        X : sequence of array_like or HyperSpy signals
            Spectrum images (*domain, channels) of one area, pixel by pixel, and images (*domain) beside
            them. Never changed.
        y : None
            Not used.
        mask : array_like of bool, (*domain), optional
            Pixels to leave out (True), of all detectors.
        channel_mask : sequence of array_like of bool or None, optional
            Channels to leave out, one entry a detector.
        callback : callable, optional
            Called after every sweep; returning True stops and keeps the best so far.

        Raises
        ------
        TypeError, ValueError
            If the detectors cannot be coupled as asked; the message says what is allowed.
        """
        self._check_parameters()
        images = same_pixels(X)
        plan = self._plan(
            images,
            mask,
            _one_each("channel_mask", channel_mask, len(images), always=True),
            callback,
        )
        gamma, fit = np.inf, plan.fitted(np.inf, self, plan.alone, callback)
        if self.coupling == "weak":
            gamma = plan.level() if self.gamma == "auto" else float(self.gamma)
            loose = plan.fitted(
                gamma, self, plan.fitted(0.0, self, fit.arrays, callback).arrays, callback
            )
            fit = min(loose, fit, key=lambda fit: fit.objective_[-1])
        self._keep(plan, fit, gamma)
        return self

    def fit_transform(self, X: Sequence[Any], y: Any = None, **fit_params: Any) -> np.ndarray:
        """Learn maps and spectra, and return the maps (*domain, k); takes the keywords of :meth:`fit`."""
        return self.fit(X, y, **fit_params).maps_

    def seen_by(self, detector: int) -> SpectralEstimator:
        """Return the fitted model as one detector, counted from 0, sees it: its own maps and its spectra."""
        deviation = self.deviations_[detector]
        return Seen().restored(
            {
                "maps_": self.maps_ if deviation is None else self.maps_ + deviation,
                "components_": self.spectra_[detector],
                "n_components_": self.n_components_,
                "n_features_in_": self.spectra_[detector].shape[1],
            }
        )

    def parts(self) -> list[tuple[str, Any]]:
        """Return ``(role, part)`` of everything the model is put together from."""
        losses = self.loss if isinstance(self.loss, list | tuple) else [self.loss]
        return [("loss", loss) for loss in losses if loss is not None]

    def _check_parameters(self) -> None:
        check_number_of_components(self.n_components)
        check_known("coupling", self.coupling, "shared", "weak")
        refuse_if(
            self.gamma != "auto" and not (isinstance(self.gamma, Real) and float(self.gamma) >= 0),
            f'gamma={self.gamma!r} is no weight; give "auto" or a number of at least 0',
        )

    def _plan(
        self, images: list[Any], mask: Any, masks: list[Any], callback: Callback | None
    ) -> "Plan":
        n, k = len(images), int(self.n_components or 1)
        losses, weights = (
            _one_each("loss", self.loss, n),
            _one_each("weight", self.weight, n),
        )
        penalties = _one_each("spectra", self.spectra, n, always=True)
        refuse_if(
            k > images[0][..., 0].size,
            Argument("n_components", k),
            f" is more than the data can hold, which have {images[0][..., 0].size} pixels",
        )
        spectra = [Factor(k, own, name=f"spectra {d + 1}") for d, own in enumerate(penalties)]
        inputs = [
            {
                "data": X,
                # Whole numbers of several channels are counts.
                "loss": loss or (PoissonScaled() if X.dtype.kind in "iu" and X.shape[-1] > 1 else SquaredError()),
                "weight": weight, "mask": mask, "channel_mask": out,
            }
            for X, loss, weight, out in zip(images, losses, weights, masks, strict=True)
        ]  # fmt: skip
        beside = [d for d in range(n) if images[d].shape[-1] == 1 and inputs[d]["weight"] == "auto"]
        first = next((d for d in range(n) if images[d].shape[-1] > 1), None)
        self.contrasts_: list[Any] = [None] * n
        if first is None or not (beside or decides(resolve(self.maps, "maps", True))):
            return Plan(Factor(k, self.maps, name="maps"), spectra, inputs)
        alone = NMF(
            k, loss=inputs[first]["loss"], maps=self.maps or Absent("auto"), spectra=penalties[first],
            n_starts=self.n_starts, max_iter=self.max_iter, tol=self.tol, random_state=self.random_state,
        )  # fmt: skip
        observed = alone.observed(images[first], mask=mask, channel_mask=masks[first])
        alone.fit(observed, callback=callback)
        for d in beside:
            data, self.contrasts_[d] = believed(
                np.asarray(images[d]), alone.maps_, alone.flat_components, alone._problem(observed), observed
            )  # fmt: skip
            inputs[d] |= data
        if "penalty_weights_" in alone.learned():
            alone.penalty_weights_ = alone.penalty_weights_ * share(
                [inputs[d] for d in beside],
                alone.maps_,
                alone.flat_components,
                alone._problem(observed),
                observed,
            )
        absent = alone.learned().get("absent_", np.zeros((*observed.domain, k), bool))
        maps = Factor(
            k, [Absent(absent) if p.tested else p for p in alone._penalties()["maps"]], name="maps"
        )
        return Plan(
            maps, spectra, inputs, {maps: alone.maps_, spectra[first]: alone.flat_components.T}
        )

    def _keep(self, plan: "Plan", fit: FusionFit, gamma: float) -> None:
        self.maps_ = fit[plan.maps]
        self.spectra_ = [np.ascontiguousarray(fit[S].T) for S in plan.spectra]
        self.deviations_ = [
            N and fit.arrays.get(N, np.zeros_like(self.maps_) if self.coupling == "weak" else None)
            for N in plan.deviations
        ]
        self.gamma_, self.n_components_ = float(gamma), self.maps_.shape[-1]
        self.restored(
            {name: value for name, value in vars(fit).items() if name not in ("arrays", "starts_")}
        )


class Seen(SpectralEstimator):
    """What one detector sees of a coupled model, which alone is fitted."""

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Any) -> None:
        raise EndmemberTypeError(
            "what one detector sees is not fitted alone; fit em.Coupled to all of them"
        )


@dataclass
class Plan:
    """The factors of a coupled model and what every detector brings."""

    maps: Factor
    spectra: list[Factor]
    inputs: list[dict[str, Any]]
    alone: dict[Factor, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        loose = (f"deviation {d + 1}" for d in range(len(self.spectra) - 1))
        self.deviations = [*(Factor(self.maps.k, Free(), name=name) for name in loose), None]
        self.terms = [
            Term(one["data"], self.maps, S, **{name: one[name] for name in one if name != "data"})
            for one, S in zip(self.inputs, self.spectra, strict=True)
        ]

    def fitted(
        self,
        gamma: float,
        model: Coupled,
        start: dict[Factor, np.ndarray],
        callback: Callback | None,
    ) -> FusionFit:
        """Return the fit at one strength of the tie, infinite for strictly shared maps."""
        init = {factor: np.nan_to_num(F) for factor, F in start.items()}
        for term, N in zip(self.terms, self.deviations, strict=True):
            if gamma < np.inf and N is not None:
                N.penalties, term.slots[0] = [Free(), Norm(gamma)], self.maps + N
                init.setdefault(N, np.zeros_like(init[self.maps]))
        return Fusion(
            self.terms, init=init, n_starts=model.n_starts, max_iter=model.max_iter, tol=model.tol,
            random_state=model.random_state,
        ).fit(callback)  # fmt: skip

    def level(self) -> float:
        """Return the weight of a norm that noise alone does not overcome."""
        size = 2 * sum(term.weight_ * term.loss_.reference(term.data) for term in self.terms)
        return Norm.level((self.terms[0].data.shape[0], self.maps.k)) / math.sqrt(size)


def same_pixels(X: Any) -> list[Any]:
    """Return the data of all detectors with the channels last, images with one channel.

    Raises
    ------
    TypeError, ValueError
        If they are not several, or not of the same pixels.
    """
    refuse_if(
        not isinstance(X, list | tuple) or len(X) < 2,
        "em.Coupled takes a list of at least two data sets of the same pixels, such as [eels, edxs]; a "
        "single one goes to em.NMF",
        kind=EndmemberTypeError,
    )
    refuse_if(
        len({id(one) for one in X}) < len(X),
        "one data set is given twice; give each detector's data once",
    )
    domains = [tuple(unwrap(one).shape[:-1]) for one in X if not is_image(one)]
    domain = max(domains, key=len) if domains else ()
    images = []
    for number, one in enumerate(X):
        array = one.data if is_image(one) else unwrap(one)
        array = array if hasattr(array, "shape") else np.asarray(array)
        if tuple(array.shape) == domain:
            array = array[..., np.newaxis]
        refuse_if(
            tuple(array.shape[:-1]) != domain,
            f"detector {number + 1} has {' x '.join(map(str, array.shape[:-1]))} pixels and the others "
            f"{' x '.join(map(str, domain))}; rebin one to the other",
            Argument(
                "",
                says=", or write the known map between the two grids into em.Fusion (G @ maps); several images of "
                "other areas go with em.NMF(k), which shares their spectra",
            ),
        )
        images.append(array)
    return images


def _one_each(name: str, given: Any, n: int, always: bool = False) -> list[Any]:
    """Return one entry a detector.

    Raises
    ------
    ValueError
        If there are not as many as detectors.
    """
    if given is None or (not always and not isinstance(given, list | tuple)):
        return [given] * n
    refuse_if(
        not isinstance(given, list | tuple) or len(given) != n,
        f"{name} needs one entry for each of the {n} detectors, None where there is nothing to say",
    )
    return list(given)
