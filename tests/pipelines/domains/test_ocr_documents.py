"""Documents: pages and frames, their errors, and the check of what was read against the text layer."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from step3vl.data.sample import Box, Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import InputFile, list_pattern
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.ocr_documents import (
    DocumentPage,
    DocumentsEntry,
    LabelRegions,
    OpenDocuments,
    Page,
    PageReader,
    ReadPage,
    RenderPages,
    SplitRegions,
    line_agreement,
    word_agreement,
    words,
)
from step3vl.pipelines.models.ocr import OcrLine
from step3vl.pipelines.render.page import render_lines
from step3vl.pipelines.render.style import FontFace, plain

DOCUMENTS = Path("data/samples/documents")


def entry(**options: Any) -> DocumentsEntry:
    sources = [{"files": ["inbox/*"], "licence": "CC0-1.0"}]
    return DocumentsEntry.model_validate(
        {"domain": "ocr.document_to_text", "name": "docs", "sources": sources, **options}
    )


def line_image(context: StepContext, text: str, size: tuple[int, int] = (320, 48)) -> PILImage.Image:
    image = plain(size, (250, 250, 245))
    (font,) = context.assets(["assets:fonts/DejaVuSans.ttf"])
    render_lines(image, [text], FontFace(font).at(26), (8, 8), (10, 10, 10))
    return image


def file_record(context: StepContext, path: Path) -> Record[InputFile]:
    (file,) = list_pattern(str(path.resolve()), "CC0-1.0", entry="docs", base=context.base, store=context.store)
    return Record(path.name, file)


def opened(context: StepContext, path: Path) -> list[Record[DocumentPage]]:
    return list(OpenDocuments(entry(), context).process(file_record(context, path), rng_for(0)))


def rendered(context: StepContext, page: Record[DocumentPage], **options: Any) -> Page:
    (record,) = RenderPages(entry(**options), context).process(page, rng_for(0))
    assert record.key == page.key
    return record.value


def test_agreement_ignores_order_but_not_words() -> None:
    assert word_agreement("b a, c", "A B C") == 1.0
    assert word_agreement("a b", "a b c d") == pytest.approx(2 / 3)
    assert word_agreement("", "a") == 0.0
    page = "".join(words("say hello world again"))
    assert line_agreement("".join(words("Hello, World")), page) == 1.0
    assert line_agreement("".join(words("Hello, World")), "nothingofthekind") < 0.6
    assert line_agreement("".join(words("…")), "a") == 0.0


def test_every_page_of_a_pdf_is_a_record_and_those_beyond_max_pages_are_dropped(context: StepContext) -> None:
    pages = opened(context, DOCUMENTS / "technote.pdf")
    assert [page.key for page in pages] == [f"technote.pdf#{number + 1}" for number in range(len(pages))]
    assert len(pages) > 2
    page = rendered(context, pages[1], max_pages=2, dpi=50)
    assert "math" in page.text_layer or page.text_layer
    assert page.image.data is not None and page.image.format == "jpeg"
    with pytest.raises(Dropped, match="beyond_max_pages"):
        rendered(context, pages[2], max_pages=2)


def test_an_image_file_is_a_page_and_stays_where_it_is(context: StepContext, tmp_path: Path) -> None:
    path = tmp_path / "line.png"
    line_image(context, "fine").save(path)
    (page,) = opened(context, path)
    image = rendered(context, page).image
    assert image.data is None and image.at is not None
    assert image.at.path == str(path) and image.read() == path.read_bytes()


@pytest.mark.parametrize("kind", ["tiff", "gif", "webp"])
def test_each_frame_of_an_image_file_is_a_page(context: StepContext, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"scan.{kind}"
    shades = (250, 128, 5)
    first, *others = (plain((40, 30), (shade,) * 3) for shade in shades)
    first.save(path, save_all=True, append_images=others)
    images = [rendered(context, page).image for page in opened(context, path)]
    assert [image.format for image in images] == ["jpeg"] * 3
    for image, shade in zip(images, shades, strict=True):
        assert abs(image.open().getpixel((20, 15))[0] - shade) < 12  # type: ignore[index]


def test_a_page_that_is_read_by_its_content_may_have_any_name(context: StepContext, tmp_path: Path) -> None:
    path = tmp_path / "download"
    path.write_bytes((DOCUMENTS / "technote.pdf").read_bytes())
    assert len(opened(context, path)) > 1


def read_page(context: StepContext, text: str, text_layer: str, score: float = 0.95, lines: int = 1) -> ReadPage:
    line = OcrLine(text=text, score=score, box=Box(4.0, 6.0, 200.0, 42.0, "pixels", (320, 48)))
    image = encode_jpeg(line_image(context, text))
    return ReadPage(image=image, text_layer=text_layer, licence="CC0-1.0", lines=(line,) * lines)


def label(context: StepContext, page: ReadPage, **options: Any) -> list[Sample]:
    rng = rng_for(0)
    regions = list(SplitRegions(entry(**options), context).process(Record("doc.pdf#1", page), rng))
    worker = LabelRegions(entry(**options), context)
    worker.setup()
    return [sample for region in regions for sample in worker.process(region, rng)]


def test_pages_and_lines_become_samples_with_their_scores(context: StepContext) -> None:
    read = read_page(context, "Seven swans", "A tale of seven swans.")
    page, line = label(context, read, regions=("page", "line"), min_agreement=0.5)
    assert page.answer() == line.answer() == "Seven swans"
    assert page.scores == {"ocr_confidence": 0.95, "text_layer_agreement": 0.5714}
    assert line.scores is not None and line.scores["text_layer_agreement"] == 1.0
    assert (page.images[0].width, page.images[0].height) == (320, 48)
    assert line.images[0].width == pytest.approx(206, abs=3)


def test_a_line_carries_its_own_text_and_not_the_pages(context: StepContext) -> None:
    read = read_page(context, "Seven swans", "A tale of seven swans. " * 500, lines=30)
    regions = list(SplitRegions(entry(regions=("line",)), context).process(Record("doc.pdf#1", read), rng_for(0)))
    assert len(regions) == 30
    assert all(len(region.value.text) == len("Seven swans") for region in regions)
    assert max(len(region.value.model_copy(update={"image": None}).model_dump_json()) for region in regions) < 400


def test_a_page_is_decoded_once_for_all_its_lines(context: StepContext, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: Counter[str] = Counter()
    read = read_page(context, "Seven swans", "", lines=30)
    original = type(read.image).open

    def count(image: Any) -> PILImage.Image:
        decoded[image.sha256] += 1
        return original(image)

    monkeypatch.setattr(type(read.image), "open", count)
    assert len(label(context, read, regions=("page", "line"), max_side=100)) == 31
    assert decoded[read.image.sha256] == 1


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
    context: StepContext, arguments: tuple[Any, ...], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Dropped, match=reason):
        label(context, read_page(context, *arguments), **options)


@pytest.mark.slow
def test_paddleocr_reads_a_line(context: StepContext) -> None:
    page = Page(image=encode_jpeg(line_image(context, "Hello OCR 2026"), 95), text_layer="", licence="CC0-1.0")
    first, second = PageReader(entry())([page, page])
    assert [line.text for line in first.lines] == ["Hello OCR 2026"]
    assert first.lines[0].score > 0.9
    assert first == second
