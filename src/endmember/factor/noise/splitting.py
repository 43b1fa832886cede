"""Counts split in two by a fair coin for each: independent repeats of half the dose."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from endmember.factor.data import Floats, row_blocks

#: Entries whose counts are split at a time.
_COINS = 2**15
#: Shifts and masks that add neighbouring bits, pairs and fours of a word.
_NEIGHBOURS = [
    (np.uint64(1), np.uint64(0x5555555555555555)),
    (np.uint64(2), np.uint64(0x3333333333333333)),
    (np.uint64(4), np.uint64(0x0F0F0F0F0F0F0F0F)),
]


def heads(counts: Any, rng: np.random.Generator) -> Any:
    """Return how many of as many fair coins show heads; sparse counts (n, m) stay sparse.

    Examples
    --------
    >>> int(heads(np.array([[40]]), np.random.default_rng(0))[0, 0])
    25
    """
    if sp.issparse(counts):
        half = _of(counts.data, rng)
        return sp.csr_array((half, counts.indices, counts.indptr), shape=counts.shape)
    half, present = np.zeros(counts.shape), counts > 0  # the same is drawn for sparse counts
    half[present] = _of(counts[present], rng)
    return half


def _of(counts: NDArray[Any], rng: np.random.Generator) -> Floats:
    """Return the same of a vector; of more than 64 coins a normal number with that mean and variance.

    The coins are the bits of a word, which are summed in pairs, fours and eights (Warren, Hacker's Delight, 2013, 5-1).
    """
    half = np.empty(len(counts))
    for some in row_blocks(len(counts), 1, _COINS):
        n = np.minimum(counts[some], 64).astype(np.uint64)
        words = rng.integers(0, 2**64, n.shape, np.uint64)
        words = np.where(n > 0, words >> (np.uint64(64) - np.maximum(n, 1)), np.uint64(0))
        for shift, mask in _NEIGHBOURS:
            words = (words & mask) + (words >> shift & mask)
        half[some] = words * np.uint64(0x0101010101010101) >> np.uint64(56)
    many = counts > 64
    size = counts[many].astype(float)
    half[many] = (size + np.sqrt(size) * rng.standard_normal(size.size)) / 2
    return half
