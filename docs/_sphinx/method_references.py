"""The directive ``method-references``: the papers behind every class, as the classes name them."""

import inspect
from collections.abc import Iterator

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective


def papers() -> dict[str, tuple[str, ...]]:
    """Return the references of every public class that has any, by its name."""
    import endmember

    values = {name: getattr(endmember, name) for name in endmember.__all__}
    classes = {name: value for name, value in values.items() if inspect.isclass(value)}
    found = {name: getattr(value, "references", ()) for name, value in classes.items()}
    return {name: said for name, said in found.items() if said and isinstance(said, tuple)}


def table() -> Iterator[str]:
    """Yield the lines of a table, one row a class."""
    yield from (".. list-table::", "   :widths: 25 75", "   :header-rows: 1", "")
    yield from ("   * - class", "     - papers")
    for name, said in papers().items():
        yield f"   * - :class:`em.{name} <endmember.{name}>`"
        yield from (f"     {'  ' if i else '- '}| {paper}" for i, paper in enumerate(said))


class MethodReferences(SphinxDirective):
    """Write the table, on a page in reStructuredText."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        holder = nodes.container()
        self.state.nested_parse(StringList(list(table()), source="endmember"), 0, holder)
        return holder.children


def setup(app) -> dict[str, bool]:
    """Make the directive known to Sphinx."""
    app.add_directive("method-references", MethodReferences)
    return {"parallel_read_safe": True}
