"""Generation in this process: each distinct image is encoded once, each distinct prompt prefilled once for n rollouts.

Requests join the running batch and leave it between two steps. The engine is for laptops, tests and reinforcement
learning at small scale; at large scale use a server such as vLLM.
"""

import queue
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from step3vl.data.errors import UserError
from step3vl.data.tokens import TokenIds
from step3vl.inference.client.requests import Completion, Delta, Request
from step3vl.inference.client.sampling import DEFAULT, Sampling
from step3vl.inference.engine.cohort import BLOCK, Cohort
from step3vl.inference.engine.job import Job, Listener, RolloutState
from step3vl.inference.engine.memory import plan_memory
from step3vl.inference.engine.prefill import Prefill
from step3vl.inference.engine.running_batch import RunningBatch
from step3vl.model.checkpoint import suppressed_token_ids
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.model.processing import Step3VLProcessor

MAX_ROWS = 512  # rollouts decoded side by side
JOIN_BELOW = 0.75  # rollouts join while at most this share of the rows is used: better many than one by one
IDLE_SECONDS = 5.0  # after which a waiting worker checks whether its engine still exists
PREFILL_TOKENS = 32_768  # of prompts, padding included, that pass through the decoder together


class Engine:
    """Answers requests with a model on one device. Every method may be called from any thread.

    Cached keys and values are reused, and rows are decoded together: results are the same up to the last bits of the
    logits whatever else runs, and exactly reproducible when the same calls come in the same order.

    Args:
        model: The model; it is moved to the device.
        processor: Its processor.
        device: Where to run.
        memory: Bytes for keys, values and encoded images, by default half of the free RAM or 0.8 of a GPU's free
            memory. Requests that do not fit beside the running ones wait, in order.
    """

    def __init__(
        self,
        model: Step3VLForConditionalGeneration,
        processor: Step3VLProcessor,
        device: str | torch.device = "cpu",
        memory: int | None = None,
    ):
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.processor = processor
        self.tokenizer = processor.plain_tokenizer()
        ids = TokenIds.of(self.tokenizer)
        self.suppressed_token_ids = torch.tensor(suppressed_token_ids(ids), device=self.device)
        self._ends = frozenset((ids.chat_end, ids.pad))
        self.end_ids = torch.tensor([ids.chat_end, ids.pad], device=self.device)
        self.plan = plan_memory(model, self.device, memory)
        self._prefill = Prefill(model, processor, self.tokenizer, self.device, self.plan)
        self._batch = RunningBatch(model, self.device)
        self._step_lock = threading.Lock()  # whoever holds it advances the batch, for all jobs
        self._queue_lock = threading.Lock()  # of the queue and the worker
        self._waiting: deque[Job] = deque()
        self._jobs: set[Job] = set()  # all that have not ended
        self._worker: threading.Thread | None = None
        self._wake = threading.Event()
        self._closed = False

    @property
    def context(self) -> int:
        """Tokens that a request and its reply may have: what the model is made for and the memory holds."""
        return min(self.model.config.text_config.max_position_embeddings, self.plan.tokens)

    def tokenize(self, request: Request) -> list[int]:
        """Return the prompt's token ids, those of images included. Raises UserError as `submit` does."""
        return self._prefill.tokenize(request)

    def check(self, request: Request, sampling: Sampling = DEFAULT) -> None:
        """Raise the errors that `submit` would, without running the request."""
        self._create_job(request, sampling, n=1)

    def load_state(self, state_dict: dict[str, Tensor]) -> None:
        """Replace the weights in place and clear the caches."""
        with self._step_lock:
            self.model.load_state_dict(state_dict)
            self._prefill.clear_caches()

    def submit(
        self, request: Request, sampling: Sampling = DEFAULT, n: int = 1, listener: Listener | None = None
    ) -> Job:
        """Start n rollouts beside whatever runs, on a thread of the engine's own.

        Args:
            request: What to answer.
            sampling: How to sample.
            n: Number of rollouts.
            listener: Called with every delta, on the engine's thread, so it must be quick.

        Raises:
            UserError: The request's images do not match its text, or it can never fit.
        """
        job = self._create_job(request, sampling, n, listener)
        with self._queue_lock:
            self._enqueue(job)
            if self._worker is None:
                self._worker = threading.Thread(
                    target=_work, args=(weakref.ref(self), self._wake), name="step3vl-engine", daemon=True
                )
                self._worker.start()
        self._wake.set()
        return job

    def generate(
        self,
        requests: Sequence[Request],
        n: int = 1,
        sampling: Sampling | Sequence[Sampling] = DEFAULT,
        return_logprobs: bool = False,
    ) -> list[list[Completion]]:
        """Sample n completions for each request on the caller's thread, in the order of the requests.

        Args:
            requests: What to answer.
            n: Completions per request.
            sampling: Settings for all requests, or for each. With one for all, rollout j of request i uses random
                stream i * n + j of its seed; with one for each, stream j, as when the request comes alone.
            return_logprobs: Whether to record log-probabilities where the settings do not.

        Raises:
            UserError: As `submit`.
        """
        shared = isinstance(sampling, Sampling)
        samplings = [sampling] * len(requests) if isinstance(sampling, Sampling) else list(sampling)
        if return_logprobs:
            samplings = [
                settings if settings.logprobs is not None else settings.model_copy(update={"logprobs": 0})
                for settings in samplings
            ]
        jobs: list[Job] = []
        running: list[Job] = []
        try:
            while running or len(jobs) < len(requests):
                # Images are opened only when their turn is near.
                while len(jobs) < len(requests) and sum(job.waiting for job in running) < MAX_ROWS:
                    index = len(jobs)
                    job = self._create_job(requests[index], samplings[index], n, first=index * n if shared else 0)
                    with self._queue_lock:
                        self._enqueue(job)
                    jobs.append(job)
                    running.append(job)
                with self._step_lock:
                    self._step()
                running = [job for job in running if not job.done]
        finally:
            for job in running:
                job.cancel()  # after an error
            with self._step_lock:
                self._remove_ended()
        return [job.result() for job in jobs]

    def stream(self, request: Request, sampling: Sampling = DEFAULT) -> Iterator[str]:
        """Yield the reply as pieces of text while it is sampled: the reasoning, `</think>`, then the answer."""
        deltas: queue.SimpleQueue[Delta] = queue.SimpleQueue()
        job = self.submit(request, sampling, listener=deltas.put)
        try:
            while True:
                delta = deltas.get()
                if delta.text:
                    yield delta.text
                if delta.finish_reason is not None:
                    break
        finally:
            job.cancel()
        job.result()

    def close(self) -> None:
        """Cancel what runs and refuse further requests."""
        with self._queue_lock:
            self._closed = True
            for job in self._jobs:
                job.cancel()
            worker = self._worker
        with self._step_lock:
            self._remove_ended()
            self._prefill.clear_caches()
        self._wake.set()
        if worker is not None and worker is not threading.current_thread():
            worker.join()

    def _create_job(
        self, request: Request, sampling: Sampling, n: int, listener: Listener | None = None, first: int = 0
    ) -> Job:
        if n < 1:
            raise ValueError(f"n is {n}; ask for at least one rollout")
        self.model.eval()
        self._check_token_ids(sampling)
        prompt = self._prefill.encode(request)
        length, new_tokens = len(prompt.ids), sampling.max_new_tokens
        if length + new_tokens > self.context:
            remedy = (
                f"set max_new_tokens to {self.context - length} at most" if length < self.context else "shorten it"
            )
            raise UserError(
                f"a prompt of {length} tokens and {new_tokens} new ones are more than the {self.context} that fit: "
                + remedy
            )
        return Job(prompt, sampling, n, self.tokenizer, self._ends, listener, first)

    def _check_token_ids(self, sampling: Sampling) -> None:
        vocabulary = self.model.lm_head.out_features
        for name, ids in (("logit_bias", sampling.logit_bias), ("stop_token_ids", sampling.stop_token_ids)):
            if ids and max(ids) >= vocabulary:
                raise UserError(f"{name}: {max(ids)} is no token id; the model has 0..{vocabulary - 1}")
        if sampling.min_new_tokens and sampling.stop_token_ids:
            withheld = {*self._ends, *sampling.stop_token_ids, *self.suppressed_token_ids.tolist()}
            if len(withheld) >= vocabulary:
                raise UserError("stop_token_ids: leave no token for min_new_tokens; name fewer")

    def _enqueue(self, job: Job) -> None:
        if self._closed:
            raise UserError("the engine is closed; make a new one")
        self._jobs.add(job)
        self._waiting.append(job)

    @torch.inference_mode()
    def _step(self) -> None:
        """Let jobs leave and join, then sample one token per rollout. An error ends the jobs that it concerns."""
        try:
            self._remove_ended()
            self._admit()
            if self._batch.cohorts:
                self._batch.sample(self.suppressed_token_ids)
                self._requeue(self._batch.make_room(self.plan.tokens))
                self._batch.decode()
        except BaseException as error:
            failure = error if isinstance(error, Exception) else RuntimeError("the engine was interrupted")
            self._fail({rollout.job for cohort in self._batch.cohorts for rollout in cohort.rollouts}, failure)
            self._batch.clear()
            if failure is not error:
                raise
        self._remove_ended()

    def _remove_ended(self) -> None:
        """End the jobs that were cancelled and forget those that have ended; without jobs, clear the batch."""
        with self._queue_lock:
            for job in [job for job in self._jobs if job.cancelled]:
                job.end()
            self._jobs = {job for job in self._jobs if not job.done}
            self._waiting = deque(job for job in self._waiting if not job.done and job.waiting)
            if not self._jobs:
                self._batch.clear()

    def _requeue(self, preempted: list[RolloutState]) -> None:
        """Let preempted rollouts, the youngest first, wait before all that have not joined yet."""
        with self._queue_lock:
            for rollout in preempted:
                rollout.job.preempt(rollout)
                if rollout.job in self._waiting:
                    self._waiting.remove(rollout.job)
                self._waiting.appendleft(rollout.job)

    def _fail(self, jobs: set[Job], error: Exception) -> None:
        for job in jobs:
            job.end(error)

    def _admit(self) -> None:
        """Let waiting rollouts join in order, as many as fit; none overtakes another."""
        for group in self._next_groups():
            jobs = [job for job, _ in group.parts]
            rollouts = [rollout for _, part in group.parts for rollout in part]
            try:
                prefilled = self._prefill.run([part[0].prompt for _, part in group.parts])
                max_new_tokens = max(rollout.remaining for rollout in rollouts)
                cohort = Cohort(rollouts, group.n, prefilled.layers, prefilled.mask, max_new_tokens)
                self._batch.add(cohort, prefilled.logits.repeat_interleave(group.n, dim=0))
            except Exception as error:
                self._fail(set(jobs), error)

    def _next_groups(self) -> list["_StartGroup"]:
        free_rows = MAX_ROWS - self._batch.rows
        free_tokens = self.plan.tokens - self._batch.held
        groups: list[_StartGroup] = []
        if free_rows < (1 - JOIN_BELOW) * MAX_ROWS:
            return groups
        while self._waiting:
            job = self._waiting[0]
            candidates = job.next_rollouts()
            length = len(job.prompt.ids) + len(candidates[0].token_ids)
            # A reply's room grows by blocks; when there is none left, the youngest replies wait.
            new_tokens = min(BLOCK, candidates[0].remaining)
            n = min(len(candidates), free_rows, (free_tokens - length) // new_tokens)
            if n < 1:
                break
            group = _StartGroup(n)
            if groups and groups[-1].accepts(n, length, new_tokens, free_tokens):
                group = groups.pop()
            free_tokens += group.tokens
            group.add(job, job.start(n), length, new_tokens)
            free_tokens -= group.tokens
            groups.append(group)
            free_rows -= n
            if not job.waiting:
                self._waiting.popleft()
        return groups


def _work(engine_ref: "weakref.ref[Engine]", wake: threading.Event) -> None:
    """Advance an engine's jobs until it is closed or garbage-collected.

    A single thread for its whole life: each thread that runs torch leaves some memory behind when it ends. Between
    jobs it holds no reference, so that it does not keep an engine alive that nobody else uses.
    """
    while True:
        wake.clear()
        engine = engine_ref()
        if engine is None or engine._closed:
            return
        if engine._jobs:
            with engine._step_lock:
                engine._step()
        else:
            del engine
            wake.wait(IDLE_SECONDS)


@dataclass
class _StartGroup:
    """Rollouts that start together, n of each job; takes `tokens` of keys and values at first."""

    n: int
    parts: list[tuple[Job, list[RolloutState]]] = field(default_factory=list)
    longest: int = 0
    new_tokens: int = 0

    @property
    def tokens(self) -> int:
        return len(self.parts) * (self.longest + self.n * self.new_tokens)

    def accepts(self, n: int, length: int, new_tokens: int, free: int) -> bool:
        """Whether n rollouts of another prompt may join, with `free` tokens besides this group's."""
        count, longest = len(self.parts) + 1, max(self.longest, length)
        required = count * (longest + n * max(self.new_tokens, new_tokens))
        fits = required - self.tokens <= free and count * longest <= PREFILL_TOKENS
        return n == self.n and fits

    def add(self, job: Job, rollouts: list[RolloutState], length: int, new_tokens: int) -> None:
        self.parts.append((job, rollouts))
        self.longest, self.new_tokens = max(self.longest, length), max(self.new_tokens, new_tokens)
