"""One S7 connection (ISO on TCP, RFC 1006) with honest errors.

python-snap7 has fixed limits of 5 s, tells a refusal by text only, and says that every CPU runs;
here the limit is the caller's, a refusal carries its code, the operating state is read from the
controller's own list, and a connection that ran into its limit is dropped.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from hil.drivers.s7_tags import S7Tag
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
    from snap7.client import Client

_Answer = TypeVar("_Answer")

#: A lost SYN is sent again after 1 s and, if need be, 2 s more (RFC 6298 clause 2).
_CONNECT_LIMIT_S: Final = 3.5
_CODE: Final = re.compile(r"\(?0x([0-9a-fA-F]+)\)?")
#: System status list: current operating state, identification of the module.
_OPERATING_STATE, _MODULE = 0x0424, 0x0011


class S7Link:
    """A connection to one controller; connects again by itself after a loss.

    Args:
        device: name of the device, for errors.
        host: address of the controller.
        port: its TCP port.
        place: rack and slot of the CPU.
        limit_s: how long an answer may take.
        transcript: where the dialogue is written down.
    """

    def __init__(
        self,
        device: str,
        host: str,
        *,
        port: int,
        place: tuple[int, int],
        limit_s: float,
        transcript: Transcript,
    ) -> None:
        self._device = device
        self._where = f"{host}:{port}"
        self._host, self._port, self._place = host, port, place
        self._limit_s = limit_s
        self._transcript = transcript
        self._lock = threading.RLock()
        self._client: Client | None = None

    def connect(self) -> None:
        """Connect, where there is no connection.

        Raises:
            ConnectFailed: refused or no answer.
        """
        with self._lock:
            if self._client is not None:
                return
            from snap7.client import Client
            from snap7.connection import ISOTCPConnection
            from snap7.error import S7Error

            logging.getLogger("snap7").setLevel(logging.CRITICAL)  # the transcript has it
            client = Client()
            rack, slot = self._place
            client.connection = ISOTCPConnection(
                host=self._host,
                port=self._port,
                local_tsap=client.local_tsap,
                remote_tsap=client.connection_type << 8 | rack << 5 | slot,
            )
            try:
                # `Client.connect` does the same with a limit of 5 s that nobody can change.
                client.connection.connect(timeout=max(self._limit_s, _CONNECT_LIMIT_S))
                client._setup_communication()
            except (S7Error, OSError, RuntimeError, ValueError) as error:
                with contextlib.suppress(Exception):
                    client.disconnect()
                raise self._error(ConnectFailed, "connect", f"{self._where}: {error}") from error
            client.connected = True
            client.connection.timeout = self._limit_s
            if client.connection.socket is not None:
                client.connection.socket.settimeout(self._limit_s)
            self._client = client

    def close(self) -> None:
        """Let go of the connection; silent."""
        with self._lock:
            client, self._client = self._client, None
            if client is not None:
                with contextlib.suppress(Exception):
                    client.disconnect()

    def read(self, tag: S7Tag) -> bytes:
        """The bytes of one tag; of a bit its byte, with all other bits 0."""

        def ask(client: Client) -> bytes:
            from snap7.type import Area

            return bytes(client.read_area(Area[tag.area], tag.block, tag.start, tag.size))

        data = self._call(ask, f"read {tag.address}")
        if len(data) != tag.size:
            raise self._error(ProtocolViolation, f"read {tag.address}", f"{len(data)} bytes came")
        self._transcript.add("<", data.hex(" "))
        return tag.encode(tag.decode(data)) if tag.type == "bool" else data

    def write(self, tag: S7Tag, raw: bytes) -> None:
        """Set the bytes of one tag."""

        def ask(client: Client) -> None:
            from snap7.type import Area

            client.write_area(Area[tag.area], tag.block, tag.start, bytearray(raw))

        self._call(ask, f"write {tag.address} {raw.hex(' ')}")
        self._transcript.add("<", "written")

    def operating_state(self) -> int:
        """The operating state of the CPU: 8 is RUN, 4 is STOP (SZL 0x0424, byte 3 of a record).

        Raises:
            DeviceError: the controller has no such list.
        """
        data = self._list(_OPERATING_STATE)
        if len(data) < 8:
            raise self._error(ProtocolViolation, "operating state", data.hex(" "))
        return data[7]

    def module(self) -> tuple[str | None, str | None]:
        """Order number and firmware of the CPU (SZL 0x0011); None where it does not say."""
        data = self._list(_MODULE)
        order = data[6:26].decode("ascii", "replace").strip("\0 ") or None
        return order, ".".join(str(each) for each in data[27:30]) or None

    def _list(self, number: int) -> bytes:
        """One system status list: length and number of records, then the records."""

        def ask(client: Client) -> bytes:
            found = client.read_szl(number, 0)
            span = found.Header.LengthDR * max(1, found.Header.NDR) + 4
            return bytes(bytearray(found.Data)[:span])

        data = self._call(ask, f"list 0x{number:04x}")
        self._transcript.add("<", data.hex(" "))
        return data

    def _call(self, ask: Callable[[Client], _Answer], operation: str) -> _Answer:
        from snap7.error import S7ConnectionError, S7Error, S7TimeoutError

        with self._lock:
            self.connect()
            client = self._client
            assert client is not None
            self._transcript.add(">", operation)
            try:
                return ask(client)
            except S7TimeoutError as error:
                self.close()
                detail = f"{self._where}: no answer in {self._limit_s:g} s"
                raise self._error(DriverTimeout, operation, detail) from error
            except (S7ConnectionError, OSError) as error:
                self.close()
                raise self._error(ConnectionLost, operation, f"{self._where}: {error}") from error
            except (S7Error, RuntimeError) as error:
                raise self._refusal(error, operation) from error
            except (ValueError, IndexError) as error:
                self.close()
                raise self._error(ProtocolViolation, operation, str(error)) from error

    def _refusal(self, error: Exception, operation: str) -> DeviceError:
        """The controller's own no; its code stands in the text of the library's error."""
        text = str(error)
        found = _CODE.findall(text)
        code = int(found[-1], 16) if found else getattr(error, "error_code", None)
        self._transcript.add("<", text)
        said = text.rpartition(": ")[2]
        said = _CODE.sub("", said).strip() or "refused"
        return DeviceError(self._device, operation, code, said, transcript=self._transcript.tail())

    def _error(self, kind: type[DriverError], operation: str, detail: str) -> DriverError:
        self._transcript.add("*", f"{operation}: {detail}")
        return kind(self._device, operation, detail, transcript=self._transcript.tail())
