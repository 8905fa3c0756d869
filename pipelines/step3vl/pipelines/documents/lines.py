"""Lines of a page: how they stand to each other, and how they are joined."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from step3vl.data.sample import Box
from step3vl.pipelines.documents.agreement import has_ideographs
from step3vl.pipelines.sources.documents.pdf_text import PageWord

Sides = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page, or a piece of one."""

    text: str
    score: float
    """Of the OCR, 0..1."""
    box: Box
    """In pixels."""


def reading_sides(box: Box, vertical: bool) -> Sides:
    """The sides of a box in coordinates in which lines run right and follow each other down."""
    return (box.y1, -box.x2, box.y2, -box.x1) if vertical else (box.x1, box.y1, box.x2, box.y2)


def is_centred_in(box: Box, other: Box) -> bool:
    """Whether the centre of a box is in another one of the same space."""
    centre = box.centre
    return other.x1 <= centre.x <= other.x2 and other.y1 <= centre.y <= other.y2


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box around some boxes of one space."""
    return replace(
        boxes[0],
        x1=min(box.x1 for box in boxes),
        y1=min(box.y1 for box in boxes),
        x2=max(box.x2 for box in boxes),
        y2=max(box.y2 for box in boxes),
    )


def same_row(first: Box, second: Box, vertical: bool = False) -> bool:
    """Whether two lines stand beside each other, their centres no further apart than half the lower one's height."""
    sides, others = reading_sides(first, vertical), reading_sides(second, vertical)
    apart = abs(sides[1] + sides[3] - others[1] - others[3]) / 2
    return apart <= min(sides[3] - sides[1], others[3] - others[1]) / 2


def rows_of(lines: Sequence[Line], vertical: bool = False) -> list[list[Line]]:
    """Lines in reading order, those that follow each other in one row combined."""
    rows: list[list[Line]] = []
    for line in lines:
        if rows and same_row(rows[-1][-1].box, line.box, vertical):
            rows[-1].append(line)
        else:
            rows.append([line])
    return rows


def glue(first: str, second: str) -> str:
    """What stands between two texts of one line or paragraph: nothing between ideographs, a space otherwise."""
    ideographs = bool(first and second) and is_wide(first[-1]) and is_wide(second[0])
    return "" if ideographs or not first or not second else " "


def is_wide(character: str) -> bool:
    """An ideograph, or its punctuation."""
    return has_ideographs(character) or "\u3000" <= character <= "\u303f" or "\uff00" <= character <= "\uffef"


def join(pieces: Iterable[Line | PageWord]) -> str:
    """The texts of lines or words as one."""
    text = ""
    for piece in pieces:
        text += glue(text, piece.text) + piece.text
    return text
