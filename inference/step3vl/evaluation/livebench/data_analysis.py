"""LiveBench's tasks of data analysis."""

import ast
import re
from typing import Any

import numpy as np

from step3vl.evaluation.livebench.marks import boxed, last_between, plain
from step3vl.evaluation.livebench.tables import Table, read_delimited_after, read_json_lines, read_table, same_table

_NO_WORD = re.compile(r"\W")
_INTRODUCTION = re.compile(r"\A\s*(?:Here|Input)\b.*?\b(?:format|table)\s*[:)]\s*", re.IGNORECASE)
_QUOTED_TEXT = re.compile(r"\\text{['\"]([^'\"}]*)['\"]}")
_MAX_LITERAL = 2**16


def cta(truth: str, response: str) -> float:
    """The class of a column is what the box holds, or the response ends with it; case and punctuation aside."""
    answer: str | None = response
    if "\\boxed{" in response:
        content = boxed(response)
        answer = None if content is None else plain(content)
    return float(answer is not None and _squashed(answer).endswith(_squashed(truth)))


def _squashed(text: str) -> str:
    return _NO_WORD.sub("", text.lower())


def tablejoin(truth: str, response: str) -> float:
    """The F1 score of the pairs of columns, in two decimals; a wrong one counts as made up and as missing."""
    expected = ast.literal_eval(truth) if isinstance(truth, str) else truth
    answer = _mapping(response)
    right = sum(bool(expected.get(key)) and expected[key] == value for key, value in answer.items())
    made_up = len(answer) - right
    missing = sum(not answer.get(key) for key in expected)
    confused = sum(bool(expected.get(key)) and expected[key] != value for key, value in answer.items())
    total = 2 * right + made_up + missing + confused
    return float(np.round(2 * right / total, 2)) if answer and total else 0.0


def _mapping(response: str) -> dict[Any, Any]:
    """The dictionary of a response, without empty entries: all of it, a fenced block, or the box."""
    tagged = last_between(response, "<solution>", "</solution>")
    text = response if tagged is None else tagged.strip()
    value = _literal(text)
    if value is None:
        joined = text.replace("\n", "")
        blocks = next(filter(None, (_fenced(joined, fence) for fence in ("```python", "```json", "```"))), [])
        content = boxed(joined) if not blocks and "\\boxed" in text else None
        if content is not None:
            blocks = [_QUOTED_TEXT.sub(r"'\1'", content).replace("\\", "")]
        value = _literal((blocks or [text])[-1].replace("null", "None"))
    return {key: entry for key, entry in value.items() if entry is not None} if isinstance(value, dict) else {}


def _fenced(text: str, fence: str) -> list[str]:
    """What stands between a fence and the next three backticks."""
    parts = []
    start = text.find(fence)
    while start >= 0:
        end = text.find("```", start + len(fence))
        if end < 0:
            break
        parts.append(text[start + len(fence) : end])
        start = text.find(fence, end + 3)
    return parts


def _literal(text: str) -> Any:
    """The value of a Python literal; None where the text is none."""
    try:
        value = ast.literal_eval(text.lstrip(" \t")) if len(text) <= _MAX_LITERAL else None
        hash(frozenset(value)) if isinstance(value, dict) else None
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return value


def tablereformat(truth: str, response: str, question: str) -> float:
    """The table in its new format is the true one, cell by cell."""
    format = question.partition("Please convert the Input Table from ")[2].partition("format to ")[2]
    format = format.partition(" format")[0].lower()
    expected = read_table(format, truth)
    text = _INTRODUCTION.sub("", _table_text(response), count=1).strip()
    if expected is None:
        return 0.0
    table = read_table(format, text)
    if table is not None and same_table(table, expected):
        return 1.0
    table = _table_inside(format, text, expected)
    return float(table is not None and same_table(table, expected))


def _table_inside(format: str, text: str, expected: Table) -> Table | None:
    """The table of a response that has other text, too."""
    if format in ("csv", "tsv"):
        return read_delimited_after(text, expected.columns, "," if format == "csv" else "\t")
    return read_json_lines(text, skip_others=True) if format == "jsonl" else None


def _table_text(response: str) -> str:
    tagged = last_between(response, "<solution>", "</solution>")
    text = response if tagged is None else tagged.strip()
    for fence in ("```json\n", "```html\n"):
        block = last_between(text, fence, "```")
        if block is not None:
            return block.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2]
    return text.replace("&amp;", "&").replace("```", "").strip()
