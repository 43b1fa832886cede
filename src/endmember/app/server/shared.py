"""What all users of one workbench share: images that were read, and the processes that do long work."""

import copy
import os
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

from endmember.app.core.image import Image, Step
from endmember.app.core.live import DIRECTIONS, Sketches
from endmember.app.work import storage
from endmember.app.work.pool import Here, Workers
from endmember.app.work.scheduler import Ticket
from endmember.signals.files.source import Source
from endmember.signals.result.folders import in_use, lock

#: How the folders begin in which images are kept.
PREFIX = "endmember-workbench-"


def clear_stale() -> None:
    """Delete the folders of workbenches that ended without a chance to do it."""
    for place in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not in_use(place):
            shutil.rmtree(place, ignore_errors=True)


class Store:
    """Images by the files that they come from: one copy in memory, however many look at them.

    An image is forgotten, and its copy on disk deleted, when the last one who looks at it has gone.

    Parameters
    ----------
    workers : Workers, optional
        Reads files and does steps; otherwise that is done here.
    most : int, optional
        Bytes that an image may take; larger ones are shown as a preview and stay on disk. A quarter of the
        memory that is free unless given.
    """

    def __init__(self, workers: Workers | None = None, most: int | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX)
        self._claim = lock(self.room, wait=False)  # ends with this process
        self.workers: Workers | Here = workers or Here()
        self._most = most
        self._known: weakref.WeakValueDictionary[Any, Image] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    @property
    def room(self) -> Path:
        """The folder where images are kept."""
        return Path(self._folder.name)

    def close(self) -> None:
        """End the processes and delete everything."""
        if isinstance(self.workers, Workers):
            self.workers.close()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None
        self._folder.cleanup()

    def read(self, ticket: Ticket, path: Path, number: int | None = None) -> Image:
        """Return the image of a file; one that somebody looks at already is shared."""
        key = Source(path, number).fingerprint()
        with self._lock:
            known = self._known.get(key)
        return (
            known
            if known is not None
            else self._image(
                self.workers.call(ticket, "read", path, number, self.room, self._most), key
            )
        )

    def open(self, path: Path, number: int | None = None) -> Image:
        """Return the image of a file, read in this process: before there are others."""
        return self._image(storage.read(Ticket(), path, number, self.room, self._most), None)

    def keep(self, signal: Any) -> Image:
        """Return the image of a signal in memory; a lazy one is read."""
        return self._image(storage.store(storage.in_memory(signal, self._most), self.room), None)

    def prepare(self, ticket: Ticket, image: Image, steps: tuple[Step, ...]) -> Image:
        """Return what steps make of an image."""
        return self._image(self.workers.call(ticket, "prepare", image, steps, self.room), None)

    def _image(self, image: Image, key: Any) -> Image:
        if image.stays is not None:
            image.signal  # noqa: B018 - loaded now, a change of its file is noticed from here on
            data = copy.copy(image)  # an image that held itself would not be forgotten at once
            image.sketches = Sketches(
                lambda scaling: self.workers.call(Ticket(), "sketch", data, DIRECTIONS, scaling)
            )
        weakref.finalize(image, shutil.rmtree, image.folder, ignore_errors=True)
        if key is None:
            return image
        with self._lock:  # two users may have read the same file at the same time
            return self._known.setdefault(key, image)
