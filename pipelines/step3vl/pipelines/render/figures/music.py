"""Scores in ABC notation, engraved by Verovio, and the proof that an image shows its notes.

Verovio says which notes it read, and where each head is: the pitch of a head is read back from its height between the
staff lines, as a musician would, and its ink is looked up in the pixels.
"""

import math
import random
from dataclasses import dataclass
from typing import Any, NamedTuple
from xml.etree import ElementTree

from PIL import Image as PILImage

from step3vl.data.optional import require
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.chart_style import pick_style
from step3vl.pipelines.render.colours import rgb
from step3vl.pipelines.render.figures.figure import Element, Figure, encode_png
from step3vl.pipelines.render.figures.figures import MadeFigure, Supply
from step3vl.pipelines.render.svg import SVG, SvgRenderer

_LETTERS = "cdefgab"
_MEI = "{http://www.music-encoding.org/ns/mei}"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_HEADS = ("E0A2", "E0A3", "E0A4")  # SMuFL: whole, half and black noteheads
_FACES = ("Leipzig", "Bravura", "Leland", "Petaluma", "Gootville")
# Major keys alone: a signature does not tell them from their minors and modes.
_KEYS = ("C", "G", "D", "A", "E", "B", "F#", "F", "Bb", "Eb", "Ab", "Db", "Gb")
_METRES = {  # rhythms that fill a bar, in eighths
    "4/4": ((2, 2, 2, 2), (4, 4), (4, 2, 2), (2, 1, 1, 2, 2), (1, 1, 1, 1, 4), (3, 1, 2, 2), (6, 2), (8,), (1,) * 8),
    "C": ((2, 2, 4), (2, 2, 2, 2), (3, 1, 4), (1, 1, 2, 1, 1, 2), (4, 4)),
    "3/4": ((2, 2, 2), (4, 2), (2, 4), (3, 1, 2), (1, 1, 2, 2), (1, 1, 1, 1, 1, 1), (6,)),
    "2/4": ((2, 2), (1, 1, 2), (2, 1, 1), (3, 1), (1, 1, 1, 1), (4,)),
    "6/8": ((3, 3), (2, 1, 2, 1), (1, 1, 1, 3), (3, 2, 1), (1, 1, 1, 1, 1, 1), (6,)),
    "9/8": ((3, 3, 3), (2, 1, 2, 1, 3), (1, 1, 1, 3, 3), (6, 3)),
}
_DURATIONS = {1: ("8", 0), 2: ("4", 0), 3: ("4", 1), 4: ("2", 0), 6: ("2", 1), 8: ("1", 0)}
_SHARP = {"^": "s", "_": "f", "=": "n"}
_TOP_LINE = {"treble": 38, "bass": 26, "alto": 32}  # steps above C0 of the top line: F5, A3, G4


class Note(NamedTuple):
    """A note or a rest of the score.

    Attributes:
        steps: Of its pitches above C0, one for each head; none for a rest.
        accidental: `^`, `_`, `=` or nothing; of the only head.
        length: In eighths.
    """

    steps: tuple[int, ...]
    accidental: str
    length: int


@dataclass(frozen=True)
class Tune:
    """A tune, its notation, and about how wide its longest line is, in tenths of pixels at the full scale."""

    notes: tuple[Note, ...]
    clef: str
    abc: str
    width: int


class MusicMaker:
    """Scores in ABC notation."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        verovio = require("verovio", "pipelines")
        verovio.enableLog(verovio.LOG_OFF)  # it warns of every tune without a title
        self._toolkit = verovio.toolkit()
        self._renderer = SvgRenderer(supply.families)

    def families(self) -> list[str]:
        return ["melody", "bass", "chords", "alto"]

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        tune = write_tune(family, rng)
        style = pick_style(self._supply.families, (240, 240), (180, 180), rng)
        face = rng.choice(_FACES)
        figure = self._figure(tune, face, (style.background, style.ink), rng)
        traits = {"font": face, "background": style.background}
        return MadeFigure(f"music.{family}", "abc", tune.abc, "", "", figure, "generated", "CC0-1.0", traits=traits)

    def _figure(self, tune: Tune, face: str, colours: tuple[str, str], rng: random.Random) -> Figure:
        """Render a tune and prove that the image shows it.

        Raises:
            Dropped: The image does not show the tune.
        """
        self._toolkit.resetOptions()
        self._toolkit.setOptions(
            {
                "adjustPageHeight": True,
                "adjustPageWidth": True,
                "breaks": "line",
                "font": face,
                "footer": "none",
                "header": "none",
                "pageMarginBottom": 40,
                "pageMarginLeft": 40,
                "pageMarginRight": 40,
                "pageMarginTop": 40,
                "pageWidth": tune.width,
                "scale": 100,
                "spacingLinear": rng.choice((0.2, 0.25, 0.32)),
                "staffLineWidth": rng.choice((0.1, 0.15, 0.2)),
                "xmlIdSeed": 1,
            }
        )
        if not self._toolkit.loadData(tune.abc):
            raise Dropped("not_read")
        if self._toolkit.getPageCount() != 1:
            raise Dropped("several_pages")
        if read_notes(self._toolkit.getMEI()) != expected_notes(tune):
            raise Dropped("notes_differ")
        svg = self._toolkit.renderToSVG(1).replace('color="black"', f'color="{colours[1]}" fill="{colours[1]}"')
        root = ElementTree.fromstring(svg)
        steps, heads = read_heads(root, tune.clef)
        if steps != [step for note in tune.notes for step in sorted(note.steps)]:
            raise Dropped("heads_differ")
        zoom = rng.choice((0.35, 0.42, 0.5, 0.6))
        pixels = self._renderer.pixels(svg, zoom, colours[0])
        scale, left, upper = view(root, pixels.width)
        elements = []
        for x, y in ((x + left, y + upper) for x, y in heads):
            box = (x * scale, (y - 90) * scale, (x + 220) * scale, (y + 90) * scale)
            elements.append(Element("mark", "note", box))
            if not _is_inked(pixels, box, colours[0]):
                raise Dropped("note_not_visible")
        return Figure(encode_png(pixels), pixels.size, tuple(elements), 0.0)


def write_tune(family: str, rng: random.Random) -> Tune:
    """A random tune: a walk through the scale over the rhythms of its metre."""
    metre = rng.choice(list(_METRES))
    rhythms = _METRES[metre]
    clef = {"bass": "bass", "alto": "alto"}.get(family, "treble")
    top = _TOP_LINE[clef]
    low, high = top - 10, top + 2
    bars, per_line = rng.randint(2, 8), rng.randint(3, 4)
    step = rng.randint(low + 2, high - 2)
    notes: list[Note] = []
    lines: list[str] = [""]
    for bar in range(bars):
        rhythm = rng.choice(rhythms)
        group = []
        for place, duration in enumerate(rhythm):
            if rng.random() < 0.07 and len(rhythm) > 1:
                notes.append(Note((), "", duration))
                group.append("z" + (str(duration) if duration > 1 else ""))
                continue
            move = rng.choice((-4, -3, -2, -1, -1, 0, 1, 1, 2, 3, 4))
            step += move if low <= step + move <= high else -move
            chord = family == "chords" and duration > 1 and rng.random() < 0.6
            steps = (step, step + 2, *((step + 4,) if rng.random() < 0.6 else ())) if chord else (step,)
            if max(steps) > high:
                steps = (step,)
            accidental = rng.choice("^_=") if len(steps) == 1 and rng.random() < 0.06 else ""
            notes.append(Note(steps, accidental, duration))
            number = str(duration) if duration > 1 else ""
            body = "".join(abc_pitch(pitch) + number for pitch in steps)
            joined = duration == 1 and place and rhythm[place - 1] == 1 and (metre[0] in "69" or place % 2)
            text = f"[{body}]" if len(steps) > 1 else accidental + body
            if joined and group:
                group[-1] += text
            else:
                group.append(text)
        last = bar == bars - 1
        lines[-1] += (
            ("" if lines[-1] == "" else " ") + " ".join(group) + (rng.choice((" |]", " |]", " ||")) if last else " |")
        )
        if not last and (bar + 1) % per_line == 0:
            lines.append("")
    key = rng.choice(_KEYS) + ("" if clef == "treble" else f" clef={clef}")
    head = ["X:1", f"M:{metre}", "L:1/8", f"K:{key}"]
    width = 260 + max(map(len, lines)) * rng.randint(26, 36)
    return Tune(tuple(notes), clef, "\n".join((*head, *lines)), width)


def abc_pitch(step: int) -> str:
    """A pitch in ABC: `C` is middle C, `c` an octave higher, `c'` and `C,` further."""
    octave, letter = divmod(step, 7)
    name = _LETTERS[letter]
    return name + "'" * (octave - 5) if octave >= 5 else name.upper() + "," * (4 - octave)


def expected_notes(tune: Tune) -> list[tuple[str, int, str, int, str]]:
    """Letter, octave, duration, dots and written accidental of each head, the lowest of a chord first.

    A rest has no letter and the octave 0.
    """
    heads = []
    for note in tune.notes:
        duration, dots = _DURATIONS[note.length]
        if not note.steps:
            heads.append(("", 0, duration, dots, ""))
        for step in sorted(note.steps):
            heads.append((_LETTERS[step % 7], step // 7, duration, dots, _SHARP.get(note.accidental, "")))
    return heads


def read_notes(mei: str) -> list[tuple[str, int, str, int, str]]:
    """The heads and rests of a score in MEI, as `expected_notes` gives them."""
    heads = []
    root = ElementTree.fromstring(mei)
    chords = {id(note): chord for chord in root.iter(f"{_MEI}chord") for note in chord.iter(f"{_MEI}note")}
    for item in root.iter():
        if item.tag not in (f"{_MEI}note", f"{_MEI}rest", f"{_MEI}mRest"):
            continue
        timed = chords.get(id(item), item)
        accidentals = [accidental.get("accid", "") for accidental in item.iter(f"{_MEI}accid")]
        accidental = item.get("accid", "") or "".join(accidentals)
        dots = int(timed.get("dots", "0")) or len(list(timed.iter(f"{_MEI}dot")))
        heads.append((item.get("pname", ""), int(item.get("oct", "0")), timed.get("dur", ""), dots, accidental))
    return heads


def read_heads(root: Any, clef: str) -> tuple[list[int], list[tuple[float, float]]]:
    """The pitches of noteheads by their height between the staff lines, and where they are.

    Args:
        root: The SVG of a score.
        clef: Of its staffs.

    Returns:
        Steps above C0 in reading order, chords from below, and the left end and the middle of each head.
    """
    steps: list[int] = []
    places: list[tuple[float, float]] = []
    for staff in (node for node in root.iter(f"{SVG}g") if node.get("class") == "staff"):
        rows = [_start(path)[1] for path in staff.findall(f"{SVG}path")][:5]
        top, gap = min(rows), (max(rows) - min(rows)) / 8
        heads = []
        for use in staff.iter(f"{SVG}use"):
            if str(use.get(_XLINK))[1:5] in _HEADS:
                x, y = (float(v) for v in use.get("transform").partition("(")[2].partition(")")[0].split(","))
                heads.append((round(x / 60), -y, x))
        for _, y, x in sorted(heads):
            steps.append(_TOP_LINE[clef] - round((-y - top) / gap))
            places.append((x, -y))
    return steps, places


def _start(path: Any) -> tuple[float, float]:
    x, y = path.get("d").split()[:2]
    return float(x[1:]), float(y)


def view(root: Any, width: int) -> tuple[float, float, float]:
    """Pixels for each unit of the noteheads, and the margins at the left and above in units.

    Args:
        root: The SVG of a score.
        width: Of its image in pixels.
    """
    inner = next(node for node in root.iter(f"{SVG}svg") if node.get("viewBox"))
    page = next(node for node in root.iter(f"{SVG}g") if node.get("class") == "page-margin")
    left, upper = (float(v) for v in page.get("transform").partition("(")[2].rstrip(")").split(","))
    return width / float(inner.get("viewBox").split()[2]), left, upper


def _is_inked(pixels: PILImage.Image, box: tuple[float, float, float, float], paper: str) -> bool:
    part = pixels.crop((math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])))
    background = rgb(paper)
    colours = part.getcolors(part.width * part.height) or []
    inked = sum(
        count
        for count, colour in colours
        if isinstance(colour, tuple) and sum(abs(a - b) for a, b in zip(colour, background, strict=True)) > 150
    )
    return inked > 0.12 * part.width * part.height
