"""Options of pipelines, what they report, and what ends them."""

import json
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    TypeOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline as BeamTestPipeline

from step3vl.data.dataset import LedgerStep
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.pipelines.core import beam as module
from step3vl.pipelines.core.accounts import Report
from step3vl.pipelines.core.beam import (
    Options,
    WriteList,
    WriteReport,
    beam_options,
    read_list,
    read_report,
    run_pipeline,
)
from step3vl.pipelines.core.domain import MissingProgramError
from step3vl.pipelines.core.staging import Staging

FLAGS = ["--streaming", "--direct_num_workers=3", "--no_pipeline_type_check"]


@pytest.mark.parametrize(
    "runner", ["DaskRunner", "PrismRunner", "DirectRunner", "apache_beam.runners.dask.DaskRunner"]
)
def test_a_runner_that_loses_records_is_refused(runner: str) -> None:
    with pytest.raises(UserError, match=runner.rpartition(".")[2]):
        beam_options([f"--runner={runner}"])


def test_a_flag_without_dashes_is_named() -> None:
    with pytest.raises(UserError, match="workers=2"):
        beam_options(["workers=2"])


def test_a_job_may_run_as_long_as_it_takes_unless_it_is_told_otherwise() -> None:
    def timeout(*flags: str) -> int:
        return beam_options(flags).view_as(PortableOptions).job_server_timeout

    assert timeout() > 10**7
    assert timeout("--job_server_timeout=6") == timeout("--job-server-timeout=6") == 6


def test_a_job_service_that_does_not_answer_ends_the_build(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONNECT", 0.2)
    with socket.socket() as closed:
        closed.bind(("localhost", 0))
        endpoint = f"localhost:{closed.getsockname()[1]}"
        with pytest.raises(InfrastructureError, match=f"no job service answers at --job_endpoint={endpoint}"):
            flags = ["--runner=PortableRunner", f"--job_endpoint={endpoint}"]
            run_pipeline("t", flags, staging, lambda pipeline, staging: None)


def failing(error: Callable[[], BaseException]) -> Callable[[beam.Pipeline, Staging], None]:
    def fail(element: int) -> None:
        raise error()

    def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
        _ = pipeline | beam.Create([1]) | beam.Map(fail)

    return wire


@pytest.mark.parametrize("flags", [(), ("--direct_num_workers=2", "--direct_running_mode=multi_threading")])
@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: OSError(28, "No space left on device"), InfrastructureError, "t: .*No space left.*nothing was"),
        (lambda: MemoryError(), InfrastructureError, "MemoryError"),
        (lambda: InfrastructureError("lost.bin is gone"), InfrastructureError, "^lost.bin is gone; nothing was"),
        (lambda: UserError("no file matches '*.pdf'"), UserError, r"^no file matches '\*\.pdf'$"),
        (lambda: MissingProgramError("there is no Chromium"), UserError, r"^there is no Chromium$"),
        (lambda: ZeroDivisionError("a bug"), RuntimeError, "a bug"),
    ],
)
def test_what_ended_a_pipeline_is_told_in_one_line(
    staging: Staging,
    flags: tuple[str, ...],
    make: Callable[[], BaseException],
    kind: type[Exception],
    message: str,
) -> None:
    with pytest.raises(Exception, match=message) as raised:
        run_pipeline("t", flags, staging, failing(make))
    assert isinstance(raised.value, kind) or kind is RuntimeError
    if kind is not RuntimeError:
        assert type(raised.value) is kind and "\n" not in str(raised.value)


def test_reports_are_added_up(staging: Staging) -> None:
    reports = [Report(accounts=(LedgerStep(name="a", read=n, kept=n),), text_bytes=n) for n in range(10)]
    with BeamTestPipeline(runner=FnApiRunner()) as pipeline:
        texts = [report.model_dump_json(exclude_defaults=True) for report in reports]
        _ = pipeline | beam.Create(texts) | WriteReport(staging, "control/report.json")
    assert read_report(staging, "control/report.json") == Report.merge(reports)


def test_no_report_is_an_empty_one(staging: Staging) -> None:
    with BeamTestPipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([]).with_output_types(str) | WriteReport(staging, "control/report.json")
        _ = pipeline | "nothing" >> beam.Create([]).with_output_types(str) | WriteList(staging, "control/list.json")
    assert read_report(staging, "control/report.json") == Report()
    assert list(read_list(staging, "control/list.json")) == []


def test_a_list_is_sorted(staging: Staging) -> None:
    with BeamTestPipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create(["b", "c", "a"]) | WriteList(staging, "control/list.json")
    assert json.loads((Path(staging.root) / "control/list.json").read_text()) == ["a", "b", "c"]


def test_options_have_the_values_of_beams_own_in_all_views() -> None:
    ours, beams = Options(list(FLAGS)), PipelineOptions(list(FLAGS))
    for kind in (StandardOptions, DirectOptions, TypeOptions):
        assert ours.view_as(kind) is ours.view_as(kind)
        assert str(ours.view_as(kind)) == str(beams.view_as(kind))
    assert ours.get_all_options() == beams.get_all_options()


def test_a_value_set_in_one_view_is_in_all_and_in_a_pickled_copy() -> None:
    options = Options(list(FLAGS))
    options.view_as(DirectOptions).direct_num_workers = 5
    assert options.view_as(DirectOptions).direct_num_workers == 5
    assert options.view_as(StandardOptions).view_as(DirectOptions).direct_num_workers == 5
    copy = pickle.loads(pickle.dumps(options))
    assert copy.view_as(DirectOptions).direct_num_workers == 5
    copy.view_as(DirectOptions).direct_num_workers = 6
    assert options.view_as(DirectOptions).direct_num_workers == 5
