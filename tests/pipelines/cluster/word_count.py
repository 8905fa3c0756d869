"""A pipeline for the tests of the cluster: counts the words of objects in a store, and says which workers did it.

Its argument is JSON: Beam's options (`beam`), those of the store (`store`), the `url` of a folder, a `hidden` file,
the `seconds` that counting an object and that writing the counts take, and the `limits` of the watchdog and of Beam.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PortableOptions

from step3vl.data.errors import UserError
from step3vl.data.storage import StoreConfig
from step3vl.pipelines.core import watchdog
from step3vl.pipelines.core.beam import run_pipeline
from step3vl.pipelines.core.staging import Staging


class CountWords(beam.DoFn):
    def __init__(self, staging: Staging, arguments: dict[str, Any]) -> None:
        self._staging, self._arguments = staging, arguments

    def setup(self) -> None:
        self._staging.heartbeats.start()

    def process(self, name: str) -> Iterator[tuple[str, str]]:
        with self._staging.heartbeats.working(name):
            time.sleep(self._arguments["seconds"][0])
            words = self._staging.open().read_all(name).decode().split()
        worker = {
            "host": socket.gethostname(),
            "folder": str(Path.cwd()),
            "sees": Path(self._arguments["hidden"]).exists(),
            "process": os.getpid(),
        }
        yield "workers", json.dumps(worker, sort_keys=True)
        for word in words:
            yield word, "1"


class WriteCounts(CountWords):
    """The last step, which sends nothing back to the job service."""

    def process(self, counts: list[Any]) -> None:  # type: ignore[override]
        with self._staging.heartbeats.working("counts.json"):
            time.sleep(self._arguments["seconds"][1])
            self._staging.open().put("counts.json", json.dumps(dict(counts)).encode())


def lower_limits(lost_after: float, job_server_timeout: int) -> None:
    """Let the watchdog act early, and Beam's deadline for its job service be one that the pipeline exceeds."""
    watchdog.LOST_AFTER = lost_after
    declare = PortableOptions._add_argparse_args.__func__

    def declare_lower(cls: type, parser: Any) -> None:
        declare(cls, parser)
        parser.set_defaults(job_server_timeout=job_server_timeout)

    PortableOptions._add_argparse_args = classmethod(declare_lower)


def main(arguments: dict[str, Any]) -> None:
    lower_limits(**arguments["limits"])
    staging = Staging(arguments["url"], "/", StoreConfig(options=arguments["store"], backoff=0.1))
    names = [f"{number}.txt" for number in range(8)]
    for number, name in enumerate(names):
        staging.open().put(name, b"apple pear " * (number + 1))

    def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
        _ = (
            pipeline
            | beam.Create(names)
            | beam.Reshuffle()
            | beam.ParDo(CountWords(staging, arguments))
            | beam.GroupByKey()
            | beam.MapTuple(lambda word, values: [word, sorted(values)])
            | beam.combiners.ToList()
            | beam.ParDo(WriteCounts(staging, arguments))
        )

    try:
        run_pipeline("words", arguments["beam"], staging, wire)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(staging.open().read_all("counts.json").decode())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
