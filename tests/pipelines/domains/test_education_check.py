from collections.abc import Callable
from typing import Any

import pytest

from step3vl.data.sample import NumberTruth, OptionTruth, Sample, Source, Truth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.core.samples import compose
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.education import EducationEntry, PoseProblems
from step3vl.pipelines.domains.education_check import CheckExercises, CheckProblems, value_of
from step3vl.pipelines.domains.education_figures import FiguresEntry, PoseFigures


def _entry(**fields: Any) -> FiguresEntry:
    return FiguresEntry(domain="education.figures", name="t", count=1, **fields)


def _sample(answer: str, truth: Truth) -> Sample:
    source = Source(uri="t", licence="CC0-1.0", collected_by="t")
    return compose(
        kind="conversation", domain="education", task="education.geometry", question="?", answer=answer, truth=truth,
        source=source,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [("2√10", 6.3245553), ("3.25π cm", 10.2101761), ("(5 − 2) × 180°", 540), ("In all: 4 + 5", 9), ("12 × cos 60°", 6),
     ("√(3² + 4²)", 5), ("|2 − 7|", 5), ("2x + 1", None), ("sin β", None), ("24π − 48 cm²", 27.3982237)],
)  # fmt: skip
def test_arithmetic_is_evaluated(text: str, value: float | None) -> None:
    assert value_of(text) == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("answer", "truth", "reason"),
    [
        ("180° − 50° = 130°\nAnswer: 130°", NumberTruth(value=130), None),
        ("180° − 50° = 130°\nAnswer: 120°", NumberTruth(value=120), "answer_differs"),
        ("180° − 50° = 120°\nAnswer: 120°", NumberTruth(value=120), "step_differs"),
        ("2 × 3 = 6\nThe answer is B.", OptionTruth(option="B. 6 cm", options=("A. 5 cm", "B. 6 cm")), None),
        (
            "2 × 3 = 6\nThe answer is A.",
            OptionTruth(option="A. 5 cm", options=("A. 5 cm", "B. 6 cm")),
            "answer_differs",
        ),
    ],
)
def test_faults_are_found(answer: str, truth: Truth, reason: str | None, context: StepContext) -> None:
    assert CheckExercises(_entry(), context)(_sample(answer, truth)) == reason


def test_built_samples_pass(context: StepContext) -> None:
    worker = PoseFigures(_entry(side=(150, 200), solutions=1, captions=0), context)
    worker.setup()
    checker = CheckExercises(_entry(), context)
    checked = 0
    for number in range(60):
        try:
            (sample,) = worker.process(Record(f"t/{number}", number), rng_for(9, number))
            assert checker(sample) is None, sample.answer()
            checked += 1
        except (Dropped, Unchecked):
            continue
    assert checked >= 20


@pytest.mark.parametrize("family", ["basic_arithmetic", "chain_sum", "count_primes", "gcd", "lcm", "simple_equations"])
def test_problems_in_words_are_solved_in_a_second_way(
    generate: Callable[..., list[Sample]], context: StepContext, family: str
) -> None:
    fields: dict[str, Any] = {"families": {family: {}}, "modality": "text"}
    entry = EducationEntry(domain="education", name="t", count=1, **fields)
    samples = generate(PoseProblems(entry, context), 6)
    check = CheckProblems(entry, context)
    assert samples and [check(sample) for sample in samples] == [None] * len(samples)
    truth = samples[0].truth
    assert isinstance(truth, NumberTruth)
    wrong = samples[0].model_copy(update={"truth": NumberTruth(value=truth.value + 1)})
    assert check(wrong) == "answer_differs"


def test_a_problem_that_only_its_generator_solves_is_not_checked(
    generate: Callable[..., list[Sample]], context: StepContext
) -> None:
    entry = EducationEntry(domain="education", name="t", count=1, families={"leg_counting": {}}, modality="text")
    with pytest.raises(Unchecked, match="no_second_way"):
        CheckProblems(entry, context)(generate(PoseProblems(entry, context), 1)[0])
