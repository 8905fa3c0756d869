from collections import Counter
from typing import Any

import pytest

from step3vl.data.sample import ImagePart, MathTruth, OptionTruth, Sample, TextPart
from step3vl.data.storage import DEFAULT_STORE
from step3vl.grading import grade_answer
from step3vl.grading.math import compare
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.education_exams import BuildExams, ExamsEntry, OpenExams
from step3vl.pipelines.sources.education.exams import ExamQuestion

_PATTERN = "data/samples/exams/exam.*"
_TABLE = "data/samples/exams/exam.jsonl"


def _entry(**fields: Any) -> ExamsEntry:
    sources = ({"files": [_PATTERN], "licence": "CC0-1.0"},)
    return ExamsEntry(**{"domain": "education.exams", "name": "t", "sources": sources, **fields})


def _build(question: ExamQuestion, context: StepContext, **fields: Any) -> Sample:
    (sample,) = BuildExams(_entry(**fields), context).process(Record("t#0", question), rng_for(0))
    return sample


def _text(sample: Sample) -> str:
    assert sample.messages is not None
    return "\n".join(part.text for part in sample.messages[0].content if isinstance(part, TextPart))


@pytest.mark.parametrize("kind", ["conversation", "document"])
def test_the_committed_exams_become_graded_samples(kind: str, context: StepContext) -> None:
    entry = _entry(kind=kind)
    opened, built = OpenExams(entry, context), BuildExams(entry, context)
    samples: list[Sample] = []
    dropped: Counter[str] = Counter()
    for file in list_pattern(_PATTERN, "CC0-1.0", entry="t", base=context.base, store=DEFAULT_STORE):
        for record in opened.process(Record(file.key, file), rng_for(0)):
            try:
                samples += built.process(record, rng_for(1, record.key))
            except Dropped as drop:
                dropped[drop.reason] += 1
    assert len(samples) == 13
    assert dropped == {"figure_missing": 1, "answer_is_no_option": 1}
    assert {s.source.traits["form"] for s in samples if s.source} == {"free", "choice"}
    assert sum(bool(sample.images) for sample in samples) == 3
    for sample in samples:
        assert sample.truth is not None
        if kind == "document":
            continue
        if isinstance(sample.truth, MathTruth):
            assert compare(sample.truth.expression, sample.answer()) == "correct"
        else:
            assert grade_answer(sample.truth, sample.answer()).verdict == "correct"


def _choice(**fields: Any) -> ExamQuestion:
    values = {"text": "Which is even?", "options": ("1", "2", "3"), "correct": (1,), "licence": "CC0-1.0"}
    return ExamQuestion(**{**values, **fields})


def test_options_are_shuffled_with_their_truth(context: StepContext) -> None:
    worker = BuildExams(_entry(), context)
    labels = set()
    for seed in range(12):
        (sample,) = worker.process(Record("t", _choice()), rng_for(seed))
        assert isinstance(sample.truth, OptionTruth)
        assert sample.truth.option[3:] == "2"
        labels.add(sample.truth.option[0])
    assert labels == {"A", "B", "C"}


@pytest.mark.parametrize("last", ["All of the above", "以上都不对", "A and B"])
def test_options_that_refer_to_others_stay_in_order(last: str, context: StepContext) -> None:
    for seed in range(5):
        worker = BuildExams(_entry(), context)
        (sample,) = worker.process(Record("t", _choice(options=("1", "2", last))), rng_for(seed))
        assert isinstance(sample.truth, OptionTruth)
        assert sample.truth.options == ("A. 1", "B. 2", f"C. {last}")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"problem": "no_answer"}, "no_answer"),
        ({"text": "As shown in the figure, which is even?"}, "figure_missing"),
        ({"text": "如图，哪个是偶数？"}, "figure_missing"),
        ({"options": ("1", "2", "2 ")}, "equal_options"),
        ({"options": ("2",), "correct": (0,)}, "number_of_options"),
        ({"text": "?"}, "text_length"),
        ({"solution": "Only 3 is. The answer is C."}, "solution_disagrees"),
        (
            {"options": (), "correct": (), "answer": "4", "solution": "2 + 2 = 4, so the answer is 5."},
            "solution_disagrees",
        ),
    ],
)
def test_what_does_not_fit_together_is_dropped(fields: dict[str, Any], reason: str, context: StepContext) -> None:
    with pytest.raises(Dropped, match=reason):
        _build(_choice(**fields), context, characters=(8, 1000), solutions=1)


def test_several_right_options_are_asked_for_and_graded(context: StepContext) -> None:
    sample = _build(_choice(options=("1", "2", "4"), correct=(1, 2)), context, shuffle=False)
    assert sample.answer() == "BC"
    assert sample.truth is not None
    assert grade_answer(sample.truth, "BC").verdict == "correct"
    assert grade_answer(sample.truth, "B").verdict == "wrong"


def test_images_stand_where_the_text_marks_them(context: StepContext) -> None:
    file = next(iter(list_pattern(_TABLE, "CC0-1.0", entry="t", base=context.base, store=DEFAULT_STORE)))
    questions = [record.value for record in OpenExams(_entry(), context).process(Record(file.key, file), rng_for(0))]
    sample = _build(questions[0], context)
    assert sample.messages is not None
    kinds = [type(part) for part in sample.messages[0].content]
    assert kinds == [TextPart, ImagePart, TextPart]
    assert "<image" not in _text(sample)
