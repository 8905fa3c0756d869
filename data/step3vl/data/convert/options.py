"""Multiple choice: the options of a row into the prompt, and the answer as the letter of one of them."""

import ast
import json
from typing import Any, NamedTuple

from step3vl.data.convert.fields import Fields, excerpt
from step3vl.data.sample.truth import OptionTruth

OPTIONS = ("options", "choices")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_INSTRUCTION = "Answer with the letter of the correct option."


class Choice(NamedTuple):
    """The options of a question, and the correct one."""

    prompt: str
    """The options, one a line with its letter, and how to answer."""
    letter: str
    """The answer."""
    truth: OptionTruth


def has_options(row: Fields) -> bool:
    """Whether a row is a question with options: in a list, or in columns A, B, ..."""
    return any(name in row and row.peek(name) not in ("[]", []) for name in OPTIONS) or ("A" in row and "B" in row)


def read_choice(row: Fields, answer: Any) -> Choice:
    """The options of a row and the one that `answer` names: by its letter, its text, or its index from 0.

    Raises:
        ValueError: The answer names no option, or may name more than one of them.
    """
    options = _options(row)
    index = _index(answer, options)
    lines = [f"{letter}. {option}" for letter, option in zip(_LETTERS, options, strict=False)]
    return Choice(
        prompt="\n".join([*lines, _INSTRUCTION]),
        letter=_LETTERS[index],
        truth=OptionTruth(option=lines[index], options=tuple(lines)),
    )


def _options(row: Fields) -> list[str]:
    value = row.get(*OPTIONS)
    if value is None:
        letters = [letter for letter in _LETTERS if letter in row]
        value = [row.get(letter) for letter in letters]
        if letters != list(_LETTERS[: len(letters)]):
            raise ValueError(f"its options are in columns {', '.join(letters)}, and one between them is missing")
    if isinstance(value, dict):
        value = _labelled(value)
    if isinstance(value, str):
        value = _parse(value)
    if not isinstance(value, list) or not 2 <= len(value) <= len(_LETTERS):
        raise ValueError(f"its options are not a list of 2 to {len(_LETTERS)}: {excerpt(repr(value))}")
    return [str(option).strip() for option in value]


def _labelled(options: dict[str, Any]) -> Any:
    """The texts of options that have labels, as in ARC. Raises ValueError when the labels are not A, B, ..."""
    labels, texts = options.get("label"), options.get("text")
    if not isinstance(texts, list) or labels != list(_LETTERS[: len(texts)]):
        raise ValueError(f"its options are labelled otherwise than A, B, C, ...: {excerpt(repr(labels))}")
    return texts


def _parse(text: str) -> Any:
    """A list that is written as JSON or, as MMMU does, as Python."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text


def _index(answer: Any, options: list[str]) -> int:
    if isinstance(answer, bool) or not isinstance(answer, str | int):
        raise ValueError(f"its answer is {type(answer).__name__}, neither a letter, a text nor an index")
    if isinstance(answer, int):
        candidates = {answer}
    else:
        word = answer.strip()
        candidates = {number for number, option in enumerate(options) if option == word}
        bare = word.strip("().:")
        if len(bare) == 1 and bare in _LETTERS:
            candidates.add(_LETTERS.index(bare))
        elif word.isascii() and word.isdecimal():
            candidates.add(int(word))
    candidates = {number for number in candidates if 0 <= number < len(options)}
    if len(candidates) != 1:
        many = "may name more than one" if candidates else "names none"
        raise ValueError(f"its answer {excerpt(repr(answer))} {many} of its options {excerpt(repr(options))}")
    return candidates.pop()
