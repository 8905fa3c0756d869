"""Make the annotated sets of this folder: small ones, in the formats of the public sets, of images that are free.

    python data/samples/grounding/make_grounding.py

Boxes on photographs were set by hand and looked at; those of the scene, the words and the table are exact.
"""

import csv
import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from step3vl.pipelines.grounding.conventions import box_of_polygons, rotated_rectangle
from step3vl.pipelines.render.scenes.scene import IconRequest, render_scene
from step3vl.pipelines.sources.icons import IconSet

HERE = Path(__file__).parent
ASSETS = HERE.parents[1] / "step3vl" / "data" / "assets"
CLASSES = (
    "person",
    "cat",
    "cup",
    "spoon",
    "saucer",
    "rocket",
    "helmet",
    "tripod",
    "eye",
    "nose",
    "camera",
    "mast",
    "badge",
)
# Boxes as x1, y1, x2, y2 in pixels of the photographs as the package carries them.
PHOTOS: dict[str, list[tuple[str, tuple[int, int, int, int]]]] = {
    "astronaut": [
        ("person", (18, 12, 325, 448)), ("helmet", (243, 301, 448, 448)), ("rocket", (300, 0, 396, 240)),
        ("badge", (115, 304, 182, 374)), ("badge", (238, 296, 290, 334)),
    ],
    "camera": [("person", (0, 56, 260, 448)), ("tripod", (203, 254, 360, 448)), ("camera", (222, 118, 290, 208))],
    "chelsea": [
        ("cat", (0, 0, 384, 298)), ("nose", (223, 220, 282, 270)),
        ("eye", (131, 82, 212, 148)), ("eye", (296, 108, 346, 162)),
    ],
    "coffee": [("cup", (128, 13, 318, 184)), ("saucer", (56, 62, 361, 290)), ("spoon", (243, 178, 304, 243))],
    "rocket": [("rocket", (214, 88, 237, 286)), ("mast", (124, 88, 146, 264)), ("mast", (307, 88, 326, 262))],
}  # fmt: skip
PHRASES = {
    ("chelsea", 2): ("left eye", "the eye on the left"),
    ("chelsea", 3): ("eye on the right",),
    ("coffee", 0): ("white cup with espresso", "the cup"),
    ("rocket", 1): ("thin mast left of the rocket",),
}


def main() -> None:
    """Write every set."""
    images = HERE / "images"
    images.mkdir(exist_ok=True)
    for name in PHOTOS:
        (images / f"{name}.jpg").write_bytes((ASSETS / "photos" / f"{name}.jpg").read_bytes())
    sizes = {name: PILImage.open(images / f"{name}.jpg").size for name in PHOTOS}
    scene = make_scene(images / "scene.jpg")
    write_coco(sizes, scene)
    write_openimages(sizes)
    write_regions(sizes)
    write_points(sizes, scene)
    write_yolo(sizes)
    write_lines(sizes)
    write_words(images / "words.jpg")
    write_table(images / "table.png")


def make_scene(path: Path) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Thirty icons on a plain ground: their names and boxes."""
    rng = random.Random("grounding samples")
    icons = IconSet([ASSETS / "icons" / f"{name}.svg" for name in ("star", "fish", "key", "car")])
    image = PILImage.new("RGB", (448, 336), (236, 240, 232))
    requests = [
        IconRequest(name, rng.choice(("red", "blue", "green", "black")), rng.randint(26, 44))
        for name, number in (("star", 12), ("fish", 9), ("key", 6), ("car", 3))
        for _ in range(number)
    ]
    placed = render_scene(image, requests, icons, rng)
    assert placed is not None
    image.save(path, "JPEG", quality=88)
    return [(item.icon, tuple(map(int, (item.box.x1, item.box.y1, item.box.x2, item.box.y2)))) for item in placed]  # type: ignore[misc]


def write_coco(sizes: dict[str, tuple[int, int]], scene: list[tuple[str, tuple[int, int, int, int]]]) -> None:
    """COCO with polygons, a crowd, and boxes that are none; the same as LVIS; references to its objects."""
    names = [*CLASSES, "star", "fish", "key", "car"]
    ids = {name: 10 * number for number, name in enumerate(names, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    references: list[dict[str, Any]] = []
    everything = {**PHOTOS, "scene": scene}
    for image_id, (name, objects) in enumerate(everything.items(), 1):
        width, height = sizes.get(name, (448, 336))
        images.append({"id": image_id, "file_name": f"{name}.jpg", "width": width, "height": height})
        for number, (label, box) in enumerate(objects):
            annotation = _coco_annotation(len(annotations) + 1, image_id, ids[label], box)
            annotations.append(annotation)
            if phrases := PHRASES.get((name, number)):
                references.append(
                    {
                        "ref_id": len(references), "ann_id": annotation["id"], "image_id": image_id,
                        "category_id": ids[label], "split": "test" if name == "rocket" else "train",
                        "file_name": f"{name}_{annotation['id']}.jpg",
                        "sentences": [{"sent": phrase, "sent_id": i} for i, phrase in enumerate(phrases)],
                    }
                )  # fmt: skip
    chelsea = 1 + list(everything).index("chelsea")
    # An ellipse for an eye, where the box alone would also hold fur.
    eye = next(each for each in annotations if each["category_id"] == ids["eye"])
    eye["segmentation"] = [_ellipse(PHOTOS["chelsea"][2][1])]
    bad = _coco_annotation(len(annotations) + 1, chelsea, ids["cup"], (10, 10, 10, 40))  # no width
    crowd = _coco_annotation(len(annotations) + 2, 5, ids["mast"], (0, 0, 60, 299)) | {
        "iscrowd": 1,
        "segmentation": {"counts": [0, 17940], "size": [299, 448]},
    }
    categories = [{"id": ids[name], "name": name, "supercategory": "thing"} for name in names]
    coco = {"images": images, "annotations": [*annotations, bad, crowd], "categories": categories}
    _json("coco/instances.json", coco)
    lvis = {
        "images": [
            {
                **{key: value for key, value in image.items() if key != "file_name"},
                "coco_url": f"http://images.example/images/{image['file_name']}",
                "neg_category_ids": [ids["cat"] if image["id"] != chelsea else ids["car"]],
                "not_exhaustive_category_ids": [ids["mast"]] if image["file_name"] == "rocket.jpg" else [],
            }
            for image in images
        ],
        "annotations": annotations,
        "categories": [{**category, "synonyms": [category["name"]], "frequency": "f"} for category in categories],
    }
    _json("lvis/lvis_v1.json", lvis)
    _json("refcoco/refs.json", references)


def _coco_annotation(number: int, image: int, category: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    sides = [x1, y1, x2 - x1, y2 - y1]
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": sides,
        "area": sides[2] * sides[3],
        "iscrowd": 0,
    }


def _ellipse(box: tuple[int, int, int, int]) -> list[float]:
    x1, y1, x2, y2 = box
    corners = []
    for step in range(24):
        angle = math.tau * step / 24
        corners += [(x1 + x2) / 2 + (x2 - x1) / 2 * math.cos(angle), (y1 + y2) / 2 + (y2 - y1) / 2 * math.sin(angle)]
    return [round(value, 2) for value in corners]


def write_openimages(sizes: dict[str, tuple[int, int]]) -> None:
    """OpenImages' boxes, classes, hierarchy and verified labels."""
    ids = {name: f"/m/0{number:02}" for number, name in enumerate((*CLASSES, "animal"))}
    rows = []
    for name, objects in PHOTOS.items():
        width, height = sizes[name]
        for label, (x1, y1, x2, y2) in objects:
            sides = (x1 / width, x2 / width, y1 / height, y2 / height)
            flags = (0, 0, 0, 0, 0)
            rows.append((name, "xclick", ids[label], 1, *(f"{side:.6f}" for side in sides), *flags))
    rows.append(("rocket", "xclick", ids["mast"], 1, "0.8", "1.0", "0.0", "0.99", 0, 0, 1, 0, 0))
    columns = ("ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax",
               "IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")  # fmt: skip
    _csv("openimages/boxes.csv", [columns, *rows])
    _csv("openimages/classes.csv", [(ids[name], name.capitalize()) for name in ids])
    verified = [("coffee", "verification", ids["cat"], 0), ("coffee", "verification", ids["cup"], 1),
                ("chelsea", "verification", ids["person"], 0)]  # fmt: skip
    _csv("openimages/verified.csv", [("ImageID", "Source", "LabelName", "Confidence"), *verified])
    animals = {"LabelName": ids["animal"], "Subcategory": [{"LabelName": ids["cat"]}]}
    others = [{"LabelName": ids[name]} for name in CLASSES if name != "cat"]
    _json("openimages/hierarchy.json", {"LabelName": "/m/0bl9f", "Subcategory": [animals, *others]})


def write_regions(sizes: dict[str, tuple[int, int]]) -> None:
    """Visual Genome's objects and regions."""
    objects, regions = [], []
    for number, (name, items) in enumerate(PHOTOS.items()):
        sides = [(x1, y1, x2 - x1, y2 - y1) for _, (x1, y1, x2, y2) in items]
        objects.append(
            {
                "image_id": name,
                "objects": [
                    {"object_id": index, "x": x, "y": y, "w": w, "h": h, "names": [label], "synsets": []}
                    for index, ((label, _), (x, y, w, h)) in enumerate(zip(items, sides, strict=True))
                ],
            }
        )
        x, y, w, h = sides[0]
        region_phrases = {
            "astronaut": "a woman in an orange suit smiles",
            "camera": "a man looks through a camera on a tripod",
            "chelsea": "a ginger cat looks to the side",
            "coffee": "a white cup on a red saucer",
            "rocket": "a rocket waits for its start",
        }
        phrase = region_phrases[name]
        region = {"region_id": number, "image_id": name, "phrase": phrase, "x": x, "y": y, "width": w, "height": h}
        regions.append({"id": name, "regions": [region]})
    _json("visual_genome/objects.json", objects)
    _json("visual_genome/region_descriptions.json", [{**each, "id": each["id"]} for each in regions])


def write_points(sizes: dict[str, tuple[int, int]], scene: list[tuple[str, tuple[int, int, int, int]]]) -> None:
    """PixMo's points as Parquet, FSC-147's as JSON."""
    rows = []
    for name, label, absent in (("chelsea", "eye", "dog"), ("rocket", "mast", "boat")):
        width, height = sizes[name]
        centres = [((x1 + x2) / 2, (y1 + y2) / 2) for kind, (x1, y1, x2, y2) in PHOTOS[name] if kind == label]
        points = [{"x": round(100 * x / width, 2), "y": round(100 * y / height, 2)} for x, y in centres]
        digest = hashlib.sha256((HERE / "images" / f"{name}.jpg").read_bytes()).hexdigest()
        (HERE / "pixmo").mkdir(exist_ok=True)
        (HERE / "pixmo" / f"{digest}.jpg").write_bytes((HERE / "images" / f"{name}.jpg").read_bytes())
        for what, marked in ((label, points), (absent, [])):
            rows.append(
                {"image_url": f"https://images.example/{name}.jpg", "image_sha256": digest, "count": len(marked),
                 "points": marked, "label": what, "collection_method": "pointing"}
            )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), HERE / "pixmo" / "points.parquet", compression="zstd")
    stars = [box for label, box in scene if label == "star"]
    corners = [[[x1, y1], [x1, y2], [x2, y2], [x2, y1]] for x1, y1, x2, y2 in stars[:3]]
    dots = [[(x1 + x2) / 2, (y1 + y2) / 2] for x1, y1, x2, y2 in stars]
    _json("fsc147/annotation_FSC147_384.json",
          {"scene.jpg": {"H": 336, "W": 448, "box_examples_coordinates": corners, "points": dots}})  # fmt: skip
    (HERE / "fsc147" / "ImageClasses_FSC147.txt").write_text("scene.jpg\tstars\n")
    _json("fsc147/Train_Test_Val_FSC_147.json", {"train": ["scene.jpg"], "val": [], "test": []})
    # The two things of a kind that are nearest to each other, in one box as a pile of two.
    pairs = [(_union(a, b), label, {a, b}) for label, a in scene for other, b in scene if label == other and a < b]
    box, label, pile = min(pairs, key=lambda pair: (pair[0][2] - pair[0][0]) * (pair[0][3] - pair[0][1]))
    lines = [(*each, name, 1) for name, each in scene if each not in pile]
    piles = "".join(",".join(map(str, line)) + "\n" for line in [*lines, (*box, label, 2)])
    _text("locount/scene.txt", piles)


def _union(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return min(first[0], second[0]), min(first[1], second[1]), max(first[2], second[2]), max(first[3], second[3])


def write_yolo(sizes: dict[str, tuple[int, int]]) -> None:
    """A YOLO folder: boxes, and a polygon."""
    for name, objects in PHOTOS.items():
        width, height = sizes[name]
        lines = []
        for number, (label, box) in enumerate(objects):
            x1, y1, x2, y2 = box
            values = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
            if (name, number) == ("chelsea", 2):
                corners = _ellipse(box)
                values = [value / (height if index % 2 else width) for index, value in enumerate(corners)]
            lines.append(f"{CLASSES.index(label)} {' '.join(f'{value:.6f}' for value in values)}\n")
        _text(f"yolo/labels/{name}.txt", "".join(lines))
    _text("yolo/data.yaml", f"names: [{', '.join(CLASSES)}]\n")


def write_lines(sizes: dict[str, tuple[int, int]]) -> None:
    """The plain format: one object a line, with order and unit."""
    lines = [
        json.dumps(
            {
                "image": f"{name}.jpg",
                "size": sizes[name],
                "order": "xyxy",
                "unit": "pixels",
                "objects": [{"label": label, "box": box} for label, box in objects],
                "complete": sorted({label for label, _ in objects}),
                "absent": ["bicycle"],
            }
        )
        for name, objects in PHOTOS.items()
    ]
    _text("lines/photos.jsonl", "\n".join(lines) + "\n")


def write_words(path: Path) -> None:
    """Words at several angles, as ICDAR 2015 and MSRA-TD500 annotate them."""
    image = PILImage.new("RGB", (448, 300), (214, 222, 230))
    font = ImageFont.truetype(
        str(sorted((ASSETS / "fonts").glob("*.ttf"))[0]), 34, layout_engine=ImageFont.Layout.BASIC
    )
    icdar, msra = [], []
    for index, (word, middle, degrees) in enumerate(
        (
            ("OPEN", (110, 70), 0),
            ("Harbour", (300, 90), 20),
            ("No. 7, left", (150, 200), -12),
            ("quiet", (350, 230), 40),
        )
    ):
        left, top, right, bottom = font.getbbox(word)
        width, height = math.ceil(right - left), math.ceil(bottom - top)
        ink = PILImage.new("L", (width, height))
        ImageDraw.Draw(ink).text((-left, -top), word, fill=255, font=font)
        turned = ink.rotate(-degrees, PILImage.Resampling.BICUBIC, expand=True)
        image.paste((40, 30, 90), (round(middle[0] - turned.width / 2), round(middle[1] - turned.height / 2)), turned)
        corners = rotated_rectangle(
            middle[0] - width / 2, middle[1] - height / 2, width, height, math.radians(degrees)
        )
        text = "###" if word == "quiet" else word
        icdar.append(",".join([*(str(round(value)) for value in corners), text]))
        x, y = round(middle[0] - width / 2), round(middle[1] - height / 2)
        msra.append(f"{index} {int(word == 'quiet')} {x} {y} {width} {height} {math.radians(degrees):.6f}")
        box = box_of_polygons([corners], image.size)
        assert box.x1 >= 0 and box.y2 <= 300
    image.save(path, "JPEG", quality=88)
    _text("icdar2015/gt_words.txt", "\ufeff" + "\n".join(icdar) + "\n")
    _text("msra_td500/words.gt", "\n".join(msra) + "\n")


def write_table(path: Path) -> None:
    """A table as PubTabNet annotates it: a header over two columns, and an empty cell. Also its layout, as COCO."""
    image = PILImage.new("RGB", (360, 200), "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.truetype(
        str(sorted((ASSETS / "fonts").glob("*.ttf"))[0]), 18, layout_engine=ImageFont.Layout.BASIC
    )
    rows: list[list[str | None]] = [
        ["", "Yield (%)", None],
        ["Oak", "12.5", "14.0"],
        ["Ash", "9.1", ""],
        ["Elm", "7.0", "8.3"],
    ]
    cells, tokens = [], []
    for number, row in enumerate(rows):
        tokens.append("<tr>")
        for column, text in enumerate(row):
            if text is None:
                continue
            tokens += ["<td", ' colspan="2"', ">", "</td>"] if text == "Yield (%)" else ["<td>", "</td>"]
            cell: dict[str, Any] = {"tokens": list(text)}
            if text:
                x, y = 30 + 110 * column, 20 + 42 * number
                pen.text((x, y), text, fill="black", font=font)
                left, top, right, bottom = pen.textbbox((x, y), text, font=font)
                cell["bbox"] = [math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)]
            cells.append(cell)
        tokens.append("</tr>")
    image.save(path)
    _text(
        "pubtabnet/tables.jsonl",
        json.dumps({"filename": "table.png", "split": "train", "imgid": 0,
                    "html": {"cells": cells, "structure": {"tokens": tokens}}}) + "\n",
    )  # fmt: skip
    box = (20, 12, 330, 180)
    layout = {
        "images": [{"id": 1, "file_name": "table.png", "width": 360, "height": 200}],
        "annotations": [_coco_annotation(1, 1, 1, box)],
        "categories": [{"id": 1, "name": "Table"}, {"id": 2, "name": "Page-header"}],
    }
    _json("layout/layout.json", layout)


def _json(name: str, value: Any) -> None:
    _text(name, json.dumps(value) + "\n")


def _csv(name: str, rows: list[Any]) -> None:
    path = HERE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _text(name: str, text: str) -> None:
    path = HERE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
