import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.pipelines.sources.text.keywords import mine_keywords
from step3vl.pipelines.sources.text.words import content_words, is_chinese, singular, words
from step3vl.pipelines.sources.web.main_body import ImageNode, Node, TextNode
from step3vl.pipelines.sources.web.page_pairs import (
    heading_above,
    is_boilerplate,
    name_words,
    texts_around,
    without_number,
)

IMAGE = ImageNode(("https://a.example/a.png",), "An old mill", None)


def paragraph(text: str) -> TextNode:
    return TextNode(text, "paragraph")


def around(nodes: list[Node], characters: int = 200) -> dict[str, str]:
    return {each.role: each.text for each in texts_around(nodes, nodes.index(IMAGE), characters)}


def test_an_image_has_the_texts_above_below_and_its_own() -> None:
    nodes = [paragraph("Far."), paragraph("Above it."), IMAGE, paragraph("Below it."), paragraph("Far.")]
    assert around(nodes) == {"alt": "An old mill", "above": "Above it.", "below": "Below it."}


def test_texts_belong_to_the_next_image_and_the_same_section() -> None:
    other = ImageNode(("https://a.example/b.png",), "", None)
    heading = TextNode("## Mills", "heading")
    assert around([paragraph("Above."), other, IMAGE, heading, paragraph("Below.")]) == {"alt": "An old mill"}
    assert heading_above([heading, paragraph("x"), IMAGE], 2) == "Mills"
    assert heading_above([IMAGE], 0) == ""


def test_listings_and_tables_are_passed_over() -> None:
    nodes = [
        paragraph("Above."),
        TextNode("```\ncode\n```", "code"),
        IMAGE,
        TextNode("1 | 2", "row"),
        paragraph("Below."),
    ]
    assert around(nodes) == {"alt": "An old mill", "above": "Above.", "below": "Below."}


def test_long_texts_are_cut_between_sentences_on_the_far_side() -> None:
    long = "One is here. Two is here. Three is here."
    assert around([paragraph(long), IMAGE, paragraph(long)], 28) == {
        "alt": "An old mill",
        "above": "Two is here. Three is here.",
        "below": "One is here. Two is here.",
    }
    assert around([paragraph("x" * 300), IMAGE], 28) == {"alt": "An old mill"}
    chinese = "第一句在这里。第二句在这里。第三句在这里。"
    assert around([IMAGE, paragraph(chinese)], 15)["below"] == "第一句在这里。第二句在这里。"


@pytest.mark.parametrize(
    "text",
    [
        "", "image", "Image 12", "an image", "IMG_2041.JPG", "../img/a.png", "https://a.example/x", "photo",
        "Figure 3.1:",
        "click to enlarge the picture",  # words: a text of a web page
        "DSC00412", "图片", "点击查看大图", "untitled", "Screenshot 2024-01-02",
        "logo",
        "3f9a8b7c6d5e4f", "/images/header", "null",
    ],
)  # fmt: skip
def test_boilerplate(text: str) -> None:
    assert is_boilerplate(text)


@pytest.mark.parametrize(
    "text",
    [
        "A picture of a mill",  # words: a text of a web page
        "Figure 3: the mill",
        "Loading docks at night",
        "图片中的水车",
        "Iconic towers",
        "Mill",
    ],
)
def test_texts_that_say_something_are_none(text: str) -> None:
    assert not is_boilerplate(text)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/img/old-mill_01.jpg", "old mill"),
        ("https://a.example/OldWaterMill%20North.png?x=1", "Old Water Mill North"),
        ("https://a.example/%E6%B0%B4%E8%BD%A6.jpg", "水车"),
        ("https://a.example/", ""),
        ("", ""),
    ],
)
def test_words_of_file_names(url: str, expected: str) -> None:
    assert name_words(url) == expected


def test_words_of_any_script() -> None:
    assert words("The CAT's 2 mats: 水车坊 and Größe") == [
        "the",
        "cat",
        "s",
        "2",
        "mats",
        "水车",
        "车坊",
        "and",
        "grösse",
    ]
    assert content_words("The cats of 1984 were in boxes, with cities; 我的水车") == ["cat", "box", "city", "水车"]
    assert [singular(word) for word in ("glass", "bus", "axis", "watches", "gas", "los")] == [
        "glass", "bus", "axis", "watch", "gas", "los",
    ]  # fmt: skip
    assert is_chinese("水车 mill 水车坊在这里")
    assert not is_chinese("これは水車です")
    assert not is_chinese("")


@given(st.text(max_size=200))
def test_words_are_deterministic_and_without_spaces(text: str) -> None:
    tokens = words(text)
    assert tokens == words(text)
    assert all(word and not any(letter.isspace() for letter in word) for word in tokens)


def test_keywords_are_what_a_document_repeats_and_others_seldom_have() -> None:
    rare = {"mill": 5.0, "water": 2.0, "wheel": 5.0, "grain": 4.0, "day": 0.5, "水车": 6.0, "磨坊": 5.0}
    document = [
        "A water wheel drives the mill.",
        "The mill grinds grain. One day the water wheel stops; the wheel is old.",
    ]
    keywords = mine_keywords(document, lambda word: rare.get(word, 0.0), 3)
    assert [keyword.text for keyword in keywords] == ["mill", "water wheel", "grain"]
    assert keywords[0].weight > keywords[1].weight
    assert [keyword.text for keyword in mine_keywords(["水车带动磨坊。"], lambda word: rare.get(word, 0.0), 5)] == [
        "水车",
        "磨坊",
    ]
    assert mine_keywords(["Nothing that anybody has an image of."], lambda word: 0.0, 5) == []


def test_chinese_keywords_are_words_and_never_parts_of_two() -> None:
    text = "在意大利，浓缩咖啡装在厚壁的小杯子里。哈勃空间望远镜拍摄的照片里有许多星系。"
    texts = {keyword.text for keyword in mine_keywords([text], lambda word: 1.0, 20)}
    assert {"意大利", "浓缩咖啡", "杯子", "星系"} <= texts
    assert not {"子里", "望远镜拍", "啡装"} & texts


def test_a_keyword_takes_its_best_paragraph() -> None:
    document = [
        "The mill is near. " + "Other words fill this long paragraph again. " * 8,
        "A mill, the mill, our mill.",
    ]
    (keyword,) = mine_keywords(document, lambda word: 1.0 if word == "mill" else 0.0, 5)
    assert keyword.paragraph == 1


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Figure 30.2: Delaunay triangulation", "Delaunay triangulation"),
        ("Fig. 3 – The old mill", "The old mill"),
        ("图 12.1. 网络总览", "网络总览"),
        ("图3、河边的水车", "河边的水车"),
        ("图3：河边的水车", "河边的水车"),
        ("Figure 3-D view", "Figure 3-D view"),
        ("Figure 4:", "Figure 4:"),
        ("Figures of speech", "Figures of speech"),
        ("Image 7 shows a mill", "Image 7 shows a mill"),
    ],
)
def test_the_number_that_a_page_gave_is_left_out(caption: str, expected: str) -> None:
    assert without_number(caption) == expected
