"""MMSI-Bench: questions on space that need several images."""

import re
from collections.abc import Sequence

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.extraction.letters import Reading
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record

_DOUBLE = re.compile(r"``([^`]*)``")
_LETTER = re.compile(r"\b[A-F]\b(?!\s[a-zA-Z])", re.IGNORECASE)
_INSTRUCTION = (
    "Answer with the option's letter from the given choices directly. Enclose the option's letter within ``."
)


def read_mmsi(response: str, options: Sequence[str]) -> Reading:
    """The authors' rule: what backticks, then braces, enclose; in it the first letter that no word follows."""
    if match := _DOUBLE.search(response):
        response = match[1]
    for opening, closing in ("``", "{}"):
        start = response.find(opening)
        end = response.find(closing, start + 1)
        if 0 <= start < end:
            response = response[start + 1 : end]
    match = _LETTER.search(response)
    return Reading(match[0].upper(), "enclosed, or the first letter") if match else Reading(None, "no letter")


class MMSIBench(MultipleChoice):
    """The question holds its options; the prompt is the authors'."""

    about = About(
        name="mmsi-bench",
        title="MMSI-Bench",
        paper="https://github.com/InternRobotics/MMSI-Bench",
        licence="CC BY 4.0",
        items=1000,
        repeats=4,
        family="official",
        metric="right of 1000",
        files=(DataFile("*.parquet", "https://huggingface.co/datasets/RunsenXu/MMSI-Bench", "1.1 GB"),),
    )
    columns = Columns(id="id", options="", images=("images",), category="question_type")

    def read_official(self, response: str, options: Sequence[str]) -> Reading:
        return read_mmsi(response, options)

    def question(self, record: Record, options: Sequence[str]) -> str:
        return f"{str(record['question']).strip()}\n{_INSTRUCTION}"


BENCHMARK = MMSIBench()
