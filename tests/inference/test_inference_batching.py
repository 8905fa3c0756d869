"""Requests that join and leave a running batch: what each gets does not depend on the others, and nothing stays."""

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
from step3vl.inference import Completion, Delta, Engine, Request, Sampling, prefill
from step3vl.inference import engine as engine_module
from step3vl.inference.cohort import Cohort
from step3vl.inference.jobs import Job, Row
from step3vl.inference.memory import plan_memory, token_bytes

GREEDY = Sampling(temperature=0, max_new_tokens=12)
WAIT = 60


class Heard:
    """A listener that keeps everything, and can call for an action after some deltas."""

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
    """A job's result is there a moment before the engine has put everything away."""
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
]


def test_jobs_that_overlap_get_what_each_gets_alone(fresh_engine, requests) -> None:
    """Different settings, prompts, rollouts and times of joining; fp32, so tokens are equal to the last one."""
    cases = [
        (requests[at % 3], sampling, n) for at, (sampling, n) in enumerate(zip(DIFFERENT * 2, range(10), strict=True))
    ]
    cases = [(request, sampling, n % 4 + 1) for request, sampling, n in cases]
    alone = [fresh_engine.generate([request], n, sampling)[0] for request, sampling, n in cases]
    jobs = []

    def submit_next() -> None:
        if len(jobs) < len(cases):
            request, sampling, n = cases[len(jobs)]
            heard = Heard(submit_next, after=2)  # joins while the one before is running
            jobs.append((fresh_engine.submit(request, sampling, n, heard), heard))

    submit_next()
    submit_next()
    deadline = time.monotonic() + WAIT
    while len(jobs) < len(cases) and time.monotonic() < deadline:
        time.sleep(0.01)
    for (job, heard), expected in zip(jobs, alone, strict=True):
        found = job.result(WAIT)
        assert ids(found) == ids(expected)
        assert [one.text for one in found] == [one.text.rstrip("\ufffd") for one in expected]
        assert [one.finish_reason for one in found] == [one.finish_reason for one in expected]
        for index, completion in enumerate(found):
            deltas = heard.of(index)
            assert "".join(delta.text for delta in deltas) == completion.text
            assert [token for delta in deltas for token in delta.token_ids] == completion.token_ids
            assert [delta.finish_reason for delta in deltas] == [None] * (len(deltas) - 1) + [completion.finish_reason]
    assert becomes_idle(fresh_engine)


def test_a_prompt_is_read_once_for_all_rollouts_and_later_rounds(fresh_engine, requests) -> None:
    read = []
    fresh_engine.model.model.register_forward_hook(
        lambda module, args, kwargs, output: read.append(kwargs["inputs_embeds"].shape[:2].numel()), with_kwargs=True
    )
    request = requests[1]
    length = len(fresh_engine.tokenize(request))
    one = Sampling(temperature=0, max_new_tokens=1)
    first = fresh_engine.generate([request], 16, one)
    assert read == [length]
    assert fresh_engine.generate([request], 16, one) == first
    assert read == [length, 1]
    later = Request((*request.messages[:-1], Message(role="user", content=(image(0), text("Now in other words?")))),
                    request.images)  # fmt: skip
    fresh = Engine(fresh_engine.model, fresh_engine.processor)
    assert fresh_engine.generate([later], 1, GREEDY) == Engine(fresh.model, fresh.processor).generate(
        [later], 1, GREEDY
    )
    picture = fresh_engine.processor.spec.image_tokens
    assert read[2] < len(fresh_engine.tokenize(later)) - picture
    read.clear()
    fresh_engine.generate([later, later, later], 2, one)
    assert read == [1], "equal prompts in one call are one"


def test_another_picture_is_another_prompt(fresh_engine, requests, noise) -> None:
    """The placeholders are the same tokens; what they stand for is not."""
    request = requests[1]
    other = Request(request.messages, (noise(150, 90, seed=9),))
    fresh_engine.generate([request], 1, GREEDY)
    found = fresh_engine.generate([other], 1, GREEDY.model_copy(update={"logprobs": 0}))
    expected = Engine(fresh_engine.model, fresh_engine.processor).generate([other], return_logprobs=True,
                                                                           sampling=GREEDY)  # fmt: skip
    assert ids(found[0]) == ids(expected[0])
    assert found[0][0].logprobs == pytest.approx(expected[0][0].logprobs, abs=1e-5)


def test_equal_prompts_of_one_call_have_noise_of_their_own(engine, requests) -> None:
    request, one, two = requests[1], Sampling(seed=1, max_new_tokens=12), Sampling(seed=2, max_new_tokens=12)
    first, second = engine.generate([request, request], 2, one)
    assert len({tuple(completion.token_ids) for completion in (*first, *second)}) == 4
    assert ids(first) + ids(second) == ids(engine.generate([request], 4, one)[0])
    each = engine.generate([request, request], 2, [one, two])
    assert [ids(own) for own in each] == [ids(engine.generate([request], 2, own)[0]) for own in (one, two)]


def test_known_and_unknown_prompts_are_read_into_one_cohort(fresh_engine, requests) -> None:
    fresh_engine.generate([requests[1]], 1, GREEDY)
    found = fresh_engine.generate([requests[0], requests[1], requests[2], requests[0]], 2, GREEDY)
    for request, completions in zip([requests[0], requests[1], requests[2], requests[0]], found, strict=True):
        alone = Engine(fresh_engine.model, fresh_engine.processor).generate([request], 1, GREEDY)[0]
        assert ids(completions) == ids(alone) * 2


def test_a_long_prompt_is_read_in_pieces(fresh_engine, requests, monkeypatch) -> None:
    expected = fresh_engine.generate(requests, 2, GREEDY, return_logprobs=True)
    monkeypatch.setattr(prefill, "LONG", 10)
    read = []
    fresh_engine.model.model.register_forward_hook(
        lambda module, args, kwargs, output: read.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    found = Engine(fresh_engine.model, fresh_engine.processor).generate(requests, 2, GREEDY, return_logprobs=True)
    assert max(read) == 10
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert one.token_ids == other.token_ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_a_request_may_bring_its_token_ids(engine, requests) -> None:
    for request in requests:
        prompt = engine._prefill.prompt(request)
        pictures = [picture for _, picture in prompt.pictures]
        encoded = Request(images=pictures, token_ids=prompt.ids.tolist())
        assert engine.generate([encoded], 1, GREEDY) == engine.generate([request], 1, GREEDY)
    with pytest.raises(UserError, match="image tokens, its pictures need"):
        engine.generate([Request(token_ids=[engine.processor.image_token_id])], 1, GREEDY)
    for wrong in ([], [-1], [10**6]):
        with pytest.raises(UserError, match="token id"):
            engine.generate([Request(token_ids=wrong)], 1, GREEDY)


def test_logprobs_with_the_likeliest_in_their_place(engine, requests) -> None:
    heard = Heard()
    sampling = Sampling(seed=5, max_new_tokens=8, logprobs=3, top_k=2)
    completion = engine.submit(requests[1], sampling, listener=heard).result(WAIT)[0]
    assert [delta.logprobs[0] for delta in heard.deltas] == list(completion.token_logprobs)
    assert completion.logprobs == [token.logprob for token in completion.token_logprobs]
    for token in completion.token_logprobs:
        assert len(token.top) == 2, "top_k leaves two that could have been drawn"
        assert token.token_id in [one[0] for one in token.top]
        assert sum(torch.tensor([one[2] for one in token.top]).exp()) == pytest.approx(1, abs=1e-5)
        assert token.text == engine.tokenizer.decode([token.token_id], skip_special_tokens=False)
    assert engine.submit(requests[1], GREEDY, listener=heard).result(WAIT)[0].logprobs is None


def test_a_stop_string_ends_a_reply_before_it(engine, requests) -> None:
    whole = engine.generate([requests[0]], 1, Sampling(temperature=0, max_new_tokens=40))[0][0]
    stop = whole.text[len(whole.text) // 2 :][:3]
    heard = Heard()
    sampling = Sampling(temperature=0, max_new_tokens=40, stop=("never there", stop))
    found = engine.submit(requests[0], sampling, listener=heard).result(WAIT)[0]
    assert found.text == whole.text[: whole.text.index(stop)] == "".join(delta.text for delta in heard.deltas)
    assert found.finish_reason == "stop"
    assert len(found.token_ids) < len(whole.token_ids)
    assert found.token_ids == whole.token_ids[: len(found.token_ids)]


def test_a_cancelled_job_frees_its_rows_and_leaves_the_others_alone(fresh_engine, requests) -> None:
    other = fresh_engine.submit(requests[0], Sampling(seed=1, max_new_tokens=60))
    holder = []
    heard = Heard(lambda: holder[0].cancel(), after=6)
    with fresh_engine._turns:  # nothing moves until the holder holds
        holder.append(fresh_engine.submit(requests[1], Sampling(max_new_tokens=3000), 3, heard))
        reserved = fresh_engine._batch.reserved
    completions = holder[0].result(WAIT)
    assert reserved < 3000
    assert {completion.finish_reason for completion in completions} == {"cancelled"}
    assert all(0 < len(completion.token_ids) < 20 for completion in completions)
    assert [heard.of(index)[-1].finish_reason for index in range(3)] == ["cancelled"] * 3
    assert [len(heard.of(index)) - 1 for index in range(3)] == [len(one.token_ids) for one in completions]
    expected = fresh_engine.generate([requests[0]], 1, Sampling(seed=1, max_new_tokens=60))[0]
    assert ids(other.result(WAIT)) == ids(expected)
    assert becomes_idle(fresh_engine)


def test_a_stream_that_is_left_ends_its_job(fresh_engine, requests) -> None:
    stream = fresh_engine.stream(requests[1], Sampling(max_new_tokens=3000))
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
    heard = Heard()
    job = fresh_engine.submit(requests[1], GREEDY, 2, heard)
    with pytest.raises(RuntimeError, match="out of memory"):
        job.result(WAIT)
    assert [heard.of(index)[-1].finish_reason for index in range(2)] == ["cancelled"] * 2
    hook.remove()
    assert len(fresh_engine.generate([requests[1]], 1, GREEDY)[0][0].token_ids) > 0
    assert becomes_idle(fresh_engine)


def test_generate_joins_what_a_thread_of_the_engine_runs(fresh_engine, requests) -> None:
    expected = fresh_engine.generate(requests, 2, GREEDY)
    background = [fresh_engine.submit(request, Sampling(seed=1, max_new_tokens=200), 2) for request in requests]
    found = [fresh_engine.generate(requests, 2, GREEDY) for _ in range(3)]
    assert [[ids(one) for one in answers] for answers in found] == [[ids(one) for one in expected]] * 3
    assert all(len(job.result(WAIT)) == 2 for job in background)


def test_closing_ends_everything_and_takes_no_more(fresh_engine, requests) -> None:
    jobs = [fresh_engine.submit(request, Sampling(max_new_tokens=3000), 2) for request in requests]
    fresh_engine.close()
    assert {one.finish_reason for job in jobs for one in job.result(WAIT)} <= {"cancelled", "stop"}
    with pytest.raises(UserError, match="closed"):
        fresh_engine.submit(requests[0], GREEDY)
    assert not fresh_engine._worker.is_alive()


def test_one_thread_serves_an_engine_and_does_not_keep_it_alive(fresh_engine, requests, monkeypatch) -> None:
    monkeypatch.setattr(engine_module, "IDLE_SECONDS", 0.05)
    own = Engine(fresh_engine.model, fresh_engine.processor)
    workers = set()
    for _ in range(3):
        own.submit(requests[0], GREEDY, listener=lambda delta: workers.add(threading.current_thread())).result(WAIT)
        assert becomes_idle(own)
    (worker,) = workers
    gone = weakref.ref(own)
    del own
    worker.join(WAIT)
    assert not worker.is_alive()
    gc.collect()
    assert gone() is None


def test_what_does_not_fit_waits_and_what_never_fits_is_refused(fresh_engine, requests) -> None:
    """Memory for one reply of 40 tokens and its prompt at a time: rollouts queue, in order, and draw the same."""
    length = max(len(fresh_engine.tokenize(request)) for request in requests)
    budget = int((length + 45) * token_bytes(fresh_engine.model) / 0.7)
    small = Engine(fresh_engine.model, fresh_engine.processor, memory=budget)
    assert small.context == small.plan.tokens < length + 50
    most = []
    small.model.register_forward_hook(lambda *_: most.append(small._batch.reserved))
    sampling = Sampling(seed=3, max_new_tokens=40)
    jobs = [small.submit(request, sampling, 3) for request in requests]
    for job, expected in zip(jobs, requests, strict=True):
        assert ids(job.result(WAIT)) == ids(fresh_engine.generate([expected], 3, sampling)[0])
    assert 0 < max(most) <= small.plan.tokens
    with pytest.raises(UserError, match=f"set max_new_tokens to {small.context - length} at most"):
        small.submit(max(requests, key=lambda request: len(small.tokenize(request))), Sampling(max_new_tokens=60))
    with pytest.raises(UserError, match="shorten it"):
        small.generate([question("How many pictures do you see? " * 90)], 1, GREEDY)
    with pytest.raises(UserError, match="hold no token"):
        Engine(fresh_engine.model, fresh_engine.processor, memory=10)


def test_the_plan_divides_what_is_free(engine) -> None:
    plan = plan_memory(engine.model, torch.device("cpu"))
    size = token_bytes(engine.model)
    assert size == 2 * 2 * 2 * 16 * 4  # keys and values, layers, heads, channels, bytes
    assert 0 < plan.tokens * size + plan.prefix_bytes + plan.picture_bytes < psutil.virtual_memory().total / 2
    assert plan_memory(engine.model, torch.device("cpu"), 10**6).tokens == 700_000 // size


def test_more_rollouts_than_places_run_in_waves(engine, requests, monkeypatch) -> None:
    sampling = Sampling(seed=9, max_new_tokens=6)
    expected = engine.generate([requests[1]], 9, sampling)
    monkeypatch.setattr(engine_module, "ROWS", 4)
    assert ids(engine.generate([requests[1]], 9, sampling)[0]) == ids(expected[0])


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
        """Bytes of all tensors, and how many things of the engine's are alive."""
        assert becomes_idle(small)
        gc.collect()
        alive = gc.get_objects()
        storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes()
                    for one in alive if type(one) is torch.Tensor}  # fmt: skip
        return sum(storages.values()), sum(isinstance(one, Job | Row | Cohort) for one in alive)

    ask(100, 0)
    before = held()
    ask(200, 100)
    after = held()
    assert (before[1], after[1]) == (0, 0)
    assert abs(after[0] - before[0]) < 100_000, "the caches were full before"
    assert small._prefill.prefixes.held <= small.plan.prefix_bytes
    assert small._prefill.pictures.held <= small.plan.picture_bytes
    assert becomes_idle(small)


def test_half_precision_answers(fresh_engine, requests) -> None:
    sampling = Sampling(temperature=0, max_new_tokens=10, logprobs=0)
    expected = fresh_engine.generate([requests[1]], 4, sampling)[0]
    half = Engine(fresh_engine.model.to(torch.bfloat16), fresh_engine.processor).generate([requests[1]], 4, sampling)[
        0
    ]
    for one, other in zip(half, expected, strict=True):
        assert one.logprobs[0] == pytest.approx(other.logprobs[0], abs=0.2)
        assert all(torch.tensor(one.logprobs).isfinite())
