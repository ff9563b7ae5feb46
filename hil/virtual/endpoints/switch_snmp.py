"""The SNMP power switch endpoint: an agent of version 1 and 2c with an APC rPDU's outlet objects.

Messages by RFC 3416 (operations) and RFC 3584 clause 4 (what version 1 says instead).
"""

from __future__ import annotations

import socket
import threading
from typing import Any, Final

from pyasn1.codec.ber import decoder, encoder
from pyasn1.type import univ
from pysnmp.proto import api

from hil import __version__
from hil.virtual.endpoints.outlets import Outlets

#: rPDUOutletControlOutletCommand of PowerNet-MIB: 1 is on, 2 is off.
CONTROL: Final = (1, 3, 6, 1, 4, 1, 318, 1, 1, 12, 3, 3, 1, 1, 4)
_ON, _OFF = 1, 2
_DESCRIPTION: Final = (1, 3, 6, 1, 2, 1, 1, 1, 0)  # sysDescr (RFC 3418)
_OBJECT: Final = (1, 3, 6, 1, 2, 1, 1, 2, 0)  # sysObjectID
_RPDU: Final = (1, 3, 6, 1, 4, 1, 318, 1, 3, 4, 6)
_NO_SUCH_NAME, _WRONG_TYPE, _WRONG_VALUE, _NO_CREATION, _NOT_WRITABLE = 2, 7, 10, 11, 17
_LONGEST_MESSAGE: Final = 65535


class SnmpSwitch:
    """Serves the outlets by SNMP, from construction to `close`.

    Args:
        address: where to listen, UDP.
        outlets: what is switched.
        read: community that may read.
        write: community that may read and write.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(
        self,
        address: tuple[str, int],
        outlets: Outlets,
        *,
        read: str = "public",
        write: str = "private",
    ) -> None:
        self._outlets = outlets
        self._read, self._write = read.encode(), write.encode()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._serve, name="snmp switch", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Address and port that it listens on."""
        host, port = self._socket.getsockname()
        return host, port

    def close(self) -> None:
        """Answer nobody any more and end the thread."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            self._ended = True
            waker.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()

    _ended = False

    def _serve(self) -> None:
        while True:
            data, peer = self._socket.recvfrom(_LONGEST_MESSAGE)
            if self._ended:
                return
            if answer := self.answer(data):
                self._socket.sendto(answer, peer)

    def answer(self, data: bytes) -> bytes | None:
        """The answer to one message; None for what deserves none (RFC 3416 clause 4)."""
        try:
            version = int(api.decodeMessageVersion(data))
            module = api.PROTOCOL_MODULES[version]
            message, _ = decoder.decode(data, asn1Spec=module.Message())
            community = bytes(module.apiMessage.get_community(message))
            pdu = module.apiMessage.get_pdu(message)
        except Exception:  # the decoder raises anything, TypeError too, for what is no message
            return None
        writing = pdu.isSameTypeWith(module.SetRequestPDU())
        if not writing and not pdu.isSameTypeWith(module.GetRequestPDU()):
            return None
        if community != self._write and (writing or community != self._read):
            return None  # a wrong community is met with silence
        response = module.apiMessage.get_response(message)
        self._fill(module, pdu, module.apiMessage.get_pdu(response), writing)
        return bytes(encoder.encode(response))

    def _fill(self, module: Any, pdu: Any, answer: Any, writing: bool) -> None:
        asked = module.apiPDU.get_varbinds(pdu)
        bound = []
        for index, (name, value) in enumerate(asked, 1):
            number = tuple(name)
            try:
                bound.append((name, self._one(module, number, value if writing else None)))
            except _Refused as refused:
                missing = not writing and module is not api.PROTOCOL_MODULES[api.SNMP_VERSION_1]
                if missing:
                    bound.append((name, module.NoSuchInstance("")))
                    continue
                version_1 = module is api.PROTOCOL_MODULES[api.SNMP_VERSION_1]
                status = _NO_SUCH_NAME if version_1 else refused.status
                module.apiPDU.set_error_status(answer, status)
                module.apiPDU.set_error_index(answer, index)
                module.apiPDU.set_varbinds(answer, asked)
                return
        module.apiPDU.set_varbinds(answer, bound)

    def _one(self, module: Any, number: tuple[int, ...], value: Any) -> Any:
        """The value of one object, after it was set where there is one to set."""
        texts = {
            _DESCRIPTION: lambda: module.OctetString(f"hil power switch {__version__}"),
            _OBJECT: lambda: module.ObjectIdentifier(_RPDU),
        }
        if number in texts:
            if value is not None:
                raise _Refused(_NOT_WRITABLE)
            return texts[number]()
        if number[:-1] != CONTROL:
            raise _Refused(_NO_CREATION)
        try:
            if value is not None:
                if not isinstance(value, univ.Integer):
                    raise _Refused(_WRONG_TYPE)
                wanted = {_ON: True, _OFF: False}.get(int(value))
                if wanted is None:
                    raise _Refused(_WRONG_VALUE)
                self._outlets.set(number[-1], wanted)
            return module.Integer(_ON if self._outlets.get(number[-1]) else _OFF)
        except KeyError:
            raise _Refused(_NO_CREATION) from None
        except PermissionError:
            raise _Refused(_NOT_WRITABLE) from None


class _Refused(Exception):
    """An object that is not there, or cannot be that; `status` by RFC 3416 clause 3."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"error-status {status}")
