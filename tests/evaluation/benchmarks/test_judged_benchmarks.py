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
from step3vl.evaluation.item import Item, Scored
from step3vl.evaluation.judgements import last_json, read_criteria, read_rating
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


def test_arena_hard_knows_which_assistant_is_the_baseline():
    by_order = {}
    for id in "abcdefgh":
        item = Item(id, QUESTION, None, category="hard_prompt", fields={"baseline": "BASE"})
        text = ARENA.judge_messages(item, "OURS")[0].content[0].text
        better = "A" if text.index("OURS") < text.index("BASE") else "B"
        worse = "BA"["AB".index(better)]
        by_order[better] = item
        assert ARENA.read_judgement(item, "OURS", f"[[{better}>>{worse}]]" if better == "A" else "[[B>>A]]").value == 1
        assert ARENA.read_judgement(item, "OURS", f"[[{worse}>{better}]]").value == 0
    assert by_order.keys() == {"A", "B"}


def test_arena_hard_counts_decisive_verdicts_three_times():
    item = ITEMS[ARENA]
    win, loss = ("[[A>B]]", "[[B>>A]]") if ARENA.read_judgement(item, "", "[[A>B]]").value else ("[[B>A]]", "[[A>>B]]")
    scored = [Scored(item, ARENA.read_judgement(item, "", judgement)) for judgement in (win, loss, "[[A=B]]")]
    assert ARENA.summarise(scored).value == pytest.approx(100 * 1.5 / 5)


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
    assert last_json('{"a": {"b": 1}}') == {"a": {"b": 1}}
    assert last_json("none") is None


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
