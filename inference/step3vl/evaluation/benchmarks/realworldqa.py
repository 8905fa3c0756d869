"""RealWorldQA: photographs, mostly from vehicles, with questions of choice, numbers and short answers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from step3vl.evaluation.benchmark import About, DataFile, Rule
from step3vl.evaluation.extraction.open_answers import score_strictly
from step3vl.evaluation.files import read_records, require_fields
from step3vl.evaluation.item import Item, Recorded, Score
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record
from step3vl.evaluation.prompts import ask, user_message
from step3vl.evaluation.records import RecordedRun

_OPTION = re.compile(r"^([A-H])[.)]\s*(.*)$", re.MULTILINE)
_INSTRUCTION = re.compile(r"\s*Please answer directly with [^.]{0,99}\.\s*$")


class RealWorldQA(MultipleChoice):
    """The question holds its options, where it has any, and an instruction, which the family's replaces."""

    about = About(
        name="realworldqa",
        title="RealWorldQA",
        paper="https://x.ai/news/grok-1.5v",
        licence="CC BY-ND 4.0",
        items=765,
        repeats=4,
        family="final-option",
        metric="right of 765",
        files=(DataFile("**/test-*.parquet", "https://huggingface.co/datasets/xai-org/RealworldQA", "680 MB"),),
        notes=(
            "The recorded predictions are lists as text, ['A'], which VLMEvalKit's matcher cannot read; it asked a "
            "judge, whose recorded verdicts count in the official rule. The letters alone give 380 instead of 372: "
            "the judge called eleven right letters wrong, and accepted three texts.",
            "Answers that are words or numbers are compared as texts; VLMEvalKit made options of all of them.",
        ),
    )
    columns = Columns(id="", question="question", options="", answer="answer")

    def item(self, record: Record, number: int, path: Path, images: Sequence[bytes | Path]) -> Item:
        require_fields(record, ("question", "answer"), path)
        question = _INSTRUCTION.sub("", str(record["question"]))
        options = [text for _, text in _OPTION.findall(question)]
        answer = str(record["answer"]).strip()
        family = self.about.family if options else "final-answer"
        messages = (user_message(ask(family, question), len(images)),)
        fields: Mapping[str, Any] = {"options": options} if options else {}
        return Item(str(number), messages, answer if options else [answer], tuple(images), fields=fields)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if "options" in item.fields:
            return super().score(item, response, rule)
        return score_strictly(response, item.answer)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """VLMEvalKit's result files as rows of index, n_options, answer, prediction and hit."""
        for row in read_records(path):
            require_fields(row, ("index", "n_options", "answer", "prediction"), path)
            item = Item(str(row["index"]), (), row["answer"], fields={"options": [""] * row["n_options"]})
            yield item, Recorded(item.id, str(row["prediction"]), row.get("hit"), {"judgement": row.get("hit")})


BENCHMARK = RealWorldQA()

RECORDS = (
    RecordedRun(
        "RealWorldQA",
        "mPLUG-Owl3.json.gz",
        {"accuracy": 100 * 372 / 765, "correct": 372},
        "verdicts of the judge; the letters alone give 380",
    ),
)
