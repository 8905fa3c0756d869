"""The progress as a terminal table, lines, a page and metrics."""

import io
import logging
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from step3vl.data.dataset import DeadLetter
from step3vl.data.errors import UserError
from step3vl.pipelines.view.metrics import PrometheusPort
from step3vl.pipelines.view.page import PAGE, ProgressPage, render_page
from step3vl.pipelines.view.progress import BuildProgress, SegmentProgress
from step3vl.pipelines.view.terminal import LogLines, TerminalTable, line, render

NOW = 2000.0


@pytest.fixture
def build(result: Callable) -> BuildProgress:
    """One segment that is done and one that runs, with failures."""
    build = BuildProgress("tiny", "s3://bucket/tiny/.staging", started=NOW - 100)
    for name, total, count in (("maps.build", 2, 2), ("icons.build", 10, 4)):
        segment = build.segments[name] = SegmentProgress(name, name, total, started=NOW - 50)
        for number in range(count):
            record = result(number, failed=name.startswith("icons"), written_bytes=10**6, seconds=40.0)
            segment.add(record, NOW - 10, reused=False)
    build.segments["maps.build"].ended = NOW - 20
    example = DeadLetter(step="icons.build", error="ValueError", reason="<b>no icon", source="icons/7")
    build.segments["icons.build"].examples["icons.build", "ValueError"] = example
    return build


def printed(build: BuildProgress, height: int) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(render(build, NOW, height))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_shows_counts_rates_failures_and_the_time_left(build: BuildProgress) -> None:
    text = printed(build, 40)
    row = next(each for each in text.splitlines() if each.lstrip().startswith("icons.build"))
    for word in ("4/10", "1,000", "996", "20", "1:15"):
        assert word in row.split()
    assert "icons.build  ValueError 4  icons/7: <b>no icon" in text
    assert "1 of 2 segments done, 1:15 left for these" in text


def test_a_small_terminal_hides_what_is_done(build: BuildProgress) -> None:
    for number in range(30):
        build.segments[f"done-{number}"] = SegmentProgress(f"done-{number}", "d", 1, NOW - 9, ended=NOW - 8)
    text = printed(build, 20)
    assert len(text.splitlines()) <= 20
    assert "more segments that are done" in text and "icons.build" in text


def test_lines_say_the_same_now_and_then(build: BuildProgress, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "step3vl")
    lines = LogLines()
    lines.show(build, NOW)
    lines.show(build, NOW + 10)
    assert [record.message for record in caplog.records] == [
        "maps.build: 2 of 2 fragments, 500 records, 17/s, done in 0:30"
    ]
    lines.show(build, NOW + 31)
    assert caplog.records[-1].message == line(build.segments["icons.build"], NOW + 31)
    assert caplog.records[-1].message.startswith("icons.build: 4 of 10 fragments, 1,000 records")
    lines.show(build, NOW + 62)
    assert caplog.records[-1].message == "1 running segment has committed nothing since"


def test_lines_that_are_logged_appear_above_the_table(build: BuildProgress, monkeypatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("sys.__stderr__", stream)
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        table = TerminalTable(Console(file=stream, force_terminal=True, width=140, height=30))
        table.show(build, NOW)
        logging.getLogger("step3vl").warning("a warning")
        table.close()
        assert handler.stream is stream
    finally:
        logging.getLogger().removeHandler(handler)
    assert "a warning\n" in stream.getvalue()


def test_the_page_reloads_itself_while_the_build_runs(build: BuildProgress) -> None:
    html = render_page(build, NOW)
    assert 'http-equiv="refresh"' in html and "&lt;b&gt;no icon" in html and "<b>no icon" not in html
    build.ended, build.outcome = NOW, "finished"
    html = render_page(build, NOW)
    assert 'http-equiv="refresh"' not in html and "<script" not in html and "finished" in html


def test_the_page_is_written_through_the_store_and_not_too_often(build: BuildProgress, tmp_path: Path) -> None:
    page = ProgressPage(str(tmp_path))
    page.show(build, NOW)
    (tmp_path / PAGE).unlink()
    page.show(build, NOW)
    assert not (tmp_path / PAGE).exists()
    build.ended, build.outcome = time.time(), "the disk is full"
    page.show(build, NOW)
    assert "the disk is full" in (tmp_path / PAGE).read_text()


def test_prometheus_reads_the_same_counts(build: BuildProgress) -> None:
    port = PrometheusPort(0)
    try:
        port.show(build, NOW)
        with urllib.request.urlopen(f"http://127.0.0.1:{port.port}/metrics", timeout=5) as response:
            text = response.read().decode()
        with pytest.raises(UserError, match="give another port"):
            PrometheusPort(port.port)
    finally:
        port.close()
    for sample in (
        'step3vl_build_fragments{segment="icons.build",state="committed"} 4.0',
        'step3vl_build_fragments{segment="icons.build",state="all"} 10.0',
        'step3vl_build_records_total{outcome="read",step="icons.build"} 1000.0',
        'step3vl_build_records_not_kept_total{outcome="failed",reason="ValueError",step="icons.build"} 4.0',
        'step3vl_build_seconds_left{segment="icons.build"} 75.0',
    ):
        assert sample in text
