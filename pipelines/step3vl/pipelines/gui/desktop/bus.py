"""The accessibility tree of desktop programs, read over D-Bus by the protocol AT-SPI.

A question to a program takes a fraction of a millisecond, but a window has hundreds of widgets, so the questions about
all widgets of a level are sent before the first answer is read. Only what is showing is read: closed menus have
hundreds of items, and their boxes lie.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from step3vl.data.errors import InfrastructureError
from step3vl.data.optional import require
from step3vl.pipelines.core.steps import Dropped

Rect = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of the screen."""
Reference = tuple[str, str]
"""The name of a program on the bus and the path of an object in it."""

_ATSPI = "org.a11y.atspi"
_ROOT: Reference = (f"{_ATSPI}.Registry", f"/{_ATSPI.replace('.', '/')}/accessible/root")
_SCREEN_COORDINATES = 0  # ATSPI_COORD_TYPE_SCREEN
_LINE = 3  # ATSPI_TEXT_GRANULARITY_LINE
_STATES = {  # AtspiStateType, those that are used
    1: "active", 4: "checked", 7: "editable", 9: "expandable", 10: "expanded", 12: "focused", 16: "modal",
    20: "pressed", 22: "selectable", 23: "selected", 24: "sensitive", 25: "showing", 29: "vertical",
    32: "indeterminate", 33: "required", 36: "invalid",
}  # fmt: skip
_PIPELINE = 200  # questions that wait for an answer at a time
_SECONDS = 20.0  # for an answer
_MAX_WIDGETS = 3000
_MAX_TEXT = 4000  # characters of a field
_MAX_LINES = 60  # of a label


@dataclass
class Widget:
    """What a program says about one of its widgets.

    Attributes:
        reference: Where it is on the bus.
        parent: Place of its parent in the list of all; -1 for a program.
        role: The name of its role in AT-SPI, such as `push button`.
        name: Its accessible name.
        states: Those of `_STATES` that hold.
        box: Where it is; None for what has no place.
        text: What a label says or a field contains; None without a text.
        hint: What an empty field shows.
        value: Of a slider and the like: the value, the least, the greatest, the step.
        image: Whether it shows an image.
        lines: The lines of a label with their boxes.
    """

    reference: Reference
    parent: int
    role: str
    name: str
    states: frozenset[str]
    box: Rect | None
    text: str | None = None
    hint: str = ""
    value: tuple[float, float, float, float] | None = None
    image: bool = False
    lines: list[tuple[str, Rect]] = field(default_factory=list)


class AccessibilityBus:
    """A connection to the accessibility bus of a desktop.

    Args:
        address: Of the desktop's message bus.

    Raises:
        InfrastructureError: There is no accessibility bus.
    """

    def __init__(self, address: str) -> None:
        self._jeepney = require("jeepney", "pipelines")
        self._open = require("jeepney.io.blocking", "pipelines").open_dbus_connection
        self._session: Any = self._open(address)
        self._connection: Any = self._session
        status = ("org.a11y.Bus", "/org/a11y/bus")
        (reply,) = self._ask([self._call(status, "org.a11y.Bus", "GetAddress")])
        if reply is None:
            self.close()
            raise InfrastructureError("the desktop has no accessibility bus")
        # Programs that start later see this and say what they show.
        self._ask([self._set(status, "org.a11y.Status", "IsEnabled", "b", True)])
        self._connection = self._open(reply[0])

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()
        self._session.close()

    def read(self) -> list[Widget]:
        """Every widget that is showing, in document order, with its program before it.

        Raises:
            Dropped: There are too many, or the program does not answer.
            OSError: The bus is gone.
        """
        try:
            return self._read()
        except TimeoutError:  # not the machine's: the bus itself answers for programs that are gone
            raise Dropped("program_does_not_answer") from None

    def _read(self) -> list[Widget]:
        (reply,) = self._ask([self._accessible(_ROOT, "GetChildren")])
        nodes: list[tuple[Widget, set[str]]] = []
        level = [(-1, reference) for reference in (reply[0] if reply else [])]
        while level:
            level = self._read_level(level, nodes)
            if len(nodes) > _MAX_WIDGETS:
                raise Dropped("too_many_widgets")
        self._read_details(nodes)
        return _in_document_order([widget for widget, _ in nodes])

    def _read_level(
        self, level: Sequence[tuple[int, Reference]], nodes: list[tuple[Widget, set[str]]]
    ) -> list[tuple[int, Reference]]:
        """Read widgets that are as deep as each other, add those that are showing, and return their children."""
        references = [reference for _, reference in level]
        basics = self._ask_each(references, ("GetState", "GetRoleName"))
        showing = []
        for (parent, reference), (state, role) in zip(level, basics, strict=True):
            states = _states(state[0]) if state else frozenset()
            if role and ("showing" in states or role[0] == "application"):
                showing.append((parent, reference, role[0], states))
        references = [reference for _, reference, _, _ in showing]
        more = self._ask_each(references, ("GetInterfaces", "GetChildren"))
        names = self._ask([self._get(reference, "Accessible", "Name") for reference in references])
        extents = self._ask(
            [self._call(r, f"{_ATSPI}.Component", "GetExtents", "u", (_SCREEN_COORDINATES,)) for r in references]
        )
        following = []
        for (parent, reference, role_name, states), (interfaces, children), name, extent in zip(
            showing, more, names, extents, strict=True
        ):
            box = _rect(extent[0]) if extent else None
            widget = Widget(reference, parent, role_name, _text(name), states, box)
            known = {interface.rpartition(".")[2] for interface in (interfaces[0] if interfaces else ())}
            nodes.append((widget, known))
            following += [(len(nodes) - 1, child) for child in (children[0] if children else ())]
        return following

    def _read_details(self, nodes: Sequence[tuple[Widget, set[str]]]) -> None:
        def having(interface: str) -> list[Widget]:
            return [widget for widget, known in nodes if interface in known]

        texts = having("Text")
        for widget, reply in self._each(texts, f"{_ATSPI}.Text", "GetText", "ii", (0, _MAX_TEXT)):
            widget.text = reply[0] if reply else ""
        self._read_lines([w for w in texts if "editable" not in w.states and (w.text or "").strip()])
        fields = [widget for widget in texts if "editable" in widget.states and not widget.text]
        for widget, reply in self._each(fields, f"{_ATSPI}.Accessible", "GetAttributes"):
            widget.hint = reply[0].get("placeholder-text", "") if reply else ""
        for widget, reply in self._each(having("Image"), f"{_ATSPI}.Image", "GetImageSize"):
            widget.image = bool(reply and min(reply) > 0)
        values = having("Value")
        names = ("CurrentValue", "MinimumValue", "MaximumValue", "MinimumIncrement")
        replies = self._ask([self._get(widget.reference, "Value", name) for widget in values for name in names])
        for widget, numbers in zip(values, _pieces(replies, len(names)), strict=True):
            if all(numbers):
                value, low, high, step = (float(number[0][1]) for number in numbers)
                widget.value = value, low, high, step

    def _read_lines(self, labels: Sequence[Widget]) -> None:
        """The lines of labels, all first lines at once, then all second ones."""
        waiting = [(widget, 0) for widget in labels]
        for _ in range(_MAX_LINES):
            if not waiting:
                return
            calls = [self._text_call(widget, "GetStringAtOffset", "iu", (at, _LINE)) for widget, at in waiting]
            places, following = [], []
            for (widget, at), reply in zip(waiting, self._ask(calls), strict=True):
                if reply is None:
                    continue
                line, start, end = reply
                if line.strip():
                    first = start + len(line) - len(line.lstrip())
                    places.append((widget, first, first + len(line.strip())))
                if at < end < len(widget.text or ""):
                    following.append((widget, end))
            calls = [
                self._text_call(widget, "GetRangeExtents", "iiu", (start, end, _SCREEN_COORDINATES))
                for widget, start, end in places
            ]
            for (widget, start, end), reply in zip(places, self._ask(calls), strict=True):
                if reply and (box := _rect(reply)) is not None:
                    widget.lines.append(((widget.text or "")[start:end], box))
            waiting = following

    def _text_call(self, widget: Widget, member: str, signature: str, body: tuple[int, ...]) -> Any:
        return self._call(widget.reference, f"{_ATSPI}.Text", member, signature, body)

    def _each(
        self, widgets: Sequence[Widget], interface: str, member: str, signature: str | None = None, body: Any = ()
    ) -> Iterator[tuple[Widget, Any]]:
        """Widgets with what they answer to the same question."""
        calls = [self._call(widget.reference, interface, member, signature, body) for widget in widgets]
        return zip(widgets, self._ask(calls), strict=True)

    def _ask_each(self, references: Sequence[Reference], members: Sequence[str]) -> list[tuple[Any, ...]]:
        replies = self._ask([self._accessible(reference, member) for reference in references for member in members])
        return list(_pieces(replies, len(members)))

    def _ask(self, messages: Sequence[Any]) -> list[Any]:
        """The answers to messages, in order; None for an error, such as that of a widget that has just gone.

        Raises:
            OSError: The bus is gone, or somebody does not answer.
        """
        answers: list[Any] = []
        for some in _pieces(messages, _PIPELINE):
            places = {}
            for message in some:
                serial = next(self._connection.outgoing_serial)
                places[serial] = len(answers)
                answers.append(None)
                self._connection.send(message, serial=serial)
            end = time.monotonic() + _SECONDS
            while places:
                reply = self._connection.receive(timeout=max(0.0, end - time.monotonic()))
                serial = reply.header.fields.get(self._jeepney.HeaderFields.reply_serial)
                if serial in places:
                    place = places.pop(serial)
                    if reply.header.message_type is self._jeepney.MessageType.method_return:
                        answers[place] = reply.body
        return answers

    def _call(
        self, reference: Reference, interface: str, member: str, signature: str | None = None, body: Any = ()
    ) -> Any:
        name, path = reference
        address = self._jeepney.DBusAddress(path, name, interface)
        return self._jeepney.new_method_call(address, member, signature, body)

    def _accessible(self, reference: Reference, member: str) -> Any:
        return self._call(reference, f"{_ATSPI}.Accessible", member)

    def _get(self, reference: Reference, interface: str, name: str) -> Any:
        return self._call(reference, "org.freedesktop.DBus.Properties", "Get", "ss", (f"{_ATSPI}.{interface}", name))

    def _set(self, reference: Reference, interface: str, name: str, signature: str, value: Any) -> Any:
        return self._call(
            reference, "org.freedesktop.DBus.Properties", "Set", "ssv", (interface, name, (signature, value))
        )


def _pieces(items: Sequence[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Pieces of `size` items; the last may be shorter."""
    return (tuple(items[start : start + size]) for start in range(0, len(items), size))


def _states(words: Sequence[int]) -> frozenset[str]:
    bits = words[0] | (words[1] << 32 if len(words) > 1 else 0)
    return frozenset(name for bit, name in _STATES.items() if bits >> bit & 1)


def _text(reply: Any) -> str:
    """The text of a property, in one line."""
    return " ".join(str(reply[0][1]).split()) if reply else ""


def _rect(extent: Sequence[int]) -> Rect | None:
    """A box of x, y, width and height. What is nowhere has none: it is said to be at the least integer, or at -1."""
    x, y, width, height = extent
    if x < -(1 << 20) or width <= 0 or height <= 0:
        return None
    return x, y, x + width, y + height


def _in_document_order(widgets: Sequence[Widget]) -> list[Widget]:
    """Widgets that were read level by level, as they stand in the tree; their parents are changed accordingly."""
    children: dict[int, list[int]] = {}
    for number, widget in enumerate(widgets):
        children.setdefault(widget.parent, []).append(number)
    ordered: list[Widget] = []
    places = {-1: -1}
    waiting = children.get(-1, [])[::-1]
    while waiting:
        number = waiting.pop()
        places[number] = len(ordered)
        ordered.append(widgets[number])
        waiting += children.get(number, [])[::-1]
    for widget in ordered:
        widget.parent = places[widget.parent]
    return ordered
