"""The options of `hil measure`, and what it leaves behind."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from hil.cli.measure import Options, _lease, _remove_left, _understood, _way, measure
from hil.drivers.registry import Registry
from hil.errors import LeaseLost, RigError, UsageError
from hil.lab.lease import Lease
from hil.testbed import load


def understood(**changes: Any) -> Any:
    return _understood(Options(tx="a", rx="b", **changes))


def test_the_defaults_are_the_documented_ones() -> None:
    found = understood()
    assert (found.size, found.interval_ns, found.count) == (128, 1_000_000, 10_000)
    assert found.asked.bound_ns is None


def test_a_duration_becomes_a_count() -> None:
    assert understood(duration="10 s", interval="2 ms").count == 5_000
    assert understood(duration="9 ms", interval="2 ms").count == 4


def test_a_flow_of_a_mix_goes_the_way_that_its_ports_say() -> None:
    world = load("virtual", Registry())
    for tx, uplink, downlink in (("lan_a", "uplink", "downlink"), ("mec", "downlink", "uplink")):
        assert _way("uplink", tx, world) == uplink
        assert _way("downlink", tx, world) == downlink
    assert _way("downlink", "veth0", None) == "downlink"


def test_a_flow_of_a_mix_has_no_more_packets_than_one_alone(tmp_path: Path) -> None:
    (tmp_path / "mix.yaml").write_text(
        "flows: {a: {pattern: periodic, size: 128 B, interval: 1 us}}"
    )
    with pytest.raises(UsageError, match="flow a has 3,600,000,000 packets"):
        understood(traffic=tmp_path / "mix.yaml", duration="1 h")


def test_a_mix_that_the_rig_did_not_let_begin_has_an_entry_for_each_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mix.yaml").write_text(
        "flows:\n  a: {pattern: periodic, size: 128 B, interval: 1 ms, "
        "directions: [uplink, downlink]}\n"
    )

    def fails(*_: object) -> None:
        raise RigError("no next hop")

    monkeypatch.setattr("hil.cli.measure._run", fails)
    asked = Options(
        tx="lo", rx="lo", traffic=tmp_path / "mix.yaml", json=True, out=tmp_path / "kept"
    )
    assert measure(asked) == 10
    flows = json.loads(capsys.readouterr().out)["flows"]
    assert [each["flow"] for each in flows] == ["a uplink", "a downlink"]
    assert all(each["invalid_reasons"] == ["no next hop"] for each in flows)


def test_a_bound_has_a_share() -> None:
    assert understood(bound="10 ms").asked.share == 0.999
    assert understood(bound="10 ms", share=0.9).asked.bound_ns == 10_000_000


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"size": "many"}, "--size"),
        ({"size": "-1 B"}, "--size"),
        ({"interval": "1"}, "--interval"),
        ({"interval": "-1 ms"}, "--interval"),
        ({"duration": "soon"}, "--duration"),
        ({"duration": "1 us"}, "--duration"),
        ({"count": -1}, "--count"),
        ({"count": 10**9}, "--count"),
        ({"bound": "0 ms"}, "--bound"),
        ({"bound": "10"}, "--bound"),
        ({"bound": "1 ms", "share": 0.0}, "--share"),
        ({"bound": "1 ms", "share": float("nan")}, "--share"),
        ({"layer": "IP"}, "--layer"),
        ({"period": "1 ns"}, "--period"),
    ],
)
def test_a_wrong_option_is_named(changes: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError) as caught:
        understood(**changes)
    assert option in str(caught.value)


def test_what_a_killed_command_left_is_removed_and_what_is_in_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    nobody = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    dead, mine = tmp_path / f"hil-measure-{nobody}-abc", tmp_path / f"hil-measure-{os.getpid()}-abc"
    other = tmp_path / "hil-measure-notes"
    for each in (dead, mine, other):
        each.mkdir()
        (each / "file").touch()
    _remove_left()
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted((mine.name, other.name))


def test_a_real_bench_is_measured_by_one_at_a_time_and_a_world_by_anybody(tmp_path: Path) -> None:
    file = tmp_path / "bench.yaml"
    file.write_text(f"schema: 1\nname: {tmp_path.name}\n")
    bench = load(str(file), Registry())
    held = Lease(bench.name)
    with held:
        with pytest.raises(LeaseLost, match="is held by"), _lease(bench):
            pass
        with _lease(load("virtual", Registry())), _lease(None):
            pass
    held.path.unlink()
