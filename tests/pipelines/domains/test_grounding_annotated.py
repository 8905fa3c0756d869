"""Annotated sets as a domain: from files in each format to questions, with a reason for every image not kept."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.pipelines.sources.annotations.annotated_sets import FOLDER, entry_of
from tests.pipelines.through_steps import through_steps

from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.domains.grounding_annotated import DOMAIN, AnnotatedEntry, image_url
from step3vl.pipelines.sources.annotations.formats import FormatName, make_format

Build = Callable[..., tuple[list[Sample], Counter[str]]]


@pytest.fixture
def build(context: StepContext) -> Build:
    """The samples of an entry, and why images are not kept."""

    def build(name: FormatName, **fields: Any) -> tuple[list[Sample], Counter[str]]:
        entry = AnnotatedEntry.model_validate(entry_of(name, **fields))
        return through_steps(DOMAIN, entry, context)

    return build


@pytest.mark.parametrize("name", get_args(FormatName))
def test_each_format_leads_to_questions_with_right_answers(build: Build, name: FormatName) -> None:
    samples, lost = build(name)
    assert samples
    assert not lost - Counter({"test_split": 1})
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"
        assert sample.source.licence == "CC0-1.0"
        assert sample.source.uri.startswith(FOLDER)


def test_the_same_files_make_the_same_samples(build: Build) -> None:
    assert [sample.id for sample in build("coco")[0]] == [sample.id for sample in build("coco")[0]]


def test_every_task_comes_of_the_sets(build: Build) -> None:
    tasks = {sample.task for name in ("coco", "icdar2015", "pubtabnet") for sample in build(name, questions=30)[0]}
    assert len(tasks) == 11


def test_an_image_that_is_missing_or_another_one_is_dropped(build: Build, tmp_path: Path) -> None:
    _, lost = build("coco", images="../nowhere/{name}")
    assert lost == {"missing_image": 6}
    _, lost = build("pixmo_points", images="../images/coffee.jpg?{name}".replace("?{name}", "{name}"))
    assert lost == {"missing_image": 2}
    folder = tmp_path / "images"
    folder.mkdir()
    for path in Path(FOLDER, "pixmo").glob("*.jpg"):
        (folder / path.name).write_bytes(Path(FOLDER, "images", "coffee.jpg").read_bytes())
    _, lost = build("pixmo_points", images=f"{folder}/{{name}}.jpg")
    assert lost == {"another_image": 2}


def test_malformed_annotations_of_one_image_cost_that_image(build: Build, tmp_path: Path) -> None:
    lines = Path(FOLDER, "lines/photos.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    del first["unit"]
    (tmp_path / "photos.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]))
    images = str(Path(FOLDER, "images").absolute() / "{name}")
    sources = [{"files": [f"{tmp_path}/*.jsonl"], "licence": "CC0-1.0"}]
    samples, lost = build("lines", sources=sources, images=images)
    assert sum(lost.values()) == 1
    assert "order nor unit" in next(iter(lost))
    assert len({sample.images[0].sha256 for sample in samples}) == 4


@pytest.mark.parametrize(
    ("template", "name", "annotations", "expected"),
    [
        ("{name}", "a/b.jpg", "/sets/coco/i.json", "/sets/coco/a/b.jpg"),
        ("../images/{name}.jpg", "7", "/sets/coco/i.json", "/sets/images/7.jpg"),
        ("../images/{name}", "b.jpg", "s3://bucket/coco/i.json", "s3://bucket/images/b.jpg"),
        ("s3://other/{name}", "b.jpg", "/sets/i.json", "s3://other/b.jpg"),
        ("/data/{name}", "b.jpg", "s3://bucket/i.json", "/data/b.jpg"),
    ],
)
def test_where_an_image_is(template: str, name: str, annotations: str, expected: str) -> None:
    assert image_url(template, name, annotations) == expected


@pytest.mark.parametrize("name", ["/etc/hosts", "../x.jpg", "a/../../x.jpg", "http://x/y.jpg"])
def test_a_name_does_not_lead_out_of_the_folder(name: str) -> None:
    with pytest.raises(ValueError, match="no path in the folder"):
        image_url("{name}", name, "/sets/i.json")


def test_an_entry_says_what_it_lacks(context: StepContext) -> None:
    with pytest.raises(UserError, match="name"):
        AnnotatedEntry.model_validate(entry_of("coco", images="images/")).check(context)
    with pytest.raises(UserError, match="instances"):
        AnnotatedEntry.model_validate(entry_of("refcoco", tables={})).check(context)


def test_the_example_is_an_entry() -> None:
    assert AnnotatedEntry.model_validate({"domain": "grounding.annotated", "name": "e", **DOMAIN.example})


def test_a_malformed_entry_is_told_with_its_place(build: Build, tmp_path: Path) -> None:
    content = json.loads(Path(FOLDER, "coco/instances.json").read_text())
    del content["annotations"][3]["image_id"]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    _, lost = build("coco", sources=[{"files": [f"{tmp_path}/instances.json"], "licence": "CC0-1.0"}])
    (message,) = lost
    assert message.startswith("the file cannot be read after entry ") and message.endswith("KeyError: 'image_id'")


def test_a_table_that_is_another_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("")
    with pytest.raises(ValueError, match=r"the format yolo cannot read its tables classes \(data.yaml\): TypeError"):
        make_format("yolo", {"classes": tmp_path / "data.yaml"})
