"""What near-duplicates must not join: a chain whose ends share nothing, pages of one template, numbered exercises.

One peer made one cluster of 859,091 documents of such texts and kept a single one of them.
"""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.sample import Sample
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.curate import curate

LINKS, STEP, LENGTH = 40, 6, 110  # a link moves on by some words; from the nineteenth on it shares none with the first


def similarity(first: str, second: str) -> float:
    """The Jaccard similarity of the runs of five words."""
    runs = [set(zip(*(text.split()[place:] for place in range(5)), strict=False)) for text in (first, second)]
    return len(runs[0] & runs[1]) / len(runs[0] | runs[1])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_texts_that_share_nothing_are_not_joined_by_what_lies_between(
    tmp_path: Path,
    words: Callable[..., list[str]],
    document: Callable[..., Sample],
    dialogue: Callable[..., Sample],
    build: Callable[..., Dataset],
) -> None:
    run = words("chain", LINKS * STEP + LENGTH)
    chain = [document(" ".join(run[STEP * link :][:LENGTH]), uri="chain") for link in range(LINKS)]
    head, foot, sum_of = words("head", 45), words("foot", 45), " ".join(words("sum", 80))
    pages = [document(" ".join([*head, *words(f"page {number}", 60), *foot]), uri="page") for number in range(LINKS)]
    exercises = [dialogue(f"{sum_of} {number} apples and {number + 1} pears", str(number)) for number in range(LINKS)]
    dataset = build(tmp_path / "in", [*chain, *pages, *exercises])
    leftover = tmp_path / "out" / "index" / ".part.json.0123abcd.tmp"  # of a worker that was killed
    leftover.parent.mkdir(parents=True)
    leftover.touch()

    curated = curate([dataset.url], tmp_path / "out", CurationConfig())

    samples = {sample.id: sample for sample in dataset.samples()}
    kept = [sample.source.uri for sample in curated.samples()]
    assert kept.count("page") == kept.count("test:dialogue") == LINKS
    assert LINKS // 5 <= kept.count("chain") <= LINKS // 2  # one of each few links, and not one of all
    for row in pq.read_table(tmp_path / "out" / "evidence").to_pylist():
        assert similarity(*(samples[row[name]].last_text() for name in ("id", "matched_id"))) > 0.65
    assert not leftover.exists()
