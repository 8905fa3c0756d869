"""Benchmarks of text: their official files in miniature, and responses to them."""

import csv
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmarks.gpqa_diamond import BENCHMARK as GPQA
from step3vl.evaluation.benchmarks.gpqa_diamond import read_answer_line
from step3vl.evaluation.benchmarks.gsm8k import BENCHMARK as GSM8K
from step3vl.evaluation.benchmarks.hmmt_2025 import BENCHMARK as HMMT
from step3vl.evaluation.benchmarks.livebench import BENCHMARK as LIVEBENCH
from step3vl.evaluation.benchmarks.livecodebench import BENCHMARK as LIVECODEBENCH
from step3vl.evaluation.benchmarks.math_500 import BENCHMARK as MATH_500
from step3vl.evaluation.benchmarks.mmlu_pro import BENCHMARK as MMLU_PRO
from step3vl.evaluation.benchmarks.mmlu_pro import read_mmlu_pro
from step3vl.evaluation.benchmarks.supergpqa import read_supergpqa
from step3vl.evaluation.item import Item, Scored


def _write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("The answer is (C). Or the answer is (D).", "C"),
        ("Answer: B or Answer: C\nAnswer: D", "C"),
        ("Both A and J. I think J", "J"),
        ("I think", "I"),  # the pronoun, too, as in the official code
        ("none of these", None),
    ],
)
def test_mmlu_pro_reads_letters_as_its_authors_do(response, letter):
    assert read_mmlu_pro(response, ()).letter == letter


def test_mmlu_pro_counts_what_it_cannot_read(tmp_path):
    path = tmp_path / "outputs.jsonl"
    row = {"question_id": 1, "answer": "B", "category": "law"}
    _write(path, [{**row, "output": "the answer is (B)", "pred": "B"}, {**row, "question_id": 2, "output": None}])
    scored = [
        Scored(item, MMLU_PRO.score(item, recorded.response, "official")) for item, recorded in MMLU_PRO.recorded(path)
    ]
    metrics = MMLU_PRO.summarise(scored)
    assert (metrics.counts["correct"], metrics.counts["unparsable"], metrics.value) == (1, 1, 50.0)


def test_gpqa_orders_options_by_the_questions_id(tmp_path):
    names = ["Record ID", "Question", "Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3))]
    names.append("High-level domain")
    with (tmp_path / "gpqa_diamond.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([f"rec{n}", "Which?", "right", "wrong a", "wrong b", "wrong c", "Physics"] for n in range(9))
    items = list(GPQA.items(tmp_path))
    assert [item.answer for item in items] == [item.answer for item in GPQA.items(tmp_path)]
    assert len({item.answer for item in items}) > 1
    assert all(item.fields["options"]["ABCD".index(item.answer)] == "right" for item in items)
    response = f"Reasons.\nAnswer: {items[0].answer}"
    assert GPQA.score(items[0], response).value == GPQA.score(items[0], response, "official").value == 1
    assert read_answer_line("I am not sure", ()).letter is None


def test_supergpqa_reads_the_last_answer_line():
    assert read_supergpqa("Answer: A\nAnswer: **J**", ()).letter == "J"
    assert read_supergpqa(r"so \boxed{C}", ()).letter == "C"
    assert read_supergpqa("Answer: Against", ()).letter is None


def test_gsm8k_reads_the_number_after_the_mark(tmp_path):
    _write(tmp_path / "test.jsonl", [{"question": "How many?", "answer": "2 + 1,000\n#### 1,002"}])
    (item,) = GSM8K.items(tmp_path)
    assert item.answer == "1002"
    assert GSM8K.score(item, "… \nA: 1,002", "official").value == 1
    assert GSM8K.score(item, "It is 1002.", "official").verdict == "unparsable"
    assert GSM8K.score(item, "It is 1002.").value == 1


def test_competition_problems_are_read_from_the_copies_that_there_are(tmp_path):
    _write(tmp_path / "a.jsonl", [{"question": "Compute.", "expected_answer": r"$\frac{1}{2}$"}])
    item = HMMT.item(json.loads((tmp_path / "a.jsonl").read_text()), 0, tmp_path / "a.jsonl")
    assert (item.id, item.answer) == ("0", r"\frac{1}{2}")
    with pytest.raises(UserError, match=r"a\.jsonl: a record has none of the fields answer"):
        HMMT.item({"problem": "Compute."}, 0, tmp_path / "a.jsonl")


@pytest.mark.slow
def test_expressions_count_when_they_are_equal():
    item = Item("0", (), r"\frac{1}{2}")
    for rule in ("strict", "official"):
        assert HMMT.score(item, r"So \boxed{0.5}", rule).value == 1
        assert HMMT.score(item, r"So \boxed{2}", rule).verdict == "wrong"
    assert HMMT.score(item, "no idea", "official").verdict == "unparsable"


def test_the_commonest_answer_of_several_counts(tmp_path):
    path = tmp_path / "outputs.jsonl"
    texts = ["", "", ""]
    row = {"code": texts, "score": [True, False, True], "gt": "4"}
    _write(path, [{**row, "idx": 0, "pred": ["4", "5", "4"]}, {**row, "idx": 1, "pred": ["5", "4", "4"]}])
    scored = [
        Scored(item, MATH_500.score(item, "", "official"), recorded.repeat)
        for item, recorded in MATH_500.recorded(path)
    ]
    metrics = MATH_500.summarise(scored)
    assert (metrics.counts["correct"], metrics.values["majority"]) == (4, 100.0)


def test_livecodebench_takes_the_contests_of_its_window(tmp_path):
    problem = {
        "question_content": "Add.", "difficulty": "easy", "starter_code": "", "public_test_cases": "[]",
        "private_test_cases": "[]", "metadata": "{}",
    }  # fmt: skip
    dates = ("2024-07-31", "2024-08-01", "2025-05-31", "2025-06-01")
    _write(
        tmp_path / "test6.jsonl",
        [{**problem, "question_id": date, "contest_date": f"{date}T00:00:00"} for date in dates],
    )
    items = list(LIVECODEBENCH.items(tmp_path))
    assert [item.id for item in items] == ["2024-08-01", "2025-05-31"]
    assert LIVECODEBENCH.score(items[0], "no code").verdict == "unparsable"


def test_livecodebench_averages_recorded_verdicts(tmp_path):
    row = {"question_id": "a", "contest_date": "2024-09-01T00:00:00", "difficulty": "hard", "code_list": ["", ""]}
    path = tmp_path / "eval_all.json"
    path.write_text(json.dumps([{**row, "graded_list": [True, False]}]))
    scored = [
        Scored(item, LIVECODEBENCH.score(item, recorded.response, "official"), recorded.repeat)
        for item, recorded in LIVECODEBENCH.recorded(path)
    ]
    metrics = LIVECODEBENCH.summarise(scored)
    assert metrics.values == {"pass@1": 50.0, "2024-08 to 2025-01": 50.0}  # no number of a window without problems


@pytest.fixture
def livebench_folder(tmp_path):
    base = {"category": "reasoning", "turns": ["Where?"], "livebench_removal_date": ""}
    questions = [
        {**base, "question_id": "q1", "task": "spatial", "ground_truth": "4", "livebench_release_date": "2024-07-26"},
        {**base, "question_id": "q2", "task": "spatial", "ground_truth": "5", "livebench_release_date": "2025-04-02"},
        {
            **base, "question_id": "q3", "task": "spatial", "ground_truth": "5",
            "livebench_release_date": "2024-06-24", "livebench_removal_date": "2024-11-25",
        },
    ]  # fmt: skip
    rules = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}], "category": "instruction_following"}
    _write(tmp_path / "reasoning/spatial/question.jsonl", questions)
    _write(
        tmp_path / "instruction_following/simplify/question.jsonl", [{**questions[0], **rules, "question_id": "q4"}]
    )
    return tmp_path


def test_livebench_takes_the_questions_of_its_release(livebench_folder):
    assert sorted(item.id for item in LIVEBENCH.items(livebench_folder)) == ["q1", "q4"]


def test_livebench_averages_tasks_and_categories(livebench_folder):
    scored = [Scored(item, LIVEBENCH.score(item, "so **4**, yes")) for item in LIVEBENCH.items(livebench_folder)]
    metrics = LIVEBENCH.summarise(scored)
    assert metrics.categories == {"instruction_following": 0.0, "reasoning": 100.0}
    assert metrics.value == 50.0


def test_livebench_reads_answers_beside_their_questions(livebench_folder):
    folder = livebench_folder / "reasoning/spatial"
    answer = {"question_id": "q1", "model_id": "m", "choices": [{"turns": ["<think>**5**</think>**4**"]}]}
    _write(folder / "model_answer/m.jsonl", [answer])
    _write(folder / "model_judgment/ground_truth_judgment.jsonl", [{"question_id": "q1", "model": "m", "score": 1}])
    ((item, recorded),) = LIVEBENCH.recorded(folder / "model_answer/m.jsonl")
    assert (item.id, recorded.response, recorded.verdict) == ("q1", "**4**", 1)


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=80))
def test_no_response_makes_a_reader_raise(response):
    for read in (read_mmlu_pro, read_answer_line, read_supergpqa):
        assert read(response, ()).letter in {None, *"ABCDEFGHIJ"}
    GSM8K.score(Item("0", (), "3"), response, "official")
    MATH_500.score(Item("0", (), "x", fields={"prediction": None}), response, "official")
