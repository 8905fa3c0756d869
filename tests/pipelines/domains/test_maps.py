import json
from collections.abc import Callable

import pytest
from tests.pipelines.through_steps import relabelled, through_steps

from step3vl.data.sample import BoxTruth, PointTruth, Sample
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.domains.maps import DOMAIN, CheckMaps, MapsEntry, RenderMaps


def test_answers_are_graded_correct_and_boxes_lie_on_the_image(
    generate: Callable[..., list[Sample]], context: StepContext
) -> None:
    samples = generate(RenderMaps(MapsEntry(domain="maps", name="t", count=1, image_size=(160, 120)), context), 30)
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"
        ((x1, y1, x2, y2),) = sample.truth.boxes
        assert 0 <= x1 < x2 <= 1000 and 0 <= y1 < y2 <= 1000
        assert json.loads(sample.answer())
    assert {sample.task for sample in samples} == {"grounding.point", "grounding.box"}


def test_only_countries_of_the_continents_are_asked_about(context: StepContext) -> None:
    worker = RenderMaps(MapsEntry(domain="maps", name="t", count=1, continents=("Oceania",)), context)
    worker.setup()
    assert {country.continent for country in worker._asked} == {"Oceania"}


def test_the_label_check_fills_the_country_in(context: StepContext) -> None:
    entry = MapsEntry(domain="maps", name="t", count=8, image_size=(160, 120))
    check = CheckMaps(entry, context)
    samples, _ = through_steps(DOMAIN, entry, context)
    assert len(samples) > 5
    assert all(check(sample) is None for sample in samples)
    box, point = (next(each for each in samples if isinstance(each.truth, kind)) for kind in (BoxTruth, PointTruth))
    other, whole = BoxTruth(boxes=((0, 0, 30, 30),)), PointTruth(boxes=((0, 0, 1000, 1000),))
    assert check(relabelled(box, other, '{"bbox_2d": [0, 0, 30, 30]}')) == "another_box"
    assert check(relabelled(box, other, box.answer())) == "answer_fails_its_truth"
    assert check(relabelled(point, whole, point.answer())) == "another_box"
    with pytest.raises(Unchecked, match="another_image"):
        check(box.model_copy(update={"images": point.images}))
