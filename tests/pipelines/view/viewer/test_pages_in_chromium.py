"""The pages in a real Chromium: by keyboard alone, in light and dark, wide and narrow, without a network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from step3vl.pipelines.render.web.browser import find_chromium

AXE = Path(__file__).parents[3] / "inference" / "server" / "vendor" / "axe-core" / "axe.min.js"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def root(app, listening) -> Iterator[str]:
    with listening(app) as address:
        yield address


@pytest.fixture
def page(browser: Browser, root: str) -> Iterator[Page]:
    """A page that fails the test if it errs, breaks its policy, or asks for anything elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: request.url.startswith(root) or trouble.append(request.url))
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert trouble == []


def axe_findings(page: Page) -> list[str]:
    """The serious and critical findings of axe-core, each with its elements."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate("axe.run(document, {resultTypes: ['violations'], iframes: false})")
    serious = [finding for finding in result["violations"] if finding["impact"] in ("serious", "critical")]
    return [f"{finding['id']}: {node['target']}" for finding in serious for node in finding["nodes"]]


def test_samples_are_browsed_by_keyboard(page, root, samples):
    page.goto(f"{root}/")
    for key in "jj":
        page.keyboard.press(key)
    entries = page.locator("[data-entry]")
    expect(entries.nth(1)).to_be_focused()
    address = entries.nth(1).get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{address}")
    page.keyboard.press("k")
    page.wait_for_url("**/sample/**")
    expect(page.locator("h1")).not_to_have_text(address.rpartition("/")[2])
    page.keyboard.press("u")
    page.wait_for_url(f"{root}/?at=0-0")
    page.keyboard.press("/")
    page.keyboard.type("cat and the sky")
    page.keyboard.press("Enter")
    expect(entries).to_have_count(1)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(samples["boxes"].id)
    marks = page.locator(".canvas svg")
    expect(marks).to_be_visible()
    page.keyboard.press("m")
    expect(marks).to_be_hidden()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.go_back()
    page.keyboard.press("j")
    expect(entries.first).to_be_focused()


def test_pages_of_a_list_are_turned_by_keyboard(page, root):
    page.goto(f"{root}/")
    first = page.locator("[data-entry]").first.get_attribute("href")
    page.keyboard.press("n")
    page.wait_for_url("**at=*")
    assert page.locator("[data-entry]").first.get_attribute("href") != first
    page.keyboard.press("p")
    page.wait_for_url("**back=1")
    assert page.locator("[data-entry]").first.get_attribute("href") == first


def test_marks_are_where_the_coordinates_say(page, root, samples):
    page.goto(f"{root}/sample/{samples['boxes'].id}")
    image = page.locator(".canvas img").bounding_box()
    box = page.locator('.canvas rect[class="answer-mark"]').first.bounding_box()
    for name, start, share in (("x", "x", 0.1), ("y", "y", 0.2)):
        extent = image["width" if name == "x" else "height"]
        assert box[name] == pytest.approx(image[start] + share * extent, abs=2)
    assert box["width"] == pytest.approx(0.4 * image["width"], abs=3)
    assert box["height"] == pytest.approx(0.4 * image["height"], abs=3)


def test_code_of_a_sample_is_rendered_but_does_not_run(browser, root, samples):
    context = browser.new_context()
    page = context.new_page()
    elsewhere: list[str] = []
    page.on("request", lambda request: request.url.startswith(root) or elsewhere.append(request.url))
    page.goto(f"{root}/sample/{samples['html'].id}")
    frame = page.frame_locator("iframe").last
    expect(frame.locator("h1")).to_have_text("Shop")
    assert frame.locator("h1").evaluate("node => getComputedStyle(node).color") == "rgb(255, 0, 0)"
    assert page.title() == samples["html"].id
    page.goto(f"{root}/rendered/{samples['html'].id}/2")  # opened by itself, too
    expect(page.locator("h1")).to_have_text("Shop")
    assert page.title() == ""
    assert page.evaluate("location.origin") != "hacked"
    assert page.evaluate("self.origin") == "null"
    assert elsewhere == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(browser, root, samples, scheme, width):
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 860})
    page = context.new_page()
    pair = f"/pair?left={samples['boxes'].id}&right={samples['trajectory'].id}"
    for address in (
        *("/", "/contents", "/drops", "/evidence", "/clusters", "/changes", pair, "/nothing"),
        *(f"/sample/{samples[name].id}" for name in ("boxes", "trajectory", "html")),
    ):
        page.goto(root + address)
        assert axe_findings(page) == [], address
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
    context.close()
