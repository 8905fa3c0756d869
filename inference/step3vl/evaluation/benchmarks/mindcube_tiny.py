"""MindCube, tiny split: mental models of a scene from a few views."""

import re
from collections.abc import Sequence

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.extraction.letters import Reading
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record

_SECTION = re.compile(r"<Answer>([^<]*)")
_IN_SECTION = (
    re.compile(r"[Mm]y answer is ([A-E])"),
    re.compile(r"[Tt]he answer is ([A-E])"),
    re.compile(r"\b([A-E])\b"),
)
_IN_TEXT = (
    re.compile(r"(?:^|\n)(?:Answer: )?([A-E])(?:$|\s)"),
    re.compile(r"[*\"]([A-E])[*\"]"),
    re.compile(r"\bAnswer:?\s*([A-E])\b"),
    re.compile(r"[Mm]y answer is ([A-E])"),
    re.compile(r"answer is ([A-E])"),
)
_POINTED = re.compile(r"([A-E])\.")
_ALONE = re.compile(r"\b([A-E])\b")


def read_mindcube(response: str, options: Sequence[str]) -> Reading:
    """The authors' rule: the last `X.`; else the last letter of the first pattern that fits; else a line's."""
    if pointed := _POINTED.findall(response):
        return Reading(pointed[-1], "the last 'X.'")
    section = _SECTION.search(response)
    searches = [(pattern, section[1]) for pattern in _IN_SECTION] if section else []
    for pattern, text in (*searches, *((pattern, response) for pattern in _IN_TEXT)):
        if letters := pattern.findall(text):
            return Reading(letters[-1], "the last after an answer phrase, or set off")
    for line in reversed(response.split("\n")):
        if match := _ALONE.search(line):
            return Reading(match[1], "the first letter of the last line with one")
    return Reading(None, "no letter")


class MindCubeTiny(MultipleChoice):
    """The question holds its options."""

    about = About(
        name="mindcube-tiny",
        title="MindCube-tiny",
        paper="https://github.com/mll-lab-nu/MindCube",
        licence="MIT",
        items=1050,
        repeats=4,
        family="final-option",
        metric="right of 1050",
        files=(
            DataFile(
                "raw/MindCube_tinybench.jsonl", "https://huggingface.co/datasets/MLL-Lab/MindCube, data.zip", "1 MB"
            ),
            DataFile("other_all_image/**/*", "the same", "1 GB", optional=True),
        ),
        notes=("The paper's numbers are no multiples of 1/4200, which 1,050 items with 4 responses would give.",),
    )
    columns = Columns(id="id", options="", answer="gt_answer", images=("images",))

    def read_official(self, response: str, options: Sequence[str]) -> Reading:
        return read_mindcube(response, options)

    def options(self, record: Record) -> list[str]:
        return [""] * 5


BENCHMARK = MindCubeTiny()
