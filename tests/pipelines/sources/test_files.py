from pathlib import Path

import pytest

from step3vl.data.errors import UserError
from step3vl.pipelines.sources.files import match_files


def test_matches_are_sorted_and_each_is_listed_once(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).touch()
    assert [path.name for path in match_files([f"{tmp_path}/*.txt", f"{tmp_path}/b*"], "t")] == ["a.txt", "b.txt"]


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pages: no file matches .*\.pdf"):
        match_files([f"{tmp_path}/*.pdf"], "pages")
