"""What the user knows, from the options of the command line to penalties."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from endmember.errors import EndmemberError


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
