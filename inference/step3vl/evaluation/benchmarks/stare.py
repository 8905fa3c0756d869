"""STARE: transformations, folding, tangrams and sequences, with and without simulated steps."""

from collections.abc import Sequence

from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.extraction.letters import Reading
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record
from step3vl.evaluation.prompts import ask, interleaved_message
from step3vl.grading import marked_answer
from step3vl.grading.extraction import phrased_answer


def read_stare(response: str, options: Sequence[str]) -> Reading:
    """The authors' rule before their judge: a letter at the start, in the last box, or after "answer is"."""
    response = response.strip()
    for letter in "ABCDEFGH":
        if response.upper() == letter or response.startswith((f"{letter}:", f"{letter}.")):
            return Reading(letter, "at the start")
    for place, text in (("boxed", marked_answer(response)), ("after an answer phrase", phrased_answer(response))):
        bare = (text or "").replace(r"\text{", "").strip(" .}*$").upper()
        if len(bare) == 1 and bare in "ABCDEFGH":
            return Reading(bare, place)
    return Reading(None, "the official code asks a judge")


class STARE(MultipleChoice):
    """The question holds its options, and says where its images belong."""

    about = About(
        name="stare",
        title="STARE",
        paper="https://github.com/STARE-bench/STARE",
        licence="see the data card",
        items=3937,
        repeats=4,
        family="boxed-steps",
        metric="right of all items",
        files=(DataFile("**/*.parquet", "https://huggingface.co/datasets/kuvvi/STARE", "1 GB"),),
        notes=("The authors' macro score takes F1 for the tasks of yes or no; the plain mean is printed here.",),
    )
    columns = Columns(id="qid", options="", images=("images",), category="category")

    def read_official(self, response: str, options: Sequence[str]) -> Reading:
        return read_stare(response, options)

    def options(self, record: Record) -> list[str]:
        return [""] * 8

    def messages(self, record: Record, options: Sequence[str], images: int) -> tuple[Message, ...]:
        return (interleaved_message(ask(self.about.family, str(record["question"])), images),)


BENCHMARK = STARE()
