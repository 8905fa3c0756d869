"""SimpleVQA: short facts on what an image shows, in English and Chinese, graded by a model."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark
from step3vl.evaluation.files import find_all, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Score, Scored
from step3vl.evaluation.prompts import ask, user_message

_JUDGE = """\
Grade an answer to a question on an image against the reference answer.

- correct: it holds all that is important in the reference and contradicts nothing of it. Language, spelling, order and
  doubt do not matter, other names of the same thing and other translations of a name are the same; a number must agree
  with the reference to the digits that it gives.
- incorrect: it contradicts the reference anywhere, be it as a guess.
- not attempted: it lacks what is important in the reference, and contradicts nothing.

Question: {question}
Reference: {answer}
Answer: {response}

Reply with one line: correct, incorrect, or not attempted."""
_GRADE = re.compile(r"(not[\s_-]?attempted|未尝试)|(incorrect|错误)|(correct|正确)", re.IGNORECASE)


class SimpleVQA(JudgedBenchmark):
    """Three grades; the accuracy counts what is correct of all items."""

    about = About(
        name="simplevqa",
        title="SimpleVQA",
        paper="https://huggingface.co/datasets/m-a-p/SimpleVQA",
        licence="see the data card",
        items=2025,
        repeats=4,
        family="bare",
        metric="graded correct, of 2025",
        files=(DataFile("data/test-*.parquet", "https://huggingface.co/datasets/m-a-p/SimpleVQA", "600 MB"),),
        judge="gpt-4o",
        notes=(
            "The judge's instruction is the authors' in other words, without their examples.",
            "A reply without a grade is unparsable; the authors count it as not attempted.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        number = 0
        for path in find_all(data, self.about.files[0].name, self.about):
            for record in read_records(path):
                require_fields(record, ("question", "answer", "image"), path)
                values = (image_bytes(record["image"], data),) if images else ()
                message = user_message(ask(self.about.family, str(record["question"])), len(values))
                fields = {"question": str(record["question"])}
                category = str(record.get("language") or "")
                yield Item(str(number), (message,), str(record["answer"]), values, category=category, fields=fields)
                number += 1

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        prompt = _JUDGE.format(question=item.fields["question"], answer=item.answer, response=response)
        return (user_message(prompt),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        grades = {match.lastindex for match in _GRADE.finditer(judgement)}
        if len(grades) != 1:
            return Score.unparsable("the judge gave no grade, or several")
        grade = ("not attempted", "incorrect", "correct")[(grades.pop() or 1) - 1]
        return Score.of(grade == "correct", None, f"judge: {grade}", grade=grade)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        counts = {
            name: sum(each.score.details.get("grade") == name for each in scored)
            for name in ("correct", "incorrect", "not attempted")
        }
        attempted = counts["correct"] + counts["incorrect"]
        share = counts["correct"] / attempted if attempted else 0.0
        accuracy = metrics.values["accuracy"] / 100
        f1 = 2 * share * accuracy / (share + accuracy) if share + accuracy else 0.0
        values = {**metrics.values, "of attempted": 100 * share, "f1": 100 * f1}
        return replace(metrics, values=values, counts={**metrics.counts, **counts})


BENCHMARK = SimpleVQA()
