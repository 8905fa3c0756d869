"""Manual pages in the roff language to the paragraphs that a reader sees, as far as plain prose goes.

This is no typesetter: a line whose escapes are not known is left out, so that no markup reaches a text.
"""

import re
from collections.abc import Iterable, Iterator

_TEXT_MACROS = frozenset({
    "B", "I", "R", "BR", "RB", "IR", "RI", "BI", "IB", "SM", "SB", "SH", "SS", "TP", "IP", "Sh", "Ss", "Nd",
})  # fmt: skip
_PARAGRAPH_MACROS = frozenset({
    "P", "PP", "LP", "HP", "TP", "IP", "SH", "SS", "Sh", "Ss", "Pp", "sp", "br", "TH", "RS", "RE", "nf", "fi",
    "EX", "EE",
})  # fmt: skip
_GLYPHS = {
    "aq": "'", "dq": '"', "lq": "“", "rq": "”", "oq": "‘", "cq": "’", "em": "—", "en": "–", "hy": "-", "bu": "•",
    "co": "©", "rg": "®", "tm": "™", "de": "°", "mu": "×", "+-": "±", "<=": "≤", ">=": "≥", "->": "→", "<-": "←",
    "Fo": "«", "Fc": "»", "ss": "ß", "rs": "\\", "ti": "~", "ha": "^", "ga": "`",
    "'e": "é", "`e": "è", "^e": "ê", "`a": "à", "^a": "â", ":a": "ä", ":o": "ö", ":u": "ü", ",c": "ç",
}  # fmt: skip
_FONT = re.compile(r"\\f(?:\[[^\]]*\]|\(..|.)")
_SIZE = re.compile(r"\\s[-+]?\d{1,2}")
_GLYPH = re.compile(r"\\(?:\((..)|\[([^\]]{1,12})\]|\*\((..))")
_QUOTED = re.compile(r'"((?:[^"]|"")*)"|(\S+)')
_SIMPLE = {r"\-": "-", r"\ ": " ", r"\~": " ", r"\&": "", r"\|": "", r"\^": "", r"\c": "", r"\:": "", r"\%": "",
           r"\/": "", r"\,": "", r"\0": " ", r"\'": "'", r"\`": "`", r"\.": "."}  # fmt: skip
_ESCAPE = re.compile("|".join(re.escape(escape) for escape in _SIMPLE))


def roff_paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """The paragraphs of a manual page.

    Args:
        lines: Of the source, in groff's `man` or `mdoc` macros.
    """
    words: list[str] = []
    ignored = ""  # ends the block that is being skipped: a table, or the definition of a macro
    for line in lines:
        line = line.rstrip("\n")
        if ignored:
            ignored = "" if line.startswith(ignored) else ignored
        elif line.startswith((".", "'")):
            name, _, rest = line[1:].lstrip().partition(" ")
            ignored = {"TS": ".TE", "EQ": ".EN", "de": "..", "ig": ".."}.get(name, "")
            if name in _PARAGRAPH_MACROS and words:
                yield " ".join(words)
                words = []
            if name in _TEXT_MACROS and name not in ("TP", "IP"):
                text = _plain(_arguments(rest, " " if name in ("B", "I", "SM", "SH", "SS") else ""))
                words += [text] if text else []
            if name in ("SH", "SS", "Sh", "Ss") and words:
                yield " ".join(words)
                words = []
        elif not line.strip():
            if words:
                yield " ".join(words)
            words = []
        else:
            text = _plain(line)
            if text is None:  # an escape that is not known: the paragraph around it would have a hole
                words = []
            else:
                words.append(text.strip())
    if words:
        yield " ".join(words)


def _arguments(text: str, separator: str) -> str:
    """The arguments of a macro that alternates fonts, joined as it prints them."""
    return separator.join((quoted.replace('""', '"') or bare) for quoted, bare in _QUOTED.findall(text))


def _plain(text: str) -> str | None:
    """A line without escapes; None where one is not known."""
    text = text.split('\\"')[0]
    text = _SIZE.sub("", _FONT.sub("", text)).replace(r"\e", "\x00")
    text = _GLYPH.sub(_glyph, text)
    text = _ESCAPE.sub(lambda match: _SIMPLE[match[0]], text)
    return None if "\\" in text else text.replace("\x00", "\\")


def _glyph(match: re.Match[str]) -> str:
    name = match[1] or match[2] or match[3]
    if name.startswith("u") and re.fullmatch(r"u[0-9A-F]{4,5}", name):
        return chr(int(name[1:], 16))
    character = _GLYPHS.get(name, match[0])
    return "\x00" if character == "\\" else character
