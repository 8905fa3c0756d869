"""Texts that are code, rendered: HTML, SVG, Markdown and tables as pages that run nothing and load nothing.

Such a page comes from samples, whose content nobody vouches for. It is only ever served with `POLICY`, under which the
browser gives it an origin of its own, runs no script in it, and lets it load nothing.
"""

import csv
import html
import io
import re
from itertools import pairwise
from typing import Literal

from markdown_it import MarkdownIt

Kind = Literal["html", "svg", "markdown", "csv"]

POLICY = "; ".join(
    (
        "sandbox",
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "font-src data:",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    )
)
_MAX_LENGTH = 1 << 18  # characters
_FENCE = re.compile(r"\A\s*```[ \t]*([\w+-]*)[^\n]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_STYLE = (
    "<style>body{font:15px/1.5 system-ui,sans-serif;color:#1d2126;background:#fff;margin:12px}"
    "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:3px 9px;text-align:left}"
    "pre{overflow-x:auto;background:#f3f3f1;padding:8px}img{max-width:100%}</style>"
)
_PAGE = f"<!doctype html><html><head><meta charset=utf-8>{_STYLE}</head><body>"
_TAGS = "!doctype html|html|head|body|table|div|section|main|article|style|p|h[1-6]|ul|ol"
_HTML = re.compile(rf"\A\s*<(?:{_TAGS})\b", re.IGNORECASE)
_SVG = re.compile(r"\A\s*(?:<\?xml[^>]*\?>\s*)?<svg\b", re.IGNORECASE)
_HEADING = re.compile(r"#{1,6} \S")
_ITEM = re.compile(r"[-*] \S|\d{1,3}\. \S")
_LANGUAGES: dict[str, Kind] = {"html": "html", "svg": "svg", "markdown": "markdown", "md": "markdown", "csv": "csv"}


def kind_of(text: str) -> Kind | None:
    """What a text can be rendered as; None where it is prose or code that no browser renders."""
    return _detect(text)[0]


def rendered_page(text: str) -> str | None:
    """The text as an HTML page, to be served with `POLICY`; None where it is nothing that a browser renders."""
    kind, code = _detect(text)
    if kind is None:
        return None
    if kind == "html":
        return code
    if kind == "svg":
        return f"{_PAGE}{code}"
    if kind == "markdown":
        return _PAGE + MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).render(code)
    return _PAGE + _table(code)


def _detect(text: str) -> tuple[Kind | None, str]:
    """The kind of a text, and its code without a fence around all of it."""
    if len(text) > _MAX_LENGTH:
        return None, text
    fence = _FENCE.match(text)
    language, code = (fence[1].lower(), fence[2]) if fence else ("", text)
    if language:
        return _LANGUAGES.get(language), code
    if _SVG.match(code):
        return "svg", code
    if _HTML.match(code):
        return "html", code
    if _is_markdown(code):
        return "markdown", code
    return ("csv" if _is_csv(code) else None), code


def _is_markdown(text: str) -> bool:
    """Whether a text has a heading, a list, a table or bold words; in linear time, for nobody vouches for it."""
    lines = [line.strip() for line in text.splitlines()]
    if "**" in text or any(map(_HEADING.match, lines)):
        return True
    return any(
        (_ITEM.match(line) and _ITEM.match(following))
        or ("|" in line and "|" in following and "-" in following and set(following) <= set("|-: "))
        for line, following in pairwise(lines)
    )


def _is_csv(text: str) -> bool:
    """Whether all of several lines have the same number of fields, two at least."""
    rows = _rows(text)
    return len(rows) >= 3 and len(rows[0]) >= 2 and all(len(row) == len(rows[0]) for row in rows)


def _rows(text: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(io.StringIO(text.strip())) if row]
    except csv.Error:
        return []


def _table(text: str) -> str:
    head, *body = _rows(text)
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in body)
    return f"<table><tr>{cells}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
