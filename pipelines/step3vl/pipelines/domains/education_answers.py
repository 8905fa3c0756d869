"""How problems are put and answered: instructions, options, worked steps, and the truth that grades an answer.

The instruction says what is expected, so a reply that is only a label and one with every step follow from different
questions.
"""

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from step3vl.data.sample import MathTruth, NumberTruth, OptionTruth, TextTruth, Truth
from step3vl.grading import grade_answer
from step3vl.grading.math import compare
from step3vl.pipelines.core.phrasings import Language, paragraph
from step3vl.pipelines.render.exercises.exercise import Exercise, say
from step3vl.pipelines.render.exercises.exercise_values import (
    Value,
    is_decimal,
    latex,
    rounded,
    show,
    to_expr,
    to_number,
)

Form = Literal["free", "choice"]

_LABELS = "ABCDEFGH"

_STEPS_EN = (
    "Show your working.", "Explain step by step.", "Give your reasoning, then the answer.",
    "Work it out step by step.",
    "Write down each step.", "Show how you get the answer.", "Solve it step by step.", "Justify your answer.",
    "Give a full solution.", "Include the steps of your solution.", "Explain how you found it.",
    "Present the solution with its steps.", "Walk through the solution.", "Reason first, then state the result.",
)  # fmt: skip
_STEPS_ZH = (
    "请写出解题过程。", "请给出详细步骤。", "写出推理过程和答案。", "请逐步解答。", "请说明理由。", "请给出完整解答。",
    "要求写出步骤。", "请一步一步地求解。", "先推理，再作答。", "请展示计算过程。", "解答时请写明每一步。",
    "请解释你的做法。",
)  # fmt: skip
_SHORT_EN = (
    "Give only the final answer.", "Answer with the result only.", "State just the answer.", "No working is needed.",
    "A short answer is enough.", "Reply with the answer alone.", "Only the result, please.", "Answer briefly.",
    "Just the final result.", "Write only the answer.", "Give the result without explanation.", "",
    "The answer alone will do.", "Keep it to the answer.",
)  # fmt: skip
_SHORT_ZH = (
    "只写答案。", "请直接给出结果。", "无需过程，直接作答。", "只需给出最终答案。", "直接写出答案即可。",
    "请只回答结果。",
    "不用写步骤。", "请简短作答。", "仅给出答案。", "", "直接回答。", "答案即可。",
)  # fmt: skip
_LABEL_EN = (
    "Answer with the label of the correct option.", "Choose the correct option and give its label.",
    "Reply with the option's label only.", "Which option is correct? Give the label.",
    "Select one option by its label.",
    "Pick the right option; answer with its label.", "Only the label, please.", "Give the label of your choice.",
    "State the label of the right answer.", "Respond with one label.",
)  # fmt: skip
_LABEL_ZH = (
    "请选出正确选项，只回答字母。", "选择正确答案的字母。", "请直接回答选项字母。", "哪个选项正确？请给出字母。",
    "单选题，只写选项字母。",
    "从选项中选出正确的一项，只写字母。", "请给出正确选项的字母。", "只需写出选项。", "选出正确的一项。",
)  # fmt: skip
_CHOICE_STEPS_EN = (
    "Choose the correct option and explain.", "Which option is correct? Show your working.",
    "Pick one option and justify it.",
    "Solve it step by step, then choose an option.", "Select the right option and give the reasons.",
    "Work out the answer and choose the matching option.", "Reason step by step, then give the label.",
)  # fmt: skip
_CHOICE_STEPS_ZH = (
    "请选出正确选项并说明理由。", "写出过程，再选出答案。", "请逐步推理后作出选择。",
    "选择正确的一项，并写出解题步骤。",
    "先计算，再选择。", "请给出解析和选项。", "请分析后选出正确答案。",
)  # fmt: skip
_FINAL_EN = (
    "Answer: {x}",
    "The answer is {x}.",
    "So the answer is {x}.",
    "Final answer: {x}",
    "Therefore, the answer is {x}.",
)
_FINAL_ZH = ("答案：{x}", "答案是{x}。", "所以答案是{x}。", "故答案为{x}。", "因此，答案为{x}。")
_ROUND_EN = {
    0: "Round to the nearest whole number.",
    1: "Round to one decimal place.",
    2: "Round to two decimal places.",
}
_ROUND_ZH = {0: "结果取整数。", 1: "结果保留一位小数。", 2: "结果保留两位小数。"}
_OPTION_STYLES = ("{label}. {text}", "{label}. {text}", "({label}) {text}", "{label}) {text}")


class Posed(NamedTuple):
    """A question and its answer in words, with what grades it."""

    question: str
    answer: str
    truth: Truth


_SEVERAL_EN = (
    "Several options may be correct; give their labels.",
    "Choose all that apply; answer with their labels.",
    "Select every correct option.",
)
_SEVERAL_ZH = ("多选题，请写出所有正确选项的字母。", "可能有多个正确选项，请全部选出。", "请选出所有正确的选项。")


def instruction(form: Form, with_steps: bool, language: Language, rng: random.Random, several: bool = False) -> str:
    """What is expected of an answer: a label, several, a result, or a solution."""
    if several:
        return say(language, rng, _SEVERAL_EN, _SEVERAL_ZH)
    if form == "choice":
        return say(language, rng, *((_CHOICE_STEPS_EN, _CHOICE_STEPS_ZH) if with_steps else (_LABEL_EN, _LABEL_ZH)))
    return say(language, rng, *((_STEPS_EN, _STEPS_ZH) if with_steps else (_SHORT_EN, _SHORT_ZH)))


def statement(exercise: Exercise) -> str:
    """The problem with the rounding that its answer has."""
    if exercise.digits is None:
        return exercise.question
    rounding = (_ROUND_EN if exercise.language == "en" else _ROUND_ZH)[exercise.digits]
    return paragraph(exercise.language, exercise.question, rounding)


def pose(exercise: Exercise, form: Form, with_steps: bool, rng: random.Random) -> Posed:
    """Put an exercise as a question, and answer it.

    Args:
        exercise: A proven one.
        form: With options, or free.
        with_steps: Whether the answer shows its steps.
        rng: Random numbers.

    Raises:
        ValueError: The truth does not accept the answer, or accepts a wrong one.
    """
    language = exercise.language
    question = statement(exercise)
    if form == "choice":
        options, correct = shuffled_options(exercise, rng)
        truth: Truth = OptionTruth(option=options[correct], options=tuple(options))
        lines = [
            paragraph(language, question, instruction(form, with_steps, language, rng)),
            *styled_options(options, rng),
        ]
        plain = _LABELS[correct] if rng.random() < 0.6 or with_steps else options[correct]
        result = Posed("\n".join(lines), answer_text(exercise, plain, with_steps, rng), truth)
        wrong = [_LABELS[i] for i in range(len(options)) if i != correct]
    else:
        result = Posed(
            paragraph(language, question, instruction(form, with_steps, language, rng)),
            answer_text(exercise, final_text(exercise), with_steps, rng),
            truth_of(exercise),
        )
        wrong = [
            show(value, "", exercise.digits)
            for value in exercise.wrong
            if isinstance(value, str) or exercise.digits is not None or is_plain(value)
        ]
    check_grades(result, wrong)
    return result


def shuffled_options(exercise: Exercise, rng: random.Random) -> tuple[list[str], int]:
    """The options of a multiple choice with their labels, and the index of the correct one."""
    values: list[Value] = [exercise.answer, *exercise.wrong]
    order = list(range(len(values)))
    rng.shuffle(order)
    texts = [show(values[i], exercise.unit, exercise.digits) for i in order]
    return [f"{label}. {text}" for label, text in zip(_LABELS, texts, strict=False)], order.index(0)


def styled_options(options: Sequence[str], rng: random.Random) -> list[str]:
    """Options, `A. 5 cm`, in one of the usual notations."""
    style = rng.choice(_OPTION_STYLES)
    return [style.format(label=option[0], text=option[3:]) for option in options]


def final_text(exercise: Exercise) -> str:
    """The answer in its free form: plain where it is a decimal, a word or rounded, else in LaTeX."""
    if isinstance(exercise.answer, str) or exercise.digits is not None or is_plain(exercise.answer):
        return show(exercise.answer, exercise.unit, exercise.digits)
    unit = exercise.unit and (exercise.unit if exercise.unit in ("°", "%") else " " + exercise.unit)
    return f"${latex(exercise.answer)}${unit}"


def is_plain(value: Value) -> bool:
    """Whether a value is written without LaTeX: a decimal or a simple fraction."""
    return is_decimal(value) or bool(to_expr(value).is_Rational)


def answer_text(exercise: Exercise, final: str, with_steps: bool, rng: random.Random) -> str:
    """The answer alone, or after its steps."""
    if not with_steps:
        return final
    sentence = say(exercise.language, rng, _FINAL_EN, _FINAL_ZH).format(x=final)
    return "\n".join([*exercise.steps, sentence])


def truth_of(exercise: Exercise) -> Truth:
    """What grades a free answer."""
    answer = exercise.answer
    if isinstance(answer, str):
        if exercise.choices:
            return OptionTruth(option=answer, options=exercise.choices)
        return TextTruth(text=answer)
    if exercise.digits is not None:
        return NumberTruth(value=float(rounded(answer, exercise.digits)), tolerance=0.51 * 10.0**-exercise.digits)
    if is_plain(answer):
        return NumberTruth(value=to_number(answer))
    return MathTruth(expression=latex(answer))


def check_grades(posed: Posed, wrong: Sequence[str]) -> None:
    """Grade the answer and wrong ones as a trainer would.

    Raises:
        ValueError: The truth does not accept the answer, or accepts a wrong one.
    """
    if isinstance(posed.truth, MathTruth):
        # In this process: the expressions are short ones of ours, and need no deadline.
        verdict = compare(posed.truth.expression, posed.answer)
    else:
        verdict = grade_answer(posed.truth, posed.answer).verdict
        for text in wrong:
            if grade_answer(posed.truth, text).verdict == "correct":
                raise ValueError(f"the truth accepts {text!r} beside {posed.answer[-80:]!r}")
    if verdict != "correct":
        raise ValueError(f"the truth does not accept its own answer {posed.answer[-80:]!r}: {verdict}")
