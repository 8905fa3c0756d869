"""MIA-Bench: 400 instructions with several components about an image, each component graded by a judge."""

import re
from collections.abc import Iterator
from pathlib import Path

from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Score
from step3vl.evaluation.judgements import rated
from step3vl.evaluation.multiple_choice import listed
from step3vl.evaluation.prompts import ask, user_message

_TOTAL = re.compile(r"total[_ ]score\W{0,6}(\d{1,2}(?:\.\d{1,3})?)\s{0,3}/\s{0,3}10", re.IGNORECASE)


class MIABench(JudgedBenchmark):
    """The weights of an instruction's components add up to 10; the score is the sum that the judge gives, over 10."""

    about = About(
        name="mia-bench",
        title="MIA-Bench",
        paper="https://arxiv.org/abs/2407.01509",
        licence="Apple sample code licence; research only",
        items=400,
        repeats=4,
        family="bare",
        metric="mean score of a response in percent",
        files=(
            DataFile("instruction_benchmark_all.json", "https://github.com/apple/ml-mia-bench", "0.4 MB"),
            DataFile("images/*", "the addresses in the file", "300 MB", optional=True),
        ),
        judge="gpt-4o",
        notes=("The judge's prompt is a paraphrase of the authors', and it sees the image.",),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, self.about.files[0].name, self.about)
        for number, record in enumerate(read_records(path)):
            require_fields(record, ("instruction", "image", "components", "component_weight"), path)
            name = str(record["image"]).rpartition("/")[2]
            encoded = (image_bytes(f"images/{name}", data),) if images else ()
            weights = [float(weight) for weight in listed(record["component_weight"])]
            components = listed(record["components"])
            fields = {"instruction": record["instruction"], "components": components, "weights": weights}
            message = user_message(ask("bare", record["instruction"]), 1)
            yield Item(str(number), (message,), None, encoded, fields=fields)

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        pairs = zip(item.fields["components"], item.fields["weights"], strict=False)
        components = "\n".join(f"{n}. {name} (up to {weight:g} points)" for n, (name, weight) in enumerate(pairs, 1))
        text = (
            "Here is an instruction about the image, which has several components, and a response to it. Grade how "
            "well the response does what each component asks for, and be fair: points may be given in part.\n\n"
            f"# Instruction\n{item.fields['instruction']}\n\n# Components\n{components}\n\n# Response\n{response}\n\n"
            "Explain the points of each component in a sentence. Then end with a line for their sum, which is at most "
            "10: total_score: n/10"
        )
        return (user_message(text, 1),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        totals = _TOTAL.findall(judgement)
        return rated(float(totals[-1]) if totals and float(totals[-1]) <= 10 else None)


BENCHMARK = MIABench()
