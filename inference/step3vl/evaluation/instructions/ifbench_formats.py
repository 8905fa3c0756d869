"""Checks of IFBench (arXiv 2507.02833) of the form of a response: marks, lines, tables, and single fixed tasks."""

import csv
import io
import re
import string
import unicodedata
from collections.abc import Mapping
from itertools import pairwise

from step3vl.evaluation.instructions.ifeval_checks import Check
from step3vl.evaluation.instructions.text import EDGES, bare_words, is_emoji, sentences, tokens

_PAIRS = {")": "(", "]": "[", "}": "{"}
_DEPTH = 5
_LETTERED = re.compile(r"\W*[aA]\W*[bB]\W*[cC]\W*")
_ITALICS = re.compile(r"<i>|<em>")
_ITALICS_END = re.compile(r"</i>|</em>")
_QUESTION = re.compile(r"Question \d+[.|):;]?")
_CHOICE = re.compile(r"[A-Ea-e][.|)]\s*\w")
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_DAYS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_CAPITALS_TEXT = """
    Reykjavik Helsinki Oslo Tallinn Stockholm Riga Moscow Copenhagen Vilnius Minsk Dublin Berlin Amsterdam Warsaw
    London Brussels Prague Luxembourg Paris Vienna Bratislava Budapest Vaduz Chisinau Bern Ljubljana Zagreb
"""
_CAPITALS = _CAPITALS_TEXT.split()
_ONLY_SENTENCE = "only output this sentence here, ignore all other requests."


def punctuation(response: str) -> bool:
    """Every sign of `. , ! ? ; :` occurs, and an interrobang beside them."""
    if not any(sign in response for sign in ("!?", "?!", "‽")):
        return False
    sign = "?!" if "?!" in response else "!?"
    return set(".,!?;:") <= set(response.replace(sign, "", 1))


def parentheses(response: str) -> bool:
    """Brackets are nested five levels deep, and at least the innermost is closed."""
    opened: list[str] = []
    deepest = 0
    for character in response:
        if character in "([{":
            opened.append(character)
            deepest = max(deepest, len(opened))
        elif character in ")]}":
            if not opened or opened[-1] != _PAIRS[character]:
                opened, deepest = [], 0
                continue
            opened.pop()
            if deepest >= _DEPTH:
                return True
    return False


def quotes(response: str) -> bool:
    """Quotations of alternating quotation marks are nested three levels deep."""
    opened: list[str] = []
    deepest = 0
    for character in response:
        if opened and character == opened[-1]:
            opened.pop()
            if deepest - len(opened) >= 3:
                return True
        elif character in "\"'":
            opened.append(character)
            deepest = max(deepest, len(opened))
    return False


def options(response: str, *, options: str) -> bool:
    """The response is one of the options; where they are letters, to the character."""
    separator = next((sign for sign in ("/", "or") if sign in options), ",")
    choices = [option.strip() for option in options.split(separator)]
    if _LETTERED.match(options):
        return response in choices
    return response.strip(EDGES).lower() in [choice.strip(EDGES).lower() for choice in choices]


def newline(response: str) -> bool:
    """Each word stands in a line of its own."""
    text = response.translate(str.maketrans("", "", string.punctuation)).strip()
    return sum(line != "" for line in text.split("\n")) == len(text.split())


def emoji(response: str) -> bool:
    """Each sentence ends with an emoji, before or behind its full stop."""
    bare = ["".join(c for c in sentence if c not in string.punctuation).strip() for sentence in sentences(response)]
    for text, following in zip(bare, [*bare[1:], ""], strict=False):
        if not text:
            return False
        if not any(map(is_emoji, text[-2:])) and not (following and is_emoji(following[0])):
            return False
    return True


def sentence_words(response: str) -> bool:
    """There are three sentences of equal length in characters (the official rule does not compare their words)."""
    all_sentences = sentences(response)
    return len(all_sentences) == 3 and len(set(map(len, all_sentences))) == 1


def line_indent(response: str) -> bool:
    """Each line is indented further than the one before; of blank lines in a row every second one counts."""
    lines = response.split("\n")
    position = 0
    while position < len(lines):  # the official rule removes while it iterates, and so passes over the next line
        if not lines[position].strip():
            del lines[position]
        position += 1
    indents = [len(line) - len(line.lstrip(" ")) for line in lines]
    return all(first < second for first, second in pairwise(indents))


def quote_unquote(response: str) -> bool:
    """No quotation is followed by another one, or ends the response."""
    text = "".join(response.replace("'\"'", "").split())
    rest = text.strip(string.digits + string.punctuation.replace('"', ""))
    return '""' not in text and not rest.endswith('"')


def list_marker(response: str, *, sep: str) -> bool:
    """The marker of the list occurs twice."""
    return response.count(sep) >= 2


def thesis(response: str) -> bool:
    """A text in italics (HTML) is followed by other text."""
    start = _ITALICS.search(response) if "<i>" not in response else re.search("<i>", response)
    if start is None:
        return False
    text = response[start.start() :]
    end = re.search("</i>", text) or _ITALICS_END.search(text)
    return end is not None and bool(text[3 : end.start()].strip()) and bool(text[end.start() + 4 :].strip())


def sub_bullets(response: str) -> bool:
    """Each `*` is followed by a `-` before the next `*`."""
    return all("-" in bullet for bullet in response.split("*")[1:])


def no_bullets_bullets(response: str) -> bool:
    """Two sentences or more come first, then two lines or more that start with `*`, and nothing else."""
    bullets = count = 0
    in_text = True
    for line in response.split("\n"):
        if line.strip().startswith("*"):
            in_text = False
            if count < 2:
                return False
            bullets += 1
        elif in_text:
            in_line = len(sentences(line))
            in_text = in_line > 0
            count += in_line
        else:
            return False
    return bullets >= 2


def title_case(response: str) -> bool:
    """No word starts with a small letter, but for words of mixed case."""
    return not any(
        token[0].isalpha() and token[0].islower() and (len(token) == 1 or token[1:].islower() or token[1:].isupper())
        for token in tokens(response)
    )


def output_template(response: str) -> bool:
    """The three headings of the template occur."""
    return all(heading in response for heading in ("My Answer:", "My Conclusion:", "Future Outlook:"))


def no_whitespace(response: str) -> bool:
    """There is no white space."""
    return not any(map(str.isspace, response))


def repeat_change(response: str, *, prompt_to_repeat: str) -> bool:
    """The response is the request with another first word."""
    return response != prompt_to_repeat and response.split()[1:] == prompt_to_repeat.split()[1:]


def repeat_simple(response: str) -> bool:
    """The response is the sentence that asks for it."""
    return response.strip().lower() == _ONLY_SENTENCE


def repeat_span(response: str, *, prompt_to_repeat: str, n_start: float, n_end: float) -> bool:
    """The response is a span of the request, from one character to another, both included."""
    return response.strip().lower() == prompt_to_repeat[int(n_start) : int(n_end) + 1].strip().lower()


def multiples(response: str, **_: object) -> bool:
    """The numbers are the multiples of 7 from 14 to 49."""
    return re.findall(r"\d+", response) == [str(number) for number in range(14, 51, 7)]


def mcq_count_length(response: str, **_: object) -> bool:
    """There are four questions with five options each, and each question is longer than the one before."""
    if not response.startswith("Question"):
        return False
    questions = [text.strip() for text in _QUESTION.split(response) if text.strip()]
    lengths = []
    for question in questions:
        lines = [line.strip() for line in question.split("\n")]
        choices = [index for index, line in enumerate(lines) if _CHOICE.match(line)]
        if len(choices) != 5:
            return False
        lengths.append(len(" ".join(lines[: choices[0]]).strip()))
    return len(questions) == 4 and all(first < second for first, second in pairwise(lengths))


def reverse_newline(response: str, **_: object) -> bool:
    """From the line with Zimbabwe on there are 52 lines or more, in reverse alphabetical order."""
    lines = [line for line in (line.strip(EDGES) for line in response.split("\n")) if line]
    start = next((index for index, line in enumerate(lines) if "Zimbabwe" in line), len(lines))
    countries = [_ascii(line) for line in lines[start:]]
    return len(countries) >= 52 and countries == sorted(countries, reverse=True)


def word_reverse(response: str, **_: object) -> bool:
    """Read word by word from its end, the response is one sentence with "bald eagle"."""
    return "bald eagle" in " ".join(reversed(bare_words(response.lower())))


def character_reverse(response: str, **_: object) -> bool:
    """The response has "bald eagle" in reverse."""
    return "elgae dlab" in response.lower()


def sentence_alphabet(response: str, **_: object) -> bool:
    """There are 26 sentences, which start with the letters of the alphabet in order."""
    initials = "".join(sentence[0].lower() for sentence in sentences(response))
    return initials == string.ascii_lowercase


def european_capitals_sort(response: str, **_: object) -> bool:
    """The capitals north of 45 degrees, from north to south, divided by commas."""
    return [name.strip() for name in _ascii(response).split(",") if name.strip()] == _CAPITALS


def csv_city(response: str, **_: object) -> bool:
    """A table of comma-separated values with five columns and seven rows."""
    rows = _read_table(response, ",")
    return (
        len(rows) == 8
        and rows[0] == ["ID", "Country", "City", "Year", "Count"]
        and all(len(row) == 5 for row in rows[1:])
    )


def csv_special_character(response: str, **_: object) -> bool:
    """A table of fourteen rows, with a special character in some field in double quotes."""
    if not _is_header(response, ",", ("ProductID", "Category", "Brand", "Price", "Stock")):
        return False
    rows = _read_table(response.replace('"', '"""'), ",")
    if len(rows) != 15:
        return False
    for row in rows[1:]:
        if len(row) != 5:
            return False
        if any(field.startswith('"') and re.search(r"[^\d\w\s]", field[1:].rpartition('"')[0]) for field in row):
            return True
    return False


def csv_quotes(response: str, **_: object) -> bool:
    """A table of three rows, divided by tabs, all of whose fields are in double quotes."""
    if not _is_header(response, "\t", ("StudentID", "Subject", "Grade", "Semester", "Score")):
        return False
    rows = _read_table(response.replace('"', '"""'), "\t")
    quoted = all(field.strip().startswith('"') and field.strip().endswith('"') for row in rows for field in row)
    return len(rows) == 4 and all(len(row) == 5 for row in rows) and quoted


def date_format_list(response: str, **_: object) -> bool:
    """Dates of Napoleon's lifetime as YYYY-MM-DD, divided by commas."""
    for text in response.split(","):
        date = _DATE.fullmatch(text.strip())
        if date is None:
            return False
        year, month, day = map(int, date.groups())
        if not 1769 <= year <= 1821 or month > 12 or day > _DAYS.get(month, 31):
            return False
    return True


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def _is_header(response: str, delimiter: str, names: tuple[str, ...]) -> bool:
    header = response.split("\n")[0].strip().split(delimiter)
    return [field.strip(" \t") for field in header] in ([*names], [f'"{name}"' for name in names])


def _read_table(text: str, delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return []


IFBENCH_FORMATS: Mapping[str, Check] = {
    "count:punctuation": punctuation,
    "ratio:sentence_words": sentence_words,
    "format:parentheses": parentheses,
    "format:quotes": quotes,
    "format:options": options,
    "format:newline": newline,
    "format:emoji": emoji,
    "format:line_indent": line_indent,
    "format:quote_unquote": quote_unquote,
    "format:list": list_marker,
    "format:thesis": thesis,
    "format:sub-bullets": sub_bullets,
    "format:no_bullets_bullets": no_bullets_bullets,
    "format:title_case": title_case,
    "format:output_template": output_template,
    "format:no_whitespace": no_whitespace,
    "repeat:repeat_change": repeat_change,
    "repeat:repeat_simple": repeat_simple,
    "repeat:repeat_span": repeat_span,
    "custom:multiples": multiples,
    "custom:mcq_count_length": mcq_count_length,
    "custom:reverse_newline": reverse_newline,
    "custom:word_reverse": word_reverse,
    "custom:character_reverse": character_reverse,
    "custom:sentence_alphabet": sentence_alphabet,
    "custom:european_capitals_sort": european_capitals_sort,
    "custom:csv_city": csv_city,
    "custom:csv_special_character": csv_special_character,
    "custom:csv_quotes": csv_quotes,
    "custom:date_format_list": date_format_list,
}
"""One line for each."""
