"""The texts that may describe an image of a page: those above and below it, and its alternative text."""

import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from step3vl.pipelines.sources.pairs.image_text import PairText, Role
from step3vl.pipelines.sources.web.main_body import ImageNode, Node, TextNode

_READ = ("paragraph", "item")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9À-ÞΑ-ΩА-Я])|(?<=[。！？])")
_BOILERPLATE = re.compile(
    r"^(?:an? )?(?:image|img|photo|picture"  # words: alternative texts of pages
    r"|pic|figure|fig|screenshot|thumbnail|thumb|banner|untitled|undefined|null|"
    r"none|n/?a|alt|icon|logo|avatar|loading|placeholder|default|image description|click to (?:enlarge|view|zoom).*|"
    r"view (?:larger|full size).*|enlarge(?: image)?|featured image.*|read more.*|see more.*|share.*|advert\w*|"
    r"图片?|图像|照片|配图|插图|题图|封面|缩略图|点击(?:查看|放大).*|(?:图片)?加载中.*)?[\s\d.:#()_-]*$",
    re.IGNORECASE,
)
_FILE_NAME = re.compile(r"^[^\s<>]{1,300}\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|avif)$", re.IGNORECASE)
_ADDRESS = re.compile(r"^(?:https?://|www\.|\.{0,2}/)\S+$")
_CODE_NAME = re.compile(r"^(?=.*\d)[\w-]{8,}$")
_NUMBER = re.compile(
    r"^(?:fig(?:ure)?|photo|image|plate|illustration|图|圖)\s*\.?\s*[\dIVX]+(?:[.-]\d+)*[a-z]?\s*[.:)–—：、-]"
    "(?:\\s+|(?=[\u3400-\u9fff]))",
    re.IGNORECASE,
)
_NOTHING = (_BOILERPLATE, _FILE_NAME, _ADDRESS, _CODE_NAME)
_WORD = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{2,}(?![a-z])|[^\W\d_a-zA-Z]+")


def texts_around(nodes: Sequence[Node], place: int, characters: int) -> tuple[PairText, ...]:
    """The texts that may describe the image at a place of a page.

    The text above or below belongs to an image only if no other image and no heading is between them.

    Args:
        nodes: Of the page, in reading order.
        place: Of the image among them.
        characters: Most of a text; a longer one is cut between sentences, on the side that is away from the image.
    """
    node = nodes[place]
    assert isinstance(node, ImageNode)
    texts: list[PairText] = []
    candidates: list[tuple[Role, str]] = [
        ("alt", node.alt),
        ("above", _cut(_next_text(nodes[:place][::-1]), characters, keep="end")),
        ("below", _cut(_next_text(nodes[place + 1 :]), characters, keep="start")),
    ]
    for role, text in candidates:
        text = " ".join(text.removeprefix("- ").split())
        if text and len(text) <= characters and not is_boilerplate(text) and text not in {each.text for each in texts}:
            texts.append(PairText(role=role, text=text))
    return tuple(texts)


def heading_above(nodes: Sequence[Node], place: int) -> str:
    """The heading of the section that a place of a page is in; empty without one."""
    for node in nodes[:place][::-1]:
        if isinstance(node, TextNode) and node.kind == "heading":
            return node.text.lstrip("# ")
    return ""


def is_boilerplate(text: str) -> bool:
    """Whether a text says nothing of an image: a name of a file, or what pages put where nobody wrote anything."""
    return any(pattern.match(text) for pattern in _NOTHING)


def without_number(text: str) -> str:
    """A caption without the number that its page gave it, such as `Figure 3.1:`, which no image shows."""
    rest = _NUMBER.sub("", text, count=1)
    return rest if rest.strip() else text


def name_words(url: str) -> str:
    """The words in the name of an image's file, without codes and numbers."""
    name = unquote(urlsplit(url).path).rpartition("/")[2].rpartition(".")[0]
    return " ".join(_WORD.findall(name)[:20])


def _next_text(nodes: Sequence[Node]) -> str:
    for node in nodes:
        if not isinstance(node, TextNode) or node.kind == "heading":
            return ""
        if node.kind in _READ:
            return node.text
    return ""


def _cut(text: str, characters: int, keep: str) -> str:
    """Whole sentences from the start or the end of a text; empty if a single one is too long."""
    if len(text) <= characters:
        return text
    breaks = list(_SENTENCE.finditer(text))
    if keep == "start":
        return text[: max((each.start() for each in breaks if each.start() <= characters), default=0)]
    return text[min((each.end() for each in breaks if len(text) - each.end() <= characters), default=len(text)) :]
