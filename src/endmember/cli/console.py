"""What the command line says besides its results: notes, errors and the progress of a fit.

All of it goes to stderr, in plain lines without control characters where that is no terminal.
"""

from __future__ import annotations

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
from typing import Any

from endmember.catalogue import LOSSES, METHODS, PARAMETERS, SOLVERS
from endmember.errors import Argument, EndmemberError

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
_WORDS = {part: word for table in (LOSSES, METHODS, SOLVERS) for word, part in table.items()}
#: What is wrong with the value of an option, by the name that the parser has for it.
_WRONG = {
    "int_parsing": "is no whole number",
    "float_parsing": "is no number",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}
#: Seconds between two updates of the progress bar.
_BAR_EVERY = 0.1


def note(sentence: str) -> None:
    """Say something that is no result."""
    sys.stderr.write(f"{_one_line(sentence)}\n")
    sys.stderr.flush()


def complain(sentence: str) -> None:
    """Say in one line why there is no result."""
    note(f"endmember: {sentence}")


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
        return 2, _stopped(_in_options(error, command))
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return 2, _stopped(f"{place}{error.strerror or error}")
    if isinstance(error, MemoryError):
        return 2, "there is too little memory for this; try --lazy, or --crop to a smaller window."
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return 1, (
        f"a fault of the program, not of your data ({_one_line(what)}); "
        "call it again with --debug and report what that prints."
    )


def _wrong_call(error: Any) -> str:
    """Say what is wrong with a call, and where its command says what is right."""
    details: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    said = _wrong_value(error.param, details[0]) if details else error.format_message()
    command = error.ctx.command_path if getattr(error, "ctx", None) else "endmember"
    return f"{_stopped(said)[:-1]}; see {command} --help."


def _wrong_value(option: Any, detail: dict[str, Any]) -> str:
    """Say in our own words what is wrong with the value of an option."""
    limits = detail.get("ctx", {})
    if detail["type"] in _WRONG:
        wrong = f"{detail['input']} {_WRONG[detail['type']].format(**limits)}"
    else:
        wrong = str(limits.get("error", f"{detail['input']} is not allowed"))
    return f"{option.opts[0]} {wrong}"


def _in_options(error: EndmemberError, command: Any) -> str:
    """Return the sentence of a refusal with the options of a command for the arguments of the library."""
    options = {
        one.name: one for one in getattr(command, "params", []) if one.opts[0].startswith("-")
    }

    def spell(argument: Argument) -> str | None:
        option = options.get(argument.name) or options.get(_OPTIONS.get(argument.name, ""))
        if option is None:
            return None
        return (
            option.opts[0]
            if option.is_flag
            else f"{option.opts[0]} {_typed(argument.value)}".rstrip()
        )

    sentence = error.spelled(spell)
    about = spell(Argument(error.parameter)) if error.parameter else None
    return f"{about}: {sentence}" if about and about not in sentence else sentence


def _typed(value: Any) -> str:
    """Return a value as it is typed behind an option.

    Examples
    --------
    >>> _typed((450.0, None)), _typed("PoissonScaled"), _typed(-1.0)
    ('450:', 'scaled', '-1')
    """
    if isinstance(value, tuple):
        return ":".join("" if end is None else _typed(end) for end in value)
    return f"{value:g}" if isinstance(value, float) else _WORDS.get(str(value), str(value))


def _one_line(text: str) -> str:
    return " ".join(str(text).split())


def _stopped(text: str) -> str:
    return f"{_one_line(text).rstrip('.')}."


@contextmanager
def listening(debug: bool) -> Iterator[None]:
    """Pass on our own warnings and log as notes; with ``debug``, all that anyone says."""
    logger = logging.getLogger(None if debug else "endmember")
    handler = logging.StreamHandler() if debug else _Notes()
    before = logger.level, logger.propagate
    silenced = {} if debug else _silence("hyperspy", "rsciio", "exspy", "matplotlib", "numba")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            if not debug:
                warnings.showwarning = _pass_on
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
        for name, level in silenced.items():
            logging.getLogger(name).setLevel(level)


class _Notes(logging.Handler):
    """Writes log records as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def _silence(*names: str) -> dict[str, int]:
    """Raise the level of other libraries' loggers and return what it was."""
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return before


def _pass_on(
    message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any
) -> None:
    ours = Path(__file__).parents[1] in Path(filename).parents
    if ours or category.__name__ == "ConvergenceWarning":
        note(f"Note: {message}")


@contextmanager
def at_home() -> Iterator[None]:
    """Lend a home folder where there is none: HyperSpy and Matplotlib write settings there."""
    home = Path.home()
    if os.name == "nt" or os.access(home, os.W_OK):
        yield
        return
    before = os.environ.get("HOME")
    with tempfile.TemporaryDirectory(prefix="endmember-home-") as lent:
        os.environ["HOME"] = lent
        try:
            yield
        finally:
            if before is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = before


class Watch:
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
        self.sweeps = 0
        self.stopped = False
        self._began = self._shown = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        self._cleanup = ExitStack()

    def __enter__(self) -> Watch:
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGINT, self._stop)
            self._cleanup.callback(signal.signal, signal.SIGINT, before)
        if sys.stderr.isatty():
            self._bar = self._cleanup.enter_context(_progress_bar())
            self._task = self._bar.add_task("fitting", total=None, words="")
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def finish(self) -> None:
        """Take the progress bar away; Ctrl-C still waits for what is being saved."""
        if self._bar is not None:
            self._bar.stop()

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
        words = f"sweep {progress.sweep}, objective {progress.objective:.4g}"
        left = progress.seconds_left
        if left is not None:
            words += f", about {_duration(left)} left"
        if self._bar is None:
            note(f"{progress.stage}: {words}")
            return
        total = None if left is None else elapsed + left
        self._bar.update(
            self._task,
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


def _progress_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[words]}"),
        console=Console(stderr=True),
        transient=True,
    )


def _duration(seconds: float) -> str:
    """Return a duration as a person would say it.

    Examples
    --------
    >>> _duration(7.2), _duration(80), _duration(7300)
    ('7 s', '1 min 20 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
