"""Generation in this process: one encode per distinct picture, one prefill per distinct prompt that n rollouts share.

Requests join the running batch and leave it between two steps. It is for laptops, tests and reinforcement learning at
small size. At scale a server such as vLLM takes its place.
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
from step3vl.inference.batching import Batch
from step3vl.inference.cohort import Cohort
from step3vl.inference.jobs import Completion, Delta, Job, Listener, Request, Row
from step3vl.inference.memory import plan_memory
from step3vl.inference.prefill import Prefill
from step3vl.inference.sampling import DEFAULT, Sampling
from step3vl.model.checkpoint import unspoken
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.model.processing import Step3VLProcessor

ROWS = 512  # rollouts decoded side by side
JOINING = 0.75  # rollouts join while no more than this share of the places is taken: better many than one by one
IDLE_SECONDS = 5.0  # after which a waiting worker looks whether its engine still exists
PREFILL_TOKENS = 32_768  # of prompts, padding counted, that pass through the decoder together


class Engine:
    """Answers requests with a model that it holds on one device. Every method may be called from any thread.

    `memory` bounds the bytes of keys, values and encoded pictures, by default half of the free RAM or 0.8 of the free
    memory of a GPU. Requests that do not fit beside the running ones wait for them, in order.

    Keys and values that are known are taken from memory, and rows are decoded together: results are the same up to the
    last bits of the logits whatever else runs, and exactly reproducible when the same calls come in the same order.
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
        self.suppressed_ids = torch.tensor(unspoken(ids), device=self.device)
        self._ends = frozenset((ids.chat_end, ids.pad))
        self.end_ids = torch.tensor([ids.chat_end, ids.pad], device=self.device)
        self.plan = plan_memory(model, self.device, memory)
        self._prefill = Prefill(model, processor, self.tokenizer, self.device, self.plan)
        self._batch = Batch(model, self.device)
        self._turns = threading.Lock()  # whoever holds it moves the batch on, for all jobs
        self._guard = threading.Lock()  # of the queue and the worker
        self._waiting: deque[Job] = deque()
        self._jobs: set[Job] = set()  # all that have not ended
        self._worker: threading.Thread | None = None
        self._wake = threading.Event()
        self._closed = False

    @property
    def context(self) -> int:
        """Tokens that one request may have, its reply counted: as many as the model is made for and memory holds."""
        return min(self.model.config.text_config.max_position_embeddings, self.plan.tokens)

    def tokenize(self, request: Request) -> list[int]:
        """The prompt as the model reads it. Raises UserError as `generate` does."""
        return self._prefill.tokenize(request)

    def load_state(self, state_dict: dict[str, Tensor]) -> None:
        """Swap the weights in place; what was read with the old ones is forgotten."""
        with self._turns:
            self.model.load_state_dict(state_dict)
            self._prefill.forget()

    def submit(
        self, request: Request, sampling: Sampling = DEFAULT, n: int = 1, listener: Listener | None = None
    ) -> Job:
        """Have n rollouts drawn beside whatever runs, by a thread of the engine's own.

        The listener hears every token of every rollout, on that thread, so it must be quick. Raises UserError when the
        request has wrong pictures or can never fit.
        """
        job = self._job(request, sampling, n, listener)
        with self._guard:
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
        """n completions for each request, in the order of the requests, drawn on the caller's thread.

        With one sampling for all, rollout j of request i draws with noise number i * n + j of its seed; with one for
        each, with number j, as it does when the request comes alone. Raises UserError as `submit` does.
        """
        shared = isinstance(sampling, Sampling)
        own = [sampling] * len(requests) if isinstance(sampling, Sampling) else list(sampling)
        if return_logprobs:
            own = [one if one.logprobs is not None else one.model_copy(update={"logprobs": 0}) for one in own]
        jobs: list[Job] = []
        running: list[Job] = []
        try:
            while running or len(jobs) < len(requests):
                # Pictures are opened only when their turn is near.
                while len(jobs) < len(requests) and sum(job.waiting for job in running) < ROWS:
                    at = len(jobs)
                    job = self._job(requests[at], own[at], n, first=at * n if shared else 0)
                    with self._guard:
                        self._enqueue(job)
                    jobs.append(job)
                    running.append(job)
                with self._turns:
                    self._turn()
                running = [job for job in running if not job.done]
        finally:
            for job in running:
                job.cancel()  # after an error
            with self._turns:
                self._sweep()
        return [job.result() for job in jobs]

    def stream(self, request: Request, sampling: Sampling = DEFAULT) -> Iterator[str]:
        """The reply as pieces of text while it is drawn: the thought, `</think>`, then the answer."""
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
        """Cancel what runs and take no more requests."""
        with self._guard:
            self._closed = True
            for job in self._jobs:
                job.cancel()
            worker = self._worker
        with self._turns:
            self._sweep()
            self._prefill.forget()
        self._wake.set()
        if worker is not None and worker is not threading.current_thread():
            worker.join()

    def _job(
        self, request: Request, sampling: Sampling, n: int, listener: Listener | None = None, first: int = 0
    ) -> Job:
        if n < 1:
            raise ValueError(f"n is {n}; ask for at least one rollout")
        self.model.eval()
        prompt = self._prefill.prompt(request)
        length, room = len(prompt.ids), sampling.max_new_tokens
        if length + room > self.context:
            raise UserError(
                f"a prompt of {length} tokens and {room} new ones are more than the {self.context} that fit: "
                + (f"set max_new_tokens to {self.context - length} at most" if length < self.context else "shorten it")
            )
        return Job(prompt, sampling, n, self.tokenizer, self._ends, listener, first)

    def _enqueue(self, job: Job) -> None:
        if self._closed:
            raise UserError("the engine is closed; make a new one")
        self._jobs.add(job)
        self._waiting.append(job)

    @torch.inference_mode()
    def _turn(self) -> None:
        """Let jobs leave and join, then draw one token for every rollout. An error ends the jobs that it concerns."""
        try:
            self._sweep()
            self._admit()
            if self._batch.cohorts:
                self._batch.step(self.suppressed_ids)
        except BaseException as error:
            failure = error if isinstance(error, Exception) else RuntimeError("the engine was interrupted")
            self._fail({row.job for cohort in self._batch.cohorts for row in cohort.rows}, failure)
            self._batch.clear()
            if failure is not error:
                raise
        self._sweep()

    def _sweep(self) -> None:
        """End the jobs that were cancelled; forget those that have ended, and with the last one all rows."""
        with self._guard:
            for job in [job for job in self._jobs if job.cancelled]:
                job.end()
            self._jobs = {job for job in self._jobs if not job.done}
            self._waiting = deque(job for job in self._waiting if not job.done and job.waiting)
            if not self._jobs:
                self._batch.clear()

    def _fail(self, jobs: set[Job], error: Exception) -> None:
        for job in jobs:
            job.end(error)

    def _admit(self) -> None:
        """Waiting rollouts join in order, as many as there is room for; nobody overtakes."""
        for group in self._next_groups():
            jobs = [job for job, _ in group.parts]
            rows = [row for _, part in group.parts for row in part]
            try:
                prefilled = self._prefill.run([job.prompt for job in jobs])
                room = max(job.sampling.max_new_tokens for job in jobs)
                cohort = Cohort(rows, group.n, prefilled.layers, prefilled.mask, room)
                self._batch.add(cohort, prefilled.logits.repeat_interleave(group.n, dim=0))
            except Exception as error:
                self._fail(set(jobs), error)
            for job in jobs:
                job.let_pictures_go()

    def _next_groups(self) -> list["Group"]:
        places = ROWS - self._batch.rows
        free = self.plan.tokens - self._batch.reserved
        groups: list[Group] = []
        if places < (1 - JOINING) * ROWS:
            return groups
        while self._waiting:
            job = self._waiting[0]
            length, room = len(job.prompt.ids), job.sampling.max_new_tokens
            n = min(job.waiting, places, (free - length) // room)
            if n < 1:
                break
            group = Group(n)
            if groups and groups[-1].takes(n, length, room, free):
                group = groups.pop()
            free += group.tokens
            group.add(job, job.start(n), length, room)
            free -= group.tokens
            groups.append(group)
            places -= n
            if not job.waiting:
                self._waiting.popleft()
        return groups


def _work(engine_of: "weakref.ref[Engine]", wake: threading.Event) -> None:
    """Move an engine's jobs on until it is closed or gone.

    One thread for all of its life: each thread that runs torch leaves some memory behind when it ends. Between jobs
    it holds no reference, so that it does not keep an engine alive that nobody else has.
    """
    while True:
        wake.clear()
        engine = engine_of()
        if engine is None or engine._closed:
            return
        if engine._jobs:
            with engine._turns:
                engine._turn()
        else:
            del engine
            wake.wait(IDLE_SECONDS)


@dataclass
class Group:
    """Rollouts that will start together, n of each job; reserves `tokens` of keys and values."""

    n: int
    parts: list[tuple[Job, list[Row]]] = field(default_factory=list)
    longest: int = 0
    room: int = 0

    @property
    def tokens(self) -> int:
        return len(self.parts) * (self.longest + self.n * self.room)

    def takes(self, n: int, length: int, room: int, free: int) -> bool:
        """Whether n rollouts of another prompt may join, with `free` tokens beside this group's own."""
        count, longest = len(self.parts) + 1, max(self.longest, length)
        wanted = count * (longest + n * max(self.room, room))
        fits = wanted - self.tokens <= free and count * longest <= PREFILL_TOKENS
        return n == self.n and fits

    def add(self, job: Job, rows: list[Row], length: int, room: int) -> None:
        self.parts.append((job, rows))
        self.longest, self.room = max(self.longest, length), max(self.room, room)
