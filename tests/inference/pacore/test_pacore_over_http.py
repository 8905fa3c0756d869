"""PaCoRe over a real HTTP server: images encoded once, lost rollouts, conclusions truncated to its context."""

import asyncio
from contextlib import aclosing

import pytest
from PIL import Image as PILImage

from step3vl.data.sample import Image, Message, image, text
from step3vl.inference import BackendError, OpenAIBackend, PaCoRe, PaCoReConfig, Request, Sampling, Usage
from step3vl.inference.pacore import AnswerDelta, RolloutsRestarted

SAMPLING = Sampling(max_new_tokens=16, seed=5)


def ask(*parts) -> Request:
    return Request((Message(role="user", content=parts or (text("How many?"),)),))


def test_a_decoded_image_is_encoded_once(peer, url, monkeypatch) -> None:
    saved = []
    save = PILImage.Image.save
    monkeypatch.setattr(PILImage.Image, "save", lambda *args, **more: (saved.append(1), save(*args, **more)))
    decoded = PILImage.new("RGB", (9, 7))
    request = Request((Message(role="user", content=(image(0), text("?"))),), (decoded,))

    async def run() -> int:
        backend = OpenAIBackend(url)
        await PaCoRe(backend, PaCoReConfig(rounds=(3, 2), sampling=SAMPLING)).answer(request)
        await backend.close()
        return len(backend._urls._urls)

    assert asyncio.run(run()) == 1
    assert len(saved) == 1
    assert len(peer.bodies) == 3


def test_pacore_keeps_the_image_and_counts_by_round(peer, url, png) -> None:
    request = Request((Message(role="user", content=(image(0), text("How many?"))),), (Image.from_bytes(png()),))
    backend = OpenAIBackend(url)
    pacore = PaCoRe(backend, PaCoReConfig(rounds=(3, 2), sampling=SAMPLING, seed=9))
    for _ in range(2):  # the second on the connections of the first
        result = pacore.run(request)
    assert result.answer == "Two."
    assert result.usage == Usage(3 * 40, 7 * 6)
    assert [body["n"] for body in peer.bodies[:3]] == [3, 2, 1]
    assert [body["seed"] for body in peer.bodies[:3]] == [9, 10, 11]
    for body in peer.bodies[1:3]:
        content = body["messages"][-1]["content"]
        assert [item["type"] for item in content] == ["image_url", "text"]
        assert "Reference 1:\nTwo.\n" in content[1]["text"]
        assert "t0" not in content[1]["text"], "reasoning is not passed on"
    assert [(trace.prompt_tokens, trace.completion_tokens) for trace in result.trace.rounds] == [
        (40, 21),
        (40, 14),
        (40, 7),
    ]


def test_lost_rollouts_are_retried(peer, url) -> None:
    peer.plan = ["cut"]
    result = PaCoRe(OpenAIBackend(url), PaCoReConfig(rounds=(3,), sampling=SAMPLING)).run(ask())
    assert [body["n"] for body in peer.bodies] == [3, 2, 1]
    assert peer.bodies[0]["seed"] != peer.bodies[1]["seed"]
    assert [completion.answer for completion in result.rounds[0]] == ["Two."] * 3
    assert result.trace.rounds[0].failures == [f"{url}/v1: the reply ended before it was finished"]


def test_a_lost_answer_is_sampled_again(peer, url) -> None:
    peer.plan = [None, "error"]

    async def collect() -> list:
        backend = OpenAIBackend(url)
        async with aclosing(PaCoRe(backend, PaCoReConfig(rounds=(3,), sampling=SAMPLING)).stream(ask())) as events:
            received = [event async for event in events]
        await backend.close()
        return received

    events = asyncio.run(collect())
    restart = next(index for index, event in enumerate(events) if isinstance(event, RolloutsRestarted))
    assert (events[restart].round, events[restart].indices) == (1, (0,))
    answer = "".join(event.delta.text for event in events[restart:] if isinstance(event, AnswerDelta))
    assert answer == "t0t1t2\n</think>\nTwo." == events[-1].result.rounds[-1][0].text
    assert len(events[-1].result.trace.rounds[-1].failures) == 1


def test_a_round_needs_its_minimum_of_rollouts(peer, url) -> None:
    config = PaCoReConfig(rounds=(3,), sampling=SAMPLING, retries=0)
    peer.plan = ["cut"]
    result = PaCoRe(OpenAIBackend(url), config).run(ask())
    assert [len(completions) for completions in result.rounds] == [1, 1]
    assert [rollout.finish_reason for rollout in result.trace.rounds[0].trajectories] == [
        "stop",
        "cancelled",
        "cancelled",
    ]
    peer.plan = ["cut"]
    with pytest.raises(BackendError, match="ended before"):
        PaCoRe(OpenAIBackend(url), config.model_copy(update={"min_rollouts": 2})).run(ask())


@pytest.mark.parametrize("tokenizes", [True, False])
def test_conclusions_are_truncated_to_a_servers_context(peer, url, tokenizes) -> None:
    peer.tokenizes = tokenizes
    peer.answer = "a long answer " * 300
    backend = OpenAIBackend(url, context=2000)
    result = PaCoRe(backend, PaCoReConfig(rounds=(4,), sampling=SAMPLING)).run(ask())
    last = result.trace.rounds[-1]
    assert last.cut == 4
    sent = peer.bodies[-1]["messages"][-1]["content"]
    if tokenizes:  # its tokens are characters
        assert 1000 < len(sent) <= 2000 - 16
    assert all(conclusion.endswith("answer") for conclusion in last.conclusions)
