"""Which files the workbench may touch: those of one folder, and uploads up to a limit."""

import contextlib
from pathlib import Path

from rsciio import IO_PLUGINS

from endmember.errors import EndmemberError, refuse_if

#: Largest upload in bytes; larger data belong into the folder that the workbench was started in.
UPLOAD_LIMIT = 512 * 2**20
#: Pieces in which one arrives, in bytes.
PIECE = 4 * 2**20
#: Endings that the file browser shows: all that HyperSpy reads.
ENDINGS = {f".{ending.lower()}" for plugin in IO_PLUGINS for ending in plugin["file_extensions"]}


def inside(root: Path, name: str | Path) -> Path:
    """Return the path called ``name``, if it lies in the folder ``root``.

    Parameters
    ----------
    root : Path
    name : str or Path
        Relative to ``root``.

    Returns
    -------
    Path
        Absolute, with all links followed.

    Raises
    ------
    PermissionError
        If it leads out of ``root``: by ``..``, an absolute path or a link.

    Examples
    --------
    >>> inside(Path("/data"), "../etc/passwd")
    Traceback (most recent call last):
    ...
    PermissionError: '../etc/passwd' is outside the folder of the workbench; choose a file in it
    """
    root = root.resolve()
    try:
        place = (root / name).resolve()
        allowed = place.is_relative_to(root)
    except (ValueError, OSError, RuntimeError):  # a null byte, a name too long, a loop of links
        allowed = False
    if not allowed:
        raise PermissionError(
            f"{str(name)!r} is outside the folder of the workbench; choose a file in it"
        )
    return place


def listing(root: Path, folder: str = "") -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the readable files in a folder of the workbench.

    Parameters
    ----------
    root : Path
    folder : str
        Relative to ``root``; ``root`` itself by default.

    Returns
    -------
    folders, files : list of str
        Sorted; what is hidden or leads out of ``root`` is left out.
    """
    folders, files = [], []
    for entry in sorted(e for e in inside(root, folder).iterdir() if not e.name.startswith(".")):
        with contextlib.suppress(PermissionError):
            inside(root, entry)
            if entry.suffix.lower() in ENDINGS:
                files.append(entry.name)
            elif entry.is_dir():
                folders.append(entry.name)
    return folders, files


class Upload:
    """A file that arrives in pieces and is written to disk as it comes.

    Parameters
    ----------
    folder : Path
        Where it is kept.
    name : str
        As the browser calls it; only its last part is used.
    limit : int
        Bytes that it may have.

    Raises
    ------
    ValueError
        If the name has no ending that is known.
    """

    def __init__(self, folder: Path, name: str, limit: int = UPLOAD_LIMIT) -> None:
        plain = Path(name.replace("\\", "/")).name
        refuse_if(
            Path(plain).suffix.lower() not in ENDINGS,
            f"{plain!r} is no kind of file that is read; allowed: all that HyperSpy reads, such as .hspy .dm4 .emd",
        )
        self.path = inside(folder, plain)
        self.limit, self.size = limit, 0
        self.path.write_bytes(b"")

    def write(self, piece: bytes) -> None:
        """Append a piece.

        Raises
        ------
        ValueError
            If the file grows beyond the limit; what was kept of it is deleted.
        """
        self.size += len(piece)
        if self.size > self.limit:
            self.path.unlink(missing_ok=True)
            raise EndmemberError(
                f"{self.path.name} has more than {self.limit / 2**20:.0f} MB; put it into the folder "
                "of the workbench and open it there"
            )
        with self.path.open("ab") as file:
            file.write(piece)
