"""What all estimators share: reading spectrum images, giving maps and spectra back, telling what they learned."""

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import _check_feature_names, _check_n_features, check_is_fitted

from endmember.errors import NAMES_ELSEWHERE, EndmemberError, check_known, refuse_if
from endmember.factor.data import (
    Arrangement,
    Axis,
    Explained,
    Given,
    Observed,
    given,
    in_patterns,
    observe,
    one_blas_thread,
    session,
)
from endmember.factor.loop import StartReport, with_maps
from endmember.factor.losses import Loss, given_loss
from endmember.factor.sketch.passes import Wanted
from endmember.methods.checks import (
    check_number_of_components,
    check_positive_whole,
)

Parameters = ParamSpec("Parameters")

#: What is learned of data as they are read, before the fit.
OF_DATA = {"n_features_in_", "energy_", "energy_units_"}


class UnknownPartError(EndmemberError, AttributeError):
    """Something that a fitted model has not learned, or that the file it came from does not hold."""


class Learning:
    """Something that learns: all it has learned is in attributes that end in an underscore."""

    def __getattr__(self, name: str) -> Any:
        if name in NAMES_ELSEWHERE:
            raise AttributeError(
                f"{type(self).__name__} has no {name}; it is called {NAMES_ELSEWHERE[name]}"
            )
        if _is_learned(name) and "components_" in vars(self):
            raise UnknownPartError(
                f"this {type(self).__name__} does not know its {name}: it has not learned that, or comes from a folder "
                "that version 0.1 wrote, which lacks it",
                way_out="fit it again, such as with result.reproduce()",
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

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
            refuse_if(
                not _is_learned(name) or hasattr(type(self), name),
                f"{name!r} is nothing that {type(self).__name__} learns: names of what is learned end in an "
                "underscore, and none is that of a method",
            )
        vars(self).update(learned)
        return self


def _is_learned(name: str) -> bool:
    return name.isidentifier() and name.endswith("_") and not name.startswith("_")


def stored(init: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Make a constructor store every parameter untouched under its own name, as scikit-learn asks of estimators."""
    signature = inspect.signature(init)

    @wraps(init)
    def store(*positional: Parameters.args, **named: Parameters.kwargs) -> None:
        init(*positional, **named)  # refuses what is no parameter, in Python's own words
        given = signature.bind(*positional, **named)
        given.apply_defaults()
        estimator, *parameters = given.arguments.items()
        vars(estimator[1]).update(parameters)

    return store


class SpectralEstimator(
    Learning, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC
):
    """A scikit-learn transformer of spectrum images: matrices, cubes, counts, lazy arrays and signals.

    A subclass learns ``components_`` (k, n_channels) and ``maps_`` (*domain, k) in ``_fit`` and
    solves for maps with the spectra held in ``_maps_of``. All that it needs later is in attributes that end in
    an underscore; what it adds to every mixture of its spectra it says in ``_offset``.
    """

    components_: np.ndarray
    maps_: np.ndarray
    #: The weight of every channel under a loss that weighs them, (n_channels,): other data are met with the same.
    channel_weights_: np.ndarray
    n_components_: int

    #: What the numbers of the spectra are; "" where they have the unit of the data.
    unit_of_spectra: str = "unit length"
    #: Whether components have signs and are no spectra of anything.
    signed = False
    #: Whether maps go on where pixels are masked, as neighbours say.
    fills = False
    #: Whether single entries may have weights, or be missing.
    takes_weights = True
    #: The values that parameters may have, by their names, and the parameters that are whole numbers of at least 1.
    _choices: Mapping[str, tuple[Any, ...]] = {}
    _whole: tuple[str, ...] = ()
    #: What is learned in the unit of the data besides the objective, and with which power of it.
    _in_units: Mapping[str, float] = {"maps_": 1, "mean_spectrum_": 1}
    #: What the method does, for the methods paragraph of a report; may name parameters in braces.
    in_words = ""
    #: Where the method comes from.
    references: tuple[str, ...] = ()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; those of penalties in a list too, such as ``maps__0__weight``."""
        found = super().get_params(deep)
        lists = [(name, value) for name, value in found.items() if deep and isinstance(value, list)]
        for name, value in lists:
            for i, one in enumerate(value):
                told = one.get_params() if isinstance(one, BaseEstimator) else {}
                found |= {f"{name}__{i}__{own}": it for own, it in told.items()}
        return found

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, as :meth:`get_params` tells them."""
        for name in [name for name in params if re.search(r"__\d+__", name)]:
            part, place, own = name.split("__", 2)
            getattr(self, part)[int(place)].set_params(**{own: params.pop(name)})
        return super().set_params(**params)

    def parts(self) -> list[tuple[str, Any]]:
        """Return ``(role, part)`` of everything the model is put together from."""
        return []

    def own_loss(self) -> Loss:
        """Return the loss that the model minimises: the one given, else squared error; refuse what is none."""
        return given_loss(getattr(self, "loss", None))

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        mask: Any = None,
        channel_mask: Any = None,
        weights: Any = None,
        exposure: Any = None,
        domain: tuple[int, ...] | None = None,
        pattern: tuple[int, ...] | None = None,
        callback: Any = None,
    ) -> Self:
        """Learn spectra and maps.

        Parameters
        ----------
        X : array_like, sparse matrix, Dask array or HyperSpy signal, (…, n_channels)
            A spectrum at every pixel. Never changed.
        y : None
            Not used; scikit-learn's pipelines pass it.
        mask : array_like of bool or HyperSpy signal, (…), optional
            Pixels to leave out (True), in the order of the data, such as those not measured. Their maps are NaN, or
            filled in from around them where a penalty speaks of neighbours (``em.Smooth``, ``em.TotalVariation``).
        channel_mask : array_like of bool or HyperSpy signal, (n_channels,), optional
            Channels to leave out (True). Their spectra are NaN.
        weights : array_like, shape of X or of its pixels, optional
            Weight of every entry, or of every pixel; with weights, NaN data and entries of weight 0 are missing, and
            pixels of weight 0 are masked.
        exposure : array_like or HyperSpy signal, (…), optional
            Live time or dose of every pixel: ``X`` stay counts, maps are for one unit of it. 0 or NaN: not measured.
        domain : tuple of int, optional
            The image ``(ny, nx)`` that the rows of a 2-D ``X`` form.
        pattern : tuple of int, optional
            The pattern ``(py, px)`` at every pixel of an array ``(…, py, px)``, or of one whose channels hold it row by
            row; a signal of two signal axes says it itself. ``components_`` and masks of channels have its shape then.
        callback : callable, optional
            Called after every sweep with ``stage``, ``sweep``, ``objective`` and
            ``seconds_left``; returning True stops and keeps the best so far.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data cannot be unmixed as asked; the message says what is allowed.
        """
        with session():
            observed = X if isinstance(X, Observed) else self.observed(
                X, mask=mask, channel_mask=channel_mask, weights=weights, exposure=exposure, domain=domain,
                pattern=pattern,
            )  # fmt: skip
            for name in self.learned().keys() - OF_DATA:  # an earlier fit has no say in this one
                delattr(self, name)
            with one_blas_thread():
                self._fit(observed, observed.axis.energy, callback)
        self._scale(observed.unit)
        if observed.exposure is not None:
            self.exposure_ = observed.exposure
        return self if isinstance(X, Observed) else self.with_patterns(observed.pattern)

    def with_patterns(self, pattern: tuple[int, ...] | None) -> Self:
        """Give the spectra the shape of patterns, ``(k, *pattern)``, where they are ones."""
        self.components_ = in_patterns(self.components_, pattern)
        return self

    @property
    def flat_components(self) -> np.ndarray:
        """The spectra (k, n_channels), patterns row by row."""
        return np.reshape(self.components_, (len(self.components_), -1))

    def observed(
        self,
        X: Any,
        *,
        domain: tuple[int, ...] | None = None,
        pattern: tuple[int, ...] | None = None,
        **left_out: Any,
    ) -> Observed:
        """Return data read for a fit of this model, which :meth:`fit` then takes; parameters as there."""
        self._check_parameters()
        taken = self._read(X, True, pattern)
        self.energy_, self.energy_units_ = taken.axis.energy, taken.axis.units
        axes = len(domain or taken.domain or (None,))
        return observe(
            taken, domain=domain, wanted=self._wanted(), **left_out,
            keep_empty=self._keeps_empty(axes, taken.pixels is not None),
        )  # fmt: skip

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Learn spectra and maps, and return the maps ``(…, k)``; takes the keywords of :meth:`fit`."""
        return self.fit(X, y, **fit_params).maps_

    def transform(
        self,
        X: Any,
        *,
        mask: Any = None,
        channel_mask: Any = None,
        weights: Any = None,
        exposure: Any = None,
        resample: bool = False,
    ) -> np.ndarray:
        """Return the maps ``(…, k)`` of other data with the learned spectra held.

        Parameters
        ----------
        X : array_like, sparse matrix, Dask array or HyperSpy signal, (…, n_channels)
        mask, channel_mask, weights, exposure
            As in :meth:`fit`. Channels left out of the fit are left out here too.
        resample : bool
            Read data on another energy axis at the channels of the fit, by linear interpolation; channels that they
            do not reach are left out. Counts are no counts then, and the noise of neighbours is correlated.

        Raises
        ------
        ValueError
            If the data lie on another energy axis than those of the fit, unless they are resampled.
        """
        explained = self._explained_anew(
            X, resample, channel_mask, mask=mask, weights=weights, exposure=exposure
        )
        maps = explained.observed.maps(explained.C, fill=self.fills)
        return maps * explained.observed.unit ** self._powers().get("maps_", 0)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return the spectrum image ``(…, n_channels)`` that maps ``(…, k)`` stand for."""
        check_is_fitted(self)
        mixed, offset = np.asarray(X) @ self.flat_components, self._offset()
        mixed = mixed if offset is None else mixed + offset
        return mixed.reshape(*mixed.shape[:-1], *self.components_.shape[1:])

    def score(self, X: Any, y: Any = None, *, resample: bool = False) -> float:
        r"""Return the explained share of the squares of ``X`` with the learned spectra held, at most 1.

        :math:`1 - \|X - \hat X\|^2 / \|X\|^2` over all channels that the fit knows, so that ``GridSearchCV``
        compares settings on pixels that it has not seen.

        Parameters
        ----------
        X : array_like, sparse matrix, Dask array or HyperSpy signal, (…, n_channels)
        y : None
            Not used.
        resample : bool
            As in :meth:`transform`.
        """
        explained = self._explained_anew(X, resample)
        total = explained.observed.data.squared_norm
        return 1.0 - explained.squares() / total if total > 0 else 0.0

    def explained(self, observed: Observed) -> Explained:
        """Return the data of the fit together with what the model says of them.

        Parameters
        ----------
        observed : Observed
            The data of the fit, with its masks.

        Returns
        -------
        Explained
            From which residual, misfit and errors follow.

        Raises
        ------
        ValueError
            If these data have another shape or axis than those of the fit, which left out what takes part here.
        """
        self._axis.check(observed.axis, "the data lie", "give the data of the fit")
        shape = *observed.domain, observed.n_channels
        fitted = *self.maps_.shape[:-1], self.flat_components.shape[1]
        listed = min(len(shape), len(fitted)) == 2 and shape[-1] == fitted[-1]
        refuse_if(
            shape != fitted and not (listed and np.prod(shape) == np.prod(fitted)),
            f"the data have the shape {shape} and those of the fit have {fitted}; give the data of the fit",
        )
        observed, own = self._as_read(observed), self._near_one(observed.unit)
        C = np.asarray(own.maps_, dtype=float).reshape(-1, len(own.components_))
        explained = own._explaining(observed, C[observed.rows])
        refuse_if(
            not all(np.isfinite(F).all() for F in explained.factors),
            "the fit has left out pixels or channels of these data: give mask= and channel_mask= as in the fit",
        )
        return explained

    def _as_read(self, observed: Observed) -> Observed:
        """Return the data of the fit as the model has read them."""
        return observed

    def _powers(self) -> dict[str, float]:
        """Return what is learned in the unit of the data, and with which power of it."""
        grade = 2 - (self.own_loss().power or 0)
        return {**self._in_units, "objective_": grade, "starts_": grade}

    def _scale(self, unit: float) -> Self:
        """Give all that was learned from data in so large a unit in the unit of the user."""
        for name, power in self._powers().items():
            if unit != 1 and hasattr(self, name):
                setattr(self, name, _times(getattr(self, name), unit**power))
        return self

    def _near_one(self, unit: float) -> Self:
        """Return the model of data in another unit."""
        return self if unit == 1 else copy(self)._scale(1 / unit)

    def _explained_anew(
        self, X: Any, resample: bool = False, channel_mask: Any = None, **left_out: Any
    ) -> Explained:
        """Return other data together with what the model says of them with its spectra held."""
        check_is_fitted(self)
        learned = self.components_.shape[1:]
        pattern = learned if len(learned) > 1 else None
        taken = given(X, pattern=pattern)
        if not self._axis.agrees(taken.axis):
            if not resample or left_out.get("weights") is not None:
                self._axis.check(
                    taken.axis, "the data lie", "give data on that of the fit, or resample=True without weights, which "
                    "reads them at its channels: counts are no counts then and their noise is correlated",
                )  # fmt: skip
            X, channel_mask = taken.resampled(self._axis, channel_mask)
        taken = self._read(X, False, pattern)
        unknown, left = (
            np.isnan(self.flat_components).any(axis=0),
            taken.channels_left_out(channel_mask),
        )
        unknown = unknown if left is None else unknown | left
        observed = observe(taken, channel_mask=unknown, **left_out, keep_empty=True)
        with one_blas_thread():
            return self._near_one(observed.unit)._solved(observed)

    @property
    def _axis(self) -> Axis:
        """The energy axis of the fit; channel numbers where a model has not learned it."""
        channels = Axis.numbers(self.flat_components.shape[1])
        return Axis(self.energy_, self.energy_units_) if hasattr(self, "energy_") else channels

    def _solved(self, observed: Observed) -> Explained:
        """Return data together with the maps that they ask for with the spectra held."""
        S = np.asarray(self.flat_components.T[observed.columns], dtype=np.float64)
        return self._explaining(observed, self._maps_of(observed, S))

    def _explaining(self, observed: Observed, C: np.ndarray) -> Explained:
        """Return data together with the mixtures that maps (n, k) of them stand for."""
        S, offset = np.asarray(self.flat_components, dtype=np.float64).T, self._offset()
        return Explained(
            observed, C, S[observed.columns],
            None if offset is None else np.asarray(offset, dtype=np.float64)[observed.columns],
        )  # fmt: skip

    def _offset(self) -> np.ndarray | None:
        """Return the spectrum (n_channels,) that is part of every mixture besides the components; None for none."""
        return None

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = self.own_loss().takes != "any"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _keeps_empty(self, axes: int, of_signal: bool) -> bool:
        """Tell whether pixels and channels that are all zero take part, for data of so many leading axes."""
        return False

    def _check_parameters(self) -> None:
        """Refuse parameters that cannot work, before the data are touched."""
        if hasattr(self, "n_components"):
            check_number_of_components(self.n_components)
        for name, allowed in self._choices.items():
            check_known(name, getattr(self, name), *allowed)
        for name in self._whole:
            check_positive_whole(name, getattr(self, name))

    def _wanted(self) -> Wanted:
        """Return what a first look at lazy data shall find for this model."""
        return Wanted()

    def _keep_weights(self, data: Arrangement, observed: Observed) -> None:
        """Learn the weights that the loss has given the channels of the data, if any."""
        weights = data.row_weights(1)
        if weights is not None:
            self.channel_weights_ = observed.spectra(weights[:, None])[0]

    @abstractmethod
    def _fit(self, observed: Observed, energy: np.ndarray, callback: Any) -> None:
        """Learn everything from data that are read and checked."""

    def _maps_of(self, observed: Observed, S: np.ndarray) -> np.ndarray:
        """Return the maps (n, k) of data with the spectra ``S`` (m, k) held: by non-negative least squares."""
        return with_maps(observed.data, S)[0]

    def _learn(self, observed: Observed, C: np.ndarray, S: np.ndarray) -> None:
        """Learn maps (n, k) and spectra (m, k) of the pixels and channels that took part."""
        self.n_components_ = S.shape[1]
        self.maps_, self.components_ = observed.maps(C), observed.spectra(S)

    def _read(self, X: Any, reset: bool, pattern: tuple[int, ...] | None = None) -> Given:
        """Return the spectra of ``X``, and check or learn the number of channels and the names of a data frame's."""
        taken = given(X, pattern=pattern)
        table = (
            vars(self).get("_sklearn_output_config", {}).get("transform", "default") != "default"
        )
        refuse_if(
            table and len(taken.shape) > 2,
            "a table has no place for maps of an image; leave set_output out, or give the pixels as rows",
        )
        _check_feature_names(self, X, reset=reset)
        _check_n_features(self, np.empty((0, len(taken.axis.energy))), reset=reset)
        return taken


def _times(value: Any, factor: float) -> Any:
    """Return arrays, numbers, or reports of starts, times a factor."""
    if isinstance(value, list):
        return [_times(one, factor) for one in value]
    if isinstance(value, StartReport):
        return replace(value, objective=value.objective * factor)
    return value * factor


def loss_of(model: Any) -> Loss:
    """Return the loss of any fitted model: squared error where it has none of its own."""
    return model.own_loss() if hasattr(model, "own_loss") else given_loss(None)
