"""``endmember workbench``: look, try and compare in a web browser."""

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from endmember.errors import EndmemberError

from .console import note
from .options import CropOption, SignalOption, only_with
from .source import LOAD_SECONDS
from .targets import check_folder


def workbench(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="What to start with; others are chosen on the page."),
    ] = None,
    signal: SignalOption = None,
    crop: CropOption = None,
    address: Annotated[
        str,
        typer.Option(
            help="The address of this machine to listen on. Any but 127.0.0.1 lets other machines in: "
            "whoever has the whole address with its token reads and writes the files of this folder.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 0,
    upload_limit: Annotated[
        int,
        typer.Option(
            "--upload-limit", min=1, metavar="MB", help="Largest file that may be dropped."
        ),
    ] = 512,
    show: Annotated[bool, typer.Option("--show", help="Open the page in the web browser.")] = False,
) -> None:
    """Open the workbench in a web browser: look at the data, try models, compare, export.

    Prints the address to open. Files are read from and results written to the
    current folder alone. Ctrl-C ends it.
    """
    only_with("a FILE", file, signal=signal is not None, crop=crop)
    if crop and len(crop) > 1:
        raise EndmemberError(
            "the workbench starts with one window; give --crop once, or crop on the page"
        )
    if any(importlib.util.find_spec(name) is None for name in ("panel", "bokeh")):
        raise EndmemberError(
            "the workbench needs Panel and Bokeh; install them with: pip install panel bokeh"
        )
    check_folder(Path.cwd(), "go to a folder of your own")
    from endmember.app.server.server import make_server, make_store, share_memory

    share_memory()
    store = make_store()
    first = None if file is None else _first(file, signal, crop, store)
    limit = upload_limit * 2**20
    try:
        server = make_server(Path.cwd(), store, first, address=address, port=port, limit=limit)
    except OSError as problem:
        raise EndmemberError(
            f"--address {address} --port {port} cannot be listened on ({problem.strerror or problem}); give an "
            "address of this machine, such as 127.0.0.1, and a free port, such as 0"
        ) from problem
    if address != "127.0.0.1":
        note(
            f"Listening on {address}: other machines can reach this one, unencrypted; whoever has the "
            "address below reads and writes the files of this folder."
        )
    typer.echo(f"Workbench: {server.url}")
    if show:
        typer.launch(server.url)
    server.serve()


def _first(file: Path, number: int | None, windows: Any, store: Any) -> Any:
    """Read a file now, so that what is wrong with it is said here, and return what opens it in a session."""
    from endmember.app.core.steps import Step
    from endmember.app.work.scheduler import Ticket
    from endmember.signals.files.limits import guard

    with guard(seconds=LOAD_SECONDS):
        image = store.open(file, number)
    steps = [Step("crop_energy", {"start": start, "stop": stop}) for start, stop in windows or ()]
    prepared = [(step, store.prepare(Ticket(), image, (step,))) for step in steps]

    def first(session: Any) -> None:
        session.use(image)
        for step, cropped in prepared:
            session.accept(step, cropped)

    return first
