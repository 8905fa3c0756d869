"""The held-out split of a dataset as a benchmark: its items, grades, clusters and level of chance."""

import asyncio
import io
import json
from pathlib import Path

import pytest
from PIL import Image as PILImage

from step3vl.data.dataset import Counting, LedgerStep, Split, commit, shard_name, write_shard
from step3vl.data.errors import UserError
from step3vl.data.sample import (
    CountTruth,
    Image,
    ImageSpec,
    Sample,
    Source,
    TextTruth,
    TokenCount,
    Truth,
    conversation,
    image,
    text,
)
from step3vl.evaluation.comparison import compare
from step3vl.evaluation.heldout import HeldOut
from step3vl.evaluation.item import Scored
from step3vl.evaluation.registry import load_benchmark
from step3vl.evaluation.runner import EvalConfig, run_benchmark
from step3vl.evaluation.scoring import Response as Reply
from step3vl.evaluation.scoring import load_items, score_responses
from step3vl.grading import grade_reply
from step3vl.inference.client import Request, Sampling


def png(colour: int) -> Image:
    buffer = io.BytesIO()
    PILImage.new("RGB", (8, 8), (colour, 0, 0)).save(buffer, "PNG")
    return Image.from_bytes(buffer.getvalue())


def sample(task: str, question: str, answer: str, truth: Truth | None, *colours: int) -> Sample:
    parts = (*(image(number) for number in range(len(colours))), text(question))
    made = Sample.make(
        domain=task.partition(".")[0],
        task=task,
        images=tuple(map(png, colours)),
        truth=truth,
        messages=conversation(parts, answer),
        source=Source(uri=f"made:{question}", licence="CC0-1.0", collected_by="test"),
    )
    return made.model_copy(update={"tokens": TokenCount(text=9, image=9 * len(colours))})


def write(out: Path, splits: dict[Split, list[Sample]]) -> Path:
    shards = [
        write_shard(out, shard_name("mine", split, 0, 1), split, sorted(samples, key=lambda each: each.id))
        for split, samples in splits.items()
    ]
    counting = Counting(tokenizer="qwen3", tokenizer_sha256="0" * 64, image=ImageSpec())
    total = sum(map(len, splits.values()))
    ledger = [LedgerStep(name="all", read=total, kept=total)]
    commit(out, name="mine", shards=shards, ledger=ledger, counting=counting, config={}, code_version="0")
    return out


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three counts, of which two share an image, a word, and a sample that cannot be verified."""
    heldout = [
        sample("counting.icons", "How many?", "2", CountTruth(count=2), 1),
        sample("counting.icons", "How many red ones?", "3", CountTruth(count=3), 1),
        sample("counting.icons", "And here?", "2", CountTruth(count=2), 2, 3),
        sample("ocr.word", "Which word?", "cat", TextTruth(text="cat")),
        sample("caption.long", "Describe.", "A square.", None, 3),
    ]
    train = [sample("counting.icons", f"How many {n}?", "2" if n else "7", CountTruth(count=2), 9) for n in range(3)]
    return write(tmp_path_factory.mktemp("dataset"), {"heldout": heldout, "train": train})


def test_items_are_the_verifiable_conversations(dataset: Path) -> None:
    benchmark = load_benchmark(f"corpus:{dataset}")
    items = load_items(benchmark, Path(), images=True)
    assert sorted(item.category for item in items.values()) == [*["counting.icons"] * 3, "ocr.word"]
    assert benchmark.folder == "corpus-mine"
    by_question = {item.messages[-1].content[-1].text: item for item in items.values()}
    assert by_question["How many?"].cluster == by_question["How many red ones?"].cluster
    assert by_question["Which word?"].cluster == by_question["Which word?"].id
    assert len(by_question["And here?"].images) == 2
    assert by_question["And here?"].messages == (
        next(m for m in conversation((image(0), image(1), text("And here?")), "2") if m.role == "user"),
    )
    assert {id_: item.cluster for id_, item in load_items(benchmark, Path()).items()} == {
        id_: item.cluster for id_, item in items.items()
    }, "the same without their bytes"
    assert load_items(load_benchmark(f"corpus:file://{dataset}"), Path(), images=True) == items, "at a URL"


def test_some_tasks_are_named_by_patterns(dataset: Path) -> None:
    benchmark = HeldOut(f"corpus:{dataset}#ocr.*,counting.icons")
    assert len(list(benchmark.items(Path(), images=False))) == 4
    assert benchmark.folder == "corpus-mine-ocr._-counting.icons"
    with pytest.raises(UserError, match=r"of task 'ocr\.wrd'; did you mean 'ocr\.word'"):
        list(HeldOut(f"corpus:{dataset}#ocr.wrd").items(Path()))
    with pytest.raises(UserError, match=r"of task 'caption\.long' has no truth"):
        list(HeldOut(f"corpus:{dataset}#caption.long").items(Path()))
    with pytest.raises(UserError, match="names no dataset; give corpus:PATH"):
        HeldOut("corpus:")
    with pytest.raises(UserError, match=rf"no benchmark '{dataset}'; .* corpus:{dataset}"):
        load_benchmark(str(dataset))


@pytest.mark.parametrize("reply", ["2", "There are 2.", r"\boxed{3}", "none that I see", "", "two", "22"])
def test_responses_are_graded_as_in_training(dataset: Path, reply: str) -> None:
    for item in HeldOut(f"corpus:{dataset}#counting.*").items(Path(), images=False):
        score = load_benchmark(f"corpus:{dataset}").score(item, reply)
        grade = grade_reply(CountTruth(count=int(item.answer)), f"<think>hm</think>{reply}", "stop")
        assert score.value == grade.value
        assert score.verdict == (grade.verdict if grade.verdict in ("correct", "wrong") else "unparsable")


def test_numbers_are_by_domain_and_task(dataset: Path) -> None:
    benchmark = HeldOut(f"corpus:{dataset}")
    items = load_items(benchmark, Path())
    responses = [Reply(item.id, "2" if item.category == "counting.icons" else "cat") for item in items.values()]
    scored: list[Scored] = [each.scored for each in score_responses(benchmark, items, responses, "strict")]
    metrics = benchmark.summarise(scored)
    assert metrics.value == pytest.approx(75)
    assert metrics.categories == {
        "counting": pytest.approx(200 / 3),
        "counting: counting.icons": pytest.approx(200 / 3),
        "ocr": 100.0,
        "ocr: ocr.word": 100.0,
    }


def test_chance_is_the_best_constant_answer(dataset: Path) -> None:
    benchmark = HeldOut(f"corpus:{dataset}#counting.icons")
    chance = benchmark.chance(benchmark.items(Path(), images=False), 100)
    assert chance == {"counting.icons": ("2", pytest.approx(2 / 3))}


def test_a_held_out_split_is_run_and_compared_as_any_benchmark(dataset: Path, tmp_path: Path, ScriptedBackend) -> None:
    def run(name: str, reply: str):
        backend = ScriptedBackend(lambda request, sampling: f"<think></think>{reply}")
        config = EvalConfig(sampling=Sampling(temperature=0.0, max_new_tokens=99), repeats=2)
        work = run_benchmark(HeldOut(f"corpus:{dataset}"), Path(), backend, tmp_path / name, config, {"name": name})
        return asyncio.run(work)

    first, second = run("a", "2"), run("b", "3")
    assert first.name == "a, greedy"
    assert (first.metrics["items"], first.metrics["items_of_release"], first.metrics["responses"]) == (4, 4, 8)
    assert first.metrics["unfinished"] == 0, "reasoning that is empty has ended"
    comparison = compare([first, second])
    (row,) = comparison.rows
    assert (row.domain, row.differences[1].gained, row.differences[1].lost) == ("Held-out suites", 1, 2)
    assert comparison.notes == (), "the report has no such benchmark"
    assert all(example.images for example in comparison.examples[row.benchmark])


def test_the_page_of_a_run_does_not_need_its_dataset(
    dataset: Path, tmp_path: Path, ScriptedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    copy = write(tmp_path / "copy", {"heldout": [sample("ocr.word", "Which?", "cat", TextTruth(text="cat"))]})
    backend = ScriptedBackend(lambda request, sampling: "<think></think>dog")
    work = run_benchmark(HeldOut(f"corpus:{copy}"), Path(), backend, tmp_path / "run", EvalConfig(), {"name": "a"})
    result = asyncio.run(work)
    (copy / "dataset.json").unlink()
    (examples,) = compare([result]).examples.values()
    assert [example.question for example in examples] == ["Which?"]
    assert "images of examples are left out: no dataset at" in caplog.text


def test_functions_are_part_of_the_prompt(tmp_path: Path, ScriptedBackend) -> None:
    asked: list[Request] = []

    def reply(request: Request, sampling: Sampling) -> str:
        asked.append(request)
        return "<think></think>cat"

    tools = ({"type": "function", "function": {"name": "zoom", "parameters": {}}},)
    plain = sample("ocr.word", "Which?", "cat", TextTruth(text="cat"))
    with_tools = Sample.make(
        domain="ocr", task="ocr.word", messages=plain.messages, truth=plain.truth, source=plain.source, tools=tools
    ).model_copy(update={"tokens": TokenCount(text=9, image=0)})
    path = write(tmp_path / "dataset", {"heldout": [plain, with_tools]})
    backend = ScriptedBackend(reply)
    work = run_benchmark(HeldOut(f"corpus:{path}"), Path(), backend, tmp_path / "run", EvalConfig(), {"name": "a"})
    asyncio.run(work)
    assert sorted(len(request.tools) for request in asked) == [0, 1]
    rows = [json.loads(line)["id"] for line in (tmp_path / "run" / "answers.jsonl").read_text().splitlines()]
    assert len({row.rpartition("/")[2] for row in rows}) == 2, "another prompt"
