"""Synthesis data: a model's own answers to training prompts become the references of prompts to train PaCoRe on.

PaCoRe report, section 3.1: answers are sampled once for each problem, and later serve as the conclusions of its
synthesis prompt. Here every synthesis prompt is followed by the true answer: the result is a dataset for fine-tuning.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import reduce
from pathlib import Path
from typing import ClassVar, NamedTuple

from blake3 import blake3
from PIL.Image import DecompressionBombError
from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.dataset import (
    DEAD_LETTERS,
    MANIFEST,
    Counting,
    DamagedSample,
    Dataset,
    DeadLetter,
    DeadLetterWriter,
    LedgerStep,
    SampleSorter,
    Split,
    code_version,
    commit,
)
from step3vl.data.errors import UserError
from step3vl.data.sample import Message, Sample, Source
from step3vl.data.tokens import count_tokens, save_tokenizer
from step3vl.grading import grade_reply
from step3vl.inference.client import Completion, Request, Sampling
from step3vl.inference.engine import Engine
from step3vl.inference.pacore import collect_conclusions, extract_conclusion, synthesis_request
from step3vl.model import load_model
from step3vl.model.devices import resolve_device

log = logging.getLogger(__name__)

NAME = "synthesis"
TASK = "pacore.synthesis"
_PROMPTS, _CONCLUSIONS = "prompts", "conclusions"  # steps of the ledger


class SynthesisDataConfig(Config):
    """Whose answers to which prompts become references.

    A prompt is kept if the share of its correct conclusions lies in `min_accuracy`..`max_accuracy`. By default all
    are: the true answer can be learned from the question although every reference is wrong. The report keeps a share
    above 0 and below 9/24 (mathematics) or 15/24 (code).
    """

    RENAMED: ClassVar[Mapping[str, str]] = {"batch": "batch_size"}

    dataset: str
    """A dataset whose conversations have a truth."""
    model: str
    """An exported model, with the tokenizer and image sizes that the dataset was counted for."""
    tasks: tuple[str, ...] = ("*",)
    """Patterns of task names, such as `grounding.*`."""
    prompts: int = Field(ge=1)
    """Conversations of the train split, shared evenly among the tasks."""
    heldout: float = Field(default=0.1, ge=0, le=1)
    """Held-out conversations as a share of `prompts`, from the held-out split of the dataset, which they stay in;
    fewer where it has fewer. Reinforcement learning on the result evaluates on them."""
    rollouts: int = Field(ge=1)
    """Answers to each prompt."""
    temperature: float = Field(default=1.0, gt=0)
    max_new_tokens: int = Field(ge=1)
    batch_size: int = Field(default=64, ge=1)
    """Prompts that are answered together."""
    device: str = "auto"
    """Where the model runs: `cpu`, `cuda` or `cuda:N`; `auto` is `cuda` where there is a GPU."""
    min_accuracy: float = Field(default=0.0, ge=0, le=1)
    max_accuracy: float = Field(default=1.0, ge=0, le=1)
    seed: int = 0
    """Prompt n samples with seed + n."""
    shards: int = Field(default=1, ge=1)


class SampleLocation(NamedTuple):
    """Where a dataset keeps a sample: the arguments of `Dataset.read`."""

    shard: int
    offset: int
    size: int


def build_synthesis_data(config: SynthesisDataConfig, out: Path) -> Dataset:
    """Commit a dataset of synthesis conversations at `out`, each in the split of its prompt.

    A prompt that is damaged or does not fit into the model is skipped, counted, and listed in the dead letters. The
    same inputs give the same bytes. A dataset that was finished with the same configuration and inputs is returned as
    it is.

    Raises:
        UserError: The dataset or the model is missing, the two do not belong together, no prompt is left, or `out`
            holds another dataset.
    """
    source = Dataset.open(config.dataset)
    provenance = {
        **config.model_dump(mode="json", exclude={"device"}),
        "dataset_fingerprint": source.fingerprint,
        "model_blake3": _weights_digest(Path(config.model)),
    }
    if (out / MANIFEST).exists():
        finished = Dataset.open(out)
        if finished.manifest.config == provenance:
            return finished
        raise UserError(f"{out} holds a dataset of another configuration or other inputs; move it away first")
    device = resolve_device(config.device)
    engine = Engine(*load_model(config.model, device=device), device)
    source.check_counting(engine.tokenizer, engine.processor.spec)
    counts: dict[Split, int] = {"train": config.prompts, "heldout": round(config.heldout * config.prompts)}
    dead_letters: list[DeadLetter] = []
    selected = {
        split: select_prompts(source, config, split, count, dead_letters) for split, count in counts.items() if count
    }
    shutil.rmtree(out / "shards", ignore_errors=True)  # of a run that was killed
    with SampleSorter(config.shards) as sorter:
        answering = _Answering(source, engine, config, sorter, dead_letters)
        answered = [answering.run(split, locations) for split, (locations, _) in selected.items()]
        if not answered[0].kept:
            raise UserError(
                f"no prompt of {config.dataset} is left ({answered[0].dropped}{_example(dead_letters)}): change "
                "min_accuracy or max_accuracy"
            )
        shards, written = sorter.write(out, NAME)
    with DeadLetterWriter(out / DEAD_LETTERS) as table:
        for dead_letter in dead_letters:
            table.add(dead_letter)
    chosen = [step for _, step in selected.values()]
    return commit(
        out,
        name=NAME,
        shards=shards,
        ledger=(_total(chosen), _total(answered), written),
        counting=Counting(
            tokenizer=save_tokenizer(source.manifest.counting.tokenizer, engine.tokenizer, out),
            tokenizer_sha256=source.manifest.counting.tokenizer_sha256,
            image=source.manifest.counting.image,
        ),
        config=provenance,
        code_version=code_version("step3vl.data", "step3vl.grading", "step3vl.model", "step3vl.inference"),
    )


def select_prompts(
    source: Dataset, config: SynthesisDataConfig, split: Split, count: int, dead_letters: list[DeadLetter]
) -> tuple[list[SampleLocation], LedgerStep]:
    """Select the first conversations of a split with a truth, round-robin over the tasks, by id within a task.

    A task that runs out leaves its turns to the others.

    Args:
        source: The dataset.
        config: Which tasks.
        split: The split.
        count: Number of prompts.
        dead_letters: Receives those that are damaged.

    Returns:
        Where the prompts are, and the counts of the step.

    Raises:
        UserError: There is no such conversation to train on.
    """
    index = source.index(["id", "task", "offset", "size"], split=split, kind="conversation")
    turns: Counter[str] = Counter()
    candidates: list[tuple[int, str, SampleLocation]] = []
    for row in index.sort_by("id").to_pylist():
        task = row["task"]
        if any(fnmatchcase(task, pattern) for pattern in config.tasks):
            location = SampleLocation(row["shard"], row["offset"], row["size"])
            candidates.append((turns[task], task, location))
            turns[task] += 1
    locations: list[SampleLocation] = []
    missing_truth = 0
    failed: Counter[str] = Counter()
    for _, _, location in sorted(candidates):
        if len(locations) == count:
            break
        try:
            sample = source.read(*location)
        except DamagedSample as error:
            dead_letter = DeadLetter.from_error(error, step=_PROMPTS, source=_where(source, location))
            dead_letters.append(dead_letter)
            failed[dead_letter.error] += 1
            continue
        if sample.truth is None:
            missing_truth += 1
        else:
            locations.append(location)
    if not locations and split == "train":
        raise UserError(
            f"{source.url} has no training conversation with a truth of {', '.join(config.tasks)}"
            f"{_example(dead_letters)}: change tasks"
        )
    surplus = len(candidates) - len(locations) - missing_truth - failed.total()
    dropped = {"beyond the prompts asked for": surplus, "missing truth": missing_truth}
    return locations, _step(_PROMPTS, len(candidates), len(locations), dropped, failed)


def synthesis_sample(sample: Sample, completions: Sequence[Completion]) -> Sample | None:
    """Return the sample's question as PaCoRe would ask it around the conclusions, with the sample's true answer.

    Its score `conclusion_accuracy` is the share of correct conclusions. None if every conclusion is empty.

    Raises:
        ValueError: The sample is no conversation with a truth.
    """
    if sample.messages is None or sample.truth is None:
        raise ValueError(f"sample {sample.id} is no conversation with a truth")
    concluded = [completion for completion in completions if extract_conclusion(completion.text)]
    if not concluded:
        return None
    request = synthesis_request(Request.from_sample(sample), collect_conclusions(concluded))
    answer = Message(role="assistant", content=sample.messages[-1].content, reasoning_content="")
    grades = [grade_reply(sample.truth, completion.text, completion.finish_reason) for completion in concluded]
    return Sample.make(
        domain="pacore",
        task=TASK,
        messages=(*request.messages, answer),
        tools=sample.tools,
        images=sample.images,
        truth=sample.truth,
        source=Source(
            uri=sample.source.uri,
            licence=sample.source.licence,
            collected_by=f"step3vl/{NAME}",
            parents=(sample.id,),
        ),
        scores={"conclusion_accuracy": sum(grade.verdict == "correct" for grade in grades) / len(grades)},
    )


class _Answering:
    """Samples the answers to prompts, batch by batch, and adds synthesis conversations to the sorter."""

    def __init__(
        self,
        source: Dataset,
        engine: Engine,
        config: SynthesisDataConfig,
        sorter: SampleSorter,
        dead_letters: list[DeadLetter],
    ) -> None:
        self._source, self._engine, self._config = source, engine, config
        self._sorter, self._dead_letters = sorter, dead_letters
        self._number = 0  # of the next prompt, over both splits

    def run(self, split: Split, locations: Sequence[SampleLocation]) -> LedgerStep:
        """Answer the prompts of a split. Returns their counts."""
        config = self._config
        kept = 0
        dropped: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        for start in range(0, len(locations), config.batch_size):
            group = locations[start : start + config.batch_size]
            batch: list[Sample] = []
            samplings: list[Sampling] = []
            for location in group:
                sampling = Sampling(
                    temperature=config.temperature,
                    max_new_tokens=config.max_new_tokens,
                    seed=config.seed + self._number,
                )
                self._number += 1
                sample = self._source.read(*location)
                error = self._failure(sample, sampling, location)
                if error is None:
                    batch.append(sample)
                    samplings.append(sampling)
                else:
                    failed[error] += 1
            answers = self._engine.generate(
                [Request.from_sample(sample) for sample in batch], config.rollouts, samplings
            )
            for sample, completions in zip(batch, answers, strict=True):
                reason = self._add(sample, completions, split)
                if reason is None:
                    kept += 1
                else:
                    dropped[reason] += 1
            log.info("synthesis data: %d of %d %s prompts answered", start + len(group), len(locations), split)
        return _step(_CONCLUSIONS, len(locations), kept, dropped, failed)

    def _failure(self, sample: Sample, sampling: Sampling, location: SampleLocation) -> str | None:
        """The type of the error with which the engine refuses a prompt, which then is a dead letter."""
        try:
            self._engine.check(Request.from_sample(sample), sampling)
        except (UserError, ValueError, OSError, SyntaxError, DecompressionBombError) as error:
            source = f"{_where(self._source, location)}, sample {sample.id}"
            dead_letter = DeadLetter.from_error(error, step=_CONCLUSIONS, source=source)
            self._dead_letters.append(dead_letter)
            return dead_letter.error
        return None

    def _add(self, sample: Sample, completions: Sequence[Completion], split: Split) -> str | None:
        """Add a synthesis conversation. Returns why it is dropped, if it is."""
        conversation = synthesis_sample(sample, completions)
        if conversation is None:
            return "no conclusion"
        if conversation.scores["conclusion_accuracy"] < self._config.min_accuracy:
            return "too few conclusions correct"
        if conversation.scores["conclusion_accuracy"] > self._config.max_accuracy:
            return "too many conclusions correct"
        tokens = count_tokens(conversation, self._engine.tokenizer, self._engine.processor.spec)
        images = tuple(self._sorter.stage(image) for image in conversation.images)
        counted = conversation.model_copy(update={"tokens": tokens, "images": images})
        self._sorter.add(counted, split)
        return None


def _where(source: Dataset, location: SampleLocation) -> str:
    return f"{source.url}/{source.manifest.shards[location.shard].path} at byte {location.offset}"


def _example(dead_letters: Sequence[DeadLetter]) -> str:
    """The first dead letter and their number, for a message; empty without one."""
    if not dead_letters:
        return ""
    return (
        f"; {len(dead_letters)} prompts failed, the first of them {dead_letters[0].source}: {dead_letters[0].reason}"
    )


def _total(steps: Sequence[LedgerStep]) -> LedgerStep:
    return reduce(LedgerStep.__add__, steps)


def _weights_digest(model: Path) -> str:
    digest = blake3()
    for path in sorted(model.glob("*.safetensors")):
        digest.update_mmap(path)
    return digest.hexdigest()


def _step(name: str, read: int, kept: int, dropped: Mapping[str, int], failed: Mapping[str, int]) -> LedgerStep:
    """Return a ledger step that names only the reasons that occurred."""
    reasons = {reason: dropped[reason] for reason in sorted(dropped) if dropped[reason]}
    return LedgerStep(name=name, read=read, kept=kept, dropped=reasons, failed=dict(sorted(failed.items())))
