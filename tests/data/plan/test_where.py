"""Plans of the samples that an expression selects: exactly those, resumable anywhere, and counted."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.plan.index_rows import DatasetIndex, FilterCount
from step3vl.data.plan.mixture import Mixture, MixtureSource, PlanPhase
from step3vl.data.plan.plan import Cursor, Pack, PackItem, Plan


def plan_of(dataset: Dataset, *wheres: str | None, epochs: int | None = 1) -> Plan:
    sources = tuple(MixtureSource(dataset=dataset.url, where=where, epochs=epochs) for where in wheres)
    return Plan([PlanPhase(Mixture(sources=sources))], 256, seed=0, window=16)


def rows(pack: Pack) -> tuple[int, int, int, list[PackItem]]:
    return pack.number, pack.source, pack.length, list(pack.items)


@given(st.integers(0, 60), st.integers(6, 12))
@settings(max_examples=12)
def test_epoch_has_exactly_the_selected_samples_and_resumes_at_every_pack(
    dataset: Dataset, start: int, tokens: int
) -> None:
    where = f"text_tokens > {tokens} and source.startswith('test:')"
    reader = plan_of(dataset, where, epochs=2).packs()
    begun = [rows(pack) for pack in islice(reader, start)]
    cursor = Cursor.model_validate_json(reader.cursor.model_dump_json())
    rest = [rows(pack) for pack in reader]
    assert [rows(pack) for pack in plan_of(dataset, where, epochs=2).packs(cursor)] == rest
    items = [(item.shard, item.offset) for _, _, _, pack in begun + rest for item in pack]
    table = dataset.index(["offset", "text_tokens"], split="train").to_pylist()
    expected = [(row["shard"] - 2, row["offset"]) for row in table if row["text_tokens"] > tokens]
    assert sorted(items) == sorted(expected * 2)


def test_two_expressions_are_two_sources_and_share_no_sample(dataset: Dataset) -> None:
    plan = plan_of(dataset, "images > 0", "images == 0")
    assert len(plan.sources) == 2
    items = [(item.source, "counting" in item.task) for pack in plan.packs() for item in pack.items]
    assert {source for source, _ in items} == {0, 1}
    assert all(with_images == (source == 0) for source, with_images in items)


def test_what_an_expression_leaves_out_is_counted(dataset: Dataset) -> None:
    source = MixtureSource(dataset=dataset.url, where="images > 0")
    count = DatasetIndex(source).count_filtered()
    table = dataset.index(["text_tokens", "image_tokens"], split="train").to_pylist()
    without = [row for row in table if not row["image_tokens"]]

    def tokens(rows: list[dict[str, int]]) -> int:
        return sum(row["text_tokens"] + row["image_tokens"] for row in rows)

    assert count == FilterCount(len(table), tokens(table), len(without), tokens(without))
    everything = DatasetIndex(source.model_copy(update={"where": None})).count_filtered()
    assert everything == FilterCount(len(table), tokens(table))


def test_expression_is_part_of_what_a_run_records_and_absent_without_one(dataset: Dataset) -> None:
    assert "where" not in MixtureSource(dataset="a").model_dump(mode="json")
    source = MixtureSource(dataset="a", where="tokens < 4096")
    assert source.model_dump(mode="json")["where"] == "tokens < 4096"
    assert MixtureSource.model_validate_json(source.model_dump_json()) == source
    assert "where=tokens < 4096" in str(source)


def test_wrong_expression_is_refused_before_any_index_is_read() -> None:
    with pytest.raises(ValidationError, match="no column 'language'; the columns are id, domain"):
        MixtureSource(dataset="absent", where="language == 'zh'")


def test_expression_that_selects_nothing_is_named(dataset: Dataset) -> None:
    with pytest.raises(UserError, match=r"no sample of .*where=tokens > 9000.* fits"):
        plan_of(dataset, "tokens > 9000")
