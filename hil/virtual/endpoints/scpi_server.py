"""A SCPI instrument on a plain TCP socket: one message a line, one answer a line."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import Final

from hil.virtual.endpoints.scpi_core import Core

_LONGEST_MESSAGE: Final = 4096


class ScpiServer:
    """Serves one instrument to any number of clients, from construction to `close`.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(self, address: tuple[str, int], core: Core) -> None:
        self._server = _Server(address, core)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="scpi", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Address and port that it listens on."""
        host, port = self._server.socket.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Close all connections and end the thread."""
        self._server.shutdown()
        self._server.disconnect()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], core: Core) -> None:
        self.core = core
        self.turn = threading.Lock()  # one message at a time, whoever sends it
        self.connections: set[socket.socket] = set()
        super().__init__(address, _Connection)

    def disconnect(self) -> None:
        for connection in tuple(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        self.server.connections.add(self.connection)
        try:
            while message := self.rfile.readline(_LONGEST_MESSAGE):
                with self.server.turn:
                    response = self.server.core.execute(message.decode("ascii", "replace"))
                if response is not None:
                    self.wfile.write(response.encode() + b"\n")
        except OSError:
            return
        finally:
            self.server.connections.discard(self.connection)
