"""A predicted page in Markdown, HTML or LaTeX: its tables, formulas, code and paragraphs, with their places."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from step3vl.evaluation.documents.markdown_tables import has_tables, tables_to_html

Kind = Literal["text", "formula", "html table", "latex table"]


@dataclass(frozen=True)
class Block:
    """A part of a predicted page.

    Args:
        kind: What it is.
        text: Its source.
        start: Where it begins, in characters; approximate for paragraphs.
        label: OmniDocBench's finer kind: `text_block`, `code`, `equation_inline`, `md2html_table`, ….
    """

    kind: Kind
    text: str
    start: int
    label: str


_IMAGE = re.compile(r"!\[.*?\]\(.*?\)")
_FENCE_STARTS = tuple(re.compile(rf"^```{name}\n?", re.MULTILINE) for name in ("markdown", "html", "latex"))
_FENCE_END = re.compile(r"```\n?$", re.MULTILINE)
_FORMULA = re.compile(r"\$\$(.*?)\$\$|\\\[(.*?)\\\]|\$(.*?)\$|\\\((.*?)\\\)", re.DOTALL)
_DOLLARS = re.compile(r"\$\$(.*?)\$\$|\$(.*?)\$|\\\((.*?)\\\)", re.DOTALL)
_HTML_TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
_CODE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
_TEX_TABLE = re.compile(r"\\begin{table}.*?\\end{table}", re.DOTALL)
_TAGS = re.compile(r"(?P<opening><table[^>]*>)|</table>")
_ENVIRONMENTS = re.compile(r"(?P<opening>\\begin{tabular})|\\end{tabular}")
_LAYOUT = (
    re.compile(r"\\title\{(.*?)\}"),
    re.compile(r"\\title\s*\{\s*(.*?)\s*\}", re.DOTALL),
    re.compile(r"\\text\s*\{\s*(.*?)\s*\}", re.DOTALL),
    re.compile(r"\\section\*?\{(.*?)\}"),
    re.compile(r"\\section\*?\{\s*(.*?)\s*\}", re.DOTALL),
)


def read_blocks(page: str) -> list[Block]:
    """The blocks of a predicted page, by their places.

    Inline formulas are blocks, too, and stay in their paragraphs as well.
    """
    content = _clean(page)
    blocks: list[Block] = []
    finders: tuple[tuple[Kind, str, Callable[[str], list[tuple[int, int]]]], ...] = (
        ("latex table", "latex_table", _latex_tables),
        ("html table", "html_table", _html_tables),
    )
    for kind, label, spans in finders:
        for start, end in spans(content):
            blocks.append(Block(kind, content[start:end], start, label))
            content = _blank(content, start, end)
    content = _take_formulas(content, blocks)
    if has_tables(content):
        content = tables_to_html(content)
        for match in list(_HTML_TABLE.finditer(content)):
            blocks.append(Block("html table", match[0].strip(), match.start(), "md2html_table"))
            content = _blank(content, *match.span())
    for match in list(_CODE.finditer(content)):
        blocks.append(Block("text", match[2].strip(), match.start(), "code"))
        content = _blank(content, *match.span())
    for pattern in _LAYOUT:
        content = pattern.sub(r"\1", content)
    blocks += _paragraphs(content)
    return sorted(blocks, key=lambda block: block.start)


def _clean(page: str) -> str:
    page = _IMAGE.sub("", page)
    for fence in _FENCE_STARTS:
        page = fence.sub("", page)
    page = _FENCE_END.sub("", page)
    page = re.sub(r" {4,}", "    ", re.sub(r"_{4,}", "____", page))
    for tag in ("<html>", "</html>", "<body>", "</body>"):
        page = page.replace(tag, "")
    return page


def _blank(content: str, start: int, end: int) -> str:
    return content[:start] + " " * (end - start) + content[end:]


def _html_tables(content: str) -> list[tuple[int, int]]:
    return _outermost(content, _TAGS, 0)


def _latex_tables(content: str) -> list[tuple[int, int]]:
    spans = [match.span() for match in _TEX_TABLE.finditer(content)]
    for start, end in spans:
        content = _blank(content, start, end)
    return sorted(spans + _outermost(content, _ENVIRONMENTS, 1))


def _outermost(content: str, marks: re.Pattern[str], extra: int) -> list[tuple[int, int]]:
    """The spans of outermost tables. One that is never closed is ignored; what follows in it counts.

    Args:
        content: The page.
        marks: Openings and closings.
        extra: Characters after a closing that belong to the span, as the original counts.
    """
    spans: list[tuple[int, int]] = []
    open_starts: list[int] = []
    for mark in marks.finditer(content):
        if mark["opening"]:
            open_starts.append(mark.start())
        elif open_starts:
            start = open_starts.pop()
            end = min(mark.end() + extra, len(content))
            # What was kept inside of it belongs to it; where an outer one is never closed, these are the outermost.
            spans = [span for span in spans if span[0] < start]
            spans.append((start, end))
    return spans


def _take_formulas(content: str, blocks: list[Block]) -> str:
    for match in _FORMULA.finditer(content):
        line = " ".join(match[0].strip().split("\n"))
        dollars = _DOLLARS.search(line)
        if dollars is None or dollars[1]:
            line = line if dollars is None else _DOLLARS.sub(r"\\[\1\\]", line)
            content = _blank(content, *match.span())
            blocks.append(Block("formula", line, match.start(), "equation_isolated"))
        else:
            blocks.append(Block("formula", _DOLLARS.sub(r"\\[\2\3\\]", line), match.start(), "equation_inline"))
    return content


def _paragraphs(content: str) -> Iterator[Block]:
    paragraphs = content.split("\n\n")
    if len(paragraphs) == 1:
        paragraphs = content.split("\n")
    start = 0
    for paragraph in paragraphs:
        text = "\n".join(line.strip() for line in paragraph.strip().split("\n") if line.strip())
        if text.startswith("<table") and text.endswith("</table>"):
            yield Block("html table", text, start, "html_table")
        elif text.startswith("$") and text.endswith("$"):
            if text.replace("$", "").strip():
                yield Block("formula", text, start, "equation_isolated")
        elif text:
            yield Block("text", text, start, "text_block")
        start += len(paragraph)
