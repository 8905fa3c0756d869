from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pipelines.pair_files import listed, pair_members, png, write_table, write_tar

from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.pairs.image_text import Columns, Pair, columns_of, slices_of_table
from step3vl.pipelines.sources.pairs.pair_reader import PairReader, slices_of_file
from step3vl.pipelines.sources.pairs.parquet_rows import ParquetError, RowReader, is_parquet, open_parquet


def read(path: Path, licences: tuple[str, ...] = (), sides: tuple[int, int] = (100, 1000)) -> list[Pair]:
    reader = PairReader(sides, 3.0, licences, None, "", DEFAULT_STORE)
    file = listed(path)
    return [pair for part in slices_of_file(path, file) for pair in reader.read(part, path)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ("SAMPLE_ID", "URL", "TEXT", "HEIGHT", "WIDTH", "LICENSE", "NSFW", "similarity"),
            {"url": "URL", "texts": ("TEXT",), "licence": "LICENSE", "scores": {"similarity": "stated_similarity"}},
        ),
        (
            ("id", "url", "text", "width", "clip_similarity_vitb32", "watermark_score", "aesthetic_score_laion_v2"),
            {
                "url": "url",
                "texts": ("text",),
                "scores": {
                    "clip_similarity_vitb32": "stated_similarity",
                    "watermark_score": "stated_watermark",
                    "aesthetic_score_laion_v2": "stated_aesthetic",
                },
            },
        ),
        (("caption", "url"), {"url": "url", "texts": ("caption",)}),
        (("image_url", "title", "content", "query"), {"url": "image_url", "texts": ("title", "content", "query")}),
        (("image", "caption"), {"data": "image", "texts": ("caption",)}),
    ],
)
def test_the_columns_of_open_sets_are_known(tmp_path: Path, names: tuple[str, ...], expected: dict) -> None:
    numbers = ("similarity", "clip_similarity_vitb32", "watermark_score", "aesthetic_score_laion_v2", "width", "id")
    values = {name: [0.5] if name in numbers else [b"x"] if name == "image" else ["x"] for name in names}
    path = write_table(tmp_path / "a.parquet", values)
    assert columns_of(open_parquet(path).schema_arrow) == Columns(**expected)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"text": ["a"]}, "no_image_column"),
        ({"url": ["a"]}, "no_text_column"),
        ({"image": [3], "text": ["a"]}, "no_image"),
    ],
)
def test_tables_of_something_else_are_dropped(tmp_path: Path, columns: dict, reason: str) -> None:
    path = write_table(tmp_path / "a.parquet", columns)
    with pytest.raises(Dropped, match=reason):
        list(slices_of_table(path, listed(path)))


def test_columns_that_are_not_used_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_table(tmp_path / "a.parquet", {"url": ["u"], "text": ["t"], "strange_column": [1]})
    list(slices_of_table(path, listed(path)))
    assert "strange_column" in caplog.text


def test_images_in_a_table_become_pairs_and_what_is_wrong_has_a_reason(tmp_path: Path) -> None:
    images = [
        {"bytes": png(1), "path": "a.png"},
        {"bytes": b"no image", "path": "b"},
        {"bytes": None, "path": "c"},
        None,
    ]
    images += [{"bytes": png(5, (40, 40)), "path": "e"}]
    captions = ["  A   red\nsquare ", "b", "c", "d", "e"]
    pairs = read(write_table(tmp_path / "a.parquet", {"image": images, "caption": captions}))
    assert [pair.reason for pair in pairs] == ["", "damaged", "no_image", "no_image", "too_small"]
    assert pairs[0].image is not None
    assert pairs[0].image.data == png(1)
    assert [text.text for text in pairs[0].texts] == ["A red square"]
    assert pairs[0].uri == "a.parquet#0"


def test_addresses_without_a_fetcher_are_missing_and_stated_scores_are_kept(tmp_path: Path) -> None:
    columns = {
        "URL": ["https://a.example/cat_on_mat.jpg", ""],
        "TEXT": ["A cat.", None],
        "similarity": [0.31, float("nan")],
        "LICENSE": ["?", "CC-BY-4.0"],
    }
    first, second = read(write_table(tmp_path / "a.parquet", columns))
    assert (first.reason, first.scores, first.licence) == ("missing", {"stated_similarity": 0.31}, "CC0-1.0")
    assert first.around == ("cat on mat",)
    assert (second.reason, second.texts, second.licence) == ("no_image", (), "CC-BY-4.0")


def test_licences_are_chosen(tmp_path: Path) -> None:
    columns = {"image": [png(1), png(2)], "text": ["a", "b"], "license": ["CC-BY-4.0", "proprietary"]}
    pairs = read(write_table(tmp_path / "a.parquet", columns), licences=("CC-BY-4.0",))
    assert [pair.reason for pair in pairs] == ["", "licence"]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), rows=st.integers(1, 70), group=st.integers(1, 30), batch=st.integers(1, 20))
def test_any_ranges_of_rows_are_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, rows: int, group: int, batch: int
) -> None:
    path = write_table(tmp_path_factory.mktemp("rows") / "a.parquet", {"n": range(rows), "m": range(rows)}, group)
    reader = RowReader(batch)
    for _ in range(4):
        start = data.draw(st.integers(0, rows - 1))
        stop = data.draw(st.integers(start + 1, rows))
        for first, last in ((start, stop), (stop, rows)):
            read = reader.read(path, ["n"], first, last) if first < last else []
            assert [row["n"] for row in read] == list(range(first, last))


def test_a_damaged_table_is_an_error_of_its_own(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", {"url": ["u" * 50] * 100, "text": [str(n) * 50 for n in range(100)]})
    path.write_bytes(path.read_bytes()[:-40])
    assert is_parquet(path)
    with pytest.raises(ParquetError):
        open_parquet(path)


def test_a_tar_becomes_pairs_whose_images_stay_where_they_are(tmp_path: Path) -> None:
    members = [member for number in range(40) for member in pair_members(number, f"Caption {number}.", url="a.png")]
    path = write_tar(tmp_path / "00000.tar", members)
    parts = list(slices_of_file(path, listed(path)))
    pairs = read(path)
    assert [part.kind for part in parts] == ["tar"] * 3
    assert [pair.texts[0].text for pair in pairs] == [f"Caption {number}." for number in range(40)]
    assert all(pair.image and pair.image.data is None and pair.image.read() == png(n) for n, pair in enumerate(pairs))


def test_pairs_of_a_tar_that_are_none_have_a_reason(tmp_path: Path) -> None:
    members = [
        ("a/b.c.d.png", png(1)),  # the key ends at the first dot
        ("a/b.txt", b"A text."),
        ("none.txt", b"No image."),
        ("two.png", png(2)),
        ("two.jpg", png(3)),
        ("bad.png", b"\x89PNG no"),
        ("bad.txt", b"Damaged."),
        ("json.png", png(4)),
        ("json.json", b"{no json"),
        ("quiet.png", png(5)),
        ("list.png", png(6)),
        ("list.json", b"[1]"),
    ]
    pairs = read(write_tar(tmp_path / "a.tar", members))
    reasons = ["no_image", "no_image", "several_images", "damaged", "damaged_json", "", ""]
    assert [pair.reason for pair in pairs] == reasons
    assert pairs[5].texts == ()


@settings(max_examples=15, deadline=None)
@given(cut=st.floats(0.02, 0.98))
def test_of_a_tar_that_is_cut_the_whole_slices_are_read(tmp_path_factory: pytest.TempPathFactory, cut: float) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.tar"
    write_tar(path, [member for number in range(20) for member in pair_members(number, f"Caption {number}.")])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    parts = list(slices_of_file(path, listed(path)))
    assert parts[-1].damage
    for part in parts:
        if not part.damage:
            pairs = list(PairReader((10, 1000), 3.0, (), None, "", DEFAULT_STORE).read(part, path))
            whole = [pair for pair in pairs if not pair.reason]
            assert len(pairs) <= 16
            assert all(pair.image is not None for pair in whole)


def test_a_tar_with_long_names_is_cut_at_its_headers(tmp_path: Path) -> None:
    members = []
    for number in range(20):
        name = f"{'very-long-folder-name/' * 12}{number:05}"
        members += [(f"{name}.png", png(number)), (f"{name}.txt", f"Caption {number}.".encode())]
    pairs = read(write_tar(tmp_path / "a.tar", members))
    assert [pair.texts[0].text for pair in pairs] == [f"Caption {number}." for number in range(20)]
    assert not any(pair.reason for pair in pairs)


def test_the_committed_pairs_are_whole() -> None:
    root = Path(__file__).parents[3] / "data/samples/pairs"
    for language in ("en", "zh"):
        pairs = read(root / f"photos-{language}.tar")
        assert len(pairs) == 9
        assert {pair.licence for pair in pairs} == {"CC0-1.0", "public domain"}
        assert not any(pair.reason for pair in pairs)


def test_numbers_of_other_types_are_scores_too(tmp_path: Path) -> None:
    columns = {"url": ["u"], "text": ["t"], "similarity": np.array([0.25], dtype=np.float32)}
    (pair,) = read(write_table(tmp_path / "a.parquet", columns))
    assert pair.scores == {"stated_similarity": 0.25}
