"""SuperGPQA: 26,529 questions of 285 graduate disciplines with up to ten options."""

import re
from collections.abc import Sequence

from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.extraction.letters import Reading
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record
from step3vl.evaluation.prompts import options_text, user_message

_LINE = re.compile(r"answer(?:\s{0,5}[:：]|\s{1,5}is)\W{0,10}([A-J])(?![A-Za-z])", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{\W{0,5}([A-J])\b")


def read_supergpqa(response: str, options: Sequence[str]) -> Reading:
    """The letter after the last "Answer:" or "answer is", else in the last box."""
    for pattern, trace in ((_LINE, "answer line"), (_BOXED, "boxed")):
        if matches := list(pattern.finditer(response)):
            return Reading(matches[-1][1].upper(), trace)
    return Reading(None, "no answer line")


class SuperGPQA(MultipleChoice):
    """Asked without examples, for a last line "Answer: X"."""

    about = About(
        name="supergpqa",
        title="SuperGPQA",
        paper="https://arxiv.org/abs/2502.14739",
        licence="ODC-BY",
        items=26529,
        repeats=1,
        family="official",
        metric="accuracy over all questions",
        files=(DataFile("SuperGPQA-all.jsonl", "https://huggingface.co/datasets/m-a-p/SuperGPQA", "19 MB"),),
        modality="text",
        notes=("No outputs with verdicts are published; the official rule is our reading of its description.",),
    )
    columns = Columns(id="uuid", options="options", answer="answer_letter", images=(), category="discipline")

    def read_official(self, response: str, options: Sequence[str]) -> Reading:
        return read_supergpqa(response, options)

    def messages(self, record: Record, options: Sequence[str], images: int) -> tuple[Message, ...]:
        text = (
            "Answer the following multiple choice question. There is only one correct answer. The last line of your "
            f"response must be in the format 'Answer: $LETTER', where LETTER is one of the options.\n\n"
            f"{record['question']}\n{options_text(options, '{letter}) {option}')}"
        )
        return (user_message(text),)


BENCHMARK = SuperGPQA()
