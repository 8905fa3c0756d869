"""The same reply gets the same verdict as a reward, in an evaluation, as synthesis data, and from grading itself."""

import pytest

from step3vl.data.sample import (
    CountTruth,
    MathTruth,
    OptionTruth,
    PointTruth,
    Sample,
    Source,
    Truth,
    conversation,
    text,
)
from step3vl.grading import grade_reply

pytest.importorskip("torch")
pytest.importorskip("ray")

from step3vl.data.tokens import END_THINK, parse_reply
from step3vl.evaluation.heldout import HeldOut
from step3vl.evaluation.item import Item
from step3vl.evaluation.scoring import Response, score_response
from step3vl.inference import Completion
from step3vl.inference.synthesis_data import synthesis_sample
from step3vl.training.rl.rewards import grade_rollouts
from step3vl.training.rl.rollout import PolicyRollout

COUNT = CountTruth(count=3)
LABEL = OptionTruth(option="B", options=("A", "B", "C"))
POINT = PointTruth(boxes=((100, 100, 200, 200),))

REPLIES = [
    (COUNT, "I count.\n</think>\n3", "stop", "correct"),
    (COUNT, "<think>I count.\n</think>\nThe answer is 3 (see step 1).", "stop", "correct"),
    (COUNT, "3</think>4", "stop", "wrong"),
    (COUNT, "a</think>4</think>3", "stop", "correct"),
    (COUNT, "I count.\n</think>\nmany", "stop", "unparsable"),
    (COUNT, "3", "stop", "unparsable"),
    (COUNT, "<think>3", "stop", "unparsable"),
    (COUNT, "I count.\n</think>\n3", "length", "truncated"),
    (COUNT, "I count 3", "length", "truncated"),
    (COUNT, "I count.\n</think>\n3", "cancelled", "error"),
    (COUNT, "</think>" + "3" * 5000, "stop", "wrong"),
    (LABEL, "</think>答案是B", "stop", "correct"),
    (LABEL, "</think>It's a dog", "stop", "unparsable"),
    (POINT, '</think>{"answer": {"point_2d": [150.4, 150]}}', "stop", "correct"),
    (POINT, "</think>" + "[" * 20_000, "stop", "unparsable"),
    (MathTruth(expression=r"\frac{1}{2}"), r"</think>\boxed{0.5}", "stop", "correct"),
]


def sample_of(truth: Truth) -> Sample:
    return Sample.make(
        domain="d",
        task="d.t",
        messages=conversation((text("How many?"),), "3"),
        truth=truth,
        source=Source(uri="u", licence="MIT", collected_by="t"),
    )


def completion_of(reply: str, finish_reason: str) -> Completion:
    parts = parse_reply(reply)
    return Completion([1], reply, parts.reasoning, parts.answer, None, finish_reason, 1, parts.tool_calls)


@pytest.mark.parametrize(("truth", "reply", "finish_reason", "verdict"), REPLIES)
def test_one_verdict_on_every_path(truth: Truth, reply: str, finish_reason: str, verdict: str) -> None:
    sample = sample_of(truth)
    grade = grade_reply(truth, reply, finish_reason)
    assert grade.verdict == verdict

    rollout = PolicyRollout((1,), (0.0,), reply, finish_reason, version=0)
    rewarded = grade_rollouts([sample], [[rollout]])[0]
    assert rewarded.grades == (grade,)
    assert rewarded.reward == grade.value

    response = Response(
        sample.id,
        completion_of(reply, finish_reason).answer.strip(),
        truncated=finish_reason == "length",
        unfinished=END_THINK not in reply,
        error="cancelled" if finish_reason == "cancelled" else "",
    )
    item = Item(id=sample.id, messages=(), answer="", fields={"truth": truth.model_dump(mode="json")})
    evaluated = score_response(HeldOut("corpus:unused"), item, response, "strict")
    assert evaluated.value == grade.value
    assert evaluated.verdict == (verdict if verdict in ("correct", "wrong") else "unparsable")

    synthesis = synthesis_sample(sample, [completion_of(reply, finish_reason)])
    assert synthesis is not None
    assert synthesis.scores["conclusion_accuracy"] == float(verdict == "correct")
