"""A power switch that is reached by HTTP: one address per outlet, a word for on and one for off."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from base64 import b64encode
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from hil.clock import SYSTEM, Clock
from hil.document import Model
from hil.drivers.outlets import OutletSwitch, SwitchConfig
from hil.drivers.protocols import Identity
from hil.errors import (
    ConnectionLost,
    DeviceError,
    DriverError,
    DriverTimeout,
    ProtocolViolation,
)
from hil.record import register
from hil.testbed import DeviceConfig, Secret

_LONGEST_ANSWER = 65536


class Words(Model):
    """The device's own words; ``{outlet}`` and ``{value}`` are filled in."""

    state: str = "/outlets/{outlet}"
    """Path that tells the state of an outlet (GET)."""

    set: str = "/outlets/{outlet}"
    """Path that switches an outlet."""

    method: Literal["GET", "POST", "PUT"] = "PUT"
    """How it is switched."""

    body: str = "{value}"
    """What is sent to switch it; GET sends none."""

    on: str = "1"
    """``{value}`` for on."""

    off: str = "0"
    """``{value}`` for off."""

    is_on: str = r"\s*1\s*"
    """Regular expression that the whole of the answer matches when the outlet is on."""

    is_off: str = r"\s*0\s*"
    """Regular expression that the whole of the answer matches when the outlet is off."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for name in ("state", "set", "body"):
            try:
                getattr(self, name).format(outlet=1, value=self.on)
            except (KeyError, IndexError, ValueError):
                raise ValueError(f"{name} may hold {{outlet}} and {{value}} only") from None
        for name in ("is_on", "is_off"):
            try:
                re.compile(getattr(self, name))
            except re.error as error:
                raise ValueError(f"{name} is no regular expression: {error}") from None
        return self


class SwitchHttpConfig(SwitchConfig):
    """A power switch by HTTP in the testbed file."""

    driver: Literal["switch_http"]

    url: str
    """Where it is, as in ``http://192.0.2.40``; the paths of `words` are added."""

    user: str | None = None
    """User, where it asks for one (Basic, RFC 7617)."""

    password: Secret | None = None
    """Password of that user."""

    words: Words = Words()
    """The device's own words."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", self.url):
            raise ValueError(f"wants http://HOST or https://HOST; got {self.url!r}")
        return self


class SwitchHttp(OutletSwitch):
    """Implements `hil.drivers.protocols.PowerSwitch`; each request has its own connection."""

    Config: ClassVar[type[DeviceConfig]] = SwitchHttpConfig

    def __init__(self, name: str, config: SwitchHttpConfig, *, clock: Clock = SYSTEM) -> None:
        super().__init__(name, config, clock=clock)
        self._config = config
        self._limit_s = config.limit_ns / 1e9
        self._server: str | None = None
        # A device of the bench is never behind the proxy that the environment may name.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def close(self) -> None:
        """See `Device.close`; no connection outlives its request."""

    def identify(self) -> Identity:
        """See `Device.identify`; what its server calls itself."""
        self._read(self.outlets[0])
        return Identity(None, self._server, None, None)

    def _read(self, outlet: int) -> bool:
        words = self._config.words
        answer = self._ask("GET", words.state.format(outlet=outlet, value=""), None)
        on, off = (bool(re.fullmatch(text, answer)) for text in (words.is_on, words.is_off))
        if on is off:
            detail = f"outlet {outlet}: {answer[:80]!r} says neither on nor off"
            raise self._error(ProtocolViolation, "get", detail)
        return on

    def _write(self, outlet: int, on: bool) -> None:
        words = self._config.words
        value = words.on if on else words.off
        body = None if words.method == "GET" else words.body.format(outlet=outlet, value=value)
        self._ask(words.method, words.set.format(outlet=outlet, value=value), body)

    def _ask(self, method: str, path: str, body: str | None) -> str:
        what = f"{method} {path}" + ("" if body is None else f" {body}")
        request = urllib.request.Request(
            self._config.url.rstrip("/") + path,
            None if body is None else body.encode(),
            self._headers(),
            method=method,
        )
        self._transcript.add(">", what)
        try:
            with self._opener.open(request, timeout=self._limit_s) as response:
                self._server = response.headers.get("Server")
                answer: str = response.read(_LONGEST_ANSWER).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(_LONGEST_ANSWER).decode("utf-8", "replace").strip()
            self._transcript.add("<", f"{error.code} {text}")
            tail = self._transcript.tail()
            said = text or str(error.reason)
            raise DeviceError(self.name, what, error.code, said, transcript=tail) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error, what) from error
        self._transcript.add("<", answer)
        return answer

    def _headers(self) -> dict[str, str]:
        if self._config.user is None or self._config.password is None:
            return {}
        password = self._config.password.reveal()
        register(password)
        known = b64encode(f"{self._config.user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {known}"}

    def _lost(self, error: Exception, what: str) -> DriverError:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return self._error(DriverTimeout, what, f"no answer in {self._limit_s:g} s")
        return self._error(ConnectionLost, what, f"{self._config.url}: {reason}")

    def _error(self, kind: type[DriverError], operation: str, detail: str) -> DriverError:
        self._transcript.add("*", f"{operation}: {detail}")
        return kind(self.name, operation, detail, transcript=self._transcript.tail())
