"""Documents: pages, the real OCR on Ray, and the check against the text layer."""

import shutil
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from PIL import Image as PILImage

from step3vl.data.dataset import LedgerStep
from step3vl.data.errors import InfrastructureError
from step3vl.data.ray_session import ray_session
from step3vl.data.sample import Box, Image, Pointer, Sample
from step3vl.pipelines.core.accounts import collect_accounts, read_accounts, read_list
from step3vl.pipelines.core.beam import CollectJson, run_pipeline
from step3vl.pipelines.core.domain import ApplySteps
from step3vl.pipelines.core.ray import annotate
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.staging import StageRows, read_rows
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.ocr_documents import (
    DocumentsEntry,
    LabelRegions,
    Page,
    PageReader,
    ReadPage,
    SplitRegions,
    dump_page,
    line_agreement,
    prepare_pages,
    word_agreement,
)
from step3vl.pipelines.models.ocr import OcrLine
from step3vl.pipelines.render.page import render_lines
from step3vl.pipelines.render.style import FontFace, plain

DOCUMENTS = Path("data/samples/documents")


def line_image(text: str, size: tuple[int, int] = (320, 48)) -> PILImage.Image:
    image = plain(size, (250, 250, 245))
    render_lines(image, [text], FontFace(Path("data/samples/fonts/DejaVuSans.ttf")).at(26), (8, 8), (10, 10, 10))
    return image


def test_agreement_ignores_order_but_not_words() -> None:
    assert word_agreement("b a, c", "A B C") == 1.0
    assert word_agreement("a b", "a b c d") == pytest.approx(2 / 3)
    assert word_agreement("", "a") == 0.0
    assert line_agreement("Hello, World", "say hello world again") == 1.0
    assert line_agreement("Hello, World", "nothing of the kind") < 0.6
    assert line_agreement("…", "a") == 0.0


def test_a_broken_file_is_a_failed_record_and_the_others_are_read(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    good = DOCUMENTS / "technote.pdf"
    shutil.copy(good, inbox / "good.pdf")
    (inbox / "cut.pdf").write_bytes(good.read_bytes()[:400])
    line_image("fine").save(inbox / "fine.png")
    (inbox / "cut.png").write_bytes((inbox / "fine.png").read_bytes()[:-80])
    (inbox / "noise.jpg").write_bytes(b"not an image")
    entry = DocumentsEntry.model_validate(
        {
            "domain": "ocr.document_to_text",
            "name": "docs",
            "sources": [{"files": [f"{inbox}/*"], "licence": "CC0-1.0"}],
            "max_pages": 2,
            "dpi": 50,
        }
    )

    def wire(pipeline: beam.Pipeline) -> None:
        outputs = pipeline | ApplySteps(entry, 0, prepare_pages)
        _ = outputs[-1].kept | StageRows(tmp_path, "pages", dump_page) | CollectJson(tmp_path / "parts.json")
        collect_accounts(outputs, tmp_path, pipeline)

    run_pipeline("pages", (), wire)
    pages = {page.key: page for page in read_rows(read_list(tmp_path / "parts.json"), Page.model_validate_json)}
    assert {Path(key).name for key in pages} == {"good.pdf#1", "good.pdf#2", "fine.png#1"}
    steps = {step.name: step for step in read_accounts(tmp_path).accounts}
    assert steps["docs.open"].read == 5
    assert steps["docs.open"].failed == {"PdfiumError": 1}
    assert steps["docs.render"].failed == {"ImageError": 2}
    page = pages[f"{inbox}/good.pdf#1"]
    assert "math" in page.text_layer
    assert page.image.open().width == page.image.width
    # An image that is a file already is pointed to in place.
    at = pages[f"{inbox}/fine.png#1"].image.at
    assert at is not None and at.path == str(inbox / "fine.png")


def read_page(text: str, text_layer: str, score: float = 0.95, lines: int = 1) -> ReadPage:
    line = OcrLine(text=text, score=score, box=Box(4.0, 6.0, 200.0, 42.0, "pixels", (320, 48)))
    image = encode_jpeg(line_image(text))
    return ReadPage(key="doc.pdf#1", image=image, text_layer=text_layer, licence="CC0-1.0", lines=(line,) * lines)


def label(page: ReadPage, **options: Any) -> list[Sample]:
    entry = DocumentsEntry(domain="ocr.document_to_text", name="docs", **options)
    rng = rng_for(0)
    regions = list(SplitRegions(entry).process(Record("doc.pdf#1", page), rng))
    return [sample for region in regions for sample in LabelRegions(entry).process(region, rng)]


def test_pages_and_lines_become_samples_with_their_scores() -> None:
    page, line = label(read_page("Seven swans", "A tale of seven swans."), regions=("page", "line"), min_agreement=0.5)
    assert page.answer() == line.answer() == "Seven swans"
    assert page.scores == {"ocr_confidence": 0.95, "text_layer_agreement": 0.5714}
    assert line.scores is not None and line.scores["text_layer_agreement"] == 1.0
    assert (page.images[0].width, page.images[0].height) == (320, 48)
    assert line.images[0].width == pytest.approx(206, abs=3)


@pytest.mark.parametrize(
    ("arguments", "options", "reason"),
    [
        (("Seven swans", "Something else entirely"), {}, "low_agreement"),
        (("Seven swans", "", 0.4), {}, "low_confidence"),
        (("Seven swans", ""), {"characters": (1, 5)}, "length_out_of_range"),
        (("x", "", 0.9, 0), {}, "no_text_found"),
    ],
)
def test_a_doubtful_region_is_dropped_with_its_reason(
    arguments: tuple[Any, ...], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Dropped, match=reason):
        label(read_page(*arguments), **options)


@pytest.mark.slow
def test_paddleocr_reads_a_line_in_a_ray_actor_and_a_missing_image_ends_the_step(tmp_path: Path) -> None:
    path = tmp_path / "line.png"
    line_image("Hello OCR 2026").save(path)
    data = path.read_bytes()
    image = Image.from_bytes(data).stored_at(Pointer(path=str(path), offset=0, size=len(data)))
    page = Page(key="line.png#1", image=image, text_layer="", licence="CC0-1.0")
    (tmp_path / "garbled.png").write_bytes(b"no image")
    garbled = image.stored_at(Pointer(path=str(tmp_path / "garbled.png"), offset=0, size=8))
    broken = Page(key="garbled.png#1", image=garbled, text_layer="", licence="CC0-1.0")
    missing = image.stored_at(Pointer(path=str(tmp_path / "gone.png"), offset=0, size=len(data)))
    gone = Page(key="gone.png#1", image=missing, text_layer="", licence="CC0-1.0")
    with ray_session(2, extra="pipelines"):
        result = annotate("docs.read", [page, broken], PageReader, Page, ReadPage, workers=1)
        with pytest.raises(InfrastructureError, match=r"docs\.read stopped at gone\.png#1: .*No such file"):
            annotate("docs.read", [gone], PageReader, Page, ReadPage, workers=1)
    assert [line.text for row in result.rows for line in row.lines] == ["Hello OCR 2026"]
    assert result.rows[0].lines[0].score > 0.9
    assert result.account == LedgerStep(name="docs.read", read=2, kept=1, failed={"ImageError": 1})
    assert [dead_letter.source for dead_letter in result.dead_letters] == ["garbled.png#1"]
