"""ReMI: reasoning over several images, in thirteen tasks from clocks to code."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.extraction.open_answers import score_strictly
from step3vl.evaluation.files import find_all, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Score
from step3vl.evaluation.multiple_choice import is_missing
from step3vl.evaluation.prompts import ask, interleaved_message


class ReMI(Benchmark):
    """Marks in the question say where images belong. There is one rule: the final part has the answer."""

    about = About(
        name="remi",
        title="ReMI",
        paper="https://huggingface.co/datasets/mehrankazemi/ReMI",
        licence="CC BY 4.0",
        items=2600,
        repeats=4,
        family="select-option",
        metric="right of 2600; the thirteen tasks have 200 each",
        files=(DataFile("test*.parquet", "https://huggingface.co/datasets/mehrankazemi/ReMI", "561 MB"),),
        notes=("The authors publish no scorer. Numbers are compared to two decimals, texts as whole words.",),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        number = 0
        for path in find_all(data, self.about.files[0].name, self.about):
            for record in read_records(path):
                require_fields(record, ("question", "label", "task"), path)
                names = [f"image_{index}" for index in range(1, 7) if not is_missing(record.get(f"image_{index}"))]
                values = tuple(image_bytes(record[name], data) for name in names) if images else ()
                message = interleaved_message(ask(self.about.family, str(record["question"])), len(values))
                answer = [str(record["label"]).strip()]
                yield Item(str(number), (message,), answer, values, category=str(record["task"]))
                number += 1

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        return score_strictly(response, item.answer)


BENCHMARK = ReMI()
