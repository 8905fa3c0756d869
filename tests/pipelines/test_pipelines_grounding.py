import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.data.geometry import Box
from step3vl.data.sample import Sample
from step3vl.pipelines.domains.grounding import CORNERS, GRID, DrawScenes, GroundingEntry, describe, region_windows
from step3vl.pipelines.domains.maps import DrawMaps, MapsEntry
from step3vl.pipelines.render.scene import Placed, free_spot
from step3vl.pipelines.sources.countries import load_countries, spot_inside
from step3vl.pipelines.sources.icons import Icons
from step3vl.pipelines.steps import Dropped, Record, rng_for


def scenes(count: int, **options: Any) -> list[Sample]:
    entry = GroundingEntry(domain="grounding", name="t", count=count, **{"picture": (112, 112), "icons": 8, **options})
    worker = DrawScenes(entry)
    worker.setup()
    samples = []
    for number in range(count):
        try:
            samples += worker.process(Record(f"t/{number}", number), rng_for(0, number))
        except Dropped:
            continue
    assert len(samples) > count // 2
    return samples


def test_a_box_is_exactly_what_was_painted() -> None:
    options = {"tasks": {"grounding.box": 1}, "background": "plain", "colours": ("black",), "distractors": (0, 0)}
    for sample in scenes(25, **options, scale=(0.3, 0.5)):
        picture = np.asarray(sample.images[0].open()).astype(int)
        rows, columns = np.nonzero(picture.max(axis=2) < 110)  # the halo of black is white
        painted = Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, "pixels", (112, 112))
        assert sample.truth is not None
        (box,) = sample.truth.boxes
        assert Box(*box, "milli", (112, 112)).to("pixels").iou(painted) > 0.9


@pytest.mark.parametrize(
    "task", ["counting.icons", "grounding.point", "grounding.box", "grounding.region", "grounding.colour"]
)
@pytest.mark.parametrize("kind", ["conversation", "document"])
def test_answers_are_right_by_their_own_truth(task: str, kind: str) -> None:
    for sample in scenes(20, tasks={task: 1}, kind=kind, regions="grid"):
        assert sample.task == task
        assert sample.truth is not None
        last = sample.parts()[-1].text
        answer = sample.answer() if kind == "conversation" else last.partition(" Answer: ")[2]
        assert sample.truth.score(answer).verdict == "correct"
        assert sample.kind == kind


def test_a_document_may_ask_several_questions_about_one_scene() -> None:
    tasks = {"grounding.colour": 1, "grounding.region": 1, "grounding.point": 1}
    for sample in scenes(20, tasks=tasks, kind="document", questions=3, distractors=(0, 0)):
        lines = sample.parts()[-1].text.splitlines()
        assert sample.task == "grounding.scene"
        assert len(lines) == 3
        asked = sorted(line.split()[1] for line in lines)
        assert asked == ["Point", "What", "Which"]


def test_several_questions_need_a_document() -> None:
    with pytest.raises(ValueError, match="kind: document"):
        GroundingEntry(domain="grounding", name="t", count=1, tasks={"grounding.point": 1}, questions=2)


def test_a_full_veil_hides_the_photograph() -> None:
    for sample in scenes(10, tasks={"grounding.point": 1}, distractors=(0, 0), scale=(0.05, 0.06), veil=(1.0, 1.0)):
        spread = np.asarray(sample.images[0].open()).astype(int).std(axis=(0, 1))
        assert spread.max() < 25, "one plain colour beside a small icon"


def test_counts_are_balanced_over_their_range() -> None:
    samples = scenes(400, tasks={"counting.icons": 1}, objects=(1, 3), distractors=(0, 1), scale=(0.1, 0.15))
    counts = Counter(sample.answer() for sample in samples)
    assert set(counts) == {"1", "2", "3"}
    assert min(counts.values()) > 80


def test_the_target_lies_wholly_in_its_region() -> None:
    windows = region_windows("corners", (112, 112))
    for region in scenes(40, tasks={"grounding.region": 1}, distractors=(0, 0), background="plain", colours=("red",)):
        picture = np.asarray(region.images[0].open()).astype(int)
        rows, columns = np.nonzero((picture[..., 0] > 150) & (picture[..., 1] < 110))
        x1, y1, x2, y2 = windows[region.answer()]
        assert x1 - 1 <= columns.min() and columns.max() <= x2 and y1 - 1 <= rows.min() and rows.max() <= y2


@pytest.mark.parametrize(("regions", "names"), [("corners", CORNERS), ("grid", GRID)])
def test_regions_tile_the_picture(regions: Any, names: tuple[str, ...]) -> None:
    windows = region_windows(regions, (100, 61))
    assert tuple(windows) == names
    assert sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in windows.values()) == 100 * 61


def test_a_description_fits_one_icon_only() -> None:
    box = Box(0, 0, 1, 1, "pixels", (9, 9))
    red, blue, bell = Placed("star", "red", box), Placed("star", "blue", box), Placed("bell", "red", box)
    assert describe(red, [blue, bell], rng_for(0)) == "red star"
    assert describe(red, [bell], rng_for(0)) in ("star", "red star")
    with pytest.raises(Dropped, match="ambiguous"):
        describe(red, [red], rng_for(0))


windows = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(5, 30), st.integers(5, 30))


@given(st.lists(windows, max_size=4), st.integers(3, 40), st.integers(3, 40), st.integers(0, 5), st.integers())
def test_a_spot_overlaps_nothing(
    taken: list[tuple[int, int, int, int]], width: int, height: int, gap: int, seed: int
) -> None:
    others = [(x, y, x + w, y + h) for x, y, w, h in taken]
    spot = free_spot((width, height), (0, 0, 80, 80), others, gap, rng_for(seed))
    if spot is not None:
        assert (spot[2] - spot[0], spot[3] - spot[1]) == (width, height)
        assert spot[0] >= 0 and spot[1] >= 0 and spot[2] <= 80 and spot[3] <= 80
        for x1, y1, x2, y2 in others:
            assert spot[0] >= x2 + gap or spot[2] + gap <= x1 or spot[1] >= y2 + gap or spot[3] + gap <= y1


def test_every_sample_icon_draws_and_is_tight() -> None:
    entry = GroundingEntry(domain="grounding", name="t", count=1, tasks={"grounding.box": 1})
    icons = Icons(entry.chosen_icons())
    assert len(icons.names) == 40
    for name in icons.names:
        stencil = np.asarray(icons.stencil(name, 32))
        assert 28 <= max(stencil.shape) <= 32
        for edge in (stencil[0], stencil[-1], stencil[:, 0], stencil[:, -1]):
            assert edge.max() >= 96


def test_unknown_names_are_pointed_out() -> None:
    entry = GroundingEntry(domain="grounding", name="t", count=1, tasks={"grounding.box": 1}, icons=("unicorn",))
    with pytest.raises(UserError, match="unicorn"):
        entry.files()
    entry = GroundingEntry(domain="grounding", name="t", count=1, tasks={"grounding.box": 1}, colours=("mauve",))
    with pytest.raises(UserError, match="mauve"):
        entry.files()
    entry = GroundingEntry(
        domain="grounding", name="t", count=1, tasks={"grounding.box": 1}, photo_files=("no/*.jpg",)
    )
    with pytest.raises(UserError, match=r"no/\*\.jpg"):
        entry.files()


def inside(point: tuple[float, float], ring: list[tuple[float, float]]) -> bool:
    x, y = point
    crossings = 0
    for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if (y1 <= y) != (y2 <= y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            crossings += 1
    return crossings % 2 == 1


def test_the_spot_of_every_country_is_on_its_land() -> None:
    countries = load_countries(Path("data/samples/maps/countries.json"))
    assert len(countries) > 150
    for country in countries:
        assert inside(country.spot, list(country.rings[0])), country.name


def test_a_spot_lies_inside_a_crescent() -> None:
    crescent = [(0, 0), (10, 0), (10, 10), (0, 10), (0, 9), (9, 9), (9, 1), (0, 1)]
    assert inside(spot_inside(crescent), crescent)


def test_map_answers_are_right_and_boxes_lie_on_the_picture() -> None:
    worker = DrawMaps(MapsEntry(domain="maps", name="t", count=1, picture=(160, 120)))
    worker.setup()
    tasks = set()
    for number in range(30):
        try:
            (sample,) = worker.process(Record(f"t/{number}", number), rng_for(number))
        except Dropped:
            continue
        tasks.add(sample.task)
        assert sample.truth is not None
        assert sample.truth.score(sample.answer()).verdict == "correct"
        ((x1, y1, x2, y2),) = sample.truth.boxes
        assert 0 <= x1 < x2 <= 1000 and 0 <= y1 < y2 <= 1000
        assert json.loads(sample.answer())
    assert tasks == {"grounding.point", "grounding.box"}
