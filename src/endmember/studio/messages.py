"""Values between a process and its own child, over a pipe that nobody else can reach."""

from __future__ import annotations

import struct
from multiprocessing.reduction import ForkingPickler
from typing import IO, Any

_LENGTH = struct.Struct("<Q")


def send(stream: IO[bytes], value: Any) -> None:
    """Write one value, encoded as :mod:`multiprocessing` does, behind its length."""
    body = encoded(value)
    stream.write(_LENGTH.pack(len(body)))
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one value.

    Raises
    ------
    EOFError
        If the other side has gone.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return decoded(_exactly(stream, length))


def encoded(value: Any) -> bytes:
    """Return a value as bytes."""
    return bytes(ForkingPickler.dumps(value))


def decoded(body: bytes) -> Any:
    """Return the value of bytes that this program has made."""
    return ForkingPickler.loads(body)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    body = stream.read(size)
    if len(body) < size:
        raise EOFError("the other process has gone")
    return body
