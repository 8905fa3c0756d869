"""Predicted pages against their annotations."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.evaluation.documents.markdown import read_blocks
from step3vl.evaluation.documents.matching import Match, quick_match
from step3vl.evaluation.documents.normalise import squash_formula, squash_text
from step3vl.evaluation.documents.page import measure


def _page(*blocks: tuple[str, str], relations: tuple[tuple[int, int], ...] = ()) -> dict[str, Any]:
    fields = {"table": "html", "equation_isolated": "latex"}
    return {
        "layout_dets": [
            {"category_type": kind, "anno_id": number, "order": number, fields.get(kind, "text"): text}
            for number, (kind, text) in enumerate(blocks, 1)
        ],
        "extra": {
            "relation": [
                {"relation_type": "truncated", "source_anno_id": source, "target_anno_id": target}
                for source, target in relations
            ]
        },
    }


def _edits(samples: list) -> list[tuple[int, int]]:
    return [(edits, length) for edits, length, _ in samples]


@pytest.mark.parametrize(
    ("text", "squashed"),
    [
        ("Hello, world! 12", "Helloworld12"),
        ("你好，世界", "你好世界"),
        (r"mass $m_1$ and $\alpha^2$", "massm_1andα2"),
        ("5$ and 6$", "5and6"),
    ],
)
def test_texts_are_compared_by_letters(text: str, squashed: str) -> None:
    assert squash_text(text) == squashed


def test_formulas_are_compared_without_layout() -> None:
    assert squash_formula(r"\[ \mathbf{E} = mc^2 \tag{1} \]") == squash_formula(r"$$\mathrm{e}=m c^2$$")


def test_blocks_of_a_page() -> None:
    page = "# Title\n\nText with $x^2$.\n\n$$a+b$$\n\n![](figure.png)\n\n<table><tr><td>1</td></tr></table>"
    kinds = [(block.kind, block.label) for block in read_blocks(page)]
    assert kinds == [
        ("text", "text_block"),
        ("text", "text_block"),
        ("formula", "equation_inline"),
        ("formula", "equation_isolated"),
        ("html table", "html_table"),
    ]


def test_an_inner_table_belongs_to_the_outer_one() -> None:
    table = "<table><tr><td><table><tr><td>1</td></tr></table></td></tr></table>"
    assert [block.text for block in read_blocks(f"a\n\n{table}") if block.kind == "html table"] == [table]


def test_a_table_that_is_never_closed_hides_no_other() -> None:
    page = "<table><tr><td>1\n\n<table><tr><td>2</td></tr></table>"
    assert [block.text for block in read_blocks(page) if block.kind == "html table"] == [
        "<table><tr><td>2</td></tr></table>"
    ]


def test_a_perfect_page_has_no_edits() -> None:
    page = _page(("title", "A title"), ("text_block", "Some words."), ("equation_isolated", "$$x=1$$"))
    result = measure(page, "# A title\n\nSome words.\n\n$$x=1$$", simple=False, aligned=True)
    assert _edits(result["text"]) == [(0, 6), (0, 9)]
    assert _edits(result["formula"]) == [(0, 3)]
    assert result["order"] == [0, 2]


def test_headers_and_page_numbers_do_not_count() -> None:
    page = _page(("header", "Journal of Tests"), ("text_block", "Some words."), ("page_number", "17"))
    result = measure(page, "Journal of Tests\n\nSome words.\n\n17", simple=False, aligned=True)
    assert _edits(result["text"]) == [(0, 9)]


def test_a_missing_block_costs_its_length() -> None:
    page = _page(("text_block", "The first paragraph"), ("text_block", "something else"))
    result = measure(page, "The first paragraph", simple=False, aligned=True)
    assert sorted(_edits(result["text"])) == [(0, 17), (13, 13)]


def test_a_paragraph_cut_by_a_column_is_one() -> None:
    page = _page(("text_block", "It begins here"), ("text_block", "and ends there"), relations=((1, 2),))
    result = measure(page, "It begins here and ends there", simple=False, aligned=True)
    assert _edits(result["text"]) == [(0, 24)]


def test_paragraphs_in_another_order_cost_reading_order_alone() -> None:
    page = _page(("text_block", "alpha beta gamma"), ("text_block", "delta epsilon zeta"))
    result = measure(page, "delta epsilon zeta\n\nalpha beta gamma", simple=False, aligned=True)
    assert sum(edits for edits, _ in _edits(result["text"])) == 0
    assert result["order"] == [2, 2]


def test_a_block_split_into_lines_is_joined() -> None:
    assert quick_match(["abcdefghijklmnopqrst"], ["abcdefghij", "klmnopqrst"]) == [Match([0], [0, 1])]


def test_two_blocks_in_one_line_are_joined() -> None:
    matches = quick_match(["abcdefghij", "klmnopqrst"], ["abcdefghijklmnopqrst"])
    assert [sorted(match.truth) for match in matches] == [[0, 1]]


def test_tables_are_matched_and_scored() -> None:
    table = "<table><tr><td>1</td><td>2</td></tr></table>"
    page = _page(("text_block", "words here"), ("table", table))
    result = measure(page, f"words here\n\n{table}", simple=False, aligned=True)
    assert result["teds"] == [1.0] and result["structure"] == [1.0]
    assert _edits(result["table"])[0][0] == 0
    missing = measure(page, "words here", simple=False, aligned=True)
    assert missing["teds"] == [0.0]


def test_a_place_in_the_reading_order_is_its_own_only_where_aligned() -> None:
    # The third block has no letters; the original gives the fourth one its place.
    page = _page(
        ("text_block", "alpha beta"), ("text_block", "gamma delta"), ("text_block", "***"), ("text_block", "eps zeta")
    )
    text = "alpha beta\n\ngamma delta\n\neps zeta"
    aligned, official = (measure(page, text, simple=False, aligned=flag) for flag in (True, False))
    assert aligned["text"][2][2] == [2, 2, 4, 21]
    assert official["text"][2][2] == [2, 2, 3, 21]


_LINES = st.lists(st.text("abc ", min_size=1, max_size=6).filter(str.strip), max_size=5)


@settings(max_examples=60, deadline=None)
@given(_LINES, _LINES)
def test_every_block_is_matched_once(truth: list[str], predicted: list[str]) -> None:
    matches = quick_match(truth, predicted)
    assert sorted(index for match in matches for index in match.truth) == list(range(len(truth)))
    places = [place for match in matches for place in match.predicted]
    assert len(places) == len(set(places))


@settings(max_examples=60, deadline=None)
@given(st.text("ab$\\[]()|<>table/\n#` -:{}", max_size=80))
def test_measuring_never_raises(prediction: str) -> None:
    page = _page(
        ("text_block", "ab table"), ("table", "<table><tr><td>a</td></tr></table>"), ("equation_isolated", "$$a$$")
    )
    for simple in (False, True):
        result = measure(page, prediction, simple=simple, aligned=not simple)
        assert all(0 <= edits <= length for edits, length, _ in result["text"] + result["formula"] + result["table"])
