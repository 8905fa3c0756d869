"""What a build has done so far: the sums of the commit records of its fragments, segment by segment."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from step3vl.data.dataset import DeadLetter, LedgerStep
from step3vl.pipelines.view.records import CommitRecord

RATE_WINDOW = 60.0  # seconds over which a rate is measured
RATE_FRAGMENTS = 20  # at least so many, where fragments take long


class FailureCount(NamedTuple):
    """Records that failed with one type of error, or were dropped for one reason, in one step."""

    step: str
    reason: str
    """The type of the error, or the reason of the drop."""
    dropped: bool
    records: int
    example: DeadLetter | None


class _Moment(NamedTuple):
    at: float
    fragments: int
    records: int


@dataclass
class SegmentProgress:
    """One segment, or another part of a build that commits fragments.

    Attributes:
        name: As the build calls it, such as `icons.build`.
        folder: Of its commit records, relative to the root.
        total: Fragments; None while the segment before still makes them.
        started: Unix time.
        ended: Unix time; None while it runs.
        fragments: Committed.
        reused: Of those, committed before this run.
        steps: The sums of the accounts, in the order of the steps.
        examples: The first dead letter of each step and reason.
        cpu_seconds: Of all processes.
        written_bytes: Staged, images included.
    """

    name: str
    folder: str
    total: int | None
    started: float
    ended: float | None = None
    fragments: int = 0
    reused: int = 0
    steps: dict[str, LedgerStep] = field(default_factory=dict)
    examples: dict[tuple[str, str], DeadLetter] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    written_bytes: int = 0
    _begun: float = 0.0
    _moments: deque[_Moment] = field(default_factory=deque)

    def add(self, record: CommitRecord, now: float, *, reused: bool) -> None:
        """Add a committed fragment.

        Args:
            record: Its commit record.
            now: Unix time.
            reused: Whether it was committed before this run; it then counts for no rate.
        """
        self.fragments += 1
        self.reused += reused
        for step in record.accounts:
            self.steps[step.name] = self.steps[step.name] + step if step.name in self.steps else step
        self.cpu_seconds += record.cpu_seconds
        self.written_bytes += record.written_bytes
        if reused:
            return
        if not self._moments:
            # Workers may have been busy with other entries until now, so the time before its own first fragment is
            # left out.
            self._begun = max(self.started, now - record.seconds)
            self._moments.append(_Moment(self._begun, 0, 0))
        last = self._moments[-1]
        records = record.accounts[0].read if record.accounts else 0
        self._moments.append(_Moment(now, last.fragments + 1, last.records + records))
        while len(self._moments) > RATE_FRAGMENTS and now - self._moments[1].at > RATE_WINDOW:
            self._moments.popleft()

    @property
    def records(self) -> int:
        """Records that the first step read."""
        return next(iter(self.steps.values())).read if self.steps else 0

    @property
    def emitted(self) -> int:
        """Records that the last step emitted."""
        return list(self.steps.values())[-1].emitted if self.steps else 0

    @property
    def dropped(self) -> int:
        return sum(sum(step.dropped.values()) for step in self.steps.values())

    @property
    def failed(self) -> int:
        return sum(sum(step.failed.values()) for step in self.steps.values())

    @property
    def share(self) -> float | None:
        """Of the fragments that are committed, from 0 to 1."""
        if self.total is None:
            return 1.0 if self.ended is not None else None
        return min(self.fragments / self.total, 1.0) if self.total else 1.0

    def rate(self, now: float) -> float:
        """Records a second, from the beginning of its own first fragment: of the last minute while it runs, afterwards
        of all its time; 0 before any was committed."""
        if not self._moments:
            return 0.0
        first, last = self._moments[0], self._moments[-1]
        if self.ended is not None:
            return last.records / max(self.ended - self._begun, 1e-3)
        return (last.records - first.records) / max(now - first.at, 1e-3)

    def seconds_left(self, now: float) -> float | None:
        """The seconds that the missing fragments take at the rate of the last minute; None where nothing tells."""
        if self.total is None or self.ended is not None or not self._moments:
            return None
        first, last = self._moments[0], self._moments[-1]
        worked = last.fragments - first.fragments
        return max(self.total - self.fragments, 0) * (now - first.at) / worked

    def failures(self) -> Iterator[FailureCount]:
        """What was not kept, step by step: failures first, each the most frequent first."""
        for step in self.steps.values():
            for dropped, counts in ((False, step.failed), (True, step.dropped)):
                for reason, count in sorted(counts.items(), key=lambda item: -item[1]):
                    yield FailureCount(step.name, reason, dropped, count, self.examples.get((step.name, reason)))


@dataclass
class BuildProgress:
    """A build: its segments in the order of their start.

    Attributes:
        name: Of the corpus.
        root: URL of the staging root.
        started: Unix time.
        ended: Unix time; None while it runs.
        outcome: How it ended: `finished`, or the first line of the error.
        trouble: Why the commit records cannot be read just now.
    """

    name: str
    root: str
    started: float = field(default_factory=time.time)
    ended: float | None = None
    outcome: str = ""
    trouble: str = ""
    segments: dict[str, SegmentProgress] = field(default_factory=dict)

    @property
    def running(self) -> list[SegmentProgress]:
        return [segment for segment in self.segments.values() if segment.ended is None]

    @property
    def done(self) -> list[SegmentProgress]:
        return [segment for segment in self.segments.values() if segment.ended is not None]

    def seconds_left(self, now: float) -> float | None:
        """Of the segments that run now; later ones are unknown. None where nothing tells."""
        left = [seconds for segment in self.running if (seconds := segment.seconds_left(now)) is not None]
        return max(left) if left else None


def duration(seconds: float | None) -> str:
    """Seconds as hours, minutes and seconds, such as `1:02:03` or `0:05`; empty for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def byte_size(count: float) -> str:
    """Bytes in the largest unit that keeps a whole number, such as `1.3 GB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} PB"
