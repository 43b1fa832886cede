"""What the panels of a page have in common: they hear of changes, and look at regions that are drawn."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import panel as pn

from endmember.app.core.regions import SHAPES, Region
from endmember.app.page.figures import cleared
from endmember.app.work.scheduler import Ticket
from endmember.errors import refuse_if

#: Colours of regions that are kept: none of a component, and seen on maps.
_INKS = ("#CC3311", "#0033CC", "#EE3377", "#775500", "#AA4499")


class Panel:
    """What one tab of a page holds, in its ``layout`` under its ``title``.

    Where it has a method that is called as a change, such as ``data_changed``, ``runs_changed`` or
    ``regions_changed``, it is told of that; ``pointed`` shows a region that was drawn on its map.
    """

    pointed: Any

    _map: Any
    _region: Region | None = None

    def __init__(self, page: Any) -> None:
        self._page = page

    def shapes(self) -> pn.Row:
        """Return what is dragged on the map to choose from, and how wide a line is."""
        self._shape = pn.widgets.RadioButtonGroup(
            options=[*SHAPES], value="box", margin=(26, 5, 5, 10)
        )
        self._width = pn.widgets.IntInput(label="Width of a line", value=5, start=1, width=110)
        for one in (self._shape, self._width):
            one.param.watch(lambda _: self._shape_changed(), "value")
        return pn.Row(self._shape, self._width, visible=not self._page.session.data.is_line)

    def _shape_changed(self) -> None:
        """Draw what is drawn as another shape; the next may begin where the box of this one would be moved."""
        boxed = self._shape.value != "line"
        cleared(self._map.box, editable=boxed, line_alpha=float(boxed), fill_alpha=0.12 * boxed)
        if self._region:
            self.point(*self._ends)

    def point(self, x: Sequence[float], y: Sequence[float], final: bool = True) -> None:
        """Find the mean spectrum of what is drawn on an image, while it is drawn."""
        data, self._ends = self._page.session.data, (x, y)
        self.ask(
            data.region(x, y, self._shape.value, self._width.value or 1),
            lambda one, exact=False: replace(one, mean=data.spectrum(*one.box, exact, one.corners)),
            self.pointed, final,
        )  # fmt: skip

    def keep(self, name: str = "") -> Region:
        """Keep the region that was drawn, with a name and a colour of its own."""
        regions, drawn = self._page.session.regions, self._region
        refuse_if(drawn is None, "no region is drawn yet: drag one on the map")
        known = {"", *(one.name for one in regions), *(one.colour for one in regions)}
        name, colour = (
            next(new for new in some if new not in known)
            for some in (
                (name, *(f"region {number}" for number in range(1, len(regions) + 2))),
                (*_INKS, "#444444"),
            )
        )
        regions.append(replace(cast(Region, drawn), name=name, colour=colour))
        self._region = None
        cleared(self._map.box)
        self._page.tell("regions_changed")
        return regions[-1]

    def ask(self, where: Any, answer: Any, show: Any, final: bool) -> None:
        """Show the answer at once; once the mouse is let go, what stands for larger data gives way to them."""
        page, preview = self._page, self._page.session.data.is_preview

        def work(ticket: Ticket) -> Any:
            if final and preview:
                ticket.show(answer(where))
            return answer(where, exact=final)

        page.drag.submit(work, show, page.complain, show)
