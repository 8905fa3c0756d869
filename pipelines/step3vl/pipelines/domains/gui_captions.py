"""Descriptions of screens, composed of what their own structure says is shown."""

from collections.abc import Sequence

from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.domains.gui_phrases import ROLES, quote
from step3vl.pipelines.gui.screen import CONTROL_ROLES, Element, Screen

_PARTS = {
    "banner": ("a banner", "页眉"),
    "navigation": ("a navigation", "导航栏"),
    "main": ("the main part", "主体部分"),
    "complementary": ("a side part", "侧栏"),
    "contentinfo": ("a footer", "页脚"),
    "search": ("a search form", "搜索表单"),
    "form": ("a form", "表单"),
    "dialog": ("a dialog", "对话框"),
    "alertdialog": ("a dialog", "对话框"),
    "table": ("a table", "表格"),
    "list": ("a list", "列表"),
    "listbox": ("an open list of options", "展开的选项列表"),
    "menu": ("an open menu", "展开的菜单"),
    "menubar": ("a menu bar", "菜单栏"),
    "tablist": ("a row of tabs", "标签栏"),
    "toolbar": ("a toolbar", "工具栏"),
    "radiogroup": ("a group of radio buttons", "单选按钮组"),
    "region": ("a region", "区域"),
    "figure": ("a figure", "图"),
}
_PLACES = {
    "en": (("at the top left", "at the top", "at the top right"), ("on the left", "in the middle", "on the right"),
           ("at the bottom left", "at the bottom", "at the bottom right")),
    "zh": (("左上方", "上方", "右上方"), ("左侧", "中间", "右侧"), ("左下方", "下方", "右下方")),
}  # fmt: skip
_NAMED = 4  # controls of a part that are named
_LONGEST = 50  # characters of a name


def caption(screen: Screen, language: Language) -> str:
    """A description: the title, the headings, each part with its place and its controls, and what is marked.

    Args:
        screen: What is shown.
        language: Of the description; names stay in the language of the screen.

    Returns:
        Some sentences; empty for a screen of which too little is known.
    """
    english = language == "en"
    parts = [e for e in screen.elements if e.role in _PARTS]
    controls = [e for e in screen.elements if e.role in CONTROL_ROLES and e.role in ROLES]
    if not parts or not controls:
        return ""
    title = quote(screen.title)
    if screen.url:
        sentences = [f"The page is titled {title}." if english else f"页面标题是{title}。"]
    else:
        sentences = [f"This is the program {title}." if english else f"这是程序{title}。"]
    headings = [e.text for e in screen.elements if e.role == "heading" and e.text][:4]
    if headings:
        listed = _listed([quote(text[:_LONGEST]) for text in headings], language)
        sentences.append(f"It has the headings {listed}." if english else f"其中有标题{listed}。")
    if len(headings) == 1 and english:
        sentences[-1] = f"It has the heading {quote(headings[0][:_LONGEST])}."
    owner = {e.index: _owner(screen, e, parts) for e in controls}
    for part in parts:
        inside = [e for e in controls if owner[e.index] is part]
        if inside or part.role in ("dialog", "alertdialog", "table"):
            sentences.append(_part(screen, part, inside, language))
    top, height, window = screen.extent
    if height > window + 1:
        more = "above and below" if 0 < top < height - window - 1 else "below" if top == 0 else "above"
        chinese = {"above and below": "上方和下方", "below": "下方", "above": "上方"}[more]
        sentences.append(f"There is more of the page {more}." if english else f"页面{chinese}还有内容。")
    return (" " if english else "").join(sentences)


def _owner(screen: Screen, element: Element, parts: Sequence[Element]) -> Element | None:
    indices = {part.index for part in parts}
    return next((parent for parent in screen.ancestors(element) if parent.index in indices), None)


def _part(screen: Screen, part: Element, inside: Sequence[Element], language: Language) -> str:
    english = language == "en"
    what = _PARTS[part.role][0 if english else 1]
    if part.name:
        what = f"{what} named {quote(part.name[:_LONGEST])}" if english else f"{what}{quote(part.name[:_LONGEST])}"
    place = _place(screen, part, language)
    if not inside:
        return f"{place[0].upper()}{place[1:]} is {what}." if english else f"{place}是{what}。"
    controls = _controls(inside, language)
    return (
        f"{place[0].upper()}{place[1:]} is {what} with {controls}."
        if english
        else f"{place}是{what}，包含{controls}。"
    )


def _place(screen: Screen, part: Element, language: Language) -> str:
    x1, y1, x2, y2 = part.box
    width, height = screen.size
    across = 1 if x2 - x1 > 0.6 * width else min(2, int((x1 + x2) / 2 / width * 3))
    down = 1 if y2 - y1 > 0.6 * height else min(2, int((y1 + y2) / 2 / height * 3))
    return _PLACES[language][down][across]


def _controls(elements: Sequence[Element], language: Language) -> str:
    """Such as: 2 links (“Home”, “Cart”) and a search field (“Search”)."""
    groups: dict[str, list[Element]] = {}
    for element in elements:
        groups.setdefault(element.role, []).append(element)
    phrases = []
    for role, group in groups.items():
        singular, plural, chinese = ROLES[role]
        names = [quote(_label(e, language)) for e in group if e.name][:_NAMED]
        more = "" if len(names) == len(group) or not names else ", …" if language == "en" else "等"
        listed = (", " if language == "en" else "").join(names)
        if language == "en":
            count = f"{len(group)} {plural}" if len(group) > 1 else f"{_article(singular)} {singular}"
            phrases.append(f"{count} ({listed}{more})" if listed else count)
        else:
            count = f"{len(group)} 个{chinese}"
            phrases.append(f"{count}（{listed}{more}）" if listed else count)
    return _listed(phrases, language)


def _label(element: Element, language: Language) -> str:
    name = element.name[:_LONGEST]
    on = {"checked": ("on", "已打开"), "selected": ("selected", "已选中")}
    for state, (english, chinese) in on.items():
        if state in element.states:
            return f"{name}, {english}" if language == "en" else f"{name}，{chinese}"
    return name


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _listed(items: Sequence[str], language: Language) -> str:
    if len(items) < 2:
        return "".join(items)
    between, last = (", ", " and ") if language == "en" else ("、", "和")
    return between.join(items[:-1]) + last + items[-1]
