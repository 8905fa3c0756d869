import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from step3vl.pipelines.sources.text.text_quality import QualityLimits, normalise, split_text, text_fault
from step3vl.pipelines.sources.web.main_element import text_length

LIMITS = QualityLimits((40, 4000), 0.6, 0.4, 0.3)
GOOD = "The rabbit-hole went straight on like a tunnel for some way, and then dipped suddenly down.\nSo suddenly."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD, ""),
        ("学而时习之，不亦说乎？有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎？", ""),
        ("short", "too_short"),
        ("", "too_short"),
        (GOOD * 60, "too_long"),
        ("=-=-=-=- " * 20, "symbols"),
        ("12 34 56 78 90 " * 10, "digits"),
        (GOOD + " " + "QUJD" * 40, "encoded_data"),
        ("a b c d e " * 40, "repetitive"),
        (GOOD + "\ufffd", "damaged_text"),
    ],
)
def test_a_text_is_kept_or_says_which_rule_it_breaks(text: str, reason: str) -> None:
    assert text_fault(normalise(text), LIMITS)[0] == reason


def test_what_nobody_sees_is_gone() -> None:
    assert normalise("\ufeffa\u200b \r\nb\x00\r\r\r\rc e\u0301 \ud800") == "a\nb\n\nc é ?"


@example("中中\n  aaaaaaaaaa中中", 20)  # the indentation of a line that is not the first one counts
@given(st.text("ab 中\n", max_size=400), st.integers(20, 60))
def test_pieces_are_small_enough_and_say_all_but_lines_that_are_too_long(text: str, most: int) -> None:
    pieces = list(split_text(normalise(text), most))
    assert all(text_length(piece) <= most for piece in pieces)
    kept = [line for line in normalise(text).split("\n") if line.strip() and text_length(line) + 1 <= most]
    assert [line for piece in pieces for line in piece.split("\n") if line.strip()] == kept


def test_a_cut_is_between_paragraphs_where_one_is_near() -> None:
    text = "\n\n".join(f"paragraph {number} " + "word " * 10 for number in range(6))
    assert all(piece.startswith("paragraph") for piece in split_text(normalise(text), 160))
