"""Benchmarks of maths with images: official files, official rules, and what the strict rule does instead."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmarks.dynamath import BENCHMARK as DYNAMATH
from step3vl.evaluation.benchmarks.logic_vista import BENCHMARK as LOGIC_VISTA
from step3vl.evaluation.benchmarks.logic_vista import read_letters
from step3vl.evaluation.benchmarks.math_vision import BENCHMARK as MATH_VISION
from step3vl.evaluation.benchmarks.math_vision import read_answer
from step3vl.evaluation.benchmarks.math_vista import BENCHMARK as MATH_VISTA
from step3vl.evaluation.benchmarks.we_math import BENCHMARK as WE_MATH
from step3vl.evaluation.benchmarks.zerobench_main import BENCHMARK as ZEROBENCH
from step3vl.evaluation.item import Item, Scored
from step3vl.evaluation.scoring import score_recorded


def _jsonl(path: Path, *records: dict[str, Any]) -> None:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))


VISION = {"question": "How many?\n<image1>", "level": 2, "subject": "arithmetic", "image": "images/1.jpg"}


@pytest.fixture
def math_vision(tmp_path: Path) -> Path:
    records = (
        {"id": "1", "options": [], "answer": "60", **VISION},
        {"id": "2", "options": ["$\\frac{1}{2}$", "2"], "answer": "A", **VISION},
    )
    _jsonl(tmp_path / "test.jsonl", *records)
    return tmp_path


def test_math_vision_asks_before_the_image(math_vision: Path) -> None:
    free, choice = MATH_VISION.items(math_vision, images=False)
    assert [part.type for part in choice.messages[0].content] == ["text", "image"]
    text = choice.messages[0].content[0].text
    assert "<image1>" not in text and "(A) $\\frac{1}{2}$" in text and "\\boxed{}" in text
    assert free.fields == {"options": [], "option": "", "level": 2}


def test_math_vision_scores_recorded_outputs(math_vision: Path) -> None:
    outputs = math_vision / "model.jsonl"
    rows = [("1", "So 50+10 = \\boxed{60}", True), ("2", "The answer is (A).", True), ("2", "\\boxed{0.5}", True)]
    _jsonl(outputs, *({"id": id_, "response": text, "correct": correct} for id_, text, correct in rows))
    scored = score_recorded(MATH_VISION, [outputs], math_vision)
    assert [each.scored.score.verdict for each in scored] == ["correct"] * 3
    assert MATH_VISION.summarise([each.scored for each in scored]).values["level 2"] == 100


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("Therefore, the answer is C.", "c"),
        ("(B)\nbecause", "b"),
        ("The final answer is 12. It is even.", "12"),
        ("\\boxed{3} or \\boxed{4}", "4"),
        ("The length is 7.5.", "7.5"),
        ("\\boxed{\\text{(D)}}", "d"),
    ],
)
def test_math_vision_reads_as_the_official_script(response: str, answer: str) -> None:
    assert read_answer(response)[0].lower() == answer


def test_math_vision_strictly_knows_what_it_cannot_read(math_vision: Path) -> None:
    free, choice = MATH_VISION.items(math_vision, images=False)
    assert MATH_VISION.score(choice, "It could be A or B.").verdict == "unparsable"
    assert MATH_VISION.score(choice, "\\boxed{\\frac{1}{2}}").verdict == "correct"
    assert MATH_VISION.score(free, "\\boxed{60^\\circ}").verdict == "correct"
    assert MATH_VISION.score(free, "").verdict == "unparsable"


METADATA = {
    "source": "IQTest", "task": "puzzle", "context": "puzzle test", "grade": "daily life", "skills": ["logic"],
    "category": "general-vqa", "language": "english",
}  # fmt: skip


def _problem(answer_type: str, answer: str, **fields: Any) -> dict[str, Any]:
    record = {"question": "What?", "image": "images/1.jpg", "choices": None, "unit": None, "precision": None}
    kind = "multi_choice" if answer_type == "text" else "free_form"
    return (
        record | {"answer": answer, "answer_type": answer_type, "question_type": kind, "metadata": METADATA} | fields
    )


PROBLEMS = {
    "1": _problem("text", "blue", choices=["red", "blue"]),
    "2": _problem("integer", "5"),
    "3": _problem("float", "1.2", precision=1.0),
    "4": _problem("list", "[1, 2]"),
}


def test_math_vista_gives_a_hint_for_each_kind(tmp_path: Path) -> None:
    (tmp_path / "testmini.json").write_text(json.dumps(PROBLEMS))
    texts = [item.messages[0].content[1].text for item in MATH_VISTA.items(tmp_path, images=False)]
    assert "(B) blue" in texts[0] and "option letter" in texts[0]
    assert "integer" in texts[1] and "one decimal place" in texts[2] and "Python list" in texts[3]


def test_math_vista_names_an_unknown_kind(tmp_path: Path) -> None:
    (tmp_path / "testmini.json").write_text(json.dumps({"1": _problem("float", "1.234", precision=3)}))
    with pytest.raises(UserError, match="precision 3"):
        list(MATH_VISTA.items(tmp_path, images=False))


@pytest.mark.parametrize(
    ("pid", "extraction", "correct", "current"),
    [
        ("1", "(B) blue", True, True),
        ("1", "B", True, True),
        ("1", "bluish", True, True),  # the nearest choice
        ("1", "", False, False),  # the first of the nearest
        ("2", "5", True, True),
        ("2", "5.0", False, True),  # int("5.0") fails; the script of the repository reads it
        ("2", "five", False, False),
        ("3", "1.24", True, True),
        ("3", "1.26", False, False),
        ("4", "[1, 2]", True, True),
        ("4", "[1,2]", False, False),
    ],
)
def test_math_vista_scores_extractions(
    tmp_path: Path, pid: str, extraction: str, correct: bool, current: bool
) -> None:
    path = tmp_path / "output.json"
    record = PROBLEMS[pid] | {"response": "…", "extraction": extraction, "true_false": correct}
    path.write_text(json.dumps({pid: record}))
    (scored,) = score_recorded(MATH_VISTA, [path], tmp_path)
    assert scored.scored.score.verdict == ("correct" if correct else "wrong")
    assert scored.scored.score.details["current_script"] is current


@pytest.mark.parametrize(
    ("pid", "response", "verdict"),
    [
        ("1", "It is blue.", "correct"),
        ("1", "The answer is (A).", "wrong"),
        ("1", "No idea.", "unparsable"),
        ("2", "There are 5.0 of them.", "correct"),
        ("2", "none", "unparsable"),
        ("3", "about 1.24", "correct"),
        ("4", "So [1,2].", "correct"),
        ("4", "1 and 2", "unparsable"),
    ],
)
def test_math_vista_reads_responses_strictly(tmp_path: Path, pid: str, response: str, verdict: str) -> None:
    (tmp_path / "testmini.json").write_text(json.dumps(PROBLEMS))
    items = {item.id: item for item in MATH_VISTA.items(tmp_path, images=False)}
    assert MATH_VISTA.score(items[pid], response).verdict == verdict


def test_dynamath_counts_seeds_that_are_right_in_all_variants(tmp_path: Path) -> None:
    path = tmp_path / "model-result.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Question ID", *(f"Variant {number}" for number in range(1, 11)), "sum", "Topic"])
        rows.writerow(["Q1", *["correct"] * 10, 10, "algebra"])
        rows.writerow(["Q2", *["correct"] * 9, "fail", 9, "algebra"])
        rows.writerow(["# of correct per variant", *["2"] * 12])
    metrics = DYNAMATH.summarise([each.scored for each in score_recorded(DYNAMATH, [path], tmp_path)])
    assert metrics.headline == "worst case"
    assert metrics.values == {"worst case": 50, "average": 95}
    assert metrics.counts["correct seeds"] == 1


def test_dynamath_has_a_worst_case_for_each_repeat() -> None:
    items = [Item(f"Q1-{variant}", (), "", group="Q1", category="algebra") for variant in (1, 2)]
    verdicts = {0: ("correct", "correct"), 1: ("correct", "fail")}
    scored = [
        Scored(item, DYNAMATH.score(Item(item.id, (), "", fields={"verdict": verdict}), ""), repeat)
        for repeat, row in verdicts.items()
        for item, verdict in zip(items, row, strict=True)
    ]
    assert DYNAMATH.summarise(scored).values == {"worst case": 50, "average": 75}


@pytest.mark.parametrize(
    ("kind", "answer", "response", "official", "strict"),
    [
        ("float", "2.0944", '{"solution": "", "short answer": "2.094"}', "correct", "correct"),
        ("float", "6.2832", '{"short answer": "2π"}', "correct", "unparsable"),
        ("float", "2.0", '{"short answer": "2π"}', "wrong", "unparsable"),
        ("float", "3", "so\n3.", "correct", "correct"),
        ("float", "3", '{"short answer": "unclear"}', "unparsable", "unparsable"),
        ("multiple choice", "B", '{"short answer": "B. yes"}', "correct", "correct"),
        ("multiple choice", "B", "Final answer: B", "wrong", "correct"),
        ("text", "May", '{"short answer": "May"}', "correct", "wrong"),
        ("text", "May", "\\boxed{May}", "correct", "correct"),
    ],
)
def test_dynamath_rules(kind: str, answer: str, response: str, official: str, strict: str) -> None:
    item = Item("Q1-1", (), answer, fields={"answer_type": kind})
    assert DYNAMATH.score(item, response, "official").verdict == official
    assert DYNAMATH.score(item, response).verdict == strict


def test_dynamath_groups_the_variants_of_a_seed(tmp_path: Path) -> None:
    record = {
        "question": "y?",
        "answer": "A",
        "answer_type": "multiple choice",
        "image": "i.png",
        "subject": "algebra",
    }
    for number in (10, 2):
        folder = tmp_path / f"trial{number}"
        folder.mkdir()
        (folder / "dataset.json").write_text(json.dumps({"1": record | {"level": "high school"}}))
    items = list(DYNAMATH.items(tmp_path, images=False))
    assert [(item.id, item.group) for item in items] == [("Q1-2", "Q1"), ("Q1-10", "Q1")]


def test_logic_vista_leaves_out_the_question_without_an_answer(tmp_path: Path) -> None:
    record = {"imagename": "v1_0.png", "question": "Which?", "skill": ["inductive"]}
    (tmp_path / "dataset.json").write_text(
        json.dumps({"a": record | {"answer": "C, A"}, "b": record | {"answer": ""}})
    )
    (item,) = LOGIC_VISTA.items(tmp_path, images=False)
    assert item.answer == ["a", "c"]


@pytest.mark.parametrize(
    ("response", "several", "letters"),
    [
        ("Final answer: A, C", True, ["a", "c"]),
        ("Final answer: [C and A]", True, ["a", "c"]),
        (r"\boxed{B}", False, ["b"]),
        (r"\boxed{A, B}", False, ["a", "b"]),
        ("A, D", True, ["a", "d"]),
        ("The pattern repeats, hence option D.", False, ["d"]),
        ("A bad idea", False, []),
        ("", False, []),
    ],
)
def test_logic_vista_reads_sets_of_letters(response: str, several: bool, letters: list[str]) -> None:
    assert read_letters(response, several)[0] == letters


def test_logic_vista_compares_complete_sets(tmp_path: Path) -> None:
    path = tmp_path / "M-accuracy-results.csv"
    header = ",id,reasoning skill,capability,true answer,M answer extracted,M answer raw,match?\n"
    rows = [
        "0,v1,['inductive'],['ocr'],\"['a', 'c']\",\"['c', 'a']\",C and A,1\n",
        "1,v2,['inductive'],['ocr'],\"['a', 'c']\",['a'],A,0\n",
        "2,v3,['spatial'],['ocr'],['b'],['zzzzz'],none,0\n",
    ]
    path.write_text(header + "".join(rows))
    scored = [each.scored for each in score_recorded(LOGIC_VISTA, [path], tmp_path)]
    assert [each.score.verdict for each in scored] == ["correct", "wrong", "unparsable"]
    assert LOGIC_VISTA.summarise(scored).categories == {"inductive": 50, "spatial": 0}


def _we_math(*answers: tuple[str, str, str, bool]) -> list[Scored]:
    """Problems by name: the step and whether it was answered correctly."""
    return [
        Scored(
            Item(f"{problem}-{step}", (), "A", group=problem, category=key, fields={"step": step}),
            WE_MATH.score(Item("", (), "A"), "Final answer: A" if correct else "Final answer: B"),
        )
        for problem, step, key, correct in answers
    ]


@pytest.mark.parametrize(
    ("first", "second", "final", "strict", "loose"),
    [
        (True, True, True, 100, 100),  # complete mastery
        (True, True, False, 50, 50),  # inadequate generalization
        (True, False, False, 0, 0),  # insufficient knowledge
        (True, False, True, 0, 100),  # by rote only if strict
        (False, False, True, 0, 0),  # rote memorization
    ],
)
def test_we_math_grades_problems(first: bool, second: bool, final: bool, strict: float, loose: float) -> None:
    scored = _we_math(
        ("p", "1", "2steps_1", first), ("p", "2", "2steps_2", second), ("p", "multi", "2steps_multi", final)
    )
    metrics = WE_MATH.summarise(scored)
    assert (metrics.values["score (strict)"], metrics.values["score (loose)"]) == (strict, loose)


@pytest.mark.parametrize(
    ("response", "letter"),
    [("Answer: <B>", "B"), ("Answer\n: C. 5", "C"), ("D", "D"), ("The Answer is B", None), ("", None)],
)
def test_we_math_reads_as_the_official_script(response: str, letter: str | None) -> None:
    verdict = WE_MATH.score(Item("", (), "A"), response, "official")
    assert verdict.extracted == letter


@pytest.mark.parametrize(
    ("response", "verdict"),
    [("\\boxed{1,250}", "correct"), ("so {1250}", "correct"), ("1250 or so", "wrong"), ("", "unparsable")],
)
def test_zerobench_wants_the_answer_itself(response: str, verdict: str) -> None:
    assert ZEROBENCH.score(Item("1", (), "1250"), response).verdict == verdict


_ITEMS = [
    (MATH_VISION, Item("1", (), "60", fields={"options": [], "option": "", "level": 1})),
    (MATH_VISION, Item("2", (), "A", fields={"options": ["1", "2"], "option": "1", "level": 1})),
    (MATH_VISTA, Item("1", (), "5", fields={"choices": [], "answer_type": "integer", "precision": None})),
    (MATH_VISTA, Item("2", (), "5.0", fields={"choices": [], "answer_type": "float", "precision": 1})),
    (MATH_VISTA, Item("3", (), "b", fields={"choices": ["a", "b"], "answer_type": "text", "precision": None})),
    (DYNAMATH, Item("1", (), "5", fields={"answer_type": "float"})),
    (DYNAMATH, Item("2", (), "May", fields={"answer_type": "text"})),
    (LOGIC_VISTA, Item("1", (), ["a"], fields={"skills": []})),
    (WE_MATH, Item("1", (), "A")),
    (ZEROBENCH, Item("1", (), "5")),
]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(_ITEMS),
    st.text('0123abAB.,{}[]()\\boxedfinal :"π√∞\n%e', max_size=40),
    st.sampled_from(["strict", "official"]),
)
def test_scoring_never_raises(pair: tuple, response: str, rule: str) -> None:
    benchmark, item = pair
    assert 0 <= benchmark.score(item, response, rule).value <= 1
