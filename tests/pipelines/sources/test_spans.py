import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.pipelines.sources.documents.page_words import VALUES, WORDS, language_of
from step3vl.pipelines.sources.text.scripts import is_right_to_left, is_shaped, main_script
from step3vl.pipelines.sources.text.spans import breaks_before, clean, cut

WORD = st.text(st.sampled_from("abcdé漢字かな"), min_size=1, max_size=9)


@given(st.lists(st.lists(WORD, min_size=1, max_size=20), max_size=8), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_spans_are_consecutive_and_within_bounds(paragraphs: list[list[str]], seed: int) -> None:
    texts = [" ".join(words) for words in paragraphs]
    spans = list(cut(texts, (4, 60), random.Random(seed)))
    whole, place = "".join("".join(texts).split()), 0
    for span in spans:
        assert 4 <= len(span) <= 60 + 9
        start = whole.find("".join(span.split()), place)
        assert start >= place
        place = start + len("".join(span.split()))


def test_no_character_of_a_long_text_is_lost_between_spans() -> None:
    texts = [f"paragraph {i} " + "some more words of it " * (i % 7) for i in range(200)]
    spans = list(cut(texts, (4, 300), random.Random(1)))
    assert "".join("".join(spans).split()) == "".join("".join(texts).split())


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("  two\t words\u00a0here ", "two words here"),
        ("cafe\u0301", "café"),
        ("zero\u200bwidth", "zerowidth"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("+------+------+", ""),
        ("broken \ufffd text", ""),
        ("", ""),
    ],
)
def test_what_cannot_be_seen_is_cleaned_away(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


def test_lines_break_where_the_script_allows() -> None:
    text = "漢字（かな）、abc def"
    places = [place for place in range(1, len(text)) if breaks_before(text, place)]
    assert [text[place] for place in places] == ["字", "（", "な", "a", " ", "d"]


@pytest.mark.parametrize(
    ("text", "script", "shaped", "right_to_left"),
    [
        ("The end, 1984", "LATIN", False, False),
        ("Привет", "CYRILLIC", False, False),
        ("GNU/Linux を使う", "JAPANESE", False, False),
        ("安装程序", "CHINESE", False, False),
        ("한국어", "KOREAN", False, False),
        ("مرحبا", "ARABIC", True, True),
        ("שלום", "HEBREW", True, True),
        ("नमस्ते", "DEVANAGARI", True, False),
        ("สวัสดี", "THAI", True, False),
        ("3.14", "", False, False),
    ],
)
def test_scripts_are_told_apart(text: str, script: str, shaped: bool, right_to_left: bool) -> None:
    assert (main_script(text), is_shaped(text), is_right_to_left(text)) == (script, shaped, right_to_left)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The cat sat on the mat.", "en"),
        ("Der Hund und die Katze", "de"),
        ("les enfants des voisins", "fr"),
        ("los libros que leí", "es"),
        ("не знаю", "ru"),
        ("你好", "zh"),
        ("ひらがな", "ja"),
        ("xyzzy", "en"),
    ],
)
def test_labels_are_in_the_language_of_the_text(text: str, language: str) -> None:
    assert language_of(text) == language


def test_every_language_has_every_label() -> None:
    assert all(words.keys() == WORDS["en"].keys() and all(words.values()) for words in WORDS.values())
    assert VALUES.keys() <= WORDS["en"].keys()
    for make in VALUES.values():
        assert make(random.Random(1), "en") == make(random.Random(1), "en")
