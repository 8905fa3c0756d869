import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pipelines.pair_files import pair_members, write_table, write_tar

from step3vl.data.errors import UserError
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import FileSource
from step3vl.pipelines.sources.pairs.image_search import CaptionIndex, caption_index

CAPTIONS = [
    "A water mill.",
    "The old mills on the water.",
    "A red car",
    "水车在河边",
    "A mill by a mill and a mill",
    "car",
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/step3vl/captions"


def index_of(folder: Path) -> CaptionIndex:
    source = FileSource(files=("*.tar", "*.parquet"), licence="CC0-1.0")
    return caption_index([source], "t", StepContext(seed=0, base=str(folder)))


@pytest.fixture
def index(tmp_path: Path) -> CaptionIndex:
    write_tar(
        tmp_path / "a.tar", [each for n, caption in enumerate(CAPTIONS[:3]) for each in pair_members(n, caption)]
    )
    write_table(tmp_path / "b.parquet", {"url": ["u1", "u2", "u3"], "text": CAPTIONS[3:]})
    return index_of(tmp_path)


def test_captions_are_found_by_whole_words_in_a_row(index: CaptionIndex) -> None:
    assert index.size == 6
    assert {hit.caption for hit in index.search("mill", 9)} == {CAPTIONS[0], CAPTIONS[1], CAPTIONS[4]}
    assert [hit.caption for hit in index.search("Water Mills", 9)] == [CAPTIONS[0]]
    assert [hit.caption for hit in index.search("水车", 9)] == [CAPTIONS[3]]
    assert index.search("mil", 9) == []
    assert index.search("the", 9) == []


@pytest.mark.parametrize(
    "keyword", ['"', "mill OR car", "mill*", "NEAR(mill car)", "' ; DROP TABLE pairs", "-mill -", "a:b"]
)
def test_keywords_are_no_query_language(index: CaptionIndex, keyword: str) -> None:
    assert all("mill" in hit.caption.lower() or hit.caption == "" for hit in index.search(keyword, 9))


def test_hits_say_where_the_pair_is_and_the_best_comes_first(index: CaptionIndex) -> None:
    hits = index.search("car", 9)
    assert [hit.caption for hit in hits] == ["car", "A red car"]
    assert hits[0].score > hits[1].score > 0
    assert (hits[0].part.kind, hits[0].key, hits[0].part.file.key) == ("table", "2", "b.parquet")
    assert len(index.search("mill", 2)) == 2


def test_rarity_is_the_inverse_document_frequency(index: CaptionIndex) -> None:
    assert index.rarity("mill") == pytest.approx(math.log(7 / 3))
    assert index.rarity("nothing") == 0


def test_an_index_is_built_once_and_again_when_a_file_changes(
    index: CaptionIndex, tmp_path: Path, cache: Path
) -> None:
    (first,) = cache.glob("*.sqlite")
    stamp = first.stat().st_mtime_ns
    assert index_of(tmp_path).size == 6
    assert first.stat().st_mtime_ns == stamp
    write_table(tmp_path / "b.parquet", {"url": ["u"], "text": ["A boat"]})
    assert index_of(tmp_path).size == 4
    assert len(list(cache.glob("*.sqlite"))) == 2


def test_a_pattern_without_files_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file matches"):
        index_of(tmp_path)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["ab", "bc", "cd", "de", "水车", "车河", "河边"]), min_size=1, max_size=5),
        min_size=1,
        max_size=12,
    )
)
def test_it_finds_what_a_plain_search_finds(
    tmp_path_factory: pytest.TempPathFactory, captions: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("search")
    texts = [" ".join(words) for words in captions]
    write_table(folder / "a.parquet", {"url": [f"u{n}" for n in range(len(texts))], "text": texts})
    source = FileSource(files=("*.parquet",), licence="CC0-1.0")
    index = caption_index([source], "t", StepContext(seed=0, base=str(folder)))
    counts = Counter(word for words in captions for word in set(words))
    for word in ("ab", "cd", "水车"):
        assert sorted(hit.caption for hit in index.search(word, 99)) == sorted(t for t in texts if word in t.split())
        assert (index.rarity(word) > 0) == (counts[word] > 0)
    for pair in ("ab bc", "de ab"):
        expected = [text for text in texts if f" {pair} " in f" {text} "]
        assert sorted(hit.caption for hit in index.search(pair, 99)) == sorted(expected)
