"""One bench, one run, also where the other run is another user's."""

import os
import subprocess
from collections.abc import Iterator
from uuid import uuid4

import pytest

from hil.errors import LeaseLost
from hil.lab.lease import Lease

#: Another user where this one may become one, else this one again.
OTHER = 65534 if os.geteuid() == 0 else os.geteuid()


@pytest.fixture
def lease() -> Iterator[Lease]:
    made = Lease(f"bench-{uuid4().hex[:8]}")
    yield made
    made.give_back()
    made.path.unlink(missing_ok=True)


def test_a_bench_that_is_held_is_refused_to_another_user(lease: Lease) -> None:
    ask = ["flock", "--nonblock", str(lease.path), "true"]
    lease.take()
    assert subprocess.run(ask, user=OTHER, check=False).returncode == 1
    lease.give_back()
    lease.give_back()
    assert subprocess.run(ask, user=OTHER, check=False).returncode == 0


def test_a_refusal_names_the_holder_whoever_that_is(lease: Lease) -> None:
    hold = ["flock", str(lease.path), "sh", "-c", "echo held; read -r line"]
    with subprocess.Popen(
        hold, user=OTHER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LeaseLost, match=rf"is held by .+, process {holder.pid}"):
            lease.take()
        holder.communicate("\n")
    lease.take()


def test_a_lease_taken_twice_by_its_holder_is_one(lease: Lease) -> None:
    with lease:
        lease.take()
        with pytest.raises(LeaseLost), Lease(lease.path.stem.removeprefix("hil-")):
            pass
