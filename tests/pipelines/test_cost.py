"""The cost of a large corpus from the commit records of a small run."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.data.storage import StoreConfig
from step3vl.data.tokens import train_bpe
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core import lease
from step3vl.pipelines.core.domain import DomainEntry, Numbers
from step3vl.pipelines.corpus import build_corpus, corpus_plan
from step3vl.pipelines.cost import (
    EntryUsage,
    Prices,
    RecordFolder,
    Scale,
    Usage,
    compact,
    cost_tables,
    measure,
    parse_count,
)
from step3vl.pipelines.domains import DOMAINS
from step3vl.pipelines.layout import staging_root


class Entry(DomainEntry):
    def inputs(self) -> Numbers:
        return Numbers(1)


ICONS = Entry(domain="grounding", name="icons")
PAGES = Entry(domain="ocr", name="pages")
FOLDERS = [
    RecordFolder("icons/build-0", ICONS, "step"),
    RecordFolder("icons/tokens-0", ICONS, "tokens"),
    RecordFolder("pages/open-0", PAGES, "step"),
    RecordFolder("pages/read-0", PAGES, "model"),
    RecordFolder("pages/tokens-0", PAGES, "tokens"),
]


def record(path: Path, **fields: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"id": path.stem, **fields}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Icons are cheap; pages need a model. A folder of an earlier configuration is not looked at."""
    for number in range(2):
        record(tmp_path / f"icons/build-0/{number}.json", cpu_seconds=1800, written_bytes=10**9, requests=4, rows=1)
        record(
            tmp_path / f"icons/tokens-0/{number}.json",
            accounts=[{"name": "tokens", "read": 250, "kept": 250}],
            text_tokens=10_000,
            image_tokens=15_000,
            requests=3,
        )
    record(tmp_path / "icons/build-old/0.json", cpu_seconds=10**6)
    record(tmp_path / "pages/open-0/a.json", cpu_seconds=3600, written_bytes=10**9, requests=5)
    record(tmp_path / "pages/read-0/a.0.json", seconds=7200, cpu_seconds=14_400, written_bytes=10**9, requests=5)
    record(
        tmp_path / "pages/tokens-0/a.0.json",
        accounts=[{"name": "tokens", "read": 100, "kept": 100}],
        text_tokens=40_000,
        image_tokens=10_000,
        requests=2,
    )
    record(tmp_path / "shards/tiny-train-00000.json", cpu_seconds=360, written_bytes=2 * 10**9, requests=10)
    return tmp_path


def test_a_run_is_the_sum_of_its_commit_records(root: Path) -> None:
    icons, pages = measure(str(root), FOLDERS)
    assert (icons.entry, icons.domain, pages.entry) == ("icons", "grounding", "pages")
    assert icons.usage == Usage(
        samples=500, tokens=50_000, cpu_seconds=3600 + 180, staged_bytes=2e9, shard_bytes=1e9, requests=14 + 5
    )
    assert pages.usage == Usage(
        samples=100, tokens=50_000, cpu_seconds=3600 + 180, model_seconds=7200, model_cpu_seconds=14_400,
        staged_bytes=2e9, shard_bytes=1e9, requests=12 + 5,
    )  # fmt: skip


def test_a_cleaned_root_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no commit records"):
        measure(str(tmp_path), FOLDERS)


def test_models_run_on_cores_or_on_gpus(root: Path) -> None:
    pages = measure(str(root), FOLDERS)[1].usage
    assert pages.hours(Scale(1)) == pytest.approx((1.05 + 4, 0))
    assert pages.hours(Scale(1, gpus=2, gpu_speedup=10)) == pytest.approx((1.05 + 0.2, 0.4))


def test_the_price_is_that_of_hours_bytes_and_requests(root: Path) -> None:
    pages = measure(str(root), FOLDERS)[1].usage * 1000
    prices = Prices(core_hour=0.04, gpu_hour=2, terabyte=20, million_requests=5)
    price = pages.price(Scale(1, gpus=1, gpu_speedup=1, prices=prices))
    assert price == pytest.approx(1000 * (3.05 * 0.04 + 2 * 2) + 3 * 20 + 0.017 * 5)


def test_the_sheet_lists_entries_domains_and_all(root: Path) -> None:
    entries = measure(str(root), FOLDERS)
    entries.append(EntryUsage("counts", "grounding", Usage(samples=1, tokens=100_000, cpu_seconds=3600)))
    run, large = cost_tables(entries, Scale(2e9, prices=Prices(core_hour=1)))
    names = ["grounding", "· icons", "· counts", "ocr", "all"]
    assert [row[0] for row in run.rows] == names == [row[0] for row in large.rows]
    assert large.title == "2G tokens: 10,000 times the run"
    assert dict(zip(large.columns, large.rows[1], strict=True)) == {
        "entry": "· icons", "tokens": "500M", "samples": "5M", "each": "100", "core-h": "10.5k",
        "GPU-h": "0", "staged": "20TB", "shards": "10TB", "requests": "190k", "price": "10.5k",
    }  # fmt: skip


@given(st.floats(0.001, 1000), st.floats(0, 8), st.floats(0.1, 100))
def test_the_model_is_linear(factor: float, gpus: float, speedup: float) -> None:
    usage = Usage(10, 1000, 3600, 7200, 9000, 1e9, 1e9, 1e6)
    scale = Scale(1, gpus, speedup, Prices(core_hour=1, gpu_hour=2, terabyte=3, million_requests=4))
    assert (usage * factor).price(scale) == pytest.approx(usage.price(scale) * factor)


@pytest.mark.parametrize(
    ("text", "number"),
    [("300B", 3e11), ("1.2T", 1.2e12), ("5e9", 5e9), ("12_000", 12000), ("1,000 k", 1e6), ("2g", 2e9)],
)
def test_counts_are_read_with_units(text: str, number: float) -> None:
    assert parse_count(text) == number


@pytest.mark.parametrize("text", ["", "many", "0", "-5", "1.2.3T", "5X", "1e999T"])
def test_what_is_no_count_is_a_mistake_of_the_user(text: str) -> None:
    with pytest.raises(UserError, match="no number of tokens"):
        parse_count(text)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.123456, "0.123"), (999, "999"), (1234, "1.23k"), (999_999, "1M"), (2.5e15, "2.5P")],
)
def test_numbers_are_short(number: float, text: str) -> None:
    assert compact(number) == text


@pytest.fixture
def s3(s3_server: Callable[..., Any]) -> Iterator[StoreConfig]:
    """How an S3 server with a bucket `corpus` is reached."""
    with s3_server("corpus") as options:
        yield StoreConfig(options=options)


def requests_until_the_commit(lines: list[str]) -> int:
    """How many requests the log of the server has before the manifest of the dataset."""
    return next(index for index, line in enumerate(lines) if "PUT" in line and "/dataset.json" in line)


@pytest.mark.slow
def test_a_larger_corpus_costs_the_requests_that_the_sheet_says(
    s3: StoreConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The sheet leaves out what does not grow with the corpus, so the growth from one build to another is compared."""
    monkeypatch.setattr(lease, "INTERVAL", 3600.0)  # requests that the time causes, and not the work
    caplog.set_level(logging.INFO, "werkzeug")
    tokenizer = tmp_path / "tokenizer.json"
    train_bpe(["What is the sum of 0123456789?"], 320).save(str(tokenizer))

    def build(count: int) -> tuple[int, float]:
        """The requests that the server saw, and those of the sheet."""
        sums = {"domain": "education", "name": "sums", "modality": "text", "families": {"chain_sum": {}}}
        config = CorpusConfig.model_validate(
            {
                "name": "sums",
                "store": s3,
                "tokens": {"tokenizer": str(tokenizer)},
                "shards": {"bytes": 300_000},
                "domains": [{**sums, "count": count}],
            }
        )
        out = f"s3://corpus/{count}"
        caplog.clear()
        build_corpus(config, out)
        seen = requests_until_the_commit([record.message for record in caplog.records if record.name == "werkzeug"])
        segments = corpus_plan(config, out).segments
        folders = [RecordFolder(segment.folder, segment.entry, segment.kind) for segment in segments]
        (entry,) = measure(staging_root(config, out), folders, s3)
        return seen, entry.usage.requests

    (seen, computed), (more_seen, more_computed) = build(500), build(1500)
    assert computed < seen < 500
    assert more_seen - seen == more_computed - computed > 80


@pytest.fixture
def burning(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the burning domain, registered, that processes of this one can import."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import burning_domain

    monkeypatch.setitem(DOMAINS, "burning", burning_domain.DOMAIN)
    return burning_domain


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of a domain that a test adds
def test_the_sheet_counts_the_processor_time_of_every_process(burning: Any, tmp_path: Path) -> None:
    """As for requests, the growth from one build to another is compared."""
    sums = {"domain": "education", "name": "sums", "count": 1, "families": {"chain_sum": {}}, "modality": "text"}
    corpus = CorpusConfig.model_validate({"name": "c", "tokens": {"tokenizer": {"train": 320}}, "domains": [sums]})

    def build(count: int) -> tuple[float, float]:
        """Seconds as the system counts them, of this process and of its children that ended; and of the sheet."""
        entry = burning.BurningEntry(name="burning", count=count)
        config, out = corpus.model_copy(update={"domains": (entry,)}), tmp_path / str(count)
        before = os.times()
        build_corpus(config, out)
        used = sum(os.times()[:4]) - sum(before[:4])
        segments = corpus_plan(config, out).segments
        folders = [RecordFolder(segment.folder, segment.entry, segment.kind) for segment in segments]
        (entry_usage,) = measure(staging_root(config, out), folders)
        return used, entry_usage.usage.cpu_seconds

    (used, computed), (more_used, more_computed) = build(10), build(90)
    assert more_computed - computed > 80 * 3 * burning.SECONDS
    assert more_computed - computed == pytest.approx(more_used - used, rel=0.2), "each of three processes has a third"
