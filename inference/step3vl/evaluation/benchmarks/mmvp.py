"""MMVP: pairs of images that CLIP takes for the same, with the same question; both must be right."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from step3vl.evaluation.benchmark import About, DataFile, Rule
from step3vl.evaluation.files import image_bytes
from step3vl.evaluation.item import Item, Metrics, Score, Scored
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record, groups_correct

_OPTION = re.compile(r"\([a-z]\)\s*([^()]+)")
_SLIPS = {99: "A", 100: "B", 279: "A", 280: "B"}
"""Labels of the first release that are swapped (tsb0601/MMVP, issues 14 and 30), by index from 1."""


class MMVP(MultipleChoice):
    """Neighbours, 1 and 2, 3 and 4, form the pairs."""

    about = About(
        name="mmvp",
        title="MMVP",
        paper="https://github.com/tsb0601/MMVP",
        licence="MIT",
        items=300,
        repeats=4,
        family="select-option",
        metric="pairs of which both are right, of 150",
        files=(
            DataFile("Questions.csv", "https://huggingface.co/datasets/MMVP/MMVP", "20 kB"),
            DataFile("MMVP Images/*.jpg", "https://huggingface.co/datasets/MMVP/MMVP", "30 MB", optional=True),
        ),
        notes=(
            "Two pairs of the first release have their labels swapped (99 and 100, 279 and 280); the strict rule "
            "repairs them, the official one keeps the file's. A corrected copy: lmms-lab-eval/MMVP.",
            "The authors let GPT-4 compare; here the official rule is VLMEvalKit's matcher.",
        ),
    )
    columns = Columns(id="Index", question="Question", options="Options", answer="Correct Answer", images=())

    def options(self, record: Record) -> list[str]:
        return [text.strip() for text in _OPTION.findall(str(record["Options"]))]

    def image_values(self, record: Record, data: Path) -> list[bytes | Path]:
        return [image_bytes(f"{record['Index']}.jpg", data / "MMVP Images")]

    def group(self, record: Record, number: int) -> str:
        return str((int(record["Index"]) - 1) // 2)

    def fields(self, record: Record) -> Mapping[str, Any]:
        label = _SLIPS.get(int(record["Index"]))
        if label is None or str(record["Correct Answer"]).strip("() ").upper() != label:
            return {}
        return {"corrected": "BA"["AB".index(label)]}

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if rule == "strict" and "corrected" in item.fields:
            item = replace(item, answer=item.fields["corrected"])
        return super().score(item, response, rule)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        correct, pairs = groups_correct(scored, [each.item.group for each in scored])
        values = {"accuracy": 100 * correct / pairs if pairs else 0.0, "single": metrics.value}
        return replace(metrics, values=values, counts={**metrics.counts, "pairs_correct": correct, "pairs": pairs})


BENCHMARK = MMVP()
