"""ViewSpatial-Bench: where things are, seen by the camera or by a person in the scene."""

import re
from collections.abc import Sequence

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.extraction.letters import Reading
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record

_LETTER = re.compile(r"\b([A-D])\b", re.IGNORECASE)
_CHOICE = re.compile(r"^[A-D]\.\s*(.*)$", re.MULTILINE)


def read_viewspatial(response: str, options: Sequence[str]) -> Reading:
    """The authors' rule: the first letter of the last line, in any case ("a" is A, also as an article)."""
    match = _LETTER.search(response.split("\n")[-1])
    return Reading(match[1].upper(), "the first letter of the last line") if match else Reading(None, "no letter")


class ViewSpatial(MultipleChoice):
    """The answer is the option with its letter; the prompt is the authors'."""

    about = About(
        name="viewspatial",
        title="ViewSpatial",
        paper="https://github.com/ZJU-REAL/ViewSpatial-Bench",
        licence="Apache-2.0",
        items=5712,
        repeats=4,
        family="official",
        metric="right of 5712",
        files=(
            DataFile("ViewSpatial-Bench.json", "https://github.com/ZJU-REAL/ViewSpatial-Bench, eval", "3 MB"),
            DataFile(
                "ViewSpatial-Bench/**/*",
                "https://huggingface.co/datasets/lidingm/ViewSpatial-Bench",
                "3 GB",
                optional=True,
            ),
        ),
        notes=(
            "The released evaluate.py asks without the choices; the prompt here has them, as in the authors' paper.",
        ),
    )
    columns = Columns(id="", options="choices", images=("image_path",), category="question_type")

    def read_official(self, response: str, options: Sequence[str]) -> Reading:
        return read_viewspatial(response, options)

    def options(self, record: Record) -> list[str]:
        return [text.strip() for text in _CHOICE.findall(str(record["choices"]))]

    def question(self, record: Record, options: Sequence[str]) -> str:
        choices = f"Question: {record['question']}\nChoices: {record['choices']}"
        return f"{choices}\nReply only to the corresponding option.\nAnswer:"


BENCHMARK = ViewSpatial()
