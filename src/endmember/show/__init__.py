"""Pictures and the report: draws arrays, names, units and plain dataclasses.

Matplotlib and Jinja are imported when something is drawn or written, not before.
"""

from endmember.show.contents import Components, Misfit
from endmember.show.html import Report, Section, render, write
from endmember.show.page import Figure as Figure
from endmember.show.particular import detectors as detectors
from endmember.show.particular import profiles, relevance, shifts
from endmember.show.plots import components, convergence, residual
from endmember.show.shown import Shown as Shown

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
