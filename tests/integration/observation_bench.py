"""Run on a private stage by test_observation: frames of every kind past one observing port."""

from __future__ import annotations

import json
import select
from typing import Any

import numpy as np
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from hil.samples.table import NOT_TAKEN, OBSERVED, SEEN_WARM_UP, TRAILER_BAD
from hil.traffic.linux import packet_socket
from hil.traffic.observer import Observer
from hil.virtual import stage
from hil.wire import probe, trailer

RUN = 77
CANARY = bytes(range(200, 216))


def probed(seq: int, *, run: int = RUN, flow: int = 0, warm: bool = False) -> bytes:
    flags = probe.WARM_UP if warm else 0
    return bytes(probe.encode(run, flow, np.array([seq], np.uint64), 5, flags)[0])


def inner(payload: bytes) -> Any:
    return IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / Raw(payload)


def in_tunnel(user: Any, outer: Any, qfi: int, teid: int = 9) -> Any:
    container = GTPPDUSessionContainer(type=1, QFI=qfi)
    header = GTP_U_Header(gtp_type=255, teid=teid, E=1, next_ex=0x85)
    return outer / UDP(sport=2152, dport=2152) / header / container / user


def marked(packet: Any, release_ns: int) -> bytes:
    """A frame as a tap hands it on, its trailer behind it."""
    return bytes(packet) + trailer.encode(release_ns, 0, 0, [1]).tobytes()


def frames() -> dict[str, list[bytes]]:
    """What passes, by the name of the port that looks at it."""
    ether, four, six = Ether(dst="02:00:00:00:00:99"), IP(dst="10.9.0.2"), IPv6(dst="fd00::2")
    bare = [
        ether / inner(probed(0) + CANARY),
        ether / Dot1Q(vlan=7) / inner(probed(1)),
        ether / inner(probed(2, warm=True)),
        ether / inner(probed(3, run=RUN + 1)),
        ether / inner(probed(4, flow=5)),
        ether / inner(b"\xff" + probed(5)[1:]),
        ether / IP(dst="10.0.0.9") / TCP() / Raw(probed(6)),
        ether / ARP(),
        ether / inner(b"no probe"),
    ]
    damaged = bytearray(bytes(ether / inner(probed(7) + b"behind")))
    damaged[-1] ^= 0xFF
    session = Ether(dst="02:00:00:00:00:02")
    tunnels = [
        marked(ether / in_tunnel(inner(probed(0)), four, 3), 1_000),
        marked(ether / in_tunnel(inner(probed(1) + CANARY), six, 4), 2_000),
        marked(ether / in_tunnel(session / inner(probed(2)), four, 5), 3_000),
        marked(ether / in_tunnel(session / Dot1Q(vlan=3) / inner(probed(3)), four, 6), 4_000),
        bytes(ether / in_tunnel(inner(probed(4)), four, 7)),
        marked(ether / four / UDP(sport=9, dport=2152) / Raw(b"no tunnel at all"), 5_000),
        marked(ether / inner(probed(5)), 6_000),
        marked(ether / ARP(), 7_000),
    ]
    return {"bare": [*map(bytes, bare), bytes(damaged)], "tunnels": tunnels}


def order(**changes: Any) -> dict[str, Any]:
    return {
        "name": "mirror",
        "point": 3,
        "interface": "v1",
        "namespace": "far",
        "kind": "ethernet",
        "tap": None,
        "carries": "frames",
        "slots": 64,
        "widest": 1600,
        "canary": None,
    } | changes


def watched(passing: list[bytes], **changes: Any) -> Any:
    """The rows and the report of an observer that these frames pass."""
    observer = Observer(order(**changes), RUN, {0: 28})
    with stage.inside("near"):
        out = packet_socket("v0")
    # A last frame that any filter lets through says that all the others have passed.
    last = bytes(Ether() / in_tunnel(inner(probed(99)), IP(dst="10.9.0.2"), 1))
    if changes.get("carries") != "gtpu":
        last = bytes(Ether() / inner(probed(99)))
    with out, observer.ring.sock:
        for each in [*passing, last]:
            out.send(each)
        rows = np.zeros(0, OBSERVED)
        while not (rows["seq"] == 99).any():
            assert select.select([observer.ring.sock], [], [], 5)[0], "the frames do not come"
            batch = observer.ring.take()
            if batch is not None:
                rows = np.concatenate([rows, observer.look(batch)])
        report = observer.report()
    rows = rows[rows["seq"] != 99]
    return {
        "seq": rows["seq"].tolist(),
        "point": sorted(set(rows["point"].tolist())),
        "warm_up": ((rows["flags"] & SEEN_WARM_UP) != 0).tolist(),
        "unmarked": ((rows["flags"] & TRAILER_BAD) != 0).tolist(),
        "release_ns": [None if t == NOT_TAKEN else t for t in rows["trailer_release_ns"].tolist()],
        "qfi": rows["qfi"].tolist(),
        "teid": rows["teid"].tolist(),
        "pdu_type": rows["pdu_type"].tolist(),
        "report": report,
    }


def main() -> None:
    stage.veth(("near", "v0"), ("far", "v1"))
    passing = frames()
    gtpu = {"carries": "gtpu", "tap": "hil"}
    found = {
        "bare": watched(passing["bare"]),
        "tunnels": watched(passing["tunnels"], **gtpu),
        "searched": watched(passing["bare"], canary=CANARY.hex()),
        "searched_tunnels": watched(passing["tunnels"], **gtpu, canary=CANARY.hex()),
        "searched_in_vain": watched(passing["bare"], canary=bytes(16).hex()[:-2] + "01"),
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
