from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline as BeamTestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.storage import DEFAULT_STORE, Store
from step3vl.pipelines.core.fragments import BUCKETS, Fragment, RowRange, number_fragments
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.work_buckets import read_bucket, work_list_path, write_bucket
from step3vl.pipelines.core.work_list import ReadWorkLists, Work, WriteWorkLists


@given(st.integers(0, 99), st.text(), st.text(), st.integers(0), st.integers(0))
def test_work_is_the_same_after_its_text_is_read(number: int, name: str, path: str, start: int, stop: int) -> None:
    work = Work(number, Fragment(id=name, rows=RowRange(path=path, start=start, stop=stop)))
    assert Work.load(work.dump()) == work


def test_lists_are_read_as_they_were_written(staging: Staging) -> None:
    fragments = [fragment.model_dump_json(exclude_defaults=True) for fragment in number_fragments(0, 50_000)]
    with BeamTestPipeline(runner=FnApiRunner()) as pipeline:
        pairs = pipeline | beam.Create([("a.read", text) for text in fragments]).with_output_types(tuple[str, str])
        _ = pairs | WriteWorkLists(staging, ["a.read", "b.read"])
    with BeamTestPipeline(runner=FnApiRunner()) as pipeline:
        work = pipeline | ReadWorkLists(staging, [("a.read", 3), ("b.read", 5)])
        assert_that(work, equal_to([f"3 {text}" for text in fragments]))


def test_every_bucket_of_a_list_is_replaced_also_by_an_empty_one(staging: Staging) -> None:
    store = staging.open()
    for bucket in range(BUCKETS):
        write_bucket(store, "samples.0", bucket, ["of an earlier build"])
    with BeamTestPipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([]).with_output_types(tuple[str, str]) | WriteWorkLists(staging, ["samples.0"])
    assert [text for bucket in range(BUCKETS) for text in read_bucket(store, "samples.0", bucket)] == []


@pytest.mark.parametrize("url", ["file", "memory://lists"])
def test_a_bucket_has_the_same_bytes_in_any_order_and_after_a_retry(tmp_path: Path, url: str) -> None:
    store = Store(url if "://" in url else str(tmp_path), DEFAULT_STORE)
    write_bucket(store, "a", 1, ["c", "a", "b"])
    first = store.read_all(work_list_path("a", 1))
    write_bucket(store, "a", 1, ["b", "c", "a", "a"])
    assert store.read_all(work_list_path("a", 1)) == first
    assert list(read_bucket(store, "a", 1)) == ["a", "b", "c"]
