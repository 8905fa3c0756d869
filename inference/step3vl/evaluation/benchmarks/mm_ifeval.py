"""MM-IFEval: 400 questions about images with constraints on the answer or on what it says of the image."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark
from step3vl.evaluation.files import find_all, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Score
from step3vl.evaluation.judgements import criteria_message, read_criteria
from step3vl.evaluation.prompts import ask, user_message


class MMIFEval(JudgedBenchmark):
    """The score of a response is the share of its constraints that it meets."""

    about = About(
        name="mm-ifeval",
        title="MM-IFEval",
        paper="https://arxiv.org/abs/2504.07957",
        licence="CC BY-NC 4.0",
        items=400,
        repeats=4,
        family="bare",
        metric="mean share of the constraints that a response meets",
        files=(DataFile("**/*MM-IFEval*", "https://huggingface.co/datasets/ChrisDing1105/MMIF-23k", "200 MB"),),
        judge="gpt-4o",
        notes=(
            "The authors check some constraints by rules and compare others with a reply without the constraint; here "
            "the judge decides on all of them in one reply, with a prompt of our own.",
            "The report's system prompts for the two kinds of questions are not disclosed and not used.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for path in find_all(data, self.about.files[0].name, self.about):
            for number, record in enumerate(read_records(path)):
                require_fields(record, ("instruction", "image"), path)
                instruction = str(record["instruction"])
                category = str(record.get("tag") or record.get("infer_type") or "")
                encoded = (image_bytes(record["image"], data),) if images else ()
                fields = {"instruction": instruction, "criteria": _criteria(record)}
                message = user_message(ask("bare", instruction), 1)
                id = str(record.get("id", number))
                yield Item(id, (message,), record.get("answer"), encoded, "", category, fields)

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        return (criteria_message(f"user: {item.fields['instruction']}", response, item.fields["criteria"], 1),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        met = read_criteria(judgement, len(item.fields["criteria"]))
        if not met:
            return Score.unparsable("the judge did not decide on each constraint")
        return Score.graded(sum(met) / len(met), None, f"{sum(met)} of {len(met)} constraints")


def _criteria(record: Mapping[str, Any]) -> list[str]:
    """The constraints of a question; for one on perception, that the response agrees with the answer."""
    constraints = record.get("constraints") or []
    constraints = json.loads(constraints) if isinstance(constraints, str) else constraints
    values = [str(each["value"] if isinstance(each, dict) else each) for each in constraints]
    return values or [f"The answer agrees with this one: {record.get('answer')}"]


BENCHMARK = MMIFEval()
