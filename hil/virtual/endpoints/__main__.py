"""The endpoints process: ``python -m hil.virtual.endpoints``, started by the holder of a world.

It loads what it needs, waits for one line on standard input, serves every endpoint of the world,
says ``{"ready": true}`` and ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from hil.errors import HilError
from hil.testbed import (
    AttenuatorEndpoint,
    ModemEndpoint,
    PlcEndpoint,
    SupplyEndpoint,
    SwitchEndpoint,
    Testbed,
)
from hil.virtual.coupling import Coupling
from hil.virtual.endpoints.attenuator import AntennaCables, Attenuator
from hil.virtual.endpoints.mains import Mains
from hil.virtual.endpoints.modem import Modem
from hil.virtual.endpoints.outlets import serve_switch
from hil.virtual.endpoints.plc import ServedPlc, serve_plc
from hil.virtual.endpoints.supply import Supply
from hil.virtual.faults.devices import DeviceFaults
from hil.virtual.faults.ledger import ENDPOINTS, Ledger
from hil.virtual.faults.makers import makers
from hil.virtual.faults.proxy import TcpProxy
from hil.virtual.topology import load


def main() -> int:
    """Serve until SIGTERM; 1 with one sentence on standard output when that cannot be."""
    arguments = _arguments()
    with ExitStack() as stack:
        try:
            testbed = load(arguments.testbed)
            if not sys.stdin.readline():
                return 1
            # Before there are threads, so that none of them is woken by it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
            coupling = Coupling.open(arguments.coupling)
            serve(testbed, coupling, arguments.run, dict(arguments.netns), stack)
        except (HilError, OSError, ValueError) as error:
            print(json.dumps({"error": str(error)}), flush=True)
            return 1
        print(json.dumps({"ready": True}), flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


def serve(
    testbed: Testbed, coupling: Coupling, run: Path, namespaces: dict[str, int], stack: ExitStack
) -> None:
    """Start every endpoint of the testbed's world; each is closed with the stack.

    Raises:
        OSError: an address cannot be had.
        ValueError: an endpoint names a modem that the coupling does not have.
    """
    world = testbed.world
    if world is None:
        raise ValueError(f"{testbed.name} has no world")
    cables = AntennaCables(coupling)
    rows = {
        name: coupling.row(endpoint.link)
        for name, endpoint in world.endpoints.items()
        if isinstance(endpoint, ModemEndpoint)
    }
    modems: dict[str, Modem] = {}
    plcs: dict[str, ServedPlc] = {}
    proxies: dict[str, TcpProxy] = {}
    for name, endpoint in world.endpoints.items():
        if isinstance(endpoint, ModemEndpoint):
            modems[name] = Modem(endpoint, world, coupling, run)
            stack.callback(modems[name].close)
        elif isinstance(endpoint, PlcEndpoint):
            inside, namespace = endpoint.model_copy(update={"port": 0}), namespaces.get(name)
            plcs[name] = serve_plc(name, inside, "127.0.0.1", namespace)
            stack.callback(plcs[name].close)
            known = ("0.0.0.0", endpoint.tcp_port)
            proxies[name] = TcpProxy(known, plcs[name].address, namespace)
            stack.callback(proxies[name].close)
        elif isinstance(endpoint, AttenuatorEndpoint):
            acts_on = [rows[modem] for modem in endpoint.acts_on]
            behind = endpoint.model_copy(update={"listen": "127.0.0.1:0"})
            attenuator = Attenuator(name, behind, acts_on, cables)
            stack.callback(attenuator.close)
            proxies[name] = TcpProxy(endpoint.address, attenuator.address)
            stack.callback(proxies[name].close)
    mains = Mains({name: modem.power for name, modem in modems.items()})
    for name, endpoint in world.endpoints.items():
        if isinstance(endpoint, SwitchEndpoint):
            stack.callback(serve_switch(name, endpoint, mains).close)
        elif isinstance(endpoint, SupplyEndpoint):
            stack.callback(Supply(name, endpoint, mains).close)
    ledger = Ledger.of(world, ENDPOINTS, coupling.epoch_ns)
    stack.callback(DeviceFaults(run, ledger, makers(cables, rows, modems, plcs, proxies)).close)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m hil.virtual.endpoints")
    parser.add_argument("--testbed", type=Path, required=True, metavar="FILE")
    parser.add_argument("--run", type=Path, required=True, metavar="DIR")
    parser.add_argument("--coupling", type=Path, required=True, metavar="FILE")
    parser.add_argument("--netns", type=_netns, action="append", default=[], metavar="NAME=FD")
    return parser.parse_args()


def _netns(text: str) -> tuple[str, int]:
    name, _, descriptor = text.partition("=")
    return name, int(descriptor)


if __name__ == "__main__":
    sys.exit(main())
