"""Samples with their personal data masked: in all texts, and in the image where the place of a text is known."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from PIL import Image as PILImage
from PIL import ImageDraw
from tokenizers import Tokenizer

from step3vl.data.config import Config
from step3vl.data.sample import Image, ImageSpec, Sample
from step3vl.data.sample.answers import json_objects
from step3vl.data.tokens import count_tokens
from step3vl.pipelines.curation.filters.personal_data import find_personal_data, mask_text
from step3vl.pipelines.curation.filters.view import Finding

UNLOCATED = "personal_data"
_TEXT_FIELDS = ("content", "messages", "rejected", "truth")  # of a row; what holds texts of the sample
_NAMES = frozenset({"type", "role", "kind", "name", "action"})  # whose values are words of the schema
_FILL = (128, 128, 128)
_LOSSY = {"jpeg": "JPEG", "webp": "WEBP", "avif": "AVIF"}
_QUALITY = 95


class PersonalDataConfig(Config):
    """Personal data are replaced by placeholders such as `[EMAIL]`: e-mail and IP addresses, numbers of phones, cards,
    bank accounts and people. The sample gets another id, and names the old one as its parent."""

    regions: tuple[str, ...] = ("US", "GB", "CN")
    """ISO 3166 codes of the countries whose numbers of phones are found without a country code, too."""
    unlocated: Literal["drop", "mask"] = "drop"
    """What becomes of a sample with images, in one of which a text may still be read whose place is not known."""


class Masked(NamedTuple):
    """A sample without personal data.

    Attributes:
        sample: With its tokens counted.
        kinds: How often each kind was masked.
    """

    sample: Sample
    kinds: Counter[str]


class Masker:
    """Masks samples of datasets that were counted with one tokenizer.

    Args:
        tokenizer: Counts the tokens of the masked texts.
        spec: Sizes of images.
    """

    def __init__(self, tokenizer: Tokenizer, spec: ImageSpec) -> None:
        self._tokenizer, self._spec = tokenizer, spec

    def mask(self, sample: Sample, config: PersonalDataConfig) -> Masked | Finding | None:
        """The masked sample; why it is dropped; or None where there is nothing to mask.

        The result depends on the sample and the configuration alone.
        """
        kinds: Counter[str] = Counter()
        row = sample.to_row()
        clean = {name: _masked(row[name], config.regions, kinds) for name in _TEXT_FIELDS if name in row}
        if not kinds:
            return None
        images = list(sample.images)
        if images:
            texts = [text for name in clean for text in _strings(row[name])]
            located, boxes = _boxes(texts, config.regions)
            if not (located and len(images) == 1) and config.unlocated == "drop":
                return Finding(UNLOCATED, kinds.total(), 0, ", ".join(sorted(kinds)))
            if boxes and len(images) == 1:
                images[0] = mask_image(images[0], boxes)
        row["images"] = [{**image.model_dump(mode="json", exclude={"at"}), "data": image.read()} for image in images]
        row["source"]["parents"] = [*row["source"].get("parents", ()), sample.id]
        masked = Sample.from_row({**row, **clean, "id": "0" * 32})
        masked = masked.model_copy(update={"id": masked.content_id()})
        tokens = count_tokens(masked, self._tokenizer, self._spec)
        return Masked(masked.model_copy(update={"tokens": tokens}), kinds)


def _strings(value: Any) -> Iterator[str]:
    """All texts of a JSON value, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in _NAMES:
                yield from _strings(item)


def _masked(value: Any, regions: Sequence[str], kinds: Counter[str]) -> Any:
    """A JSON value with its texts masked; the kinds are counted."""
    if isinstance(value, str):
        text, masked = mask_text(value, regions)
        kinds.update(masked)
        return text
    if isinstance(value, list):
        return [_masked(item, regions, kinds) for item in value]
    if isinstance(value, dict):
        return {name: item if name in _NAMES else _masked(item, regions, kinds) for name, item in value.items()}
    return value


def _boxes(texts: Sequence[str], regions: Sequence[str]) -> tuple[bool, list[list[int]]]:
    """Where texts with personal data are in the image, and whether that is known of all of them.

    The places are those of answers: `{"bbox_2d": [x1, y1, x2, y2], ...}` with a text beside.
    """
    boxes: list[list[int]] = []
    located: set[str] = set()
    present: set[str] = set()
    for text in texts:
        present |= {text[place.start : place.end] for place in find_personal_data(text, regions)}
        for item in json_objects(text):
            box = item.get("bbox_2d")
            hits = {
                string[place.start : place.end]
                for name, string in item.items()
                if isinstance(string, str)
                for place in find_personal_data(string, regions)
            }
            if hits and isinstance(box, list) and len(box) == 4 and all(isinstance(side, int) for side in box):
                boxes.append(box)
                located |= hits
    return present <= located, boxes


def mask_image(image: Image, boxes: Sequence[Sequence[int]]) -> Image:
    """The image with boxes filled in grey, in its own format where that has colours, and else as PNG.

    Args:
        image: With its bytes at hand.
        boxes: x1, y1, x2, y2 in 0..1000.
    """
    pixels = image.open().copy()
    canvas = ImageDraw.Draw(pixels)
    for x1, y1, x2, y2 in boxes:
        left, right = sorted((x1 * pixels.width // 1000 - 1, -(-x2 * pixels.width // 1000) + 1))
        top, bottom = sorted((y1 * pixels.height // 1000 - 1, -(-y2 * pixels.height // 1000) + 1))
        canvas.rectangle((left, top, right, bottom), fill=_FILL)
    return Image.from_bytes(_encode(pixels, image.format))


def _encode(pixels: PILImage.Image, format: str) -> bytes:
    sink = io.BytesIO()
    if format in _LOSSY:
        pixels.save(sink, _LOSSY[format], quality=_QUALITY)
    else:
        pixels.save(sink, "PNG")
    return sink.getvalue()
