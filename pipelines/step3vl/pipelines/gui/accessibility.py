"""The accessibility tree as Chromium computes it, by the numbers that `probe.js` gives to elements.

Roles and names are the browser's own, so nobody has to compute names from labels, captions and `aria-` attributes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from step3vl.pipelines.gui.screen import TreeNode

_ROLES = {
    "DisclosureTriangle": "button", "DisclosureTriangleGrouped": "button", "ToggleButton": "button", "Iframe": "",
    "MenuListPopup": "listbox", "ComboBoxMenuButton": "combobox", "ComboBoxSelect": "combobox", "image": "img",
    "StaticText": "text", "generic": "", "none": "", "RootWebArea": "", "paragraph": "", "LayoutTable": "",
    "LayoutTableRow": "", "LayoutTableCell": "", "LabelText": "", "LineBreak": "", "Section": "", "strong": "",
    "emphasis": "", "InlineTextBox": "",
}  # fmt: skip
_FLAGS = ("focused", "disabled", "modal", "required", "multiselectable", "invalid")  # said only where they hold
_TOGGLES = ("checked", "expanded", "selected", "pressed")  # said either way


class Described(NamedTuple):
    """What the accessibility tree says about an element."""

    node: TreeNode
    level: int


class AccessibilityTree(NamedTuple):
    """The tree of a page.

    Attributes:
        elements: What it says about elements, by their number.
        nodes: All that a screen reader would say, in order.
    """

    elements: dict[int, Described]
    nodes: tuple[TreeNode, ...]


def read_tree(devtools: Any, names: Sequence[str]) -> AccessibilityTree:
    """The accessibility tree of the page and its frames.

    Args:
        devtools: A DevTools session of Playwright.
        names: The names of the elements as `probe.js` numbers them, which must be those of the protocol.

    Raises:
        ValueError: The page changed between the two.
    """
    document = devtools.send("DOM.getDocument", {"depth": -1, "pierce": True})["root"]
    numbers: dict[int, int] = {}
    frames: list[str] = []
    for number, node in enumerate(_elements(document)):
        if number >= len(names) or node["localName"] != names[number]:
            raise ValueError("the page changed while it was observed")
        numbers[node["backendNodeId"]] = number
        if "contentDocument" in node:
            frames.append(node["frameId"])
    if len(numbers) != len(names):
        raise ValueError("the page changed while it was observed")
    elements: dict[int, Described] = {}
    nodes: list[TreeNode] = []
    for frame in (None, *frames):
        arguments = {} if frame is None else {"frameId": frame}
        for raw in devtools.send("Accessibility.getFullAXTree", arguments)["nodes"]:
            described = None if raw["ignored"] else _describe(raw)
            if described is None:
                continue
            if described.node.role:
                nodes.append(described.node)
            backend = raw.get("backendDOMNodeId")
            if backend in numbers:
                elements[numbers[backend]] = described
    return AccessibilityTree(elements, tuple(nodes))


def _elements(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Elements in the order of `probe.js`: shadow root, frame, children."""
    waiting = [child for child in reversed(document.get("children", ())) if child["nodeType"] == 1]
    while waiting:
        node = waiting.pop()
        yield node
        inner = [root for root in node.get("shadowRoots", ()) if root["shadowRootType"] == "open"]
        if "contentDocument" in node:
            inner.append(node["contentDocument"])
        inner.append(node)
        following = [child for part in inner for child in part.get("children", ()) if child["nodeType"] == 1]
        waiting += reversed(following)


def _describe(raw: dict[str, Any]) -> Described | None:
    role = raw.get("role", {}).get("value", "")
    role = _ROLES.get(role, role)
    if role and not role.replace("-", "").islower():  # Chromium's internal roles begin with a capital letter
        role = ""
    properties = {p["name"]: p["value"].get("value") for p in raw.get("properties", ())}
    states = [flag for flag in _FLAGS if properties.get(flag) not in (None, False, "false")]
    for toggle in _TOGGLES:
        if toggle in properties:
            value = properties[toggle]
            states.append(toggle if value in (True, "true") else "mixed" if value == "mixed" else f"not {toggle}")
    name = _text(raw.get("name", {}).get("value", ""))
    node = TreeNode(role, name, _text(raw.get("value", {}).get("value", "")), tuple(states))
    if not (role or name):
        return None
    return Described(node, int(properties.get("level") or 0) if role == "heading" else 0)


def _text(value: object) -> str:
    return " ".join(str(value).split())
