"""The message cache: a model's own answers to training prompts become the references of synthesis prompts to train on.

PaCoRe report, section 3.1: answers are sampled once for each problem, and later serve as the messages of its synthesis
prompt. Here every synthesis prompt is followed by the true answer, so that the result is a dataset for fine-tuning.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.dataset import (
    MANIFEST,
    Counting,
    Dataset,
    ShardInfo,
    code_version,
    commit,
    shard_name,
    shard_of,
    write_shard,
)
from step3vl.data.errors import UserError
from step3vl.data.ledger import Step
from step3vl.data.sample import Message, Sample, Source
from step3vl.data.tokens import count_tokens, keep_tokenizer
from step3vl.inference.engine import Engine, Request
from step3vl.inference.pacore import passed_on, synthesis_request
from step3vl.inference.sampling import Sampling
from step3vl.model import load_model

log = logging.getLogger(__name__)

NAME = "messages"
TASK = "pacore.synthesis"


class MessagesConfig(Config):
    """Whose answers to which prompts become messages.

    A prompt is kept where the share of its messages that are right lies in `min_accuracy`..`max_accuracy`. By default
    every prompt is: the true answer can be learned from the question although all references are wrong. The report
    keeps a share above 0 and below 9/24 (mathematics) or 15/24 (code).
    """

    dataset: str
    model: str  # an exported model, with the tokenizer and the sizes of pictures that the dataset was counted for
    tasks: tuple[str, ...] = ("*",)  # patterns of task names, such as "grounding.*"
    prompts: int = Field(ge=1)  # conversations of the train split, shared evenly among the tasks
    rollouts: int = Field(ge=1)  # answers to each prompt, and so its messages, less those that are empty
    temperature: float = Field(default=1.0, gt=0)
    max_new_tokens: int = Field(ge=1)
    batch: int = Field(default=64, ge=1)  # prompts that are answered together
    min_accuracy: float = Field(default=0.0, ge=0, le=1)
    max_accuracy: float = Field(default=1.0, ge=0, le=1)
    seed: int = 0  # prompt n draws with seed + n
    shards: int = Field(default=1, ge=1)


class Place(NamedTuple):
    """Where a dataset keeps a sample; what `Dataset.read` takes."""

    shard: int
    offset: int
    size: int


class Made(NamedTuple):
    """A synthesis conversation without the bytes of its pictures, and the place of the sample that holds them."""

    sample: Sample
    place: Place


def cache_messages(config: MessagesConfig, out: Path) -> Dataset:
    """Commit a dataset of synthesis conversations at `out`, in place of one that is there.

    All of it is of the train split. The same inputs give the same bytes. Raises UserError when the dataset or the
    model is not there, when the two do not belong together, or when no prompt is left to write.
    """
    source = Dataset.open(config.dataset)
    engine = Engine(*load_model(config.model))
    source.check_counting(engine.tokenizer, engine.processor.spec)
    places, chosen = choose(source, config)
    made, answered = _answer(source, places, engine, config)
    if not made:
        raise UserError(
            f"no prompt of {config.dataset} is left ({answered.dropped}): change min_accuracy or max_accuracy"
        )
    # An earlier dataset ends here, manifest first, so that none is ever half replaced.
    (out / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(out / "shards", ignore_errors=True)
    infos, written = _write_shards(source, made, config.shards, out)
    return commit(
        out,
        name=NAME,
        shards=infos,
        ledger=(chosen, answered, written),
        counting=Counting(
            tokenizer=keep_tokenizer(source.manifest.counting.tokenizer, engine.tokenizer, out),
            tokenizer_sha256=source.manifest.counting.tokenizer_sha256,
            image=source.manifest.counting.image,
        ),
        config={**config.model_dump(mode="json"), "dataset_fingerprint": source.fingerprint},
        code_version=code_version("step3vl.data", "step3vl.model", "step3vl.inference"),
    )


def choose(source: Dataset, config: MessagesConfig) -> tuple[list[Place], Step]:
    """The first training conversations with a truth: one of each task in turn, by id within a task.

    A task that runs out leaves its turns to the others. Raises UserError when there is no such conversation.
    """
    index = source.index(["id", "task", "offset", "size"], split="train", kind="conversation")
    turns: Counter[str] = Counter()
    rows: list[tuple[int, str, Place]] = []
    for row in index.sort_by("id").to_pylist():
        task = row["task"]
        if any(fnmatchcase(task, pattern) for pattern in config.tasks):
            rows.append((turns[task], task, Place(row["shard"], row["offset"], row["size"])))
            turns[task] += 1
    places: list[Place] = []
    untrue = 0
    for _, _, place in sorted(rows):
        if len(places) == config.prompts:
            break
        if source.read(*place).truth is None:
            untrue += 1
        else:
            places.append(place)
    if not places:
        raise UserError(
            f"{source.url} has no training conversation with a truth of {', '.join(config.tasks)}: change tasks"
        )
    dropped = {"beyond the prompts asked for": len(rows) - len(places) - untrue, "no truth": untrue}
    return places, _account("prompts", len(rows), len(places), dropped)


def synthesis(sample: Sample, messages: Sequence[str]) -> Sample:
    """The sample's question around the messages, as PaCoRe would ask it, followed by the sample's true answer.

    `message_accuracy` is the share of right messages. Raises ValueError when the sample has no truth to tell by.
    """
    if sample.messages is None or sample.truth is None:
        raise ValueError(f"sample {sample.id} is no conversation with a truth")
    asked = synthesis_request(Request(sample.prompt(), sample.images), messages).messages
    answer = Message(role="assistant", content=sample.messages[-1].content, reasoning_content="")
    right = [sample.truth.score(message).verdict == "correct" for message in messages]
    return Sample.make(
        domain="pacore",
        task=TASK,
        messages=(*asked, answer),
        images=sample.images,
        truth=sample.truth,
        source=Source(
            uri=sample.source.uri,
            licence=sample.source.licence,
            collected_by=f"step3vl/{NAME}",
            parents=(sample.id,),
        ),
        scores={"message_accuracy": sum(right) / len(right)},
    )


def _answer(
    source: Dataset, places: Sequence[Place], engine: Engine, config: MessagesConfig
) -> tuple[list[Made], Step]:
    """Sample the answers to every prompt, batch by batch, and make synthesis conversations of them."""
    made: list[Made] = []
    dropped: Counter[str] = Counter()
    for start in range(0, len(places), config.batch):
        batch = [(place, source.read(*place)) for place in places[start : start + config.batch]]
        requests = [Request(sample.prompt(), sample.images) for _, sample in batch]
        samplings = [
            Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens, seed=config.seed + number)
            for number in range(start, start + len(batch))
        ]
        answers = engine.generate(requests, config.rollouts, samplings)
        for (place, sample), completions in zip(batch, answers, strict=True):
            messages = passed_on(completions)
            if not messages:
                dropped["no message"] += 1
                continue
            conversation = synthesis(sample, messages)
            accuracy = conversation.scores["message_accuracy"]
            if accuracy < config.min_accuracy:
                dropped["too few messages right"] += 1
            elif accuracy > config.max_accuracy:
                dropped["too many messages right"] += 1
            else:
                tokens = count_tokens(conversation, engine.tokenizer, engine.processor.spec)
                images = tuple(image.model_copy(update={"data": None}) for image in sample.images)
                made.append(Made(conversation.model_copy(update={"tokens": tokens, "images": images}), place))
        log.info("messages: %d of %d prompts answered", start + len(batch), len(places))
    return made, _account("messages", len(places), len(made), dropped)


def _write_shards(source: Dataset, made: Sequence[Made], shards: int, out: Path) -> tuple[list[ShardInfo], Step]:
    """Shards by id. Of conversations that are equal to the letter, from prompts of equal content, one is kept."""
    distinct = {one.sample.id: one for one in sorted(made, key=lambda one: one.sample.source.parents, reverse=True)}
    infos = []
    for number in range(shards):
        own = [distinct[id_] for id_ in sorted(distinct) if shard_of(id_, shards) == number]
        if own:
            infos.append(write_shard(out, shard_name(NAME, "train", number, shards), "train", _whole(source, own)))
    written = sum(info.samples for info in infos)
    return infos, _account("shards", len(made), written, {"duplicate": len(made) - len(distinct)})


def _whole(source: Dataset, made: Iterable[Made]) -> Iterator[Sample]:
    """The samples with their pictures' bytes, read only now, so that one sample's are held at a time."""
    for one in made:
        yield one.sample.model_copy(update={"images": source.read(*one.place).images})


def _account(name: str, read: int, kept: int, dropped: Mapping[str, int]) -> Step:
    """A step's account, of which only the reasons that occurred are named."""
    return Step(
        name=name, read=read, kept=kept, dropped={why: dropped[why] for why in sorted(dropped) if dropped[why]}
    )
