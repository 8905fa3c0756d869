"""Experts that drag: boxes, shapes, lists, sliders, texts."""

import math
import re

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.miniwob.clicking import SUBMIT
from step3vl.pipelines.gui.miniwob.desk import Desk

_WAYS = {"left": (-25, 0), "right": (25, 0), "up": (0, -25), "down": (0, 25)}


def drag_box(desk: Desk) -> None:
    desk.drag("$q('#draggableSmall')", *desk.middle("$q('#draggableLarge')"))
    desk.click(SUBMIT)


def drag_shape(desk: Desk) -> None:
    across, down = _WAYS[desk.find(r"(left|right|up|down)")]
    x, y = desk.middle("$q('svg > *')")
    desk.drag("$q('svg > *')", x + across, y + down)
    desk.click(SUBMIT)


def _sort(desk: Desk, first: int, last: int) -> None:
    """Drag an item of a list just over the place of another."""
    item, other = (f"$all('#sortable > li')[{number}]" for number in (first, last))
    x, y = desk.middle(other)
    _, top, _, bottom = desk.box(other)
    beyond = (bottom - top) * 0.3
    desk.drag(item, x, y + math.copysign(beyond, last - first))


def drag_item(desk: Desk) -> None:
    names = desk.ask("$all('#sortable > li').map(e => e.textContent)")
    name, where = re.findall(r"Drag (\S+) (.*)", desk.goal)[0]
    first = names.index(name)
    ordinal = re.search(r"to the (\d)", where)
    if ordinal:
        last = int(ordinal[1]) - 1
    elif "position" in where:
        last = first + (1 if "down" in where else -1)
    else:
        last = 0 if "top" in where else len(names) - 1
    _sort(desk, first, last)


def drag_to_cell(desk: Desk) -> None:
    names = desk.ask("$all('#sortable > li').map(e => e.textContent)")
    name, where = re.findall(r"Drag (\S+) (.*)", desk.goal)[0]
    first = names.index(name)
    row, column = first // 3, first % 3
    if "by one" in where:
        row += ("down" in where) - ("up" in where)
        column += ("right" in where) - ("left" in where)
    else:
        row = 0 if "top" in where else 2 if "bottom" in where else 1
        column = 0 if "left" in where else 2 if "right" in where else 1
    last = 3 * row + column
    x, y = desk.middle(f"$all('#sortable > li')[{last}]")
    desk.drag(f"$all('#sortable > li')[{first}]", x + math.copysign(8, last - first), y)


def sort_numbers(desk: Desk) -> None:
    count = desk.ask("$all('#sortable > li').length")
    for place in range(count - 1):
        numbers = [int(text) for text in desk.ask("$all('#sortable > li').map(e => e.textContent)")]
        smallest = numbers.index(min(numbers[place:]))
        if smallest != place:
            _sort(desk, smallest, place)
    desk.click(SUBMIT)


_TAGS = {"rectangles": "rect", "circles": "circle", "triangles": "polygon"}
_FREE = "$all('#area_svg > *:not(#shape-container)')"


def _place_in(desk: Desk, number: int, container: str, rank: int) -> None:
    """A shape into a box, each at a place of its own, so that none covers another."""
    x1, y1, x2, y2 = desk.box(container)
    columns = max(1, int((x2 - x1 - 12) // 17))
    x, y = x1 + 14 + 17 * (rank % columns), y1 + 14 + 15 * (rank // columns)
    desk.drag(f"{_FREE}[{number}]", min(x, x2 - 12), min(y, y2 - 12))


def drag_shapes_into_box(desk: Desk) -> None:
    tag = _TAGS[desk.find(r"all (\w+)")]
    x1, y1, x2, y2 = desk.box("$q('#shape-container')")
    ranks = 0
    for number, (name, x, y) in enumerate(_shapes(desk)):
        is_inside = x1 - 10 < x < x2 + 10 and y1 - 10 < y < y2 + 10
        if name == tag:
            _place_in(desk, number, "$q('#shape-container')", ranks)
            ranks += 1
        elif is_inside:
            desk.drag(f"{_FREE}[{number}]", 5 if x1 > 40 else 150, 60 if y1 > 90 else 190)
    desk.click(SUBMIT)


def _shapes(desk: Desk) -> list[tuple[str, float, float]]:
    shapes = desk.ask(
        f"{_FREE}.map(e => (r => [e.localName, (r.left + r.right) / 2, (r.top + r.bottom) / 2])"
        "(e.getBoundingClientRect()))"
    )
    return [(name, x, y) for name, x, y in shapes]


def sort_shapes_into_boxes(desk: Desk) -> None:
    kind = desk.find(r"all (\w+)")
    colours = desk.ask(f"{_FREE}.map(e => e.getAttribute('fill'))")
    ranks = [0, 0]
    for number, (name, _, _) in enumerate(_shapes(desk)):
        left = name == _TAGS[kind] if kind in _TAGS else colours[number] == kind
        side = 0 if left else 1
        _place_in(desk, number, f"$all('#shape-container')[{side}]", ranks[side])
        ranks[side] += 1
    desk.click(SUBMIT)


def _set_slider(desk: Desk, slider: str, output: str, value: int) -> None:
    """With the mouse to about the value, then with keys."""
    low, high, _step = desk.ask(f"['min', 'max', 'step'].map(name => $({slider}).slider('option', name))")
    x1, y1, x2, y2 = desk.box(slider)
    part = (value - low) / (high - low)
    handle = f"{slider}.querySelector('.ui-slider-handle')"
    if x2 - x1 > y2 - y1:
        desk.drag(handle, x1 + part * (x2 - x1), (y1 + y2) / 2)
    else:
        desk.drag(handle, (x1 + x2) / 2, y2 - part * (y2 - y1))
    for _ in range(12):
        at = int(desk.ask(f"{output}.textContent"))
        if at == value:
            return
        desk.key("right" if value > at else "left")
    raise Dropped("slider_not_set")


def use_slider(desk: Desk) -> None:
    _set_slider(desk, "$q('#slider')", "$q('#val')", int(desk.find(r"Select (-?\d+)")))
    desk.click(SUBMIT)


def use_sliders(desk: Desk) -> None:
    for number, value in enumerate(desk.find(r"\[(.*)\]").split(","), 1):
        _set_slider(desk, f"$q('#slider-{number}')", f"$q('#val-{number}')", int(value))
    desk.click(SUBMIT)


def use_spinner(desk: Desk) -> None:
    value = int(desk.find(r"Select (-?\d+)"))
    for _ in range(abs(value)):
        desk.click(f"$q('.ui-spinner-{'up' if value > 0 else 'down'}')")
    desk.click(SUBMIT)


def fill_form_with_slider(desk: Desk) -> None:
    _set_slider(desk, "$q('#slider')", "$q('#val')", int(desk.find(r"Select (-?\d+)")))
    number = desk.find(r"the (\d)")
    desk.click(f"$q('#checkbox-{number}')")
    desk.click(SUBMIT)


def resize_text_area(desk: Desk) -> None:
    sign = 1 if "larger" in desk.goal else -1
    handle = "$q('.ui-resizable-e')" if "width" in desk.goal else "$q('.ui-resizable-s')"
    x, y = desk.middle(handle)
    desk.drag(handle, x + sign * 20 * ("width" in desk.goal), y + sign * 20 * ("height" in desk.goal))
    desk.click(SUBMIT)


def highlight(desk: Desk) -> None:
    """From before the first character of a paragraph to behind the last."""
    number = int(desk.find(r"the (\d)")) if re.search(r"the \d", desk.goal) else 0
    element = f"$all('#randomText p')[{number - 1}]" if number else "$q('#randomText')"
    rects = desk.ask(
        f"(range => (range.selectNodeContents({element}), [...range.getClientRects()].filter(r => r.width)"
        ".map(r => [r.left, r.top, r.right, r.bottom])))(document.createRange())"
    )
    first, last = rects[0], rects[-1]
    desk.drag_from(first[0] + 0.3, (first[1] + first[3]) / 2, min(last[2] + 4, 158), (last[1] + last[3]) / 2)
    desk.click(SUBMIT)


def scroll_text(desk: Desk) -> None:
    """By the keys that lead to the ends of a text."""
    desk.click("$q('#text-area')")
    desk.key("ctrl+home" if "top" in desk.goal else "ctrl+end")
    desk.click(SUBMIT)


def trace_line(desk: Desk) -> None:
    """A line through the dot, from one side of it to the other."""
    x, y = desk.middle("$q('#circ')")
    x1, y1, x2, y2 = desk.box("$q('#area svg')")
    if "vertical" in desk.goal:
        desk.drag_from(x, y1 + 4, x, y2 - 4)
    else:
        desk.drag_from(x1 + 4, y, x2 - 4, y)
    desk.click(SUBMIT)


EXPERTS = {
    "drag-box": drag_box,
    "drag-circle": drag_shape,
    "drag-items": drag_item,
    "drag-items-grid": drag_to_cell,
    "drag-shapes": drag_shapes_into_box,
    "drag-shapes-2": sort_shapes_into_boxes,
    "drag-single-shape": drag_shape,
    "drag-sort-numbers": sort_numbers,
    "draw-line": trace_line,  # words: the task's name
    "form-sequence": fill_form_with_slider,
    "highlight-text": highlight,
    "highlight-text-2": highlight,
    "resize-textarea": resize_text_area,
    "scroll-text-2": scroll_text,
    "use-slider": use_slider,
    "use-slider-2": use_sliders,
    "use-spinner": use_spinner,
}
