"""From samples to rewarded responses, and from those to the tensors that the networks are trained on."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from tokenizers import Tokenizer

from step3vl.data.sample import Sample
from step3vl.data.tokens import encode_prompt
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.model.processing import Step3VLProcessor
from step3vl.training.rl.advantage import global_sums
from step3vl.training.rl.evaluate import PromptResult, summary
from step3vl.training.rl.experience import Experience, gather
from step3vl.training.rl.networks import encode_pictures, pixels_of
from step3vl.training.rl.rewards import grade
from step3vl.training.rl.rollout import Rollout

Item = TypeVar("Item")


def reward(samples: Sequence[Sample], rollouts: Sequence[Sequence[Rollout]]) -> list[PromptResult]:
    """What the responses to each sample's prompt earn."""
    results = []
    for sample, group in zip(samples, rollouts, strict=True):
        if sample.truth is None:
            raise ValueError(f"sample {sample.id} has no truth")
        graded = tuple(grade(sample.truth, rollout.answer, rollout.stopped) for rollout in group)
        results.append(PromptResult(sample.id, sample.task, graded))
    return results


def experience_of(
    model: Step3VLForConditionalGeneration,
    processor: Step3VLProcessor,
    tokenizer: Tokenizer,
    samples: Sequence[Sample],
    rollouts: Sequence[Sequence[Rollout]],
    results: Sequence[PromptResult],
    *,
    share_features: bool,
    leave_out_truncated: bool,
) -> Experience:
    """Lay out prompts, pictures and responses of this rank."""
    images = [sample.images for sample in samples]
    if share_features:
        pictures = encode_pictures(model, processor.image_processor, images)
    else:
        pictures = pixels_of(processor.image_processor, images)
    prompts = []
    for sample in samples:
        sizes = [(image.width, image.height) for image in sample.images]
        prompts.append(torch.from_numpy(encode_prompt(sample.prompt(), sizes, tokenizer, processor.spec)).long())
    graded = [one for result in results for one in result.graded]
    trained = [not (leave_out_truncated and one.verdict == "truncated") for one in graded]
    return gather(prompts, pictures, rollouts, trained)


def rollout_metrics(results: Sequence[PromptResult], rollouts: Sequence[Sequence[Rollout]]) -> dict[str, Any]:
    """Rewards, verdicts and lengths of an iteration over all ranks.

    `all_right`, `none_right` and `some_right` are shares of prompts: only the last kind teaches by comparison.
    """
    everyone = all_ranks(results)
    total = summary(everyone)
    lengths = [len(rollout.token_ids) for group in rollouts for rollout in group]
    tokens, count = global_sums(sum(lengths), len(lengths))
    right = [sum(one.verdict == "correct" for one in result.graded) / len(result.graded) for result in everyone]
    metrics = {name: value for name, value in total.items() if name not in ("tasks", "results", "prompts")}
    metrics |= {f"reward/{task}": row["reward_mean"] for task, row in total["tasks"].items()}
    return metrics | {
        "all_right": sum(share == 1.0 for share in right) / len(right),
        "none_right": sum(share == 0.0 for share in right) / len(right),
        "some_right": sum(0.0 < share < 1.0 for share in right) / len(right),
        "length": tokens / count,
        "response_tokens": int(tokens),
    }


def all_ranks(own: Sequence[Item]) -> list[Item]:
    """The items of all ranks, where rank r holds those at r, r + N, ... of the whole: put back in that order."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return list(own)
    shares: list[list[Item]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(shares, list(own))
    longest = max(len(share) for share in shares)
    return [share[at] for at in range(longest) for share in shares if at < len(share)]
