"""A sample as its page shows it: turns with texts and images, marks, and the facts beside them."""

import json
from collections.abc import Iterator
from difflib import unified_diff
from itertools import islice
from typing import Any, NamedTuple

from step3vl.data.sample import ImagePart, Message, Sample, TextPart
from step3vl.pipelines.view.viewer.build import Build, Listed
from step3vl.pipelines.view.viewer.marks import Mark, marks_of
from step3vl.pipelines.view.viewer.rendered import kind_of
from step3vl.pipelines.view.viewer.scan import Missing

_LINES = 400  # of a difference
_FACTS = ("domain", "task", "kind", "source", "licence", "text_tokens", "image_tokens")


class ImageView(NamedTuple):
    """An image part.

    Attributes:
        number: Among the images of the sample.
        width: Pixels.
        height: Pixels.
        place: Its shard, first byte and bytes.
        marks: On it.
    """

    number: int
    width: int
    height: int
    place: tuple[int, int, int]
    marks: list[Mark]


class TextView(NamedTuple):
    """A text part.

    Attributes:
        text: The text.
        number: Among the parts of the sample; of a rejected answer, after them.
        rendered: What it can be rendered as, if anything.
        image: The image before it, beside which it is rendered.
    """

    text: str
    number: int
    rendered: str | None
    image: ImageView | None


class Turn(NamedTuple):
    """A turn of a conversation, or a document.

    Attributes:
        role: Who speaks.
        parts: In reading order.
        reasoning: Before the answer.
        calls: Function calls.
    """

    role: str
    parts: list[TextView | ImageView]
    reasoning: str
    calls: list[str]


class SamplePage(NamedTuple):
    """What the page of a sample shows.

    Attributes:
        id: Of the sample.
        turns: In order.
        facts: Name and value.
        scores: By name.
        truth: As JSON, if there is any.
        tools: As JSON, if there are any.
        authors: Of the marks on the images: `truth`, `answer`, `question`.
        trouble: Why the sample cannot be shown as one.
        raw: The sample as JSON.
    """

    id: str
    turns: list[Turn]
    facts: list[tuple[str, str]]
    scores: dict[str, float]
    truth: str
    tools: str
    authors: list[str]
    trouble: str
    raw: str


def sample_page(build: Build, item: Listed) -> SamplePage:
    """The page of a sample; where it is damaged or not valid, a page that says so."""
    values, place = item.row.values, item.row.place
    facts = [(name.replace("_", " "), str(values[name])) for name in _FACTS]
    facts += [("split", build.shards[place.part].split), ("shard", build.shards[place.part].path)]
    raw = "" if item.sample is None else json.dumps(item.sample, indent=1, ensure_ascii=False)
    empty = SamplePage(values["id"], [], facts, {}, "", "", [], "", raw)
    if item.sample is None:
        return empty._replace(trouble="Its bytes are damaged; `step3vl corpus verify` lists all damage.")
    try:
        sample = Sample.from_row(item.sample)
    except ValueError as error:
        return empty._replace(trouble=str(error))
    facts += [("collected by", sample.source.collected_by)]
    facts += [("parents", parent) for parent in sample.source.parents]
    facts += sorted(sample.source.traits.items())
    marks = marks_of(sample)
    return empty._replace(
        turns=list(_turns(sample, item, marks)),
        facts=facts,
        scores=sample.scores,
        truth="" if sample.truth is None else sample.truth.model_dump_json(indent=1),
        tools="" if not sample.tools else json.dumps(sample.tools, indent=1, ensure_ascii=False),
        authors=[author for author in ("truth", "answer", "question") if any(m.author == author for m in marks)],
    )


def differences(left: SamplePage, right: SamplePage) -> list[str]:
    """The lines by which the JSON of two samples differs, in the manner of `diff -u`; the first few hundred."""
    lines = unified_diff(left.raw.splitlines(), right.raw.splitlines(), n=2, lineterm="")
    return list(islice(lines, 2, _LINES))


def text_of(item: Listed, number: int) -> str:
    """The text part of a number, as in `TextView`. Raises Missing where there is none."""
    try:
        sample = Sample.from_row(item.sample or {})
    except ValueError as error:
        raise Missing(str(error)) from None
    parts = _all_parts(sample)
    part = parts[number] if 0 <= number < len(parts) else None
    if not isinstance(part, TextPart):
        raise Missing(f"Sample {sample.id} has no text part {number}.")
    return part.text


def _all_parts(sample: Sample) -> list[TextPart | ImagePart]:
    """The parts in reading order, those of a rejected answer last."""
    return [*sample.parts(), *(sample.rejected.content if sample.rejected else ())]


def _turns(sample: Sample, item: Listed, marks: list[Mark]) -> Iterator[Turn]:
    parts = _parts(sample, item, marks)
    if sample.messages is None:
        yield Turn("document", list(parts), "", [])
        return
    for message in sample.messages:
        yield _turn(message, message.role, parts)
    if sample.rejected is not None:
        yield _turn(sample.rejected, "rejected answer", parts)


def _turn(message: Message, role: str, parts: Iterator[TextView | ImageView]) -> Turn:
    calls = [f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})" for call in message.tool_calls]
    return Turn(role, [next(parts) for _ in message.content], message.reasoning_content or "", calls)


def _parts(sample: Sample, item: Listed, marks: list[Mark]) -> Iterator[TextView | ImageView]:
    values: dict[str, Any] = item.row.values
    latest: ImageView | None = None
    for number, part in enumerate(_all_parts(sample)):
        if isinstance(part, TextPart):
            yield TextView(part.text, number, kind_of(part.text), latest)
            continue
        image = sample.images[part.image]
        place = item.row.place.part, values["image_offsets"][part.image], values["image_sizes"][part.image]
        visible = [mark for mark in marks if mark.image == part.image]
        latest = ImageView(part.image, image.width, image.height, place, visible)
        yield latest
