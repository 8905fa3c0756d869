from collections import Counter
from pathlib import Path

import pytest
from tests.pipelines.pair_files import pair_members, write_table, write_tar

from step3vl.data.errors import UserError
from step3vl.pipelines.concept_counts import count_concepts_of
from step3vl.pipelines.models.concepts import ConceptTable

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_concepts_are_counted_over_files_of_both_kinds(tmp_path: Path) -> None:
    captions = [f"A {'red' if n % 3 else 'blue'} mill number {n} and a mill." for n in range(70)]
    columns = {"url": [f"u{n}" for n in range(40)], "text": captions[:40]}
    write_table(tmp_path / "a.parquet", columns, row_group=7)
    write_tar(tmp_path / "b.tar", [each for n, text in enumerate(captions[40:]) for each in pair_members(n, text)])
    (tmp_path / "concepts.txt").write_text("red\nBlue\nmills\nnothing\n")
    out = tmp_path / "counts.tsv"
    patterns = ["*.parquet", "*.tar"]
    assert count_concepts_of(patterns, "concepts.txt", str(out), base=str(tmp_path)) == (70, 3)
    expected = Counter(word for text in captions for word in set(text.split()))
    assert ConceptTable.load(out).counts == {"mills": 70, "red": expected["red"], "Blue": expected["blue"]}
    assert not (tmp_path / "counts.tsv.work").exists()
    before = out.read_bytes()
    count_concepts_of(patterns[::-1], "concepts.txt", str(out), base=str(tmp_path))
    assert out.read_bytes() == before


@pytest.mark.slow
def test_the_committed_table_is_that_of_the_committed_pairs(tmp_path: Path) -> None:
    folder, out = ROOT / "data/samples/pairs", tmp_path / "counts.tsv"
    count_concepts_of(["*.tar"], "concepts.txt", str(out), base=str(folder))
    assert out.read_bytes() == (folder / "concept-counts.tsv").read_bytes()


def test_an_empty_list_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "concepts.txt").write_text("\n \n")
    with pytest.raises(UserError, match="has no concept"):
        count_concepts_of(["*.tar"], "concepts.txt", str(tmp_path / "out.tsv"), base=str(tmp_path))
