"""Look at a file before its reader does: whether it is whole and its declared lengths possible.

Readers trust what a file says about itself; a damaged length makes them stop at an exception that
explains nothing, reserve absurd amounts of memory, write where they should not, or never return. Everything here
reads a few kilobytes, of Bruker's maps the place of every pixel, and raises the fault in words.
"""

import io
import mmap
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from endmember.factor.data.watched import companion_elsewhere, data_elsewhere, files_of

_MOST_EXPANSION = 1100  # deflate, the strongest of the usual filters, reaches 1032 : 1
_NEVER_ABSURD = 16 * 2**20  # bytes: an array of this size is allowed whatever the file's length
#: Bytes of an array for each byte of its file, and bytes besides, by the file's ending.
_EXPANSIONS = {
    "dm3": (2, 0),
    "dm4": (2, 0),
    "msa": (4, 0),
    **dict.fromkeys(("emd", "pts", "bcf"), (4096 * 64, _NEVER_ABSURD)),
}


class Fault(Exception):
    """A fault found while looking at a header; its text says which."""


def check_header(path: Path) -> None:
    r"""Look at a file's beginning and declared lengths.

    Parameters
    ----------
    path : Path
        An existing file, or the folder of a ``.zspy`` store. Its extension says what to look for;
        extensions without a check are only tested for emptiness.

    Raises
    ------
    Fault
        Worded to follow "cannot be read:".

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "cut.dm3")
    ...     _ = file.write_bytes(b"\x00\x00\x00\x03\x00\x00\x10\x00\x00\x00\x00\x01")
    ...     check_header(file)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    endmember.signals.files.headers.Fault: it is truncated: 12 bytes of the 4,096 that its header declares
    """
    elsewhere = companion_elsewhere(path)
    _refuse_if(elsewhere is not None, str(elsewhere))
    _refuse_if(path.is_dir() and not any(path.iterdir()), "it is an empty folder")
    length = path.stat().st_size
    _refuse_if(path.is_file() and length == 0, "it is empty (0 bytes)")
    check = _CHECKS.get(path.suffix[1:].lower())
    if check is not None:
        with path.open("rb") as file:
            check(file, length)


def absurd_size(n_bytes: int, file_length: int, extension: str) -> bool:
    """Tell whether an array of ``n_bytes`` can have come out of a file of ``file_length`` bytes.

    Formats without compression hold at most their own length (twice that for packed complex
    numbers, and text needs two characters for a value of eight bytes); the files of Velox, JEOL and Bruker list
    single events, with two bytes or less for an empty pixel of 4096 channels, compressed on top; the others are
    bounded by what compression reaches.

    Examples
    --------
    >>> absurd_size(2**40, 400_000, "dm3"), absurd_size(400_000, 400_000, "dm3")
    (True, False)
    """
    expansion, allowance = _EXPANSIONS.get(extension, (_MOST_EXPANSION, _NEVER_ABSURD))
    return n_bytes > expansion * file_length + allowance


def _refuse_if(wrong: bool, fault: str) -> None:
    """Stop looking at a file with this fault; every check of a header is one line of these."""
    if wrong:
        raise Fault(fault)


def _refuse_truncated(length: int, declared: int) -> None:
    _refuse_if(
        declared > length,
        f"it is truncated: {length:,} bytes of the {declared:,} that its header declares",
    )


def _take(
    file: BinaryIO, layout: str, fault: str = "it ends before its own header does"
) -> tuple[Any, ...]:
    """Read the next numbers of a binary file, or fault where it ends too early."""
    n_bytes = struct.calcsize(layout)
    raw = file.read(n_bytes)
    _refuse_if(len(raw) < n_bytes, fault)
    return struct.unpack(layout, raw)


# Gatan DigitalMicrograph ---------------------------------------------------------------------
_DM_SIZES = {2: 2, 3: 4, 4: 2, 5: 4, 6: 4, 7: 8, 8: 1, 9: 1, 10: 1, 11: 8, 12: 8}  # bytes by code
_DM_GROUP, _DM_DATA = 20, 21  # the two kinds of tag
_DM_STRUCT, _DM_STRING, _DM_ARRAY = 15, 18, 20  # the compound types
_DM_DEEPEST = 64  # groups within groups; real files stay below ten


def _check_digital_micrograph(file: BinaryIO, length: int) -> None:
    (version,) = _take(file, ">i")
    _refuse_if(version not in (3, 4), "it does not begin as a Gatan file of version 3 or 4 does")
    number = "q" if version == 4 else "i"
    declared, _ = _take(file, f">{number}i")
    _refuse_if(declared <= 0, f"its header declares a length of {declared:,} bytes")
    _refuse_truncated(length, declared)
    _walk_group(file, length, number, depth=0)


def _walk_group(file: BinaryIO, length: int, number: str, depth: int) -> None:
    """Visit every tag of a group without reading the data, so that no declared size is believed."""
    _refuse_if(depth > _DM_DEEPEST, f"its tags are nested more than {_DM_DEEPEST} deep")
    size = number if depth and number == "q" else ""
    n_tags = _take(file, f">bb{size}{number}")[-1]
    _refuse_if(
        not 0 <= n_tags <= (length - file.tell()) // 3 + 1,
        f"a group declares {n_tags:,} tags, more than the rest of the file can hold",
    )
    for _ in range(n_tags):
        kind, name_length = _take(file, ">bh")
        _skip(file, length, name_length, "a tag's name")
        if kind == _DM_GROUP:
            _walk_group(file, length, number, depth + 1)
        elif kind == _DM_DATA:
            _walk_data(file, length, number)
        else:
            raise Fault(f"a tag is of kind {kind}, which does not exist")


def _walk_data(file: BinaryIO, length: int, number: str) -> None:
    """Step over one tag's value, whose encoding precedes it as a short list of numbers."""
    if number == "q":
        _take(file, ">q")
    _refuse_if(file.read(4) != b"%%%%", "the mark before a tag's value is missing")
    (n_codes,) = _take(file, f">{number}")
    _refuse_if(
        not 1 <= n_codes <= (length - file.tell()) // struct.calcsize(f">{number}"),
        f"a tag's type takes {n_codes:,} numbers, more than the file can hold",
    )
    codes = list(_take(file, f">{n_codes}{number}"))
    n_bytes = _value_size(codes)
    _refuse_if(bool(codes), "a tag's type is longer than its own description")
    _skip(file, length, n_bytes, "a tag's value")


def _value_size(codes: list[int]) -> int:
    """Bytes that a value takes; uses up the numbers of its type from the front of ``codes``."""
    code = _next(codes)
    if code in _DM_SIZES:
        return _DM_SIZES[code]
    if code == _DM_STRING:
        return _next(codes)
    if code == _DM_STRUCT:
        _next(codes)
        n_fields = _next(codes)
        _refuse_if(not 1 <= n_fields <= len(codes), f"a record declares {n_fields:,} fields")
        return sum(_field_size(codes) for _ in range(n_fields))
    if code == _DM_ARRAY:
        return _value_size(codes) * _next(codes)
    raise Fault(f"a tag's value has type {code}, which does not exist")


def _field_size(codes: list[int]) -> int:
    _next(codes)  # the length of the field's name
    code = _next(codes)
    _refuse_if(code not in _DM_SIZES, f"a record's field has type {code}, which does not exist")
    return _DM_SIZES[code]


def _next(codes: list[int]) -> int:
    _refuse_if(not codes, "a tag's type stops before it is complete")
    return codes.pop(0)


def _skip(file: BinaryIO, length: int, n_bytes: int, what: str) -> None:
    _refuse_if(
        not 0 <= n_bytes <= length - file.tell(),
        f"{what} declares {n_bytes:,} bytes, more than the rest of the file",
    )
    file.seek(n_bytes, 1)


# HDF5: hspy, emd, h5 ----------------------------------------------------------------------------
_HEAP_MARK = b"GCOL\x01\x00\x00\x00"
_HEAPS_UP_TO = 2**28  # bytes searched: the heaps are written with the metadata, near the start


def _check_hdf5(file: BinaryIO, length: int) -> None:
    """Refuse what the HDF5 library refuses, what it would not survive, and arrays that nobody has stored here.

    An array's declared shape must have come from what is stored of it, and must not lie in another file.
    """
    import h5py

    _refuse_if(not h5py.is_hdf5(file.name), "it does not begin as an HDF5 file does")

    def fault_of(name: str, item: Any) -> str | None:
        elsewhere = data_elsewhere(name, item)
        if elsewhere is not None:
            return elsewhere
        if _has_impossible_attribute(item):
            return f"an attribute of {name} is of a type that does not exist"
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            return None
        stored, declared = item.id.get_storage_size(), item.size * item.dtype.itemsize
        return (
            None
            if not _ordinary(item) or declared <= _MOST_EXPANSION * stored + _NEVER_ABSURD
            else f"{name} declares {declared:,} bytes of data, of which {stored:,} are stored"
        )

    try:
        with h5py.File(file.name, "r") as opened:
            _check_global_heaps(file, length)
            fault = fault_of("/", opened) or opened.visititems(fault_of)
    except Fault:
        raise
    except Exception as problem:
        sizes = re.search(r"truncated file: eof = (\d+),.* stored_eof = (\d+)", str(problem))
        if sizes is not None:
            _refuse_truncated(int(sizes[1]), int(sizes[2]))
        raise Fault(f"its HDF5 structure is damaged ({problem})") from problem
    _refuse_if(fault is not None, str(fault))


def _check_matlab(file: BinaryIO, length: int) -> None:
    if file.read(128).startswith(b"MATLAB 7.3"):
        _check_hdf5(file, length)


def _check_global_heaps(file: BinaryIO, length: int) -> None:
    """Refuse heaps of texts with an empty piece of free space: the HDF5 library never leaves them.

    A heap is "GCOL", a version, its size, and objects: an index (0 for free space), 6 bytes, and
    the object's size (for free space: including this header of 16 bytes).
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(_HEAP_MARK, 0, _HEAPS_UP_TO)
        while start >= 0:
            (size,) = struct.unpack_from("<Q", content, start + 8) if start + 16 <= length else (0,)
            _refuse_if(not 16 <= size <= length - start, f"a heap of texts declares {size:,} bytes")
            place = start + 16
            while place + 16 <= start + size:
                index, n_bytes = struct.unpack_from("<H6xQ", content, place)
                _refuse_if(
                    index == 0 and n_bytes == 0, "a heap of texts in it was overwritten with zeros"
                )
                _refuse_if(n_bytes > size, f"a text in it declares {n_bytes:,} bytes")
                place += n_bytes if index == 0 else 16 + -(-n_bytes // 8) * 8
            start = content.find(_HEAP_MARK, start + size, _HEAPS_UP_TO)


def _has_impossible_attribute(item: Any) -> bool:
    """Tell whether an attribute varies in length and is neither a text nor a sequence: reading it ends the process."""
    import h5py

    numbers = range(h5py.h5a.get_num_attrs(item.id))
    types = (h5py.h5a.open(item.id, index=number).get_type() for number in numbers)
    # Two bytes say how the type is encoded; then come class and version, and the kind of variable length.
    return any(type.get_class() == h5py.h5t.VLEN and type.encode()[3] & 15 > 1 for type in types)


def _ordinary(dataset: Any) -> bool:
    """Tell whether a dataset is stored with filters that reach no more than `_MOST_EXPANSION`."""
    plan = dataset.id.get_create_plist()
    codes = {plan.get_filter(index)[0] for index in range(plan.get_nfilters())}
    return codes <= {1, 2, 3, 32000} and not dataset.is_virtual  # deflate, shuffle, checksum, lzf


# Bruker bcf -----------------------------------------------------------------------------------
_NO_PIXELS = "it ends before the pixels of its map do"
_BCF_START, _BCF_CHUNK_HEADER, _BCF_ENTRY = 0x118, 0x20, 0x200  # bytes


def _check_bruker(file: BinaryIO, length: int) -> None:
    """Check the container's chunk count and its table of inner files."""
    _refuse_if(file.read(8) != b"AAMVHFSS", "it does not begin as a Bruker file does")
    file.seek(0x128)
    (chunk,) = _take(file, "<I")
    file.seek(0x140)
    table, n_entries, n_chunks = _take(file, "<III")
    _refuse_if(
        not _BCF_CHUNK_HEADER + _BCF_ENTRY <= chunk <= length,
        f"its header declares chunks of {chunk:,} bytes",
    )
    _refuse_truncated(length, _BCF_START + n_chunks * chunk)
    _refuse_if(
        not 1 <= n_entries <= length // _BCF_ENTRY, f"its table declares {n_entries:,} inner files"
    )
    entries = _bruker_entries(file, table, chunk, n_entries, n_chunks)
    sizes, parents = zip(*(struct.unpack("<4xQ28xi", entry[:44]) for entry in entries), strict=True)
    _refuse_if(
        max(sizes) > length,
        f"an inner file declares {max(sizes):,} bytes, more than the whole file",
    )
    _refuse_if(
        not all(-1 <= parent < len(parents) for parent in parents),
        "an inner file lies in a folder that does not exist",
    )
    above = [*parents, -1]  # the place -1, above all folders, lies in itself
    for _ in range(len(parents).bit_length()):  # the folder above, two above, four above ...
        above = [above[parent] for parent in above]
    _refuse_if(any(place != -1 for place in above), "its inner folders lie inside one another")
    _check_bruker_pixels(Path(file.name))


def _bruker_entries(
    file: BinaryIO, table: int, chunk: int, n_entries: int, n_chunks: int
) -> list[bytes]:
    """Read the table of inner files, which may continue from chunk to chunk."""
    per_chunk = (chunk - _BCF_CHUNK_HEADER) // _BCF_ENTRY
    entries: list[bytes] = []
    for _ in range(-(-n_entries // per_chunk)):
        _refuse_if(table >= n_chunks, "its table of inner files lies beyond its end")
        file.seek(_BCF_START + table * chunk)
        (table,) = _take(file, "<I28x")
        entries += _take(file, f"{_BCF_ENTRY}s" * min(per_chunk, n_entries - len(entries)))
    return entries


def _check_bruker_pixels(path: Path) -> None:
    """Follow the pixels of a map: its reader writes where they say and checks nothing."""
    from rsciio.bruker._api import BCF_reader

    try:
        reader = BCF_reader(str(path))
        for number in reader.available_indexes:
            _check_bruker_map(
                reader.get_file(f"EDSDatabase/SpectrumData{number}"), reader.header.image
            )
    except Fault:
        raise
    except Exception as problem:
        raise Fault(f"its map is damaged ({type(problem).__name__}: {problem})") from problem


def _check_bruker_map(inner: Any, image: Any) -> None:
    pixels = io.BytesIO(b"".join(inner.get_iter_and_properties()[0]))
    height, width = _take(pixels, "<II408x", _NO_PIXELS)
    _refuse_if(
        height > image.height or width > image.width,
        f"its map of {height:,} x {width:,} pixels is larger than its picture",
    )
    for _ in range(height):
        _check_bruker_line(pixels, width)


def _check_bruker_line(pixels: BinaryIO, width: int) -> None:
    (n_pixels,) = _take(pixels, "<I", _NO_PIXELS)
    _refuse_if(n_pixels > width, f"a line of its map declares {n_pixels:,} pixels")
    for _ in range(n_pixels):
        x, packing, n_pulses, n_bytes = _take(pixels, "<I8xHxxHI", _NO_PIXELS)
        _refuse_if(x >= width, f"a pixel of its map lies at {x:,} of {width:,}")
        listed = n_pulses * (4 - packing) // 2 if packing < 2 else 4  # 16 or 12 bits a pulse
        _refuse_if(not listed <= n_bytes < 2**16, f"a pixel of its map declares {n_bytes:,} bytes")
        _take(pixels, f"{n_bytes + (2 * n_pulses if packing > 1 else 0)}x", _NO_PIXELS)


# Ripple ---------------------------------------------------------------------------------------
def _check_ripple(file: BinaryIO, length: int) -> None:
    """Compare the sizes of the header with the length of the data beside it."""
    lines = [line.split("\t") for line in file.read().decode("latin-1").splitlines()]
    said = {line[0].strip().lower(): line[1].strip() for line in lines if len(line) > 1}
    declared = 1.0
    for key in ("width", "height", "depth", "data-length"):
        declared *= _number(said.get(key, "1"), f"its line {key!r}")
    declared += _number(said.get("offset", "0"), "its line 'offset'")
    for data in files_of(Path(file.name))[1:]:
        if data.exists():
            _refuse_truncated(data.stat().st_size, int(min(declared, 2.0**63)))


# EMSA/MSA text --------------------------------------------------------------------------------
def _check_msa(file: BinaryIO, length: int) -> None:
    """Compare the number of values with the ``#NPOINTS`` line, and see that they are numbers."""
    lines = file.read().decode("latin-1").splitlines()
    _refuse_if(
        not next((line for line in lines if line.strip()), "").upper().startswith("#FORMAT"),
        "its first line is not the '#FORMAT' line of an EMSA/MSA file",
    )
    keywords = dict(line[1:].split(":", 1) for line in lines if line[:1] == "#" and ":" in line)
    declared = next((v for k, v in keywords.items() if k.strip().upper() == "NPOINTS"), "")
    n_points = _number(declared.strip(), "its '#NPOINTS' line")
    columns = 2 if keywords.get("DATATYPE", "").strip() == "XY" else 1
    n_values = 0
    for row, line in enumerate(lines, start=1):
        values = line.replace(",", " ").split() if line[:1] != "#" else []
        for value in values:
            _number(value, f"line {row}")
        _refuse_if(
            0 < len(values) < columns, f"line {row} holds one value where there should be two"
        )
        n_values += len(values)
    _refuse_if(
        n_points > n_values,
        f"it is truncated: {n_values:,} values of the {n_points:,.0f} it declares",
    )


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError as problem:
        raise Fault(f"{where} says {text[:40]!r} where a number belongs") from problem


_CHECKS: dict[str, Callable[[BinaryIO, int], None]] = {
    "dm3": _check_digital_micrograph,
    "dm4": _check_digital_micrograph,
    "bcf": _check_bruker,
    "rpl": _check_ripple,
    "mat": _check_matlab,
    **dict.fromkeys(("msa", "emsa", "mas", "ems"), _check_msa),
    **dict.fromkeys(("hspy", "emd", "de5", "hdf5", "h5", "nxs"), _check_hdf5),
}
