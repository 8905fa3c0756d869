"""Watching a build: a thread of the driver that reads the commit records of fragments as workers write them.

It knows no engine. A folder is listed at intervals; each new record is read once, and 8 bytes of it are remembered.
The pause between two listings is at least twenty times as long as a listing took, so watching costs little.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import numpy.typing as npt
import xxhash

from step3vl.data.dataset import DROPPED, read_dead_letter_file
from step3vl.data.storage import DEFAULT_STORE, Store, StoreConfig
from step3vl.pipelines.core.fragment_writer import DEAD_LETTERS
from step3vl.pipelines.view.progress import BuildProgress, SegmentProgress
from step3vl.pipelines.view.records import BATCH, RECORD, CommitRecord, batches, read_records

_log = logging.getLogger(__name__)

INTERVAL = 2.0  # seconds between two listings
_LISTING_SHARE = 20  # a pause is so many times as long as the listing before it
_EXAMPLE_FILES = 32  # dead-letter files of a segment that are searched for examples
_LAST_SECONDS = 5.0  # for the records that are missing when the build ends


class Watch(Protocol):
    """What a build tells whoever watches it."""

    def segment_started(self, name: str, folder: str, total: int | None) -> None:
        """Fragments are about to be committed.

        Args:
            name: Of the segment, for people.
            folder: Of its commit records, relative to the root.
            total: Fragments; None where a segment that runs at the same time makes them.
        """

    def segment_ended(self, name: str) -> None:
        """All its fragments are committed."""


class NoWatch:
    """Nobody watches."""

    def segment_started(self, name: str, folder: str, total: int | None) -> None:
        pass

    def segment_ended(self, name: str) -> None:
        pass


class Display(Protocol):
    """Shows a progress somewhere."""

    def show(self, progress: BuildProgress, now: float) -> None:
        """Called after each look at the store once a segment has started, and a last time when the build has ended."""

    def close(self) -> None: ...


class BuildWatcher:
    """A watch over a staging root. Its methods may be called from any thread; none raises.

    Args:
        name: Of the corpus.
        root: URL of the staging root.
        displays: Where the progress is shown.
        store: How a remote store is used.
        interval: Seconds between two looks at the store.
    """

    def __init__(
        self,
        name: str,
        root: str,
        displays: Sequence[Display] = (),
        store: StoreConfig = DEFAULT_STORE,
        interval: float = INTERVAL,
    ) -> None:
        self.progress = BuildProgress(name, root)
        self._store = Store(root, store)
        self._displays = list(displays)
        self._interval = interval
        self._folders: dict[str, _Folder] = {}
        self._lock = threading.Lock()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="build watcher", daemon=True)
        self._thread.start()

    def segment_started(self, name: str, folder: str, total: int | None) -> None:
        with self._lock:
            self.progress.segments[name] = SegmentProgress(name, folder, total, time.time())
            self._folders[name] = _Folder(self._store, folder)
        self._wake.set()

    def segment_ended(self, name: str) -> None:
        with self._lock:
            if name in self._folders:
                self._folders[name].ending = time.time()
        self._wake.set()

    def close(self, outcome: str) -> None:
        """Look a last time, show it, and end the thread.

        Args:
            outcome: `finished`, or why the build ended.
        """
        self._closing.set()
        self._wake.set()
        self._thread.join()
        self.progress.ended, self.progress.outcome = time.time(), outcome
        self._show()
        for display in self._displays:
            _quietly(display.close)

    def _run(self) -> None:
        while not self._closing.is_set():
            start = time.monotonic()
            self._poll(until=None)
            pause = max(self._interval, _LISTING_SHARE * (time.monotonic() - start))
            self._wake.wait(pause)
            self._wake.clear()
        self._poll(until=time.monotonic() + _LAST_SECONDS)

    def _poll(self, until: float | None) -> None:
        """Read the records that are new, segment by segment; a segment that had ended is then complete."""
        with self._lock:
            watched = [(self.progress.segments[name], folder) for name, folder in self._folders.items()]
        for segment, folder in watched:
            ending, reused = folder.ending, not folder.listed
            try:
                for records in folder.new_records():
                    self._add(segment, folder, records, reused)
                    if time.monotonic() > until if until else self._closing.is_set():
                        return
                self.progress.trouble = ""
            except Exception as error:  # a build does not end because it cannot be watched
                if not self.progress.trouble:
                    _log.warning("the progress cannot be read: %s", error)
                self.progress.trouble = str(error).splitlines()[0]
                break
            with self._lock:
                # Those of other entries in the same pipeline may take longer.
                if segment.ended is None and segment.fragments == segment.total:
                    segment.ended = time.time()
                if ending is not None:
                    segment.ended = segment.ended or ending
                    del self._folders[segment.name]
        self._show()

    def _add(self, segment: SegmentProgress, folder: "_Folder", records: Sequence[CommitRecord], reused: bool) -> None:
        for record in records:
            segment.add(record, time.time(), reused=reused)
            folder.look_for_examples(segment, record)
        self._show()

    def _show(self) -> None:
        with self._lock:
            if not self.progress.segments:
                return  # a build with nothing to do leaves the page of the one before
            for display in list(self._displays):
                if not _quietly(display.show, self.progress, time.time()):
                    self._displays.remove(display)


class _Folder:
    """The commit records of a segment, each returned once."""

    def __init__(self, store: Store, folder: str) -> None:
        self._store, self._folder = store, folder
        self._seen = _Names()
        self._example_files = 0
        self.listed = False
        self.ending: float | None = None

    def new_records(self) -> Iterator[list[CommitRecord]]:
        """The records that were not there at the call before, in batches."""
        for names in batches(self._seen.new(self._store.names(self._folder, RECORD)), BATCH):
            records = read_records(self._store, [f"{self._folder}/{name}" for name in names])
            self._seen.add(names)
            yield records
        self.listed = True

    def look_for_examples(self, segment: SegmentProgress, record: CommitRecord) -> None:
        """Read the dead letters of a fragment if one of its reasons has no example yet."""
        missing = any(
            (step.name, reason) not in segment.examples
            for step in record.accounts
            for reason in (*step.failed, *step.dropped)
        )
        if not missing or DEAD_LETTERS not in record.files or self._example_files >= _EXAMPLE_FILES:
            return
        self._example_files += 1
        for dead_letter in read_dead_letter_file(self._store, f"{self._folder}/{record.id}.{DEAD_LETTERS}"):
            reason = dead_letter.reason if dead_letter.error == DROPPED else dead_letter.error
            segment.examples.setdefault((dead_letter.step, reason), dead_letter)


class _Names:
    """A set of names that holds 8 bytes of each."""

    def __init__(self) -> None:
        self._hashes: npt.NDArray[np.uint64] = np.empty(0, np.uint64)

    def new(self, names: Iterable[str]) -> Iterator[str]:
        """Those that were not added."""
        for some in batches(names, 10_000):
            hashes = _hashes(some)
            places = np.searchsorted(self._hashes, hashes)
            known = places < len(self._hashes)
            known[known] = self._hashes[places[known]] == hashes[known]
            yield from (name for name, seen in zip(some, known, strict=True) if not seen)

    def add(self, names: Sequence[str]) -> None:
        self._hashes = np.sort(np.concatenate([self._hashes, _hashes(names)]))


def _hashes(names: Sequence[str]) -> npt.NDArray[np.uint64]:
    return np.fromiter((xxhash.xxh3_64_intdigest(name.encode()) for name in names), np.uint64, len(names))


def _quietly(function: Callable[..., object], *arguments: object) -> bool:
    """Call a function. A build does not end because it cannot be shown, so errors are only logged."""
    try:
        function(*arguments)
    except Exception as error:
        _log.warning("the progress cannot be shown: %s: %s", type(error).__name__, error)
        return False
    return True


@contextmanager
def watch_build(
    name: str, root: str, displays: Sequence[Display], store: StoreConfig = DEFAULT_STORE
) -> Iterator[BuildWatcher]:
    """Watch a build while the `with` block lasts.

    Args:
        name: Of the corpus.
        root: URL of the staging root.
        displays: Where the progress is shown; they are closed at the end.
        store: How a remote store is used.
    """
    watcher = BuildWatcher(name, root, displays, store)
    try:
        yield watcher
    except BaseException as error:
        lines = str(error).splitlines()
        watcher.close(lines[0] if lines else type(error).__name__)
        raise
    watcher.close("finished")
