"""What differs between makes of modem, as data: what they send unasked, how they report the cell.

Quectel's records are as in public logs of RG50x, RM500 and RM520 modules; a field that a log shows
as ``-`` or leaves empty is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hil.drivers.protocols import Rat


@dataclass(frozen=True, slots=True)
class CellRecord:
    """Where one kind of serving-cell record keeps its values: positions among the arguments."""

    rat: Rat
    rsrp: int
    rsrq: int
    sinr: int
    arfcn: int
    pci: int
    band: int
    bandwidth: int | None = None
    scs: int | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """One make of modem.

    `unasked` are prefixes and whole lines that come without a command. `cell_records` are found by
    the first argument that names one. `setup` are commands that put the port in the state that the
    driver needs; a refusal of one of them is written down and tolerated.
    """

    name: str
    serving_cell: str
    cell_records: Mapping[str, CellRecord]
    bandwidth_hz: tuple[float, ...]
    scs_hz: tuple[float, ...]
    unasked: frozenset[str]
    setup: tuple[str, ...]


_MHZ: Final = 1e6

#: TS 27.007 by itself: errors as text, registration with location and slices, session events,
#: radio connection events, operators as numbers.
_STANDARD_SETUP: Final = (
    "AT+CMEE=2",
    "AT+C5GREG=2",
    "AT+CEREG=2",
    "AT+CGEREP=2,1",
    "AT+CSCON=1",
    "AT+COPS=3,2",
)

QUECTEL: Final = Dialect(
    name="quectel",
    serving_cell='AT+QENG="servingcell"',
    cell_records={
        "NR5G-SA": CellRecord(
            Rat.NR_SA, rsrp=12, rsrq=13, sinr=14, arfcn=9, pci=7, band=10, bandwidth=11, scs=15
        ),
        "NR5G-NSA": CellRecord(
            Rat.ENDC, rsrp=4, sinr=5, rsrq=6, arfcn=7, pci=3, band=8, bandwidth=9, scs=10
        ),
        "LTE": CellRecord(Rat.LTE, rsrp=13, rsrq=14, sinr=16, arfcn=8, pci=7, band=9),
    },
    bandwidth_hz=tuple(mhz * _MHZ for mhz in (5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)),
    scs_hz=(15e3, 30e3, 60e3, 120e3),
    unasked=frozenset(
        {
            "+CGEV",
            "+CPIN",
            "+CFUN",
            "+CUSD",
            "+CMTI",
            "+QIND",
            "+QUSIM",
            "+QNETDEVSTATUS",
            "RDY",
            "POWERED DOWN",
            "NORMAL POWER DOWN",
        }
    ),
    setup=_STANDARD_SETUP,
)

DIALECTS: Final = {QUECTEL.name: QUECTEL}
