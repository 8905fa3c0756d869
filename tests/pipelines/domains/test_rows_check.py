"""Rows and pairs of names and values, as an OCR reads them."""

import pytest
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from step3vl.data.sample import Box
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.domains.pairs_check import Pair, check_pairs, pairs_of, values_of
from step3vl.pipelines.domains.rows_check import check_rows, compare_rows, is_same, visual_rows, words_of
from step3vl.pipelines.models.ocr import OcrLine, OcrModel

SIZE = (800, 600)


def line(text: str, x: float, y: float, height: float = 20) -> OcrLine:
    return OcrLine(text=text, score=0.9, box=Box(x, y, x + 10.0 * len(text), y + height, "pixels", SIZE))


def test_lines_beside_each_other_are_a_row() -> None:
    lines = [line("48", 300, 61), line("City", 20, 20), line("Rain", 300, 22), line("Oslo 7", 20, 60)]
    assert visual_rows(lines) == [["city", "rain"], ["oslo", "7", "48"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [("1,234.50 −3", ["1234.50", "-3"]), ("“Rain”, mm:", ["rain", "mm"]), ("12%", ["12%"]), ("| — |", [])],
)
def test_words_are_compared_without_what_readers_differ_in(text: str, words: list[str]) -> None:
    assert words_of([text]) == words


ROWS = [["city", "rain", "sun"], ["oslo", "12", "4"], ["lima", "3", "9"]]


def test_what_stands_in_the_place_of_a_word() -> None:
    read = [["city", "rain", "sun"], ["oslo", "17", "4"], ["lima", "9"]]
    assert compare_rows(ROWS, read) == (["city", "rain", "sun", "oslo", "17", "4", "lima", None, "9"], 0, 0)


@pytest.mark.parametrize(
    ("word", "read", "same"),
    [("12", "12", True), ("12", "l2", True), ("12", "13", False), ("12月", "15月", False), ("rain", "rein", True)],
)
def test_digits_are_compared_exactly_and_letters_nearly(word: str, read: str, same: bool) -> None:
    assert is_same(word, read) == same


def test_a_row_elsewhere_is_missing_and_left() -> None:
    reading = compare_rows(ROWS, [ROWS[0], ROWS[2], ROWS[1]])
    assert (reading.left, reading.missing) == (1, 1)


def test_a_row_without_spaces_is_the_same() -> None:
    assert compare_rows(ROWS[1:2], [["oslo124"]]).words == ROWS[1]


LABEL = """# Rain

- **12,500** Oslo
1. **1999**: 48 km
1. Peru (7.5%)
- Streets with trees: 3 out of 10
| Lima | 9 |
| --- | --- |

*Source: 2004*"""


def test_the_pairs_of_an_infographic() -> None:
    assert pairs_of(LABEL) == [
        Pair("oslo", "12500", "above"),
        Pair("1999", "48", "beside"),
        Pair("peru", "7.5", "beside"),
        Pair("streets with trees", "3", "beside"),
        Pair("lima", "9", "beside"),
    ]


@pytest.mark.parametrize(
    ("pair", "values"),
    [
        (Pair("oslo", "12", "above"), {"12"}),
        (Pair("lima", "9", "beside"), {"9"}),
        (Pair("peru", "7.5", "beside"), {"7.5"}),  # in one line with its name
        (Pair("1999", "48", "beside"), {"48"}),  # 19990 is another name
        (Pair("paris", "1", "beside"), set()),
    ],
)
def test_the_number_in_the_place_of_a_value(pair: Pair, values: set[str]) -> None:
    lines = [
        *(line("12 km", 35, 40, 30), line("Oslo", 40, 90), line("8 km", 235, 40, 30), line("Bern", 240, 90)),
        *(line("Lima", 40, 150), line("9 mm", 300, 152), line("Peru 7.5%", 40, 200)),
        *(line("1999", 40, 300), line("48", 300, 300), line("19990", 40, 400), line("5", 300, 400)),
    ]
    assert set(values_of(pair, lines)) == values


@pytest.fixture(scope="module")
def table() -> PILImage.Image:
    image = PILImage.new("RGB", (700, 300), "white")
    font = ImageFont.load_default(26)
    for place, row in enumerate((("City", "Rain"), ("Oslo", "1,250"), ("Lisbon", "486"), ("Lima", "31"))):
        for column, text in enumerate(row):
            ImageDraw.Draw(image).text((60 + 300 * column, 30 + 60 * place), text, fill="black", font=font)
    return image


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([["City", "Rain"], ["Oslo", "1250"], ["Lisbon", "486"], ["Lima", "31"]], None),
        ([["City", "Rain"], ["Oslo", "1250"], ["Lisbon", "436"], ["Lima", "31"]], "number_differs"),
        ([["City", "Rain"], ["Oslo", "486"], ["Lisbon", "1250"], ["Lima", "31"]], "number_differs"),
        ([["City", "Rain"], ["Nairobi", "1250"], ["Lisbon", "486"], ["Lima", "31"]], "text_differs"),
        ([["City", "Rain"], ["Lisbon", "486"], ["Oslo", "1250"], ["Lima", "31"]], "rows_differ"),
    ],
)
def test_planted_errors_of_tables_are_found(table: PILImage.Image, rows: list[list[str]], reason: str | None) -> None:
    assert check_rows(rows, table, OcrModel.shared().read) == reason


@pytest.mark.slow
@pytest.mark.parametrize(("value", "reason"), [("1250", None), ("1350", "value_differs")])
def test_planted_errors_of_values_are_found(table: PILImage.Image, value: str, reason: str | None) -> None:
    pairs = [Pair("oslo", value, "beside"), Pair("lisbon", "486", "beside")]
    assert check_pairs(pairs, table, OcrModel.shared().read) == reason


def test_a_name_with_other_digits_is_found() -> None:
    lines = [line("12 km", 40, 40, 30), line("2023 Q1", 40, 90)]
    image = PILImage.new("RGB", SIZE, "white")
    for name, reason in (("2023 q1", None), ("2024 q1", "name_differs")):
        assert check_pairs([Pair(name, "12", "above")], image, lambda _: lines) == reason


@pytest.mark.slow
def test_what_is_not_read_is_unchecked(table: PILImage.Image) -> None:
    with pytest.raises(Unchecked, match="not_read"):
        check_pairs([Pair("nairobi", "3", "beside")], table, OcrModel.shared().read)
