"""OmniAI's OCR benchmark: 1,000 documents to Markdown, from which a second model extracts JSON."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Levenshtein

from step3vl.data.errors import UserError
from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark
from step3vl.evaluation.documents.json_fields import json_accuracy
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Score, Scored
from step3vl.evaluation.prompts import user_message

MAX_TEXT = 24_000
"""Characters of a transcript that are compared; the edit distance takes time in the square of it."""
_PROMPT = (
    "Convert the following document to markdown. Return only the markdown with no explanation text. "
    "Include all information on the page: headers, footers, charts and subtext. Return tables in HTML."
)
_JUDGE = """Extract data from the document below by the JSON schema. Use null for what the document does not contain.
Return only the JSON, with no explanation text.

Schema:
{schema}

Document:
{document}"""


class OmniOCR(JudgedBenchmark):
    """The judge only turns text into JSON; its fields are then compared by a rule."""

    about = About(
        name="omni-ocr",
        title="OmniOCR",
        paper="https://github.com/getomni-ai/benchmark",
        licence="MIT",
        items=1000,
        repeats=4,
        family="official",
        metric="accuracy of the extracted JSON: one minus the differing fields over all",
        files=(
            DataFile("metadata.jsonl", "https://huggingface.co/datasets/getomni-ai/ocr-benchmark, test", "8 MB"),
            DataFile(
                "images/*", "https://huggingface.co/datasets/getomni-ai/ocr-benchmark, test", "0.6 GB", optional=True
            ),
        ),
        judge="gpt-4o",
        notes=(
            "Arrays are compared in any order, by the assignment with the fewest differences; the official code sorts "
            "them, and may count more differences in arrays of objects.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "metadata.jsonl", self.about)
        for number, record in enumerate(read_records(path)):
            require_fields(record, ("file_name", "json_schema", "true_json_output", "true_markdown_output"), path)
            try:
                schema, answer = (_parsed(record[name]) for name in ("json_schema", "true_json_output"))
            except ValueError as error:
                raise UserError(f"{path}: {record['file_name']}: not JSON: {error}") from None
            yield Item(
                id=str(record.get("id", number)),
                messages=(user_message(_PROMPT, images=1),),
                answer=answer,
                images=(image_bytes(record["file_name"], data),) if images else (),
                fields={"schema": schema, "markdown": record["true_markdown_output"]},
            )

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        return (user_message(_JUDGE.format(schema=json.dumps(item.fields["schema"]), document=response)),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        predicted = _extracted(judgement)
        if predicted is None:
            return Score.unparsable("the second model gave no JSON")
        value = json_accuracy(item.answer, predicted)
        similarity = Levenshtein.normalized_similarity(
            item.fields["markdown"].strip().lower()[:MAX_TEXT], response.strip().lower()[:MAX_TEXT]
        )
        return Score.graded(value, json.dumps(predicted, ensure_ascii=False), "fields", similarity=similarity)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The mean accuracy of JSON, and the mean similarity of the text, in percent."""
        metrics = super().summarise(scored)
        similarities = [each.score.details.get("similarity", 0.0) for each in scored]
        mean = 100 * sum(similarities) / len(similarities) if similarities else 0.0
        values = {**metrics.values, "text similarity": mean}
        return Metrics(metrics.headline, values, metrics.counts, metrics.categories)


def _extracted(judgement: str) -> Any:
    """The JSON object from the first brace to the last; None where it is not whole, such as one that was cut."""
    start, end = judgement.find("{"), judgement.rfind("}") + 1
    try:
        return json.loads(judgement[start:end]) if 0 <= start < end else None
    except (ValueError, RecursionError):
        return None


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


BENCHMARK = OmniOCR()
