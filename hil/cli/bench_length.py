"""How long runs fare: judging ten million samples, and the memory of a run as it goes on.

Each is done by a process of its own, ``python -m hil.cli.bench_length judge FILE`` or
``... run DIRECTORY``, because what counts is the largest resident set of a process.
"""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from hil.lab.row import Row

_SAMPLES: Final = 10_000_000
_INTERVAL_NS: Final = 10_000_000
_LIMIT_S: Final = 5.0
_MIB: Final = 1 << 20
_MOST_JUDGING: Final = 1 << 30
_MOST_RUNNING: Final = 300 << 20
_PACKETS: Final = 1_200_000
_RUN_INTERVAL_NS: Final = 100_000
_FAR: Final = 100_000_000
_START_NS: Final = 1_700_000_000_000_000_000


def rows() -> Iterator[Row]:
    """Every row, measured when it is asked for."""
    from hil.virtual import stage

    with tempfile.TemporaryDirectory(prefix="hil-bench-") as directory:
        path = Path(directory) / "samples.parquet"
        _write_samples(path)
        yield from _judging(_of_a_process("judge", str(path)))
        stage.veth(("near", "v0"), ("far", "v1"), 1)
        yield _running(_of_a_process("run", directory))


def _of_a_process(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "hil.cli.bench_length", *words],
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _judging(found: dict[str, Any]) -> list[Row]:
    what = f"judging {_SAMPLES:,} samples with metrics and plots"
    notes = (
        f"one target (a share within a delay), its summary and its two drawings, from Parquet; "
        f"summary {found['summary_s']:.2f} s, verdict {found['verdict_s']:.2f} s, drawings "
        f"{found['drawings_s']:.2f} s; imports are not in it",
    )
    seconds = found["summary_s"] + found["verdict_s"] + found["drawings_s"]
    most = found["most"]
    return [
        Row(f"{what}: time", "s", f"{_LIMIT_S:g} s", seconds, seconds <= _LIMIT_S, notes=notes),
        Row(f"{what}: memory", "MiB", "1 GiB", most / _MIB, most <= _MOST_JUDGING),
    ]


def _running(found: dict[str, Any]) -> Row:
    """The three processes of a run, and what a run of 100 million packets would hold.

    The sum of the resident sets in the second half of the run gives the slope; what the join at the
    end needs is in the largest resident set of the parent.
    """
    curve = found["memory"]
    names = ("parent", "sender", "receiver")
    sums = np.array(
        [sum(p or 0 for p in point) for point in zip(*(curve[n] for n in names), strict=True)]
    )
    half = len(sums) // 2
    seconds = np.array(curve["at_ms"]) / 1000
    per_second = float(np.polyfit(seconds[half:], sums[half:], 1)[0])
    per_packet = per_second * _RUN_INTERVAL_NS / 1e9
    others = max(
        (s or 0) + (r or 0) for s, r in zip(curve["sender"], curve["receiver"], strict=True)
    )
    most = found["most"] + others
    inferred = most + max(0.0, per_packet) * (_FAR - _PACKETS)
    return Row(
        f"memory of a run of {_PACKETS:,} packets at 10 kHz, its three processes together",
        "MiB",
        "300 MiB for 100 million packets",
        most / _MIB,
        inferred <= _MOST_RUNNING,
        notes=(
            f"{per_packet:+.2f} B a packet over the second half; so a run of {_FAR:,} would hold "
            f"{inferred / _MIB:,.0f} MiB (inferred). Pages that two processes share count twice; "
            "judging comes after and is not in it",
        ),
    )


def _write_samples(path: Path) -> None:
    """A run of 28 h with gamma-distributed delays and a few losses."""
    from hil.samples import store
    from hil.samples.table import NOT_TAKEN, SAMPLE, blank

    rng = np.random.default_rng(1)
    rank = 0
    with store.SamplesWriter(path) as file:
        for first in range(0, _SAMPLES, 1 << 17):
            number = np.arange(first, min(_SAMPLES, first + (1 << 17)))
            count = len(number)
            rows = blank(SAMPLE, count)
            rows["seq"] = rows["frame"] = number
            rows["stratum"], rows["size"] = number * 10 // _SAMPLES, 255
            rows["intended_ns"] = _START_NS + number * _INTERVAL_NS
            rows["tx_user_ns"] = rows["intended_ns"] + rng.integers(200, 3000, count)
            rows["tx_kernel_ns"] = rows["tx_user_ns"] + rng.integers(500, 900, count)
            delay = rng.gamma(4, 700_000, count).astype(np.int64) + 200_000
            rows["rx_kernel_ns"] = rows["tx_kernel_ns"] + delay
            lost = rng.random(count) < 2e-5
            rows["rx_kernel_ns"][lost] = NOT_TAKEN
            rows["copies"] = ~lost
            came = count - int(lost.sum())
            rows["arrival"][~lost] = rank + np.arange(came)
            rank += came
            file.append(rows)


def _judge(path: Path) -> dict[str, Any]:
    from hil.judge import judge
    from hil.report.drawing import drawings
    from hil.samples import store
    from hil.samples.measurement import Budget, Counts, Measurement, Timing
    from hil.samples.summarise import summarise
    from hil.targets import Plan, load_profile

    samples = store.load(path)
    received = int(np.count_nonzero(samples["copies"]))
    measurement = Measurement(
        id="bench",
        flow="bench",
        path="device-edge",
        direction="uplink",
        tx_port="near",
        rx_port="far",
        traffic={},
        interval_ns=_INTERVAL_NS,
        samples=samples,
        counts=Counts(
            sent=len(samples),
            warmup_sent=0,
            received=received,
            lost=len(samples) - received,
            duplicated=0,
            reordered=0,
            corrupted=0,
            foreign=0,
            send_failed=0,
        ),
        timing=Timing("kernel", "kernel"),
        budget=Budget(common_mode_ns=100, floor_ns=np.array([5000]), sources=("bench",)),
    )
    importlib.import_module("matplotlib.figure")  # which is not what is timed
    requirement = load_profile()["SD-1"]
    begun = time.monotonic()
    summarise(measurement, bound_ns=_INTERVAL_NS)
    summed = time.monotonic()
    judgements = judge(measurement, requirement, Plan.FULL)
    judged = time.monotonic()
    for judgement in judgements:
        drawings(judgement, measurement, None)
    return {
        "summary_s": summed - begun,
        "verdict_s": judged - summed,
        "drawings_s": time.monotonic() - judged,
    }


def _run(directory: Path) -> dict[str, Any]:
    from hil.samples.planned import Regular
    from hil.traffic import Flow, resolve_port, run

    (measured,) = run(
        [
            Flow(
                name="bench",
                tx=resolve_port("v0", "near"),
                rx=resolve_port("v1", "far"),
                planned=Regular(_PACKETS, _RUN_INTERVAL_NS, 128),
                interval_ns=_RUN_INTERVAL_NS,
            )
        ],
        directory=directory,
    )
    return {"memory": measured.conditions["memory"]}


def _main() -> None:
    doing, where = sys.argv[1:]
    found = {"judge": _judge, "run": _run}[doing](Path(where))
    found["most"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(json.dumps(found))


if __name__ == "__main__":
    _main()
