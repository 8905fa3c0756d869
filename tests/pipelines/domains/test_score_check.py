"""Note heads in the pixels, on staffs that the test renders itself and on those of Verovio."""

import math
from collections import Counter

import pytest
from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.domains.score_check import Chord, check_score, read_abc
from step3vl.pipelines.render.figures.figure import read_png
from step3vl.pipelines.render.figures.figures import FigureOptions, Supply
from step3vl.pipelines.render.figures.music import MusicMaker
from step3vl.pipelines.render.fonts import load_families

_HEAD = "X:1\nM:4/4\nL:1/8\nK:C\n"
_GAP = 9.3
_TUNE = _HEAD + "c2 e2 [F2A2] g2 | A4 f2 d2 |\nB2 z2 G4 |]"
_PLACES = (  # steps below the top line and whether the head is hollow, as a musician reads the tune
    [((3,), False), ((1,), False), ((5, 7), False), ((-1,), False), ((5,), True), ((0,), False), ((2,), False)],
    [((4,), False), ((6,), True)],
)


def _ellipse(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    """The outline of a head, which is turned a little."""
    turn = math.radians(-20)
    points = [(width * math.cos(a) / 2, height * math.sin(a) / 2) for a in (math.tau * i / 40 for i in range(40))]
    cos, sin = math.cos(turn), math.sin(turn)
    return [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in points]


def _score() -> PILImage.Image:
    """The tune, four times as large and then reduced, with stems and bars but without a clef."""
    scale = 4
    image = PILImage.new("L", (500 * scale, 260 * scale), 255)
    canvas = ImageDraw.Draw(image)
    gap = _GAP * scale
    for number, notes in enumerate(_PLACES):
        top = (60 + 120 * number) * scale
        for line in range(5):
            canvas.line([(40, top + line * gap), (1900, top + line * gap)], fill=0, width=3)
        for x in (1100, 1900):
            canvas.line([(x, top), (x, top + 4 * gap)], fill=0, width=4)
        for place, (steps, hollow) in enumerate(notes):
            x = 400 + 150 * place + (150 if place > 3 else 0)
            for step in steps:
                y = top + step * gap / 2
                canvas.polygon(_ellipse(x, y, 1.3 * gap, gap), fill=0)
                if hollow:
                    canvas.polygon(_ellipse(x, y, 1.0 * gap, 0.5 * gap), fill=255)
                canvas.line([(x + 0.6 * gap, y), (x + 0.6 * gap, top + (min(steps) - 7) * gap / 2)], fill=0, width=4)
    return image.resize((500, 260), PILImage.Resampling.LANCZOS)


def _verdict(label: str, image: PILImage.Image) -> str | None:
    """What the check says of a label, or why it says nothing."""
    try:
        return check_score(label, image.convert("RGB"))
    except Unchecked as error:
        return error.reason


def test_notation_is_read_as_a_musician_reads_it() -> None:
    lines = read_abc(_TUNE)
    assert lines == [[Chord(steps, hollow) for steps, hollow in line] for line in _PLACES]
    assert read_abc("X:1\nM:6/8\nL:1/8\nK:Eb clef=bass\nA,3 ^B,, z2 |]") == [[Chord((0,), False), Chord((6,), False)]]
    assert read_abc(_TUNE.replace("f2", "f3")) is None
    for other in (_TUNE.replace("L:1/8", "L:1/4"), _TUNE.replace("e2", "(e2)"), _TUNE.replace("F2A2", "F2A")):
        with pytest.raises(Unchecked, match="other_notation"):
            read_abc(other)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("", "", None),
        ("e2", "f2", "notes_differ"),
        ("e2", "E2", "notes_differ"),
        ("[F2A2]", "[E2A2]", "notes_differ"),
        ("[F2A2]", "F2", "notes_differ"),
        ("g2 | A4", "g2 | A2 A2", "notes_not_read"),
        ("z2 G4", "G4 z2", None),  # rests are not compared
        ("f2 d2", "f4", "notes_not_read"),
        ("B2 z2 G4", "B2 z4 G2", "notes_differ"),
        ("B2 z2", "B4 z2", "bar_not_full"),
        ("|\nB2", "| B2", "staffs_not_found"),
    ],
)
def test_heads_are_compared_one_by_one(before: str, after: str, reason: str | None) -> None:
    assert _verdict(_TUNE.replace(before, after) if before else _TUNE, _score()) == reason


def test_an_image_without_staffs_is_unchecked() -> None:
    for image in (PILImage.new("RGB", (40, 30)), PILImage.effect_noise((200, 90), 80).convert("RGB")):
        with pytest.raises(Unchecked, match="staffs_not_found"):
            check_score(_TUNE, image)


@pytest.mark.slow
def test_engraved_scores_are_right_and_those_with_another_note_are_not(context: StepContext) -> None:
    pytest.importorskip("verovio")
    families = load_families(context.assets(("assets:fonts/*.ttf",)))
    maker = MusicMaker(Supply(families, FigureOptions(("en",), (240, 300), (180, 240), 0.0, ()), []))
    outcomes: dict[str, Counter[str | None]] = {"right": Counter(), "wrong": Counter()}
    for number in range(12):
        rng = rng_for(0, "score", str(number))
        made = maker.make(("melody", "bass", "chords", "alto")[number % 4], rng)
        image, body = read_png(made.figure.png), made.code.index("\n", made.code.index("K:"))
        place = rng.choice([i for i in range(body, len(made.code)) if made.code[i].upper() in "ABCDEFG"])
        other = "B" if made.code[place].upper() != "B" else "F"
        other = other.lower() if made.code[place].islower() else other
        outcomes["right"][_verdict(made.code, image)] += 1
        outcomes["wrong"][_verdict(made.code[:place] + other + made.code[place + 1 :], image)] += 1
    assert set(outcomes["right"]) <= {None, "notes_not_read"} and outcomes["right"][None] >= 9
    assert set(outcomes["wrong"]) <= {"notes_differ", "notes_not_read"} and outcomes["wrong"]["notes_differ"] >= 9
