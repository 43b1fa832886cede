"""What the user knows, from the options of the command line to penalties."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from endmember.catalogue import penalties
from endmember.errors import EndmemberError

from .options import (
    ClosureOption,
    FreeOption,
    KnownOption,
    MinimumVolumeOption,
    RelevanceOption,
    SmoothOption,
    SoftOrthogonalOption,
    SparseOption,
)


@dataclass
class Wishes:
    """Options of what is known or wished of maps and spectra."""

    sparse: SparseOption = None
    smooth: SmoothOption = None
    soft_orthogonal: SoftOrthogonalOption = None
    relevance: RelevanceOption = False
    closure: ClosureOption = False
    known: KnownOption = None
    free: FreeOption = None
    minimum_volume: MinimumVolumeOption = None

    def penalties(self, image: Any, *, closure: bool = True) -> dict[str, list[Any] | None]:
        """Return them as the parameters ``maps`` and ``spectra`` of a model, None for none.

        Parameters
        ----------
        image : HyperSpy signal
            Whose energies known spectra are brought to.
        closure : bool
            Whether a closure is a wish; some methods have a parameter for it.

        Raises
        ------
        ValueError
            If a known spectrum is none, or two wishes contradict each other.
        """
        if self.known and self.minimum_volume is not None:
            raise EndmemberError(
                "--known fixes the scale of its spectra, and --minimum-volume chooses that of all; leave one of "
                "them out, or take --closure instead of --minimum-volume"
            )
        asked = penalties(
            self.closure and closure, sparse=self.sparse, smooth=self.smooth, soft_orthogonal=self.soft_orthogonal,
            relevance=self.relevance, minimum_volume=self.minimum_volume, free=self.free or (),
        )  # fmt: skip
        asked["spectra"] = known_spectra(self.known or [], image) + asked["spectra"]
        return {part: wishes or None for part, wishes in asked.items()}


def known_spectra(texts: Sequence[str], image: Any) -> list[Any]:
    """Return the wish for what ``N=FILE`` says: the spectrum of component N, counted from 1; none for none."""
    import endmember as em

    known: dict[int, Any] = {}
    for number, spectrum in (_reference(text, image) for text in texts):
        if number in known:
            raise EndmemberError(
                f"--known names component {number + 1} twice; give it one spectrum"
            )
        known[number] = spectrum
    return [em.Known(known)] if known else []


def _reference(text: str, image: Any) -> tuple[int, Any]:
    """Read ``N=FILE`` and bring its spectrum on the energy axis of the image."""
    number, _, path = text.partition("=")
    if not number.strip().isdigit() or int(number) < 1 or not path:
        raise EndmemberError(
            f"--known {text!r} is not N=FILE, such as --known 1=oxide.msa with 1 the first component"
        )
    return int(number) - 1, read_reference(Path(path), image)


def read_reference(path: Path, image: Any) -> Any:
    """Return the single spectrum of a file at the energies of an image, (channels,).

    Raises
    ------
    ValueError
        If the file holds no single spectrum, in another unit, or one that leaves channels uncovered.
    """
    from endmember.factor.data.axis import Axis
    from endmember.methods.standards import standards

    axis = Axis.of(image)
    (standard,) = standards([read_spectrum(path)], axis)
    return standard.at(axis.energy, axis.step)


def read_spectrum(path: Path) -> Any:
    """Return the signal of a file that holds a single spectrum, titled with the name of the file.

    Raises
    ------
    ValueError
        If the file holds none, or more.
    """
    from endmember.signals.files.reading import read

    found = [
        one
        for one in read(path)
        if one.axes_manager.navigation_size <= 1 and one.axes_manager.signal_dimension == 1
    ]
    if len(found) != 1:
        raise EndmemberError(
            f"{path} holds {len(found)} single spectra and a reference is one; give a file with just that"
        )
    found[0].metadata.set_item("General.title", path.stem)
    return found[0]


def background(text: str | None) -> Any:
    """Return a background by the name that the command line knows it by.

    Examples
    --------
    >>> background("power-law"), background(None)
    ('power_law', None)
    """
    from endmember.methods.standards import BACKGROUNDS

    if text is None:
        return None
    name = text.lower().replace("-", "_")
    if name not in BACKGROUNDS:
        allowed = ", ".join(BACKGROUNDS).replace("_", "-")
        raise EndmemberError(
            f"--background {text} is not known; allowed: {allowed}, or none at all"
        )
    return name
