"""CV-Bench: counts, places and depths of objects, asked of images with annotations of ADE20K, COCO and Omni3D."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from step3vl.evaluation.benchmark import About, DataFile, Rule
from step3vl.evaluation.extraction.letters import read_vlmevalkit_2026
from step3vl.evaluation.files import read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored, mean_percent
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record
from step3vl.evaluation.records import RecordedRun


class CVBench(MultipleChoice):
    """2D questions weigh as much as 3D ones, and in 2D the two sources weigh the same."""

    about = About(
        name="cv-bench",
        title="CVBench",
        paper="https://github.com/cambrian-mllm/cambrian",
        licence="Apache-2.0",
        items=2638,
        repeats=4,
        family="bare",
        metric="((ADE20K + COCO) / 2 + Omni3D) / 2",
        files=(DataFile("test*.parquet", "https://huggingface.co/datasets/nyu-visionx/CV-Bench", "470 MB"),),
        notes=(
            "The official rule is VLMEvalKit's matcher until July 2025; counts that end in _2026 are by that of "
            "August 2026, which wants the letter near the end and finds 540 of 1,141 in GPT-4.1's responses in 2D.",
            "Where the matcher reads none, VLMEvalKit asks a judge: a hit that was recorded counts, else the response "
            "is unparsable.",
        ),
    )
    columns = Columns(id="idx", question="prompt", options="choices", category="task")

    def question(self, record: Record, options: Sequence[str]) -> str:
        return str(record["prompt"])

    def fields(self, record: Record) -> Mapping[str, Any]:
        return {"source": record.get("source", "")}

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        score = super().score(item, response, rule)
        if rule == "strict":
            return score
        revised = read_vlmevalkit_2026(response, item.fields["options"])
        details = {
            "correct_2026": revised.letter == item.answer,
            "unparsable_2026": revised.letter is None,
            "judged": score.extracted is None and score.verdict != "unparsable",
        }
        return replace(score, details=details)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        sources = {
            name: [each for each in scored if each.item.fields["source"] == name]
            for name in ("ADE20K", "COCO", "Omni3D")
        }
        values = {name: mean_percent(group) for name, group in sources.items() if group}
        flat = [values[name] for name in ("ADE20K", "COCO") if name in values]
        parts = [sum(flat) / len(flat)] if flat else []
        if "Omni3D" in values:
            parts.append(values["Omni3D"])
        accuracy = sum(parts) / len(parts) if parts else 0.0
        counts = {
            name: sum(each.score.details.get(name, False) for each in scored)
            for name in ("correct_2026", "unparsable_2026", "judged")
            if any(name in each.score.details for each in scored)
        }
        values |= metrics.categories
        return Metrics("accuracy", {"accuracy": accuracy, **values}, {**metrics.counts, **counts}, metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """VLMEvalKit's result files as rows of index, category, source, options, answer, prediction and hit."""
        for row in read_records(path):
            require_fields(row, ("index", "category", "options", "answer", "prediction"), path)
            options = [str(option) for option in row["options"].values()]
            fields = {"options": options, "source": row.get("source") or "Omni3D"}
            item = Item(
                f"{fields['source']}/{row['index']}", (), row["answer"], category=row["category"], fields=fields
            )
            yield item, Recorded(item.id, str(row["prediction"]), row.get("hit"), {"judgement": row.get("hit")})


BENCHMARK = CVBench()

RECORDS = (
    RecordedRun(
        "CV-Bench",
        "CV-Bench-2D_gpt-4.1.json.gz",
        {
            "correct": 1141, "ADE20K": 100 * 0.7488151658767772, "COCO": 100 * 0.8285714285714286,
            "accuracy": 100 * 0.788693297224103, "correct_2026": 540, "unparsable_2026": 810,
        },
        "GPT-4.1 in 2D; the score of both parts is the mean of 78.869 and 88.583",
    ),
    RecordedRun(
        "CV-Bench",
        "CV-Bench-3D_gpt-4.1.json.gz",
        {
            "correct": 1063, "Depth": 100 * 527 / 600, "Distance": 100 * 536 / 600, "accuracy": 100 * 1063 / 1200,
            "correct_2026": 257, "unparsable_2026": 931, "judged": 46,
        },
        "GPT-4.1 in 3D; 46 verdicts are the judge's",
    ),
)  # fmt: skip
