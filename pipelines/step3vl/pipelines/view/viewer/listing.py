"""A sample in a list: its first image, and how its question and answer begin."""

from typing import Any, NamedTuple

from step3vl.data.sample.parts import MAX_PIXELS
from step3vl.pipelines.view.viewer.build import Build, Listed

_LENGTH = 220  # characters of a text


class ListItem(NamedTuple):
    """What a list shows of a sample.

    Attributes:
        id: Of the sample.
        task: Its task.
        split: Its split.
        source: The URI of its source.
        tokens: Text and image tokens.
        images: How many.
        image: Shard, first byte and bytes of the first one, if any.
        question: How what comes before the answer begins.
        answer: How the answer, or the text of a document, begins.
        scores: By name.
        damaged: Whether its bytes are damaged.
    """

    id: str
    task: str
    split: str
    source: str
    tokens: int
    images: int
    image: tuple[int, int, int] | None
    question: str
    answer: str
    scores: dict[str, float]
    damaged: bool


def list_item(build: Build, item: Listed) -> ListItem:
    """What a list shows of a sample."""
    values, part = item.row.values, item.row.place.part
    question, answer = ("", "") if item.sample is None else _texts(item.sample)
    image = None
    if values["image_offsets"] and values["image_widths"][0] * values["image_heights"][0] <= MAX_PIXELS:
        image = part, values["image_offsets"][0], values["image_sizes"][0]
    return ListItem(
        id=values["id"],
        task=values["task"],
        split=build.shards[part].split,
        source=values["source"],
        tokens=values["text_tokens"] + values["image_tokens"],
        images=len(values["image_offsets"]),
        image=image,
        question=_shorten(question),
        answer=_shorten(answer),
        scores={} if item.sample is None else item.sample.get("scores", {}),
        damaged=item.sample is None,
    )


def _texts(sample: dict[str, Any]) -> tuple[str, str]:
    """Question and answer of a conversation's JSON; of a document nothing, and its text."""
    if "messages" not in sample:
        return "", _join(sample.get("content", ()))
    *prompt, answer = sample["messages"]
    return " ".join(_join(message["content"]) for message in prompt), _join(answer["content"])


def _join(parts: Any) -> str:
    return " ".join(part["text"] for part in parts if "text" in part)


def _shorten(text: str) -> str:
    text = " ".join(text[: 4 * _LENGTH].split())
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH].rstrip()} …"
