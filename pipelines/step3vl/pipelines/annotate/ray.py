"""Running a model over staged rows with Ray Data: actors load it once, pictures are read where they run."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

Annotator = Callable[[dict[str, Any]], dict[str, Any]]


@contextmanager
def ray_session(workers: int) -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names or the one already joined, else run a small one for as long as needed.

    The small one has one logical CPU more than the actors take: without it Ray Data's own tasks would wait for ever.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray Data's own actors trip an error line of Ray's core on every start.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    ours = not ray.is_initialized()
    if ours:
        options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False}
        if not os.environ.get("RAY_ADDRESS"):
            # Without the address Ray would look for a cluster that `ray start` left on this machine.
            options |= {"address": "local", "num_cpus": workers + 1}
        ray.init(logging_level=logging.ERROR, **options)
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


def _over_batches(make: Callable[[], Annotator]) -> type:
    """An annotator of JSON rows as Ray Data wants it: a class over columns that takes no argument.

    (Arguments of an actor's constructor lie in Ray's object store, where they can be lost before a restart.)
    """

    class OnBatches:
        def __init__(self) -> None:
            self._annotate = make()

        def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
            return {"row": [json.dumps(self._annotate(json.loads(row)), ensure_ascii=False) for row in batch["row"]]}

    return OnBatches


def annotate(rows: list[dict[str, Any]], make: Callable[[], Annotator], workers: int) -> Iterator[dict[str, Any]]:
    """Pass every row through a model; results come in any order.

    An annotator answers for its own failures inside its row; one that raises ends the build.

    Args:
        rows: JSON-able dicts, with pointers and never with bytes.
        make: makes an annotator; called once in each actor.
        workers: actors of one CPU each, at least one.
    """
    if not rows:
        return
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    with ray_session(workers):
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        table = pa.table({"row": [json.dumps(row, ensure_ascii=False) for row in rows]})
        dataset = ray.data.from_arrow(table).repartition(min(len(rows), 8 * workers))
        results = dataset.map_batches(
            _over_batches(make),
            batch_size=1,
            num_cpus=1,
            compute=ActorPoolStrategy(size=min(workers, len(rows))),
        )
        for result in results.iter_rows():
            yield json.loads(result["row"])
