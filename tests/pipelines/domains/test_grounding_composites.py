"""Composites as a domain: what is asked is what the pixels show."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from tests.pipelines.through_steps import through_steps

from step3vl.data.errors import UserError
from step3vl.data.sample import CountTruth, PointTruth, Sample, TextPart
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.domains.grounding_composites import DOMAIN, CompositesEntry
from step3vl.pipelines.render.style import COLOURS

Make = Callable[..., list[Sample]]


@pytest.fixture
def make(context: StepContext) -> Make:
    def make(count: int, **fields: Any) -> list[Sample]:
        entry = CompositesEntry.model_validate(
            {"domain": "grounding.composites", "name": "t", "count": count, "image_size": (200, 260), **fields}
        )
        return through_steps(DOMAIN, entry, context)[0]

    return make


def question_of(sample: Sample) -> str:
    return "".join(part.text for part in sample.parts() if isinstance(part, TextPart)).removesuffix(sample.answer())


def test_answers_are_right_by_their_truths_and_every_task_is_asked(make: Make) -> None:
    samples = make(30, questions=4, crowd=(20, 60))
    assert len(samples) > 80
    assert len({sample.task for sample in samples}) == 11
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"
    assert {sample.source.traits["covered"] for sample in samples} == {"yes", "no"}


def test_a_point_is_on_a_pixel_of_the_colour_that_is_asked_for(make: Make) -> None:
    asked = 0
    fields = {"tasks": {"grounding.point": 1}, "languages": ["en"], "colours": ["red", "blue", "green"], "crowded": 0}
    for sample in make(40, **fields):
        question = question_of(sample)
        colours = [colour for colour in COLOURS if f" {colour} " in question]
        if len(colours) != 1 or not isinstance(sample.truth, PointTruth):
            continue
        image = np.asarray(sample.images[0].open().convert("RGB")).astype(int)
        for x1, y1, x2, y2 in sample.truth.boxes:
            x, y = (x1 + x2) / 2000 * image.shape[1], (y1 + y2) / 2000 * image.shape[0]
            # A spot at an edge may be a pixel that is half of the ground.
            near = image[max(int(y) - 1, 0) : int(y) + 2, max(int(x) - 1, 0) : int(x) + 2]
            assert np.abs(near - COLOURS[colours[0]]).sum(axis=2).min() < 90
        asked += 1
    assert asked >= 4


def test_a_crowd_has_up_to_two_hundred(make: Make) -> None:
    samples = make(3, crowded=1.0, crowd=(150, 200), image_size=(448, 512), tasks={"counting.objects": 1})
    assert samples
    assert {sample.source.traits["objects"] for sample in samples} == {"61-200"}
    assert max(sample.truth.count for sample in samples if isinstance(sample.truth, CountTruth)) > 10


def test_cutouts_in_their_own_colours_need_no_colour_to_be_told(make: Make, tmp_path: Path) -> None:
    for name, colour in (
        ("toy_duck", (250, 210, 20, 255)),
        ("tin-can", (90, 100, 110, 255)),
        ("brick", (150, 60, 40, 255)),
    ):
        pixels = PILImage.new("RGBA", (80, 60))
        pixels.paste(colour, (6, 6, 74, 54))
        pixels.save(tmp_path / f"{name}.png")
    samples = make(12, icon_files=[], cutout_files=[f"{tmp_path}/*.png"], languages=["en"], questions=3)
    texts = " ".join(map(question_of, samples))
    assert "toy duck" in texts
    assert "tin can" in texts
    assert "icon" not in texts


def test_equal_numbers_make_equal_samples(make: Make) -> None:
    assert [sample.id for sample in make(5)] == [sample.id for sample in make(5)]


def test_an_entry_is_checked(make: Make) -> None:
    with pytest.raises(UserError, match="no colour 'mauve'"):
        make(1, colours=["mauve"])
    with pytest.raises(ValueError, match="at most 60"):
        make(1, crowd=(10, 500))
    with pytest.raises(ValueError, match="icon_files or cutout_files"):
        make(1, icon_files=[], cutout_files=[])


def test_questions_are_spread_over_the_tasks(make: Make) -> None:
    tasks = Counter(sample.task for sample in make(40, questions=3))
    assert max(tasks.values()) < 4 * min(tasks.values())
