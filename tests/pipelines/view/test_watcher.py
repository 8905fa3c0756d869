"""Watching a staging root while fragments are committed there."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from step3vl.data.errors import InfrastructureError
from step3vl.data.storage import Store, StoreConfig
from step3vl.pipelines.view.page import ProgressPage
from step3vl.pipelines.view.progress import BuildProgress
from step3vl.pipelines.view.watcher import BuildWatcher, watch_build


class Recorder:
    """A display that keeps what it was shown."""

    def __init__(self) -> None:
        self.fragments: list[int] = []
        self.progress: BuildProgress | None = None
        self.closed = False

    def show(self, progress: BuildProgress, now: float) -> None:
        self.progress = progress
        self.fragments.append(sum(segment.fragments for segment in progress.segments.values()))

    def close(self) -> None:
        self.closed = True


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def watcher(tmp_path: Path) -> BuildWatcher:
    return BuildWatcher("tiny", str(tmp_path), interval=0.02)


def test_every_commit_is_counted_once(tmp_path: Path, commit: Callable, watcher: BuildWatcher) -> None:
    for number in range(3):
        commit(number)
    watcher.segment_started("icons.build", "icons/build", 10)
    icons = watcher.progress.segments["icons.build"]
    wait_until(lambda: icons.fragments == 3)
    for number in range(3, 10):
        commit(number, failed=1)
    (tmp_path / "icons/build/.half.json.tmp").write_text("{")
    wait_until(lambda: icons.fragments == 10)
    watcher.segment_ended("icons.build")
    watcher.close("finished")
    assert (icons.fragments, icons.reused, icons.records, icons.failed) == (10, 3, 2500, 7)
    assert icons.ended is not None and watcher.progress.outcome == "finished"


def test_reasons_come_with_an_example(commit: Callable, watcher: BuildWatcher) -> None:
    commit(0)
    commit(1, failed=2, dropped=1)
    watcher.segment_started("icons.build", "icons/build", 2)
    watcher.close("finished")
    failed, dropped = watcher.progress.segments["icons.build"].failures()
    assert failed.example is not None and dropped.example is not None
    assert (failed.reason, failed.records, failed.example.reason) == ("ValueError", 2, "no icon number 1")
    assert (dropped.reason, dropped.dropped, dropped.example.source) == ("empty", True, "icons/2")


def test_records_of_another_kind_count_as_fragments(tmp_path: Path, watcher: BuildWatcher) -> None:
    Store(str(tmp_path), watcher._store.config).put("shards/tiny-train-00000-of-00004.json", b'{"digest": "1"}')
    watcher.segment_started("shards", "shards", 4)
    watcher.close("finished")
    assert watcher.progress.segments["shards"].fragments == 1


def test_a_store_that_fails_does_not_end_the_build(commit: Callable, watcher: BuildWatcher, monkeypatch) -> None:
    names, calls = Store.names, []

    def fails_twice(self, folder, suffix=""):
        calls.append(folder)
        if len(calls) <= 2:
            raise InfrastructureError("the store is away")
        return names(self, folder, suffix)

    monkeypatch.setattr(Store, "names", fails_twice)
    commit(0)
    watcher.segment_started("icons.build", "icons/build", 1)
    wait_until(lambda: "away" in watcher.progress.trouble)
    wait_until(lambda: watcher.progress.segments["icons.build"].fragments == 1)
    watcher.close("finished")
    assert watcher.progress.trouble == ""


def test_a_display_that_fails_does_not_end_the_build(tmp_path: Path, commit: Callable) -> None:
    class Broken:
        def show(self, progress: BuildProgress, now: float) -> None:
            raise OSError("no space left")

        close = show

    recorder = Recorder()
    commit(0)
    with watch_build("tiny", str(tmp_path), [Broken(), recorder]) as watch:
        watch.segment_started("icons.build", "icons/build", 1)
    assert recorder.fragments[-1] == 1 and recorder.closed


def test_an_error_of_the_build_is_shown_and_raised(tmp_path: Path) -> None:
    recorder = Recorder()
    with pytest.raises(InfrastructureError), watch_build("tiny", str(tmp_path), [recorder]) as watch:
        watch.segment_started("icons.build", "icons/build", 1)
        raise InfrastructureError("the disk is full\nmore")
    assert recorder.progress is not None and recorder.progress.outcome == "the disk is full"


def test_nothing_to_watch_ends_at_once_and_leaves_the_page_of_the_build_before(tmp_path: Path) -> None:
    page = tmp_path / "progress.html"
    page.write_text("before")
    start = time.monotonic()
    with watch_build("tiny", str(tmp_path), [ProgressPage(str(tmp_path))]):
        pass
    assert time.monotonic() - start < 0.5
    assert page.read_text() == "before"


def test_listing_often_costs_little(tmp_path: Path, commit: Callable, monkeypatch) -> None:
    """A listing that takes long is made rarely."""
    names, calls = Store.names, []

    def slow(self, folder, suffix=""):
        calls.append(time.monotonic())
        time.sleep(0.05)
        return names(self, folder, suffix)

    monkeypatch.setattr(Store, "names", slow)
    watcher = BuildWatcher("tiny", str(tmp_path), interval=0.001)
    watcher.segment_started("icons.build", "icons/build", 1)
    time.sleep(0.6)
    watcher.close("finished")
    assert len(calls) <= 3


def test_a_bucket_is_watched_like_a_folder(result: Callable, s3_server: Callable) -> None:
    """Records are read concurrently, and the page lies beside them."""
    with s3_server("corpora") as options:
        config, root = StoreConfig(options=options), "s3://corpora/tiny/.staging"
        store = Store(root, config)
        for number in range(20):
            record = result(number, failed=number == 7)
            store.put(f"icons/build/{record.id}.json", record.model_dump_json().encode())
        with watch_build("tiny", root, [ProgressPage(root, config)], config) as watch:
            watch.segment_started("icons.build", "icons/build", 20)
        page = store.read_all("progress.html").decode()
    assert "20 / 20" in page and "5,000" in page and "ValueError" in page
