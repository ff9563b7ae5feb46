"""The whole validation: every part as a process of its own, and the dossier of what they found."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

import hil
from hil.errors import RigError
from hil.lab import standard
from hil.lab.validation.item import Item
from hil.testbed import find
from hil.traffic.host import host_facts
from hil.verdict import ExitCode
from hil.virtual import stage

SCHEMA: Final = 1
_ROOT: Final = "hil.lab.validation"
_LONGEST_S: Final = 3600.0
_WAYS: Final = 4  # secrets of one live round
_MOST_LIVE: Final = 400  # the truth log of a world holds no more
_QUICK_BUGS: Final = ("receive-stamp-late", "send-stamp-of-the-next", "drain-too-short")
_TITLES: Final = {
    "bugs-without-traffic": "Planted bugs, without traffic",
    "blind": "Blind proficiency, pure path",
    "serialisation": "Serialisation standard (linearity)",
    "realtime": "Real-time mode",
    "blind-live": "Blind proficiency, real traffic",
}


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is done: seeds on the pure path and live, packets, repeats, bugs under traffic."""

    seeds: int
    live_seeds: int
    packets: int
    repeats: int
    bugs: tuple[str, ...]
    suites: bool = False

    @classmethod
    def full(cls, seeds: int | None) -> Extent:
        """Everything: about a quarter of an hour."""
        from hil.lab.validation.live_bugs import known

        number = 200 if seeds is None else seeds
        return cls(number, min(number, _MOST_LIVE), 4000, 5, tuple(known()), suites=True)

    @classmethod
    def quick(cls, seeds: int | None) -> Extent:
        """Enough to see that nothing is grossly wrong: about two minutes."""
        number = 60 if seeds is None else seeds
        return cls(number, min(number, 2 * _WAYS), 1000, 2, _QUICK_BUGS)


def items(extent: Extent, directory: Path) -> Iterator[Item]:
    """Every item, when it is done; what the rig kept from being tried says so.

    `directory` is private to this validation: secrets are sealed in it.
    """
    parts: list[tuple[str, Callable[[], Iterable[Item]]]] = [
        ("bugs-without-traffic", lambda: _part("planted", {})),
        ("blind", lambda: _blind(extent.seeds, directory)),
        ("serialisation", _standard),
        ("realtime", lambda: _realtime(extent, directory)),
        ("blind-live", lambda: _live_blind(extent, directory)),
    ]
    for id, part in parts:
        begin = time.monotonic()
        try:
            yield from part()
        except RigError as error:
            lasted = time.monotonic() - begin
            yield Item(
                id=id,
                title=_TITLES[id],
                holds=None,
                sentence=f"not tried: {error}",
                seconds=lasted,
            )


def _part(module: str, orders: Mapping[str, Any], around: Sequence[str] = ()) -> list[Item]:
    """The items of a part that runs as a process."""
    words = [sys.executable, "-m", f"{_ROOT}.{module}", json.dumps(orders)]
    said = _said(stage.command(around, words) if around else words)
    return [Item.from_json(each) for each in json.loads(said)["items"]]


def _said(words: Sequence[str]) -> str:
    """What a process prints; RigError with its last words when it fails."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RigError(f"a part took longer than {_LONGEST_S:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip() or f"it ended with {done.returncode}").rpartition("\n")[2]
        raise RigError(last)
    return done.stdout.strip().rpartition("\n")[2]


def _standard() -> list[Item]:
    return _part("on_stage", {}, standard.NAMESPACES)


def _blind(seeds: int, directory: Path) -> Iterator[Item]:
    """Draw, measure, open: three processes one after the other, several of each at a time."""
    begin = time.monotonic()
    shares = _shares(seeds, min(os.cpu_count() or 1, 4))
    places = {f"part-{number}": share for number, share in enumerate(shares)}
    for name in places:
        (directory / name).mkdir(mode=0o700)
    seals: dict[str, dict[str, str]] = {name: {} for name in places}
    with ThreadPoolExecutor(len(places)) as pool:
        for verb, key in (("draw", "drawn"), ("measure", "found")):
            running = {
                name: pool.submit(
                    _said,
                    [
                        *(sys.executable, "-m", f"{_ROOT}.blind", verb),
                        *(str(directory / name), str(share.start), str(share.stop)),
                    ],
                )
                for name, share in places.items()
            }
            for name, each in running.items():
                seals[name][key] = each.result()
    words = [sys.executable, "-m", f"{_ROOT}.blind", "open", str(directory), json.dumps(seals)]
    for plain in json.loads(_said(words))["items"]:
        yield Item.from_json(plain | {"seconds": time.monotonic() - begin})


def _shares(seeds: int, parts: int) -> list[range]:
    edges = [seeds * number // parts for number in range(parts + 1)]
    return [range(a, b) for a, b in itertools.pairwise(edges) if b > a]


def _realtime(extent: Extent, directory: Path) -> list[Item]:
    orders = {
        "testbed": str(_world(directory / "realtime.yaml", trailers=False)),
        "trailers": False,
        "directory": str(directory),
        "count": extent.packets,
        "repeats": extent.repeats,
        "bugs": list(extent.bugs),
        "suites": extent.suites,
    }
    return _part("in_world", orders)


def _live_blind(extent: Extent, directory: Path) -> list[Item]:
    orders = {
        "testbed": str(_world(directory / "tapped.yaml", trailers=True)),
        "trailers": True,
        "directory": str(directory),
        "rounds": max(1, extent.live_seeds // _WAYS),
    }
    return _part("in_world", orders)


def _world(path: Path, *, trailers: bool) -> Path:
    """A testbed like the default one, with a channel that does not fade."""
    yaml = YAML()
    plain = yaml.load(find("virtual").read_text("utf-8"))
    plain["world"]["trailers"] = trailers
    plain["world"]["radio"]["shadowing"] = "0 dB"
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(plain, file)
    return path


def dossier(
    extent: Extent, found: Sequence[Item], started_ns: int, finished_ns: int
) -> dict[str, Any]:
    """Everything that was found, as plain JSON values: the evidence of the validation."""
    return {
        "schema": SCHEMA,
        "hil": hil.__version__,
        "python": sys.version.split()[0],
        "host": {"name": os.uname().nodename, **host_facts()},
        "load": list(os.getloadavg()),
        "started_ns": started_ns,
        "finished_ns": finished_ns,
        "extent": {
            "seeds": extent.seeds,
            "live_seeds": extent.live_seeds,
            "packets": extent.packets,
            "repeats": extent.repeats,
            "bugs_with_traffic": len(extent.bugs),
        },
        "exit_code": int(code(found)),
        "items": [each.to_json() for each in found],
    }


def code(found: Sequence[Item]) -> ExitCode:
    """0 where every item holds, 1 where one does not, 10 where the rig kept one from a try."""
    if any(each.holds is False for each in found):
        return ExitCode.FAIL
    if not found or any(each.holds is None for each in found):
        return ExitCode.RIG
    return ExitCode.OK
