"""Whether an image shows the notes of a score in ABC notation: its note heads, found in the pixels.

Nothing of the engraver is used. Long horizontal lines are the staffs. Note heads have nearly one size, that of the gap
between two lines, in every font: a morphological opening leaves them of the ink and little else. Holes are filled
before, and tell half and whole notes from the others. The ink is read at three levels, as lines are thin: a note is
wrong where two readings agree on another one and none on the label's. The label is read by a parser of its own, and
its bars must be full.

Keys, metres, accidentals, flags and rests are not compared, nor is a note missed with which a line begins.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from step3vl.pipelines.core.domain import Unchecked

_FIELDS = re.compile(r"X:1\nM:(C|(\d+)/(\d+))\nL:1/8\nK:[A-G][#b]?(?: clef=(bass|alto))?\n")
_ITEM = re.compile(r"\[([^\[\]]+)\]|([\^_=]?[A-Ga-gz][,']*\d*)|\s+")
_NOTE = re.compile(r"[\^_=]?([A-Ga-gz])([,']*)(\d*)")
_LETTERS = "cdefgab"
_TOP_LINE = {"": 38, "bass": 26, "alto": 32}  # steps above C0: F5, A3, G4
_HOLLOW = 4  # eighths, from which on notes have hollow heads

_LEVELS = (0.3, 0.45, 0.6)  # of the darkest ink, that are read as ink
_AGREED = 2  # readings
_GAP = 20  # pixels between two staff lines in which heads are looked for
_LINE = 0.08  # ink of the faintest staff line, which may be thinner than a pixel
_LONG = 4  # a staff takes at least this fraction of the width
_THICK = 2.5  # times the ink of the usual line: a beam
_UNEVEN = 0.15  # of a gap by which the lines of a staff may be apart from each other, beside half a pixel
_ABOVE, _BELOW = 3, 7  # gaps around the top line of a staff: with ledger lines
# In gaps: the ellipse that fits into heads, the widths of filled and hollow heads, how much lower and higher than
# the sum of their gaps heads of a chord are, and the area, width and height of holes in heads.
_ELLIPSE = (0.8, 0.66)
_WIDTHS, _WIDEST = (1.1, 1.55), 2.0
_HEIGHTS = (-0.1, 0.5)
_HOLE_AREA, _HOLE = (0.02, 0.5), (1.15, 0.9)
_FILLED = 0.1  # of a head, that is a hole in a hollow one
_BESIDE = 0.25  # steps that a head may be off its place
_CHORD = 3  # heads, at most
_COLUMN = 0.5  # gaps between the middles of heads of a chord

Ink = npt.NDArray[np.float32]
"""The ink of an image, [height, width], 0..1."""


class Chord(NamedTuple):
    """The heads of a note or a chord.

    Attributes:
        steps: Below the top line of the staff, from above; two for each gap.
        hollow: Whether it is a half or a whole note.
    """

    steps: tuple[int, ...]
    hollow: bool


class Staff(NamedTuple):
    """Where the top line of a staff is, and how far its lines are apart, in pixels."""

    top: float
    gap: float


def check_score(label: str, image: PILImage.Image) -> str | None:
    """What is wrong with the label of a score; None where it is right.

    Args:
        label: In ABC notation, as `render/figures/music.py` writes it.
        image: Of the score.

    Raises:
        Unchecked: The label has other notations, or its notes cannot be read off the image.
    """
    lines = read_abc(label)
    if lines is None:
        return "bar_not_full"
    ink = _ink(image)
    staffs = find_staffs(ink)
    if len(staffs) != len(lines):
        raise Unchecked("staffs_not_found")
    unread = False
    for expected, staff in zip(lines, staffs, strict=True):
        readings = [list(_chords(ink, staff, level)) for level in _LEVELS]
        if not expected or any(reading[-len(expected) :] == expected for reading in readings):
            continue
        if _differs(expected, readings):
            return "notes_differ"
        unread = True
    if unread:
        raise Unchecked("notes_not_read")
    return None


def read_abc(label: str) -> list[list[Chord]] | None:
    """The notes of each line of a score; None where a bar is not as long as the metre says. Raises Unchecked."""
    fields = _FIELDS.match(label)
    if fields is None:
        raise Unchecked("other_notation")
    bar = 8 if fields[1] == "C" else int(fields[2]) * 8 // int(fields[3])
    lines = []
    for line in label[fields.end() :].splitlines():
        chords: list[Chord] = []
        for text in filter(None, line.replace("|]", "|").split("|")):
            length = 0
            for items, eighths in _items(text):
                length += eighths
                if items:
                    steps = sorted(_TOP_LINE[fields[4] or ""] - step for step in items)
                    chords.append(Chord(tuple(steps), eighths >= _HOLLOW))
            if length and length != bar:
                return None
        lines.append(chords)
    return lines


def _items(bar: str) -> Iterator[tuple[list[int], int]]:
    """The steps above C0 and the length in eighths of each note, chord or rest of a bar."""
    place = 0
    while place < len(bar):
        item = _ITEM.match(bar, place)
        if item is None:
            raise Unchecked("other_notation")
        place = item.end()
        body = item[1] or item[2]
        if not body:
            continue
        notes = _NOTE.findall(body)
        lengths = {int(length or 1) for _, _, length in notes}
        if len(lengths) != 1:
            raise Unchecked("other_notation")
        yield [_step(letter, marks) for letter, marks, _ in notes if letter != "z"], lengths.pop()


def _step(letter: str, marks: str) -> int:
    octave = (5 if letter.islower() else 4) + marks.count("'") - marks.count(",")
    return 7 * octave + _LETTERS.index(letter.lower())


def _ink(image: PILImage.Image) -> Ink:
    grey = np.asarray(image.convert("L"), np.float32)
    ink: Ink = np.abs(grey - np.float32(np.median(grey)))
    return np.minimum(1, ink / np.float32(max(1.0, float(np.percentile(ink, 99.5)))))


def find_staffs(ink: Ink) -> list[Staff]:
    """The staffs of an image from above. Raises Unchecked where the long lines are no staffs."""
    row = cv2.getStructuringElement(cv2.MORPH_RECT, (max(3, ink.shape[1] // _LONG), 1))
    longest = cv2.morphologyEx(ink, cv2.MORPH_OPEN, row).max(1)
    rows = np.nonzero(longest > _LINE)[0]
    groups = np.split(rows, np.nonzero(np.diff(rows) > 1)[0] + 1)
    amounts = [float(longest[group].sum()) for group in groups]
    lines = [
        float((group * longest[group]).sum()) / amount
        for group, amount in zip(groups, amounts, strict=True)
        if amount < _THICK * float(np.median(amounts))
    ]
    if not lines or len(lines) % 5:
        raise Unchecked("staffs_not_found")
    staffs = []
    for start in range(0, len(lines), 5):
        gaps = np.diff(lines[start : start + 5])
        if gaps.max() - gaps.min() > _UNEVEN * gaps.mean() + 0.5:
            raise Unchecked("staffs_not_found")
        staffs.append(Staff(lines[start], float(gaps.mean())))
    return staffs


def _chords(ink: Ink, staff: Staff, level: float) -> Iterator[Chord]:
    """The heads of a staff from the left, those above each other together; some of its clef may be among them.

    Args:
        ink: Of the image.
        staff: Where it is.
        level: Of ink.
    """
    column: list[tuple[float, int, bool]] = []
    for head in _heads(ink, staff, level):
        if column and head[0] - column[0][0] >= _COLUMN * _GAP:
            yield _chord(column)
            column = []
        column.append(head)
    if column:
        yield _chord(column)


def _chord(heads: Sequence[tuple[float, int, bool]]) -> Chord:
    return Chord(tuple(sorted(step for _, step, _ in heads)), any(hollow for *_, hollow in heads))


def _heads(ink: Ink, staff: Staff, level: float) -> list[tuple[float, int, bool]]:
    """The middle, the step below the top line, and the hollowness of each head, from the left."""
    first = max(0, round(staff.top - _ABOVE * staff.gap))
    last = min(len(ink), round(staff.top + _BELOW * staff.gap))
    scale = _GAP / staff.gap
    around = cv2.resize(ink[first:last], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    top = (staff.top - first + 0.5) * scale
    filled, holes = _filled((around > level).astype(np.uint8))
    size = tuple(int(side * _GAP) | 1 for side in _ELLIPSE)
    opened = cv2.morphologyEx(filled, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, size))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    heads = []
    for number in range(1, count):
        left, upper, width, height = stats[number, : cv2.CC_STAT_AREA].tolist()
        several = max(1, round(height / _GAP + _HEIGHTS[0]))
        hollow = float(holes[labels == number].mean()) > _FILLED
        is_wide = _WIDTHS[0] <= width / _GAP <= (_WIDEST if hollow else _WIDTHS[1])
        if several > _CHORD or not is_wide or not _HEIGHTS[0] < height / _GAP - several < _HEIGHTS[1]:
            continue
        for place in range(several):
            middle = upper + height / 2 + ((several - 1) / 2 - place) * _GAP
            step = (middle - top) / (_GAP / 2)
            if abs(step - round(step)) < _BESIDE:
                heads.append((left + width / 2, round(step), hollow))
    return sorted(heads)


def _filled(ink: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The ink with its small holes filled, and these holes."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - ink, connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA] / _GAP**2
    widths, heights = stats[:, cv2.CC_STAT_WIDTH] / _GAP, stats[:, cv2.CC_STAT_HEIGHT] / _GAP
    is_hole = (_HOLE_AREA[0] <= areas) & (areas <= _HOLE_AREA[1])
    is_hole &= (widths <= _HOLE[0]) & (heights <= _HOLE[1])
    is_hole[0] = False  # the ink itself
    holes = is_hole[labels].astype(np.uint8)
    return ink | holes, holes


def _differs(expected: Sequence[Chord], readings: Sequence[Sequence[Chord]]) -> bool:
    """Whether enough readings agree on another chord in some place, where none has that of the label."""
    columns = zip(*(_in_places(expected, reading) for reading in readings), strict=True)
    for chord, seen in zip(expected, columns, strict=True):
        others = Counter(other for other in seen if other is not None)
        if chord not in others and others and others.most_common(1)[0][1] >= _AGREED:
            return True
    return False


def _in_places(expected: Sequence[Chord], reading: Sequence[Chord]) -> list[Chord | None]:
    """What is read in the place of each chord, if the others around it are read as expected; None where not."""
    places: list[Chord | None] = [None] * len(expected)
    for tag, start, stop, first, last in SequenceMatcher(None, reading, expected, autojunk=False).get_opcodes():
        if tag == "equal":
            places[first:last] = reading[start:stop]
        elif tag == "replace" and last - first == 1 and (stop - start == 1 or start == 0):
            places[first] = reading[stop - 1]
    return places
