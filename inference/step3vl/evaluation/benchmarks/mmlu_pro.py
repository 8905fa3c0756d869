"""MMLU-Pro: 12,032 questions of fourteen subjects with up to ten options."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.extraction.letters import Reading
from step3vl.evaluation.files import read_records, require_fields
from step3vl.evaluation.item import Item, Recorded
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record
from step3vl.evaluation.prompts import options_text, user_message
from step3vl.evaluation.records import RecordedRun

_SOURCE = "https://huggingface.co/datasets/TIGER-Lab/MMLU-Pro"
_PHRASE = re.compile(r"answer is \(?([A-J])\)?")
_LINE = re.compile(r"[aA]nswer:\s*([A-J])")
_ALONE = re.compile(r"\b[A-J]\b")


def read_mmlu_pro(response: str, options: Sequence[str]) -> Reading:
    """The official chain: "answer is (X)", else "Answer: X", the last in its line, else the last lone letter."""
    if match := _PHRASE.search(response):
        return Reading(match[1], "answer is")
    if matches := list(_LINE.finditer(response)):
        line_end = response.find("\n", matches[0].start())
        in_line = [match for match in matches if line_end < 0 or match.start() < line_end]
        return Reading(in_line[-1][1], "answer line")
    letters = _ALONE.findall(response)
    return Reading(letters[-1], "last letter") if letters else Reading(None, "no letter")


class MMLUPro(MultipleChoice):
    """The official code also guesses a letter where it reads none; here such a response is unparsable."""

    about = About(
        name="mmlu-pro",
        title="MMLU-Pro",
        paper="https://arxiv.org/abs/2406.01574",
        licence="MIT",
        items=12032,
        repeats=1,
        family="official",
        metric="accuracy over all questions",
        files=(DataFile("data/test-*.parquet", _SOURCE, "4 MB"),),
        modality="text",
        notes=(
            "Asked without examples; the official runs of base models show five.",
            "The official code picks a random letter where it reads none, about 0.1 point for each; here such a "
            "response is unparsable.",
        ),
    )
    columns = Columns(id="question_id", options="options", answer="answer", images=(), category="category")

    def read_official(self, response: str, options: Sequence[str]) -> Reading:
        return read_mmlu_pro(response, options)

    def messages(self, record: Record, options: Sequence[str], images: int) -> tuple[Message, ...]:
        text = (
            f"The following is a multiple choice question about {record['category']}. Think step by step and then "
            'finish your answer with "the answer is (X)" where X is the correct letter choice.\n\n'
            f"Question: {record['question']}\nOptions:\n{options_text(options)}"
        )
        return (user_message(text),)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """Records of question_id, answer, pred and the output (`model_outputs` or `generated_text` in older files)."""
        for row in read_records(path):
            require_fields(row, ("question_id", "answer"), path)
            response = next((row[name] for name in ("output", "model_outputs", "generated_text") if name in row), None)
            options = [str(option) for option in row.get("options") or [""] * 10]
            id, category = str(row["question_id"]), row.get("category", "")
            item = Item(id, (), row["answer"], category=category, fields={"options": options})
            verdict = row["pred"] == row["answer"] if "pred" in row else None
            yield item, Recorded(item.id, response or "", verdict)


BENCHMARK = MMLUPro()

RECORDS = (
    RecordedRun(
        "MMLU-Pro",
        "gemini-1.5-pro-002.jsonl.gz",
        {"correct": 8444, "accuracy": 100 * 8444 / 12020, "unparsable": 8},
        "without the random letters; a leaderboard prints 70.25",
    ),
    RecordedRun(
        "MMLU-Pro",
        "jamba-1.5-large.jsonl.gz",
        {"correct": 5951, "accuracy": 100 * 5951 / 12032, "unparsable": 56},
        "without the random letters",
    ),
    RecordedRun(
        "MMLU-Pro",
        "Phi-3-mini-4k-instruct.jsonl.gz",
        {"correct": 5130, "accuracy": 100 * 5130 / 12032, "unparsable": 912},
        "recorded with an older chain that stops at 'answer is': 4991, and 1855 without a letter",
    ),
)
