"""Data behind the few products that the mathematics needs, and the way in."""

from endmember.factor.data.axis import Axis, Grid, Standard, is_signal
from endmember.factor.data.in_memory import (
    Centred,
    Dense,
    Sparse,
    Weighted,
    count_scaled,
    weighted_gram,
)
from endmember.factor.data.inspection import (
    Given,
    far_from_one,
    given,
    in_patterns,
    is_lazy,
    left_in,
    left_out,
    pattern_of,
    unwrap,
)
from endmember.factor.data.lazy import Lazy
from endmember.factor.data.matrix import Arrangement, Data, Floats, Indices, Rescaled, row_blocks
from endmember.factor.data.observed import Explained, Observed, checked_masks, observe, stays_lazy
from endmember.factor.data.resources import one_blas_thread, session

__all__ = [
    "Arrangement",
    "Axis",
    "Centred",
    "Data",
    "Dense",
    "Explained",
    "Floats",
    "Given",
    "Grid",
    "Indices",
    "Lazy",
    "Observed",
    "Rescaled",
    "Sparse",
    "Standard",
    "Weighted",
    "checked_masks",
    "count_scaled",
    "far_from_one",
    "given",
    "in_patterns",
    "is_lazy",
    "is_signal",
    "left_in",
    "left_out",
    "observe",
    "one_blas_thread",
    "pattern_of",
    "row_blocks",
    "session",
    "stays_lazy",
    "unwrap",
    "weighted_gram",
]
