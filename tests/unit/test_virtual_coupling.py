"""The coupling file: what one process writes, another sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.virtual.coupling import ROW, Coupling


def test_what_one_writes_another_reads(tmp_path: Path) -> None:
    made = Coupling.create(tmp_path / "coupling", ["cpe1", "cpe2"], epoch_ns=1_000)
    seen = Coupling.open(tmp_path / "coupling")
    assert (seen.names, seen.epoch_ns) == (("cpe1", "cpe2"), 1_000)
    assert seen.rows["powered"].tolist() == [1, 1]
    assert seen.rows["session_up"].tolist() == [0, 0]
    row = seen.row("cpe2")
    made.set_attenuation(row, 20.25)
    made.set_session(row, True)
    made.set_powered(row, False)
    assert seen.rows["attenuation_db"].tolist() == [0.0, 20.25]
    assert (seen.rows["session_up"][row], seen.rows["powered"][row]) == (1, 0)
    assert seen.rows["generation"].tolist() == [0, 3]
    seen.set_traffic(row, 5_000)
    assert made.rows["traffic_ns"].tolist() == [-1, 4_000]


def test_every_field_is_one_aligned_word() -> None:
    assert ROW.fields is not None
    offsets = [ROW.fields[name][1] for name in ROW.names or () if name != "name"]
    assert all(offset % 8 == 0 for offset in offsets)
    assert ROW.itemsize % 8 == 0


@pytest.mark.parametrize("names", [["cpe1", "cpe1"], ["x" * 57]])
def test_names_that_cannot_be(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(ValueError, match="must differ and fit"):
        Coupling.create(tmp_path / "coupling", names)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"something else")
    with pytest.raises(ValueError, match="no coupling file"):
        Coupling.open(tmp_path / "other")
    with pytest.raises(ValueError, match=r"not in tuple"):
        Coupling.create(tmp_path / "coupling", ["cpe1"]).row("cpe9")
