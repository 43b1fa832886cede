"""Penalties on one factor, to be combined freely."""

from endmember.factor.penalties.base import Automatic, Penalty, worded
from endmember.factor.penalties.basis import Basis
from endmember.factor.penalties.combining import (
    bounds_of,
    check_together,
    decides,
    is_free,
    resolve,
    steers_columns,
)
from endmember.factor.penalties.elements import CoreLossEdges, XRayLines
from endmember.factor.penalties.elementwise import (
    Absent,
    Free,
    Known,
    NonNegative,
    Ridge,
    Sparse,
    ZeroOutside,
)
from endmember.factor.penalties.mixtures import MinimumVolume, SoftOrthogonal, SumToOne
from endmember.factor.penalties.relevance import Norm, Relevance
from endmember.factor.penalties.spatial import Monotone, PowerLaws, Smooth, TotalVariation, Unimodal

__all__ = [
    "Absent",
    "Automatic",
    "Basis",
    "CoreLossEdges",
    "Free",
    "Known",
    "MinimumVolume",
    "Monotone",
    "NonNegative",
    "Norm",
    "Penalty",
    "PowerLaws",
    "Relevance",
    "Ridge",
    "Smooth",
    "Sparse",
    "SoftOrthogonal",
    "SumToOne",
    "TotalVariation",
    "Unimodal",
    "XRayLines",
    "ZeroOutside",
    "bounds_of",
    "check_together",
    "decides",
    "is_free",
    "resolve",
    "steers_columns",
    "worded",
]
