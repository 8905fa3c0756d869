import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image as PILImage

from step3vl.data.optional import require
from step3vl.data.sample import Action
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.recorder import GuiPage, Recorder
from step3vl.pipelines.gui.screen import Element, Screen
from step3vl.pipelines.gui.site import ORIGIN, FileSite
from step3vl.pipelines.gui.view import View
from step3vl.pipelines.render.web.browser import PLAYWRIGHT

pytestmark = pytest.mark.chromium
Sites, Views = Callable[[str], FileSite], Callable[..., View]

# A red square of 40 x 20 pixels, so that its box can be found in the image.
RED = "width:40px;height:20px;background:#f00;border:0;padding:0;margin:0"


def observe(page: GuiPage) -> Screen:
    return page.observe()


def named(screen: Screen, name: str) -> Element:
    (element,) = [e for e in screen.elements if e.name == name]
    return element


def red_box(screen: Screen) -> tuple[int, int, int, int]:
    """The box of the red pixels."""
    with PILImage.open(io.BytesIO(screen.image.read())) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    ys, xs = np.nonzero((pixels[..., 0] > 200) & (pixels[..., 1] < 80))
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


def click(element: Element) -> Action:
    return Action(action="click", point_2d=element.point)


@pytest.mark.parametrize(
    "body",
    [
        f"<button aria-label=A style='{RED};position:absolute;left:50px;top:30px'></button>",
        f"<div style='transform:scale(1.5);margin:90px'><button aria-label=A style='{RED}'></button></div>",
        f"<iframe style='margin:20px;border:7px solid #000;padding:5px' srcdoc=\"<button aria-label=A style='{RED}'>"
        '"></iframe>',
        f"<x-a></x-a><script>customElements.define('x-a', class extends HTMLElement {{ connectedCallback() {{"
        f"this.attachShadow({{mode: 'open'}}).innerHTML = `<p><button aria-label=A style='{RED}'></button></p>`;"
        " } });</script>",
        f"<div style='overflow:hidden;width:25px;height:11px;margin:40px;border:3px solid #000'>"
        f"<button aria-label=A style='{RED};display:block'></button></div>",
        f"<div style='overflow:auto;height:50px'><p style='height:20px;margin:0'></p>"
        f"<button aria-label=A style='{RED}'></button></div>",
        f"<button aria-label=A style='{RED};position:fixed;right:-10px;bottom:-5px'></button>",
        f"<div style='overflow:hidden;height:10px'><div style='position:absolute;top:60px'>"
        f"<button aria-label=A style='{RED};display:block'></button></div></div>",
    ],
    ids=["absolute", "scaled", "frame", "shadow", "clipped", "scroller", "window", "escapes_clipping"],
)
@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_box_is_that_of_the_pixels(body: str, scale: float, recorder: Recorder, view: Views, site: Sites) -> None:
    screen = recorder.run(site(body), view(scale=scale), observe)
    element = named(screen, "A")
    assert screen.size == (640 * scale, 480 * scale)
    assert np.abs(np.subtract(element.box, red_box(screen))).max() <= 1
    assert element.exact


def test_what_a_click_does_not_reach_is_not_exact(recorder: Recorder, view: Views, site: Sites) -> None:
    cover = "position:absolute;left:0;top:0;width:300px;height:100px"
    body = (
        "<button>covered</button><button style='pointer-events:none'>off</button>"
        f"<div style='{cover}'></div><button style='visibility:hidden'>hidden</button>"
        "<button style='position:absolute;top:900px'>below</button>"
        "<div tabindex=0 aria-label=card role=button style='position:absolute;top:200px;width:200px;height:100px'>"
        "<button style='width:100%;height:100%'>inner</button></div>"
    )
    screen = recorder.run(site(body), view(), observe)
    assert {e.name: e.exact for e in screen.elements if e.role == "button"} == {
        "covered": False, "off": False, "card": False, "inner": True,
    }  # fmt: skip
    assert [e.name for e in screen.controls()] == ["inner"]
    assert "below" in [node.name for node in screen.tree]


def test_names_roles_and_states_are_those_of_the_accessibility_tree(
    recorder: Recorder, view: Views, site: Sites
) -> None:
    body = (
        "<label>Dark <input type=checkbox role=switch checked></label><input aria-label=Name value=Ada>"
        "<button aria-expanded=true>More</button><h2>Title</h2><input type=range aria-label=Loud min=0 max=10 value=4>"
    )
    screen = recorder.run(site(body), view(), observe)
    assert [(e.role, e.name, e.value, e.states, e.level) for e in screen.elements if e.role] == [
        ("switch", "Dark", "", ("checked",), 0),
        ("textbox", "Name", "Ada", (), 0),
        ("button", "More", "", ("expanded",), 0),
        ("heading", "Title", "", (), 2),
        ("slider", "Loud", "4", (), 0),
    ]


def test_lines_of_text_are_those_on_the_screen(recorder: Recorder, view: Views, site: Sites) -> None:
    body = (
        "<p style='width:120px;font:16px DejaVu Sans'>one two three four five</p>"
        "<b style='text-transform:uppercase'>up</b>"
    )
    screen = recorder.run(site(body), view(), observe)
    assert [line.text for line in screen.lines] == ["one two three", "four five", "UP"]
    assert all(line.whole for line in screen.lines)
    first, second = screen.lines[0].box, screen.lines[1].box
    assert first[3] <= second[1] + 1 and first[2] <= 120


def test_every_exact_control_of_the_apps_receives_the_click_on_its_point(
    recorder: Recorder, view: Views, app: Sites
) -> None:
    """With real clicks, whose events say which element they reached; they go no further."""
    listen = """() => { window.hits = []; const stop = event => { if (event.type === 'click')
        hits.push(event.composedPath()[0]); event.preventDefault(); event.stopImmediatePropagation(); };
        for (const kind of ['click', 'mousedown', 'mouseup', 'pointerdown']) addEventListener(kind, stop, true); }"""
    reached = """([index, names]) => { const nodes = []; const walk = node => { nodes.push(node);
        for (const child of node.shadowRoot?.children ?? []) walk(child);
        for (const child of node.children) walk(child); };
        walk(document.documentElement);
        const target = nodes[index], path = []; let node = hits.pop();
        for (; node; node = node.parentNode ?? node.host) path.push(node);
        return target.localName === names && path.includes(target); }"""

    def clicks(page: GuiPage) -> list[bool]:
        screen = page.observe()
        page.evaluate(listen)
        results = []
        for element in screen.controls():
            page.act(click(element))
            results.append(page.evaluate(reached, [element.index, element.tag]))
        return results

    results = [
        hit for name in ("shop", "planner", "settings", "files") for hit in recorder.run(app(name), view(), clicks)
    ]
    assert len(results) > 60 and all(results)


def test_same_seed_gives_the_same_bytes_in_another_browser(view: Views, app: Sites, recorder: Recorder) -> None:
    def walk(page: GuiPage) -> list[Screen]:
        screens = [page.observe()]
        page.act(click(named(screens[0], "Saved")))
        page.act(Action(action="hot_key", text="back"))
        page.act(Action(action="scroll", direction="down"))
        return [*screens, page.observe()]

    first = recorder.run(app("shop"), view(), walk)
    recorder.close()
    assert recorder.run(app("shop"), view(), walk) == first
    other = recorder.run(app("shop"), view(seed=4), observe)
    assert other.state() != first[0].state()


def test_clock_is_frozen_and_moves_with_actions(recorder: Recorder, view: Views, site: Sites) -> None:
    body = (
        "<p id=p></p><button onclick=\"setTimeout(() => p.textContent = 'later', 1500)\">Go</button>"
        "<script>p.textContent = [Date.now(), performance.now(), Math.random()].join(' ')</script>"
    )

    def look(page: GuiPage) -> list[str]:
        texts = [page.observe().lines[0].text]
        page.act(click(named(page.observe(), "Go")))
        texts.append(page.observe().lines[0].text)
        page.act(Action(action="wait"))
        return [*texts, page.observe().lines[0].text]

    before, soon, later = recorder.run(site(body), view(), look)
    assert before.startswith("1772442000000 0 0.") and soon == before and later == "later"


def test_nothing_is_loaded_from_outside_and_links_that_lead_out_do_nothing(
    recorder: Recorder, view: Views, site: Sites
) -> None:
    body = (
        "<img id=i src='https://example.org/a.png' alt=none><a href='https://example.org/'>Out</a><a href='/no'>No</a>"
        "<a href='mailto:a@b.example'>Mail</a>"
    )

    def leave(page: GuiPage) -> list[Screen]:
        screens = [page.observe()]
        for name in ("Out", "No", "Mail"):
            page.act(click(named(screens[-1], name)))
            screens.append(page.observe())
        assert page.evaluate("i.complete && i.naturalWidth === 0")
        return screens

    first, *others = recorder.run(site(body), view(), leave)
    assert all(screen.url == first.url and screen.title == "Page" for screen in others)


def test_moving_page_is_dropped(recorder: Recorder, view: Views, site: Sites) -> None:
    body = (
        "<div id=d>x</div><script>const timer = new Blob(['setInterval(() => postMessage(0), 3)']); let n = 0;"
        "new Worker(URL.createObjectURL(timer)).onmessage = () => { d.style.marginLeft = (n++ % 90) + 'px'; }</script>"
    )
    with pytest.raises(Dropped, match="page_moves"):
        recorder.run(site(body), view(), observe)


def test_actions_do_what_they_say(recorder: Recorder, view: Views, site: Sites) -> None:
    body = (
        "<input aria-label=Text value=old><button ondblclick=\"log.textContent += 'double '\""
        ' onpointerdown="this.t = Date.now()"'
        " onpointerup=\"if (Date.now() - this.t > 500) log.textContent += 'long '\">"
        "Hit</button><input type=range aria-label=Level min=0 max=100 step=10 value=0 style='width:216px;margin:0'>"
        "<div id=log></div><div style='height:2000px'></div>"
    )

    def act(page: GuiPage) -> Screen:
        screen = page.observe()
        hit, level = named(screen, "Hit"), named(screen, "Level")
        page.act(Action(action="type", point_2d=named(screen, "Text").point, text="新 text"))
        page.act(Action(action="double_click", point_2d=hit.point))
        page.act(Action(action="long_press", point_2d=hit.point))
        start = (round((level.box[0] + 8) / 640 * 1000), level.point[1])
        page.act(Action(action="slide", point_2d=start, end_point_2d=level.point))
        page.act(Action(action="scroll", direction="down"))
        return page.observe()

    screen = recorder.run(site(body), view(), act)
    values = {node.name: node.value for node in screen.tree if node.value}
    assert values == {"Text": "新 text", "Level": "50"}
    assert "double long" in [node.name.strip() for node in screen.tree]
    assert screen.extent[0] == 288  # six tenths of the window


def test_answers_and_thinking_are_no_actions_of_a_page(recorder: Recorder, view: Views, site: Sites) -> None:
    with pytest.raises(ValueError, match="cannot call_user"):
        recorder.run(site("x"), view(), lambda page: page.act(Action(action="call_user", text="?")))


def test_crash_of_the_browser_costs_one_repetition(recorder: Recorder, view: Views, site: Sites) -> None:
    attempts = []

    def episode(page: GuiPage) -> str:
        attempts.append(1)
        if len(attempts) == 1:
            page._devtools.send("Browser.crash")
        return page.observe().title

    assert recorder.run(site("x"), view(), episode) == "Page"
    assert len(attempts) == 2


class _NoSite:
    """A site that has nothing, not even its first page."""

    start = f"{ORIGIN}page.html"

    def holds(self, url: str) -> bool:
        return False

    def reply(self, url: str) -> None:
        return None


def test_a_first_page_that_fails_leaves_nothing_open(recorder: Recorder, view: Views) -> None:
    with pytest.raises(require("playwright.sync_api", "pipelines").Error):
        PLAYWRIGHT.call(lambda: recorder.open(_NoSite(), view()))
    assert PLAYWRIGHT.call(lambda: list(recorder._browser.contexts)) == []
