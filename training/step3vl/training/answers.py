"""Validation by answers: replies to held-out prompts, graded by the code of `step3vl eval`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import torch

from step3vl.data.tokens import END_THINK
from step3vl.evaluation.heldout import SCHEME, HeldOut
from step3vl.evaluation.item import Item, Scored
from step3vl.evaluation.runner import build_request, read_images, sample_groups
from step3vl.evaluation.scoring import Response, load_items, score_response
from step3vl.evaluation.statistics import standard_errors
from step3vl.inference.client import Completion, Sampling
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor
from step3vl.training.config import AnswersConfig
from step3vl.training.distributed import gather_objects
from step3vl.training.engine import DeepSpeedEngine, gathered
from step3vl.training.rl.rollout import SHARED_GPU


class AnswerScores(TypedDict):
    """Mean grades in percent, as they stand in metrics.jsonl; `standard_error` is over groups that share an image."""

    score: float
    standard_error: float | None
    items: int
    tasks: dict[str, float]
    verdicts: dict[str, int]


class HeldOutAnswers:
    """The held-out prompts of a run. All ranks make one with the same arguments, and each answers its share.

    Args:
        config: The dataset, its tasks, and how long replies may be.
        rank: Of this process.
        world: How many ranks there are.

    Raises:
        UserError: the dataset has no held-out conversations of the tasks, or one without a truth.
    """

    def __init__(self, config: AnswersConfig, rank: int, world: int) -> None:
        self._suite = HeldOut(f"{SCHEME}{config.dataset}#{','.join(config.tasks)}")
        self._sampling = Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
        self._seed = config.seed
        chosen = list(sample_groups(load_items(self._suite, Path()), config.items))[rank::world]
        by_id = {item.id: item for item in self._suite.items(Path()) if item.id in set(chosen)}
        self._items = [by_id[id_] for id_ in chosen]
        self._requests = [build_request(item, read_images(item)) for item in self._items]

    def score(self, engine: DeepSpeedEngine, processor: Step3VLProcessor, device: torch.device) -> AnswerScores:
        """Answer with the weights of now and grade. All ranks call it; the same weights give the same numbers.

        A copy of the model answers: ranks run it as often as their replies are long, which a partitioned one forbids.
        """
        completions = self._answers(_copy(engine, device), processor, device)
        pairs = zip(self._items, completions, strict=True)
        local = [self._scored(item, completion) for item, completion in pairs]
        scored = sorted((each for part in gather_objects(local) for each in part), key=lambda each: each.item.id)
        metrics = self._suite.summarise(scored)
        return {
            "score": metrics.value,
            "standard_error": standard_errors(self._suite, scored).headline,
            "items": len(scored),
            "verdicts": dict(Counter(each.score.verdict for each in scored)),
            "tasks": {name.partition(": ")[2]: value for name, value in metrics.categories.items() if ": " in name},
        }

    def _answers(
        self, model: Step3VLForConditionalGeneration, processor: Step3VLProcessor, device: torch.device
    ) -> Sequence[Completion]:
        from step3vl.inference.engine import Engine

        if not self._requests:
            return []
        memory = int(SHARED_GPU * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None
        engine = Engine(model, processor, device, memory)
        try:
            sampling = self._sampling.model_copy(update={"seed": self._seed})
            return [completion for (completion,) in engine.generate(self._requests, n=1, sampling=sampling)]
        finally:
            engine.close()

    def _scored(self, item: Item, completion: Completion) -> Scored:
        response = Response(
            item.id,
            completion.answer.strip(),
            truncated=completion.finish_reason == "length",
            unfinished=END_THINK not in completion.text,
        )
        score = score_response(self._suite, item, response, "strict")
        return Scored(replace(item, messages=(), images=()), score)  # what is left is small enough to be gathered


def _copy(engine: DeepSpeedEngine, device: torch.device) -> Step3VLForConditionalGeneration:
    """The model with its weights of now, whole on each rank."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), gathered(engine):
        module = engine.module
        dtype = next(module.parameters()).dtype
        model = Step3VLForConditionalGeneration(module.config).to(device, dtype)
        model.load_state_dict(module.state_dict())
    return model.eval()
