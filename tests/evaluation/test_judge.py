"""Judged benchmarks: what no rule decides is graded once, kept, counted and priced."""

import asyncio
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from step3vl.data.errors import UserError
from step3vl.evaluation.item import Score
from step3vl.evaluation.judge import Judge, JudgeConfig, judge_responses
from step3vl.evaluation.price import TokenPrice
from step3vl.evaluation.prompts import user_message
from step3vl.evaluation.runner import EvalConfig, run_benchmark
from step3vl.evaluation.scoring import Response, load_items, score_responses
from step3vl.inference.client import BackendError

ESSAYS = {"sea": "It is blue and deep.", "sun": "It", "sky": "It is blue and high."}


@pytest.fixture
def grey_png() -> Callable[[int], bytes]:
    def encoded(grey: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("L", (8, 8), grey).save(buffer, "PNG")
        return buffer.getvalue()

    return encoded


def grade(request, sampling) -> str:
    text = request.messages[0].content[0].text
    return "<think>well</think>Grade: [[8]]" if "deep" in text else "I like it."


def judged(essays, judge: Judge, file: Path, replies: dict[str, str]):
    items = load_items(essays, file)
    responses = [Response(id_, text, truncated=text.endswith("…")) for id_, text in replies.items()]
    scored = list(score_responses(essays, items, responses, "strict"))
    return asyncio.run(judge_responses(essays, file.parent, scored, judge, file))


def test_what_no_rule_decides_is_judged(essays, tmp_path: Path, ScriptedBackend) -> None:
    backend = ScriptedBackend(grade)
    judge = Judge(backend, JudgeConfig(price=TokenPrice(prompt=1.0, completion=10.0)))
    scored, record = judged(essays, judge, tmp_path / "judgements.jsonl", ESSAYS)
    assert [each.scored.score.value for each in scored] == [0.8, 0.0, 0.0]
    assert [each.scored.score.verdict for each in scored] == ["partial", "wrong", "unparsable"]
    assert len(backend.requests) == 2
    assert all(sampling.temperature == 0 for _, sampling in backend.requests)
    assert (record["model"], record["requests"], record["failed"]) == ("scripted", 2, 0)
    assert record["price"] == pytest.approx((record["prompt_tokens"] + 10 * record["completion_tokens"]) / 1e6)
    assert record["prompt_tokens"] == sum(len(f"Grade this: {ESSAYS[name]}") for name in ("sea", "sky"))


def test_the_same_response_is_judged_once(essays, tmp_path: Path, ScriptedBackend) -> None:
    backend = ScriptedBackend(grade)
    first, _ = judged(essays, Judge(backend, JudgeConfig()), tmp_path / "j.jsonl", ESSAYS)
    second, record = judged(essays, Judge(backend, JudgeConfig()), tmp_path / "j.jsonl", ESSAYS)
    assert first == second
    assert len(backend.requests) == record["requests"] == 2


def test_another_image_for_the_judge_is_another_judgement(
    essays, tmp_path: Path, ScriptedBackend, monkeypatch, grey_png
) -> None:
    toy, items = type(essays), type(essays).items
    monkeypatch.setattr(toy, "judge_messages", lambda self, item, text: (user_message(f"Grade this: {text}", 1),))
    images = [grey_png(1)]
    monkeypatch.setattr(
        toy,
        "items",
        lambda self, *rest, **named: (replace(item, images=images) for item in items(self, *rest, **named)),
    )
    backend = ScriptedBackend(lambda request, sampling: "Grade: [[8]]")
    for expected in (2, 2):
        judged(essays, Judge(backend, JudgeConfig()), tmp_path / "j.jsonl", ESSAYS)
        assert len(backend.requests) == expected
    images[0] = grey_png(2)
    judged(essays, Judge(backend, JudgeConfig()), tmp_path / "j.jsonl", ESSAYS)
    assert len(backend.requests) == 4


def test_a_judge_may_be_asked_several_times_of_a_response(
    essays, tmp_path: Path, ScriptedBackend, monkeypatch
) -> None:
    twice = type(essays)
    monkeypatch.setattr(
        twice,
        "judge_calls",
        lambda self, item, text: (self.judge_messages(item, text), self.judge_messages(item, "deep")),
    )
    monkeypatch.setattr(
        twice, "read_judgements", lambda self, item, text, replies: Score.graded(len(replies) / 4, "|".join(replies))
    )
    backend = ScriptedBackend(grade)
    scored, record = judged(essays, Judge(backend, JudgeConfig()), tmp_path / "j.jsonl", ESSAYS)
    assert scored[0].scored.score.value == 0.5
    assert scored[2].scored.score.extracted == "I like it.|Grade: [[8]]"
    assert len(backend.requests) == record["requests"] == 4


def test_what_is_missing_or_cut_off_is_not_judged(essays, tmp_path: Path, ScriptedBackend) -> None:
    backend = ScriptedBackend(grade)
    replies = {"sea": "", "sky": "It is blue and deep, and…"}
    scored, _ = judged(essays, Judge(backend, JudgeConfig()), tmp_path / "j.jsonl", replies)
    assert backend.requests == []
    assert [each.scored.score.verdict for each in scored] == ["wrong", "unparsable"]


def test_a_judge_that_fails_leaves_a_reason(essays, tmp_path: Path, ScriptedBackend) -> None:
    def refuse(request, sampling):
        raise BackendError("too long", 400)

    scored, record = judged(essays, Judge(ScriptedBackend(refuse), JudgeConfig()), tmp_path / "j.jsonl", ESSAYS)
    assert record["failed"] == 2
    assert scored[0].scored.score.trace == ("the judge failed: toy-essays sea: too long",)
    scored, record = judged(essays, Judge(ScriptedBackend(grade), JudgeConfig()), tmp_path / "j.jsonl", ESSAYS)
    assert (record["failed"], scored[0].scored.score.value) == (0, 0.8), "asked again"


def test_judgements_of_two_judges_are_not_mixed(essays, tmp_path: Path, ScriptedBackend) -> None:
    judged(essays, Judge(ScriptedBackend(grade), JudgeConfig()), tmp_path / "j.jsonl", ESSAYS)
    other = ScriptedBackend(grade)
    other.name = "another"
    with pytest.raises(UserError, match='was started with judge = "scripted", not "another"'):
        judged(essays, Judge(other, JudgeConfig()), tmp_path / "j.jsonl", ESSAYS)


def test_a_run_names_its_judge(essays, tmp_path: Path, ScriptedBackend) -> None:
    backend = ScriptedBackend(lambda request, sampling: "<think>hm</think>It is blue and deep.")
    model = {"name": "scripted"}
    work = run_benchmark(essays, tmp_path, backend, tmp_path / "run", EvalConfig(), model)
    with pytest.raises(UserError, match=r"graded by a judge \(gpt-4o-2024-08-06\); give --judge URL"):
        asyncio.run(work)
    judge = Judge(ScriptedBackend(grade), JudgeConfig())
    result = asyncio.run(run_benchmark(essays, tmp_path, backend, tmp_path / "run", EvalConfig(), model, judge))
    assert result.run["judge"]["model"] == "scripted"
    assert result.metrics["value"] == pytest.approx(80)
    rows = [json.loads(line) for line in (tmp_path / "run" / "judgements.jsonl").read_text().splitlines()]
    assert len(rows) == 1 + 2, "one for each item"
