"""The running batch: draws a token for every rollout, lets those go that have ended, and reads the drawn ones."""

from itertools import chain

import numpy as np
import torch
from torch import Tensor

from step3vl.inference.cohort import Cohort, attending
from step3vl.inference.jobs import Row
from step3vl.inference.sampling import Drawn, Seen, Settings, draw
from step3vl.model.modeling import Step3VLForConditionalGeneration


class Batch:
    """Rows of all cohorts, one after another: positions [R] of the next token, logits [R, V] to draw it from."""

    def __init__(self, model: Step3VLForConditionalGeneration, device: torch.device):
        self.model = model
        self.device = device
        self.clear()

    def clear(self) -> None:
        self.cohorts: list[Cohort] = []
        self._positions = torch.empty(0, dtype=torch.long, device=self.device)
        self._logits = torch.empty(0, self.model.lm_head.out_features, dtype=self.model.dtype, device=self.device)
        self._settings: Settings | None = None  # of the rows, until these change
        self._prompts: Tensor | None = None  # [p, V] what penalised rows have read; lives as long as the settings

    @property
    def rows(self) -> int:
        return sum(len(cohort.rows) for cohort in self.cohorts)

    @property
    def reserved(self) -> int:
        """Tokens of keys and values that may be held until all rows have ended."""
        return sum(cohort.reserved for cohort in self.cohorts)

    def add(self, cohort: Cohort, logits: Tensor) -> None:
        """Rows join, with the logits [rows, V] that follow their prompts."""
        self.cohorts.append(cohort)
        lengths = torch.tensor([len(row.job.prompt.ids) for row in cohort.rows], device=self.device)
        self._positions = torch.cat((self._positions, lengths))
        self._logits = torch.cat((self._logits, logits))
        self._settings = None
        for row in cohort.rows:
            if row.job.sampling.penalised:
                row.counts = np.zeros(logits.shape[-1], np.float32)

    def step(self, suppress: Tensor) -> None:
        """One token for every row; rows that have ended may stay for some steps, what they draw is void."""
        drawn = self._draw(suppress)
        tokens = self._release(drawn.tokens)
        if not self.cohorts:
            return
        with attending(self.model):
            self._logits = self.model(
                tokens[:, None],
                attention_mask={"full_attention": None},
                position_ids=self._positions[:, None],
                use_cache=False,
                logits_to_keep=1,
                cohorts=self.cohorts,
            ).logits[:, -1]
        self._positions = self._positions + 1
        for cohort in self.cohorts:
            cohort.step()

    def _draw(self, suppress: Tensor) -> Drawn:
        rows = list(chain.from_iterable(cohort.rows for cohort in self.cohorts))
        if self._settings is None:
            self._prompts = None
            self._settings = Settings.of([row.job.sampling for row in rows], self.device)
        noise = [row.noise() if row.noise is not None else 0.0 for row in rows]
        drawn = draw(
            self._logits,
            self._settings,
            torch.tensor(noise, dtype=torch.float64, device=self.device),
            suppress,
            self._seen(rows),
        )
        tokens = drawn.tokens.tolist()
        logprobs = [None] * len(rows) if drawn.logprobs is None else drawn.logprobs.tolist()
        ids = None if drawn.top_ids is None else drawn.top_ids.tolist()
        values = None if drawn.top_logprobs is None else drawn.top_logprobs.tolist()
        for place, (row, token, logprob) in enumerate(zip(rows, tokens, logprobs, strict=True)):
            if row.finish_reason is not None:
                continue
            wanted = row.job.sampling.logprobs
            top = list(zip(ids[place], values[place], strict=True))[:wanted] if wanted and ids and values else ()
            row.job.take(row, token, None if wanted is None else logprob, top)
        return drawn

    def _seen(self, rows: list[Row]) -> Seen | None:
        counted = [(row.job, row.counts) for row in rows if row.counts is not None]
        if not counted:
            return None
        counts = torch.from_numpy(np.stack([counts for _, counts in counted])).to(self.device)
        if self._prompts is None:
            self._prompts = torch.zeros_like(counts, dtype=torch.bool)
            for own, (job, _) in zip(self._prompts, counted, strict=True):
                own[torch.from_numpy(job.prompt.ids).to(self.device)] = True
        return Seen(counts, self._prompts | (counts > 0))

    def _release(self, tokens: Tensor) -> Tensor:
        """Let ended rows go where that pays; the tokens of those that stay."""
        sizes = [len(cohort.rows) for cohort in self.cohorts]  # before any of them go
        stay = [cohort.compact() for cohort in self.cohorts]
        if all(places is None for places in stay):
            return tokens
        ranges = torch.arange(len(tokens), device=self.device).split(sizes)
        kept = torch.cat([own if places is None else own[places] for own, places in zip(ranges, stay, strict=True)])
        self.cohorts = [cohort for cohort in self.cohorts if cohort.rows]
        self._positions = self._positions[kept]
        self._logits = self._logits[:0]
        self._settings = None
        return tokens[kept]
