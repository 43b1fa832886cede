"""What the user knows, from the options of the command line to penalties."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Solvers by the names that the command line knows.
SOLVERS = ("ADMM", "ALS", "ANLS", "HALS", "MALS", "MultiplicativeUpdate", "Newton")


def penalties(
    image: Any,
    *,
    sparse: float | None,
    smooth: float | None,
    soft_orthogonal: float | None,
    relevance: bool,
    closure: bool,
    known: Sequence[str],
    minimum_volume: float | None,
) -> dict[str, Any]:
    """Return the penalties on maps and spectra as keywords of a model; those not asked for are left out.

    Parameters
    ----------
    image : hyperspy.api.signals.BaseSignal
        What will be unmixed.
    sparse, smooth, soft_orthogonal : float, optional
        Weights on the maps.
    relevance : bool
        Whether superfluous components are dropped.
    closure : bool
        Whether maps sum to one.
    known : sequence of str
        ``N=FILE``: the spectrum of component N, counted from 1.
    minimum_volume : float, optional
        Weight on the spectra; the maps then sum to one, without which it means nothing.
    """
    import endmember as em

    maps: list[Any] = []
    if sparse is not None:
        maps.append(em.Sparse(sparse))
    if smooth is not None:
        maps.append(em.Smooth(smooth))
    if soft_orthogonal is not None:
        maps.append(em.SoftOrthogonal(soft_orthogonal))
    if relevance:
        maps.append(em.Relevance())
    if closure or minimum_volume is not None:
        # A volume needs spectra of unit length: the sum can then only be settled afterwards.
        maps.append(em.SumToOne(mode="hard" if minimum_volume is None else "scale"))
    spectra: list[Any] = []
    if known:
        spectra.append(em.Known(dict(_reference(text, image) for text in known)))
    if minimum_volume is not None:
        spectra.append(em.MinimumVolume(minimum_volume))
    return {name: wishes for name, wishes in (("maps", maps), ("spectra", spectra)) if wishes}


def solver(name: str | None) -> Any:
    """Return the solver of that name, in any case; None for none."""
    if name is None:
        return None
    import endmember as em

    found = [known for known in SOLVERS if known.lower() == name.lower()]
    if not found:
        raise ValueError(f"--solver {name} is not known; allowed: {', '.join(SOLVERS).lower()}")
    return getattr(em, found[0])()


def _reference(text: str, image: Any) -> tuple[int, Any]:
    """Read ``N=FILE`` and bring its spectrum on the energy axis of the image."""
    number, _, path = text.partition("=")
    if not number.strip().isdigit() or int(number) < 1 or not path:
        raise ValueError(
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
    from endmember.methods.standards import Axis, standards

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
    from endmember.signals.reading import read

    found = [
        one
        for one in read(path)
        if one.axes_manager.navigation_size <= 1 and one.axes_manager.signal_dimension == 1
    ]
    if len(found) != 1:
        raise ValueError(
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
        raise ValueError(f"--background {text} is not known; allowed: {allowed}, or none at all")
    return name
