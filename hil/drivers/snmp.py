"""A few objects of an SNMP agent, versions 1 and 2c over UDP, with honest errors (RFC 3416).

The messages are coded by pysnmp; the socket is our own and connected, so that a host on which
nobody listens is told from one that is silent. An answer is matched by its request number: one
that comes late, or that is none, meets nobody.
"""

from __future__ import annotations

import random
import select
import socket
import threading
from typing import Any, Final

from hil.clock import Deadline
from hil.drivers.transcript import Transcript
from hil.errors import (
    ConnectFailed,
    ConnectionLost,
    DeviceError,
    DriverError,
    DriverTimeout,
    ProtocolViolation,
)

#: RFC 3416 clause 3.
STATUSES: Final = {
    1: "tooBig",
    2: "noSuchName",
    3: "badValue",
    4: "readOnly",
    5: "genErr",
    6: "noAccess",
    7: "wrongType",
    8: "wrongLength",
    9: "wrongEncoding",
    10: "wrongValue",
    11: "noCreation",
    12: "inconsistentValue",
    13: "resourceUnavailable",
    14: "commitFailed",
    15: "undoFailed",
    16: "authorizationError",
    17: "notWritable",
    18: "inconsistentName",
}
_LONGEST_MESSAGE: Final = 65535
_ATTEMPTS: Final = 2  # a datagram may be lost: the question is asked again at half of the limit

Value = int | str


class SnmpLink:
    """Asks and sets objects of one agent.

    Args:
        device: name of the device, for errors.
        host: address of the agent.
        port: its UDP port.
        version: ``1`` or ``2c``.
        limit_s: how long an answer may take.
        transcript: where the dialogue is written down, without communities.
    """

    def __init__(
        self,
        device: str,
        host: str,
        *,
        port: int,
        version: str,
        limit_s: float,
        transcript: Transcript,
    ) -> None:
        self._device = device
        self._host, self._port = host, port
        self._where = f"{host}:{port}"
        self._version = version
        self._limit_s = limit_s
        self._transcript = transcript
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._number = random.randrange(1, 2**30)

    def close(self) -> None:
        """Let go of the socket; silent."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def get(self, community: str, *oids: str) -> list[Value | None]:
        """The values of some objects; None for one that the agent does not have.

        Raises:
            DriverTimeout: no answer in time; an agent meets a wrong community with silence.
            ConnectionLost: nobody listens there.
            DeviceError: the agent refused.
        """
        with self._lock:
            module = self._module()
            pdu = self._request(module, module.GetRequestPDU(), [(oid, None) for oid in oids])
            return self._ask(module, pdu, community, f"get {' '.join(oids)}")

    def set(self, community: str, oid: str, value: int) -> None:
        """Set one object to a number; raises as `get` does."""
        with self._lock:
            module = self._module()
            pdu = self._request(module, module.SetRequestPDU(), [(oid, value)])
            self._ask(module, pdu, community, f"set {oid} = {value}")

    def _module(self) -> Any:
        from pysnmp.proto import api

        version = {"1": api.SNMP_VERSION_1, "2c": api.SNMP_VERSION_2C}[self._version]
        return api.PROTOCOL_MODULES[version]

    def _request(self, module: Any, pdu: Any, bound: list[tuple[str, int | None]]) -> Any:
        self._number = self._number % (2**31 - 1) + 1
        module.apiPDU.set_defaults(pdu)
        module.apiPDU.set_request_id(pdu, self._number)
        module.apiPDU.set_varbinds(
            pdu, [(oid, module.null if n is None else module.Integer(n)) for oid, n in bound]
        )
        return pdu

    def _ask(self, module: Any, pdu: Any, community: str, what: str) -> list[Value | None]:
        from pyasn1.codec.ber import encoder

        message = module.Message()
        module.apiMessage.set_defaults(message)
        module.apiMessage.set_community(message, community)
        module.apiMessage.set_pdu(message, pdu)
        answer = self._exchange(module, bytes(encoder.encode(message)), what)
        status = int(module.apiPDU.get_error_status(answer))
        if status:
            text = STATUSES.get(status, "unnamed error-status")
            self._transcript.add("<", text)
            tail = self._transcript.tail()
            raise DeviceError(self._device, what, status, text, transcript=tail)
        bound = module.apiPDU.get_varbinds(answer)
        self._transcript.add("<", ", ".join(f"{n} = {v.prettyPrint()}" for n, v in bound))
        return [self._value(value, what) for _, value in bound]

    def _value(self, value: Any, what: str) -> Value | None:
        """A number or a text; None for noSuchObject, noSuchInstance and null."""
        from pyasn1.type import univ

        if isinstance(value, univ.Null):
            return None
        if isinstance(value, univ.Integer):
            return int(value)
        if isinstance(value, univ.ObjectIdentifier):
            return str(value)
        if isinstance(value, univ.OctetString):
            return bytes(value).decode("utf-8", "replace")
        raise self._error(ProtocolViolation, what, f"a value of type {type(value).__name__}")

    def _exchange(self, module: Any, data: bytes, what: str) -> Any:
        """Send until the answer to this very request is in."""
        deadline = Deadline.after(round(self._limit_s * 1e9))
        try:
            line = self._connected(what)
            for attempt in range(1, _ATTEMPTS + 1):
                self._transcript.add(">", what)
                line.send(data)
                until_s = self._limit_s * (1 - attempt / _ATTEMPTS)
                while (left_s := deadline.left_s - until_s) > 0:
                    if not select.select([line], [], [], left_s)[0]:
                        continue
                    answer = self._ours(module, line.recv(_LONGEST_MESSAGE))
                    if answer is not None:
                        return answer
        except OSError as error:
            self.close()
            raise self._error(ConnectionLost, what, f"{self._where}: {error}") from error
        detail = (
            f"{self._where}: no answer in {self._limit_s:g} s (or a community it does not know)"
        )
        raise self._error(DriverTimeout, what, detail)

    def _connected(self, what: str) -> socket.socket:
        if self._socket is None:
            try:
                family, kind, protocol, _, address = socket.getaddrinfo(
                    self._host, self._port, type=socket.SOCK_DGRAM
                )[0]
                line = socket.socket(family, kind, protocol)
            except OSError as error:
                raise self._error(ConnectFailed, what, f"{self._where}: {error}") from error
            try:
                line.connect(address)
            except OSError as error:
                line.close()
                raise self._error(ConnectFailed, what, f"{self._where}: {error}") from error
            self._socket = line
        return self._socket

    def _ours(self, module: Any, data: bytes) -> Any:
        """The answer in a datagram; None where it is no answer to this request."""
        from pyasn1.codec.ber import decoder

        try:
            message, _ = decoder.decode(data, asn1Spec=module.Message())
            pdu = module.apiMessage.get_pdu(message)
            number = int(module.apiPDU.get_request_id(pdu))
        except Exception as error:  # the decoder raises anything for what is no message
            self._transcript.add("*", f"{len(data)} bytes that are no SNMP message: {error}")
            return None
        if number != self._number or not pdu.isSameTypeWith(module.GetResponsePDU()):
            self._transcript.add("*", f"a message that is not the answer awaited: request {number}")
            return None
        return pdu

    def _error(self, kind: type[DriverError], operation: str, detail: str) -> DriverError:
        self._transcript.add("*", f"{operation}: {detail}")
        return kind(self._device, operation, detail, transcript=self._transcript.tail())
