"""Scores of files of responses: ours, the authors' layout, and an earlier run; nothing is lost silently."""

import json
from pathlib import Path

import pytest

from step3vl.data.errors import UserError
from step3vl.evaluation.records import RecordedRun, score_records
from step3vl.evaluation.registry import benchmark_names, load_benchmark
from step3vl.evaluation.results import read_results, read_scored, summarise_responses, write_results
from step3vl.evaluation.scoring import (
    Response,
    is_response_file,
    load_items,
    read_responses,
    score_recorded,
    score_responses,
)

REPLIES = {
    "a-0": "<think>3? no</think>2",
    "a-1": "3",
    "b-0": "four",
    "b-1": "5",
    "c-0": "6",
    "c-1": "The answer is 7",
}


def write_responses(path: Path, replies: dict[str, str], **fields: object) -> Path:
    path.write_text(
        "".join(json.dumps({"id": id_, "response": text, **fields}) + "\n" for id_, text in replies.items())
    )
    return path


def test_a_module_in_the_folder_is_a_benchmark(toy) -> None:
    assert "toy-sums" in benchmark_names()
    with pytest.raises(UserError, match="no benchmark 'toy-sum'; did you mean: toy-sums"):
        load_benchmark("toy-sum")


def test_responses_are_scored_without_their_reasoning(toy, toy_data: Path, tmp_path: Path) -> None:
    path = write_responses(tmp_path / "r.jsonl", REPLIES)
    assert is_response_file(path)
    items = load_items(toy, toy_data / "toy-sums")
    scored = list(score_responses(toy, items, read_responses(path), "strict"))
    assert [each.scored.score.verdict for each in scored] == ["correct"] * 2 + ["unparsable"] + ["correct"] * 3
    metrics = summarise_responses(toy, {"name": "x", "rule": "strict"}, scored, 12, 6).metrics
    assert metrics["value"] == pytest.approx(200 / 3)
    assert metrics["counts"]["correct"] == 5
    assert (metrics["unparsable"], metrics["responses"], metrics["missing"], metrics["items"]) == (1, 6, 6, 6)
    assert metrics["categories"] == {"even": pytest.approx(200 / 3), "odd": 100.0}


def test_truncated_and_failed_responses_are_not_read(toy, toy_data: Path) -> None:
    items = load_items(toy, toy_data / "toy-sums")
    responses = [Response("a-0", "2", truncated=True), Response("a-1", "", error="the context")]
    strict = [each.scored.score for each in score_responses(toy, items, responses, "strict")]
    assert [score.trace for score in strict] == [("truncated",), ("failed: the context",)]
    assert {score.verdict for score in strict} == {"unparsable"}
    official = [each.scored.score for each in score_responses(toy, items, responses, "official")]
    assert [score.verdict for score in official] == ["correct", "unparsable"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "z-0", "response": "1"}], "'z-0' is no item of toy-sums"),
        ([{"id": "a-0", "response": "1"}] * 2, "answered twice as repeat 0"),
        ([{"id": "a-0", "response": None}], "r.jsonl:1: not"),
        ([{"id": "a-0", "response": "1", "repeat": "x"}], "r.jsonl:1: not.*: repeat is"),
        ([{"id": "a-0", "response": "1", "repeat": -1}], "r.jsonl:1: not.*: repeat is"),
        ([{"id": "a-0", "response": "1", "repeat": 1e999}], "r.jsonl:1: not.*: repeat is"),
        ([{"id": "a-0", "response": "1", "truncated": "false"}], "r.jsonl:1: not.*: truncated is"),
        ([{"id": "a-0", "response": "1", "tokens": "many"}], "r.jsonl:1: not.*: tokens is"),
    ],
)
def test_responses_that_fit_no_item_are_refused(toy, toy_data: Path, tmp_path: Path, rows: list, message: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = load_items(toy, toy_data / "toy-sums")
    with pytest.raises(UserError, match=message):
        list(score_responses(toy, items, read_responses(path), "strict"))


def test_doubled_items_are_refused(toy, toy_data: Path) -> None:
    path = toy_data / "toy-sums" / "sums.jsonl"
    path.write_text(path.read_text() * 2)
    with pytest.raises(UserError, match="two items have the id 'a-0'"):
        load_items(toy, path.parent)
    path.write_text("\n")
    with pytest.raises(UserError, match="no items of toy-sums"):
        load_items(toy, path.parent)


def test_recorded_outputs_give_the_published_numbers(toy, toy_records: Path) -> None:
    rows = list(score_records(toy_records, ["toy-sums"]))
    assert [(row.metric, row.equal, row.agreeing) for row in rows] == [
        ("all", True, (6, 6)),
        ("correct", True, (6, 6)),
        ("correct", False, None),
    ]
    assert rows[2].ours is None
    assert rows[2].note == "the outputs are not there"
    with pytest.raises(UserError, match="no such folder"):
        list(score_records(toy_records / "nowhere"))


def test_a_metric_that_the_benchmark_does_not_have_is_named(
    toy, toy_records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from step3vl.evaluation.registry import load_module

    monkeypatch.setattr(load_module("toy-sums"), "RECORDS", (RecordedRun("TOY", "model.json.gz", {"acc": 1.0}),))
    with pytest.raises(UserError, match="no metric 'acc'; there are accuracy, all, correct"):
        list(score_records(toy_records, ["toy-sums"]))


def test_a_run_that_is_written_is_read_and_scored_again(toy, toy_records: Path, tmp_path: Path) -> None:
    data = toy_records / "TOY"
    scored = score_recorded(toy, [data / "model.json.gz"], data)
    result = summarise_responses(toy, {"name": "x", "rule": "official"}, scored, len(scored), len(scored))
    written = write_results(tmp_path / "run", result, scored)
    (read,) = read_results(tmp_path / "run")
    assert read == written
    assert read_results(tmp_path)[0].metrics == result.metrics
    assert toy.summarise(read_scored(read)) == toy.summarise([each.scored for each in scored])
    lines = {line["id"]: line for line in read.items()}
    assert lines["b-1"]["recorded"] is False
    assert lines["b-0"]["question"] == "[image]\nthe number in the image"
    assert is_response_file(tmp_path / "run" / "items.jsonl")
    again = score_responses(toy, load_items(toy, data), read_responses(tmp_path / "run" / "items.jsonl"), "strict")
    assert [each.scored.score.verdict for each in again].count("unparsable") == 1


def test_a_folder_without_a_run_is_refused(toy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run"):
        read_results(tmp_path)
    with pytest.raises(UserError, match="no responses"):
        summarise_responses(toy, {"name": "x", "rule": "strict"}, [], 0, 0)
    for name in ("run.json", "metrics.json"):
        (tmp_path / name).write_text('{"version": 0}')
    with pytest.raises(UserError, match="version 0, not 2"):
        read_results(tmp_path)
