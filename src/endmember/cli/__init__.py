"""The command ``endmember``: from a file to its pure spectra and their maps.

Results go to stdout, with paths last; progress, notes and errors go to stderr. Everything heavy is
imported inside the commands, so that ``endmember --help`` answers at once.
"""

import sys
import traceback
from collections.abc import Sequence
from typing import Any

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``endmember``; by default those that the program was called with.

    Returns
    -------
    int
        The exit code: 0 success, 1 a fault of the program, 2 a wrong call or wrong input,
        130 interrupted with nothing kept.
    """
    import typer

    from . import commands, several  # noqa: F401 (they register themselves)
    from .console import at_home, explain, listening, note
    from .program import app

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are no text
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"] or ["--help"]
    command: Any = typer.main.get_command(app)
    called = command.commands.get(next((word for word in words if word[:1] != "-"), None))
    try:
        with listening(debug, called), at_home():
            code = command.main(args=words, prog_name="endmember", standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:  # the last fence: whatever happened becomes one sentence
        if debug:
            traceback.print_exc()
        code, sentence = explain(error, called)
        note(f"endmember: {sentence}")
    if code == 130:
        note("endmember: interrupted before there was anything to keep.")
    return int(code)
