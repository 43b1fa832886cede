"""Sums over regions and energy windows at the speed of a drag."""

import numpy as np

#: Rows and channels between two running sums.
STEP = 32


def running_sums(cube: np.ndarray, step: int = STEP) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of a cube over all rows, and over all channels, up to every ``step``-th.

    Parameters
    ----------
    cube : ndarray, (ny, nx, channels)
    step : int

    Returns
    -------
    rows : ndarray, (ny // step + 1, nx, channels)
    channels : ndarray, (ny, nx, channels // step + 1)
        In whole numbers where those are exact and smaller, else in double precision.
    """
    ny, nx, n = cube.shape
    small = cube.dtype.kind == "u" and cube.dtype.itemsize <= 2 and max(ny, n) <= 2**16
    dtype = np.uint32 if small else np.float64
    rows = np.zeros((ny // step + 1, nx, n), dtype)
    for j in range(ny // step):
        block = cube[j * step : (j + 1) * step].sum(axis=0, dtype=dtype)
        np.add(rows[j], block, out=rows[j + 1])
    channels = np.zeros((ny, nx, n // step + 1), dtype)
    for j in range(n // step):
        block = cube[..., j * step : (j + 1) * step].sum(axis=-1, dtype=dtype)
        np.add(channels[..., j], block, out=channels[..., j + 1])
    return rows, channels


class Sums:
    """Running sums of a cube at every ``step``-th row and channel: any region costs at most ``step`` rows more.

    Parameters
    ----------
    cube : ndarray, (ny, nx, channels)
        Kept, never changed.
    step : int
        Rows and channels between two sums.
    running : tuple of ndarray, optional
        What :func:`running_sums` returns, where it was worked out before.

    Examples
    --------
    >>> sums = Sums(np.arange(24.0).reshape(2, 3, 4))
    >>> sums.spectrum((0, 2), (1, 3)), sums.map((1, 2)).shape
    (array([12., 13., 14., 15.]), (2, 3))
    """

    def __init__(
        self,
        cube: np.ndarray,
        step: int = STEP,
        running: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self.cube, self.step = cube, step
        self._rows, self._channels = running or running_sums(cube, step)

    def spectrum(self, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        """Return the mean spectrum of the pixels ``rows[0]:rows[1], columns[0]:columns[1]``, (channels,)."""
        (y0, y1), (x0, x1) = rows, columns
        total = np.zeros(self.cube.shape[2])
        first, last = -(-y0 // self.step), y1 // self.step
        if first < last:
            total += (self._rows[last, x0:x1] - self._rows[first, x0:x1]).sum(axis=0, dtype=float)
            parts = [(y0, first * self.step), (last * self.step, y1)]
        else:
            parts = [(y0, y1)]
        for start, stop in parts:
            total += self.cube[start:stop, x0:x1].sum(axis=(0, 1), dtype=np.float64)
        return total / max(1, (y1 - y0) * (x1 - x0))

    def map(self, channels: tuple[int, int]) -> np.ndarray:
        """Return the sum over the channels ``channels[0]:channels[1]`` in every pixel, (ny, nx)."""
        c0, c1 = channels
        first, last = -(-c0 // self.step), c1 // self.step
        if first >= last:
            return self.cube[..., c0:c1].sum(axis=-1, dtype=np.float64)
        total = (self._channels[..., last] - self._channels[..., first]).astype(np.float64)
        for start, stop in ((c0, first * self.step), (last * self.step, c1)):
            if start < stop:
                total += self.cube[..., start:stop].sum(axis=-1, dtype=np.float64)
        return total
