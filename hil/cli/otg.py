"""`hil otg`: serves this engine through the Open Traffic Generator API."""

from __future__ import annotations

import contextlib
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import UsageError
from hil.verdict import ExitCode

if TYPE_CHECKING:
    from hil.traffic import Flow, Port


def otg(listen: str, testbed: str | None, out: Path | None) -> int:
    """Serve until SIGINT or SIGTERM; what is being sent is then stopped and drained.

    Raises: UsageError where the address cannot be had; ConfigError for the testbed.
    """
    host, _, port_text = listen.rpartition(":")
    if not host or not port_text.isdigit() or int(port_text) > 65535:
        raise UsageError(f"--listen {listen!r}: write HOST:PORT, as in 127.0.0.1:8080")
    from hil.drivers.registry import Registry
    from hil.testbed import load

    bench = load(testbed, Registry()) if testbed is not None else None
    if bench is not None and bench.world is not None:
        from hil.cli.virtual import join_or_enter

        join_or_enter(bench.source)
    from hil import __version__
    from hil.lab.lease import Lease
    from hil.lab.otg import Engine, Server
    from hil.lab.path import live_port
    from hil.lab.safety import permit
    from hil.traffic import parse_port, resolve_port

    def found(location: str) -> Port:
        if bench is not None and location in bench.ports:
            return live_port(bench, location)
        namespace, interface = parse_port(location)
        return resolve_port(interface, namespace)

    def allowed(flows: Sequence[Flow]) -> None:
        if bench is not None:
            permit(bench, flows)

    with contextlib.ExitStack() as stack:
        if bench is not None and bench.world is None:
            stack.enter_context(Lease(bench.name))
        directory = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hil-otg-")))
        engine = Engine(found, allowed, directory, bench.launcher if bench is not None else ())
        asked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            server = Server((host, int(port_text)), engine, __version__)
            stack.callback(server.close)
            print(
                f"OTG on http://{server.address[0]}:{server.address[1]}; Ctrl-C ends it", flush=True
            )
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, asked)
    return ExitCode.OK
