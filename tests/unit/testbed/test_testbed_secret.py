"""Secrets are read late, from where the file says, and never shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import BaseModel

from hil.errors import UsageError
from hil.testbed import Secret, revealed


class Login(BaseModel):
    password: Secret


def test_a_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Secret("${env:LAB_PW}")
    monkeypatch.setenv("LAB_PW", "tr0ub4dor")
    assert secret.reveal() == "tr0ub4dor"
    assert "tr0ub4dor" in revealed()
    monkeypatch.setenv("LAB_PW", "")
    with pytest.raises(UsageError, match=r"\$\{env:LAB_PW\} is not set; export LAB_PW="):
        secret.reveal()


def test_a_secret_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pw"
    secret = Secret(f"${{file:{path}}}")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        secret.reveal()
    path.write_text("correct horse\n", "utf-8")
    path.chmod(0o640)
    with pytest.raises(UsageError, match=f"is open to others; chmod 600 {path}"):
        secret.reveal()
    path.chmod(0o600)
    assert secret.reveal() == "correct horse"
    path.write_text("", "utf-8")
    with pytest.raises(UsageError, match="is empty"):
        secret.reveal()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it is no text"):
        secret.reveal()


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PW", "tr0ub4dor")
    login = Login.model_validate({"password": "${env:LAB_PW}"})
    login.password.reveal()
    shown = f"{login} {login!r} {login.model_dump_json()} {login.model_dump()} {login.password}"
    assert "tr0ub4dor" not in shown
    assert b"tr0ub4dor" not in pickle.dumps(login.password)
    assert login.model_dump_json() == '{"password":"${env:LAB_PW}"}'


@pytest.mark.parametrize(
    "written",
    [
        "x",
        "",
        "${env:}",
        "${env:A B}",
        "${env:1A}",
        "${file:a}",
        "${keyring:a}",
        "${env:A}x",
        "${A}",
    ],
)
def test_only_a_reference_is_a_secret(written: str) -> None:
    with pytest.raises(ValueError, match=r"wants|never written"):
        Secret(written)
