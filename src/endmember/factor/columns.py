"""Lengths of the columns of a factor, and places of its rows."""

from typing import Any

import numpy as np


def lengths(F: np.ndarray, row_weights: np.ndarray | None = None) -> np.ndarray:
    """Return the length of every column, as the misfit measures it."""
    return np.linalg.norm(F, axis=0) if row_weights is None else np.sqrt(row_weights @ F**2)


def or_one(sizes: np.ndarray) -> np.ndarray:
    """Return sizes to divide by: 1 where there is none."""
    return np.where(sizes > 0, sizes, 1.0)


def unit_columns(F: np.ndarray) -> np.ndarray:
    """Return the columns of ``F`` (n, k) at unit length; what is zero stays."""
    return F / or_one(np.linalg.norm(F, axis=0))


def placed(
    rows: np.ndarray, index: np.ndarray, n: int, fill: float = 0.0, dtype: Any = np.float64
) -> np.ndarray:
    """Return rows in their places among ``n``, with ``fill`` in all others."""
    everywhere = np.full((n, *rows.shape[1:]), fill, dtype)
    everywhere[index] = rows
    return everywhere
