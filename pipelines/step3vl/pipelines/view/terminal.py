"""The progress of a build in a terminal: a table that changes in place, or a line now and then where there is none."""

import logging
import sys
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from step3vl.pipelines.view.page import PAGE
from step3vl.pipelines.view.progress import BuildProgress, SegmentProgress, byte_size, duration

_log = logging.getLogger(__name__)

_FRAME = 9  # lines of the terminal that are not rows of segments
_MOST_FAILURES = 6  # lines
_QUIET = 30.0  # seconds between two lines


class TerminalTable:
    """A table at the bottom of the terminal. Lines that are logged meanwhile appear above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._live.start()
        # The handlers keep the stream that they were made with, and would write into the table.
        self._handlers = [
            handler
            for handler in logging.getLogger().handlers
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stderr__
        ]
        for handler in self._handlers:
            handler.setStream(sys.stderr)

    def show(self, progress: BuildProgress, now: float) -> None:
        self._live.update(render(progress, now, self._console.height), refresh=True)

    def close(self) -> None:
        for handler in self._handlers:
            handler.setStream(sys.__stderr__)
        self._live.stop()


class LogLines:
    """A line for each running segment that moved, twice a minute, and one at the end of each."""

    def __init__(self) -> None:
        self._last = 0.0
        self._ended: set[str] = set()
        self._fragments: dict[str, int] = {}  # by segment, when its line was written

    def show(self, progress: BuildProgress, now: float) -> None:
        for segment in progress.segments.values():
            if segment.ended is not None and segment.name not in self._ended:
                self._ended.add(segment.name)
                _log.info("%s", line(segment, now))
        self._last = self._last or now
        if now - self._last >= _QUIET:
            self._last = now
            moved = [each for each in progress.running if each.fragments != self._fragments.get(each.name, 0)]
            for segment in moved:
                self._fragments[segment.name] = segment.fragments
                _log.info("%s", line(segment, now))
            if still := len(progress.running) - len(moved):
                _log.info(
                    "%d running %s committed nothing since", still, "segment has" if still == 1 else "segments have"
                )

    def close(self) -> None:
        pass


def line(segment: SegmentProgress, now: float) -> str:
    """A segment in one line of text."""
    total = f" of {segment.total:,}" if segment.total is not None else ""
    parts = [f"{segment.name}: {segment.fragments:,}{total} fragments"]
    if segment.reused and segment.steps:
        parts.append(f"{segment.reused:,} from before")
    if segment.records:
        rate = segment.rate(now)
        parts.append(f"{segment.records:,} records" + (f", {rate:,.0f}/s" if rate else ""))
    parts += [
        f"{count:,} {word}" for word, count in (("dropped", segment.dropped), ("failed", segment.failed)) if count
    ]
    if segment.ended is not None:
        parts.append(f"done in {duration(segment.ended - segment.started)}")
    elif (left := segment.seconds_left(now)) is not None:
        parts.append(f"{duration(left)} left")
    return ", ".join(parts)


def render(progress: BuildProgress, now: float, height: int) -> RenderableType:
    """The build as a table that fits a terminal.

    Args:
        progress: The build.
        now: Unix time.
        height: Lines of the terminal.
    """
    failures = list(_failure_lines(progress))
    visible, hidden = _fitting(progress, max(height - _FRAME - len(failures), 3))
    grid = Table(box=None, padding=(0, 1), header_style="dim", expand=False)
    grid.add_column("segment", no_wrap=True)
    grid.add_column("", width=18)
    for name in ("fragments", "records", "emitted", "dropped", "failed", "records/s", "left"):
        grid.add_column(name, justify="right", no_wrap=True)
    for segment in visible:
        grid.add_row(*_cells(segment, now))
    parts: list[RenderableType] = [_headline(progress, now)]
    if visible:
        parts.append(grid)
    if hidden:
        parts.append(Text(f"  and {hidden} more segments that are done", style="dim"))
    return Group(*parts, *failures)


def _headline(progress: BuildProgress, now: float) -> Text:
    end = progress.ended or now
    segments = list(progress.segments.values())
    text = Text.assemble((progress.name, "bold"), f"  {duration(end - progress.started)}")
    if progress.running:
        text.append(f"  {len(progress.done)} of {len(segments)} segments done")
        left = progress.seconds_left(now)
        text.append(f", {duration(left)} left for these" if left is not None else "")
    text.append(f"  {byte_size(sum(segment.written_bytes for segment in segments))} staged", style="dim")
    text.append(f"  {progress.root}/{PAGE}", style="dim")
    if progress.trouble:
        text.append(f"\nthe progress cannot be read: {progress.trouble}", style="yellow")
    return text


def _fitting(progress: BuildProgress, rows: int) -> tuple[list[SegmentProgress], int]:
    """The segments to show, in order, and how many are hidden: those that are done, the oldest first."""
    segments = list(progress.segments.values())
    hidden = [segment for segment in segments if segment.ended is not None and not segment.failed]
    hidden = hidden[: max(len(segments) - rows, 0)]
    names = {segment.name for segment in hidden}
    return [segment for segment in segments if segment.name not in names], len(hidden)


def _cells(segment: SegmentProgress, now: float) -> Iterator[RenderableType]:
    done = segment.ended is not None
    yield Text(segment.name, style="dim" if done else "")
    if segment.share is None:
        yield Text("inputs are coming", style="dim")
    else:
        yield ProgressBar(total=1.0, completed=segment.share, width=18, finished_style="green")
    yield f"{segment.fragments:,}" + (f"/{segment.total:,}" if segment.total is not None else "")
    yield f"{segment.records:,}" if segment.steps else ""
    yield f"{segment.emitted:,}" if segment.steps else ""
    yield f"{segment.dropped:,}" if segment.dropped else ""
    yield Text(f"{segment.failed:,}" if segment.failed else "", style="red")
    rate = segment.rate(now)
    yield f"{rate:,.0f}" if rate else ""
    if segment.ended is None:
        yield duration(segment.seconds_left(now))
    else:
        yield Text(f"took {duration(segment.ended - segment.started)}", style="dim")


def _failure_lines(progress: BuildProgress) -> Iterator[Text]:
    failures = [
        failure for segment in progress.segments.values() for failure in segment.failures() if not failure.dropped
    ]
    failures.sort(key=lambda failure: -failure.records)
    for failure in failures[:_MOST_FAILURES]:
        text = Text.assemble((f"  {failure.step}  {failure.reason} {failure.records:,}", "red"), no_wrap=True)
        if failure.example is not None:
            text.append(f"  {failure.example.source}: {failure.example.reason}", style="dim")
        text.overflow = "ellipsis"
        yield text
    if len(failures) > _MOST_FAILURES:
        yield Text(f"  and {len(failures) - _MOST_FAILURES} more kinds of failures", style="dim")
