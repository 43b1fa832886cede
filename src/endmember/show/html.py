"""The report: one HTML file that holds its text, its figures and its style, and loads nothing."""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from endmember.show.page import Figure, svg, writable

_DOTS_PER_INCH = 200  # of maps, sharp on paper and on fine screens; lines and letters are outlines


@dataclass
class Section:
    """One part of a report: any of a table, text and a figure, in this order.

    Parameters
    ----------
    title : str
        Heading.
    table : list of (label, value), optional
        Values of any type, written with ``str``.
    text : str, optional
        Paragraphs, separated by blank lines.
    figure : Figure, optional
        A Matplotlib figure; its label (``figure.get_label()``) becomes the alternative text.
    caption : str
        Under the figure.

    Examples
    --------
    >>> Section("Data", table=[("Pixels", 48 * 48)]).table
    [('Pixels', 2304)]
    """

    title: str
    table: Sequence[tuple[object, object]] | None = None
    text: str | None = None
    figure: Figure | None = None
    caption: str = ""

    @property
    def alternative(self) -> str:
        """What stands for the figure where it is not seen."""
        return (str(self.figure.get_label()) if self.figure else "") or f"Figure: {self.title}"

    @property
    def width(self) -> int:
        """Width at which the figure's letters have the size they were set in, in CSS pixels."""
        return round(96 * self.figure.get_figwidth()) if self.figure else 0

    @property
    def image(self) -> str:
        """The figure as a data URI."""
        assert self.figure is not None
        content = base64.b64encode(svg(self.figure, _DOTS_PER_INCH).encode()).decode("ascii")
        return f"data:image/svg+xml;base64,{content}"


@dataclass
class Report:
    """All that a report says; plain text throughout.

    Parameters
    ----------
    title, subtitle : str
        What was unmixed, and how.
    sentences : list of str
        What was found, in plain statements.
    warnings : list of str
        What the reader should be wary of.
    sections : list of Section
        In order.
    methods : str
        Paragraphs to paste into a paper.
    references : list of str
        Cited works.
    footer : str
        Versions and date.

    Examples
    --------
    >>> Report("diode.dm4", sentences=["Three components explain the data."]).warnings
    []
    """

    title: str
    subtitle: str = ""
    sentences: Sequence[str] = field(default_factory=list)
    warnings: Sequence[str] = field(default_factory=list)
    sections: Sequence[Section] = field(default_factory=list)
    methods: str = ""
    references: Sequence[str] = field(default_factory=list)
    footer: str = ""


def render(report: Report) -> str:
    """Make the HTML of a report.

    Figures are embedded, text is escaped, and a content security policy forbids the page to load
    anything. It follows the reader's light or dark theme, and prints.

    Parameters
    ----------
    report : Report
        What to say.

    Returns
    -------
    str
        A complete HTML document.

    Examples
    --------
    >>> html = render(Report("<b>.dm3"))
    >>> html[:15], "<h1>&lt;b&gt;.dm3</h1>" in html
    ('<!doctype html>', True)
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("endmember", "show"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return writable(environment.get_template("report.html.j2").render(report=report))


def write(report: Report, path: str | os.PathLike[str]) -> Path:
    """Write a report to one HTML file, whole or not at all.

    It is written beside its place and renamed, so that an older report stays until the new one
    is complete.

    Parameters
    ----------
    report : Report
        What to say.
    path : path-like
        The file to make or replace; its folder must exist.

    Returns
    -------
    Path
        Where the report is.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Report("diode.dm4"), Path(folder) / "report.html").name
    'report.html'
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"no folder {str(path.parent)!r} to write the report into: "
            "make it first, or give a path in a folder that exists"
        )
    html = render(report)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(html)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
