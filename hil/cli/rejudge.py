"""``hil rejudge RUN``: the samples of a run judged again, by its own profile or another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import UsageError

if TYPE_CHECKING:
    from hil.record import Run
    from hil.targets import Profile


def rejudge(directory: Path, targets: str | None) -> int:
    """Prints the verdict table, what is another verdict than before, and where it is written.

    Raises: UsageError where there is no run, or no profile to judge by.
    """
    from rich.console import Console

    from hil.record import read
    from hil.record.rejudging import changed
    from hil.record.rejudging import rejudge as judged_again
    from hil.report import table
    from hil.targets import load_profile

    run = read(directory)
    profile = _as_judged(run) if targets is None else load_profile(targets)
    again = judged_again(run, profile)
    console = Console()
    table.render(again.run, console)
    for note in again.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    others = list(changed(run, again.run))
    for line in others or ["every verdict is as it was"]:
        console.print(f"changed: {line}" if others else line, markup=False, highlight=False)
    console.print(f"written: {again.file}", markup=False, highlight=False, soft_wrap=True)
    return again.run.exit_code


def _as_judged(run: Run) -> Profile:
    """The profile that the run was judged by.

    Raises: UsageError where it is not there any more, or another one by now.
    """
    from hil.record import sha256_of
    from hil.targets import load_profile

    source = run.run.profile
    path = Path(source.path) if source.path else None
    if path is None or not path.is_file():
        profile = load_profile(source.name)
        path = profile.origin
    else:
        profile = load_profile(str(path))
    if path is None or source.sha256 not in (None, sha256_of(path)):
        raise UsageError(
            f"the profile {source.name} is not the one that the run was judged by any more: name "
            f"the one to judge by with --targets"
        )
    return profile
