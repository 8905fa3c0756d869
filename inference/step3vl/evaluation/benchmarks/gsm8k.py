"""GSM8K: 1,319 problems of grade-school arithmetic."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.data.sample import NumberTruth
from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.extraction.verified import score_by_truth
from step3vl.evaluation.files import find, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.prompts import ask, user_message
from step3vl.evaluation.records import RecordedRun

_MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
_FINAL = re.compile(r"(?:####|A:) ?(-?[\d.,]+)")


class GSM8K(Benchmark):
    """Not in the report; the recorded outputs check how numbers are read."""

    about = About(
        name="gsm8k",
        title="GSM8K",
        paper="https://arxiv.org/abs/2110.14168",
        licence="MIT",
        items=1319,
        repeats=1,
        family="boxed",
        metric="accuracy",
        files=(DataFile("test.jsonl", "https://github.com/openai/grade-school-math", "0.8 MB"),),
        modality="text",
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, self.about.files[0].name, self.about)
        for number, record in enumerate(read_records(path)):
            require_fields(record, ("question", "answer"), path)
            message = user_message(ask("boxed", record["question"]))
            yield Item(str(number), (message,), final_number(record["answer"]))

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if rule == "strict":
            return score_by_truth(NumberTruth(value=float(item.answer)), response)
        number = final_number(response)
        if number is None:
            return Score.unparsable("no number after '####' or 'A:'")
        return Score.of(number == item.answer, number, "after the mark")

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        counts = {
            f"correct {model}": sum(each.score.value == 1 for each in scored if each.item.fields.get("model") == model)
            for model in _MODELS
            if any(each.item.fields.get("model") == model for each in scored)
        }
        return Metrics(metrics.headline, metrics.values, {**metrics.counts, **counts}, metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """The authors' `example_model_solutions.jsonl`: a question with the solutions of four models."""
        for number, row in enumerate(read_records(path)):
            require_fields(row, ("question", "ground_truth", *_MODELS), path)
            for repeat, model in enumerate(_MODELS):
                item = Item(str(number), (), final_number(row["ground_truth"]), fields={"model": model})
                solution = row[model]
                yield item, Recorded(item.id, solution["solution"], solution["is_correct"], repeat=repeat)


def final_number(text: str) -> str | None:
    """The number after the last `####`, or `A:` in older files, without commas; None without one."""
    matches = _FINAL.findall(text)
    return matches[-1].replace(",", "").rstrip(".") if matches else None


BENCHMARK = GSM8K()

RECORDS = (
    RecordedRun(
        "GSM8K",
        "example_model_solutions.jsonl.gz",
        {
            "correct 6b_finetuning": 286,
            "correct 6b_verification": 515,
            "correct 175b_finetuning": 458,
            "correct 175b_verification": 742,
        },
    ),
)
