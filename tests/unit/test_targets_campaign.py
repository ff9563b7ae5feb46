"""What a plan takes, and what fits into a night."""

from __future__ import annotations

import pytest

from hil.errors import UsageError
from hil.targets import Plan, Profile, load_profile
from hil.targets.campaign import fit, runs, shows

HOUR_NS = 3_600_000_000_000


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile()


def test_requirements_on_the_same_traffic_share_a_run_as_long_as_the_longest(
    profile: Profile,
) -> None:
    planned = {run.names: run for run in runs(profile, Plan.FULL)}
    shared = planned["SD-1, SD-2"]
    assert shared.count == max(Plan.FULL.packets(profile[id]) for id in ("SD-1", "SD-2"))
    assert {seen.target for seen in shared.forecasts()} == {
        *("SD-1", "SD-2a", "SD-2b", "SD-2c", "SD-2d")
    }
    for run in planned.values():
        assert len({(each.traffic, each.load) for each in run.requirements}) == 1
    ids = [each.id for run in planned.values() for each in run.requirements]
    assert sorted(ids) == sorted(profile.names()), "each requirement is in one run"


def test_a_comparison_takes_two_runs(profile: Profile) -> None:
    planned = {run.names: run for run in runs(profile, Plan.SMOKE)}
    shift, wire, alone = planned["SL-01, SL-02"], planned["PLC-1"], planned["SD-1, SD-2"]
    assert (shift.takes, wire.takes, alone.takes) == (2, 2, 1)
    assert shift.duration_ns == 2 * 1000 * 10_000_000


def test_only_what_is_asked_for(profile: Profile) -> None:
    (run,) = runs(profile, Plan.FULL, ["SD-2"])
    assert run.names == "SD-2"
    with pytest.raises(UsageError, match="has no requirement SD-99"):
        runs(profile, Plan.FULL, ["SD-99"])


@pytest.mark.parametrize("hours", [0.01, 0.5, 1, 2, 3, 24])
def test_a_budget_is_kept_and_wasted_on_nothing_that_it_cannot_show(
    profile: Profile, hours: float
) -> None:
    whole = runs(profile, Plan.FULL)
    taken = fit(whole, int(hours * HOUR_NS))
    assert sum(run.duration_ns for run in taken) <= hours * HOUR_NS
    for before, after in zip(whole, taken, strict=True):
        assert after.count <= before.count
        assert after.requirements == before.requirements
        if after.count:
            assert any(shows(seen) for seen in after.forecasts())
        else:
            assert after.forecasts() == ()


def test_enough_time_leaves_every_run_whole(profile: Profile) -> None:
    whole = runs(profile, Plan.FULL)
    assert fit(whole, sum(run.duration_ns for run in whole)) == whole


def test_what_fits_whole_goes_first_and_the_rest_to_the_next_in_order(profile: Profile) -> None:
    whole = runs(profile, Plan.FULL, ["MV-1", "AR-1"])
    images, pose = fit(whole, int(1.7 * HOUR_NS))
    assert pose == whole[1]
    assert 0 < images.count < whole[0].count
    assert images.duration_ns + pose.duration_ns == pytest.approx(1.7 * HOUR_NS, rel=1e-3)
    none, pose = fit(whole, int(0.5 * HOUR_NS))
    assert (none.count, pose) == (0, whole[1])
