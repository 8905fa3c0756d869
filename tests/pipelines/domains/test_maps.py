import json
from collections.abc import Callable

from step3vl.data.sample import Sample
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.domains.maps import MapsEntry, RenderMaps


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
