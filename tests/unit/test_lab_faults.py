"""`lab.fault` on a real bench: the hooks of its testbed, one call like in a world."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.errors import RigError, UsageError
from hil.lab.faults import fault, offered
from hil.testbed import FaultHook, Hooks, Testbed


def bench(**faults: FaultHook) -> Testbed:
    fields = {"schema": 1, "name": "lab-a", "hooks": Hooks(faults=faults)}
    return Testbed.model_validate(fields)


def hook(place: Path, start: str = "true") -> FaultHook:
    return FaultHook(
        start=f"echo start >> {place}/said; {start}", stop=f"echo stop >> {place}/said"
    )


def test_a_hook_is_started_and_stopped_and_told_to_the_record(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    testbed = bench(upf_stops=hook(tmp_path))
    with fault(testbed, lambda *words: said.append(words), "upf_stops", {}):
        assert (tmp_path / "said").read_text().split() == ["start"]
    assert (tmp_path / "said").read_text().split() == ["start", "stop"]
    assert [(name, text.split(":")[0]) for name, text in said] == [
        ("fault upf_stops", "begins"),
        ("fault upf_stops", "ended"),
    ]


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, AssertionError])
def test_whatever_happens_inside_the_fault_is_ended(
    tmp_path: Path, trouble: type[BaseException]
) -> None:
    with (
        pytest.raises(trouble),
        fault(bench(gap=hook(tmp_path)), lambda *_: None, "gap", {}),
    ):
        raise trouble
    assert (tmp_path / "said").read_text().split() == ["start", "stop"]


def test_half_a_start_is_undone_and_is_the_rigs_fault(tmp_path: Path) -> None:
    broken = hook(tmp_path, "echo no UPF >&2; exit 3")
    with (
        pytest.raises(RigError, match=r"fault gap: .* ended with 3: no UPF"),
        fault(bench(gap=broken), lambda *_: None, "gap", {}),
    ):
        pytest.fail("the block runs although the fault is not on")
    assert (tmp_path / "said").read_text().split() == ["start", "stop"]


def test_what_a_bench_does_not_offer_is_refused_with_what_it_does(tmp_path: Path) -> None:
    testbed = bench(gap=hook(tmp_path))
    assert offered(testbed) == ["gap"]
    with (
        pytest.raises(UsageError, match="lab-a offers no fault 'outage'; it offers: gap"),
        fault(testbed, lambda *_: None, "outage", {}),
    ):
        pass
    with (
        pytest.raises(UsageError, match="the hook of lab-a takes no parameters"),
        fault(testbed, lambda *_: None, "gap", {"by": "5 ms"}),
    ):
        pass
    with (
        pytest.raises(UsageError, match="it offers: none; write start and stop under `hooks:"),
        fault(bench(), lambda *_: None, "gap", {}),
    ):
        pass
    assert not (tmp_path / "said").exists()
