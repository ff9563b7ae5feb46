"""The sender asks for real time where it mostly sleeps, and only there."""

import json
import subprocess
import sys
from pathlib import Path

CAP_SYS_NICE = 23


def granted(interval: str) -> dict[str, bool]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "hil", "measure", "--testbed", "virtual", "--json"),
            *("--tx", "lan_a", "--rx", "mec", "--count", "200", "--interval", interval),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, bool] = json.loads(done.stdout)["conditions"]["sender"]["granted"]
    return found


def test_a_cyclic_sender_says_whether_it_was_granted_real_time() -> None:
    capabilities = int(Path("/proc/self/status").read_text().split("CapEff:\t")[1].split()[0], 16)
    assert granted("10 ms")["sched_fifo"] is bool(capabilities >> CAP_SYS_NICE & 1)


def test_a_sender_that_spins_does_not_ask_for_it() -> None:
    assert "sched_fifo" not in granted("50 us")
