r"""MathVision: 3,040 competition problems with figures; letters or free answers, compared by value."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.data.sample import MathTruth
from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.extraction.latex import clean_latex, equal_rounded
from step3vl.evaluation.extraction.letters import read_option
from step3vl.evaluation.extraction.verified import score_by_truth
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.prompts import ask, options_text, user_message
from step3vl.evaluation.records import RecordedRun
from step3vl.grading import marked_answer

_IMAGE_MARK = re.compile(r"<image\d*>")
_PHRASES = ("the final answer is", "the answer is", "the correct answer is", "the answer should be")
_LETTERS = "ABCDE"
_LETTER_IN_BRACKETS = re.compile(r"\(([a-e])\)")
_LETTER_IN_BRACES = re.compile(r"\{([a-e])\}")


class MathVision(Benchmark):
    """The test split. Officially, a response is cleaned up as MATH answers are, and compared with letter or option."""

    about = About(
        name="math-vision",
        title="MathVision",
        paper="https://github.com/mathllm/MATH-V",
        licence="MIT",
        items=3040,
        repeats=4,
        family="boxed",
        metric="accuracy: the letter, the option's text, or the same value in two decimals",
        files=(
            DataFile("test.jsonl", "https://github.com/mathllm/MATH-V, data/test.jsonl", "1.7 MB"),
            DataFile("images/*.jpg", "https://github.com/mathllm/MATH-V, images", "88 MB", optional=True),
        ),
        notes=(
            "The official script runs Python's eval on what the model wrote; here a grammar reads LaTeX.",
            "The strict rule compares free answers by math-verify, which knows degrees and Unicode as well.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "test.jsonl", self.about)
        for record in read_records(path):
            require_fields(record, ("id", "question", "options", "answer", "level", "subject", "image"), path)
            options, answer = list(record["options"]), str(record["answer"])
            question = _IMAGE_MARK.sub("", record["question"]).strip()
            text = ask("boxed", f"{question}\n{options_text(options, '({letter}) {option}')}")
            yield Item(
                id=str(record["id"]),
                messages=(user_message(text, images=1, images_last=True),),
                answer=answer,
                images=(image_bytes(record["image"], data),) if images else (),
                category=str(record["subject"]),
                fields={
                    "options": options,
                    "option": options[ord(answer) - ord("A")] if options else "",
                    "level": int(record["level"]),
                },
            )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if rule == "official":
            answer, trace = read_answer(response)
            correct = equal_rounded(item.answer, answer) or equal_rounded(item.fields["option"], answer)
            return Score.of(correct, answer, trace)
        if not item.fields["options"]:
            return score_by_truth(MathTruth(expression=_bare(item.answer)), response)
        # By the letter; else by value, because the text of an option such as 2 is a part of many a formula.
        marked = marked_answer(response)
        if marked is not None and read_option(marked, [""] * len(item.fields["options"])).letter is None:
            return score_by_truth(MathTruth(expression=_bare(item.fields["option"])), response)
        letter, trace = read_option(response, [""] * len(item.fields["options"]))
        if letter is None:
            letter, trace = read_option(response, item.fields["options"])
        return Score.unparsable(trace) if letter is None else Score.of(letter == item.answer, letter, trace)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The mean, by subject, and by level as `level 1` to `level 5`."""
        metrics = super().summarise(scored)
        values = dict(metrics.values)
        for level in sorted({each.item.fields["level"] for each in scored}):
            group = [each.score.value for each in scored if each.item.fields["level"] == level]
            values[f"level {level}"] = 100 * sum(group) / len(group)
        return Metrics(metrics.headline, values, metrics.counts, metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """Lines of id, response, and the verdict in `correct`."""
        for record in read_records(path):
            require_fields(record, ("id", "response"), path)
            fields = {"model_answer": record.get("model_answer")}
            yield None, Recorded(str(record["id"]), str(record["response"]), record.get("correct"), fields)


def read_answer(response: str) -> tuple[str, str]:
    """What the official script takes for the answer, and how it was read."""
    text, trace = response.strip(), "whole response"
    for letter in _LETTERS:
        if text.endswith((f" {letter}.", f" ({letter}).")) or text.startswith(
            (f"{letter}\n", f"({letter})\n", f"({letter}) {letter}\n")
        ):
            text, trace = letter, "letter at the beginning or the end"
    last = text.rsplit("is ", 1)[-1].rstrip(".")
    if _is_number(last):
        text, trace = last, "number after 'is'"
    if "oxed{" in text:
        trace = "boxed"
        if text.count("oxed{") > 1:
            text = "\\boxed{" + text.rsplit("oxed{", 1)[1]
    else:
        for phrase in (spelling for each in _PHRASES for spelling in (each, each.replace("the", "The"))):
            if phrase in text:
                text = text.rsplit(phrase, 1)[1].strip().split("\n")[0].split(". ")[0]
                trace = f"after '{phrase}'"
            else:
                text = text.strip()
    answer = _LETTER_IN_BRACES.sub(r"\1", _LETTER_IN_BRACKETS.sub(r"\1", clean_latex(text)))
    return answer.rstrip(".").lstrip(":").strip(), trace


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _bare(expression: str) -> str:
    return expression.strip().strip("$").strip()


def _run(file: str, correct: int, note: str = "") -> RecordedRun:
    return RecordedRun("MathVision", f"{file}.jsonl.gz", {"correct": correct, "accuracy": 100 * correct / 3040}, note)


RECORDS = (
    _run(
        "Gemini-Pro",
        538,
        "The authors print 537: item 3013 (4/3 for \\frac{4}{3}) is recorded as wrong, and right in their own script.",
    ),
    _run("Qwen-VL-Max", 474),
    _run("Qwen-VL-Max-CoT", 384),
    _run("LLaVA-v1.5-13B", 338),
    _run("SPHINX-v2", 295),
    _run("InternLM-XComposer2-VL", 442),
    _run("InternLM-XComposer2-VL-CoT", 437),
    _run("Gemini-Pro-CoT", 436),
    _run("Random-Chance", 218),
)

BENCHMARK = MathVision()
