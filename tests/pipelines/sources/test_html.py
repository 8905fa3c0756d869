import pytest

from step3vl.pipelines.sources.web.html import (
    HtmlError,
    decode_html,
    image_addresses,
    join_url,
    opts_out,
    parse_page,
    referenced_images,
)

URL = "https://a.example/b/page.html"
CHINESE = "<p>数字图像处理是一门研究如何用计算机处理图像的学科。</p>" * 3


@pytest.mark.parametrize(
    ("encoding", "stated"),
    [
        ("utf-8", None),
        ("utf-8", "latin-1"),  # the server is wrong
        ("gb18030", "gb2312"),
        ("gb18030", None),  # detected
        ("gb18030", "utf-8"),  # the server is wrong
        ("big5", "big5"),
        ("utf-16", None),
        ("utf-16", "utf-8"),
    ],
)
def test_any_charset_is_read_whatever_is_stated(encoding: str, stated: str | None) -> None:
    text = CHINESE if encoding != "big5" else "<p>數位影像處理</p>"
    assert decode_html(text.encode(encoding), stated) == text


def test_the_charset_of_the_page_counts_where_the_server_states_none() -> None:
    page = '<meta charset="shift_jis"><p>画像処理とは</p>'
    assert decode_html(page.encode("shift_jis"), None) == page
    page = '<?xml version="1.0" encoding="windows-1252"?><p>naïve café</p>'
    assert decode_html(page.encode("cp1252"), None) == page


def test_control_characters_and_lone_surrogates_do_not_reach_the_text() -> None:
    assert decode_html(b"a\0b\x1fc", None) == "abc"
    assert parse_page("<p>a\ud800b", URL).tree.text_content() == "a?b"


@pytest.mark.parametrize("page", ["<p>a<table><b>x</table></i></p>", "plain words", "<html><p>x</html></html><p>y"])
def test_malformed_pages_have_a_tree(page: str) -> None:
    assert parse_page(page, URL).tree.text_content().strip()


@pytest.mark.parametrize(
    "page", ["<div>" * 50_000 + "x", "<a href='x", "<p>" * 50_000, "<img " * 50_000, '<img "' * 50_000]
)
def test_hostile_pages_take_no_time(page: str) -> None:
    parse_page(page, URL)
    assert not list(referenced_images(page, URL))


@pytest.mark.parametrize("page", ["", "   ", "<!-- only a comment -->"])
def test_a_page_without_elements_is_an_error(page: str) -> None:
    with pytest.raises(HtmlError):
        parse_page(page, URL)


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("../c d.png#x", "https://a.example/c%20d.png"),
        ("//B.example/x?a=1&b=图", "https://b.example/x?a=1&b=%E5%9B%BE"),
        ("/x%20y", "https://a.example/x%20y"),
        ("javascript:void(0)", ""),
        ("http://[", ""),
        ("", "https://a.example/b/page.html"),
    ],
)
def test_links_become_addresses(link: str, address: str) -> None:
    assert join_url(URL, link) == address


def test_the_largest_image_comes_first_and_placeholders_last() -> None:
    attributes = {"src": "data:image/gif;base64,R0", "data-src": "m.jpg", "srcset": "s.jpg 320w, l.jpg 1280w,n.jpg 2x"}
    base = "https://a.example/b/"
    assert image_addresses(attributes, URL) == (
        f"{base}l.jpg", f"{base}s.jpg", f"{base}n.jpg", f"{base}m.jpg", "data:image/gif;base64,R0"
    )  # fmt: skip


def test_referenced_images_are_those_of_the_parsed_page() -> None:
    page = '<base href="/i/"><IMG alt=">" SRC=a.png><source srcset="b.webp 2x"><img src="c&amp;d.png">'
    assert list(referenced_images(page, URL)) == [
        f"https://a.example/i/{name}" for name in ("a.png", "b.webp", "c&d.png")
    ]
    assert parse_page(page, URL).base == "https://a.example/i/"


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ('<link rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/">', "CC-BY-SA-4.0"),
        ('<a rel="license noopener" href="http://creativecommons.org/publicdomain/zero/1.0/">x</a>', "CC0-1.0"),
        ('<meta name="dcterms.license" content="https://x.example/terms">', "https://x.example/terms"),
        (
            '<script type="application/ld+json">{"license": "https://creativecommons.org/licenses/by/3.0/"}</script>',
            "CC-BY-3.0",
        ),
        ("", ""),
    ],
)
def test_the_stated_licence_is_read(head: str, licence: str) -> None:
    assert parse_page(f"<html><head>{head}</head><body>x</body></html>", URL).licence == licence


@pytest.mark.parametrize(
    ("head", "headers", "expected"),
    [
        ('<meta name="robots" content="index, noai">', {}, True),
        ('<META NAME="ROBOTS" CONTENT="NoImageAI">', {}, True),
        ('<meta name="robots" content="noindex">', {}, False),
        ('<meta name="tdm-reservation" content="1">', {}, True),
        ("", {"x-robots-tag": "otherbot: noai"}, True),
        ("", {"tdm-reservation": "1"}, True),
        ("", {"x-robots-tag": "noarchive"}, False),
    ],
)
def test_opting_out_is_honoured(head: str, headers: dict[str, str], expected: bool) -> None:
    assert parse_page(f"<html><head>{head}</head><body>x</body></html>", URL, headers).opts_out == expected


def test_directives_are_whole_words() -> None:
    assert not opts_out("noairplanes")
