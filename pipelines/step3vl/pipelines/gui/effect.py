"""What an action did, as two screens show it, and how that is said in English and Chinese."""

from collections import Counter
from collections.abc import Sequence
from urllib.parse import urldefrag

from step3vl.data.sample import Action
from step3vl.pipelines.gui.screen import Effect, EffectKind, Element, Screen, TreeNode
from step3vl.pipelines.gui.view import Language

_DIALOGS = ("dialog", "alertdialog")
_POPUPS = ("listbox", "menu")
_SAMPLES = 6  # texts of an effect
_LONGEST = 120  # characters of a text


def observe_effect(before: Screen, after: Screen, action: Action, target: Element | None) -> Effect:
    """The difference of two screens.

    Args:
        before: The screen on which the action was performed.
        after: The screen that followed.
        action: What was done.
        target: The element of `before` that it was done to.
    """
    added, removed = _difference(before.tree, after.tree)

    def effect(kind: EffectKind, subject: str = "", state: str = "") -> Effect:
        url = after.url if after.url != before.url else ""
        return Effect(
            kind=kind,
            subject=subject[:_LONGEST],
            state=state[:_LONGEST],
            url=url,
            added=len(added),
            removed=len(removed),
            samples=_texts(added),
        )

    same_document = urldefrag(after.url)[0] == urldefrag(before.url)[0]
    if not same_document or after.title != before.title or (after.url != before.url and (added or removed)):
        return effect("page", after.title)
    if before.tree and not after.tree:
        return effect("closed", before.title)
    if names := _names(added, _DIALOGS):
        return effect("dialog_opened", names[0])
    if popup := next((node for node in added if node.role in _POPUPS), None):
        return effect("popup_opened", popup.name, popup.role)
    if message := _message(before, after):
        return effect("message", message)
    if names := _names(removed, _DIALOGS):
        return effect("dialog_closed", names[0])
    if target is not None and (state := _new_state(before, after, target)):
        return effect("state", target.name, state)
    if action.action == "type" and target is not None:
        value = _value_of(after, target)
        if value and value != target.value:
            return effect("value", target.name, value)
    if target is not None and target.role in ("option", "slider") and (names := _names(removed, _POPUPS)):
        return effect("value", names[0], target.name)
    if target is not None and target.role == "slider" and _value_of(after, target) != target.value:
        return effect("value", target.name, _value_of(after, target))
    if (after.extent, after.scrolled) != (before.extent, before.scrolled) and not (added or removed):
        return effect("scrolled", state=action.direction or _direction(before, after))
    if (names := _names(removed, _POPUPS)) and not _is_new(added, removed):
        return effect("popup_closed", names[0])
    if added or removed:
        return effect("content")
    focused = [node for node in after.tree if "focused" in node.states]
    if focused and focused != [node for node in before.tree if "focused" in node.states]:
        return effect("focus", focused[-1].name)
    return effect("none")


def _direction(before: Screen, after: Screen) -> str:
    """Where the view moved, by how far all is scrolled down."""
    first, second = (screen.extent[0] + sum(y for _, _, y in screen.scrolled) for screen in (before, after))
    return "down" if second > first else "up"


def _key(node: TreeNode) -> TreeNode:
    return node._replace(states=tuple(state for state in node.states if state != "focused"))


def _difference(before: Sequence[TreeNode], after: Sequence[TreeNode]) -> tuple[list[TreeNode], list[TreeNode]]:
    """The nodes that appeared and those that disappeared, both in order."""
    old, new = [_key(node) for node in before], [_key(node) for node in after]
    return _without(new, Counter(old)), _without(old, Counter(new))


def _without(nodes: Sequence[TreeNode], others: Counter[TreeNode]) -> list[TreeNode]:
    rest = []
    for node in nodes:
        if others[node]:
            others[node] -= 1
        else:
            rest.append(node)
    return rest


def _is_new(added: Sequence[TreeNode], removed: Sequence[TreeNode]) -> bool:
    """Whether there is more than what was there before in another state, such as the button that opened a list."""
    return bool({(node.role, node.name) for node in added} - {(node.role, node.name) for node in removed})


def _texts(nodes: Sequence[TreeNode]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_shortened(node.name) for node in nodes if node.name))[:_SAMPLES]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"


def _names(nodes: Sequence[TreeNode], roles: Sequence[str]) -> list[str]:
    return [node.name for node in nodes if node.role in roles]


def _message(before: Screen, after: Screen) -> str:
    """The text of a message that appeared. An `output` is what a slider is set to or a form computes; and what was
    behind a dialog, where it had no role, is no news when the dialog closes."""
    old = {e.text for e in before.elements}
    new = [
        e.text
        for e in after.elements
        if e.role in ("status", "alert") and e.tag != "output" and e.text and e.text not in old
    ]
    return new[0] if new else ""


def same_element(screen: Screen, element: Element) -> TreeNode | None:
    """The node of another screen's tree with the role and the name of an element, if there is just one."""
    nodes = [node for node in screen.tree if (node.role, node.name) == (element.role, element.name)]
    return nodes[0] if len(nodes) == 1 else None


def _new_state(before: Screen, after: Screen, target: Element) -> str:
    old, new = same_element(before, target), same_element(after, target)
    if old is None or new is None:
        return ""
    changed = [s for s in new.states if s not in old.states and s.removeprefix("not ") in (
        "checked", "pressed", "selected", "expanded", "mixed")]  # fmt: skip
    return changed[0] if changed else ""


def _value_of(screen: Screen, target: Element) -> str:
    node = same_element(screen, target)
    return node.value if node else ""


_STATES = {
    "checked": ("“{0}” is switched on.", "“{0}”被打开。"),
    "not checked": ("“{0}” is switched off.", "“{0}”被关闭。"),
    "pressed": ("“{0}” is switched on.", "“{0}”被打开。"),
    "not pressed": ("“{0}” is switched off.", "“{0}”被关闭。"),
    "selected": ("“{0}” is selected.", "“{0}”被选中。"),
    "not selected": ("“{0}” is no longer selected.", "“{0}”不再被选中。"),
    "expanded": ("“{0}” opens.", "“{0}”展开。"),
    "not expanded": ("“{0}” closes.", "“{0}”收起。"),
    "mixed": ("“{0}” is partly selected.", "“{0}”部分选中。"),
}
_DIRECTIONS = {
    "up": ("above", "上方"),
    "down": ("below", "下方"),
    "left": ("to the left", "左侧"),
    "right": ("to the right", "右侧"),
}
_SENTENCES: dict[EffectKind, tuple[str, str]] = {
    "page": ("The page “{0}” opens.", "打开页面“{0}”。"),
    "dialog_opened": ("The dialog “{0}” opens.", "弹出对话框“{0}”。"),
    "dialog_closed": ("The dialog “{0}” closes.", "对话框“{0}”关闭。"),
    "popup_opened": ("The list of “{0}” opens.", "“{0}”的列表展开。"),
    "popup_closed": ("The list of “{0}” closes.", "“{0}”的列表收起。"),
    "message": ("A message appears: “{0}”.", "出现提示：“{0}”。"),
    "value": ("“{0}” is set to “{1}”.", "“{0}”变为“{1}”。"),
    "scrolled": ("What was {1} comes into view.", "{1}的内容进入视野。"),
    "focus": ("“{0}” receives the focus.", "“{0}”获得焦点。"),
    "closed": ("“{0}” is no longer on the screen.", "“{0}”不再显示。"),
    "none": ("Nothing changes.", "没有变化。"),
}
_NAMELESS: dict[EffectKind, tuple[str, str]] = {
    "page": ("Another page opens.", "打开另一个页面。"),
    "dialog_opened": ("A dialog opens.", "弹出一个对话框。"),
    "dialog_closed": ("The dialog closes.", "对话框关闭。"),
    "popup_opened": ("A list opens.", "展开一个列表。"),
    "popup_closed": ("The list closes.", "列表收起。"),
}


def meaning(effect: Effect) -> tuple[str, str, str]:
    """What an effect amounts to: a list that closes and its field that closes are two words for the same."""
    if effect.kind in ("popup_opened", "popup_closed"):
        return "state", effect.subject, "expanded" if effect.kind == "popup_opened" else "not expanded"
    return effect.kind, effect.subject, effect.state


def describe_effect(effect: Effect, language: Language) -> str:
    """A sentence about an effect."""
    place = ("en", "zh").index(language)
    if effect.kind == "scrolled":
        return _SENTENCES["scrolled"][place].format("", _DIRECTIONS[effect.state or "down"][place])
    if effect.kind == "content":
        return _describe_content(effect, place)
    if effect.kind == "popup_opened" and effect.state == "menu":
        sentence = ("The menu “{0}” opens.", "打开菜单“{0}”。")
        if not effect.subject:
            sentence = ("A menu opens.", "打开一个菜单。")
    elif not effect.subject and effect.kind in _NAMELESS:
        sentence = _NAMELESS[effect.kind]
    else:
        sentence = _STATES[effect.state] if effect.kind == "state" else _SENTENCES[effect.kind]
    words = sentence[place] if effect.subject else sentence[place].replace("“{0}”", ("It", "它")[place])
    return words.format(effect.subject, effect.state)


def _describe_content(effect: Effect, place: int) -> str:
    if effect.samples:
        texts = "”, “".join(effect.samples[:2]) if place == 0 else "”“".join(effect.samples[:2])
        return (f"The content changes; it now says “{texts}”.", f"内容发生变化，现在显示“{texts}”。")[place]
    return ("Some of the content disappears.", "部分内容消失。")[place]
