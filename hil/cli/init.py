"""`hil init`: a repository for a lab, with a testbed, one suite and a CI file that run at once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hil.errors import UsageError
from hil.testbed import shipped
from hil.verdict import ExitCode

_SUITE: Final = '''"""The first suite of this lab; it runs on the virtual testbed and on a bench."""

import pytest

import hil


@pytest.mark.requirement("SD-1")
@pytest.mark.needs(cpe=1, paths=["device-edge"])
def test_cyclic_control_arrives_in_time(
    path: hil.Paths, targets: hil.Targets, judge: hil.Judge
) -> None:
    """Remote I/O at a 10 ms cycle arrives within its bound, in both directions.

    Steps: run the profile's cyclic traffic both ways at once for the planned number of packets.
    Verify: SD-1 holds in each direction.
    """
    up, down = path("device-edge").both().run(targets["SD-1"].traffic)
    judge.expect(up, "SD-1")
    judge.expect(down, "SD-1")
'''

_CI: Final = """# Nightly on a runner that owns the bench. The exit code is the verdict: 0 all met,
# 1 a target missed, 10 the rig at fault, 11 undecided (measure longer).
# HIL_SOURCE says where hil comes from, as pip takes it: file:///srv/hil, git+https://..., a wheel.
nightly:
  script:
    - python3 -m venv .venv
    - .venv/bin/pip install "hil[allure] @ $HIL_SOURCE"
    - .venv/bin/hil validate testbeds/lab.yaml
    - .venv/bin/hil run suites --testbed lab --plan full
  artifacts:
    when: always
    paths: [out/]
    reports:
      junit: out/latest/junit.xml
"""

_README: Final = """# Bench

    hil run suites --testbed virtual                 try the suite without any hardware
    hil validate testbeds/lab.yaml                   describe the bench here, then check it
    hil doctor --testbed lab                         is this host fit to measure?
    hil run suites --testbed lab --plan full         the real thing
"""


def init(directory: Path) -> int:
    """Makes the repository.

    Raises: UsageError when something is in the way; nothing is overwritten.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} is not empty; name a directory that does not exist yet")
    example = (shipped.testbeds() / "lab-example.yaml").read_text("utf-8")
    files = {
        "testbeds/lab.yaml": example.replace("name: lab-example", "name: lab"),
        "suites/test_first.py": _SUITE,
        ".gitlab-ci.yml": _CI,
        "README.md": _README,
        ".gitignore": "out/\n.venv/\n",
    }
    try:
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"{directory}: cannot be written: {error.strerror}") from None
    print(f"made {directory}; next: cd {directory} && hil run suites --testbed virtual")
    return ExitCode.OK
