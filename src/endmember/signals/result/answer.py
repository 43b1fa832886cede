"""What came out of one spectrum image: maps and spectra as HyperSpy signals, and what is drawn of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from endmember import show
from endmember.assess.bands import Bands
from endmember.assess.comparison import Comparison
from endmember.assess.intervals import Interval
from endmember.assess.standard_errors import Errors
from endmember.errors import EndmemberError
from endmember.factor.data.axis import Axis
from endmember.factor.penalties import Automatic
from endmember.factor.scale.carriers import area
from endmember.show.contents import Components, Misfit
from endmember.signals.bridge import fill_learning_results, in_counts, with_values
from endmember.signals.cropping import energy_of, mode_labels, pixels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Spectra that start above this fraction of their maximum still hold their background.
BACKGROUND = 0.1


class Answer:
    """What came out of a spectrum image, to be looked at; :class:`Unmixing` says what each part is."""

    def __init__(
        self,
        *,
        maps: Any,
        spectra: Any,
        model: Any,
        options: dict[str, Any],
        record: dict[str, Any],
        misfit: dict[str, np.ndarray],
    ) -> None:
        self.maps, self.spectra = maps, spectra
        self.model = model
        self.options, self.record = options, record
        self._misfit, self._data = misfit, None
        self.errors: Errors | None = None
        self.bands: Bands | None = None
        self.intervals: dict[str, Interval] = {}
        self.comparison: Comparison | None = None

    def __repr__(self) -> str:
        k, *domain = self.maps.data.shape
        size = f"{' x '.join(map(str, domain))} pixels, {self.spectra.data.shape[-1]} channels"
        chosen = [
            f", {type(part).__name__}({part.weight:.3g})"
            for _, part in self.model.parts()
            if isinstance(getattr(part, "weight", None), Automatic)
        ]
        words = (
            f"{k} component{'s' * (k > 1)}, {size}, {type(self.model).__name__}{''.join(chosen)}"
        )
        return f"<{type(self).__name__}: {words}>"

    def plot(self) -> Figure:
        """Draw every component: map and spectrum side by side, for a series also its profiles."""
        learned = self.model.learned()
        if "mode_shapes_" not in learned:
            return show.components(self)
        picture, shapes = self.picture(), learned["mode_shapes_"]
        return show.profiles(
            learned["factors_"], shapes, labels=mode_labels(self.maps, shapes), energy=picture.energy,
            energy_label=Axis.of(self.spectra).label, title=picture.title,
        )  # fmt: skip

    def fractions(self, window: tuple[float, float] | None = None) -> Any:
        """Return maps of fractions: maps times the area of their spectra, summing to one in every pixel.

        Parameters
        ----------
        window : (start, stop), optional
            The part of the energy axis whose area counts, in its unit; all of it unless given.

        Returns
        -------
        HyperSpy signal
            Data ``(k, *domain)``; NaN where a pixel holds nothing.

        Raises
        ------
        ValueError
            If a spectrum has no positive area over the window, or if the background of an energy-loss
            spectrum is still in: its area says nothing of amounts.
        """
        if window is None and self._has_background():
            raise EndmemberError(
                "the background is still in: spectra have intensity before their first edge, so their "
                "areas are no amounts; subtract it first, crop it away, or give window=(start, stop) to "
                "compare areas over a window all the same"
            )
        areas = area(self.spectra.data.T, Axis.of(self.spectra).energy, window)
        if not (areas > 0).all():
            without = np.flatnonzero(~(areas > 0))[0] + 1
            raise EndmemberError(
                f"component {without} has no positive area over the window, so fractions mean "
                "nothing; choose a window in which every component has intensity"
            )
        amounts = np.moveaxis(np.asarray(self.maps.data, dtype=float), 0, -1) * areas
        total = amounts.sum(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            fractions = np.where(total > 0, amounts / total, np.nan)
        return with_values(self.maps, fractions, "fractions")

    def spectra_in_counts(self) -> Any:
        """Return the spectra in the unit of the data: how much each component has of the sum of all pixels.

        Each is :attr:`spectra` times the sum of its map, whatever the norm of the spectra, so that all together add
        up to what the model explains of the data, summed over pixels. What asks for counts works on these, such as
        eXSpy's ``get_lines_intensity`` and ``quantification``.

        Returns
        -------
        HyperSpy signal
            Data ``(k, channels)``; masked pixels do not count.

        Raises
        ------
        ValueError
            If the model takes the mean spectrum off first: its components describe deviations, which have no counts.
        """
        if self.model._offset() is not None:
            raise EndmemberError(
                f"{type(self.model).__name__} has taken the mean spectrum off, so its components are deviations of "
                "either sign and hold no counts; use a model without a mean, such as em.PCA(k) or em.NMF(k)"
            )
        return in_counts(self.spectra, self.maps)

    def _has_background(self) -> bool:
        """Tell whether energy-loss spectra start well above zero and fall: a background, not an edge."""
        if self.spectra.metadata.get_item("Signal.signal_type", default="") != "EELS":
            return False
        spectra = np.nan_to_num(np.asarray(self.spectra.data, dtype=float))
        few = max(2, spectra.shape[1] // 30)
        start = spectra[:, :few].mean(axis=1)
        return bool(np.any(start > BACKGROUND * np.abs(spectra).max(axis=1)))

    def to_hyperspy(self, signal: Any) -> None:
        """Put this answer into ``signal.learning_results``, where HyperSpy's own plots of a decomposition find it."""
        maps = np.moveaxis(self.maps.data, 0, -1)
        fill_learning_results(signal, maps, self.spectra.data, type(self.model).__name__)

    def picture(self) -> Components:
        """Return what :func:`endmember.show.components` draws."""
        return Components(
            maps=np.moveaxis(self.maps.data, 0, -1),
            spectra=self.spectra.data,
            title=self.record["data"]["title"] or None,
            names=self.model.learned().get("names_"),
            spectrum_label=self.spectra.metadata.get_item("Signal.quantity", default="Intensity"),
            **energy_of(self.spectra),
            **pixels_of(self.maps),
        )

    def misfit(self) -> Misfit:
        """Return what :func:`endmember.show.residual` draws."""
        arrays: dict[str, Any] = dict(self._misfit)
        return Misfit(**arrays, **energy_of(self.spectra), **pixels_of(self.maps))
