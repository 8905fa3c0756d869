"""Listing the files of an entry."""

import os
from pathlib import Path

import pytest

from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.core.inputs import InputFile, file_hash, list_pattern


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("docs/a.pdf", "docs/b.pdf", "docs/deep/er/c.pdf", "docs/notes.txt", "other/d.pdf"):
        path = tmp_path / "base" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "base"


def listed(pattern: str, base: Path) -> list[InputFile]:
    files = list_pattern(pattern, "MIT", entry="pages", base=str(base), store=DEFAULT_STORE)
    return sorted(files, key=lambda file: file.key)


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("docs/*.pdf", ["docs/a.pdf", "docs/b.pdf"]),
        ("./docs//*.pdf", ["docs/a.pdf", "docs/b.pdf"]),
        ("docs/**/*.pdf", ["docs/a.pdf", "docs/b.pdf", "docs/deep/er/c.pdf"]),
        ("**/d.pdf", ["other/d.pdf"]),
        ("*/d.pdf", ["other/d.pdf"]),
        ("docs/a.pdf", ["docs/a.pdf"]),
        ("docs/[ab].pdf", ["docs/a.pdf", "docs/b.pdf"]),
        ("../base/docs/?.pdf", ["../base/docs/a.pdf", "../base/docs/b.pdf"]),
        ("docs/../other/*.pdf", ["docs/../other/d.pdf"]),
    ],
)
def test_keys_are_spelled_as_a_relative_pattern_is(base: Path, pattern: str, keys: list[str]) -> None:
    files = listed(pattern, base)
    assert [file.key for file in files] == keys
    for file in files:
        path = base / file.key
        assert file.url == str(path.resolve())
        assert file.size == path.stat().st_size
        assert file.licence == "MIT"


def test_keys_of_an_absolute_pattern_are_absolute(base: Path) -> None:
    assert [file.key for file in listed(f"{base}/docs/*.pdf", Path("/"))] == [f"{base}/docs/{x}.pdf" for x in "ab"]


def test_a_pattern_that_matches_nothing_is_the_users_mistake(base: Path) -> None:
    with pytest.raises(UserError, match=r"pages: no file matches 'docs/\*\.png' from .*base; correct the pattern"):
        listed("docs/*.png", base)


def test_an_optional_pattern_may_match_nothing(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = list_pattern("docs/*.epub", "MIT", entry="pages", base=str(base), store=DEFAULT_STORE, optional=True)
    assert not list(files)
    assert f"pages: no file matches 'docs/*.epub' from {base}; nothing of it is built" in caplog.text


def test_a_changed_file_has_another_version(base: Path) -> None:
    (before,) = listed("docs/a.pdf", base)
    (same,) = listed("docs/a.pdf", base)
    (base / "docs/a.pdf").write_text("docs/x.pdf")
    (after,) = listed("docs/a.pdf", base)
    assert before == same
    assert before != after


def test_the_hash_of_a_file_is_that_of_its_key_and_content(base: Path) -> None:
    first, second = listed("docs/[ab].pdf", base)
    a, b = base / "docs/a.pdf", base / "docs/b.pdf"
    hashes = {file_hash(file, path) for file in (first, second) for path in (a, b)}
    assert len(hashes) == 4  # so two files that swap their contents change the sum
    assert all(0 <= value < 2**128 for value in hashes)
    assert file_hash(first, a) == file_hash(first.model_copy(update={"version": "2", "url": "/moved"}), a)


def test_a_file_whose_name_is_not_unicode_is_named(base: Path) -> None:
    Path(os.fsdecode(os.fsencode(base / "docs/a") + b"\xff.pdf")).write_text("x")
    with pytest.raises(UserError, match=r"pages: the name of 'docs/a\\udcff\.pdf' is not Unicode; rename the file"):
        listed("docs/*.pdf", base)


def test_a_file_that_cannot_be_hashed_is_named(base: Path) -> None:
    (file,) = listed("docs/a.pdf", base)
    with pytest.raises(InfrastructureError, match=r"docs/a\.pdf cannot be read: No such file"):
        file_hash(file, base / "docs/gone.pdf")
