"""The words of a text in any script, for counting and comparing."""

import re
from collections.abc import Iterator

_TOKEN = re.compile(r"[^\W_]+")
_HAN = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about above after again all also am an and any are as at be because been before being below between "
        "both but by can could did do does doing down during each few for from further had has have having he her "
        "here hers him his how i if in into is it its itself just let may me might more most must my no nor not "
        "now of off on once one only or other our out over own same shall she should so some such than that the "
        "their them then there these they this those through to too under until up us use used using very via was "
        "we were what when where which while who whom why will with would you your",
    )
)
"""Words of English that say nothing about what a text is about."""
_STOP_HAN = frozenset("的了是在和与及或也都就而并但这那其有为以于被把从到对不又很更最")


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order. A run of Chinese or Japanese gives its pairs of characters."""
    return list(_split(text))


def _split(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text.casefold()):
        token, start = match[0], 0
        for run in _HAN.finditer(token):
            if start < run.start():
                yield token[start : run.start()]
            yield from _pairs(run[0])
            start = run.end()
        if start < len(token):
            yield token[start:]


def _pairs(run: str) -> Iterator[str]:
    if len(run) == 1:
        yield run
    for place in range(len(run) - 1):
        yield run[place : place + 2]


def content_words(text: str) -> list[str]:
    """The words that say what a text is about, English plurals as their singulars."""
    return [
        singular(word)
        for word in words(text)
        if word not in STOP_WORDS and not word.isdigit() and len(word) > 1 and not set(word) & _STOP_HAN
    ]


def singular(word: str) -> str:
    """The singular of a regular English plural; other words as they are."""
    if not word.isascii() or len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    return word.removesuffix("s")


def is_chinese(text: str) -> bool:
    """Whether most letters of a text are Chinese, and no more than a few of them Japanese."""
    letters = [letter for letter in text if letter.isalpha()]
    han = sum("\u3400" <= letter <= "\u9fff" for letter in letters)
    kana = sum("\u3040" <= letter <= "\u30ff" for letter in letters)
    return han * 2 > len(letters) and kana * 10 <= han
