"""What makes each fault of the radio and of the devices, and what ends it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from hil.testbed.faults import AttenuationStep, CellOff, DeviceFault, PlcStop, TtyUnplug
from hil.virtual.endpoints.attenuator import AntennaCables
from hil.virtual.endpoints.modem import Modem
from hil.virtual.endpoints.plc import Plc
from hil.virtual.faults.devices import Maker

#: Loss that leaves nothing of a cell, however near it is.
_NO_SIGNAL_DB: Final = 200.0


def makers(
    cables: AntennaCables,
    rows: Mapping[str, int],
    modems: Mapping[str, Modem],
    plcs: Mapping[str, Plc],
) -> dict[str, Maker]:
    """By kind of fault; devices go by the names of their endpoints, `rows` are the CPEs' numbers.

    Losses of several faults add up, also with those of attenuators.
    """

    def lose(hit: Sequence[int], name: str, loss_db: float) -> Callable[[], None]:
        for row in hit:
            cables.insert(row, name, loss_db)

        def end() -> None:
            for row in hit:
                cables.insert(row, name, 0.0)

        return end

    def device(fault: DeviceFault, name: str) -> Callable[[], None]:
        match fault:
            case CellOff():
                return lose(list(rows.values()), name, _NO_SIGNAL_DB)
            case AttenuationStep():
                hit = list(rows.values()) if fault.cpe is None else [rows[fault.cpe]]
                return lose(hit, name, fault.by_db)
            case PlcStop():
                plcs[fault.plc].stop()
                return plcs[fault.plc].start
            case TtyUnplug():
                modems[fault.cpe].unplug()
                return modems[fault.cpe].plug

    return dict.fromkeys(("cell_off", "attenuation", "plc_stop", "tty_unplug"), device)
