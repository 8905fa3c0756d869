"""Random texts through every grader: none may raise, or take more than its time.

    python tests/grading/fuzz.py [--strings 100000] [--seed 0] [--factor 2] [--math-every 10]

`factor` times 50 ms of CPU time is what a call may take: the claim holds on an idle machine. Expressions are compared
in worker processes, so that only their deadline counts; as they take milliseconds each, every tenth text is one.
"""

import argparse
import collections
import random
import time
from collections.abc import Iterator

from step3vl.data.sample import (
    Action,
    ActionTruth,
    AnyTruth,
    BoxTruth,
    CellCheck,
    ChecksTruth,
    CountTruth,
    MathTruth,
    NumberTruth,
    OptionTruth,
    OrderCheck,
    PointsTruth,
    PointTruth,
    PresentCheck,
    TextTruth,
    TranscriptTruth,
    Truth,
)
from step3vl.grading import Grade, grade_answer, grade_reply
from step3vl.grading.expression import unmarked_expression
from step3vl.grading.math import MAX_EXPRESSION
from step3vl.grading.verdicts import VERDICTS

CPU_SECONDS = 0.05
LONG = 2**16

SQUARE = (100, 100, 200, 200)
TRUTHS: dict[str, Truth] = {
    "text": TextTruth(text="Café K7"),
    "transcript": TranscriptTruth(text="Die Straße, 中文 and text. " * 400),
    "number": NumberTruth(value=12, relative_tolerance=0.05),
    "count": CountTruth(count=3),
    "labels": OptionTruth(option="B", options=("A", "B", "C", "D")),
    "labelled options": OptionTruth(option="B. a cat", options=("A. dog", "B. a cat", "C. top left")),
    "options": OptionTruth(option="top left", options=("top left", "left", "top right", "红色")),
    "point": PointTruth(boxes=(SQUARE, (0, 0, 0, 0))),
    "points": PointsTruth(boxes=(SQUARE, (0, 0, 0, 0)) * 20),
    "boxes": BoxTruth(boxes=(SQUARE, (0, 0, 0, 0)) * 20, labels=("cat", "狗") * 20),
    "action": ActionTruth(action=Action(action="click", point_2d=(150, 150)), boxes=(SQUARE,)),
    "checks": ChecksTruth(
        checks=(
            PresentCheck(text="a cat"),
            OrderCheck(first="dog", second="cat"),
            *(CellCheck(cell=f"{number}", left="1", below="2") for number in range(8)),
        )
    ),
    "any": AnyTruth(truths=(TextTruth(text="two"), CountTruth(count=2), PointTruth(boxes=(SQUARE,)))),
}
MATH = MathTruth(expression=r"\frac{1}{2}")

FRAGMENTS = [
    *"0123456789.,-+/^*_=%$()[]{}<>|\\\"'`#: \n\t", "  ", "1,000", "1 000", "1e3", "10^3", "10³", "１２", "½",
    "12万", "千克", "1/2", "1 1/2", r"\frac{3}{4}", r"\frac", r"\boxed{", r"\boxed{7}", "}", r"\text{",
    r"\times", r"\sqrt{3}", r"\left(", r"\{", "(1, 2]", " and ",
    "answer is ", "Answer: ", "**Answer:**", "答案是", "选", "选项", "A", "B", "(B)", "B.", "A or B",
    "a ", "dog", "a cat", "top-left", "top left", "红色", "not ", "because ", "cm^2", "<answer>", "</answer>",
    "<|begin_of_box|>", "<|end_of_box|>", "<think>", "</think>", '{"point_2d": [', '{"bbox_2d": [1, 2, 3, 4]}',
    '{"point_2d": [150, 150]}', '{"action":', '{"answer": ', '{"action": "click", "point_2d": [512.4, 1]}',
    '"label": "cat"', "[[", "{{", '{"', '\\"', "]}", "NaN", "1e999", "true", "é", "e\u0301", "\u0300\u0316",
    "\ufdfa", "ﬁ", "ß", "İ", "\ud800", "\x00", "\u200b", "\U0001f600", "的", "か", "٣", "²", "⁻", "–", "\u202f",
]  # fmt: skip

ADVERSARIAL = {
    "1/333…": "1/" + "3" * 309,
    "JSON integer of 5,000 digits": f'{{"point_2d": [{"9" * 5000}, 1]}}',
    "60k digits": "9" * 60_000,
    "60k digits over 60k digits": "9" * 30_000 + "/" + "9" * 30_000,
    "brackets": "[" * LONG,
    "braces": "{" * LONG,
    "pairs of braces": "{}" * (LONG // 2),
    "nested objects": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "broken nested objects": '{"aaaaaaaaa":' * 4000 + "}" * 4000,
    "quotation marks": '"' * LONG,
    "open strings": '{"' + '{\\"' * 21_000,
    "escaped quotation marks": '"' + '\\"' * 32_000,
    "4,000 boxes": '{"bbox_2d":[1,2,3,4]}' * 4000,
    "3,000 labelled boxes": '{"bbox_2d":[1,2,3,4],"label":"\ufdfa"}' * 1900,
    "points": '{"point_2d":[1,2]}' * 3600,
    "actions": '{"action":"wait"}' * 3800,
    "actions that are none": '{"action":"click"}' * 3600,
    "staircase of boxes": "".join(f'{{"bbox_2d":[{n},{n},{1000 - n},{1000 - n}]}}' for n in range(500)) * 5,
    "boxed": r"\boxed{" * 9000,
    "boxed in boxed": r"\boxed{" * 9000 + "}" * 9000,
    "answer is": "answer is " * 6500,
    "answer and spaces": "answer" + " *" * 32_000,
    "答案": "答案" * 32_000,
    "answer tags": "<answer>" * 8000,
    "labels": "A " * 32_000,
    "labels in brackets": "(A)" * 21_000,
    "labels and commas": "A," * 32_000,
    "选A": "选A" * 32_000,
    "options": "top-left " * 7000,
    "hyphens": "a-" * 32_000,
    "spaces": " " * LONG,
    "a number and spaces": "1" + " " * LONG,
    "groups of digits": "123 " * 16_000,
    "fractions": "1 1/2 " * 10_000,
    "LaTeX fractions": r"\frac{1}{2}" * 5900,
    "LaTeX texts": r"\text{" * 10_000,
    "open brackets of LaTeX": r"\left(x, " * 8000,
    "conjunctions": "1 and a or " * 6000,
    "½": "½" * LONG,
    "superscripts": "²" * LONG,
    "12万": "12万" * 21_000,
    "text that NFKC makes eighteen times as long": "\ufdfa" * LONG,
    "combining marks": "a" + "\u0300\u0316" * 32_000,
    "text of another script": "中文字" * 21_000,
    "random text": "".join(random.Random(0).choices("abcdefgh ", k=LONG)),
    "NUL": "\x00" * LONG,
    "surrogates": "\ud800" * LONG,
    "longer than any limit": "answer is 1/3 {A} " * 60_000,
}


def strings(count: int, seed: int) -> Iterator[str]:
    """Texts of fragments and of random characters; a few of them are as long as is graded."""
    rng = random.Random(seed)
    for _ in range(count):
        fragments = rng.choices(FRAGMENTS, k=rng.choice((1, 3, 8, 20, 60)))
        if rng.random() < 0.2:
            fragments += [chr(rng.randrange(0x110000)) for _ in range(rng.randrange(30))]
        text = "".join(fragments)
        repeats = rng.randrange(1, LONG // max(len(text), 1) + 2) if rng.random() < 0.01 else 1
        yield text * repeats


def check(grade: Grade) -> None:
    """Raise AssertionError for a grade that no grader may give."""
    assert grade.verdict in VERDICTS and grade.verdict != "error", grade
    assert 0.0 <= grade.value <= 1.0, grade
    assert (grade.verdict == "correct") <= (grade.value > 0), grade
    assert grade.value == 0 or grade.verdict in ("correct", "wrong"), grade


def slowest_call(text: str) -> tuple[float, str]:
    """Grade a text by every kind, and read it for an expression; the CPU seconds of the slowest and its name."""
    slowest = 0.0, ""
    for name, truth in TRUTHS.items():
        began = time.thread_time()
        grade = grade_answer(truth, text)
        slowest = max(slowest, (time.thread_time() - began, name))
        check(grade)
    grade_reply(TRUTHS["number"], text, "stop")
    began = time.thread_time()
    unmarked_expression(text[-MAX_EXPRESSION:])
    return max(slowest, (time.thread_time() - began, "unmarked expression"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Random texts through every grader.")
    parser.add_argument("--strings", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--factor", type=float, default=2.0, help="times 50 ms of CPU time are allowed")
    parser.add_argument("--math-every", type=int, default=10, help="every how many texts one is an expression too")
    arguments = parser.parse_args()
    slow: list[tuple[float, str, str]] = []
    verdicts: collections.Counter[str] = collections.Counter()
    worst = 0.0
    slowest_call('{"bbox_2d": [1, 2, 3, 4]}')  # imports are no part of a call
    texts = [*ADVERSARIAL.values(), *strings(arguments.strings, arguments.seed)]
    for number, text in enumerate(texts):
        seconds, name = slowest_call(text)
        worst = max(worst, seconds)
        if seconds > arguments.factor * CPU_SECONDS:
            slow.append((seconds, name, text[:60]))
        if number % arguments.math_every == 0:
            grade = grade_answer(MATH, text)
            check(grade)
            verdicts[grade.verdict] += 1
        if number % 5000 == 0:
            print(f"{number:,} of {len(texts):,}; slowest call {worst * 1000:.0f} ms", flush=True)
    print(
        f"{len(texts):,} texts, {len(TRUTHS) + 1} graders; slowest call {worst * 1000:.0f} ms; maths: {dict(verdicts)}"
    )
    for seconds, name, text in slow:
        print(f"{seconds * 1000:.0f} ms: {name}: {text!r}")
    if slow:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
