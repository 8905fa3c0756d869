from collections import Counter

import lxml.html
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.pipelines.sources.markup.markup import clean_markup, is_table, parse_markup
from step3vl.pipelines.sources.markup.markup_html import canonical, visible_text, write_html
from step3vl.pipelines.sources.markup.markup_table import BrokenTable, Cell, arrange_cells


def cleaned(html: str, links: bool = False) -> str:
    return write_html(clean_markup(lxml.html.fromstring(f"<div>{html}</div>"), "http://a.b/", links=links).root)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("loose <b> bold </b>text<div>block</div>", "<p>loose <strong>bold</strong> text</p>\n<p>block</p>"),
        ("<p>a<script>x()</script><!-- c --><style>p{}</style>b", "<p>ab</p>"),
        ("<p>a <b></b> b<br></p>", "<p>a b</p>"),
        ("<p><b>x<br></b>y", "<p><strong>x</strong><br>y</p>"),
        ("<ul><li><p>a</p><li>b<ol><li>c</ol></ul>", "<ul>\n<li>a</li>\n<li>b\n<ol>\n<li>c</li>\n</ol>\n</li>\n</ul>"),
        ("<ul>stray<li>a</ul>", "<ul>\n<li>stray</li>\n<li>a</li>\n</ul>"),
        ('<ol start="3"><li>a</ol>', '<ol start="3">\n<li>a</li>\n</ol>'),
        ("<pre>a\tb  \n\n</pre>", "<pre><code>a   b</code></pre>"),
        ("<p>soft\u00adhyphen\u200b and\u00a0space", "<p>softhyphen and space</p>"),
        ('<p><span onclick="x">a</span> &lt;b&gt; &amp;amp;', "<p>a &lt;b&gt; &amp;amp;</p>"),
    ],
)
def test_what_a_page_shows_is_left(html: str, expected: str) -> None:
    assert cleaned(html) == expected


def test_links_are_their_texts_unless_they_are_printed() -> None:
    html = '<p>see <a href="http://x.y/z">this</a>, <a href="#top">that</a> and <a href="http://a.b/c d">more</a>'
    assert cleaned(html) == "<p>see this, that and more</p>"
    assert (
        cleaned(html, links=True)
        == '<p>see <a href="http://x.y/z">this</a>, <a href="http://a.b/#top">that</a> and more</p>'
    )
    assert "see this (http://x.y/z)".replace(" ", "") in visible_text(parse_markup(cleaned(html, links=True)))


def test_an_image_is_its_text_and_one_without_a_text_is_counted() -> None:
    markup = clean_markup(lxml.html.fromstring('<div><p>a <img src="x.png" alt="A cat"> <img src="y.png"></p></div>'))
    assert write_html(markup.root) == '<p>a <img alt="A cat"></p>'
    assert markup.removed == Counter(image_without_text=1)
    assert visible_text(markup.root) == "aAcat"


def test_depth_does_not_matter() -> None:
    """libxml2 itself ends at 256 levels, unless it is told otherwise."""
    assert "deep" in cleaned("<div>" * 240 + "deep" + "</div>" * 240)
    assert "deep" in cleaned("<em><b>" * 120 + "deep" + "</b></em>" * 120)


def test_spans_that_cannot_be_seen_are_none() -> None:
    table = "<table><tr><th colspan=2>A<th>B<tr><td colspan=2>1<td rowspan=9>2<tr><td colspan=2>3</table>"
    assert cleaned(table) == (
        "<table>\n<thead>\n<tr><th>A</th><th>B</th></tr>\n</thead>\n<tbody>\n"
        '<tr><td>1</td><td rowspan="2">2</td></tr>\n<tr><td>3</td></tr>\n</tbody>\n</table>'
    )


def test_a_span_of_all_rows_is_one_row() -> None:
    cells = [[_cell("a", rows=2), _cell("b", rows=2)], [], [_cell("c"), _cell("d")]]
    arranged = arrange_cells(cells)
    assert [[(cell.content.text, cell.rows) for cell in row] for row in arranged] == [
        [("a", 1), ("b", 1)],
        [("c", 1), ("d", 1)],
    ]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("<tr><td>a<td>b<tr><td>c", "ragged_table"),
        ("<tr><td>a<td rowspan=2>b<tr><td colspan=2>c", "cells_overlap"),
        ("<tr><td>a<tr><td>b", "no_table"),
        ("<tr><td><td><tr><td><td>", "empty_table"),
        ("<tr>" + "<td>a" * 60 + "<tr>" + "<td>b" * 60, "table_too_wide"),
        ("<tr><td>a<td>b" * 500, "table_too_long"),
        ("<tr><td>a<td><table><tr><td>b</table>", "nested_table"),
    ],
)
def test_what_is_no_table_is_counted(table: str, reason: str) -> None:
    markup = clean_markup(lxml.html.fromstring(f"<div><table>{table}</table></div>"))
    assert markup.removed[reason] == 1
    assert next(markup.root.iter("table"), None) is None


def test_a_table_with_a_line_above_is_a_table() -> None:
    table = "<table><tr><td>a<td>b<tr><td>c<td>d</table>"
    assert is_table(parse_markup(table))
    assert is_table(parse_markup(f"<h2>Title</h2>{table}"))
    assert not is_table(parse_markup(f"<p>{'long ' * 40}</p>{table}"))
    assert not is_table(parse_markup(f"{table}<p>after</p>"))


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Co")), max_size=12)
INLINE = st.recursive(
    TEXTS.map(lambda text: text.replace("&", "&amp;").replace("<", "&lt;")),
    lambda inner: st.builds(
        lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>",
        st.sampled_from(["b", "i", "code", "span", "del", "sub", "a href='http://x.y/z'"]),
        st.lists(inner, max_size=3),
    ).map(lambda html: html.replace("</a href='http://x.y/z'>", "</a>")),
    max_leaves=6,
)
BLOCKS = st.recursive(
    st.one_of(
        INLINE,
        st.builds(
            lambda tag, text: f"<{tag}>{text}</{tag}>", st.sampled_from(["p", "h2", "div", "pre", "dt"]), INLINE
        ),
    ),
    lambda inner: st.builds(
        lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>",
        st.sampled_from(["ul", "ol", "li", "blockquote", "div", "dl", "dd"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


@given(st.lists(BLOCKS, max_size=4).map("".join))
def test_code_is_read_as_what_it_was_written_from(html: str) -> None:
    root = clean_markup(lxml.html.fromstring(f"<div>{html}</div>"), links=True).root
    assert canonical(parse_markup(write_html(root))) == canonical(root)


@given(st.data())
def test_a_grid_cut_into_cells_is_joined_again(data: st.DataObject) -> None:
    """Random rectangles that fill a grid; spans that cannot be seen are removed, so both pass the rules again."""
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    taken = [[False] * columns for _ in range(rows)]
    cells: list[list[Cell]] = [[] for _ in range(rows)]
    for r in range(rows):
        for c in range(columns):
            if taken[r][c]:
                continue
            wide = 1
            while c + wide < columns and not taken[r][c + wide] and data.draw(st.booleans()):
                wide += 1
            high = data.draw(st.integers(1, rows - r))
            for down in range(r, r + high):
                for across in range(c, c + wide):
                    taken[down][across] = True
            cells[r].append(_cell("x", wide, high))
    try:
        arranged = arrange_cells(cells)
    except BrokenTable:
        return
    width = sum(cell.columns for cell in arranged[0])
    assert sum(cell.columns * cell.rows for row in arranged for cell in row) == width * len(arranged)
    assert arrange_cells(arranged) == arranged
    assert any(cell.rows == 1 for row in arranged for cell in row)


def _cell(text: str, columns: int = 1, rows: int = 1) -> Cell:
    content = lxml.html.fromstring("<td></td>")
    content.text = text
    return Cell(content, columns, rows)
