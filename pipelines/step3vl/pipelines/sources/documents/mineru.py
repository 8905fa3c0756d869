"""Labels of PDF pages that MinerU made elsewhere: its `content_list.json` or `middle.json`, beside the PDF.

MinerU writes `NAME_content_list.json`, `NAME_middle.json` and `NAME_origin.pdf` into one folder. Both files list
blocks in reading order; a content list names the page of each, the other nests them in pages, lines and spans.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from step3vl.data.config import Config

SUFFIXES = ("_content_list.json", "_middle.json")
PDF_ENDINGS = ("_origin.pdf", ".pdf")
"""What follows the name in the PDF beside a label, the first that exists."""

LabelKind = Literal["title", "text", "list", "table", "equation", "figure", "header", "footer"]

_KINDS: dict[str, LabelKind] = {
    "title": "title",
    "text": "text",
    "ref_text": "text",
    "phonetic": "text",
    "aside_text": "text",
    "page_footnote": "text",
    "code": "text",
    "list": "list",
    "index": "list",
    "table": "table",
    "equation": "equation",
    "interline_equation": "equation",
    "image": "figure",
    "chart": "figure",
    "header": "header",
    "footer": "footer",
    "page_number": "footer",
}
_CAPTIONS = ("image_caption", "table_caption", "code_caption", "chart_caption")
_FOOTNOTES = ("image_footnote", "table_footnote")


class LabelBlock(Config):
    """A block of a page as it was labelled."""

    kind: LabelKind
    text: str
    """HTML of a table, LaTeX of a formula, text of all others; empty for a figure."""
    level: int = 1
    """Of a title, from 1."""


class LabelError(Exception):
    """A file of labels cannot be read. The message says why."""


def is_label_file(name: str) -> bool:
    """Whether a file is named as MinerU names its labels."""
    return name.endswith(SUFFIXES)


def pdf_names(name: str) -> list[str]:
    """The names that the PDF of a label file may have, in the order in which they are tried."""
    stem = next(name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix))
    return [stem + ending for ending in PDF_ENDINGS]


def read_labels(path: Path) -> dict[int, tuple[LabelBlock, ...]]:
    """The blocks of each page that has any, by its number from 0.

    Raises:
        LabelError: The file is no JSON, or not one that MinerU writes.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise LabelError(f"the labels are no JSON: {error}") from None
    pages: dict[int, list[LabelBlock]] = {}
    try:
        if isinstance(content, list):
            for item in content:
                pages.setdefault(int(item["page_idx"]), []).extend(_of_item(item))
        else:
            for number, page in enumerate(content["pdf_info"]):
                blocks = [*page["para_blocks"], *page.get("discarded_blocks", ())]
                pages[int(page.get("page_idx", number))] = [each for block in blocks for each in _of_block(block)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabelError(f"the labels are not as MinerU writes them: {type(error).__name__}: {error}") from None
    return {number: tuple(blocks) for number, blocks in pages.items() if blocks}


def _of_item(item: dict[str, Any]) -> Iterator[LabelBlock]:
    """The blocks of an item of a content list."""
    kind = _KINDS.get(str(item["type"]))
    if kind is None:
        raise ValueError(f"{item['type']!r} is no known type of a block")
    for name in _CAPTIONS:
        yield from _texts(item.get(name))
    text = str(item.get("text") or item.get("code_body") or "").strip()
    if kind == "table":
        yield from _filled("table", str(item.get("table_body") or ""))
    elif kind == "figure":
        yield LabelBlock(kind="figure", text="")
    elif kind == "list":
        yield from _filled("list", "\n".join(map(str, item.get("list_items") or ())) or text)
    elif kind == "equation":
        yield from _filled("equation", text.removeprefix("$$").removesuffix("$$"))
    elif kind == "text" and (item.get("text_level") or 0) > 0:
        yield from _filled("title", text, int(item["text_level"]))
    else:
        yield from _filled(kind, text)
    for name in _FOOTNOTES:
        yield from _texts(item.get(name))


def _texts(texts: Any) -> Iterator[LabelBlock]:
    for text in texts or ():
        yield from _filled("text", str(text))


def _filled(kind: LabelKind, text: str, level: int = 1) -> Iterator[LabelBlock]:
    if text.strip():
        yield LabelBlock(kind=kind, text=text.strip(), level=level)


def _of_block(block: dict[str, Any]) -> Iterator[LabelBlock]:
    """The blocks of a block of a middle file; those of tables and images have blocks of their own."""
    kind = str(block["type"])
    if kind in ("table", "image", "chart", "code") and "blocks" in block:
        for inner in block["blocks"]:
            yield from _of_block(inner)
        return
    spans = [span for line in block.get("lines", ()) for span in line["spans"]]
    if kind == "table_body":
        for span in spans:
            yield from _filled("table", str(span.get("html") or ""))
    elif kind in ("image_body", "chart_body"):
        yield LabelBlock(kind="figure", text="")
    elif kind == "interline_equation":
        yield from _filled("equation", " ".join(str(span.get("content") or "") for span in spans))
    elif kind.endswith(("_caption", "_footnote", "_body")):
        yield from _filled("text", _running(block))
    else:
        known = _KINDS.get(kind)
        if known is None:
            raise ValueError(f"{kind!r} is no known type of a block")
        yield from _filled(known, _running(block), int(block.get("level") or 1))


def _running(block: dict[str, Any]) -> str:
    """The lines of a block as one text, formulas in dollars."""
    lines = []
    for line in block.get("lines", ()):
        texts = []
        for span in line["spans"]:
            content = str(span.get("content") or "").strip()
            texts.append(f"${content}$" if span.get("type") == "inline_equation" and content else content)
        lines.append(" ".join(filter(None, texts)))
    return " ".join(filter(None, lines))


def labels_to_markdown(blocks: tuple[LabelBlock, ...]) -> str:
    """The main body of a labelled page as Markdown, in which formulas are LaTeX."""
    parts = []
    for block in blocks:
        if block.kind == "title":
            parts.append("#" * min(block.level, 6) + " " + block.text)
        elif block.kind == "equation":
            parts.append(f"$$\n{block.text.strip()}\n$$")
        elif block.kind == "figure":
            parts.append("[figure]")
        elif block.kind not in ("header", "footer"):
            parts.append(block.text)
    return "\n\n".join(parts)
