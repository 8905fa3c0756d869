"""A small benchmark for the tests of what all benchmarks share: sums in groups, one with an image."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.data.sample import Message, image, text
from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.records import RecordedRun


class ToySums(Benchmark):
    """Two variants of each sum; the headline is the share of sums whose variants are all right."""

    about = About(
        name="toy-sums",
        title="MMVP",
        paper="a toy",
        licence="Apache-2.0",
        items=6,
        repeats=2,
        family="number",
        metric="sums with all variants right",
        files=(
            DataFile("sums.jsonl", "the tests", "1 kB"),
            DataFile("images/*.png", "the tests", "1 kB", optional=True),
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "sums.jsonl", self.about)
        for record in read_records(path):
            require_fields(record, ("id", "sum", "answer"), path)
            parts = [text(record["sum"])]
            encoded: tuple[bytes | Path, ...] = ()
            if record.get("image"):
                parts.insert(0, image(0))
                encoded = (image_bytes(record["image"], data),) if images else ()
            group = record["id"].partition("-")[0]
            yield Item(
                record["id"],
                (Message(role="user", content=tuple(parts)),),
                record["answer"],
                encoded,
                group=group,
                category="even" if record["answer"] % 2 == 0 else "odd",
                fields={"sum": group},
            )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        numbers = re.findall(r"\d{1,9}", response[-1000:])
        if not numbers:
            return Score.of(False, "0", "zero by default") if rule == "official" else Score.unparsable("no number")
        return Score.of(int(numbers[-1]) == item.answer, numbers[-1], "last number")

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        groups: dict[tuple[str, int], bool] = {}
        for each in scored:
            key = (each.item.fields["sum"], each.repeat)
            groups[key] = groups.get(key, True) and each.score.verdict == "correct"
        values = {"all": 100 * sum(groups.values()) / len(groups), **metrics.values}
        return Metrics("all", values, metrics.counts, metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        for record in read_records(path):
            require_fields(record, ("question_id", "prediction"), path)
            yield None, Recorded(record["question_id"], record["prediction"], record.get("hit"))


BENCHMARK = ToySums()
RECORDS = (
    RecordedRun("TOY", "model.json.gz", {"all": 100 / 3, "correct": 4}),
    RecordedRun("TOY", "other.json", {"correct": 5}, "never published"),
)
