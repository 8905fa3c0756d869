"""Web pages as images, by a Chromium that stays open: offline, with fonts of the corpus alone, always the same pixels.

One page of one browser is filled again and again, which takes a tenth of a second instead of the seconds of a start;
it is replaced after some hundred documents, so that nothing it keeps can grow. What is asked of the page is what the
page itself knows: its text as shown, the boxes of its elements and whether something is cut off.
"""

import base64
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from step3vl.data.errors import InfrastructureError
from step3vl.data.optional import require
from step3vl.pipelines.core.domain import MissingProgramError
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.figures.figure import PixelBox, scaled

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox",  # of containers' root; the page is ours, has no scripts of others and no network
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-lcd-text",
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--mute-audio",
)
_ORIGIN = "https://page.invalid/"
_POLICY = f"default-src 'none'; style-src 'unsafe-inline'; font-src {_ORIGIN}"
_RECYCLE = 200  # documents of a page
_HEIGHT = 600  # CSS pixels of the window while a document is laid out
_TIMEOUT = 20_000  # milliseconds for anything that the browser is asked
_START_TIMEOUT = 120_000
_ATTRIBUTE = "data-step3vl"

_FRAME = """<!doctype html><html><head><meta charset="utf-8"><style id="faces"></style><style id="style"></style>
</head><body></body></html>"""

_FILL = """([css, html]) => {
  document.getElementById('style').textContent = css;
  document.body.innerHTML = html;
}"""

_LOAD_FONTS = """async ([families, text]) => {
  for (const family of families) {
    for (const face of [`16px "${family}"`, `bold 16px "${family}"`]) await document.fonts.load(face, text);
  }
  await document.fonts.ready;
  return families.filter(family => !document.fonts.check(`16px "${family}"`, 'a'));
}"""

# The box of a text is that of its line fragments, joined.
_MEASURE = """attribute => {
  const body = document.body, frame = body.getBoundingClientRect();
  const joined = node => {
    const range = document.createRange();
    range.selectNodeContents(node);
    const own = node.getBoundingClientRect();
    const rects = [...range.getClientRects()].filter(r => r.width > 0 && r.height > 0);
    const rows = rects.length ? rects : [own];
    return [Math.min(...rows.map(r => r.left)), Math.min(...rows.map(r => r.top)),
            Math.max(...rows.map(r => r.right)), Math.max(...rows.map(r => r.bottom)),
            own.left, own.top, own.right, own.bottom];
  };
  const boxes = [...document.querySelectorAll(`[${attribute}]`)].map(
    node => [node.getAttribute(attribute), ...joined(node)]);
  let over = document.documentElement.scrollWidth - window.innerWidth;
  for (const node of body.querySelectorAll('*')) {
    if (node.clientWidth > 0) over = Math.max(over, node.scrollWidth - node.clientWidth);
  }
  for (const node of body.querySelectorAll('pre')) {  // whose padding does not count as scrollable
    const space = parseFloat(getComputedStyle(node).paddingRight);
    over = Math.max(over, Math.ceil(joined(node)[2] + space - node.getBoundingClientRect().right));
  }
  return {text: body.innerText, html: body.innerHTML, boxes, over: Math.max(0, over),
          width: Math.ceil(frame.right), height: Math.ceil(frame.bottom)};
}"""


ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class WebPage:
    """A document to render.

    Attributes:
        css: Its style sheet.
        html: The content of its body. Scripts in it do not run.
        families: The fonts that the style sheet uses.
        width: Of the window, in CSS pixels. It is widened if the document needs it.
        scale: Pixels of a CSS pixel.
        fit: Whether the window is made as narrow as the body, which shrinks to fit.
    """

    css: str
    html: str
    families: tuple[str, ...]
    width: int
    scale: float
    fit: bool = False


@dataclass(frozen=True)
class PlacedElement:
    """Where an element of a page is, in pixels of the image.

    Attributes:
        name: The value of its `data-step3vl` attribute.
        content: The box around its text and images.
        frame: Its own box, with padding and border.
    """

    name: str
    content: PixelBox
    frame: PixelBox


@dataclass(frozen=True)
class WebPageImage:
    """A document as rendered.

    Attributes:
        png: The encoded image.
        size: Width and height in pixels.
        text: What the page shows, as the browser reads it.
        html: The content of its body, as the browser understood it.
        elements: Those that have a `data-step3vl` attribute.
    """

    png: bytes
    size: tuple[int, int]
    text: str
    html: str
    elements: tuple[PlacedElement, ...]


def find_chromium() -> str:
    """The path of the machine's Chromium.

    Raises:
        MissingProgramError: There is none.
    """
    for name in _PROGRAMS:
        if path := shutil.which(name):
            return path
    raise MissingProgramError(
        "rendering web pages needs Chromium, and none of "
        f"{', '.join(_PROGRAMS)} is installed; install it on every worker: apt-get install chromium"
    )


class _Playwright:
    """The driver of all browsers of this process, in a thread of its own.

    It keeps an event loop running, so that nothing else in its thread could use asyncio; a thread can have only one.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="playwright")
        self._driver: Any = None
        self._users = 0

    def call(self, function: Callable[[], ResultT]) -> ResultT:
        """Call a function in the thread of the driver."""
        return self._thread.submit(function).result()

    def take(self) -> Any:
        """The driver; in its thread."""
        if not self._users:
            self._driver = require("playwright.sync_api", "pipelines").sync_playwright().start()
        self._users += 1
        return self._driver

    def give_back(self) -> None:
        """End the driver if nobody else uses it; in its thread."""
        self._users -= 1
        if not self._users:
            self._driver.stop()


PLAYWRIGHT = _Playwright()


class BrowserRenderer:
    """Renders documents one after the other.

    Args:
        fonts: Font files by the family name that style sheets call them by; no other fonts may be used.
        bold: Likewise for the bold face of families that have one.
        libraries: Sources of scripts that the functions given to `run` use.
    """

    def __init__(
        self, fonts: Mapping[str, Path], bold: Mapping[str, Path] | None = None, libraries: Sequence[str] = ()
    ) -> None:
        self._fonts, self._bold = dict(fonts), dict(bold or {})
        self._libraries = list(libraries)
        self._files = {_address(path): path for path in (*self._fonts.values(), *self._bold.values())}
        self._driver: Any = None
        self._browser: Any = None
        self._page: Any = None
        self._rendered = 0

    def start(self) -> None:
        """Start the browser, unless it runs.

        Raises:
            InfrastructureError: It does not start.
        """
        PLAYWRIGHT.call(self._start)

    def _start(self) -> None:
        if self._page is not None:
            return
        api = require("playwright.sync_api", "pipelines")
        try:
            if self._browser is None:
                self._driver = PLAYWRIGHT.take()
                self._browser = self._driver.chromium.launch(
                    executable_path=find_chromium(), headless=True, args=list(FLAGS), timeout=_START_TIMEOUT
                )
            context = self._browser.new_context(java_script_enabled=True, service_workers="block", locale="en-US")
            context.set_default_timeout(_TIMEOUT)
            page = context.new_page()
            page.route("**/*", self._answer)
            page.goto(_ORIGIN)
            page.evaluate("css => { document.getElementById('faces').textContent = css; }", self._faces())
            for library in self._libraries:
                page.evaluate(library)
            self._devtools = context.new_cdp_session(page)
            self._page = page
        except api.Error as error:
            self._close()
            raise InfrastructureError(f"Chromium does not start: {' '.join(str(error).split())[:500]}") from error

    def close(self) -> None:
        """End the browser; a later call starts another."""
        PLAYWRIGHT.call(self._close)

    def _close(self) -> None:
        browser, driver = self._browser, self._driver
        self._page = self._browser = self._driver = None
        self._rendered = 0
        for ending in (browser and browser.close, driver and PLAYWRIGHT.give_back):
            try:
                if ending:
                    ending()
            except Exception:  # it has ended already
                continue

    def render(self, page: WebPage, max_side: int) -> WebPageImage:
        """Render a document as high as it is.

        Args:
            page: The document.
            max_side: Of the image, in pixels.

        Raises:
            Dropped: The document is cut off or larger than `max_side`.
            InfrastructureError: The browser does not start.
        """
        return PLAYWRIGHT.call(lambda: self._twice(partial(self._render, page, max_side)))

    def run(
        self, function: str, argument: Any, families: Sequence[str], text: str, size: tuple[int, int], scale: float
    ) -> tuple[Any, bytes]:
        """Let a function of ours fill the page.

        Args:
            function: In JavaScript; the libraries are loaded.
            argument: Its only one, of values that JSON has.
            families: The fonts that it uses.
            text: All characters that it shows.
            size: Of the window, in CSS pixels.
            scale: Pixels of a CSS pixel.

        Returns:
            What the function returns, and the image of the window as PNG.

        Raises:
            InfrastructureError: The browser does not start.
            ValueError: The function fails.
        """
        attempt = partial(self._run, function, argument, families, text, size, scale)
        return PLAYWRIGHT.call(lambda: self._twice(attempt))

    def _run(
        self, function: str, argument: Any, families: Sequence[str], text: str, size: tuple[int, int], scale: float
    ) -> tuple[Any, bytes]:
        self._next_page()
        self._resize(*size, scale)
        self._load_fonts(families, text)
        result = self._page.evaluate(function, argument)
        return result, self._capture()

    def _twice(self, render: Callable[[], ResultT]) -> ResultT:
        """Render, in a new browser where the first attempt failed."""
        api = require("playwright.sync_api", "pipelines")
        try:
            return render()
        except api.Error:  # the page or the browser has crashed, maybe of what it did before
            self._close()
        try:
            return render()
        except api.Error as error:
            self._close()
            raise ValueError(f"Chromium fails on the page: {' '.join(str(error).split())[:300]}") from error

    def _next_page(self) -> None:
        """Have a page that is not worn."""
        if self._rendered >= _RECYCLE and self._page is not None:
            self._page.context.close()
            self._page = None
            self._rendered = 0
        self._start()
        self._rendered += 1

    def _load_fonts(self, families: Sequence[str], text: str) -> None:
        characters = "".join(sorted(set(text)))
        if missing := self._page.evaluate(_LOAD_FONTS, [list(families), characters]):
            raise InfrastructureError(f"Chromium did not load the fonts {missing}")

    def _capture(self) -> bytes:
        return base64.b64decode(self._devtools.send("Page.captureScreenshot", {"format": "png"})["data"])

    def _render(self, page: WebPage, max_side: int) -> WebPageImage:
        self._next_page()
        widest = int(max_side / page.scale)
        width = min(page.width, widest)
        self._resize(width, _HEIGHT, page.scale)
        self._page.evaluate(_FILL, [page.css, page.html])
        self._load_fonts(page.families, page.html)
        measures = self._page.evaluate(_MEASURE, _ATTRIBUTE)
        needed = measures["width"] if page.fit else width + measures["over"]
        if needed != width and needed <= widest:
            width = needed
            self._resize(width, _HEIGHT, page.scale)
            measures = self._page.evaluate(_MEASURE, _ATTRIBUTE)
        if measures["over"]:
            raise Dropped("page_too_wide")
        height = measures["height"]
        if height * page.scale > max_side:
            raise Dropped("page_too_high")
        if any(left < 0 or top < 0 or right > width + 1 or bottom > height + 1
               for _, left, top, right, bottom, *_ in measures["boxes"]):  # fmt: skip
            raise Dropped("page_cut_off")
        self._resize(width, height, page.scale)
        png = self._capture()
        size = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
        elements = tuple(
            PlacedElement(name, scaled((x1, y1, x2, y2), page.scale), scaled((u1, v1, u2, v2), page.scale))
            for name, x1, y1, x2, y2, u1, v1, u2, v2 in measures["boxes"]
        )
        return WebPageImage(png, size, measures["text"], measures["html"], elements)

    def _resize(self, width: int, height: int, scale: float) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self._devtools.send("Emulation.setDeviceMetricsOverride", metrics)

    def _answer(self, route: Any) -> None:
        """Our page and our fonts; nothing else is loaded, from anywhere."""
        address = route.request.url
        if address == _ORIGIN:
            policy = f"{_POLICY}; img-src data:" if self._libraries else _POLICY  # which encode what they paint
            headers = {"Content-Security-Policy": policy}
            route.fulfill(body=_FRAME, content_type="text/html; charset=utf-8", headers=headers)
        elif path := self._files.get(address):
            route.fulfill(
                body=path.read_bytes(), content_type="font/otf", headers={"Access-Control-Allow-Origin": "*"}
            )
        else:
            route.abort()

    def _faces(self) -> str:
        faces = []
        for weight, fonts in (("normal", self._fonts), ("bold", self._bold)):
            for family, path in fonts.items():
                source = f'src: url("{_address(path)}")'
                faces.append(f'@font-face {{ font-family: "{family}"; font-weight: {weight}; {source}; }}')
        return "\n".join(faces)


def _address(path: Path) -> str:
    digest = base64.urlsafe_b64encode(str(path).encode()).decode()
    return f"{_ORIGIN}fonts/{digest}"
