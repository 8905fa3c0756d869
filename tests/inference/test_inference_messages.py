"""The message cache: a small real model answers a small real dataset, and PaCoRe itself judges the prompts."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from step3vl.data.crops import ImageSpec
from step3vl.data.dataset import Counting, Dataset, Split, commit, shard_name, write_shard
from step3vl.data.errors import UserError
from step3vl.data.ledger import Step
from step3vl.data.sample import Image, Message, Sample, Source, conversation, image, text
from step3vl.data.tokens import count_tokens, encode_prompt, encode_sample, fingerprint
from step3vl.data.truth import CountTruth, TextTruth, Truth
from step3vl.data.verify import verify
from step3vl.inference import Engine, EngineBackend, PaCoRe, PaCoReConfig, Request, Sampling
from step3vl.inference.messages import MessagesConfig, cache_messages, synthesis
from step3vl.model import save_checkpoint

ROLLOUTS, LIMIT = 3, 6
ALMOST_GREEDY = 1e-7  # answers that the seed no longer decides


def picture(number: int) -> Image:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    PILImage.fromarray(pixels).save(buffer, "PNG")
    return Image.from_bytes(buffer.getvalue())


def ask(number: int, task: str, truth: Truth | None, question: str = "How many?") -> Sample:
    """A question about a picture, after an earlier exchange where the number is even."""
    earlier = (
        Message(role="user", content=(text("Hello."),)),
        Message(role="assistant", content=(text("Hello."),)),
    )
    return Sample.make(
        domain=task.split(".")[0],
        task=task,
        messages=(*(earlier if number % 2 == 0 else ()), *conversation((image(0), text(question)), str(number))),
        images=(picture(number),),
        truth=truth,
        source=Source(uri=f"made:{number}", licence=f"licence {number}", collected_by="tests"),
    )


@pytest.fixture(scope="module")
def build(engine: Engine) -> Callable[..., Path]:
    """build(folder, train, heldout): a committed dataset counted for the engine's model."""
    spec = engine.processor.spec

    def build(out: Path, train: Sequence[Sample], heldout: Sequence[Sample] = (), spec: ImageSpec = spec) -> Path:
        (out / "tokenizer").mkdir(parents=True)
        engine.tokenizer.save(str(out / "tokenizer" / "tokenizer.json"))
        splits: dict[Split, Sequence[Sample]] = {"train": train, "heldout": heldout}
        shards = [
            write_shard(
                out,
                shard_name("small", split, 0, 1),
                split,
                sorted(
                    (s.model_copy(update={"tokens": count_tokens(s, engine.tokenizer, spec)}) for s in samples),
                    key=lambda sample: sample.id,
                ),
            )
            for split, samples in splits.items()
        ]
        commit(
            out,
            name="small",
            shards=shards,
            ledger=[Step(name="build", read=len(train) + len(heldout), kept=len(train) + len(heldout))],
            counting=Counting(
                tokenizer="tokenizer/tokenizer.json", tokenizer_sha256=fingerprint(engine.tokenizer), image=spec
            ),
            config={},
            code_version="tests",
        )
        return out

    return build


@pytest.fixture(scope="module")
def model(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model")
    save_checkpoint(engine.model, engine.processor, out)
    return out


@pytest.fixture(scope="module")
def corpus(build: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six questions of one task and two of another, one that nothing can verify, and held-out ones."""
    truth = CountTruth(count=2)
    train = [ask(number, "counting.icons", truth) for number in range(5)]
    train.append(ask(5, "counting.icons", truth, "How many <|im_end|> and </think> <im_patch>?"))
    train += [ask(number, "grounding.region", truth) for number in range(10, 12)]
    train.append(ask(20, "chat.free", None))
    heldout = [ask(number, "counting.icons", truth) for number in range(30, 33)]
    return build(tmp_path_factory.mktemp("corpus") / "small", train, heldout)


def config(corpus: Path, model: Path, **changes: object) -> MessagesConfig:
    fields = {"prompts": 7, "rollouts": ROLLOUTS, "max_new_tokens": LIMIT, "batch": 3, "seed": 5, **changes}
    return MessagesConfig.model_validate({"dataset": str(corpus), "model": str(model), **fields})


def parents(corpus: Path) -> dict[str, Sample]:
    return {sample.id: sample for sample in Dataset.open(corpus).samples(split="train", kind="conversation")}


class Recorder(EngineBackend):
    """The engine, with a note of the requests that it was given."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.asked: list[Request] = []

    def stream(self, request, sampling, n=1):
        self.asked.append(request)
        return super().stream(request, sampling, n)


def test_every_prompt_is_the_one_that_pacore_sends(corpus: Path, model: Path, engine: Engine, tmp_path: Path) -> None:
    """Prompt n draws with seed 5 + n, whatever its batch, as the first round of a PaCoRe with that seed does."""
    made = cache_messages(config(corpus, model, batch=3, prompts=8), tmp_path / "messages")
    known = parents(corpus)
    by_task = {
        task: sorted(s.id for s in known.values() if s.task == task) for task in ("counting.icons", "grounding.region")
    }
    turns = [by_task[task][turn] for turn in range(6) for task in by_task if turn < len(by_task[task])]
    samples = {sample.source.parents[0]: sample for sample in made.samples()}
    assert sorted(samples) == sorted(turns)
    for number, parent in enumerate(turns):
        recorder = Recorder(engine)
        rounds = PaCoReConfig(rounds=(ROLLOUTS,), sampling=Sampling(max_new_tokens=LIMIT), seed=5 + number)
        PaCoRe(recorder, rounds).run(Request(known[parent].prompt(), known[parent].images))
        sample, sent = samples[parent], recorder.asked[-1]
        assert list(sample.prompt()) == list(sent.messages)
        sizes = [(one.width, one.height) for one in sample.images]
        prompt = encode_prompt(sent.messages, sizes, engine.tokenizer, engine.processor.spec)
        encoded = encode_sample(sample, engine.tokenizer, engine.processor.spec)
        assert encoded.input_ids[: len(prompt)].tolist() == prompt.tolist()
        assert not encoded.loss_weights[: len(prompt)].any()


def test_a_conversation_keeps_picture_truth_answer_and_history(corpus: Path, model: Path, tmp_path: Path) -> None:
    made = cache_messages(config(corpus, model), tmp_path / "messages")
    known = parents(corpus)
    for sample in made.samples():
        (parent_id,) = sample.source.parents
        parent = known[parent_id]
        assert (sample.domain, sample.task, sample.truth) == ("pacore", "pacore.synthesis", parent.truth)
        assert [one.read() for one in sample.images] == [one.read() for one in parent.images]
        assert (sample.source.uri, sample.source.licence) == (parent.source.uri, parent.source.licence)
        assert sample.answer() == parent.answer()
        assert sample.messages[-1].reasoning_content == ""
        assert sample.messages[:-2] == parent.messages[:-2]
        assert [part.type for part in sample.messages[-2].content] == ["image", "text"]
        question = sample.messages[-2].content[1].text
        assert f"Original Problem:\n{parent.messages[-2].content[1].text}\n" in question
        assert 1 <= question.count("Reference ") - 1 <= ROLLOUTS  # "Reference Responses" is one more
    assert {shard.split for shard in made.manifest.shards} == {"train"}


def test_the_dataset_is_counted_as_its_source(corpus: Path, model: Path, engine: Engine, tmp_path: Path) -> None:
    made = cache_messages(config(corpus, model, shards=2), tmp_path / "messages")
    assert verify(made.url).problems == ()
    Dataset.open(tmp_path / "messages").check_counting(engine.tokenizer, engine.processor.spec)
    assert (tmp_path / "messages/tokenizer/tokenizer.json").read_bytes() == (
        corpus / "tokenizer/tokenizer.json"
    ).read_bytes()
    index = made.index(["text_tokens", "image_tokens"]).to_pylist()
    for row, sample in zip(index, made.samples(), strict=True):
        tokens = count_tokens(sample, engine.tokenizer, engine.processor.spec)
        assert (row["text_tokens"], row["image_tokens"]) == (tokens.text, tokens.image)


def test_prompts_are_spread_over_tasks_and_all_accounted_for(corpus: Path, model: Path, tmp_path: Path) -> None:
    made = cache_messages(config(corpus, model, prompts=5), tmp_path / "messages")
    known = parents(corpus)
    tasks = [known[sample.source.parents[0]].task for sample in made.samples()]
    assert {task: tasks.count(task) for task in set(tasks)} == {"counting.icons": 3, "grounding.region": 2}
    prompts, messages, shards = made.manifest.ledger
    assert prompts == Step(name="prompts", read=9, kept=5, dropped={"beyond the prompts asked for": 3, "no truth": 1})
    assert (messages.read, messages.kept, shards.read, shards.kept) == (5, 5, 5, 5)
    some = cache_messages(config(corpus, model, tasks=["grounding.*"]), tmp_path / "some")
    assert some.manifest.ledger[0] == Step(name="prompts", read=2, kept=2)


def test_the_same_seed_gives_the_same_bytes_over_whatever_was_there(corpus: Path, model: Path, tmp_path: Path) -> None:
    def contents(out: Path) -> dict[str, bytes]:
        return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    first, second = tmp_path / "first", tmp_path / "second"
    cache_messages(config(corpus, model), first)
    cache_messages(config(corpus, model, seed=6, shards=3), second)
    other = contents(second)
    (second / "shards" / ".left-by-a-killed-run.tmp").write_bytes(b"half")
    cache_messages(config(corpus, model), second)
    assert contents(first) == contents(second) != other


def test_the_share_of_right_messages_filters(build, corpus: Path, model: Path, engine: Engine, tmp_path: Path) -> None:
    wrong = [ask(number, "counting.icons", CountTruth(count=987654)) for number in range(3)]
    sampling = Sampling(temperature=0, max_new_tokens=LIMIT)
    said = engine.generate([Request(wrong[0].prompt(), wrong[0].images)], 1, sampling)[0][0].text
    right = ask(0, "counting.icons", TextTruth(text=said))
    place = build(tmp_path / "corpus", [right, *wrong[1:]])
    settings = config(place, model, temperature=ALMOST_GREEDY)
    scores = {
        sample.source.parents[0]: sample.scores["message_accuracy"]
        for sample in cache_messages(settings, tmp_path / "all").samples()
    }
    assert scores == {right.id: 1.0, wrong[1].id: 0.0, wrong[2].id: 0.0}

    known = cache_messages(settings.model_copy(update={"min_accuracy": 0.01}), tmp_path / "known")
    assert [sample.source.parents for sample in known.samples()] == [(right.id,)]
    assert known.manifest.ledger[1].dropped == {"too few messages right": 2}
    unknown = cache_messages(settings.model_copy(update={"max_accuracy": 0.5}), tmp_path / "unknown")
    assert unknown.manifest.ledger[1].dropped == {"too many messages right": 1}
    with pytest.raises(UserError, match=r"no prompt of .* is left"):
        cache_messages(settings.model_copy(update={"min_accuracy": 0.4, "max_accuracy": 0.6}), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_equal_conversations_from_two_tasks_are_written_once(build, model: Path, tmp_path: Path) -> None:
    twice = [ask(1, task, CountTruth(count=1)) for task in ("counting.icons", "counting.again")]
    place = build(tmp_path / "corpus", twice)
    made = cache_messages(config(place, model, temperature=ALMOST_GREEDY), tmp_path / "messages")
    assert made.manifest.ledger[2] == Step(name="shards", read=2, kept=1, dropped={"duplicate": 1})
    assert [sample.source.parents for sample in made.samples()] == [(min(sample.id for sample in twice),)]


def test_message_accuracy_counts_what_the_truth_calls_correct() -> None:
    made = synthesis(ask(1, "counting.icons", CountTruth(count=2)), ["2", "There are 2.", "3", "none"])
    assert made.scores == {"message_accuracy": 0.5}
    with pytest.raises(ValueError, match="no conversation with a truth"):
        synthesis(ask(1, "chat.free", None), ["2"])


def test_what_does_not_belong_together_is_refused(build, corpus: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no training conversation with a truth of maps\.\*"):
        cache_messages(config(corpus, model, tasks=["maps.*"]), tmp_path / "messages")
    other = ImageSpec(image_size=56, crop_size=28, patch_size=7, max_side=224)
    place = build(tmp_path / "corpus", [ask(1, "counting.icons", CountTruth(count=1))], spec=other)
    with pytest.raises(UserError, match="was counted for pictures of"):
        cache_messages(config(place, model), tmp_path / "messages")
    assert not (tmp_path / "messages").exists()
