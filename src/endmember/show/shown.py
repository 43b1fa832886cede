"""How an answer shows itself: in a line where somebody types, with its picture and a table in a notebook."""

import base64
from html import escape

from endmember.show.page import png


class Shown:
    """What says itself in a sentence, and in a notebook shows its picture and, folded away, all that it tells as text.

    The picture is that of ``plot()``, where there is one; the text is that of ``str``.
    """

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.sentence}>"  # type: ignore[attr-defined]

    def _repr_html_(self) -> str:
        said = [f"<p>{escape(line)}</p>" for line in repr(self).splitlines()]
        plot = getattr(self, "plot", None)
        if plot is not None:
            figure = plot()
            data = base64.b64encode(png(figure, 100)).decode("ascii")
            said.append(
                f'<img alt="{escape(figure.get_label())}" src="data:image/png;base64,{data}">'
            )
        if str(self) != repr(self):
            said.append(
                f"<details><summary>Details</summary><pre>{escape(str(self))}</pre></details>"
            )
        return "\n".join(said)
