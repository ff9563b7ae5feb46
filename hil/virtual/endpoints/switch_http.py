"""The HTTP relay endpoint: ``GET /outlets/N`` says 1 or 0, ``PUT /outlets/N`` with 1 or 0 sets."""

from __future__ import annotations

import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from hil import __version__
from hil.virtual.endpoints.outlets import Outlets

_LONGEST_BODY: Final = 64


class HttpSwitch:
    """Serves the outlets by HTTP, from construction to `close`.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(self, address: tuple[str, int], outlets: Outlets) -> None:
        self._server = _Server(address, outlets)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="http switch", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Address and port that it listens on."""
        host, port = self._server.socket.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Take no more requests and end the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], outlets: Outlets) -> None:
        self.outlets = outlets
        super().__init__(address, _Request)

    def server_bind(self) -> None:
        """Bind without the name look-up of the parent, which may ask a name server."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "switch", self.server_address[1]


class _Request(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """The state of one outlet."""
        if (outlet := self._outlet()) is not None:
            self._answer(HTTPStatus.OK, str(int(self.server.outlets.get(outlet))))

    def do_PUT(self) -> None:
        """Switch one outlet."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _LONGEST_BODY))
        if (outlet := self._outlet()) is None:
            return
        wanted = {b"1": True, b"0": False}.get(body.strip())
        if wanted is None:
            self._answer(HTTPStatus.BAD_REQUEST, "1 or 0")
            return
        try:
            self.server.outlets.set(outlet, wanted)
        except PermissionError as error:
            self._answer(HTTPStatus.FORBIDDEN, str(error))
            return
        self._answer(HTTPStatus.OK, str(int(wanted)))

    def version_string(self) -> str:
        """What the device calls itself."""
        return f"hil-switch/{__version__}"

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def _outlet(self) -> int | None:
        """The outlet that the path names; None after it was answered that there is none."""
        if match := re.fullmatch(r"/outlets/(\d{1,3})", self.path):
            outlet = int(match[1])
            try:
                self.server.outlets.get(outlet)
            except KeyError:
                pass
            else:
                return outlet
        self._answer(HTTPStatus.NOT_FOUND, "no such outlet")
        return None

    def _answer(self, status: HTTPStatus, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
