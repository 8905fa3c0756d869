from hypothesis import given
from hypothesis import strategies as st

from step3vl.pipelines.sources.web.main_body import ImageNode, Node, TextNode
from step3vl.pipelines.sources.web.main_element import text_length
from step3vl.pipelines.sources.web.page_text import clean, repetition, split

IMAGE = ImageNode(("https://a.example/a.png",), "", None)


def paragraph(text: str) -> TextNode:
    return TextNode(text, "paragraph")


def heading(text: str) -> TextNode:
    return TextNode(text, "heading")


def test_repeated_paragraphs_symbols_and_empty_headings_are_cleaned_away() -> None:
    nodes = [
        heading("# Title"),
        heading("## Nothing here"),
        heading("## Part"),
        paragraph("Some words."),
        paragraph("Some words."),
        paragraph("* * * * * ====== | | | ------ * * *"),
        IMAGE,
        TextNode("```\n}}}}}}}}}}}}}}}}}}}}}}}}}\n```", "code"),
        heading("## The end"),
    ]
    assert clean(nodes) == [nodes[0], nodes[2], nodes[3], nodes[6], nodes[7]]


def test_repetition_is_the_share_of_sequences_that_came_before() -> None:
    assert repetition([paragraph("a b c d e f g h")]) == 0
    assert repetition([paragraph("buy it now or never " * 10)]) > 0.8
    assert repetition([paragraph("数字图像处理的边缘检测" * 9)]) > 0.8
    assert repetition([TextNode("a b c d e " * 9, "row"), IMAGE]) == 0


def test_long_pages_are_cut_before_headings() -> None:
    nodes = [heading("# A"), paragraph("a" * 40), IMAGE, heading("## B"), paragraph("b" * 40), paragraph("c" * 40)]
    assert list(split(nodes, 100, 5)) == [nodes[:3], nodes[3:]]
    assert list(split([IMAGE] * 5, 100, 2)) == [[IMAGE] * 2, [IMAGE] * 2, [IMAGE]]
    assert list(split([paragraph("图" * 60), IMAGE], 100, 2)) == [[IMAGE]]


@given(
    st.lists(
        st.one_of(st.just(IMAGE), st.text("a图", min_size=1, max_size=60).map(paragraph), st.just(heading("# x")))
    )
)
def test_pieces_are_the_page_within_the_limits(nodes: list[Node]) -> None:
    pieces = list(split(nodes, 120, 3))
    assert [node for piece in pieces for node in piece] == nodes
    for piece in pieces:
        assert piece and sum(isinstance(node, ImageNode) for node in piece) <= 3
        assert sum(text_length(node.text) for node in piece if isinstance(node, TextNode)) <= 120
