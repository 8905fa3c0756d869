"""What is looked for in a build, checked against all samples that were written."""

import pytest
from pydantic import ValidationError

from step3vl.data.dataset import Dataset
from step3vl.pipelines.view.viewer.build import Build, Filter, Listed
from step3vl.pipelines.view.viewer.images import for_browsers
from step3vl.pipelines.view.viewer.listing import list_item
from step3vl.pipelines.view.viewer.scan import Missing, Place


@pytest.fixture(scope="module")
def opened(dataset: Dataset) -> Build:
    return Build(dataset)


def listed_by(build: Build, **fields: object) -> list[Listed]:
    listed, page = build.search(Filter.model_validate(fields), None, 1000, 60)
    assert page.after is None
    return listed


@pytest.mark.parametrize(
    ("fields", "accepts"),
    [
        ({}, lambda sample: True),
        ({"domain": "ocr"}, lambda sample: sample.domain == "ocr"),
        ({"task": "counting"}, lambda sample: sample.domain == "counting"),
        ({"task": "grounding.boxes"}, lambda sample: sample.task == "grounding.boxes"),
        ({"task": "grounding.box"}, lambda sample: False),  # whole parts of the dotted name
        ({"kind": "document"}, lambda sample: sample.kind == "document"),
        ({"source": "icons/1"}, lambda sample: "icons/1" in sample.source.uri),
        ({"score": "clip", "least": 0.5}, lambda sample: sample.scores.get("clip", 0) >= 0.5),
        ({"score": "clip", "least": 0.1, "most": 0.2}, lambda sample: 0.1 <= sample.scores.get("clip", 0) <= 0.2),
        ({"score": "absent"}, lambda sample: False),
        ({"text": "how MANY? 3"}, lambda sample: "How many? 3" in str(sample.messages)),
        ({"text": "upon a TIME"}, lambda sample: sample.kind == "document"),
        ({"text": "I look", "domain": "gui"}, lambda sample: sample.domain == "gui"),
        ({"domain": "ocr", "text": "shop", "kind": "conversation"}, lambda sample: sample.task == "ocr.html"),
    ],
)
def test_a_filter_selects_what_it_says(opened, dataset, fields, accepts):
    expected = {sample.id for sample in dataset.samples() if accepts(sample)}
    assert {item.row.values["id"] for item in listed_by(opened, **fields)} == expected


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_a_split_is_that_of_its_shards(opened, dataset, split):
    expected = {sample.id for sample in dataset.samples(split=split)}
    assert {item.row.values["id"] for item in listed_by(opened, split=split)} == expected
    assert expected


def test_a_filter_with_a_malformed_number_is_refused():
    with pytest.raises(ValidationError):
        Filter.model_validate({"least": "much"})


def test_pages_of_a_filter_that_reads_samples_join(opened):
    query, start, ids = Filter(text="how many", score="clip"), None, []
    while True:
        listed, page = opened.search(query, start, 7, 60)
        ids += [item.row.values["id"] for item in listed]
        start = page.after
        if start is None:
            break
    assert sorted(ids) == sorted(item.row.values["id"] for item in listed_by(opened, domain="counting"))


def test_every_sample_is_found_by_its_id_and_no_other(opened, dataset):
    for sample in dataset.samples():
        row = opened.find(sample.id)
        assert row.values["id"] == sample.id
        assert opened.read([row])[0].sample["id"] == sample.id
    assert opened.find("0" * 32) is None


def test_images_are_read_by_their_bytes(opened, samples):
    row = opened.find(samples["trajectory"].id)
    places = zip(row.values["image_offsets"], row.values["image_sizes"], strict=True)
    read = [opened.image(row.place.part, offset, size) for offset, size in places]
    assert read == [image.data for image in samples["trajectory"].images]
    for shard, offset in ((99, 0), (0, 10**9), (-1, 0), (0, -5)):
        with pytest.raises(Missing, match="bytes at byte"):
            opened.image(shard, offset, 10)


def test_browsers_get_formats_that_they_read(samples):
    png = samples["boxes"].images[0].data
    assert for_browsers(png) == (png, "image/png")
    data, media_type = for_browsers(samples["tiff"].images[0].data)
    assert (data[:4], media_type) == (b"\x89PNG", "image/png")
    with pytest.raises(Missing, match="not in a known image format"):
        for_browsers(b"<svg onload='x'/>")


def test_a_damaged_sample_is_listed_as_such_beside_the_others(tmp_path, samples, build_dataset):
    dataset = build_dataset(tmp_path, samples.values(), heldout=0, shards=1)
    opened = Build(dataset)
    row = opened.find(samples["table"].id)
    path = tmp_path / dataset.manifest.shards[0].path
    data = bytearray(path.read_bytes())
    start = row.values["offset"] + 512
    data[start : start + 5] = b"xxxxx"
    path.write_bytes(data)
    opened = Build(Dataset.open(tmp_path))
    listed, _ = opened.search(Filter(), None, 99, 60)
    assert [item.row.values["id"] for item in listed if item.sample is None] == [samples["table"].id]
    assert len(listed) == len(samples)
    assert list_item(opened, next(item for item in listed if item.sample is None)).damaged


def test_a_place_outside_of_the_build_is_not_there(opened):
    for place in (Place(99, 0), Place(0, 10**6)):
        with pytest.raises(Missing):
            opened.row(place)
