"""CharXiv: 1,000 reasoning questions on charts of papers (validation), compared by a judge."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.data.errors import UserError
from step3vl.data.sample import Message
from step3vl.data.sample.answers import last_object
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark
from step3vl.evaluation.files import find, image_bytes, read_json, read_records, require_fields
from step3vl.evaluation.item import Item, Recorded, Score
from step3vl.evaluation.prompts import system_message, user_message

_SYSTEM = "Reason first, between <think> and </think>, and give the answer after it."
_KINDS = {1: "text in chart", 2: "text in general", 3: "number in chart", 4: "number in general"}
_INSTRUCTIONS = {
    1: (
        "* Your final answer must be grounded to some text that is explicitly written and relevant to the question in "
        "the chart.\n* If you need to answer multiple terms, separate them with commas.\n* Unless specified in the "
        "question (such as answering with a letter), you are required to answer the full names of subplots and/or "
        "labels by default."
    ),
    2: (
        "* If there are options in the question, your final answer must conform to one of the options.\n* If there "
        "are additional instructions in the question, follow them accordingly.\n* If there are neither options nor "
        "additional instructions, you are allowed to respond with a short phrase only."
    ),
    3: (
        "* Your final answer must be grounded to a number that is explicitly written and relevant to the question in "
        "the chart, even if it's an approximate value.\n* You are allowed to extract numbers within some text when "
        "needed."
    ),
}  # the fourth says how many decimals the number has
_RULES = {
    1: (
        "the two refer to the same term, whatever its grammar or notation (α and alpha, R^2 and R²); with several "
        "terms, all of them must be there, in any order unless the question asks for one"
    ),
    2: "the two have the same meaning; with options in the question, the same option",
    3: "the two are the same number, also in another notation; nothing is rounded",
    4: "the two are exactly the same number, with the same decimals",
}
_JUDGE = """Extract the final answer from a response to a question about a chart, and compare it with the true answer.
Give a score of 1 if and only if {rule}. Give 0 for all else, and where the response has no answer.
Reply with a JSON object of "extracted_answer" (a text) and "score" (0 or 1), without an explanation.

Question: {question}
True answer: {answer}
Response: {response}"""


class CharXiv(JudgedBenchmark):
    """The four kinds of answers have their own instruction and their own rule of comparison."""

    about = About(
        name="charxiv",
        title="CharXiv (RQ)",
        paper="https://github.com/princeton-nlp/CharXiv",
        licence="CC BY-SA 4.0 (questions); charts: copyright of their authors",
        items=1000,
        repeats=4,
        family="bare",
        metric="accuracy by a judge",
        files=(
            DataFile("reasoning_val.json", "https://github.com/princeton-nlp/CharXiv, data", "0.2 MB"),
            DataFile(
                "images/*.jpg",
                "https://huggingface.co/datasets/princeton-nlp/CharXiv, val.zip",
                "0.2 GB",
                optional=True,
            ),
        ),
        judge="gpt-4o-2024-05-13",
        notes=(
            "The authors' judge is given rubrics with examples for each kind of answer; the rubrics here are shorter.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "reasoning_val.json", self.about)
        for id_, record in read_json(path).items():
            require_fields(record, ("figure_id", "query", "answer", "inst_category"), path)
            kind, answer = int(record["inst_category"]), str(record["answer"])
            if kind not in _KINDS:
                raise UserError(f"{path}: {id_}: inst_category {kind} is none of 1 to 4")
            question = f"{record['query']}\n{_INSTRUCTIONS.get(kind) or _decimals(answer)}"
            yield Item(
                id=str(id_),
                messages=(system_message(_SYSTEM), user_message(question, images=1)),
                answer=answer,
                images=(image_bytes(f"{record['figure_id']}.jpg", data / "images"),) if images else (),
                category=_KINDS[kind],
                fields={"kind": kind, "question": record["query"]},
            )

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        fields = {"question": item.fields["question"], "answer": item.answer, "response": response}
        return (user_message(_JUDGE.format(rule=_RULES[item.fields["kind"]], **fields)),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        verdict = last_object(judgement, "score")
        score = verdict.get("score")
        if score in (0, 1) and not isinstance(score, bool):
            return Score.of(score == 1, str(verdict.get("extracted_answer", "")), "judged")
        return Score.unparsable("the judge gave no score of 0 or 1")

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """An array of `figure_id` and `prediction`, without verdicts."""
        for record in read_records(path):
            require_fields(record, ("figure_id", "prediction"), path)
            yield None, Recorded(str(record["figure_id"]), str(record["prediction"]))


def _decimals(answer: str) -> str:
    decimals = len(answer.partition(".")[2])
    if not decimals:
        return "* Your final answer must be an exact integer."
    return f"* Your final answer must be a number with {decimals} decimal places."


BENCHMARK = CharXiv()
