import time
from copy import deepcopy

import mistune
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from step3vl.pipelines.sources.markup.markdown import MarkdownError, block_ranges, read_markdown, write_markdown
from step3vl.pipelines.sources.markup.markup import article, parse_markup
from step3vl.pipelines.sources.markup.markup_html import canonical, write_html

DOCUMENT = """---
title: front matter
---
# A *title*

Text with `code`, **bold**, ~~gone~~ and [a link](http://x.y/z), a <b>bold</b> one.

1. first
2. second
   - inner

   more

| a | b |
|---|--:|
| 1 | x \\| y |

```python
print("```")
```

> quoted
> text

<table><tr><td rowspan=2>merged</td><td>1</td></tr><tr><td>2</td></tr></table>
"""


def test_a_readme_becomes_a_tree() -> None:
    markup = read_markdown(DOCUMENT, links=True)
    assert [block.tag for block in markup.root] == ["h1", "p", "ol", "table", "pre", "blockquote", "table"]
    assert "front matter" not in canonical(markup.root)
    assert '<a href="http://x.y/z">a link</a>, a <strong>bold</strong> one.' in write_html(markup.root)


def test_it_is_written_as_it_reads() -> None:
    root = article([deepcopy(block) for block in read_markdown(DOCUMENT, links=True).root][:-1])
    blocks = write_markdown(root)
    assert blocks[0] == "# A *title*"
    assert blocks[2] == "1. first\n\n2. second\n\n   - inner\n\n   more"
    assert blocks[3] == "| a | b |\n| --- | --- |\n| 1 | x \\| y |"
    assert blocks[4] == '````\nprint("```")\n````'
    assert blocks[5] == "> quoted text"


@pytest.mark.parametrize(
    ("html", "reason"),
    [
        ("<table><tr><th>a<th>b<tr><td rowspan=2>1<td>2<tr><td>3</table>", "spans_in_markdown"),
        ("<table><caption>t</caption><tr><th>a<th>b<tr><td>1<td>2</table>", "caption_in_markdown"),
        ("<table><tr><td>a<td>b<tr><td>1<td>2</table>", "header_cells_in_markdown"),
        ("<table><tr><th>a<th>b<tr><td>1<br>2<td>2</table>", "break_in_line"),
        ("<dl><dt>a</dt><dd>b</dd></dl>", "no_dl_in_markdown"),
    ],
)
def test_what_markdown_cannot_say(html: str, reason: str) -> None:
    with pytest.raises(MarkdownError, match=reason):
        write_markdown(parse_markup(html))


@pytest.mark.parametrize(
    "text",
    ["# no heading", "1. no item", "- no item", "> no quote", "*no* _em_ **x**", "a_b_c", "`x`", "<b>", "&amp;",
     "[a](b)", "[x]: y", "a | b", "```", "~~a~~", "===", "\\", "!", "1) x", "+ x", "![x]()", "www.x.y", "http://x.y",
     "***"],
)  # fmt: skip
def test_text_that_looks_like_markup_stays_text(text: str) -> None:
    html = text.replace("&", "&amp;").replace("<", "&lt;")
    root = parse_markup(f"<p>{html}</p><ul><li>{html}</li><li>b</li></ul>")
    code = "\n\n".join(write_markdown(root))
    assert canonical(read_markdown(code).root) == canonical(root)


WORDS = st.text("ab *_`[]<>&#-+.1|~\\!()\"'é中$", min_size=1, max_size=12)


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_what_is_written_reads_as_the_tree(words: list[str]) -> None:
    """Or is refused: a label never says anything else."""
    texts = [word.replace("&", "&amp;").replace("<", "&lt;") for word in words]
    root = parse_markup("".join(f"<p>{text} <b>{text}</b></p><ul><li>{text}</li></ul>" for text in texts))
    if not len(root):
        return
    try:
        code = "\n\n".join(write_markdown(root))
    except MarkdownError:
        return
    assert canonical(read_markdown(code, links=True).root) == canonical(root)


def test_a_second_parser_reads_the_same_text() -> None:
    root = article([deepcopy(block) for block in read_markdown(DOCUMENT).root][:-1])
    html = mistune.create_markdown(plugins=["table", "strikethrough"], escape=False)("\n\n".join(write_markdown(root)))
    again = parse_markup(str(html))
    assert canonical(again) == canonical(root)


def test_ranges_of_lines_are_those_of_the_parser() -> None:
    root = article([deepcopy(block) for block in read_markdown(DOCUMENT).root][:-1])
    blocks = write_markdown(root)
    ranges = block_ranges(blocks, 1)
    code = "\n\n".join(blocks)
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    maps = [token.map for token in parser.parse(code) if token.level == 0 and token.nesting >= 0 and token.map]
    assert [first + 1 for first, _ in maps] == [first for first, _ in ranges]
    lines = code.split("\n")
    assert ["\n".join(lines[first - 1 : last]) for first, last in ranges] == blocks


def test_long_and_deep_documents_take_linear_time() -> None:
    for text in ("> " * 3000 + "x", "[" * 8000, "*a **b " * 5000, "<b>" * 5000, "- " * 2000 + "x", "a\n" * 10000):
        start = time.process_time()
        read_markdown(text)
        assert time.process_time() - start < 10
