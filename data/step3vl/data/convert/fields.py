"""The fields of a source record, and which of them its reader used.

Formats have dialects, and a field that a reader does not know may carry the image, the options or the context of a
question. So every object of a record is read through `Fields`; what remains unread is counted, and what would change
the meaning of the sample is an error.
"""

import json
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any, Self

from step3vl.data.sample.parts import TextPart
from step3vl.data.sample.sample import Sample

MAX_EXCERPT = 200  # characters of a record's data in a message

_TIME_MEDIA = frozenset({"video", "audio", "sound", "speech", "input_audio", "clip"})
# Fields that say something about the question or the answer, in the singular and without a number: media, options,
# tools, context, and answers that should not be learned.
_MEANINGFUL = _TIME_MEDIA | {
    *("image", "img", "photo", "frame", "screenshot", "figure"),
    *("option", "choice", "a", "b", "c", "d", "e", "f"),
    *("tool", "tool_schema", "tool_call", "function", "function_call"),
    *("input", "context", "passage", "hint", "document", "history", "system", "system_prompt", "instruction"),
    *("prompt", "query", "question", "problem", "conversation", "message", "content", "value", "text", "refusal"),
    *("reasoning", "reasoning_content", "thinking", "object", "bbox", "box", "point", "ref", "loss_mask"),
    *("chosen", "rejected", "rejected_response", "preferred_output", "non_preferred_output", "kto_tag"),
}
_LONG = 30  # characters of a text that no other text has inside by chance
_FORM = re.compile(r"_(?:url|path|file|bytes|base64|data)$")
_NUMBER = re.compile(r"[_ -]?\d+$")

_Opened = tuple[str, dict[str, Any], set[str]]  # an object that was read: its dotted name, its fields, those used


class Fields:
    """An object of a record, which remembers what was read of it and of the objects inside it.

    Args:
        value: The object.
        path: Its dotted name in the record; empty for the record itself.

    Raises:
        ValueError: The value is not an object.
    """

    __slots__ = ("_opened", "_path", "_used", "_values")

    def __init__(self, value: Any, path: str = "", opened: list["_Opened"] | None = None) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{path or 'the record'} is {type(value).__name__}, not an object")
        self._values: dict[str, Any] = value
        self._path = path
        self._used: set[str] = set()
        # Of this object the list has the contents alone: a cycle would keep each record until garbage is collected.
        self._opened = [] if opened is None else opened
        self._opened.append((path, value, self._used))

    @classmethod
    def of(cls, value: Any) -> Self:
        """The fields of a record, unless they are that already. Raises ValueError when it is not an object."""
        return value if isinstance(value, cls) else cls(value)

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def names(self) -> list[str]:
        """The names of all fields."""
        return list(self._values)

    def peek(self, name: str) -> Any:
        """A field, which is not used by that."""
        return self._values.get(name)

    def accept(self, *names: str) -> None:
        """Count fields as used that say nothing beyond the others, such as the ids of calls."""
        self._used.update(name for name in names if name in self._values)

    def get(self, *names: str) -> Any:
        """The first of these fields that is there, or None; the others are used too where they have the same value."""
        first = None
        for name in names:
            value = self._values.get(name)
            if value is None:
                continue
            if first is None:
                first = value
                self._used.add(name)
            elif value == first:
                self._used.add(name)
        return first

    def has_any(self, names: Collection[str]) -> bool:
        """Whether one of these fields is there, be it empty."""
        return not self._values.keys().isdisjoint(names)

    def text(self, *names: str) -> str | None:
        """The first of these fields that is there; None without one. Raises ValueError when it is not a text."""
        value = self.get(*names)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"its {self._name_of(names)} is {type(value).__name__}, not a text")
        return value

    def get_list(self, *names: str) -> list[Any]:
        """A list, also one that is written as JSON; empty without one. Raises ValueError for other types."""
        return as_list(self.get(*names), self._name_of(names))

    def child(self, value: Any, name: str) -> "Fields":
        """An object inside this one, by its name. Raises ValueError when it is not an object."""
        return Fields(value, f"{self._path}.{name}" if self._path else name, self._opened)

    def children(self, *names: str) -> list["Fields"]:
        """A list of objects. Raises ValueError when it is not one."""
        name = self._name_of(names)
        return [self.child(value, name) for value in self.get_list(*names)]

    def _name_of(self, names: tuple[str, ...]) -> str:
        for name in names:
            if self._values.get(name) is not None:
                return name
        return names[0]

    def unused(self) -> dict[str, Any]:
        """The fields that were not read and are not empty: dotted names, with a value of each."""
        unused: dict[str, Any] = {}
        for path, values, used in self._opened:
            if len(used) == len(values):
                continue
            prefix = f"{path}." if path else ""
            for name, value in values.items():
                if name not in used and not _is_empty(value):
                    unused[f"{prefix}{name}"] = value
        return unused


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


def as_list(value: Any, name: str) -> list[Any]:
    """A value as a list: None is an empty one, and JSON text is parsed. Raises ValueError for other types."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(f"its {name} are a text that is not JSON: {excerpt(value)}") from None
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"its {name} are {type(value).__name__}, not a list")
    return value


def excerpt(value: Any) -> str:
    """A value of a record for a message, of at most `MAX_EXCERPT` characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_EXCERPT else f"{text[: MAX_EXCERPT - 1]}…"


def changes_meaning(name: str, value: Any) -> bool:
    """Whether a field that was not used may change what a sample says, by its dotted name."""
    word = _word(name)
    return word in _MEANINGFUL or (word == "label" and isinstance(value, bool))  # false: an answer not to be learned


@lru_cache(maxsize=1 << 10)
def _word(name: str) -> str:
    """The last part of a dotted name in the singular, without its number and its form: `images_2`, `image_url`."""
    last = _NUMBER.sub("", name.rpartition(".")[2].lower())
    return _FORM.sub("", last).removesuffix("s")


def require_used(unused: dict[str, Any], sample: Sample, ignored: Collection[str]) -> None:
    """Refuse a sample whose record says more than it.

    Args:
        unused: What `Fields.unused` returned.
        sample: The sample; a text that it holds in full is no loss.
        ignored: Names that the user has decided to leave out.

    Raises:
        ValueError: A field that changes the meaning is not in the sample.
    """
    for name, value in unused.items():
        if name in ignored or not changes_meaning(name, value):
            continue
        if isinstance(value, str) and _says(sample, value.strip()):
            continue
        if _word(name) in _TIME_MEDIA:
            raise ValueError(f"it has video or audio ({name}), which the model does not take: remove such records")
        raise ValueError(
            f"its field {name} would be lost, which changes the meaning: map it with --columns, or leave it out with "
            f"--ignore {name}"
        )


def _says(sample: Sample, value: str) -> bool:
    """Whether a text of a sample is this one, or has it inside if it is too long for a coincidence."""
    texts = (part.text for part in sample.parts() if isinstance(part, TextPart))
    return any(value == text.strip() or (len(value) >= _LONG and value in text) for text in texts)
