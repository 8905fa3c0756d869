import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.sources.documents.documents import DocumentPiece, SplitOptions, read_file
from step3vl.pipelines.sources.markup.markdown import read_markdown
from step3vl.pipelines.sources.markup.markup import parse_markup
from step3vl.pipelines.sources.markup.markup_html import canonical, write_html
from step3vl.pipelines.sources.markup.markup_pieces import split_markup
from step3vl.pipelines.sources.markup.notebooks import NotebookError, read_notebook
from step3vl.pipelines.sources.tables.delimited import DelimitedError, read_delimited
from step3vl.pipelines.sources.tables.document_tables import LAYOUTS, make_document_table
from step3vl.pipelines.sources.tables.tables import make_table
from step3vl.pipelines.sources.web.main_element import text_length

OPTIONS = SplitOptions(characters=(40, 800), rows=(2, 5), columns=(2, 4), printed_links=0, tables=1)


def pieces(path: Path, **options: Any) -> list[DocumentPiece]:
    chosen = OPTIONS.model_copy(update=options)
    return list(read_file(path, path.name, f"file://{path}", "CC0-1.0", chosen, rng_for(0)))


def test_pieces_are_whole_blocks_in_order_and_no_piece_ends_with_a_heading() -> None:
    text = "".join(f"## Heading {n}\n\n{'words ' * (n % 7 * 8 + 3)}\n\n- item\n- item {n}\n\n" for n in range(30))
    root = read_markdown(text).root
    removed: Counter[str] = Counter()
    parts = list(split_markup(root, (40, 800), rng_for(0), removed))
    assert "".join(map(canonical, parts)) == canonical(root)
    assert not removed
    assert len(parts) > 5
    assert all(part[-1].tag != "h2" for part in parts)


def test_long_tables_listings_and_lists_are_cut_and_say_where_they_continue() -> None:
    rows = "".join(f"<tr><td>{n}</td><td>x{n}</td></tr>" for n in range(60))
    lines = "\n".join(f"line {n}" for n in range(100))
    items = "".join(f"<li>item {n}</li>" for n in range(60))
    html = f"<table><tr><th>a</th><th>b</th></tr>{rows}</table><pre>{lines}</pre><ol>{items}</ol>"
    parts = list(split_markup(parse_markup(html), (40, 4000), rng_for(0), Counter()))
    code = "\n".join(map(write_html, parts))
    assert code.count("<tr><th>a</th><th>b</th></tr>") == 3
    assert all(f"<td>x{n}</td>" in code for n in range(60))
    assert all(f"line {n}" in code for n in range(100))
    assert '<ol start="25">\n<li>item 24</li>' in code


def test_what_is_too_long_for_a_page_is_counted() -> None:
    removed: Counter[str] = Counter()
    root = parse_markup(f"<p>{'word ' * 400}</p><p>short enough to be a page of its own</p><p>x</p>")
    assert len(list(split_markup(root, (40, 800), rng_for(0), removed))) == 1
    assert removed == {"block_too_long": 1}


def test_a_readme_becomes_pages_and_its_tables_alone(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(
        "# Title\n\nSome words to read on a page.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nMore words below it.\n"
    )
    all_pieces = pieces(path)
    assert Counter(piece.kind for piece in all_pieces) == {"page": len(all_pieces) - 1, "table": 1}
    assert {piece.format for piece in all_pieces} == {"markdown"}
    assert all(text_length(parse_markup(piece.codes[0]).xpath("string()")) for piece in all_pieces)


def test_a_web_page_is_cut_to_its_main_body_and_may_refuse(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    body = f"<nav><a href=/>Menu</a></nav><article><h1>Title</h1><p>{'Words of the article. ' * 12}</p></article>"
    path.write_text(f"<html><body>{body}</body></html>")
    (piece,) = pieces(path)
    assert piece.codes[0].startswith("<h1>Title</h1>")
    assert "Menu" not in piece.codes[0]
    path.write_text(f"<html><head><meta name=robots content=noai></head><body>{body}</body></html>")
    with pytest.raises(Dropped, match="opted_out"):
        pieces(path)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [("a.docx", "x", "no_document"), ("a.md", "", "nothing_to_show"), ("a.md", "tiny", "piece_too_short"),
     ("a.tex", "no formula", "nothing_to_show"), ("a.tex", "$a b c$", "too_little_formula")],
)  # fmt: skip
def test_a_file_without_a_page_says_why(tmp_path: Path, name: str, text: str, reason: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(Dropped, match=reason):
        pieces(path, characters=(100, 800))


def notebook(cells: list[dict[str, Any]]) -> str:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


def test_a_notebook_is_its_texts_listings_and_what_they_printed() -> None:
    html = "<style>x{}</style><table><thead><tr><th></th><th>a</th></tr></thead><tr><th>0</th><td>1</td></tr></table>"
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "with *words*"]},
        {"cell_type": "code", "source": "print(1)", "outputs": [
            {"output_type": "stream", "name": "stdout", "text": ["\x1b[31m1\x1b[0m\n"]},
            {"output_type": "execute_result", "data": {"text/html": [html], "text/plain": "not this"}},
            {"output_type": "display_data", "data": {"image/png": "iVBOR", "text/plain": "<Figure>"}},
            {"output_type": "error", "traceback": ["x"]},
        ]},
        {"cell_type": "raw", "source": "raw"},
    ]  # fmt: skip
    markup = read_notebook(notebook(cells))
    assert [block.tag for block in markup.root] == ["h1", "p", "pre", "pre", "table"]
    assert canonical(markup.root).endswith("<tr><th></th><th>a</th></tr><tr><th>0</th><td>1</td></tr></table>")
    assert "<pre><code>1</code></pre>" in canonical(markup.root)
    assert markup.removed == {"output_image": 1, "output": 1, "cell_raw": 1}
    old = json.dumps({"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": "x = 1"}]}]})
    assert [block.tag for block in read_notebook(old).root] == ["pre"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": 3}', "{" * 5000])
def test_what_is_no_notebook(text: str) -> None:
    with pytest.raises(NotebookError):
        read_notebook(text)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_of_text_becomes_windows(delimiter: str) -> None:
    lines = [delimiter.join(("name", "x", "y")), *(delimiter.join((f"n{i}", str(i), f"{i}.5")) for i in range(11))]
    windows = list(read_delimited("\n".join(lines), (2, 4), (2, 2), rng_for(0)))
    assert len(windows) >= 3
    assert all(len(window.xpath("//thead/tr/th")) == 2 for window in windows)
    assert sum(len(window.xpath("//tbody/tr")) for window in windows) in (9, 10, 11)


def test_line_breaks_in_a_cell_part_its_words() -> None:
    text = 'City,Note\n"Rome","large\nand loud"\nParis,"old\u2028town"\nBonn,"said ""no"""\n'
    (window,) = read_delimited(text, (3, 3), (2, 2), rng_for(0))
    cells = [cell.text for cell in window.xpath("//tbody/tr/td[2]")]
    assert cells == ["large and loud", "old town", 'said "no"']


@pytest.mark.parametrize("text", ["one line", "a,b\n1,2,3\n4\n", "no delimiter\nat all\n"])
def test_what_is_no_table_of_text(text: str) -> None:
    with pytest.raises(DelimitedError):
        list(read_delimited(text, (1, 4), (2, 2), rng_for(0)))


def test_generated_tables_have_every_layout_and_their_sums_are_right() -> None:
    layouts: Counter[str] = Counter()
    sums = 0
    for number in range(150):
        rng = rng_for(number)
        table = make_table(rng.choice(("groups", "time")), rng.randint(1, 3), rng)
        layout, root = make_document_table(table, "en", rng)
        layouts[layout] += 1
        assert canonical(parse_markup(write_html(root))) == canonical(root)
        rows = [list(row) for row in root.xpath("//tbody/tr")]
        if layout != "plain":
            continue
        for place, row in enumerate(rows):
            if row[0].text in ("Total", "Sum", "All", "Overall"):
                values = [
                    [float(cell.text.replace(",", "").replace(" ", "")) for cell in r[1:]] for r in rows[: place + 1]
                ]
                for column in zip(*values, strict=True):
                    assert column[-1] == pytest.approx(sum(column[:-1]), abs=1e-6)
                    sums += 1
    assert set(layouts) == set(LAYOUTS)
    assert sums
