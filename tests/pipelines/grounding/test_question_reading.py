"""Finished questions are read back: every wording, and the phrases in it."""

from typing import Any

import pytest

from step3vl.pipelines.grounding.names import say
from step3vl.pipelines.grounding.phrasings import BODIES
from step3vl.pipelines.grounding.question_reading import Description, descriptions_of, fields_of
from step3vl.pipelines.grounding.referring import Phrase

LABELS, COLOURS = ("car", "traffic light", "cell", "paragraph"), ("red", "blue")
CAR, LIGHT = Phrase("car"), Phrase("traffic light", (("colour", "red"),))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    "phrase",
    [
        CAR,
        LIGHT,
        Phrase("car", place="leftmost"),
        Phrase("car", (("colour", "blue"),), place="smallest"),
        Phrase("cell", (("text", "3 and 4"),)),
        Phrase("cell", (("row", "2"), ("column", "11"))),
        Phrase("paragraph", (("start", "It is between us and"),)),
        Phrase("car", near=LIGHT),
        Phrase("car", near=Phrase("cell", (("text", "the car nearest to me"),))),
        Phrase("car", between=(LIGHT, Phrase("cell", place="topmost"))),
        Phrase("car", written="the one between two lorries"),
    ],
)
def test_phrases_are_read_back(phrase: Phrase, language: Any) -> None:
    def described(phrase: Phrase) -> Description:
        if phrase.written:
            return Description(written=phrase.written)
        near = described(phrase.near) if phrase.near else None
        between = (described(phrase.between[0]), described(phrase.between[1])) if phrase.between else None
        return Description(phrase.label, phrase.attributes, phrase.place or "", near, between)

    assert described(phrase) in descriptions_of(say(phrase, language), LABELS, COLOURS, {phrase.written}, language)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_wording_is_read_back(language: Any) -> None:
    values = {field: f"<{field}>" for field in ("name", "names", "box", "classes", "first", "second", "anchor")}
    for kind, bodies in BODIES.items():
        for body in bodies[language]:
            question = body.format(**values)
            readings = fields_of(question[:1].upper() + question[1:], kind, "json", language)
            expected = {field: value for field, value in values.items() if f"{{{field}}}" in body}
            assert expected in readings
