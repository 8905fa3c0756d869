"""V* Bench: small details in large photographs: attributes of objects, and where they lie."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from step3vl.evaluation.benchmark import About, DataFile, Rule
from step3vl.evaluation.extraction.letters import Reading
from step3vl.evaluation.files import require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record, score_reading
from step3vl.evaluation.prompts import LETTERS
from step3vl.evaluation.recorded_runs import select_run
from step3vl.evaluation.records import RecordedRun
from step3vl.grading import marked_answer

_OPTION = re.compile(r"^\(([A-F])\)[ \t]*(.*)$", re.MULTILINE)
_INSTRUCTION = re.compile(r"\s*Answer with the option's letter from the given choices directly\.\s*$")


class VStar(MultipleChoice):
    """The question holds its options and an instruction, which the family's replaces."""

    about = About(
        name="vstar",
        title="V*",
        paper="https://github.com/penghao-wu/vstar",
        licence="MIT",
        items=191,
        repeats=4,
        family="final-option",
        metric="right of 191, over both kinds of questions (micro)",
        files=(
            DataFile("test_questions.jsonl", "https://huggingface.co/datasets/craigwu/vstar_bench", "90 kB"),
            DataFile("*/*.jpg", "https://huggingface.co/datasets/craigwu/vstar_bench", "950 MB", optional=True),
        ),
        notes=(
            "The authors compare the likelihoods of options. The official rule here is that of DeepEyes, whose "
            "outputs are recorded: the letter, or the answer's text; what is neither goes to a judge, whose recorded "
            "verdict counts, else it is unparsable.",
        ),
    )
    columns = Columns(id="question_id", question="text", options="", answer="label", category="category")

    def question(self, record: Record, options: Sequence[str]) -> str:
        return _INSTRUCTION.sub("", str(record["text"]))

    def options(self, record: Record) -> list[str]:
        return [text.strip() for _, text in _OPTION.findall(str(record["text"]))] or [""] * 4

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if rule == "strict":
            return super().score(item, response, rule)
        return score_reading(item, read_deepeyes(response, item), rule)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        return replace(metrics, values={**metrics.values, **metrics.categories})

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """DeepEyes' results: runs of two kinds of questions, each with question, answer, pred_ans and acc.

        `file.json#run` selects a run. The answer is a text, and always option A of the prompt.
        """
        _, kinds = select_run(path)
        for kind, rows in kinds.items():
            for row in rows:
                require_fields(row, ("image", "question", "answer", "pred_ans", "acc"), path)
                fields = {"options": [row["answer"], *[""] * 3]}
                item = Item(f"{kind}/{row['image']}", (), "A", category=kind, fields=fields)
                yield item, Recorded(item.id, str(row["pred_ans"]), row["acc"], {"judgement": row["acc"]})


def read_deepeyes(response: str, item: Item) -> Reading:
    """DeepEyes' rule: the letter alone, or the text of the answer anywhere; all else is for its judge."""
    if r"\boxed" in response:
        response = marked_answer(response) or response
    response = response.strip()
    if len(response) == 1 or (len(response) == 2 and "." in response):
        return Reading(response[0].upper(), "the letter alone")
    text = item.fields["options"][LETTERS.index(item.answer)]
    if text and text in response:
        return Reading(item.answer, "the answer's text")
    return Reading(None, "the official code asks a judge")


BENCHMARK = VStar()


def _run(name: str, correct: int, attributes: int, positions: int) -> RecordedRun:
    published = {
        "accuracy": 100 * correct / 191, "correct": correct,
        "direct_attributes": 100 * attributes / 115, "relative_position": 100 * positions / 76,
    }  # fmt: skip
    return RecordedRun("VStar", f"deepeyes_3runs.json.gz#{name}", published)


RECORDS = (
    _run("multiturn_all21k_0.8acc_-0.2format_0.4tool_4node_ds4_bugfree/global_step_32", 167, 106, 61),
    _run("multiturn_all21k_0.8acc_-0.2format_0.4tool_2node_ds1/global_step_48", 166, 98, 68),
    _run("merge_ds1_step48_ds4_step40", 148, 98, 50),
)
