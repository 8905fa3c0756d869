"""The parts of PaCoRe alone: compaction, order, the synthesis prompt, the cutting of messages, agreement."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.data.sample import Message, ToolCall, image, text
from step3vl.inference import Request
from step3vl.inference.budget import MARK, fit, level
from step3vl.inference.consensus import agreed, final_answer
from step3vl.inference.synthesis import compact, in_neutral_order, synthesis_prompt, synthesis_request


def test_without_references_the_question_is_asked_as_it_is(requests) -> None:
    assert synthesis_request(requests[1], []) is requests[1]
    assert in_neutral_order(["", ""]) == []


def test_only_the_last_question_is_rewritten() -> None:
    request = Request(
        (
            Message(role="system", content=(text("Be brief."),)),
            Message(role="user", content=(text("First?"),)),
            Message(role="assistant", content=(text("Yes."),)),
            Message(role="user", content=(text("before "), image(0), text(" after"))),
            Message(role="assistant", content=(), tool_calls=(ToolCall(name="look", arguments={}),)),
            Message(role="tool", content=(text("a cat"),)),
        ),
        tools=({"type": "function", "function": {"name": "look"}},),
    )
    asked = synthesis_request(request, ["a"])
    assert [*asked.messages[:3], *asked.messages[4:]] == [*request.messages[:3], *request.messages[4:]]
    assert asked.tools == request.tools
    content = asked.messages[3].content
    assert [part.type for part in content] == ["text", "image"]
    assert "Original Problem:\nbefore \n after\n" in content[0].text


def test_a_question_of_pictures_alone_gets_the_references_after_them() -> None:
    asked = synthesis_request(Request((Message(role="user", content=(image(0), image(1))),)), ["a"])
    assert [part.type for part in asked.messages[0].content] == ["image", "image", "text"]


def test_the_prompt_has_the_published_slots_in_order() -> None:
    prompt = synthesis_prompt("What is shown?", ["a cat", "a dog"])
    slots = ["Original Problem:\nWhat is shown?", "Reference Responses:\nReference 1:\na cat\nReference 2:\na dog"]
    places = [prompt.index(slot) for slot in slots]
    assert 0 < places[0] < places[1]


@given(st.text(), st.lists(st.text(), min_size=1, max_size=4))
def test_texts_stand_in_the_prompt_as_they_are(question: str, messages: list[str]) -> None:
    """Also those that look like a template's own markup."""
    prompt = synthesis_prompt(question, messages)
    assert f"Original Problem:\n{question}\n" in prompt
    for number, message in enumerate(messages, start=1):
        assert f"Reference {number}:\n{message}\n" in prompt
    assert "{{ 7 * 7 }}" in synthesis_prompt("{{ 7 * 7 }}", ["a"])


def test_another_template_is_asked_word_for_word(tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text("Q: {{ original_prompt }}\n{% for response in ref_responses %}\n* {{ response }}\n{% endfor %}\n")
    assert synthesis_prompt("x?", ["a", "b"], path) == "Q: x?\n\n* a\n\n* b\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("Q: {{ original_prompt }}", "uses original_prompt and ref_responses and nothing else, not original_prompt"),
        ("{{ original_prompt }}{{ ref_responses }}{{ x }}", "nothing else, not original_prompt, ref_responses, x"),
        ("{% for", "Jinja template"),
    ],
)
def test_a_wrong_template_is_refused(tmp_path: Path, source: str, reason: str) -> None:
    path = tmp_path / "wrong.jinja"
    path.write_text(source)
    with pytest.raises(UserError, match=reason):
        synthesis_prompt("x", ["a"], path)
    with pytest.raises(UserError, match=r"absent\.jinja: No such file"):
        synthesis_prompt("x", ["a"], tmp_path / "absent.jinja")


@pytest.mark.parametrize(
    ("reply", "conclusion"),
    [
        ("hm\n</think>\nTwo.", "Two."),
        ("a</think>b</think>\n c ", "c"),
        ("no thought at all", "no thought at all"),
        ("only thought</think>\n", ""),
    ],
)
def test_a_reply_is_compacted_to_its_conclusion(reply, conclusion) -> None:
    assert compact(reply) == conclusion


@given(st.lists(st.text(max_size=5), max_size=8), st.randoms())
def test_the_order_of_messages_says_nothing_about_the_order_of_rollouts(messages, chance) -> None:
    ordered = in_neutral_order(messages)
    assert sorted(ordered) == sorted(message for message in messages if message)
    by_length = sorted(set(messages), key=len)
    if len({len(message) for message in by_length}) == len(by_length) == len(messages):
        shuffled = list(messages)
        chance.shuffle(shuffled)
        assert in_neutral_order(shuffled) == ordered


def test_the_order_is_that_of_the_published_code() -> None:
    """Sorted by length, then `random.Random(42).shuffle`."""
    assert in_neutral_order(["a" * size for size in range(8, 0, -1)]) == [
        "a" * size for size in (4, 5, 7, 8, 3, 6, 1, 2)
    ]
    assert in_neutral_order("abcdefgh", seed=1) != in_neutral_order("abcdefgh", seed=2)


def test_a_request_without_a_question_is_refused() -> None:
    with pytest.raises(UserError, match="no user message"):
        synthesis_request(Request((Message(role="system", content=(text("x"),)),)), ["a"])


def fitted(messages: Sequence[str], room: int, overhead: int = 10):
    async def measure(messages: Sequence[str]) -> int:
        return overhead + sum(len(message.encode()) for message in messages)

    return asyncio.run(fit(messages, room, measure)), measure


@given(st.lists(st.text("ab€", min_size=1, max_size=60), min_size=1, max_size=6), st.integers(0, 200))
def test_messages_are_cut_to_fit_and_only_the_longest_ones(messages: list[str], room: int) -> None:
    result, measure = fitted(messages, room)
    assert result.tokens == asyncio.run(measure(result.messages))
    if not result.messages:
        assert 10 + sum(len(message.encode()) for message in messages) > room
        assert result.cut == len(messages)
        return
    assert result.tokens <= room
    whole = [message for message, kept in zip(messages, result.messages, strict=True) if kept == message]
    cut = [kept for message, kept in zip(messages, result.messages, strict=True) if kept != message]
    assert result.cut == len(cut)
    assert all(kept.startswith(MARK) for kept in cut)
    assert len({len(kept) for kept in cut}) <= 1, "all that give are as long as each other"
    if cut:
        assert max(map(len, whole), default=0) <= len(cut[0]) - len(MARK)


def test_what_fits_is_untouched_and_what_cannot_fit_is_left_out() -> None:
    assert fitted(["abc", "de"], 15)[0] == (["abc", "de"], 15, 0, 0)
    assert fitted(["abc" * 50, "de"], 12)[0] == ([], 10, 2, 152)


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 300))
def test_the_level_fills_what_there_is(lengths: list[int], total: int) -> None:
    cap = level(lengths, total)
    assert sum(min(length, cap) for length in lengths) <= total
    if cap < max(lengths, default=0):
        assert sum(min(length, cap + 1) for length in lengths) > total


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("So it is \\boxed{ 4\\frac{1}{2} }. Done.", "4\\frac{1}{2}"),
        ("\\boxed{1} or rather \\boxed{2}", "2"),
        ("\\boxed{never closed", "\\boxed{never closed"),
        (" Two  birds.\n", "two birds"),
    ],
)
def test_answers_are_compared_by_what_they_end_with(answer: str, form: str) -> None:
    assert final_answer(answer) == form


@pytest.mark.parametrize(
    ("answers", "rollouts", "threshold", "place"),
    [
        (["3", "2", "2"], 4, 0.5, 1),
        (["3", "2", "2"], 4, 0.75, None),
        (["2"], 1, 0.5, None),
        (["", "", ""], 4, 0.5, None),
        (["The answer is \\boxed{2}", "\\boxed{2}"], 2, 1.0, 0),
        ([], 4, 0.5, None),
    ],
)
def test_agreement_counts_shares_of_all_rollouts(answers, rollouts, threshold, place) -> None:
    assert agreed(answers, rollouts, threshold) == place
