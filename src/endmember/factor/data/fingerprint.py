"""Fingerprints of data: the same data always give the same, however they are kept."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse

from endmember.errors import EndmemberError
from endmember.factor.data.inspection import unwrap
from endmember.factor.data.kernels import canonical
from endmember.factor.data.matrix import row_blocks

_BLOCK = 2**25  # bytes hashed in one go


def data_hash(data: Any) -> str:
    """Return a fingerprint of data: the same data always give the same, others another.

    BLAKE2b, 16 bytes, of the shape, the data type and the values in C order, little-endian.
    It does not depend on how the data are kept: an eager and a lazy array, any chunking, any
    memory order, and a signal and its ``(*domain, channels)`` array agree. Sparse data are hashed
    as a CSR matrix with sorted indices, no duplicates and no stored zeros, and differ from the
    same data kept dense.

    Parameters
    ----------
    data : ndarray, dask.array.Array, sparse matrix or hyperspy.api.signals.BaseSignal
        Looked at block by block.

    Returns
    -------
    str
        ``"blake2b:"`` and 32 hexadecimal digits.

    Raises
    ------
    ValueError
        The values are Python objects, which have no bytes of their own.

    Examples
    --------
    >>> data_hash(np.arange(6).reshape(2, 3)) == data_hash(np.arange(6).reshape(3, 2))
    False
    """
    data = unwrap(data)
    digest = hashlib.blake2b(digest_size=16)
    if scipy.sparse.issparse(data):
        csr = canonical(scipy.sparse.csr_array(data))
        digest.update(f"csr{tuple(map(int, csr.shape))}".encode())
        for part in (csr.indptr.astype(np.int64), csr.indices.astype(np.int64), csr.data):
            _hash_array(digest, part)
    else:
        _hash_array(digest, data if hasattr(data, "dtype") else np.asarray(data))
    return f"blake2b:{digest.hexdigest()}"


def _hash_array(digest: Any, data: Any) -> None:
    dtype = data.dtype.newbyteorder("<")
    if dtype.hasobject:
        raise EndmemberError(
            f"data of type {data.dtype} have no fingerprint; make them numbers first"
        )
    digest.update(f"{tuple(map(int, data.shape))} {dtype.str}".encode())
    for block in blocks_in_order(data):
        digest.update(np.ascontiguousarray(block, dtype=dtype))


def blocks_in_order(data: Any) -> Iterator[np.ndarray]:
    """Go through an array along its first axis, a lazy one chunk row by chunk row."""
    data = data.reshape(data.shape or 1)
    if isinstance(data, np.ndarray):
        yield from (data[rows] for rows in row_blocks(len(data), data[:1].nbytes, _BLOCK))
    else:
        yield from map(np.asarray, (data.blocks[row] for row in range(data.numblocks[0])))
