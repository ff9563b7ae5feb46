"""Whatever a file holds: a testbed, or a ConfigError whose every line says where and what."""

from __future__ import annotations

import random
import re
from typing import Final, Protocol

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hil.errors import ConfigError
from hil.testbed import Catalogue, Testbed, load, shipped

_LINE: Final = re.compile(r"\S+\.yaml:[1-9]\d*:[1-9]\d*: \S.*?: \S.*")
_SHIPPED: Final = (shipped.testbeds() / "virtual.yaml").read_text("utf-8")
_WORDS: Final = (
    *("schema: 1", "devices:", "ports:", "world:", "launcher:", "name: x", "driver: modem_at"),
    *("{", "}", "[", "]", ": ", "- ", "\n", "\n  ", "\n    ", "&a ", "*a", "<<: *a", "? ", "!t "),
    *("'", '"', "|\n", ">-\n", "#", "\t", "%YAML 1.1\n", "---\n", "...\n", "${env:X}", "${run}"),
    *(".nan", ".inf", "1e999", "0x1F", "1e99 ms", "10 ms", "null", "~", "true", "\\ud800", "\0"),
    *("\x85", "\u2028", "\ufeff", "é", "𝄞", "9" * 400, "2026-01-01", "=", "<<"),
)


class Reads(Protocol):
    def __call__(self, raw: bytes) -> Testbed | None: ...


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory, drivers: Catalogue) -> Reads:
    path = tmp_path_factory.mktemp("fuzz") / "any.yaml"

    def read(raw: bytes) -> Testbed | None:
        path.write_bytes(raw)
        try:
            return load(path, drivers)
        except ConfigError as error:
            refused = error
        assert refused.faults
        for fault in refused.faults:
            assert _LINE.fullmatch(fault), fault
            assert fault.isprintable()
            assert len(fault) < 2_000
        assert str(refused).splitlines() == list(refused.faults)
        return None

    return read


_settings = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_settings
@given(raw=st.binary(max_size=200))
@example(raw=b"\xff\xfe")
@example(raw=b"\xef\xbb\xbfschema: 1")
def test_any_bytes(reads: Reads, raw: bytes) -> None:
    reads(raw)


@_settings
@given(words=st.lists(st.sampled_from(_WORDS) | st.text(max_size=5), max_size=40))
@example(words=['a: "\\ud800"'])
@example(words=['a: "\\0"'])
@example(words=["a: &a [*a]"])
@example(words=["[" * 5_000])
@example(words=["{a: " * 5_000])
@example(words=["- " * 5_000])
@example(words=["a: " + "x" * 100_000])
@example(words=["x" * 5_000 + ": 1"])
@example(words=["a: &a [1]\n"] + [f"b{i}: &a [*a, *a, *a, *a]\n" for i in range(30)])
def test_any_words_of_yaml(reads: Reads, words: list[str]) -> None:
    reads("".join(words).encode("utf-8", "surrogatepass"))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("driver", "port", "from", "to", "kind", "lan", "x", "name")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


def _shaken(seed: int, value: str) -> str:
    """The shipped file with a few lines dropped, doubled, moved, cut or given another value."""
    rng = random.Random(seed)
    lines = _SHIPPED.splitlines(keepends=True)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(lines))
        line = lines[at]
        column = rng.randrange(len(line) + 1)
        lines[at] = rng.choice(
            (
                "",
                line * 2,
                " " + line,
                line.lstrip(),
                line[:column],
                line[:column] + line[column + 1 :],
                line[:column] + rng.choice(_WORDS) + line[column:],
                f"{line.partition(':')[0]}: {value}\n",
            )
        )
    return "".join(lines)


@_settings
@given(seed=st.integers(0, 2**32), value=_values)
def test_a_good_file_with_something_wrong(reads: Reads, seed: int, value: object) -> None:
    reads(_shaken(seed, repr(value)).encode("utf-8", "replace"))


def test_the_good_file_is_good(reads: Reads) -> None:
    assert reads(_SHIPPED.encode()) is not None
