"""A TCP proxy in front of an endpoint: what a network does to a connection, the server untouched.

Without a fault it passes everything on as it comes, which costs a tenth of a millisecond. One
thread with an event loop of its own each.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final

from hil.virtual.endpoints.namespace import enter

Address = tuple[str, int]

BLACK_HOLE, RESET, REFUSE, SLOW_ANSWER = "black_hole", "reset", "refuse", "slow_answer"
_LIMIT_S: Final = 10.0
_STEP_S: Final = 1e-6  # keeps what is due together in order
_LINGER_0: Final = struct.pack("ii", 1, 0)  # close(2) then resets, socket(7)


class TcpProxy:
    """Stands at `listen` for the server at `server`, from construction to `close`.

    Args:
        listen: address and port that clients know.
        server: where the endpoint itself listens.
        namespace: descriptor of the network namespace of both; None: that of the process.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(self, listen: Address, server: Address, namespace: int | None = None) -> None:
        self.address = listen
        self._server = server
        self._namespace = namespace
        self._faults: dict[str, int] = {}  # kind -> delay in ns
        self._legs: set[_Leg] = set()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._failure: OSError | None = None
        self._listener: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)
        self._thread.start()
        if not self._started.wait(_LIMIT_S):
            raise TimeoutError("the proxy did not start")
        if self._failure is not None:
            raise self._failure

    def begin(self, kind: str, by_ns: int = 0) -> None:
        """From the return on a fault is on."""
        self._do(lambda: self._begin(kind, by_ns))

    def end(self, kind: str) -> None:
        """From the return on it is not."""
        self._do(lambda: self._end(kind))

    def close(self) -> None:
        """Close the listener and every connection, and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        try:
            if self._namespace is not None:
                enter(self._namespace)
            self._loop.run_until_complete(self._listen())
        except OSError as error:
            self._failure = error
            self._started.set()
        else:
            self._started.set()
            self._loop.run_forever()
            for leg in tuple(self._legs):
                leg.abort()
            self._loop.run_until_complete(self._deaf())
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        host, port = self.address
        self._listener = await self._loop.create_server(
            lambda: _Leg(self), host, port, reuse_address=True
        )
        self.address = self._listener.sockets[0].getsockname()[:2]

    async def _deaf(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _do(self, act: Callable[[], object]) -> None:
        async def now() -> None:
            done = act()
            if asyncio.iscoroutine(done):
                await done

        asyncio.run_coroutine_threadsafe(now(), self._loop).result(_LIMIT_S)

    def _begin(self, kind: str, by_ns: int) -> object:
        self._faults[kind] = by_ns
        if kind == RESET:
            for leg in tuple(self._legs):
                leg.reset()
        return self._deaf() if kind == REFUSE else None

    def _end(self, kind: str) -> object:
        self._faults.pop(kind, None)
        if kind == BLACK_HOLE:
            for leg in tuple(self._legs):
                leg.flush()
        return self._listen() if kind == REFUSE else None

    # What the legs ask.

    def joined(self, leg: _Leg) -> None:
        """A connection stands; one of a client gets its other half."""
        self._legs.add(leg)
        if RESET in self._faults:
            leg.reset()
        elif leg.peer is None:
            leg.dialling = self._loop.create_task(self._dial(leg))

    async def _dial(self, client: _Leg) -> None:
        host, port = self._server
        try:
            _, server = await self._loop.create_connection(lambda: _Leg(self, client), host, port)
        except OSError:
            client.reset()
            return
        client.peer = server
        client.flush()
        if client not in self._legs:
            server.finish()  # it did not wait

    def pass_on(self, leg: _Leg) -> None:
        """Let what a leg has read go to the other side, as far as the faults allow."""
        peer = leg.peer
        if peer is None or BLACK_HOLE in self._faults:
            return
        data, leg.held = bytes(leg.held), bytearray()
        if data:
            self._in_turn(leg, lambda: peer.send(data))
        if leg.ended:
            leg.ended = False
            self._in_turn(leg, peer.finish if leg.of_server else peer.finish_sending)

    def end_of(self, leg: _Leg) -> None:
        """A connection is gone: so will be the other half, after what is still to be sent."""
        self._legs.discard(leg)
        if (peer := leg.peer) is not None:
            self.pass_on(leg)
            self._in_turn(leg, peer.finish)

    def _in_turn(self, leg: _Leg, act: Callable[[], None]) -> None:
        """Now, or when a slow answer is due, and never before what was to be sent earlier."""
        slow_s = self._faults.get(SLOW_ANSWER, 0) / 1e9 if leg.of_server else 0.0
        now_s = self._loop.time()
        due_s = max(now_s + slow_s, leg.due_s + _STEP_S)
        if due_s <= now_s + _STEP_S and leg.due_s < now_s:
            act()
        else:
            leg.due_s = due_s
            self._loop.call_at(due_s, act)


class _Leg(asyncio.Protocol):
    """One half of a connection: `peer` is the other."""

    def __init__(self, proxy: TcpProxy, peer: _Leg | None = None) -> None:
        self._proxy = proxy
        self.peer = peer
        self.of_server = peer is not None
        self.held = bytearray()
        self.ended = False  #: said its last, which is not passed on yet
        self.due_s = 0.0  #: when the last of what waits is to be sent, loop time
        self.dialling: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._proxy.joined(self)

    def data_received(self, data: bytes) -> None:
        self.held += data
        self._proxy.pass_on(self)

    def eof_received(self) -> bool:
        self.ended = True
        self._proxy.pass_on(self)
        return True  # the other direction may still have to say something

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.end_of(self)

    def flush(self) -> None:
        """Pass on what was held."""
        self._proxy.pass_on(self)

    def send(self, data: bytes) -> None:
        """Send to whoever is at this end."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def finish_sending(self) -> None:
        """Say that nothing more comes, and go on listening."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def finish(self) -> None:
        """Close in order, after what is still to be sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """Close with a reset instead of an end."""
        if self._transport is not None:
            bare = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
            self._transport.abort()
