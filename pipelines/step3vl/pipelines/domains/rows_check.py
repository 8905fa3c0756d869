"""Whether the rows of a label are those on an image, number by number, as OCR reads it at two sizes.

OCR misreads a character now and then, and misses small ones. So a cell is right where either reading agrees with it,
and wrong only where both readings agree on something else; what is neither is not read.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from statistics import mean
from typing import NamedTuple

import numpy as np
from PIL import Image as PILImage
from rapidfuzz import fuzz

from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.models.ocr import OcrLine

_ROW = 50  # of 100: two rows are one, at least
_WORD = 60  # of 100: two words are one; numbers must be equal
_UNREAD = 0.35  # of the words of a label: with more of them, nothing is known of it
_SMALL = 900  # pixels of the longer side of a small image
_SCALES = (1.6, 3.0)  # of the second reading of a large and of a small image
_LEAST_SCALE = 1.2
_LONGEST = 2400  # pixels of a side of the second reading, if it is larger by then
_CONFUSED = str.maketrans("olisb", "01158")  # in what is otherwise a number
_DASHES = re.compile(r"[−–—‐]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(\D|$))")
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?%?")
_NO_DIGIT = re.compile(r"\D")
_EDGES = re.compile(r"^[^\w\-+]+|[^\w%]+$")

Rows = Sequence[Sequence[str]]


class RowsReading(NamedTuple):
    """What a reading says of the rows of a label.

    Attributes:
        words: For each word of the label what is read in its place; None where nothing is.
        left: Rows of several words that are read, and are none of the label's.
        missing: Rows of the label that are not read.
    """

    words: list[str | None]
    left: int
    missing: int


def check_rows(rows: Rows, image: PILImage.Image, read: Callable[[PILImage.Image], list[OcrLine]]) -> str | None:
    """What is wrong with the rows of a label; None where they are right.

    Args:
        rows: Texts of the cells that stand beside each other, from the top.
        image: Upright.
        read: The OCR.

    Raises:
        Unchecked: Too little of it can be read.
    """
    expected = [words_of(row) for row in rows]
    expected = [row for row in expected if row]
    total = sum(map(len, expected))
    if not total:
        raise Unchecked("label_has_no_text")
    flat = [word for row in expected for word in row]
    first = compare_rows(expected, visual_rows(read(image)))
    if first.left == 0 and first.words == flat:
        return None
    second = compare_rows(expected, visual_rows(read(enlarged(image))))
    unread = 0
    for word, text, again in zip(flat, first.words, second.words, strict=True):
        if any(each is not None and is_same(word, each) for each in (text, again)):
            continue
        if text is not None and text == again:
            return "number_differs" if _NUMBER.fullmatch(word) else "text_differs"
        unread += 1
    if min(first.left, second.left) > 0 and min(first.missing, second.missing) > 0:
        return "rows_differ"
    if unread > _UNREAD * total:
        raise Unchecked("not_read")
    return None


def enlarged(image: PILImage.Image) -> PILImage.Image:
    """An image for a second reading."""
    longest = max(image.size)
    scale = min(_SCALES[longest < _SMALL], max(_LEAST_SCALE, _LONGEST / longest))
    return image.resize((round(image.width * scale), round(image.height * scale)), PILImage.Resampling.LANCZOS)


def visual_rows(lines: Sequence[OcrLine]) -> list[list[str]]:
    """The words of lines that stand beside each other, from the top and from the left."""
    rows: list[list[OcrLine]] = []
    for line in sorted(lines, key=lambda line: line.box.centre.y):
        middle = line.box.centre.y
        if rows:
            height = min(each.box.y2 - each.box.y1 for each in (*rows[-1], line))
            if middle - mean(each.box.centre.y for each in rows[-1]) < height / 2:
                rows[-1].append(line)
                continue
        rows.append([line])
    return [words_of([line.text for line in sorted(row, key=lambda line: line.box.x1)]) for row in rows]


def compare_rows(expected: Rows, actual: Rows) -> RowsReading:
    """The rows of a label beside those that were read, both in words.

    Args:
        expected: Of the label.
        actual: As they were read.
    """
    partners = _aligned(expected, actual)
    words: list[str | None] = []
    for row, partner in zip(expected, partners, strict=True):
        words += [None] * len(row) if partner is None else _in_place(row, actual[partner])
    matched = {partner for partner in partners if partner is not None}
    left = sum(len(row) > 1 for place, row in enumerate(actual) if place not in matched)
    return RowsReading(words, left, sum(partner is None for partner in partners))


def _aligned(expected: Rows, actual: Rows) -> list[int | None]:
    """The place of each row among those that were read, in their order, so that the sum of similarities is largest."""
    texts, others = ["".join(row) for row in expected], ["".join(row) for row in actual]
    scores = np.array([[fuzz.ratio(text, other) for other in others] for text in texts]).reshape(
        len(texts), len(others)
    )
    scores[scores < _ROW] = 0
    best = np.zeros((len(texts) + 1, len(others) + 1))
    for i in range(len(texts) - 1, -1, -1):
        for j in range(len(others) - 1, -1, -1):
            best[i, j] = max(best[i + 1, j], best[i, j + 1], scores[i, j] + best[i + 1, j + 1])
    partners: list[int | None] = []
    j = 0
    for i in range(len(texts)):
        while j < len(others) and best[i, j] == best[i, j + 1]:
            j += 1
        if j < len(others) and scores[i, j] > 0 and best[i, j] == scores[i, j] + best[i + 1, j + 1]:
            partners.append(j)
            j += 1
        else:
            partners.append(None)
    return partners


def _in_place(row: Sequence[str], read: Sequence[str]) -> list[str | None]:
    """What stands where each word of a row should be."""
    if "".join(row) == "".join(read):  # spaces are not read for certain
        return list(row)
    places: list[str | None] = [None] * len(row)
    for tag, start, stop, first, last in SequenceMatcher(None, row, read, autojunk=False).get_opcodes():
        if tag in ("equal", "replace") and stop - start == last - first:
            places[start:stop] = read[first:last]
        elif tag == "replace" and "".join(row[start:stop]) == "".join(read[first:last]):
            places[start:stop] = row[start:stop]
    return places


def is_same(word: str, read: str) -> bool:
    if word == read:
        return True
    if _NUMBER.fullmatch(word):
        return read.translate(_CONFUSED).rstrip(".") == word
    return _NO_DIGIT.sub("", word) == _NO_DIGIT.sub("", read) and fuzz.ratio(word, read) >= _WORD


def words_of(cells: Sequence[str]) -> list[str]:
    """The words of cells as they are compared: without case, and numbers without commas between thousands."""
    text = unicodedata.normalize("NFKC", " ".join(cells)).casefold()
    text = _THOUSANDS.sub("", _DASHES.sub("-", text))
    return [word for each in text.split() if (word := _EDGES.sub("", each))]
