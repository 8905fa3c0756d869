"""Rules for the texts of a page's main body: what is cleaned away, and where a long page is cut."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from step3vl.pipelines.sources.web.main_body import ImageNode, Node, TextNode
from step3vl.pipelines.sources.web.main_element import CJK, text_length

_SYMBOLS = 0.5  # of a paragraph's characters, at least, must be alphanumeric in any script
_SHORT = 20  # characters up to which that is not asked
_WORDS = 5  # of a sequence that should not come again


def clean(nodes: Iterable[Node]) -> list[Node]:
    """Without paragraphs that come again, those of symbols, and headings with nothing below them."""
    seen: set[str] = set()
    kept: list[Node] = []
    for node in nodes:
        if isinstance(node, TextNode) and node.kind in ("paragraph", "item"):
            if node.text in seen or _is_symbols(node.text):
                continue
            seen.add(node.text)
        kept.append(node)
    return _without_empty_headings(kept)


def _is_symbols(text: str) -> bool:
    characters = text.split()
    total = sum(map(len, characters))
    return total > _SHORT and sum(character.isalnum() for character in text) < _SYMBOLS * total


def _without_empty_headings(nodes: Sequence[Node]) -> list[Node]:
    kept: list[Node] = []
    level = 0  # of the heading that comes next without anything between, 0 for other nodes
    ended = True
    for node in reversed(nodes):
        if isinstance(node, TextNode) and node.kind == "heading":
            own_level = len(node.text) - len(node.text.lstrip("#"))
            if ended or (level and own_level >= level):
                continue
            level = own_level
        else:
            level = 0
        ended = False
        kept.append(node)
    return kept[::-1]


def repetition(nodes: Iterable[Node]) -> float:
    """The share of sequences of five words that occurred before, 0..1; a CJK character is a word. Listings and tables
    repeat themselves, and are not counted."""
    counts: Counter[tuple[str, ...]] = Counter()
    for node in nodes:
        if isinstance(node, TextNode) and node.kind in ("paragraph", "item", "heading"):
            words = _words(node.text)
            counts.update(tuple(words[start : start + _WORDS]) for start in range(len(words) - _WORDS + 1))
    total = counts.total()
    return (total - len(counts)) / total if total else 0.0


def _words(text: str) -> list[str]:
    return CJK.sub(r" \g<0> ", text.casefold()).split()


def split(nodes: Sequence[Node], characters: int, images: int) -> Iterator[list[Node]]:
    """Pieces of a page, none with more characters or images; cut before a heading where one is in the second half.

    Args:
        nodes: Of the page. A text that is too long by itself is left out.
        characters: Most characters of a piece, a CJK one counting double.
        images: Most images of a piece.
    """
    piece: list[Node] = []
    sizes = 0, 0  # characters and images of the piece
    for node in nodes:
        added = _sizes([node])
        if added[0] > characters:
            continue
        piece.append(node)
        sizes = sizes[0] + added[0], sizes[1] + added[1]
        if sizes[0] > characters or sizes[1] > images:
            cut = _best_cut(piece)
            yield piece[:cut]
            piece = piece[cut:]
            sizes = _sizes(piece)
    if piece:
        yield piece


def count_characters(nodes: Iterable[Node]) -> int:
    """Characters of the texts, a CJK one counting double."""
    return sum(text_length(node.text) for node in nodes if isinstance(node, TextNode))


def _sizes(nodes: Sequence[Node]) -> tuple[int, int]:
    return count_characters(nodes), sum(isinstance(node, ImageNode) for node in nodes)


def _best_cut(piece: Sequence[Node]) -> int:
    """Before the last heading of the second half, else before the last node."""
    for place in range(len(piece) - 1, len(piece) // 2 - 1, -1):
        node = piece[place]
        if isinstance(node, TextNode) and node.kind == "heading":
            return place
    return len(piece) - 1
