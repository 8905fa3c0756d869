import random
from collections import Counter
from pathlib import Path

import pytest
from tests.pipelines.domains.test_knowledge_pairs import build, tar

from step3vl.data.sample import Box, BoxTruth, PointTruth, Sample, TextPart, parse_boxes
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.steps import Record, rng_for
from step3vl.pipelines.domains.knowledge_mosaic import BuildMosaics, Captioned, CheckBoxes, Group, MosaicEntry
from step3vl.pipelines.domains.knowledge_phrasings import caption_request, description_request, knowledge_request
from step3vl.pipelines.domains.mosaic_questions import Task, ask, places_of
from step3vl.pipelines.render.scenes.mosaic import LAYOUTS

NAMES = (
    "mill",
    "boat",
    "tower",
    "garden",
    "bridge",
    "market",
    "castle",
    "forest",
    "island",
    "desert",
    "harbour",
    "valley",
)
KINDS = ["old", "red", "tall", "wild", "iron", "busy", "ruined", "dark", "green", "dry", "crowded", "quiet"]
CAPTIONS = [f"The {kind} {name}." for kind, name in zip(KINDS, NAMES, strict=True)]


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    built = build(
        {**tar(tmp_path, *CAPTIONS), "rounds": 12, "longest": [300, 500]}, tmp_path, domain="knowledge.mosaic"
    )
    assert not built.reasons
    return built.samples


def question(sample: Sample) -> str:
    assert sample.messages is not None
    return "".join(part.text for part in sample.messages[0].content if isinstance(part, TextPart))


def test_all_tasks_and_layouts_are_made_and_answers_pass_their_own_truth(samples: list[Sample]) -> None:
    assert len(samples) == 36
    assert {sample.task for sample in samples} == {
        "knowledge.mosaic_captions", "knowledge.mosaic_region", "knowledge.mosaic_locate", "knowledge.mosaic_place",
    }  # fmt: skip
    assert len({sample.source.traits["layout"] for sample in samples}) >= 5
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).value == 1
    assert len({sample.images[0].sha256 for sample in samples}) == 36


def test_boxes_are_where_the_images_are(samples: list[Sample]) -> None:
    check, verdicts = CheckBoxes(MosaicEntry.model_construct(), StepContext(0, "/")), Counter[str | None]()
    for sample in samples:
        try:
            verdicts[check(sample)] += 1
        except Unchecked:
            assert not isinstance(sample.truth, BoxTruth | PointTruth)
            continue
        assert isinstance(sample.truth, BoxTruth | PointTruth)
        x1, y1, x2, y2 = sample.truth.boxes[0]
        moved = BoxTruth(boxes=((x1 + (x2 - x1) // 4, y1 + (y2 - y1) // 4, x2 - (x2 - x1) // 4, y2 - (y2 - y1) // 4),))
        verdicts[f"moved {check(sample.model_copy(update={'truth': moved}))}"] += 1
    assert verdicts[None] >= 5
    assert verdicts["no_edge"] == 0
    assert verdicts["moved no_edge"] > verdicts["moved None"]


def test_images_that_cannot_be_told_apart_are_dropped(tmp_path: Path) -> None:
    from tests.pipelines.pair_files import png

    from step3vl.data.sample import Image

    images = [Image.from_bytes(png(seed)) for seed in (1, 2, 3, 3)]
    members = tuple(
        Captioned(image=image, caption=caption, uri="u", licence="l")
        for image, caption in zip(images, CAPTIONS, strict=False)
    )
    worker = BuildMosaics(
        MosaicEntry(domain="knowledge.mosaic", name="t", sources=({"files": ("x",), "licence": "l"},)),
        StepContext(0, "/"),
    )
    from step3vl.pipelines.core.steps import Dropped

    with pytest.raises(Dropped, match="images_alike"):
        list(worker.process(Record("t/0", Group(members=members)), rng_for(0)))


def test_four_images_have_one_language_and_different_captions(tmp_path: Path) -> None:
    chinese = ["河边的水车", "海上的帆船", "山顶的高塔", "城里的花园"]
    alike = ["A cat on a red mat.", "A cat on the red mat!", "The cat is on a red mat", "Red mat with a cat"]
    fields = tar(tmp_path, *[text for trio in zip(CAPTIONS, chinese, alike, strict=False) for text in trio])
    built = build({**fields, "characters": [3, 100], "longest": [300, 400]}, tmp_path, domain="knowledge.mosaic")
    texts = [f"{question(sample)} {sample.answer()}" for sample in built.samples]
    assert built.samples
    assert not any("cat" in text and any(name in text for name in ("水车", "帆船")) for text in texts)
    assert all(text.count("red mat") <= 2 for text in texts)


def test_pairs_that_are_not_used_are_counted(tmp_path: Path) -> None:
    built = build(
        {**tar(tmp_path, *CAPTIONS[:5], "IMG_1.jpg"), "longest": [300, 400]}, tmp_path, domain="knowledge.mosaic"
    )
    assert len(built.samples) == 1
    assert built.reasons == {"no_fitting_text": 1, "fewer_than_four_left": 1}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, samples: list[Sample]) -> None:
    again = build(
        {**tar(tmp_path, *CAPTIONS), "rounds": 12, "longest": [300, 500]}, tmp_path, domain="knowledge.mosaic"
    )
    assert [sample.images[0].sha256 for sample in again.samples] == [sample.images[0].sha256 for sample in samples]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    "task",
    ["knowledge.mosaic_captions", "knowledge.mosaic_region", "knowledge.mosaic_locate", "knowledge.mosaic_place"],
)
def test_each_task_has_fifty_wordings_in_each_language(task: Task, language: Language) -> None:
    boxes = [Box(10 * n, 0, 10 * n + 10, 10, "pixels", (40, 10)) for n in range(4)]
    captions = ["C0", "C1", "C2", "C3"]
    wordings = set()
    for seed in range(3000):
        asked = ask(task, "row", boxes, captions, language, random.Random(seed)).text
        for place in sorted(places_of("row", language), key=len, reverse=True):
            asked = asked.replace(place, "P")
        for caption in captions:
            asked = asked.replace(caption, "C")
        for box in boxes:
            asked = asked.replace(str(list(box.milli())), "B")
        wordings.add(asked)
    assert len(wordings) >= 50
    assert not any("{" in wording for wording in wordings)


@pytest.mark.parametrize("text", ["A mill.", "水车在河边。"])
def test_captions_and_passages_are_asked_for_in_fifty_wordings(text: str) -> None:
    rngs = [random.Random(seed) for seed in range(3000)]
    asked = {caption_request(role, text, rng) for rng in rngs for role in ("alt", "above")}
    knowledge = {knowledge_request("mill", "en", rng) for rng in rngs} | {
        knowledge_request("水车", "zh", rng) for rng in rngs
    }
    described = {description_request(text, rng) for rng in rngs}
    assert min(len(asked), len(knowledge) // 2, len(described)) >= 50


def test_every_layout_names_its_places() -> None:
    for layout in LAYOUTS:
        for language in ("en", "zh"):
            assert len(set(places_of(layout, language))) == 4  # type: ignore[arg-type]


def test_a_located_box_is_parsed_from_the_answer(samples: list[Sample]) -> None:
    located = [sample for sample in samples if isinstance(sample.truth, BoxTruth)]
    assert located
    for sample in located:
        (box,) = parse_boxes(sample.answer())
        assert box.milli() == sample.truth.boxes[0]  # type: ignore[union-attr]
