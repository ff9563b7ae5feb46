"""A swept flow between near and far, and who saw which headers go by; prints JSON."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from hil.virtual import stage

FLOW = "{pattern: periodic, size: 200 B, interval: 2 ms, count: 240, sweep: %s}"
UDP = '{source_address: "10.99.8.1-10.99.8.4", source_port: 40000-40002, dscp: [0, 46], payload: 5}'
NONE = "{vlan: [5, 6]}"


def measure(directory: Path, sweep: str) -> Any:
    mix = directory / "mix.yaml"
    mix.write_text(f"flows:\n  swept: {FLOW % sweep}\n")
    ports = ["--tx", "near/v0", "--rx", "far/v1"]
    words = [sys.executable, "-m", "hil", "measure", *ports, "--traffic", str(mix), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return json.loads(done.stdout)["flows"][0] if done.stdout else done.stderr


class Witness:
    """Counts the headers of what arrives at far, by a socket of its own."""

    def __init__(self) -> None:
        with stage.inside("far"):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
            self._socket.bind(("v1", 0x0800))
        self._socket.settimeout(0.2)
        self.seen: Counter[tuple[str, int, int, int]] = Counter()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.is_set():
            try:
                frame = self._socket.recv(2048)
            except TimeoutError:
                continue
            warm_up = frame[42 + 5] & 1
            if frame[23] == 17 and frame[42:46] == b"hilp" and not warm_up:
                source = socket.inet_ntoa(frame[26:30])
                port = int.from_bytes(frame[34:36], "big")
                self.seen[source, port, frame[15] >> 2, frame[42 + 40]] += 1

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self._socket.close()


def main() -> None:
    stage.veth(("near", "v0"), ("far", "v1"), 8)
    with tempfile.TemporaryDirectory() as name:
        witness = Witness()
        said = measure(Path(name), UDP)
        witness.close()
        refused = measure(Path(name), NONE)
    json.dump({"said": said, "seen": list(witness.seen.items()), "refused": refused}, sys.stdout)


if __name__ == "__main__":
    main()
