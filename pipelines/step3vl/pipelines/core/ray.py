"""Model segments on Ray Data: actors work on fragments, each of which is committed by the actor that worked on it.

Only fragments and accounts pass through Ray, as rows of text. Whatever ends a run, what was committed stays, and the
next run works on the other fragments alone. The nodes of a cluster need the installed package and access to the store,
nothing of the driver's machine.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Literal

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.dataset import DeadLetter, LedgerStep
from step3vl.data.errors import RESUME, InfrastructureError, UserError, describe_error
from step3vl.data.ray_session import ray_session
from step3vl.data.storage import Store
from step3vl.pipelines.core.accounts import Report, check_early, first_examples
from step3vl.pipelines.core.fragments import BUCKETS, Fragment, FragmentResult
from step3vl.pipelines.core.segment import Segment
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.work_buckets import read_bucket

_ATTEMPTS = 4  # at a fragment whose actor or node is lost each time; the fragment itself is then to blame
_READERS = 2  # processes that read the work list; more would cost more to start than they save
_NO_PROGRESS = 3600.0  # seconds in which nothing ends; a large model loads in less, and so does a slow fragment
_OBJECT_STORE = 256 * 2**20  # bytes on a machine of our own; work lists and accounts need no more


class ModelsConfig(Config):
    """Where models run. None of it changes the result."""

    engine: Literal["ray", "beam"] = "ray"
    """`ray` runs models in actors of Ray Data, `beam` in the workers of the Beam pipeline."""
    workers: int = Field(default=2, gt=0)
    """Ray actors at most, of one CPU each, or of `gpus`."""
    gpus: float = Field(default=0, ge=0)
    """GPUs of each actor; a fraction lets actors share one."""
    address: str | None = None
    """Of a running Ray cluster, such as `10.0.0.1:6379`. By default the one that RAY_ADDRESS names, or Ray is started
    on this machine."""


class _Attempts:
    """An actor on the driver's node that counts the attempts at each fragment that is being worked on.

    Ray's own count of retries does not tell a fragment that ends its actor from one that waits for a lost node.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def begin(self, fragment: str) -> int:
        """Count an attempt; returns how many there were."""
        self._counts[fragment] += 1
        return self._counts[fragment]

    def end(self, fragment: str) -> None:
        """Forget a fragment that is done with."""
        del self._counts[fragment]


class _Outcome(Config):
    """What an actor returns of a fragment: the results, or the error that ends the run."""

    results: tuple[FragmentResult, ...] = ()
    error: str = ""
    is_infrastructure: bool = False


class _FragmentActor:
    """Ray Data makes one in each actor. The model is loaded at the first fragment that has to be worked on.

    So a run that finds everything committed loads no model, and a model that ends its process while it is loaded
    counts as an attempt at a fragment instead of restarting the actor for ever.

    Args:
        segment: With the model step.
        staging: Where results are committed.
        attempts: The handle of an `_Attempts` actor.
    """

    def __init__(self, segment: Segment, staging: Staging, attempts: Any) -> None:
        self._name = segment.name
        self._runner = staging.runner(segment)
        self._attempts = attempts

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """What became of a fragment, or the error that ends the run: one raised here would lose its type."""
        (text,) = batch["fragment"]
        try:
            outcome = _Outcome(results=self._run(Fragment.model_validate_json(text)))
        except UserError as error:
            outcome = _Outcome(error=str(error), is_infrastructure=isinstance(error, InfrastructureError))
        return {"outcome": [outcome.model_dump_json()]}

    def _run(self, fragment: Fragment) -> tuple[FragmentResult, ...]:
        import ray

        if ray.get(self._attempts.begin.remote(fragment.id)) > _ATTEMPTS:
            raise InfrastructureError(
                f"{self._name}: fragment {fragment.id} was begun {_ATTEMPTS} times, and each time its worker ended; "
                "give the workers more memory, or give the step a time limit: a record that ends the process of the "
                f"model is then a failed record; {RESUME}"
            )
        results = self._runner.run_with_retries(fragment)
        self._attempts.end.remote(fragment.id)
        return tuple(results)


@contextmanager
def models_session(models: ModelsConfig) -> Iterator[None]:
    """Join the Ray cluster where models run, or start Ray on this machine, for the length of the block.

    What runs on Ray within the block shares it and its worker processes, which take seconds to start.

    Raises:
        UserError: Ray is not installed.
        InfrastructureError: Ray does not start, or its cluster cannot be joined.
    """
    # Ray Data's own actors trip an error line of Ray's core on every start.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # A CPU more than the actors take is for the tasks that read the work list.
    with ray_session(
        models.workers + 1,
        extra="pipelines",
        address=models.address,
        logging_level=logging.ERROR,
        object_store_bytes=_OBJECT_STORE,
    ):
        yield


def run_on_ray(
    segment: Segment,
    work_list: str,
    staging: Staging,
    models: ModelsConfig,
    budget: float,
) -> tuple[LedgerStep, ...]:
    """Pass the fragments of a work list through a model segment. Memory does not grow with their number.

    Args:
        segment: With the model step.
        work_list: The name of the work list under the root.
        staging: Where results are committed.
        models: How many actors there are, and where.
        budget: The fraction of its records that a step may fail on. Whoever has all accounts checks it; a model that
            fails on most of what it has read so far is stopped here.

    Returns:
        The summed accounts of the fragments, those that were committed before included.

    Raises:
        UserError: The model cannot work as it is configured, fails on most records, or Ray is not installed.
        InfrastructureError: The machine caused an error, also after retries. What was committed is kept.
    """
    with models_session(models):
        report = Report()
        for outcome in _outcomes(segment, work_list, staging, models):
            if not outcome.results:
                raise (InfrastructureError if outcome.is_infrastructure else UserError)(outcome.error)
            for result in outcome.results:
                examples = _new_examples(report, result, segment, staging.open())
                report += Report(accounts=result.accounts, examples=examples)
            check_early(report, budget)
        return report.accounts


def _new_examples(report: Report, result: FragmentResult, segment: Segment, store: Store) -> tuple[DeadLetter, ...]:
    """An example of each type of error that the report has none of yet."""
    known = {example.error for example in report.examples}
    if all(error in known for step in result.accounts for error in step.failed):
        return ()
    from step3vl.pipelines.core.dead_letters import read_staged_dead_letters  # imports Beam, which actors do without

    return first_examples(read_staged_dead_letters(store, segment.path(result.id)))


def _outcomes(segment: Segment, work_list: str, staging: Staging, models: ModelsConfig) -> Iterator[_Outcome]:
    """The outcomes of all fragments, in any order. Raises InfrastructureError when Ray or its workers end."""
    import ray.data.exceptions
    import ray.exceptions

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors are raised here, in one line
    dataset = _dataset(segment, work_list, staging, models)
    try:
        with closing(iter(dataset.iter_rows())) as rows:
            for row in rows:
                yield _Outcome.model_validate_json(row["outcome"])
    except (ray.exceptions.RayError, ray.data.exceptions.ExecutionTimeoutError) as error:
        raise InfrastructureError(f"{segment.name}: {_cause(error)}; {RESUME}") from error


def _dataset(segment: Segment, work_list: str, staging: Staging, models: ModelsConfig) -> Any:
    """What the actors return of each fragment, as a Ray dataset that runs when it is iterated over."""
    import ray.data
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    attempts = ray.remote(_Attempts).options(num_cpus=0, scheduling_strategy=here).remote()
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = _NO_PROGRESS
    context.max_errored_blocks = 0  # any other number drops fragments
    with ray.data.DataContext.current(context):
        buckets = ray.data.range(BUCKETS, override_num_blocks=BUCKETS)
        fragments = buckets.map_batches(
            _read_bucket,
            batch_size=1,
            fn_kwargs={"work_list": work_list, "staging": staging},
            compute=ray.data.TaskPoolStrategy(size=_READERS),
            num_cpus=0.1,  # so that actors on every CPU do not keep fragments from coming
        )
        # One fragment a task: a lost task loses one fragment, and the last ones are dealt to all actors.
        return fragments.repartition(target_num_rows_per_block=1).map_batches(
            _FragmentActor,
            batch_size=1,
            fn_constructor_args=(segment, staging, attempts),
            # A pool of fixed size would keep the places of actors that ended.
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=models.workers, max_tasks_in_flight_per_actor=2),
            num_cpus=None if models.gpus else 1,
            num_gpus=models.gpus or None,
        )


def _read_bucket(batch: dict[str, Any], work_list: str, staging: Staging) -> Iterator[dict[str, list[str]]]:
    """The fragments of a bucket of the work list, read through our store, whose retries Ray's readers lack."""
    (bucket,) = batch["id"]
    for fragment in read_bucket(staging.open(), work_list, int(bucket)):
        yield {"fragment": [fragment]}


def _cause(error: Exception) -> str:
    """Why Ray ended a run, in one line."""
    import ray.data.exceptions
    import ray.exceptions

    if isinstance(error, ray.exceptions.RayTaskError):  # raised by code that runs in a worker
        return f"a worker failed with {describe_error(error.cause)}"
    if isinstance(error, ray.data.exceptions.ExecutionTimeoutError):
        return (
            f"nothing was done in {_NO_PROGRESS / 60:.0f} minutes; look whether the cluster has a free CPU or GPU, "
            "and give the step a time limit"
        )
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"the workers of the model ended: {lines[0] if lines else type(error).__name__}"
