"""M3GIA: five cognitive factors in six languages, 300 questions each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.extraction.letters import Reading, read_m3gia
from step3vl.evaluation.files import find, find_all, read_json, read_records
from step3vl.evaluation.item import Item, Metrics, Recorded, Scored, mean_percent
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record
from step3vl.evaluation.prompts import FAMILIES, options_text, system_message, user_message

LANGUAGES = ("english", "chinese", "french", "spanish", "portuguese", "korean")
_SOURCE = "https://huggingface.co/datasets/Songweii/M3GIA"


class M3GIA(MultipleChoice):
    """Questions and answers are in files of their own, by language."""

    about = About(
        name="m3gia",
        title="M3GIA",
        paper="https://github.com/songweii/M3GIA",
        licence="Apache-2.0",
        items=1800,
        repeats=4,
        family="letter-directly",
        metric="right of 1800, over all languages",
        files=tuple(
            file
            for language in LANGUAGES
            for file in (
                DataFile(f"{language}/*.parquet", _SOURCE, "50 MB"),
                DataFile(
                    f"answer_dict_{language}.jsonl", "https://github.com/songweii/M3GIA, data/ground_truth", "27 kB"
                ),
            )
        ),
        notes=(
            "The official parser picks a random option where it reads none; here such a response is unparsable.",
            "The GIA score of the authors, a factor model in R over these accuracies, is not computed.",
        ),
    )
    columns = Columns(options=tuple("ABCDEF"), category="QuestionTypes", hint="hint")

    def read_official(self, response: str, options: Sequence[str]) -> Reading:
        return read_m3gia(response, options)

    def records(self, data: Path) -> Iterator[tuple[Record, Path]]:
        for language in LANGUAGES:
            answers = read_answers(find(data, f"answer_dict_{language}.jsonl", self.about))
            for path in find_all(data, f"{language}/*.parquet", self.about):
                for record in read_records(path):
                    id = str(record.get("index")).strip()
                    if id not in answers:
                        raise UserError(f"{path}: question {id} is not in answer_dict_{language}.jsonl")
                    yield {**record, "index": f"{language}/{id}", "answer": answers[id], "language": language}, path

    def messages(self, record: Record, options: Sequence[str], images: int) -> tuple[Message, ...]:
        return (system_message(FAMILIES[self.about.family]), user_message(self.question(record, options), images))

    def question(self, record: Record, options: Sequence[str]) -> str:
        hint, question = (str(record.get(name) or "").strip() for name in ("hint", "question"))
        parts = [part for part in (hint, question) if part and part.lower() not in ("nan", "none")]
        return "\n".join((*parts, options_text(options, "({letter}) {option}")))

    def fields(self, record: Record) -> Mapping[str, Any]:
        return {"language": record["language"]}

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        languages = {name: [each for each in scored if each.item.fields.get("language") == name] for name in LANGUAGES}
        values = {name: mean_percent(group) for name, group in languages.items() if group}
        return replace(metrics, values={**metrics.values, **values})

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """The layout of inference_only.py: JSON lines of question_id, response, and more; one file a language.

        The file is named after its language, as there: `english.jsonl`.
        """
        language = path.name.partition(".")[0]
        if language not in LANGUAGES:
            raise UserError(f"{path}: outputs are named after their language, english.jsonl; not '{language}'")
        for row in read_records(path):
            yield None, Recorded(f"{language}/{str(row.get('question_id')).strip()}", str(row.get("response", "")))


def read_answers(path: Path) -> dict[str, str]:
    """The answers of a language by question. Despite its name, the official file is a JSON array."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise UserError(f"{path}: not an array of answers; download it again")
    return {str(row["question_id"]): str(row["ground_truth"]) for row in rows}


BENCHMARK = M3GIA()
