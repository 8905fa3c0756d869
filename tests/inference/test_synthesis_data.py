"""Synthesis data: a small real model answers a small real dataset, and PaCoRe itself is the reference."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from step3vl.data.dataset import (
    Counting,
    Dataset,
    LedgerStep,
    Split,
    commit,
    read_dead_letters,
    shard_name,
    write_shard,
)
from step3vl.data.errors import UserError
from step3vl.data.inspect import verify
from step3vl.data.sample import (
    CountTruth,
    Image,
    ImageSpec,
    Message,
    Sample,
    Source,
    Truth,
    conversation,
    image,
    text,
)
from step3vl.data.tokens import count_tokens, encode_prompt, encode_sample, fingerprint
from step3vl.grading import Grade
from step3vl.inference import (
    Completion,
    Engine,
    EngineBackend,
    PaCoRe,
    PaCoReConfig,
    Request,
    Sampling,
    synthesis_data,
)
from step3vl.inference.synthesis_data import SynthesisDataConfig, build_synthesis_data, synthesis_sample
from step3vl.model import save_checkpoint

ROLLOUTS, LIMIT = 3, 6
ALMOST_GREEDY = 1e-7  # the seed no longer decides


def make_image(number: int) -> Image:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    PILImage.fromarray(pixels).save(buffer, "PNG")
    return Image.from_bytes(buffer.getvalue())


def ask(number: int, task: str, truth: Truth | None, question: str = "How many?") -> Sample:
    """A question about an image, after an earlier exchange where the number is even."""
    earlier = (
        Message(role="user", content=(text("Hello."),)),
        Message(role="assistant", content=(text("Hello."),)),
    )
    return Sample.make(
        domain=task.split(".")[0],
        task=task,
        messages=(*(earlier if number % 2 == 0 else ()), *conversation((image(0), text(question)), str(number))),
        images=(make_image(number),),
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
            ledger=[LedgerStep(name="build", read=len(train) + len(heldout), kept=len(train) + len(heldout))],
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
    """Six questions of one task and two of another, one without a truth, and held-out ones."""
    truth = CountTruth(count=2)
    train = [ask(number, "counting.icons", truth) for number in range(5)]
    train.append(ask(5, "counting.icons", truth, "How many <|im_end|> and </think> <im_patch>?"))
    train += [ask(number, "grounding.region", truth) for number in range(10, 12)]
    train.append(ask(20, "chat.free", None))
    heldout = [ask(number, "counting.icons", truth) for number in range(30, 33)]
    return build(tmp_path_factory.mktemp("corpus") / "small", train, heldout)


def config(corpus: Path, model: Path, **changes: object) -> SynthesisDataConfig:
    fields = {"prompts": 7, "rollouts": ROLLOUTS, "max_new_tokens": LIMIT, "batch_size": 3, "seed": 5, "heldout": 0.0}
    fields |= changes
    return SynthesisDataConfig.model_validate({"dataset": str(corpus), "model": str(model), **fields})


def parents(corpus: Path) -> dict[str, Sample]:
    return {sample.id: sample for sample in Dataset.open(corpus).samples(split="train", kind="conversation")}


class Recorder(EngineBackend):
    """The engine's backend, recording its requests."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.requests: list[Request] = []

    def stream(self, request, sampling, n=1):
        self.requests.append(request)
        return super().stream(request, sampling, n)


def test_every_prompt_is_the_one_that_pacore_sends(corpus: Path, model: Path, engine: Engine, tmp_path: Path) -> None:
    """Prompt n samples with seed 5 + n, whatever its batch, as the first round of a PaCoRe with that seed does."""
    made = build_synthesis_data(config(corpus, model, batch_size=3, prompts=8), tmp_path / "synthesis")
    originals = parents(corpus)
    by_task = {
        task: sorted(s.id for s in originals.values() if s.task == task)
        for task in ("counting.icons", "grounding.region")
    }
    turns = [by_task[task][turn] for turn in range(6) for task in by_task if turn < len(by_task[task])]
    samples = {sample.source.parents[0]: sample for sample in made.samples()}
    assert sorted(samples) == sorted(turns)
    for number, parent in enumerate(turns):
        recorder = Recorder(engine)
        rounds = PaCoReConfig(rounds=(ROLLOUTS,), sampling=Sampling(max_new_tokens=LIMIT), seed=5 + number)
        PaCoRe(recorder, rounds).run(Request(originals[parent].prompt(), originals[parent].images))
        sample, sent = samples[parent], recorder.requests[-1]
        assert list(sample.prompt()) == list(sent.messages)
        sizes = [(img.width, img.height) for img in sample.images]
        prompt = encode_prompt(sent.messages, sizes, engine.tokenizer, engine.processor.spec)
        encoded = encode_sample(sample, engine.tokenizer, engine.processor.spec)
        assert encoded.input_ids[: len(prompt)].tolist() == prompt.tolist()
        assert not encoded.loss_weights[: len(prompt)].any()


def test_a_conversation_keeps_image_truth_answer_and_history(corpus: Path, model: Path, tmp_path: Path) -> None:
    made = build_synthesis_data(config(corpus, model), tmp_path / "synthesis")
    originals = parents(corpus)
    for sample in made.samples():
        (parent_id,) = sample.source.parents
        parent = originals[parent_id]
        assert (sample.domain, sample.task, sample.truth) == ("pacore", "pacore.synthesis", parent.truth)
        assert [img.read() for img in sample.images] == [img.read() for img in parent.images]
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
    made = build_synthesis_data(config(corpus, model, shards=2), tmp_path / "synthesis")
    assert verify(made.url).problems == ()
    Dataset.open(tmp_path / "synthesis").check_counting(engine.tokenizer, engine.processor.spec)
    assert (tmp_path / "synthesis/tokenizer/tokenizer.json").read_bytes() == (
        corpus / "tokenizer/tokenizer.json"
    ).read_bytes()
    index = made.index(["text_tokens", "image_tokens"]).to_pylist()
    for row, sample in zip(index, made.samples(), strict=True):
        tokens = count_tokens(sample, engine.tokenizer, engine.processor.spec)
        assert (row["text_tokens"], row["image_tokens"]) == (tokens.text, tokens.image)


def test_prompts_are_shared_among_tasks_and_the_ledger_balances(corpus: Path, model: Path, tmp_path: Path) -> None:
    made = build_synthesis_data(config(corpus, model, prompts=5), tmp_path / "synthesis")
    originals = parents(corpus)
    tasks = [originals[sample.source.parents[0]].task for sample in made.samples()]
    assert {task: tasks.count(task) for task in set(tasks)} == {"counting.icons": 3, "grounding.region": 2}
    prompts, conclusions, shards = made.manifest.ledger
    assert prompts == LedgerStep(
        name="prompts", read=9, kept=5, dropped={"beyond the prompts asked for": 3, "missing truth": 1}
    )
    assert (conclusions.read, conclusions.kept, shards.read, shards.kept) == (5, 5, 5, 5)
    some = build_synthesis_data(config(corpus, model, tasks=["grounding.*"]), tmp_path / "some")
    assert some.manifest.ledger[0] == LedgerStep(name="prompts", read=2, kept=2)


def test_the_same_configuration_gives_the_same_bytes(corpus: Path, model: Path, tmp_path: Path) -> None:
    def contents(out: Path) -> dict[str, bytes]:
        return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    first, second = tmp_path / "first", tmp_path / "second"
    build_synthesis_data(config(corpus, model), first)
    (second / "shards").mkdir(parents=True)
    (second / "shards" / ".left-by-a-killed-run.tmp").write_bytes(b"half")
    build_synthesis_data(config(corpus, model), second)
    assert contents(first) == contents(second)
    build_synthesis_data(config(corpus, model), second)
    assert contents(first) == contents(second)


def test_a_finished_dataset_of_another_configuration_is_kept(corpus: Path, model: Path, tmp_path: Path) -> None:
    finished = build_synthesis_data(config(corpus, model), tmp_path / "out")
    with pytest.raises(UserError, match="another configuration"):
        build_synthesis_data(config(corpus, model, seed=6), tmp_path / "out")
    assert Dataset.open(tmp_path / "out").manifest == finished.manifest


def test_the_share_of_correct_conclusions_filters(build, model: Path, tmp_path: Path, monkeypatch) -> None:
    right, *wrong = [ask(number, "counting.icons", CountTruth(count=number)) for number in range(3)]
    dataset = build(tmp_path / "corpus", [right, *wrong])

    def grade(truth: Truth, reply: str, finish_reason: str) -> Grade:
        return Grade(1.0, "correct") if truth == right.truth else Grade(0.0, "wrong")

    monkeypatch.setattr(synthesis_data, "grade_reply", grade)
    settings = config(dataset, model, temperature=ALMOST_GREEDY)
    scores = {
        sample.source.parents[0]: sample.scores["conclusion_accuracy"]
        for sample in build_synthesis_data(settings, tmp_path / "all").samples()
    }
    assert scores == {right.id: 1.0, wrong[0].id: 0.0, wrong[1].id: 0.0}

    above = build_synthesis_data(settings.model_copy(update={"min_accuracy": 0.01}), tmp_path / "above")
    assert [sample.source.parents for sample in above.samples()] == [(right.id,)]
    assert above.manifest.ledger[1].dropped == {"too few conclusions correct": 2}
    below = build_synthesis_data(settings.model_copy(update={"max_accuracy": 0.5}), tmp_path / "below")
    assert below.manifest.ledger[1].dropped == {"too many conclusions correct": 1}
    with pytest.raises(UserError, match=r"no prompt of .* is left"):
        build_synthesis_data(settings.model_copy(update={"min_accuracy": 0.4, "max_accuracy": 0.6}), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_equal_conversations_from_two_tasks_are_written_once(build, model: Path, tmp_path: Path) -> None:
    twice = [ask(1, task, CountTruth(count=1)) for task in ("counting.icons", "counting.again")]
    dataset = build(tmp_path / "corpus", twice)
    made = build_synthesis_data(config(dataset, model, temperature=ALMOST_GREEDY), tmp_path / "synthesis")
    assert made.manifest.ledger[2] == LedgerStep(name="shards", read=2, kept=1, dropped={"duplicate": 1})
    assert [sample.source.parents for sample in made.samples()] == [(min(sample.id for sample in twice),)]


def reply(text: str, finish_reason: str = "stop") -> Completion:
    return Completion([1], text, "", text, None, finish_reason, 1)


def test_conclusion_accuracy_is_the_share_of_replies_graded_correct() -> None:
    question = ask(1, "counting.icons", CountTruth(count=2))
    replies = [reply("</think>2"), reply("</think>There are 2."), reply("</think>3"), reply("</think>2", "length")]
    assert synthesis_sample(question, [*replies, reply("</think>")]).scores == {"conclusion_accuracy": 0.5}
    assert synthesis_sample(question, [reply("</think>")]) is None
    with pytest.raises(ValueError, match="no conversation with a truth"):
        synthesis_sample(ask(1, "chat.free", None), replies)


def test_what_does_not_belong_together_is_refused(build, corpus: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no training conversation with a truth of maps\.\*"):
        build_synthesis_data(config(corpus, model, tasks=["maps.*"]), tmp_path / "synthesis")
    other = ImageSpec(image_size=56, crop_size=28, patch_size=7, max_side=224)
    dataset = build(tmp_path / "corpus", [ask(1, "counting.icons", CountTruth(count=1))], spec=other)
    with pytest.raises(UserError, match="was counted for images of"):
        build_synthesis_data(config(dataset, model), tmp_path / "synthesis")
    assert not (tmp_path / "synthesis").exists()


def test_held_out_prompts_become_held_out_conversations_to_train_on(corpus: Path, model: Path, tmp_path: Path) -> None:
    plain = build_synthesis_data(config(corpus, model), tmp_path / "plain")
    made = build_synthesis_data(config(corpus, model, heldout=0.3), tmp_path / "split")
    assert [sample.id for sample in made.samples(split="train")] == [sample.id for sample in plain.samples()]
    heldout = {sample.id for sample in Dataset.open(corpus).samples(split="heldout")}
    samples = list(made.samples(split="heldout"))
    assert len(samples) == 2
    assert {sample.source.parents[0] for sample in samples} < heldout
    assert all(sample.truth is not None for sample in samples)
    assert made.manifest.ledger[0].kept == 9
    assert SynthesisDataConfig.model_fields["heldout"].default > 0


def test_a_corpus_without_a_held_out_split_gives_none(build, model: Path, tmp_path: Path) -> None:
    dataset = build(tmp_path / "corpus", [ask(1, "counting.icons", CountTruth(count=1))])
    made = build_synthesis_data(config(dataset, model, heldout=1.0), tmp_path / "synthesis")
    assert {shard.split for shard in made.manifest.shards} == {"train"}


def test_damaged_and_overlong_prompts_are_skipped_counted_and_listed(
    build, model: Path, engine: Engine, tmp_path: Path
) -> None:
    truth = CountTruth(count=2)
    long = ask(7, "counting.icons", truth, "How many? " * engine.context)
    dataset = build(tmp_path / "corpus", [*(ask(number, "counting.icons", truth) for number in range(5)), long])
    index = Dataset.open(dataset).index(["id", "offset", "size"], split="train").to_pylist()
    row = next(row for row in index if row["id"] != long.id)
    path = next((dataset / "shards").glob("*train*.tar"))
    data = bytearray(path.read_bytes())
    data[row["offset"] + row["size"] // 2] ^= 1
    path.write_bytes(data)
    made = build_synthesis_data(config(dataset, model), tmp_path / "synthesis")
    prompts, conclusions, _ = made.manifest.ledger
    assert (prompts.read, prompts.kept, prompts.failed) == (6, 5, {"DamagedSample": 1})
    assert (conclusions.read, conclusions.kept, conclusions.failed) == (5, 4, {"UserError": 1})
    dead_letters = list(read_dead_letters(tmp_path / "synthesis"))
    assert [dead_letter.step for dead_letter in dead_letters] == ["prompts", "conclusions"]
    assert f"sample {long.id}" in dead_letters[1].source
    assert "tokens" in dead_letters[1].reason


def test_tools_and_system_text_reach_the_prompt_and_stay(build, model: Path, tmp_path: Path) -> None:
    tools = ({"type": "function", "function": {"name": "zoom"}},)
    plain = ask(1, "counting.icons", CountTruth(count=2))
    system = Message(role="system", content=(text("Be brief."),))
    sample = Sample.make(
        domain=plain.domain,
        task=plain.task,
        messages=(system, *plain.messages),
        tools=tools,
        images=plain.images,
        truth=plain.truth,
        source=plain.source,
    )
    dataset = build(tmp_path / "corpus", [sample])
    (made,) = build_synthesis_data(config(dataset, model), tmp_path / "synthesis").samples()
    assert made.tools == tools
    assert made.messages[0] == system
    request = Request.from_sample(sample)
    assert (request.messages, request.images, request.tools) == (sample.prompt(), sample.images, tools)
