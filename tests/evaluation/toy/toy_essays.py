"""A small benchmark that a judge grades; short essays are decided by a rule."""

import re
from collections.abc import Iterator
from pathlib import Path

from step3vl.data.sample import Message, text
from step3vl.evaluation.benchmark import About, JudgedBenchmark, Rule
from step3vl.evaluation.item import Item, Score


class ToyEssays(JudgedBenchmark):
    about = About(
        name="toy-essays",
        title="WildBench",
        paper="a toy",
        licence="Apache-2.0",
        items=3,
        repeats=1,
        family="bare",
        metric="mean grade of ten",
        files=(),
        modality="text",
        judge="gpt-4o-2024-08-06",
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for name in ("sea", "sun", "sky"):
            yield Item(name, (Message(role="user", content=(text(f"Write about the {name}."),)),), None)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        return Score.of(False, None, "too short") if len(response) < 5 else super().score(item, response, rule)

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        return (Message(role="user", content=(text(f"Grade this: {response}"),)),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        grade = re.search(r"\[\[(\d+)\]\]", judgement)
        return Score(int(grade[1]) / 10, "partial", grade[1]) if grade else Score.unparsable("no grade")


BENCHMARK = ToyEssays()
