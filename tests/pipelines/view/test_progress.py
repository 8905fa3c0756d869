"""The sums of a build: counts, rates and the time left."""

from collections.abc import Callable

import pytest

from step3vl.pipelines.view.progress import BuildProgress, SegmentProgress, byte_size, duration


def segment(total: int | None = 100) -> SegmentProgress:
    return SegmentProgress("icons.build", "icons/build", total, started=1000.0)


def test_counts_are_the_sums_of_the_fragments(result: Callable) -> None:
    icons = segment()
    icons.add(result(0, failed=3, dropped=2, cpu_seconds=1.5, written_bytes=10), 1001.0, reused=False)
    icons.add(result(1, failed=1, cpu_seconds=1.5, written_bytes=10), 1002.0, reused=True)
    assert (icons.fragments, icons.reused, icons.records, icons.emitted) == (2, 1, 500, 494)
    assert (icons.dropped, icons.failed, icons.cpu_seconds, icons.written_bytes) == (2, 4, 3.0, 20)
    assert icons.share == 0.02


def test_the_rate_is_that_of_the_last_minute(result: Callable) -> None:
    icons = segment()
    for number in range(30):
        icons.add(result(number, read=100, seconds=1.0), 1001.0 + number, reused=False)
    assert icons.rate(1030.0) == pytest.approx(100)
    for number in range(30, 50):
        icons.add(result(number, read=100), 1030.0 + 10 * (number - 29), reused=False)
    assert icons.rate(1230.0) == pytest.approx(10, rel=0.1)
    assert icons.seconds_left(1230.0) == pytest.approx(500, rel=0.1)
    assert icons.rate(2000.0) < 2.5, "without news it falls"


def test_fragments_from_before_count_for_no_rate(result: Callable) -> None:
    icons = segment()
    for number in range(90):
        icons.add(result(number), 1000.1, reused=True)
    assert (icons.rate(1010.0), icons.seconds_left(1010.0), icons.share) == (0.0, None, 0.9)
    icons.add(result(90, seconds=10.0), 1010.0, reused=False)
    assert icons.seconds_left(1010.0) == pytest.approx(90)


def test_a_segment_that_waits_for_workers_is_measured_from_its_own_first_fragment(result: Callable) -> None:
    icons = segment()
    for number in range(4):
        icons.add(result(number, seconds=5.0), 1305.0 + 5 * number, reused=False)
    assert icons.rate(1320.0) == pytest.approx(50)
    assert icons.seconds_left(1320.0) == pytest.approx(480)
    icons.ended = 1320.0
    assert icons.rate(2000.0) == pytest.approx(50), "also when it is done"


def test_a_segment_whose_inputs_are_still_made_has_no_end(result: Callable) -> None:
    pages = segment(total=None)
    pages.add(result(0), 1001.0, reused=False)
    assert (pages.share, pages.seconds_left(1002.0)) == (None, None)
    pages.ended = 1003.0
    assert pages.share == 1.0


def test_the_time_left_of_a_build_is_that_of_its_slowest_segment(result: Callable) -> None:
    build = BuildProgress("tiny", "root")
    for name, total in (("a", 10), ("b", 40)):
        build.segments[name] = SegmentProgress(name, name, total, started=1000.0)
        build.segments[name].add(result(0, seconds=10.0), 1010.0, reused=False)
    assert build.seconds_left(1010.0) == pytest.approx(390)
    assert [each.name for each in build.running] == ["a", "b"] and not build.done


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.4, "0:00"), (65, "1:05"), (3600, "1:00:00"), (360_061, "100:01:01")]
)
def test_durations_are_readable(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1.25e9, "1.2 GB"), (3e15, "3.0 PB")]
)
def test_sizes_are_readable(count: float, text: str) -> None:
    assert byte_size(count) == text
