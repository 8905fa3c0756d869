import json
from pathlib import Path

import pytest
from tests.pipelines.pair_files import listed, write_table

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.pairs.obelics import is_interleaved, pages_of_table
from step3vl.pipelines.sources.web.main_body import ImageNode, TextNode
from step3vl.pipelines.sources.web.web_archive import WebPage
from step3vl.pipelines.sources.web.web_document import read_page

DOCUMENT = {
    "texts": ["First.\n\nSecond.", None, "Third."],
    "images": [None, "https://a.example/one.png", None],
    "metadata": json.dumps([None, {"alt_text": " a  tree "}, None]),
    "general_metadata": json.dumps({"url": "https://a.example/page"}),
}


def pages(path: Path) -> list[WebPage]:
    return [page for _, page in pages_of_table(path, listed(path))]


def table(folder: Path, *documents: dict[str, object]) -> Path:
    columns = {name: [document.get(name) for document in documents] for name in DOCUMENT}
    return write_table(folder / "a.parquet", columns)


def test_two_aligned_lists_are_a_page_in_reading_order(tmp_path: Path) -> None:
    path = table(tmp_path, DOCUMENT)
    assert is_interleaved(path)
    (page,) = pages(path)
    nodes = read_page(page, ()).nodes
    assert [node.text for node in nodes if isinstance(node, TextNode)] == ["First.", "Second.", "Third."]
    assert isinstance(nodes[2], ImageNode)
    assert (nodes[2].addresses, nodes[2].alt) == (("https://a.example/one.png",), "a tree")
    assert (page.url, page.licence) == ("https://a.example/page", "CC0-1.0")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"texts": ["First."]}, "texts_and_images_differ"),
        ({"texts": [None], "images": [None]}, "empty_page"),
        ({"texts": None, "images": None}, "empty_page"),
        ({"texts": ["x"] * 3000, "images": [None] * 3000}, "too_many_nodes"),
    ],
)
def test_documents_that_are_not_read_have_a_reason(tmp_path: Path, changes: dict, reason: str) -> None:
    first, second = pages(table(tmp_path, {**DOCUMENT, **changes}, DOCUMENT))
    assert (first.reason, second.reason) == (reason, "")
    with pytest.raises(Dropped, match=reason):
        read_page(first, ())


@pytest.mark.parametrize("field", ["metadata", "general_metadata"])
@pytest.mark.parametrize("value", [None, "{no json", "[]", "3"])
def test_what_is_said_about_a_document_may_be_missing_or_damaged(tmp_path: Path, field: str, value: object) -> None:
    (page,) = pages(table(tmp_path, {**DOCUMENT, field: value}))
    assert not page.reason
    assert [bool(part.address) for part in page.listed] == [False, False, True, False]


def test_other_tables_are_dropped_and_licences_chosen(tmp_path: Path) -> None:
    path = write_table(tmp_path / "b.parquet", {"text": ["a"]})
    assert not is_interleaved(path)
    with pytest.raises(Dropped, match="no_texts_and_images_columns"):
        pages(path)
    (page,) = pages(table(tmp_path, DOCUMENT))
    with pytest.raises(Dropped, match="licence"):
        read_page(page, ("CC-BY-4.0",))
