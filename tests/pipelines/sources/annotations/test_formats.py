"""Annotation files in the formats that sets are published in."""

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.pipelines.sources.annotations.annotated_sets import FOLDER, SETS, format_of, read

from step3vl.data.errors import UserError
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.annotations.formats import FORMATS, FormatName, check_tables
from step3vl.pipelines.sources.annotations.report import report

Written = Callable[[str, Any], Path]
COCO = {
    "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 80}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 20, 30, 40], "iscrowd": 0,
         "segmentation": [[10, 20, 40, 20, 40, 60]]},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 90, 70], "iscrowd": 1,
         "segmentation": {"counts": [5, 5], "size": [80, 100]}},
    ],
    "categories": [{"id": 3, "name": "dog"}, {"id": 9, "name": "cat"}],
}  # fmt: skip


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def written(name: str, content: Any) -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return written


def test_every_format_has_a_set_and_every_set_is_read() -> None:
    assert set(SETS) == set(FORMATS) == set(get_args(FormatName))
    for name, (pattern, _, _) in SETS.items():
        for path in sorted(Path(FOLDER).glob(pattern)):
            for image in _unless_dropped(name, path):
                assert image.objects or image.absent


def _unless_dropped(name: FormatName, path: Path) -> list[Any]:
    try:
        return list(read(name, path))
    except Dropped:
        return []


def test_coco_has_crowds_and_knows_what_is_absent(written: Written) -> None:
    (image,) = read("coco", written("instances.json", COCO))
    dog, crowd = image.objects
    assert (image.order, image.unit, image.size) == ("xywh", "pixels", (100, 80))
    assert (dog.label, dog.box, dog.polygons) == ("dog", (10, 20, 30, 40), ((10, 20, 40, 20, 40, 60),))
    assert (crowd.ignored, crowd.polygons) == ("crowd", ())
    assert (image.complete, image.absent) == (("dog",), ("cat",))


def test_objects365_marks_depictions_and_reflections(written: Written) -> None:
    annotations = [
        {"id": n, "image_id": 7, "category_id": 3, "bbox": [1, 1, 9, 9], key: 1}
        for n, key in enumerate(("isfake", "isreflected", "ignore"))
    ]
    (image,) = read("coco", written("objects365.json", {**COCO, "annotations": annotations}))
    assert [item.ignored for item in image.objects] == ["depiction", "reflection", "ignore"]


def test_lvis_is_complete_only_where_it_says_so(written: Written) -> None:
    lvis = {
        **COCO,
        "images": [{"id": 7, "coco_url": "http://x/train2017/0007.jpg", "width": 100, "height": 80,
                    "neg_category_ids": [9], "not_exhaustive_category_ids": [3]}],
        "annotations": COCO["annotations"][:1],
    }  # fmt: skip
    (image,) = read("lvis", written("lvis.json", lvis))
    assert (image.name, image.complete, image.absent) == ("train2017/0007.jpg", (), ("cat",))


def test_references_come_as_pickle_or_json_and_run_no_code(written: Written) -> None:
    instances = written("instances.json", COCO)
    reference = {
        "ann_id": 1,
        "image_id": 7,
        "split": "train",
        "sentences": [{"sent": "the dog"}, {"sent": "brown dog"}],
    }
    for name, data in (
        ("refs(unc).p", pickle.dumps([reference], protocol=2)),
        ("refs.json", json.dumps([reference]).encode()),
    ):
        (image,) = read("refcoco", written(name, data), instances=instances)
        assert [item.phrases for item in image.objects] == [("the dog", "brown dog"), ()]
    with pytest.raises(ValueError, match="no list of references"):
        list(read("refcoco", written("evil.p", pickle.dumps([Path("x")])), instances=instances))
    with pytest.raises(Dropped, match="test_split"):
        list(read("refcoco", written("test.json", [{**reference, "split": "testA"}]), instances=instances))
    with pytest.raises(ValueError, match="not in the instances"):
        list(read("refcoco", written("lost.json", [{**reference, "ann_id": 99}]), instances=instances))


def test_openimages_is_complete_unless_something_narrower_or_a_group_is_there(tmp_path: Path) -> None:
    tables: dict[str, list[tuple[str, ...]]] = {
        "classes": [("/m/p", "Person"), ("/m/w", "Woman"), ("/m/c", "Car")],
        "verified": [("ImageID", "Source", "LabelName", "Confidence"), ("a", "v", "/m/c", "0")],
        "boxes": [
            ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax", "IsGroupOf", "IsDepiction"),
            ("a", "/m/p", "0.1", "0.2", "0.3", "0.5", "0", "0"),
            ("a", "/m/w", "0.5", "0.6", "0.3", "0.5", "1", "0"),
        ],
    }
    for name, rows in tables.items():
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    hierarchy = {"LabelName": "/m/all", "Subcategory": [{"LabelName": "/m/p", "Subcategory": [{"LabelName": "/m/w"}]}]}
    (tmp_path / "hierarchy.json").write_text(json.dumps(hierarchy))
    paths = {
        name: tmp_path / f"{name}.{'json' if name == 'hierarchy' else 'csv'}"
        for name in ("classes", "verified", "hierarchy")
    }
    (image,) = read("openimages", tmp_path / "boxes.csv", **paths)
    assert (image.order, image.unit) == ("xxyy", "unit")
    assert [(item.label, item.box, item.ignored) for item in image.objects] == [
        ("Person", (0.1, 0.2, 0.3, 0.5), ""),
        ("Woman", (0.5, 0.6, 0.3, 0.5), "group"),
    ]
    assert (image.complete, image.absent) == (("Woman",), ("Car",))


def test_visual_genome_promises_nothing(written: Written) -> None:
    objects = [{"image_id": 1, "objects": [{"x": 1, "y": 2, "w": 3, "h": 4, "names": ["tree"]}]}]
    regions = [{"id": 1, "regions": [{"x": 1, "y": 2, "width": 3, "height": 4, "phrase": " a tall tree "}]}]
    (image,) = read("visual_genome", written("objects.json", objects))
    assert (image.complete, image.absent, image.objects[0].label) == ((), (), "tree")
    (image,) = read("visual_genome", written("regions.json", regions))
    assert image.objects[0].descriptions == ("a tall tree",)


def test_pixmo_counts_its_points(tmp_path: Path) -> None:
    def rows(count: int) -> Path:
        values = [
            {
                "image_sha256": "ab",
                "label": "cups",
                "points": [{"x": 10.0, "y": 20.5}],
                "count": count,
                "image_url": "u",
            },
            {"image_sha256": "ab", "label": "dogs", "points": [], "count": 0, "image_url": "u"},
        ]
        pq.write_table(pa.Table.from_pylist(values), tmp_path / f"{count}.parquet")
        return tmp_path / f"{count}.parquet"

    (image,) = read("pixmo_points", rows(1))
    assert [(item.label, item.point) for item in image.objects] == [("cups", (10.0, 20.5))]
    assert (image.unit, image.complete, image.absent, image.sha256) == ("percent", ("cups",), ("dogs",), "ab")
    with pytest.raises(ValueError, match="counted as 2"):
        list(read("pixmo_points", rows(2)))


def test_fsc147_gives_points_the_reach_of_its_examples_and_keeps_to_its_training_part(written: Written) -> None:
    value = {
        "points": [[5, 6], [50, 60]],
        "box_examples_coordinates": [[[0, 0], [0, 10], [20, 10], [20, 0]]],
        "H": 1,
        "W": 1,
    }
    path = written("annotation.json", {"2.jpg": value})
    tables = {"classes": written("c.txt", "2.jpg\tsea shells\n"), "splits": written("s.json", {"train": ["2.jpg"]})}
    (image,) = read("fsc147", path, **tables)
    assert ([item.point for item in image.objects], image.reach) == ([(5, 6), (50, 60)], 5)
    with pytest.raises(Dropped, match="test_split"):
        list(read("fsc147", path, **{**tables, "splits": written("t.json", {"train": []})}))


@pytest.mark.parametrize(
    ("name", "file", "content", "expected"),
    [
        ("yolo", "a.txt", "0 0.5 0.5 0.2 0.4\n", ("person", (0.5, 0.5, 0.2, 0.4), ())),
        ("yolo", "a.txt", "1 0.1 0.1 0.4 0.1 0.4 0.5\n", ("cat", (), ((0.1, 0.1, 0.4, 0.1, 0.4, 0.5),))),
        ("locount", "a.txt", "1,2,30,40,bottled water,6\n", ("bottled water", (1, 2, 30, 40), ())),
        ("icdar2015", "gt_a.txt", "\ufeff1,2,9,2,9,8,1,8,left, right\n", ("word", (), ((1, 2, 9, 2, 9, 8, 1, 8),))),
        ("msra_td500", "a.gt", "0 0 10 20 30 40 0\n", ("text line", (), ((10, 20, 40, 20, 40, 60, 10, 60),))),
    ],
)  # fmt: skip
def test_a_line_for_each_object(
    written: Written, name: FormatName, file: str, content: str, expected: tuple[Any, ...]
) -> None:
    (image,) = read(name, written(file, content))
    (item,) = image.objects
    assert image.name == "a"
    assert (item.label, item.box, item.polygons) == expected
    assert item.attributes == ({"text": "left, right"} if name == "icdar2015" else {})
    assert item.count == (6 if name == "locount" else 1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("yolo", "0 0.5 0.5 0.2\n"),  # three numbers
        ("yolo", "0 0.5 0.5 0.2 0.4 0.9\n"),  # a confidence, which would be half a corner
        ("yolo", "77 0.5 0.5 0.2 0.4\n"),  # no such class
        ("locount", "1,2,30,40,water\n"),
        ("msra_td500", "0 0 10 20 30 40\n"),
        ("icdar2015", "1,2,9,2,9,8,text\n"),
    ],
)
def test_lines_that_could_mean_anything_are_refused(written: Written, name: FormatName, content: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        list(read(name, written("a.txt", content)))


def test_poses_are_no_polygons(written: Written) -> None:
    with pytest.raises(ValueError, match="key points"):
        format_of("yolo", classes=written("data.yaml", "names: [a]\nkpt_shape: [17, 3]\n"))


def test_cells_of_a_table_know_their_rows_and_columns() -> None:
    (image,) = read("pubtabnet", Path(FOLDER, "pubtabnet/tables.jsonl"))
    places = [(item.attributes["row"], item.attributes["column"], item.attributes["text"]) for item in image.objects]
    assert places == [
        ("1", "2", "Yield (%)"), ("2", "1", "Oak"), ("2", "2", "12.5"), ("2", "3", "14.0"), ("3", "1", "Ash"),
        ("3", "2", "9.1"), ("4", "1", "Elm"), ("4", "2", "7.0"), ("4", "3", "8.3"),
    ]  # fmt: skip


def test_a_spanned_row_shifts_the_cells_below(written: Written) -> None:
    tokens = ["<tr>", "<td", ' rowspan="2"', ">", "</td>", "<td>", "</td>", "</tr>", "<tr>", "<td>", "</td>", "</tr>"]
    cells = [{"tokens": [text], "bbox": [1, 1, 9, 9]} for text in "abc"]
    row = {"filename": "t.png", "split": "train", "html": {"cells": cells, "structure": {"tokens": tokens}}}
    (image,) = read("pubtabnet", written("t.jsonl", json.dumps(row)))
    assert [(item.attributes["row"], item.attributes["column"]) for item in image.objects] == [
        ("1", "1"),
        ("1", "2"),
        ("2", "2"),
    ]


def test_plain_lines_without_a_convention_are_refused(written: Written) -> None:
    line = {"image": "a.jpg", "order": "xyxy", "objects": [{"label": "dog", "box": [1, 2, 3, 4]}]}
    with pytest.raises(ValueError, match="order nor unit"):
        list(read("lines", written("a.jsonl", json.dumps(line))))
    (image,) = read("lines", written("b.jsonl", json.dumps({**line, "unit": "milli"})))
    assert (image.order, image.unit) == ("xyxy", "milli")


@pytest.mark.parametrize("content", ["{", "[1]", '{"images": []}', "\x00\x01"])
@pytest.mark.parametrize("name", ["coco", "lvis", "visual_genome", "lines", "pubtabnet"])
def test_damage_is_an_error_and_no_crash(written: Written, name: FormatName, content: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        list(read(name, written("a.json", content)))


def test_an_entry_gives_exactly_the_tables_of_its_format() -> None:
    check_tables("coco", {}, "e")
    with pytest.raises(UserError, match="needs tables"):
        check_tables("openimages", {"classes": "c.csv"}, "e")
    with pytest.raises(UserError, match="needs no table"):
        check_tables("coco", {"classes": "c.csv"}, "e")


def test_a_report_counts_what_is_left_out_and_why() -> None:
    counts = report("coco", [Path(FOLDER, "coco/instances.json")], {}, "../images/{name}")
    assert (counts["images"], counts["kept"], counts["annotated objects"], counts["objects"]) == (6, 6, 50, 48)
    assert counts["objects dropped"] == {"no_area": 1, "crowd": 1}
    counts = report("coco", [Path(FOLDER, "coco/instances.json")], {}, "../nowhere/{name}")
    assert counts["images not kept"] == {"FileNotFoundError": 6}
