"""What benchmarks of questions on images do in the cases in which other implementations go wrong."""

import time
from dataclasses import replace

import pytest

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmarks import (
    blink,
    corecognition,
    csvqa,
    hallusionbench,
    m3gia,
    mindcube_tiny,
    mmsi_bench,
    mmvp,
    ocrbench,
    simplevqa,
    spatialviz_bench,
    stare,
    viewspatial,
)
from step3vl.evaluation.extraction.counts import read_count
from step3vl.evaluation.item import Item, Score, Scored
from step3vl.evaluation.multiple_choice import groups_correct, listed, option_letter
from step3vl.evaluation.registry import load_benchmark
from step3vl.evaluation.scoring import load_items

RIGHT, WRONG = Score.of(True, "A", "test"), Score.of(False, "B", "test")


def graded(items, *verdicts: bool) -> list[Scored]:
    return [Scored(item, RIGHT if right else WRONG) for item, right in zip(items, verdicts, strict=True)]


@pytest.mark.parametrize(
    ("answer", "options", "indexed", "letter"),
    [
        ("B", ["", ""], False, "B"),
        ("(b)", ["cat", "dog"], False, "B"),
        ("B. dog", ["cat", "dog"], False, "B"),
        ("dog", ["cat", "dog"], False, "B"),
        ("C", ["cat", "dog"], False, None),
        ("1", ["3", "2", "1"], True, "B"),
        ("1", ["3", "2", "1"], False, "C"),  # the option's text, not its number
        (2, ["cat", "dog"], True, None),
    ],
)
def test_official_answers_mean_a_letter(answer, options, indexed, letter):
    assert option_letter(answer, options, indexed) == letter


@pytest.mark.parametrize("value", ['["a", "b"]', "['a', 'b']", ["a", "b"], ("a", "b")])
def test_lists_may_be_written_as_text(value):
    assert listed(value) == ["a", "b"]


def test_a_circular_question_is_right_only_in_all_rotations(releases):
    benchmark = load_benchmark("mmbench-en")
    items = list(load_items(benchmark, releases / "mmbench-en").values())
    assert [item.group for item in items] == ["7", "7"] and [item.answer for item in items] == ["B", "A"]
    assert benchmark.summarise(graded(items, True, True)).value == 100
    half = benchmark.summarise(graded(items, True, False))
    assert half.value == 0 and half.values["single"] == 50 and half.counts["questions"] == 1


def test_an_image_may_be_that_of_another_row(releases):
    images = [item.images for item in load_items(load_benchmark("mmbench-en"), releases / "mmbench-en", True).values()]
    assert images[0] == images[1]


def test_repeats_form_groups_of_their_own():
    item = Item("a", (), "A")
    scored = [Scored(item, RIGHT, 0), Scored(item, WRONG, 1), Scored(item, RIGHT, 0)]
    assert groups_correct(scored, ["x"] * 3) == (1, 2)


def test_both_of_a_pair_must_be_right(releases):
    items = list(load_items(mmvp.BENCHMARK, releases / "mmvp").values())
    assert mmvp.BENCHMARK.summarise(graded(items, True, False)).value == 0


@pytest.mark.parametrize(("label", "strict"), [("(a)", "B"), ("(b)", "B")])
def test_swapped_labels_are_repaired_by_the_strict_rule_and_kept_by_the_official(label, strict):
    # Index 99 is (a) in the first release and (b) in the corrected copy.
    record = {"Index": "99", "Question": "Long or short?", "Options": "(a) Long (b) Short", "Correct Answer": label}
    item = mmvp.BENCHMARK.item(record, 98, "Questions.csv", [])
    assert mmvp.BENCHMARK.score(item, f"Final answer: {strict}").verdict == "correct"
    assert mmvp.BENCHMARK.score(item, label[1].upper(), "official").verdict == "correct"


def test_the_letter_a_is_never_a_default(releases):
    item = next(iter(load_items(load_benchmark("omnispatial"), releases / "omnispatial").values()))
    benchmark, item = load_benchmark("omnispatial"), replace(item, answer="A")
    assert {benchmark.score(item, "I cannot tell.", rule).verdict for rule in ("strict", "official")} == {"unparsable"}


def test_the_first_letter_of_a_word_is_no_option():
    item = Item("val_Counting_1", (), "T", fields={"options": ["x"] * 26})
    assert blink.BENCHMARK.score(item, "There are several").verdict == "unparsable"


@pytest.mark.parametrize(
    ("response", "count"),
    [
        ("Final answer: 10", 10),
        ("There are two dogs.", 2),
        ("I count 3 on the left and 4 on the right.\nFinal answer: 7", 7),
        (r"\boxed{twelve}", 12),
        ("one of the three", None),
        ("many", None),
    ],
)
def test_counts_are_read_in_digits_and_words(response, count):
    assert read_count(response) == count


def test_ten_is_not_one():
    item = Item("0", (), 1)
    benchmark = load_benchmark("countbench")
    assert benchmark.score(item, "10").verdict == "wrong"
    assert benchmark.score(item, "10", "official").verdict == "correct"  # VLMEvalKit looks for the digit anywhere


@pytest.mark.parametrize(
    ("dataset", "answers", "response", "right"),
    [
        ("IIIT5K", ["Centre"], "It says\nCENTRE.", True),
        ("textVQA", ["a b"], "a\nb", True),
        ("HME100k", ["x + Y"], "the formula is x+Y", True),
        ("HME100k", ["x + Y"], "the formula is x+y", False),
        ("IIIT5K", ["one", "two"], "two", True),
    ],
)
def test_formulas_keep_their_case_and_other_texts_do_not(dataset, answers, response, right):
    item = Item("0", (), answers, fields={"dataset": dataset})
    assert ocrbench.BENCHMARK.score(item, response).value == right


def hallusion_items(*rows: tuple[str, str, str, str]) -> list[Item]:
    """Items of category, figure, question and visual input, all of one set."""
    names = ("category", "figure_id", "question_id", "visual_input")
    return [
        Item(
            "/".join(row),
            (),
            "Y",
            category=row[0],
            fields={"subcategory": "chart", "set_id": "0", **dict(zip(names, row, strict=True))},
        )
        for row in rows
    ]


def test_questions_and_figures_are_right_where_all_their_rows_are():
    items = hallusion_items(("VS", "0", "0", "0"), ("VS", "1", "0", "1"), ("VS", "1", "1", "1"), ("VS", "2", "0", "2"))
    values = hallusionbench.BENCHMARK.summarise(graded(items, True, True, False, True)).values
    assert values["aAcc"] == 75
    assert values["qAcc"] == 50  # question 0 on three figures, question 1 on one
    assert values["fAcc"] == 50  # figure 1 is not, figure 2 is; there is no figure 0
    assert (values["easy"], values["hard"]) == (50, 100)
    assert values["score"] == pytest.approx((200 / 3 + 50 + 50) / 3)  # over the rows with an image


@pytest.mark.parametrize(
    ("judgement", "figure", "right"), [("1", "1", True), ("0", "1", False), ("2", "1", False), ("2", "0", True)]
)
def test_unclear_is_right_where_no_image_was_shown(judgement, figure, right):
    (item,) = hallusion_items(("VS", figure, "0", "0"))
    item = replace(item, fields={**item.fields, "judgement": judgement})
    assert hallusionbench.BENCHMARK.score(item, "I do not know", "official").value == right


@pytest.mark.parametrize(
    ("response", "strict", "official"),
    [
        ("No, it is not. Yes, I am sure.", "correct", "unparsable"),
        ("No.", "correct", "correct"),
        ("It is", "unparsable", "unparsable"),
    ],
)
def test_yes_and_no_in_a_response_are_read_or_not(response, strict, official):
    (item,) = hallusion_items(("VD", "1", "0", "1"))
    item = replace(item, answer="N")
    verdicts = [hallusionbench.BENCHMARK.score(item, response, rule).verdict for rule in ("strict", "official")]
    assert verdicts == [strict, official]


@pytest.mark.parametrize(
    ("read", "response", "letter"),
    [
        (mmsi_bench.read_mmsi, "``B``", "B"),
        (mmsi_bench.read_mmsi, "A camera turns; `(C)`", "C"),
        (mmsi_bench.read_mmsi, r"\boxed{d}", "D"),
        (mmsi_bench.read_mmsi, "A camera turns", None),
        (mindcube_tiny.read_mindcube, "A. cat is wrong; B. dog", "B"),
        (mindcube_tiny.read_mindcube, "<Answer>The answer is C</Answer>", "C"),
        (mindcube_tiny.read_mindcube, "I say\nD or so", "D"),
        (mindcube_tiny.read_mindcube, "nothing", None),
        (spatialviz_bench.read_spatialviz, "<answer>C</answer>", "C"),
        (spatialviz_bench.read_spatialviz, "<answer>B or C</answer>", None),
        (spatialviz_bench.read_spatialviz, "So the answer is D.", "D"),
        (spatialviz_bench.read_spatialviz, "D is it", None),
        (viewspatial.read_viewspatial, "B\nIt is in a corner", "A"),  # the article is taken for the option
        (viewspatial.read_viewspatial, "left", None),
        (stare.read_stare, r"\boxed{\text{B}}", "B"),
        (stare.read_stare, "C. because", "C"),
        (stare.read_stare, "it is B", None),
    ],
)
def test_official_parsers(read, response, letter):
    assert read(response, [""] * 4).letter == letter


@pytest.mark.parametrize(
    ("response", "yes_no", "letter"),
    [
        ("B, since it rolls", False, "B"),
        ("The answer is: C", False, "C"),
        ("no", True, "N"),
        ("**Yes** it does", True, "Y"),
        ("It rolls down", False, None),
        ("G", False, None),
    ],
)
def test_the_templates_of_corecognition(response, yes_no, letter):
    assert corecognition.read_templates(response, yes_no).letter == letter


def test_templates_take_linear_time():
    start = time.process_time()
    corecognition.read_templates("*" * 100_000 + " x", False)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        (r"\boxed{A,C}", "correct"),
        (r"\boxed{C, A}", "correct"),
        (r"\boxed{A}", "wrong"),
        (r"\boxed{A,B,C}", "wrong"),
        ("A,C", "unparsable"),
    ],
)
def test_all_right_options_must_be_boxed(response, verdict):
    item = Item("0", (), "AC", fields={"open": False})
    assert csvqa.BENCHMARK.score(item, response).verdict == verdict


def test_open_answers_are_for_the_judge():
    item = Item("0", (), "4 m", fields={"open": True})
    assert csvqa.BENCHMARK.score(item, "4 m").verdict == "unparsable"
    assert csvqa.BENCHMARK.read_judgement(item, "4 m", '```json\n{"check": 1}\n```').verdict == "correct"
    assert csvqa.BENCHMARK.read_judgement(item, "4 m", "fine").verdict == "unparsable"


@pytest.mark.parametrize(
    ("judgement", "verdict", "grade"),
    [
        ("correct", "correct", "correct"),
        ("Incorrect.", "wrong", "incorrect"),
        ("NOT_ATTEMPTED", "wrong", "not attempted"),
        ('{"预测答案0": "未尝试"}', "wrong", "not attempted"),
        ("错误", "wrong", "incorrect"),
        ("correct or incorrect", "unparsable", None),
        ("", "unparsable", None),
    ],
)
def test_grades_of_the_judge(judgement, verdict, grade):
    item = Item("0", (), "Ada", fields={"question": "Who?"})
    score = simplevqa.BENCHMARK.read_judgement(item, "Ada", judgement)
    assert (score.verdict, score.details.get("grade")) == (verdict, grade)


def test_answers_of_m3gia_are_by_language_and_question(releases, tmp_path):
    items = load_items(m3gia.BENCHMARK, releases / "m3gia")
    assert len(items) == 6 and items["korean/1"].answer == "B"
    (tmp_path / "russian.jsonl").write_text("{}")
    with pytest.raises(UserError, match="named after their language"):
        list(m3gia.BENCHMARK.recorded(tmp_path / "russian.jsonl"))


def test_twins_count_as_pairs(releases):
    benchmark = load_benchmark("all-angles-bench")
    items = list(load_items(benchmark, releases / "all-angles-bench").values())
    metrics = benchmark.summarise(graded(items, True, False))
    assert metrics.value == 50 and metrics.values["pairs"] == 0


def test_the_two_parts_of_cv_bench_weigh_the_same():
    benchmark = load_benchmark("cv-bench")
    items = [
        Item(str(number), (), "A", fields={"source": source})
        for number, source in enumerate(("ADE20K", "COCO", "COCO", "Omni3D"))
    ]
    assert benchmark.summarise(graded(items, True, False, False, False)).value == 25


def test_the_settings_of_mmmu_pro_weigh_the_same():
    benchmark = load_benchmark("mmmu-pro")
    items = [
        Item(str(number), (), "A", fields={"setting": setting})
        for number, setting in enumerate(("vision", "s", "s", "s"))
    ]
    assert benchmark.summarise(graded(items, True, False, False, False)).value == 50


def test_images_that_are_gone_leave_their_items_out(releases):
    assert list(load_items(load_benchmark("pixmo-count"), releases / "pixmo-count")) == ["ab"]
