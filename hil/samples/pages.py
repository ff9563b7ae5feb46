"""An Arrow stream of rows read a page at a time, from first to last or any page again."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from hil.samples import store
from hil.samples.table import Table

_ROWS: Final = 1 << 14  # of a page, at the least
_KEPT: Final = 1 << 18  # rows of pages that were asked for, at the most; or one page


class Pages:
    """The whole chunks of a stream, some of them together a page; memory does not grow with it.

    Going through the pages once finds them; from then on any of them can be had by its number, and
    `truncated` says whether the writer never ended the stream, so that later rows may be missing.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an Arrow stream, or of other rows or another version of the table.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.path, self.dtype = path, dtype
        self._schema, self.metadata, self._begin = store.open_stream(path, dtype)
        self._start = array("q")  # of each page in the file
        self._chunks = array("q")  # of each page
        self._kept: OrderedDict[int, Table] = OrderedDict()
        self.truncated = True

    def __iter__(self) -> Iterator[Table]:
        """All pages, in order."""
        import pyarrow as pa

        if self._schema is None:
            return
        self._start, self._chunks = array("q"), array("q")
        with pa.OSFile(str(self.path), "rb") as source:
            source.seek(self._begin)
            waiting: list[Table] = []
            start = self._begin
            while (rows := self._chunk(source)) is not None:
                waiting.append(rows)
                if sum(map(len, waiting)) >= _ROWS:
                    yield self._found(start, waiting)
                    start, waiting = source.tell(), []
            self.truncated = not store.end_at(self.path, self._position)
            if waiting:
                yield self._found(start, waiting)

    def _found(self, start: int, chunks: list[Table]) -> Table:
        self._start.append(start)
        self._chunks.append(len(chunks))
        return np.concatenate(chunks)

    def _chunk(self, source: Any) -> Table | None:
        """The next chunk; None at the end, or where the writer was cut off."""
        import pyarrow as pa

        self._position = source.tell()
        try:
            batch = pa.ipc.read_record_batch(pa.ipc.read_message(source), self._schema)
        except (pa.ArrowInvalid, OSError, EOFError):
            return None
        rows = np.zeros(batch.num_rows, self.dtype)
        for name in self.dtype.names or ():
            rows[name] = batch.column(name).to_numpy()
        return rows

    def __getitem__(self, number: int) -> Table:
        """A page that has been found, from memory where it was among the last ones."""
        import pyarrow as pa

        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        with pa.OSFile(str(self.path), "rb") as source:
            source.seek(self._start[number])
            chunks = [self._chunk(source) for _ in range(self._chunks[number])]
        page = np.concatenate([chunk for chunk in chunks if chunk is not None])
        self._kept[number] = page
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > _KEPT:
            self._kept.popitem(last=False)
        return page
