"""Jupyter notebooks as trees: their texts, listings and what these printed, in order."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import lxml.html
from lxml import etree

from step3vl.pipelines.sources.markup.markdown import read_markdown
from step3vl.pipelines.sources.markup.markup import Markup, clean_markup
from step3vl.pipelines.sources.markup.markup_space import Element

_COLOURS = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")


class NotebookError(ValueError):
    """A file that is no notebook."""


def read_notebook(text: str, *, links: bool = False) -> Markup:
    """The tree of a notebook of version 3 or later.

    Args:
        text: The file.
        links: Whether absolute addresses of links stay.

    Raises:
        NotebookError: It is no notebook.
    """
    try:
        notebook = json.loads(text)
        cells = notebook["cells"] if "cells" in notebook else [c for w in notebook["worksheets"] for c in w["cells"]]
        cells = [dict(cell) for cell in cells]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotebookError(f"the file is no notebook: {type(error).__name__}: {error}") from None
    root, removed = etree.Element("article"), Counter[str]()
    for cell in cells:
        kind = cell.get("cell_type")
        source = _joined(cell.get("source", cell.get("input", "")))
        if kind == "markdown":
            _extend(root, read_markdown(source, links=links), removed)
        elif kind == "code":
            _listing(root, source)
            for output in cell.get("outputs", []):
                _output(root, output, removed)
        elif kind == "heading":
            etree.SubElement(root, f"h{min(max(int(cell.get('level', 1)), 1), 6)}").text = " ".join(source.split())
        else:
            removed[f"cell_{kind}"] += 1
    return Markup(root, removed)


def _joined(source: str | Iterable[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _extend(root: Element, markup: Markup, removed: Counter[str]) -> None:
    removed.update(markup.removed)
    root.extend(list(markup.root))


def _listing(root: Element, text: str) -> None:
    holder = etree.Element("div")
    etree.SubElement(holder, "pre").text = _printable(text)
    root.extend(list(clean_markup(holder).root))


def _printable(text: str) -> str:
    text = _COLOURS.sub("", text)
    return "".join(c for c in text if c in "\n\t\r" or (ord(c) >= 32 and not 0xD800 <= ord(c) < 0xE000))


def _output(root: Element, output: dict[str, Any], removed: Counter[str]) -> None:
    """What a cell printed: a table where it is one, else its text."""
    data = output.get("data", output)
    if html := _joined(data.get("text/html", data.get("html", ""))):
        tree = lxml.html.fromstring(f"<div>{_printable(html)}</div>")
        markup = clean_markup(tree)
        if any(True for _ in markup.root.iter("table")):
            _extend(root, markup, removed)
            return
    if any(name.startswith("image/") or name in ("png", "jpeg", "svg") for name in data):
        removed["output_image"] += 1
    elif text := _joined(data.get("text/plain", data.get("text", ""))):
        _listing(root, text)
    else:
        removed["output"] += 1
