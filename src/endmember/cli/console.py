"""What the command line says besides its results: notes, errors and the progress of a fit.

All of it goes to stderr, in plain lines without control characters where that is no terminal.
"""

import logging
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

import typer

from endmember.catalogue import LOSSES, METHODS, PARAMETERS, SOLVERS
from endmember.errors import Argument, EndmemberError, Sentence

#: Seconds between two lines of progress where stderr is no terminal.
_LINE_EVERY = 10.0
#: Options that are not called as the library calls the argument.
_OPTIONS = {
    **{parameter: option for option, parameter in PARAMETERS.items()},
    "n_components": "components",
    "max_shift": "drift",
    "reference": "known",
    "sum_to_one": "closure",
    "window": "background",
    "rank": "denoise",
}
#: What the command line calls the parts of a model.
_WORDS = {row.kind: word for table in (LOSSES, METHODS, SOLVERS) for word, row in table.items()}
#: What is wrong with the value of an option, by the name that the parser has for it.
_WRONG = {
    "int_parsing": "is no whole number",
    "float_parsing": "is no number",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}
#: Seconds between two updates of the progress bar.
_BAR_EVERY = 0.1
#: Libraries whose log is none of the user's concern.
_SILENT = ("hyperspy", "rsciio", "exspy", "matplotlib", "numba")


def note(sentence: str) -> None:
    """Say something that is no result."""
    sys.stderr.write(f"{' '.join(sentence.split())}\n")
    sys.stderr.flush()


def explain(error: Exception, command: Any = None) -> tuple[int, str]:
    """Turn an exception into an exit code and one sentence.

    Exit code 2 is for what the user can mend: a wrong call, a refused input, a full disk, too
    little memory. All else is a fault of the program, exit code 1.

    Parameters
    ----------
    error : Exception
    command : click command, optional
        The one that was called, in whose options the sentence is written.

    Returns
    -------
    code : int
    sentence : str

    Examples
    --------
    >>> explain(OSError(28, "No space left on device", "maps.hspy"))
    (2, 'maps.hspy: No space left on device.')
    """
    if hasattr(error, "format_message"):  # a wrong call, found by the parser of the command line
        return 2, _wrong_call(error)
    if isinstance(error, EndmemberError):
        return 2, _stopped(in_options(error, command))
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return 2, _stopped(f"{place}{error.strerror or error}")
    if isinstance(error, MemoryError):
        ways = {"--lazy": "--lazy", "--crop": "--crop to a smaller window"}
        try_ = [way for option, way in ways.items() if option in _options(command)]
        advice = f"try {', or '.join(try_)}" if try_ else "crop or rebin the data first"
        return 2, f"there is too little memory for this; {advice}."
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return 1, (
        f"a fault of the program, not of your data ({what}); "
        "call it again with --debug and report what that prints."
    )


def _wrong_call(error: Any) -> str:
    """Say in our own words what is wrong with a call, and where its command says what is right."""
    said = error.format_message()
    if said.startswith("Invalid value for") and error.param:
        said = f"{error.param.opts[0]} {error.message}"
    for detail in getattr(error.__cause__, "errors", list)()[:1]:
        limits = detail.get("ctx", {})
        wrong = limits.get("error", f"{detail['input']} is not allowed")
        if detail["type"] in _WRONG:
            wrong = f"{detail['input']} {_WRONG[detail['type']].format(**limits)}"
        said = f"{error.param.opts[0]} {wrong}"
    return (
        f"{_stopped(said)[:-1]}; see "
        f"{error.ctx.command_path if getattr(error, 'ctx', None) else 'endmember'} --help."
    )


def _options(command: Any) -> dict[Any, Any]:
    """Return the options of a command by the names of their parameters and as they are typed."""
    options = [one for one in getattr(command, "params", []) if one.opts[0].startswith("-")]
    return {name: one for one in options for name in (one.name, *one.opts)}


def in_options(said: Any, command: Any) -> str:
    """Return a refusal or a sentence of the library with the options of a command for arguments of Python."""
    options = _options(command)

    def spell(argument: Argument) -> str | None:
        option = options.get(argument.name) or options.get(_OPTIONS.get(argument.name, ""))
        return (
            option and option.opts[0]
            if option is None or option.is_flag
            else f"{option.opts[0]} {_typed(argument.value)}".rstrip()
        )

    sentence = said.spelled(spell) if hasattr(said, "spelled") else str(said)
    parameter = getattr(said, "parameter", None)
    about = spell(Argument(parameter)) if parameter else None
    return f"{about}: {sentence}" if about and about not in sentence else sentence


def _typed(value: Any) -> str:
    """Return a value as it is typed behind an option.

    Examples
    --------
    >>> _typed((450.0, None)), _typed("PoissonScaled"), _typed(-1.0)
    ('450:', 'scaled', '-1')
    """
    return (
        ":".join("" if end is None else _typed(end) for end in value)
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else _WORDS.get(str(value), str(value))
    )


def counted(count: int, one: str, several: str = "") -> str:
    """Return a number of things.

    Examples
    --------
    >>> counted(1, "spike"), counted(2, "spike"), counted(2, "spectrum", "spectra")
    ('1 spike', '2 spikes', '2 spectra')
    """
    return f"{count} {one if count == 1 else several or f'{one}s'}"


def _stopped(text: str) -> str:
    return f"{' '.join(text.split()).rstrip('.')}."


@contextmanager
def listening(debug: bool, command: Any = None) -> Iterator[None]:
    """Pass on our own warnings and log as notes in the options of a command; with ``debug``, all that anyone says."""

    def pass_on(message: Any, category: type[Warning], filename: str, *_: Any, **__: Any) -> None:
        ours = Path(__file__).parents[1] in Path(filename).parents
        if ours or category.__name__ == "ConvergenceWarning":
            note(f"Note: {in_options(message.args[0], command)}")

    def say(record: logging.LogRecord) -> bool:
        said: Any = record.msg if isinstance(record.msg, Sentence) else record.getMessage()
        note(in_options(said, command))
        return False  # it is said, and not written to the log besides

    logger = logging.getLogger(None if debug else "endmember")
    levels = {logger: logging.INFO}
    if not debug:
        levels |= {logging.getLogger(name): logging.CRITICAL for name in _SILENT}
    with warnings.catch_warnings(), ExitStack() as stack:
        for one, level in levels.items():
            stack.callback(one.setLevel, one.level)
            one.setLevel(level)
        stack.callback(setattr, logger, "propagate", logger.propagate)
        logger.propagate = False
        handler = logging.StreamHandler()
        stack.callback(logger.removeHandler, handler)
        logger.addHandler(handler)
        warnings.simplefilter("default")
        if not debug:
            handler.addFilter(say)
            warnings.showwarning = pass_on
        yield


@contextmanager
def at_home() -> Iterator[None]:
    """Lend a home folder where there is none: HyperSpy and Matplotlib write settings there."""
    home = Path.home()
    if os.name == "nt" or os.access(home, os.W_OK):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="endmember-home-") as lent:
        os.environ["HOME"] = lent
        try:
            yield
        finally:
            os.environ["HOME"] = str(home)


class Watch(ExitStack):
    """Shows how a fit goes on, and lets Ctrl-C end it with the best result so far.

    Used as a context around the fit and as its ``callback``. The first Ctrl-C asks the fit to stop
    after the sweep; the second one interrupts for good.

    Attributes
    ----------
    sweeps : int
        Sweeps seen so far, all starts together.
    stopped : bool
        Whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sweeps = 0
        self.stopped = False
        self._began = self._shown = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, self._stop))
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            bar = Progress(
                TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[words]}"),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._bar = self.enter_context(bar)
            bar.add_task("fitting", total=None, words="")
        return self

    def conclude(self, model: Any, of: str = "") -> None:
        """Take the progress bar away and say what the fit came to; Ctrl-C still waits for what is being saved."""
        if self._bar is not None:
            self._bar.stop()
        found = f"{counted(model.n_components_, 'component')}{of}"
        if self.stopped:
            end = f", stopped by you after {self.sweeps} sweeps: the best result so far is kept"
        elif "n_iter_" not in model.learned():
            end = f" by {type(model).__name__}" + (
                "; they have signs and are no pure spectra" if model.signed else ""
            )
        else:
            end = (
                f" after {model.n_iter_} sweeps, {'converged' if model.converged_ else 'not converged'}, "
                f"optimality {model.optimality_:.1e}"
            )
        typer.echo(f"{found}{end}")

    def __call__(self, progress: Any) -> bool:
        """Take note of a sweep; return True where the fit is to stop."""
        if self.sweeps == 0:
            note("Fitting; Ctrl-C ends it and keeps the best result so far.")
        self.sweeps += 1
        now = time.monotonic()
        if now - self._shown >= (_LINE_EVERY if self._bar is None else _BAR_EVERY):
            self._shown = now
            self._show(progress, now - self._began)
        return self.stopped

    def _show(self, progress: Any, elapsed: float) -> None:
        words = (
            f"draw {progress.sweep}"
            if progress.objective != progress.objective  # nothing has been reached yet
            else f"sweep {progress.sweep}, objective {progress.objective:.4g}"
        )
        left = progress.seconds_left
        if left is not None:
            words += f", about {_duration(left)} left"
        if self._bar is None:
            note(f"{progress.stage}: {words}")
            return
        total = None if left is None else elapsed + left
        self._bar.update(
            *self._bar.task_ids,
            description=progress.stage,
            completed=elapsed if total else 0,
            total=total,
            words=words,
        )

    def _stop(self, *_: int | FrameType | None) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        note("Stopping after this sweep and keeping the best result; Ctrl-C again drops it.")


def _duration(seconds: float) -> str:
    """Return a duration as a person would say it.

    Examples
    --------
    >>> _duration(7.2), _duration(80), _duration(7300)
    ('7 s', '1 min 20 s', '2 h 1 min')
    """
    whole = round(seconds)
    return (
        f"{whole} s"
        if whole < 60
        else f"{whole // 60} min {whole % 60} s"
        if whole < 3600
        else f"{whole // 3600} h {whole % 3600 // 60} min"
    )
