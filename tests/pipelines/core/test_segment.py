"""Segments of an entry: where they end, and what their fingerprints depend on."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from step3vl.data.sample import Sample
from step3vl.pipelines.core.domain import BeamStep, Domain, ModelStep
from step3vl.pipelines.core.fragments import Fragment, FragmentResult
from step3vl.pipelines.core.segment import Segment, next_fragments, segments_of

Targets = Any


def beam(name: str, **fields: Any) -> BeamStep[Any]:
    return BeamStep(name, 1, lambda entry, context: None, dict, **fields)  # type: ignore[arg-type,return-value]


def model(name: str) -> ModelStep[Any]:
    return ModelStep(name, 1, lambda entry: None, dict)  # type: ignore[arg-type,return-value]


LAST = replace(beam("last"), output=Sample)


@pytest.fixture
def segments(cards: Targets, use_domain: Callable[[Domain[Any]], None]) -> Callable[..., list[Segment]]:
    def segments(*steps: Any, seed: int = 0, assets: str = "", **fields: Any) -> list[Segment]:
        if steps:
            use_domain(Domain(cards.CardEntry, steps))
        return segments_of(cards.CardEntry(name="e", **fields), seed, assets)

    return segments


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ([LAST], [["last"]]),
        ([beam("a"), LAST], [["a", "last"]]),
        ([beam("a"), beam("b", spread=True), LAST], [["a"], ["b", "last"]]),
        ([beam("a", spread=True), LAST], [["a", "last"]]),
        ([beam("a"), model("m"), beam("b"), LAST], [["a"], ["m"], ["b", "last"]]),
        ([model("m"), model("n"), LAST], [["m"], ["n"], ["last"]]),
    ],
)
def test_a_segment_ends_at_models_and_before_steps_that_are_spread(
    segments: Callable[..., list[Segment]], steps: list[Any], names: list[list[str]]
) -> None:
    results = segments(*steps)
    assert [[step.name for step in segment.steps] for segment in results] == names
    assert [segment.is_model for segment in results] == [name[0] in ("m", "n") for name in names]
    assert [segment.emits_samples for segment in results] == [*[False] * (len(names) - 1), True]
    assert [segment.reads for segment in results] == [None, *[dict] * (len(names) - 1)]


def test_the_folder_names_entry_step_and_fingerprint(segments: Callable[..., list[Segment]]) -> None:
    first, second, third = segments()
    assert first.folder == f"e/make-{first.fingerprint[:20]}"
    assert [segment.name for segment in (first, second, third)] == ["e.make", "e.read", "e.ask"]


def test_a_fingerprint_follows_what_decides_the_rows(segments: Callable[..., list[Segment]]) -> None:
    def prints(*steps: Any, **changes: Any) -> list[str]:
        return [segment.fingerprint for segment in segments(*steps, **changes)]

    first, second = beam("a"), beam("b", spread=True)
    before = prints(first, second, LAST)
    assert len(set(before)) == 2
    assert prints(first, second, LAST) == before
    assert prints(first, second, LAST, count=7) == before  # which only says which records there are
    for changed in ({"seed": 1}, {"assets": "other"}, {"kind": "document"}):
        assert not set(prints(first, second, LAST, **changed)) & set(before)
    assert not set(prints(replace(first, version=2), second, LAST)) & set(before)
    assert prints(first, replace(second, version=2), LAST)[0] == before[0]
    assert prints(first, replace(second, version=2), LAST)[1] != before[1]
    assert prints(first, second, replace(LAST, version=2))[1] != before[1]
    assert prints(first, replace(second, time_limit=3.0), LAST) == before


def test_a_segment_travels_without_the_code_of_its_steps(segments: Callable[..., list[Segment]]) -> None:
    for segment in segments(beam("a"), beam("b", spread=True), LAST):  # whose workers are lambdas
        assert pickle.loads(pickle.dumps(segment)) == segment


def test_the_rows_of_a_fragment_are_the_fragments_of_the_next_segment(segments: Callable[..., list[Segment]]) -> None:
    first = segments()[0]
    fragment = Fragment(id="00000000-00000250", numbers=(0, 250))
    after = list(next_fragments(first, FragmentResult(id=fragment.id, rows=40)))
    assert [each.id for each in after] == ["00000000-00000250.000000-000032", "00000000-00000250.000032-000040"]
    assert {each.rows.path for each in after if each.rows} == {f"{first.folder}/{fragment.id}"}
    assert list(next_fragments(first, FragmentResult(id=fragment.id, rows=0))) == []
