"""`actkit view`."""

import os
import socket
import sys
from contextlib import suppress
from typing import Annotated

from actkit.cli.options.groups import OUTPUT, OtherRun, QuietAddress, RunPath, option, with_option_groups
from actkit.cli.run_argument import check_run
from actkit.cli.screen.console import console
from actkit.cli.signals import Terminated
from actkit.errors import UsageError, pip_install


@with_option_groups
def view(
    run: RunPath,
    other: OtherRun = None,
    port: Annotated[int, option(OUTPUT, "On 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 0,
    quiet: QuietAddress = False,
) -> None:
    """The report of a run of any size in the browser: texts and features are read when they are looked at.

    Served on this machine alone, to whoever has the printed address. Ctrl-C ends it. From another machine:
    ssh -L PORT:127.0.0.1:PORT, with the same port on both sides.

    Example: [b]actkit view runs/x[/]
    """
    runs = [path for path in (run, other) if path is not None]
    for path in runs:
        check_run(path, "actkit view")
    try:
        import uvicorn

        from actkit.report.server import Viewer, application
    except ImportError as error:
        raise UsageError(
            f"the viewer needs {error.name}", pip_install("'actkit[view]'") + ", or actkit report, which needs nothing"
        ) from error
    from actkit.report.live import LiveRun
    from actkit.runs.run import open_run

    shown = [LiveRun(open_run(path)) for path in runs]
    if not quiet:
        console().print("reading the run", markup=False)
    for live in shown:
        live.prepare()
    viewer = Viewer(shown)
    served = application(viewer)
    with _bound(port) as listening:
        sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}/?token={viewer.token}\n")
        sys.stdout.flush()
        config = uvicorn.Config(served, log_level="warning", server_header=False, access_log=False)
        with suppress(KeyboardInterrupt, Terminated):  # the usual way to end a viewer
            uvicorn.Server(config).run(sockets=[listening])


def _bound(port: int) -> socket.socket:
    """Open a socket that listens on loopback, so that a browser can connect once the address is printed.

    Raises UsageError where the port is taken.
    """
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise UsageError(f"port {port} cannot be used: {why}", "another --port, or none") from error
