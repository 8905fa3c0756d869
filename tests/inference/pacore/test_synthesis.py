"""The parts of PaCoRe alone: conclusions and their order, the synthesis prompt, truncation, consensus."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from step3vl.data.errors import UserError
from step3vl.data.sample import Message, ToolCall, image, text
from step3vl.inference import PaCoReConfig, Request
from step3vl.inference.pacore import extract_conclusion, synthesis_request
from step3vl.inference.pacore.consensus import find_consensus
from step3vl.inference.pacore.context_budget import ELLIPSIS, fit_conclusions, length_cap
from step3vl.inference.pacore.synthesis import shuffle_conclusions, synthesis_prompt


def test_without_references_the_question_is_asked_as_it_is(requests) -> None:
    assert synthesis_request(requests[1], []) is requests[1]
    assert shuffle_conclusions(["", ""]) == []


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
    synthesis = synthesis_request(request, ["a"])
    assert [*synthesis.messages[:3], *synthesis.messages[4:]] == [*request.messages[:3], *request.messages[4:]]
    assert synthesis.tools == request.tools
    content = synthesis.messages[3].content
    assert [part.type for part in content] == ["text", "image"]
    assert "Original Problem:\nbefore \n after\n" in content[0].text


def test_a_question_of_images_alone_gets_the_references_after_them() -> None:
    synthesis = synthesis_request(Request((Message(role="user", content=(image(0), image(1))),)), ["a"])
    assert [part.type for part in synthesis.messages[0].content] == ["image", "image", "text"]


def test_the_prompt_has_the_published_structure() -> None:
    prompt = synthesis_prompt("What is it?", ["a cat", "a dog"])
    slots = ["Original Problem:\nWhat is it?", "Reference Responses:\nReference 1:\na cat\nReference 2:\na dog"]
    positions = [prompt.index(slot) for slot in slots]
    assert 0 < positions[0] < positions[1]


@given(st.text(), st.lists(st.text(), min_size=1, max_size=4))
def test_texts_are_rendered_verbatim(question: str, conclusions: list[str]) -> None:
    """Also those that look like a template's own markup."""
    prompt = synthesis_prompt(question, conclusions)
    assert f"Original Problem:\n{question}\n" in prompt
    for number, conclusion in enumerate(conclusions, start=1):
        assert f"Reference {number}:\n{conclusion}\n" in prompt
    assert "{{ 7 * 7 }}" in synthesis_prompt("{{ 7 * 7 }}", ["a"])


def test_another_template_is_used_verbatim(tmp_path: Path) -> None:
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
        ("no reasoning at all", "no reasoning at all"),
        ("only reasoning</think>\n", ""),
    ],
)
def test_the_conclusion_of_a_reply(reply, conclusion) -> None:
    assert extract_conclusion(reply) == conclusion


@given(st.lists(st.text(max_size=5), max_size=8), st.randoms())
def test_the_order_of_conclusions_is_independent_of_the_order_of_rollouts(conclusions, chance) -> None:
    ordered = shuffle_conclusions(conclusions)
    assert sorted(ordered) == sorted(filter(None, conclusions))
    by_length = sorted(set(conclusions), key=len)
    if len({len(conclusion) for conclusion in by_length}) == len(by_length) == len(conclusions):
        shuffled = list(conclusions)
        chance.shuffle(shuffled)
        assert shuffle_conclusions(shuffled) == ordered


def test_the_order_is_that_of_the_published_code() -> None:
    """Sorted by length, then `random.Random(42).shuffle`."""
    assert shuffle_conclusions(["a" * size for size in range(8, 0, -1)]) == [
        "a" * size for size in (4, 5, 7, 8, 3, 6, 1, 2)
    ]
    assert shuffle_conclusions("abcdefgh", seed=1) != shuffle_conclusions("abcdefgh", seed=2)


def test_a_request_without_a_question_is_refused() -> None:
    with pytest.raises(UserError, match="no user message"):
        synthesis_request(Request((Message(role="system", content=(text("x"),)),)), ["a"])


def fit(conclusions: Sequence[str], limit: int, overhead: int = 10):
    async def measure(conclusions: Sequence[str]) -> int:
        return overhead + sum(len(conclusion.encode()) for conclusion in conclusions)

    return asyncio.run(fit_conclusions(conclusions, limit, measure)), measure


@given(st.lists(st.text("ab€", min_size=1, max_size=60), min_size=1, max_size=6), st.integers(0, 200))
def test_only_the_longest_conclusions_are_truncated(conclusions: list[str], limit: int) -> None:
    result, measure = fit(conclusions, limit)
    assert result.tokens == asyncio.run(measure(result.conclusions))
    if not result.conclusions:
        assert 10 + sum(len(conclusion.encode()) for conclusion in conclusions) > limit
        assert result.cut == len(conclusions)
        return
    assert result.tokens <= limit
    pairs = list(zip(conclusions, result.conclusions, strict=True))
    complete = [kept for conclusion, kept in pairs if kept == conclusion]
    cut = [kept for conclusion, kept in pairs if kept != conclusion]
    assert result.cut == len(cut)
    assert all(kept.startswith(ELLIPSIS) for kept in cut)
    assert len({len(kept) for kept in cut}) <= 1, "all truncated ones have one length"
    if cut:
        assert max(map(len, complete), default=0) <= len(cut[0]) - len(ELLIPSIS)


def test_what_fits_is_unchanged_and_what_cannot_fit_is_left_out() -> None:
    assert fit(["abc", "de"], 15)[0] == (["abc", "de"], 15, 0, 0)
    assert fit(["abc" * 50, "de"], 12)[0] == ([], 10, 2, 152)


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 300))
def test_the_length_cap_is_the_largest_possible(lengths: list[int], total: int) -> None:
    cap = length_cap(lengths, total)
    assert sum(min(length, cap) for length in lengths) <= total
    if cap < max(lengths, default=0):
        assert sum(min(length, cap + 1) for length in lengths) > total


@pytest.mark.parametrize(
    ("answers", "rollouts", "threshold", "index"),
    [
        (["3", "2", "2"], 4, 0.5, 1),
        (["3", "2", "2"], 4, 0.75, None),
        (["2"], 1, 0.5, None),
        (["", "", ""], 4, 0.5, None),
        (["The answer is \\boxed{2}", "\\boxed{2}"], 2, 1.0, 0),
        ([], 4, 0.5, None),
    ],
)
def test_a_consensus_is_a_share_of_all_rollouts(answers, rollouts, threshold, index) -> None:
    assert find_consensus(answers, rollouts, threshold) == index


@pytest.mark.parametrize(("old", "new"), [("minimum", "min_rollouts"), ("unfinished", "include_truncated")])
def test_a_renamed_setting_is_refused_with_its_new_name(old: str, new: str) -> None:
    with pytest.raises(ValidationError, match=f"'{old}' is now '{new}'"):
        PaCoReConfig.model_validate({old: 1})
