"""Ray Data: a model over staged rows. Actors load it once; images are read where they are needed."""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import pyarrow as pa

from step3vl.data.config import Config
from step3vl.data.dataset import DeadLetter, LedgerStep
from step3vl.data.errors import RESUME, InfrastructureError
from step3vl.data.ray_session import ray_session
from step3vl.pipelines.core.steps import retry_infrastructure


class KeyedRow(Config):
    """A row for a model. It holds pointers to images, never bytes."""

    key: str
    """Unique in the step; names the record in the ledger's dead letters."""


RowT = TypeVar("RowT", bound=KeyedRow)
AnnotatedT = TypeVar("AnnotatedT", bound=KeyedRow)
Annotator = Callable[[RowT], AnnotatedT]


class AnnotatedRows(NamedTuple, Generic[AnnotatedT]):
    """What a model made of the rows of a step: rows in order of their keys, the account, and the failed records."""

    rows: list[AnnotatedT]
    account: LedgerStep
    dead_letters: list[DeadLetter]


def _over_batches(step: str, make: Callable[[], Annotator[RowT, AnnotatedT]], row: type[RowT]) -> type:
    """An annotator as Ray Data wants it: a class over columns whose constructor takes no argument.

    (Arguments of an actor's constructor lie in Ray's object store, where they can be lost before a restart.)
    """

    class OnBatches:
        def __init__(self) -> None:
            self._annotate = make()

        def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
            return {"result": [self._result(text) for text in batch["row"]]}

        def _result(self, text: str) -> str:
            record = row.model_validate_json(text)
            try:
                annotated = retry_infrastructure(lambda: self._annotate(record))
                return json.dumps({"row": annotated.model_dump(mode="json")})
            except Exception as error:  # whatever the model can raise is this record's failure
                try:
                    dead_letter = DeadLetter.from_error(error, step=step, source=record.key)
                except InfrastructureError as cause:
                    return json.dumps({"infrastructure": str(cause)})
                return json.dumps({"dead_letter": dead_letter.model_dump(mode="json")})

    return OnBatches


def annotate(
    step: str,
    rows: Sequence[RowT],
    make: Callable[[], Annotator[RowT, AnnotatedT]],
    row: type[RowT],
    annotated: type[AnnotatedT],
    workers: int,
) -> AnnotatedRows[AnnotatedT]:
    """Pass every row through a model.

    A record that the annotator raises on is a failed record; an annotator that cannot be made ends the build.

    Args:
        step: The step's name in the ledger.
        rows: What the model reads.
        make: Makes an annotator; called once in each actor.
        row: The type of the rows.
        annotated: The type of the results.
        workers: Actors of one CPU each, at least one.

    Raises:
        InfrastructureError: The machine caused an error, also after retries.
    """
    kept: list[AnnotatedT] = []
    failed: list[DeadLetter] = []
    for result in map(json.loads, _run(step, rows, make, row, workers)):
        if "infrastructure" in result:
            raise InfrastructureError(f"{result['infrastructure']}; {RESUME}")
        if "dead_letter" in result:
            failed.append(DeadLetter.model_validate(result["dead_letter"]))
        else:
            kept.append(annotated.model_validate(result["row"]))
    kept.sort(key=lambda result: result.key)
    failed.sort(key=lambda dead_letter: dead_letter.source)
    errors = Counter(dead_letter.error for dead_letter in failed)
    return AnnotatedRows(kept, LedgerStep(name=step, read=len(rows), kept=len(kept), failed=dict(errors)), failed)


def _run(
    step: str, rows: Sequence[RowT], make: Callable[[], Annotator[RowT, AnnotatedT]], row: type[RowT], workers: int
) -> Iterator[str]:
    """The JSON results of all rows, in any order. Raises InfrastructureError when Ray or its actors end."""
    if not rows:
        return
    # Ray Data's own actors trip an error line of Ray's core on every start.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # A CPU more than the actors take: without it Ray Data's own tasks would wait for ever.
    with ray_session(workers + 1, extra="pipelines", logging_level=logging.ERROR):
        import ray.data
        import ray.exceptions

        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        table = pa.table({"row": [record.model_dump_json() for record in rows]})
        dataset = ray.data.from_arrow(table).repartition(min(len(rows), 8 * workers))
        results = dataset.map_batches(
            _over_batches(step, make, row),
            batch_size=1,
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
        )
        try:
            for result in results.iter_rows():
                yield result["result"]
        except ray.exceptions.RayError as error:  # an actor that cannot make its annotator, a lost node
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            cause = lines[-1] if lines else type(error).__name__
            raise InfrastructureError(f"{step}: the workers of the model ended: {cause}; {RESUME}") from error
