"""A folder of good and broken documents passes through the steps of the domain: every page is in the ledger."""

from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image as PILImage

from step3vl.data.dataset import LedgerStep
from step3vl.data.storage import Store
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.fragment_writer import StagedDeadLetter
from step3vl.pipelines.core.fragments import Fragment, plan_fragments
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.rows import load_model, read_rows
from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.core.segment import Segment, next_fragments, segments_of
from step3vl.pipelines.domains.ocr_documents import DocumentsEntry, Page
from step3vl.pipelines.render.style import plain

TECHNOTE = Path("data/samples/documents/technote.pdf")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "good.pdf").write_bytes(TECHNOTE.read_bytes())
    (folder / "cut.pdf").write_bytes(TECHNOTE.read_bytes()[:400])
    pypdfium2.PdfDocument.new().save(folder / "empty.pdf")
    (folder / "noise.jpg").write_bytes(b"not an image")
    frames = [plain((60, 40), (shade,) * 3) for shade in (250, 128, 5)]
    frames[0].save(folder / "scan.tif", save_all=True, append_images=frames[1:])
    PILImage.effect_noise((60, 60), 50).save(folder / "fine.png")
    (folder / "cut.png").write_bytes((folder / "fine.png").read_bytes()[:-80])
    return folder


class Run:
    """A segment over some fragments, in this process."""

    def __init__(self, segment: Segment, fragments: list[Fragment], root: Path, context: StepContext) -> None:
        self._store = Store(str(root), context.store)
        self._segment, self._fragments = segment, fragments
        runner = SegmentRunner(segment, str(root), context.base, context.store)
        self.results = [runner.run(fragment) for fragment in fragments]
        runner.close()

    @property
    def account(self) -> LedgerStep:
        (result,) = self.results
        return result.accounts[-1]

    def dead_letters(self) -> Iterator[StagedDeadLetter]:
        for fragment in self._fragments:
            path = f"{self._segment.folder}/{fragment.id}.dead.parquet"
            yield from (load_model(StagedDeadLetter, row) for row in read_rows(self._store, path))

    def pages(self) -> Iterator[tuple[str, Page]]:
        for fragment in self._fragments:
            for row in read_rows(self._store, f"{self._segment.folder}/{fragment.id}.parquet"):
                yield row["key"], load_model(Page, row["value"])

    def following(self) -> list[Fragment]:
        return [each for result in self.results for each in next_fragments(self._segment, result)]


@pytest.mark.slow
def test_every_page_and_every_broken_file_is_accounted_for(inbox: Path, tmp_path: Path) -> None:
    context = StepContext(seed=0, base=str(tmp_path))
    sources = [{"files": ["inbox/*"], "licence": "CC0-1.0"}]
    entry = DocumentsEntry.model_validate(
        {"domain": "ocr.document_to_text", "name": "docs", "sources": sources, "max_pages": 2, "dpi": 50}
    )
    files = list_pattern("inbox/*", "CC0-1.0", entry="docs", base=context.base, store=context.store)
    open_, render, *_ = segments_of(entry, 0, assets="")
    opened = Run(open_, plan_fragments(files, [], "docs"), tmp_path / "root", context)
    pages = len(pypdfium2.PdfDocument(TECHNOTE)) + 3 + 2
    assert opened.account.model_dump(include={"read", "kept", "failed", "emitted"}) == {
        "read": 7,
        "kept": 4,
        "failed": {"PdfError": 2, "ImageError": 1},
        "emitted": pages,
    }
    reasons = {each.source: each.reason for each in opened.dead_letters()}
    assert reasons["inbox/cut.pdf"] == reasons["inbox/empty.pdf"] == "the PDF is damaged, cut off or without pages"
    assert reasons["inbox/noise.jpg"].startswith("the file is not in a known image format")

    rendered = Run(render, opened.following(), tmp_path / "root", context)
    account = rendered.account
    assert (account.read, account.kept, account.dropped, account.failed) == (
        pages,
        5,
        {"beyond_max_pages": pages - 6},
        {"ImageError": 1},
    )
    images = {key: page.image for key, page in rendered.pages()}
    assert set(images) == {
        *("inbox/good.pdf#1", "inbox/good.pdf#2"),
        *("inbox/scan.tif#1", "inbox/scan.tif#2", "inbox/fine.png#1"),
    }
    pointers = {key: image.at.path for key, image in images.items() if image.at is not None}
    assert pointers["inbox/fine.png#1"] == str(inbox / "fine.png"), "it is left where it is"
    assert pointers["inbox/good.pdf#1"].startswith(render.folder), "it is staged, relative to the root"
