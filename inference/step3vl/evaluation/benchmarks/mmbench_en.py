"""MMBench v1.1, development set, English: a question is right where it is with its options in all rotations."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Scored, by_category
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record, groups_correct

_ROTATION = 1_000_000
_REFERENCE = re.compile(r"\d{1,8}")


class MMBench(MultipleChoice):
    """Circular evaluation: the rotations of a question share `index` modulo a million.

    An image may be the index of another row, which holds it.
    """

    about = About(
        name="mmbench-en",
        title="MMBench EN",
        paper="https://github.com/open-compass/MMBench",
        licence="Apache-2.0",
        items=4876,
        repeats=4,
        family="final-option",
        metric="questions that are right in all rotations of their options",
        files=(
            DataFile("MMBench_DEV_EN_V11.tsv", "https://opencompass.openxlab.space/utils/benchmarks/MMBench", "40 MB"),
        ),
        notes=(
            "The authors' server grades by VLMEvalKit's matcher, and asks a judge where it reads none; here such a "
            "response is unparsable.",
        ),
    )
    columns = Columns(options=("A", "B", "C", "D"), category="l2-category", hint="hint")

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, self.about.files[0].name, self.about)
        shared = {str(record["index"]): record["image"] for record in self._rows(path) if not _is_reference(record)}
        for number, record in enumerate(self._rows(path)):
            value = record["image"]
            if _is_reference(record):
                if value not in shared:
                    raise UserError(f"{path}, index {record['index']}: its image is that of {value}, which has none")
                value = shared[value]
            yield self.item(record, number, path, [image_bytes(value, data)] if images else [])

    def _rows(self, path: Path) -> Iterator[Record]:
        for record in read_records(path):
            require_fields(record, ("index", "question", "answer", "image"), path)
            yield record

    def group(self, record: Record, number: int) -> str:
        return str(int(record["index"]) % _ROTATION)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        correct, questions = _questions(scored)
        values = {"accuracy": _accuracy(scored), "single": metrics.value}
        counts = {**metrics.counts, "questions_correct": correct, "questions": questions}
        return replace(metrics, values=values, counts=counts, categories=by_category(scored, _accuracy))


def _questions(scored: Sequence[Scored]) -> tuple[int, int]:
    """How many questions are right in all their rotations, and how many there are."""
    return groups_correct(scored, [each.item.group for each in scored])


def _accuracy(scored: Sequence[Scored]) -> float:
    correct, questions = _questions(scored)
    return 100 * correct / questions if questions else 0.0


def _is_reference(record: Record) -> bool:
    return _REFERENCE.fullmatch(str(record["image"])) is not None


BENCHMARK = MMBench()
