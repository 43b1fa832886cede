"""The loop over the factors: starts, sweeps, stopping, and what it may say at its end."""

from endmember.factor.loop.absence import (
    DEAR,
    absent,
    cone_in_words,
    decided,
    excess_of_clipped,
    least_price,
    moved_apart,
    tests_of,
    with_zeros,
)
from endmember.factor.loop.alternate import EXACT, alternate, best_factor
from endmember.factor.loop.automatic import Placed, choose, set_aside, weighed
from endmember.factor.loop.compatibility import (
    can_obey,
    check_combination,
    default_solver,
    default_solvers,
)
from endmember.factor.loop.fit import Callback, Fit, Progress, concluded
from endmember.factor.loop.problem import Amounts, Problem
from endmember.factor.loop.starts import (
    STARTS,
    StartReport,
    as_least_squares,
    fill,
    least_squares,
    multistart,
    on_the_scale_of,
    start,
    start_maps,
    successive_projection,
    various,
    with_maps,
)

__all__ = [
    "Amounts",
    "Callback",
    "DEAR",
    "EXACT",
    "Fit",
    "Placed",
    "Problem",
    "Progress",
    "STARTS",
    "StartReport",
    "absent",
    "alternate",
    "as_least_squares",
    "best_factor",
    "can_obey",
    "check_combination",
    "choose",
    "concluded",
    "cone_in_words",
    "decided",
    "default_solver",
    "default_solvers",
    "excess_of_clipped",
    "fill",
    "least_price",
    "least_squares",
    "moved_apart",
    "multistart",
    "on_the_scale_of",
    "set_aside",
    "start",
    "start_maps",
    "successive_projection",
    "tests_of",
    "various",
    "weighed",
    "with_maps",
    "with_zeros",
]
