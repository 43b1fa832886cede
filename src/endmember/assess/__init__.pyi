"""Public names, written by tools/stubs.py."""

from endmember.assess.odd_pixels import Anomalies as Anomalies
from endmember.assess.bands import Bands as Bands
from endmember.assess.percentages import Composition as Composition
from endmember.assess.detection import Detectability as Detectability
from endmember.assess.standard_errors import Errors as Errors
from endmember.assess.hints import Hint as Hint
from endmember.assess.intervals import Interval as Interval
from endmember.assess.weights import Path as Path
from endmember.assess.number import RankReport as RankReport
from endmember.assess.resampling import Recurrence as Recurrence
from endmember.assess.bands import ambiguity as ambiguity
from endmember.assess.odd_pixels import anomalies as anomalies
from endmember.assess.percentages import composition as composition
from endmember.assess.detection import detectability as detectability
from endmember.assess.intervals import displacement as displacement
from endmember.assess.hints import element_hints as element_hints
from endmember.assess.detection import local_rank as local_rank
from endmember.assess.weights import path as path
from endmember.assess.number import rank as rank
from endmember.assess.resampling import recurrence as recurrence
from endmember.assess.standard_errors import uncertainty as uncertainty
__all__ = [
    "Anomalies",
    "Bands",
    "Composition",
    "Detectability",
    "Errors",
    "Hint",
    "Interval",
    "Path",
    "RankReport",
    "Recurrence",
    "ambiguity",
    "anomalies",
    "composition",
    "detectability",
    "displacement",
    "element_hints",
    "local_rank",
    "path",
    "rank",
    "recurrence",
    "uncertainty",
]
