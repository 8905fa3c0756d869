from pathlib import Path

import pytest

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui import site as site_module
from step3vl.pipelines.gui.site import ORIGIN, ArchiveSite, FileSite
from step3vl.pipelines.sources.web.archive_site import response_record

HTML = [("Content-Type", "text/html; charset=utf-8")]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "site.warc.gz"
    path.write_bytes(
        response_record("https://a.example/", 200, HTML, b"<p>one")
        + response_record("https://a.example/b.html", 200, HTML, b"<p>two")
        + response_record("https://a.example/gone", 404, HTML, b"no")
        + response_record("https://a.example/", 200, HTML, b"<p>later")
        + response_record("https://a.example/i.png", 200, [("Content-Type", "image/png")], b"png")
    )
    return path


def test_file_site_has_its_page_and_what_is_shared_and_nothing_else(tmp_path: Path) -> None:
    page, kit, other = (tmp_path / name for name in ("page.html", "kit.js", "other.txt"))
    for path in (page, kit, other):
        path.write_text(path.name)
    site = FileSite(page, [kit])
    assert site.start == f"{ORIGIN}page.html"
    assert site.reply(f"{ORIGIN}page.html?seed=1") == (b"page.html", "text/html; charset=utf-8")
    assert site.reply(f"{ORIGIN}kit.js") == (b"kit.js", "text/javascript; charset=utf-8")
    for url in (f"{ORIGIN}other.txt", f"{ORIGIN}../other.txt", "https://example.org/page.html", ORIGIN):
        assert site.reply(url) is None


def test_archive_site_gives_first_responses_at_their_addresses(archive: Path) -> None:
    site = ArchiveSite(archive, 3)
    assert site.start == "https://a.example/b.html"
    assert site.reply("https://a.example/#part") == (b"<p>one", "text/html; charset=utf-8")
    assert site.reply("https://a.example/i.png") == (b"png", "image/png")
    assert site.reply("https://a.example/gone") is None


def test_archive_without_pages_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "site.warc.gz"
    path.write_bytes(response_record("https://a.example/i.png", 200, [("Content-Type", "image/png")], b"png"))
    with pytest.raises(Dropped, match="no_page_in_archive"):
        ArchiveSite(path, 0)


def test_archive_is_walked_once_for_all_its_sites_until_it_is_replaced(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = []
    walk = site_module.walk_records
    monkeypatch.setattr(site_module, "walk_records", lambda path: walks.append(path) or walk(path))
    assert {ArchiveSite(archive, number).start for number in range(4)} == {
        "https://a.example/", "https://a.example/b.html",
    }  # fmt: skip
    assert len(walks) == 1
    archive.write_bytes(response_record("https://a.example/new.html", 200, HTML, b"<p>new"))
    assert ArchiveSite(archive, 0).start == "https://a.example/new.html"
