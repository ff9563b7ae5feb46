"""The stamps of network cards in a run: which ports are to have them, and what they were worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import NOT_TAKEN, Table, taken
from hil.traffic.flow import Flow
from hil.traffic.hardware import NOTHING, Capability, capability
from hil.traffic.phc import PhcMap, maps_of
from hil.traffic.port import Port

#: Rate of a card's own crystal where it was not read: the most that IEEE Std 802.3 allows.
CRYSTAL_PPM: Final = 100.0


def offered(flows: Sequence[Flow]) -> dict[Port, Capability]:
    """What the cards of the ports of a run can do that is of use.

    A stamp at one end only has nothing to be subtracted from, so a flow needs both.
    """
    ports = dict.fromkeys(each for flow in flows for each in (flow.tx, flow.rx))
    said = {
        port: NOTHING if port.host is not None else capability(port.interface, port.namespace)
        for port in ports
    }
    useful = {
        port
        for flow in flows
        if said[flow.tx].transmit and said[flow.rx].receive
        for port in (flow.tx, flow.rx)
    }
    return {port: said[port] if port in useful else NOTHING for port in ports}


@dataclass(frozen=True, slots=True)
class Stamping:
    """What a run says of the cards of one flow.

    `live`: warm-up frames came stamped at both ends. `why` says why there is no delay between the
    stamps of the cards, None where there is one.
    """

    live: bool
    why: str | None
    tx_map: PhcMap | None
    rx_map: PhcMap | None
    one_clock: bool

    @property
    def half_ns(self) -> float:
        """Half-width of the error of bringing both stamps to one clock."""
        if self.one_clock or self.tx_map is None or self.rx_map is None:
            return 0.0
        return self.tx_map.half_ns + self.rx_map.half_ns

    @property
    def rate_ppm(self) -> float:
        """Rate of the clock that both stamps are on."""
        return CRYSTAL_PPM if self.tx_map is None else self.tx_map.rate_ppm

    def report(self) -> dict[str, Any]:
        """What a reader needs to know of the cards, as JSON values."""
        return {
            "unused": self.why,
            "one_clock": self.one_clock,
            "map_half_ns": None if self.why else round(self.half_ns),
            "rate_ppm": None if self.tx_map is None else round(self.tx_map.rate_ppm, 3),
        }

    def bring_together(self, samples: Table) -> None:
        """Put the receive stamps on the clock of the card that sent; no stamp where none can be."""
        stamps = samples["rx_hardware_ns"]
        if self.one_clock or not taken(stamps).any():
            return
        if self.tx_map is None or self.rx_map is None:
            stamps[:] = NOT_TAKEN
        else:
            stamps[:] = self.tx_map.from_host(self.rx_map.to_host(stamps))

    def tx_host_ns(self, samples: Table) -> NDArray[np.int64]:
        """When the sending card stamped each sample, on the host's clock."""
        return self._host_ns(samples["tx_hardware_ns"])

    def rx_host_ns(self, samples: Table) -> NDArray[np.int64]:
        """When the receiving card stamped each sample, on the host's clock."""
        return self._host_ns(samples["rx_hardware_ns"])

    def _host_ns(self, stamps: NDArray[np.int64]) -> NDArray[np.int64]:
        # Both columns are on the clock of the sending card once they were brought together.
        if self.tx_map is None:
            return np.full(len(stamps), NOT_TAKEN, np.int64)
        return self.tx_map.to_host(stamps)


def stamping(flow: Flow, sender: Mapping[str, Any], receiver: Mapping[str, Any]) -> Stamping:
    """What the last reports of both processes say of the cards of a flow."""
    clocks = receiver["cards"]["clocks"]
    card_of = receiver["cards"]["clock_of"]
    tx, rx = card_of.get(flow.tx.name), card_of.get(flow.rx.name)
    maps = maps_of(clocks)
    sent, came = sender["warm_stamped"][flow.tx.name], receiver["ports"][flow.rx.name]
    live = bool(sent and came["warm_stamped"])
    one = tx is not None and tx == rx
    tx_map, rx_map = maps.get(tx), maps.get(rx)
    why: str | None = None
    if tx is None or rx is None:
        why = "the drivers offer no stamps of the cards at both ends"
    elif not live:
        refused = [each for each in receiver["cards"]["refused"].values() if each]
        why = f"no warm-up frame was stamped by both cards{f' ({refused[0]})' if refused else ''}"
    elif not one and (tx_map is None or rx_map is None):
        said = "; ".join(clocks["refused"].values()) or "too few readings"
        why = f"the clocks of the two cards could not be compared ({said})"
    return Stamping(live, why, tx_map, rx_map, one)
