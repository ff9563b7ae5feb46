"""What the host itself lost: read from its counters, noted in the spans in which it happened."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from hil.traffic.drops import PERIOD_NS, DropWatch, Interface, softnet, steal_ns

DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo: 16894144  235627    0    0    0     0          0         0 16894144  235627    0    0    0
enp1s0:8154   53  7    2    1     0          0         0     3542      31    0    5    4     0
"""
SOFTNET = """\
02df0fbc 0000000a 00000004 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
01436dd3 00000001 00000014 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
"""


def test_counters_are_read_as_the_kernel_writes_them() -> None:
    assert Interface.of(DEV, "enp1s0") == Interface(lost_in=3, lost_out=9, errors=7)
    assert Interface.of(DEV, "gone") == Interface(0, 0, 0)
    assert softnet(SOFTNET) == (11, 24)
    assert softnet("") == (0, 0)
    stat = "cpu  1102104 19362 128409 1279766 9313 0 8449 1865 0 0\ncpu0 1\n"
    assert steal_ns(stat) % 1865 == 0
    assert steal_ns(stat) > 0


def watched(drops: list[int]) -> list[dict[str, object]]:
    """The windows of a port whose ring had no room for so many frames in each span."""
    counts: Iterator[int] = iter([0, *drops])
    watch = DropWatch([], {"rx": lambda: next(counts)})
    for turn in range(len(drops)):
        watch.look(turn * PERIOD_NS, 1000 + turn)
    return watch.windows("rx", "ring")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_exactly_the_spans_with_a_loss_are_noted(drops: list[int]) -> None:
    covered: set[int] = set()
    for window in watched(drops):
        start, end = window["start_ns"], window["end_ns"]
        assert isinstance(start, int)
        assert isinstance(end, int)
        covered |= set(range(start + 1, end + 1))
    # The first look only begins the first span: what was lost before it was lost before the run.
    assert covered == {1000 + turn for turn, lost in enumerate(drops) if lost and turn}


def test_a_long_loss_is_one_window() -> None:
    (window,) = watched([0, *[5] * 20, 0])
    assert (window["start_ns"], window["end_ns"]) == (1000, 1020)


def test_a_span_names_what_was_lost_where() -> None:
    (window,) = watched([0, 4])
    assert window["why"] == "the receive ring of rx had no room for 4 frames"


def test_the_counters_of_this_host_can_be_watched() -> None:
    watch = DropWatch([{"name": "home", "interface": "lo", "namespace": None}], {})
    watch.look(0, 1)
    watch.look(1, 2, now=True)
    report = watch.report()
    assert report["rx_errors"] == {"home": 0}
    assert report["steal_ns"] >= 0
    assert watch.windows("home", "rx", "tx") == []
