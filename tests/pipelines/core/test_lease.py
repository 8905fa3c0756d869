"""One build at a time in a root; a build that ended, however it ended, is in nobody's way."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.storage import DEFAULT_STORE, Store
from step3vl.pipelines.core import lease as module
from step3vl.pipelines.core.lease import LEASE, STALE, Holder, Lease, read_holder


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path) if request.param == "file" else f"memory://{tmp_path.name}", DEFAULT_STORE)


def hold(store: Store, **fields: object) -> None:
    holder = Holder.this_process().model_copy(update=fields)
    store.put(LEASE, holder.model_dump_json().encode())


def test_two_builds_cannot_hold_a_root(store: Store) -> None:
    with Lease(store), pytest.raises(UserError, match=rf"process {os.getpid()} on .* is at work here"), Lease(store):
        pass
    with Lease(store):
        pass
    assert read_holder(store) is None


def test_a_lease_of_a_killed_process_is_free_at_once(store: Store) -> None:
    script = """
import os, signal
from step3vl.data.storage import Store, StoreConfig
from step3vl.pipelines.core.lease import Holder
print(Holder.this_process().model_dump_json(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    holder = Holder.model_validate_json(process.stdout)
    store.put(LEASE, holder.model_dump_json().encode())
    with Lease(store):
        assert read_holder(store) != holder


def test_a_later_process_of_the_same_number_is_another_one(store: Store) -> None:
    hold(store, started="1", token="other")
    with Lease(store):
        pass


def test_a_lease_on_another_machine_is_free_when_it_was_not_renewed_for_minutes(store: Store) -> None:
    hold(store, machine="other", token="other", renewed=time.time() - STALE / 2)
    with pytest.raises(UserError, match="is at work here"), Lease(store):
        pass
    hold(store, machine="other", token="other", renewed=time.time() - STALE - 1)
    with Lease(store):
        pass


def test_a_damaged_lease_is_free(store: Store) -> None:
    store.put(LEASE, b"{")
    with Lease(store):
        pass


def test_a_build_notices_that_another_one_has_taken_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    with Lease(store) as lease:
        first = read_holder(store)
        assert first is not None
        deadline = time.monotonic() + 10
        while (renewed := read_holder(store)) is None or renewed.renewed == first.renewed:
            assert time.monotonic() < deadline, "the lease was not renewed"
            time.sleep(0.01)
        lease.check()
        while time.monotonic() < deadline:
            hold(store, token="other")  # again and again: a renewal that had read the lease before may write it after
            try:
                lease.check()
            except InfrastructureError as error:
                assert "taken over" in str(error)
                break
            time.sleep(0.01)
        else:
            pytest.fail("the loss was not noticed")
    assert read_holder(store) is not None, "the lease of the other build stays"
