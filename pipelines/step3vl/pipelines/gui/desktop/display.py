"""A display of the X Window System: what is on it, and the mouse and keyboard that act on it."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from PIL import Image as PILImage
from PIL import ImageGrab

from step3vl.data.errors import InfrastructureError
from step3vl.data.optional import require
from step3vl.pipelines.gui.desktop.bus import Rect

_SETTLE = 0.08  # seconds between two looks at the screen
_QUIET = 3  # looks in a row that are the same
_SETTLE_SECONDS = 4.0
_KEY_SECONDS = 0.02
_MANAGER_SECONDS = 20.0
_MAPPING_SECONDS = 0.1  # until programs know of another keyboard
_DRAG_STEPS = 8
_MINIMUM = 12  # pixels; smaller windows belong to the machinery of toolkits
_WHEEL = {"up": 4, "down": 5, "left": 6, "right": 7}
_NOTCHES = 5
_KEYS = {
    "ctrl": "Control_L", "control": "Control_L", "alt": "Alt_L", "shift": "Shift_L", "enter": "Return",
    "return": "Return", "escape": "Escape", "esc": "Escape", "tab": "Tab", "space": "space",
    "backspace": "BackSpace", "delete": "Delete", "up": "Up", "down": "Down", "left": "Left", "right": "Right",
    "home": "Home", "end": "End",
}  # fmt: skip


class Display:
    """A connection to a display.

    Args:
        name: Such as `:3`.

    Raises:
        InfrastructureError: There is none of that name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._x: Any = require("Xlib.X", "pipelines")
        self._keysyms: Any = require("Xlib.XK", "pipelines")
        self._test: Any = require("Xlib.ext.xtest", "pipelines")
        error = require("Xlib.error", "pipelines")
        self._errors = (error.XError, error.ConnectionClosedError)
        try:
            self._display = require("Xlib.display", "pipelines").Display(name)
        except error.DisplayError as problem:
            raise InfrastructureError(f"no connection to the display {name}: {problem}") from None
        self._root = self._display.screen().root
        first, last = self._display.display.info.min_keycode, self._display.display.info.max_keycode
        keyboard = self._display.get_keyboard_mapping(first, last - first + 1)
        self._free = [code for code, keysyms in enumerate(keyboard, first) if not any(keysyms)]
        self._put: dict[str, int] = {}  # characters on these keys

    def close(self) -> None:
        """Close the connection."""
        with suppress(*self._errors):  # the display has crashed
            self._display.close()

    def screenshot(self) -> PILImage.Image:
        """What the screen shows, without the pointer."""
        return ImageGrab.grab(xdisplay=self._name)

    def settle(self) -> None:
        """Wait until the screen has not changed for a moment, or for some seconds."""
        end = time.monotonic() + _SETTLE_SECONDS
        last, same = b"", 0
        while same < _QUIET and time.monotonic() < end:
            time.sleep(_SETTLE)
            pixels = self.screenshot().tobytes()
            same = same + 1 if pixels == last else 0
            last = pixels

    def windows(self) -> list[Rect]:
        """Where the windows are that can be seen, the topmost first, with their frames."""
        boxes = []
        for window in reversed(self._root.query_tree().children):
            try:
                attributes, place = window.get_attributes(), window.get_geometry()
            except self._errors:  # it has just gone
                continue
            if attributes.map_state != self._x.IsViewable or attributes.win_class == self._x.InputOnly:
                continue
            if min(place.width, place.height) >= _MINIMUM:
                border = place.border_width
                x2, y2 = place.x + place.width + 2 * border, place.y + place.height + 2 * border
                boxes.append((place.x, place.y, x2, y2))
        return boxes

    def wait_for_window_manager(self) -> None:
        """Wait until there is one: it would not place windows that were there before it.

        Raises:
            InfrastructureError: There is none after some seconds.
        """
        check = self._display.intern_atom("_NET_SUPPORTING_WM_CHECK")
        end = time.monotonic() + _MANAGER_SECONDS
        while self._root.get_full_property(check, self._x.AnyPropertyType) is None:
            if time.monotonic() > end:
                raise InfrastructureError(f"no window manager on the display {self._name}")
            time.sleep(_SETTLE)

    def paint(self, colour: str) -> None:
        """Give the desktop behind all windows a colour, such as `#0b57d0`."""
        self._root.change_attributes(background_pixel=int(colour.removeprefix("#"), 16))
        self._root.clear_area(0, 0, 0, 0)
        self._display.sync()

    def move(self, x: float, y: float) -> None:
        """Move the pointer."""
        self._send(self._x.MotionNotify, x=round(x), y=round(y))

    def click(self, x: float, y: float, times: int = 1, seconds: float = 0.0) -> None:
        """Move the pointer and press its first button, each time for some seconds."""
        self.move(x, y)
        for _ in range(times):
            self._send(self._x.ButtonPress, 1)
            time.sleep(seconds)
            self._send(self._x.ButtonRelease, 1)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Move the pointer with its first button pressed."""
        self.move(*start)
        self._send(self._x.ButtonPress, 1)
        for step in range(1, _DRAG_STEPS + 1):
            self.move(*(a + (b - a) * step / _DRAG_STEPS for a, b in zip(start, end, strict=True)))
            time.sleep(_KEY_SECONDS)
        self._send(self._x.ButtonRelease, 1)

    def scroll(self, x: float, y: float, direction: str) -> None:
        """Turn the wheel."""
        self.move(x, y)
        for _ in range(_NOTCHES):
            self._send(self._x.ButtonPress, _WHEEL[direction])
            self._send(self._x.ButtonRelease, _WHEEL[direction])

    def press(self, keys: str) -> None:
        """Press keys together, such as `ctrl+a`.

        Raises:
            ValueError: There is no such key.
        """
        codes = []
        for key in keys.split("+"):
            name = _KEYS.get(key.lower(), key)
            keysym = self._keysyms.string_to_keysym(name)
            code = self._display.keysym_to_keycode(keysym) if keysym else 0
            if not code:
                raise ValueError(f"a keyboard has no key {key!r}")
            codes.append(code)
        self._stroke(codes)

    def prepare(self, text: str) -> None:
        """Put the characters of a text that the keyboard lacks on keys that are free, as many as there are.

        Programs take a moment to learn of another keyboard, so this comes before a field is clicked.
        """
        lacking = [character for character in dict.fromkeys(text) if self._printed(character) is None]
        if all(character in self._put for character in lacking):
            return
        self._put = {character: code for code, character in zip(self._free, lacking, strict=False)}
        for character, code in self._put.items():
            keysym = _keysym(character)
            self._display.change_keyboard_mapping(code, [(keysym, keysym)])
        self._display.sync()
        time.sleep(_MAPPING_SECONDS)

    def type(self, text: str) -> None:
        """Type a text."""
        shift = self._display.keysym_to_keycode(self._keysyms.XK_Shift_L)
        for place, character in enumerate(text):
            if key := self._printed(character):
                code, shifted = key
                self._stroke((shift, code) if shifted else (code,))
            else:
                if character not in self._put:
                    self.prepare(text[place:])
                self._stroke((self._put[character],))
            time.sleep(_KEY_SECONDS)

    def _printed(self, character: str) -> tuple[int, bool] | None:
        """The code of the key of a character, and whether it needs the shift key; None where no key has it."""
        for code, level in self._display.keysym_to_keycodes(_keysym(character)):
            if level in (0, 1):
                return code, level == 1
        return None

    def _stroke(self, codes: Sequence[int]) -> None:
        """Press keys in turn and release them in reverse."""
        for code in codes:
            self._send(self._x.KeyPress, code)
        for code in reversed(codes):
            self._send(self._x.KeyRelease, code)

    def _send(self, kind: int, detail: int = 0, x: int = 0, y: int = 0) -> None:
        self._test.fake_input(self._display, kind, detail, x=x, y=y)
        self._display.sync()


def _keysym(character: str) -> int:
    """The number of a character as X11 has it: Latin-1 as it is, the rest of Unicode after 0x01000000."""
    point = ord(character)
    return point if point < 0x100 else 0x0100_0000 + point
