"""MMMU, validation, scored by VLMEvalKit's rule, which the paper used."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from step3vl.evaluation.benchmark import Rule
from step3vl.evaluation.benchmarks.mmmu import MMMU
from step3vl.evaluation.extraction.letters import read_vlmevalkit, read_vlmevalkit_2026
from step3vl.evaluation.files import read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.multiple_choice import score_reading
from step3vl.evaluation.records import RecordedRun


class MMMUByVLMEvalKit(MMMU):
    """The questions of `mmmu`. An open one becomes a choice between its answer and "Other Answers"."""

    about = replace(
        MMMU.about,
        name="mmmu-vlmevalkit",
        title="MMMU (VLMEvalKit)",
        metric="right of 900, letters by VLMEvalKit's matcher",
        notes=(
            "The official rule is the matcher that VLMEvalKit had until July 2025, which gives its recorded hits; "
            "counts that end in _2026 are by that of August 2026, which wants the letter near the end.",
            "Where the matcher reads none, VLMEvalKit asks a judge; here such a response is unparsable.",
        ),
    )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if rule == "strict":
            return super().score(item, response, rule)
        if "options" not in item.fields:
            # The judge's rule for open questions has the answer itself as an option.
            fields = {"options": [" ".join(item.answer), "Other Answers"], "open": True}
            item = Item(item.id, (), "A", category=item.category, fields=fields)
        revised = read_vlmevalkit_2026(response, item.fields["options"])
        details = {"correct_2026": revised.letter == item.answer, "unparsable_2026": revised.letter is None}
        return score_reading(item, read_vlmevalkit(response, item.fields["options"]), rule, **details)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        choice = [each for each in scored if "options" in each.item.fields]
        counts = dict(metrics.counts)
        for split in ("validation", "dev"):
            group = [each.score for each in choice if each.item.fields.get("split", "validation") == split]
            counts[f"{split}_choice_correct"] = sum(score.verdict == "correct" for score in group)
            counts[f"{split}_choice_unparsable"] = sum(score.verdict == "unparsable" for score in group)
            for name in ("correct_2026", "unparsable_2026"):
                counts[f"{split}_choice_{name}"] = sum(bool(score.details.get(name)) for score in group)
        return Metrics(metrics.headline, metrics.values, counts, metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """VLMEvalKit's prediction files as rows of index, split, field, options, answer and prediction."""
        for row in read_records(path):
            require_fields(row, ("index", "split", "field", "options", "answer", "prediction"), path)
            options = [str(option) for option in row["options"].values()]
            fields = {"options": options, "split": row["split"]} if options else {"split": row["split"]}
            answer = row["answer"] if options else [str(row["answer"])]
            item = Item(str(row["index"]), (), answer, category=row["field"], fields=fields)
            yield item, Recorded(item.id, str(row["prediction"]))


BENCHMARK = MMMUByVLMEvalKit()


def _run(model: str, published: dict[str, float | int]) -> RecordedRun:
    note = "the accuracies that were recorded in 2023 are over matched items, by a rule of that time"
    return RecordedRun("MMMU-VLMEvalKit", f"{model}_MMMU_DEV_VAL.json.gz", published, note)


RECORDS = (
    _run(
        "qwen_chat",
        {
            "validation_choice_correct": 285, "validation_choice_unparsable": 82, "choice_correct": 322,
            "validation_choice_correct_2026": 270, "validation_choice_unparsable_2026": 132,
        },
    ),
    _run(
        "idefics_9b_instruct",
        {
            "validation_choice_correct": 223, "validation_choice_unparsable": 113, "choice_correct": 266,
            "validation_choice_correct_2026": 183, "validation_choice_unparsable_2026": 238,
        },
    ),
)  # fmt: skip
