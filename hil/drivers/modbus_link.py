"""One Modbus TCP connection with honest errors (Modbus Application Protocol V1.1b3).

pymodbus returns a refusal as a value, raises for a dead link, and keeps a connection after a
time-out; here a refusal raises, and a connection that ran into its limit is dropped, so that a
late answer meets nobody.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hil.drivers.modbus_tags import TagConfig
from hil.drivers.transcript import Transcript
from hil.errors import (
    ConnectFailed,
    ConnectionLost,
    DeviceError,
    DriverError,
    DriverTimeout,
    ProtocolViolation,
)

if TYPE_CHECKING:
    from pymodbus.client import ModbusTcpClient
    from pymodbus.pdu import ModbusPDU

_Answer = TypeVar("_Answer")

#: A lost SYN is sent again after 1 s and, if need be, 2 s more (RFC 6298 clause 2).
_CONNECT_LIMIT_S: Final = 3.5

#: Modbus Application Protocol V1.1b3 clause 7.
EXCEPTIONS: Final = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}


class ModbusLink:
    """A connection to one unit of one server; connects again by itself after a loss.

    Args:
        device: name of the device, for errors.
        host: address of the server.
        port: its TCP port.
        unit: unit identifier behind the server.
        limit_s: how long an answer may take.
        transcript: where the dialogue is written down.
    """

    def __init__(
        self,
        device: str,
        host: str,
        *,
        port: int,
        unit: int,
        limit_s: float,
        transcript: Transcript,
    ) -> None:
        self._device = device
        self._where = f"{host}:{port}"
        self._host, self._port, self._unit = host, port, unit
        self._limit_s = limit_s
        self._transcript = transcript
        self._lock = threading.RLock()
        self._client: ModbusTcpClient | None = None

    def connect(self) -> None:
        """Connect, where there is no connection.

        Raises:
            ConnectFailed: refused or no answer.
        """
        with self._lock:
            if self._client is not None:
                return
            from pymodbus.client import ModbusTcpClient

            # On an error the library writes its last frames to the log; the transcript has them.
            logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
            client = ModbusTcpClient(
                self._host,
                port=self._port,
                timeout=self._limit_s,
                retries=0,
                trace_packet=self._trace,
            )
            limit_s = max(self._limit_s, _CONNECT_LIMIT_S)
            try:
                client.socket = socket.create_connection((self._host, self._port), limit_s)
            except OSError as error:
                raise self._error(ConnectFailed, "connect", f"{self._where}: {error}") from error
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client = client

    def close(self) -> None:
        """Let go of the connection; silent."""
        with self._lock:
            if self._client is not None:
                self._client.close()  # type: ignore[no-untyped-call]
                self._client = None

    def read(self, tag: TagConfig) -> list[int]:
        """The registers, or the bit, of one tag; a bit as 0 or 1."""
        area, start, count = tag.area, tag.start, tag.words
        calls = {
            "hr": "read_holding_registers",
            "ir": "read_input_registers",
            "co": "read_coils",
            "di": "read_discrete_inputs",
        }
        answer = self._call(calls[area], f"read {area}:{start}", start, count=count)
        if area in ("co", "di"):
            return [int(bit) for bit in answer.bits[:count]]
        return list(answer.registers)

    def write(self, tag: TagConfig, values: list[int]) -> None:
        """Write the holding registers, or the coil, of one tag."""
        area, start = tag.area, tag.start
        what = f"write {area}:{start}"
        if area == "co":
            self._call("write_coils", what, start, [bool(value) for value in values])
        else:
            self._call("write_registers", what, start, values)

    def identification(self) -> dict[int, str]:
        """Objects of the basic device identification by their number; empty where refused.

        Function 43/14, Modbus Application Protocol V1.1b3 clause 6.21.
        """
        try:
            answer = self._call("read_device_information", "identify")
        except DeviceError:
            return {}
        texts = dict(answer.information).items()
        return {number: bytes(text).decode("ascii", "replace") for number, text in texts}

    def _call(self, method: str, operation: str, *arguments: Any, **options: Any) -> Any:
        with self._lock:
            self.connect()
            client = self._client
            assert client is not None
            call: Callable[..., ModbusPDU] = getattr(client, method)
            answer = self._bounded(
                lambda: call(*arguments, device_id=self._unit, **options), operation
            )
        if answer.isError():
            code = int(answer.exception_code)
            text = EXCEPTIONS.get(code, "unnamed exception")
            tail = self._transcript.tail()
            raise DeviceError(self._device, operation, code, text, transcript=tail)
        return answer

    def _bounded(self, call: Callable[[], _Answer], operation: str) -> _Answer:
        from pymodbus.exceptions import ConnectionException, ModbusException

        try:
            return call()
        except (ConnectionException, OSError) as error:
            self.close()
            raise self._error(ConnectionLost, operation, f"{self._where}: {error}") from error
        except ModbusException as error:
            self.close()
            if "No response" in str(error):
                detail = f"{self._where}: no answer in {self._limit_s:g} s"
                raise self._error(DriverTimeout, operation, detail) from error
            raise self._error(ProtocolViolation, operation, f"{self._where}: {error}") from error

    def _error(self, kind: type[DriverError], operation: str, detail: str) -> DriverError:
        self._transcript.add("*", f"{operation}: {detail}")
        return kind(self._device, operation, detail, transcript=self._transcript.tail())

    def _trace(self, sending: bool, data: bytes) -> bytes:
        self._transcript.add(">" if sending else "<", data.hex(" "))
        return data
