"""Phantoms: spectrum images made from known maps and spectra, for tests, examples and benchmarks.

Every function draws everything from its `seed`: the same seed gives the
same bits. Maps, spectra and noise come from independent streams, so that another dose leaves the
truth as it is, up to its scale.
"""

from .edxs import Channelling, Concurrent, channelling, concurrent, edxs_phases, plan_view
from .eels import atomic_columns, diode, mixed_phases, multilayer, oxide_interface, oxygen_edge
from .phantom import Phantom

__all__ = [
    "Channelling",
    "Concurrent",
    "Phantom",
    "atomic_columns",
    "channelling",
    "concurrent",
    "diode",
    "edxs_phases",
    "mixed_phases",
    "multilayer",
    "oxide_interface",
    "oxygen_edge",
    "plan_view",
]
