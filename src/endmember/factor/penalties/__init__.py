"""Penalties: wishes about one factor, to be combined freely."""

from endmember.factor.penalties.base import Penalty, bounds_of, resolve
from endmember.factor.penalties.elementwise import Free, NonNegative

__all__ = ["Free", "NonNegative", "Penalty", "bounds_of", "resolve"]
