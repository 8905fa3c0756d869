"""Questions about text that an image shows, answered from its words and once more by a pattern over the raw text."""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property, partial

from step3vl.pipelines.domains.vqa_questions.distractors import near_counts
from step3vl.pipelines.domains.vqa_questions.frames import ABSENT
from step3vl.pipelines.domains.vqa_questions.turns import Draft, Language, quoted

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_GAP = r"[^\w\n]+"  # between two words of a line
_HAN = re.compile(r"[\u3400-\u9fff]{4,}")
_KEY = re.compile(r"^\s*[-*•]?\s*\**([^\W_][^:：*|]{1,28}?)\**\s*[:：]\s*\**([^\s:：|*][^:：|*]{0,58}?)\**\s*$")
_HEADING = re.compile(r"(#{1,6})[ \t]+([^\s#].*?)[ \t]*#*")
_MARKUP = re.compile(r"<[a-zA-Z/!]|\\[a-zA-Z]+[{\[]|\]\(|\$\$|`")
_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_ENTITIES = {
    "email": (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "@"),
    "url": (re.compile(r"(?:https?://|www\.)[\w./~%#?=&+-]*[\w/]"), ""),
    "date": (
        re.compile(
            rf"\b(?:\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}}[./]\d{{1,2}}[./]\d{{4}}|{_MONTH} \d{{1,2}}, \d{{4}}"
            rf"|\d{{1,2}} {_MONTH} \d{{4}})\b|\d{{4}}年\d{{1,2}}月\d{{1,2}}日"
        ),
        "",
    ),
    "price": (re.compile(r"[$€£¥￥]\s?\d[\d,]*(?:\.\d{2})?(?!\d)|\d[\d,]*(?:\.\d{2})?\s?(?:USD|EUR|GBP|元)"), ""),
}
_ABSENT_KEYS = {
    "en": (
        "Fax", "Order number", "Due date", "Postcode", "Discount", "Account number", "Customer", "Delivery address",
        "Opening hours", "Weight", "Signature", "Passport number", "Blood group", "Nationality", "Platform", "Gate",
        "Publisher", "ISBN", "Edition", "Room number", "Serial number", "Warranty", "Best before", "Net weight",
    ),
    "zh": (
        "传真", "订单号", "邮编", "折扣", "账号", "客户", "送货地址", "营业时间", "重量", "护照号", "血型", "国籍",
        "站台", "登机口", "出版社", "版次", "房间号", "序列号", "保修期", "保质期", "净含量", "收款人",
    ),
}  # fmt: skip
_MAX_LINES = 30
_MAX_LINE = 90  # characters of a line that is asked for
_KEY_WORDS = 4  # of a field's name, at most
_MAX_COUNTED = 200  # words among which one is counted


class TextQuestions:
    """Asks about the text of an image.

    Args:
        text: All that can be read, in order.
        has_lines: Whether the lines of the text are those of the image.
        language: Of the questions.
        outside: Texts of other images, from which words are taken that this one does not show.
        rng: Chooses what is asked.
    """

    def __init__(
        self, text: str, has_lines: bool, language: Language, outside: Sequence[str], rng: random.Random
    ) -> None:
        self._text, self._language, self._rng = text, language, rng
        self._lines = [line.strip() for line in text.split("\n") if line.strip()]
        self._has_lines = has_lines
        self._folded = " ".join(text.casefold().split())
        self._words = [[match[0] for match in _WORD.finditer(line)] for line in self._lines]
        self._counts = Counter(word.casefold() for words in self._words for word in words)
        self._han = [run for line in self._lines for run in _HAN.findall(line)]
        self._is_han = sum(map(len, self._han)) > 0.3 * len("".join(text.split()))
        headings = [match for line in self._lines if (match := _HEADING.fullmatch(line))]
        self._headings = [match[2] for match in headings]
        self._titles = [match[2] for match in headings if match[1] == "#"]
        self._outside = outside

    def kinds(self) -> dict[str, Callable[[], Draft | None]]:
        """The kinds of questions that suit the text, each with what makes one: None where chance finds none."""
        kinds: dict[str, Callable[[], Draft | None]] = {}
        if _MARKUP.search(self._text):  # what it shows is not what it says
            return kinds
        total = self._counts.total()
        if self._is_han:
            kinds |= {
                "characters_after": self._characters_after,
                "present": self._present,
                "which_present": self._which,
                "character_count": self._character_count,
            }
        elif total >= 4:
            kinds |= {
                "word_after": partial(self._neighbour, "word_after", 1),
                "word_before": partial(self._neighbour, "word_before", -1),
                "present": self._present,
                "which_present": self._which,
            }
            if total <= _MAX_COUNTED:
                kinds["word_count"] = self._word_count
        if self._has_lines and 2 <= len(self._lines) <= _MAX_LINES:
            kinds |= {"line_count": self._line_count, "nth_line": self._nth_line, "line_with": self._line_with}
        if self._pairs:
            kinds |= {"key_value": self._key_value, "absent_key": self._absent_key}
        for kind in _ENTITIES:
            if self._entity(kind) is not None:
                kinds[kind] = partial(self._entity, kind)
        if self._headings:
            kinds |= {"heading_count": self._heading_count, "next_heading": self._next_heading}
            if len(self._titles) == 1:
                kinds["title"] = self._title
        return kinds

    # Words

    def _neighbour(self, kind: str, shift: int) -> Draft | None:
        """A word beside one, or two, that occur once."""
        size = self._rng.choice((1, 2, 2))
        places = [
            (line, start)
            for line, words in enumerate(self._words)
            for start in range(max(0, -shift), len(words) - size + 1 - max(0, shift))
        ]
        for line, start in self._rng.sample(places, min(len(places), 8)):
            words = self._words[line]
            cited = words[start : start + size]
            answer = words[start + size if shift > 0 else start - 1]
            matches = _near_matches(self._text, cited, shift)
            phrase = _phrase(self._lines[line], cited)
            if phrase is None or len(answer) < 2 or not len(matches) == self._occurrences(cited) == 1:
                continue
            if not matches[0]:  # a word beside a quotation mark, which the pattern does not cross
                continue
            if matches[0] != answer:
                raise ValueError(f"the answer is {answer!r}, and by the pattern {matches[0]!r}")
            wrong = self._other_words(answer, cited)
            return Draft(kind, {"cited": self._cite(phrase)}, answer, "text", wrong)
        return None

    def _occurrences(self, cited: Sequence[str]) -> int:
        """How often words stand one after the other in a line, in any case."""
        folded, size = [word.casefold() for word in cited], len(cited)
        return sum(
            [word.casefold() for word in words[start : start + size]] == folded
            for words in self._words
            for start in range(len(words) - size + 1)
        )

    def _other_words(self, answer: str, cited: Sequence[str]) -> tuple[str, ...]:
        taken = {word.casefold() for word in (answer, *cited)}
        others = dict.fromkeys(
            word for words in self._words for word in words if word.casefold() not in taken and len(word) > 2
        )
        return tuple(self._rng.sample(list(others), min(len(others), 5)))

    def _word_count(self) -> Draft | None:
        frequent = [word for word, count in self._counts.items() if 2 <= count <= 9 and len(word) > 1]
        single = [word for word, count in self._counts.items() if count == 1 and len(word) > 3]
        words = frequent if frequent and self._rng.random() < 0.75 else single
        if not words:
            return None
        word = self._rng.choice(words)
        pattern = rf"(?<![\w'’-]){re.escape(word)}(?![\w'’-])"
        count = len(re.findall(pattern, self._text, re.IGNORECASE))
        if count != self._counts[word]:  # such as a part of a compound, which one may count or not
            return None
        # Other case counts as the same word.
        return Draft("word_count", {"cited": self._cite(word)}, str(count), "count", near_counts(count, self._rng))

    # Characters

    def _characters_after(self) -> Draft | None:
        long_runs = [run for run in self._han if len(run) >= 6]
        if not long_runs:
            return None
        run = self._rng.choice(long_runs)
        size, count = self._rng.randint(2, 4), self._rng.randint(1 if self._language == "zh" else 2, 3)
        if len(run) < size + count:
            return None
        start = self._rng.randint(0, len(run) - size - count)
        cited, answer = run[start : start + size], run[start + size : start + size + count]
        if self._text.count(cited) != 1:
            return None
        match = re.search(rf"{cited}(.{{{count}}})", self._text)
        if match is None or match[1] != answer:
            raise ValueError(f"the answer is {answer!r}, and by the pattern {match and match[1]!r}")
        joined = "".join(self._han)
        places = self._rng.sample(range(max(1, len(joined) - count)), min(4, max(1, len(joined) - count)))
        wrong = tuple(joined[place : place + count] for place in places if joined[place : place + count] != answer)
        return Draft("characters_after", {"cited": self._cite(cited), "count": str(count)}, answer, "text", wrong)

    def _character_count(self) -> Draft | None:
        counts = Counter(character for run in self._han for character in run)
        if sum(counts.values()) > _MAX_COUNTED or not counts:
            return None
        several = [character for character, count in counts.items() if 2 <= count <= 9]
        character = self._rng.choice(several or list(counts))
        count = self._text.count(character)
        if count != counts[character]:  # in a run that is too short to be known as Chinese
            return None
        values = {"cited": self._cite(character)}
        return Draft("character_count", values, str(count), "count", near_counts(count, self._rng))

    # Presence

    def _present(self) -> Draft | None:
        inside, outside = self._inside(), self._absent()
        if inside is None or outside is None:
            return None
        is_there = self._rng.random() < 0.5
        cited = inside if is_there else outside
        if (" ".join(cited.casefold().split()) in self._folded) != is_there:
            raise ValueError(f"{cited!r} is {'not ' if is_there else ''}in the text")
        return Draft("present", {"cited": self._cite(cited)}, "yes" if is_there else "no", "yes_no")

    def _which(self) -> Draft | None:
        inside = self._inside()
        absent = dict.fromkeys(word for _ in range(6) if (word := self._absent()) is not None)
        if inside is None or len(absent) < 2:
            return None
        return Draft("which_present", {}, inside, "text", tuple(absent), only_choice=True)

    def _inside(self) -> str | None:
        """A word or a few that the text has."""
        if self._is_han:
            run = self._rng.choice(self._han)
            size = min(len(run), self._rng.randint(2, 4))
            start = self._rng.randint(0, len(run) - size)
            return run[start : start + size]
        long_words = [word for word in self._counts if len(word) > 3]
        return self._spelled(self._rng.choice(long_words)) if long_words else None

    def _spelled(self, folded: str) -> str:
        return next(word for words in self._words for word in words if word.casefold() == folded)

    def _absent(self) -> str | None:
        """The same of another text, which this one has nowhere, not even as a part."""
        for text in self._rng.sample(self._outside, min(len(self._outside), 6)):
            if self._is_han:
                runs = _HAN.findall(text)
                pieces = [run[place : place + 3] for run in runs for place in range(0, len(run) - 2, 3)]
            else:
                pieces = [word for word in _WORD.findall(text) if len(word) > 3 and not _HAN.search(word)]
            pieces = [piece for piece in pieces if piece.casefold() not in self._folded]
            if pieces:
                return self._rng.choice(pieces)
        return None

    # Lines

    def _line_count(self) -> Draft:
        count = len(self._lines)
        again = len(re.findall(r"^[^\S\n]*\S", self._text, re.MULTILINE))
        if again != count:
            raise ValueError(f"{count} lines, and by the pattern {again}")
        return Draft("line_count", {}, str(count), "count", near_counts(count, self._rng))

    def _nth_line(self) -> Draft | None:
        number = self._rng.randint(1, min(len(self._lines), 12))
        line = self._lines[number - 1]
        if not 3 <= len(line) <= _MAX_LINE:
            return None
        return Draft("nth_line", {"number": str(number)}, line, "text", self._other_lines(line))

    def _line_with(self) -> Draft | None:
        cited = self._inside()
        if cited is None:
            return None
        lines = [line for line in self._lines if cited.casefold() in line.casefold()]
        if (
            len(lines) != 1
            or self._folded.count(cited.casefold()) != 1
            or not len(cited) + 3 < len(lines[0]) <= _MAX_LINE
        ):
            return None
        return Draft("line_with", {"cited": self._cite(cited)}, lines[0], "text", self._other_lines(lines[0]))

    def _other_lines(self, line: str) -> tuple[str, ...]:
        others = [other for other in dict.fromkeys(self._lines) if other != line and len(other) <= _MAX_LINE]
        return tuple(self._rng.sample(others, min(len(others), 4)))

    # Forms and documents

    @cached_property
    def _pairs(self) -> list[tuple[str, str]]:
        """Names of fields with their values."""
        matches = [match.groups() for line in self._lines if (match := _KEY.match(line))]
        matches = [(key, value) for key, value in matches if len(key.split()) <= _KEY_WORDS]
        keys = Counter(key.casefold() for key, _ in matches)
        if len(matches) < 2:  # a sentence with a colon is no form
            return []
        return [(key, value) for key, value in matches if keys[key.casefold()] == 1 and "//" not in value]

    def _key_value(self) -> Draft | None:
        key, value = self._rng.choice(self._pairs)
        if self._folded.count(key.casefold()) != 1:
            return None
        again = re.search(rf"{re.escape(key)}\**\s*[:：]\s*\**([^\n*]+)", self._text)
        if again is None or again[1].strip() != value:
            raise ValueError(f"the value of {key!r} is {value!r}, and by the pattern {again and again[1]!r}")
        wrong = tuple(other for _, other in self._pairs if other != value)
        return Draft("key_value", {"cited": self._cite(key)}, value, "text", wrong[:5])

    def _absent_key(self) -> Draft | None:
        keys = [key for key in _ABSENT_KEYS["zh" if self._is_han else "en"] if key.casefold() not in self._folded]
        if not keys:
            return None
        values = {"cited": self._cite(self._rng.choice(keys))}
        return Draft("absent_key", values, ABSENT[self._language], "text", answerable=False)

    def _entity(self, kind: str) -> Draft | None:
        """The only address, date or amount of the text."""
        pattern, mark = _ENTITIES[kind]
        matches = pattern.findall(self._text)
        if len(matches) != 1 or (mark and self._text.count(mark) != 1) or self._text.count(matches[0]) != 1:
            return None
        return Draft(kind, {}, matches[0].strip(), "text")

    def _heading_count(self) -> Draft:
        count = len(self._headings)
        again = len(re.findall(r"^[ \t]*#{1,6}[ \t]+[^\s#]", self._text, re.MULTILINE))
        if again != count:
            raise ValueError(f"{count} headings, and by the pattern {again}")
        return Draft("heading_count", {}, str(count), "count", near_counts(count, self._rng))

    def _title(self) -> Draft | None:
        (title,) = self._titles
        if f"# {' '.join(title.split())}" not in " ".join(self._text.split()):
            raise ValueError(f"the title {title!r} is not in the text")
        wrong = tuple(heading for heading in dict.fromkeys(self._headings) if heading != title)
        return Draft("title", {}, title, "text", wrong) if title and len(title) <= _MAX_LINE else None

    def _next_heading(self) -> Draft | None:
        if len(self._headings) < 2 or len(set(self._headings)) != len(self._headings):
            return None
        place = self._rng.randrange(len(self._headings) - 1)
        cited, answer = self._headings[place : place + 2]
        wrong = [heading for heading in self._headings if heading not in (cited, answer)]
        return Draft("next_heading", {"cited": self._cite(cited)}, answer, "text", tuple(wrong[:5]))

    def _cite(self, text: str) -> str:
        return quoted(text, self._language)


def _near_matches(text: str, cited: Sequence[str], shift: int) -> list[str]:
    """What stands beside a run of words, wherever it occurs; also where nothing does, as an empty text."""
    run = _GAP.join(re.escape(word) for word in cited)
    neighbours = []
    for match in re.finditer(rf"(?<![^\W_])(?<![^\W_]['’-])(?=({run})(?!['’-]?[^\W_]))", text, re.IGNORECASE):
        if shift > 0:
            beside = re.compile(rf"{_GAP}({_WORD.pattern})").match(text, match.end(1))
        else:
            line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
            before = [*_WORD.finditer(line)][-1:]
            beside = before[0] if before and re.fullmatch(_GAP, line[before[0].end() :]) else None
        neighbours.append(beside[beside.re.groups] if beside else "")
    return neighbours


def _phrase(line: str, words: Sequence[str]) -> str | None:
    """Consecutive words of a line as they are written, with what is between them."""
    match = re.search(_GAP.join(re.escape(word) for word in words), line)
    return match[0] if match and '"' not in match[0] else None
