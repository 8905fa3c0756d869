"""Labels of born-digital pages beside the text of their files, read by pdfminer, which the labels were not made with.

Words are compared as they stand in the file. Their order must be that of the file, or that of pdfminer's own layout of
the page: neither is right for every file, and a label that follows neither is wrong.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from step3vl.data.optional import require
from step3vl.grading.checks import squash
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.documents.agreement import order_agreement, tokens

LEAST_WORDS = 0.97  # of the words of a label, and of a page, that the other has
LEAST_CHARACTERS = 0.99  # ... where they are ideographs
LEAST_ORDER = 0.98  # Kendall's tau

_EDGE = 0.12  # of the page's height, where headers and footers are, which a label may leave out
_SIDE = 0.14  # of the page's width, where notes in the margin and numbers of lines are
_FEW = 10  # words that are too few for a share of them to mean much
_MANY = 30  # words, of which some must follow each other
_UNNAMED = re.compile(r"\(cid:\d+\)")
_IDEOGRAPHS = 0.5  # of the tokens, in a text of ideographs


class FileLine(NamedTuple):
    """A line of a page as pdfminer reads it.

    Attributes:
        words: Its tokens.
        optional: It may be a header, a footer or a note in the margin, and a label may leave it out.
        divided: It ends with a hyphen.
    """

    words: list[str]
    optional: bool
    divided: bool


class FilePage(NamedTuple):
    """The text of a page.

    Attributes:
        by_file: Lines in the order in which the file writes them.
        by_layout: Lines in the order of pdfminer's layout.
    """

    by_file: list[FileLine]
    by_layout: list[FileLine]


def read_page(path: Path, number: int) -> FilePage:
    """The text of a page of a PDF.

    Args:
        path: The file.
        number: Of the page, from 0.

    Raises:
        Unchecked: It has hardly any text, or does not name its characters.
    """
    layout = require("pdfminer.layout", "pipelines")
    converter = require("pdfminer.converter", "pipelines").PDFPageAggregator
    interpreter = require("pdfminer.pdfinterp", "pipelines")
    get_pages = require("pdfminer.pdfpage", "pipelines").PDFPage.get_pages
    resources, parameters = interpreter.PDFResourceManager(), layout.LAParams()
    written, arranged = converter(resources), converter(resources, laparams=parameters)
    try:
        with path.open("rb") as file:
            for page in get_pages(file, pagenos={number}):
                for device in (written, arranged):
                    interpreter.PDFPageInterpreter(resources, device).process_page(page)
    except require("pdfminer.psexceptions", "pipelines").PSException:
        raise Unchecked("file_not_read") from None
    page, arranged = written.get_result(), arranged.get_result()
    characters = [each for each in _leaves(page, layout) if isinstance(each, layout.LTChar)]
    if not characters:
        raise Unchecked("no_text_layer")
    grouped = list(page.group_objects(parameters, characters))
    boxes = [each for each in arranged if isinstance(each, layout.LTTextBox)]
    by_file = [line for each in grouped if (line := _line(each, page)) is not None]
    by_layout = [line for box in boxes for each in box if (line := _line(each, page)) is not None]
    text = "".join(each.get_text() for each in grouped)
    if sum(len(line.words) for line in by_file) < _FEW:
        raise Unchecked("no_text_layer")
    if len(_UNNAMED.findall(text)) > (1 - LEAST_WORDS) * len(text):
        raise Unchecked("unnamed_characters")
    return FilePage(by_file, by_layout)


def _leaves(element: Any, layout: Any) -> Iterator[Any]:
    """The parts of a page, those of embedded forms included."""
    for each in element:
        if isinstance(each, layout.LTFigure):
            yield from _leaves(each, layout)
        else:
            yield each


def _line(line: Any, page: Any) -> FileLine | None:
    text = _UNNAMED.sub(" ", line.get_text()).strip()
    words = tokens(text)
    if not words:
        return None
    middle, centre = (line.y0 + line.y1) / 2 / page.height, (line.x0 + line.x1) / 2 / page.width
    optional = not _EDGE < middle < 1 - _EDGE or not _SIDE < centre < 1 - _SIDE
    return FileLine(words, optional, text[-1] in "-\u00ad‐")


def check_page(label: str, page: FilePage, *, whole: bool) -> str | None:
    """What is wrong with the label of a page; None for a right one.

    Args:
        label: Without markup.
        page: The text of the file.
        whole: The label stands for all text but that of headers, footers and margins: it has no figures and formulas.
    """
    label_words = tokens(label)
    if len(label_words) < _FEW:
        raise Unchecked("too_short")
    known = set(label_words)
    by_file = list(_joined(page.by_file, known))
    counts, labelled = Counter(word for word, _ in by_file), Counter(label_words)
    ideographs = sum(len(word) == 1 and not word.isascii() for word in label_words)
    least = LEAST_CHARACTERS if ideographs > _IDEOGRAPHS * len(label_words) else LEAST_WORDS
    if (counts & labelled).total() < least * len(label_words):
        return "words_not_in_file"
    needed = Counter(word for word, optional in by_file if not optional)
    if whole and (needed & labelled).total() < least * needed.total():
        return "words_left_out"
    orders = [
        order_agreement(label_words, [word for word, _ in _joined(lines, known)])
        for lines in (page.by_file, page.by_layout)
    ]
    known_orders = [order for order in orders if order is not None]
    if not known_orders:  # no two words follow each other as in the file
        return "order_differs" if len(label_words) >= _MANY else None
    return "order_differs" if max(known_orders) < LEAST_ORDER else None


def _joined(lines: Sequence[FileLine], known: set[str]) -> Iterator[tuple[str, bool]]:
    """The words of lines and whether they are optional; a known word that two lines divide is whole."""
    words = [list(line.words) for line in lines]
    for place, line in enumerate(lines):
        if line.divided and words[place]:
            # The next line comes first, but in a file that writes columns row by row it is another one.
            others = [*range(place + 1, len(lines)), *range(place)]
            end = words[place][-1]
            other = next((other for other in others if words[other] and end + words[other][0] in known), None)
            if other is not None:
                words[place][-1] = end + words[other].pop(0)
    for each, line in zip(words, lines, strict=True):
        yield from ((word, line.optional) for word in each)


def check_line(label: str, page: FilePage) -> str | None:
    """What is wrong with the label of a line; None where the page has just this text, or its two halves.

    Args:
        label: Of the line.
        page: The text of the file.
    """
    expected = squash(label)
    if len(expected) < 3:
        raise Unchecked("too_short")
    text = squash(
        "\n".join("".join("".join(line.words) for line in lines) for lines in (page.by_file, page.by_layout))
    )
    # What stands in the margin is read as one line with what it stands beside.
    words = [squash(word) for word in tokens(label)]
    parts = [("".join(words[:place]), "".join(words[place:])) for place in range(1, len(words))]
    is_there = expected in text or any(first in text and second in text for first, second in parts)
    return None if is_there else "line_not_in_file"
