"""The blocks of text of an HTML page, as Chromium lays them out, and its screenshot: no scripts, no network."""

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

from step3vl.data.errors import UserError
from step3vl.data.optional import require

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = ("--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking")
_SIZE = {"width": 1280, "height": 720}
_TIMEOUT = 30_000  # milliseconds
_MAX_BLOCKS = 1000
_MAX_PIXELS = 64_000_000  # of a screenshot: of a page of usual width, 50,000 high
_PIXELS = "document.documentElement.scrollWidth * document.documentElement.scrollHeight"
_BLOCKS = """limit => {
  const width = Math.max(document.documentElement.scrollWidth, 1);
  const height = Math.max(document.documentElement.scrollHeight, 1);
  const walker = document.createTreeWalker(document.body || document.documentElement, NodeFilter.SHOW_TEXT);
  const blocks = [];
  while (walker.nextNode() && blocks.length < limit) {
    const node = walker.currentNode, text = node.textContent.trim().replace(/\\s+/g, ' ');
    const style = getComputedStyle(node.parentElement);
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (!text || box.width <= 0 || box.height <= 0 || style.visibility === 'hidden') continue;
    const colour = (style.color.match(/[0-9.]+/g) || [0, 0, 0]).slice(0, 3).map(Number);
    blocks.push([text, (box.left + scrollX) / width, (box.top + scrollY) / height, box.width / width,
                 box.height / height, colour]);
  }
  return blocks;
}"""


class RenderedPage(NamedTuple):
    """A page as it looks.

    Args:
        blocks: Rows of `blocks.Block`: its texts, their boxes in shares of the page, their colours.
        screenshot: Of the whole page, as PNG; empty where none was asked for, or where the page is too large.
    """

    blocks: list[Any]
    screenshot: bytes = b""


def render_pages(pages: Sequence[str], screenshots: bool = False) -> list[RenderedPage]:
    """Lay out pages of HTML. A page that does not load in time has no blocks. Works inside of an event loop, too.

    Args:
        pages: Their sources.
        screenshots: Whether to take screenshots as well.

    Raises:
        UserError: Playwright or a Chromium is not installed, or it does not start.
    """
    with ThreadPoolExecutor(1) as thread:  # Playwright refuses a thread that runs an event loop
        return thread.submit(_render_pages, pages, screenshots).result()


def _render_pages(pages: Sequence[str], screenshots: bool) -> list[RenderedPage]:
    with _browser_context() as context:
        return [_render(context, html, screenshots) for html in pages]


def _render(context: Any, html: str, screenshot: bool) -> RenderedPage:
    page = context.new_page()
    try:
        page.set_content(html, wait_until="domcontentloaded", timeout=_TIMEOUT)
        blocks = page.evaluate(_BLOCKS, _MAX_BLOCKS)
        if not screenshot or page.evaluate(_PIXELS) > _MAX_PIXELS:
            return RenderedPage(blocks)
        return RenderedPage(blocks, page.screenshot(full_page=True, timeout=_TIMEOUT))
    except require("playwright.sync_api", "evaluation").Error:
        return RenderedPage([])
    finally:
        page.close()


@contextmanager
def _browser_context() -> Iterator[Any]:
    playwright = require("playwright.sync_api", "evaluation")
    program = next((path for path in map(shutil.which, _PROGRAMS) if path), None)
    if program is None:
        raise UserError("no chromium on the PATH; Design2Code renders pages with it: install chromium")
    flags = [*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=program, args=flags, timeout=120_000)
        except playwright.Error as error:
            raise UserError(f"{program} does not start: {str(error).splitlines()[0]}") from None
        context = browser.new_context(viewport=_SIZE, java_script_enabled=False, offline=True)
        context.route("**/*", lambda route: route.abort())
        try:
            yield context
        finally:
            browser.close()
