"""Requests to forget: told apart by their form, never changed, and honoured by every way to read a dataset."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.dataset import EXCLUSIONS, Dataset, Exclusion, Exclusions, add_exclusion
from step3vl.data.errors import UserError
from step3vl.data.plan import Mixture, MixtureSource, Plan, PlanPhase
from step3vl.data.sample import Sample

NOW = "2026-01-01T00:00:00+00:00"
SHA256 = "ab" * 32


def test_values_are_told_apart_by_their_form() -> None:
    request = Exclusion.of(["https://a.example/x", "A.example", SHA256.upper(), "file.json#21", "ab" * 16], NOW)
    assert request.uris == ("https://a.example/x", "file.json#21")
    assert request.hosts == ("a.example",)
    assert request.hashes == (SHA256, "ab" * 16)
    with pytest.raises(UserError, match="nothing to forget"):
        Exclusion.of(["", " "], NOW)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://a.example/x", True),
        ("https://a.example/x#page=3", True),
        ("https://a.example/xy", False),
        ("https://site.example/any", True),
        ("https://www.site.example:8080/any?q#f", True),
        ("https://notsite.example/any", False),
        ("https://site.example.org/any", False),
        ("https://[::1", False),
        ("", False),
    ],
)
def test_a_source_is_covered_by_its_url_or_its_host_and_hosts_above(source: str, expected: bool) -> None:
    exclusions = Exclusions([Exclusion.of(["https://a.example/x", "site.example"], NOW)])
    assert exclusions.covers("0" * 32, source) is expected


@given(st.text(max_size=60))
def test_any_source_can_be_asked_for(source: str) -> None:
    assert Exclusions([Exclusion.of(["site.example"], NOW)]).covers("0" * 32, source) in (True, False)


def test_a_sample_is_covered_by_what_it_was_made_of_and_by_its_images() -> None:
    exclusions = Exclusions([Exclusion.of([SHA256, "cd" * 16], NOW)])
    source = {"uri": "x", "parents": ["cd" * 16]}
    assert exclusions.covers_content({"id": "00" * 16, "source": source})
    assert exclusions.covers_content({"id": "00" * 16, "source": {"uri": "x"}, "images": [{"sha256": SHA256}]})
    assert not exclusions.covers_content({"id": "00" * 16, "source": {"uri": "x"}, "images": [{"sha256": "ef" * 32}]})


def test_every_reader_leaves_excluded_samples_out_of_every_shard(
    tmp_path: Path, counted_samples: Callable[[int], list[Sample]], build_dataset: Callable[..., Dataset]
) -> None:
    samples = counted_samples(12)
    dataset = build_dataset(tmp_path / "dataset", samples, shards=3)
    gone = {sample.id for sample in samples[::3]}
    add_exclusion(dataset.files, Exclusion(requested=NOW, ids=tuple(sorted(gone))))
    opened = Dataset.open(dataset.url)
    expected = {sample.id for sample in samples} - gone
    assert {sample.id for sample in opened.samples()} == expected
    assert set(opened.index(["id"])["id"].to_pylist()) == expected
    assert sum(len(opened.shard_index(number, ["id"])) for number in range(len(opened.manifest.shards))) == 12
    source = MixtureSource(dataset=dataset.url, epochs=1)
    plan = Plan([PlanPhase(Mixture(sources=(source,)))], capacity=100_000, seed=1)
    packed = {plan.read(item).id for pack in plan.packs() for item in pack.items}
    assert packed == {sample.id for sample in opened.samples(split="train")}
    assert packed


def test_requests_are_files_of_their_own_and_none_is_lost(dataset: Dataset, tmp_path: Path) -> None:
    store = Dataset(str(tmp_path), dataset.manifest).files
    requests = [Exclusion.of([f"{number}.example"], NOW) for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda request: add_exclusion(store, request), requests))
    assert sorted(paths) == [f"{EXCLUSIONS}/{number:06d}.json" for number in range(1, 9)]
    opened = Dataset(str(tmp_path), dataset.manifest)
    hosts = [host for request in opened.exclusions.requests for host in request.hosts]
    assert sorted(hosts) == [f"{number}.example" for number in range(8)]
    assert opened.exclusions.digest


def test_a_damaged_request_stops_the_reader(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / EXCLUSIONS).mkdir()
    (tmp_path / EXCLUSIONS / "000001.json").write_text("{")
    with pytest.raises(UserError, match=r"000001[.]json cannot be read"):
        _ = Dataset(str(tmp_path), dataset.manifest).exclusions
