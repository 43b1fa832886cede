"""What is kept with every answer so that it can be run again: versions, data, processing steps."""

import importlib.metadata
import platform

from endmember import __version__
from endmember.factor.data.fingerprint import data_hash
from endmember.factor.data.inspection import steps
from endmember.preprocess.lifting import record

__all__ = ["data_hash", "record", "steps", "versions"]

_PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "hyperspy", "exspy", "rosettasciio")


def versions() -> dict[str, str]:
    """Return the version of everything that has a say in an answer.

    Returns
    -------
    dict of str to str
        For endmember, python and the packages underneath; those not installed are left out.

    Examples
    --------
    >>> import numpy
    >>> versions()["numpy"] == numpy.__version__
    True
    """
    found = {"endmember": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
