"""Penalties: wishes about one factor, to be combined freely."""

from endmember.factor.penalties.base import Penalty, bounds_of, offers, resolve
from endmember.factor.penalties.columns import UnitColumns
from endmember.factor.penalties.elementwise import Free, NonNegative, Ridge, Sparse

__all__ = [
    "Free",
    "NonNegative",
    "Penalty",
    "Ridge",
    "Sparse",
    "UnitColumns",
    "bounds_of",
    "offers",
    "resolve",
]
