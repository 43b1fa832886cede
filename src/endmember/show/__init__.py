"""Pictures and the report: draws arrays, names, units and plain dataclasses.

Matplotlib and Jinja are imported when something is drawn or written, not before.
"""

from endmember.show.axis_drift import shifts
from endmember.show.html import Report, Section, render, write
from endmember.show.levels import relevance
from endmember.show.plots import Components, Misfit, components, convergence, residual
from endmember.show.series import profiles

__all__ = [
    "Components",
    "Misfit",
    "Report",
    "Section",
    "components",
    "convergence",
    "profiles",
    "relevance",
    "render",
    "residual",
    "shifts",
    "write",
]
