"""PaCoRe on many questions at once, for evaluation: each round is one batch of the engine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from step3vl.inference.client.requests import Completion, Request
from step3vl.inference.pacore.pacore import PaCoReConfig, collect_conclusions
from step3vl.inference.pacore.synthesis import synthesis_request

if TYPE_CHECKING:
    from step3vl.inference.engine import Engine


def answer_together(
    engine: "Engine", requests: Sequence[Request], config: PaCoReConfig, seeds: Sequence[int]
) -> list[Completion]:
    """The answers that `PaCoRe` ends with, with a fifth of its processor time on a tiny model.

    In the streams of `PaCoRe`, what runs beside what depends on threads; here it does not, so that the same requests
    and seeds give the same answers. An engine loses no rollouts, so there are no retries, deadlines or consensus, and
    conclusions are not cut: they have to fit into the model's context.

    Args:
        engine: It answers on the caller's thread.
        requests: The questions.
        config: The rounds, the sampling, the template and the order of conclusions.
        seeds: Of each question, in place of the configuration's.

    Raises:
        UserError: A prompt is too long, as `Engine.generate` says.
    """
    prompts = list(requests)
    replies: list[list[Completion]] = []
    for number, rollouts in enumerate((*config.rounds, 1)):
        if replies:
            prompts = [_next(*each, config) for each in zip(requests, replies, strict=True)]
        samplings = [config.sampling.model_copy(update={"seed": seed + number}) for seed in seeds]
        replies = engine.generate(prompts, rollouts, samplings)
    return [reply for (reply,) in replies]


def _next(request: Request, replies: Sequence[Completion], config: PaCoReConfig) -> Request:
    conclusions = collect_conclusions(replies, config.order_seed, config.include_truncated)
    return synthesis_request(request, conclusions, config.template) if conclusions else request
