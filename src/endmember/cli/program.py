"""The program ``endmember``: how its commands are made, and what stands before all of them."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption

import endmember as em
from endmember.errors import refuse_if


class Command(TyperCommand):
    """A command that lists its options by group, and refuses one given twice where it takes one value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for one in order:
            once = isinstance(one, TyperOption) and not (one.multiple or one.is_flag)
            refuse_if(
                once and order.count(one) > 1,
                f"{'/'.join(one.opts)} is given {order.count(one)} times; give it once",
            )
        return super().parse_args(ctx, args)

    def get_short_help_str(self, limit: int = 0) -> str:
        return " ".join((self.help or "").split("\n\n")[0].split())

    def format_options(self, ctx: Any, formatter: Any) -> None:
        headings: dict[str, str] = getattr(self.callback, "headings", {})
        groups: dict[str, list[Any]] = {}
        for one in self.get_params(ctx):
            own = "Arguments" if one.param_type_name == "argument" else "Options"
            if record := one.get_help_record(ctx):
                groups.setdefault(headings.get(str(one.name), own), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class Commands(typer.Typer):
    """Commands of that kind."""

    def command(self, *words: Any, **named: Any) -> Any:
        register = super().command(*words, cls=Command, **named)
        return lambda command: register(spelled_out(command))


app = Commands(
    help="Unmix spectrum images: pure spectra and their maps.",
    epilog="Exit code: 0 success, 2 wrong call or wrong input, 1 fault of the program, "
    "130 interrupted with nothing kept. --debug, anywhere in the line, shows the traceback.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"endmember {em.__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say which version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error and all logging.")
    ] = False,
) -> None:
    """Take the options that stand before a command; ``--debug`` is read before all others."""


def spelled_out(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that takes the fields of its groups one by one, as Typer wants them.

    A group is a parameter whose type is a dataclass; what that says of itself is the heading of its options.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Size:
    ...     width: int = 2
    ...     height: int = 3
    >>> def area(unit: str, size: Size) -> str:
    ...     return f"{size.width * size.height} {unit}"
    >>> spelled_out(area)(unit="mm²", width=4)
    '12 mm²'
    """
    listed: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    headings: dict[str, str] = {}
    for name, one in inspect.signature(command, eval_str=True).parameters.items():
        if not is_dataclass(one.annotation):
            listed.append(one.replace(kind=one.KEYWORD_ONLY))
            continue
        groups[name] = one.annotation
        types = get_type_hints(one.annotation, include_extras=True)
        for f in fields(one.annotation):
            headings[f.name] = str(one.annotation.__doc__).rstrip(".")
            listed.append(
                inspect.Parameter(
                    f.name, one.KEYWORD_ONLY, default=f.default, annotation=types[f.name]
                )
            )

    @wraps(command)
    def run(**given: Any) -> Any:
        for name, kind in groups.items():
            given[name] = kind(
                **{f.name: given.pop(f.name) for f in fields(kind) if f.name in given}
            )
        return command(**given)

    run.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in listed}
    run.headings = headings  # type: ignore[attr-defined]
    return run
