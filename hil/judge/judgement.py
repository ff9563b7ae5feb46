"""A judgement: the verdict on one target from one measurement, with all that led to it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hil.verdict import Verdict


class Reason(enum.StrEnum):
    """Why the verdict is what it is, in a few words."""

    MET = "met"
    MISSED = "missed"
    PHASE_MISSED = "missed in one phase"
    PHASE_SUSPECT = "one phase suspect"
    DEMONSTRATED = "DEMONSTRATED"
    NOT_DEMONSTRATED = "NOT DEMONSTRATED"
    TOO_FEW = "too few to decide"
    UNDECIDED = "too close to the limit"
    CUT_SHORT = "cut short"
    INSTRUMENT = "instrument"
    IMPLAUSIBLE = "implausible samples"
    PRECONDITION = "outside its preconditions"
    WRONG_TRAFFIC = "not the traffic of the requirement"
    BRACKETED = "too many bracketed"
    UNFIT = "time source unfit"
    NOTHING = "nothing measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on one target.

    `figure` and its limits are in `unit`: for a share within a limit the quantile named by
    ``details["figure"]``, for events their rate, for a shift the shift, for a value the value. None
    stands for "not measured" or "not finite".
    """

    requirement: str
    target: str
    measurement: str  #: id of the measurement
    direction: str
    metric: str
    statistic: str
    verdict: Verdict
    reason: Reason
    sentence: str  #: the whole finding, without the word of the verdict
    n: int  #: packets, frames, loops or readings judged
    exceeding: float | None  #: items not within the limit, or events, bracketed ones left out
    bracketed: int  #: items without a trustworthy time: late for PASS, in time for FAIL
    figure: float | None
    figure_low: float | None
    figure_high: float | None
    unit: str  #: "ns", "1", "1/h" or "dB"
    limit: float | None  #: in `unit`; None where a rate of events is not declared
    share: float | None
    confidence: float  #: one-sided
    common_mode_ns: int  #: shifts the limit
    floor_ns: int  #: the time source's own error at the share, added for FAIL
    demonstrated: float | None  #: share, or events per hour, that the run shows by itself
    burst_length: int  #: design burst length b0
    design_effect: float
    required_packets: int | None  #: the fewest items that could show the target, none failing
    plan: str
    simulated: bool
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """The word to show: for INCONCLUSIVE of a smoke run what was, or was not, demonstrated."""
        if self.verdict is Verdict.INCONCLUSIVE and self.plan == "smoke":
            return self.reason.value
        return self.verdict.value

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return fields | {
            "verdict": self.verdict.value,
            "reason": self.reason.value,
            "details": dict(self.details),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Judgement:
        """A judgement read back; fields it does not know are passed over.

        Raises:
            TypeError: a field is missing.
            ValueError: a verdict or reason that is none.
        """
        names = {each.name for each in dataclasses.fields(cls)}
        known = {name: value for name, value in record.items() if name in names}
        known["verdict"] = Verdict(record["verdict"])
        known["reason"] = Reason(record["reason"])
        return cls(**known)
