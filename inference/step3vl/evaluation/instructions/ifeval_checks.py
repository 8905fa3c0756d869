"""The 25 checks of IFEval (arXiv 2311.07911, section 3), functions of a response and the instruction's arguments.

The names of the arguments are those of the official file. Where the official rule is looser or stricter than the
instruction reads (a constrained answer may have text around it), the check does as the rule.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence

from step3vl.evaluation.instructions.text import compares, language, sentences, tokens, words

Check = Callable[..., bool]

_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_SINGLE_HIGHLIGHT = re.compile(r"\*([^\n*]*)\*")
_DOUBLE_HIGHLIGHT = re.compile(r"\*\*([^\n*]*)\*\*")
_POSTSCRIPTS = {"P.S.": re.compile(r"p\.\s?s\."), "P.P.S": re.compile(r"p\.\s?p\.\s?s")}


def keywords_exist(response: str, *, keywords: Sequence[str]) -> bool:
    """All keywords occur, in any case, also inside words."""
    return all(keyword.casefold() in response.casefold() for keyword in keywords)


def keyword_frequency(response: str, *, keyword: str, frequency: int, relation: str) -> bool:
    """A keyword occurs at least, or less than, so many times, also inside words."""
    return compares(response.casefold().count(keyword.strip().casefold()), relation, frequency)


def forbidden_words(response: str, *, forbidden_words: Sequence[str]) -> bool:
    """None of the words occurs as a word of its own."""
    return not any(re.search(rf"\b{re.escape(word)}\b", response, re.IGNORECASE) for word in forbidden_words)


def letter_frequency(response: str, *, letter: str, let_frequency: int, let_relation: str) -> bool:
    """A letter occurs at least, or less than, so many times, in any case."""
    return compares(response.lower().count(letter.strip().lower()), let_relation, let_frequency)


def response_language(response: str, *, language: str) -> bool:
    """The response is in a language; one that cannot be told counts as followed."""
    return _in_language(response, language)


def number_sentences(response: str, *, num_sentences: int, relation: str) -> bool:
    """There are at least, or less than, so many sentences."""
    return compares(len(sentences(response)), relation, num_sentences)


def number_paragraphs(response: str, *, num_paragraphs: int) -> bool:
    """There are exactly so many paragraphs, divided by `***`; only the first and the last may be empty."""
    paragraphs = [bool(paragraph.strip()) for paragraph in _DIVIDER.split(response)]
    return all(paragraphs[1:-1]) and sum(paragraphs) == num_paragraphs


def number_words(response: str, *, num_words: int, relation: str) -> bool:
    """There are at least, or less than, so many words."""
    return compares(len(words(response)), relation, num_words)


def nth_paragraph_first_word(response: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """There are exactly so many paragraphs, divided by empty lines, and one of them starts with a word."""
    paragraphs = [paragraph.strip() for paragraph in response.split("\n\n")]
    count = sum(bool(paragraph) for paragraph in paragraphs)
    if count != num_paragraphs or nth_paragraph > count or not paragraphs[nth_paragraph - 1]:
        return False
    word = paragraphs[nth_paragraph - 1].split()[0].lstrip("'").lstrip('"')
    return re.split(r"[.,?!'\"]", word, maxsplit=1)[0].lower() == first_word.lower()


def number_placeholders(response: str, *, num_placeholders: int) -> bool:
    """There are at least so many placeholders in square brackets, such as `[address]`."""
    # A bracket pairs with the next closing one in its line; what is between is not searched again.
    count = sum(_count_pairs(line) for line in response.split("\n"))
    return count >= num_placeholders


def postscript(response: str, *, postscript_marker: str) -> bool:
    """There is a postscript with this marker."""
    marker = postscript_marker.strip()
    pattern = _POSTSCRIPTS.get(marker) or re.compile(re.escape(marker.lower()))
    return bool(pattern.search(response.lower()))


def number_bullet_lists(response: str, *, num_bullets: int) -> bool:
    """There are exactly so many bullet points, lines that start with `*` (but not `**`) or `-`."""
    count = 0
    lines = iter(response.split("\n"))
    for line in lines:
        text = line.lstrip()
        if text == "*":  # a lone asterisk takes the next line for its text
            count += next(lines, None) is not None
        else:
            count += text.startswith("-") or (text.startswith("*") and text[1] != "*")
    return count == num_bullets


def constrained_response(response: str) -> bool:
    """One of the three permitted answers occurs."""
    return any(option in response for option in _OPTIONS)


def number_highlighted_sections(response: str, *, num_highlights: int) -> bool:
    """There are at least so many highlights, `*text*` or `**text**` within a line."""
    highlights = _SINGLE_HIGHLIGHT.findall(response) + _DOUBLE_HIGHLIGHT.findall(response)
    return sum(bool(text.strip()) for text in highlights) >= num_highlights


def multiple_sections(response: str, *, section_spliter: str, num_sections: int) -> bool:
    """There are at least so many sections, headed by a word and a number."""
    headings = re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", response)
    return len(headings) >= num_sections


def json_format(response: str) -> bool:
    """All of the response is JSON, maybe in a fenced block."""
    text = response.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(response: str) -> bool:
    """There is a title in double angular brackets, `<<title>>`, within a line."""
    for line in response.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if start >= 0 and start + 2 < end and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


def two_responses(response: str) -> bool:
    """There are two different responses, divided by `******`; empty parts may only stand first and last."""
    parts = [part.strip() for part in response.split("******")]
    texts = [part for part in parts if part]
    return all(parts[1:-1]) and len(texts) == 2 and texts[0] != texts[1]


def repeat_prompt(response: str, *, prompt_to_repeat: str) -> bool:
    """The response starts with the request, word for word, in any case."""
    return response.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(response: str, *, end_phrase: str) -> bool:
    """The response ends with a phrase, in any case, maybe in quotation marks."""
    return response.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def capital_word_frequency(response: str, *, capital_frequency: int, capital_relation: str) -> bool:
    """At least, or less than, so many words are in capital letters."""
    return compares(sum(token.isupper() for token in tokens(response)), capital_relation, capital_frequency)


def english_capital(response: str) -> bool:
    """All letters are capitals, and the language is English."""
    return response.isupper() and _in_language(response, "en")


def english_lowercase(response: str) -> bool:
    """No letter is a capital, and the language is English."""
    return response.islower() and _in_language(response, "en")


def no_comma(response: str) -> bool:
    """There is no comma."""
    return "," not in response


def quotation(response: str) -> bool:
    """All of the response is in double quotation marks."""
    text = response.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def _in_language(response: str, code: str) -> bool:
    detected = language(response)
    return detected is None or detected == code


def _count_pairs(line: str) -> int:
    count = 0
    start = line.find("[")
    while start >= 0:
        end = line.find("]", start)
        if end < 0:
            break
        count += 1
        start = line.find("[", end)
    return count


IFEVAL_CHECKS: Mapping[str, Check] = {
    "keywords:existence": keywords_exist,
    "keywords:frequency": keyword_frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "startend:quotation": quotation,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
}
"""One line for each."""
