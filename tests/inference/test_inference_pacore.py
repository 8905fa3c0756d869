"""PaCoRe over the real engine, and its parts alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.data.sample import Message, image, text
from step3vl.inference import PaCoRe, PaCoReConfig, Request, Sampling
from step3vl.inference.pacore import compact, in_neutral_order, synthesis_prompt, synthesis_request

CONFIG = PaCoReConfig(rounds=(4, 2), sampling=Sampling(max_new_tokens=8), seed=11)


class Recorder:
    """The engine, with a note of what it was asked."""

    def __init__(self, engine):
        self.engine, self.asked = engine, []

    def generate(self, requests, n, sampling):
        self.asked.append((requests[0], n, sampling.seed))
        return self.engine.generate(requests, n, sampling)


def test_rounds_explore_then_one_rollout_answers(engine, requests) -> None:
    recorder = Recorder(engine)
    result = PaCoRe(recorder, CONFIG).run(requests[1])
    assert [n for _, n, _ in recorder.asked] == [4, 2, 1] == [len(completions) for completions in result.rounds]
    assert [seed for _, _, seed in recorder.asked] == [11, 12, 13]
    final = result.rounds[-1][0]
    assert (result.answer, result.reasoning) == (final.answer, final.reasoning)
    assert len(result.messages) == 2
    for completions, messages in zip(result.rounds, result.messages, strict=False):
        assert sorted(messages) == sorted(filter(None, (compact(completion.text) for completion in completions)))


def test_the_picture_stays_in_every_synthesis(engine, requests) -> None:
    recorder = Recorder(engine)
    result = PaCoRe(recorder, CONFIG).run(requests[1])
    for (asked, _, _), messages in zip(recorder.asked[1:], result.messages, strict=True):
        assert asked.images == requests[1].images
        content = asked.messages[-1].content
        assert [part.type for part in content] == ["image", "text"]
        assert "How many pictures do you see?" in content[1].text
        for number, message in enumerate(messages, start=1):
            assert f"Reference {number}:\n{message}" in content[1].text


def test_the_same_seed_gives_the_same_result(engine, requests) -> None:
    assert PaCoRe(engine, CONFIG).run(requests[1]) == PaCoRe(engine, CONFIG).run(requests[1])
    other = CONFIG.model_copy(update={"seed": 99})
    assert PaCoRe(engine, other).run(requests[1]).rounds != PaCoRe(engine, CONFIG).run(requests[1]).rounds


def test_usage_counts_a_shared_prompt_once_and_every_drawn_token(engine, requests) -> None:
    result = PaCoRe(engine, CONFIG).run(requests[1])
    usage = result.usage
    assert usage.prompt_tokens == sum(completions[0].prompt_tokens for completions in result.rounds)
    drawn = [len(completion.token_ids) for completions in result.rounds for completion in completions]
    assert len(drawn) == 7
    assert usage.completion_tokens == sum(drawn)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


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
        )
    )
    asked = synthesis_request(request, ["a"])
    assert asked.messages[:3] == list(request.messages[:3])
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


def test_a_request_without_a_question_is_refused() -> None:
    with pytest.raises(UserError, match="no user message"):
        synthesis_request(Request((Message(role="system", content=(text("x"),)),)), ["a"])
