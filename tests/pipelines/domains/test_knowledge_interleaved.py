import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import zxingcpp
from PIL import Image as PILImage

from step3vl.data.errors import InfrastructureError
from step3vl.data.sample import ImagePart, Sample, TextPart
from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.knowledge_interleaved import BuildDocuments, InterleavedEntry
from step3vl.pipelines.domains.knowledge_sources import OpenPages
from step3vl.pipelines.sources.web.archive_site import archive_site, response_record
from step3vl.pipelines.sources.web.warc import WarcError
from step3vl.pipelines.sources.web.web_archive import WebPage

ROOT = Path(__file__).parents[3]

Headers = Sequence[tuple[str, str]]
HTML = [("Content-Type", "text/html")]
TEXT = """<p>The operator marks the places of an image where the brightness changes most, and thins them to lines.</p>
<p>Noise makes edges where there are none, so everything is smoothed first; how much decides what is left of it.</p>"""


def png(seed: int, size: tuple[int, int] = (200, 160)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def page(body: str, headers: Headers = HTML, name: str = "page") -> bytes:
    return response_record(f"https://a.example/{name}", 200, headers, f"<html><body>{body}</body></html>".encode())


def picked(name: str, data: bytes, headers: Headers = (), status: int = 200) -> bytes:
    return response_record(f"http://a.example/{name}", status, [("Content-Type", "image/png"), *headers], data)


Read = Callable[..., tuple[list[Sample], Counter[str]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """What becomes of an archive: its samples, and the pages that are dropped by reason."""

    def read(*records: bytes, **fields: object) -> tuple[list[Sample], Counter[str]]:
        (tmp_path / "a.warc.gz").write_bytes(b"".join(records))
        sources = [{"files": ["*.warc.gz"], "licence": "CC0-1.0"}]
        return build({"sources": sources, **fields}, tmp_path)

    return read


def build(fields: dict[str, object], base: Path) -> tuple[list[Sample], Counter[str]]:
    context = StepContext(seed=0, base=str(base))
    samples: list[Sample] = []
    reasons: Counter[str] = Counter()
    entry, pages = open_pages(fields, context)
    worker = BuildDocuments(entry, context)
    worker.setup()
    for opened in pages:
        try:
            samples += worker.process(opened, rng_for(0))
        except Dropped as drop:
            reasons[drop.reason] += 1
    return samples, reasons


def open_pages(fields: dict[str, object], context: StepContext) -> tuple[InterleavedEntry, list[Record[WebPage]]]:
    entry = InterleavedEntry.model_validate({"domain": "knowledge.interleaved", "name": "t", **fields})
    worker = OpenPages(entry, context)
    pages: list[Record[WebPage]] = []
    for source in entry.inputs().sources:
        for pattern in source.files:
            files = list_pattern(pattern, source.licence, entry="t", base=context.base, store=DEFAULT_STORE)
            for file in sorted(files, key=lambda file: file.key):
                pages += worker.process(Record(file.key, file), rng_for(0))
    return entry, pages


def shape(sample: Sample) -> str:
    """`t` for each text, `i` for each image."""
    return "".join("i" if isinstance(part, ImagePart) else "t" for part in sample.parts())


def test_a_page_becomes_a_document_with_its_images_as_they_are(read: Read) -> None:
    first, second = png(1), png(2)
    body = f"<h1>Edges</h1>{TEXT}<img src=a.png><p>Between them.</p><img src=/b.png>"
    (sample,), reasons = read(page(body), picked("a.png", first), picked("b.png", second))
    assert not reasons
    assert shape(sample) == "titi"
    assert [image.data for image in sample.images] == [first, second]
    assert sample.parts()[2] == TextPart(text="Between them.")
    assert sample.source.uri == "https://a.example/page"
    assert (sample.domain, sample.task, sample.source.licence) == ("knowledge", "knowledge.interleaved", "CC0-1.0")


def test_images_may_come_before_their_page_and_through_redirects(read: Read) -> None:
    moved = picked("a.png", b"", [("Location", "/moved.png")], status=302)
    samples, _ = read(picked("moved.png", png(1)), moved, page(f"{TEXT}<img src=a.png>"))
    assert [shape(sample) for sample in samples] == ["ti"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (TEXT, "no_images"),
        (f"{TEXT}<img src=gone.png>", "images_failed"),
        (f"{TEXT}<img src=broken.png>", "images_failed"),
        (f"{TEXT}<img src=thin.png>", "no_images_left"),
        (f"{TEXT}<img src=code.png>", "no_images_left"),
        (f"{TEXT}<img src=opted.png>", "no_images_left"),
        (f"{TEXT}<img src=logo.png>", "no_images_left"),
        ("<p>Short.</p><img src=a.png>", "too_short"),
        (f"<p>{'Buy it now or you never will. ' * 30}</p><img src=a.png>", "repetitive"),
        (f"<meta name=robots content=noai>{TEXT}<img src=a.png>", "opted_out"),
    ],
)
def test_pages_are_dropped_for_a_reason(read: Read, body: str, reason: str) -> None:
    code = zxingcpp.create_barcode("https://a.example", zxingcpp.BarcodeFormat.QRCode).to_image(scale=8)
    buffer = io.BytesIO()
    PILImage.fromarray(np.array(code)).save(buffer, "PNG")
    images = {
        "a": png(1),
        "broken": png(1)[:900],
        "thin": png(1, (900, 160)),
        "code": buffer.getvalue(),
        "logo": png(1),
    }
    stored = [picked(f"{name}.png", data) for name, data in images.items()]
    stored.append(picked("opted.png", png(1), [("X-Robots-Tag", "noai")]))
    assert read(page(body), *stored) == ([], Counter({reason: 1}))


def test_nine_failed_images_of_ten_are_kept_and_ten_of_eleven_dropped(read: Read) -> None:
    gone = "".join(f"<img src=gone{number}.png>" for number in range(9))
    samples, _ = read(page(f"{TEXT}<img src=a.png>{gone}"), picked("a.png", png(1)))
    assert samples[0].scores == {"failed_images": 0.9, "images_missing": 9.0}
    assert read(page(f"{TEXT}<img src=a.png>{gone}<img src=x.png>"), picked("a.png", png(1)))[1] == {
        "images_failed": 1
    }


def test_an_image_that_many_pages_name_is_decoration(read: Read) -> None:
    pages = [page(f"{TEXT}<p>Page {n}.</p><img src=a.png><img src={n}.png>", name=f"p{n}") for n in range(4)]
    images = [picked(f"{n}.png", png(n)) for n in range(4)]
    samples, _ = read(*pages, picked("a.png", png(9)), *images, max_pages_with_image=3)
    assert [sample.scores["images_decoration"] for sample in samples] == [1.0] * 4
    assert [len(sample.images) for sample in samples] == [1] * 4


def test_licences_are_read_and_chosen(read: Read) -> None:
    stated = '<a rel=license href="https://creativecommons.org/licenses/by/4.0/">CC</a>'
    pages = [page(f"{TEXT}{stated}<img src=a.png>"), page(f"{TEXT}Other.<img src=a.png>", name="other")]
    samples, reasons = read(*pages, picked("a.png", png(1)), licences=["CC-BY-4.0"])
    assert [sample.source.licence for sample in samples] == ["CC-BY-4.0"]
    assert reasons == {"licence": 1}


def test_what_cannot_be_read_is_dropped_and_counted(read: Read) -> None:
    good = page(f"{TEXT}<img src=a.png>")
    huge = page("<p>word</p>" * 500_000, name="huge")
    damaged = bytearray(page(TEXT, name="damaged"))
    damaged[60] ^= 255
    records = [good, good, huge, page("Empty.", name="e"), bytes(damaged), picked("a.png", png(1))]
    empty = response_record("https://a.example/empty", 200, HTML, b"")
    samples, reasons = read(*records, empty, page(TEXT, name="cut")[:-30])
    assert len(samples) == 1
    assert reasons == {
        "repeated_page": 1,
        "page_too_large": 1,
        "no_images": 1,
        "empty_page": 1,
        "damaged_record": 1,
        "truncated_record": 1,
    }


def test_pages_that_are_no_html_or_not_there_are_no_records(read: Read) -> None:
    missing = response_record("https://a.example/missing", 404, HTML, TEXT.encode())
    assert read(
        missing, response_record("https://a.example/x.pdf", 200, [("Content-Type", "application/pdf")], b"%PDF")
    ) == (
        [],
        {},
    )


def test_long_pages_become_several_documents(read: Read) -> None:
    words = ["".join(f"word{n}x{place} " for place in range(12)) for n in range(7)]
    sections = "".join(f"<h2>Part {n}</h2><p>{words[n]}</p><img src={n}.png>" for n in range(7))
    samples, _ = read(
        page(sections), *(picked(f"{n}.png", png(n)) for n in range(7)), max_images=3, characters=[50, 8000]
    )
    assert [shape(sample) for sample in samples] == ["tititi", "tititi", "ti"]
    assert len({sample.id for sample in samples}) == 3


def test_the_same_image_is_shown_once(read: Read) -> None:
    samples, _ = read(page(f"{TEXT}<img src=a.png><p>And.</p><img src=a.png>"), picked("a.png", png(1)))
    assert shape(samples[0]) == "tit"


def test_data_urls_are_images(read: Read) -> None:
    import base64

    url = f"data:image/png;base64,{base64.b64encode(png(1)).decode()}"
    samples, _ = read(page(f"{TEXT}<img src='{url}'>"))
    assert samples[0].images[0].data == png(1)


def test_an_archive_that_changes_between_the_steps_ends_the_build(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    path.write_bytes(page(f"{TEXT}<img src=a.png>") + picked("a.png", png(1)))
    context = StepContext(seed=0, base=str(tmp_path))
    entry, pages = open_pages({"sources": [{"files": ["*.warc.gz"], "licence": "CC0-1.0"}]}, context)
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(InfrastructureError, match=r"a\.warc\.gz"):
        list(BuildDocuments(entry, context).process(pages[0], rng_for(0)))


def test_other_files_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.warc.gz").write_bytes(b"\x1f\x8b\x08 no gzip")
    with pytest.raises(Dropped, match="not_a_warc_or_parquet"):
        build({"sources": [{"files": ["*.gz"], "licence": "CC0-1.0"}]}, tmp_path)


def site(folder: Path) -> None:
    (folder / "docs/img").mkdir(parents=True)
    (folder / "docs/img/a b.png").write_bytes(png(1))
    (folder / "secret.png").write_bytes(png(2))
    (folder / "docs/sub").mkdir()
    (folder / "docs/sub/page.html").write_text(
        f"<body>{TEXT}<img src='../img/a%20b.png'><p>x</p><img src=/docs/img/no.png>"
    )
    (folder / "docs/out.html").write_text(f"<body>{TEXT}<img src='../../secret.png'><img src='/secret.png'>")
    (folder / "docs/far.html").write_text(f"<body>{TEXT}<img src='https://b.example/docs/img/a%20b.png'>")


def test_a_saved_site_finds_its_images_and_nothing_outside(tmp_path: Path) -> None:
    site(tmp_path)
    sites = [{"folder": "docs", "url": "https://a.example/docs", "licence": "CC0-1.0"}]
    samples, reasons = build({"sites": sites}, tmp_path)
    assert [sample.source.uri for sample in samples] == ["https://a.example/docs/sub/page.html"]
    assert samples[0].images[0].read() == png(1)
    assert samples[0].scores == {"failed_images": 0.5, "images_missing": 1.0}
    assert reasons == {"images_failed": 2}


def test_a_site_served_over_http_and_archived_gives_the_same_documents(tmp_path: Path) -> None:
    site(tmp_path)
    with (tmp_path / "a.warc.gz").open("wb") as file:
        archive_site(tmp_path / "docs", "https://a.example/docs/", file, ["sub/page.html", "out.html"])
    archived, _ = build({"sources": [{"files": ["*.warc.gz"], "licence": "CC0-1.0"}]}, tmp_path)
    saved, _ = build({"sites": [{"folder": "docs", "url": "https://a.example/docs", "licence": "CC0-1.0"}]}, tmp_path)
    assert [sample.id for sample in archived] == [sample.id for sample in saved]
    assert archived[0].source.uri == saved[0].source.uri


def test_the_committed_archive_gives_documents(context: StepContext) -> None:
    fields = {"sources": [{"files": ["data/samples/web/*.warc.gz"], "licence": "BSD-3-Clause"}]}
    samples, reasons = build(fields, ROOT)
    assert [sample.source.uri.rpartition("/")[2] for sample in samples] == [
        "0-skip-process.html",
        "plot_edge_modes.html",
        "plot_haar.html",
        "plot_watershed.html",
        "plot_hausdorff_distance.html",
        "plot_shapes.html",
        "plot_canny.html",
        "plot_convex_hull.html",
    ]
    assert reasons == {"no_images": 1, "no_images_left": 1}
    assert samples == build(fields, ROOT)[0]


def test_an_entry_without_inputs_is_refused() -> None:
    with pytest.raises(ValueError, match="give sources"):
        InterleavedEntry(domain="knowledge.interleaved", name="t")


def test_a_file_that_ends_the_walk_is_a_failed_record(tmp_path: Path) -> None:
    import gzip

    whole = gzip.compress(gzip.decompress(page(TEXT)) + gzip.decompress(page(TEXT, name="b")))
    (tmp_path / "a.warc.gz").write_bytes(whole)
    with pytest.raises(WarcError, match="gzip member"):
        build({"sources": [{"files": ["*.gz"], "licence": "CC0-1.0"}]}, tmp_path)
