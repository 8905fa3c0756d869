import asyncio
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from step3vl.pipelines.core.domain import MissingProgramError
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.web.browser import BrowserRenderer, WebPage, find_chromium

FONTS = Path(__file__).parents[3] / "data/step3vl/data/assets/fonts"
CSS = 'body { margin: 0; padding: 10px; font: 16px/1.5 "serif of ours"; } h1 { font-size: 30px; }'


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserRenderer]:
    renderer = BrowserRenderer({"serif of ours": FONTS / "DejaVuSerif.ttf", "sans of ours": FONTS / "DejaVuSans.ttf"})
    yield renderer
    renderer.close()


def page(html: str, width: int = 400, css: str = CSS, fit: bool = False, scale: float = 1.0) -> WebPage:
    return WebPage(css, html, ("serif of ours",), width, scale, fit)


def pixels(png: bytes) -> np.ndarray:
    with PILImage.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("L"))


def digest(png: bytes) -> str:
    return hashlib.sha256(png).hexdigest()


@pytest.mark.chromium
def test_boxes_enclose_the_ink_of_their_texts(browser: BrowserRenderer) -> None:
    html = '<h1 data-step3vl="a">Title</h1><p data-step3vl="b">Some words in a paragraph that takes two lines.</p>'
    image = browser.render(page(html, scale=1.25), 1000)
    assert image.size == (500, image.size[1])
    ink = pixels(image.png) < 128
    outside = ink.copy()
    for element in image.elements:
        x1, y1, x2, y2 = element.content
        assert ink[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1].any()
        outside[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1] = False
    assert not outside.any()
    assert [element.name for element in image.elements] == ["a", "b"]
    assert image.text.split()[:2] == ["Title", "Some"]


@pytest.mark.chromium
def test_the_same_document_gives_the_same_bytes_whatever_was_before(browser: BrowserRenderer) -> None:
    documents = [page(f"<h1>{n}</h1><p>{'words ' * n}</p>", 300 + n) for n in range(6)]
    first = [digest(browser.render(document, 1000).png) for document in documents]
    assert [digest(browser.render(document, 1000).png) for document in reversed(documents)] == first[::-1]
    browser.close()
    assert digest(browser.render(documents[3], 1000).png) == first[3]
    assert len(set(first)) == 6


@pytest.mark.chromium
def test_a_page_is_replaced_and_renders_the_same(browser: BrowserRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("step3vl.pipelines.render.web.browser._RECYCLE", 2)
    digests = {digest(browser.render(page("<p>again</p>"), 1000).png) for _ in range(5)}
    assert len(digests) == 1


@pytest.mark.chromium
def test_a_page_is_widened_for_what_does_not_wrap(browser: BrowserRenderer) -> None:
    image = browser.render(page(f"<pre>{'x' * 60}</pre>", 300), 2000)
    assert image.size[0] > 500
    ink = pixels(image.png) < 128
    assert not ink[:, -5:].any()
    with pytest.raises(Dropped, match="page_too_wide"):
        browser.render(page(f"<pre>{'x' * 300}</pre>", 300), 800)


@pytest.mark.chromium
def test_a_table_alone_makes_the_page_narrow(browser: BrowserRenderer) -> None:
    css = CSS.replace("margin: 0;", "margin: 0; display: inline-block;")
    image = browser.render(page("<table><tr><td>a<td>b</table>", 1000, css, fit=True), 1400)
    assert image.size[0] < 120


@pytest.mark.chromium
def test_a_page_that_is_too_high_is_dropped(browser: BrowserRenderer) -> None:
    with pytest.raises(Dropped, match="page_too_high"):
        browser.render(page("<p>line</p>" * 100), 600)


@pytest.mark.chromium
def test_nothing_is_loaded_and_no_script_runs(browser: BrowserRenderer) -> None:
    html = (
        '<p>text</p><script>document.body.textContent = "replaced"</script>'
        '<img src="file:///etc/hostname" onerror="document.body.textContent = 1"><img src="http://127.0.0.1:9/x.png">'
    )
    assert browser.render(page(html), 1000).text.strip() == "text"
    assert browser.render(page('<iframe src="file:///etc/passwd"></iframe><p>text</p>'), 1000).text.strip() == "text"


@pytest.mark.chromium
def test_a_browser_that_was_killed_is_started_again(browser: BrowserRenderer) -> None:
    first = browser.render(page("<p>text</p>"), 1000)
    for pid in _children(os.getpid()):
        if "chrom" in Path(f"/proc/{pid}/comm").read_text():
            os.kill(pid, signal.SIGKILL)
    assert browser.render(page("<p>text</p>"), 1000).png == first.png


@pytest.mark.chromium
def test_a_process_may_have_several_browsers_and_end_them_in_any_order(browser: BrowserRenderer) -> None:
    first = browser.render(page("<p>text</p>"), 1000)
    other = BrowserRenderer({"serif of ours": FONTS / "DejaVuSerif.ttf"})
    assert other.render(page("<p>text</p>"), 1000).png == first.png
    other.close()
    assert browser.render(page("<p>text</p>"), 1000).png == first.png


@pytest.mark.chromium
def test_any_thread_may_render_and_use_asyncio_beside(browser: BrowserRenderer) -> None:
    async def nothing() -> None:
        pass

    first = browser.render(page("<p>text</p>"), 1000)
    asyncio.run(nothing())
    with ThreadPoolExecutor(2) as threads:
        images = list(threads.map(lambda _: browser.render(page("<p>text</p>"), 1000), range(4)))
    assert {image.png for image in images} == {first.png}


@pytest.mark.chromium
def test_a_process_ends_by_itself_with_a_browser_open() -> None:
    code = (
        "from pathlib import Path; from step3vl.pipelines.render.web.browser import BrowserRenderer\n"
        f"renderer = BrowserRenderer({{'f': Path({str(FONTS / 'DejaVuSans.ttf')!r})}}); renderer.start()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.chromium
def test_a_function_fills_the_page_and_returns_what_it_sees(browser: BrowserRenderer) -> None:
    function = "async n => { document.body.innerHTML = `<b>${n}</b>`; return {text: document.body.innerText}; }"
    result, png = browser.run(function, 7, ["serif of ours"], "7", (80, 40), 1.5)
    assert result == {"text": "7"}
    assert pixels(png).shape == (60, 120)
    with pytest.raises(ValueError, match="no such thing"):
        browser.run("() => { throw Error('no such thing'); }", None, [], "", (80, 40), 1.0)


@pytest.mark.chromium
def test_the_browser_ends_with_its_process(tmp_path: Path) -> None:
    """Also when that is killed, as a process is that exceeds its time limit."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from step3vl.pipelines.render.web.browser import BrowserRenderer\n"
        f"renderer = BrowserRenderer({{'f': Path({str(FONTS / 'DejaVuSans.ttf')!r})}}); renderer.start()\n"
        "print('started', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        children = _children(process.pid)
        assert children
        process.kill()
    deadline = time.monotonic() + 30
    while any(map(_runs, children)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_runs, children))


def test_a_machine_without_chromium_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingProgramError, match="apt-get install chromium"):
        find_chromium()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    """All processes below one."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    descendants, waiting = [], [pid]
    while waiting:
        below = parents.get(waiting.pop(), [])
        descendants += below
        waiting += below
    return descendants
