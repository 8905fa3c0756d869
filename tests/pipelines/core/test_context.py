"""What a step may ask of its surroundings."""

import os
import pickle
from pathlib import Path

import pytest

from step3vl.data.errors import InfrastructureError, UserError
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import list_pattern


def test_a_local_file_is_used_where_it_is_until_it_changes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    context = StepContext(seed=0, base=str(tmp_path))
    (file,) = list_pattern("a.txt", "MIT", entry="e", base=context.base, store=context.store)
    assert context.local_path(file) == tmp_path / "a.txt"
    os.utime(tmp_path / "a.txt", (1, 1))
    with pytest.raises(InfrastructureError, match=r"a\.txt"):
        context.local_path(file)


def test_assets_start_from_the_base_and_not_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("a")
    monkeypatch.chdir("/")
    context = StepContext(seed=0, base=str(tmp_path))
    assert context.assets(("texts/*.txt",)) == [tmp_path / "texts/a.txt"]
    with pytest.raises(UserError, match=r"texts/\*\.csv"):
        context.assets(("texts/*.csv",))


def test_a_context_travels_to_workers() -> None:
    context = StepContext(seed=3, base="/base")
    assert pickle.loads(pickle.dumps(context)) == context
