from pathlib import Path
from typing import Any

import pytest
from tests.pipelines.domains.test_knowledge_pairs import ROOT, Built, build
from tests.pipelines.pair_files import pair_members, png, write_table, write_tar

from step3vl.data.sample import ImagePart, TextPart
from step3vl.pipelines.sources.text.words import content_words

MILL = (
    "A water mill turns the flow of a river into work. The wheel of the mill drives stones that grind grain into "
    "flour, and a dam keeps the river high enough in summer."
)
WHEEL = (
    "A wheel is a file of a package that needs no build. An installer unpacks the wheel into a folder, and reads from "
    "its name which interpreters the wheel is for."
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def find(folder: Path, text: str, *captions: str, **changes: Any) -> Built:
    (folder / "a.txt").write_text(text)
    write_tar(folder / "a.tar", [each for n, caption in enumerate(captions) for each in pair_members(n, caption)])
    fields = {
        "texts": [{"files": ["a.txt"], "licence": "CC0-1.0"}],
        "images": [{"files": ["a.tar"], "licence": "CC-BY-4.0"}],
        **changes,
    }
    return build(fields, folder, domain="knowledge.retrieval")


def test_the_committed_texts_find_the_committed_photographs() -> None:
    fields = {
        "texts": [{"files": ["data/samples/texts/knowledge-*.txt"], "licence": "CC0-1.0"}],
        "images": [{"files": ["data/samples/pairs/*.tar"], "licence": "CC0-1.0"}],
        "keywords": 40,
    }
    built = build(fields, ROOT, domain="knowledge.retrieval")
    assert len(built.samples) >= 20
    samples = {sample.source.traits["keyword"]: sample for sample in built.samples}
    assert samples["galaxy"].source.uri.endswith("photos-en.tar#000000007")
    assert samples["宇航员"].source.uri.endswith("photos-zh.tar#000000000")
    assert {sample.source.traits["language"] for sample in built.samples} == {"en", "zh"}
    again = build(fields, ROOT, domain="knowledge.retrieval")
    assert [sample.id for sample in again.samples] == [sample.id for sample in built.samples]


def test_a_keyword_pairs_its_passage_with_an_image(tmp_path: Path) -> None:
    built = find(tmp_path, MILL, "A water mill with its wheel", "A red car")
    assert built.samples
    for sample in built.samples:
        assert [type(part) for part in sample.parts()] == [ImagePart, TextPart]
        assert sample.parts()[1] == TextPart(text=MILL)
        assert sample.images[0].read() == png(0)
        assert sample.source.licence == "CC-BY-4.0 AND CC0-1.0"
        assert set(content_words(sample.source.traits["keyword"])) <= set(content_words(MILL))
        assert sample.scores["caption_overlap"] == 1


def test_conversations_ask_about_the_keyword(tmp_path: Path) -> None:
    (sample, *_) = find(tmp_path, MILL, "A water mill with its wheel", kind="conversation").samples
    assert sample.messages is not None
    question = "".join(part.text for part in sample.messages[0].content if isinstance(part, TextPart))
    assert sample.source.traits["keyword"] in question.lower()
    assert sample.answer() == MILL


@pytest.mark.parametrize(
    ("text", "captions", "changes", "reason"),
    [
        (MILL, ["A river of red cars seen at night from a bridge"], {}, "low_overlap"),
        (WHEEL, ["A wheel"], {}, "low_overlap"),
        (MILL, ["Nothing of the kind"], {}, "no_keywords"),
        ("Short.", ["A water mill"], {}, "no_passage"),
        (MILL, ["A water mill"], {"languages": ["zh"]}, "language"),
        (MILL, ["A water mill"], {"image_sides": [300, 900]}, "too_small"),
        (MILL, ["A water mill"], {"licences": ["MIT"]}, "licence"),
    ],
)
def test_keywords_are_dropped_for_a_reason(
    tmp_path: Path, text: str, captions: list[str], changes: dict[str, Any], reason: str
) -> None:
    built = find(tmp_path, text, *captions, **changes)
    assert built.samples == []
    assert set(built.reasons) == {reason}


def test_images_that_are_stored_nowhere_are_missing_without_a_fetcher(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(MILL)
    write_table(tmp_path / "a.parquet", {"url": ["https://a.example/a.png"], "caption": ["A water mill"]})
    fields = {
        "texts": [{"files": ["a.txt"], "licence": "CC0-1.0"}],
        "images": [{"files": ["a.parquet"], "licence": "CC0-1.0"}],
    }
    assert set(build(fields, tmp_path, domain="knowledge.retrieval").reasons) == {"missing"}
