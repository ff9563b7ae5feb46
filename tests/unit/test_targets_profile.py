"""Profiles: the shipped one, faults with their place, plans and what they can show."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.errors import ConfigError, UsageError
from hil.stats import proportion, rate
from hil.targets import (
    EventTarget,
    Periodic,
    Plan,
    Profile,
    WithinTarget,
    forecast,
    load_profile,
    power_of_all,
    shipped,
)
from hil.targets.plan import for_zero_failures

SHIPPED = (Path(load_profile().origin or "")).read_text()


@pytest.fixture
def shipped_profile() -> Profile:
    return load_profile()


def faults(tmp_path: Path, text: str, *, strict: bool = True) -> list[str]:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_profile(str(path), strict=strict)
    return [fault.removeprefix(f"{path}:") for fault in refused.value.faults]


def test_the_shipped_profile_has_every_requirement(shipped_profile: Profile) -> None:
    assert shipped() == ("5gdn",)
    assert set(shipped_profile.names()) >= {
        *("SD-1", "SD-2", "SD-3", "SD-4", "SD-5", "MV-1", "MV-2", "MV-4"),
        *("AR-1", "AR-2", "AR-3", "SL-01", "SL-02", "PLC-1", "MO-1", "MO-2"),
    }


def test_every_figure_has_a_source_with_version_and_owner(shipped_profile: Profile) -> None:
    for requirement in shipped_profile.requirements:
        for target in requirement.targets:
            source = shipped_profile.sources[target.source]
            assert source.version
            assert source.status == "found" or source.owner


def test_every_traffic_says_who_chose_its_figures(shipped_profile: Profile) -> None:
    for requirement in shipped_profile.requirements:
        for traffic in (requirement.traffic, requirement.load):
            assert traffic is None or traffic.source in shipped_profile.sources, requirement.id


def test_every_event_target_declares_a_rate(shipped_profile: Profile) -> None:
    for requirement in shipped_profile.requirements:
        for target in requirement.targets:
            if target.statistic == "events_per_hour":
                assert target.rate, f"{target.id} could never be demonstrated"


def test_headline_figures_are_those_of_the_standard(shipped_profile: Profile) -> None:
    """5QI 82: 255 B within 10 ms for all but one in ten thousand; pose: 100 B each 4 ms, 99 %."""
    control, pose = shipped_profile["SD-1"], shipped_profile["AR-1"]
    assert isinstance(control.traffic, Periodic)
    assert (control.traffic.size, control.traffic.interval_ns) == (255, 10_000_000)
    assert control.traffic.directions == ("uplink", "downlink")
    target = control.targets[0]
    assert (target.limit, target.share) == (10_000_000, 0.9999)
    assert isinstance(pose.traffic, Periodic)
    assert (pose.traffic.size, pose.traffic.interval_ns) == (100, 4_000_000)
    assert (pose.targets[0].limit, pose.targets[0].share) == (10_000_000, 0.99)


def test_under_load_the_same_is_promised(shipped_profile: Profile) -> None:
    alone, loaded = shipped_profile["SD-1"].targets[0], shipped_profile["SL-01"].targets[0]
    assert (alone.limit, alone.share, alone.burst) == (loaded.limit, loaded.share, loaded.burst)
    assert shipped_profile["SL-01"].traffic == shipped_profile["SD-1"].traffic
    assert shipped_profile["SL-01"].load is not None


def test_the_smoke_plan_is_a_matter_of_seconds(shipped_profile: Profile) -> None:
    for requirement in shipped_profile.requirements:
        if requirement.items != "readings":
            seconds = Plan.SMOKE.packets(requirement) * requirement.interval_ns / 1e9
            assert seconds <= 10, requirement.id


def test_the_full_plan_can_show_every_target(shipped_profile: Profile) -> None:
    """With nothing failing, each target is shown by the count that the plan gives."""
    for requirement in shipped_profile.requirements:
        count = Plan.FULL.packets(requirement)
        for target in requirement.targets:
            assert count >= for_zero_failures(target, requirement.interval_ns)
            if isinstance(target, WithinTarget):
                effective = count / (2 * target.burst - 1)
                assert proportion.lower(effective, effective) >= target.share
            if isinstance(target, EventTarget) and target.rate is not None:
                hours = count * requirement.interval_ns / 3.6e12
                assert rate.upper(0, hours) <= target.rate


def test_one_run_serves_both_requirements_of_cyclic_control(shipped_profile: Profile) -> None:
    full = Plan.FULL
    assert full.packets(shipped_profile["SD-1"]) >= full.packets(shipped_profile["SD-2"])
    assert full.packets(shipped_profile["SL-01"]) == full.packets(shipped_profile["SL-02"])


def test_soak_lasts_a_shift(shipped_profile: Profile) -> None:
    assert Plan.SOAK.packets(shipped_profile["SD-1"]) == 8 * 3600 * 100


def test_forecasts_say_minutes_and_power(shipped_profile: Profile) -> None:
    full = {each.target: each for each in forecast(shipped_profile, Plan.FULL)}
    assert full["SD-1"].minutes == pytest.approx(72)
    assert full["SD-1"].required == 149_780
    for id in ("SD-1", "SD-2d", "MV-1", "AR-1"):
        assert (full[id].power or 0) >= 0.8
    smoke = forecast(shipped_profile, Plan.SMOKE)
    assert power_of_all(smoke) == 0
    assert smoke[0].supported == pytest.approx(0.985, abs=1e-3)
    assert 0 < power_of_all(full.values()) < min(each.power or 1 for each in full.values())


def test_a_planned_requirement_carries_its_count(shipped_profile: Profile) -> None:
    kept = shipped_profile["SD-1"].planned(1000).traffic
    assert kept is not None
    assert kept.keep_beyond_ns == 10_000_000, "what breaks its delay target is kept"
    planned = shipped_profile["SL-01"].planned(1000)
    assert planned.traffic is not None
    assert planned.load is not None
    assert planned.traffic.count == 1000
    assert planned.load.count == 600, "10 s of traffic are 600 frames of load at 60 a second"
    assert len(planned.traffic.schedule()) == 1000
    loop = shipped_profile["PLC-1"].planned(100).loop
    assert loop is not None
    assert loop.count == 100


def test_no_such_profile_or_requirement(shipped_profile: Profile) -> None:
    with pytest.raises(UsageError, match="shipped ones: 5gdn"):
        load_profile("6gdn")
    with pytest.raises(UsageError, match="has no requirement SD-9; it has SD-1, SD-2"):
        shipped_profile["SD-9"]


def test_a_copy_of_the_shipped_profile_loads(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SHIPPED)
    assert load_profile(str(path)).requirements == load_profile().requirements


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("        limit: 10 ms\n", "        limit: 10\n", "needs a number and a unit"),
        ("        share: 0.9999\n", "        share: 1\n", "less than 1"),
        ("        source: qos\n", "        source: qso\n", "no source 'qso'"),
        ("      source: choice\n", "      source: chioce\n", "no source 'chioce'"),
        ("      - id: SD-2b\n", "      - id: SD-2a\n", "is there twice"),
        ("  - id: SD-2\n", "  - id: SD-1\n", "SD-2a"),
        ("        metric: pdv\n", "        metric: jitter\n", "jitter"),
        ("        limit: 30 ms\n        rate", "        limit: 9 ms\n        rate", "longer than"),
        ("        tick: 1 ms\n", "        tock: 1 ms\n", "tick"),
        ("      every: 50 ms\n", "      every: 50 ms\n    traffic: *cyclic\n", "one of `traffic`"),
        ("    status: project\n    owner:", "    status: project\n    # ", "needs an `owner`"),
    ],
)
def test_a_fault_names_its_place_and_what_would_be_right(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in SHIPPED
    text = SHIPPED.replace(old, new, 1)
    found = faults(tmp_path, text)
    assert any(says in fault for fault in found), found
    changed = text.splitlines()
    place = int(next(fault for fault in found if says in fault).split(":")[0])
    assert 1 <= place <= len(changed)


def test_all_faults_come_at_once_and_where_they_are(tmp_path: Path) -> None:
    text = SHIPPED.replace("source: watchdog", "source: watchdgo")
    found = faults(tmp_path, text)
    lines = [i for i, line in enumerate(text.splitlines(), 1) if "watchdgo" in line]
    assert [int(fault.split(":")[0]) for fault in found] == lines


def test_without_strict_nobody_has_to_own_a_choice(tmp_path: Path) -> None:
    text = "\n".join(line for line in SHIPPED.splitlines() if "owner: hil" not in line)
    owned = [each for each in load_profile().sources.values() if each.owner]
    assert len(faults(tmp_path, text)) == len(owned) > 3
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert load_profile(str(path), strict=False).name == "5gdn"
