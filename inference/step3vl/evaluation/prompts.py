r"""The prompts of the paper's evaluation, by family (appendix C.1), and how images are placed in them.

The appendix gives one instruction for most benchmarks and lists which of them share it; the wording here follows its
description. A benchmark of the family `official` brings the prompt of its own authors, and `bare` asks the question
alone. Images precede the question, unless the benchmark's own text says where they belong.
"""

import re
from collections.abc import Sequence

from step3vl.data.errors import UserError
from step3vl.data.sample import Message, Part
from step3vl.data.sample import image as image_part
from step3vl.data.sample import text as text_part

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

FAMILIES = {
    "bare": "",
    "official": "",
    "final-option": (
        "Answer the question. Your response must end with the line "
        "'Final answer: [the correct option]', where the option is given by its letter only."
    ),
    "select-option": (
        "Select the correct answer. Your response must end with the line "
        "'Final answer: [the correct option]', where the option is given by its letter only."
    ),
    "final-number": (
        "Answer the question. Your response must end with the line 'Final answer: [number]', "
        "where the number is given in digits only."
    ),
    "final-answer": "Answer the question. Your response must end with the line 'Final answer: [the correct answer]'.",
    "final-option-chinese": "请回答问题。回答的最后一行必须是“Final answer: [正确选项]”，其中选项只写字母。",
    "boxed": r"Put your final answer in \boxed{}.",
    "boxed-decimals": r"Put your final answer in \boxed{}, as a floating-point number with three decimals.",
    "boxed-letter": (
        "Solve the complex visual logical reasoning problem through step-by-step reasoning. "
        r"Reason about the process first, and answer the question following this format: Answer: \boxed{$LETTER}"
    ),
    "boxed-steps": (
        'Answer with the option\'s letter from the given choices and put the letter in one "\\boxed{}".\n'
        "Please solve the problem step by step."
    ),
    "boxed-letter-or-yes-no": r"Put your final answer, the letter of the correct option or YES or NO, in \boxed{}.",
    "letter-directly": "Answer with the option's letter from the given choices directly.",
}
"""The instruction of each family, which follows the question."""


def ask(family: str, question: str) -> str:
    """A question with the instruction of its family.

    Raises:
        UserError: there is no such family.
    """
    if family not in FAMILIES:
        raise UserError(f"no prompt family '{family}'; there are {', '.join(FAMILIES)}")
    return f"{question.strip()}\n{FAMILIES[family]}".strip()


def options_text(options: Sequence[str], style: str = "{letter}. {option}") -> str:
    """Options as lines with their letters: `A. a cat`."""
    return "\n".join(
        style.format(letter=letter, option=option) for letter, option in zip(LETTERS, options, strict=False)
    )


def user_message(text: str, images: int = 0, *, images_last: bool = False) -> Message:
    """A question with its images, which precede it (or follow it, as MathVision's do).

    Args:
        text: The question with its instruction.
        images: How many images the item has.
        images_last: Whether the question comes first.
    """
    image_parts: list[Part] = [image_part(index) for index in range(images)]
    content = [text_part(text), *image_parts] if images_last else [*image_parts, text_part(text)]
    return Message(role="user", content=tuple(content))


def system_message(text: str) -> Message:
    """An instruction that stands above the question."""
    return Message(role="system", content=(text_part(text),))


_MARKER = re.compile(r"<image\s?_?(\d{0,2})>")


def interleaved_message(text: str, images: int) -> Message:
    """A question whose text says where its images belong, by `<image>`, `<image 1>`, `<image1>` or `<image_1>`.

    Numbered marks name an image, counted from 1; `<image>` is the next. Images that no mark names precede the
    question, and a mark without an image stays text.
    """
    pieces: list[str | int] = []
    end = following = 0
    for match in _MARKER.finditer(text):
        index = int(match[1]) - 1 if match[1] else following
        if not 0 <= index < images:
            continue
        following = index + 1
        pieces += [text[end : match.start()].strip(), index]
        end = match.end()
    pieces.append(text[end:].strip())
    named = {piece for piece in pieces if isinstance(piece, int)}
    unnamed: list[str | int] = [index for index in range(images) if index not in named]
    content: list[Part] = [
        image_part(piece) if isinstance(piece, int) else text_part(piece)
        for piece in unnamed + pieces
        if isinstance(piece, int) or piece
    ]
    return Message(role="user", content=tuple(content))
