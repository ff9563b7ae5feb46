"""The modem endpoint: a tty that answers AT commands and speaks up by itself."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hil.testbed import ModemEndpoint, World
from hil.virtual.coupling import Coupling
from hil.virtual.endpoints.at_interpreter import Interface, Interpreter
from hil.virtual.endpoints.modem_state import ModemState
from hil.virtual.endpoints.pty_port import PtyPort

#: From the answer to AT+CFUN=1,1 until the port is gone, from then until it is back, and from then
#: until the modem says that it has started. Real modules take 10 to 20 s for the second; here it is
#: as short as it can be without a client missing it.
HANG_UP_NS: Final = 50_000_000
BOOT_NS: Final = 2_000_000_000
GREET_NS: Final = 300_000_000
_BOOT_LINES: Final = ("RDY", "+CFUN: 1", "+CPIN: READY", "+QUSIM: 1", "+QIND: SMS DONE")
_LONGEST_LINE: Final = 2048


class Modem:
    """One modem, served by a thread of its own from construction to `close`.

    Args:
        config: the endpoint's entry in the testbed.
        world: the world it lives in.
        coupling: where the world's attenuation is read and the session's state is written.
        directory: where the link to the tty is made.
        pin: what the SIM asks for after each start; None: nothing.
    """

    def __init__(
        self,
        config: ModemEndpoint,
        world: World,
        coupling: Coupling,
        directory: Path,
        *,
        pin: str | None = None,
    ) -> None:
        self._state = ModemState(config, world, coupling, coupling.row(config.link), pin)
        self._coupling = coupling
        self._epoch_ns = coupling.epoch_ns
        self._interpreter = Interpreter(self._state)
        self._port = PtyPort(directory / config.link)
        self._line = b""
        self._due: list[tuple[int, Callable[[], None]]] = []
        self._cable = True
        self._booting = False
        self._wake_read, self._wake_write = os.pipe()
        self._state.settle(self._now_ns())
        self._port.plug()
        self._thread = threading.Thread(target=self._serve, name=config.link, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Unplug the tty and end the thread."""
        os.write(self._wake_write, b"x")
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def unplug(self) -> None:
        """Pull the cable of the tty; the modem goes on."""
        os.write(self._wake_write, b"u")

    def plug(self) -> None:
        """Put the cable in again."""
        os.write(self._wake_write, b"p")

    def power(self, on: bool) -> None:
        """Cut the supply: the tty hangs up and the session is gone; or bring it back: it boots."""
        os.write(self._wake_write, b"1" if on else b"0")

    def _now_ns(self) -> int:
        return time.time_ns() - self._epoch_ns

    def _serve(self) -> None:
        while True:
            ready = self._wait()
            if self._wake_read in ready and not self._obey(os.read(self._wake_read, 1)):
                return
            now_ns = self._now_ns()
            while self._due and self._due[0][0] <= now_ns:
                self._due.pop(0)[1]()
            if not self._booting:
                for line in self._state.step(now_ns):
                    self._say(line)
            if self._port.plugged and self._port.fileno() in ready:
                self._receive(self._port.read())

    def _obey(self, word: bytes) -> bool:
        """Do what another thread asked for; False when that is to end."""
        if word in b"01":
            self._power(word == b"1")
            return True
        self._cable = word == b"p"
        if not self._cable:
            self._port.unplug()
            self._line = b""
        elif not self._booting and not self._port.plugged:
            self._port.plug()
        return word != b"x"

    def _wait(self) -> list[int]:
        """Descriptors that are ready, after one measuring period at the latest."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if self._port.plugged:
            poll.register(self._port.fileno(), select.POLLIN)
        limit_ns = self._state.receiver.period_ns
        if self._due:
            limit_ns = min(limit_ns, max(0, self._due[0][0] - self._now_ns()))
        return [descriptor for descriptor, _ in poll.poll(limit_ns / 1e6)]

    def _restart(self) -> None:
        """Hang up, come back, greet: one after the other."""
        hang_up_ns = self._now_ns() + HANG_UP_NS
        back_ns = hang_up_ns + BOOT_NS
        self._due = [
            (hang_up_ns, self._hang_up),
            (back_ns, self._come_back),
            (back_ns + GREET_NS, self._greet),
        ]

    def _power(self, on: bool) -> None:
        if not on:
            self._coupling.set_powered(self._state.row, False)
            self._due.clear()
            self._hang_up()
        elif self._booting and not self._due:
            back_ns = self._now_ns() + BOOT_NS
            self._due = [(back_ns, self._come_back), (back_ns + GREET_NS, self._greet)]

    def _come_back(self) -> None:
        self._booting = False
        self._coupling.set_powered(self._state.row, True)
        if self._cable:
            self._port.plug()

    def _hang_up(self) -> None:
        self._booting = True
        self._port.unplug()
        self._state.restart()
        self._interpreter.interface = Interface()
        self._line = b""

    def _greet(self) -> None:
        for line in _BOOT_LINES:
            self._say(line)

    def _receive(self, data: bytes) -> None:
        if self._interpreter.interface.echo:
            self._port.write(data)
        *lines, self._line = (self._line + data.replace(b"\n", b"")).split(b"\r")
        self._line = self._line[-_LONGEST_LINE:]
        for line in lines:
            self._execute(line.decode("ascii", "replace").strip())

    def _execute(self, line: str) -> None:
        answer, result = self._interpreter.execute(line, self._now_ns())
        for text in answer:
            self._say(text)
        if result is not None:
            self._finish(result)
        # What a command brought about is told after its result, in the modem's own time.
        for text in self._state.step(self._now_ns()):
            self._say(text)
        if self._interpreter.restart_wanted:
            self._interpreter.restart_wanted = False
            self._restart()

    def _finish(self, result: str) -> None:
        if self._interpreter.interface.verbose:
            self._say(result)
        else:
            number = {"OK": "0", "ERROR": "4"}.get(result, result)
            self._port.write(number.encode() + b"\r")

    def _say(self, line: str) -> None:
        if not self._port.plugged:
            return  # nobody hears it
        ends = b"\r\n" if self._interpreter.interface.verbose else b""
        self._port.write(ends + line.encode() + b"\r\n")
