"""A staging root with commit records, as workers leave them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import DROPPED, DeadLetter, LedgerStep
from step3vl.data.dataset.dead_letters import write_dead_letters
from step3vl.data.storage import DEFAULT_STORE, Store
from step3vl.pipelines.core.fragments import FragmentResult

MakeResult = Callable[..., FragmentResult]


def _result(number: int, read: int = 250, failed: int = 0, dropped: int = 0, **more: Any) -> FragmentResult:
    step = LedgerStep(
        name="icons.build",
        read=read,
        kept=read - failed - dropped,
        failed={"ValueError": failed} if failed else {},
        dropped={"empty": dropped} if dropped else {},
    )
    return FragmentResult(id=f"{number:08}", rows=step.kept, accounts=(step,), **more)


@pytest.fixture
def result() -> MakeResult:
    """Makes the commit record of a fragment of one step."""
    return _result


@pytest.fixture
def commit(tmp_path: Path) -> MakeResult:
    """Commits a fragment under `tmp_path`, with its dead letters."""
    store = Store(str(tmp_path), DEFAULT_STORE)

    def commit(number: int, read: int = 250, failed: int = 0, dropped: int = 0, folder: str = "icons/build") -> Any:
        made = _result(number, read, failed, dropped)
        if failed or dropped:
            errors = [("ValueError", f"no icon number {number}")] * failed + [(DROPPED, "empty")] * dropped
            rows = [
                DeadLetter(step="icons.build", error=error, reason=reason, source=f"icons/{index}")
                for index, (error, reason) in enumerate(errors)
            ]
            write_dead_letters(store, f"{folder}/{made.id}.dead.parquet", rows)
            made = made.model_copy(update={"files": {"dead.parquet": 1}})
        store.put(f"{folder}/{made.id}.json", made.model_dump_json().encode())
        return made

    return commit
