"""One of several options, named by its label, by its text, or by either.

Options come in three kinds: texts (`red`), labels (`A`), and labels with texts (`A. a dog`, `(B) a cat`); labels are
A, B, C and so on. An answer that names no option, or more than one, is unparsable: nothing is guessed. So is a copy of
the options, and a label does not count that is only named to be rejected ("B is wrong").
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
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
    r"(?:(?<!\bnot\s)(?<!\bthan\s)(?<!n['’]t\s)"
    r"\b(?:(?:option|choice)(?:\s(?:is|would\sbe|should\sbe))?|choose|select|pick)\b|(?<!不)[选選](?!项|項)[择擇]?)"
    rf"\s?[:：]?{_LABEL}",
    re.IGNORECASE,
)
_ENCLOSED = re.compile(r"[(（\[【*`\"“「{]([A-Z])[)）\]】*`\"”」}]")
_ALONE = re.compile(
    rf"(?<!{_WORD})(?<!['’-])(?<!\b[Nn]ot\s)(?<!\bthan\s)(?<!\bexclude\s)(?<!\beliminate\s)([A-Z]){_CLOSING}"
)
# A label that is a word as well: "A dog", "I see"; "A is correct" and "A because" name the option.
_A_WORD = r"\s+(?!(?:is|was|and|or|because|since|as|for|due|seems?|looks?|based)\b)[a-z]"
_WORD_FOLLOWS = re.compile(_A_WORD)
_CAPITAL = rf"(?:[B-HJ-Z]|[AI](?!{_A_WORD}))(?![\w'’-])"
_ANOTHER_FOLLOWS = re.compile(
    r"[^\w\n]{0,4}(?:(?:text\{\s?)?\b(?i:and|or)\b(?:[^\w\n]{1,4}(?:also|maybe|perhaps|possibly))?|[,/&+;；|>、和或与及])"
    rf"[^\w\n]{{0,4}}{_CAPITAL}"
)
_STANDS_NEXT = re.compile(rf"[ \t]+{_CAPITAL}|[)）\]]\s?[(（\[]{_CAPITAL}")
# The words of an option may follow its label, too: "(C) cannot be determined" names C.
_REJECTED = re.compile(
    r"[^\w\s.,:;：，；]{0,3}(?:\s(?:is|was|are|were|seems|looks|must\sbe)(?:\s(?:also|clearly|obviously))?"
    r"(?:(?:\snot|n['’]t)\s(?:correct|right|true|valid|possible|accurate|consistent|supported|the|it)"
    r"|\s(?:wrong|incorrect|false|invalid|impossible|excluded|eliminated|ruled\sout))\b|(?:选项|是)?(?:[错錯]|不(?!仅)))",
    re.IGNORECASE,
)
_BLANK_LINE = re.compile(r"\n\s*\n")

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
    if labels:
        marked, phrased = marked_answer(answer), phrased_answer(answer)
        if marked is not None:
            named = {letter for letter in _alone(marked) if letter in labels}
            if label := _label_at_start(marked, labels) or (named.pop() if len(named) == 1 else None):
                return labels.index(label)
            if named or _names_several(marked, labels):
                return _named(_key(marked), texts)
        if phrased is not None:
            if label := _label_at_start(phrased, labels):
                return labels.index(label)
            if _names_several(phrased, labels):
                return None
        if label := _read_label(answer, labels):
            return labels.index(label)
    return _read_text(answer, texts)


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
    """The label that an answer names which marks none as final."""
    lines = answer.strip().splitlines() or [""]
    last = "" if _ends_list(lines, labels) else lines[-1]
    # The surest places first; the first one that names exactly one label counts.
    candidates = (
        (match[1] for match in _CHOSEN.finditer(answer) if _is_label(answer, match, labels)),
        filter(None, [_label_at_start(answer, labels)] if len(lines) == 1 else []),
        _line_labels(answer, labels),
        _enclosed(last),
        _alone(last),
        _enclosed(answer),
        _alone(answer),
    )
    return next((label for characters in candidates if (label := _only(characters, labels))), None)


def _label_at_start(text: str, labels: tuple[str, ...]) -> str | None:
    match = _AT_START.match(text)
    if match is None or match[1].upper() not in labels or not _is_label(text, match, labels):
        return None
    return None if _begins_list(text, match, labels) else match[1].upper()


def _is_label(text: str, match: re.Match[str], labels: tuple[str, ...]) -> bool:
    """Whether the character that was matched is no word, not rejected, and not the first of several labels."""
    if _another_follows(text, match.end(), labels) or _REJECTED.match(text, match.end()):
        return False
    return not ((match[1] in "AI" or match[1].islower()) and _WORD_FOLLOWS.match(text, match.end()))


def _another_follows(text: str, end: int, labels: tuple[str, ...]) -> bool:
    """Whether the label that ends there is the first of several, "A or B" or "A B"; one that is rejected is none."""
    match = _ANOTHER_FOLLOWS.match(text, end) or _STANDS_NEXT.match(text, end)
    return match is not None and match[0][-1] in labels and not _REJECTED.match(text, match.end())


def _names_several(text: str, labels: tuple[str, ...]) -> bool:
    """Whether a text begins with several labels."""
    match = _AT_START.match(text)
    return match is not None and match[1].upper() in labels and _another_follows(text, match.end(), labels)


def _line_labels(text: str, labels: tuple[str, ...]) -> Iterator[str]:
    """The labels that lines begin with, unless the first line with one is a list of all options."""
    for number, match in enumerate(_AT_LINE_START.finditer(text)):
        if number == 0 and _begins_list(text, match, labels):
            continue
        if not (_another_follows(text, match.end(1), labels) or _REJECTED.match(text, match.end(1))):
            yield match[1]


def _begins_list(text: str, match: re.Match[str], labels: tuple[str, ...]) -> bool:
    """Whether the first label begins a list of all options, "A. a dog B. a cat C. a horse", which names none."""
    if match[1].upper() != labels[0] or len(labels) < 3 or not _item(labels[0]).match(text, match.start(1)):
        return False
    place, end = match.end(1), _BLANK_LINE.search(text, match.end())
    for label in labels[1:]:
        item = _item(label).search(text, place, end.start() if end else len(text))
        if item is None:
            return False
        place = item.end()
    return True


@cache
def _item(label: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){label}[*_`]{{0,2}}[.)）\]:：、．]", re.IGNORECASE)


def _ends_list(lines: list[str], labels: tuple[str, ...]) -> bool:
    """Whether the last two lines begin with neighbouring labels, and so belong to a list of options."""
    matches = [_AT_LINE_START.match(line) for line in [line for line in lines if line.strip()][-2:]]
    letters = "".join(match[1].upper() for match in matches if match)
    return len(letters) == 2 and letters in "".join(labels)


def _enclosed(text: str) -> Iterator[str]:
    """The capitals in brackets, quotation marks or markup that are not rejected."""
    return (match[1] for match in _ENCLOSED.finditer(text) if not _REJECTED.match(text, match.end()))


def _alone(text: str) -> Iterator[str]:
    """The capitals that stand alone in a text, are no words, and are not rejected."""
    for match in _ALONE.finditer(text):
        is_word = match[1] in "AI" and _WORD_FOLLOWS.match(text, match.end())
        if not is_word and not _REJECTED.match(text, match.end()):
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
