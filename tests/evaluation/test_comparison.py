"""Runs beside each other: what changed, with errors, marks and a page that refers to no other file."""

import asyncio
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from step3vl.data.errors import UserError
from step3vl.evaluation.comparison import compare
from step3vl.evaluation.page import pacore_pairs, render_comparison
from step3vl.evaluation.results import Result
from step3vl.evaluation.runner import EvalConfig, run_benchmark
from step3vl.inference.client import Request, Sampling
from step3vl.inference.pacore import PaCoReConfig


@pytest.fixture
def runs(toy, toy_data: Path, tmp_path: Path, ScriptedBackend) -> list[Result]:
    """A model that knows some sums, and PaCoRe with it, which knows others and writes markup."""

    def run(name: str, answers: dict[str, str], **fields) -> Result:
        def reply(request: Request, sampling: Sampling) -> str:
            prompt = request.messages[-1].content[-1].text  # with PaCoRe, the question is a part of it
            return "<think>hm</think>" + next((text for question, text in answers.items() if question in prompt), "9")

        backend = ScriptedBackend(reply)
        config = EvalConfig(repeats=2, **fields)
        folder = tmp_path / name
        return asyncio.run(run_benchmark(toy, toy_data / "toy-sums", backend, folder, config, {"name": "tiny"}))

    first = run("a", {"1 + 1": "2", "1 + 2": "3", "2 + 3": "none"})
    answers = {"1 + 1": "2", "the number in the image": "4", "2 + 3": "<b>5</b>"}
    second = run("b", answers, pacore=PaCoReConfig(rounds=(1,)))
    return [first, second]


def test_differences_count_the_items_that_changed(runs: list[Result]) -> None:
    comparison = compare(runs)
    assert comparison.runs == ("tiny", "tiny + PaCoRe 1")
    (row,) = comparison.rows
    assert [cell.value for cell in row.cells] == [pytest.approx(100 / 3)] * 2
    assert row.differences[0] is None
    assert (row.differences[1].gained, row.differences[1].lost, row.differences[1].items) == (2, 1, 6)
    assert row.differences[1].value == pytest.approx(0)
    assert (row.published, row.published_pacore) == (68.16, 68.00)
    values = [category.value for category in row.categories["even"]]
    assert values == [pytest.approx(100 / 3), pytest.approx(200 / 3)]
    assert comparison.notes == ("PaCoRe with 1 rollouts, not 16",)
    assert pacore_pairs(comparison) == [(0, 1)]


def test_examples_are_items_that_changed_with_their_images(runs: list[Result], toy_data: Path) -> None:
    (examples,) = compare(runs, toy_data).examples.values()
    assert {example.item for example in examples} == {"a-1", "b-0", "b-1"}
    changed = next(example for example in examples if example.item == "b-0")
    assert changed.images[0].startswith(b"\x89PNG")
    assert [line["verdict"] for line in changed.lines] == ["wrong", "correct"]
    (examples,) = compare(runs[:1], None, 2).examples.values()
    assert len(examples) == 2
    assert not any(example.images for example in examples)


def test_two_results_of_the_same_name_are_refused(runs: list[Result]) -> None:
    with pytest.raises(UserError, match="are both toy-sums of 'tiny'"):
        compare([runs[0], runs[0]])


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects what a reader or a screen reader needs."""

    VOID = ("meta", "img", "br", "link", "line", "rect")

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.alternatives: list[str | None] = []
        self.scopes = 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if "id" in values:
            self.ids.append(values["id"] or "")
        if tag == "a":
            self.links.append(values["href"] or "")
        if tag == "img":
            self.alternatives.append(values.get("alt"))
        if tag == "th":
            assert values.get("scope") in ("row", "col")
            self.scopes += 1

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_complete_by_itself(runs: list[Result], toy_data: Path) -> None:
    text = render_comparison(compare(runs, toy_data))
    page = Page(text)
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert page.alternatives == ["Image 1 of item b-0"]
    assert not re.search(r"(src|href)=\"(?!data:|#)", text), "nothing from elsewhere"
    assert "&lt;b&gt;5&lt;/b&gt;" in text, "what a model writes is text"
    assert "prefers-color-scheme: dark" in text
    assert "Sequential reasoning against PaCoRe" in text
    assert "Table 1: " in text and "Table 3: " in text


def test_a_single_run_has_a_page(runs: list[Result]) -> None:
    text = render_comparison(compare(runs[:1]))
    Page(text)
    assert "Differences" not in text
    assert "Not right" in text


@pytest.mark.slow
@pytest.mark.chromium
def test_the_page_is_accessible_wide_and_narrow(runs: list[Result], toy_data: Path, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    from step3vl.pipelines.render.web.browser import find_chromium

    try:
        chromium = find_chromium()
    except UserError as error:
        pytest.skip(str(error))
    path = tmp_path / "page.html"
    path.write_text(render_comparison(compare(runs, toy_data)), encoding="utf-8")
    axe = Path(__file__).parents[1] / "inference" / "server" / "vendor" / "axe-core" / "axe.min.js"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for scheme, width in (("light", 1280), ("dark", 400)):
            page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
            page.goto(path.as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
            page.evaluate(axe.read_text(encoding="utf-8"))
            violations = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
            assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in violations] == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
