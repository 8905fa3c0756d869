"""Maps of regions: what is asked is what the masks show."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from PIL import Image as PILImage
from PIL import ImageDraw
from tests.pipelines.through_steps import through_steps

from step3vl.data.errors import UserError
from step3vl.data.sample import BoxTruth, CountTruth, OptionTruth, PointTruth, Sample, TextPart, TextTruth
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.domains.map_regions import DOMAIN, AskAboutMaps, RegionMapsEntry
from step3vl.pipelines.domains.map_regions_check import Regions
from step3vl.pipelines.grounding.question_reading import fields_of
from step3vl.pipelines.render.scenes.map import MapView, in_the_world
from step3vl.pipelines.sources.region_maps import WATER, load_region_map, load_translations, scaled

# Four columns: North and Middle share a border, South lies beyond water, Middle and East meet as well.
_BOXES = {"North": (4, 4, 60, 90), "Middle": (62, 4, 120, 90), "East": (122, 4, 180, 90), "South": (20, 120, 170, 156)}
_COLOURS = {"North": (10, 20, 30), "Middle": (40, 50, 60), "East": (70, 80, 90), "South": (100, 110, 120)}
_CAPITALS = {"North": "Alpha", "Middle": "Beta", "East": "East", "South": "Delta"}
_CHINESE = {"North": "北地", "Middle": "中地", "East": "东地", "South": "南地"}

Make = Callable[..., list[Sample]]


def _division(name: str, colour: tuple[int, int, int], more: str) -> str:
    red, green, blue = colour
    shade = f"<color><red>{red}</red><green>{green}</green><blue>{blue}</blue></color>"
    return f"<division><name>{name}</name>{more}{shade}</division>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = PILImage.new("RGB", (184, 160), (0, 0, 255))
    brush = ImageDraw.Draw(image)
    for name, (x1, y1, x2, y2) in _BOXES.items():
        brush.rectangle((x1, y1, x2 - 1, y2 - 1), _COLOURS[name])
    for x in (60, 61, 120, 121):
        brush.line((x, 4, x, 89), (255, 255, 255))
    image.save(tmp_path / "islands.png")
    divisions = [_division(name, _COLOURS[name], f"<capital>{_CAPITALS[name]}</capital>") for name in _BOXES]
    divisions.append(_division("Frontier", (255, 255, 255), "<ignore>yes</ignore>"))
    divisions.append(_division("Water", (0, 0, 255), "<ignore>yes</ignore>"))
    text = f"<map><mapFile>islands.png</mapFile><name>Islands</name>{''.join(divisions)}</map>"
    (tmp_path / "islands.kgm").write_text(text)
    catalog = Catalog(locale="zh")
    for name, translated in _CHINESE.items():
        catalog.add(name, translated, context="islands.kgm")
    with (tmp_path / "zh.mo").open("wb") as file:
        write_mo(file, catalog)
    return tmp_path


@pytest.fixture
def make(generate: Callable[..., list[Sample]], context: StepContext, folder: Path) -> Make:
    def make(count: int, **fields: Any) -> list[Sample]:
        files = {"map_files": [f"{folder}/*.kgm", f"{folder}/*.png"], "translations": {"zh": f"{folder}/zh.mo"}}
        values = {"domain": "maps.regions", "name": "t", "count": count, "longest": (184, 300), **files, **fields}
        entry = RegionMapsEntry.model_validate(values)
        entry.check(context)
        return generate(AskAboutMaps(entry, context), count)

    return make


def _question(sample: Sample) -> str:
    return "".join(part.text for part in sample.parts() if isinstance(part, TextPart)).removesuffix(sample.answer())


def test_a_border_belongs_to_the_regions_on_its_sides(folder: Path) -> None:
    catalogs = {"zh": load_translations(folder / "zh.mo")}
    region_map = load_region_map(folder / "islands.kgm", {"islands.png": folder / "islands.png"}, catalogs)
    assert [dict(region.names) for region in region_map.regions] == [
        {"en": name, "zh": _CHINESE[name]} for name in _BOXES
    ]
    assert dict(region_map.regions[0].capitals) == {"en": "Alpha"}
    assert region_map.owners[50, 50:130].tolist() == [0] * 11 + [1] * 60 + [2] * 9
    assert region_map.owners[100, 90] == WATER
    assert set(np.unique(scaled(region_map, (300, 261)).owners)) == {0, 1, 2, 3, WATER}


def test_every_task_is_asked_in_both_languages_and_every_style(make: Make) -> None:
    samples = make(60)
    assert len({sample.task for sample in samples}) == 5  # absent needs a second map
    assert {sample.source.traits["language"] for sample in samples} == {"en", "zh"}
    assert {sample.source.traits["style"] for sample in samples} == {"blank", "names", "numbers", "colours"}
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"


def test_points_lie_on_the_region_that_is_named_or_told_by_its_capital(make: Make) -> None:
    samples = make(40, tasks={"grounding.point": 1}, languages=["en"], styles={"blank": 1}, longest=(184, 184))
    named = 0
    for sample in samples:
        assert isinstance(sample.truth, PointTruth)
        question = _question(sample)
        matches = [name for name in _BOXES if name in question or f"capital is {_CAPITALS[name]}" in question]
        assert len(matches) == 1
        x1, y1, x2, y2 = _BOXES[matches[0]]
        for left, top, right, bottom in sample.truth.boxes:
            assert x1 - 2 <= left * 0.184 and right * 0.184 <= x2 + 2
            assert y1 - 2 <= top * 0.16 and bottom * 0.16 <= y2 + 2
        named += 1
    assert named > 20
    assert any("capital" in _question(sample) for sample in samples)
    assert not any("capital is East" in _question(sample) for sample in samples)  # it would give the name away


def test_borders_names_and_places_are_those_of_the_map(make: Make) -> None:
    neighbours = {"North": 1, "Middle": 2, "East": 1}
    tasks = {"counting.objects": 1, "grounding.relation": 1, "grounding.description": 1}
    seen = set()
    for sample in make(60, tasks=tasks, languages=["en"], styles={"blank": 1, "names": 1}):
        question = _question(sample)
        names = [name for name in _BOXES if re.search(rf"\b{name}\b", question)]
        names += [name for name, capital in _CAPITALS.items() if f"capital is {capital}" in question]
        if isinstance(sample.truth, CountTruth):
            assert sample.truth.count == neighbours[names[0]]
        elif isinstance(sample.truth, OptionTruth):
            axis = 0 if "left" in question else 1
            assert sample.truth.option == min(names, key=lambda name: _BOXES[name][axis])
        elif isinstance(sample.truth, TextTruth) and (place := re.search(r"at (\[.*?\])", question)):
            x, y = json.loads(place[1])
            x1, y1, x2, y2 = _BOXES[sample.truth.text]
            assert x1 <= x * 0.184 <= x2 and y1 <= y * 0.16 <= y2
        else:
            continue
        seen.add(type(sample.truth))
    assert seen == {CountTruth, OptionTruth, TextTruth}


def test_a_legend_tells_regions_by_number_or_colour(make: Make) -> None:
    samples = make(60, tasks={"grounding.description": 1}, languages=["en"], styles={"numbers": 1, "colours": 1})
    assert any(re.search(r"with the number \d", _question(sample)) for sample in samples)
    assert any(
        re.search(r"the (red|orange|yellow|green|blue|purple|pink|brown) region", _question(sample))
        for sample in samples
    )
    assert all(sample.images[0].width > 184 for sample in samples)  # the legend is beside the map


def test_windows_of_the_world_map_know_what_they_do_not_show(
    generate: Callable[..., list[Sample]], context: StepContext
) -> None:
    entry = RegionMapsEntry.model_validate(
        {
            "domain": "maps.regions",
            "name": "t",
            "count": 1,
            "longest": (200, 260),
            "tasks": {"grounding.absent": 1, "grounding.box": 1},
        }
    )
    samples = generate(AskAboutMaps(entry, context), 12)
    assert {sample.task for sample in samples} == {"grounding.absent", "grounding.box"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not XML", "is not a map of KGeography"),
        ("<map><mapFile>gone.png</mapFile></map>", "its image 'gone.png' is not among the files"),
        ("<map><mapFile>islands.png</mapFile><name>N</name></map>", "has no region to ask about"),
        (
            "<map><mapFile>islands.png</mapFile><division><name>A</name></division></map>",
            "no <color/red> in <division>",
        ),
    ],
)
def test_a_file_that_is_no_map_is_named(folder: Path, text: str, message: str) -> None:
    (folder / "bad.kgm").write_text(text)
    with pytest.raises(UserError, match=r"bad\.kgm.*" + re.escape(message)):
        load_region_map(folder / "bad.kgm", {"islands.png": folder / "islands.png"}, {})


def test_patterns_without_a_map_are_refused(context: StepContext, folder: Path) -> None:
    entry = RegionMapsEntry.model_validate(
        {"domain": "maps.regions", "name": "t", "count": 1, "map_files": [f"{folder}/*.png"]}
    )
    with pytest.raises(UserError, match=r"matches no \.kgm file"):
        entry.check(context)


def test_the_label_check_answers_from_the_pixels(folder: Path, context: StepContext) -> None:
    fields = {"map_files": [f"{folder}/*.kgm", f"{folder}/*.png"], "translations": {"zh": f"{folder}/zh.mo"}}
    fonts = ["assets:fonts/*.ttf", "assets:fonts/*.otf"]
    entry = RegionMapsEntry.model_validate(
        {"domain": "maps.regions", "name": "t", "count": 12, "longest": (160, 200), "font_files": fonts, **fields}
    )
    samples, _ = through_steps(DOMAIN, entry, context)
    assert DOMAIN.label_check is not None
    check, maps = DOMAIN.label_check(entry, context), AskAboutMaps(entry, context)
    maps.setup()
    assert len(samples) > 20
    assert {check(sample) for sample in samples} == {None}
    noticed = set()
    for sample in samples:
        match sample.truth:
            case CountTruth():
                truth: Any = CountTruth(count=sample.truth.count + 1)
            case OptionTruth():
                other = next(option for option in sample.truth.options if option != sample.truth.option)
                truth = sample.truth.model_copy(update={"option": other})
            case BoxTruth():
                truth = BoxTruth(boxes=((0, 0, 9, 9),))
            case _:
                continue
        kind = sample.source.traits["question"]
        scene = maps.render(rng_for(context.seed, "t.build", sample.source.uri))
        readings = fields_of(question_of(sample), kind, sample.source.traits["answer"], scene.language)
        regions = Regions(scene)
        reasons = set()
        for reading in readings:
            with suppress(KeyError):
                reasons.add(regions.reason(kind, reading, sample.model_copy(update={"truth": truth})))
        assert reasons and None not in reasons
        noticed |= reasons
    assert noticed == {"another_number", "the_opposite", "another_box"}


def question_of(sample: Sample) -> str:
    assert sample.messages is not None
    return "".join(part.text for part in sample.messages[0].content if isinstance(part, TextPart))


def test_a_window_beyond_the_world_is_moved_into_it() -> None:
    inside = MapView(-20.0, 60.0, 10.0, 10.0, (300, 200))
    assert in_the_world(inside) == inside
    assert in_the_world(inside._replace(west=170.0, north=-75.0)) == inside._replace(west=150.0, north=-70.0)
    large = in_the_world(MapView(-300.0, 200.0, 0.5, 0.5, (300, 200)))
    assert large.size[0] / large.x_scale <= 360 + 1e-9 and large.size[1] / large.y_scale <= 180 + 1e-9
    assert large.west >= -180 and large.north <= 90
