"""A port on another host over OpenSSH: a server, keys, a login, and a cable that is pulled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "integration" / "remote_bench.py"
ROOT = Path(__file__).parents[2]


def test_a_port_behind_a_login_measures_and_ends_with_its_cable() -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: sshd logs in as root, so this needs root")
    for tool in ("/usr/sbin/sshd", "ssh", "ssh-keygen"):
        if shutil.which(tool) is None:
            pytest.skip(f"NOT RUN: {tool} not installed (packages.debian)")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [
            *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *(sys.executable, str(BENCH), "over_ssh"),
        ],
        env=os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    whole, cut = json.loads(done.stdout)
    assert whole["code"] == 0, whole
    assert (whole["sent"], whole["received"]) == (300, 300)
    assert cut["code"] == 10
    assert any("gone with its connection" in why for why in cut["invalid_reasons"])
    assert cut["gone"]
