import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.education.exam_html import read_exam_page
from step3vl.pipelines.sources.education.exams import ExamError, ExamQuestion, correct_options, read_exam, split_inline


def _png(side: int = 20) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", (side, side), "red").save(buffer, "PNG")
    return buffer.getvalue()


def _file(path: Path) -> InputFile:
    return InputFile(key=path.name, url=str(path), size=path.stat().st_size, version="1", licence="CC0-1.0")


def _read(tmp_path: Path, *rows: Any, name: str = "exam.jsonl") -> list[ExamQuestion]:
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(row) for row in rows) if name.endswith("l") else json.dumps(rows[0]))
    return list(read_exam(path, _file(path)))


@pytest.mark.parametrize(
    ("row", "options", "correct", "answer"),
    [
        ({"question": "Q?", "options": "['x', 'y']", "answer": "B"}, ("x", "y"), (1,), ""),
        ({"question": "Q?", "choices": ["x", "y", "z"], "answer": 2}, ("x", "y", "z"), (2,), ""),
        ({"question": "Q?", "A": "x", "B": "y", "C": "z", "D": "w", "answer": "D"}, ("x", "y", "z", "w"), (3,), ""),
        ({"question": "Q?", "options": ["(A) x", "(B) y"], "label": "A"}, ("x", "y"), (0,), ""),
        ({"question": "Q?", "options": ["(2, 3)", "(3, 2)"], "answer": "(3, 2)"}, ("(2, 3)", "(3, 2)"), (1,), ""),
        ({"question": "Q? A. x B. y C. z", "answer": ["C"]}, ("x", "y", "z"), (2,), ""),
        ({"question": "Q?", "options": {"A": "x", "B": "y", "C": "z"}, "answer": "AC"}, ("x", "y", "z"), (0, 2), ""),
        ({"question": "Q?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "A", "answer": "A"},
         ("x", "y"), (0,), ""),
        ({"problem": "Q?", "answer": "$5$"}, (), (), "$5$"),
        ({"question": "Q?", "answer": "2 + 3 = 5\n#### 5"}, (), (), "5"),
        ({"question": "Q?", "options": [], "answer": 7}, (), (), "7"),
        ({"question": "Q?", "options": [5, 6, 8], "answer": 8}, ("5", "6", "8"), (2,), ""),
        ({"question": "Q?", "options": ["3", "2", "1"], "answer": 1}, ("3", "2", "1"), (1,), ""),
        ({"question": "Q?", "options": ["x", "y"], "answer": 1.0}, ("x", "y"), (1,), ""),
        ({"question": "Q?", "options": {"A": "x", "B": "y", "C": None}, "answer": "B"}, ("x", "y"), (1,), ""),
        ({"question": "Q?", "options": {"1": "x", "2": "y", "10": "1"}, "answer": 1}, ("x", "y", "1"), (0,), ""),
        ({"question": "Q?", "options": "{1: 'x', 2: 'y'}", "answer": 2}, ("x", "y"), (1,), ""),
        ({"question": "Q?", "choices": {"text": ["x", "y"], "label": ["A"]}, "answer": "B"}, ("x", "y"), (1,), ""),
        ({"question": "Q?", "choices": [{"label": "1", "text": "2"}, {"label": "2", "text": "7"}], "answerKey": "2"},
         ("2", "7"), (1,), ""),
    ],
)  # fmt: skip
def test_the_layouts_of_public_sets_are_read(
    tmp_path: Path, row: dict[str, Any], options: tuple[str, ...], correct: tuple[int, ...], answer: str
) -> None:
    (question,) = _read(tmp_path, row)
    assert question.problem == ""
    assert (question.options, question.correct, question.answer) == (options, correct, answer)
    assert question.text == "Q?"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"question": "Q?", "options": ["x", "y"], "answer": "C"}, "answer_is_no_option"),
        ({"question": "Q?", "options": ["x", "y"], "answer": "maybe"}, "answer_is_no_option"),
        ({"question": "Q?", "options": ["x", "y"], "answer": []}, "answer_is_no_option"),
        ({"question": "Q?", "options": "['x', __import__('os')]", "answer": "A"}, "unreadable_options"),
        ({"question": "Q?"}, "no_answer"),
        ({"answer": "A"}, "no_question"),
        ({"question": "Q?", "options": [4, 6, 8, 2], "answer": 2}, "ambiguous_answer"),
        ({"question": "Q?", "options": ["O", "A", "B", "AB"], "answer": "B"}, "ambiguous_answer"),
        ({"question": "Q?", "options": ["x", None], "answer": "A"}, "unreadable_options"),
        ({"question": "Q?", "options": [{"value": "x"}, {"value": "y"}], "answer": "A"}, "unreadable_options"),
        ({"question": "Q?", "answer": "1", "image": "absent.png"}, "image_missing"),
        ({"question": "Q?", "answer": "1", "image": "../secret.png"}, "image_elsewhere"),
        ({"question": "Q?", "answer": "1", "image": "https://example.org/a.png"}, "image_elsewhere"),
        ({"question": "Q?", "answer": "1", "image": "data:image/png;base64,AAAA"}, "unreadable"),
    ],
)
def test_a_faulty_row_says_why(tmp_path: Path, row: Any, problem: str) -> None:
    assert [question.problem for question in _read(tmp_path, row)] == [problem]


def test_images_beside_the_file_and_inside_of_rows_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png(30))
    encoded = base64.b64encode(_png(40)).decode()
    rows = (
        {"question": "<image 1> and <image 2>?", "answer": "1", "image_1": {"path": "a.png"},
         "image_2": f"data:image/png;base64,{encoded}"},
        {"question": "<image1>?", "answer": "1", "image": "a.png"},
    )  # fmt: skip
    first, second = _read(tmp_path, *rows)
    assert [image.width for image in first.images] == [30, 40]
    assert second.text == "<image 1>?"


def test_a_json_file_may_hold_a_list_or_an_object_with_one(tmp_path: Path) -> None:
    row = {"question": "Q?", "answer": "1"}
    assert len(_read(tmp_path, [row, row], name="list.json")) == 2
    assert len(_read(tmp_path, {"keywords": "x", "example": [row]}, name="object.json")) == 1
    with pytest.raises(Dropped, match="json_without_questions"):
        _read(tmp_path, {"question": "Q?"}, name="other.json")


def test_a_line_that_is_no_json_is_one_failed_question(tmp_path: Path) -> None:
    path = tmp_path / "exam.jsonl"
    path.write_text(
        '{"question": "Q?", "answer": "1"}\n{"question": \n["Q?", "1"]\n{"question": "R?", "answer": "2"}\n'
    )
    assert [question.problem for question in read_exam(path, _file(path))] == ["", "no_object", "no_object", ""]


def test_labels_in_running_text_are_no_options() -> None:
    text = "Points A, B and C lie on a circle. Plan A: go. What now?"
    assert split_inline(text) == (text, ())
    assert split_inline("选出质数（ ）\nA. 4\nB. 5\nC. 6\nD. 8") == ("选出质数（ ）", ("4", "5", "6", "8"))


def test_an_answer_outside_of_the_options_is_refused() -> None:
    assert correct_options("(B)", ("x", "y")) == (1,)
    for raw in (5, "AA", True, None, "E"):
        with pytest.raises(ExamError):
            correct_options(raw, ("x", "y"))


def test_a_page_of_questions_is_read(tmp_path: Path) -> None:
    (tmp_path / "f.png").write_bytes(_png())
    path = tmp_path / "exam.html"
    path.write_text(
        """<ol>
        <li>What is <img src="f.png"> called?
          <ol type="A"><li>a dot</li><li class="correct">a <img src="f.png"> square</li></ol>
          <details class="explanation"><summary>Why</summary>It has four sides.</details></li>
        <li data-answer="7">What is 3 + 4?</li>
        <li>Without an answer?</li>
        <li>Pick one.<ul><li>x</li><li>y</li></ul><p class="answer">Answer: A</p></li>
        </ol>"""
    )
    first, second, third, fourth = read_exam_page(path, _file(path))
    assert first.text == "What is <image 1> called?"
    assert first.options == ("a dot", "a <image 2> square")
    assert first.correct == (1,)
    assert first.solution == "It has four sides."
    assert len(first.images) == 2
    assert (second.text, second.answer) == ("What is 3 + 4?", "7")
    assert third.problem == "no_answer"
    assert fourth.correct == (0,)


def test_the_text_of_a_page_is_in_the_order_of_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "exam.html"
    path.write_text(
        """<ol>
        <li data-answer="1">Solve <b>the <i>quadratic</i> equation</b> x<sup>2</sup><!-- no -->
          = 10<sup>-4</sup>.</li>
        <li data-answer="2">The 1<sup>st</sup> of <math><mfrac><mn>1</mn><mn>2</mn></mfrac><annotation
          encoding="application/x-tex">\\frac12</annotation></math> and a<sub>1</sub>?<pre>x = 1
y = 2</pre>now</li>
        <li data-answer="3">Add <math><mfrac><mn>1</mn><mn>2</mn></mfrac></math>.</li>
        <li data-answer="4">Read<table><tr><td>7</td><td>8</td></tr></table></li>
        </ol>"""
    )
    first, second, third, fourth = read_exam_page(path, _file(path))
    assert first.text == "Solve the quadratic equation x^2 = 10^{-4}."
    assert second.text == "The 1st of $\\frac12$ and a_1?\nx = 1\ny = 2\nnow"
    assert third.problem == "formula_without_tex"
    assert fourth.text == "Read\n7 8"
