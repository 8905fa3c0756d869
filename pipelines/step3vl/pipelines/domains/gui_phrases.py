"""What elements of a screen are called: phrases of which each fits one element and no other that can be seen."""

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.gui.screen import CONTROL_ROLES, LANDMARKS, Element, Screen

ROLES: dict[str, tuple[str, str, str]] = {
    "button": ("button", "buttons", "按钮"),
    "link": ("link", "links", "链接"),
    "textbox": ("text field", "text fields", "输入框"),
    "searchbox": ("search field", "search fields", "搜索框"),
    "checkbox": ("check box", "check boxes", "复选框"),
    "radio": ("radio button", "radio buttons", "单选按钮"),
    "combobox": ("drop-down list", "drop-down lists", "下拉列表"),
    "switch": ("switch", "switches", "开关"),
    "tab": ("tab", "tabs", "标签页"),
    "menuitem": ("menu item", "menu items", "菜单项"),
    "slider": ("slider", "sliders", "滑块"),
    "option": ("option", "options", "选项"),
    "spinbutton": ("number field", "number fields", "数字框"),
    "treeitem": ("tree item", "tree items", "树节点"),
    "heading": ("heading", "headings", "标题"),
    "img": ("image", "images", "图像"),
}
"""Roles in English, one and several, and in Chinese."""

_ORDINALS = {
    "en": ("first", "second", "third", "fourth", "fifth", "last"),
    "zh": ("第一个", "第二个", "第三个", "第四个", "第五个", "最后一个"),
}
_LONGEST = 60  # characters of a name in a phrase
_MIN_SIDE = 6  # pixels of an element that is asked for

Style = str


class Phrase(NamedTuple):
    """A phrase for an element.

    Attributes:
        text: Such as: the button “Save” in “Account”.
        style: `name`, `icon`, `text`, `container`, `position` or `state`: what it tells the element by.
    """

    text: str
    style: Style


def role_word(role: str, language: Language) -> str:
    """What a role is called. What is operated behind an open dialog has none in the accessibility tree."""
    singular, _, chinese = ROLES.get(role, ("element", "elements", "元素"))
    return singular if language == "en" else chinese


def can_be_asked(screen: Screen, element: Element) -> bool:
    """Whether an element is operable, can be seen as a whole and is large enough."""
    x1, y1, x2, y2 = element.box
    return (
        element.role in CONTROL_ROLES
        and element.role in ROLES
        and element.exact
        and element.whole
        and min(x2 - x1, y2 - y1) >= _MIN_SIDE
        and element.box != (0, 0, *screen.size)
        and not _is_sign(element)
    )


def _is_sign(element: Element) -> bool:
    """Whether an element is a link of signs alone, such as the “¶” beside a heading. A button “+” is worth asking."""
    label = element.name + element.text
    return element.role == "link" and bool(label) and not any(character.isalnum() for character in label)


def phrases(screen: Screen, element: Element, language: Language) -> list[Phrase]:
    """Every phrase that fits an element alone.

    Args:
        screen: What is shown.
        element: One of its elements, with a role.
        language: Of the phrase; names stay in the language of the screen.
    """
    word = role_word(element.role, language)
    # What an open dialog keeps out of the accessibility tree can still be seen, and has no role.
    alike = [e for e in screen.elements if e.role == element.role or (e.control and not e.role)]
    result: list[Phrase] = []
    if _usable(element.name) and sum(element.name in (e.name, e.label) or _says(e, element.name) for e in alike) == 1:
        result.append(Phrase(_named(word, element.name, language), "icon" if element.icon else "name"))
    visible = element.text or element.hint
    if _usable(visible) and visible != element.name:
        if sum(_says(e, visible) for e in alike) == 1:
            result.append(Phrase(_labelled(word, visible, language), "text"))
        elif (container := _container(screen, element)) is not None:
            inside = [e for e in alike if _says(e, visible) and container in screen.ancestors(e)]
            if len(inside) == 1:
                result.append(
                    Phrase(_inside(_labelled(word, visible, language), container.name, language), "container")
                )
    result += _by_position(screen, element, word, language)
    if not screen.modal:
        result += _by_state(element, alike, word, language)
    return result


def pick_phrase(screen: Screen, element: Element, language: Language, rng: random.Random) -> Phrase | None:
    """One of the phrases for an element, of a random style; None where none fits it alone."""
    possible = phrases(screen, element, language)
    return rng.choice(possible) if possible else None


def quote(text: str) -> str:
    """A name as questions show it."""
    return f"“{text}”"


def _says(element: Element, text: str) -> bool:
    return text in (element.text, element.hint)


def _usable(name: str) -> bool:
    return 0 < len(name) <= _LONGEST and not set(name) & set("“”")


def _named(word: str, name: str, language: Language) -> str:
    return f"the {word} {quote(name)}" if language == "en" else f"{word}{quote(name)}"


def _labelled(word: str, text: str, language: Language) -> str:
    return f"the {word} that says {quote(text)}" if language == "en" else f"写着{quote(text)}的{word}"


def _inside(phrase: str, container: str, language: Language) -> str:
    return f"{phrase} in {quote(container)}" if language == "en" else f"{quote(container)}中{phrase}"


def _container(screen: Screen, element: Element) -> Element | None:
    """The nearest named part of the screen that an element is in, if no other part has its name and it can be read."""
    for parent in screen.ancestors(element):
        if parent.role in LANDMARKS and _usable(parent.name):
            same = [e for e in screen.elements if e.role in LANDMARKS and e.name == parent.name]
            is_shown = any(line.text == parent.name for line in screen.lines)
            return parent if len(same) == 1 and is_shown else None
    return None


def _by_position(screen: Screen, element: Element, word: str, language: Language) -> list[Phrase]:
    """Such as: the second link in “Main”. All of the part must be on the screen, in one row or one column."""
    container = _container(screen, element)
    if container is None or not container.whole:
        return []
    group = [e for e in screen.elements if e.role == element.role and container in screen.ancestors(e)]
    if not 2 <= len(group) <= 8 or not all(e.exact and e.whole for e in group) or not _in_order(group):
        return []
    place, ordinals = group.index(element), _ORDINALS[language]
    if place == len(group) - 1:
        ordinal = ordinals[-1]
    elif place < len(ordinals) - 1:
        ordinal = ordinals[place]
    else:
        return []
    text = f"the {ordinal} {word}" if language == "en" else f"{ordinal}{word}"
    return [Phrase(_inside(text, container.name, language), "position")]


def _in_order(group: Sequence[Element]) -> bool:
    """Whether elements follow each other from left to right or from top to bottom, without going back."""
    pairs = [(first.box, second.box) for first, second in pairwise(group)]
    return all(a[2] <= b[0] and a[1] < b[3] and b[1] < a[3] for a, b in pairs) or all(a[3] <= b[1] for a, b in pairs)


def _by_state(element: Element, alike: Sequence[Element], word: str, language: Language) -> list[Phrase]:
    """Such as: the switch that is on, where one alone is."""
    if len(alike) < 2 or not all(e.exact and e.whole for e in alike):
        return []
    words = {
        "checked": ("that is on", "已打开的"),
        "not checked": ("that is off", "未打开的"),
        "selected": ("that is selected", "已选中的"),
    }
    result = []
    for state, (english, chinese) in words.items():
        if state in element.states and sum(state in e.states for e in alike) == 1:
            text = f"the {word} {english}" if language == "en" else f"{chinese}{word}"
            result.append(Phrase(text, "state"))
    return result
