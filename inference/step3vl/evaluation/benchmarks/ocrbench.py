"""OCRBench: a thousand questions on texts in images, right where the response contains an answer."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Recorded, Score
from step3vl.evaluation.multiple_choice import Record, listed
from step3vl.evaluation.prompts import ask, user_message
from step3vl.evaluation.recorded_runs import select_run
from step3vl.evaluation.records import RecordedRun

_FORMULAS = "HME100k"


class OCRBench(Benchmark):
    """Both rules are the official one, which has no extraction that could guess."""

    about = About(
        name="ocrbench",
        title="OCRBench",
        paper="https://github.com/Yuliang-Liu/MultimodalOCR",
        licence="MIT (questions); images of 29 sources with terms of their own",
        items=1000,
        repeats=4,
        family="bare",
        metric="right of 1000, in percent (the authors print the count)",
        files=(
            DataFile("OCRBench.json", "https://github.com/Yuliang-Liu/MultimodalOCR, OCRBench/OCRBench", "300 kB"),
            DataFile("OCRBench_Images/**/*", "the drive that the repository's README names", "80 MB", optional=True),
        ),
        notes=(
            "Case and line breaks do not count, except for handwritten formulas (HME100k): there blanks do not, and "
            "case does. A port that lower-cases only the response makes nearly all formulas wrong.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "OCRBench.json", self.about)
        for number, record in enumerate(read_records(path)):
            item = _item(record, number, path)
            files = (image_bytes(record["image_path"], data / "OCRBench_Images"),) if images else ()
            message = user_message(ask(self.about.family, record["question"]), len(files))
            yield replace(item, messages=(message,), images=files)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if not response.strip():
            return Score.unparsable("empty")
        normalise = _formula if item.fields["dataset"] == _FORMULAS else _text
        text = normalise(response)
        match = next((answer for answer in item.answer if normalise(answer) in text), None)
        return Score.of(match is not None, match, "contained" if match is not None else "no answer contained")

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """Rows of OCRBench.json with `predict` and `result`; `file.json#model` selects a model of several."""
        _, rows = select_run(path)
        for number, row in enumerate(rows):
            require_fields(row, ("predict",), path)
            item = _item(row, number, path)
            yield item, Recorded(item.id, str(row["predict"]), row.get("result"))


def _item(record: Record, number: int, path: Path) -> Item:
    require_fields(record, ("dataset_name", "image_path", "question", "answers", "type"), path)
    answers = [str(answer) for answer in listed(record["answers"])]
    fields = {"dataset": record["dataset_name"]}
    return Item(str(number), (), answers, category=record["type"], fields=fields)


def _text(text: str) -> str:
    return text.lower().strip().replace("\n", " ")


def _formula(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")


BENCHMARK = OCRBench()


def _run(model: str, correct: int) -> RecordedRun:
    note = "computed by the official code on 397 questions; no number was published for them"
    return RecordedRun("OCRBench", f"ocrbench_joined_397x5.json.gz#{model}", {"correct": correct, "items": 397}, note)


RECORDS = (
    _run("LLaVA", 158), _run("MiniGPT4", 120), _run("OpenFlamingo", 170), _run("T5", 195), _run("mPLUG", 217),
)  # fmt: skip
