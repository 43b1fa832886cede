"""The directive ``command-line``: every command with its options, read from the program itself."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective


def commands():
    """Return all commands of the program by name; each module of the room adds its own."""
    import typer

    import endmember.cli

    for module in pkgutil.iter_modules(endmember.cli.__path__, "endmember.cli."):
        importlib.import_module(module.name)
    app = importlib.import_module("endmember.cli.commands").app
    return typer.main.get_command(app).commands


def literal(text: str) -> str:
    """Return text that reStructuredText shows as it is."""
    for sign in "\\*`|_":
        text = text.replace(sign, f"\\{sign}")
    return text


def described(name: str, command) -> Iterator[str]:
    """Yield the lines of one command: what it does, and a table of what it takes."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield from (literal(" ".join(paragraph.split())), "")
    context = command.make_context(name, [], resilient_parsing=True)
    records = [parameter.get_help_record(context) for parameter in command.params]
    if not any(records):
        return
    yield from (".. list-table::", "   :widths: 35 65", "   :header-rows: 1", "")
    yield from ("   * - write", "     - to say")
    for typed, does in filter(None, records):
        yield f"   * - ``{' '.join(typed.split())}``"
        yield f"     - {literal(' '.join(does.split()))}"


class CommandLine(SphinxDirective):
    """Write a section for every command of the program, on a page in reStructuredText."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        sections = []
        for name, command in commands().items():
            section = nodes.section(ids=[f"endmember-{name}"], names=[f"endmember {name}"])
            section += nodes.title("", f"endmember {name}")
            lines = StringList(list(described(name, command)), source="endmember.cli")
            self.state.nested_parse(lines, 0, section)
            sections.append(section)
        return sections


def setup(app) -> dict[str, bool]:
    """Make the directive known to Sphinx."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True}
