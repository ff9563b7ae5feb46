"""A requirement in sentences: what is offered, what is promised, how it will be decided."""

from __future__ import annotations

from collections.abc import Iterator

from hil.judge.wording import at_least, at_most, lasting, per_hour, plural
from hil.targets import (
    Burst,
    EventTarget,
    Forecast,
    GoodputTarget,
    LevelTarget,
    OnOff,
    Periodic,
    Poisson,
    Profile,
    Replay,
    Requirement,
    ShiftTarget,
    SpanTarget,
    Target,
    Traffic,
    WithinTarget,
)
from hil.targets.plan import Plan, design_effect, forecast_of
from hil.units import format_duration, format_rate, format_share, format_size

HOUR_NS = 3_600_000_000_000

_MEASURED = {
    "delay": "one-way delay, first bit out to last bit in (RFC 7679); a lost packet is late",
    "pdv": "delay less the smallest delay of the run (RFC 5481); a lost packet is late",
    "frame_delay": "first packet of a frame in to its last packet out; an incomplete frame is late",
    "loop_time": "value written until the answer is read back; a loop without answer is late",
    "reception_gap": "time from one receipt to the next; the end of the flow counts as one due",
    "watchdog": "a watchdog restarted by each receipt, replayed on the receipt times",
    "down_events": "no message in time for the survival time after a missed deadline (TS 22.104)",
    "goodput": "delivered over offered in windows on the sender's frame grid, and the backlog",
    "delay_shift": "against the same traffic alone: a quantile of the delay, and the late share",
    "rsrp_shift": "difference of two settled readings against the one expected",
    "registration_time": "one span on the tester's clock",
}


def traffic(offered: Traffic) -> str:
    """What is offered, in one line."""
    rate = f"{format_rate(offered.rate_bps)} each way"
    if isinstance(offered, Periodic):
        what = f"{format_size(offered.size)} each {format_duration(offered.interval_ns)}"
    elif isinstance(offered, Burst):
        what = (
            f"frames of {format_size(offered.frame_size)} each "
            f"{format_duration(offered.interval_ns)} in packets of "
            f"{format_size(offered.packet_size)}"
        )
    elif isinstance(offered, Poisson):
        what = (
            f"{format_size(offered.size)} at random, each {format_duration(offered.interval_ns)} "
            f"on average"
        )
    elif isinstance(offered, OnOff):
        what = (
            f"{format_size(offered.size)} each {format_duration(offered.interval_ns)} for "
            f"{format_duration(offered.on_ns)}, then none for {format_duration(offered.off_ns)} "
            f"({offered.lengths})"
        )
    elif isinstance(offered, Replay):
        what = f"gaps and sizes of {offered.file.name}"
    else:
        what = f"video of {offered.fps:g} frames a second in packets of " + format_size(
            offered.packet_size
        )
    ways = " and ".join(offered.directions)
    words = f"{what} ({rate}), {offered.path}, {ways}"
    if offered.qos is not None and offered.qos.fiveqi is not None:
        words += f", 5QI {offered.qos.fiveqi}"
    return words


def promise(target: Target) -> str:
    """What is promised, in one line."""
    if isinstance(target, WithinTarget):
        return f"at least {format_share(target.share)} {target.promise}"
    if isinstance(target, EventTarget):
        return f"{_at_most(target)} {target.events(2).removeprefix('2 ')}"
    if isinstance(target, GoodputTarget):
        return f"{_at_most(target)} {target.events(2).removeprefix('2 ')}, no growing backlog"
    if isinstance(target, ShiftTarget):
        return (
            f"p{target.quantile * 100:g} shifts by at most {format_duration(target.limit_ns)} or "
            f"{format_share(target.relative)}, the share later than "
            f"{format_duration(target.bound_ns)} grows by at most {at_most(target.epsilon)}"
        )
    if isinstance(target, LevelTarget):
        return f"within {target.limit_db:g} dB"
    return f"at most {format_duration(target.limit_ns)}"


def _at_most(target: EventTarget | GoodputTarget) -> str:
    return "no declared rate of" if target.rate is None else f"at most {per_hour(target.rate)} of"


def supported(forecast: Forecast, target: Target) -> str:
    """What a count shows if nothing fails, in one cell."""
    if isinstance(target, WithinTarget) and forecast.supported is not None:
        return at_least(forecast.supported)
    if isinstance(target, EventTarget | GoodputTarget) and forecast.supported is not None:
        return f"at most {per_hour(forecast.supported)}"
    return "the target" if forecast.count >= forecast.required else "less than the target"


def taking(forecast: Forecast, requirement: Requirement) -> str:
    """The least time that could show a target, none failing."""
    return lasting(forecast.required * requirement.interval_ns / HOUR_NS)


def show(profile: Profile, requirement: Requirement) -> str:
    """Everything that the profile says of a requirement."""
    lines = [f"{requirement.id}  {requirement.title}", ""]
    lines.append(f"scenario  {requirement.scenario}; proves {', '.join(requirement.promise)}")
    if requirement.traffic is not None:
        lines.append(f"traffic   {traffic(requirement.traffic)}")
        if requirement.traffic.note:
            lines.append(f"          {requirement.traffic.note}")
    if requirement.load is not None:
        lines.append(f"beside    {traffic(requirement.load)}")
    if requirement.loop is not None:
        lines.append(f"repeated  each {format_duration(requirement.loop.every_ns)}")
    for plan in Plan:
        count = plan.packets(requirement)
        lasts = lasting(count * requirement.interval_ns / HOUR_NS)
        lines.append(f"{plan.value:8}  {plural(count, requirement.items)}, {lasts}")
    for target in requirement.targets:
        source = profile.sources[target.source]
        lines += ["", f"{target.id}  {promise(target)}"]
        lines.append(f"  measured  {_MEASURED[target.metric]}")
        lines.append(f"  source    {source.title} ({source.version}; {source.status})")
        if source.owner is not None:
            lines.append(f"  owner     {source.owner}")
        if target.note:
            lines.append(f"  note      {target.note}")
    return "\n".join(lines)


def explain(profile: Profile, requirement: Requirement, target: Target) -> str:
    """How a target is decided, how much that takes, and what each plan can say."""
    lines = [f"{target.id}  {promise(target)}", ""]
    lines += [f"measured: {_MEASURED[target.metric]}"]
    lines += _decision(requirement, target)
    source = profile.sources[target.source]
    lines.append(f"from: {source.title} ({source.version}; {source.status})")
    if target.note:
        lines.append(f"why: {target.note}")
    lines.append("")
    for plan in Plan:
        lines.append(f"{plan.value}: {_prospect(requirement, target, plan)}")
    return "\n".join(lines)


def _decision(requirement: Requirement, target: Target) -> Iterator[str]:
    confidence = format_share(target.confidence)
    if isinstance(target, WithinTarget):
        limit, share = format_duration(target.limit_ns), format_share(target.share)
        yield (
            f"PASS: the lower {confidence} limit (Clopper-Pearson) of the share within {limit} "
            f"less U_cm is at least {share}; bracketed items count as late"
        )
        yield (
            f"FAIL: the upper limit of the share within {limit} plus U_cm and floor is below "
            f"{share}; bracketed items count as in time"
        )
        yield (
            f"bursts: counts are divided by at least {design_effect(target):g}, for outages of "
            f"{plural(target.burst, requirement.items)} in a row; more where longer ones are seen"
        )
        if isinstance(requirement.traffic, Periodic):
            yield (
                f"phases: a miss in one of {requirement.traffic.strata} by itself withholds PASS; "
                f"it is a FAIL if it stands when all are counted in"
            )
    elif isinstance(target, EventTarget | GoodputTarget):
        if target.rate is None:
            yield "PASS: never, because no rate is declared; NOT DEMONSTRATED without an event"
            yield "FAIL: as soon as one is certain"
        else:
            rate = per_hour(target.rate)
            yield (
                f"PASS: the upper {confidence} limit (Poisson) of possible events is at most {rate}"
            )
            yield f"FAIL: the lower {confidence} limit of certain events is above {rate}"
    elif isinstance(target, ShiftTarget):
        yield f"PASS: both upper {confidence} limits are within their margins"
        yield "FAIL: one lower limit is beyond its margin; the error is shared between the two"
    else:
        yield "PASS: the reading and its expanded uncertainty are within the limit"
        yield "FAIL: the reading less its expanded uncertainty is beyond the limit"


def _prospect(requirement: Requirement, target: Target, plan: Plan) -> str:
    seen = forecast_of(requirement, target, plan.packets(requirement))
    lasts = lasting(seen.minutes / 60)
    words = f"{plural(seen.count, seen.items)}, {lasts}"
    if isinstance(target, LevelTarget | SpanTarget):
        return words
    words += f"; if nothing fails it shows {supported(seen, target)}"
    if seen.count < seen.required:
        words += f"; the target itself needs {plural(seen.required, seen.items)}"
        words += f" ({taking(seen, requirement)})"
    if seen.power is not None:
        words += (
            f"; a network {requirement.margin:g} times better passes with a probability of "
            f"{seen.power:.2f}"
        )
    return words
