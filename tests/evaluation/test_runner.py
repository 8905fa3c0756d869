"""Runs: every response is asked for once, an interruption loses nothing, and the same prompt has the same answer."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.evaluation.item import Item
from step3vl.evaluation.results import Result, read_results
from step3vl.evaluation.runner import PAPER_SAMPLING, EvalConfig, run_benchmark, sample_groups
from step3vl.inference.client import BackendError, Request, Sampling
from step3vl.inference.pacore import PaCoReConfig

MODEL = {"name": "scripted", "fingerprint": "0"}


def solve(request: Request, sampling: Sampling) -> str:
    """Reasons, and adds the numbers of the question; reads the image as 4."""
    question = request.messages[-1].content[-1].text
    numbers = [int(word) for word in question.split() if word.isdecimal()]
    return f"<think>hm</think>{sum(numbers) or 4}"


def run(toy, data: Path, backend, folder: Path, **fields) -> Result:
    config = EvalConfig(concurrency=2, **fields)
    return asyncio.run(run_benchmark(toy, data / "toy-sums", backend, folder, config, MODEL))


def test_every_item_is_asked_as_often_as_in_the_report(toy, toy_data: Path, tmp_path: Path, ScriptedBackend) -> None:
    backend = ScriptedBackend(solve)
    result = run(toy, toy_data, backend, tmp_path / "run")
    assert len(backend.requests) == 12
    assert len({sampling.seed for _, sampling in backend.requests}) == 12
    assert all(sampling.model_copy(update={"seed": None}) == PAPER_SAMPLING for _, sampling in backend.requests), (
        "the report's settings"
    )
    assert [len(request.images) for request, _ in backend.requests].count(1) == 2
    assert result.metrics["value"] == 100.0
    assert result.run["name"] == "scripted"
    assert (result.run["repeats"], result.run["model"]) == (2, MODEL)
    lines = list(result.items())
    assert [(line["id"], line["repeat"]) for line in lines][:3] == [("a-0", 0), ("a-0", 1), ("a-1", 0)]
    assert lines[0]["response"] == "2"
    assert lines[0]["tokens"] == len("<think>hm</think>2")
    assert result.metrics["rules"] == {rule: {"value": 100.0, "unparsable": 0} for rule in ("strict", "official")}
    assert read_results(tmp_path / "run") == [result]


def test_an_interrupted_run_asks_only_what_is_missing(toy, toy_data: Path, tmp_path: Path, ScriptedBackend) -> None:
    whole = run(toy, toy_data, ScriptedBackend(solve), tmp_path / "whole")
    answers = tmp_path / "run" / "answers.jsonl"
    run(toy, toy_data, ScriptedBackend(solve), tmp_path / "run")
    rows = answers.read_text().splitlines(keepends=True)
    answers.write_text("".join(rows[:5]) + rows[5][:20])
    backend = ScriptedBackend(solve)
    result = run(toy, toy_data, backend, tmp_path / "run")
    assert len(backend.requests) == 7
    untimed = [[{**line, "seconds": 0} for line in each.items()] for each in (whole, result)]
    assert untimed[0] == untimed[1]


def test_repeats_and_limits_may_grow(toy, toy_data: Path, tmp_path: Path, ScriptedBackend) -> None:
    backend = ScriptedBackend(solve)
    first = run(toy, toy_data, backend, tmp_path / "run", limit=2, repeats=1)
    assert (first.metrics["items"], len(backend.requests)) == (2, 2)
    second = run(toy, toy_data, backend, tmp_path / "run", limit=3, repeats=1)
    assert (second.metrics["items"], len(backend.requests)) == (4, 4), "whole groups"
    run(toy, toy_data, backend, tmp_path / "run", repeats=3)
    assert len(backend.requests) == 18


def test_a_prompt_that_changed_is_asked_again(toy, toy_data: Path, tmp_path: Path, ScriptedBackend) -> None:
    run(toy, toy_data, ScriptedBackend(solve), tmp_path / "run", repeats=1)
    path = toy_data / "toy-sums" / "sums.jsonl"
    path.write_text(path.read_text().replace("1 + 2", "2 + 1"))
    backend = ScriptedBackend(solve)
    result = run(toy, toy_data, backend, tmp_path / "run", repeats=1)
    assert len(backend.requests) == 1
    assert result.metrics["responses"] == 6


def test_another_model_does_not_continue_a_run(toy, toy_data: Path, tmp_path: Path, ScriptedBackend) -> None:
    run(toy, toy_data, ScriptedBackend(solve), tmp_path / "run")
    config = EvalConfig(seed=1)
    work = run_benchmark(toy, toy_data / "toy-sums", ScriptedBackend(solve), tmp_path / "run", config, MODEL)
    with pytest.raises(UserError, match=r"was started with settings = .*\"seed\": 0"):
        asyncio.run(work)


def test_reasoning_that_never_ends_is_no_answer(toy, toy_data: Path, tmp_path: Path, ScriptedBackend) -> None:
    backend = ScriptedBackend(lambda request, sampling: "it must be 2")
    result = run(toy, toy_data, backend, tmp_path / "a", repeats=1)
    assert (result.metrics["unparsable"], result.metrics["unfinished"]) == (6, 6)
    result = run(toy, toy_data, backend, tmp_path / "b", repeats=1, reasoning=False)
    assert (result.metrics["unparsable"], result.metrics["counts"]["correct"]) == (0, 1)
    silent = run(toy, toy_data, ScriptedBackend(lambda *_: "<think></think>none"), tmp_path / "c", repeats=1)
    assert {rule: values["unparsable"] for rule, values in silent.metrics["rules"].items()} == {
        "strict": 6,
        "official": 0,
    }, "the authors' code reads a zero"


def test_replies_are_as_long_as_the_context_allows(toy, toy_data: Path, tmp_path: Path, ScriptedBackend) -> None:
    backend = ScriptedBackend(solve, context=24)
    result = run(toy, toy_data, backend, tmp_path / "run", repeats=1)
    assert {sampling.max_new_tokens for _, sampling in backend.requests} == {24 - len("1 + 1"), 24 - 23}
    assert (result.metrics["truncated"], result.metrics["failed"]) == (1, 0)
    small = run(toy, toy_data, ScriptedBackend(solve, context=10), tmp_path / "small", repeats=1)
    assert small.metrics["failed"] == 1
    failed = next(line for line in small.items() if line["trace"][0].startswith("failed"))
    assert "a prompt of 23 tokens leaves nothing of the context of 10" in failed["trace"][0]
    again = ScriptedBackend(solve)
    result = run(toy, toy_data, again, tmp_path / "small", repeats=1, retry_failed=True)
    assert (len(again.requests), result.metrics["failed"]) == (1, 0)


def test_pacore_answers_each_item_once(toy, toy_data: Path, tmp_path: Path, ScriptedBackend) -> None:
    backend = ScriptedBackend(lambda request, sampling: "<think>hm</think>2")
    result = run(toy, toy_data, backend, tmp_path / "run", pacore=PaCoReConfig(rounds=(3,)))
    assert result.metrics["responses"] == 6
    assert result.run["name"] == "scripted + PaCoRe 3"
    assert len(backend.requests) == 6 * 2, "three rollouts at once, and a synthesis"


def test_a_server_that_refuses_ends_the_run(toy, toy_data: Path, tmp_path: Path, ScriptedBackend) -> None:
    def refuse(request: Request, sampling: Sampling) -> str:
        raise BackendError("who are you", 401)

    with pytest.raises(BackendError, match="who are you"):
        run(toy, toy_data, ScriptedBackend(refuse), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_missing_image_is_named(toy, toy_data: Path, tmp_path: Path, ScriptedBackend) -> None:
    (toy_data / "toy-sums" / "images" / "four.png").unlink()
    with pytest.raises(UserError, match=r"four\.png"):
        run(toy, toy_data, ScriptedBackend(solve), tmp_path / "run")
    (toy_data / "toy-sums" / "images" / "four.png").write_bytes(b"no image")
    result = run(toy, toy_data, ScriptedBackend(solve), tmp_path / "run2", repeats=1)
    assert result.metrics["failed"] == 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 30), st.integers(1, 30))
def test_samples_are_whole_groups_and_nested(groups: list[int], small: int, large: int) -> None:
    items = {str(n): Item(str(n), (), None, group=f"g{group}") for n, group in enumerate(groups)}
    small, large = sorted((small, large))
    first, second = sample_groups(items, small), sample_groups(items, large)
    assert first.keys() <= second.keys()
    assert min(small, len(items)) <= len(first)
    chosen = {item.group for item in first.values()}
    assert list(first) == [id_ for id_, item in items.items() if item.group in chosen], "whole, and in order"
    assert sample_groups(items, None) == items


def test_what_identifies_a_model_is_its_content(tmp_path: Path, ScriptedBackend) -> None:
    from step3vl.evaluation.model_identity import folder_fingerprint, identify_model

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"layers": 2}))
        (tmp_path / name / "model.safetensors").write_bytes(b"\0" * 99)
    before = folder_fingerprint(tmp_path / "a")
    assert folder_fingerprint(tmp_path / "b") == before
    (tmp_path / "b" / "model.safetensors").write_bytes(b"\0" * 98 + b"\1")
    assert folder_fingerprint(tmp_path / "b") != before
    (tmp_path / "a").rename(tmp_path / "export")  # as trainers name it, in the folder of the run
    identity = asyncio.run(identify_model(ScriptedBackend(solve), tmp_path / "export"))
    assert identity == {"name": f"{tmp_path.name}/export", "fingerprint": before}
    with pytest.raises(UserError, match="not a model folder"):
        folder_fingerprint(tmp_path)
