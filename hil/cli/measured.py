"""What `hil measure` says of a measurement: figures, judgement, and the table of both."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hil.cli import far_end, observing
from hil.errors import HilError
from hil.units import format_duration, format_rate, format_share, format_size
from hil.verdict import Verdict

if TYPE_CHECKING:
    from hil.judge import Judgement
    from hil.samples.measurement import Measurement

_CONFIDENCE: Final = 0.95

#: Figures that are null where a measurement was not even begun.
_FIGURES: Final = (
    "sent",
    "received",
    "lost",
    "late",
    "duplicated",
    "reordered",
    "corrupted",
    "delay_ns",
    "pdv_ns",
    "ipdv_ns",
    "send_lateness_ns",
    "stamps",
    "uncertainty_ns",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be said: a bound with the share that must keep it, a period to fold delays on."""

    bound_ns: int | None
    share: float
    period_ns: int | None


@dataclass(frozen=True, slots=True)
class Said:
    """One measurement with its figures, and whether there is a claim at all."""

    measurement: Measurement
    summary: dict[str, Any]
    judgement: Judgement | None

    @property
    def valid(self) -> bool:
        """Whether the instrument vouches for the figures."""
        return bool(self.summary["valid"])


def concluded(measurement: Measurement, asked: Asked, beside: Sequence[Measurement] = ()) -> Said:
    """Judge a measurement and draw up its figures; `beside` are flows of the same run."""
    from hil.judge.offered import off_grid_share
    from hil.samples.autopsy import autopsy
    from hil.samples.phase import phase_map
    from hil.samples.summarise import summarise

    judgement: Judgement | None = None
    bound_ns, period_ns = asked.bound_ns, asked.period_ns
    reasons = _invalid_reasons(measurement, bound_ns)
    if bound_ns is not None:
        from hil.judge import judge_bound

        judgement = judge_bound(measurement, bound_ns, asked.share, _CONFIDENCE)
        if judgement.verdict is Verdict.INVALID and not reasons:
            reasons = [judgement.sentence]
    summary = summarise(measurement, bound_ns=bound_ns)
    summary |= _conclusion(reasons, judgement)
    summary["off_grid_share"] = off_grid_share(measurement)
    folded = None if period_ns is None else phase_map(measurement, period_ns, bound_ns=bound_ns)
    late = None
    if bound_ns is not None and measurement.direction != "loop":
        late = autopsy(measurement, bound_ns, beside=beside, folded=folded)
    summary["autopsy"] = late.to_json() | {"sentence": late.sentence} if late is not None else None
    summary["phase"] = folded.to_json() if folded is not None else None
    summary["conditions"] = dict(measurement.conditions)
    return Said(measurement, summary, judgement)


def nothing(error: HilError) -> dict[str, Any]:
    """The object of a measurement that the rig did not let begin."""
    return dict.fromkeys(_FIGURES) | _conclusion([str(error)], None) | {"complete": False}


def _invalid_reasons(measurement: Measurement, bound_ns: int | None) -> list[str]:
    """Why there is no claim at all, one sentence each."""
    from hil.judge.evidence import MOST_BRACKETED, evidence, implausible, preconditions

    seen = evidence(measurement, None, bound_ns or 0)
    reasons = [*measurement.invalid, *implausible(measurement, seen), *preconditions(measurement)]
    if not seen.n:
        reasons.append("nothing was measured")
    elif float(seen.bracketed.mean()) > MOST_BRACKETED:
        share = format_share(float(seen.bracketed.mean()))
        reasons.append(
            f"{share} of packets have no trustworthy time ({seen.bracketed_words()}), more than "
            f"{format_share(MOST_BRACKETED)}"
        )
    return reasons


def _conclusion(reasons: list[str], judgement: Judgement | None) -> dict[str, Any]:
    verdict = judgement.verdict.value if judgement is not None else None
    if reasons and judgement is None:
        verdict = Verdict.INVALID.value
    return {
        "valid": not reasons,
        "invalid_reasons": reasons,
        "verdict": verdict,
        "judgement": judgement.to_json() if judgement is not None else None,
    }


def print_object(fields: Mapping[str, Any]) -> None:
    """One JSON object on standard output, and nothing else."""
    sys.stdout.write(json.dumps(fields, allow_nan=False, default=_plain) + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    """What the standard encoder does not know: numpy numbers and dataclasses."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "item"):
        return value.item()
    raise HilError(f"cannot print {type(value).__name__} as JSON")


def print_table(said: Said, out: Path | None) -> None:
    """The figures for a terminal; `out` is where the samples were kept."""
    from rich.console import Console
    from rich.table import Table as Grid

    console = Console(highlight=False, soft_wrap=True, markup=False)
    measurement, summary = said.measurement, said.summary
    console.print(
        f"{measurement.tx_port} -> {measurement.rx_port}, {_offered(measurement)}"
        f"{', SIMULATED' if measurement.simulated else ''}"
        f"{'' if measurement.complete else ', cut short'}"
    )
    counts = ("sent", "received", "lost", "late", "duplicated", "reordered", "corrupted", "foreign")
    shown = [f"{summary[name]:,} {name}" for name in counts if summary[name] is not None]
    console.print(", ".join(shown) + f" (and {summary['warmup_sent']} for warm-up)")
    grid = Grid(box=None, pad_edge=False, header_style="")
    grid.add_column("")
    columns = ("delay_ns", "pdv_ns", "ipdv_ns", "send_lateness_ns")
    for title in ("delay", f"{format_share(_CONFIDENCE)} interval", "PDV", "IPDV", "send lateness"):
        grid.add_column(title, justify="right")
    limits = _limits(measurement)
    for name in summary["delay_ns"]:
        values = [observing.time_words(summary[column][name]) for column in columns]
        grid.add_row(name, values[0], limits.get(name, ""), *values[1:])
    console.print(grid)
    observing.show(console, summary)
    stamps = summary["stamps"]
    console.print(
        f"n = {summary['received']:,}; times: {stamps['tx']['source']} at sending "
        f"({stamps['tx']['missing']} missing), {stamps['rx']['source']} at receipt "
        f"({stamps['rx']['missing']} missing); uncertainty "
        f"{observing.time_words(summary['uncertainty_ns'])} (k = 2)"
    )
    for line in _lines(measurement, summary):
        console.print(line, markup=False)
    if out is not None:
        console.print(f"samples: {out / measurement.id}.parquet", markup=False)
        for line in _around(out, measurement.conditions.get("violations")):
            console.print(line, markup=False)


def _around(out: Path, found: Mapping[str, Any] | None) -> Iterator[str]:
    """Where the packets around those that broke the bound are kept, and how many are not."""
    for what, left in (("samples", "samples_left_out"), ("frames", "frames_left_out")):
        if found and found.get(what):
            more = f", {found[left]:,} more left out" if found[left] else ""
            yield f"{what} around violations: {out / found[what]}{more}"


def _lines(measurement: Measurement, summary: Mapping[str, Any]) -> Iterator[str]:
    """What stands below the figures: where they come from, what they say, and why."""
    for each in summary["uncertainty"]["sources"]:
        yield f"  {each}"
    yield from far_end.ways_words(summary["conditions"])
    warned = summary["judgement"] is not None and summary["valid"]  # by the judgement's sentence
    if summary["off_grid_share"] and not warned:
        yield (
            f"offered traffic: {summary['off_grid_share'] * 100:.2g} % of packets left more than a "
            f"quarter of the interval off their grid"
        )
    judged = summary["judgement"]["sentence"] if summary["judgement"] is not None else None
    for reason in summary["invalid_reasons"]:
        if reason != judged:
            yield f"INVALID: {reason}"
    if judged is not None:
        yield f"{summary['verdict']}: {judged}"
    elif summary["valid"]:
        yield "valid; no bound was given, so there is no verdict"
    if summary["autopsy"] is not None:
        yield f"late: {summary['autopsy']['sentence']}"
    if summary["phase"] is not None:
        yield _phase_words(summary["phase"])


def _offered(measurement: Measurement) -> str:
    """What was offered, in words."""
    traffic = measurement.traffic
    if traffic["pattern"] == "periodic" and "interval_ns" in traffic:
        each = f"{format_size(traffic['size'])} each {format_duration(traffic['interval_ns'])}"
        return f"{each}, layer {traffic['layer']}"
    sizes, count = measurement.samples["size"], len(measurement.samples)
    spacing = measurement.interval_ns or 1
    rate = format_rate(float(sizes.mean()) * 8e9 / spacing) if count else "nothing"
    unit = "frames" if traffic["pattern"] in ("burst", "video") else "packets"
    return (
        f"{measurement.flow}: {traffic['pattern']}, {unit} each {format_duration(spacing)} on "
        f"average, layer {traffic['layer']}" + (f", {rate}" if unit == "packets" else "")
    )


def _phase_words(folded: Mapping[str, Any]) -> str:
    period = format_duration(folded["period_ns"])
    from hil.samples.phase import clock_words

    if not folded["periodic"]:
        return f"send phase: delays do not follow a period of {period} by more than chance"
    medians = [each["median_ns"] for each in folded["parts"] if each["median_ns"] is not None]
    words = (
        f"send phase: medians from {format_duration(min(medians))} to "
        f"{format_duration(max(medians))} over a period of {period}, "
        f"{clock_words(folded['rate_ppm'], folded['within_ppm'])}"
    )
    if folded["good_ns"] is not None:
        start, end = (format_duration(each) for each in folded["good_ns"])
        words += f"; none was late that was sent from {start} to {end} of it"
    return words


def _limits(measurement: Measurement) -> dict[str, str]:
    """The confidence interval of each percentile of the delay, by order statistics."""
    import numpy as np

    from hil.samples import metrics
    from hil.samples.table import taken
    from hil.stats import quantile

    delay = metrics.delay_ns(measurement.samples, measurement.timing)
    known = np.sort(delay[taken(delay)])
    found: dict[str, str] = {}
    for name, share in metrics.PERCENTILES.items():
        if known.size and quantile.supported(known.size, share):
            low, high = quantile.interval(known, share, _CONFIDENCE)
            found[name] = f"{observing.time_words(low)} to {observing.time_words(high)}"
    return found
