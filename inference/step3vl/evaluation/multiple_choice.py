"""What the benchmarks of multiple choice share: from official records to items, and from letters to scores."""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from step3vl.data.errors import UserError
from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import Benchmark, Rule
from step3vl.evaluation.extraction.letters import Reading, read_option, read_vlmevalkit
from step3vl.evaluation.files import find_all, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Score, Scored
from step3vl.evaluation.prompts import LETTERS, ask, options_text, user_message

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Columns:
    """The fields of official records that items are made of.

    Args:
        id: Names the record; empty where its number in the files does.
        question: The question, without its options.
        options: A field with a list of texts, or a field for each option, of which the last ones may be missing; empty
            where the question holds them.
        answer: A letter, also in brackets or before its option's text; or the option's text.
        indexed: Whether the answer is the option's number from 0 instead.
        images: Fields with an image, or with a list of images; those that a record lacks or leaves empty are none.
        category: What results are broken down by; empty without categories.
        hint: A text that precedes the question in some records.
    """

    id: str = "index"
    question: str = "question"
    options: str | tuple[str, ...] = tuple("ABCDEFGH")
    answer: str = "answer"
    indexed: bool = False
    images: tuple[str, ...] = ("image",)
    category: str = ""
    hint: str = ""


class MultipleChoice(Benchmark):
    """A benchmark whose answers are letters.

    Subclasses say where their records hold what, and override what differs: how a record becomes a question, or how
    the responses are summarised. An item's `fields["options"]` are the texts of its options (empty ones where the
    question holds them).
    """

    columns: ClassVar[Columns] = Columns()

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for number, (record, path) in enumerate(self.records(data)):
            yield self.item(record, number, path, self.image_values(record, data) if images else ())

    def records(self, data: Path) -> Iterator[tuple[Record, Path]]:
        """The official records with their files, in order: those of every file that is not optional."""
        for file in self.about.files:
            if not file.optional:
                for path in find_all(data, file.name, self.about):
                    for record in read_records(path):
                        yield record, path

    def item(self, record: Record, number: int, path: Path, images: Sequence[bytes | Path]) -> Item:
        """The item of a record.

        Args:
            record: The official record.
            number: Of the record in the files, from 0.
            path: Its file, for errors.
            images: The images.

        Raises:
            UserError: the record lacks a field, or its answer is none of its options.
        """
        require_fields(record, filter(None, (self.columns.id, self.columns.question, self.columns.answer)), path)
        options = self.options(record)
        answer = option_letter(self.answer(record), options, self.columns.indexed)
        if answer is None:
            problem = f"its answer {self.answer(record)!r} is none of its {len(options)} options"
            raise UserError(f"{path}, record {number + 1}: {problem}; download the file again")
        fields = {"options": options, **self.fields(record)}
        category = str(record.get(self.columns.category) or "") if self.columns.category else ""
        id = str(record[self.columns.id]) if self.columns.id else str(number)
        messages = self.messages(record, options, len(images))
        return Item(id, messages, answer, tuple(images), self.group(record, number), category, fields)

    def messages(self, record: Record, options: Sequence[str], images: int) -> tuple[Message, ...]:
        """The prompt: the question with its options and the instruction of the family, after the images."""
        return (user_message(ask(self.about.family, self.question(record, options)), images),)

    def question(self, record: Record, options: Sequence[str]) -> str:
        """The question with its options."""
        hint = str(record.get(self.columns.hint) or "") if self.columns.hint else ""
        parts = (hint, str(record[self.columns.question]), options_text(options) if any(options) else "")
        return "\n".join(part.strip() for part in parts if part.strip() and part != "nan")

    def options(self, record: Record) -> list[str]:
        """The texts of the options; four empty ones where the question holds them."""
        if not self.columns.options:
            return [""] * 4
        if isinstance(self.columns.options, str):
            return [str(option) for option in listed(record.get(self.columns.options))]
        texts = ["" if is_missing(record.get(name)) else str(record[name]) for name in self.columns.options]
        while texts and not texts[-1]:
            texts.pop()
        return texts

    def answer(self, record: Record) -> Any:
        """The official answer, as the record has it."""
        return record[self.columns.answer]

    def image_values(self, record: Record, data: Path) -> list[bytes | Path]:
        """The images of a record, in order."""
        values = [value for name in self.columns.images for value in listed(record.get(name))]
        return [image_bytes(value, data) for value in values if not is_missing(value)]

    def group(self, record: Record, number: int) -> str:
        """The group of a record; none by default."""
        return ""

    def fields(self, record: Record) -> Mapping[str, Any]:
        """What else the rule or the summary needs."""
        return {}

    def read_official(self, response: str, options: Sequence[str]) -> Reading:
        """How the official code reads a letter. Most benchmarks here have no scorer but VLMEvalKit's."""
        return read_vlmevalkit(response, options)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        read = read_option if rule == "strict" else self.read_official
        return score_reading(item, read(response, item.fields["options"]), rule)


def score_reading(item: Item, reading: Reading, rule: Rule = "strict", **details: Any) -> Score:
    """The score of a letter.

    Where the official rule reads none and the judgement of the authors' judge was recorded with the response
    (`fields["judgement"]`, a hit), that judgement counts.
    """
    if reading.letter is not None:
        return Score.of(reading.letter == item.answer, reading.letter, reading.trace, **details)
    if rule == "official" and item.fields.get("judgement") is not None:
        return Score.of(bool(item.fields["judgement"]), None, reading.trace, "recorded judgement", **details)
    return Score.unparsable(reading.trace, **details)


_LETTER = re.compile(r"\(?([A-Za-z])(?:\)?$|[).:]\s)")


def option_letter(answer: Any, options: Sequence[str], indexed: bool = False) -> str | None:
    """The letter that an official answer means: `B`, `(B)`, `B. a cat` or the option's text; None where none is.

    Args:
        answer: The official answer.
        options: The texts of the options.
        indexed: Whether the answer is the option's number from 0.
    """
    letters = LETTERS[: len(options)]
    text = str(answer).strip()
    if indexed:
        return letters[int(float(text))] if _INDEX.fullmatch(text) and float(text) < len(letters) else None
    if (match := _LETTER.match(text)) and match[1].upper() in letters:
        return match[1].upper()
    return letters[list(options).index(text)] if text in options else None


_INDEX = re.compile(r"\d{1,2}(?:\.0)?")


def is_missing(value: Any) -> bool:
    """Whether a field of a record is empty, also as tables write it."""
    return value is None or value != value or value in ("", "nan", "None")


def listed(value: Any) -> list[Any]:
    """A field that holds a list, also as JSON or Python text; a single value is a list of one."""
    if isinstance(value, str) and value[:1] == "[" and value.rstrip()[-1:] == "]":
        for parse in (json.loads, ast.literal_eval):
            try:
                return list(parse(value))
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    if isinstance(value, list | tuple):
        return list(value)
    return [] if is_missing(value) else [value]


def groups_correct(scored: Sequence[Scored], keys: Sequence[Any]) -> tuple[int, int]:
    """How many groups have correct responses only, and how many there are.

    Args:
        scored: The responses.
        keys: The group of each. Repeated responses form groups of their own.
    """
    groups: dict[tuple[Any, int], bool] = {}
    for each, key in zip(scored, keys, strict=True):
        group = (key, each.repeat)
        groups[group] = groups.get(group, True) and each.score.verdict == "correct"
    return sum(groups.values()), len(groups)
