"""PhyX: 1,000 questions of physics with images (testmini), as multiple choice."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.extraction.letters import read_option
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Score
from step3vl.evaluation.prompts import ask, user_message


class PhyX(Benchmark):
    """The multiple-choice version, which the paper's prompt with its letter fits; the open one needs a judge."""

    about = About(
        name="phyx",
        title="PhyX",
        paper="https://github.com/NastyMarcus/PhyX",
        licence="MIT",
        items=1000,
        repeats=4,
        family="final-option",
        metric="accuracy of the letter",
        files=(
            DataFile(
                "PhyX_mini_MC.tsv", "https://huggingface.co/datasets/Cloudriver/PhyX, data_tsv_vlmevalkit", "0.2 GB"
            ),
        ),
        notes=("Official: where no rule finds a letter, DeepSeek is asked; here the response is unparsable.",),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "PhyX_mini_MC.tsv", self.about)
        for record in read_records(path):
            require_fields(record, ("index", "question", "answer", "image", "category"), path)
            yield Item(
                id=record["index"],
                messages=(user_message(ask("final-option", record["question"]), images=1),),
                answer=record["answer"].strip(),
                images=(image_bytes(record["image"]),) if images else (),
                category=record["category"],
            )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        letter, trace = read_option(response, [""] * 4)
        return Score.unparsable(trace) if letter is None else Score.of(letter == item.answer, letter, trace)


BENCHMARK = PhyX()
