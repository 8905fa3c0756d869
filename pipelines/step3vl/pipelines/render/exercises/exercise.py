"""A problem with a figure: what is given and asked, worked steps, the answer, and how the figure proves the answer.

A family is a function that fills a `Draft`. It states what is given either in the figure or in words, so that both are
needed; it computes the answer exactly and gives a measurement of the figure that must agree with it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import sympy

from step3vl.pipelines.core.phrasings import Language, paragraph
from step3vl.pipelines.render.exercises.exercise_values import Value, fallback_values, same_value, show, to_number
from step3vl.pipelines.render.exercises.sketch import XY, Sketch
from step3vl.pipelines.render.exercises.sketch_svg import Reading

Subject = Literal["geometry", "functions", "statistics", "physics", "chemistry"]
Measure = Callable[[Reading], float]

_TOLERANCE = 0.004  # of the answer, between it and what the figure measures


class Unsuited(Exception):
    """Raised by a family for random values that make no good exercise; others are taken."""


@dataclass(frozen=True)
class Exercise:
    """A problem.

    Attributes:
        grade: School year in which it is taught: 1-12, 13 and above for university.
        sketch: The figure.
        question: What is given in words, and what is asked.
        caption: Sentences that say what the figure shows.
        steps: How the answer is found, a line each.
        answer: A value, or one of `choices`.
        unit: Of the answer; empty without one.
        digits: Decimals that the answer is rounded to; None for an exact one.
        wrong: Values or words that typical errors lead to.
        choices: All words that may be the answer, for an answer that is a word.
        measure: What the figure says the answer is; None for an answer that is a word, which `confirm` proves.
        confirm: Whether the figure agrees with the answer, for what no single measurement tells.
        tolerance: Between the answer and the measurement, relative to the greater of 1 and the answer.
        distorted_sketch: A figure that is not to scale, shown in place of `sketch`.
    """

    grade: int
    sketch: Sketch
    question: str
    caption: tuple[str, ...]
    steps: tuple[str, ...]
    answer: Value
    unit: str
    digits: int | None
    wrong: tuple[Value, ...]
    choices: tuple[str, ...]
    measure: Measure | None
    confirm: Callable[[Reading], bool] | None
    tolerance: float
    language: Language
    distorted_sketch: Sketch | None = None


def say(language: Language, rng: random.Random, en: str | Sequence[str], zh: str | Sequence[str]) -> str:
    """One of several phrasings in a language."""
    texts = en if language == "en" else zh
    return texts if isinstance(texts, str) else rng.choice(list(texts))


_SETTINGS_EN = (
    "The figure shows {x}.", "Consider {x} in the figure.", "Look at {x} in the figure.", "In the image you see {x}.",
    "The diagram shows {x}.", "Now look at {x}.", "The illustration shows {x}.", "You are given {x} as in the figure.",
    "The sketch shows {x}.", "The image shows {x}.", "Study {x} in the diagram.", "See the figure of {x}.",
)  # fmt: skip
_SETTINGS_ZH = (
    "图中是{x}。", "如图，有{x}。", "观察图中的{x}。", "如图所示为{x}。", "下图给出了{x}。", "请看图中的{x}。",
    "图示为{x}。", "已知{x}如图所示。", "看图：{x}。", "题图画出了{x}。",
)  # fmt: skip
_FACTS_EN = (
    "{facts}.", "Given: {facts}.", "It is given that {facts}.", "Suppose that {facts}.", "You know that {facts}.",
    "We know that {facts}.", "Here, {facts}.", "Assume that {facts}.",
)  # fmt: skip
_FACTS_ZH = ("{facts}。", "已知{facts}。", "其中{facts}。", "设{facts}。", "题中给出{facts}。", "若{facts}。")
_QUESTIONS_EN = (
    "Find {x}.", "What is {x}?", "Determine {x}.", "Calculate {x}.", "Work out {x}.", "Compute {x}.",
    "Can you find {x}?", "Give {x}.", "State {x}.", "Use the figure to find {x}.", "Find out {x}.",
    "Use the diagram to determine {x}.",
)  # fmt: skip
_QUESTIONS_ZH = (
    "求{x}。", "{x}是多少？", "计算{x}。", "试求{x}。", "请求出{x}。", "请计算{x}。", "根据图求{x}。", "{x}等于多少？",
    "请算出{x}。", "确定{x}。",
)  # fmt: skip
_NOT_TO_SCALE = ("(The figure is not to scale.)", "（图未按比例绘制。）")


@dataclass
class Draft:
    """An exercise under construction.

    Attributes:
        rng: What decides everything.
        language: Of all texts.
        covers: Whether the figure can show a text; words in the figure are English where it cannot.
    """

    rng: random.Random
    language: Language
    covers: Callable[[str], bool]
    sketch: Sketch = field(default_factory=Sketch)
    facts: list[str] = field(default_factory=list)
    caption: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    _settings: list[str] = field(default_factory=list)
    _asked: str = ""
    _placing: str = ""

    def __post_init__(self) -> None:
        self._placing = self.rng.choice(("figure", "figure", "figure", "text", "mixed", "both"))

    # Texts.

    def say(self, en: str | Sequence[str], zh: str | Sequence[str]) -> str:
        """One of several phrasings in the exercise's language."""
        return say(self.language, self.rng, en, zh)

    def word(self, en: str, zh: str) -> str:
        """A word of the figure: in the exercise's language where a font has it."""
        return zh if self.language == "zh" and self.covers(zh) else en

    def setting(self, en: str, zh: str) -> None:
        """What the figure shows, as a noun phrase."""
        text = self.say(en, zh)
        self._settings.append(self.say(_SETTINGS_EN, _SETTINGS_ZH).format(x=text))
        self.caption.append(self.say("The figure shows {x}.", "图中是{x}。").format(x=text))

    def sentence(self, en: str | Sequence[str], zh: str | Sequence[str]) -> None:
        """A whole sentence of the problem that is no fact of the figure."""
        self._settings.append(self.say(en, zh))

    def note(self, en: str, zh: str) -> None:
        """A whole sentence of the caption."""
        self.caption.append(self.say(en, zh))

    def fact(self, text: str, label: Callable[[], None] | None = None) -> None:
        """Something given: in the figure (`label` puts it there), in words, or in both.

        Args:
            text: Such as `AB = 5 cm`: a clause without a full stop, of the exercise's language.
            label: Renders it; without one it is stated in words.
        """
        place = self.rng.choice(("figure", "text")) if self._placing == "mixed" else self._placing
        if label is not None and place != "text":
            self.shown_fact(text, label)
        if label is None or place != "figure":
            self.facts.append(text)

    def shown_fact(self, text: str, label: Callable[[], None]) -> None:
        """Something given in the figure alone, such as a right angle's mark."""
        label()
        self.caption.append(self._sentence(text))

    def _sentence(self, clause: str) -> str:
        return clause[:1].upper() + clause[1:] + ("." if self.language == "en" else "。")

    def ask(self, en: str, zh: str) -> None:
        """What is asked for, as a noun phrase."""
        self._asked = self.say(_QUESTIONS_EN, _QUESTIONS_ZH).format(x=self.say(en, zh))

    def ask_sentence(self, en: str | Sequence[str], zh: str | Sequence[str]) -> None:
        """What is asked for, as whole sentences."""
        self._asked = self.say(en, zh)

    def step(self, en: str, zh: str) -> None:
        """A line of the solution."""
        self.steps.append(self.say(en, zh))

    def read(self, en: str, zh: str) -> None:
        """A line of the solution that says what the figure shows; it belongs to the caption, too."""
        text = self.say(en, zh)
        self.steps.append(text)
        self.caption.append(text if text.endswith((".", "。")) else text + ("." if self.language == "en" else "。"))

    def symbols(self, count: int) -> list[str]:
        """Names of vertices, in the order of the alphabet, or as they are usual."""
        start = self.rng.choice([s for s in "ABCDEFGHJKLMPQRSTUVWXYZ" if ord(s) + count <= ord("Z") + 1])
        if self.rng.random() < 0.5:
            start = "A"
        names = [chr(ord(start) + i) for i in range(count)]
        if "O" in names:  # the usual name of a centre, and too much like a zero
            return [chr(ord("A") + i) for i in range(count)]
        return names

    # Figures.

    def turn(self) -> float:
        """Degrees by which the whole figure is turned: mostly none, so that many figures look as in a textbook."""
        return self.rng.choice((0, 0, 0, self.rng.uniform(-25, 25), self.rng.choice((90, 180, -90))))

    def points(self, **at: XY) -> None:
        """Name several points."""
        for name, xy in at.items():
            self.sketch.point(name, xy)

    def given_length(self, start: str, end: str, value: Value, unit: str, noun: str = "") -> None:
        """The length of a segment is given."""
        text = show(value, unit)
        self.fact(self._equals(noun or start + end, text), lambda: self.sketch.side_label(start, end, text))

    def given_angle(self, first: str, vertex: str, second: str, degrees: Value, noun: str = "", arcs: int = 1) -> None:
        """An angle is given in degrees."""
        text = show(degrees, "°")
        self.fact(
            self._equals(noun or f"∠{first}{vertex}{second}", text),
            lambda: self.sketch.angle(first, vertex, second, text, arcs=arcs),
        )

    def _equals(self, noun: str, text: str) -> str:
        if noun.isascii() and " " in noun:
            return f"{noun} is {text}"
        return f"{noun} = {text}" if noun[0] == "∠" or noun.isascii() else f"{noun}为{text}"

    def right_angle(self, first: str, vertex: str, second: str) -> None:
        """A right angle is marked."""
        self.shown_fact(
            f"∠{first}{vertex}{second} = 90°", lambda: self.sketch.angle(first, vertex, second, right=True)
        )

    def ask_angle(self, first: str, vertex: str, second: str, noun: str = "") -> None:
        """Ask for an angle, by its name or by a symbol in the figure."""
        name = noun or f"∠{first}{vertex}{second}"
        if self.rng.random() < 0.45:
            symbol = self.rng.choice(("x", "x", "y", "α", "θ", "?"))
            self.sketch.angle(first, vertex, second, symbol)
            self.ask_marked(symbol)
            return
        if self.rng.random() < 0.5:
            self.sketch.angle(first, vertex, second)
        self.ask(f"the measure of {name}", f"{name}的度数")

    def ask_length(self, start: str, end: str, noun: str = "") -> None:
        """Ask for a length, by its name or by a symbol in the figure."""
        name = noun or start + end
        if self.rng.random() < 0.45:
            symbol = self.rng.choice(("x", "x", "y", "a", "?"))
            self.sketch.side_label(start, end, symbol)
            self.ask_marked(symbol)
            return
        self.ask(f"the length of {name}", f"{name}的长")

    def ask_marked(self, symbol: str) -> None:
        """Ask for what a symbol or a question mark in the figure stands for."""
        if symbol == "?":
            self.ask("the value marked with a question mark", "图中问号处的值")
        else:
            self.ask(f"the value of {symbol}", f"{symbol}的值")

    # The result.

    def exercise(
        self,
        grade: int,
        answer: Value,
        unit: str = "",
        *,
        wrong: Sequence[Value] = (),
        measure: Measure | None = None,
        confirm: Callable[[Reading], bool] | None = None,
        choices: Sequence[str] = (),
        digits: int | None = None,
        tolerance: float = _TOLERANCE,
        loose: bool = False,
    ) -> Exercise:
        """Finish the exercise; `loose` says that its figure may be shown out of scale."""
        distorted_sketch = None
        note = []
        if loose and self.rng.random() < 0.2:
            widening = self.rng.uniform(0.8, 1.25)
            distorted_sketch = self.sketch.mapped(widening, self.rng.uniform(-0.25, 0.25), 0.0, 1 / widening)
            note = [self.say(*_NOT_TO_SCALE)]
        facts = []
        if self.facts:
            joined = _joined(self.facts, self.language)
            template = self.say(_FACTS_EN, _FACTS_ZH)
            if template.startswith("{"):
                joined = joined[:1].upper() + joined[1:]
            facts = [template.format(facts=joined)]
        return Exercise(
            grade=grade,
            sketch=self.sketch,
            question=paragraph(self.language, *self._settings, *facts, self._asked, *note),
            caption=tuple(self.caption),
            steps=tuple(self.steps),
            answer=answer,
            unit=unit,
            digits=digits,
            wrong=plausible(answer, wrong, choices, unit, digits, self.rng),
            choices=tuple(choices),
            measure=measure,
            confirm=confirm,
            tolerance=tolerance,
            language=self.language,
            distorted_sketch=distorted_sketch,
        )


def _joined(items: Sequence[str], language: Language) -> str:
    if language == "zh":
        return "，".join(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


_OPTIONS = 3  # wrong ones


def plausible(
    answer: Value,
    wrong: Sequence[Value],
    choices: Sequence[str],
    unit: str,
    digits: int | None,
    rng: random.Random,
) -> tuple[Value, ...]:
    """The wrong options of a multiple choice: those of typical errors first, then values near the answer.

    No two options are equal, nor written alike.
    """
    candidates: list[Value] = [*wrong]
    rng.shuffle(candidates)
    if choices:
        candidates += list(rng.sample(list(choices), len(choices)))
    elif not isinstance(answer, str):
        candidates += fallback_values(answer, unit, rng)
    options: list[Value] = []
    for candidate in candidates:
        if not isinstance(candidate, str) and not isinstance(answer, str):
            if not sympy.sympify(candidate).is_real or (to_number(candidate) <= 0 < to_number(answer)):
                continue
            if unit == "°" and to_number(candidate) >= 360:
                continue
        if any(same_value(candidate, other, digits) for other in (answer, *options)):
            continue
        options.append(candidate)
        if len(options) == _OPTIONS:
            break
    return tuple(options)
