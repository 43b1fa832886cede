"""Groups of options: a parameter of a command whose type is a dataclass stands for the fields of that class."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints


def spelled_out(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that takes the fields of its groups one by one, as Typer wants them.

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
    for name, one in inspect.signature(command, eval_str=True).parameters.items():
        if not is_dataclass(one.annotation):
            listed.append(one.replace(kind=one.KEYWORD_ONLY))
            continue
        groups[name] = one.annotation
        types = get_type_hints(one.annotation, include_extras=True)
        listed += [
            inspect.Parameter(f.name, one.KEYWORD_ONLY, default=f.default, annotation=types[f.name])
            for f in fields(one.annotation)
        ]

    @wraps(command)
    def run(**given: Any) -> Any:
        for name, kind in groups.items():
            own = {f.name: given.pop(f.name) for f in fields(kind) if f.name in given}
            given[name] = kind(**own)
        return command(**given)

    run.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in listed}
    return run
