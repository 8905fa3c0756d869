"""PaCoRe over the real engine: rounds, order, context budget, consensus and trace."""

import asyncio
import json
import os
import signal
import time
from contextlib import aclosing

import pytest
import torch

from step3vl.data.errors import UserError
from step3vl.data.sample import Message, image, text
from step3vl.inference import Completion, Engine, EngineBackend, PaCoRe, PaCoReConfig, Request, Sampling
from step3vl.inference.client import BackendError, run_sync
from step3vl.inference.pacore import (
    AnswerDelta,
    Finished,
    HypothesisDelta,
    RoundFinished,
    RoundStarted,
    collect_conclusions,
    extract_conclusion,
)

CONFIG = PaCoReConfig(rounds=(4, 2), sampling=Sampling(max_new_tokens=8), seed=11)


class Recorder(EngineBackend):
    """The engine's backend, recording its requests."""

    def __init__(self, engine: Engine, context: int | None = None):
        super().__init__(engine)
        self.calls: list[tuple[Request, int, Sampling]] = []
        self.context = context or self.context

    def stream(self, request, sampling, n=1):
        self.calls.append((request, n, sampling))
        return super().stream(request, sampling, n)


def events_of(pacore: PaCoRe, request: Request) -> list:
    async def collect() -> list:
        async with aclosing(pacore.stream(request)) as events:
            return [event async for event in events]

    return asyncio.run(collect())


def force_reply(engine: Engine, reply: str) -> None:
    """Make the model give a fixed reply to everything: after each token of the reply, the next."""
    tokenizer = engine.tokenizer
    ids = tokenizer.encode(reply).ids
    script = [*ids, tokenizer.token_to_id("<|im_end|>")]
    following = dict(zip([*ids], script[1:], strict=True))
    assert len(set(ids)) == len(ids)

    def answer(module, inputs, logits):
        token = engine_tokens[-1]
        fixed = torch.full_like(logits, -100.0)
        for row in range(len(logits)):
            fixed[row, -1, following.get(int(token[row, -1]), script[0])] = 100.0
        return fixed

    engine_tokens: list[torch.Tensor] = []
    engine.model.register_forward_pre_hook(
        lambda module, args, kwargs: engine_tokens.append(args[0] if args else kwargs["input_ids"]), with_kwargs=True
    )
    engine.model.lm_head.register_forward_hook(answer)


def test_rounds_explore_then_one_rollout_answers(engine, requests) -> None:
    recorder = Recorder(engine)
    result = PaCoRe(recorder, CONFIG).run(requests[1])
    assert [n for _, n, _ in recorder.calls] == [4, 2, 1] == [len(completions) for completions in result.rounds]
    assert [sampling.seed for _, _, sampling in recorder.calls] == [11, 12, 13]
    final = result.rounds[-1][0]
    assert (result.answer, result.reasoning) == (final.answer, final.reasoning)
    assert len(result.conclusions) == 2
    for completions, conclusions in zip(result.rounds, result.conclusions, strict=False):
        assert sorted(conclusions) == sorted(
            filter(None, (extract_conclusion(completion.text) for completion in completions))
        )


def test_the_rollouts_are_those_of_the_engine(engine, requests) -> None:
    result = PaCoRe(engine, CONFIG).run(requests[1])
    sampling = CONFIG.sampling.model_copy(update={"seed": CONFIG.seed})
    expected = engine.generate([requests[1]], 4, sampling)[0]
    assert [reply.token_ids for reply in result.rounds[0]] == [reply.token_ids for reply in expected]
    assert [reply.text for reply in result.rounds[0]] == [reply.text for reply in expected]
    assert result.rounds[0][0].prompt_tokens == expected[0].prompt_tokens


def test_the_image_stays_in_every_synthesis(engine, requests) -> None:
    recorder = Recorder(engine)
    result = PaCoRe(recorder, CONFIG).run(requests[1])
    for (request, _, _), conclusions in zip(recorder.calls[1:], result.conclusions, strict=True):
        assert request.images == requests[1].images
        content = request.messages[-1].content
        assert [part.type for part in content] == ["image", "text"]
        assert "How many images do you see?" in content[1].text
        for number, conclusion in enumerate(conclusions, start=1):
            assert f"Reference {number}:\n{conclusion}" in content[1].text


def test_without_a_seed_repeats_differ_and_the_trace_names_the_seed(engine, requests) -> None:
    config = CONFIG.model_copy(update={"seed": None})
    first, second = (PaCoRe(engine, config).run(requests[1]) for _ in range(2))
    assert first.trace.seed != second.trace.seed
    assert first.rounds != second.rounds
    assert PaCoRe(engine, config.model_copy(update={"seed": first.trace.seed})).run(requests[1]) == first
    assert json.loads(json.dumps(first.trace.to_json()))["seed"] == first.trace.seed


def test_the_seed_of_the_sampling_counts_where_pacore_has_none(engine, requests) -> None:
    config = PaCoReConfig(rounds=(2,), sampling=CONFIG.sampling.model_copy(update={"seed": 5}))
    assert PaCoRe(engine, config).run(requests[0]).trace.seed == 5
    assert PaCoRe(engine, config.model_copy(update={"seed": 0})).run(requests[0]).trace.seed == 0


def test_the_same_seed_gives_the_same_result(engine, requests) -> None:
    assert PaCoRe(engine, CONFIG).run(requests[1]) == PaCoRe(engine, CONFIG).run(requests[1])
    other = CONFIG.model_copy(update={"seed": 99})
    assert PaCoRe(engine, other).run(requests[1]).rounds != PaCoRe(engine, CONFIG).run(requests[1]).rounds


def test_usage_counts_a_shared_prompt_once_and_every_sampled_token(engine, requests) -> None:
    result = PaCoRe(engine, CONFIG).run(requests[1])
    usage = result.usage
    assert usage.prompt_tokens == sum(completions[0].prompt_tokens for completions in result.rounds)
    sampled = [len(completion.token_ids) for completions in result.rounds for completion in completions]
    assert len(sampled) == 7
    assert usage.completion_tokens == sum(sampled)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_the_trace_holds_everything_and_is_json(engine, requests) -> None:
    result = PaCoRe(engine, CONFIG).run(requests[1])
    trace = json.loads(json.dumps(result.trace.to_json()))
    assert trace["prompt_tokens"] == result.usage.prompt_tokens
    assert trace["completion_tokens"] == result.usage.completion_tokens
    assert trace["savings"] is None
    assert [round_["rollouts"] for round_ in trace["rounds"]] == [4, 2, 1]
    assert [round_["conclusions"] for round_ in trace["rounds"]] == [[], *result.conclusions]
    for round_, completions in zip(trace["rounds"], result.rounds, strict=True):
        assert [rollout["text"] for rollout in round_["trajectories"]] == [
            completion.text for completion in completions
        ]
        assert [rollout["tokens"] for rollout in round_["trajectories"]] == [
            len(completion.token_ids) for completion in completions
        ]
        assert sum(rollout["tokens"] for rollout in round_["trajectories"]) == round_["completion_tokens"]
        for rollout in round_["trajectories"]:
            assert 0 < rollout["first_seconds"] <= rollout["seconds"] <= round_["seconds"] <= trace["seconds"]
        assert round_["failures"] == []


def test_events_stream_hypotheses_rounds_and_the_answer(engine, requests) -> None:
    events = events_of(PaCoRe(engine, CONFIG), requests[1])
    types = [type(event) for event in events if not isinstance(event, HypothesisDelta | AnswerDelta)]
    assert types == [RoundStarted, RoundFinished] * 3 + [Finished]
    result = events[-1].result
    for number, completions in enumerate(result.rounds[:-1]):
        texts = [""] * len(completions)
        for event in events:
            if isinstance(event, HypothesisDelta) and event.round == number:
                texts[event.delta.index] += event.delta.text
        assert texts == [completion.text for completion in completions]
    answer = "".join(event.delta.text for event in events if isinstance(event, AnswerDelta))
    assert answer == result.rounds[-1][0].text
    assert [event.rollouts for event in events if isinstance(event, RoundStarted)] == [4, 2, 1]
    assert [event.last for event in events if isinstance(event, RoundStarted)] == [False, False, True]


def test_closing_the_stream_cancels_everything(fresh_engine, requests) -> None:
    async def leave() -> None:
        config = PaCoReConfig(rounds=(8,), sampling=Sampling(ignore_eos=True, max_new_tokens=400))
        async with aclosing(PaCoRe(fresh_engine, config).stream(requests[0])) as events:
            async for event in events:
                if isinstance(event, HypothesisDelta):
                    break

    asyncio.run(leave())
    # The engine is free at once: another request is answered although the eight had hundreds of tokens to go.
    before = len(calls := [])
    fresh_engine.model.register_forward_hook(lambda *_: calls.append(1))
    fresh_engine.generate([requests[0]], sampling=Sampling(max_new_tokens=3))
    assert len(calls) - before <= 8


def test_conclusions_are_truncated_to_a_small_context_and_traced(engine, requests) -> None:
    config = PaCoReConfig(rounds=(4,), sampling=Sampling(max_new_tokens=60), seed=1)
    untruncated = PaCoRe(engine, config).run(requests[1])
    needed = untruncated.rounds[-1][0].prompt_tokens
    context = needed + 60 - 20
    recorder = Recorder(engine, context=context)
    result = PaCoRe(recorder, config).run(requests[1])
    last = result.trace.rounds[-1]
    request, _, sampling = recorder.calls[-1]
    assert len(engine.tokenize(request)) + sampling.max_new_tokens <= context
    assert sampling.max_new_tokens == 60
    assert last.cut > 0
    assert last.cut_characters > 0
    assert len(last.conclusions) == 4
    for truncated, conclusion in zip(last.conclusions, result.conclusions[0], strict=True):
        assert truncated == conclusion or (truncated.startswith("… ") and conclusion.endswith(truncated[2:]))
    assert untruncated.trace.rounds[-1].cut == 0
    assert result.conclusions == untruncated.conclusions


def test_a_reply_that_may_fill_the_context_leaves_half_of_it_to_the_conclusions(engine, requests) -> None:
    length = len(engine.tokenize(requests[1]))
    context = 2 * length + 900
    config = PaCoReConfig(rounds=(2,), sampling=Sampling(max_new_tokens=context - length), seed=1)
    recorder = Recorder(engine, context=context)
    PaCoRe(recorder, config).run(requests[1])
    request, _, sampling = recorder.calls[-1]
    assert sampling.max_new_tokens >= context // 2
    assert length < len(engine.tokenize(request)) <= context - sampling.max_new_tokens


def test_a_consensus_ends_the_exploration_and_reports_its_savings(fresh_engine, requests) -> None:
    force_reply(fresh_engine, "Two")
    config = PaCoReConfig(rounds=(4, 2), sampling=Sampling(max_new_tokens=8), consensus=0.5, min_rollouts=4)
    result = PaCoRe(fresh_engine, config).run(requests[0])
    assert result.answer == "Two"
    assert result.rounds[-1][0].answer == "Two"
    assert len(result.trace.rounds) == 1
    assert result.trace.rounds[0].consensus_rollout is not None
    # Two of four were enough; the others, two of the second round and the synthesis were not needed.
    assert result.trace.savings.rollouts == 3 + sum(
        rollout.finish_reason == "cancelled" for rollout in result.trace.rounds[0].trajectories
    )
    assert result.trace.savings.tokens >= 3 * result.trace.rounds[0].trajectories[0].tokens
    events = events_of(PaCoRe(fresh_engine, config), requests[0])
    assert [event.delta.text for event in events if isinstance(event, AnswerDelta)] == ["Two"]
    plain = PaCoRe(fresh_engine, config.model_copy(update={"consensus": None})).run(requests[0])
    assert [len(completions) for completions in plain.rounds] == [4, 2, 1]


def test_answers_that_differ_are_no_consensus(engine, requests) -> None:
    config = CONFIG.model_copy(update={"consensus": 1.0})
    result = PaCoRe(engine, config).run(requests[1])
    assert [len(completions) for completions in result.rounds] == [4, 2, 1]
    assert result.trace.savings is None


def test_at_the_deadline_the_answer_comes_from_the_finished_rollouts(fresh_engine, requests) -> None:
    config = PaCoReConfig(rounds=(2,), sampling=Sampling(max_new_tokens=fresh_engine.context // 2), deadline=1e-4)
    with pytest.raises(BackendError, match="0 of 2 rollouts had ended at the deadline, 1 are needed") as failure:
        PaCoRe(fresh_engine, config).run(requests[0])
    assert failure.value.status == 504
    force_reply(fresh_engine, "Two")
    result = PaCoRe(fresh_engine, config.model_copy(update={"rounds": (2, 2, 2), "deadline": 60.0})).run(requests[0])
    assert [trace.rollouts for trace in result.trace.rounds] == [2, 2, 2, 1]
    assert result.answer == "Two"


def test_rounds_that_would_start_after_the_deadline_are_skipped(fresh_engine, requests) -> None:
    force_reply(fresh_engine, "Two")
    config = PaCoReConfig(rounds=(2, 2, 2), sampling=Sampling(max_new_tokens=8), deadline=60.0)

    class Late(Recorder):
        """Advances the loop's clock by a minute after its first answers."""

        async def _stream(self, *args):
            async with aclosing(super()._stream(*args)) as deltas:
                async for delta in deltas:
                    yield delta
            loop = asyncio.get_running_loop()
            loop.time = lambda: time.monotonic() + 61.0

    result = asyncio.run(PaCoRe(Late(fresh_engine), config).answer(requests[0]))
    assert [(trace.round, trace.rollouts) for trace in result.trace.rounds] == [(0, 2), (3, 1)]
    assert result.trace.rounds[-1].conclusions == ["Two", "Two"]


def test_interrupted_work_has_ended_when_the_interrupt_is_raised() -> None:
    """Else it could still write to a file that its caller has closed."""
    ended = []

    async def work() -> None:
        try:
            asyncio.get_running_loop().call_later(0.2, os.kill, os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            ended.append(True)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a command in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            run_sync(work())
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == [True]


def test_pacore_answers_within_a_running_event_loop(engine, requests) -> None:
    """As in a notebook, and again on the same loop."""

    async def outer() -> tuple[str, str]:
        pacore = PaCoRe(engine, CONFIG)
        return pacore.run(requests[0]).answer, pacore.run(requests[0]).answer

    first, second = asyncio.run(outer())
    assert first == second


def test_a_request_without_a_question_is_refused_before_anything_runs(engine) -> None:
    recorder = Recorder(engine)
    with pytest.raises(UserError, match="no user message"):
        PaCoRe(recorder, CONFIG).run(Request((Message(role="system", content=(text("x"),)),)))
    assert recorder.calls == []


def test_a_request_that_the_engine_refuses_is_a_400(engine, noise) -> None:
    missing = Request((Message(role="user", content=(image(1), text("?"))),), (noise(40, 40),))
    with pytest.raises(BackendError, match="image 1") as failure:
        PaCoRe(engine, CONFIG).run(missing)
    assert (failure.value.status, failure.value.retryable) == (400, False)


def test_truncated_replies_may_be_excluded() -> None:
    def completion(text: str, reason) -> Completion:
        return Completion([1], text, "", text, None, reason, 1)

    replies = [completion("complete", "stop"), completion("cut", "length")]
    assert sorted(collect_conclusions(replies)) == ["complete", "cut"]
    assert collect_conclusions(replies, include_truncated=False) == ["complete"]
