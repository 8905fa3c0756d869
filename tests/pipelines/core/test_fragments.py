"""Dealing inputs into fragments."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.data.storage import DEFAULT_STORE, Store
from step3vl.pipelines.core.fragments import (
    BUCKETS,
    Fragment,
    bucket_of,
    load_plan,
    next_ranges,
    number_fragments,
    plan_fragments,
    save_plan,
)
from step3vl.pipelines.core.inputs import InputFile

MB = 2**20


def input_file(key: str, size: int = 1, version: str = "1", licence: str = "l") -> InputFile:
    return InputFile(key=key, url=f"/base/{key}", size=size, version=version, licence=licence)


files = st.lists(
    st.builds(input_file, key=st.integers(0, 500).map(str), size=st.sampled_from([0, 1, MB, 20 * MB, 100 * MB])),
    max_size=200,
    unique_by=lambda file: file.key,
)


def keys(plan: list[Fragment]) -> list[str]:
    return [file.key for fragment in plan for file in fragment.files]


@given(files, st.randoms())
def test_every_file_is_in_one_fragment_whatever_the_order(inputs: list[InputFile], random: object) -> None:
    plan = plan_fragments(inputs, [], "e")
    assert sorted(keys(plan)) == sorted(file.key for file in inputs)
    shuffled = inputs[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan_fragments(shuffled, [], "e") == plan
    assert len({fragment.id for fragment in plan}) == len(plan)


@given(files)
def test_fragments_are_of_bounded_size(inputs: list[InputFile]) -> None:
    for fragment in plan_fragments(inputs, [], "e"):
        assert 0 < len(fragment.files) <= 64
        assert len(fragment.files) == 1 or sum(file.size for file in fragment.files) <= 64 * MB


@given(files, files, st.sets(st.integers(0, 199)), st.sets(st.integers(0, 199)))
def test_fragments_of_unchanged_files_are_kept(
    before: list[InputFile], more: list[InputFile], gone: set[int], changed: set[int]
) -> None:
    plan = plan_fragments(before, [], "e")
    after = {
        file.key: file.model_copy(update={"version": "2"}) if index in changed else file
        for index, file in enumerate(before)
        if index not in gone
    }
    for file in more:
        after.setdefault(file.key, file)
    new = plan_fragments(after.values(), plan, "e")
    assert sorted(keys(new)) == sorted(after)
    for fragment in plan:
        unchanged = all(after.get(file.key) == file for file in fragment.files)
        assert (fragment in new) == unchanged or fragment.id in {kept.id for kept in new}
        if unchanged:
            assert fragment in new


def test_one_new_file_is_one_new_fragment() -> None:
    before = [input_file(f"{number:03}") for number in range(100)]
    plan = plan_fragments(before, [], "e")
    new = plan_fragments([*before, input_file("050b")], plan, "e")
    added = [fragment for fragment in new if fragment not in plan]
    assert [keys([fragment]) for fragment in added] == [["050b"]]
    assert all(fragment in new for fragment in plan)


def test_the_id_follows_from_the_files() -> None:
    (fragment,) = plan_fragments([input_file("a"), input_file("b")], [], "e")
    (same,) = plan_fragments([input_file("b"), input_file("a")], [], "e")
    (other,) = plan_fragments([input_file("a"), input_file("b", version="2")], [], "e")
    (under_another_licence,) = plan_fragments([input_file("a"), input_file("b", licence="MIT")], [], "e")
    assert fragment.id == same.id
    assert len({fragment.id, other.id, under_another_licence.id}) == 3


def test_a_file_of_two_patterns_counts_once_and_of_two_licences_is_refused() -> None:
    assert keys(plan_fragments([input_file("a"), input_file("a")], [], "e")) == ["a"]
    with pytest.raises(UserError, match=r"pages: a belongs to two sources \(MIT and CC0-1.0\)"):
        plan_fragments([input_file("a", licence="MIT"), input_file("a", licence="CC0-1.0")], [], "pages")


@given(st.integers(0, 3000))
def test_numbers_are_in_one_fragment_each(count: int) -> None:
    ranges = [fragment.numbers for fragment in number_fragments(0, count)]
    assert [number for span in ranges if span for number in range(*span)] == list(range(count))


def test_fragments_of_numbers_are_blocks_named_by_them() -> None:
    assert [fragment.id for fragment in number_fragments(0, 600)] == [
        "00000000-00000250",
        "00000250-00000500",
        "00000500-00000600",
    ]


@given(st.integers(0, 3000))
def test_rows_are_in_one_fragment_each(count: int) -> None:
    fragments = list(next_ranges("e/step-f/p", "p", count))
    spans = [fragment.rows for fragment in fragments]
    assert [row for span in spans if span for row in range(span.start, span.stop)] == list(range(count))
    assert len({fragment.id for fragment in fragments}) == len(fragments)


def test_keys_spread_over_all_buckets() -> None:
    counts = Counter(bucket_of(f"docs/{number}.pdf") for number in range(10_000))
    assert set(counts) == set(range(BUCKETS))
    assert max(counts.values()) < 3 * min(counts.values())


def test_a_plan_is_kept_in_the_root(tmp_path: object) -> None:
    store = Store(str(tmp_path), DEFAULT_STORE)
    assert load_plan(store, "pages", 3) == []
    plan = plan_fragments([input_file("a"), input_file("b", size=100 * MB)], [], "pages")
    save_plan(store, "pages", 3, plan)
    assert load_plan(store, "pages", 3) == plan
    assert load_plan(store, "pages", 4) == []


def test_a_damaged_plan_is_made_afresh(tmp_path: object) -> None:
    store = Store(str(tmp_path), DEFAULT_STORE)
    store.put("pages/inputs/03.json", b'[{"id": "a"')
    assert load_plan(store, "pages", 3) == []
