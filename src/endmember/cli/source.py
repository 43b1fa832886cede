"""Which data a command works on, and what of them: the options that say so, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from endmember.errors import EndmemberError

from .options import ChannelMaskOption, CropOption, MaskOption, MissingOption, SignalOption, cropped

#: A damaged file can ask for any amount of time: reading one ends here, in seconds.
LOAD_SECONDS = 600.0


@dataclass
class Source:
    """Options of all commands that look at a spectrum image: which signal of the file, and what is left out."""

    signal: SignalOption = None
    crop: CropOption = None
    missing: MissingOption = None
    mask: MaskOption = None
    channel_mask: ChannelMaskOption = None

    def open(
        self, file: Path, *, lazy: bool = False, weights: Path | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Return the whole image, and the masks and weights given with it as the library takes them after cropping."""
        image = open_image(file, lazy, self.signal)
        return image, self._masks(image, weights)

    def read(
        self, file: Path, *, lazy: bool = False, entries: bool = False, weights: Path | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Return the image without what is left out, and masks and weights.

        Parameters
        ----------
        file : Path
        lazy : bool
        entries : bool
            Whether single missing values can be left out, without the spectra that hold them.
        weights : Path, optional
            Of a file with a weight for every value.
        """
        image, masks = self.open(file, lazy=lazy, weights=weights)
        return narrowed(image, self.crop, self.missing, entries), masks

    def given(self) -> bool:
        """Tell whether any of them is given."""
        return self.signal is not None or any(
            (self.crop, self.missing, self.mask, self.channel_mask)
        )

    def _masks(self, image: Any, weights: Path | None) -> dict[str, Any]:
        from endmember.factor.data.inspection import unwrap

        shape, kept = unwrap(image).shape, _kept_channels(image, self.crop)
        masks: dict[str, Any] = {}
        if self.mask is not None:
            masks["mask"] = _mask("--mask", self.mask, shape[:-1], "pixels")
        if self.channel_mask is not None:
            mask = _mask("--channel-mask", self.channel_mask, shape[-1:], "channels")
            masks["channel_mask"] = mask[kept]
        if weights is not None:
            masks["weights"] = _array("--weights", weights, shape, "values")[..., kept]
        return masks


def open_image(file: Path, lazy: bool, number: int | None) -> Any:
    """Read one signal within the limits of time and memory."""
    from endmember.signals.bridge import load
    from endmember.signals.files.limits import free_memory, guard

    with guard(seconds=LOAD_SECONDS, memory=free_memory()):
        return load(file, lazy=lazy, signal=number)


def narrowed(
    image: Any,
    windows: Sequence[tuple[float | None, float | None]] | None,
    missing: str | None,
    entries: bool,
) -> Any:
    """Return an image cropped, without what is missing in the rest of it."""
    from endmember.signals.cropping import leave_out_missing

    image = cropped(image, windows)
    return leave_out_missing(image, entries=entries) if missing else image


def _kept_channels(image: Any, windows: Sequence[tuple[float | None, float | None]] | None) -> Any:
    """Return the slice of channels that windows leave, from the first of them to the last."""
    from endmember.signals.bridge import channels_within

    inside = [channels_within(image, window) for window in windows or ()]
    if not inside:
        return slice(None)
    return slice(min(one.min() for one in inside), max(one.max() for one in inside) + 1)


def _mask(option: str, path: Path, shape: tuple[int, ...], what: str) -> Any:
    """Return the mask of a file: True where its array is not zero, which may hold one other value."""
    array = _array(option, path, shape, what)
    if ((array != 0) & (array != array.max())).any():
        raise EndmemberError(
            f"{option} {path} holds more than two values; give 0 for {what} that take part and one other "
            "value, such as 1 or 255, for those left out"
        )
    return array != 0


def _array(option: str, path: Path, shape: tuple[int, ...], what: str) -> Any:
    """Return the array of a file, one number for each of the pixels, channels or values of an image."""
    import numpy as np

    from endmember.signals.files.reading import read

    found = read(path)
    if len(found) != 1:
        raise EndmemberError(
            f"{option} {path} holds {len(found)} signals; give a file with just one"
        )
    array = np.asarray(found[0].data)
    if array.dtype.kind not in "biuf":
        raise EndmemberError(
            f"{option} {path} holds no numbers but {array.dtype.name or 'colours'}; save it in grey, or as an "
            "array of numbers"
        )
    if np.squeeze(array).shape != tuple(size for size in shape if size != 1):
        raise EndmemberError(
            f"{option} {path} is {_times(array.shape)} and the image has {_times(shape)} {what}; "
            "give one number for each, in the order of the data"
        )
    return array.reshape(shape)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
