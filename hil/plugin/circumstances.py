"""What else went on while a flow was measured: other flows, events of devices, faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hil.clock import SYSTEM
from hil.errors import HilError

if TYPE_CHECKING:
    from hil.judge import Judgement
    from hil.lab import Lab
    from hil.samples.autopsy import Autopsy
    from hil.samples.clues import Event
    from hil.samples.measurement import Measurement

_AROUND_NS: Final = 1_000_000_000
_MOST_FLOWS: Final = 16


class Circumstances:
    """Kept for the autopsy of late packets; of flows only the last run is kept."""

    def __init__(self) -> None:
        self._run: list[Measurement] = []
        self._faults: list[tuple[int, str]] = []

    def measured(self, measurement: Measurement) -> None:
        """A flow came in; those of one run share the first part of their id."""
        if self._run and _run_of(self._run[0]) != _run_of(measurement):
            self._run.clear()
        if len(self._run) < _MOST_FLOWS:
            self._run.append(measurement)

    def fault(self, text: str) -> None:
        """A fault was begun or ended now."""
        self._faults.append((SYSTEM.realtime_ns(), text))

    def autopsy(
        self, judgement: Judgement, measurement: Measurement, lab: Lab | None
    ) -> Autopsy | None:
        """The causes of the late packets of a judged flow; None where none was late."""
        from hil.samples.autopsy import autopsy
        from hil.samples.phase import declared_period_ns, phase_map

        if judgement.metric != "delay" or judgement.limit is None:
            return None
        if measurement.direction == "loop" or not judgement.exceeding:
            return None
        period_ns = declared_period_ns(measurement)
        return autopsy(
            measurement,
            int(judgement.limit),
            events=self._events(measurement, lab),
            beside=[
                each
                for each in self._run
                if each.id != measurement.id and _run_of(each) == _run_of(measurement)
            ],
            folded=None if period_ns is None else phase_map(measurement, period_ns),
        )

    def _events(self, measurement: Measurement, lab: Lab | None) -> tuple[Event, ...]:
        from hil.samples.clues import Event
        from hil.samples.table import taken

        sent = measurement.samples[measurement.timing.tx_host_column]
        sent = sent[taken(sent)]
        if not sent.size:
            return ()
        since, until = int(sent.min()) - _AROUND_NS, int(sent.max()) + _AROUND_NS
        found = [Event(t, f"fault {text}") for t, text in self._faults if since <= t <= until]
        if lab is not None:
            try:
                found += lab.events(since, until)
            except HilError as error:  # a device that is gone explains nothing
                found.append(Event(until, f"no events: {error}"))
        return tuple(found)


def _run_of(measurement: Measurement) -> str:
    return measurement.id.rpartition("-")[0]
