"""Solvers: each improves one factor ``F`` (n, k) of a subproblem and never sees the data."""

from endmember.factor.solvers.base import Memory, Solver
from endmember.factor.solvers.columns import HALS
from endmember.factor.solvers.least_squares import ADMM, ALS, MALS
from endmember.factor.solvers.pivoting import ANLS, groups, inverses, patterns_of
from endmember.factor.solvers.ratios import MultiplicativeUpdate, Newton

__all__ = [
    "ADMM",
    "ALS",
    "ANLS",
    "HALS",
    "MALS",
    "Memory",
    "MultiplicativeUpdate",
    "Newton",
    "Solver",
    "groups",
    "inverses",
    "patterns_of",
]
