"""Lengths of the columns of a factor."""

import numpy as np


def lengths(F: np.ndarray, row_weights: np.ndarray | None = None) -> np.ndarray:
    """Return the length of every column, as the misfit measures it."""
    if row_weights is None:
        return np.linalg.norm(F, axis=0)
    return np.sqrt(row_weights @ F**2)


def unit_columns(F: np.ndarray) -> np.ndarray:
    """Return the columns of ``F`` (n, k) at unit length; what is zero stays."""
    length = np.linalg.norm(F, axis=0)
    return F / np.where(length > 0, length, 1.0)
