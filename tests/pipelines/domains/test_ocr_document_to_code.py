import itertools
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage
from pydantic import ValidationError

from step3vl.data.sample import Sample, image, text
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import MissingProgramError, Unchecked
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.document_to_code_check import DocumentCheck, code_text
from step3vl.pipelines.domains.document_to_code_entry import DocumentToCodeEntry
from step3vl.pipelines.domains.document_to_code_questions import ask, phrasings
from step3vl.pipelines.domains.ocr_document_to_code import (
    DOMAIN,
    LabelDocuments,
    OpenSources,
    RenderDocuments,
    RenderedDocument,
    SplitDocuments,
)
from step3vl.pipelines.sources.markup.markdown import read_markdown
from step3vl.pipelines.sources.markup.markup import parse_markup
from step3vl.pipelines.sources.markup.markup_html import canonical

SMALL = {"page_scale": (0.8, 1.0), "max_side": 1200}
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class Build:
    """An entry's steps, run over its inputs."""

    def __init__(self, context: StepContext, **fields: Any) -> None:
        self.entry = DocumentToCodeEntry(domain="ocr.document_to_code", name="t", **fields)
        self._context = context
        makers: tuple[Any, ...] = (OpenSources, SplitDocuments, RenderDocuments, LabelDocuments)
        self._steps = [maker(self.entry, context) for maker in makers]
        for step in self._steps:
            step.setup()
        self.reasons: Counter[str] = Counter()
        self.documents: list[RenderedDocument] = []

    def inputs(self) -> list[Record[Any]]:
        if self.entry.count:
            return [Record(f"t/{number}", number) for number in range(self.entry.count)]
        source, context = self.entry.sources[0], self._context
        return [
            Record(file.key, file)
            for pattern in source.files
            for file in list_pattern(pattern, source.licence, entry="t", base=context.base, store=context.store)
        ]

    def run(self, records: list[Record[Any]], place: int = 0) -> list[Any]:
        if place == len(self._steps):
            return records
        outputs = []
        for record in records:
            try:
                outputs += list(self._steps[place].process(record, rng_for(place, record.key)))
            except Dropped as error:
                self.reasons[error.reason] += 1
        if place == 2:
            self.documents += [record.value for record in outputs]
        return self.run(outputs, place + 1)

    def close(self) -> None:
        self._steps[2]._pages.close()


@pytest.fixture(scope="module")
def made() -> tuple[list[Sample], list[RenderedDocument]]:
    """Samples of generated tables and of a document in Markdown."""
    context = StepContext(seed=0, base=str(Path(__file__).parents[3]))
    tables = Build(context, count=24, **SMALL)
    samples = tables.run(tables.inputs())
    tables.close()
    sources = [{"files": ["docs/how-to/add-a-domain.md"], "licence": "Apache-2.0"}]
    pages = Build(context, sources=sources, printed_links=1.0, **SMALL)
    samples += pages.run(pages.inputs())
    pages.close()
    return samples, tables.documents + pages.documents


@pytest.mark.chromium
def test_answers_are_graded_correct_and_their_code_is_that_of_the_image(
    made: tuple[list[Sample], list[RenderedDocument]],
) -> None:
    samples, documents = made
    assert len(samples) >= 20
    codes = {document.image.sha256: document.codes for document in documents}
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"
        asked = sample.task.rpartition("_")[2]
        if asked in ("html", "markdown"):
            assert sample.answer() == codes[sample.images[0].sha256][asked]  # type: ignore[index]
    tasks = {sample.task.rpartition(".")[2] for sample in samples}
    assert tasks >= {"table_html", "page_html", "page_markdown"}
    assert {sample.source.licence for sample in samples} >= {"CC0-1.0", "Apache-2.0"}


@pytest.mark.chromium
def test_both_codes_of_a_page_are_the_same_tree(made: tuple[list[Sample], list[RenderedDocument]]) -> None:
    both = [document for document in made[1] if "markdown" in document.codes]
    assert both
    for document in both:
        tree = canonical(parse_markup(document.codes["html"]))
        assert canonical(read_markdown(document.codes["markdown"], links=True).root) == tree


@pytest.mark.chromium
def test_nothing_hidden_is_in_the_code(made: tuple[list[Sample], list[RenderedDocument]]) -> None:
    for document in made[1]:
        root = parse_markup(document.codes["html"])
        names = {name for element in root.iter() for name in element.attrib}
        assert names <= {"colspan", "rowspan", "start", "href", "alt"}
        assert "<!--" not in document.codes["html"]


@pytest.mark.chromium
def test_one_seed_gives_the_same_bytes_whatever_was_made_before(context: StepContext) -> None:
    build = Build(context, count=6, **SMALL)
    first = {sample.source.uri: (sample.id, sample.images[0].sha256) for sample in build.run(build.inputs())}
    again = {sample.source.uri: (sample.id, sample.images[0].sha256) for sample in build.run(build.inputs()[::-1])}
    build.close()
    assert first == again
    assert first


@pytest.mark.chromium
def test_pages_of_a_web_archive(context: StepContext) -> None:
    """An archive is one record of the first step and many of the second."""
    build = Build(context, sources=[{"files": ["data/samples/web/*.warc.gz"], "licence": "BSD-3-Clause"}])
    opened = list(build._steps[0].process(build.inputs()[0], rng_for(0)))
    assert len(opened) >= 10
    pieces = [piece for page in opened[:3] for piece in build._steps[1].process(page, rng_for(1, page.key))]
    assert all(piece.value.uri.startswith("http") for piece in pieces)
    assert len({piece.key for piece in pieces}) == len(pieces)
    build.close()


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_formulas_and_tables_of_a_latex_source(context: StepContext, tmp_path: Path) -> None:
    (tmp_path / "a.tex").write_text(
        r"\newcommand{\R}{\mathbb{R}} $x_1 \in \R^n$ \[ \sum_{i=1}^n i = \frac{n(n+1)}{2}. \] $\nothing_1 = 2$"
        "\n\\begin{tabular}{lr} Name & Size \\\\ \\hline One & 12 \\\\ Two & 30 \\end{tabular}"
    )
    build = Build(context, sources=[{"files": [f"{tmp_path}/*.tex"], "licence": "LPPL-1.3c"}])
    samples = build.run(build.inputs())
    assert sorted(sample.task.rpartition(".")[2] for sample in samples) == [
        "formula_latex", "formula_latex", "table_latex",
    ]  # fmt: skip
    assert {sample.answer() for sample in samples} >= {r"x_1 \in \mathbb{R}^n", r"\sum_{i=1}^n i = \frac{n(n+1)}{2}"}
    assert all(sample.scores and sample.scores["blocks_left_out"] >= 0 for sample in samples)


def test_an_entry_reads_one_thing() -> None:
    sources = [{"files": ["x.md"], "licence": "MIT"}]
    for fields in ({}, {"count": 3, "sources": sources}):
        with pytest.raises(ValidationError, match="give either count"):
            DocumentToCodeEntry(domain="ocr.document_to_code", name="t", **fields)


def test_what_the_machine_lacks_is_said_before_anything_runs(
    context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    tables = DocumentToCodeEntry(domain="ocr.document_to_code", name="t", **dict(DOMAIN.example))
    with pytest.raises(MissingProgramError, match="chromium"):
        tables.check(context)
    sources = [{"files": ["x/*.tex"], "licence": "MIT"}]
    with pytest.raises(MissingProgramError, match="pdflatex"):
        DocumentToCodeEntry(domain="ocr.document_to_code", name="t", sources=sources).check(context)


@pytest.mark.parametrize("asked", ["code", "region", "place"])
def test_there_are_fifty_phrasings_and_each_fits(asked: Any) -> None:
    for language in LANGUAGES:
        templates = phrasings(asked, language)
        assert len(set(templates)) == len(templates) >= 50
        rng = rng_for(0)
        for _ in range(80):
            question = ask(asked, language, rng, subject="table", code="html", box=(1, 2, 3, 4), text="word")
            assert "{" not in question
            assert {"code": "HTML", "region": "[1, 2, 3, 4]", "place": "word"}[asked] in question


def test_the_second_opinion_reads_code_by_other_parsers() -> None:
    html = '<h1>T</h1>\n<ul>\n<li>a &amp; b</li>\n</ul>\n<p><img alt="cat"> <a href="http://x.y">l</a></p>'
    assert code_text(html, "html").split() == ["T", "a", "&", "b", "cat", "l", "(http://x.y)"]
    markdown = "# T\n\n- a & b\n\n| x | y |\n| --- | --- |\n| 1 | 2 |\n\n~~z~~ [l](http://x.y)"
    assert code_text(markdown, "markdown").split() == [
        "T",
        "a",
        "&",
        "b",
        "x",
        "y",
        "1",
        "2",
        "z",
        "l",
        "(http://x.y)",
    ]
    latex = (
        "\\begin{tabular}{l|r}\n\\multicolumn{2}{c}{Head} \\\\\n\\hline\n\\textbf{a} & $x_1$ \\\\[2pt]\n\\end{tabular}"
    )
    assert code_text(latex, "latex").split() == ["Head", "a", "x_1"]


@pytest.mark.slow
@pytest.mark.chromium
def test_the_second_opinion_finds_right_labels_right_and_wrong_ones_wrong(
    context: StepContext, made: tuple[list[Sample], list[RenderedDocument]]
) -> None:
    entry = DocumentToCodeEntry(domain="ocr.document_to_code", name="t", count=1)
    check = DocumentCheck(entry, context)
    samples = [sample for sample in made[0] if sample.task.endswith(("_html", "_markdown"))][:10]
    assert [check(sample) for sample in samples].count(None) >= 9
    for first, second in itertools.pairwise(samples):
        swapped = Sample.make(
            domain=first.domain, task=first.task, messages=first.messages, images=second.images,
            truth=first.truth, source=first.source,
        )  # fmt: skip
        assert check(swapped) in ("text_differs", "order_differs")


def test_the_second_opinion_says_when_it_has_none(context: StepContext) -> None:
    entry = DocumentToCodeEntry(domain="ocr.document_to_code", name="t", count=1)
    sample = Sample.make(
        domain="ocr", task="ocr.document_to_code.page_html", content=(image(0), text("a document")),
        images=(encode_jpeg(PILImage.new("RGB", (9, 9))),),
        source={"uri": "x", "licence": "MIT", "collected_by": "t"},  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(Unchecked, match="document"):
        DocumentCheck(entry, context)(sample)
