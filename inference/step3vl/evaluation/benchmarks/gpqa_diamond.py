"""GPQA Diamond: 198 questions of biology, physics and chemistry that experts wrote."""

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.extraction.letters import Reading
from step3vl.evaluation.files import find, read_records, require_fields
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record
from step3vl.evaluation.prompts import LETTERS, options_text, user_message

_ANSWERS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
_LINE = re.compile(r"Answer[ \t]*:[ \t]*\$?([A-D])\$?", re.IGNORECASE)


def read_answer_line(response: str, options: Sequence[str]) -> Reading:
    """The rule of OpenAI's simple-evals: the letter after the first "Answer:"."""
    match = _LINE.search(response)
    return Reading(match[1].upper(), "answer line") if match else Reading(None, "no 'Answer: X'")


class GPQADiamond(MultipleChoice):
    """The order of the options is fixed for each question, by a generator seeded with its id."""

    about = About(
        name="gpqa-diamond",
        title="GPQA-Diamond",
        paper="https://arxiv.org/abs/2311.12022",
        licence="CC BY 4.0; its authors ask not to publish questions in plain text",
        items=198,
        repeats=16,
        family="official",
        metric="mean accuracy over 16 responses to each question",
        files=(DataFile("gpqa_diamond.csv", "https://huggingface.co/datasets/Idavidrein/gpqa", "1.2 MB"),),
        modality="text",
        notes=(
            "The official code shuffles the options for each run; here their order is the same in all runs.",
            "The official rule is that of simple-evals, which asks for a last line 'Answer: X'.",
        ),
    )
    columns = Columns(id="Record ID", question="Question", options="options", images=(), category="High-level domain")

    def read_official(self, response: str, options: Sequence[str]) -> Reading:
        return read_answer_line(response, options)

    def records(self, data: Path) -> Iterator[tuple[Record, Path]]:
        path = find(data, self.about.files[0].name, self.about)
        for record in read_records(path):
            require_fields(record, ("Record ID", "Question", *_ANSWERS), path)
            order = list(range(4))
            random.Random(record["Record ID"]).shuffle(order)
            options = [record[_ANSWERS[index]].strip() for index in order]
            yield {**record, "options": options, "answer": LETTERS[order.index(0)]}, path

    def messages(self, record: Record, options: Sequence[str], images: int) -> tuple[Message, ...]:
        text = (
            "Answer the following multiple choice question. Think step by step. The last line of your response must "
            f"be 'Answer: X', where X is one of ABCD.\n\n{record['Question'].strip()}\n\n"
            f"{options_text(options, '{letter}) {option}')}"
        )
        return (user_message(text),)


BENCHMARK = GPQADiamond()
