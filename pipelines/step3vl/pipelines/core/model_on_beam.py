"""A model segment in Beam's own workers, through `RunInference`, for builds without Ray."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from apache_beam.pvalue import PCollection

from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.core.segment import Segment
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.work_list import Work


class RunModel(beam.PTransform):
    """The fragments of one model segment through Beam's `RunInference`.

    Args:
        number: Of the segment.
        segment: The model.
        staging: Where results are committed.
    """

    def __init__(self, number: int, segment: Segment, staging: Staging) -> None:
        super().__init__()
        self._prefix = f"{number} "
        self._handler = FragmentModelHandler(segment, staging)

    def expand(self, work: PCollection[str]) -> PCollection[tuple[str, str]]:
        prefix = self._prefix
        of_model = work | beam.Filter(lambda element: element.startswith(prefix))
        return of_model | RunInference(self._handler) | beam.FlatMap(_pairs).with_output_types(tuple[str, str])


def _pairs(prediction: PredictionResult) -> Iterator[tuple[str, str]]:
    for result in prediction.inference:
        yield prediction.example, result


@dataclass
class LoadedModel:
    """A runner, which Beam shares among the threads of a process, and the lock that one of them holds as it works."""

    runner: SegmentRunner
    lock: Lock


class FragmentModelHandler(ModelHandler[str, PredictionResult, LoadedModel]):
    """A model segment as `RunInference` wants it. Its examples are fragments, each of which has batches of its own."""

    def __init__(self, segment: Segment, staging: Staging) -> None:
        super().__init__(min_batch_size=1, max_batch_size=1)
        self._segment = segment
        self._staging = staging

    def load_model(self) -> LoadedModel:
        """A runner. It loads the model with the first fragment that is not committed."""
        self._staging.heartbeats.start()
        return LoadedModel(self._staging.runner(self._segment), Lock())

    def run_inference(
        self, batch: Sequence[str], model: LoadedModel, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """The results of fragments, as JSON."""
        for element in batch:
            fragment = Work.load(element).fragment
            with self._staging.heartbeats.working(f"{self._segment.name} {fragment.id}"), model.lock:
                results = model.runner.run_with_retries(fragment)
            yield PredictionResult(element, [result.model_dump_json() for result in results])

    def get_metrics_namespace(self) -> str:
        """The name of the segment, so that dashboards tell models apart."""
        return self._segment.name
