"""What makes each fault of the radio and of the devices, and what ends it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from hil.testbed.faults import (
    AttenuationStep,
    BlackHole,
    CellOff,
    ConnectionFault,
    DeviceFault,
    PlcStop,
    Refuse,
    Reset,
    SlowAnswer,
    TtyUnplug,
)
from hil.virtual.endpoints.attenuator import AntennaCables
from hil.virtual.endpoints.modem import Modem
from hil.virtual.endpoints.plc import ServedPlc
from hil.virtual.faults.devices import Maker
from hil.virtual.faults.ledger import ENDPOINTS, PART_OF
from hil.virtual.faults.proxy import TcpProxy

#: Loss that leaves nothing of a cell, however near it is.
_NO_SIGNAL_DB: Final = 200.0


def makers(
    cables: AntennaCables,
    rows: Mapping[str, int],
    modems: Mapping[str, Modem],
    plcs: Mapping[str, ServedPlc],
    proxies: Mapping[str, TcpProxy],
) -> dict[str, Maker]:
    """By kind of fault; devices go by the names of their endpoints, `rows` are the CPEs' numbers.

    Losses of several faults add up, also with those of attenuators.
    """

    def device(fault: DeviceFault, name: str) -> Callable[[], None]:
        match fault:
            case CellOff():
                return _loss(cables, list(rows.values()), name, _NO_SIGNAL_DB)
            case AttenuationStep():
                hit = list(rows.values()) if fault.cpe is None else [rows[fault.cpe]]
                return _loss(cables, hit, name, fault.by_db)
            case PlcStop():
                plcs[fault.plc].stop()
                return plcs[fault.plc].start
            case TtyUnplug():
                modems[fault.cpe].unplug()
                return modems[fault.cpe].plug
            case BlackHole() | Reset() | Refuse() | SlowAnswer():
                return _connection(fault, proxies[fault.endpoint])

    return {kind: device for kind, part in PART_OF.items() if part == ENDPOINTS}


def _connection(fault: ConnectionFault, proxy: TcpProxy) -> Callable[[], None]:
    proxy.begin(fault.kind, fault.by_ns if isinstance(fault, SlowAnswer) else 0)
    return lambda: proxy.end(fault.kind)


def _loss(
    cables: AntennaCables, hit: Sequence[int], name: str, loss_db: float
) -> Callable[[], None]:
    for row in hit:
        cables.insert(row, name, loss_db)

    def end() -> None:
        for row in hit:
            cables.insert(row, name, 0.0)

    return end
