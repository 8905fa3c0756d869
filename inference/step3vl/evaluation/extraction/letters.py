"""Which option of a multiple-choice question a response names: our rule, and those of official scorers, by name.

`read_option` is the strict rule, which guesses nothing. The other readers do what an official scorer does on the same
text, its random choices excepted: where it picks an option at random, they read none.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from step3vl.evaluation.prompts import LETTERS
from step3vl.grading import marked_answer
from step3vl.grading.extraction import phrased_answer
from step3vl.grading.option import chosen_option


class Reading(NamedTuple):
    """What was read.

    Args:
        letter: The option's letter; None where none was read.
        trace: What decided, in a few words.
    """

    letter: str | None
    trace: str


def read_option(response: str, options: Sequence[str]) -> Reading:
    """The strict rule: the one option that a response names, as rewards and filters read it.

    As all readers here, it takes a response and the texts of the options, which are empty where they are not known.

    What the response marks as final counts first, then what follows a phrase such as "Final answer:", then a letter
    or the text of an option in the whole response. None where no option, or more than one, is named.
    """
    labelled = tuple(f"{letter}. {option}".strip() for letter, option in zip(LETTERS, options, strict=False))
    index = chosen_option(labelled, response)
    if index is None:
        return Reading(None, "no option, or several")
    return Reading(LETTERS[index], _place(response, labelled, index))


def read_yes_no(response: str) -> Reading:
    """The strict rule for yes or no: the one that the response names; else its first word. The letter is Y or N.

    A first word that the last one contradicts ("Yes or no?", "No doubt: yes.") is none.
    """
    index = chosen_option(("Yes", "No"), response)
    if index is not None:
        return Reading("YN"[index], _place(response, ("Yes", "No"), index))
    first, last = _LEADING_YES_NO.match(response), _FINAL_YES_NO.search(response[-_FINAL_CHARS:])
    if first and not (last and last[1].lower() != first[1].lower()):
        return Reading(first[1][0].upper(), "first word")
    return Reading(None, "neither yes nor no, or both")


_LEADING_YES_NO = re.compile(r"[\s*_`\"'“(]{0,8}(yes|no)\b", re.IGNORECASE)
_FINAL_YES_NO = re.compile(r"\b(yes|no)[\s*_`\"'”).!?]{0,8}\Z", re.IGNORECASE)
_FINAL_CHARS = 16


def _place(response: str, options: tuple[str, ...], index: int) -> str:
    """Where the option is named, for the trace."""
    places = (("marked as final", marked_answer(response)), ("after an answer phrase", phrased_answer(response)))
    for place, text in places:
        if text is not None and chosen_option(options, text) == index:
            return place
    return "in the whole response"


class _Pattern(NamedTuple):
    """How an option's letter may stand in a response, and by what its last place is then told."""

    forms: tuple[str, ...]
    last: tuple[str, ...]


_BRACKETS = _Pattern(("({})",), ("({})",))
_BLANKS = _Pattern((" {} ",), (" {} ",))
_MMMU = (_BRACKETS, _BLANKS)
# "X " and "X." count as well, but their last place is looked for with blanks around; where there is none, the first
# candidate wins.
_MMMU_PRO = (_BRACKETS, _Pattern(("{} ",), (" {} ",)), _Pattern(("{}.",), (" {} ",)))
_M3GIA = (_BRACKETS, _Pattern(("{})", "{}.", "{}:"), ("{})", "{}.", "{}:")), _BLANKS)


def read_mmmu(response: str, options: Sequence[str]) -> Reading:
    """MMMU's `parse_multi_choice_response` (utils/eval_utils.py, also that of MMMU's descendants)."""
    return _last_named(response, options, _MMMU)


def read_mmmu_pro(response: str, options: Sequence[str]) -> Reading:
    """MMMU-Pro's evaluate.py: a letter that is alone in what follows the last "Answer:", else much as MMMU."""
    _, answer, tail = response.rpartition("Answer:")
    letters = [letter for letter in LETTERS[: len(options)] if letter in tail] if answer else []
    if len(letters) == 1:
        return Reading(letters[0], "after 'Answer:'")
    return _last_named(response, options, _MMMU_PRO)


def read_m3gia(response: str, options: Sequence[str]) -> Reading:
    """M3GIA's utils/eval_utils.py: MMMU's rule, with `X)`, `X.` and `X:` as well."""
    return _last_named(response, options, _M3GIA)


def _last_named(response: str, options: Sequence[str], patterns: Sequence[_Pattern]) -> Reading:
    for mark in ",.!?;:'":
        response = response.strip(mark)
    response = f" {response} "
    letters = LETTERS[: len(options)]
    for forms, last in patterns:
        named = list(dict.fromkeys(letter for form in forms for letter in letters if form.format(letter) in response))
        if named:
            places = [response.rfind(form.format(letter)) for form in last for letter in named]
            index = places.index(max(places))
            return Reading(named[min(index, len(named) - 1)], f"the last of '{forms[0].format('X')}'")
    if len(response.split()) > 5:
        response = response.lower()
        places = [response.rfind(option.lower()) for option in options]
        if places and max(places) >= 0:
            return Reading(letters[places.index(max(places))], "the last option's text")
    return Reading(None, "the official code picks at random")


_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_SEPARATORS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_VERBOSE_ANSWER = re.compile(r"answer\s+is\s+\**([ABCD])", re.IGNORECASE)
_FAILURE = "Failed to obtain answer via API"


def read_vlmevalkit(response: str, options: Sequence[str]) -> Reading:
    """VLMEvalKit's `can_infer` as it was until July 2025, without the judge that it asks next."""
    return _letter(response, options) or _text(response, options) or _UNDECIDED


def read_vlmevalkit_2026(response: str, options: Sequence[str]) -> Reading:
    """VLMEvalKit's `can_infer` of August 2026, without the judge that it asks next.

    The letter must be one of the last four words, and an option's text counts in short responses only; a response
    that begins with its letter therefore goes to the judge.
    """
    reading = _letter(response, options, last=4)
    match = _VERBOSE_ANSWER.search(response) if reading is None and _FAILURE not in response else None
    if match and match[1].upper() in LETTERS[: len(options)]:
        return Reading(match[1].upper(), "after 'answer is'")
    if reading is None and len(response) <= 2 * sum(map(len, options)):
        reading = _text(response, options)
    return reading or _UNDECIDED


_UNDECIDED = Reading(None, "the official code asks a judge")


def _letter(response: str, options: Sequence[str], last: int | None = None) -> Reading | None:
    """The only letter among the words, or among the last ones."""
    if _FAILURE in response:
        return None
    if any(refusal in response for refusal in _REFUSALS):
        return Reading("Z", "refused")
    words = response.translate(_SEPARATORS).split()
    places = {word: place for place, word in reversed(list(enumerate(words))) if len(word) == 1}
    named = [letter for letter in LETTERS[: len(options)] if letter in places]
    if not named and "Z" in places:
        return Reading("Z", "none of the options")
    if len(named) == 1 and (last is None or places[named[0]] >= len(words) - last):
        return Reading(named[0], "the only letter among the words")
    return None


def _text(response: str, options: Sequence[str]) -> Reading | None:
    """The only option whose text is contained."""
    response = response.lower()
    named = [letter for letter, option in zip(LETTERS, options, strict=False) if option.lower() in response]
    return Reading(named[0], "the only option's text") if len(named) == 1 else None
