"""Scripts of characters and texts, from their Unicode names."""

import unicodedata
from collections import Counter
from functools import lru_cache

RIGHT_TO_LEFT = frozenset({"ARABIC", "HEBREW", "SYRIAC", "THAANA", "NKO"})
_UNSHAPED = frozenset({"LATIN", "CYRILLIC", "GREEK", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "ARMENIAN", "GEORGIAN",
                       "BOPOMOFO", ""})  # fmt: skip
_FIRST_WORDS = {"FULLWIDTH": "", "HALFWIDTH": "", "KATAKANA-HIRAGANA": "", "IDEOGRAPHIC": "", "MODIFIER": "",
                "MICRO": "", "FEMININE": "", "MASCULINE": "", "KANGXI": "CJK", "DOUBLE-STRUCK": "",
                "MATHEMATICAL": "", "SUPERSCRIPT": "", "SUBSCRIPT": "", "SCRIPT": "", "BLACK-LETTER": ""}  # fmt: skip


@lru_cache(maxsize=1 << 17)
def script_of(character: str) -> str:
    """The script of a letter or a mark, such as LATIN or CJK; empty for what all scripts share."""
    category = unicodedata.category(character)
    if category[0] not in "LM":
        return ""
    first = unicodedata.name(character, "").split(" ")[0]
    return "" if first == "COMBINING" else _FIRST_WORDS.get(first, first)


def main_script(text: str) -> str:
    """The script of most letters; CHINESE, JAPANESE and KOREAN for those who write with Chinese characters, too.

    Latin words are common in all texts, so another script counts when it has a third of the letters.
    """
    counts = Counter(script for script in map(script_of, text) if script)
    kana, hangul, han = counts["HIRAGANA"] + counts["KATAKANA"], 2 * counts.pop("HANGUL", 0), 2 * counts.pop("CJK", 0)
    kana *= 2  # these letters say more than one Latin letter does
    del counts["HIRAGANA"], counts["KATAKANA"]
    if kana and kana * 20 >= han:
        counts["JAPANESE"] = kana + han
    elif han:
        counts["CHINESE"] = han
    if hangul:
        counts["KOREAN"] = hangul
    total = counts.total()
    others = [(count, script) for script, count in counts.items() if script != "LATIN"]
    if others and max(others)[0] * 3 >= total:
        return max(others)[1]
    return "LATIN" if total else ""


def is_shaped(text: str) -> bool:
    """Whether the form or place of a glyph depends on its neighbours, as in Arabic or Thai, or of a combining mark."""
    return any(
        script_of(character) not in _UNSHAPED or unicodedata.category(character) in ("Mn", "Mc", "Cf")
        for character in text
    )


def is_right_to_left(text: str) -> bool:
    """Whether a text is written from right to left, as its first strong character says."""
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction in ("L", "R", "AL"):
            return direction != "L"
    return False
