"""The radio: a pure function of seed, CPE and time, with the statistics that it claims."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.testbed import RadioConfig
from hil.virtual.radio import SINR_CEILING_DB, Radio

SECOND = 10**9
TIMES = st.integers(0, 10**6 * SECOND)


def radio(seed: int = 5, **fields: str | bool) -> Radio:
    return Radio(RadioConfig.model_validate(fields), seed)


@given(TIMES, st.integers(0, 3))
def test_a_moment_does_not_depend_on_how_it_is_asked(t_ns: int, cpe: int) -> None:
    around = t_ns + np.arange(-3, 4) * 500_000
    alone = radio(blockage=True).sinr_db(cpe, t_ns, 3.0)
    among = radio(blockage=True).sinr_db(cpe, around, 3.0)
    assert float(alone) == among[3]


def test_seeds_and_cpes_differ() -> None:
    times = np.arange(100) * SECOND
    first = radio().rsrp_dbm(0, times)
    assert not np.array_equal(first, radio().rsrp_dbm(1, times))
    assert not np.array_equal(first, radio(seed=6).rsrp_dbm(0, times))


@given(TIMES, st.floats(0, 60), st.floats(0, 60))
def test_attenuation_lowers_the_level_by_itself(t_ns: int, less: float, more: float) -> None:
    field = radio()
    shift = field.rsrp_dbm(0, t_ns, less) - field.rsrp_dbm(0, t_ns, more)
    assert float(shift) == pytest.approx(more - less, abs=1e-9)


def test_the_default_world_is_healthy() -> None:
    times = np.arange(0, 600 * SECOND, 10**7)
    for cpe in range(4):
        sinr = radio().sinr_db(cpe, times)
        assert sinr.min() > 20
        assert sinr.max() <= SINR_CEILING_DB


def test_shadowing_has_its_deviation_and_memory() -> None:
    field = radio(shadowing="3 dB", shadowing_time="10 s")
    times = np.arange(0, 40_000 * SECOND, SECOND)
    values = field.shadowing_db(0, times)
    # 4000 decorrelation times: the standard error of the deviation is about 2.5 %.
    assert values.std() == pytest.approx(3, rel=0.1)
    assert np.corrcoef(values[:-10], values[10:])[0, 1] == pytest.approx(np.exp(-1), abs=0.08)
    assert np.abs(np.diff(field.shadowing_db(0, np.arange(1000) * 10**6))).max() < 0.2


def test_fading_keeps_the_mean_power_and_clusters() -> None:
    field = radio(doppler="5 Hz")
    times = np.arange(0, 200 * SECOND, 500_000)
    values = field.fading_db(0, times)
    assert (10 ** (values / 10)).mean() == pytest.approx(1, abs=0.02)
    assert values.min() < -3
    assert np.corrcoef(values[:-2], values[2:])[0, 1] > 0.99  # within a slot or two
    assert abs(np.corrcoef(values[:-2000], values[2000:])[0, 1]) < 0.5  # after a second


def test_blockage_only_where_it_is_wanted() -> None:
    times = np.arange(0, 36_000 * SECOND, 10**8)
    assert not radio().blockage_db(0, times).any()
    loss = radio(blockage=True, blockage_rate="60 /h").blockage_db(0, times)
    starts = np.count_nonzero((loss[1:] > 0) & (loss[:-1] == 0))
    # 600 expected in ten hours, less what falls into one window with another (8 %).
    assert 430 < starts < 650
    assert loss.max() == pytest.approx(20)


def test_blockage_lowers_the_level() -> None:
    times = np.arange(0, 600 * SECOND, 10**8)
    clear, blocked = radio(), radio(blockage=True)
    loss = blocked.blockage_db(0, times)
    assert loss.any()
    assert clear.rsrp_dbm(0, times) - blocked.rsrp_dbm(0, times) == pytest.approx(loss)


def test_rsrq_at_its_best_and_in_noise() -> None:
    field = radio(shadowing="0 dB")
    assert float(field.rsrq_db(0, 0)) == pytest.approx(-10.8, abs=0.05)
    assert float(field.rsrq_db(0, 0, 50)) < -15
