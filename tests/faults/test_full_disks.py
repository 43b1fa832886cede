"""A disk that is full or cannot be written costs a save, and nothing that was there before."""

import ctypes
import multiprocessing
import os
import re
import resource
import shutil
import warnings

import numpy as np
import pytest

import endmember as em

OLD, NEW = (
    em.unmix(
        em.synthetic.diode(shape=(6, 7), channels=30, seed=seed).signal,
        em.NMF(2, n_starts=1, random_state=0),
        reasons=["and so on, " * 10_000],  # a record that is the largest of the files
    )
    for seed in range(2)
)
PAGE = resource.getpagesize()
ROOM = 2**22


def mount_small_disk(place):
    """Put a disk of a few megabytes there, for this process alone; tell whether that is allowed."""
    mount_names, users, private = 0x20000, 0x10000000, 0x44000
    libc = ctypes.CDLL(None, use_errno=True)
    return not (
        libc.unshare(mount_names | (0 if os.geteuid() == 0 else users))
        or libc.mount(b"none", b"/", None, private, None)
        or libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, f"size={ROOM}".encode())
    )


def leave(room, place):
    """Fill the disk but for so many bytes, where there is a small one, else let no file grow beyond them.

    Without any room that can be written the disk, or the folder, is read-only.
    """
    if room is None and place.is_mount():
        remount_read_only = 0x21
        ctypes.CDLL(None).mount(b"none", os.fsencode(place), b"tmpfs", remount_read_only, None)
    elif room is None:
        place.chmod(0o500)
    elif place.is_mount():
        disk = os.statvfs(place)
        (place / "ballast").write_bytes(bytes(max(disk.f_bavail * disk.f_frsize - room, 0)))
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))


def save_in_little_room(place, old, room, said):
    """Save over an old result where there is so little room, and say how that ended."""
    mount_small_disk(place)
    folder = shutil.copytree(old, place / "x")
    leave(room(sizes(folder), place.is_mount()), place)
    ended = "the new result"
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            NEW.save(folder, overwrite=True)
        if any("without its report" in str(warning.message) for warning in caught):
            ended = "the new result, but its report"
    except em.EndmemberError as problem:
        ended = re.sub(r"^\S+ ", "", str(problem))
    except Exception as problem:
        ended = repr(problem)
    known = OLD if "result" not in ended else NEW
    left = {entry.name for entry in place.iterdir()} - {"ballast"}
    same = np.array_equal(em.open(folder).maps.data, known.maps.data)
    said.put((ended, same, left))


def sizes(folder):
    """Return how much room each file of a result takes on a disk, by name."""
    return {file.name: -(-file.stat().st_size // PAGE) * PAGE for file in folder.iterdir()}


@pytest.mark.skipif(os.name != "posix", reason="forks, and mounts a small disk")
def test_a_disk_that_fills_during_a_save_costs_nothing(tmp_path, often, count):
    def read_only(taken, whole_disk):
        return None

    def so_much(share):
        def room(taken, whole_disk):
            return int(share * (sum(taken.values()) if whole_disk else max(taken.values())))

        return room

    def half_of_the_record(taken, whole_disk):
        before = sum(taken.values()) - taken["report.html"] - taken["unmixing.json"]
        return (before if whole_disk else 0) + taken["unmixing.json"] // 2

    context = multiprocessing.get_context("fork")
    old = OLD.save(tmp_path / "old")
    rooms = [read_only, half_of_the_record]
    rooms += map(so_much, np.linspace(0, 1.2, often(1, 61)))
    for number, room in enumerate(rooms):
        (place := tmp_path / str(number)).mkdir()
        said = context.SimpleQueue()
        saver = context.Process(target=save_in_little_room, args=(place, old, room, said))
        saver.start()
        saver.join()
        assert saver.exitcode == 0
        ended, same, left = said.get()
        assert ended.startswith(("the new result", "cannot be saved: ")), ended
        assert same
        assert left == {"x"}
        count("disk that fills during a save", ended)
        shutil.rmtree(place, ignore_errors=True)
