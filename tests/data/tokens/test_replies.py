"""Splitting of replies into reasoning, answer and tool calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.tokens.replies import parse_reply, split_answer


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('a\n</think>\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>', ("a", "", (("f", {}),))),
        ('<tool_calls>\n<tool_call>{"name": "f", "arguments": {"x": "</tool_call>"}}</tool_call>\n</tool_calls>',
         ("", "", (("f", {"x": "</tool_call>"}),))),
        ('b\n<tool_call>{"name": "f", "arguments": "{\\"x\\": 1}"}</tool_call>', ("", "b", (("f", {"x": 1}),))),
        ("b <tool_call>{bad}</tool_call>", ("", "b <tool_call>{bad}</tool_call>", ())),
        ('<tool_call>{"name": "f", "arguments": {}}', ("", '<tool_call>{"name": "f", "arguments": {}}', ())),
        ('<tool_call>{"name": "f"}</tool_call>', ("", '<tool_call>{"name": "f"}</tool_call>', ())),
        ('<tool_call>[1]</tool_call>b<tool_call>{"name": "g", "arguments": {}}</tool_call>c',
         ("", "<tool_call>[1]</tool_call>bc", (("g", {}),))),
        ("<tool_call>" + "[" * 100_000, ("", "<tool_call>" + "[" * 100_000, ())),
    ],
)  # fmt: skip
def test_tool_calls_are_extracted_and_malformed_ones_stay_in_the_answer(reply: str, expected: tuple) -> None:
    reasoning, answer, calls = parse_reply(reply)
    assert (reasoning, answer, tuple((call.name, call.arguments) for call in calls)) == expected


@given(st.text(alphabet=st.sampled_from(list('<>/{}"\\n:,[]tolcalnameruments ')), max_size=40))
def test_parser_never_raises(noise: str) -> None:
    reply = parse_reply(f"x</think><tool_call>{noise}</tool_call>{noise}")
    assert reply.reasoning == "x" or "</think>" in noise


@pytest.mark.parametrize(
    ("reply", "parts"),
    [
        ("a\n</think>\nb", ("a", "b")),
        ("\n</think>\nb", ("", "b")),
        ("b", ("", "b")),
        ("a</think>c</think>\nb", ("a</think>c", "b")),
    ],
)
def test_answer_follows_the_last_closing_tag(reply: str, parts: tuple[str, str]) -> None:
    assert split_answer(reply) == parts
