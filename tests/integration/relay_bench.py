"""Runs on a stage with the relay's links; each scenario prints one JSON object."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hil.errors import HilError
from hil.lab import contest, contestants
from hil.lab.relayed import FAR_ADDRESS, NEAR_ADDRESS, build, relaying
from hil.samples.table import NOT_TAKEN, SAMPLE
from hil.traffic import Port
from hil.traffic.linux import inside
from hil.virtual.faults import fault_list
from hil.virtual.relay_truth import Truth

COUNTS = ("lost", "duplicated", "reordered", "corrupted")


def known(truth: Truth) -> dict[str, int]:
    return {"packets": truth.packets, **{name: getattr(truth, name) for name in COUNTS}}


DRAIN_NS = 400_000_000


def ours(order: dict[str, Any]) -> Any:
    """Measurements of ours through a relay each, one after the other."""
    ports = build()
    return [_ours(ports, each) for each in order["runs"]]


def _ours(ports: tuple[Port, Port], order: dict[str, Any]) -> Any:
    """Counts and truth packet by packet."""
    offer = contestants.Offer(*ports, order["count"], order["interval_ns"])
    if "secret" in order:
        faults = fault_list.read(Path(order["secret"]))
    else:
        faults = fault_list.FaultList.model_validate(
            {"schema": 1, "faults": tuple(order["faults"])}
        )
    with relaying("probe", faults, contestants.our_sender) as relayed:
        measured = contestants.ours(
            offer, layer=order["layer"], size=order["size"], drain_ns=DRAIN_NS
        )
    truth, samples, counts = relayed.forth, measured.samples, measured.counts
    assert samples.dtype == SAMPLE
    came = samples["copies"] > 0
    off = (measured.delay_ns - truth.delay_ns)[came]
    late = samples["tx_kernel_ns"] - samples["intended_ns"]
    return {
        "counts": {"packets": counts.sent, **{name: getattr(counts, name) for name in COUNTS}},
        "truth": known(truth),
        "gone": np.flatnonzero(~came & (samples["damaged"] == 0)).tolist(),
        "damaged": np.flatnonzero(samples["damaged"] > 0).tolist(),
        "double": np.flatnonzero(samples["copies"] > 1).tolist(),
        "met": {word: truth.met(word).tolist() for word in fault_list.KINDS},
        "off_ns": np.percentile(off, [0, 50]).tolist(),
        "delay_ns": measured.delay_ns.tolist(),
        "send_failed": counts.send_failed,
        "skipped": int((samples["tx_kernel_ns"] == NOT_TAKEN).sum()),
        "longest_late_ns": int(late.max()),
        "stood_still_ns": [end - start for start, end in relayed.stood_still],
        "report": relayed.report,
    }


def both_ways(order: dict[str, Any]) -> Any:
    """Datagrams of a plain socket through the relay, one at a time, each answered.

    Then a relay that fails.
    """
    ports = build()
    faults = fault_list.FaultList.model_validate({"schema": 1, "faults": tuple(order["faults"])})
    with inside("far"):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((FAR_ADDRESS, 4000))
    with inside("near"):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind((NEAR_ADDRESS, 4001))
    for sock in (client, server):
        sock.settimeout(order["patience_s"])
    seen: list[list[int]] = [[], []]
    with client, server, relaying("udp:4000:8", faults) as relayed:
        for number in range(order["count"]):
            client.sendto(b"of another length", (FAR_ADDRESS, 4000))
            assert len(server.recv(64)) == 17, "what is not of the flow passes untouched"
            client.sendto(number.to_bytes(8, "big"), (FAR_ADDRESS, 4000))
            try:
                request = server.recv(64)
            except TimeoutError:
                continue
            seen[0].append(int.from_bytes(request, "big"))
            server.sendto(request, (NEAR_ADDRESS, 4001))
            seen[1].append(int.from_bytes(client.recv(64), "big"))
    return {
        "seen": seen,
        "forth": known(relayed.forth),
        "back": known(relayed.back),
        "round_trip": bool(relayed.back.tx_ns.min() > relayed.forth.rx_ns.min()),
        "refused": _refused(ports),
    }


def _refused(ports: tuple[Port, Port]) -> str:
    """What is said of a relay that cannot do what it is asked."""
    short = {"packet": 10, "do": "corrupt", "byte": 5000}
    listed = fault_list.FaultList.model_validate({"schema": 1, "faults": (short,)})
    try:
        with relaying("probe", listed):
            contestants.ours(contestants.Offer(*ports, 20), drain_ns=DRAIN_NS)
    except HilError as error:
        return str(error)
    return "nothing"


def peer(order: dict[str, Any]) -> Any:
    """A tool through the relay with the contest's own list."""
    tool = {
        "irtt": contestants.irtt("busy"),
        "sockperf": contestants.SOCKPERF,
        "iperf3": contestants.IPERF3,
    }[order["tool"]]
    offer = contestants.Offer(*build(), order["count"])
    entry = contest.entry(tool, offer, contest.LIST)
    if entry.relayed is None:
        return {"reason": entry.reason}
    delays = entry.said.delay_ns
    return {
        "said": {name: getattr(entry.said, name) for name in COUNTS},
        "truth": known(entry.truth),
        "delays": None if delays is None else int((delays != NOT_TAKEN).sum()),
        "recovered_ns": None if delays is None else contest.recovered_ns(entry),
        "sent_late_ns": entry.said.sent_late_ns,
    }


def main() -> None:
    """Run one scenario."""
    scenario = globals()[sys.argv[1]]
    print(json.dumps(scenario(json.loads(sys.argv[2])), default=np.ndarray.tolist))


if __name__ == "__main__":
    main()
