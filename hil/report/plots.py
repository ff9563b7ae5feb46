"""The drawings of a card: SVG texts without scripts, byte for byte the same for the same input."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hil.report.curves import Ccdf, Course
from hil.report.quantity import Scale, one_in, scale_of, shown, whole
from hil.units import format_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hil.samples.phase import PhaseMap

_INK: Final = "#1c2733"
_QUIET: Final = "#5b6773"
_RULE: Final = "#d5dbe1"
_CURVE: Final = "#1a56b0"
_BAND: Final = "#9dbdea"
_OTHER: Final = "#7a5aa6"
_LIMIT: Final = "#b3261e"
_FORBIDDEN: Final = "#f9dedc"
_GUARD: Final = "#f2b8b5"
_SPOILED: Final = "#c9b458"
_LETTER: Final = 0.0088  # of the width, a letter of the key
_WIDTH: Final = 9.0  # inches at 72 points, so 648 points: the text keeps its size at 860 px

_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hil",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": _INK,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _QUIET,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "grid.alpha": 0.7,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "hatch.linewidth": 0.6,
}


#: Behind a label that may lie on a curve.
_PLATE: Final[dict[str, Any]] = {
    "boxstyle": "square,pad=0.15",
    "facecolor": "white",
    "edgecolor": "none",
    "alpha": 0.8,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """The promise, as drawn: the limit, its guard band, and the share that may exceed it."""

    limit_ns: float
    guard_low_ns: float
    guard_high_ns: float
    share: float | None


def ccdf(
    curve: Ccdf,
    bound: Bound,
    *,
    what: str,
    item: str,
    floor: Sequence[tuple[float, float]] = (),
    other: tuple[str, Ccdf] | None = None,
) -> str:
    """The share of items later than x, on a logarithmic scale, against the bound.

    The red field is what the promise forbids: the curve must pass below its corner. Losses lift
    the right end of the curve into a plateau.
    """
    scale = scale_of("ns", bound.limit_ns)
    lowest = _lowest(curve, bound)
    with _figure(3.7) as (figure, draw):
        axes = figure.add_axes((0.105, 0.115, 0.875, 0.78))
        left, right, logarithmic = _reach(curve, bound, other)
        if logarithmic:
            axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(scale(left), scale(right))
        axes.set_ylim(lowest, 1.6)
        _draw_bound(axes, bound, scale, scale(right), lowest)
        _draw_floor(axes, floor, scale, scale(left), lowest)
        if other is not None:
            _draw_curve(axes, other[1], scale, (scale(left), scale(right)), _OTHER, band=False)
        _draw_curve(axes, curve, scale, (scale(left), scale(right)), _CURVE, band=True)
        _label_curves(figure, curve, other, bound)
        _label_losses(axes, curve)
        _per_cent(axes, lowest)
        if logarithmic:
            _plain_ticks(axes)
        axes.set_xlabel(f"{what} [{scale.unit}]")
        axes.set_ylabel(f"share of {item} above x")
        return draw()


def course(shape: Course, limit_ns: float | None, *, what: str) -> str:
    """The highest and the median delay of each slice of the run, losses and spoiled windows."""
    highest = float(shape.max_ns.max()) if shape.max_ns.size else 1.0
    scale = scale_of("ns", max(highest, limit_ns or 0.0))
    top = 1.18 * scale(max(highest, limit_ns or 0.0))
    with _figure(1.75) as (figure, draw):
        axes = figure.add_axes((0.105, 0.225, 0.875, 0.57))
        axes.set_xlim(0, shape.length_s)
        axes.set_ylim(0, top)
        for start, end in shape.spoiled_s:
            axes.axvspan(
                start,
                max(end, start + 0.004 * shape.length_s),
                facecolor=_SPOILED,
                alpha=0.35,
                hatch="///",
                edgecolor=_SPOILED,
                lw=0,
            )
        axes.fill_between(
            shape.at_s, scale.factor * shape.median_ns, scale.factor * shape.max_ns,
            color=_BAND, alpha=0.55, lw=0,
        )  # fmt: skip
        axes.plot(shape.at_s, scale.factor * shape.max_ns, color=_CURVE, lw=0.9)
        axes.plot(shape.at_s, scale.factor * shape.median_ns, color=_QUIET, lw=0.9)
        if limit_ns is not None:
            axes.axhline(scale(limit_ns), color=_LIMIT, lw=1.3, ls=(0, (5, 2)))
        if shape.lost_s.size:
            shown_losses = shape.lost_s[:: max(1, shape.lost_s.size // 400)]
            axes.plot(
                shown_losses, np.full(shown_losses.size, 0.94 * top),
                "x", color=_LIMIT, ms=4.5, mew=1.2,
            )  # fmt: skip
        axes.set_xlabel("time since the first packet [s]")
        axes.set_ylabel(f"{what} [{scale.unit}]")
        _heading(figure, _course_key(shape))
        return draw()


def saw_tooth(found: PhaseMap, limit_ns: float | None) -> str:
    """Delay over the phase of the period at which a packet was sent: range and median."""
    parts = [
        (start, low, middle, high)
        for start, low, middle, high in zip(
            found.start_ns, found.smallest_ns, found.median_ns, found.largest_ns, strict=True
        )
        if low is not None and middle is not None and high is not None
    ]
    width = found.period_ns / len(found.start_ns)
    highest = max(high for *_, high in parts)
    scale, across = scale_of("ns", max(highest, limit_ns or 0.0)), scale_of("ns", found.period_ns)
    with _figure(1.9) as (figure, draw):
        axes = figure.add_axes((0.105, 0.215, 0.875, 0.6))
        axes.set_xlim(0, across(found.period_ns))
        axes.set_ylim(0, 1.12 * scale(max(highest, limit_ns or 0.0)))
        for start, low, middle, high in parts:
            left, right = across(start), across(start + width)
            axes.fill_between([left, right], scale(low), scale(high), color=_BAND, alpha=0.55, lw=0)
            axes.plot([left, right], [scale(middle)] * 2, color=_CURVE, lw=1.8)
        if limit_ns is not None:
            axes.axhline(scale(limit_ns), color=_LIMIT, lw=1.3, ls=(0, (5, 2)))
        axes.set_xlabel(f"send phase, from an arbitrary one [{across.unit}]")
        axes.set_ylabel(f"delay [{scale.unit}]")
        _heading(figure, [("median", _CURVE), ("smallest to largest", _BAND)])
        return draw()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its limits against a limit, all in the same inner unit."""

    figure: float | None
    low: float | None
    high: float | None
    limit: float | None
    guard: float
    unit: str
    text: str  #: the figure and its limits in words
    around: float | None = None  #: the limit is a tolerance around this


def limits(estimate: Estimate) -> str:
    """A figure and its confidence limits as a bar, against the bound and its forbidden side."""
    forbidden = _forbidden(estimate)
    shown_values = [estimate.figure, estimate.low, estimate.high, *forbidden]
    known = [value for value in shown_values if value is not None]
    scale = scale_of(estimate.unit, max(abs(value) for value in known))
    low, high = min(known), max(known)
    span = (high - low) or abs(high) or 1.0
    left, right = low - 0.2 * span, high + 0.35 * span
    if estimate.around is None and low >= 0:
        left = -0.02 * high
    key = [(estimate.text, _CURVE)]
    if estimate.limit is not None:
        key.append((_bound_text(estimate, estimate.limit), _LIMIT))
    with _figure(1.3) as (figure, draw):
        axes = figure.add_axes((0.03, 0.31, 0.94, 0.42))
        axes.set_xlim(scale(left), scale(right))
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        for edge, side in zip(forbidden, (right, left), strict=False):
            axes.axvspan(scale(edge), scale(side), color=_FORBIDDEN, alpha=0.8, lw=0)
            guard = estimate.guard
            axes.axvspan(scale(edge - guard), scale(edge + guard), color=_GUARD, lw=0)
            axes.axvline(scale(edge), color=_LIMIT, lw=1.8)
        _draw_estimate(axes, estimate, scale)
        axes.set_xlabel(f"[{scale.unit}]")
        _heading(figure, key, 0.03)
        return draw()


def _forbidden(estimate: Estimate) -> tuple[float, ...]:
    """Where the forbidden begins: above, and for a tolerance also below."""
    if estimate.limit is None:
        return ()
    if estimate.around is None:
        return (estimate.limit,)
    return (estimate.around + estimate.limit, estimate.around - estimate.limit)


def _bound_text(estimate: Estimate, limit: float) -> str:
    text = shown(limit, estimate.unit)
    if estimate.around is None:
        return f"bound: at most {text}"
    return f"tolerance: {shown(estimate.around, estimate.unit)} ± {text}"


def _draw_estimate(axes: Axes, estimate: Estimate, scale: Scale) -> None:
    left, right = axes.get_xlim()
    low = left if estimate.low is None else scale(estimate.low)
    high = right if estimate.high is None else scale(estimate.high)
    if estimate.low is not None or estimate.high is not None:
        axes.plot([low, high], [0.5, 0.5], color=_CURVE, lw=7, alpha=0.45, solid_capstyle="butt")
    if estimate.figure is not None:
        axes.plot([scale(estimate.figure)], [0.5], "D", color=_CURVE, ms=8, mec="white", mew=1)


def _lowest(curve: Ccdf, bound: Bound) -> float:
    """The bottom of the share axis: below one packet, and below what the promise allows."""
    one = 1 / max(curve.n, 10)
    allowed = 1 - bound.share if bound.share is not None and bound.share < 1 else 1.0
    return float(10 ** np.floor(np.log10(min(one, allowed) * 0.5)))


def _reach(curve: Ccdf, bound: Bound, other: tuple[str, Ccdf] | None) -> tuple[float, float, bool]:
    """Left and right end of the time axis, and whether it has to be logarithmic."""
    curves = [curve] + ([other[1]] if other else [])
    highest = max((one.values_ns[-1] for one in curves if one.values_ns.size), default=0.0)
    farthest = max(highest, bound.limit_ns, bound.guard_high_ns)
    if highest > 8 * bound.limit_ns or (0 < highest < bound.limit_ns / 12):
        lowest = min((one.values_ns[0] for one in curves if one.values_ns.size), default=1.0)
        return max(1.0, lowest) * 0.5, max(farthest, bound.limit_ns * 2.5) * 1.8, True
    lowest = min((one.values_ns[0] for one in curves if one.values_ns.size), default=0.0)
    # Room for the name of the bound to the right of its line.
    return min(0.0, lowest * 1.05), max(farthest * 1.08, bound.limit_ns * 1.25), False


def _draw_bound(axes: Axes, bound: Bound, scale: Scale, right: float, lowest: float) -> None:
    limit = scale(bound.limit_ns)
    if bound.share is not None and bound.share < 1:
        allowed = 1 - bound.share
        axes.fill_between([limit, right], allowed, 2.0, color=_FORBIDDEN, alpha=0.75, lw=0)
        axes.axhline(allowed, color=_QUIET, lw=1, ls=(0, (1, 2)))
        axes.annotate(
            f"{one_in(bound.share)} may be later ({format_share(bound.share)} within)",
            (0, allowed), xycoords=("axes fraction", "data"), xytext=(6, 3),
            textcoords="offset points", fontsize=8.5, color=_QUIET,
        )  # fmt: skip
    if bound.guard_high_ns > bound.guard_low_ns:
        axes.axvspan(scale(bound.guard_low_ns), scale(bound.guard_high_ns), color=_GUARD, lw=0)
    axes.axvline(limit, color=_LIMIT, lw=1.8)
    axes.annotate(
        f"bound {shown(bound.limit_ns, 'ns')}",
        (limit, 1), xycoords=("data", "axes fraction"), xytext=(6, -12),
        textcoords="offset points", fontsize=9.5, color=_LIMIT, fontweight="bold", bbox=_PLATE,
    )  # fmt: skip


def _draw_floor(
    axes: Axes, floor: Sequence[tuple[float, float]], scale: Scale, left: float, lowest: float
) -> None:
    if not floor:
        return
    # One step per point: above the error of `share`, at most 1 - share of the stamps err.
    at = [max(scale(error), left) for _, error in floor]
    over = [max(1 - share, lowest) for share, _ in floor]
    axes.plot(at, over, color=_QUIET, lw=1.1, ls=(0, (3, 1.5)), drawstyle="steps-post")
    axes.annotate(
        "instrument's own error", (at[-1], lowest), xytext=(6, 5), textcoords="offset points",
        fontsize=8.5, color=_QUIET, va="bottom", bbox=_PLATE,
    )  # fmt: skip


def _draw_curve(
    axes: Axes, curve: Ccdf, scale: Scale, reach: tuple[float, float], colour: str, *, band: bool
) -> None:
    left, right = reach
    lowest = axes.get_ylim()[0]
    if band and curve.band_ns.size:
        at = np.concatenate((scale.factor * curve.band_ns, [right]))
        low = np.maximum(np.append(curve.low, curve.low[-1]), lowest / 10)
        high = np.append(curve.high, curve.high[-1])
        axes.fill_between(at, low, high, step="post", color=_BAND, alpha=0.55, lw=0)
    at = np.concatenate(([left], scale.factor * curve.values_ns))
    over = np.concatenate(([1.0], curve.exceeding))
    plateau = curve.missing / curve.n if curve.n else 0.0
    axes.plot(
        at, np.maximum(over, lowest / 10), color=colour, lw=1.8, drawstyle="steps-post",
        solid_joinstyle="round",
    )  # fmt: skip
    if plateau and curve.values_ns.size:
        axes.plot([at[-1], right], [plateau, plateau], color=colour, lw=1.8, ls=(0, (2, 1.2)))


def _label_curves(
    figure: Figure, curve: Ccdf, other: tuple[str, Ccdf] | None, bound: Bound
) -> None:
    key = [(f"measured, n = {whole(curve.n)}", _CURVE), ("its confidence band", "#4f7fc4")]
    if other is not None:
        key.insert(1, (f"{other[0]}, n = {whole(other[1].n)}", _OTHER))
    if bound.share is not None:
        key.append(("forbidden by the bound", _LIMIT))
    _heading(figure, key)


def _label_losses(axes: Axes, curve: Ccdf) -> None:
    if not curve.missing:
        return
    plateau = curve.missing / curve.n
    below = plateau > 4 * axes.get_ylim()[0]
    axes.annotate(
        f"{whole(curve.missing)} lost: infinitely late",
        (1, plateau), xycoords=("axes fraction", "data"), xytext=(-4, -14 if below else 5),
        textcoords="offset points", ha="right", fontsize=8.5, color=_CURVE, fontweight="bold",
        bbox=_PLATE,
    )  # fmt: skip


def _heading(figure: Figure, key: Sequence[tuple[str, str]], x: float = 0.105) -> None:
    """The key, in a row above the plot: a coloured square and its meaning, never colour alone."""
    top = 1 - 0.2 / figure.get_figheight()
    for text, colour in key:
        figure.text(x, top, "■", color=colour, fontsize=9, va="center")
        figure.text(x + 0.018, top, text, color=_INK, fontsize=9, va="center")
        x += 0.018 + _LETTER * len(text) + 0.025


def _course_key(shape: Course) -> list[tuple[str, str]]:
    key = [("highest of each slice", _CURVE), ("median", _QUIET)]
    if shape.lost_s.size:
        key.append((f"x lost ({whole(shape.lost_s.size)})", _LIMIT))
    if shape.spoiled_s:
        key.append((f"spoiled by the host or its clock ({len(shape.spoiled_s)})", _SPOILED))
    return key


def _per_cent(axes: Axes, lowest: float) -> None:
    ticks = [10.0**power for power in range(int(np.log10(lowest)), 1)]
    axes.set_yticks(ticks, [_share_text(tick) for tick in ticks])
    axes.minorticks_off()


def _share_text(share: float) -> str:
    percent = share * 100
    return f"{percent:.10f}".rstrip("0").rstrip(".") + " %"


def _plain_ticks(axes: Axes) -> None:
    left, right = axes.get_xlim()
    powers = range(int(np.floor(np.log10(left))), int(np.ceil(np.log10(right))) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    ticks = [tick for tick in ticks if left <= tick <= right]
    if len(ticks) > 9:
        ticks = [10.0**power for power in powers if left <= 10.0**power <= right]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


@contextmanager
def _figure(height: float) -> Iterator[tuple[Figure, Callable[[], str]]]:
    """A figure of the house style, and the function that makes its SVG."""
    # A read-only home, or a font cache that has to be built, is no news to a tester.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height))

        def draw() -> str:
            out = io.StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
            return _inline(out.getvalue())

        yield figure, draw


def _inline(text: str) -> str:
    """The bare ``<svg>`` for use inside HTML: scalable, in the page's own font, nothing outside.

    References to shapes drawn elsewhere (``<use>``) are replaced by the shapes themselves, because
    Allure takes such references out of what it shows.
    """
    svg = text[text.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    shapes = dict(_SHAPE.findall(svg))
    svg = _USE.sub(lambda use: _placed(use[0], shapes), svg)
    svg = re.sub(r"<defs>\s*(?:<path id=[^>]*>\s*)+</defs>", "", svg)
    return svg.replace("'DejaVu Sans'", "system-ui, sans-serif")


_SHAPE: Final = re.compile(r'<path id="([^"]+)" d="([^"]*)"')
_USE: Final = re.compile(r"<use [^>]*/>")


def _placed(use: str, shapes: Mapping[str, str]) -> str:
    named = dict(re.findall(r'([\w:]+)="([^"]*)"', use))
    shape = shapes[named["xlink:href"].removeprefix("#")]
    move = f"translate({named.get('x', 0)} {named.get('y', 0)})"
    return f'<path d="{shape}" transform="{move}" style="{named.get("style", "")}"/>'
