"""Where results go: names beside the data, what must not be overwritten, and what was written."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import typer

from endmember import signals
from endmember.errors import refuse_if
from endmember.signals.result.folders import refuse_foreign, written

from .console import note

#: What a result of a few hundred components takes on disk besides its arrays, in bytes.
_ROOM_FOR_PICTURES = 20_000_000
#: The answer and second opinions, each with maps and spectra.
_ANSWERS = 7
#: What the name of a picture may end in; in .json, that of what it would show.
_PICTURES = (".png", ".pdf", ".svg", ".eps", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".json")


def beside(file: Path, name: str) -> Path:
    """Return that name beside the file, or here where the file's folder cannot be written."""
    return file.parent / name if os.access(file.parent, os.W_OK) else Path(name)


def folder_for(file: Path, kind: str, output: Path | None, overwrite: bool) -> Path:
    """Return the folder of a result, FILE-kind unless given; refused, before any work, where it cannot take one."""
    folder = output or beside(file, f"{file.stem}-{kind}")
    refuse_earlier(folder, overwrite, "folder")
    refuse_foreign(folder)
    check_place(folder)
    return folder


def refuse_earlier(place: Path, overwrite: bool, what: str) -> None:
    """Refuse what exists already and is not to be replaced."""
    if place.exists() and not overwrite:
        raise FileExistsError(
            f"{place} exists already; add --overwrite to replace it or -o to name another {what}"
        )


def picture_for(file: Path, kind: str, output: Path | None) -> Path:
    """Return a picture, FILE-kind.png unless given, a .png unless named so; refused early where none can be drawn."""
    picture = output or beside(file, f"{file.stem}-{kind}.png")
    picture = picture if picture.suffix else picture.with_suffix(".png")
    refuse_if(
        picture.suffix.lower() not in _PICTURES,
        f"no picture can be drawn as {picture}; name one with -o that ends in "
        f"{', '.join(_PICTURES[:-1])} or {_PICTURES[-1]}",
    )
    if picture.is_dir() or (picture.exists() and not os.access(picture, os.W_OK)):
        raise PermissionError(f"{picture} cannot be written to; name another file with -o")
    check_place(picture)
    return picture


def check_place(place: Path) -> None:
    """Refuse, before any work, a folder that cannot be written, a circle of links, and a name too long for the system.

    The name is that of what is written beside the place as well.
    """
    place = place.absolute()
    for name in (place, place.with_name(f".endmember-{place.name}-{'0' * 16}")):
        try:
            name.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as problem:
            raise PermissionError(
                f"{place} cannot be written to ({problem.strerror}); name another place with -o"
            ) from problem
    check_folder(place.parent)


def check_folder(folder: Path, advice: str = "name another place with -o") -> None:
    """Refuse, before any work, a folder in which nothing can be written; one that is missing can be made."""
    first = _there(folder)
    try:
        tempfile.TemporaryFile(dir=first).close()
    except OSError as problem:
        raise PermissionError(
            f"{first} cannot be written to ({problem.strerror or problem}); {advice}"
        ) from problem


def _there(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def make_folder(folder: Path) -> None:
    """Make a folder where there is none, and say so, since its name may be mistyped."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        note(f"The folder {folder} is new.")


def check_room(folder: Path, image: Any, k: int) -> None:
    """Refuse a full disk before the fit, not after it."""
    from endmember.factor.data.resources import in_words

    channels = image.data.shape[-1]
    pixels = image.data.size // max(channels, 1)
    needed = 8 * (_ANSWERS * k + 2) * (pixels + channels) + _ROOM_FOR_PICTURES
    free = shutil.disk_usage(_there(folder.absolute().parent)).free
    if free < needed:
        raise OSError(
            f"the disk of {folder} has {in_words(free)} left and the result takes up to "
            f"{in_words(needed)}; free some space or name another folder with -o"
        )


def keep_result(result: Any, folder: Path, overwrite: bool) -> None:
    """Save the result and draw it; say so where an interrupt comes when it is saved already."""
    before = written(folder)
    try:
        _save_or_rescue(result, folder, overwrite)
        show_where(result, folder)
    except KeyboardInterrupt:
        if written(folder) == before:
            raise
        note(f"Interrupted, but the result is in {folder}; 'endmember report' completes it.")


def _save_or_rescue(result: Any, folder: Path, overwrite: bool) -> None:
    """Save the result; where that fails, save it elsewhere rather than lose it."""
    try:
        result.save(folder, overwrite=overwrite)
    except OSError as error:
        rescued = Path(tempfile.mkdtemp(prefix="endmember-")) / folder.name
        result.save(rescued)
        raise OSError(
            f"the result could not be saved in {folder} ({error.strerror or error}) and is kept "
            f"in {rescued}: move it from there before the next restart"
        ) from error


def show_where(result: Any, folder: Path) -> None:
    """Draw maps and spectra into the folder, and tell where picture and report are."""
    draw(result, folder / "components.png")
    typer.echo(f"Report:  {folder / 'report.html'}")


def draw(found: Any, picture: Path) -> None:
    """Draw whatever has a plot, or write its numbers, in a folder that is made where it is missing; tell where."""
    make_folder(picture.parent)
    if picture.suffix.lower() == ".json":
        picture.write_text(signals.as_json(found), encoding="utf-8")
    else:
        found.plot().savefig(picture, dpi=150)
    typer.echo(f"{'Numbers' if picture.suffix.lower() == '.json' else 'Picture'}: {picture}")
