"""ScreenSpot-Pro: 1,581 instructions on high-resolution screens of professional software."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import About, DataFile, Rule
from step3vl.evaluation.files import find_all, image_bytes, open_file, read_json, require_fields
from step3vl.evaluation.grounding import FAMILY, Grounding, grounding_prompt, in_box, unit_box
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.records import RecordedRun

_SOURCE = "https://huggingface.co/datasets/likaixin/ScreenSpot-Pro"


class ScreenSpotPro(Grounding):
    """Boxes are `x1, y1, x2, y2` in pixels. The official number is the share of all hits."""

    about = About(
        name="screenspot-pro",
        title="ScreenSpot-Pro",
        paper="https://github.com/likaixin2000/ScreenSpot-Pro-GUI-Grounding",
        licence="CC BY 4.0 (data set card)",
        items=1581,
        repeats=4,
        family=FAMILY,
        metric="accuracy: the point lies in the box, borders included",
        files=(
            DataFile("annotations/*.json", f"{_SOURCE}, annotations", "1 MB"),
            DataFile("images/*/*.png", f"{_SOURCE}, images", "5.6 GB", optional=True),
        ),
        notes=(
            "The authors' log rounds its points to pixels, of which five lie on a border only then: "
            "their verdicts (625) are taken, and the rounded points give 630.",
            "A response without a point is unparsable, never a click at (0, 0).",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for path in find_all(data, "annotations/*.json", self.about):
            for record in read_json(path):
                names = ("id", "img_filename", "bbox", "img_size", "instruction", "ui_type", "group", "application")
                require_fields(record, names, path)
                width, height = record["img_size"]
                yield Item(
                    id=str(record["id"]),
                    messages=grounding_prompt(record["instruction"]),
                    answer=record["bbox"],
                    images=(image_bytes(record["img_filename"], data / "images"),) if images else (),
                    group=record["img_filename"],
                    category=record["group"],
                    fields={
                        "box": unit_box(record["bbox"], "corners", (int(width), int(height))),
                        "kind": record["ui_type"],
                        "application": record["application"],
                    },
                )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if "correctness" not in item.fields:
            return super().score(item, response, rule)
        point = item.fields["pixels"]
        rounded = point is not None and in_box(point, item.answer)
        if item.fields["correctness"] == "wrong_format":
            return Score.unparsable("recorded verdict", rounded=rounded)
        correct = item.fields["correctness"] == "correct"
        return Score.of(correct, str(point), "recorded verdict", rounded=rounded)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The share of hits, of text and of icons, by group of software; of a log also by its rounded points."""
        metrics = super().summarise(scored)
        counts: dict[str, int] = defaultdict(int, metrics.counts)
        for each in scored:
            counts[f"{each.item.category} correct"] += each.score.verdict == "correct"
            if "rounded" in each.score.details:
                counts["correct by rounded points"] += each.score.details["rounded"]
        return Metrics(metrics.headline, metrics.values, dict(counts), metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """The log of the official script: lines (or `details`) of bbox and pred in pixels, and correctness."""
        for number, record in enumerate(_log(path)):
            require_fields(record, ("bbox", "pred", "ui_type", "group", "correctness"), path)
            id_ = str(record.get("id", record.get("idx", number)))
            item = Item(id_, (), record["bbox"], category=record["group"], fields={"kind": record["ui_type"]})
            fields = {"pixels": record["pred"], "correctness": record["correctness"]}
            response = str(record.get("raw_response", ""))
            yield item, Recorded(id_, response, record["correctness"] == "correct", fields)


def _log(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a log: lines of JSON, also in a file named .json, or an object with the rows in `details`."""
    with open_file(path) as file:
        text = file.read().decode("utf-8", "replace")
    try:
        value = json.loads(text)
        yield from value.get("details", [value])
    except ValueError:
        try:
            yield from [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise UserError(f"{path}: neither JSON nor lines of JSON: {error}") from None
    except AttributeError:
        raise UserError(f"{path}: no object with the log's rows in 'details'") from None


RECORDS = (
    RecordedRun(
        "ScreenSpot-Pro",
        "logs_sspro_omniv2.json.gz",
        {
            "correct": 625,
            "accuracy": 100 * 625 / 1581,
            "text": 100 * 555 / 977,
            "icon": 100 * 70 / 604,
            "text correct": 555,
            "icon correct": 70,
            "Dev correct": 112,
            "Creative correct": 113,
            "CAD correct": 109,
            "Scientific correct": 89,
            "Office correct": 130,
            "OS correct": 72,
            "correct by rounded points": 630,
        },
        "Verdicts as recorded: five of the log's rounded points lie on a border, and lay outside before.",
    ),
)

BENCHMARK = ScreenSpotPro()
