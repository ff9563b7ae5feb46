"""Answers of a modem read into frozen records. Pure; what a modem does not know becomes None."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

from hil.drivers.at import arguments, prefix_of
from hil.drivers.at_dialect import CellRecord, Dialect
from hil.drivers.protocols import (
    EventKind,
    ModemEvent,
    PduSession,
    RadioSample,
    Rat,
    Reg,
    Registration,
    SNssai,
)

#: Outside of these no reading is believed: the measuring ranges of TS 38.133 clauses 10.1.6,
#: 10.1.11 and 10.1.16.
_RSRP: Final = (-156.0, -31.0)
_RSRQ: Final = (-43.0, 20.0)
_SINR: Final = (-23.0, 40.0)
_UNKNOWN_INDEX: Final = 255
#: <AcT> of TS 27.007 clause 7.3.
_ACT: Final = {7: Rat.LTE, 11: Rat.NR_SA, 12: Rat.NR_SA, 13: Rat.ENDC}
_CESQ_FIELDS: Final = 9

_Number = TypeVar("_Number", int, float)


def whole(text: str, digits: int = 10) -> int | None:
    """A whole number; None for anything else."""
    try:
        return int(text, digits)
    except ValueError:
        return None


def _at(fields: Sequence[str], index: int | None) -> str:
    return fields[index] if index is not None and index < len(fields) else ""


def _believable(text: str, span: tuple[float, float]) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if span[0] <= value <= span[1] else None


def snssai(text: str) -> SNssai | None:
    """A slice as ``sst``, ``sst.sd`` in hexadecimal, a mapped one after ``;`` left out.

    TS 27.007 clause 10.1.1.
    """
    match = re.fullmatch(r"([0-9A-Fa-f]{2})(?:\.([0-9A-Fa-f]{6}))?(?:;.*)?", text.strip())
    if match is None:
        return None
    return SNssai(int(match[1], 16), int(match[2], 16) if match[2] else None)


def snssais(text: str) -> tuple[SNssai, ...]:
    """A list of slices, separated by ``:``."""
    return tuple(found for part in text.split(":") if (found := snssai(part)) is not None)


def registration(answer: str, plmn: str | None) -> Registration | None:
    """The answer to AT+C5GREG? (TS 27.007 clause 10.1.47); None when it does not parse."""
    fields = arguments(answer)
    stat = whole(_at(fields, 1))
    if stat is None or stat not in set(Reg):
        return None
    reg = Reg(stat)
    here = reg in (Reg.HOME, Reg.ROAMING)
    act = whole(_at(fields, 4))
    return Registration(
        stat=reg,
        rat=_ACT.get(act, Rat.NR_SA) if here and act is not None else _rat(here),
        plmn=plmn,
        tac=whole(_at(fields, 2), 16),
        cell_id=whole(_at(fields, 3), 16),
        allowed=snssais(_at(fields, 6)),
        reject_cause=whole(_at(fields, 8)),
    )


def _rat(registered: bool) -> Rat:
    return Rat.NR_SA if registered else Rat.NONE


def operator(answer: Iterable[str]) -> tuple[str | None, Rat]:
    """Operator as digits and radio access in the answer to AT+COPS? with format 2."""
    fields = next((arguments(line) for line in answer if prefix_of(line) == "+COPS"), ())
    plmn = _at(fields, 2)
    act = whole(_at(fields, 3))
    rat = Rat.NONE if act is None else _ACT.get(act, Rat.NONE)
    return (plmn if re.fullmatch(r"\d{5,6}", plmn) else None), rat


def serving_cell(answer: Iterable[str], dialect: Dialect, t_ns: int) -> RadioSample | None:
    """A reading out of the make's own records; None where the answer holds no known record."""
    found: RadioSample | None = None
    for line in answer:
        fields = arguments(line)
        record = next((dialect.cell_records[f] for f in fields if f in dialect.cell_records), None)
        # On EN-DC the line of the NR cell counts, and it comes after that of LTE.
        if record is not None:
            found = _reading(fields, record, dialect, t_ns)
    return found


def _reading(fields: Sequence[str], record: CellRecord, dialect: Dialect, t_ns: int) -> RadioSample:
    return RadioSample(
        t_ns=t_ns,
        rat=record.rat,
        rsrp_dbm=_believable(_at(fields, record.rsrp), _RSRP),
        rsrq_db=_believable(_at(fields, record.rsrq), _RSRQ),
        sinr_db=_believable(_at(fields, record.sinr), _SINR),
        band=whole(_at(fields, record.band)),
        arfcn=whole(_at(fields, record.arfcn)),
        pci=whole(_at(fields, record.pci)),
        bandwidth_hz=_coded(_at(fields, record.bandwidth), dialect.bandwidth_hz),
        scs_hz=_coded(_at(fields, record.scs), dialect.scs_hz),
    )


def _coded(text: str, values: Sequence[float]) -> float | None:
    code = whole(text)
    return values[code] if code is not None and 0 <= code < len(values) else None


def signal_quality(answer: Iterable[str], t_ns: int) -> RadioSample | None:
    """A reading out of +CESQ (TS 27.007 clause 8.69), NR part; None where there is none.

    The indices are those of TS 38.133 tables 10.1.6.1-1, 10.1.11.1-1 and 10.1.16.1-1.
    """
    fields = next((arguments(line) for line in answer if prefix_of(line) == "+CESQ"), ())
    if len(fields) < _CESQ_FIELDS:
        return None
    rsrq, rsrp, sinr = (_index(fields[position]) for position in (6, 7, 8))
    return RadioSample(
        t_ns=t_ns,
        rat=Rat.NONE if rsrp is None else Rat.NR_SA,
        rsrp_dbm=None if rsrp is None else rsrp - 156.0,
        rsrq_db=None if rsrq is None else rsrq / 2 - 43.0,
        sinr_db=None if sinr is None else sinr / 2 - 23.0,
    )


def _index(text: str) -> int | None:
    index = whole(text)
    return None if index is None or not 0 <= index < _UNKNOWN_INDEX else index


def sessions(
    contexts: Iterable[str],
    active: Iterable[str],
    addresses: Iterable[str],
    qos: Mapping[int, str],
) -> tuple[PduSession, ...]:
    """Session contexts out of the answers to AT+CGDCONT?, +CGACT?, +CGPADDR and +C5GQOSRDP.

    `qos` holds, per context, the line of +C5GQOSRDP (TS 27.007 clause 10.1.50); its aggregate
    rates are in kbit/s.
    """
    up = active_contexts(active)
    given = {
        whole(_at(f, 0)): tuple(text for text in f[1:] if text) for f in map(arguments, addresses)
    }
    found = []
    for fields in map(arguments, contexts):
        cid = whole(_at(fields, 0))
        if cid is None:
            continue
        rates = arguments(qos[cid]) if cid in qos else ()
        found.append(
            PduSession(
                cid=cid,
                active=cid in up,
                dnn=_at(fields, 2),
                pdu_type=_at(fields, 1).lower(),
                addresses=given.get(cid, ()),
                # Makes differ in where +CGDCONT has the slice; nothing else there looks like one.
                snssai=next(filter(None, map(snssai, fields[8:])), None),
                five_qi=whole(_at(rates, 1)),
                session_ambr_dl_bps=_kilobits(_at(rates, 6)),
                session_ambr_ul_bps=_kilobits(_at(rates, 7)),
            )
        )
    return tuple(found)


def active_contexts(answer: Iterable[str]) -> frozenset[int]:
    """The contexts that the answer to AT+CGACT? calls active."""
    pairs = [(whole(_at(f, 0)), _at(f, 1)) for f in map(arguments, answer)]
    return frozenset(cid for cid, state in pairs if cid is not None and state == "1")


def _kilobits(text: str) -> int | None:
    value = whole(text)
    return None if value is None else value * 1000


def event(line: str, t_ns: int, monotonic_ns: int) -> ModemEvent:
    """What an unsolicited line says."""
    prefix = prefix_of(line)
    kind: EventKind = "other"
    fields: tuple[str, ...] = arguments(line) if prefix else (line,)
    if prefix in ("+C5GREG", "+CEREG"):
        kind = "reg"
    elif prefix == "+CSCON":
        kind = "rrc"
    elif prefix == "+CGEV":
        kind = _session_event(line)
        fields = tuple(re.split(r"[ ,]+", line.partition(":")[2].strip()))
    elif line == "RDY":
        kind = "boot"
    return ModemEvent(t_ns, monotonic_ns, kind, line, fields)


def _session_event(line: str) -> EventKind:
    """TS 27.007 clause 10.1.19."""
    words = re.split(r"[ ,:]+", line)
    for word, kind in (("DEACT", "pdn-deact"), ("ACT", "pdn-act"), ("DETACH", "detach")):
        if word in words:
            return kind  # type: ignore[return-value]
    return "other"
