"""Worlds as processes: entered, measured in, shared, killed, and gone without a trace."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from hil import _enter

ROOT: Final = Path(__file__).parents[2]
VIRTUAL: Final = ROOT / "testbeds" / "virtual.yaml"
INSIDE: Final = Path(__file__).with_name("virtual_inside.py")
PATIENCE_S: Final = 30.0
_PR_CAPBSET_DROP: Final = 24
# Python that gives up nearly every capability and then becomes the command in its arguments.
DROP: Final = f"""
import ctypes, os, sys
libc = ctypes.CDLL(None)
for capability in range(64):
    if capability != 31:  # CAP_SETFCAP: the kernel wants it of a root that maps itself
        libc.prctl({_PR_CAPBSET_DROP}, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def command(verb: str, testbed: Path = VIRTUAL) -> list[str]:
    return [sys.executable, str(INSIDE), str(testbed), verb]


def start(words: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@contextlib.contextmanager
def held(words: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A command that stays inside a world, and what it says of itself."""
    process = start(words)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def await_end(pid: int) -> None:
    """Wait until a process that need not be a child has ended."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        assert select.select([handle], [], [], PATIENCE_S)[0], f"process {pid} goes on"
        os.close(handle)


def children_of(pid: int) -> dict[str, int]:
    """The processes of a world by the last part of their module's name."""
    found = {}
    for path in Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split():
        words = Path(f"/proc/{path}/cmdline").read_bytes().split(b"\0")
        found[words[words.index(b"-m") + 1].decode().rpartition(".")[2]] = int(path)
    return found


def assert_no_trace(world: dict[str, Any]) -> None:
    assert not Path(world["run"]).exists()
    assert not Path(world["run"]).with_name(f"{world['name']}.world").exists()
    here = _enter.World.from_json(world)
    left = list(_enter.inhabitants(here))
    for process in left:
        os.close(process)
    assert not left


def test_a_command_inside_is_itself_and_the_world_ends_with_it() -> None:
    with held(command("hold")) as (process, said):
        assert said["pid"] == process.pid
        assert said["uid"] == os.getuid()
        assert said["raw"]
        assert said["interfaces"] == ["cloud", "lan_a", "lan_b", "lo", "mec", "n3", "w-plc1"]
        world = said["world"]
        assert world["name"] in _enter.worlds()
        names = children_of(world["pid"])
        assert set(names) == {"userplane", "endpoints"}
        process.communicate("")
        assert process.returncode == 7
        for pid in (world["pid"], *names.values()):
            await_end(pid)
    assert_no_trace(world)
    assert world["name"] not in _enter.worlds()


@pytest.mark.parametrize("victim", ["command", "holder", "userplane", "endpoints"])
def test_kill_minus_nine_of_anybody_leaves_nothing(victim: str) -> None:
    with held(command("hold")) as (process, said):
        world = said["world"]
        pids = {"command": process.pid, "holder": world["pid"], **children_of(world["pid"])}
        os.kill(pids[victim], signal.SIGKILL)
        for name in {"userplane", "endpoints"} | {victim} - {"command"}:
            await_end(pids[name])
        if victim in ("userplane", "endpoints"):
            status = json.loads((Path(world["run"]) / "world.json").read_text("utf-8"))
            assert f"the {victim} process ended (SIGKILL)" in status["died"]
        if victim != "command":
            assert process.poll() is None, "the command is left to put its results away"
            process.communicate("")
            assert process.returncode == 7
        await_end(world["pid"])
    assert_no_trace(world)


def test_a_process_left_behind_inside_ends_with_the_world(tmp_path: Path) -> None:
    script = tmp_path / "stray.py"
    script.write_text(
        "import subprocess, sys\nfrom pathlib import Path\nfrom hil._enter import enter, inside\n"
        f"enter(Path({str(VIRTUAL)!r}))\n"
        "stray = subprocess.Popen(['sleep', '3600'], start_new_session=True,"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(inside().pid, stray.pid)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    holder, stray = (int(word) for word in done.stdout.split())
    await_end(holder)
    await_end(stray)


def test_sigterm_ends_a_world_in_order() -> None:
    with held(command("hold")) as (process, said):
        world = said["world"]
        os.kill(world["pid"], signal.SIGTERM)
        await_end(world["pid"])
        process.wait(PATIENCE_S)
    assert_no_trace(world)


def test_without_capabilities_a_user_namespace_does() -> None:
    words = [sys.executable, "-c", DROP, *command("hold")]
    with held(words) as (process, said):
        assert said["uid"] == os.getuid()
        assert said["raw"]
        world = said["world"]
        outside = Path("/proc/self/ns/user").stat().st_ino
        assert Path(f"/proc/{world['pid']}/ns/user").stat().st_ino != outside
        process.communicate("")
        await_end(world["pid"])
    assert_no_trace(world)


def test_where_namespaces_are_refused_one_sentence_names_the_cure() -> None:
    # A user namespace of our own, in which no further one may be made, and no capability is left.
    refusing = (
        "import sys\nfrom pathlib import Path\nfrom hil import _enter\n"
        "from hil.virtual.namespaces import _user_namespace\n"
        "_user_namespace()\n"
        "Path('/proc/sys/user/max_user_namespaces').write_text('0')\n"
        "Path('/proc/sys/user/max_net_namespaces').write_text('0')\n"
    )
    words = [sys.executable, "-c", refusing + DROP, *command("hold")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "UsageError: user namespaces are switched off here: run with sudo" in last


def test_two_worlds_live_side_by_side_and_can_be_joined_by_name() -> None:
    with held(command("hold")) as (_, first), held(command("hold")) as (_, second):
        names = [said["world"]["name"] for said in (first, second)]
        assert set(names) <= set(_enter.worlds())
        assert first["world"]["run"] != second["world"]["run"]
        script = (
            "import os, sys\nfrom hil import _enter\n"
            "_enter.join_running(sys.argv[1])\n"
            "print(_enter.inside().name, os.stat('/proc/self/ns/net').st_ino)\n"
        )
        for said in (first, second):
            name = said["world"]["name"]
            done = subprocess.run(
                [sys.executable, "-c", script, name],
                capture_output=True,
                text=True,
                check=True,
                cwd=ROOT,
            )
            inode = said["world"]["namespaces"]["tester"][1]
            assert done.stdout.split() == [name, str(inode)]
        wrong = subprocess.run(
            [sys.executable, "-c", script, "nowhere"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert "UsageError: cannot tell the world 'nowhere': running are" in wrong.stderr


def test_only_the_command_holds_the_world_open_not_what_it_starts() -> None:
    with held(command("hold")) as (process, said):
        lifelines = [
            descriptor
            for descriptor in said["open"]
            if Path(f"/proc/{process.pid}/fd/{descriptor}").is_fifo() and descriptor > 2
        ]
        assert lifelines
        for descriptor in lifelines:
            fields = Path(f"/proc/{process.pid}/fdinfo/{descriptor}").read_text("utf-8")
            flags = next(line.split()[1] for line in fields.splitlines() if "flags" in line)
            assert int(flags, 8) & os.O_CLOEXEC


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (("behind: cpe1, address: 10.60", "behind: cpe9, address: 10.60"), "cpe9"),
        (('listen: "127.0.0.1:5025"', 'listen: "192.0.2.1:5025"'), "the endpoints of the world:"),
    ],
)
def test_a_world_that_cannot_be_says_why_in_one_sentence(
    edit: tuple[str, str], sentence: str, tmp_path: Path
) -> None:
    text = VIRTUAL.read_text("utf-8")
    assert edit[0] in text
    testbed = tmp_path / "broken.yaml"
    testbed.write_text(text.replace(*edit), "utf-8")
    before = set(_enter.directory().iterdir())
    done = subprocess.run(
        command("hold", testbed), capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert sentence in done.stderr.strip().splitlines()[-1]
    assert {
        path for path in set(_enter.directory().iterdir()) - before if "broken" in path.name
    } == set()


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """One world in which frames were sent; what became of each."""
    done = subprocess.run(command("flows"), capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_every_frame_arrives_where_it_is_addressed_to_also_after_a_stall(
    report: dict[str, Any],
) -> None:
    assert len(report["packets"]) == 240
    for packet in report["packets"]:
        assert packet.get("port") == report["ways"][packet["flow"]][1]
        assert packet["truth"]["to"] == packet["port"]
        assert packet["truth"]["reason"] == 0


def test_the_trailer_states_what_the_model_did(report: dict[str, Any]) -> None:
    for packet in report["packets"]:
        assert packet["marked"]
        assert packet["release_ns"] == packet["truth"]["release_ns"]
        # Least: processing, one slot and the core; in the cell's own words, so without drift.
        assert packet["release_ns"] - packet["ingress_ns"] >= 1_950_000


def test_the_ingress_of_the_model_is_the_sending_of_the_frame(report: dict[str, Any]) -> None:
    for packet in report["packets"]:
        before, after = packet["sent"]
        assert before - 2 <= packet["truth"]["ingress_host_ns"] <= after + 2


def test_no_frame_is_delivered_before_its_time_and_its_lateness_is_stated(
    report: dict[str, Any],
) -> None:
    for packet in report["packets"]:
        real = packet["rx_ns"] - packet["truth"]["release_host_ns"]
        assert real >= packet["lateness_ns"] - 2 >= -2


def test_a_controller_answers_over_the_cell_and_over_the_cable(report: dict[str, Any]) -> None:
    assert set(report["modbus"]) == {"10.60.0.20", "10.61.0.20"}
    for answer in report["modbus"].values():
        assert answer.startswith("0001000000050103")
    assert report["through_cell"] == ["mec", "plc1"], "the cable does not lead through the cell"


def test_a_group_frame_goes_to_everybody_else_once(report: dict[str, Any]) -> None:
    assert report["group"] == ["cloud", "lan_b", "mec", "plc1"]


def test_a_tagged_frame_keeps_its_tag_and_its_priority(report: dict[str, Any]) -> None:
    # Priority 4 is the class of video; four bytes longer than without the tag.
    assert report["tagged"] == [1, 146, 0]


def test_frames_to_a_port_that_is_down_are_refused_and_not_tried_for_ever(
    report: dict[str, Any],
) -> None:
    assert report["unplugged"] == [6] * 5


def test_a_cpe_without_power_carries_nothing(report: dict[str, Any]) -> None:
    assert report["dark"] == [5, 5]


def test_in_real_time_mode_frames_carry_no_trailer(tmp_path: Path) -> None:
    testbed = tmp_path / "realtime.yaml"
    text = VIRTUAL.read_text("utf-8")
    testbed.write_text(text.replace("trailers: true", "trailers: false"), "utf-8")
    done = subprocess.run(
        command("flows", testbed), capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    packets = json.loads(done.stdout)["packets"]
    assert {packet["marked"] for packet in packets} == {False}
    assert {packet["size"] for packet in packets} == {142}


def test_the_drop_of_capabilities_is_real() -> None:
    """Or the test above would prove nothing."""
    libc = ctypes.CDLL(None)
    probe = "import ctypes; print(ctypes.CDLL(None).unshare(0x40000000))"
    done = subprocess.run(
        [sys.executable, "-c", DROP, sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        check=True,
    )
    assert libc is not None
    assert done.stdout.strip() == "-1"
