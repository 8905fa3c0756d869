"""Text without images: documents, conversations and reasoning, from corpora of any size.

After the text data of the STEP3-VL-10B report, sections 2.2 and 3. Files are dealt in parts (row groups of Parquet,
bytes of JSON Lines), a row is a record, and a row that is not wanted is counted by the rule that it breaks.
"""

import json
import random
from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.data.convert.image_loader import ImageLoader
from step3vl.data.convert.openai import to_sample as from_messages
from step3vl.data.convert.records import RecordDefaults, SourceRecord
from step3vl.data.convert.sharegpt import to_sample as from_sharegpt
from step3vl.data.convert.turns import split_reasoning
from step3vl.data.sample import Message, Sample, Source, TextPart, conversation, text
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Files, FileSource, IntRange
from step3vl.pipelines.core.samples import texts_of
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.text_parts import FilePart, SplitFiles
from step3vl.pipelines.models.language import identify
from step3vl.pipelines.sources.text.corpora import (
    CorpusError,
    Part,
    read_documents,
    read_rows,
    text_format,
    text_of,
)
from step3vl.pipelines.sources.text.text_quality import QualityLimits, normalise, split_text, text_fault

RowFormat = Literal["documents", "messages", "sharegpt", "answers"]

_SECONDS = 600.0  # for a part to be read, and for its rows


class TextEntry(DomainEntry):
    """Documents or conversations."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["text"]
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """Parquet and JSON Lines, plain or compressed (`.gz`, `.zst`, ...); for documents also plain text, HTML, manual
    pages and gettext catalogues."""
    format: RowFormat = "documents"
    """What a row is: a text; a conversation as OpenAI's API (`messages`) or ShareGPT (`conversations`) writes it, with
    its reasoning in `reasoning_content` or between `<think>` and `</think>`; or a question with its answer (`answers`)
    in columns of their own."""
    text_field: str = "text"
    """The column of a document's text."""
    question_field: str = "question"
    """The column of the question, with `format: answers`."""
    answer_field: str = "answer"
    """The column of the answer, with `format: answers`."""
    reasoning_field: str = ""
    """The column of the reasoning, with `format: answers`; without it, an answer may begin with it in `<think>`."""
    reasoning: Literal["any", "required", "removed"] = "any"
    """`required` keeps only answers with reasoning; `removed` leaves it out."""
    licence_field: str = ""
    """The column of a row's licence; that of the file where it is empty or not there."""
    languages: tuple[str, ...] = ()
    """Keep only these, by their ISO 639-1 codes; all when empty."""
    min_language: float = Field(default=0.5, ge=0, le=1)
    """The least confidence of the language, with `languages`."""
    characters: IntRange = (200, 40000)
    """Of a text, a CJK character counting double. A longer document is cut between paragraphs; a longer conversation
    is dropped."""
    min_alphanumeric: float = Field(default=0.6, ge=0, le=1)
    """The least share of letters and digits."""
    max_digits: float = Field(default=0.4, ge=0, le=1)
    """The largest share of digits."""
    max_repetition: float = Field(default=0.3, ge=0, le=1)
    """The largest share of sequences of five words that came before."""

    @model_validator(mode="before")
    @classmethod
    def _kind_follows_format(cls, values: Any) -> Any:
        if isinstance(values, dict):
            kind = "document" if values.get("format", "documents") == "documents" else "conversation"
            values = {"kind": kind, **values}
        return values

    @model_validator(mode="after")
    def _format_has_kind(self) -> Self:
        if (self.format == "documents") != (self.kind == "document"):
            raise ValueError(f"format {self.format} has another kind than {self.kind}; leave kind out")
        return self

    def inputs(self) -> Files:
        return Files(self.sources)

    def limits(self) -> QualityLimits:
        """What a text may be like."""
        return QualityLimits(self.characters, self.min_alphanumeric, self.max_digits, self.max_repetition)


class TextRow(Config):
    """A row of a part."""

    value: str
    """The text of a document that is no row; a row as JSON."""
    is_row: bool
    licence: str
    problem: str = ""
    """Why the rows from here on cannot be read; empty for a row."""


class ReadRows:
    """Worker: a part becomes its rows, as yet unparsed."""

    def __init__(self, entry: TextEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[FilePart], rng: random.Random) -> Iterator[Record[TextRow]]:
        file, part = record.value.file, Part(record.value.start, record.value.stop)
        path = self._context.local_path(file)
        is_row = self._entry.format != "documents" or text_format(file.key) in ("parquet", "jsonl")
        items = read_rows(path, file.key, part) if is_row else read_documents(path, file.key, part)
        for number, item in enumerate(items):
            row = TextRow(value="", is_row=is_row, licence=file.licence)
            if isinstance(item, CorpusError):
                row = row.model_copy(update={"problem": str(item)})
            else:
                row = row.model_copy(update={"value": _staged(item)})
            yield Record(f"{record.key}.{number}", row)


def _staged(item: dict[str, Any] | list[str] | str) -> str:
    """A row as JSON, which a line is already; the paragraphs of a document as its text."""
    if isinstance(item, list):
        return "\n".join(item)
    return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False, default=str)


class BuildTexts:
    """Worker: a row becomes samples, if it passes the rules."""

    def __init__(self, entry: TextEntry, context: StepContext) -> None:
        self._entry = entry
        self._limits = entry.limits()

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[TextRow], rng: random.Random) -> Iterator[Sample]:
        entry, row = self._entry, record.value
        if row.problem:
            raise CorpusError(row.problem)
        value: Any = json.loads(row.value) if row.is_row else {entry.text_field: row.value}
        if not isinstance(value, dict):
            raise ValueError(f"the row is {type(value).__name__}, not an object")
        licence = str(value.get(entry.licence_field) or row.licence)
        source = Source(uri=record.key, licence=licence, collected_by=f"step3vl/{entry.name}")
        if entry.format == "documents":
            yield from self._documents(text_of(value, entry.text_field), source)
        else:
            yield self._conversation(record.key, value, source)

    def _documents(self, value: str, source: Source) -> Iterator[Sample]:
        """A document, or the pieces of a long one that pass. Raises Dropped when none does."""
        reason, kept = "too_short", 0
        for number, piece in enumerate(split_text(normalise(value), self._entry.characters[1])):
            fault, scores, language = self._judge(piece)
            if fault:
                reason = fault
                continue
            kept += 1
            uri = f"{source.uri}/{number}" if number else source.uri
            yield Sample.make(
                domain="text",
                task="text.document",
                content=(text(piece),),
                source=source.model_copy(update={"uri": uri, "traits": {"language": language}}),
                scores=scores,
            )
        if not kept:
            raise Dropped(reason)

    def _judge(self, value: str) -> tuple[str, dict[str, float], str]:
        """Why a text is not wanted, or empty; what was measured; and its language."""
        fault, scores = text_fault(value, self._limits)
        if fault:
            return fault, {}, ""
        language, confidence = identify(value)
        scores["language_confidence"] = round(confidence, 3)
        languages = self._entry.languages
        if languages and (language not in languages or confidence < self._entry.min_language):
            return "other_language", {}, language
        return "", scores, language

    def _conversation(self, where: str, value: dict[str, Any], source: Source) -> Sample:
        messages, tools = self._messages(where, value, source.licence)
        if not messages or messages[-1].role != "assistant" or not (messages[-1].content or messages[-1].tool_calls):
            raise Dropped("no_answer")
        answers = [message for message in messages if message.role == "assistant"]
        if any(_has_mark(message) for message in answers):
            raise Dropped("broken_reasoning")
        reasons = any(message.reasoning_content for message in answers)
        if self._entry.reasoning == "required" and not reasons:
            raise Dropped("no_reasoning")
        task = "text.reasoning" if reasons else "text.conversation"
        sample = Sample.make(domain="text", task=task, messages=messages, tools=tools, source=source)
        fault, scores, language = self._judge("\n".join(texts_of(sample)))
        if fault:
            raise Dropped(fault)
        described = source.model_copy(update={"traits": {"language": language}})
        return Sample.make(domain="text", task=task, messages=messages, tools=tools, source=described, scores=scores)

    def _messages(
        self, where: str, value: dict[str, Any], licence: str
    ) -> tuple[tuple[Message, ...], tuple[dict[str, Any], ...]]:
        """The turns of a row, and the tools that they may call."""
        entry = self._entry
        tools: tuple[dict[str, Any], ...] = ()
        if entry.format == "answers":
            question, answer = (text_of(value, name) for name in (entry.question_field, entry.answer_field))
            reasoning = text_of(value, entry.reasoning_field) if entry.reasoning_field else None
            if not reasoning:
                reasoning, answer = split_reasoning(answer)
            if not question.strip() or not answer.strip():
                raise Dropped("no_answer")
            messages = conversation((text(question.strip()),), answer.strip(), reasoning or "")
        else:
            convert = from_messages if entry.format == "messages" else from_sharegpt
            defaults = RecordDefaults(licence=licence, trained="last")
            sample = convert(SourceRecord(where, value), defaults, ImageLoader(None))
            if sample.images:
                raise Dropped("has_images")
            messages, tools = sample.messages or (), sample.tools
        if entry.reasoning == "removed":
            messages = tuple(message.model_copy(update={"reasoning_content": None}) for message in messages)
        return messages, tools


def _has_mark(message: Message) -> bool:
    """Whether reasoning was cut off, so that its mark stands in the answer."""
    return any(
        mark in part.text for part in message.content if isinstance(part, TextPart) for mark in ("<think>", "</think>")
    )


DOMAIN = Domain(
    TextEntry,
    steps=(
        BeamStep("split", version=2, worker=SplitFiles, output=FilePart),
        BeamStep("read", version=2, worker=ReadRows, output=TextRow, spread=True, time_limit=_SECONDS),
        BeamStep("build", version=3, worker=BuildTexts, output=Sample, time_limit=_SECONDS),
    ),
    example={
        "sources": [{"files": ["data/samples/reasoning/worked.jsonl"], "licence": "CC0-1.0"}],
        "format": "messages",
        "characters": [40, 40000],
        "max_digits": 0.7,
        "min_alphanumeric": 0.4,
    },
)
