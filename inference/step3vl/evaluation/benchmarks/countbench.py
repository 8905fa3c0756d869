"""CountBench with questions (CountBenchQA): two to ten of a kind in photographs of the web."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.evaluation.benchmark import About, DataFile, Rule
from step3vl.evaluation.counting import Counting
from step3vl.evaluation.files import find_all, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Score
from step3vl.evaluation.prompts import ask, user_message


class CountBench(Counting):
    """The official rule is VLMEvalKit's: the number is contained in the response, 1 also in 10."""

    about = About(
        name="countbench",
        title="CountBench",
        paper="https://teaching-clip-to-count.github.io",
        licence="see the data card",
        items=491,
        repeats=4,
        family="final-number",
        metric="right of 491",
        files=(DataFile("data/test-*.parquet", "https://huggingface.co/datasets/vikhyatk/CountBenchQA", "23 MB"),),
        notes=(
            "The paper's numbers fit 491 items, of all numbers from 470 to 545, so it used this set and not the 540 "
            "captions of CountBench.",
            "VLMEvalKit looks for the number anywhere in the response: 10 passes for 1. The strict rule compares.",
            "In VLMEvalKit's file the rows 162, 262 and 371 share one broken image.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        number = 0
        for path in find_all(data, self.about.files[0].name, self.about):
            for record in read_records(path):
                require_fields(record, ("question", "number"), path)
                values = (image_bytes(record.get("image"), data),) if images else ()
                message = user_message(ask(self.about.family, str(record["question"])), len(values))
                yield Item(str(number), (message,), int(record["number"]), values)
                number += 1

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if rule == "strict":
            return super().score(item, response, rule)
        if not response.strip():
            return Score.unparsable("empty")
        return Score.of(str(item.answer) in response, None, "the number anywhere")


BENCHMARK = CountBench()
