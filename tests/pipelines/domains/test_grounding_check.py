"""The label check: right labels pass, and every kind of wrong one is found."""

import random
from collections import Counter
from typing import Any

import pytest
from tests.pipelines.grounding.grounded_images import grounded_image
from tests.pipelines.through_steps import relabelled, through_steps

from step3vl.data.sample import BoxTruth, CountTruth, OptionTruth, PointsTruth, Sample, TextTruth, Truth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.domains.grounding_check import CheckObjects, Decision, NotUnderstood
from step3vl.pipelines.domains.grounding_composites import DOMAIN, CompositesEntry
from step3vl.pipelines.grounding.question_reading import fields_of
from step3vl.pipelines.grounding.questions import TASKS, ask_about


@pytest.fixture(scope="module")
def composites() -> tuple[list[Sample], CheckObjects]:
    fields = {"image_size": (200, 260), "crowded": 0, "questions": 6}
    entry = CompositesEntry.model_validate({"domain": "grounding.composites", "name": "t", "count": 14, **fields})
    context = StepContext(seed=0, base=".")
    return through_steps(DOMAIN, entry, context)[0], CheckObjects(entry, context)


def other_truth(truth: Truth) -> Truth:
    """A truth of the same kind that says something else."""
    match truth:
        case CountTruth():
            return CountTruth(count=truth.count + 1)
        case OptionTruth():
            other = next(option for option in truth.options if option != truth.option)
            return truth.model_copy(update={"option": other})
        case TextTruth():
            return TextTruth(text="zeppelin")
        case BoxTruth(boxes=((x1, y1, x2, y2), *others)):
            moved = (x1, y1, x1 + (x2 - x1) // 2, y2)
            return truth.model_copy(update={"boxes": (moved, *others)})
        case PointsTruth(boxes=(_, *others)) if others:
            return truth.model_copy(update={"boxes": tuple(others)})
    raise NotImplementedError


def test_right_labels_pass_in_every_task(composites: tuple[list[Sample], CheckObjects]) -> None:
    samples, check = composites
    results: Counter[str | None] = Counter()
    for sample in samples:
        try:
            results[check(sample)] += 1
        except Unchecked as error:
            results[f"unchecked: {error.reason}"] += 1
    assert {sample.task for sample in samples} == set(TASKS)
    assert results[None] >= 0.97 * len(samples)
    assert all(reason is None or reason.startswith("unchecked") for reason in results)


def test_wrong_labels_are_found(composites: tuple[list[Sample], CheckObjects]) -> None:
    """The truth says something else than the geometry; the answer is made to agree with it, as a bug would."""
    samples, check = composites
    image = check._image
    noticed: Counter[str] = Counter()
    for sample in samples:
        assert sample.truth is not None and sample.messages is not None
        try:
            truth = other_truth(sample.truth)
        except (NotImplementedError, StopIteration):
            continue
        traits = sample.source.traits
        question = "".join(p.text for p in sample.messages[0].content if p.type == "text")
        language: Any = traits["language"]
        reasons = set()
        for fields in fields_of(question, traits["question"], traits["answer"], language):
            decision = Decision(image(sample.source.uri), language, fields)
            try:
                reasons.add(decision.reason(traits["question"], truth, sample.answer()))
            except (NotUnderstood, Unchecked):  # a reading that names nothing
                continue
        if sample.task == "grounding.absent":
            continue  # its only other label is a place, which is a truth of another kind
        assert reasons and None not in reasons, (sample.task, question, truth)
        noticed[sample.task] += 1
    assert len(noticed) >= 8


def test_what_is_there_is_not_absent(composites: tuple[list[Sample], CheckObjects]) -> None:
    samples, check = composites
    sample = next(s for s in samples if s.task == "grounding.boxes")
    lie = relabelled(sample, TextTruth(text="none"), "none")
    assert check(lie) == "is_there"


def test_another_image_is_not_checked(composites: tuple[list[Sample], CheckObjects]) -> None:
    samples, check = composites
    other = next(s for s in samples if s.images[0].sha256 != samples[0].images[0].sha256)
    swapped = samples[0].model_copy(update={"source": other.source})
    with pytest.raises(Unchecked, match="another_image"):
        check(swapped)


def test_relations_are_decided_by_centres() -> None:
    image = grounded_image([("car", 10, 10, 60, 60), ("cat", 300, 200, 390, 300)])
    yes, no = OptionTruth(option="yes", options=("yes", "no")), OptionTruth(option="no", options=("yes", "no"))
    decision = Decision(image, "en", {"first": "the car", "second": "the cat"})
    assert decision.reason("is_left", yes, "yes") is None
    assert decision.reason("is_left", no, "no") == "the_opposite"
    assert decision.reason("is_above", no, "no") == "the_opposite"
    assert decision.reason("is_inside", no, "no") is None


def test_what_questions_say_of_random_images_holds_by_the_plain_definitions() -> None:
    checked = 0
    for seed in range(30):
        rng = random.Random(seed)
        places = [(rng.randint(0, 330), rng.randint(0, 330), rng.randint(20, 70)) for _ in range(8)]
        kinds = [(rng.choice(("car", "cat", "dog")), rng.choice(("red", "blue"))) for _ in places]
        image = grounded_image(
            [(k, x, y, x + s, y + s, {"colour": c}) for (k, c), (x, y, s) in zip(kinds, places, strict=True)]
        )
        for asked in ask_about(image, {}, ("en", "zh"), 8, rng):
            reasons = set()
            for fields in fields_of(asked.question, asked.kind, asked.form, asked.language):
                try:
                    reasons.add(Decision(image, asked.language, fields).reason(asked.kind, asked.truth, asked.answer))
                except (NotUnderstood, Unchecked):  # a reading that names nothing
                    continue
            assert reasons == {None}, asked
            checked += 1
    assert checked > 200
