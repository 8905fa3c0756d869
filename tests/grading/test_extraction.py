r"""The one rule for reasoning, and the parts of an answer that are marked as final."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.sample import CountTruth
from step3vl.data.tokens import split_answer
from step3vl.grading import Grade, grade_reply, marked_answer, split_reply
from step3vl.grading.extraction import phrased_answer


@pytest.mark.parametrize(
    ("reply", "parts"),
    [
        ("a\n</think>\nb", ("a", "b", True)),
        ("\n</think>\nb", ("", "b", True)),
        ("<think>a</think>b", ("a", "b", True)),
        ("a</think>c</think>\nb", ("a</think>c", "b", True)),
        ("a</think>", ("a", "", True)),
        ("a</think>the tag <think> opens", ("a", "the tag <think> opens", True)),
        ("the answer is 3", ("the answer is 3", "", False)),
        ("<think>\nI see 3", ("I see 3", "", False)),
        ("", ("", "", False)),
    ],
)
def test_reply_is_split_at_the_last_end_of_reasoning(reply: str, parts: tuple[str, str, bool]) -> None:
    assert split_reply(reply) == parts


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", "\n", "3"]), max_size=8).map("".join))
def test_closed_reply_is_split_as_the_tokenizer_splits_it(reply: str) -> None:
    if "</think>" in reply:
        assert split_reply(reply)[:2] == split_answer(reply)


@pytest.mark.parametrize(
    ("reply", "finish_reason", "grade"),
    [
        ("I count.\n</think>\n3", "stop", Grade(1.0, "correct")),
        ("I count.\n</think>\n3", "tool_calls", Grade(1.0, "correct")),
        ("I count.\n</think>\n4", "stop", Grade(0.0, "wrong")),
        ("I count 3.\n</think>\nmany", "stop", Grade(0.0, "unparsable")),
        ("I count 3.\n</think>\n", "stop", Grade(0.0, "unparsable")),
        ("3", "stop", Grade(0.0, "unparsable")),  # the reasoning was never closed
        ("<think>\n3", "stop", Grade(0.0, "unparsable")),
        ("I count.\n</think>\n3", "length", Grade(0.0, "truncated")),
        ("3", "length", Grade(0.0, "truncated")),
        ("I count.\n</think>\n3", "cancelled", Grade(0.0, "error")),
        ("I count.\n</think>\n3", "content_filter", Grade(0.0, "error")),
    ],
)
def test_grade_of_a_reply(reply: str, finish_reason: str, grade: Grade) -> None:
    assert grade_reply(CountTruth(count=3), reply, finish_reason) == grade


@pytest.mark.parametrize(
    ("answer", "marked"),
    [
        (r"\boxed{7} because", "7"),
        (r"\boxed{1} or \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\fbox{7}", "7"),
        ("<answer> 7 </answer>", "7"),
        ("<answer>1</answer><answer>2</answer>", "2"),
        ("<|begin_of_box|>7<|end_of_box|>", "7"),
        (r"\boxed{1} <answer>2</answer>", "2"),
        (r"<answer>2</answer> \boxed{1}", "1"),
        (r"\boxed{}", ""),
        (r"\boxed{7", None),
        ("<answer>7", None),
        ("</answer>7", None),
        ("7", None),
    ],
)
def test_marked_answer(answer: str, marked: str | None) -> None:
    assert marked_answer(answer) == marked


@pytest.mark.parametrize(
    ("answer", "phrased"),
    [
        ("The answer is 7.", "7."),
        ("Answer: 7", "7"),
        ("**Answer:** 7", "7"),
        ("**Answer**: 7", "7"),
        ("ANSWER = 7", "7"),
        ("The answer would be: 7", "7"),
        ("答案是7", "7"),
        ("答案：7", "7"),
        ("正确答案应该是7", "7"),
        ("the answer is 1. No, the answer is 2", "2"),
        ("two answers: 7", None),
        ("I would answer 7", None),
    ],
)
def test_answer_after_a_phrase(answer: str, phrased: str | None) -> None:
    assert phrased_answer(answer) == phrased
