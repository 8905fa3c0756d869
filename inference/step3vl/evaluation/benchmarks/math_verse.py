"""MathVerse: 788 problems of testmini whose question is in the image alone (vision only)."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark, Rule
from step3vl.evaluation.extraction.verified import final_part
from step3vl.evaluation.files import find_all, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Score
from step3vl.evaluation.prompts import ask, user_message

VERSION = "Vision Only"
_JUDGE = """Decide whether two answers to a question of mathematics are consistent.
They are if the model's answer matches the standard answer completely: of a multiple-choice question the same option, \
of another one the same meaning, as 0.5 m and 50 cm are. An answer that is missing is not consistent.
Reply with 1 if they are consistent and with 0 if they are not, and with nothing else.

[Question]: {question}
[Standard answer]: {answer}
[Model's answer]: {extracted}
Judgement:"""


class MathVerse(JudgedBenchmark):
    """An answer that is the same text is right; a judge decides on all others."""

    about = About(
        name="math-verse",
        title="MathVerse (vision)",
        paper="https://github.com/ZrrSkywalker/MathVerse",
        licence="MIT",
        items=788,
        repeats=4,
        family="boxed",
        metric="accuracy by a judge, vision-only version",
        files=(
            DataFile(
                "testmini_version_split-*.parquet",
                "https://huggingface.co/datasets/CaraJ/MathVerse-lmmseval",
                "0.2 GB",
            ),
        ),
        judge="gpt-4-0613",
        notes=(
            "Officially a judge first extracts the answer and is then asked again; here a rule extracts it.",
            "The paper does not name its judge.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for path in find_all(data, "testmini_version_split-*.parquet", self.about):
            for record in read_records(path):
                names = (
                    "sample_index",
                    "problem_version",
                    "question",
                    "image",
                    "answer",
                    "question_for_eval",
                    "metadata",
                )
                require_fields(record, names, path)
                if record["problem_version"] != VERSION:
                    continue
                question = record["question"] or record.get("query_wo") or "Solve the problem in the image."
                yield Item(
                    id=str(record["sample_index"]),
                    messages=(user_message(ask("boxed", question), images=1),),
                    answer=str(record["answer"]).strip(),
                    images=(image_bytes(record["image"]),) if images else (),
                    category=str((record["metadata"] or {}).get("subject", "")),
                    fields={"question": record["question_for_eval"]},
                )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        extracted, trace = final_part(response)
        if extracted == item.answer:
            return Score.of(True, extracted, trace, "same text")
        return Score.unparsable("needs a judge")

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        extracted, _ = final_part(response)
        text = _JUDGE.format(question=item.fields["question"], answer=item.answer, extracted=extracted or "null")
        return (user_message(text),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        grade = judgement.strip().rstrip(".")
        if grade not in ("0", "1"):
            return Score.unparsable("the judge gave neither 0 nor 1")
        return Score.of(grade == "1", final_part(response)[0], "judged")


BENCHMARK = MathVerse()
