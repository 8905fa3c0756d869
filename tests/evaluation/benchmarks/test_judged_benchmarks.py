"""Benchmarks that a judge grades: what it is asked, and how its replies are read."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmarks.arena_hard_v2 import BENCHMARK as ARENA
from step3vl.evaluation.benchmarks.healthbench import BENCHMARK as HEALTH
from step3vl.evaluation.benchmarks.imo_answerbench import BENCHMARK as IMO
from step3vl.evaluation.benchmarks.mia_bench import BENCHMARK as MIA
from step3vl.evaluation.benchmarks.mm_ifeval import BENCHMARK as MM_IFEVAL
from step3vl.evaluation.benchmarks.mm_mt_bench import BENCHMARK as MM_MT
from step3vl.evaluation.benchmarks.multichallenge import BENCHMARK as MULTICHALLENGE
from step3vl.evaluation.benchmarks.wildbench import BENCHMARK as WILDBENCH
from step3vl.evaluation.item import Item, Score, Scored
from step3vl.evaluation.judgements import read_criteria, read_rating
from step3vl.evaluation.prompts import user_message

QUESTION = (user_message("Why?"),)
RUBRICS = [{"criterion": "kind", "points": 5}, {"criterion": "long", "points": 5}, {"criterion": "rude", "points": -8}]
ITEMS = {
    MULTICHALLENGE: Item("m", QUESTION, "NO", category="memory", fields={"question": "Did it forget?"}),
    ARENA: Item("a", QUESTION, None, category="hard_prompt", fields={"baseline": "Because."}),
    WILDBENCH: Item("w", QUESTION, None, category="Coding", fields={"checklist": ["Is it right?"]}),
    HEALTH: Item("h", QUESTION, None, category="theme:x", fields={"rubrics": RUBRICS}),
    IMO: Item("i", QUESTION, "all primes", fields={"problem": "Which?"}),
    MM_MT: Item("t", QUESTION, "The reference.", category="charts", fields={"turn": 0}),
    MIA: Item("b", QUESTION, None, fields={"instruction": "Do", "components": ["x"], "weights": [10.0]}),
    MM_IFEVAL: Item("f", QUESTION, None, fields={"instruction": "Do", "criteria": ["short", "in verse"]}),
}  # fmt: skip


def _text(benchmark):
    part = benchmark.judge_messages(ITEMS[benchmark], "MY RESPONSE")[-1].content[-1]
    return part.text


@pytest.mark.parametrize("benchmark", ITEMS, ids=lambda benchmark: benchmark.about.name)
def test_the_judge_sees_the_response_and_decides_alone(benchmark):
    assert "MY RESPONSE" in _text(benchmark)
    if benchmark is not IMO:
        assert benchmark.score(ITEMS[benchmark], "MY RESPONSE").verdict == "unparsable"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60) | st.sampled_from(['{"score": []}', "[[99]]", '{"criteria_met": [1, 2]}', "{" * 50]))
def test_no_judgement_is_taken_for_a_grade_by_default(judgement):
    for benchmark, item in ITEMS.items():
        score = benchmark.read_judgement(item, "response", judgement)
        assert score.verdict == "unparsable" or any(
            word in judgement for word in ("YES", "NO", "[[", "score", "criteria")
        )


def test_multichallenge_wants_the_answer_of_the_file():
    read = MULTICHALLENGE.read_judgement
    item = ITEMS[MULTICHALLENGE]
    assert read(item, "", "It says YES, but\nNO").value == 1
    assert read(item, "", "YES").verdict == "wrong"
    assert MULTICHALLENGE.summarise([Scored(item, read(item, "", "NO"))]).values == {"accuracy": 100.0, "axes": 100.0}


def test_arena_hard_is_judged_in_both_orders():
    calls = [messages[0].content[0].text for messages in ARENA.judge_calls(ITEMS[ARENA], "OURS")]
    assert [text.index("OURS") < text.index("Because.") for text in calls] == [True, False]
    for judgements, value, weight in (
        (("[[A>>B]]", "[[B>>A]]"), 1.0, 6),
        (("[[A>B]]", "[[A>B]]"), 0.5, 2),  # the judge prefers what stands first
        (("[[A>B]]", "[[A>>B]]"), 0.25, 4),
        (("[[A=B]]", "[[ B>A ]]"), 0.75, 2),
    ):
        score = ARENA.read_judgements(ITEMS[ARENA], "OURS", judgements)
        assert (score.value, score.details["weight"]) == (value, weight)
    assert ARENA.read_judgements(ITEMS[ARENA], "OURS", ("[[A>B]]", "none")).verdict == "unparsable"


def test_arena_hard_counts_decisive_verdicts_three_times():
    item = ITEMS[ARENA]
    games = (("[[A>B]]", "[[B>A]]"), ("[[B>>A]]", "[[A>>B]]"), ("[[A=B]]", "[[A=B]]"))
    scored = [Scored(item, ARENA.read_judgements(item, "", judgements)) for judgements in games]
    assert ARENA.summarise(scored).value == pytest.approx(100 * 3 / 10)
    assert ARENA.summarise([*scored, Scored(item, Score.unparsable("truncated"))]).value == pytest.approx(25)


def test_arena_hard_needs_the_baselines_answers(tmp_path):
    (tmp_path / "question.jsonl").write_text(json.dumps({"uid": "u", "category": "hard_prompt", "prompt": "p"}))
    with pytest.raises(UserError, match=r"o3-mini-2025-01-31\.jsonl: no such file; download it from"):
        list(ARENA.items(tmp_path))
    (tmp_path / "model_answer").mkdir()
    answer = {"uid": "u", "messages": [{"role": "assistant", "content": {"answer": "x"}}]}
    (tmp_path / "model_answer/o3-mini-2025-01-31.jsonl").write_text(json.dumps(answer))
    (item,) = ARENA.items(tmp_path)
    assert item.fields["baseline"] == "x"


def test_wildbench_rescales_the_mean_rating():
    item = ITEMS[WILDBENCH]
    judgements = ('{"strengths": "a {b}", "score": "8"}', 'So: {"score": 9}', "no score")
    scored = [Scored(item, WILDBENCH.read_judgement(item, "", judgement)) for judgement in judgements]
    assert WILDBENCH.summarise(scored).value == pytest.approx(70.0)


def test_healthbench_clips_the_mean_and_no_single_score():
    item = ITEMS[HEALTH]
    replies = ('{"criteria_met": [true, true, false]}', '{"criteria_met": [false, false, true]}')
    scored = [Scored(item, HEALTH.read_judgement(item, "", reply)) for reply in replies]
    assert [each.score.details["score"] for each in scored] == [1.0, -0.8]
    assert HEALTH.summarise(scored).value == pytest.approx(10.0)
    assert HEALTH.summarise(scored[1:]).value == 0.0


@pytest.mark.slow
def test_imo_answerbench_asks_the_judge_where_expressions_are_not_equal():
    item = Item("i", QUESTION, "$4$", fields={"problem": "Which?"})
    assert IMO.score(item, r"\boxed{2^2}").value == 1
    assert IMO.score(item, r"\boxed{\text{four}}").verdict == "unparsable"
    assert IMO.read_judgement(item, r"\boxed{\text{four}}", "YES").value == 1


def test_ratings_lie_on_their_scale():
    assert read_rating("[[3]] or [[ 7.5 ]]") == 7.5
    assert read_rating("[[11]]") is None
    assert MM_MT.summarise([Scored(ITEMS[MM_MT], MM_MT.read_judgement(ITEMS[MM_MT], "", "[[8]]"))]).value == 8.0
    assert MIA.read_judgement(ITEMS[MIA], "", "total_score: 8.5/10").value == 0.85


def test_criteria_are_read_all_or_not_at_all():
    assert read_criteria('First. {"criteria_met": [true, false]}', 2) == [True, False]
    assert read_criteria('{"criteria_met": [true]}', 2) is None
    assert MM_IFEVAL.read_judgement(ITEMS[MM_IFEVAL], "", '{"criteria_met": [true, false]}').value == 0.5


def test_each_reply_of_a_conversation_is_an_item(tmp_path):
    turns = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Yes."},
    ]
    table = pa.table({"conversation": [json.dumps(turns)], "category": ["ocr"], "image": [b"png"]})
    pq.write_table(table, tmp_path / "test.parquet")
    first, second = MM_MT.items(tmp_path)
    assert (first.id, first.answer, len(first.messages), first.images) == ("0/0", "A cat.", 1, (b"png",))
    assert (second.id, second.answer, len(second.messages), second.group) == ("0/1", "Yes.", 3, "0")
