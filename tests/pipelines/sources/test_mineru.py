"""Labels that MinerU made."""

import json
from pathlib import Path
from typing import Any

import pytest

from step3vl.pipelines.sources.documents.mineru import (
    LabelBlock,
    LabelError,
    labels_to_markdown,
    pdf_names,
    read_labels,
)

TABLE = "<table><tr><td>1</td></tr></table>"
CONTENT_LIST: list[dict[str, Any]] = [
    {"type": "text", "text": "Swans", "text_level": 1, "bbox": [100, 50, 900, 90], "page_idx": 0},
    {"type": "text", "text": "There are seven.", "page_idx": 0},
    {"type": "equation", "text": "$$\na^2 + b^2\n$$", "text_format": "latex", "page_idx": 0},
    {"type": "image", "img_path": "images/1.jpg", "image_caption": ["Figure 1: a swan"], "page_idx": 0},
    {"type": "table", "table_body": TABLE, "table_caption": ["Table 1"], "table_footnote": ["seen"], "page_idx": 2},
    {"type": "list", "list_items": ["- one", "- two"], "page_idx": 2},
    {"type": "page_number", "text": "3", "page_idx": 2},
]


def line(*spans: tuple[str, str]) -> dict[str, Any]:
    return {"spans": [{"type": kind, "content": content} for kind, content in spans]}


MIDDLE: dict[str, Any] = {
    "pdf_info": [
        {
            "page_idx": 0,
            "page_size": [595, 842],
            "para_blocks": [
                {"type": "title", "level": 2, "lines": [line(("text", "Swans"))]},
                {
                    "type": "text",
                    "lines": [line(("text", "There are"), ("inline_equation", "n")), line(("text", "of them."))],
                },
                {"type": "interline_equation", "lines": [line(("interline_equation", "a^2"))]},
                {
                    "type": "table",
                    "blocks": [
                        {"type": "table_caption", "lines": [line(("text", "Table 1"))]},
                        {"type": "table_body", "lines": [{"spans": [{"type": "table", "html": TABLE}]}]},
                    ],
                },
                {"type": "image", "blocks": [{"type": "image_body", "lines": [{"spans": [{"type": "image"}]}]}]},
            ],
            "discarded_blocks": [{"type": "header", "lines": [line(("text", "A book"))]}],
        }
    ]
}


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_a_content_list_gives_the_blocks_of_each_page(tmp_path: Path) -> None:
    pages = read_labels(written(tmp_path, "a_content_list.json", CONTENT_LIST))
    assert sorted(pages) == [0, 2]
    assert pages[0][0] == LabelBlock(kind="title", text="Swans", level=1)
    assert [block.kind for block in pages[0]] == ["title", "text", "equation", "text", "figure"]
    assert [block.kind for block in pages[2]] == ["text", "table", "text", "list", "footer"]
    assert labels_to_markdown(pages[0]) == (
        "# Swans\n\nThere are seven.\n\n$$\na^2 + b^2\n$$\n\nFigure 1: a swan\n\n[figure]"
    )
    assert labels_to_markdown(pages[2]) == f"Table 1\n\n{TABLE}\n\nseen\n\n- one\n- two"


def test_a_middle_file_gives_the_same_kinds_of_blocks(tmp_path: Path) -> None:
    (page,) = read_labels(written(tmp_path, "a_middle.json", MIDDLE)).values()
    assert labels_to_markdown(page) == (
        f"## Swans\n\nThere are $n$ of them.\n\n$$\na^2\n$$\n\nTable 1\n\n{TABLE}\n\n[figure]"
    )
    assert page[-1] == LabelBlock(kind="header", text="A book")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "the labels are no JSON"),
        ("[" * 100_000, "the labels are no JSON"),
        ({"pages": []}, "not as MinerU writes them: KeyError"),
        ([{"type": "text"}], "not as MinerU writes them: KeyError"),
        ([1], "not as MinerU writes them: TypeError"),
        ([{"type": "hologram", "page_idx": 0}], "'hologram' is no known type"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path: Path, content: object, reason: str) -> None:
    with pytest.raises(LabelError, match=reason):
        read_labels(written(tmp_path, "a_content_list.json", content))


def test_the_pdf_has_the_name_of_the_labels() -> None:
    assert pdf_names("a b_content_list.json") == pdf_names("a b_middle.json") == ["a b_origin.pdf", "a b.pdf"]
