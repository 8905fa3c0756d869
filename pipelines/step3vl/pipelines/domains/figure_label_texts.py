"""The texts that a label says its figure shows, found in its source without the code that wrote it."""

import ast
import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from step3vl.data.optional import require
from step3vl.pipelines.render.figures.figure import parse_number
from step3vl.pipelines.sources.tables.topics import TOPICS
from step3vl.pipelines.sources.tables.topics_zh import ZH_TOPICS

_TITLES = ("set_title", "set_xlabel", "set_ylabel", "suptitle", "title", "xlabel", "ylabel", "set_xticklabels")
_TITLE_ARGUMENTS = ("text", "name", "xaxis_title", "yaxis_title")
_UNNAMED = {  # series that no chart names: the ends of error bars, the edges of boxes
    names for topic in (*TOPICS, *ZH_TOPICS) for names in (topic.range_names, topic.price_names, topic.quartile_names)
}
_RULES = re.compile(r"\\(?:toprule|midrule|bottomrule|hline)")
_TYPST_CELL = re.compile(r"\[((?:\\.|[^\[\]\\])*)\]")


def data_texts(label: str) -> Iterator[str]:
    """The row labels of a table in CSV or Markdown, and its series where there are several that a chart names."""
    rows = list(csv.reader(io.StringIO(as_csv(label))))
    if len(rows[0]) > 2 and tuple(rows[0][1:]) not in _UNNAMED:
        yield from rows[0][1:]
    for row in rows[1:]:
        yield from (cell for cell in row[:1] if number_of(cell) is None)
    if all(number_of(row[0]) is not None for row in rows[1:] if row):
        yield from (row[0] for row in rows[1:4])


def as_csv(label: str) -> str:
    """A table in Markdown as CSV; one in CSV as it is."""
    if not label.startswith("|"):
        return label
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in label.splitlines()]
    buffer = io.StringIO()
    csv.writer(buffer).writerows([rows[0], *rows[2:]])
    return buffer.getvalue()


def label_texts(label: str, subject: str, asked: str) -> Iterator[str]:
    """The texts that an image with this label must show."""
    if asked == "data":
        rows = list(csv.reader(io.StringIO(as_csv(label))))
        if subject == "circuit":
            rows = [row[:1] + row[2:] for row in rows]  # the type is not written
        hides_header = subject in ("circuit", "diagram", "drawing")  # words: part of the name of a task
        for row in rows[1:] if hides_header else rows:
            yield from row
    elif subject == "chart":
        yield from _spec_texts(json.loads(label)) if label.startswith("{") else _script_texts(label)
    elif subject == "circuit":
        for text in re.findall(r'label\("([^"]*)"\)', label):
            yield from text.split("\\n")
    elif subject in ("diagram", "drawing"):  # words: part of the name of a task
        yield from _source_texts(label)
    elif subject == "infographic":
        for line in label.splitlines():
            text = re.sub(r"^(?:#+|-|\d+\.)\s+", "", line).replace("*", "")
            yield from text.strip("|").split("|")
    else:
        yield from _cell_texts(label)


def _spec_texts(node: Any, key: str = "") -> Iterator[str]:
    """Titles and the texts of the data in a Vega-Lite specification."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _spec_texts(value, "row" if key == "values" else name)
    elif isinstance(node, list):
        for value in node:
            yield from _spec_texts(value, key)
    elif isinstance(node, str) and key in ("title", "row", "text") and number_of(node) is None:
        yield node


def _script_texts(code: str) -> Iterator[str]:
    """Titles and lists of texts in a script for matplotlib or Plotly."""
    tree = ast.parse(code)
    indices = {id(node.slice) for node in ast.walk(tree) if isinstance(node, ast.Subscript)}  # such as of spines
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in _TITLES:
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))
        elif isinstance(node, ast.keyword) and node.arg in _TITLE_ARGUMENTS and isinstance(node.value, ast.Constant):
            yield str(node.value.value)
        elif isinstance(node, ast.List) and id(node) not in indices:
            texts = [e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
            yield from (text for text in texts if not text.startswith("#"))


def _source_texts(code: str) -> Iterator[str]:
    """Labels of nodes and edges in a Graphviz, Mermaid or TikZ source."""
    if code.startswith(("digraph", "graph {")):
        for quoted, bare in re.findall(r'label=(?:"([^"]*)"|(\w+))', code):
            yield from re.split(r"\\[nlr]|[|{}]", quoted or bare)
    elif code.startswith("\\begin{tikzpicture}"):
        yield from (re.sub(r"\\\w+|[{}$\\]", " ", text) for text in re.findall(r"\{([^{}=;]*)\}\s*(?:;|\()", code))
    else:
        for line in code.splitlines()[1:]:
            yield from re.findall(r"[\[({]\"?([^\[\](){}\"|]+)\"?[\])}]", line)
            for groups in re.findall(r"\|([^|]+)\||(?:^\s*title|participant|:) (.+)$", line):
                yield from filter(None, groups)


def _cell_texts(code: str) -> Iterator[str]:
    """Cells of a table in LaTeX or Typst."""
    if "\\begin" in code:
        for row in code.split("\\\\"):
            yield from (re.sub(r"\\[a-z]+(\{[^{}]*\}|\[[^]]*\])*|[{}\\]", " ", cell) for cell in row.split("&"))
    else:
        yield from re.findall(r"\[([^\[\]]*)\]", code)


def table_rows(label: str) -> list[list[str]]:
    """The cells of a table in LaTeX, Typst, CSV or Markdown that are not empty, row by row; a merged cell once."""
    if label.startswith("\\begin{tabular}"):
        to_text = require("pylatexenc.latex2text", "pipelines").LatexNodes2Text(strict_latex_spaces=False)
        body = _RULES.sub(" ", label.partition("\n")[2].rpartition("\\end{tabular}")[0])
        body = re.sub(r"\\multicolumn\{\d+\}\{[^{}]*\}", "", body).replace(r"\&", "\0")
        rows = [row.split("&") for row in body.split(r"\\")]
        return [[str(to_text.latex_to_text(cell)).strip().replace("\0", "&") for cell in row] for row in rows]
    if label.startswith("#table("):
        rows = [_TYPST_CELL.findall(line) for line in label.splitlines()]
        return [[re.sub(r"\\(.)", r"\1", cell.strip("*")) for cell in row] for row in rows if row]
    return list(csv.reader(io.StringIO(as_csv(label))))


def number_of(text: str) -> float | None:
    """The number that a text is, with a sign of a currency or of percent."""
    return parse_number(text.strip().rstrip("%").lstrip("+$€£"))
