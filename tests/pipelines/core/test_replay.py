"""Single records of an entry, made again as its build made them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from step3vl.pipelines.core import replay
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.core.replay import Replay, StepChain
from step3vl.pipelines.domains.grounding_annotated import AnnotatedEntry, SplitAnnotations
from step3vl.pipelines.domains.grounding_composites import CompositesEntry
from step3vl.pipelines.grounding.records import GroundedImage
from step3vl.pipelines.render.figures.figure import encode_png
from step3vl.pipelines.render.style import plain
from step3vl.pipelines.sources.annotations.grouping import INLINE

IMAGES = 70  # more than a part of a file has


@pytest.fixture(params=[0, INLINE], ids=["small", "dealt to parts on disk"])
def annotated(request: pytest.FixtureRequest, tmp_path: Path) -> StepChain:
    """Images called by their number, with a box in each, in a file of COCO's format of at least so many bytes."""
    (tmp_path / "white.png").write_bytes(encode_png(plain((100, 100), (255, 255, 255))))
    numbers = range(IMAGES)
    coco = {
        "info": {"description": "." * request.param},
        "categories": [{"id": 1, "name": "car"}],
        "images": [{"id": n, "file_name": "white.png", "width": 100, "height": 100} for n in numbers],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [5, 5, 10 + n, 20], "iscrowd": 0} for n in numbers
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    sources = [{"files": ["coco.json"], "licence": "CC0-1.0"}]
    fields = {"domain": "grounding.annotated", "name": "t", "format": "coco", "sources": sources}
    context = StepContext(seed=0, base=str(tmp_path), root=str(tmp_path / "root"))
    return StepChain(AnnotatedEntry.model_validate(fields), context, GroundedImage)


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were split since."""
    files: list[str] = []
    process = SplitAnnotations.process

    def counted(worker: SplitAnnotations, record: Any, rng: Any) -> Iterator[Any]:
        files.append(record.key)
        return process(worker, record, rng)

    monkeypatch.setattr(SplitAnnotations, "process", counted)
    return files


def test_every_record_of_a_file_is_made_and_the_file_is_read_once(
    annotated: StepChain, splits: list[str], tmp_path: Path
) -> None:
    for number in (1, 0, 69, 1):
        image = annotated(f"coco.json#{number}")
        assert image.origin == f"coco.json#{number}"
        assert image.objects[0].box == (5, 5, 15 + number, 25)
    assert splits == ["coco.json"]
    assert (tmp_path / "root").exists() == ((tmp_path / "coco.json").stat().st_size > INLINE)


@pytest.mark.parametrize(
    ("key", "reason"),
    [("coco.json#absent", "no_such_record"), ("elsewhere.json#1", "no_such_file"), ("t", "no_such_file")],
)
def test_what_the_entry_does_not_have_is_unchecked(annotated: StepChain, key: str, reason: str) -> None:
    with pytest.raises(Unchecked, match=reason):
        annotated(key)


def test_a_number_gives_the_same_image_again(context: StepContext) -> None:
    composites = Replay(_composites(), context, GroundedImage)
    first, second = composites("t/0"), composites("t/1")
    assert (composites("t/0"), first.origin) == (first, "t/0")
    assert first.image.sha256 != second.image.sha256


def test_a_record_that_takes_too_long_is_unchecked_and_not_tried_again(
    context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_SECONDS", 1e-3)
    composites = Replay(_composites(), context, GroundedImage)
    with pytest.raises(Unchecked, match="time_limit"):
        composites("t/0")
    monkeypatch.setattr(composites, "_seconds", 60.0)
    with pytest.raises(Unchecked, match="time_limit"):
        composites("t/0")
    assert composites("t/1").origin == "t/1"


def _composites() -> CompositesEntry:
    return CompositesEntry.model_validate(
        {"domain": "grounding.composites", "name": "t", "count": 2, "image_size": (100, 120)}
    )
