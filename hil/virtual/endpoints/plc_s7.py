"""The S7 controller endpoint: python-snap7's server in front of the conveyor's program.

The server does not know the list of the operating state (SZL 0x0424), from which the driver learns
whether the CPU runs; it is added here, as an S7-300 gives it.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import time
from typing import Any, Final

from snap7.error import S7Error
from snap7.server import CPUState, Server
from snap7.type import SrvArea

from hil.testbed import PlcEndpoint
from hil.virtual.endpoints.conveyor import Conveyor
from hil.virtual.endpoints.namespace import enter

_OPERATING_STATE: Final = 0x0424
_RUN, _STOP = 8, 4
_BLOCK: Final = 1
_REGISTERS: Final = 4  # the words at the front that a client may write
_SIZE: Final = 20


class PlcS7:
    """One controller, served from construction to `close`.

    Data block 1, high byte first: DBW0 `output`, DBW2 `heartbeat`, DBW4 `watchdog` in ms, DBW6
    `echo`; DBW8 `echoed`, DBW10 `scan_count`, DBD12 `speed` in m/s; DBX16.0 `running`, DBX16.1
    `tripped`. What follows the first four words takes no write.

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
        logging.getLogger("snap7").setLevel(logging.CRITICAL)  # a refusal is the client's affair
        self._conveyor = Conveyor(
            config.scan_ns, config.watchdog_ns // 1_000_000, time.monotonic_ns()
        )
        self._server = _Server(self._conveyor)
        failures: list[Exception] = []

        def listen() -> None:
            try:
                if namespace is not None:
                    enter(namespace)
                self._server.start_to(host, config.tcp_port)
            except (OSError, S7Error) as error:
                failures.append(error)

        # A thread of its own, because the socket lives where its maker is when it is made.
        maker = threading.Thread(target=listen, name="s7 listen")
        maker.start()
        maker.join()
        if failures:
            raise OSError(f"port {config.tcp_port} cannot be had: {failures[0]}")

    @property
    def address(self) -> tuple[str, int]:
        """Address and port that it listens on."""
        assert self._server.server_socket is not None
        host, port = self._server.server_socket.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Close all connections and end the threads."""
        self._server.disconnect()
        self._server.stop()

    def stop(self) -> None:
        """Stop the control program; the server goes on."""
        self._server.switch(running=False)

    def start(self) -> None:
        """Start the control program again."""
        self._server.switch(running=True)


class _Server(Server):
    """Memory that is calculated as it is read, and a CPU that says whether it runs."""

    def __init__(self, conveyor: Conveyor) -> None:
        super().__init__(log=False)
        self._conveyor = conveyor
        self._turn = threading.Lock()
        self._memory = bytearray(_SIZE)
        self._sockets: set[socket.socket] = set()
        self.register_area(SrvArea.DB, _BLOCK, self._memory)

    def switch(self, *, running: bool) -> None:
        """The key switch: RUN or STOP."""
        with self._turn:
            act = self._conveyor.start if running else self._conveyor.stop
            act(time.monotonic_ns())
            self.cpu_state = CPUState.RUN if running else CPUState.STOP

    def disconnect(self) -> None:
        """Let go of every client, so that none holds up the end."""
        for client in tuple(self._sockets):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _handle_client(self, client_socket: socket.socket, address: tuple[str, int]) -> None:
        self._sockets.add(client_socket)
        try:
            super()._handle_client(client_socket, address)
        finally:
            self._sockets.discard(client_socket)

    def _read_from_memory_area(
        self, area: Any, db_number: int, start: int, count: int
    ) -> tuple[int, bytearray]:
        with self._turn:
            self._refresh()
        return super()._read_from_memory_area(area, db_number, start, count)

    def _write_to_memory_area(
        self, area: Any, db_number: int, start: int, write_data: bytearray
    ) -> bool:
        """Whole words at the front of the block, each as the program accepts it."""
        if db_number != _BLOCK or start % 2 or len(write_data) % 2:
            return False
        first, words = start // 2, struct.unpack(f">{len(write_data) // 2}H", write_data)
        if first + len(words) > _REGISTERS:
            return False
        with self._turn:
            try:
                for offset, word in enumerate(words):
                    self._conveyor.write(first + offset, word, time.monotonic_ns())
            except ValueError:
                return False
        return True

    def _refresh(self) -> None:
        program = self._conveyor
        program.advance(time.monotonic_ns())
        self._memory[:] = struct.pack(
            ">4H2HfB3x",
            *program.registers,
            program.echoed,
            program.scan_count,
            program.speed,
            program.running | program.tripped << 1,
        )

    def _get_szl_data(self, szl_id: int, szl_index: int) -> bytes | None:
        if szl_id != _OPERATING_STATE:
            return super()._get_szl_data(szl_id, szl_index)
        state = _RUN if self.cpu_state is CPUState.RUN else _STOP
        # Event, priority class, operating state, reserved, cause, time.
        record = struct.pack(">HBB4s4s8s", 0x4302, 0xFF, state, b"", b"", b"")
        return struct.pack(">HH", len(record), 1) + record

    def _handle_plc_control(self, request: Any, client_address: tuple[str, int]) -> bytes:
        answer = super()._handle_plc_control(request, client_address)
        self.switch(running=self.cpu_state is CPUState.RUN)
        return answer

    def _handle_plc_stop(self, request: Any, client_address: tuple[str, int]) -> bytes:
        self.switch(running=False)
        return super()._handle_plc_stop(request, client_address)
