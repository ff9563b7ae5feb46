"""The controller endpoint: a Modbus TCP server in front of the conveyor's program."""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from pymodbus.constants import ExcCodes
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from hil import __version__
from hil.testbed import PlcEndpoint
from hil.virtual.endpoints.conveyor import Conveyor
from hil.virtual.endpoints.namespace import enter

_DISCRETE: Final = 2
_INPUT: Final = 4
_HOLDING: Final = (3, 6, 16, 22, 23)  # Modbus function codes
_START_LIMIT_S: Final = 10.0


class ServedPlc(Protocol):
    """A controller that is served until it is closed, whatever its protocol."""

    @property
    def address(self) -> tuple[str, int]:
        """Address and port that it listens on."""

    def close(self) -> None:
        """Close all connections and end the threads."""

    def stop(self) -> None:
        """Stop the control program; the server goes on."""

    def start(self) -> None:
        """Start the control program again."""


def serve_plc(name: str, config: PlcEndpoint, host: str, namespace: int | None) -> ServedPlc:
    """A controller that speaks the protocol of its entry, in its own network namespace.

    Raises:
        OSError: the port cannot be had.
        ValueError: the protocol's library is not installed.
    """
    if config.protocol == "modbus":
        return Plc(config, host=host, namespace=namespace)
    try:
        from hil.virtual.endpoints.plc_s7 import PlcS7
    except ModuleNotFoundError:
        raise ValueError(f"{name} speaks S7, which needs pip install 'hil[s7]'") from None
    return PlcS7(config, host=host, namespace=namespace)


class Plc:
    """One controller, served by a thread of its own from construction to `close`.

    Registers, all 16 bit but for the speed: holding 0 `output`, 1 `heartbeat`, 2 `watchdog` in ms,
    3 `echo`; input 0 `echoed`, 1 `scan_count`, 2 and 3 `speed` in m/s as a float with the high
    word first; discrete input 0 `running`, 1 `tripped`.

    Args:
        config: the endpoint's entry in the testbed.
        host: address to listen on; all by default, those of the network and of the cable.
        namespace: descriptor of the network namespace to listen in; None: that of the process.

    Raises:
        OSError: the port cannot be had.
    """

    def __init__(
        self, config: PlcEndpoint, *, host: str = "0.0.0.0", namespace: int | None = None
    ) -> None:
        self._conveyor = Conveyor(
            config.scan_ns, config.watchdog_ns // 1_000_000, time.monotonic_ns()
        )
        self._address = (host, config.tcp_port)
        self._namespace = namespace
        self._started = threading.Event()
        self._failure: OSError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._serve, name="plc", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_LIMIT_S):
            raise TimeoutError("the Modbus server did not start")
        if self._failure is not None:
            raise self._failure

    @property
    def address(self) -> tuple[str, int]:
        """Address and port that it listens on."""
        return self._address

    def close(self) -> None:
        """Close all connections and end the thread."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def stop(self) -> None:
        """Stop the control program; the server goes on."""
        self._call(self._conveyor.stop)

    def start(self) -> None:
        """Start the control program again."""
        self._call(self._conveyor.start)

    def _call(self, act: Callable[[int], None]) -> None:
        """Between two requests, in the thread that serves them; returns when it is done."""
        assert self._loop is not None

        async def now() -> None:
            act(time.monotonic_ns())

        asyncio.run_coroutine_threadsafe(now(), self._loop).result(_START_LIMIT_S)

    def _serve(self) -> None:
        try:
            if self._namespace is not None:
                enter(self._namespace)
            asyncio.run(self._run())
        except OSError as error:
            self._failure = error
            self._started.set()

    async def _run(self) -> None:
        # A refused request is the client's affair, not the log's.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = ModbusTcpServer(self._device(), address=self._address, identity=_identity())
        if not await server.listen():
            raise OSError(f"port {self._address[1]} cannot be had")
        listening: Any = server.transport
        self._address = listening.sockets[0].getsockname()[:2]
        self._started.set()
        await self._stop.wait()
        await server.shutdown()  # type: ignore[no-untyped-call]

    def _device(self) -> SimDevice:
        bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        return SimDevice(
            id=1,
            simdata=(
                bits,
                [SimData(0, values=[False] * 16, datatype=DataType.BITS)],
                [SimData(0, values=self._conveyor.registers.copy(), datatype=DataType.REGISTERS)],
                [SimData(0, count=4, values=0, datatype=DataType.REGISTERS)],
            ),
            action=self._access,
        )

    async def _access(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Bring the registers up to date before they are read, or pass a write to the program.

        Never awaits: the server mixes up pipelined requests when it does.
        """
        conveyor, now_ns = self._conveyor, time.monotonic_ns()
        if values is not None and function in _HOLDING:
            try:
                for offset, value in enumerate(values):
                    conveyor.write(address + offset, int(value), now_ns)
            except ValueError:
                return ExcCodes.ILLEGAL_VALUE
            return None
        conveyor.advance(now_ns)
        if function == _DISCRETE:
            registers[0] = conveyor.running | conveyor.tripped << 1
        elif function == _INPUT:
            speed = struct.unpack(">2H", struct.pack(">f", conveyor.speed))
            registers[:] = [conveyor.echoed, conveyor.scan_count, *speed]
        elif function in _HOLDING:
            registers[:] = conveyor.registers
        return None


def _identity() -> ModbusDeviceIdentification:
    return ModbusDeviceIdentification(  # type: ignore[no-untyped-call]
        info_name={
            "VendorName": "hil",
            "ProductCode": "conveyor",
            "MajorMinorRevision": __version__,
        }
    )
