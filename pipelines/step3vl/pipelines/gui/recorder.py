"""A browser that records: it opens pages offline, says what they show, and performs actions on them.

The same page, view and actions give the same bytes on the same Chromium: the clock stands still and is moved by the
recorder, random numbers are seeded, nothing is animated, the fonts are those of the corpus, and no request leaves the
machine. Boxes are measured before and after the screenshot and must be the same.
"""

import base64
import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from step3vl.data.errors import InfrastructureError
from step3vl.data.optional import require
from step3vl.data.sample import Action, Image
from step3vl.pipelines.core.scratch import scratch_folder
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.accessibility import AccessibilityTree, read_tree
from step3vl.pipelines.gui.fonts import font_config
from step3vl.pipelines.gui.screen import Element, MilliPoint, Screen, TextLine
from step3vl.pipelines.gui.site import Site
from step3vl.pipelines.gui.view import View
from step3vl.pipelines.render.web.browser import FLAGS, PLAYWRIGHT, find_chromium

ResultT = TypeVar("ResultT")

_FOLDER = Path(__file__).parent
_FREEZE = (_FOLDER / "freeze.js").read_text()
_PROBE = (_FOLDER / "probe.js").read_text()
# Two frames of the browser, not of the page's clock: until then, what was scrolled has been told to the page.
_KEEP_FRAMES = "window.__step3vl = {leaving: false, frame: requestAnimationFrame.bind(window)}"
_TWO_FRAMES = "new Promise(done => __step3vl.frame(() => __step3vl.frame(() => done())))"
_MORE_FLAGS = (
    "--disable-smooth-scrolling",
    "--disable-partial-raster",  # else what is painted again in a part of a tile has other pixels at round corners
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--disable-features=Translate",
)
_TIMEOUT = 60_000  # milliseconds for anything that the browser is asked
_START_TIMEOUT = 120_000
_EPOCH = 1_772_442_000  # seconds: 2026-03-02T09:00:00Z, what every page takes for now
_SETTLE = 400  # milliseconds of the page's time after an action
_LONG_PRESS = 900  # milliseconds of the page's time
_WAIT = 2_000  # milliseconds of the page's time that `wait` lasts
_SCROLL_SHARE = 0.6  # of the window's height, or width, that a scroll moves
_LEAVE_SECONDS = 60.0  # for another document to come
_POLL = 0.01  # seconds
_SCROLL_POLLS = 12
_MAX_EPISODES = 100  # of a browser, before another is started
_KEYS = {
    "ctrl": "Control", "control": "Control", "alt": "Alt", "shift": "Shift", "enter": "Enter", "return": "Enter",
    "escape": "Escape", "esc": "Escape", "tab": "Tab", "space": "Space", "backspace": "Backspace", "delete": "Delete",
    "up": "ArrowUp", "down": "ArrowDown", "left": "ArrowLeft", "right": "ArrowRight", "home": "Home", "end": "End",
}  # fmt: skip
_SCROLLED = """(() => { const places = [], walk = root => { for (const element of root.querySelectorAll('*')) {
  places.push(element.scrollLeft, element.scrollTop);
  if (element.shadowRoot) walk(element.shadowRoot);
  if (element.localName === 'iframe' && element.contentDocument) walk(element.contentDocument);
} }; walk(document); return places.join(); })()"""
_HAS_PARTS = "['date', 'time', 'month', 'week', 'datetime-local'].includes(document.activeElement?.type)"
_SCROLLS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}


class GuiPage:
    """A page that is looked at and acted on: the environment of an agent. Made by `Recorder.run`."""

    def __init__(self, browser: Any, site: Site, view: View) -> None:
        self._browser, self._site, self._view = browser, site, view
        self._context: Any = None
        self._refused = False
        self.reset()

    def reset(self) -> None:
        """Open the first page of the site as if nothing had happened."""
        self.close()
        try:
            self._open()
        except BaseException:
            self.close()  # nobody else can: who opens a page has none yet
            raise

    def _open(self) -> None:
        view, site = self._view, self._site
        context = self._browser.new_context(
            viewport={"width": view.width, "height": view.height},
            device_scale_factor=view.scale,
            color_scheme=view.theme,
            reduced_motion="reduce",
            locale={"en": "en-US", "zh": "zh-CN"}[view.language],
            timezone_id="UTC",
            service_workers="block",
            accept_downloads=False,
        )
        self._context = context
        context.set_default_timeout(_TIMEOUT)
        context.route("**/*", self._answer)
        context.add_init_script(_KEEP_FRAMES)
        context.clock.install(time=_EPOCH)
        context.clock.pause_at(_EPOCH)
        settings = json.dumps(view.model_dump(mode="json"), ensure_ascii=False)
        context.add_init_script(f"{_FREEZE}({settings}, {_EPOCH * 1000})")
        self._page = context.new_page()
        context.on("page", lambda window: window.close())  # windows of their own are not on the screen
        self._page.on("dialog", lambda dialog: dialog.dismiss())
        self._devtools = context.new_cdp_session(self._page)
        metrics = {"width": view.width, "height": view.height, "deviceScaleFactor": view.scale, "mobile": False}
        # Playwright has set them for its own session; screenshots come through this one.
        self._devtools.send("Emulation.setDeviceMetricsOverride", metrics)
        self._page.goto(site.start, wait_until="load")
        self._settle()

    def close(self) -> None:
        """Close the page."""
        if self._context is not None:
            with contextlib.suppress(Exception):  # of a browser that has crashed
                self._context.close()
            self._context = None

    def evaluate(self, expression: str, argument: Any = None) -> Any:
        """The value of a JavaScript expression in the page, for what only the page knows."""
        return self._page.evaluate(expression, argument)

    def pass_time(self, milliseconds: int) -> None:
        """Let the page's time pass."""
        self._page.clock.run_for(milliseconds)
        self._page.evaluate(_TWO_FRAMES)

    def observe(self) -> Screen:
        """The screen as it is.

        Raises:
            Dropped: The page moves while it is observed.
        """
        text = self._page.evaluate(_PROBE)
        probe = json.loads(text)
        png = base64.b64decode(self._devtools.send("Page.captureScreenshot", {"format": "png"})["data"])
        tree = read_tree(self._devtools, probe["names"])
        if self._page.evaluate(_PROBE) != text:
            raise Dropped("page_moves")
        return _screen(probe, png, tree, self._site)

    def act(self, action: Action) -> None:
        """Perform an action and wait until the page has done what it does.

        `type` replaces what the field at its point contains. `scroll` moves the view: `down` shows what is below.

        Raises:
            ValueError: A page in a browser has no such action, or the document that it leads to does not come.
        """
        mouse, keyboard = self._page.mouse, self._page.keyboard
        self._refused = False
        x, y = self._pixels(action.point_2d or (500, 500))
        match action.action:
            case "click":
                mouse.click(x, y)
            case "double_click":
                mouse.dblclick(x, y)
            case "long_press":
                mouse.move(x, y)
                mouse.down()
                self._page.clock.run_for(_LONG_PRESS)
                mouse.up()
            case "type":
                if action.point_2d:
                    mouse.click(x, y)
                    keyboard.press("Control+A")
                if self._page.evaluate(_HAS_PARTS):
                    keyboard.type(action.text or "")
                else:
                    keyboard.insert_text(action.text or "")
            case "hot_key" if (action.text or "").lower() == "back":
                self._page.go_back()
            case "hot_key":
                self._press(action.text or "")
            case "slide":
                mouse.move(x, y)
                mouse.down()
                mouse.move(*self._pixels(action.end_point_2d or (500, 500)), steps=4)
                mouse.up()
            case "scroll":
                self._scroll(x, y, action.direction or "down")
            case "wait":
                self._page.clock.run_for(_WAIT)
            case _:
                raise ValueError(f"a page in a browser cannot {action.action}")
        self._settle()

    def _press(self, keys: str) -> None:
        """Press keys together. Raises ValueError for a key that there is none of."""
        api = require("playwright.sync_api", "pipelines")
        try:
            self._page.keyboard.press("+".join(_KEYS.get(key.lower(), key) for key in keys.split("+")))
        except api.Error as error:
            if "Unknown key" not in str(error):
                raise
            raise ValueError(f"there is no key {keys!r}") from error

    def _answer(self, route: Any) -> None:
        """What the site has, to whoever asks for it; another document that it lacks leaves the page as it is."""
        request = route.request
        reply = self._site.reply(request.url) if request.method == "GET" else None
        if reply is not None:
            route.fulfill(body=reply.body, content_type=reply.content_type)
        elif request.is_navigation_request():
            self._refused = True
            route.fulfill(status=204)
        else:
            route.abort()

    def _pixels(self, point: MilliPoint) -> tuple[float, float]:
        return point[0] / 1000 * self._view.width, point[1] / 1000 * self._view.height

    def _scroll(self, x: float, y: float, direction: str) -> None:
        across, down = _SCROLLS[direction]
        start = last = self._page.evaluate(_SCROLLED)
        self._page.mouse.move(x, y)
        self._page.mouse.wheel(
            across * round(self._view.width * _SCROLL_SHARE), down * round(self._view.height * _SCROLL_SHARE)
        )
        for _ in range(_SCROLL_POLLS):  # the compositor scrolls, and tells the page a frame later
            self._page.evaluate(_TWO_FRAMES)
            position = self._page.evaluate(_SCROLLED)
            if position == last != start:
                return
            last = position

    def _settle(self) -> None:
        """Wait for another document if one comes, then let the page's time pass."""
        api = require("playwright.sync_api", "pipelines")
        end = time.monotonic() + _LEAVE_SECONDS
        while True:
            try:
                if not self._page.evaluate("window.__step3vl.leaving"):
                    break
                if self._refused:
                    self._page.evaluate("window.__step3vl.leaving = false")
            except api.Error as error:
                if "context" not in str(error) and "navigation" not in str(error):
                    raise
            if time.monotonic() > end:
                raise ValueError(f"the document after {self._page.url} does not come")
            time.sleep(_POLL)
        self._page.wait_for_load_state("load")
        self._page.clock.run_for(_SETTLE)
        self._page.evaluate(_TWO_FRAMES)
        self._page.evaluate("document.fonts.ready.then(() => 0)")


class Recorder:
    """A browser for recordings, started when it is needed and replaced now and then.

    Args:
        fonts: The font files that pages may use; those of the machine are hidden from the browser.
    """

    def __init__(self, fonts: Sequence[Path]) -> None:
        self._fonts = [path.resolve() for path in fonts]
        self._driver: Any = None
        self._browser: Any = None
        self._folder: Path | None = None
        self._episodes = 0

    def run(self, site: Site, view: View, episode: Callable[[GuiPage], ResultT]) -> ResultT:
        """Open the first page of a site in a view and do something with it.

        After a crash of the browser the whole is done once more in a new one.

        Args:
            site: What answers the requests.
            view: How the page is shown.
            episode: What is done, in the thread of the driver. Called again after a crash.

        Raises:
            InfrastructureError: Chromium does not start.
            ValueError: Chromium fails twice.
        """
        return PLAYWRIGHT.call(lambda: self._twice(site, view, episode))

    def close(self) -> None:
        """End the browser; a later call starts another."""
        PLAYWRIGHT.call(self._close)

    def _twice(self, site: Site, view: View, episode: Callable[[GuiPage], ResultT]) -> ResultT:
        api = require("playwright.sync_api", "pipelines")
        try:
            return self._once(site, view, episode)
        except api.Error:  # the page or the browser has crashed, maybe of what it did before
            self._close()
        try:
            return self._once(site, view, episode)
        except api.Error as error:
            self._close()
            raise ValueError(f"Chromium fails on {site.start}: {' '.join(str(error).split())[:300]}") from error

    def _once(self, site: Site, view: View, episode: Callable[[GuiPage], ResultT]) -> ResultT:
        page = self.open(site, view)
        try:
            return episode(page)
        finally:
            page.close()

    def open(self, site: Site, view: View) -> GuiPage:
        """The first page of a site in a view, for who is in the thread of the driver and closes it.

        Nothing is repeated after a crash; a browser that has crashed before is replaced by another.

        Args:
            site: What answers the requests.
            view: How the page is shown.

        Raises:
            InfrastructureError: Chromium does not start.
        """
        if self._episodes >= _MAX_EPISODES or (self._browser is not None and not self._browser.is_connected()):
            self._close()
        self._start()
        self._episodes += 1
        return GuiPage(self._browser, site, view)

    def _start(self) -> None:
        if self._browser is not None:
            return
        api = require("playwright.sync_api", "pipelines")
        try:
            self._folder = scratch_folder("fonts")
            self._driver = PLAYWRIGHT.take()
            self._browser = self._driver.chromium.launch(
                executable_path=find_chromium(),
                headless=True,
                args=[*FLAGS, *_MORE_FLAGS],
                timeout=_START_TIMEOUT,
                env={**os.environ, "FONTCONFIG_FILE": str(font_config(self._folder, self._fonts))},
            )
            self._episodes = 0
        except api.Error as error:
            self._close()
            raise InfrastructureError(f"Chromium does not start: {' '.join(str(error).split())[:500]}") from error
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        browser, driver, folder = self._browser, self._driver, self._folder
        self._browser = self._driver = self._folder = None
        for ending in (browser and browser.close, driver and PLAYWRIGHT.give_back):
            with contextlib.suppress(Exception):  # it has ended already
                if ending:
                    ending()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _screen(probe: dict[str, Any], png: bytes, tree: AccessibilityTree, site: Site) -> Screen:
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    across, down = width / probe["size"][0], height / probe["size"][1]

    def pixels(box: Sequence[float]) -> tuple[float, float, float, float]:
        x1, y1, x2, y2 = box
        return round(x1 * across, 2), round(y1 * down, 2), round(x2 * across, 2), round(y2 * down, 2)

    on_screen = {raw["index"] for raw in probe["elements"]}

    def nearest(index: int) -> int:
        while (index := probe["parents"][index]) >= 0 and index not in on_screen:
            pass
        return index

    elements = []
    for raw in probe["elements"]:
        described = tree.elements.get(raw["index"])
        node = described.node if described else None
        elements.append(
            Element(
                index=raw["index"],
                parent=nearest(raw["index"]),
                tag=raw["tag"],
                type=raw["type"],
                role=node.role if node else "",
                name=node.name if node else "",
                value=node.value if node else "",
                states=node.states if node else (),
                level=described.level if described else 0,
                text=" ".join(raw["text"].split()),
                hint=raw["hint"],
                label=raw["label"],
                range=raw["range"],
                icon=raw["icon"],
                box=pixels(raw["box"]),
                point=tuple(raw["point"]),
                whole=raw["visible"] > 0.99,
                control=raw["control"] and not raw["disabled"],
                exact=raw["reached"] and raw["inner"] == 5 and raw["edges"] >= 2,
                leads_out=bool(raw["address"]) and not site.holds(raw["address"]),
                scroll=raw["scroll"],
            )
        )
    return Screen(
        image=Image(format="png", width=width, height=height, sha256=hashlib.sha256(png).hexdigest(), data=png),
        url=probe["url"],
        title=probe["title"],
        elements=tuple(elements),
        lines=tuple(
            TextLine(text=line["text"], box=pixels(line["box"]), element=line["element"], whole=line["full"])
            for line in probe["lines"]
        ),
        tree=tree.nodes,
        scrolled=tuple((index, x, y) for index, x, y in probe["scrolled"]),
        extent=tuple(probe["extent"]),
    )
