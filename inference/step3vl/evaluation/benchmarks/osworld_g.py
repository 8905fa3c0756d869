"""OSWorld-G: 564 instructions on desktop screens; targets are boxes, polygons, or missing."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.grounding import FAMILY, Grounding, grounding_prompt, unit_box
from step3vl.evaluation.item import Item, Metrics, Scored, mean_percent


class OSWorldG(Grounding):
    """The headline is over the items with a target, as the paper's digits suggest; refusals have their own number."""

    about = About(
        name="osworld-g",
        title="OSWorld-G",
        paper="https://github.com/xlang-ai/OSWorld-G",
        licence="Apache-2.0",
        items=564,
        repeats=4,
        family=FAMILY,
        metric="accuracy over the 510 items with a target: the point lies in the box or polygon",
        files=(
            DataFile("OSWorld-G.json", "https://github.com/xlang-ai/OSWorld-G, benchmark", "0.4 MB"),
            DataFile(
                "images/*.png", "https://github.com/xlang-ai/OSWorld-G, benchmark/images", "0.3 GB", optional=True
            ),
        ),
        notes=(
            'A target is refused by `{"point_2d": null}` or by a point with negative coordinates; '
            "`with refusals` is the accuracy over all 564 items.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "OSWorld-G.json", self.about)
        for record in read_records(path):
            names = ("id", "image_path", "image_size", "instruction", "box_type", "box_coordinates")
            require_fields(record, names, path)
            yield Item(
                id=str(record["id"]),
                messages=grounding_prompt(record["instruction"]),
                answer=record["box_coordinates"],
                images=(image_bytes(record["image_path"], data / "images"),) if images else (),
                group=record["image_path"],
                category=", ".join(record.get("GUI_types") or ()),
                fields={"kind": record["box_type"], **_target(record, path)},
            )

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The accuracy over targets, over refusals, and over all."""
        targets = [each for each in scored if each.item.fields["kind"] != "refusal"]
        metrics = super().summarise(targets)
        refusals = [each for each in scored if each.item.fields["kind"] == "refusal"]
        values = {**metrics.values, "refusal": mean_percent(refusals), "with refusals": mean_percent(scored)}
        counts = {**metrics.counts, "refusal items": len(refusals)}
        return Metrics(metrics.headline, values, counts, metrics.categories)


def _target(record: dict[str, Any], path: Path) -> dict[str, Any]:
    """The target in 0..1; a polygon of two corners is a box."""
    width, height = (int(value) for value in record["image_size"])
    values = record["box_coordinates"]
    match record["box_type"]:
        case "bbox":
            return {"box": unit_box(values, "corner and size", (width, height))}
        case "polygon":
            corners = list(zip(values[::2], values[1::2], strict=True))
            if len(corners) < 3:
                raise UserError(f"{path}: {record['id']}: a polygon of {len(corners)} corners")
            return {"polygon": [[x / width, y / height] for x, y in corners]}
        case "refusal":
            return {}
    raise UserError(f"{path}: {record['id']}: box_type '{record['box_type']}' is none of bbox, polygon, refusal")


BENCHMARK = OSWorldG()
