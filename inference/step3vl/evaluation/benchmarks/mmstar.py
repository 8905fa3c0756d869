"""MMStar: 1,500 questions that cannot be answered without the image, in 18 detailed axes of 6 abilities."""

import re
from collections.abc import Sequence
from dataclasses import replace

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.item import Metrics, Scored
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record

_OPTIONS = re.compile(r"\bOptions:\s*A:(.*?), B:(.*?)(?:, C:(.*?))?(?:, D:(.*?))?\.?\s*$", re.DOTALL)


class MMStar(MultipleChoice):
    """The question holds its options."""

    about = About(
        name="mmstar",
        title="MMStar",
        paper="https://github.com/MMStar-Benchmark/MMStar",
        licence="see the data card",
        items=1500,
        repeats=4,
        family="final-option",
        metric="right of 1500; the abilities have 250 each",
        files=(DataFile("*.parquet", "https://huggingface.co/datasets/Lin-Chen/MMStar", "42 MB"),),
        notes=("lmms-eval prints the mean over abilities, which differs where items are missing: `abilities`.",),
    )
    columns = Columns(options="", category="category")

    def options(self, record: Record) -> list[str]:
        match = _OPTIONS.search(str(record.get("question", "")))
        return [text.strip() for text in match.groups() if text is not None] if match else [""] * 4

    def question(self, record: Record, options: Sequence[str]) -> str:
        return str(record["question"])

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        abilities = metrics.categories.values()
        mean = sum(abilities) / len(abilities) if abilities else 0.0
        return replace(metrics, values={**metrics.values, "abilities": mean})


BENCHMARK = MMStar()
