"""Agreement of two readings, in words or characters and in order."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.pipelines.documents.agreement import order_agreement, recall, token_agreement, tokens


def test_words_and_single_ideographs_are_tokens() -> None:
    assert tokens("Hello, World-wide ﬁne １２") == ["hello", "world", "wide", "fine", "12"]
    assert tokens("学而时习之，PDF 文件") == [*"学而时习之", "pdf", *"文件"]
    assert tokens("ひらがなカナ") == list("ひらがなカナ")
    assert tokens("… — _") == []


def test_spaces_between_ideographs_do_not_matter() -> None:
    assert token_agreement(tokens("学 而 时习之"), tokens("学而时习 之")) == 1.0


def test_agreement_counts_tokens_and_ignores_order() -> None:
    assert token_agreement(tokens("b a, c"), tokens("A B C")) == 1.0
    assert token_agreement(tokens("a b"), tokens("a b c d")) == pytest.approx(2 / 3)
    assert token_agreement([], tokens("a")) == 0.0
    assert recall(tokens("a a b"), tokens("a b b c")) == 0.5
    assert recall([], []) == 1.0


def test_the_order_of_interleaved_columns_is_seen_where_words_are_blind() -> None:
    left = [f"left{number}" for number in range(60)]
    right = [f"right{number}" for number in range(60)]
    columns = left + right
    lines = [word for start in range(0, 60, 5) for word in left[start : start + 5] + right[start : start + 5]]
    assert token_agreement(lines, columns) == 1.0
    assert order_agreement(columns, columns) == pytest.approx(1.0)
    agreement = order_agreement(lines, columns)
    assert agreement is not None and agreement < 0.6
    assert order_agreement(columns[::-1], columns) is None or order_agreement(columns[::-1], columns) < 0.5  # type: ignore[operator]


def test_chinese_columns_read_from_the_wrong_side_disagree() -> None:
    columns = ["学而时习之不亦说乎", "有朋自远方来不亦乐乎", "温故而知新可以为师矣", "三人行必有我师焉"]
    text = tokens("".join(columns))
    agreement = order_agreement(tokens("".join(columns[::-1])), text)
    assert agreement is not None and agreement < 0
    assert order_agreement(text, text) == pytest.approx(1.0)


def test_too_little_text_says_nothing_about_the_order() -> None:
    assert order_agreement(["a", "b", "c"], ["a", "b", "c"]) is None


@given(st.integers(6, 60), st.integers(6, 60))
def test_tau_is_that_of_the_definition(before: int, after: int) -> None:
    """Two columns in the wrong order: all pairs of words within a column agree, all pairs across them do not."""
    first = [f"a{number}" for number in range(before)]
    second = [f"b{number}" for number in range(after)]
    first_anchors, second_anchors = before - 1, after - 1  # anchors of two words that do not reach beyond their column
    within, across = math.comb(first_anchors, 2) + math.comb(second_anchors, 2), first_anchors * second_anchors
    tau = order_agreement(first + second, second + first)
    assert tau == pytest.approx((within - across) / (within + across))
