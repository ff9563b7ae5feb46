"""The live testbed: devices that open when they are first asked for and all come home."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from hil.drivers.protocols import Device
from hil.drivers.registry import Registry
from hil.errors import DeviceError, NeedsNotMet, RigError, TargetMissed, UsageError
from hil.lab import world
from hil.lab.faults import fault
from hil.lab.hooks import command
from hil.lab.lease import Lease
from hil.lab.safety import Guard, bounded
from hil.record import register
from hil.samples.clues import Event
from hil.testbed import Testbed, revealed

#: How long one device may take to come home before the next one gets its turn.
_HOME_S: Final = 10.0


class Lab:
    """The devices of a testbed by name; each opens when it is first asked for.

    At a normal end each device is restored as it was found, and goes to its safe state where that
    fails; at an abnormal end each goes to its safe state and nothing is restored, because the state
    as found may set a machine in motion. Both go in reverse order of opening, each step bounded in
    time, one failure not stopping the rest.
    """

    def __init__(
        self,
        testbed: Testbed,
        registry: Registry,
        journal: Callable[[str, str], None],
        injected: Callable[[str, str], None] | None = None,
    ) -> None:
        self.testbed = testbed
        self._registry = registry
        self._journal = journal
        self._injected = injected or journal
        self._open: dict[str, tuple[Device, Mapping[str, Any]]] = {}
        self._healthy = False
        self._lease: Lease | None = None
        if testbed.world is None:
            self._lease = Lease(testbed.name)
            self._lease.take()

    def __getitem__(self, name: str) -> Any:
        """The device of that name, opened and guarded.

        Raises: UsageError for an unknown name; DriverError when it does not open.
        """
        if name not in self.testbed.devices:
            known = ", ".join(self.testbed.devices) or "none"
            raise UsageError(f"no device {name!r} in {self.testbed.source}; it has {known}")
        if name not in self._open:
            self._open[name] = self._start(name)
        return Guard(self._open[name][0], self._journal)

    def of_role(self, role: str) -> Any:
        """The first device of a role, in the order of the testbed file.

        Raises: NeedsNotMet when the bench has none.
        """
        for name, config in self.testbed.devices.items():
            if self._registry.role(config.driver) == role:
                return self[name]
        raise NeedsNotMet([f"needs a {role}; {self.testbed.name} has none"])

    @contextmanager
    def fault(self, name: str, **parameters: Any) -> Iterator[None]:
        """Within it a fault is on: one of the bench's hooks, or one of its world.

        Parameters are texts with units, as in a file: ``lab.fault("delay", cpe="cpe1",
        by="20 ms")``.

        Raises:
            UsageError: the bench offers none of that name; the text says what it offers.
            RigError: the fault could not be begun or ended.
        """
        with fault(self.testbed, self._injected, name, parameters):
            yield

    def events(self, since_ns: int, until_ns: int) -> tuple[Event, ...]:
        """What open devices said by themselves in a span of the realtime clock."""
        found: list[Event] = []
        for name, (device, _) in self._open.items():
            said = getattr(device, "events", None)
            for each in said() if callable(said) else ():
                if each.kind != "other" and since_ns <= each.t_ns <= until_ns:
                    words = " ".join((each.kind, *each.fields[:2]))
                    found.append(Event(each.t_ns, f"{name}: {words}"))
        return tuple(found)

    def check(self) -> None:
        """Raises RigError when the bench is not fit to be measured.

        A world has lost a part, or the health hook of a real bench does not exit with 0; that one
        is asked until it did once.
        """
        world.check(self.testbed)
        health = self.testbed.hooks.health
        if health is not None and not self._healthy:
            command("health", health)
            self._healthy = True

    def close(self, *, abnormal: bool) -> None:
        """Brings every device home, then closes it.

        Raises: RigError naming every device that did not get there.
        """
        faults: list[str] = []
        while self._open:
            name, (device, found) = self._open.popitem()
            faults += self._home(name, device, None if abnormal else found)
            with suppress(Exception):
                bounded(device.close, f"{name}: close", _HOME_S)
        if self._lease is not None:
            self._lease.give_back()
        if faults:
            raise RigError("; ".join(faults))

    def _home(self, name: str, device: Device, found: Mapping[str, Any] | None) -> list[str]:
        """Restores a device as found, else drives it to its safe state; what failed, in words."""
        faults: list[str] = []
        steps: list[tuple[str, Callable[[], None]]] = [("safe state", device.safe_state)]
        if found is not None:
            steps.insert(0, ("restored as found", lambda: device.restore(found)))
        for word, step in steps:
            try:
                bounded(step, f"{name}: {word}", _HOME_S)
            except Exception as error:
                faults.append(f"{name}: not {word}: {error}")
                self._note(name, faults[-1])
            else:
                self._note(name, word)
                break
        return faults

    def _note(self, name: str, text: str) -> None:
        # A record that cannot be written must not keep the next device from coming home.
        with suppress(RigError):
            self._journal(name, text)

    def _start(self, name: str) -> tuple[Device, Mapping[str, Any]]:
        config = world.resolve(self.testbed.devices[name])
        device = self._registry.create(name, config)
        try:
            try:
                device.open()
                found = device.snapshot()
                identity = device.identify()
            finally:
                for secret in revealed():  # also a refusal may quote one
                    register(secret)
            self._journal(name, f"opened: {identity}")
        except BaseException:
            device.close()  # half-open hardware is closed again
            raise
        return device, found


@contextmanager
def device_under_test() -> Iterator[None]:
    """Within it a device's "no" is the product's failure and not the rig's.

    Raises: TargetMissed in place of a DeviceError.
    """
    try:
        yield
    except DeviceError as error:
        raise TargetMissed(f"the device under test refused: {error}") from error
