from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.pipelines.through_steps import relabelled, through_steps

from step3vl.data.errors import UserError
from step3vl.data.sample import Box, BoxTruth, CountTruth, OptionTruth, Sample
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.domains.grounding import (
    CORNERS,
    DOMAIN,
    GRID,
    CheckIcons,
    GroundingEntry,
    RenderScenes,
    describe,
    region_boxes,
)
from step3vl.pipelines.render.scenes.scene import PlacedIcon


@pytest.fixture
def scenes(generate: Callable[..., list[Sample]], context: StepContext) -> Callable[..., list[Sample]]:
    def scenes(count: int, **options: Any) -> list[Sample]:
        fields = {"image_size": (112, 112), "icons": 8, **options}
        entry = GroundingEntry(domain="grounding", name="t", count=count, **fields)
        samples = generate(RenderScenes(entry, context), count)
        assert len(samples) > count // 2
        return samples

    return scenes


def test_a_box_contains_exactly_the_rendered_pixels(scenes: Callable[..., list[Sample]]) -> None:
    options = {"tasks": {"grounding.box": 1}, "background": "plain", "colours": ("black",), "distractors": (0, 0)}
    for sample in scenes(25, **options, scale=(0.3, 0.5)):
        image = np.asarray(sample.images[0].open()).astype(int)
        rows, columns = np.nonzero(image.max(axis=2) < 110)  # the halo of black is white
        rendered = Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, "pixels", (112, 112))
        assert sample.truth is not None
        (box,) = sample.truth.boxes
        assert Box(*box, "milli", (112, 112)).to("pixels").iou(rendered) > 0.9


@pytest.mark.parametrize(
    "task", ["counting.icons", "grounding.point", "grounding.box", "grounding.region", "grounding.colour"]
)
@pytest.mark.parametrize("kind", ["conversation", "document"])
def test_an_answer_is_graded_correct_by_its_truth(scenes: Callable[..., list[Sample]], task: str, kind: str) -> None:
    for sample in scenes(20, tasks={task: 1}, kind=kind, regions="grid"):
        assert sample.task == task
        assert sample.truth is not None
        last = sample.parts()[-1].text
        answer = sample.answer() if kind == "conversation" else last.partition(" Answer: ")[2]
        assert grade_answer(sample.truth, answer).verdict == "correct"
        assert sample.kind == kind


def test_a_document_may_ask_several_questions_about_a_scene(scenes: Callable[..., list[Sample]]) -> None:
    tasks = {"grounding.colour": 1, "grounding.region": 1, "grounding.point": 1}
    for sample in scenes(20, tasks=tasks, kind="document", questions=3, distractors=(0, 0)):
        lines = sample.parts()[-1].text.splitlines()
        assert sample.task == "grounding.scene"
        assert len(lines) == 3
        assert sorted(line.split()[1] for line in lines) == ["Point", "What", "Which"]


def test_several_questions_need_a_document() -> None:
    with pytest.raises(ValueError, match="kind: document"):
        GroundingEntry(domain="grounding", name="t", count=1, tasks={"grounding.point": 1}, questions=2)


def test_full_opacity_hides_the_photograph(scenes: Callable[..., list[Sample]]) -> None:
    options = {"tasks": {"grounding.point": 1}, "distractors": (0, 0), "scale": (0.05, 0.06)}
    for sample in scenes(10, **options, opacity=(1.0, 1.0)):
        deviation = np.asarray(sample.images[0].open()).astype(int).std(axis=(0, 1))
        assert deviation.max() < 25, "one plain colour beside a small icon"


def test_counts_are_balanced_over_their_range(scenes: Callable[..., list[Sample]]) -> None:
    samples = scenes(400, tasks={"counting.icons": 1}, objects=(1, 3), distractors=(0, 1), scale=(0.1, 0.15))
    counts = Counter(sample.answer() for sample in samples)
    assert set(counts) == {"1", "2", "3"}
    assert min(counts.values()) > 80


def test_the_target_lies_inside_its_region(scenes: Callable[..., list[Sample]]) -> None:
    regions = region_boxes("corners", (112, 112))
    options = {"tasks": {"grounding.region": 1}, "distractors": (0, 0), "background": "plain", "colours": ("red",)}
    for sample in scenes(40, **options):
        image = np.asarray(sample.images[0].open()).astype(int)
        rows, columns = np.nonzero((image[..., 0] > 150) & (image[..., 1] < 110))
        x1, y1, x2, y2 = regions[sample.answer()]
        assert x1 - 1 <= columns.min() and columns.max() <= x2 and y1 - 1 <= rows.min() and rows.max() <= y2


@pytest.mark.parametrize(("regions", "names"), [("corners", CORNERS), ("grid", GRID)])
def test_regions_tile_the_image(regions: Any, names: tuple[str, ...]) -> None:
    boxes = region_boxes(regions, (100, 61))
    assert tuple(boxes) == names
    assert sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes.values()) == 100 * 61


def test_a_description_fits_a_single_icon() -> None:
    box = Box(0, 0, 1, 1, "pixels", (9, 9))
    red, blue, bell = PlacedIcon("star", "red", box), PlacedIcon("star", "blue", box), PlacedIcon("bell", "red", box)
    assert describe(red, [blue, bell], rng_for(0)) == "red star"
    assert describe(red, [bell], rng_for(0)) in ("star", "red star")
    with pytest.raises(Dropped, match="ambiguous"):
        describe(red, [red], rng_for(0))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"icons": ("unicorn",)}, "unicorn"),
        ({"colours": ("mauve",)}, "mauve"),
        ({"photo_files": ("no/*.jpg",)}, "no/"),
    ],
)
def test_an_unknown_name_is_pointed_out(context: StepContext, options: dict[str, Any], name: str) -> None:
    entry = GroundingEntry(domain="grounding", name="t", count=1, tasks={"grounding.box": 1}, **options)
    with pytest.raises(UserError, match=name):
        entry.check(context)


def test_the_label_check_reads_the_icons_from_the_pixels(context: StepContext) -> None:
    tasks = dict.fromkeys(
        ("counting.icons", "grounding.point", "grounding.box", "grounding.region", "grounding.colour"), 1
    )
    entry = GroundingEntry.model_validate(
        {"domain": "grounding", "name": "t", "count": 16, "image_size": (200, 200), "icons": 8, "tasks": tasks}
    )
    samples, _ = through_steps(DOMAIN, entry, context)
    check = CheckIcons(entry, context)
    results = Counter(checked(check, sample) for sample in samples)
    assert results[None] > 10 and set(results) <= {None, "unchecked"}
    noticed: Counter[str | None] = Counter()
    for sample in samples:
        truth: Any = sample.truth
        if isinstance(truth, CountTruth):
            wrong = relabelled(sample, CountTruth(count=truth.count + 1), str(truth.count + 1))
        elif isinstance(truth, BoxTruth):
            wrong = relabelled(sample, BoxTruth(boxes=((0, 0, 9, 9),)), '{"bbox_2d": [0, 0, 9, 9]}')
        elif isinstance(truth, OptionTruth):
            option = next(option for option in truth.options if option != truth.option)
            wrong = relabelled(sample, truth.model_copy(update={"option": option}), option)
        else:
            wrong = relabelled(sample, truth, '{"point_2d": [0, 0]}')
        noticed[checked(check, wrong)] += 1
    assert noticed.keys() - {"unchecked"} == {
        "another_number", "another_box", "another_region", "another_colour", "answer_fails_its_truth",
    }  # fmt: skip


def checked(check: CheckIcons, sample: Sample) -> str | None:
    try:
        return check(sample)
    except Unchecked:
        return "unchecked"
