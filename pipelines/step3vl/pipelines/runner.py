"""Running a Beam pipeline with plain Beam options, on runners that are known to be right."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from step3vl.data.errors import UserError
from step3vl.data.files import write_durably

_REFUSED = {
    "DaskRunner": "it silently loses tagged outputs and whole branches",
    "PrismRunner": "it refuses exception handling and downloads its binary at run time",
    "DirectRunner": "it first tries to download and run Prism",
}


def beam_options(flags: Sequence[str]) -> PipelineOptions:
    """Beam's own flags. Raises UserError for a runner that is known to lose records, and for an unknown flag."""
    options = PipelineOptions(list(flags))
    unknown = [flag for flag in flags if not flag.startswith("--")]
    if unknown:
        raise UserError(f"beam_options: {unknown[0]!r} is not a Beam option; write it as --name=value")
    runner = (options.view_as(StandardOptions).runner or "").rpartition(".")[2]
    if runner in _REFUSED:
        raise UserError(
            f"beam_options: {runner} is refused because {_REFUSED[runner]}; leave --runner out to run in this process"
        )
    return options


def run_pipeline(name: str, flags: Sequence[str], wire: Callable[[beam.Pipeline], None]) -> None:
    """Build a pipeline with `wire` and wait for its end. Raises RuntimeError when it did not end well."""
    options = beam_options(flags)
    chosen = options.view_as(StandardOptions).runner
    pipeline = beam.Pipeline(runner=chosen or FnApiRunner(), options=options)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    wire(pipeline)
    state = pipeline.run().wait_until_finish()
    if state not in (None, "DONE"):
        raise RuntimeError(f"the Beam pipeline {name} ended as {state}")


def _write_json(values: list[Any], path: Path) -> None:
    write_durably(path, json.dumps(values).encode())


def flatten(collections: Sequence[Any], label: str, pipeline: beam.Pipeline) -> Any:
    """Flatten that also takes no collection at all."""
    return tuple(collections) | label >> beam.Flatten(pipeline=pipeline)


class CollectJson(beam.PTransform):
    """Write a small collection as one JSON list: how a pipeline tells the process that started it what it did."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"Collect {path.name}")
        self._path = path

    def expand(self, values: Any) -> Any:
        return values | beam.combiners.ToList() | beam.Map(_write_json, self._path)
