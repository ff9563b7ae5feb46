"""Blind proficiency on the pure path: one process draws, another measures, a third one opens.

``draw`` makes recordings of runs with secret faults and seals what it did; ``measure`` sees the
recordings alone and writes down what it found, intervals and verdicts; ``open`` compares. So the
intervals of the instrument are tried as a whole, over many seeds: a 95 % interval must hold the
truth 95 times in a hundred.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.judge import judge_bound
from hil.judge.share import Tally
from hil.judge.shift import quantile_shift
from hil.lab.validation import item, recording, secret
from hil.lab.validation.item import Figure, Item
from hil.lab.validation.recording import Recording
from hil.lab.validation.truth import NAMES, counted, differences
from hil.samples import outages
from hil.samples.measurement import Measurement
from hil.samples.table import DAMAGED, SPOILED, TRAILER_BAD, UNREADABLE, taken
from hil.stats import dependence, trend
from hil.virtual.faults.fault_list import FaultList

COUNT: Final = 2_000
_EACH: Final = 0.975  #: of either limit, for both together to hold at 95 %
_STRANGERS: Final = 3
SOURCE: Final = "pure path: trailers and stamps written as bytes, read by the instrument"


def intervals(measured: Measurement, reference: Measurement) -> dict[str, Any]:
    """What the instrument says of a run beside a reference run: limits, counts, verdict.

    Limits hold together at 95 %. The loss is of packets of which nothing came, the shift of the
    median of the delay.
    """
    samples = measured.samples
    lost = (samples["copies"] == 0) & (samples["damaged"] == 0)
    runs = outages.run_lengths(lost)
    shown = Tally.to_show(~lost, secret.BURST, _EACH)
    refuted = Tally.to_refute(~lost, secret.BURST, _EACH)
    burst = dependence.mean_run(runs, _EACH)
    sides = [_trusted_ns(each) for each in (measured, reference)]
    shift = quantile_shift(sides[0], sides[1], 0.5, _EACH, (1.0, 1.0))
    judged = judge_bound(measured, secret.LIMIT_NS, secret.SHARE, burst=secret.BURST)
    return {
        "loss": [1 - refuted.upper(_EACH), 1 - shown.lower(_EACH)],
        "burst": [burst[0], None if math.isinf(burst[1]) else burst[1]],
        "lost_runs": int(runs.size),
        "shift_ns": [shift.low, shift.high],
        "counts": {name: getattr(measured.counts, name) for name in NAMES},
        "foreign": measured.counts.foreign,
        "reference_lost": reference.counts.lost,
        "verdict": str(judged.verdict),
        "sentence": judged.sentence,
    }


def _trusted_ns(measured: Measurement) -> NDArray[np.int64]:
    """The delays that were taken and lie in no spoiled window, sorted."""
    delay = measured.delay_ns
    return np.sort(delay[taken(delay) & ((measured.samples["flags"] & SPOILED) == 0)])


def drift_limits_ppm(recorded: Recording) -> list[float]:
    """Limits, 95 % together, of how much faster the tap's clock runs than the host's."""
    arrived, _, _ = recorded.arrived()
    unfit = DAMAGED | UNREADABLE | TRAILER_BAD
    sound = arrived[(arrived["flags"] & unfit) == 0]
    seq, first = np.unique(sound["seq"].astype(np.int64), return_index=True)
    there, here = sound["trailer_ingress_ns"][first], recorded.sent["tx_kernel_ns"][seq]
    order = np.argsort(there, kind="stable")
    there, here = there[order], here[order]
    gained = (here - here[0]) - (there - there[0])
    _, low, high = trend.theil_sen(there - there[0], gained, _EACH)
    return [-1e6 * high / (1 + high), -1e6 * low / (1 + low)]


def _draw(directory: Path, seeds: Iterable[int]) -> str:
    """Make the recordings of some seeds; the seal of what was done."""
    bench, random = recording.calm(), secret.secret_generator()
    done: list[dict[str, Any]] = []
    for seed in seeds:
        drawn = secret.draw(random, seed)
        listed = secret.realise(random, drawn, COUNT)
        made, frames = recording.record(
            bench, random, listed, count=COUNT, drift_ppb=drawn.drift_ppb, strangers=_STRANGERS
        )
        made.save(directory / f"{seed}.npz")
        calm, _ = recording.record(
            bench, random, FaultList(), count=COUNT, drift_ppb=drawn.drift_ppb
        )
        calm.save(directory / f"{seed}-reference.npz")
        true = counted(COUNT, zip(frames.seq.tolist(), frames.intact.tolist(), strict=True))
        done.append(secret.plain(drawn) | {"counts": true.to_json()})
    return secret.seal(directory / "sealed.json", done)


def _measure(directory: Path, seeds: Iterable[int]) -> str:
    """Measure recordings; the SHA-256 of what was found."""
    found: dict[str, Any] = {}
    for seed in seeds:
        one = Recording.read(directory / f"{seed}.npz")
        reference = Recording.read(directory / f"{seed}-reference.npz")
        found[str(seed)] = intervals(one.measurement(), reference.measurement()) | {
            "drift_ppm": drift_limits_ppm(one)
        }
    text = json.dumps(found).encode()
    (directory / "found.json").write_bytes(text)
    return hashlib.sha256(text).hexdigest()


def opened(directory: Path, seals: Mapping[str, str]) -> list[tuple[dict[str, Any], Any]]:
    """What was done and what was found, seed by seed; both must be what their seals say."""
    done = secret.unseal(directory / "sealed.json", seals["drawn"])
    text = (directory / "found.json").read_bytes()
    if hashlib.sha256(text).hexdigest() != seals["found"]:
        raise ValueError("what was found was changed after it was written down")
    found = json.loads(text)
    return [(each, found[str(each["seed"])]) for each in done]


@dataclass(frozen=True, slots=True)
class _Score:
    """How one run was measured, against what was done."""

    done: Mapping[str, Any]
    found: Mapping[str, Any]

    def covers(self, name: str, truth: float) -> bool:
        low, high = self.found[name]
        return (low is None or low <= truth) and (high is None or truth <= high)

    @property
    def contrary(self) -> bool:
        """A verdict against the truth."""
        return bool(self.found["verdict"] == ("PASS" if self._fails else "FAIL"))

    @property
    def decided(self) -> bool:
        return bool(self.found["verdict"] == ("FAIL" if self._fails else "PASS"))

    @property
    def _fails(self) -> bool:
        return _of(self.done).fails


def _of(done: Mapping[str, Any]) -> secret.Secret:
    return secret.Secret(**{k: v for k, v in done.items() if k in secret.Secret.__slots__})


def scored(
    pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]], source: str
) -> list[Figure]:
    """Coverage of each measurand, exactness of each count, and how verdicts match the truth."""
    scores = [_Score(done, found) for done, found in pairs]
    some = [each for each in scores if each.found["lost_runs"]]
    figures = [
        item.coverage(
            "share of packets lost",
            sum(each.covers("loss", each.done["loss"]) for each in scores),
            len(scores),
            source=source,
        ),
        item.coverage(
            "mean length of a burst of losses",
            sum(each.covers("burst", each.done["burst"]) for each in some),
            len(some),
            source=source,
        ),
        item.coverage(
            "shift of the median delay",
            sum(each.covers("shift_ns", each.done["shift_ns"]) for each in scores),
            len(scores),
            source=source,
        ),
    ]
    drifts = [each for each in scores if "drift_ppm" in each.found]
    if drifts:
        figures.append(
            item.coverage(
                "drift of the tap's clock",
                sum(each.covers("drift_ppm", each.done["drift_ppb"] / 1000) for each in drifts),
                len(drifts),
                source=source,
            )
        )
    figures += [
        item.exact(
            f"packets {name}",
            sum(each.found["counts"][name] == each.done["counts"][name] for each in scores),
            len(scores),
            unit_of="runs",
            source=source,
        )
        for name in NAMES
    ]
    valid = [each for each in scores if each.found["verdict"] != "INVALID"]
    clear = [each for each in valid if each.done["level"] != "doubtful"]
    figures += [
        item.coverage(
            "verdicts that are not contrary to the truth",
            sum(not each.contrary for each in valid),
            len(valid),
            source=source,
        ),
        item.coverage(
            "healthy runs that pass and broken ones that fail",
            sum(each.decided for each in clear),
            len(clear),
            source=source,
        ),
        Figure(
            what="runs that the instrument itself called INVALID",
            value=float(len(scores) - len(valid)),
            unit="runs",
            n=len(scores),
            of="runs",
            expected="fewer than half",
            source=source,
            holds=2 * len(valid) > len(scores),
        ),
    ]
    return figures


def notes(pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
    """The runs whose counts were wrong, one sentence each."""
    return [
        f"seed {done['seed']}: {'; '.join(wrong)}"
        for done, found in pairs
        if (wrong := differences(found["counts"], counted_of(done)))
    ]


def counted_of(done: Mapping[str, Any]) -> Any:
    """The true counts in a sealed entry."""
    from hil.lab.validation.truth import TrueCounts

    return TrueCounts(**done["counts"])


def report(
    pairs: list[tuple[dict[str, Any], Any]], source: str = SOURCE, count: int = COUNT
) -> Item:
    """The item of secret runs of `count` packets each."""
    figures = tuple(scored(pairs, source))
    held = item.all_hold(figures)
    worst = min((f for f in figures if f.unit == "1"), key=lambda f: f.value or 0.0)
    words = f"{len(pairs)} secret runs of {count:,} packets: "
    words += (
        "every count exact, "
        if all(f.holds for f in figures if f.unit == "exact")
        else "some counts wrong, "
    )
    words += f"least coverage {100 * (worst.value or 0):.1f} % ({worst.what})"
    return Item(
        id="blind",
        title="Blind proficiency, pure path",
        holds=held,
        sentence=words,
        figures=figures,
        notes=tuple(notes(pairs)),
    )


def main(words: list[str]) -> int:
    """One of the three processes: ``draw``, ``measure`` or ``open``, then a directory."""
    verb, place, *rest = words
    directory = Path(place)
    if verb == "open":
        pairs = []
        for part, seals in json.loads(rest[0]).items():
            pairs += opened(directory / part, seals)
        print(json.dumps({"items": [report(pairs).to_json()]}))
        return 0
    seeds = range(int(rest[0]), int(rest[1]))
    print({"draw": _draw, "measure": _measure}[verb](directory, seeds))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
