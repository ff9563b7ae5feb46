"""Samples that are too many for memory: read by column, when a column is asked for.

A judgement looks at few of the columns at a time, so it needs a few numbers a packet in memory
instead of the whole row.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import SAMPLE, Table

Select = slice | NDArray[Any]

_KEPT_BYTES: Final = 100 << 20  # of columns that are kept beside the one read last


class Columns:
    """Rows of `SAMPLE` that stay in their file; used like a table, as far as reading goes.

    ``rows["delay_ns"]`` reads one column, each time anew; the array cannot be written to.
    ``rows[mask]``, of a slice, flags or places, are some of the rows. `replaced` gives rows with
    other columns.
    """

    def __init__(self, read: Callable[[str], NDArray[Any]], size: int) -> None:
        self._read, self.size = read, size
        self.dtype = SAMPLE

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, key: str) -> NDArray[Any]: ...

    @overload
    def __getitem__(self, key: Select) -> Columns: ...

    def __getitem__(self, key: str | Select) -> NDArray[Any] | Columns:
        if isinstance(key, str):
            if key not in (SAMPLE.names or ()):
                raise KeyError(key)
            column = self._read(key)
            column.flags.writeable = False
            return column
        if isinstance(key, slice):
            if key.indices(self.size) == (0, self.size, 1):
                return self
            return Columns(lambda name: self[name][key], len(range(*key.indices(self.size))))
        if key.dtype == np.bool_:
            if key.all():
                return self
            return Columns(lambda name: self[name][key], int(np.count_nonzero(key)))
        return Columns(lambda name: self[name][key], len(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError("samples in a file are not written to: use hil.samples.columns.replaced")

    def copy(self) -> Columns:
        """The same rows: nobody can change them."""
        return self

    def table(self) -> Table:
        """All of it in memory."""
        table = np.zeros(self.size, SAMPLE)
        for name in SAMPLE.names or ():
            table[name] = self[name]
        return table

    def other(self, columns: Mapping[str, NDArray[Any]]) -> Columns:
        """The same rows with other `columns` in place of theirs."""

        def read(name: str) -> NDArray[Any]:
            return columns[name].view() if name in columns else self._read(name)

        return Columns(read, self.size)


class Lately:
    """Reads columns and keeps those that were read last, up to a number of bytes."""

    def __init__(self, read_column: Callable[[str], NDArray[Any]]) -> None:
        self._read_column = read_column
        self._kept: OrderedDict[str, NDArray[Any]] = OrderedDict()

    def __call__(self, name: str) -> NDArray[Any]:
        """A column, not to be written to."""
        column = self._kept.pop(name, None)
        if column is None:
            room = _KEPT_BYTES
            for other in reversed(list(self._kept)):
                room -= self._kept[other].nbytes
                if room < 0:
                    del self._kept[other]
            column = self._read_column(name)
        if column.nbytes <= _KEPT_BYTES:
            self._kept[name] = column
        return column.view()


#: Samples in memory or in their file.
Samples = Table | Columns


def replaced(samples: Samples, **columns: NDArray[Any]) -> Samples:
    """The samples with other columns in place of theirs; they themselves stay as they are."""
    if isinstance(samples, Columns):
        return samples.other(columns)
    changed = samples.copy()
    for name, values in columns.items():
        changed[name] = values
    return changed
