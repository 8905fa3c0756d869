"""Open sets of visual questions in the layouts that the common sets share."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from step3vl.data.sample import AnyTruth, OptionTruth, Sample, TextTruth
from step3vl.data.storage import DEFAULT_STORE
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import InputFile, list_pattern
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.vqa_open import AskAsGiven, OpenVqaEntry, ReadRows, SliceFiles
from step3vl.pipelines.domains.vqa_questions.judging import WriteConversations
from step3vl.pipelines.render.style import plain
from step3vl.pipelines.sources.open_vqa import OpenReader, RawRow, question_of, slices_of

JPEG = encode_jpeg(plain((40, 30), (200, 10, 10))).read()
URL = f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"


def listed(path: Path) -> InputFile:
    (file,) = list_pattern(str(path), "MIT", entry="e", base="/", store=DEFAULT_STORE)
    return file


def rows_of(path: Path) -> list[RawRow]:
    reader = OpenReader()
    return [row for part in slices_of(path, listed(path)) for _, row in reader.read(part, path)]


def ask(columns: dict[str, Any]) -> Any:
    return question_of(RawRow(columns=json.dumps(columns), images=(), problem="", licence="MIT"))


Build = Callable[[str], tuple[list[Sample], list[str]]]


@pytest.fixture
def build(context: StepContext) -> Build:
    """The samples of the files of a pattern, and the reasons of the dropped rows."""

    def build(pattern: str) -> tuple[list[Sample], list[str]]:
        entry = OpenVqaEntry.model_validate(
            {"domain": "vqa.open", "name": "o", "sources": [{"files": [pattern], "licence": "CC0-1.0"}]}
        )
        workers = [make(entry, context) for make in (SliceFiles, ReadRows, AskAsGiven, WriteConversations)]
        files = list_pattern(pattern, "CC0-1.0", entry="o", base=context.base, store=DEFAULT_STORE)
        records: list[Any] = [Record(file.key, file) for file in files]
        dropped = []
        for worker in workers:
            worker.setup()
            outputs: list[Any] = []
            for record in records:
                try:
                    outputs += worker.process(record, rng_for(0, record.key))
                except Dropped as drop:
                    dropped.append(drop.reason)
            records = outputs
        return records, dropped

    return build


def test_the_committed_questions_are_read_each_in_its_layout(build: Build) -> None:
    samples, dropped = build("data/samples/vqa/*.jsonl")
    assert dropped == ["unanswerable"] and len(samples) == 7
    assert all(grade_answer(sample.truth, sample.answer()).verdict == "correct" for sample in samples if sample.truth)
    cup, cat, rocket, camera, spoons, suit, brick = samples
    assert isinstance(cup.truth, AnyTruth) and cup.answer() == "coffee"
    assert [truth.text for truth in cup.truth.truths if isinstance(truth, TextTruth)] == ["coffee", "espresso"]
    assert isinstance(cat.truth, OptionTruth) and cat.answer() == "B" and cat.truth.option == "B. cat"
    assert cat.messages and cat.messages[-1].reasoning_content and "whiskers" in cat.messages[-1].reasoning_content
    assert rocket.answer() == "rocket" and spoons.answer() == "1" and suit.answer() == "C"
    assert camera.messages and "three legs" in str(camera.messages[0].content[1])
    assert brick.truth == TextTruth(text="砖") and brick.source.traits["language"] == "zh"
    assert {sample.task for sample in samples} == {"vqa.open"}


def test_parquet_rows_keep_their_images_bytes_and_their_order(tmp_path: Path) -> None:
    table = pa.table(
        {
            "image": [{"bytes": JPEG, "path": None} for _ in range(150)],
            "question": [f"What is number {number}?" for number in range(150)],
            "answers": [[str(number)] for number in range(150)],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=40)
    parts = list(slices_of(tmp_path / "a.parquet", listed(tmp_path / "a.parquet")))
    assert [(part.start, part.stop) for part in parts] == [(0, 64), (64, 128), (128, 150)]
    rows = rows_of(tmp_path / "a.parquet")
    assert [question_of(row).answers for row in rows] == [(str(number),) for number in range(150)]
    assert all(row.images[0].read() == JPEG for row in rows)


def test_slices_of_lines_can_be_read_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(json.dumps({"question": f"{n}?", "answer": "ä" * (n + 1), "image": URL}) + "\n" for n in range(130))
    )
    parts = list(slices_of(path, listed(path)))
    reader = OpenReader()
    read = {number: question_of(row).question for part in reversed(parts) for number, row in reader.read(part, path)}
    assert read == {number: f"{number}?" for number in range(130)}


def test_an_image_may_lie_beside_the_file_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(JPEG)
    references = [
        "images/a.jpg",
        "images/b.jpg",
        "../a.jpg",
        "/etc/hostname",
        "http://127.0.0.1/a.jpg",
        {"path": "images/a.jpg"},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"question": "?", "answer": "a", "image": each}) + "\n" for each in references))
    rows = rows_of(path)
    assert [bool(row.images) for row in rows] == [True, False, False, False, False, True]
    assert all(row.problem for row in rows if not row.images)


def test_a_broken_row_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps({"question": "?", "answer": "a", "image": URL})
    path.write_text(
        "\n".join([good, "{broken", "[1]", json.dumps({"image": "data:image/png;base64,AAAA"}), good]) + "\n"
    )
    rows = rows_of(path)
    assert [not row.problem for row in rows] == [True, False, False, False, True]
    with pytest.raises(ValueError, match="the line is no JSON"):
        question_of(rows[1])


def test_marks_and_empty_lines_of_a_file_are_no_rows(tmp_path: Path) -> None:
    row = json.dumps({"image": URL, "question": "?", "answer": "a"})
    (tmp_path / "a.jsonl").write_bytes(f"\ufeff{row}\n\n{row}\n\n".encode())
    assert [question_of(row).answers for row in rows_of(tmp_path / "a.jsonl")] == [("a",), ("a",)]


def test_other_files_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\n?,a\n")
    with pytest.raises(Dropped, match="not_parquet_or_jsonl"):
        list(slices_of(tmp_path / "a.csv", listed(tmp_path / "a.csv")))


def test_answers_that_one_annotator_gave_among_many_are_not_accepted() -> None:
    asked = ask({"question": "?", "answers": ["a", "b", "b", "c", "b", "a"]})
    assert asked.answers == ("b", "a") and asked.agreement == 0.5


@pytest.mark.parametrize(
    ("columns", "answer"),
    [
        ({"options": ["x", "y"], "answer": "1"}, "y"),
        ({"options": '["x", "y"]', "answer": "A"}, "x"),
        ({"choices": ["0", "1", "2"], "answer": "2"}, "2"),
        ({"choices": ["4", "6", "1"], "answer": 1}, "6"),  # of texts, a number is an index
        ({"choices": [4, 6, 8], "answer": 8}, "8"),
        ({"choices": ["x", "y"], "answer": 1.0}, "y"),
        ({"choices": ["x", "y"], "answer": "y"}, "y"),
        ({"choices": ["x", "y"], "correct_choice_idx": 0, "answer": "y"}, "x"),
    ],
)
def test_the_right_choice_is_told_by_index_label_or_text(columns: dict[str, Any], answer: str) -> None:
    assert ask({"question": "?", **columns}).answers == (answer,)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"question": "?"}, "have no answer"),
        ({"answer": "a"}, "have no question"),
        ({"question": "?", "choices": ["x", "y"], "answer": 2}, "does not say which of 2"),
        ({"question": "?", "choices": ["x", "y"], "answer": True}, "does not say which of 2"),
        ({"question": "?", "choices": ["x", "x"], "answer": 0}, "are equal"),
        ({"question": "?", "choices": ["1", "2", "3"], "answer": "2"}, "the text of another"),
        ({"question": "?", "choices": [4, 6, 1], "answer": 1}, "the text of another"),
        ({"question": "?", "choices": ["B", "A"], "answer": "A"}, "the text of another"),
    ],
)
def test_a_row_that_does_not_say_enough_fails(columns: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ask(columns)
