"""Humanity's Last Exam: 2,500 questions, some with an image; a judge compares, and confidences are calibrated."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.data.sample import Message
from step3vl.data.sample.answers import last_object
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark
from step3vl.evaluation.files import find_all, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Score, Scored
from step3vl.evaluation.prompts import user_message

_BIN = 100
_JUDGE = """Judge whether the response to the question is correct, by the precise and unambiguous correct answer below.

[question]: {question}

[response]: {response}

[correct_answer]: {answer}

Reply with a JSON object of these fields:
"extracted_final_answer": the exact final answer of the response; "None" if it has none.
"reasoning": why it is correct or not, by what differs from the correct answer alone. Do not solve the \
problem, do not argue for another answer.
"correct": "yes" if the extracted answer is the correct one, within a small margin of error of numbers; else "no".
"confidence": the confidence in percent that the response states, an integer from 0 to 100; 100 if it states none."""


class HLE(JudgedBenchmark):
    """The full set; its questions are asked as they are."""

    about = About(
        name="hle",
        title="HLE",
        paper="https://github.com/centerforaisafety/hle",
        licence="MIT; not for training",
        items=2500,
        repeats=4,
        family="bare",
        metric="accuracy by a judge",
        files=(DataFile("test-*.parquet", "https://huggingface.co/datasets/cais/hle, data", "0.3 GB"),),
        judge="o3-mini-2025-01-31",
        notes=(
            "The official prompt asks for a confidence; the paper's does not, and its calibration error is that of "
            "a model that is always sure.",
            "The official calibration error leaves the last bin out; here all responses count.",
            "The paper does not say whether it asked the full set or the questions with images.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for path in find_all(data, "test-*.parquet", self.about):
            for record in read_records(path):
                require_fields(record, ("id", "question", "image", "answer", "answer_type", "category"), path)
                encoded = (image_bytes(record["image"]),) if record["image"] else ()
                yield Item(
                    id=str(record["id"]),
                    messages=(user_message(record["question"], images=len(encoded)),),
                    answer=str(record["answer"]),
                    images=encoded if images else (),
                    category=record["category"],
                    fields={"question": record["question"], "answer_type": record["answer_type"]},
                )

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        text = _JUDGE.format(question=item.fields["question"], response=response, answer=item.answer)
        return (user_message(text),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        verdict = last_object(judgement, "correct")
        correct = str(verdict.get("correct", "")).strip().lower()
        if correct in ("yes", "no"):
            extracted = str(verdict.get("extracted_final_answer", ""))
            return Score.of(correct == "yes", extracted, "judged", confidence=_percent(verdict.get("confidence")))
        return Score.unparsable("the judge gave no verdict")

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The accuracy, and the calibration error in percent."""
        metrics = super().summarise(scored)
        judged = [each for each in scored if "confidence" in each.score.details]
        pairs = [(each.score.details["confidence"] / 100, each.score.value) for each in judged]
        values = {**metrics.values, "calibration error": 100 * calibration_error(pairs)}
        return Metrics(metrics.headline, values, metrics.counts, metrics.categories)


def calibration_error(pairs: Sequence[tuple[float, float]], size: int = _BIN) -> float:
    """Root mean square difference of confidence and accuracy, both in 0..1, over bins of equal numbers.

    Args:
        pairs: Confidence and correctness of each response.
        size: Responses in a bin; the last bin takes what is left over as well.
    """
    ordered = sorted(pairs)
    bins = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    if len(bins) > 1 and len(bins[-1]) < size:
        last = bins.pop()
        bins[-1] = bins[-1] + last
    error = 0.0
    for group in bins:
        gap = sum(confidence - correct for confidence, correct in group) / len(group)
        error += len(group) / len(ordered) * gap**2
    return math.sqrt(error)


def _percent(value: object) -> float:
    """A confidence as 0..100; what is none is 100, as the judge is asked to state it."""
    try:
        number = float(str(value).strip().rstrip("%"))
    except ValueError:
        return 100.0
    return min(max(number, 0.0), 100.0) if math.isfinite(number) else 100.0


BENCHMARK = HLE()
