"""Which widget a click on a point of the screen reaches.

A program says where its widgets are, but not what lies on top: a dialog over its window, a menu over both. The display
knows the order of the windows; each part of the tree that has a window of its own is matched with it by place.
"""

from collections.abc import Sequence

from step3vl.pipelines.gui.desktop.bus import Rect, Widget

_MENU_ITEMS = ("menu item", "check menu item", "radio menu item", "menu", "tearoff menu item")
_PARENTS_OF_WORDS = ("menu bar", "menu")  # elsewhere a menu is where its items are
_CLIPPING = ("scroll pane", "viewport", "frame", "dialog", "window", "file chooser", "alert", "color chooser")
_NEAR = 8  # pixels that a window's border and shadow may add


class Layout:
    """The widgets of a screen, where they can be seen, and what lies where.

    Args:
        widgets: As the bus gives them.
        windows: Where the windows of the display are, the topmost first.
        size: Of the screen.

    Attributes:
        surfaces: For each widget, which part of the tree with a window of its own it is in, by the number of its root.
        menus: Where the open menus are.
        words: Those menus whose widget is the word in a menu bar or menu that opens them.
        boxes: What can be seen of each widget.
    """

    def __init__(self, widgets: Sequence[Widget], windows: Sequence[Rect], size: tuple[int, int]) -> None:
        self._widgets, self._windows, self._size = widgets, windows, size
        self.surfaces = [self._surface(number) for number in range(len(widgets))]
        items = self._items_of_menus()
        self.words = {n for n in items if widgets[widgets[n].parent].role in _PARENTS_OF_WORDS}
        self.menus = {n: box if n in self.words else widgets[n].box or box for n, box in items.items()}
        for number in self.menus.keys() - self.words:
            self.surfaces[number] = number
        self.boxes = [self._visible(number) for number in range(len(widgets))]
        self._of_window = [self._matching_surface(window) for window in windows]
        self._shown = set(self._of_window)
        # While a menu or a modal dialog is open, nothing else can be operated. A menu that is too long for the screen
        # has arrows at its ends that cover items, of which the tree knows nothing.
        modal = {self.surfaces[n] for n, widget in enumerate(widgets) if "modal" in widget.states}
        operable = set(self.menus) or modal or set(self.surfaces)
        operable -= {n for n, box in items.items() if _clipped(box, self.menus[n]) != box}
        # Children follow their parents and lie on top of them, so the last that holds a point is the topmost.
        self._stacks: dict[int | None, list[tuple[Rect, int]]] = {}
        for number in range(len(widgets) - 1, -1, -1):
            box = self.boxes[number]
            if box is not None and self.surfaces[number] in operable:
                self._stacks.setdefault(self.surfaces[number], []).append((box, number))

    def is_shown(self, number: int) -> bool:
        """Whether there is a window with a widget: that of a minimised program is gone, though its tree is not."""
        return self.surfaces[number] in self._shown

    def ancestors(self, number: int) -> list[int]:
        """The widgets around a widget, the nearest first."""
        chain = []
        while (number := self._widgets[number].parent) >= 0:
            chain.append(number)
        return chain

    def hit(self, x: float, y: float) -> int | None:
        """The widget that a click on a point reaches; None where there is none."""
        for window, surface in zip(self._windows, self._of_window, strict=True):
            if _holds(window, x, y):
                return next((number for box, number in self._stacks.get(surface, []) if _holds(box, x, y)), None)
        return None

    def _surface(self, number: int) -> int:
        """What a widget lies on: the window of its program, or the open menu whose item it or its ancestor is."""
        widgets = self._widgets
        while (parent := widgets[number].parent) >= 0:
            if widgets[number].role in _MENU_ITEMS and widgets[parent].role == "menu":
                return parent
            if widgets[parent].role == "application":
                break
            number = parent
        return number

    def _items_of_menus(self) -> dict[int, Rect]:
        """The boxes around the items of open menus."""
        boxes: dict[int, Rect] = {}
        for number, surface in enumerate(self.surfaces):
            box = self._widgets[number].box
            if self._widgets[surface].role == "menu" and surface != number and box is not None:
                boxes[surface] = _joined(boxes[surface], box) if surface in boxes else box
        return boxes

    def _visible(self, number: int) -> Rect | None:
        """What of a box is inside of the screen and of all that cuts it off."""
        box = self._widgets[number].box
        for around in self.ancestors(number):
            if box is None or self.surfaces[around] != self.surfaces[number]:
                break
            cut = self._widgets[around].box
            if self._widgets[around].role in _CLIPPING and cut is not None:
                box = _clipped(box, cut)
        return _clipped(box, (0, 0, *self._size)) if box is not None else None

    def _matching_surface(self, window: Rect) -> int | None:
        """The part of the tree that a window shows: the one whose box is nearly the window's."""
        for surface in (*self.menus, *dict.fromkeys(self.surfaces)):
            box = self.menus.get(surface, self._widgets[surface].box)
            if box is not None and _alike(box, window):
                return surface
        return None


def _alike(box: Rect, window: Rect) -> bool:
    return all(abs(a - b) <= _NEAR for a, b in zip(box, window, strict=True))


def _holds(box: Rect, x: float, y: float) -> bool:
    return box[0] <= x < box[2] and box[1] <= y < box[3]


def _joined(first: Rect, second: Rect) -> Rect:
    return min(first[0], second[0]), min(first[1], second[1]), max(first[2], second[2]), max(first[3], second[3])


def _clipped(box: Rect, other: Rect) -> Rect | None:
    x1, y1, x2, y2 = max(box[0], other[0]), max(box[1], other[1]), min(box[2], other[2]), min(box[3], other[3])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None
