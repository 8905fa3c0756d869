"""What a later build does again, counted in fragments that are really worked on."""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from step3vl.data.dataset import Dataset
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.inspect import verify
from step3vl.data.sample import Box
from step3vl.data.storage import Store
from step3vl.data.tokens import train_bpe
from step3vl.pipelines.core.domain import Domain, ModelStep
from step3vl.pipelines.core.fragments import Fragment, FragmentResult
from step3vl.pipelines.core.lease import LEASE, Holder
from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.core.shard_writer import ShardWriter
from step3vl.pipelines.core.tokens import TokenCounter
from step3vl.pipelines.corpus import (
    CorpusConfig,
    build_corpus,
    clean_corpus,
    corpus_plan,
    reuse_earlier,
    staging_root,
)
from step3vl.pipelines.domains import DOMAINS
from step3vl.pipelines.domains.ocr_documents import DocumentsEntry, Page, ReadPage
from step3vl.pipelines.models.ocr import OcrLine

pytestmark = pytest.mark.slow

DOCUMENTS = "ocr.document_to_text"
SUMS = {"domain": "education", "name": "sums", "count": 600, "families": {"chain_sum": {}}, "modality": "text"}
TOKENS: dict[str, Any] = {"image": {"image_size": 112, "crop_size": 84, "patch_size": 7, "max_side": 448}}


@pytest.fixture(scope="module", autouse=True)
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_bpe(["page of colour 0123456789"], 320).save(str(path))
    TOKENS["tokenizer"] = str(path)


class ColourReader:
    """Annotator: reads the colour of a page, as a stand-in for an OCR model in this process."""

    def __init__(self, entry: DocumentsEntry) -> None:
        """Nothing to load."""

    def __call__(self, pages: Sequence[Page]) -> list[ReadPage]:
        return [ReadPage(**dict(page), lines=(self._line(page),)) for page in pages]

    def _line(self, page: Page) -> OcrLine:
        colour = page.image.open().getpixel((0, 0))
        return OcrLine(text=f"page of colour {colour}", score=1.0, box=Box(1.0, 1.0, 30.0, 12.0, "pixels", (64, 64)))


def without_processes(domain: Domain[Any], **versions: int) -> Domain[Any]:
    """The domain with all its steps in this process, its model read by `ColourReader`, and steps of other versions."""
    steps = []
    for step in domain.steps:
        changes: dict[str, Any] = {"time_limit": None, "version": versions.get(step.name, step.version)}
        if isinstance(step, ModelStep):
            changes["annotator"] = ColourReader
        steps.append(replace(step, **changes))
    return replace(domain, steps=tuple(steps))


ORIGINAL = DOMAINS[DOCUMENTS]


@pytest.fixture(autouse=True)
def in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(DOMAINS, DOCUMENTS, without_processes(ORIGINAL))
    monkeypatch.setattr("step3vl.pipelines.corpus.code_version", lambda *packages: "as it is")


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many fragments of each segment were worked on, and how many were counted and written."""
    counter: Counter[str] = Counter()
    work, count, write = SegmentRunner._work, TokenCounter._count, ShardWriter._write

    def worked(runner: SegmentRunner, fragment: Fragment, *arguments: str) -> FragmentResult:
        counter[runner._segment.name] += 1
        return work(runner, fragment, *arguments)

    def counted(tokens: TokenCounter, *arguments: Any) -> Any:
        counter["tokens"] += 1
        return count(tokens, *arguments)

    def written(writer: ShardWriter, *arguments: Any) -> Any:
        counter["shards"] += 1
        return write(writer, *arguments)

    monkeypatch.setattr(SegmentRunner, "_work", worked)
    monkeypatch.setattr(TokenCounter, "_count", counted)
    monkeypatch.setattr(ShardWriter, "_write", written)
    return counter


def make_pages(folder: Path, *numbers: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        PILImage.new("RGB", (64, 64), (number, 2 * number, 0)).save(folder / f"{number}.png")


def config(pages: Path | str, *more: dict[str, Any], **fields: Any) -> CorpusConfig:
    """A corpus. Folders are named relative to the working directory, so that the keys of files never differ."""
    if isinstance(pages, Path):
        pages = os.path.relpath(pages)
    sources = [{"files": [f"{pages}/*.png"], "licence": "CC0-1.0"}]
    documents = {"domain": DOCUMENTS, "name": "pages", "sources": sources, "regions": ["page", "line"]}
    values = {
        "name": "t",
        "shards": 12,
        "heldout": 0,
        "tokens": TOKENS,
        "models": {"engine": "beam"},
        "domains": [documents, *more],
    }
    return CorpusConfig.model_validate({**values, **fields})


def tree(root: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(root.rglob("*")) if path.is_file() and ".staging" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def set_aside(out: Path) -> None:
    """What --force does."""
    kept = out.with_name("kept")
    out.rename(kept)
    reuse_earlier(kept, out)


def test_one_new_file_costs_one_fragment_of_each_step_and_the_shards_that_it_falls_into(
    tmp_path: Path, worked: Counter[str]
) -> None:
    pages, out = tmp_path / "in", tmp_path / "out"
    make_pages(pages, *range(1, 30))
    build_corpus(config(pages), out)
    assert worked["pages.open"] > 5 and worked["pages.build"] == 0
    make_pages(pages, 100)
    with pytest.raises(UserError, match=r"differs in the input files of domains\.pages; .*--force"):
        build_corpus(config(pages), out)
    worked.clear()
    set_aside(out)
    build_corpus(config(pages), out)
    assert worked.pop("shards") <= 2
    assert worked == {"pages.open": 1, "pages.render": 1, "pages.read": 1, "pages.split": 1, "tokens": 1}
    assert verify(out).problems == () and verify(tmp_path / "kept").problems == ()
    fresh = tmp_path / "fresh"
    build_corpus(config(pages), fresh)
    assert tree(fresh) == tree(out), "as if nothing had been there before"


def test_a_file_that_is_gone_takes_its_samples_with_it(tmp_path: Path, worked: Counter[str]) -> None:
    pages, out = tmp_path / "in", tmp_path / "out"
    make_pages(pages, 1, 2, 3)
    build_corpus(config(pages), out)
    (pages / "2.png").unlink()
    set_aside(out)
    assert sum(shard.samples for shard in build_corpus(config(pages), out).manifest.shards) == 4


def test_a_new_entry_reuses_the_work_on_the_others(tmp_path: Path, worked: Counter[str]) -> None:
    pages, out = tmp_path / "in", tmp_path / "out"
    make_pages(pages, 1, 2, 3)
    build_corpus(config(pages), out)
    worked.clear()
    set_aside(out)
    build_corpus(config(pages, SUMS), out)
    assert worked.pop("shards") == 12
    assert worked == {"sums.build": 3, "tokens": 3}


@pytest.mark.parametrize(
    ("step", "again"),
    [
        ("build", {"pages.split"}),
        ("read", {"pages.read", "pages.split"}),
        ("render", {"pages.render", "pages.read", "pages.split"}),
    ],
)
def test_a_changed_step_runs_again_and_all_that_follows_it(
    tmp_path: Path, worked: Counter[str], monkeypatch: pytest.MonkeyPatch, step: str, again: set[str]
) -> None:
    pages, out = tmp_path / "in", tmp_path / "out"
    make_pages(pages, 1, 2, 3)
    build_corpus(config(pages), out)
    worked.clear()
    set_aside(out)
    monkeypatch.setitem(DOMAINS, DOCUMENTS, without_processes(ORIGINAL, **{step: 99}))
    build_corpus(config(pages), out)
    assert set(worked) == {*again, "tokens"}, "and no shard, for no sample has changed"


def test_an_entry_is_rebuilt_on_request_once(tmp_path: Path, worked: Counter[str]) -> None:
    pages, out = tmp_path / "in", tmp_path / "out"
    make_pages(pages, 1, 2, 3)
    corpus = config(pages, SUMS)
    build_corpus(corpus, out)
    before = tree(out)
    with pytest.raises(UserError, match=r"is finished; .*--force"):
        build_corpus(corpus, out, rebuild=["sums"])
    worked.clear()
    set_aside(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("step3vl.pipelines.corpus.commit", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_corpus(corpus, out, rebuild=["sums"])
    assert worked == {"sums.build": 3, "tokens": 3}
    worked.clear()
    build_corpus(corpus, out, rebuild=["sums"])
    assert worked == {}, "the same request resumes"
    assert tree(out) == before
    set_aside(out) if not (tmp_path / "kept").exists() else shutil.rmtree(out / "shards")
    (out / "dataset.json").unlink(missing_ok=True)
    build_corpus(corpus, out, rebuild=["sums"])
    assert worked["sums.build"] == 3, "and another request works again"


def test_the_plan_says_what_is_missing(tmp_path: Path, worked: Counter[str]) -> None:
    pages, out = tmp_path / "in", tmp_path / "out"
    make_pages(pages, 1, 2, 3)
    corpus = config(pages, SUMS)
    before = corpus_plan(corpus, out).segments
    planned = {(each.entry.name, each.name): (each.kind, each.total, each.committed) for each in before}
    assert planned == {
        ("pages", "open"): ("step", 3, 0),
        ("pages", "render"): ("step", None, 0),
        ("pages", "read"): ("model", None, 0),
        ("pages", "split+build"): ("step", None, 0),
        ("pages", "tokens"): ("tokens", None, 0),
        ("sums", "build"): ("step", 3, 0),
        ("sums", "tokens"): ("tokens", None, 0),
    }
    build_corpus(corpus, out)
    make_pages(pages, 100)
    worked.clear()
    segments = corpus_plan(corpus, out).segments
    after = {(each.entry.name, each.name): (each.total, each.committed) for each in segments}
    assert after == {
        ("pages", "open"): (4, 3),
        ("pages", "render"): (None, 3),
        ("pages", "read"): (None, 3),
        ("pages", "split+build"): (None, 3),
        ("pages", "tokens"): (None, 3),
        ("sums", "build"): (3, 3),
        ("sums", "tokens"): (3, 3),
    }
    assert all((Path(staging_root(corpus, out)) / each.folder).is_dir() for each in segments)
    assert worked == {}


def test_the_work_of_a_small_fraction_serves_the_whole(tmp_path: Path, worked: Counter[str]) -> None:
    pages = tmp_path / "in"
    make_pages(pages, *range(1, 30))
    root = str(tmp_path / "root")
    small = build_corpus(config(pages, SUMS, fraction=0.5, root=root), tmp_path / "small")
    before = worked.copy()
    build_corpus(config(pages, SUMS, root=root), tmp_path / "out")
    assert before["pages.open"] > 0 and before["sums.build"] == 2
    assert worked["sums.build"] == before["sums.build"] + 2, "the second block of 250 was only begun"
    sizes = [sum(shard.samples for shard in each.manifest.shards) for each in (small, Dataset.open(tmp_path / "out"))]
    assert sizes[0] < 0.8 * sizes[1]
    fresh = build_corpus(config(pages, SUMS), tmp_path / "fresh")
    assert fresh.manifest.shards == Dataset.open(tmp_path / "out").manifest.shards


def test_a_build_with_nothing_to_do_starts_no_step(tmp_path: Path, worked: Counter[str]) -> None:
    pages, out = tmp_path / "in", tmp_path / "out"
    make_pages(pages, 1, 2)
    first = build_corpus(config(pages), out)
    worked.clear()
    assert build_corpus(config(pages, models={"engine": "ray"}), out).manifest == first.manifest
    assert worked == {}


def test_two_builds_do_not_work_in_one_root(tmp_path: Path) -> None:
    pages, out = tmp_path / "in", tmp_path / "out"
    make_pages(pages, 1)
    store = Store(staging_root(config(pages), out), config(pages).store)
    store.put(LEASE, Holder.this_process().model_dump_json().encode())
    for call in (lambda: build_corpus(config(pages), out), lambda: clean_corpus(out)):
        with pytest.raises(UserError, match=r"another build, process .* is at work here"):
            call()
    store.remove(LEASE)
    build_corpus(config(pages), out)
    assert clean_corpus(out) == store.url and not (out / ".staging").exists()
    assert build_corpus(config(pages), out).manifest.shards, "it is still finished"


@pytest.fixture
def bucket(s3_server: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    with s3_server("corpus") as options:
        yield options


def test_inputs_root_and_dataset_may_all_be_urls(
    tmp_path: Path, bucket: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    pages = tmp_path / "in"
    make_pages(pages, 1, 2, 3)
    for path in pages.iterdir():
        s3fs.S3FileSystem(**bucket).put(str(path), f"corpus/in/{path.name}")
    store = {"options": bucket, "backoff": 0.01}
    far = config("s3://corpus/in", SUMS, store=store)
    made = build_corpus(far, "s3://corpus/out")
    monkeypatch.chdir(tmp_path)
    near = build_corpus(config("in", SUMS), tmp_path / "near")
    assert made.manifest.ledger == near.manifest.ledger
    samples = {sample.source.uri: sample for sample in near.samples()}
    assert all(sample.images[0].read() for sample in made.samples() if sample.images)
    assert samples.keys() == {sample.source.uri.removeprefix("s3://corpus/") for sample in made.samples()}
    assert build_corpus(far, "s3://corpus/out").manifest == made.manifest
    assert not any("s3:" in path.name for path in tmp_path.iterdir())
    changed = config("s3://corpus/in", SUMS, store=store, seed=1)
    with pytest.raises(
        UserError, match=r"differs in seed: 0 -> 1; give another URL, with root=s3://corpus/out/\.stag"
    ):
        build_corpus(changed, "s3://corpus/out")


def test_a_store_that_is_gone_ends_the_build_uncommitted(tmp_path: Path) -> None:
    store = {"options": {"endpoint_url": "http://localhost:9", "key": "k", "secret": "s"}, "attempts": 1}
    with pytest.raises(InfrastructureError, match=r"s3://corpus/out"):
        build_corpus(config(tmp_path, store=store), "s3://corpus/out")
