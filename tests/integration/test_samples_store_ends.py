"""What a writer leaves behind that was killed, or that found the disk full."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from hil.samples import store
from hil.samples.table import SENT

_WRITER = """
import sys
from pathlib import Path
import numpy as np
from hil.samples.store import StreamWriter
from hil.samples.table import SENT, blank
rows = blank(SENT, 1000)
with StreamWriter(Path(sys.argv[1]), SENT, {"flow": 1}) as writer:
    for chunk in range(10**9):
        rows["seq"] = np.arange(chunk * 1000, chunk * 1000 + 1000)
        writer.append(rows)
        print(chunk, flush=True)
"""

_FULL = """
import errno, resource, sys
from pathlib import Path
from hil.samples.store import StreamWriter
from hil.samples.table import SENT, blank
rows = blank(SENT, 1000)
rows["seq"] = range(1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
failed = 0
with StreamWriter(Path(sys.argv[1]), SENT, {"flow": 1}) as writer:
    for _ in range(6):
        try:
            writer.append(rows)
        except OSError:
            failed += 1
print(failed)
"""


def test_a_killed_writer_leaves_every_chunk_that_it_had_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) >= 20:
                writer.kill()
                break
        said = [int(line), *(int(rest) for rest in writer.stdout if rest.endswith("\n"))]
        assert writer.wait() == -signal.SIGKILL
    stream = store.read_stream(path, SENT)
    assert stream.truncated
    assert stream.rows.size >= (said[-1] + 1) * 1000
    assert np.array_equal(stream.rows["seq"], np.arange(stream.rows.size))
    with store.StreamWriter(path, SENT):
        pass  # the lock went with the process


def test_a_full_disk_costs_the_chunks_that_did_not_fit_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    ended = subprocess.run(
        [sys.executable, "-c", _FULL, str(path)], check=True, capture_output=True, text=True
    )
    assert ended.stdout.strip() == "4"
    stream = store.read_stream(path, SENT)
    assert stream.truncated
    assert stream.rows["seq"].tolist() == list(range(1000)) * 2
