"""Models of spectrum images whose energy axis drifts."""

from copy import copy
from dataclasses import replace
from numbers import Real
from typing import Any, Self

import numpy as np
from scipy.optimize import nnls
from sklearn.base import clone

from endmember.errors import Argument, EndmemberError, EndmemberTypeError, refuse_if
from endmember.factor.data import Dense, Explained, Observed, exposed
from endmember.factor.drift.field import Search, filled
from endmember.factor.drift.shifted import (
    Shifted,
    courses,
    grouped,
    half_width,
    readers,
    runs,
    shifted_weights,
)
from endmember.factor.losses import Loss
from endmember.methods.checks import check_fits
from endmember.methods.estimator import SpectralEstimator, stored

#: Rounds of field and low-rank model, and of field and model, at most.
ROUNDS, REFITS = 12, 3
#: Shifts that move by less than this, root mean square in channels, have settled.
SETTLED = 0.005
#: Shifts that move by less than this need no new fit of the model.
UNNOTICED = 0.02
#: A model whose misfit is that of the best of its rank up to this factor is asked for shifts.
EXPLAINS = 1.05
#: A channel at the ends is filled in where so many pixels for each component have seen it.
SEEN_BY = 5


class Drifting(SpectralEstimator):
    r"""Any model of spectra and maps, for data whose energy axis drifts from pixel to pixel.

    .. math:: x_i(j + \delta_i + \gamma_i (j - j_0)) \approx \sum_k c_{ik}\, s_{jk}

    A drifted spectrum is no mixture of the pure ones. The shifts :math:`\delta_i` and the model are improved in
    turn: the shifts by Gauss-Newton steps that allow for what maps and spectra can follow by themselves, and as
    smooth over the image as the data say; the model on the data read at the shifted channels. Shifts are first found
    with a low-rank approximation in place of the model, so that the model is fitted to data that are all but aligned.
    With ``dispersion=True`` the axis of every pixel may also be stretched by :math:`\gamma_i` about its middle
    :math:`j_0`; else :math:`\gamma_i = 0`.

    Parameters
    ----------
    model : estimator
        Such as ``em.NMF(3)``. A copy is fitted.
    max_shift : float
        Largest shift of any channel, in channels.
    smooth : "auto" or float
        Length in pixels over which the field of shifts is averaged; 0 takes every pixel for itself. By default the
        lengths of the highest evidence, one for each axis of the image. Along the rows of a 2-D ``X`` unless
        ``domain`` says what image they form.
    dispersion : bool
        Whether the energy per channel may change from pixel to pixel besides the offset.

    Attributes
    ----------
    shifts_ : ndarray, (*domain)
        In channels, positive = moved to higher energy, at the middle of the axis; their mean is zero, as the data
        only say how shifts differ. NaN at masked pixels.
    stretches_ : ndarray, (*domain)
        With ``dispersion=True``: :math:`\gamma_i`, positive = drawn out over more channels, so that the energy per
        channel is that of the axis divided by :math:`1 + \gamma_i`; their mean is zero. NaN at masked pixels.
    smooth_ : ndarray, (axes,) or (2, axes)
        The length over which the field was averaged along each axis of the image, in pixels; with
        ``dispersion=True``, those of shifts and of stretches.
    model_ : estimator
        The fitted model.
    components_, maps_, n_components_, n_features_in_
        As in the model, on the axis without drift. Spectra are scaled over the channels that every pixel has seen;
        channels at the ends that only some have seen are filled in from those, and NaN where too few have.
    objective_, n_iter_, converged_, optimality_, starts_, ...
        All else that the model has learned.

    Notes
    -----
    Shifts that follow a phase everywhere are part of its spectrum: no method can tell a phase that is always moved by
    0.3 channels from one whose edge lies there. Stretches need features far apart on the axis.

    References
    ----------
    Golub & Pereyra, SIAM J. Numer. Anal. 10 (1973) 413, for steps that allow for the other unknowns. MacKay, Neural
    Comput. 4 (1992) 415, for the evidence.

    Examples
    --------
    >>> import endmember as em
    >>> phantom = em.synthetic.mixed_phases(shape=(24, 24), k=2, drift=1.5)
    >>> drifting = em.Drifting(em.NMF(2, random_state=0)).fit(phantom.data)
    >>> error = drifting.shifts_ - phantom.drift
    >>> bool(np.sqrt(np.mean(error**2)) < 0.05)
    True
    """

    references: tuple[str, ...] = (
        "G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973) 413.",
    )

    @stored
    def __init__(
        self,
        model: Any = None,
        max_shift: float = 3,
        smooth: str | float = "auto",
        dispersion: bool = False,
    ) -> None:
        """Keep the parameters."""

    @property
    def in_words(self) -> str:  # type: ignore[override]
        """What the method does, for the methods paragraph of a report."""
        words = "The energy axis was allowed to drift by up to {max_shift:g} channels from pixel to pixel"
        return f"{words}, and to be stretched about its middle" if self.dispersion else words

    def own_loss(self) -> Loss:
        return getattr(self.model, "own_loss", super().own_loss)()

    @property
    def unit_of_spectra(self) -> str:  # type: ignore[override]
        return self.model.unit_of_spectra

    @property
    def signed(self) -> bool:  # type: ignore[override]
        return self.model.signed

    def parts(self) -> list[tuple[str, Any]]:
        return [("model", self.model), *self.learned().get("model_", self.model).parts()]

    def _check_parameters(self) -> None:
        refuse_if(
            not isinstance(self.model, SpectralEstimator) or isinstance(self.model, Drifting),
            f"model={self.model!r} is no model of spectra and maps; give one such as em.NMF(3)",
            kind=EndmemberTypeError,
        )
        refuse_if(
            not isinstance(self.max_shift, Real) or not 0 < float(self.max_shift) < np.inf,
            Argument.of("max_shift", self.max_shift),
            " must be a number of channels above zero, such as 3",
        )
        known = isinstance(self.smooth, Real) and 0 <= float(self.smooth) < np.inf
        refuse_if(
            self.smooth != "auto" and not known,
            f'smooth={self.smooth!r} is not known; allowed: "auto", or a length in pixels, 0 for none',
        )
        refuse_if(
            not isinstance(self.dispersion, bool),
            f"dispersion={self.dispersion!r} must be True, for axes that are stretched as well, or False",
            kind=EndmemberTypeError,
        )
        refuse_if(
            not hasattr(self.model, "n_components"),
            f"{type(self.model).__name__} has no n_components, the number of spectra to look for; give a model "
            "that has, such as em.NMF(3)",
            kind=EndmemberTypeError,
        )
        self.model._check_parameters()

    def _keeps_empty(self, axes: int, of_signal: bool) -> bool:
        """Empty channels are no missing ones: what drifts out of an edge is zero."""
        return True

    def _fit(self, observed: Observed, energy: np.ndarray, callback: Any) -> None:
        observed.axis.check_even("shifts in channels cannot be found")
        k, observed = check_fits(self.model, observed), replace(observed, unit=1.0)
        search = self._search(observed, k)
        field, lengths = search.find(k, ROUNDS, SETTLED)
        least = search.misfit
        stopped: list[bool] = []

        def watch(progress: Any) -> bool:
            if callback is not None and callback(progress):
                stopped.append(True)
            return bool(stopped)

        self.model_ = clone(self.model).fit(self._moved(observed, field), callback=watch)
        self.restored(self.model_.learned())
        for _ in range(REFITS):
            if stopped or self.components_.shape[0] != k:
                break
            C, S = self._factors(observed)
            new, new_lengths = search.improve(search.read(field[search.rows]), C, S)
            if search.misfit > EXPLAINS * least:
                break  # what the model leaves is no noise: it says less of the shifts than the subspace
            lengths = new_lengths
            moved = float(np.sqrt(np.mean((new - field)[search.rows] ** 2)))
            field = new
            if moved < UNNOTICED:
                break
            self._go_on(self._moved(observed, field), watch)
        self.smooth_ = np.array(lengths if self.dispersion else lengths[0])
        self._keep(observed, field)

    def _search(self, observed: Observed, k: int) -> Search:
        clean = observed.survey.n_negative == 0
        length = None if self.smooth == "auto" else float(self.smooth)
        if (len(observed.columns) - 2 * int(np.ceil(self.max_shift))) < k + 2:
            channels = f"{len(observed.columns)} channels"
            raise EndmemberError(
                Argument(channels, says=f"n_features = {channels}"),
                f" are too few for shifts of up to {self.max_shift:g} channels either way; give a smaller ",
                Argument("max_shift", says="max_shift"),
                " or more channels",
            )
        refuse_if(
            not observed.survey.filled_rows.any(),
            "all values are zero, so there is nothing to unmix",
        )
        return Search(
            filled(observed.data, 2 * k),  # what a shift adds to each spectrum is another
            observed.columns, observed.domain, observed.rows,
            clean and (observed.survey.integer or self.own_loss().counts), length, float(self.max_shift),
            self._courses(observed),
        )  # fmt: skip

    def _courses(self, observed: Observed) -> np.ndarray:
        """Return how far each channel goes with shift and stretch, (m, 1) or (m, 2)."""
        return courses(observed.columns, observed.n_channels, self.dispersion)

    def _moved(self, observed: Observed, field: np.ndarray) -> Any:
        """Return the data read at the shifts of a field, knowing the way back to the image."""
        shifts, along = field[observed.rows], self._courses(observed)
        X, columns = observed.data.counts, observed.columns
        if X.weighted:
            data: Any = shifted_weights(X, shifts, columns, along)
        else:
            data = Shifted(X, shifts, columns, along=along)
            columns = columns[data.columns]
        data = exposed(data, observed.data.exposure)
        missing = ~np.isin(np.arange(observed.n_channels), columns)
        data.origin = replace(observed, columns=columns, channel_mask=missing)
        return data

    def _go_on(self, data: Any, watch: Any) -> None:
        """Fit the model again, from where it stands if it can start there."""
        own = {"init": self.model_.init} if hasattr(self.model_, "init") else {}
        here = np.nan_to_num(self.maps_), np.nan_to_num(self.components_)
        self.model_.set_params(**dict.fromkeys(own, here)).fit(data, callback=watch)
        self.model_.set_params(**own)
        starts = {name: value for name, value in self.learned().items() if name == "starts_"}
        self.restored(self.model_.learned() | starts)

    def _factors(self, observed: Observed) -> tuple[np.ndarray, np.ndarray]:
        """Return maps and spectra (n, q), (m, q) of the pixels and channels as recorded, an offset among them."""
        maps = self.maps_.reshape(-1, self.maps_.shape[-1]).astype(float)
        C, S = self._explaining(observed, maps[observed.rows]).factors
        return C, np.nan_to_num(S)

    def _keep(self, observed: Observed, field: np.ndarray) -> None:
        kept = observed.maps(field[observed.rows], np.nan)
        self.shifts_ = kept[..., 0]
        if self.dispersion:
            self.stretches_ = kept[..., 1] / half_width(observed.n_channels)
        if not observed.data.weighted and self._offset() is None:
            self._fill_ends(observed, field[observed.rows])

    def _field(self, n_channels: int) -> np.ndarray:
        """Return the shifts found, (pixels, 1), and how far the stretches move the ends, (pixels, 2); 0 if masked."""
        found = [self.shifts_]
        if self.dispersion:
            found.append(self.stretches_ * half_width(n_channels))
        return np.nan_to_num(np.stack(found, axis=-1).astype(float)).reshape(-1, len(found))

    def _fill_ends(self, observed: Observed, shifts: np.ndarray) -> None:
        """Fill in the spectra where only some pixels have seen the channel, from what those have."""
        channels, along = observed.columns, self._courses(observed)
        there = Shifted(observed.data, shifts, channels, along=along).columns
        ends = np.setdiff1d(np.arange(len(channels)), there)
        _, group, moves = grouped(shifts, along, len(channels))
        lines = readers(channels, (channels + moves)[:, ends], 2)
        C, _ = self._factors(observed)
        k = C.shape[1]
        G, H = np.zeros((len(ends), k, k)), np.zeros((len(ends), k))
        seen = np.zeros(len(ends), int)
        for rows, block in observed.data.blocks():
            for place, own in runs(group[rows]):
                A = lines[place]
                read = A.sum(axis=1) > 0.5
                maps = C[rows][own]
                G[read] += maps.T @ maps
                H[read] += (A @ block[own].T @ maps)[read]
                seen += read * len(own)
        spectra = self.components_.copy()
        for end in np.flatnonzero(seen >= SEEN_BY * k):
            spectra[:, channels[ends[end]]] = self._spectrum_at(G[end], H[end])
        self.components_ = spectra

    def _spectrum_at(self, G: np.ndarray, H: np.ndarray) -> np.ndarray:
        """Return the spectra (k,) at one channel, negative only if those of the model are so anywhere."""
        values, vectors = np.linalg.eigh(G)
        root = np.sqrt(np.maximum(values, values.max(initial=0.0) * 1e-12))[:, None] * vectors.T
        side = np.linalg.lstsq(root.T, H, rcond=None)[0]
        signed = np.nanmin(self.components_) < 0
        return np.linalg.lstsq(root, side, rcond=None)[0] if signed else nnls(root, side)[0]

    def _as_read(self, observed: Observed) -> Observed:
        """Return the data of the fit, read at the shifts found."""
        return self._aligned(observed, self._field(observed.n_channels))

    def _aligned(self, observed: Observed, field: np.ndarray) -> Observed:
        """Return data read at the shifts of a field: what maps and spectra multiply to."""
        data = self._moved(observed, field)
        return replace(data.origin, data=data)

    def drifted(self, spectra: np.ndarray) -> np.ndarray:
        """Return spectra (*domain, channels) moved from the axis without drift to where they were recorded.

        Parameters
        ----------
        spectra : ndarray, (*domain, channels)

        Returns
        -------
        ndarray, (*domain, channels)
            NaN at the ends, where not every pixel has something to read.
        """
        flat = np.asarray(spectra, dtype=float).reshape(-1, spectra.shape[-1])
        channels, field = np.arange(flat.shape[1]), self._field(flat.shape[1])
        along = courses(channels, len(channels), self.dispersion)
        if self.dispersion:  # j = (j' − δ + γ j₀) / (1 + γ)
            field = field / (1 + field[:, 1:] / half_width(len(channels)))
        data = Shifted(Dense(flat), -field, along=along)
        found = np.full(flat.shape, np.nan)
        for rows, block in data.blocks():
            found[rows, data.columns[0] : data.columns[-1] + 1] = block
        return found.reshape(spectra.shape)

    def _powers(self) -> dict[str, float]:
        return self.model_._powers()

    def _scale(self, unit: float) -> Self:
        self.model_ = copy(self.model_)._scale(unit)
        return super()._scale(unit)

    def _solved(self, observed: Observed) -> Explained:
        _, S = self._explaining(observed, np.empty((0, len(self.components_)))).factors
        field, _ = self._search(observed, S.shape[1]).find(S.shape[1], ROUNDS, SETTLED, S)
        return super()._solved(self._aligned(observed, field))

    def _maps_of(self, observed: Observed, S: np.ndarray) -> np.ndarray:
        return self.model_._maps_of(observed, S)

    def _offset(self) -> np.ndarray | None:
        """Return that of the model, on the axis without drift."""
        return self.model_._offset()
