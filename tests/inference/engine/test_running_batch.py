"""Requests join and leave a running batch: results do not depend on the others, and nothing is left behind."""

import gc
import threading
import time
import weakref
from itertools import chain

import psutil
import pytest
import torch

from step3vl.data.errors import UserError
from step3vl.data.sample import Message, image, text
from step3vl.inference import Completion, Delta, Engine, Request, Sampling
from step3vl.inference.engine import cohort as cohort_module
from step3vl.inference.engine import engine as engine_module
from step3vl.inference.engine import prefill
from step3vl.inference.engine.cohort import Cohort
from step3vl.inference.engine.job import Job, RolloutState
from step3vl.inference.engine.memory import plan_memory, token_bytes

GREEDY = Sampling(temperature=0, max_new_tokens=12)
ENDLESS = Sampling(ignore_eos=True, max_new_tokens=3000)
WAIT = 60
preempt = Job.preempt


class Recorder:
    """A listener that records all deltas, and can run an action after some of them."""

    def __init__(self, act=None, after: int = 0):
        self.deltas: list[Delta] = []
        self.act, self.after = act, after

    def __call__(self, delta: Delta) -> None:
        self.deltas.append(delta)
        if self.act and len(self.deltas) == self.after:
            self.act()

    def of(self, index: int) -> list[Delta]:
        return [delta for delta in self.deltas if delta.index == index]


def ids(completions: list[Completion]) -> list[list[int]]:
    return [completion.token_ids for completion in completions]


def becomes_idle(engine: Engine) -> bool:
    """A job's result is there a moment before the engine has cleaned up."""
    deadline = time.monotonic() + WAIT
    while engine._batch.cohorts or engine._waiting or engine._jobs:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def question(words: str) -> Request:
    return Request((Message(role="user", content=(text(words),)),))


DIFFERENT = [
    Sampling(temperature=0, max_new_tokens=9),
    Sampling(seed=1, max_new_tokens=14, logprobs=2),
    Sampling(seed=2, temperature=0.7, top_k=20, max_new_tokens=5),
    Sampling(seed=3, top_p=0.8, frequency_penalty=1.0, max_new_tokens=20),
    Sampling(seed=4, min_p=0.05, repetition_penalty=1.2, stop=("e",), max_new_tokens=20),
    Sampling(seed=5, logit_bias={70: 3, 71: -100}, stop_token_ids=(72,), min_new_tokens=6, max_new_tokens=15),
]


def test_overlapping_jobs_get_the_results_of_single_ones(fresh_engine, requests) -> None:
    """Different settings, prompts, rollouts and times of joining; fp32, so tokens are equal to the last one."""
    cases = [(requests[at % 3], sampling, at % 4 + 1) for at, sampling in enumerate(DIFFERENT * 2)]
    alone = [fresh_engine.generate([request], n, sampling)[0] for request, sampling, n in cases]
    jobs = []

    def submit_next() -> None:
        if len(jobs) < len(cases):
            request, sampling, n = cases[len(jobs)]
            recorder = Recorder(submit_next, after=2)  # joins while the one before is running
            jobs.append((fresh_engine.submit(request, sampling, n, recorder), recorder))

    submit_next()
    submit_next()
    deadline = time.monotonic() + WAIT
    while len(jobs) < len(cases) and time.monotonic() < deadline:
        time.sleep(0.01)
    for (job, recorder), expected in zip(jobs, alone, strict=True):
        actual = job.result(WAIT)
        assert ids(actual) == ids(expected)
        assert [completion.text for completion in actual] == [
            completion.text.rstrip("\ufffd") for completion in expected
        ]
        assert [completion.finish_reason for completion in actual] == [
            completion.finish_reason for completion in expected
        ]
        for index, completion in enumerate(actual):
            deltas = recorder.of(index)
            assert "".join(delta.text for delta in deltas) == completion.text
            assert [token for delta in deltas for token in delta.token_ids] == completion.token_ids
            assert [delta.finish_reason for delta in deltas] == [None] * (len(deltas) - 1) + [completion.finish_reason]
    assert becomes_idle(fresh_engine)


def test_a_prompt_is_prefilled_once_for_all_rollouts_and_later_rounds(fresh_engine, requests) -> None:
    read = []
    fresh_engine.model.model.register_forward_hook(
        lambda module, args, kwargs, output: read.append(kwargs["inputs_embeds"].shape[:2].numel()), with_kwargs=True
    )
    request = requests[1]
    length = len(fresh_engine.tokenize(request))
    single_token = Sampling(temperature=0, max_new_tokens=1)
    first = fresh_engine.generate([request], 16, single_token)
    assert read == [length]
    assert fresh_engine.generate([request], 16, single_token) == first
    assert read == [length, 1]
    later = Request((*request.messages[:-1], Message(role="user", content=(image(0), text("Now in other words?")))),
                    request.images)  # fmt: skip
    fresh = Engine(fresh_engine.model, fresh_engine.processor)
    assert fresh_engine.generate([later], 1, GREEDY) == Engine(fresh.model, fresh.processor).generate(
        [later], 1, GREEDY
    )
    image_tokens = fresh_engine.processor.spec.image_tokens
    assert read[2] < len(fresh_engine.tokenize(later)) - image_tokens
    read.clear()
    fresh_engine.generate([later, later, later], 2, single_token)
    assert read == [1], "equal prompts of a call are one prompt"


def test_another_image_is_another_prompt(fresh_engine, requests, noise) -> None:
    """The placeholders are the same tokens; what they stand for is not."""
    request = requests[1]
    other = Request(request.messages, (noise(150, 90, seed=9),))
    fresh_engine.generate([request], 1, GREEDY)
    actual = fresh_engine.generate([other], 1, GREEDY.model_copy(update={"logprobs": 0}))
    expected = Engine(fresh_engine.model, fresh_engine.processor).generate([other], return_logprobs=True,
                                                                           sampling=GREEDY)  # fmt: skip
    assert ids(actual[0]) == ids(expected[0])
    assert actual[0][0].logprobs == pytest.approx(expected[0][0].logprobs, abs=1e-5)


def test_equal_prompts_of_a_call_use_different_random_streams(engine, requests) -> None:
    request = requests[1]
    samplings = [Sampling(seed=seed, max_new_tokens=12) for seed in (1, 2)]
    first, second = engine.generate([request, request], 2, samplings[0])
    assert len({tuple(completion.token_ids) for completion in (*first, *second)}) == 4
    assert ids(first) + ids(second) == ids(engine.generate([request], 4, samplings[0])[0])
    answers = engine.generate([request, request], 2, samplings)
    alone = [engine.generate([request], 2, sampling)[0] for sampling in samplings]
    assert [ids(completions) for completions in answers] == [ids(completions) for completions in alone]


def test_cached_and_new_prompts_are_prefilled_into_one_cohort(fresh_engine, requests) -> None:
    fresh_engine.generate([requests[1]], 1, GREEDY)
    actual = fresh_engine.generate([requests[0], requests[1], requests[2], requests[0]], 2, GREEDY)
    for request, completions in zip([requests[0], requests[1], requests[2], requests[0]], actual, strict=True):
        alone = Engine(fresh_engine.model, fresh_engine.processor).generate([request], 1, GREEDY)[0]
        assert ids(completions) == ids(alone) * 2


def test_a_long_prompt_is_prefilled_in_chunks(fresh_engine, requests, monkeypatch) -> None:
    expected = fresh_engine.generate(requests, 2, GREEDY, return_logprobs=True)
    monkeypatch.setattr(prefill, "CHUNK_TOKENS", 10)
    read = []
    fresh_engine.model.model.register_forward_hook(
        lambda module, args, kwargs, output: read.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    actual = Engine(fresh_engine.model, fresh_engine.processor).generate(requests, 2, GREEDY, return_logprobs=True)
    assert max(read) == 10
    for completion, reference in zip(chain(*actual), chain(*expected), strict=True):
        assert completion.token_ids == reference.token_ids
        assert completion.logprobs == pytest.approx(reference.logprobs, abs=1e-5)


def test_a_request_may_bring_its_token_ids(engine, requests) -> None:
    for request in requests:
        prompt = engine._prefill.encode(request)
        images = [img for _, img in prompt.images]
        encoded = Request(images=images, token_ids=prompt.ids.tolist())
        assert engine.generate([encoded], 1, GREEDY) == engine.generate([request], 1, GREEDY)
    with pytest.raises(UserError, match="image tokens, its images need"):
        engine.generate([Request(token_ids=[engine.processor.image_token_id])], 1, GREEDY)
    for wrong in ([], [-1], [10**6]):
        with pytest.raises(UserError, match="token id"):
            engine.generate([Request(token_ids=wrong)], 1, GREEDY)


def test_logprobs_come_with_the_likeliest_alternatives(engine, requests) -> None:
    recorder = Recorder()
    sampling = Sampling(seed=5, max_new_tokens=8, logprobs=3, top_k=2)
    completion = engine.submit(requests[1], sampling, listener=recorder).result(WAIT)[0]
    assert [delta.logprobs[0] for delta in recorder.deltas] == list(completion.token_logprobs)
    assert completion.logprobs == [token.logprob for token in completion.token_logprobs]
    for token in completion.token_logprobs:
        assert len(token.top) == 2, "top_k leaves two candidates"
        assert token.token_id in [id_ for id_, _, _ in token.top]
        assert sum(torch.tensor([logprob for _, _, logprob in token.top]).exp()) == pytest.approx(1, abs=1e-5)
        assert token.text == engine.tokenizer.decode([token.token_id], skip_special_tokens=False)
    assert engine.submit(requests[1], GREEDY, listener=recorder).result(WAIT)[0].logprobs is None


def test_a_stop_string_ends_a_reply_before_it(engine, requests) -> None:
    complete = engine.generate([requests[0]], 1, Sampling(temperature=0, max_new_tokens=40))[0][0]
    stop = complete.text[len(complete.text) // 2 :][:3]
    recorder = Recorder()
    sampling = Sampling(temperature=0, max_new_tokens=40, stop=("never there", stop))
    actual = engine.submit(requests[0], sampling, listener=recorder).result(WAIT)[0]
    assert (
        actual.text == complete.text[: complete.text.index(stop)] == "".join(delta.text for delta in recorder.deltas)
    )
    assert actual.finish_reason == "stop"
    assert len(actual.token_ids) < len(complete.token_ids)
    assert actual.token_ids == complete.token_ids[: len(actual.token_ids)]


def test_a_cancelled_job_frees_its_rows_and_leaves_the_others_alone(fresh_engine, requests) -> None:
    other = fresh_engine.submit(requests[0], Sampling(seed=1, max_new_tokens=60))
    holder = []
    recorder = Recorder(lambda: holder[0].cancel(), after=6)
    with fresh_engine._step_lock:  # nothing moves until the holder holds
        holder.append(fresh_engine.submit(requests[1], ENDLESS, 3, recorder))
        held = fresh_engine._batch.held
    completions = holder[0].result(WAIT)
    assert held < 3000
    assert {completion.finish_reason for completion in completions} == {"cancelled"}
    assert all(0 < len(completion.token_ids) < 20 for completion in completions)
    assert [recorder.of(index)[-1].finish_reason for index in range(3)] == ["cancelled"] * 3
    assert [len(recorder.of(index)) - 1 for index in range(3)] == [
        len(completion.token_ids) for completion in completions
    ]
    expected = fresh_engine.generate([requests[0]], 1, Sampling(seed=1, max_new_tokens=60))[0]
    assert ids(other.result(WAIT)) == ids(expected)
    assert becomes_idle(fresh_engine)


def test_closing_a_stream_ends_its_job(fresh_engine, requests) -> None:
    stream = fresh_engine.stream(requests[1], ENDLESS)
    next(stream)
    stream.close()
    assert becomes_idle(fresh_engine)


def test_a_listener_that_fails_ends_its_own_job_only(fresh_engine, requests) -> None:
    def fail(delta: Delta) -> None:
        raise ValueError("the reader is gone")

    good = fresh_engine.submit(requests[0], GREEDY)
    bad = fresh_engine.submit(requests[1], GREEDY, listener=fail)
    with pytest.raises(ValueError, match="reader is gone"):
        bad.result(WAIT)
    assert len(good.result(WAIT)) == 1
    assert becomes_idle(fresh_engine)


@pytest.mark.parametrize("part", ["prefill", "decode"])
def test_a_failure_of_the_model_ends_the_jobs_with_its_error_and_no_others(fresh_engine, requests, part) -> None:
    calls = []

    def fail(module, args, kwargs):
        calls.append(1)
        if len(calls) == (1 if part == "prefill" else 3):
            raise RuntimeError("out of memory")

    hook = fresh_engine.model.register_forward_pre_hook(fail, with_kwargs=True)
    recorder = Recorder()
    job = fresh_engine.submit(requests[1], GREEDY, 2, recorder)
    with pytest.raises(RuntimeError, match="out of memory"):
        job.result(WAIT)
    assert [recorder.of(index)[-1].finish_reason for index in range(2)] == ["cancelled"] * 2
    hook.remove()
    assert len(fresh_engine.generate([requests[1]], 1, GREEDY)[0][0].token_ids) > 0
    assert becomes_idle(fresh_engine)


def test_generate_joins_what_a_thread_of_the_engine_runs(fresh_engine, requests) -> None:
    expected = fresh_engine.generate(requests, 2, GREEDY)
    background = [fresh_engine.submit(request, Sampling(seed=1, max_new_tokens=200), 2) for request in requests]
    actual = [fresh_engine.generate(requests, 2, GREEDY) for _ in range(3)]
    assert [[ids(completions) for completions in answers] for answers in actual] == [
        [ids(completions) for completions in expected]
    ] * 3
    assert all(len(job.result(WAIT)) == 2 for job in background)


def test_closing_cancels_everything_and_refuses_more(fresh_engine, requests) -> None:
    jobs = [fresh_engine.submit(request, ENDLESS, 2) for request in requests]
    fresh_engine.close()
    assert {completion.finish_reason for job in jobs for completion in job.result(WAIT)} == {"cancelled"}
    with pytest.raises(UserError, match="closed"):
        fresh_engine.submit(requests[0], GREEDY)
    assert not fresh_engine._worker.is_alive()


def test_a_single_thread_serves_an_engine_and_does_not_keep_it_alive(fresh_engine, requests, monkeypatch) -> None:
    monkeypatch.setattr(engine_module, "IDLE_SECONDS", 0.05)
    engine = Engine(fresh_engine.model, fresh_engine.processor)
    workers = set()
    for _ in range(3):
        engine.submit(requests[0], GREEDY, listener=lambda delta: workers.add(threading.current_thread())).result(WAIT)
        assert becomes_idle(engine)
    (worker,) = workers
    reference = weakref.ref(engine)
    del engine
    worker.join(WAIT)
    assert not worker.is_alive()
    gc.collect()
    assert reference() is None


def test_what_does_not_fit_waits_and_what_never_fits_is_refused(fresh_engine, requests) -> None:
    """Memory for one reply of 40 tokens and its prompt at a time: rollouts queue in order and sample the same."""
    length = max(len(fresh_engine.tokenize(request)) for request in requests)
    budget = int((length + 45) * token_bytes(fresh_engine.model) / 0.7)
    small = Engine(fresh_engine.model, fresh_engine.processor, memory=budget)
    assert small.context == small.plan.tokens < length + 50
    most = []
    small.model.register_forward_hook(lambda *_: most.append(small._batch.held))
    sampling = Sampling(seed=3, max_new_tokens=40)
    jobs = [small.submit(request, sampling, 3) for request in requests]
    for job, expected in zip(jobs, requests, strict=True):
        assert ids(job.result(WAIT)) == ids(fresh_engine.generate([expected], 3, sampling)[0])
    assert 0 < max(most) <= small.plan.tokens
    with pytest.raises(UserError, match=f"set max_new_tokens to {small.context - length} at most"):
        small.submit(max(requests, key=lambda request: len(small.tokenize(request))), Sampling(max_new_tokens=60))
    with pytest.raises(UserError, match="shorten it"):
        small.generate([question("How many images do you see? " * 90)], 1, GREEDY)
    with pytest.raises(UserError, match="hold no token"):
        Engine(fresh_engine.model, fresh_engine.processor, memory=10)


def with_room_for(tokens: int, engine: Engine) -> Engine:
    return Engine(engine.model, engine.processor, memory=int(tokens * token_bytes(engine.model) / 0.7) + 1)


def test_replies_that_may_be_long_run_together_while_they_are_short(fresh_engine, requests) -> None:
    """Their room grows by blocks; reserved at its longest, there would be one row at a time."""
    length = len(fresh_engine.tokenize(requests[0]))
    small = with_room_for(length + 8 * 256, fresh_engine)
    most = []
    small.model.register_forward_hook(lambda *_: most.append(small._batch.rows))
    end = int(small.end_ids[0])
    sampling = Sampling(seed=1, max_new_tokens=1500, logit_bias={end: 3.0})
    assert {reply.finish_reason for reply in small.generate([requests[0]], 8, sampling)[0]} == {"stop"}
    assert max(most) == 8


def test_replies_that_outgrow_the_memory_wait_and_continue_where_they_were(
    fresh_engine, requests, monkeypatch
) -> None:
    """Young replies make room for old ones; nothing of a reply depends on it."""
    expected = [fresh_engine.generate([request], 3, sampling)[0] for sampling in DIFFERENT for request in requests]
    monkeypatch.setattr(cohort_module, "BLOCK", 4)
    monkeypatch.setattr(engine_module, "BLOCK", 4)
    length = max(len(fresh_engine.tokenize(request)) for request in requests)
    small = with_room_for(2 * length + 30, fresh_engine)
    most, preempted = [], []
    small.model.register_forward_hook(lambda *_: most.append(small._batch.held))
    monkeypatch.setattr(Job, "preempt", lambda job, rollout: preempted.append(rollout) or preempt(job, rollout))
    recorders = [Recorder() for _ in expected]
    cases = [(request, sampling) for sampling in DIFFERENT for request in requests]
    jobs = [
        small.submit(request, sampling, 3, recorder)
        for (request, sampling), recorder in zip(cases, recorders, strict=True)
    ]
    for job, completions, recorder in zip(jobs, expected, recorders, strict=True):
        actual = job.result(WAIT)
        assert ids(actual) == ids(completions)
        for index, (reply, reference) in enumerate(zip(actual, completions, strict=True)):
            assert reply.finish_reason == reference.finish_reason
            assert "".join(delta.text for delta in recorder.of(index)) == reply.text
            if reference.logprobs is not None:
                assert reply.logprobs == pytest.approx(reference.logprobs, abs=1e-4)
    assert preempted
    assert max(most) <= small.plan.tokens
    assert becomes_idle(small)


def test_a_failure_beside_waiting_replies_ends_every_job(fresh_engine, requests, monkeypatch) -> None:
    monkeypatch.setattr(cohort_module, "BLOCK", 4)
    monkeypatch.setattr(engine_module, "BLOCK", 4)
    small = with_room_for(len(fresh_engine.tokenize(requests[0])) + 60, fresh_engine)
    preempted = []

    def fail(job: Job, rollout: RolloutState) -> None:
        preempt(job, rollout)
        if not preempted:
            hook = small.model.register_forward_pre_hook(broken)
            preempted.append(hook)

    def broken(*_: object) -> None:
        preempted[0].remove()
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Job, "preempt", fail)
    jobs = [small.submit(requests[0], Sampling(seed=seed, max_new_tokens=40)) for seed in range(6)]
    outcomes = []
    for job in jobs:
        try:
            outcomes.append(job.result(WAIT)[0].finish_reason)
        except RuntimeError:
            outcomes.append("failed")
    assert preempted
    assert "failed" in outcomes
    assert set(outcomes) <= {"failed", "length", "stop"}
    assert becomes_idle(small)


def test_the_plan_divides_what_is_free(engine) -> None:
    plan = plan_memory(engine.model, torch.device("cpu"))
    size = token_bytes(engine.model)
    assert size == 2 * 2 * 2 * 16 * 4  # keys and values, layers, heads, channels, bytes
    assert 0 < plan.tokens * size + plan.prefix_bytes + plan.image_bytes < psutil.virtual_memory().total / 2
    assert plan_memory(engine.model, torch.device("cpu"), 10**6).tokens == 700_000 // size


def test_more_rollouts_than_rows_run_in_waves(engine, requests, monkeypatch) -> None:
    sampling = Sampling(seed=9, max_new_tokens=6)
    expected = engine.generate([requests[1]], 9, sampling)
    monkeypatch.setattr(engine_module, "MAX_ROWS", 4)
    assert ids(engine.generate([requests[1]], 9, sampling)[0]) == ids(expected[0])


@pytest.mark.slow
def test_memory_stays_flat_over_many_requests(fresh_engine, noise) -> None:
    small = Engine(fresh_engine.model, fresh_engine.processor, memory=4_000_000)

    def ask(count: int, first: int) -> None:
        for number in range(first, first + count, 20):
            jobs = [
                small.submit(
                    Request((Message(role="user", content=(image(0), text(f"{at}?"))),), (noise(60, 60, at),)),
                    Sampling(max_new_tokens=3, seed=at),
                    2,
                    lambda delta: None,
                )
                for at in range(number, number + 20)
            ]
            for job in jobs:
                job.result(WAIT)

    def held() -> tuple[int, int]:
        """Bytes of all tensors, and how many of the engine's objects are alive."""
        assert becomes_idle(small)
        gc.collect()
        alive = gc.get_objects()
        storages = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
                    for value in alive if type(value) is torch.Tensor}  # fmt: skip
        return sum(storages.values()), sum(isinstance(value, Job | RolloutState | Cohort) for value in alive)

    ask(100, 0)
    before = held()
    ask(200, 100)
    after = held()
    assert (before[1], after[1]) == (0, 0)
    assert abs(after[0] - before[0]) < 100_000, "the caches were full before"
    assert small._prefill.prefixes.held <= small.plan.prefix_bytes
    assert small._prefill.images.held <= small.plan.image_bytes
    assert becomes_idle(small)


def test_half_precision_answers(fresh_engine, requests) -> None:
    sampling = Sampling(temperature=0, max_new_tokens=10, logprobs=0)
    expected = fresh_engine.generate([requests[1]], 4, sampling)[0]
    half = Engine(fresh_engine.model.to(torch.bfloat16), fresh_engine.processor).generate([requests[1]], 4, sampling)[
        0
    ]
    for completion, reference in zip(half, expected, strict=True):
        assert completion.logprobs[0] == pytest.approx(reference.logprobs[0], abs=0.2)
        assert all(torch.tensor(completion.logprobs).isfinite())
