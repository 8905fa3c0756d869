"""What texts and formulas are compared by, in OmniDocBench's terms."""

import re
from functools import cache
from typing import Any

from step3vl.data.optional import require

_INLINE = re.compile(r"\$(.*?)\$|\\\((.*?)\\\)")
_ESCAPED = re.compile(r"\\([\\_&%^])")
_NOT_WORDS = re.compile(r"[^\w\u4e00-\u9fff]")
_DISPLAY = re.compile(r"\\\[(.+?)(?<!\\)\\\]")
_DROPPED = tuple(
    re.compile(pattern)
    for pattern in (r"\\tag\{.*?\}", r"\\hspace\{.*?\}", r"\\begin\{.*?\}", r"\\end\{.*?\}", r"\\arraycolsep.*?\}")
)
# In this order: "\text" leaves the rest of a longer command, as in the original.
_COMMANDS = (
    "\\mathbf", "\\mathrm", "\\mathnormal", "\\mathit", "\\mathbb", "\\mathcal", "\\mathscr", "\\mathfrak",
    "\\mathsf", "\\mathtt", "\\textbf", "\\text", "\\boldmath", "\\boldsymbol", "\\operatorname", "\\bm",
    "\\symbfit", "\\mathbfcal", "\\symbf", "\\scriptscriptstyle", "\\notag", "\\setlength", "\\coloneqq", "\\space",
    "\\thickspace", "\\thinspace", "\\medspace", "\\nobreakspace", "\\negmedspace", "\\quad", "\\qquad", "\\enspace",
    "\\substackw", " ", "$$", "\\left", "\\right", "\\displaystyle", "\\text",
)  # fmt: skip


def squash_text(text: str) -> str:
    """A text's letters and digits, after its inline formulas were brought to Unicode."""
    return squash(_with_unicode_formulas(text))


def squash(text: str) -> str:
    """The letters, digits and underscores of a text."""
    for mark in ("\\t", "\\n", "\t", "\n", "/t", "/n"):
        text = text.replace(mark, "")
    return _NOT_WORDS.sub("", text)


def squash_formula(text: str) -> str:
    """A formula without delimiters, fonts, spacing and layout, in lower case."""
    text = text.strip().strip("$").strip("\n")
    if match := _DISPLAY.search(text):
        text = match[1].strip()
    for pattern in _DROPPED:
        text = pattern.sub("", text)
    text = text.strip(".")
    for command in _COMMANDS:
        text = text.replace(command, "")
    return text.lower()


def latex_to_text(text: str) -> str:
    """LaTeX as Unicode text; as it is where it cannot be read."""
    try:
        return _converter().latex_to_text(text)
    except Exception:  # pylatexenc raises errors of many kinds on broken LaTeX
        return text


@cache
def _converter() -> Any:
    return require("pylatexenc.latex2text", "evaluation").LatexNodes2Text()


def _with_unicode_formulas(text: str) -> str:
    def convert(match: re.Match[str]) -> str:
        formula = _ESCAPED.sub(r"\1", match[1] if match[1] is not None else match[2])
        if not any(character in formula for character in "\\^_"):
            return match[0]
        if formula.endswith("\\"):
            formula += " "
        try:
            return _converter().latex_to_text(formula).strip()
        except Exception:  # as above
            return match[0]

    return _INLINE.sub(convert, text)
