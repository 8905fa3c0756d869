"""One of several options, named by its label, by its text, or by either.

Options come in three kinds: texts (`red`), labels (`A`), and labels with texts (`A. a dog`, `(B) a cat`); labels are
A, B, C and so on. An answer that names no option, or more than one, is unparsable: nothing is guessed.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from step3vl.data.sample import OptionTruth
from step3vl.grading.extraction import marked_answer, phrased_answer
from step3vl.grading.text import normalise
from step3vl.grading.verdicts import UNPARSABLE, Grade, exact

_WORD = r"[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"  # of a script that puts spaces between its words
_OPENING = r"[\s*_`\"'“”‘’「(（\[【{$]{0,8}"
_CLOSING = rf"(?!{_WORD}|['’-]\w)"
_LABEL = rf"{_OPENING}(?:\\(?:text|textbf|mathrm|mathbf)\{{)?([A-Za-z]){_CLOSING}"

_OPTION = re.compile(r"\s*[(（]?([A-Z])(?:[.)、:：．）]+\s*|\s*$)(.*)", re.DOTALL)
_AT_START = re.compile(rf"{_OPENING}(?:(?:option|choice)\s|选项)?{_LABEL}", re.IGNORECASE)
_AT_LINE_START = re.compile(r"^[ \t*_`>#-]{0,8}[(（\[]?([A-Za-z])[*_`]{0,2}[.)）\]:：、．]", re.MULTILINE)
_CHOSEN = re.compile(
    rf"(?:\b(?:(?:option|choice)(?:\s(?:is|would\sbe|should\sbe))?|choose|select|pick)\b|[选選](?!项|項)[择擇]?)"
    rf"\s?[:：]?{_LABEL}",
    re.IGNORECASE,
)
_ENCLOSED = re.compile(r"[(（\[【*`\"“「{]([A-Z])[)）\]】*`\"”」}]")
_ALONE = re.compile(rf"(?<!{_WORD})(?<!['’-])(?<!\bnot\s)([A-Z]){_CLOSING}")
# A label that is a word as well: "A dog", "I see"; "A is correct" and "A because" name the option.
_WORD_FOLLOWS = re.compile(r"\s+(?!(?:is|was|and|or|because|since|as|for|due|seems?|looks?|based)\b)[a-z]")
_ANOTHER_FOLLOWS = re.compile(r"[^\w\n]{0,4}(?:\s(?:and|or)\s|[,/&+、和或与及])[^\w\n]{0,4}[A-Z](?!\w)")

_HYPHEN = re.compile(r"(?<=[^\W\d_])[-_‐‑–]+(?=[^\W\d_])")
_ARTICLE = re.compile(r"(?:an?|the) (?=\S)")
_SENTENCE_END = re.compile(r"[\n。；;]|\.\s")
_FULL_WIDTH = {0xFF21 + offset: chr(0x41 + offset) for offset in (*range(26), *range(32, 58))}

_HEAD, _TAIL = 2**12, 3 * 2**12
"""Characters at the beginning and at the end of a longer answer, where options are named."""


class _Options(NamedTuple):
    """The options of a question: their labels, and their texts as they are compared; one of the two may be empty."""

    labels: tuple[str, ...]
    texts: tuple[str, ...]


def grade_option(truth: OptionTruth, answer: str) -> Grade:
    """Grade the one option that an answer names.

    What the answer marks as final counts first, then what follows a phrase such as "the answer is" or "选", then the
    whole answer: a label at its beginning, at the beginning of one of its lines or alone in its last line, or a text
    of which no other option's text is a longer reading ("left" in "top left").
    """
    index = chosen_option(truth.options, answer)
    return UNPARSABLE if index is None else exact(truth.options[index] == truth.option)


def chosen_option(options: tuple[str, ...], answer: str) -> int | None:
    """The index of the one option that an answer names, as `grade_option` reads it; None without one."""
    if answer.strip() in options:
        return options.index(answer.strip())
    if len(answer) > _HEAD + _TAIL:
        answer = f"{answer[:_HEAD]}\n{answer[-_TAIL:]}"
    answer = answer if answer.isascii() else answer.translate(_FULL_WIDTH)
    labels, texts = _parse_options(options)
    label = _read_label(answer, labels) if labels else None
    return labels.index(label) if label else _read_text(answer, texts)


def _parse_options(options: tuple[str, ...]) -> _Options:
    matches = [_OPTION.fullmatch(option) for option in options]
    labels = tuple(match[1] if match else "" for match in matches)
    if labels != tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(options)]):
        labels = tuple(option.strip().upper() for option in options)
        if all(len(label) == 1 and label.isascii() and label.isalpha() for label in labels):
            return _Options(labels, ())
        return _Options((), tuple(_option_key(option) for option in options))
    texts = tuple(_option_key(match[2]) if match else "" for match in matches)
    return _Options(labels, texts if any(texts) else ())


def _option_key(text: str) -> str:
    """What must stand in an answer: the text without its article."""
    key = _key(text)
    article = _ARTICLE.match(key)
    return key[article.end() :] if article else key


def _key(text: str) -> str:
    return _HYPHEN.sub(" ", normalise(text))


def _read_label(answer: str, labels: tuple[str, ...]) -> str | None:
    marked = marked_answer(answer)
    if marked is not None and (label := _label_at_start(marked, labels) or _only(_alone(marked), labels)):
        return label
    phrased = phrased_answer(answer)
    if phrased is not None and (label := _label_at_start(phrased, labels)):
        return label
    lines = answer.strip().splitlines() or [""]
    # The surest places first; the first one that names exactly one label counts.
    candidates = (
        (match[1] for match in _CHOSEN.finditer(answer) if _is_label(answer, match)),
        filter(None, [_label_at_start(answer, labels)] if len(lines) == 1 else []),
        (match[1] for match in _AT_LINE_START.finditer(answer) if not _ANOTHER_FOLLOWS.match(answer, match.end())),
        (match[1] for match in _ENCLOSED.finditer(lines[-1])),
        _alone(lines[-1]),
        (match[1] for match in _ENCLOSED.finditer(answer)),
        _alone(answer),
    )
    return next((label for characters in candidates if (label := _only(characters, labels))), None)


def _label_at_start(text: str, labels: tuple[str, ...]) -> str | None:
    match = _AT_START.match(text)
    if match is None or match[1].upper() not in labels or not _is_label(text, match):
        return None
    return match[1].upper()


def _is_label(text: str, match: re.Match[str]) -> bool:
    """Whether the character that was matched is no word, and not the first of several labels."""
    if _ANOTHER_FOLLOWS.match(text, match.end()):
        return False
    return not ((match[1] in "AI" or match[1].islower()) and _WORD_FOLLOWS.match(text, match.end()))


def _alone(text: str) -> Iterator[str]:
    """The capitals that stand alone in a text and are no words."""
    for match in _ALONE.finditer(text):
        if match[1] not in "AI" or not _WORD_FOLLOWS.match(text, match.end()):
            yield match[1]


def _only(characters: Iterable[str], labels: tuple[str, ...]) -> str | None:
    """The only label among the characters; None where there is none, or several."""
    distinct = {character.upper() for character in characters} & set(labels)
    return distinct.pop() if len(distinct) == 1 else None


def _read_text(answer: str, texts: tuple[str, ...]) -> int | None:
    phrased = phrased_answer(answer)
    clause = None if phrased is None else _SENTENCE_END.split(phrased, maxsplit=1)[0]
    for reading in (marked_answer(answer), clause, answer):
        if reading is not None and (index := _named(_key(reading), texts)) is not None:
            return index
    return None


def _named(key: str, texts: tuple[str, ...]) -> int | None:
    """The index of the one text that is named; None where there is none, or several."""
    named = [index for index, text in enumerate(texts) if text and text in key and _pattern(text).search(key)]
    # "top left" also names "left" where both are options: the longest reading is meant.
    longest = [
        index
        for index in named
        if not any(texts[index] != texts[other] and texts[index] in texts[other] for other in named)
    ]
    return longest[0] if len(longest) == 1 else None


def _pattern(text: str) -> re.Pattern[str]:
    """The text as a word: no letters and digits next to it, nor the rest of a decimal number."""
    before = rf"(?<!{_WORD})(?<!\d\.)" if re.match(_WORD, text[0]) else ""
    after = rf"(?!{_WORD}|\.\d)" if re.match(_WORD, text[-1]) else ""
    return re.compile(before + re.escape(text) + after)
