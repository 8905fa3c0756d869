"""How hard a sample is: how many of a model's rollouts its truth grades as right."""

from collections import Counter
from typing import ClassVar, Self

from pydantic import Field, model_validator

from step3vl.grading import grade_answer
from step3vl.pipelines.curation.filters.view import Filter, Finding, SampleView
from step3vl.pipelines.models.endpoint import Conversation, EndpointConfig, open_endpoint
from step3vl.pipelines.models.prompts import without_reasoning

PASS_RATE = "pass_rate"
"""The score that holds the share of rollouts that are right."""
SOLUTION_TOKENS = "solution_tokens"
"""The score that holds the mean length of the right ones, with their reasoning: how complex a sample is."""


class RolloutsFilter(Filter):
    """Conversations with a truth that a model solves too seldom; the pass rate is kept as a score.

    A reply that is cut is not right. Samples without a truth, and those with tools, are passed over.
    """

    needs_images: ClassVar[bool] = True

    endpoint: EndpointConfig
    """The model; it is asked the sample's own prompt, and `options` say how it samples."""
    samples: int = Field(default=8, ge=1)
    """Rollouts of each sample; their seeds are 0, 1, 2, ..."""
    solved: int = Field(default=1, ge=0)
    """A sample with fewer right ones is dropped (`unsolved`), with the reply that was given most often: its answer may
    be wrong, or its question unclear. 0 keeps all."""

    @model_validator(mode="after")
    def _can_be_solved(self) -> Self:
        if self.solved > self.samples:
            raise ValueError(
                f"solved: {self.solved} of {self.samples} rollouts can never be right; lower it or raise samples"
            )
        return self

    def find(self, sample: SampleView) -> Finding | None:
        messages, truth = sample.row.get("messages"), sample.truth
        if not messages or truth is None or sample.row.get("tools"):
            return None
        conversation = Conversation(messages[:-1], tuple(sample.encoded))
        responses = open_endpoint(self.endpoint).sample_all(conversation, range(self.samples))
        replies = ["" if response.cut else without_reasoning(response.text) for response in responses]
        right = [grade_answer(truth, reply).verdict == "correct" for reply in replies]
        rate = sum(right) / self.samples
        sample.scores[PASS_RATE] = rate
        tokens = [
            response.usage.completion_tokens for response, solves in zip(responses, right, strict=True) if solves
        ]
        if tokens:
            sample.scores[SOLUTION_TOKENS] = sum(tokens) / len(tokens)
        if sum(right) >= self.solved:
            return None
        ((reply, _),) = Counter(replies).most_common(1)
        return Finding("unsolved", rate, self.solved / self.samples, reply[:80])
