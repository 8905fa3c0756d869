"""PixMo-Count, test set: two to ten objects of a kind, counted by a detector and checked by people."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.counting import Counting
from step3vl.evaluation.files import find_all, read_records, require_fields
from step3vl.evaluation.item import Item
from step3vl.evaluation.prompts import ask, user_message


class PixMoCount(Counting):
    """The release names images by address; they are expected as files named by their hash."""

    about = About(
        name="pixmo-count",
        title="PixMo-Count",
        paper="https://huggingface.co/datasets/allenai/pixmo-count",
        licence="ODC-BY-1.0",
        items=540,
        repeats=4,
        family="final-number",
        metric="right of the items whose images can still be had",
        files=(
            DataFile("data/test-*.parquet", "https://huggingface.co/datasets/allenai/pixmo-count", "100 kB"),
            DataFile("images/*", "the addresses in image_url, named by image_sha256", "200 MB", True),
        ),
        notes=(
            "Items whose image is gone from the web are left out (a mirror of 2025 has 528); the paper's numbers fit "
            "no number of items from 400 to 560.",
            "The question is 'How many LABEL are there in the image?'; the release has labels only.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        files = {path.stem: path for path in (data / "images").glob("*") if path.is_file()}
        if images and not files:
            raise UserError(f"{data / 'images'}: no images; download them from {self.about.files[1].source}")
        for path in find_all(data, self.about.files[0].name, self.about):
            for record in read_records(path):
                require_fields(record, ("image_sha256", "label", "count"), path)
                image = files.get(record["image_sha256"])
                if image is None and files:
                    continue
                values = (image,) if images and image else ()
                question = ask(self.about.family, f"How many {record['label']} are there in the image?")
                yield Item(
                    record["image_sha256"], (user_message(question, len(values)),), int(record["count"]), values
                )


BENCHMARK = PixMoCount()
