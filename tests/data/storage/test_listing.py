"""Files by pattern, in any store."""

import glob
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.storage.listing import list_files
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig, StoreError

SCHEMES = ["local", "memory", "s3"]
FILES = ["a.pdf", "a.txt", "b/c.pdf", "b/c.PDF", "b/d/e.pdf", "b/d/f/g.pdf", ".hidden/h.pdf", "b/.i.pdf", "b/[x].pdf"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("a.pdf", ["a.pdf"]),
        ("*.pdf", ["a.pdf"]),
        ("?.*", ["a.pdf", "a.txt"]),
        ("**/*.pdf", ["a.pdf", "b/[x].pdf", "b/c.pdf", "b/d/e.pdf", "b/d/f/g.pdf"]),
        ("b/**", ["b/[x].pdf", "b/c.PDF", "b/c.pdf", "b/d/e.pdf", "b/d/f/g.pdf"]),
        ("*/[c-d].pdf", ["b/c.pdf"]),
        ("b/**/d/**/*.pdf", ["b/d/e.pdf", "b/d/f/g.pdf"]),
        ("**/**/g.pdf", ["b/d/f/g.pdf"]),
        (".hidden/*", [".hidden/h.pdf"]),
        ("b/.*", ["b/.i.pdf"]),
        ("b/[[]x].pdf", ["b/[x].pdf"]),
        ("nothing/**/*.pdf", []),
        ("a.pdf/*", []),
        ("b", []),
        ("absent.pdf", []),
    ],
)
def test_patterns_match_as_in_the_shell(
    make_store: Callable[[str], Store], scheme: str, pattern: str, matches: list[str]
) -> None:
    store = make_store(scheme)
    for number, name in enumerate(FILES):
        store.put(name, b"x" * number)
    listed = list(list_files(store.absolute(pattern), store.config))
    assert sorted(info.path for info in listed) == [store.absolute(name) for name in matches]
    for info in listed:
        name = info.path.removeprefix(store.absolute(""))
        assert info.size == FILES.index(name)
        assert info.version and info.version == store.info(name).version, "the same as of the file by itself"


@given(pattern=st.lists(st.sampled_from(["**", "*", "b", "?", "*.pdf", "d", ".*", "a*"]), min_size=1, max_size=4))
def test_local_patterns_match_what_glob_matches(tmp_path_factory: pytest.TempPathFactory, pattern: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp() / "tree"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    path = f"{folder}/{'/'.join(pattern)}"
    expected = {match for match in glob.glob(path, recursive=True) if Path(match).is_file()}  # noqa: PTH207
    listed = [info.path for info in list_files(path)]
    assert sorted(listed) == sorted(expected)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "x.pdf").touch()
    (tmp_path / "tree" / "below" / "up").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "gone.pdf").symlink_to(tmp_path / "nowhere.pdf")
    (tmp_path / "other").symlink_to(tmp_path / "tree" / "below")
    listed = sorted(info.path for info in list_files(f"{tmp_path}/**/*.pdf"))
    assert listed == [f"{tmp_path}/other/x.pdf", f"{tmp_path}/tree/below/x.pdf"]


def test_version_of_a_local_file_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(b"x")
    (before,) = list_files(str(path))
    os.utime(path, ns=(1, 1))
    (after,) = list_files(str(path))
    assert before.version != after.version


@pytest.mark.parametrize("scheme", SCHEMES)
def test_names_of_a_folder_come_in_pages(
    make_store: Callable[[str], Store], scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("step3vl.data.storage.folders._PAGE", 3)
    store = make_store(scheme)
    for name in (*(f"{number}.json" for number in range(9)), "y.txt", "below/x.json"):
        store.put(f"many/{name}", b"")
    assert sorted(store.names("many", ".json")) == [f"{number}.json" for number in range(9)]
    assert "y.txt" in set(store.names("many")) and list(store.names("absent")) == []


def test_store_that_refuses_is_an_error_and_not_an_empty_list(bucket: StoreConfig) -> None:
    nowhere = {
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"},
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    config = bucket.model_copy(update={"options": {**bucket.options, **nowhere}, "attempts": 1})
    with pytest.raises(StoreError, match=r"s3://shelf/x"):
        list(list_files("s3://shelf/x/*.pdf", config))
    with pytest.raises(StoreError, match="an HTTP server lists no files"):
        list(list_files("http://127.0.0.1:9/x/*.pdf", DEFAULT_STORE.model_copy(update={"attempts": 1})))
