"""The proxy in front of an endpoint: silence, resets, refusals and slow answers, and their end."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from hil.virtual.faults.proxy import BLACK_HOLE, REFUSE, RESET, SLOW_ANSWER, TcpProxy


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while line := self.rfile.readline():
                self.wfile.write(line)


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        host, port = server.socket.getsockname()[:2]
        front = TcpProxy(("127.0.0.1", 0), (host, port))
        yield front
        front.close()
        server.shutdown()


def client(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(proxy.address, timeout=5)


def ask(connection: socket.socket, text: bytes = b"hello\n") -> bytes:
    connection.sendall(text)
    return connection.recv(100)


def test_without_a_fault_everything_passes(proxy: TcpProxy) -> None:
    with client(proxy) as one, client(proxy) as other:
        for number in range(50):
            line = b"%d\n" % number
            assert ask(one, line) == ask(other, line) == line


def test_the_end_of_a_connection_reaches_the_other_side(proxy: TcpProxy) -> None:
    with client(proxy) as one:
        assert ask(one) == b"hello\n"
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b""


def test_a_black_hole_says_nothing_until_it_is_over(proxy: TcpProxy) -> None:
    with client(proxy) as old:
        ask(old)
        proxy.begin(BLACK_HOLE)
        with client(proxy) as new:
            for each in (old, new):
                each.sendall(b"late\n")
                each.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    each.recv(100)
                each.settimeout(5)
            proxy.end(BLACK_HOLE)
            assert old.recv(100) == new.recv(100) == b"late\n"


def test_a_reset_ends_what_stands_and_what_is_opened(proxy: TcpProxy) -> None:
    with client(proxy) as old:
        ask(old)
        proxy.begin(RESET)
        with pytest.raises(ConnectionResetError):
            old.recv(1)
    with pytest.raises(ConnectionError), client(proxy) as new:
        new.recv(1)
    proxy.end(RESET)
    with client(proxy) as again:
        assert ask(again) == b"hello\n"


def test_a_refusal_leaves_standing_connections_alone(proxy: TcpProxy) -> None:
    with client(proxy) as old:
        ask(old)
        proxy.begin(REFUSE)
        with pytest.raises(ConnectionRefusedError):
            client(proxy)
        assert ask(old) == b"hello\n"
        proxy.end(REFUSE)
        with client(proxy) as new:
            assert ask(new) == b"hello\n"


def test_a_slow_answer_comes_when_its_time_is_over(proxy: TcpProxy) -> None:
    proxy.begin(SLOW_ANSWER, 150_000_000)
    with client(proxy) as one:
        before = time.monotonic()
        assert ask(one) == b"hello\n"
        assert time.monotonic() - before >= 0.149
        one.sendall(b"first\n")
        proxy.end(SLOW_ANSWER)
        one.sendall(b"second\n")
        one.shutdown(socket.SHUT_WR)
        with one.makefile("rb") as answers:
            assert answers.read() == b"first\nsecond\n", "in order, and none is cut off"


def test_an_address_that_cannot_be_had_is_told() -> None:
    with pytest.raises(OSError, match=r"assign|bind"):
        TcpProxy(("192.0.2.1", 0), ("127.0.0.1", 1))


def test_a_server_that_is_gone_is_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        gone = free.getsockname()[:2]
    front = TcpProxy(("127.0.0.1", 0), gone)
    with pytest.raises(ConnectionError), client(front) as one:
        one.recv(1)
    front.close()
