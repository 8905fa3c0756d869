"""Screens of desktop programs, in the terms of those of web pages: the roles of ARIA, and what a click reaches."""

import hashlib
import io
from collections.abc import Sequence

from PIL import Image as PILImage

from step3vl.data.sample import Image
from step3vl.pipelines.gui.desktop.bus import Rect, Widget
from step3vl.pipelines.gui.desktop.hits import Layout
from step3vl.pipelines.gui.screen import CONTROL_ROLES, Element, MilliPoint, Screen, TextLine, TreeNode

_ROLES = {
    "push button": "button", "toggle button": "button", "check box": "checkbox", "radio button": "radio",
    "combo box": "combobox", "menu": "menuitem", "menu item": "menuitem", "check menu item": "menuitemcheckbox",
    "radio menu item": "menuitemradio", "page tab": "tab", "page tab list": "tablist", "slider": "slider",
    "spin button": "spinbutton", "text": "textbox", "entry": "textbox", "password text": "textbox", "link": "link",
    "list item": "option", "list box": "listbox", "list": "list", "tree item": "treeitem", "tree": "tree",
    "table": "table", "tree table": "table", "table cell": "cell", "table column header": "columnheader",
    "label": "text", "static": "text", "heading": "heading", "image": "img", "icon": "img", "frame": "main",
    "dialog": "dialog", "file chooser": "dialog", "color chooser": "dialog", "alert": "alertdialog",
    "tool bar": "toolbar", "menu bar": "menubar", "status bar": "status", "statusbar": "status",
    "info bar": "status", "progress bar": "progressbar",
}  # fmt: skip
_LOOKS = {"toggle button": "pressed", "check box": "checked", "radio button": "checked", "check menu item": "checked",
          "radio menu item": "checked", "page tab": "selected", "list item": "selected"}  # fmt: skip
_NAMES_ARE_SHOWN = (
    "push button", "toggle button", "check box", "radio button", "menu", "menu item", "check menu item",
    "radio menu item", "page tab", "link", "list item", "table cell", "table column header",
)  # fmt: skip
_SAID = frozenset({"focused", "modal", "required", "invalid"})
_INNER = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
_EDGES = ((0.08, 0.5), (0.92, 0.5), (0.5, 0.12), (0.5, 0.88))
_ALONG = (0.02, 0.5, 0.98)  # points of a line of text
_LONGEST = 200  # characters of the name of a text that has none
_WHOLE = 0.99  # of a box that can be seen


def make_screen(image: PILImage.Image, widgets: Sequence[Widget], windows: Sequence[Rect], title: str) -> Screen:
    """A screen of what was seen at one moment.

    Args:
        image: Of the whole screen.
        widgets: As the accessibility bus gives them.
        windows: Where the windows are, the topmost first.
        title: The name of the program.
    """
    return _Maker(image, widgets, windows).screen(title)


class _Maker:
    """What all parts of a screen are made of."""

    def __init__(self, image: PILImage.Image, widgets: Sequence[Widget], windows: Sequence[Rect]) -> None:
        self._image, self._widgets = image, widgets
        self._layout = Layout(widgets, windows, image.size)
        self._roles = [self._role(number) for number in range(len(widgets))]
        self._parents = {widget.parent for widget in widgets}

    def screen(self, title: str) -> Screen:
        buffer = io.BytesIO()
        self._image.convert("RGB").save(buffer, "PNG")
        png = buffer.getvalue()
        width, height = self._image.size
        elements, tree = [], []
        for number, widget in enumerate(self._widgets):
            if not self._layout.is_shown(number):
                continue
            if self._is_named(number):
                if (element := self._element(number)) is not None:
                    elements.append(element)
                if role := self._roles[number]:
                    tree.append(TreeNode(role, self._name(number), _value(widget), self._states(number)))
            if number in self._layout.words:
                menu = self._menu(number)
                elements.append(menu)
                tree.append(TreeNode(menu.role, menu.name, "", ()))
        return Screen(
            image=Image(format="png", width=width, height=height, sha256=hashlib.sha256(png).hexdigest(), data=png),
            url="",
            title=title,
            elements=tuple(elements),
            lines=tuple(line for number in range(len(self._widgets)) for line in self._lines(number)),
            tree=tuple(tree),
            scrolled=tuple((e.index, 0.0, e.scroll[0]) for e in elements if e.scroll and e.scroll[0]),
            extent=(0, height, height),
        )

    def _is_named(self, number: int) -> bool:
        """Whether a widget is more than a box around others."""
        return bool(self._roles[number] or self._widgets[number].name or self._scroll(number))

    def _role(self, number: int) -> str:
        widget = self._widgets[number]
        role = _ROLES.get(widget.role, "")
        if number in self._layout.menus and number not in self._layout.words:
            return self._role_of_menu(number)
        if role == "textbox" and "editable" not in widget.states:
            return "text"
        if role == "menuitem" and self._of_list(number):
            return "option"
        return role

    def _role_of_menu(self, number: int) -> str:
        return "listbox" if self._of_list(number) else "menu"

    def _name(self, number: int) -> str:
        """The accessible name; what a text says that has none, such as the display of a calculator; of a menu that of
        what opened it."""
        widget = self._widgets[number]
        if number in self._layout.menus and not widget.name:
            openers = (self._widgets[around] for around in self._layout.ancestors(number))
            return next((opener.name for opener in openers if opener.role in ("combo box", "menu")), "")
        return widget.name or (self._text(number)[:_LONGEST] if self._roles[number] == "text" else "")

    def _of_list(self, number: int) -> bool:
        """Whether a menu or its item is that of a drop-down list."""
        return any(self._widgets[around].role == "combo box" for around in self._layout.ancestors(number)[:2])

    def _index(self, number: int, menu: bool = False) -> int:
        """Numbers of widgets are even, and those of the menus that they open odd: the tree has no node for these."""
        return 2 * number + menu

    def _parent(self, number: int) -> int:
        surface = self._layout.surfaces[number]
        if surface in self._layout.words and surface != number:
            return self._index(surface, menu=True)
        for around in self._layout.ancestors(number):
            if self._layout.boxes[around] is not None and self._is_named(around):
                return self._index(around)
        return -1

    def _element(self, number: int) -> Element | None:
        widget, box, role = self._widgets[number], self._layout.boxes[number], self._roles[number]
        if box is None or widget.box is None:
            return None
        control = role in CONTROL_ROLES
        point = self._point(box)
        width, height = self._image.size
        reached = self._reaches(number, point[0] / 1000 * width, point[1] / 1000 * height)
        return Element(
            index=self._index(number),
            parent=self._parent(number),
            tag=widget.role,
            type="password" if widget.role == "password text" else "",
            role=role,
            name=self._name(number),
            value=_value(widget),
            states=self._states(number),
            level=0,
            text=self._text(number),
            hint=widget.hint,
            label="",
            range=(widget.value[1], widget.value[2], widget.value[3]) if role == "slider" and widget.value else None,
            icon=widget.image and not self._text(number),
            box=box,
            point=point,
            whole=_area(box) >= _WHOLE * _area(widget.box),
            control=control and "sensitive" in widget.states,
            exact=reached and self._hits(number, box, _INNER) == len(_INNER) and self._hits(number, box, _EDGES) >= 2,
            scroll=self._scroll(number),
        )

    def _menu(self, number: int) -> Element:
        """An open menu, which is where its items are."""
        box = self._layout.menus[number]
        return Element(
            index=self._index(number, menu=True), parent=self._index(number), tag="menu", type="",
            role=self._role_of_menu(number), name=self._name(number), value="", states=(), level=0,
            text="", hint="", label="", range=None, icon=False, box=box, point=self._point(box), whole=True,
            control=False, exact=True, scroll=None,
        )  # fmt: skip

    def _states(self, number: int) -> tuple[str, ...]:
        widget = self._widgets[number]
        states = sorted(_SAID & widget.states)
        if "sensitive" not in widget.states and self._roles[number] in CONTROL_ROLES:
            states.append("disabled")
        if look := _LOOKS.get(widget.role):
            holds = bool(widget.states & {look, "checked" if look == "pressed" else look})
            states.append("mixed" if "indeterminate" in widget.states else look if holds else f"not {look}")
        if "expandable" in widget.states:
            states.append("expanded" if "expanded" in widget.states else "not expanded")
        return tuple(states)

    def _text(self, number: int) -> str:
        """What a widget says. A button without an image says its name; what one with an image says is not known."""
        widget = self._widgets[number]
        if self._roles[number] == "textbox" or self._roles[number] == "spinbutton":
            return ""
        if widget.text is not None:
            return " ".join(widget.text.split())
        if widget.role in _NAMES_ARE_SHOWN:
            return "" if widget.image else widget.name
        if self._roles[number] == "status":
            inside = [w.text for n, w in enumerate(self._widgets) if w.text and number in self._layout.ancestors(n)]
            return " ".join(" ".join(inside).split())
        return ""

    def _lines(self, number: int) -> list[TextLine]:
        """The lines of a label. Where else a text stands is known only roughly, so that is not `whole`."""
        widget, box = self._widgets[number], self._layout.boxes[number]
        if box is None or not self._layout.is_shown(number):
            return []
        lines = [self._line(number, text, place, box) for text, place in widget.lines]
        if not lines and number not in self._parents and (text := _value(widget) or self._text(number)):
            lines.append(TextLine(text=text, box=box, element=self._index(number), whole=False))
        return lines

    def _line(self, number: int, text: str, place: Rect, box: Rect) -> TextLine:
        x1, y1, x2, y2 = place
        inside = x1 >= box[0] - 1 and y1 >= box[1] - 1 and x2 <= box[2] + 1 and y2 <= box[3] + 1
        seen = all(self._layout.hit(x1 + share * (x2 - x1), (y1 + y2) / 2) == number for share in _ALONG)
        # GTK 2 forgets the expander of a tree when it says where the text of a cell is.
        whole = inside and seen and self._widgets[number].role != "table cell"
        return TextLine(text=" ".join(text.split()), box=place, element=self._index(number), whole=whole)

    def _scroll(self, number: int) -> tuple[float, float, float] | None:
        """Of a scroll pane, as its bar says; in whatever the program counts by."""
        box = self._layout.boxes[number]
        if self._widgets[number].role != "scroll pane" or box is None:
            return None
        for bar in self._widgets:
            if bar.parent == number and bar.role == "scroll bar" and "vertical" in bar.states and bar.value:
                value, low, high, _ = bar.value
                if high > low:
                    return value - low, high - low + box[3] - box[1], box[3] - box[1]
        return None

    def _reaches(self, number: int, x: float, y: float) -> bool:
        """Whether a click on a point reaches a widget: a control itself, and no other one inside of it."""
        hit = self._layout.hit(x, y)
        if hit is None:
            return False
        chain = [hit, *self._layout.ancestors(hit)]
        if self._roles[number] in CONTROL_ROLES:
            return next((around for around in chain if self._roles[around] in CONTROL_ROLES), None) == number
        return number in chain

    def _hits(self, number: int, box: Rect, shares: Sequence[tuple[float, float]]) -> int:
        x1, y1, x2, y2 = box
        return sum(self._reaches(number, x1 + u * (x2 - x1), y1 + v * (y2 - y1)) for u, v in shares)

    def _point(self, box: Rect) -> MilliPoint:
        width, height = self._image.size
        return round((box[0] + box[2]) / 2 / width * 1000), round((box[1] + box[3]) / 2 / height * 1000)


def _value(widget: Widget) -> str:
    """What a field contains, or a slider is set to."""
    if "editable" in widget.states and widget.text is not None:
        return " ".join(widget.text.split())
    if widget.value is not None and widget.role != "scroll bar":
        return f"{widget.value[0]:g}"
    return ""


def _area(box: Rect) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
