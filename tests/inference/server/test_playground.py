"""The playground in a real Chromium: what a visitor does, against a real server."""

import hashlib
import json
import re
import shutil
import subprocess
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
RICH = r"""# Result

The root is $x = \frac{-b}{2a}$, costs $5 and $10, see [the page](https://example.org/a_b) or https://example.org/c.

\[
\begin{aligned} x &= \sqrt{b^2 - 4ac} \\
- y &= \int_0^1 t^2\,dt
\end{aligned}
\]

| object | area |
|---|---:|
| house | \(15\) |

1. first
2. second

```python
print("x")
```

Unclosed \(a and wrong $\frac{1$."""
HOSTILE = """[a](javascript:document.title='hacked') ![b](https://elsewhere.example/b.png) [c](/metrics)
<script>document.title='hacked'</script> <style>body{display:none}</style>
$\\href{javascript:document.title='hacked'}{d}$ $\\includegraphics{https://elsewhere.example/d.png}$
$\\htmlStyle{position: fixed}{e}$ <svg onload="document.title='hacked'"> [f]: <data:text/html,x>"""
AXE = Path(__file__).with_name("vendor") / "axe-core" / "axe.min.js"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


def reply(request, index):
    prompt = "".join(part.text for part in request.messages[-1].content if isinstance(part, TextPart))
    if "Reference 1:" in prompt:
        return f"I compare.\n</think>\n{ANSWER}"
    for word, answer in (("rich", RICH), ("hostile", HOSTILE)):
        if word in prompt:
            return f"I think.\n</think>\n{answer}"
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
def playground(ScriptedBackend, run_server):
    with run_server(ScriptedBackend(reply, context=100_000, pause=0.01), name="tiny") as server:
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
def image(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("images") / "scene.png"
    Image.new("RGB", (400, 200), "skyblue").save(path)
    return path


def ask(page: Page, question: str, level: str = "", image: Path | None = None) -> None:
    if image:
        page.set_input_files("#files", image)
        page.wait_for_selector("#images img")
    page.locator(f'input[name=level][value="{level}"]').check(force=True)
    page.fill("#question", question)
    page.press("#question", "Enter")


def axe_findings(page: Page) -> list[str]:
    """The serious and critical findings of axe-core, each with its elements."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [finding for finding in result["violations"] if finding["impact"] in ("serious", "critical")]
    return [f"{finding['id']}: {node['target']}" for finding in serious for node in finding["nodes"]]


def small_targets(page: Page) -> list[list]:
    """The controls in view that are less than 44 px wide or high; links inside text are exempt (WCAG 2.5.8)."""
    return page.evaluate(
        """() => [...document.querySelectorAll("button, select, summary, input, textarea")]
            .filter((node) => node.checkVisibility({visibilityProperty: true}))
            .map((node) => [node.id || node.className || node.name, node.getBoundingClientRect()])
            .filter(([, {width, height}]) => width && (width < 43.9 || height < 43.9))
            .map(([name, {width, height}]) => [name, width, height])"""
    )


def answered(page: Page, turns: int = 1) -> None:
    expect(page.locator('.run[aria-busy="false"]')).to_have_count(turns, timeout=20_000)


def test_hypotheses_stream_side_by_side_and_marks_are_rendered(page, playground, image, monkeypatch):
    backend = playground.service._models["tiny"].backend
    monkeypatch.setattr(backend, "hold", True)  # else they are live for a moment only
    ask(page, "What is there?", "low", image)
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
    request, _, _ = playground.service._models["tiny"].backend.requests[-1]
    assert request.images[0].width == 400


def test_a_card_opens_the_complete_hypothesis(page):
    ask(page, "What is there?", "low")
    answered(page)
    page.locator(".hypothesis").nth(2).click()
    assert "I am attempt 2" in page.locator("#reader .text").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#reader").is_visible()


def test_a_plain_answer_streams_and_the_history_is_stored(page, playground):
    ask(page, "First?")
    answered(page)
    assert page.locator(".prose").inner_text() == "conclusion 0"
    ask(page, "Second?")
    answered(page, 2)
    request, _, _ = playground.service._models["tiny"].backend.requests[-1]
    assert [turn.role for turn in request.messages] == ["user", "assistant", "user"]
    page.keyboard.press("Alt+n")
    expect(page.locator(".run")).to_have_count(0)
    page.reload()
    page.locator("#history .open", has_text="First?").click()
    expect(page.locator(".run")).to_have_count(2)
    page.locator("#history .delete").click()
    expect(page.locator("#history li")).to_have_count(0)
    expect(page.locator(".run")).to_have_count(0)


def test_stopping_a_reply_stops_the_backend(page, playground, wait_for):
    ask(page, "slow please", "medium")
    page.wait_for_selector(".hypothesis.live")
    assert page.locator(".hypothesis").count() == 16
    page.keyboard.press("Escape")
    answered(page)
    assert page.locator(".error").inner_text() == "Stopped."
    assert wait_for(playground.idle)
    assert playground.service._models["tiny"].backend.running == 0


def test_a_conversation_can_be_exported(page, image):
    ask(page, "What is there?", "low", image)
    answered(page)
    with page.expect_download() as download:
        page.click("#export")
        page.click("#export-json")
    chat = json.loads(Path(download.value.path()).read_text())
    turn = chat["turns"][0]
    assert [hypothesis["conclusion"] for hypothesis in turn["rounds"][0]["hypotheses"]] == [
        f"conclusion {i}" for i in range(4)
    ]
    assert turn["content"] == ANSWER
    assert turn["images"][0].startswith("data:image/png;base64,")
    assert turn["usage"]["pacore"]["rounds"][0]["rollouts"] == 4
    with page.expect_download() as download:
        page.click("#export")
        page.click("#export-markdown")
    text = Path(download.value.path()).read_text()
    assert "## What is there?" in text
    assert "conclusion 3" in text
    with page.expect_download() as download:
        page.click(".marks .save")
    with Image.open(download.value.path()) as saved:
        assert saved.size == (400, 200)
        assert saved.convert("RGB").getpixel((40, 60)) != (135, 206, 235)


def test_an_image_can_be_pasted_and_removed(page):
    page.evaluate(
        """async () => {
            const canvas = Object.assign(document.createElement("canvas"), {width: 30, height: 20});
            const blob = await new Promise((done) => canvas.toBlob(done));
            const data = new DataTransfer();
            data.items.add(new File([blob], "pasted.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data}));
        }"""
    )
    expect(page.locator("#images img")).to_have_count(1)
    page.locator("#images button").click()
    expect(page.locator("#images img")).to_have_count(0)


def test_costs_are_computed_from_prices(page):
    page.click("#open-settings")
    page.fill("[name=price_in]", "1000000")
    page.fill("[name=price_out]", "0")
    page.click("#settings .primary")
    ask(page, "1234567")
    answered(page)
    assert re.search(r"costs 7\.00", page.locator(".figures").inner_text())


def test_the_page_fits_a_phone(browser, ScriptedBackend, run_server, image):
    name = "stepfun-ai/Step3-VL-10B-with-a-long-name"
    with run_server(ScriptedBackend(reply, context=100_000), name=name) as server:
        context = browser.new_context(**PHONE)
        page = context.new_page()
        page.goto(server.root)
        page.wait_for_selector("#model option", state="attached")
        assert not page.locator("#drawer").is_visible()
        model_name = page.locator("#model-name")
        assert model_name.inner_text() == name
        assert model_name.evaluate("node => node.scrollWidth <= node.clientWidth")  # nothing is cut off
        assert model_name.evaluate("node => getComputedStyle(node).fontSize") == "16px"
        page.set_input_files("#files", image)
        page.wait_for_selector("#images img")
        assert small_targets(page) == []
        ask(page, "What is there?", "low")
        answered(page)
        page.evaluate("document.querySelector('#thread').scrollTop = 0")
        assert small_targets(page) == []
        size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        assert size == [390, 844]
        for opener, closer in (("#open-drawer", "#close-drawer"), (".hypothesis >> nth=0", "#reader .icon")):
            page.click(opener)
            page.wait_for_selector(closer)
            assert small_targets(page) == []
            page.click(closer)
        expect(page.locator("#drawer")).not_to_be_visible()
        context.close()


def test_missing_keys_and_errors_are_displayed(browser, ScriptedBackend, run_server):
    with run_server(ScriptedBackend(reply), ServerConfig(api_keys=("secret",)), name="tiny") as server:
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


def test_an_answer_is_markdown_with_formulas(page):
    ask(page, "rich")
    answered(page)
    prose = page.locator(".prose")
    assert prose.locator("h4").inner_text() == "Result"
    assert prose.locator("td").all_inner_texts()[0] == "house"
    assert prose.locator("td.align-right .katex").count() == 1
    assert [link.get_attribute("href") for link in prose.locator("a").all()] == [
        "https://example.org/a_b",
        "https://example.org/c",
    ]
    assert prose.locator("a").first.get_attribute("rel") == "noopener noreferrer"
    sources = prose.locator("annotation").all_text_contents()
    assert [source.split()[0] for source in sources] == ["x", "\\begin{aligned}", "15"]
    assert prose.locator(".katex-display .sqrt").count() == 1  # set as nodes: inline styles of HTML would be refused
    assert prose.locator("ol li").all_inner_texts() == ["first", "second"]
    text = prose.inner_text()
    assert "costs $5 and $10" in text
    assert "Unclosed (a" in text
    assert prose.locator(".math code").inner_text() == "\\frac{1"


def test_an_answer_cannot_act_on_the_page(page, playground):
    violations = []
    page.on("console", lambda message: violations.append(message.text) if "ecurity" in message.text else None)
    ask(page, "hostile")
    answered(page)  # the fixture asserts that no other host was asked
    prose = page.locator(".prose")
    hrefs = [link.get_attribute("href") for link in prose.locator("a").all()]
    assert hrefs == ["https://elsewhere.example/b.png", None]
    assert prose.locator("img, script, style, svg[onload], [style*=fixed]").count() == 0
    assert page.title() == "STEP3-VL playground"
    assert violations == []
    assert page.evaluate("try { document.body.innerHTML = '<b>x</b>' } catch (error) { error.name }") == "TypeError"
    with playground.http() as client:
        policy = client.get("/").headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http" not in policy


def test_answers_code_and_hypotheses_can_be_copied(browser, playground):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(playground.root)
    page.wait_for_selector("#model option", state="attached")
    ask(page, "rich", "low")
    answered(page)

    def copied(button: str) -> str:
        page.locator(button).first.click()
        expect(page.locator(button).first).to_have_text("Copied")
        return page.evaluate("navigator.clipboard.readText()")

    assert copied(".figures .copy") == ANSWER
    assert copied(".code .copy").startswith('[{"bbox_2d": [100')
    page.evaluate("delete Navigator.prototype.clipboard")  # a page that came without TLS has none
    page.locator(".hypothesis").nth(1).click()
    page.locator("#reader-copy button").click()
    expect(page.locator("#reader-copy button")).to_have_text("Copied")
    context.close()


def test_a_screen_reader_hears_hypotheses_and_the_answer_once(page):
    region = page.locator("#announcements")
    assert region.get_attribute("aria-live") == "polite"
    page.evaluate(
        """() => {
            window.heard = [];
            const added = (records) => records.flatMap((record) => [...record.addedNodes]);
            const hear = (records) => window.heard.push(...added(records).map((node) => node.textContent));
            const observed = {childList: true, subtree: true, characterData: true};
            new MutationObserver(hear).observe(document.getElementById("announcements"), observed);
        }"""
    )
    ask(page, "What is there?", "low")
    answered(page)
    expect(region).to_contain_text("Answer: Two things:")
    heard = page.evaluate("window.heard")
    assert len(heard) <= 4  # batches, not tokens
    text = " ".join(heard)
    assert "4 hypotheses are being written." in text
    assert [f"Hypothesis {index + 1} of 4: conclusion {index}." in text for index in range(4)] == [True] * 4
    assert text.count("Two things") == 1
    ask(page, "What is there?", "medium")
    answered(page, 2)
    expect(region).to_contain_text("16 of 16 hypotheses are done.")


@pytest.mark.parametrize(
    "deltas",
    [
        [{"content": "", "reasoning": "I think."}, {"content": "Blue."}],
        [{"content": "<think>I th"}, {"content": "ink.</think>\nBl"}, {"content": "ue."}],
    ],
    ids=["vllm", "no-parser"],
)
def test_reasoning_of_other_servers_is_separated(page, deltas):
    events = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    lines = [*map(json.dumps, events), json.dumps({"usage": {"prompt_tokens": 1, "completion_tokens": 2}}), "[DONE]"]
    body = "".join(f"data: {line}\n\n" for line in lines)
    page.route("**/v1/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    ask(page, "What colour?")
    answered(page)
    assert page.locator(".prose").inner_text() == "Blue."
    assert page.locator("details.reasoning .text").text_content() == "I think."


@pytest.mark.parametrize("content", [b"", b"not an image", b"truncated"], ids=["empty", "text", "truncated"])
def test_a_broken_image_is_reported_when_it_is_added(page, image, tmp_path, content):
    broken = tmp_path / "broken.png"
    broken.write_bytes(image.read_bytes()[:-40] if content == b"truncated" else content)
    page.set_input_files("#files", [broken, image])
    expect(page.locator("#notice")).to_contain_text("broken.png is damaged")
    assert page.locator("#notice").get_attribute("role") == "alert"
    expect(page.locator("#images img")).to_have_count(1)  # the other one


def test_a_format_that_only_the_server_reads_is_accepted(page, playground, tmp_path):
    scan = tmp_path / "scan.tiff"
    Image.new("RGB", (30, 20), "red").save(scan)
    page.set_input_files("#files", scan)
    expect(page.locator("#images .no-preview")).to_have_count(1)
    ask(page, "What is there?")
    answered(page)
    request, _, _ = playground.service._models["tiny"].backend.requests[-1]
    assert request.images[0].width == 30


def test_a_reload_opens_the_last_conversation(page, playground, monkeypatch):
    ask(page, "rich")
    answered(page)
    page.reload()
    expect(page.locator(".run")).to_have_count(1)
    assert page.locator(".prose .katex").count() == 3
    monkeypatch.setattr(playground.service._models["tiny"].backend, "hold", True)
    ask(page, "Second?", "low")
    page.wait_for_selector(".hypothesis.live")
    page.reload()  # in the middle of a reply
    expect(page.locator(".run")).to_have_count(2)
    assert page.locator(".error").inner_text() == "The page was left before the reply ended."
    page.keyboard.press("Alt+n")
    page.reload()
    expect(page.locator("#history li")).to_have_count(1)
    assert page.locator(".run").count() == 0
    page.locator("#history .open").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#clear")
    expect(page.locator("#history li")).to_have_count(0)
    page.reload()
    expect(page.locator("#clear")).not_to_be_visible()
    assert page.locator(".run").count() == 0


def test_the_history_is_bounded(page):
    kept = page.evaluate(
        """async () => {
            const {allChats, saveChat, trimChats} = await import("/playground/store.js");
            const turns = (question) => [{question, rounds: [], done: true}];
            const chat = (id, text) => ({id: `${id}`, title: "t", updated: id, turns: turns(text)});
            for (let id = 0; id < 60; id += 1) await saveChat(chat(id, "short"));
            await trimChats();
            const few = (await allChats()).map(({id}) => Number(id));
            await saveChat(chat(100, "x".repeat(49_999_000)));
            await saveChat(chat(101, "x".repeat(2_000)));
            await trimChats();
            return [few, (await allChats()).map(({id}) => Number(id))];
        }"""
    )
    assert kept == [list(range(59, 9, -1)), [101]]


def test_levels_and_limits_are_in_plain_words(page):
    labels = page.locator(".levels label").all_inner_texts()
    assert labels == ["Single answer", "4 hypotheses", "16 hypotheses", "32 hypotheses"]
    assert page.locator("#server").inner_text() == "reads and writes up to 100,000 tokens"
    page.locator('input[name=level][value="high"]').check(force=True)
    assert page.locator("#hint").inner_text().startswith("32 in parallel, 4 that combine them, then one answer")
    page.click("#open-settings")
    assert "about 75,000 English words" in page.locator("#context").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_serious(browser, playground, image, options, scheme, monkeypatch):
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce", **options)
    page = context.new_page()
    page.goto(playground.root)
    page.wait_for_selector("#model option", state="attached")
    assert axe_findings(page) == []
    backend = playground.service._models["tiny"].backend
    monkeypatch.setattr(backend, "hold", True)
    ask(page, "What is there?", "low", image)
    page.wait_for_selector(".hypothesis.live")
    assert axe_findings(page) == []
    backend.hold = False
    answered(page)
    ask(page, "rich")
    answered(page, 2)
    assert axe_findings(page) == []
    page.locator(".hypothesis").first.click()
    assert axe_findings(page) == []
    page.keyboard.press("Escape")
    if options:
        page.click("#open-drawer")
        assert axe_findings(page) == []
    page.click("#open-settings")
    assert axe_findings(page) == []
    context.close()


def test_the_page_is_small_and_loads_nothing_from_other_hosts():
    files = [path for path in PLAYGROUND.iterdir() if path.suffix in (".html", ".css", ".js", ".svg")]
    assert sum(path.stat().st_size for path in files) < 80_000
    for path in files:
        assert not re.search(r"(?:src|href|import)\b[^\n]*https?://", path.read_text()), path


def test_vendored_libraries_are_those_that_are_named():
    folders = [PLAYGROUND / "vendor", AXE.parents[1]]
    ignored = subprocess.run(["git", "check-ignore", *PLAYGROUND.rglob("*")], cwd=PLAYGROUND, capture_output=True)
    assert ignored.stdout == b""  # what git ignores, the wheel leaves out
    for folder in folders:
        sums = dict(reversed(line.split()) for line in (folder / "SHA256SUMS").read_text().splitlines())
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        names = {name for name in files if name not in ("README.md", "SHA256SUMS")}
        assert set(sums) == names
        assert {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in names} == sums
        readme = (folder / "README.md").read_text()
        for library in {name.split("/")[0] for name in names}:
            assert f"{library}/LICENSE" in names
            assert re.search(rf"\| `{library}` \| \d+\.\d+\.\d+ \|", readme)
