"""MMBench-GUI L2: element grounding on six platforms, by basic and by advanced instructions."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.data.sample import Size
from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.grounding import FAMILY, Grounding, grounding_prompt, image_size, unit_box
from step3vl.evaluation.item import Item


class MMBenchGUIL2(Grounding):
    """Results by platform and kind of instruction, as the authors report them."""

    about = About(
        name="mmbench-gui-l2",
        title="MMBench-GUI (L2)",
        paper="https://github.com/open-compass/MMBench-GUI",
        licence="Apache-2.0",
        items=3574,
        repeats=4,
        family=FAMILY,
        metric="accuracy: the point lies in the box, borders included",
        files=(
            DataFile("L2_annotations.json", "https://huggingface.co/datasets/OpenGVLab/MMBench-GUI", "2 MB"),
            DataFile("offline_images/*/*.png", "https://huggingface.co/datasets/OpenGVLab/MMBench-GUI", "2 GB"),
        ),
        notes=(
            "The official files mix boxes in pixels and in 0..1: one whose four numbers are all in 0..1 is in 0..1, "
            "as in the official code. Its -1 means 0.",
            "The images are needed for scoring as well: the file does not say how large the screens are.",
            "The official code divides points greater than 1 by the image's size, so that answers in 0..1000 miss; "
            "here answers are in 0..1000.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "L2_annotations.json", self.about)
        for number, record in enumerate(read_records(path)):
            names = ("image_path", "instruction", "bbox", "platform", "grounding_type", "data_type")
            require_fields(record, names, path)
            image = image_bytes(f"{record['platform']}/{record['image_path']}", data / "offline_images")
            yield Item(
                id=str(record.get("index", number)),
                messages=grounding_prompt(record["instruction"]),
                answer=record["bbox"],
                images=(image,) if images else (),
                group=f"{record['platform']}/{record['image_path']}",
                category=f"{record['platform']}, {record['grounding_type']}",
                fields={"box": _box(record["bbox"], image_size(image)), "kind": record["data_type"]},
            )


def _box(values: list[float], size: Size) -> list[float]:
    if all(0 <= value <= 1 for value in values):
        return [float(value) for value in values]
    return unit_box([0 if value == -1 else value for value in values], "corners", size)


BENCHMARK = MMBenchGUIL2()
