import pytest

from step3vl.pipelines.sources.web.html import parse_page
from step3vl.pipelines.sources.web.main_body import ImageNode, read_main_body

LOREM = "The filter computes the gradient of the image and keeps what is stronger than its neighbours. "


def read(body: str) -> list[str]:
    """Texts, and images as the names of their files."""
    nodes = read_main_body(parse_page(f"<html><body>{body}</body></html>", "https://a.example/p/"))
    return [
        f"[{node.addresses[0].removeprefix('https://a.example/p/')}]" if isinstance(node, ImageNode) else node.text
        for node in nodes
    ]


def test_menus_sidebars_and_footers_are_cut() -> None:
    page = f"""
      <div class="navbar"><ul><li><a href=1>Home</a><li><a href=2>News</a></ul></div><header role=banner>Site</header>
      <div id=wrap><div class="left-col"><h1>Edges</h1><p>{LOREM}</p><img src=a.png><p>{LOREM}Twice.</p>
      <div class="share-buttons">Share this</div></div>
      <div class="sidebar"><p>Something else that is here.</p><img src=ad.png></div></div>
      <footer>© 2026</footer>"""
    assert read(page) == ["# Edges", LOREM.strip(), "[a.png]", f"{LOREM}Twice."]


def test_the_title_stays_with_the_part_that_has_all_the_text() -> None:
    assert read(f"<div><div><h1>Notes</h1><section><p>{LOREM}</p></section></div></div>") == ["# Notes", LOREM.strip()]


def test_an_image_amid_a_sentence_follows_its_paragraph() -> None:
    assert read("<p>Press <img src=key.png> and <b>wait</b>.</p><p><img src=a.png>Done.</p>") == [
        "Press and wait.", "[key.png]", "[a.png]", "Done.",
    ]  # fmt: skip


def test_lists_listings_tables_and_breaks_are_kept_as_text() -> None:
    page = """<ol><li>First<li><p>Second</p><ul><li>inner</ul></ol><pre>a = 1
  b = 2
</pre><table><tr><th>x<th>y<tr><td>1<td><p>2</p></table><p>up<br>down</p>"""
    assert read(page) == [
        "1. First", "2. Second", "- inner", "```\na = 1\n  b = 2\n```", "x | y", "1 | 2", "up\ndown"
    ]  # fmt: skip


def test_tables_for_layout_are_read_as_blocks() -> None:
    cells = f"<td><p>{LOREM}</p><img src=a.png></td><td><p>Beside it: {LOREM}</p></td>"
    assert read(f"<table><tr>{cells}</tr></table>") == [
        LOREM.strip(), "[a.png]", f"Beside it: {LOREM}".strip(),
    ]  # fmt: skip


def test_figures_keep_their_captions_after_the_image() -> None:
    page = f"<p>{LOREM}</p><figure><a href=b.html><img src=a.png></a><figcaption>Fig. 1</figcaption></figure>"
    assert read(page) == [LOREM.strip(), "[a.png]", "Fig. 1"]


def test_what_is_hidden_is_not_read() -> None:
    page = f"""<p>{LOREM}</p><p hidden>a</p><p style="color:red; display : none">b</p><p aria-hidden=true>c</p>
      <script>d</script><noscript><img src=n.png></noscript><template>e</template><!-- f --><p>end</p>"""
    assert read(page) == [LOREM.strip(), "end"]


@pytest.mark.parametrize(
    "line",
    [
        "Advertisement",
        "Share on X",
        "Read more: others",
        "© 2026 A",
        "上一篇:边缘",
        "责任编辑:张三",
        "扫描二维码关注我们",
        "点击查看大图",
    ],
)
def test_boilerplate_lines_are_left_out(line: str) -> None:
    assert read(f"<p>{LOREM}</p><p>{line}</p>") == [LOREM.strip()]


def test_lines_of_links_are_left_out_and_links_in_sentences_stay() -> None:
    links = "<p><a href=1>One</a> <a href=2>Two</a></p><h2><a href=3>Head</a></h2>x"
    page = f"<p>{LOREM}<a href=x>More of it</a>.</p>{links}"
    assert read(page) == [f"{LOREM}More of it.", "## Head", "x"]


def test_late_images_are_taken_from_where_they_are() -> None:
    images = "<source srcset='big.png 2x'><img src='data:image/gif;base64,R0' data-src=a.png>"
    page = f"<p>x</p><picture>{images}</picture>"  # words: the element of HTML
    nodes = read_main_body(parse_page(page, "https://a.example/p/"))
    assert isinstance(nodes[1], ImageNode)
    assert [address[-7:] for address in nodes[1].addresses] == ["p/a.png", "big.png", "se64,R0"]


def test_deep_and_long_pages_take_no_recursion() -> None:
    assert read("<p>" + LOREM + "</p>" + "<div>" * 3000 + "deep")[:1] == [LOREM.strip()]
    assert len(read("".join(f"<p>Paragraph {n} of many.</p>" for n in range(5000)))) == 5000
