"""Documents: pages, the real OCR on Ray, and the check against the text layer."""

import json
import shutil
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from PIL import Image as PILImage

from step3vl.data.ledger import Ledger, Step
from step3vl.data.sample import Image
from step3vl.pipelines.compose import encode_jpeg
from step3vl.pipelines.domains.ocr_documents import (
    DocumentsEntry,
    LabelRegions,
    SplitRegions,
    StagePages,
    line_agreement,
    read_pages,
    word_agreement,
)
from step3vl.pipelines.render.page import draw_lines
from step3vl.pipelines.render.style import Face, plain
from step3vl.pipelines.runner import CollectJson, flatten, run_pipeline
from step3vl.pipelines.staging import read_rows
from step3vl.pipelines.steps import Dropped, Record, rng_for

DOCUMENTS = Path("data/samples/documents")


def line_picture(text: str, size: tuple[int, int] = (320, 48)) -> PILImage.Image:
    picture = plain(size, (250, 250, 245))
    draw_lines(picture, [text], Face(Path("data/samples/fonts/DejaVuSans.ttf")).at(26), (8, 8), (10, 10, 10))
    return picture


def test_agreement_forgives_order_but_not_words() -> None:
    assert word_agreement("b a, c", "A B C") == 1.0
    assert word_agreement("a b", "a b c d") == pytest.approx(2 / 3)
    assert word_agreement("", "a") == 0.0
    assert line_agreement("Hello, World", "say hello world again") == 1.0
    assert line_agreement("Hello, World", "nothing of the kind") < 0.6
    assert line_agreement("…", "a") == 0.0


def test_broken_files_are_dead_letters_and_the_rest_goes_on(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    good = DOCUMENTS / "technote.pdf"
    shutil.copy(good, inbox / "good.pdf")
    (inbox / "cut.pdf").write_bytes(good.read_bytes()[:400])
    line_picture("fine").save(inbox / "fine.png")
    (inbox / "cut.png").write_bytes((inbox / "fine.png").read_bytes()[:-80])
    (inbox / "noise.jpg").write_bytes(b"not a picture")
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
        parts, outcomes = pipeline | StagePages(entry, 0, tmp_path)
        _ = parts | CollectJson(tmp_path / "parts.json")
        accounts = flatten([outcome.accounts for outcome in outcomes], "accounts", pipeline)
        _ = accounts | beam.Map(lambda step: step.model_dump()) | CollectJson(tmp_path / "accounts.json")

    run_pipeline("pages", (), wire)
    pages = {row["key"]: row for row in read_rows(json.loads((tmp_path / "parts.json").read_text()))}
    assert {Path(key).name for key in pages} == {"good.pdf#1", "good.pdf#2", "fine.png#1"}
    steps = Ledger.merge(map(Step.model_validate, json.loads((tmp_path / "accounts.json").read_text()))).steps
    accounts = {step.name: step for step in steps}
    assert accounts["docs.open"].read == 5
    assert accounts["docs.open"].dead == {"PdfiumError": 1}
    assert accounts["docs.render"].dead == {"PictureError": 2}
    page = pages[f"{inbox}/good.pdf#1"]
    assert "math" in page["layer"]
    assert Image.model_validate(page["image"]).open().width == round(page["image"]["width"])
    # A picture that is a file already is pointed to in place.
    assert pages[f"{inbox}/fine.png#1"]["image"]["at"]["path"] == str(inbox / "fine.png")


def region(text: str, layer: str, score: float = 0.95) -> dict[str, Any]:
    image = encode_jpeg(line_picture(text))
    row = image.model_dump(mode="json")
    return {
        "key": "doc.pdf#1",
        "image": {**row, "data": image.data},
        "layer": layer,
        "licence": "CC0-1.0",
        "lines": [{"text": text, "score": score, "box": [4.0, 6.0, 200.0, 42.0]}],
    }


def label(page: dict[str, Any], **options: Any) -> Any:
    entry = DocumentsEntry(domain="ocr.document_to_text", name="docs", **options)
    rng = rng_for(0)
    regions = list(SplitRegions(entry).process(Record("doc.pdf#1", page), rng))
    return [sample for one in regions for sample in LabelRegions(entry).process(one, rng)]


def test_pages_and_lines_become_samples_with_their_scores() -> None:
    page, line = label(region("Seven swans", "A tale of seven swans."), regions=("page", "line"), min_agreement=0.5)
    assert page.answer() == line.answer() == "Seven swans"
    assert page.scores == {"ocr_confidence": 0.95, "text_layer_agreement": 0.5714}
    assert line.scores["text_layer_agreement"] == 1.0
    assert (page.images[0].width, page.images[0].height) == (320, 48)
    assert line.images[0].width == pytest.approx(206, abs=3)


@pytest.mark.parametrize(
    ("page", "options", "reason"),
    [
        (region("Seven swans", "Something else entirely"), {}, "low_agreement"),
        (region("Seven swans", "", score=0.4), {}, "low_confidence"),
        (region("Seven swans", ""), {"characters": (1, 5)}, "length_out_of_range"),
        ({**region("x", ""), "lines": []}, {}, "no_text_found"),
    ],
)
def test_doubtful_regions_are_dropped_with_their_reason(
    page: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Dropped, match=reason):
        label(page, **options)


def test_paddleocr_reads_a_line_on_a_ray_actor_and_a_vanished_picture_is_a_dead_letter(tmp_path: Path) -> None:
    path = tmp_path / "line.png"
    line_picture("Hello OCR 2026").save(path)
    data = path.read_bytes()
    image = Image.from_bytes(data).model_dump(mode="json")
    at = {"path": str(path), "offset": 0, "size": len(data)}
    page = {"key": "line.png#1", "image": {**image, "at": at}, "layer": "", "licence": "CC0-1.0"}
    gone = {**page, "key": "gone.png#1", "image": {**image, "at": {**at, "path": str(tmp_path / "gone.png")}}}
    entry = DocumentsEntry(domain="ocr.document_to_text", name="docs")
    rows, account, letters = read_pages(entry, [page, gone], workers=1)
    assert [line["text"] for row in rows for line in row["lines"]] == ["Hello OCR 2026"]
    assert rows[0]["lines"][0]["score"] > 0.9
    assert account == Step(name="docs.read", read=2, kept=1, dead={"FileNotFoundError": 1})
    assert [letter.source for letter in letters] == ["gone.png#1"]
