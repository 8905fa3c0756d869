"""Questions about one screen, or about what an action did, and what makes their answers verifiable.

Each maker takes what was recorded and gives a question, or None where the screen has nothing that it can ask about.
What it says about an element was measured: a click on its box reaches it, its name fits no other, and what it does was
observed.
"""

import random
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from step3vl.data.sample import (
    Action,
    ActionTruth,
    Box,
    BoxTruth,
    OptionTruth,
    Point,
    PointTruth,
    TextTruth,
    TranscriptTruth,
    Truth,
    format_boxes,
    format_point,
)
from step3vl.pipelines.core.phrasings import Language, paragraph
from step3vl.pipelines.domains.gui_captions import caption
from step3vl.pipelines.domains.gui_instructions import DO, FORMAT
from step3vl.pipelines.domains.gui_phrases import ROLES, can_be_asked, pick_phrase, quote, role_word
from step3vl.pipelines.domains.gui_phrasings import ask
from step3vl.pipelines.gui.effect import describe_effect, meaning
from step3vl.pipelines.gui.field_texts import text_for
from step3vl.pipelines.gui.screen import CONTROL_ROLES, LANDMARKS, Element, Episode, Screen, Step, TextLine, target_of

ScreenTask = Literal[
    "grounding.point", "grounding.box", "grounding.all", "grounding.exists", "knowledge.name", "knowledge.state",
    "knowledge.value", "caption", "ocr.text", "ocr.place", "ocr.region", "action.single",
]  # fmt: skip
StepTask = Literal["knowledge.effect", "knowledge.happened"]

_OPTIONS = 4
_LETTERS = "ABCD"
_MAX_INSTANCES = 12
_MAX_LINES = (2, 24)  # of a region that is read
_MAX_TEXT = 80  # characters of a line that is asked for


class Question(NamedTuple):
    """A question, its answer, and what makes the answer verifiable.

    Attributes:
        question: Its text.
        answer: The right answer.
        truth: None for a description.
        style: How the element is told, for the record.
        role: Of the element, for the record.
    """

    question: str
    answer: str
    truth: Truth | None
    style: str = ""
    role: str = ""


def box_text(box: Box) -> str:
    """A box as questions show it."""
    return f"[{', '.join(map(str, box.milli()))}]"


def options_text(options: Sequence[str]) -> str:
    """Options, one a line, with their letters."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(_LETTERS, options, strict=False))


def choose_among(
    question: str, right: str, wrong: Sequence[str], rng: random.Random, style: str = "", role: str = ""
) -> Question | None:
    """A question with options; None where there are not two different ones that name what they speak of."""
    others = list(dict.fromkeys(text for text in wrong if text != right and quote("") not in text))
    if not others or quote("") in right:
        return None
    options = rng.sample(others, min(_OPTIONS - 1, len(others)))
    options.insert(rng.randint(0, len(options)), right)
    labelled = tuple(f"{letter}. {option}" for letter, option in zip(_LETTERS, options, strict=False))
    truth = OptionTruth(option=labelled[options.index(right)], options=labelled)
    return Question(f"{question}\n{options_text(options)}", labelled[options.index(right)], truth, style, role)


def _askable(screen: Screen) -> list[Element]:
    return [element for element in screen.elements if can_be_asked(screen, element)]


def _pick(elements: Sequence[Element], rng: random.Random) -> Element | None:
    """An element: first a role, so that thirty links do not hide a switch."""
    if not elements:
        return None
    role = rng.choice(sorted({element.role for element in elements}))
    return rng.choice([element for element in elements if element.role == role])


def _point(episode: Episode, screen: Screen, language: Language, rng: random.Random) -> Question | None:
    element = _pick(_askable(screen), rng)
    phrase = element and pick_phrase(screen, element, language, rng)
    if element is None or not phrase:
        return None
    answer = format_point(Point(*element.point, "milli", screen.size))
    truth = PointTruth(boxes=(screen.box_of(element).milli(),))
    return Question(ask("point", language, rng, phrase=phrase.text), answer, truth, phrase.style, element.role)


def _box(episode: Episode, screen: Screen, language: Language, rng: random.Random) -> Question | None:
    element = _pick(_askable(screen), rng)
    phrase = element and pick_phrase(screen, element, language, rng)
    if element is None or not phrase:
        return None
    box = screen.box_of(element)
    truth = BoxTruth(boxes=(box.milli(),))
    return Question(
        ask("box", language, rng, phrase=phrase.text), format_boxes([box]), truth, phrase.style, element.role
    )


def _all(episode: Episode, screen: Screen, language: Language, rng: random.Random) -> Question | None:
    groups: dict[str, list[Element]] = {}
    for element in () if screen.modal else screen.elements:
        if element.role in CONTROL_ROLES:
            groups.setdefault(element.role, []).append(element)
    whole = [
        role
        for role, group in sorted(groups.items())
        if 2 <= len(group) <= _MAX_INSTANCES and role in ROLES and all(can_be_asked(screen, e) for e in group)
    ]
    if not whole:
        return None
    role = rng.choice(whole)
    boxes = [screen.box_of(element) for element in groups[role]]
    plural = ROLES[role][1 if language == "en" else 2]
    truth = BoxTruth(boxes=tuple(box.milli() for box in boxes))
    return Question(ask("all", language, rng, plural=plural), format_boxes(boxes), truth, "all", role)


def _exists(episode: Episode, screen: Screen, language: Language, rng: random.Random) -> Question | None:
    """A name of this screen, or one of another screen that is nowhere on this one, also not hidden."""
    if screen.modal:
        return None
    here = [element for element in _askable(screen) if element.name and len(element.name) <= _MAX_TEXT]
    names = {node.name for node in screen.tree} | {e.text for e in screen.elements}
    elsewhere = [
        element
        for other in episode.screens
        for element in _askable(other)
        if element.name and len(element.name) <= _MAX_TEXT and not any(element.name in name for name in names)
    ]
    is_there = rng.random() < 0.5
    element = _pick(here if is_there else elsewhere, rng)
    if element is None:
        return None
    yes, no = ("yes", "no") if language == "en" else ("是", "否")
    question = ask("exists", language, rng, role=role_word(element.role, language), name=quote(element.name))
    answer = yes if is_there else no
    return Question(question, answer, OptionTruth(option=answer, options=(yes, no)), "name", element.role)


def _name(episode: Episode, screen: Screen, language: Language, rng: random.Random) -> Question | None:
    """What an icon or a field is for: its name among those of other elements of its role on the screen."""
    names = [element for element in _askable(screen) if element.name]
    unlabelled = [e for e in names if e.name not in (e.text, e.hint)]
    element = _pick(unlabelled, rng)
    if element is None:
        return None
    others = [e.name for e in names if e.role == element.role] or [e.name for e in names]
    if len(set(others)) < 2:
        others = [e.name for e in names]
    box = box_text(screen.box_of(element))
    question = ask("name", language, rng, box=box, role=role_word(element.role, language))
    return choose_among(question, element.name, others, rng, "icon" if element.icon else "box", element.role)


def _state(episode: Episode, screen: Screen, language: Language, rng: random.Random) -> Question | None:
    toggles = [e for e in _askable(screen) if {"checked", "not checked"} & set(e.states)]
    element = _pick(toggles, rng)
    phrase = element and pick_phrase(screen, element, language, rng)
    if element is None or not phrase or phrase.style == "state":
        return None
    on, off = ("on", "off") if language == "en" else ("打开", "关闭")
    answer = on if "checked" in element.states else off
    truth = OptionTruth(option=answer, options=(on, off))
    return Question(ask("state", language, rng, phrase=phrase.text), answer, truth, phrase.style, element.role)


def _value(episode: Episode, screen: Screen, language: Language, rng: random.Random) -> Question | None:
    fields = [e for e in _askable(screen) if e.role in ("textbox", "searchbox") and e.value and e.type != "password"]
    element = _pick([e for e in fields if len(e.value) <= _fits(e)], rng)
    phrase = element and pick_phrase(screen, element, language, rng)
    if element is None or not phrase:
        return None
    truth = TextTruth(text=element.value)
    return Question(ask("value", language, rng, phrase=phrase.text), element.value, truth, phrase.style, element.role)


def _fits(field: Element) -> int:
    """Characters that a field surely shows: as if all were as wide as they are high."""
    x1, y1, x2, y2 = field.box
    return int((x2 - x1) / max(1.0, y2 - y1) * 1.6)


def _caption(episode: Episode, screen: Screen, language: Language, rng: random.Random) -> Question | None:
    text = caption(screen, language)
    return Question(ask("caption", language, rng), text, None) if text else None


def _lines(screen: Screen) -> list[TextLine]:
    return [line for line in screen.lines if line.whole and 2 <= len(line.text) <= _MAX_TEXT]


def _text(episode: Episode, screen: Screen, language: Language, rng: random.Random) -> Question | None:
    lines = _lines(screen)
    if not lines:
        return None
    line = rng.choice(lines)
    question = ask("text", language, rng, box=box_text(screen.box_of(line)))
    return Question(question, line.text, TranscriptTruth(text=line.text))


def _place(episode: Episode, screen: Screen, language: Language, rng: random.Random) -> Question | None:
    """The place of a text that stands on the screen once, also not within another text or in a field."""
    everywhere = [line.text for line in screen.lines] + [e.value or e.hint for e in screen.elements]
    single = [
        line
        for line in _lines(screen)
        if sum(line.text in text for text in everywhere) == 1 and not set(line.text) & set("“”")
    ]
    if not single:
        return None
    line = rng.choice(single)
    box = screen.box_of(line)
    question = ask("place", language, rng, name=quote(line.text))
    return Question(question, format_boxes([box]), BoxTruth(boxes=(box.milli(),)))


def _region(episode: Episode, screen: Screen, language: Language, rng: random.Random) -> Question | None:
    """All text of a part of the screen: one that is seen as a whole, and in which no field shows text of its own."""
    fewest, most = _MAX_LINES
    regions = []
    for part in screen.elements:
        if part.role not in LANDMARKS or not part.whole or not part.exact:
            continue
        inside = [e for e in screen.elements if part in screen.ancestors(e)]
        numbers = {e.index for e in inside} | {part.index}
        lines = [line for line in screen.lines if line.element in numbers]
        if any(e.tag in ("input", "textarea", "select", "iframe", "canvas", "img") for e in inside):
            continue
        if fewest <= len(lines) <= most and all(line.whole for line in lines) and _alone(screen, part, numbers):
            regions.append((part, lines))
    if not regions:
        return None
    part, lines = rng.choice(regions)
    text = "\n".join(" ".join(line.text for line in row) for row in _rows(lines))
    question = ask("region", language, rng, box=box_text(screen.box_of(part)))
    return Question(question, text, TranscriptTruth(text=text), role=part.role)


def _alone(screen: Screen, part: Element, numbers: set[int]) -> bool:
    """Whether no text of other elements lies in the box of a part, as that of a popup over it would."""
    x1, y1, x2, y2 = part.box
    return not any(
        line.box[0] < x2 and x1 < line.box[2] and line.box[1] < y2 and y1 < line.box[3]
        for line in screen.lines
        if line.element not in numbers
    )


def _rows(lines: Sequence[TextLine]) -> list[list[TextLine]]:
    """Lines that stand side by side, from top to bottom."""
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda line: (line.box[1] + line.box[3], line.box[0])):
        middle = (line.box[1] + line.box[3]) / 2
        if rows and any(other.box[1] < middle < other.box[3] for other in rows[-1]):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda line: line.box[0]) for row in rows]


def _single(episode: Episode, screen: Screen, language: Language, rng: random.Random) -> Question | None:
    """An instruction for one action. Nobody clicks into the middle of a slider."""
    element = _pick([each for each in _askable(screen) if each.role != "slider"], rng)
    phrase = element and pick_phrase(screen, element, language, rng)
    if element is None or not phrase:
        return None
    fields = {"phrase": phrase.text}
    if element.role in ("textbox", "searchbox"):
        action = Action(action="type", point_2d=element.point, text=text_for(element, screen, rng))
        fields["text"] = quote(action.text or "")
    else:
        action = Action(action="click", point_2d=element.point)
    instruction = rng.choice(DO[action.action][language]).format(**fields)
    truth = ActionTruth(action=action, boxes=(screen.box_of(element).milli(),))
    question = paragraph(language, instruction, rng.choice(FORMAT[language]))
    return Question(question, action.to_text(), truth, phrase.style, element.role)


SCREEN_TASKS: dict[
    ScreenTask, Callable[[Episode, Screen, Language, random.Random], Question | None]
] = {
    "grounding.point": _point,
    "grounding.box": _box,
    "grounding.all": _all,
    "grounding.exists": _exists,
    "knowledge.name": _name,
    "knowledge.state": _state,
    "knowledge.value": _value,
    "caption": _caption,
    "ocr.text": _text,
    "ocr.place": _place,
    "ocr.region": _region,
    "action.single": _single,
}  # fmt: skip
"""How a question about a screen is made, by its task. The episode gives what other screens have."""


def effect_question(episode: Episode, step: Step, language: Language, rng: random.Random) -> Question | None:
    """What a click does: the effect that was seen, among those of other clicks of the episode."""
    screen = episode.screens[step.before]
    target = target_of(episode, step)
    if step.action.action != "click" or target is None or not can_be_asked(screen, target):
        return None
    if step.effect.kind == "focus" or (target.role == "link" and step.effect.kind == "none"):
        return None  # that nobody asks for; what a link leads to was not there to be opened
    phrase = pick_phrase(screen, target, language, rng)
    if phrase is None:
        return None
    clicks = [each.effect for each in episode.steps if each.action.action == "click" and each.effect.kind != "focus"]
    others = [describe_effect(effect, language) for effect in clicks if meaning(effect) != meaning(step.effect)]
    right = describe_effect(step.effect, language)
    question = ask("effect", language, rng, phrase=phrase.text)
    return choose_among(question, right, others, rng, phrase.style, target.role)


def happened_question(episode: Episode, step: Step, language: Language, rng: random.Random) -> Question | None:
    """Which action leads from one screen to another, among those that led elsewhere from the same screen."""
    after = episode.screens[step.after].state()
    target = target_of(episode, step)
    if step.effect.kind in ("none", "focus") or (target is not None and not (target.name or target.text)):
        return None
    right = describe_action(episode, step, language)
    others = []
    for other in episode.steps:
        if other.before == step.before and episode.screens[other.after].state() != after:
            others.append(describe_action(episode, other, language))
    return choose_among(ask("happened", language, rng), right, others, rng, step.action.action)


STEP_TASKS: dict[StepTask, Callable[[Episode, Step, Language, random.Random], Question | None]] = {
    "knowledge.effect": effect_question,
    "knowledge.happened": happened_question,
}
"""How a question about an action is made, by its task. The second shows the screens before and after."""


def describe_action(episode: Episode, step: Step, language: Language) -> str:
    """What a step does, such as: click the button “Save”."""
    target, action = target_of(episode, step), step.action
    english = language == "en"
    name = ""
    if target is not None:
        word = role_word(target.role, language)
        label = quote(target.name or target.text) if target.name or target.text else ""
        name = f"the {word} {label}".rstrip() if english else f"{word}{label}"
    elif action.point_2d is not None:
        name = "this place" if english else "此处"
    match action.action:
        case "click":
            return f"click {name}" if english else f"点击{name}"
        case "double_click":
            return f"double-click {name}" if english else f"双击{name}"
        case "type":
            text = quote(action.text or "")
            if not name:
                return f"type {text}" if english else f"输入{text}"
            return f"type {text} into {name}" if english else f"在{name}中输入{text}"
        case "slide":
            return f"drag {name}" if english else f"拖动{name}"
        case "scroll":
            directions = {"up": "向上", "down": "向下", "left": "向左", "right": "向右"}
            direction = action.direction or "down"
            return f"scroll {direction}" if english else f"{directions[direction]}滚动"
        case "wait":
            return "wait" if english else "等待"
        case _:
            return f"press {action.text}" if english else f"按 {action.text} 键"
