"""The playground in a real Chromium: what a visitor does, against a real server."""

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from step3vl.data.sample import TextPart
from step3vl.inference.server import ServerConfig
from step3vl.inference.server.app import PLAYGROUND

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
ANSWER = """Two **things**:

```json
[{"bbox_2d": [100, 200, 500, 600], "label": "house"}, {"point_2d": [750, 250], "label": "sun"}]
```
<img src=x onerror="document.title='hacked'">"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


def reply(request, index):
    prompt = "".join(part.text for part in request.messages[-1].content if isinstance(part, TextPart))
    if "Reference 1:" in prompt:
        return f"I compare.\n</think>\n{ANSWER}"
    if "slow" in prompt:
        return "word " * 2000
    return f"I am attempt {index}, and I look closely.\n</think>\nconclusion {index}"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def playground(Scripted, serving):
    with serving(Scripted(reply, context=100_000, pause=0.01), name="tiny") as server:
        yield server


@pytest.fixture
def page(browser, playground):
    context = browser.new_context(viewport={"width": 1280, "height": 860}, accept_downloads=True)
    page = context.new_page()
    errors, elsewhere = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: request.url.startswith(playground.root) or elsewhere.append(request.url))
    page.goto(playground.root)
    page.wait_for_selector("#model option", state="attached")
    yield page
    context.close()
    assert errors == []
    assert [url for url in elsewhere if not url.startswith(("data:", "blob:"))] == []  # it works without a network


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    Image.new("RGB", (400, 200), "skyblue").save(path)
    return path


def ask(page: Page, question: str, level: str = "", picture: Path | None = None) -> None:
    if picture:
        page.set_input_files("#files", picture)
        page.wait_for_selector("#pictures img")
    page.locator(f'input[name=level][value="{level}"]').check(force=True)
    page.fill("#question", question)
    page.press("#question", "Enter")


def answered(page: Page, turns: int = 1) -> None:
    expect(page.locator('.run[aria-busy="false"]')).to_have_count(turns, timeout=20_000)


def test_hypotheses_grow_side_by_side_and_the_synthesis_is_drawn(page, playground, picture, monkeypatch):
    backend = playground.service.find("tiny").backend
    monkeypatch.setattr(backend, "hold", True)  # else they are live for a moment only
    ask(page, "What is there?", "low", picture)
    page.wait_for_selector(".hypothesis.live")
    assert page.locator(".hypothesis").count() == 4
    tops = {box["y"] for box in (card.bounding_box() for card in page.locator(".hypothesis").all()) if box}
    assert len(tops) == 1
    backend.hold = False
    answered(page)
    assert page.locator(".hypothesis .text").all_inner_texts() == [f"conclusion {index}" for index in range(4)]
    assert page.locator(".prose strong").inner_text() == "things"
    canvas = page.locator(".canvas img").bounding_box()
    box, point = page.locator(".canvas .box").bounding_box(), page.locator(".canvas .point").bounding_box()
    assert box["x"] == pytest.approx(canvas["x"] + 0.1 * canvas["width"], abs=2)
    assert box["y"] == pytest.approx(canvas["y"] + 0.2 * canvas["height"], abs=2)
    assert box["width"] == pytest.approx(0.4 * canvas["width"], abs=2)
    assert box["height"] == pytest.approx(0.4 * canvas["height"], abs=2)
    assert point["x"] + point["width"] / 2 == pytest.approx(canvas["x"] + 0.75 * canvas["width"], abs=2)
    assert page.locator(".tag").all_inner_texts() == ["house", "sun"]
    assert "prompt tokens" in page.locator(".figures").inner_text()
    assert page.title() == "STEP3-VL playground"  # the answer's HTML stayed text
    assert "onerror" in page.locator(".prose").inner_text()
    request, _, _ = playground.service.find("tiny").backend.requests[-1]
    assert request.images[0].width == 400


def test_a_card_opens_the_whole_hypothesis(page):
    ask(page, "What is there?", "low")
    answered(page)
    page.locator(".hypothesis").nth(2).click()
    assert "I am attempt 2" in page.locator("#reader .text").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#reader").is_visible()


def test_one_chain_streams_and_history_is_remembered(page, playground):
    ask(page, "First?")
    answered(page)
    assert page.locator(".prose").inner_text() == "conclusion 0"
    ask(page, "Second?")
    answered(page, 2)
    request, _, _ = playground.service.find("tiny").backend.requests[-1]
    assert [turn.role for turn in request.messages] == ["user", "assistant", "user"]
    page.keyboard.press("Alt+n")
    expect(page.locator(".run")).to_have_count(0)
    page.reload()
    page.locator("#history .open", has_text="First?").click()
    expect(page.locator(".run")).to_have_count(2)
    page.locator("#history .delete").click()
    expect(page.locator("#history li")).to_have_count(0)
    expect(page.locator(".run")).to_have_count(0)


def test_a_reply_is_stopped_and_its_work_ends(page, playground, wait_for):
    ask(page, "slow please", "medium")
    page.wait_for_selector(".hypothesis.live")
    assert page.locator(".hypothesis").count() == 16
    page.keyboard.press("Escape")
    answered(page)
    assert page.locator(".error").inner_text() == "Stopped."
    assert wait_for(playground.idle)
    assert playground.service.find("tiny").backend.running == 0


def test_a_conversation_is_exported(page, picture):
    ask(page, "What is there?", "low", picture)
    answered(page)
    with page.expect_download() as download:
        page.click("#export-json")
    chat = json.loads(Path(download.value.path()).read_text())
    turn = chat["turns"][0]
    assert [one["message"] for one in turn["rounds"][0]["hypotheses"]] == [f"conclusion {i}" for i in range(4)]
    assert turn["content"] == ANSWER
    assert turn["images"][0].startswith("data:image/png;base64,")
    assert turn["usage"]["pacore"]["rounds"][0]["rollouts"] == 4
    with page.expect_download() as download:
        page.click("#export-markdown")
    text = Path(download.value.path()).read_text()
    assert "## What is there?" in text
    assert "conclusion 3" in text
    with page.expect_download() as download:
        page.click(".marks .save")
    with Image.open(download.value.path()) as saved:
        assert saved.size == (400, 200)
        assert saved.convert("RGB").getpixel((40, 60)) != (135, 206, 235)


def test_a_picture_is_pasted_and_removed(page):
    page.evaluate(
        """async () => {
            const canvas = Object.assign(document.createElement("canvas"), {width: 30, height: 20});
            const blob = await new Promise((done) => canvas.toBlob(done));
            const data = new DataTransfer();
            data.items.add(new File([blob], "pasted.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data}));
        }"""
    )
    expect(page.locator("#pictures img")).to_have_count(1)
    page.locator("#pictures button").click()
    expect(page.locator("#pictures img")).to_have_count(0)


def test_costs_are_reckoned_from_prices(page):
    page.click("#open-settings")
    page.fill("[name=price_in]", "1000000")
    page.fill("[name=price_out]", "0")
    page.click("#settings .primary")
    ask(page, "1234567")
    answered(page)
    assert re.search(r"costs 7\.00", page.locator(".figures").inner_text())


def test_a_phone_has_room_for_everything(browser, playground, picture):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(playground.root)
    page.wait_for_selector("#model option", state="attached")
    assert not page.locator("#drawer").is_visible()
    ask(page, "What is there?", "low", picture)
    answered(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.click("#open-drawer")
    expect(page.locator("#drawer")).to_be_visible()
    page.click("#close-drawer")
    expect(page.locator("#drawer")).not_to_be_visible()
    context.close()


def test_keys_and_errors_are_said(browser, Scripted, serving):
    with serving(Scripted(reply), ServerConfig(api_keys=("secret",)), name="tiny") as server:
        page = browser.new_page()
        page.goto(server.root)
        expect(page.locator("#settings")).to_be_visible()
        page.fill("[name=key]", "secret")
        page.click("#settings .primary")
        page.wait_for_selector("#model option", state="attached")
        ask(page, "x" * 2000)
        answered(page)
        assert "maximum context length is 1000 tokens" in page.locator(".error").inner_text()
        page.close()


def test_everything_of_the_page_is_ours_and_small():
    files = [path for path in PLAYGROUND.iterdir() if path.suffix in (".html", ".css", ".js", ".svg")]
    assert sum(path.stat().st_size for path in files) < 64_000
    for path in files:
        assert not re.search(r"(?:src|href|import)\b[^\n]*https?://", path.read_text()), path
