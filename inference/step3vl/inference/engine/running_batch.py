"""The running batch: sample a token for every rollout, remove ended ones, and decode the sampled tokens."""

from itertools import chain

import numpy as np
import torch
from torch import Tensor

from step3vl.inference.engine.cohort import COMPACT_SHARE, Cohort, cohort_attention
from step3vl.inference.engine.job import RolloutState
from step3vl.inference.engine.sampling import BatchSampling, SampledTokens, TokenHistory, sample_tokens
from step3vl.model.modeling import Step3VLForConditionalGeneration


class RunningBatch:
    """The rows of all cohorts, concatenated: positions [R] and logits [R, V] of the next token."""

    def __init__(self, model: Step3VLForConditionalGeneration, device: torch.device):
        self.model = model
        self.device = device
        self.clear()

    def clear(self) -> None:
        """Remove all rows."""
        self.cohorts: list[Cohort] = []
        self._positions = torch.empty(0, dtype=torch.long, device=self.device)
        self._logits = torch.empty(0, self.model.lm_head.out_features, dtype=self.model.dtype, device=self.device)
        self._tokens = torch.empty(0, dtype=torch.long, device=self.device)  # [R], sampled and not yet decoded
        self._settings: BatchSampling | None = None  # of the rows, until these change
        self._prompt_tokens: Tensor | None = None  # [p, V] tokens in the prompts of penalised rows; as the settings

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(len(cohort.rollouts) for cohort in self.cohorts)

    @property
    def held(self) -> int:
        """Tokens of keys and values that the rows have room for in the next step."""
        return sum(cohort.held for cohort in self.cohorts)

    def add(self, cohort: Cohort, logits: Tensor) -> None:
        """Add a cohort, with the logits [rows, V] that follow its prompts."""
        self.cohorts.append(cohort)
        lengths = [len(rollout.job.prompt.ids) + len(rollout.token_ids) for rollout in cohort.rollouts]
        self._positions = torch.cat((self._positions, torch.tensor(lengths, device=self.device)))
        self._logits = torch.cat((self._logits, logits))
        self._settings = None
        for rollout in cohort.rollouts:
            if rollout.job.sampling.penalised and rollout.counts is None:
                rollout.counts = np.zeros(logits.shape[-1], np.float32)

    def sample(self, suppressed_token_ids: Tensor) -> None:
        """Sample a token for every row and hand it to the row's job. What ended rows sample is discarded.

        Args:
            suppressed_token_ids: [s] ids that are never sampled.
        """
        rollouts = list(chain.from_iterable(cohort.rollouts for cohort in self.cohorts))
        if self._settings is None:
            self._prompt_tokens = None
            self._settings = BatchSampling.of([rollout.job.sampling for rollout in rollouts], self.device)
        uniforms = [rollout.uniforms() if rollout.uniforms is not None else 0.0 for rollout in rollouts]
        sampled = sample_tokens(
            self._logits,
            self._settings,
            torch.tensor(uniforms, dtype=torch.float64, device=self.device),
            suppressed_token_ids,
            self._history(rollouts),
            self._withheld(rollouts),
        )
        self._append(rollouts, sampled)
        self._tokens = sampled.tokens

    def make_room(self, capacity: int) -> list[RolloutState]:
        """Remove ended rows where that pays. When the rows need more room than there is, all ended ones leave, then
        the youngest of the others; one always stays, which fits alone.

        Args:
            capacity: Tokens of keys and values that fit.

        Returns:
            The rollouts that left without having ended, the youngest first.
        """
        running = [cohort.running_rows() for cohort in self.cohorts]
        preempted: list[RolloutState] = []
        share = COMPACT_SHARE
        if self.held > capacity:
            share = 1.0
            preempted = self._preempt(running, capacity)
        self._keep(
            [
                None if len(rows) == len(cohort.rollouts) or len(rows) > share * len(cohort.rollouts) else rows
                for cohort, rows in zip(self.cohorts, running, strict=True)
            ]
        )
        return preempted

    def decode(self) -> None:
        """Pass the sampled tokens through the decoder."""
        if not self.cohorts:
            return
        with cohort_attention(self.model):
            self._logits = self.model(
                self._tokens[:, None],
                attention_mask={"full_attention": None},
                position_ids=self._positions[:, None],
                use_cache=False,
                logits_to_keep=1,
                cohorts=self.cohorts,
            ).logits[:, -1]
        self._positions = self._positions + 1
        for cohort in self.cohorts:
            cohort.step()

    def _append(self, rollouts: list[RolloutState], sampled: SampledTokens) -> None:
        tokens = sampled.tokens.tolist()
        logprobs = [None] * len(rollouts) if sampled.logprobs is None else sampled.logprobs.tolist()
        ids = None if sampled.top_ids is None else sampled.top_ids.tolist()
        values = None if sampled.top_logprobs is None else sampled.top_logprobs.tolist()
        for row, (rollout, token, logprob) in enumerate(zip(rollouts, tokens, logprobs, strict=True)):
            if rollout.finish_reason is not None:
                continue
            count = rollout.job.sampling.logprobs
            top = list(zip(ids[row], values[row], strict=True))[:count] if count and ids and values else ()
            rollout.job.append(rollout, token, None if count is None else logprob, top)

    def _history(self, rollouts: list[RolloutState]) -> TokenHistory | None:
        penalised = [(rollout.job, rollout.counts) for rollout in rollouts if rollout.counts is not None]
        if not penalised:
            return None
        counts = torch.from_numpy(np.stack([counts for _, counts in penalised])).to(self.device)
        if self._prompt_tokens is None:
            self._prompt_tokens = torch.zeros_like(counts, dtype=torch.bool)
            for present, (job, _) in zip(self._prompt_tokens, penalised, strict=True):
                present[torch.from_numpy(job.prompt.ids).to(self.device)] = True
        return TokenHistory(counts, self._prompt_tokens | (counts > 0))

    def _withheld(self, rollouts: list[RolloutState]) -> Tensor | None:
        """Return [w, 2] pairs of a row below its `min_new_tokens` and a token that would end it."""
        pairs = [
            (row, token)
            for row, rollout in enumerate(rollouts)
            if len(rollout.token_ids) < rollout.job.sampling.min_new_tokens
            for token in rollout.job.end_ids
        ]
        return torch.tensor(pairs, device=self.device) if pairs else None

    def _preempt(self, running: list[list[int]], capacity: int) -> list[RolloutState]:
        """Remove rows from the end of `running`, the running rows of each cohort, until they fit."""
        preempted: list[RolloutState] = []
        count = sum(len(rows) for rows in running)
        held = sum(
            cohort.prompt_tokens + len(rows) * cohort.row_tokens
            for cohort, rows in zip(self.cohorts, running, strict=True)
            if rows
        )
        for cohort, rows in zip(reversed(self.cohorts), reversed(running), strict=True):
            while rows and held > capacity and count > 1:
                preempted.append(cohort.rollouts[rows.pop()])
                held -= cohort.row_tokens + (0 if rows else cohort.prompt_tokens)
                count -= 1
        return preempted

    def _keep(self, rows: list[list[int] | None]) -> None:
        """Remove all rows of the cohorts but these, between sampling and decoding; None keeps all of a cohort."""
        if all(kept is None for kept in rows):
            return
        ranges = torch.arange(len(self._tokens), device=self.device).split(
            [len(cohort.rollouts) for cohort in self.cohorts]
        )
        stay = torch.cat(
            [
                range_ if kept is None else range_[cohort.keep(kept)]
                for cohort, range_, kept in zip(self.cohorts, ranges, rows, strict=True)
            ]
        )
        self.cohorts = [cohort for cohort in self.cohorts if cohort.rollouts]
        self._positions = self._positions[stay]
        self._tokens = self._tokens[stay]
        self._logits = self._logits[:0]
        self._settings = None
