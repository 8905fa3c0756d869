"""ZeroBench: 100 questions that no model answered when they were published."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from step3vl.data.sample import TextTruth
from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.extraction.verified import final_part
from step3vl.evaluation.files import find_all, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Score
from step3vl.evaluation.prompts import ask, user_message
from step3vl.grading import grade_answer

SOURCE = "https://huggingface.co/datasets/jonathan-roberts1/zerobench"
METRIC = "accuracy: exactly the answer"
NOTES = (
    "The authors' prompt asks for the answer in braces; the paper's has it boxed, and both are read.",
    "Compared are texts in lower case without spaces at the ends, thousands separators aside.",
)


class ZeroBench(Benchmark):
    """A split of the benchmark."""

    split: ClassVar[str] = "zerobench"

    about = About(
        name="zerobench-main",
        title="ZeroBench (main)",
        paper="zerobench.github.io",
        licence="CC BY 4.0; not for training",
        items=100,
        repeats=4,
        family="boxed",
        metric=METRIC,
        files=(DataFile("zerobench-*.parquet", f"{SOURCE}, data", "0.3 GB"),),
        notes=NOTES,
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for path in find_all(data, f"{self.split}-*.parquet", self.about):
            for record in read_records(path):
                names = ("question_id", "question_text", "question_images_decoded", "question_answer")
                require_fields(record, names, path)
                encoded = record["question_images_decoded"] or ()
                yield Item(
                    id=str(record["question_id"]),
                    messages=(user_message(ask("boxed", record["question_text"]), images=len(encoded)),),
                    answer=str(record["question_answer"]),
                    images=tuple(image_bytes(image) for image in encoded) if images else (),
                    group=str(record["question_id"]).partition("_")[0],
                )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        answer, trace = final_part(response)
        if trace != "marked as final" and "{" in response:
            inside = response.rpartition("{")[2].partition("}")
            answer, trace = (inside[0], "in braces") if inside[1] else (answer, trace)
        if not answer:
            return Score.unparsable("no answer")
        if rule == "official":
            return Score.of(_plain(answer) == _plain(item.answer), answer, trace)
        grade = grade_answer(TextTruth(text=item.answer), answer)
        return Score.of(grade.verdict == "correct" or _plain(answer) == _plain(item.answer), answer, trace)


def _plain(text: str) -> str:
    return text.strip().strip("$").strip().lower().replace(",", "")


BENCHMARK = ZeroBench()
