"""The way home of devices: each gets there, whatever fails on the way."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import pytest

from hil.drivers.protocols import Device, Health, HealthReport, Identity
from hil.drivers.registry import Registry
from hil.errors import DriverError, RigError
from hil.lab import Lab
from hil.record import redact
from hil.testbed import DeviceConfig, Hooks, Secret, Testbed, load

BENCH = "schema: 1\nname: bench\ndevices: {}\nports: {}\npaths: {}\n"


class MachineConfig(DeviceConfig):
    driver: Literal["machine"]
    password: Secret | None = None


class Machine:
    """A device whose every word is written into `said`; `broken` names what it cannot do."""

    role = "plc"

    def __init__(self, name: str, config: MachineConfig, broken: set[str], said: list[str]) -> None:
        self.name, self._config, self._broken, self._said = name, config, broken, said

    def _do(self, what: str) -> None:
        self._said.append(f"{self.name} {what}")
        if what in self._broken:
            secret = self._config.password.reveal() if self._config.password else ""
            raise DriverError(self.name, what, f"refused {secret}")

    def open(self) -> None:
        self._do("open")

    def close(self) -> None:
        self._do("close")

    def snapshot(self) -> Mapping[str, Any]:
        return {}

    def identify(self) -> Identity:
        self._do("identify")
        return Identity(None, None, None, None)

    def restore(self, state: Mapping[str, Any]) -> None:
        self._do("restore")

    def safe_state(self) -> None:
        self._do("safe_state")

    def health(self) -> HealthReport:
        return HealthReport(Health.OK, "", None)

    def capabilities(self) -> frozenset[str]:
        return frozenset()

    def transcript(self, since_ns: int | None = None) -> tuple[str, ...]:
        return ()


class Machines(Registry):
    """A registry whose only driver is `Machine`."""

    def __init__(self, broken: set[str]) -> None:
        super().__init__()
        self.broken = broken
        self.said: list[str] = []

    def create(self, name: str, config: DeviceConfig) -> Device:
        assert isinstance(config, MachineConfig)
        return cast("Device", Machine(name, config, self.broken, self.said))


def silent(device: str, text: str) -> None:
    """A journal that takes everything."""


@pytest.fixture
def bench(tmp_path: Path) -> Testbed:
    file = tmp_path / "bench.yaml"
    file.write_text(BENCH)
    secret = Secret("${env:HIL_MACHINE_PASSWORD}")
    devices = {
        name: MachineConfig(driver="machine", password=secret) for name in ("press", "conveyor")
    }
    return load(str(file), Registry()).model_copy(
        update={"devices": devices, "name": tmp_path.name}
    )


def opened(
    bench: Testbed, broken: set[str], journal: Callable[[str, str], None] = silent
) -> tuple[Lab, Machines]:
    machines = Machines(set())
    lab = Lab(bench, machines, journal)
    for name in bench.devices:
        _ = lab[name]
    machines.said.clear()
    machines.broken |= broken
    return lab, machines


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HIL_MACHINE_PASSWORD", "swordfish-9")
    return "swordfish-9"


def test_a_normal_end_restores_and_an_abnormal_one_does_not(bench: Testbed) -> None:
    for abnormal, step in ((False, "restore"), (True, "safe_state")):
        lab, machines = opened(bench, set())
        lab.close(abnormal=abnormal)
        assert machines.said == [
            f"conveyor {step}",
            "conveyor close",
            f"press {step}",
            "press close",
        ]


def test_a_device_that_cannot_be_restored_goes_to_its_safe_state(bench: Testbed) -> None:
    lab, machines = opened(bench, {"restore"})
    with pytest.raises(RigError, match="press: not restored as found"):
        lab.close(abnormal=False)
    assert [word for word in machines.said if "safe_state" in word] == [
        "conveyor safe_state",
        "press safe_state",
    ]


def test_a_record_that_cannot_be_written_keeps_no_device_from_coming_home(bench: Testbed) -> None:
    full = False

    def journal(device: str, text: str) -> None:
        if full:
            raise RigError("record.jsonl: cannot be written: no space left")

    lab, machines = opened(bench, {"close"}, journal)
    full = True
    lab.close(abnormal=True)
    assert "press safe_state" in machines.said
    assert "conveyor safe_state" in machines.said


def test_a_bench_that_is_not_fit_is_asked_again_until_it_is(bench: Testbed, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    asked = tmp_path / "asked"
    hook = Hooks(health=f"echo x >> {asked}; test -e {ready} || {{ echo no UPF; exit 3; }}")
    lab = Lab(bench.model_copy(update={"hooks": hook}), Machines(set()), silent)
    with pytest.raises(RigError, match=r"health: .* ended with 3: no UPF"):
        lab.check()
    ready.touch()
    lab.check()
    lab.check()
    assert asked.read_text() == "x\nx\n"
    lab.close(abnormal=False)


def test_a_device_that_fails_while_it_is_opened_is_closed_again(bench: Testbed) -> None:
    machines = Machines({"identify"})
    lab = Lab(bench, machines, silent)
    with pytest.raises(DriverError):
        _ = lab["press"]
    assert machines.said[-1] == "press close"
    lab.close(abnormal=True)
    assert "press safe_state" not in machines.said


def test_a_secret_that_a_refusal_quotes_is_hidden(bench: Testbed, password: str) -> None:
    lab = Lab(bench, Machines({"open"}), silent)
    with pytest.raises(DriverError, match=password) as refused:
        _ = lab["press"]
    lab.close(abnormal=True)
    assert password not in redact(str(refused.value))
