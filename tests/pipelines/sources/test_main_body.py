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
    assert read(page) == [f"{LOREM}More of it.", "x"]


def test_a_title_that_is_a_link_stays_with_the_passage_below_it() -> None:
    passage = (LOREM * 3).strip()
    page = f"<p>{LOREM}</p><h3><a href=1>A post</a></h3><p>{passage}</p><h3><a href=2>Another</a></h3><p>In short.</p>"
    assert read(page) == [LOREM.strip(), "### A post", passage, "In short."]
    assert read(f"<h3><a href='#edges'>Edges</a></h3><p>{LOREM}</p>") == ["### Edges", LOREM.strip()]


def test_late_images_are_taken_from_where_they_are() -> None:
    images = "<source srcset='big.png 2x'><img src='data:image/gif;base64,R0' data-src=a.png>"
    page = f"<p>x</p><picture>{images}</picture>"  # words: the element of HTML
    nodes = read_main_body(parse_page(page, "https://a.example/p/"))
    assert isinstance(nodes[1], ImageNode)
    assert [address[-7:] for address in nodes[1].addresses] == ["p/a.png", "big.png", "se64,R0"]


def test_deep_and_long_pages_take_no_recursion() -> None:
    assert read("<p>" + LOREM + "</p>" + "<div>" * 3000 + "deep")[:1] == [LOREM.strip()]
    assert len(read("".join(f"<p>Paragraph {n} of many.</p>" for n in range(5000)))) == 5000


TEXT = (LOREM * 6).strip()


@pytest.mark.parametrize(
    "names",
    [
        "field field--name-field-body field--label-hidden",
        "post-12 post type-post tag-social category-related",
        "elementor-element elementor-widget elementor-widget-text-editor",
        "content-sidebar-wrap",
        "left-navigation_page-wrapper",
        "no-sidebar",
    ],
)
def test_names_that_only_mention_a_part_are_no_reason_to_leave_out_text(names: str) -> None:
    blocks = "".join(f'<div class="{names}"><p>{n}. {LOREM}</p></div>' for n in range(8))
    assert read(f"<div><h1>Edges</h1>{blocks}</div>") == ["# Edges", *(f"{n}. {LOREM}".strip() for n in range(8))]


@pytest.mark.parametrize(
    "names",
    ["sidebar widget-area", "relatedPosts", "post_comments", "author-box", "d-print-none", "social-share", "ad-1"],
)
def test_parts_that_name_themselves_are_left_out(names: str) -> None:
    assert read(f'<p>{TEXT}</p><div class="{names}"><p>Something else is here.</p></div>') == [TEXT]
    assert read(f"<p>{TEXT}</p><div id={names.split()[0]}><p>Something else is here.</p></div>") == [TEXT]


def test_a_menu_that_was_never_closed_hides_nothing() -> None:
    assert read(f"<nav class=navbar><ul><li><a href=1>Home</a></ul><main><p>{TEXT}</p></main>") == [TEXT]
    assert read(f"<form action=/><div><p>{TEXT}</p></div></form>") == [TEXT]


def test_comments_that_are_longer_than_the_article_are_left_out() -> None:
    comments = "".join(f"<li><p>{n}: {LOREM}</p></li>" for n in range(40))
    page = f"<div id=content><article><h1>Edges</h1><p>{TEXT}</p></article><ol id=comments>{comments}</ol></div>"
    assert read(page) == ["# Edges", TEXT]


def test_the_heading_and_the_summary_above_the_named_body_are_read_and_what_is_around_is_not() -> None:
    page = f"""<div><p>Before all.</p>
      <header><h1>Edges</h1><p class=teaser-text>In short.</p><p>By A. Author</p></header>
      <div><div class=article-body><p>{TEXT}</p></div></div><section><p>{LOREM}</p></section></div>"""
    assert read(page) == ["# Edges", "In short.", "By A. Author", TEXT]


def test_a_title_of_the_site_that_is_a_link_is_no_heading_of_the_body() -> None:
    page = f"<div><h1><a href=/>Site</a></h1><p>Motto</p><div class=entry-content><p>{TEXT}</p></div></div>"
    assert read(page) == [TEXT]


def test_teasers_of_other_pages_are_left_out() -> None:
    page = f"<div><p>{TEXT}</p><div class='m-teaser'><h4><a href=1>Other</a></h4><p>It says so.</p></div></div>"
    assert read(page) == [TEXT]


def test_how_characters_are_said_is_not_text() -> None:
    assert read(f"<p><ruby>子<rt>こ</rt></ruby>ども</p><p>{LOREM}</p>") == ["子ども", LOREM.strip()]


def test_anchors_without_a_target_are_no_links() -> None:
    assert read(f"<p><a name=top>{LOREM}</p><p>{LOREM}Twice.</p>") == [LOREM.strip(), f"{LOREM}Twice."]


@pytest.mark.parametrize(
    "line",
    [
        "Das könnte Sie auch interessieren",
        "Lesen Sie auch:",
        "Vous aimerez aussi",
        "Zobacz także",
        "Foto: A. B.",
        "Tags: edges, filters",
        "You might also like",
        "関連記事はこちら",
    ],
)
def test_headings_of_links_and_credits_are_left_out(line: str) -> None:
    assert read(f"<p>{LOREM}</p><h4>{line}</h4>") == [LOREM.strip()]


def test_long_ordered_lists_take_linear_time() -> None:
    items = read("<ol>" + "<li>item" * 20_000 + "</ol>")
    assert (items[0], items[-1]) == ("1. item", "20000. item")
